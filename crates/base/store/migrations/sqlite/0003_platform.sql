-- What base/platform owns: the area tree, people and what they may do, files, notices, packs.
CREATE TABLE areas (
    path    TEXT PRIMARY KEY,
    code    TEXT NOT NULL UNIQUE,
    level   TEXT NOT NULL,
    name_zh TEXT NOT NULL,
    name_en TEXT NOT NULL,
    sort    INTEGER NOT NULL
);

CREATE TABLE area_features (
    area    TEXT NOT NULL,
    sort    INTEGER NOT NULL,
    feature TEXT NOT NULL,
    PRIMARY KEY (area, sort)
);

CREATE TABLE organisations (
    code    TEXT PRIMARY KEY,
    kind    TEXT NOT NULL,
    area    TEXT NOT NULL,
    name_zh TEXT NOT NULL,
    name_en TEXT NOT NULL
);

CREATE TABLE people (
    id           BLOB PRIMARY KEY,
    login        TEXT NOT NULL UNIQUE,
    name         TEXT NOT NULL,
    organisation TEXT,
    password     TEXT,
    demo         INTEGER NOT NULL,
    created_at   INTEGER NOT NULL
);

CREATE TABLE roles (
    name        TEXT PRIMARY KEY,
    pack        TEXT NOT NULL,
    title_zh    TEXT NOT NULL,
    title_en    TEXT NOT NULL,
    permissions TEXT NOT NULL
);

CREATE TABLE grants (
    person  BLOB NOT NULL REFERENCES people (id),
    role    TEXT NOT NULL,
    area    TEXT NOT NULL,
    from_at INTEGER NOT NULL,
    to_at   INTEGER,
    PRIMARY KEY (person, role, area, from_at)
);

CREATE TABLE posts (
    code    TEXT PRIMARY KEY,
    name_zh TEXT NOT NULL,
    name_en TEXT NOT NULL,
    level   TEXT NOT NULL
);

CREATE TABLE duties (
    person  BLOB NOT NULL REFERENCES people (id),
    post    TEXT NOT NULL,
    area    TEXT NOT NULL,
    from_at INTEGER NOT NULL,
    to_at   INTEGER,
    PRIMARY KEY (person, post, area, from_at)
);
CREATE INDEX duties_post ON duties (post, area);

CREATE TABLE sessions (
    token      BLOB PRIMARY KEY,
    person     BLOB NOT NULL REFERENCES people (id),
    csrf       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
);
CREATE INDEX sessions_expiry ON sessions (expires_at);

CREATE TABLE files (
    id         BLOB PRIMARY KEY,
    sha256     BLOB NOT NULL,
    name       TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size       INTEGER NOT NULL,
    person     BLOB NOT NULL,
    area       TEXT,
    owner      TEXT,
    created_at INTEGER NOT NULL
);

CREATE TABLE notices (
    id           BLOB PRIMARY KEY,
    key          TEXT NOT NULL UNIQUE,
    area         TEXT NOT NULL,
    public       INTEGER NOT NULL,
    severity     INTEGER,
    title_zh     TEXT NOT NULL,
    title_en     TEXT NOT NULL,
    body_zh      TEXT NOT NULL,
    body_en      TEXT NOT NULL,
    published_at INTEGER NOT NULL,
    ended_at     INTEGER,
    ended        INTEGER NOT NULL
);
CREATE INDEX notices_area ON notices (area, ended, published_at);

CREATE TABLE packs (
    name         TEXT PRIMARY KEY,
    version      TEXT NOT NULL,
    files        TEXT NOT NULL,
    installed_at INTEGER NOT NULL
);
