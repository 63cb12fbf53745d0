-- What the store itself owns: outbox, audit, cursors, idempotency, numbers.
CREATE TABLE outbox (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    id       BLOB NOT NULL UNIQUE,
    position INTEGER,
    kind     TEXT NOT NULL,
    area     TEXT NOT NULL,
    at       INTEGER NOT NULL,
    data     TEXT NOT NULL
);
CREATE UNIQUE INDEX outbox_position ON outbox (position);
CREATE INDEX outbox_unplaced ON outbox (seq) WHERE position IS NULL;

-- The last position given; one row, locked while positions are given.
CREATE TABLE outbox_head (position INTEGER NOT NULL);
INSERT INTO outbox_head (position) VALUES (0);

CREATE TABLE cursors (
    subscriber TEXT PRIMARY KEY,
    position   INTEGER NOT NULL
);

-- Events a subscriber could not digest after all its attempts, for a person to look at.
CREATE TABLE dead_events (
    subscriber TEXT NOT NULL,
    event      BLOB NOT NULL,
    reason     TEXT NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (subscriber, event)
);

CREATE TABLE audit (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    at          INTEGER NOT NULL,
    actor       TEXT NOT NULL,
    actor_name  TEXT NOT NULL,
    action      TEXT NOT NULL,
    resource    TEXT,
    resource_id TEXT,
    area        TEXT,
    request     BLOB NOT NULL,
    detail      TEXT NOT NULL
);
CREATE INDEX audit_resource ON audit (resource, resource_id);

CREATE TABLE idempotency (
    actor   TEXT NOT NULL,
    key     TEXT NOT NULL,
    action  TEXT NOT NULL,
    outcome TEXT NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (actor, key)
);
CREATE INDEX idempotency_at ON idempotency (at);

CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
);
