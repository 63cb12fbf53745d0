-- What base/work owns: process definitions, cases, tasks, timers, jobs and the timeline.
CREATE TABLE process_definitions (
    key          TEXT NOT NULL,
    version      INTEGER NOT NULL,
    pack         TEXT NOT NULL,
    sha256       BLOB NOT NULL,
    xml          TEXT NOT NULL,
    forms        TEXT NOT NULL,
    installed_at INTEGER NOT NULL,
    PRIMARY KEY (key, version)
);

CREATE TABLE cases (
    id          BLOB PRIMARY KEY,
    number      TEXT NOT NULL UNIQUE,
    process     TEXT NOT NULL,
    version     INTEGER NOT NULL,
    rule        TEXT NOT NULL,
    correlation TEXT NOT NULL,
    title_zh    TEXT NOT NULL,
    title_en    TEXT NOT NULL,
    area        TEXT NOT NULL,
    place_zh    TEXT NOT NULL,
    place_en    TEXT NOT NULL,
    location    TEXT,
    severity    INTEGER NOT NULL,
    state       TEXT NOT NULL,
    closed      INTEGER NOT NULL,
    outcome     TEXT,
    opened_at   INTEGER NOT NULL,
    closed_at   INTEGER,
    due_at      INTEGER,
    messages    TEXT NOT NULL,
    instance    TEXT NOT NULL
);
CREATE UNIQUE INDEX cases_open ON cases (process, correlation) WHERE closed = 0;
CREATE INDEX cases_area ON cases (area, closed, number);

CREATE TABLE case_alerts (
    case_id   BLOB NOT NULL REFERENCES cases (id),
    alert     BLOB NOT NULL,
    sort      INTEGER NOT NULL,
    severity  INTEGER NOT NULL,
    state     TEXT NOT NULL,
    facts     TEXT NOT NULL,
    joined_at INTEGER NOT NULL,
    PRIMARY KEY (case_id, alert)
);
CREATE INDEX case_alerts_alert ON case_alerts (alert);

CREATE TABLE tasks (
    id              BLOB PRIMARY KEY,
    sort            TEXT NOT NULL UNIQUE,
    case_id         BLOB NOT NULL REFERENCES cases (id),
    token           INTEGER NOT NULL,
    element         TEXT NOT NULL,
    level           INTEGER NOT NULL,
    post            TEXT NOT NULL,
    area            TEXT NOT NULL,
    state           TEXT NOT NULL,
    rank            INTEGER NOT NULL,
    due_sort        INTEGER NOT NULL,
    opened_at       INTEGER NOT NULL,
    due_at          INTEGER,
    escalates_at    INTEGER,
    assignee        BLOB,
    assignee_name   TEXT,
    completed_at    INTEGER,
    completed_by    TEXT,
    completed_by_id BLOB,
    outcome         TEXT
);
CREATE INDEX tasks_case ON tasks (case_id, state);
CREATE INDEX tasks_post ON tasks (state, post, area);
CREATE INDEX tasks_list ON tasks (rank, due_sort, sort);

-- Instants at which something happens by itself: a boundary event, an escalation, a restart.
CREATE TABLE timers (
    id       BLOB PRIMARY KEY,
    kind     TEXT NOT NULL,
    case_id  BLOB NOT NULL REFERENCES cases (id),
    token    INTEGER NOT NULL,
    element  TEXT NOT NULL,
    level    INTEGER NOT NULL,
    due_at   INTEGER NOT NULL,
    next_at  INTEGER NOT NULL,
    attempts INTEGER NOT NULL
);
CREATE INDEX timers_next ON timers (next_at);
CREATE INDEX timers_case ON timers (case_id, kind);

-- Service tasks that leave the hub; run after the commit, once in effect.
CREATE TABLE jobs (
    id         BLOB PRIMARY KEY,
    case_id    BLOB NOT NULL REFERENCES cases (id),
    token      INTEGER NOT NULL,
    element    TEXT NOT NULL,
    service    TEXT NOT NULL,
    params     TEXT NOT NULL,
    state      TEXT NOT NULL,
    attempts   INTEGER NOT NULL,
    next_at    INTEGER NOT NULL,
    reason     TEXT,
    created_at INTEGER NOT NULL
);
CREATE INDEX jobs_waiting ON jobs (state, next_at);
CREATE INDEX jobs_case ON jobs (case_id);

-- The timeline of a case.
CREATE TABLE case_log (
    sort    TEXT PRIMARY KEY,
    case_id BLOB NOT NULL REFERENCES cases (id),
    at      INTEGER NOT NULL,
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
