-- What centres/watch owns: sweeps (巡检), what each device answered, and when sweeps start by themselves.
-- `state` is running, ended or stopped; `reason` says how it ended: answered (by all), limit, stopped,
-- restart. Counts stand as they are once it has ended.
CREATE TABLE sweeps (
    id             BLOB PRIMARY KEY,
    number         TEXT NOT NULL UNIQUE,
    area           TEXT NOT NULL,
    type           TEXT NOT NULL,
    datastream     TEXT NOT NULL,
    limit_ms       INTEGER NOT NULL,
    state          TEXT NOT NULL,
    reason         TEXT,
    started_at     INTEGER NOT NULL,
    started_by     BLOB,
    by_name        TEXT NOT NULL,
    schedule       BLOB,
    repeats        BLOB,
    stopped_by     TEXT,
    ended_at       INTEGER,
    last_answer_at INTEGER,
    total          INTEGER NOT NULL,
    asked          INTEGER NOT NULL,
    ok             INTEGER NOT NULL,
    low            INTEGER NOT NULL,
    fault          INTEGER NOT NULL,
    silent         INTEGER NOT NULL
);
CREATE INDEX sweeps_list ON sweeps (started_at DESC, number DESC);
CREATE INDEX sweeps_scope ON sweeps (area, type, datastream, started_at DESC);
CREATE INDEX sweeps_state ON sweeps (state);

-- The thing as it was when it was asked stands in the row. `verdict` is open, ok, low, fault or silent;
-- `sort` orders the list, what needs a person first. `asked_at` is NULL for a device that was not
-- connected; `last_at` and `last_value` are what was known before.
CREATE TABLE sweep_rows (
    sweep       BLOB NOT NULL REFERENCES sweeps (id),
    thing       TEXT NOT NULL,
    thing_zh    TEXT NOT NULL,
    thing_en    TEXT NOT NULL,
    area        TEXT NOT NULL,
    place_zh    TEXT NOT NULL,
    place_en    TEXT NOT NULL,
    datastream  INTEGER NOT NULL,
    asked_at    INTEGER,
    answered_at INTEGER,
    measured_at INTEGER,
    value       REAL,
    via         TEXT,
    note        TEXT,
    last_at     INTEGER,
    last_value  REAL,
    verdict     TEXT NOT NULL,
    severity    INTEGER,
    sort        INTEGER NOT NULL,
    PRIMARY KEY (sweep, thing)
);
CREATE INDEX sweep_rows_list ON sweep_rows (sweep, sort, thing);

-- Daily at `minute` of the city's day; `next_at` is when it is due.
CREATE TABLE sweep_schedules (
    id         BLOB PRIMARY KEY,
    area       TEXT NOT NULL,
    type       TEXT NOT NULL,
    datastream TEXT NOT NULL,
    limit_ms   INTEGER NOT NULL,
    minute     INTEGER NOT NULL,
    next_at    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    by_name    TEXT NOT NULL,
    UNIQUE (area, type, datastream, minute)
);
CREATE INDEX sweep_schedules_due ON sweep_schedules (next_at);
