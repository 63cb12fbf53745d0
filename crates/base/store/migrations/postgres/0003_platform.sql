-- What base/platform owns: the area tree, people and what they may do, files, notices, packs.
CREATE TABLE areas (
    path    TEXT COLLATE "C" PRIMARY KEY,
    code    TEXT NOT NULL UNIQUE,
    level   TEXT NOT NULL,
    name_zh TEXT NOT NULL,
    name_en TEXT NOT NULL,
    sort    BIGINT NOT NULL
);

CREATE TABLE area_features (
    area    TEXT COLLATE "C" NOT NULL,
    sort    BIGINT NOT NULL,
    feature TEXT NOT NULL,
    PRIMARY KEY (area, sort)
);

CREATE TABLE organisations (
    code    TEXT PRIMARY KEY,
    kind    TEXT NOT NULL,
    area    TEXT COLLATE "C" NOT NULL,
    name_zh TEXT NOT NULL,
    name_en TEXT NOT NULL
);

CREATE TABLE people (
    id           UUID PRIMARY KEY,
    login        TEXT NOT NULL UNIQUE,
    name         TEXT NOT NULL,
    organisation TEXT,
    password     TEXT,
    demo         BIGINT NOT NULL,
    created_at   BIGINT NOT NULL
);

CREATE TABLE roles (
    name        TEXT PRIMARY KEY,
    pack        TEXT NOT NULL,
    title_zh    TEXT NOT NULL,
    title_en    TEXT NOT NULL,
    permissions TEXT NOT NULL
);

CREATE TABLE grants (
    person  UUID NOT NULL REFERENCES people (id),
    role    TEXT NOT NULL,
    area    TEXT COLLATE "C" NOT NULL,
    from_at BIGINT NOT NULL,
    to_at   BIGINT,
    PRIMARY KEY (person, role, area, from_at)
);

CREATE TABLE posts (
    code    TEXT PRIMARY KEY,
    name_zh TEXT NOT NULL,
    name_en TEXT NOT NULL,
    level   TEXT NOT NULL
);

CREATE TABLE duties (
    person  UUID NOT NULL REFERENCES people (id),
    post    TEXT NOT NULL,
    area    TEXT COLLATE "C" NOT NULL,
    from_at BIGINT NOT NULL,
    to_at   BIGINT,
    PRIMARY KEY (person, post, area, from_at)
);
CREATE INDEX duties_post ON duties (post, area);

CREATE TABLE sessions (
    token      BYTEA PRIMARY KEY,
    person     UUID NOT NULL REFERENCES people (id),
    csrf       TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX sessions_expiry ON sessions (expires_at);

CREATE TABLE files (
    id         UUID PRIMARY KEY,
    sha256     BYTEA NOT NULL,
    name       TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size       BIGINT NOT NULL,
    person     UUID NOT NULL,
    area       TEXT COLLATE "C",
    owner      TEXT,
    created_at BIGINT NOT NULL
);

CREATE TABLE notices (
    id           UUID PRIMARY KEY,
    key          TEXT NOT NULL UNIQUE,
    area         TEXT COLLATE "C" NOT NULL,
    public       BIGINT NOT NULL,
    severity     BIGINT,
    title_zh     TEXT NOT NULL,
    title_en     TEXT NOT NULL,
    body_zh      TEXT NOT NULL,
    body_en      TEXT NOT NULL,
    published_at BIGINT NOT NULL,
    ended_at     BIGINT,
    ended        BIGINT NOT NULL
);
CREATE INDEX notices_area ON notices (area, ended, published_at);

CREATE TABLE packs (
    name         TEXT PRIMARY KEY,
    version      TEXT NOT NULL,
    files        TEXT NOT NULL,
    installed_at BIGINT NOT NULL
);
