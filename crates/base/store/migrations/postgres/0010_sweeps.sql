-- What centres/watch owns: sweeps (巡检), what each device answered, and when sweeps start by themselves.
-- `state` is running, ended or stopped; `reason` says how it ended: answered (by all), limit, stopped,
-- restart. Counts stand as they are once it has ended.
CREATE TABLE sweeps (
    id             UUID PRIMARY KEY,
    number         TEXT COLLATE "C" NOT NULL UNIQUE,
    area           TEXT COLLATE "C" NOT NULL,
    type           TEXT NOT NULL,
    datastream     TEXT NOT NULL,
    limit_ms       BIGINT NOT NULL,
    state          TEXT NOT NULL,
    reason         TEXT,
    started_at     BIGINT NOT NULL,
    started_by     UUID,
    by_name        TEXT NOT NULL,
    schedule       UUID,
    repeats        UUID,
    stopped_by     TEXT,
    ended_at       BIGINT,
    last_answer_at BIGINT,
    total          BIGINT NOT NULL,
    asked          BIGINT NOT NULL,
    ok             BIGINT NOT NULL,
    low            BIGINT NOT NULL,
    fault          BIGINT NOT NULL,
    silent         BIGINT NOT NULL
);
CREATE INDEX sweeps_list ON sweeps (started_at DESC, number DESC);
CREATE INDEX sweeps_scope ON sweeps (area, type, datastream, started_at DESC);
CREATE INDEX sweeps_state ON sweeps (state);

-- The thing as it was when it was asked stands in the row. `verdict` is open, ok, low, fault or silent;
-- `sort` orders the list, what needs a person first. `asked_at` is NULL for a device that was not
-- connected; `last_at` and `last_value` are what was known before.
CREATE TABLE sweep_rows (
    sweep       UUID NOT NULL REFERENCES sweeps (id),
    thing       TEXT COLLATE "C" NOT NULL,
    thing_zh    TEXT NOT NULL,
    thing_en    TEXT NOT NULL,
    area        TEXT COLLATE "C" NOT NULL,
    place_zh    TEXT NOT NULL,
    place_en    TEXT NOT NULL,
    datastream  BIGINT NOT NULL,
    asked_at    BIGINT,
    answered_at BIGINT,
    measured_at BIGINT,
    value       DOUBLE PRECISION,
    via         TEXT,
    note        TEXT,
    last_at     BIGINT,
    last_value  DOUBLE PRECISION,
    verdict     TEXT NOT NULL,
    severity    BIGINT,
    sort        BIGINT NOT NULL,
    PRIMARY KEY (sweep, thing)
);
CREATE INDEX sweep_rows_list ON sweep_rows (sweep, sort, thing);

-- Daily at `minute` of the city's day; `next_at` is when it is due.
CREATE TABLE sweep_schedules (
    id         UUID PRIMARY KEY,
    area       TEXT COLLATE "C" NOT NULL,
    type       TEXT NOT NULL,
    datastream TEXT NOT NULL,
    limit_ms   BIGINT NOT NULL,
    minute     BIGINT NOT NULL,
    next_at    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    by_name    TEXT NOT NULL,
    UNIQUE (area, type, datastream, minute)
);
CREATE INDEX sweep_schedules_due ON sweep_schedules (next_at);
