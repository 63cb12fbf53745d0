-- What the store itself owns: outbox, audit, cursors, idempotency, numbers.
CREATE TABLE outbox (
    seq      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id       UUID NOT NULL UNIQUE,
    position BIGINT,
    kind     TEXT NOT NULL,
    area     TEXT COLLATE "C" NOT NULL,
    at       BIGINT NOT NULL,
    data     TEXT NOT NULL
);
CREATE UNIQUE INDEX outbox_position ON outbox (position);
CREATE INDEX outbox_unplaced ON outbox (seq) WHERE position IS NULL;

-- The last position given; one row, locked while positions are given.
CREATE TABLE outbox_head (position BIGINT NOT NULL);
INSERT INTO outbox_head (position) VALUES (0);

CREATE TABLE cursors (
    subscriber TEXT PRIMARY KEY,
    position   BIGINT NOT NULL
);

-- Events a subscriber could not digest after all its attempts, for a person to look at.
CREATE TABLE dead_events (
    subscriber TEXT NOT NULL,
    event      UUID NOT NULL,
    reason     TEXT NOT NULL,
    at         BIGINT NOT NULL,
    PRIMARY KEY (subscriber, event)
);

CREATE TABLE audit (
    seq         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          BIGINT NOT NULL,
    actor       TEXT NOT NULL,
    actor_name  TEXT NOT NULL,
    action      TEXT NOT NULL,
    resource    TEXT,
    resource_id TEXT,
    area        TEXT COLLATE "C",
    request     UUID NOT NULL,
    detail      TEXT NOT NULL
);
CREATE INDEX audit_resource ON audit (resource, resource_id);

CREATE TABLE idempotency (
    actor   TEXT NOT NULL,
    key     TEXT NOT NULL,
    action  TEXT NOT NULL,
    outcome TEXT NOT NULL,
    at      BIGINT NOT NULL,
    PRIMARY KEY (actor, key)
);
CREATE INDEX idempotency_at ON idempotency (at);

CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
