-- Integrators' tokens: other systems that write or read observations. Only the hash of a secret is
-- kept. A revoked token's row stays, since audit entries name it.
CREATE TABLE tokens (
    id            UUID PRIMARY KEY,
    name          TEXT COLLATE "C" NOT NULL UNIQUE,
    secret_sha256 BYTEA NOT NULL UNIQUE,
    area          TEXT COLLATE "C" NOT NULL,
    may_read      BIGINT NOT NULL,
    may_write     BIGINT NOT NULL,
    thing_tag     TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    created_by    TEXT NOT NULL,
    expires_at    BIGINT,
    revoked_at    BIGINT,
    last_used_day BIGINT
);

-- Files of observations on their way into the lake, and how far each has come.
CREATE TABLE imports (
    id          UUID PRIMARY KEY,
    sort        TEXT COLLATE "C" NOT NULL UNIQUE,
    owner       TEXT NOT NULL,
    owner_name  TEXT NOT NULL,
    areas       TEXT NOT NULL,
    name        TEXT NOT NULL,
    format      TEXT NOT NULL,
    columns     TEXT NOT NULL,
    bytes       BIGINT NOT NULL,
    state       TEXT NOT NULL,
    position    TEXT,
    bytes_read  BIGINT NOT NULL,
    samples     BIGINT NOT NULL,
    wrong       BIGINT NOT NULL,
    wrong_rows  TEXT NOT NULL,
    reason      TEXT,
    created_at  BIGINT NOT NULL,
    finished_at BIGINT
);
CREATE INDEX imports_state ON imports (state, sort);
CREATE INDEX imports_owner ON imports (owner, sort);
