-- What centres/watch owns: things, their datastreams and secrets, alerts, what could not be read.
CREATE TABLE things (
    code       TEXT COLLATE "C" PRIMARY KEY,
    id         UUID NOT NULL UNIQUE,
    type       TEXT NOT NULL,
    area       TEXT COLLATE "C" NOT NULL,
    name_zh    TEXT NOT NULL,
    name_en    TEXT NOT NULL,
    place_zh   TEXT NOT NULL,
    place_en   TEXT NOT NULL,
    lon        DOUBLE PRECISION,
    lat        DOUBLE PRECISION,
    public     BIGINT NOT NULL,
    properties TEXT NOT NULL
);
CREATE INDEX things_area ON things (area);

-- `key` is the dense key of segments, rules and the lake.
CREATE TABLE datastreams (
    key   BIGINT PRIMARY KEY,
    thing TEXT COLLATE "C" NOT NULL REFERENCES things (code),
    code  TEXT COLLATE "C" NOT NULL,
    UNIQUE (thing, code)
);

-- SHA-256 of a secret of 256 random bits: nothing to guess, so nothing to slow down.
CREATE TABLE credentials (
    thing         TEXT COLLATE "C" PRIMARY KEY REFERENCES things (code),
    secret_sha256 BYTEA NOT NULL
);

-- The thing as it was when the alert opened stands in the row. `sort` orders the list: open
-- before acknowledged before resolved, the graver before the milder.
CREATE TABLE alerts (
    id              UUID PRIMARY KEY,
    number          TEXT COLLATE "C" NOT NULL UNIQUE,
    rule            TEXT NOT NULL,
    datastream      BIGINT NOT NULL,
    opened_at       BIGINT NOT NULL,
    title_zh        TEXT NOT NULL,
    title_en        TEXT NOT NULL,
    thing           TEXT NOT NULL,
    thing_zh        TEXT NOT NULL,
    thing_en        TEXT NOT NULL,
    area            TEXT COLLATE "C" NOT NULL,
    place_zh        TEXT NOT NULL,
    place_en        TEXT NOT NULL,
    lon             DOUBLE PRECISION,
    lat             DOUBLE PRECISION,
    unit            TEXT NOT NULL,
    value           DOUBLE PRECISION,
    severity        BIGINT NOT NULL,
    peak            BIGINT NOT NULL,
    state           TEXT NOT NULL,
    offline         BIGINT NOT NULL,
    sort            BIGINT NOT NULL,
    acknowledged_at BIGINT,
    acknowledged_by TEXT,
    resolved_at     BIGINT,
    UNIQUE (rule, datastream, opened_at)
);
CREATE INDEX alerts_list ON alerts (sort, opened_at DESC, number DESC);
CREATE INDEX alerts_opened ON alerts (opened_at);
CREATE INDEX alerts_thing ON alerts (thing, opened_at);

CREATE TABLE alert_changes (
    id       UUID PRIMARY KEY,
    alert    UUID NOT NULL REFERENCES alerts (id),
    at       BIGINT NOT NULL,
    kind     TEXT NOT NULL,
    severity BIGINT,
    value    DOUBLE PRECISION,
    by_name  TEXT,
    text_zh  TEXT,
    text_en  TEXT
);
CREATE INDEX alert_changes_alert ON alert_changes (alert, id);

CREATE TABLE unreadable (
    id          UUID PRIMARY KEY,
    thing       TEXT NOT NULL,
    topic       TEXT NOT NULL,
    payload     BYTEA NOT NULL,
    reason      TEXT NOT NULL,
    received_at BIGINT NOT NULL
);

-- Up to which segment each partition has been judged, and by which rules.
CREATE TABLE judged (
    partition    BIGINT PRIMARY KEY,
    segment      BIGINT NOT NULL,
    rule_version TEXT NOT NULL,
    at           BIGINT NOT NULL
);
