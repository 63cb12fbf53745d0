-- What centres/watch owns: things, their datastreams and secrets, alerts, what could not be read.
CREATE TABLE things (
    code       TEXT PRIMARY KEY,
    id         BLOB NOT NULL UNIQUE,
    type       TEXT NOT NULL,
    area       TEXT NOT NULL,
    name_zh    TEXT NOT NULL,
    name_en    TEXT NOT NULL,
    place_zh   TEXT NOT NULL,
    place_en   TEXT NOT NULL,
    lon        REAL,
    lat        REAL,
    public     INTEGER NOT NULL,
    properties TEXT NOT NULL
);
CREATE INDEX things_area ON things (area);

-- `key` is the dense key of segments, rules and the lake.
CREATE TABLE datastreams (
    key   INTEGER PRIMARY KEY,
    thing TEXT NOT NULL REFERENCES things (code),
    code  TEXT NOT NULL,
    UNIQUE (thing, code)
);

-- SHA-256 of a secret of 256 random bits: nothing to guess, so nothing to slow down.
CREATE TABLE credentials (
    thing         TEXT PRIMARY KEY REFERENCES things (code),
    secret_sha256 BLOB NOT NULL
);

-- The thing as it was when the alert opened stands in the row. `sort` orders the list: open
-- before acknowledged before resolved, the graver before the milder.
CREATE TABLE alerts (
    id              BLOB PRIMARY KEY,
    number          TEXT NOT NULL UNIQUE,
    rule            TEXT NOT NULL,
    datastream      INTEGER NOT NULL,
    opened_at       INTEGER NOT NULL,
    title_zh        TEXT NOT NULL,
    title_en        TEXT NOT NULL,
    thing           TEXT NOT NULL,
    thing_zh        TEXT NOT NULL,
    thing_en        TEXT NOT NULL,
    area            TEXT NOT NULL,
    place_zh        TEXT NOT NULL,
    place_en        TEXT NOT NULL,
    lon             REAL,
    lat             REAL,
    unit            TEXT NOT NULL,
    value           REAL,
    severity        INTEGER NOT NULL,
    peak            INTEGER NOT NULL,
    state           TEXT NOT NULL,
    offline         INTEGER NOT NULL,
    sort            INTEGER NOT NULL,
    acknowledged_at INTEGER,
    acknowledged_by TEXT,
    resolved_at     INTEGER,
    UNIQUE (rule, datastream, opened_at)
);
CREATE INDEX alerts_list ON alerts (sort, opened_at DESC, number DESC);
CREATE INDEX alerts_opened ON alerts (opened_at);
CREATE INDEX alerts_thing ON alerts (thing, opened_at);

CREATE TABLE alert_changes (
    id       BLOB PRIMARY KEY,
    alert    BLOB NOT NULL REFERENCES alerts (id),
    at       INTEGER NOT NULL,
    kind     TEXT NOT NULL,
    severity INTEGER,
    value    REAL,
    by_name  TEXT,
    text_zh  TEXT,
    text_en  TEXT
);
CREATE INDEX alert_changes_alert ON alert_changes (alert, id);

CREATE TABLE unreadable (
    id          BLOB PRIMARY KEY,
    thing       TEXT NOT NULL,
    topic       TEXT NOT NULL,
    payload     BLOB NOT NULL,
    reason      TEXT NOT NULL,
    received_at INTEGER NOT NULL
);

-- Up to which segment each partition has been judged, and by which rules.
CREATE TABLE judged (
    partition    INTEGER PRIMARY KEY,
    segment      INTEGER NOT NULL,
    rule_version TEXT NOT NULL,
    at           INTEGER NOT NULL
);
