-- What base/platform owns of notification: where people and systems are reached, what each was
-- told, and every try to reach them.
CREATE TABLE contacts (
    person     UUID PRIMARY KEY REFERENCES people (id),
    email      TEXT,
    phone      TEXT,
    wecom      TEXT,
    quiet      TEXT,
    updated_at BIGINT NOT NULL
);

-- Systems that are told what the posts of an area are told.
CREATE TABLE webhooks (
    id         UUID PRIMARY KEY,
    name       TEXT COLLATE "C" NOT NULL UNIQUE,
    area       TEXT COLLATE "C" NOT NULL,
    post       TEXT,
    url        TEXT NOT NULL,
    secret     TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL
);

-- One message to one recipient. `plan` is what may still be tried after the present channel.
CREATE TABLE notifications (
    id         UUID PRIMARY KEY,
    sort       TEXT COLLATE "C" NOT NULL UNIQUE,
    key        TEXT NOT NULL,
    case_no    TEXT NOT NULL,
    area       TEXT COLLATE "C" NOT NULL,
    person     UUID,
    webhook    UUID,
    recipient  TEXT NOT NULL,
    post       TEXT NOT NULL,
    severity   BIGINT NOT NULL,
    title_zh   TEXT NOT NULL,
    title_en   TEXT NOT NULL,
    body_zh    TEXT NOT NULL,
    body_en    TEXT NOT NULL,
    path       TEXT NOT NULL,
    plan       TEXT NOT NULL,
    state      TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    read_at    BIGINT
);
CREATE INDEX notifications_person ON notifications (person, sort);
CREATE INDEX notifications_key ON notifications (key);
CREATE INDEX notifications_case ON notifications (case_no);

-- One message on one channel: a place in the outbox of its destination (channel and address).
CREATE TABLE deliveries (
    id            UUID PRIMARY KEY,
    sort          TEXT COLLATE "C" NOT NULL UNIQUE,
    notification  UUID NOT NULL REFERENCES notifications (id),
    area          TEXT COLLATE "C" NOT NULL,
    severity      BIGINT NOT NULL,
    channel       TEXT NOT NULL,
    address       TEXT NOT NULL,
    state         TEXT NOT NULL,
    attempts      BIGINT NOT NULL,
    tries         BIGINT NOT NULL,
    first_at      BIGINT,
    next_at       BIGINT NOT NULL,
    claimed_until BIGINT,
    settled_at    BIGINT,
    reason        TEXT,
    reference     TEXT,
    created_at    BIGINT NOT NULL
);
CREATE INDEX deliveries_due ON deliveries (state, next_at);
CREATE INDEX deliveries_destination ON deliveries (channel, address, state);
CREATE INDEX deliveries_notification ON deliveries (notification);
CREATE INDEX deliveries_area ON deliveries (area, sort);

CREATE TABLE delivery_attempts (
    delivery UUID NOT NULL REFERENCES deliveries (id),
    n        BIGINT NOT NULL,
    at       BIGINT NOT NULL,
    outcome  TEXT NOT NULL,
    reason   TEXT,
    PRIMARY KEY (delivery, n)
);
