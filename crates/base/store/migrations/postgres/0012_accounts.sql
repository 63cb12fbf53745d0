-- Accounts over their life: where a person belongs, forced change, disabling, second factor, links
-- that set a password once, sessions that can be told apart, grants and duties that can be named.
ALTER TABLE people ADD COLUMN area TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE people ADD COLUMN must_change BIGINT NOT NULL DEFAULT 0;
ALTER TABLE people ADD COLUMN password_at BIGINT;
ALTER TABLE people ADD COLUMN disabled_at BIGINT;
-- The secret is encrypted; it counts from the moment at which a first code was confirmed.
ALTER TABLE people ADD COLUMN totp BYTEA;
ALTER TABLE people ADD COLUMN totp_at BIGINT;
-- The last step of which a code was taken: each code is good once.
ALTER TABLE people ADD COLUMN totp_step BIGINT NOT NULL DEFAULT 0;
UPDATE people SET area = COALESCE(
    (SELECT o.area FROM organisations o WHERE o.code = people.organisation),
    (SELECT MIN(g.area) FROM grants g WHERE g.person = people.id),
    (SELECT MIN(d.area) FROM duties d WHERE d.person = people.id),
    (SELECT MIN(a.path) FROM areas a),
    '');
UPDATE people SET password_at = created_at WHERE password IS NOT NULL;
CREATE INDEX people_area ON people (area);

-- Personal data: encrypted, and an HMAC of the whole value by which it is found.
ALTER TABLE people ADD COLUMN phone BYTEA;
ALTER TABLE people ADD COLUMN phone_index BYTEA;
ALTER TABLE people ADD COLUMN id_number BYTEA;
ALTER TABLE people ADD COLUMN id_number_index BYTEA;
CREATE INDEX people_phone ON people (phone_index);
CREATE INDEX people_id_number ON people (id_number_index);

CREATE TABLE recovery_codes (
    person UUID NOT NULL REFERENCES people (id),
    sha256 BYTEA NOT NULL,
    PRIMARY KEY (person, sha256)
);

-- A link sets a password once; using it, or making another, deletes it.
CREATE TABLE account_links (
    person     UUID PRIMARY KEY REFERENCES people (id),
    sha256     BYTEA NOT NULL UNIQUE,
    kind       TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);

ALTER TABLE sessions ADD COLUMN id UUID NOT NULL DEFAULT gen_random_uuid();
ALTER TABLE sessions ADD COLUMN address TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN agent TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN used_at BIGINT NOT NULL DEFAULT 0;
UPDATE sessions SET used_at = created_at;
CREATE UNIQUE INDEX sessions_id ON sessions (id);
CREATE INDEX sessions_person ON sessions (person);

ALTER TABLE grants ADD COLUMN id UUID NOT NULL DEFAULT gen_random_uuid();
CREATE UNIQUE INDEX grants_id ON grants (id);

ALTER TABLE duties ADD COLUMN id UUID NOT NULL DEFAULT gen_random_uuid();
CREATE UNIQUE INDEX duties_id ON duties (id);

-- The chain over the audit: an entry's hash covers its content and the hash before it. Entries from
-- before have neither and form the start, whose hash is computed when this version opens first.
ALTER TABLE audit ADD COLUMN position BIGINT;
ALTER TABLE audit ADD COLUMN hash BYTEA;
CREATE UNIQUE INDEX audit_position ON audit (position);
CREATE INDEX audit_at ON audit (at, seq);
CREATE INDEX audit_actor ON audit (actor, at);
CREATE INDEX audit_request ON audit (request);

-- One row: the last entry, and the start.
CREATE TABLE audit_head (
    one           BIGINT PRIMARY KEY,
    position      BIGINT NOT NULL,
    hash          BYTEA NOT NULL,
    start_seq     BIGINT NOT NULL,
    start_entries BIGINT NOT NULL,
    start_hash    BYTEA NOT NULL
);
