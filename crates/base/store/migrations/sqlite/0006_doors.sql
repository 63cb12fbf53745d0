-- Integrators' tokens: other systems that write or read observations. Only the hash of a secret is
-- kept. A revoked token's row stays, since audit entries name it.
CREATE TABLE tokens (
    id            BLOB PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    secret_sha256 BLOB NOT NULL UNIQUE,
    area          TEXT NOT NULL,
    may_read      INTEGER NOT NULL,
    may_write     INTEGER NOT NULL,
    thing_tag     TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    created_by    TEXT NOT NULL,
    expires_at    INTEGER,
    revoked_at    INTEGER,
    last_used_day INTEGER
);

-- Files of observations on their way into the lake, and how far each has come.
CREATE TABLE imports (
    id          BLOB PRIMARY KEY,
    sort        TEXT NOT NULL UNIQUE,
    owner       TEXT NOT NULL,
    owner_name  TEXT NOT NULL,
    areas       TEXT NOT NULL,
    name        TEXT NOT NULL,
    format      TEXT NOT NULL,
    columns     TEXT NOT NULL,
    bytes       INTEGER NOT NULL,
    state       TEXT NOT NULL,
    position    TEXT,
    bytes_read  INTEGER NOT NULL,
    samples     INTEGER NOT NULL,
    wrong       INTEGER NOT NULL,
    wrong_rows  TEXT NOT NULL,
    reason      TEXT,
    created_at  INTEGER NOT NULL,
    finished_at INTEGER
);
CREATE INDEX imports_state ON imports (state, sort);
CREATE INDEX imports_owner ON imports (owner, sort);
