-- What base/work owns: process definitions, cases, tasks, timers, jobs and the timeline.
CREATE TABLE process_definitions (
    key          TEXT NOT NULL,
    version      BIGINT NOT NULL,
    pack         TEXT NOT NULL,
    sha256       BYTEA NOT NULL,
    xml          TEXT NOT NULL,
    forms        TEXT NOT NULL,
    installed_at BIGINT NOT NULL,
    PRIMARY KEY (key, version)
);

CREATE TABLE cases (
    id          UUID PRIMARY KEY,
    number      TEXT COLLATE "C" NOT NULL UNIQUE,
    process     TEXT NOT NULL,
    version     BIGINT NOT NULL,
    rule        TEXT NOT NULL,
    correlation TEXT NOT NULL,
    title_zh    TEXT NOT NULL,
    title_en    TEXT NOT NULL,
    area        TEXT COLLATE "C" NOT NULL,
    place_zh    TEXT NOT NULL,
    place_en    TEXT NOT NULL,
    location    TEXT,
    severity    BIGINT NOT NULL,
    state       TEXT NOT NULL,
    closed      BIGINT NOT NULL,
    outcome     TEXT,
    opened_at   BIGINT NOT NULL,
    closed_at   BIGINT,
    due_at      BIGINT,
    messages    TEXT NOT NULL,
    instance    TEXT NOT NULL
);
CREATE UNIQUE INDEX cases_open ON cases (process, correlation) WHERE closed = 0;
CREATE INDEX cases_area ON cases (area, closed, number);

CREATE TABLE case_alerts (
    case_id   UUID NOT NULL REFERENCES cases (id),
    alert     UUID NOT NULL,
    sort      BIGINT NOT NULL,
    severity  BIGINT NOT NULL,
    state     TEXT NOT NULL,
    facts     TEXT NOT NULL,
    joined_at BIGINT NOT NULL,
    PRIMARY KEY (case_id, alert)
);
CREATE INDEX case_alerts_alert ON case_alerts (alert);

CREATE TABLE tasks (
    id              UUID PRIMARY KEY,
    sort            TEXT COLLATE "C" NOT NULL UNIQUE,
    case_id         UUID NOT NULL REFERENCES cases (id),
    token           BIGINT NOT NULL,
    element         TEXT NOT NULL,
    level           BIGINT NOT NULL,
    post            TEXT NOT NULL,
    area            TEXT COLLATE "C" NOT NULL,
    state           TEXT NOT NULL,
    rank            BIGINT NOT NULL,
    due_sort        BIGINT NOT NULL,
    opened_at       BIGINT NOT NULL,
    due_at          BIGINT,
    escalates_at    BIGINT,
    assignee        UUID,
    assignee_name   TEXT,
    completed_at    BIGINT,
    completed_by    TEXT,
    completed_by_id UUID,
    outcome         TEXT
);
CREATE INDEX tasks_case ON tasks (case_id, state);
CREATE INDEX tasks_post ON tasks (state, post, area);
CREATE INDEX tasks_list ON tasks (rank, due_sort, sort);

-- Instants at which something happens by itself: a boundary event, an escalation, a restart.
CREATE TABLE timers (
    id       UUID PRIMARY KEY,
    kind     TEXT NOT NULL,
    case_id  UUID NOT NULL REFERENCES cases (id),
    token    BIGINT NOT NULL,
    element  TEXT NOT NULL,
    level    BIGINT NOT NULL,
    due_at   BIGINT NOT NULL,
    next_at  BIGINT NOT NULL,
    attempts BIGINT NOT NULL
);
CREATE INDEX timers_next ON timers (next_at);
CREATE INDEX timers_case ON timers (case_id, kind);

-- Service tasks that leave the hub; run after the commit, once in effect.
CREATE TABLE jobs (
    id         UUID PRIMARY KEY,
    case_id    UUID NOT NULL REFERENCES cases (id),
    token      BIGINT NOT NULL,
    element    TEXT NOT NULL,
    service    TEXT NOT NULL,
    params     TEXT NOT NULL,
    state      TEXT NOT NULL,
    attempts   BIGINT NOT NULL,
    next_at    BIGINT NOT NULL,
    reason     TEXT,
    created_at BIGINT NOT NULL
);
CREATE INDEX jobs_waiting ON jobs (state, next_at);
CREATE INDEX jobs_case ON jobs (case_id);

-- The timeline of a case.
CREATE TABLE case_log (
    sort    TEXT COLLATE "C" PRIMARY KEY,
    case_id UUID NOT NULL REFERENCES cases (id),
    at      BIGINT NOT NULL,
    kind    TEXT NOT NULL,
    element TEXT,
    text_zh TEXT NOT NULL,
    text_en TEXT NOT NULL,
    by_name TEXT,
    told    TEXT,
    given   TEXT,
    files   TEXT NOT NULL
);
CREATE INDEX case_log_case ON case_log (case_id, sort);
