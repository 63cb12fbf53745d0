-- What the rules counted, as of a segment (centres/watch): a start replays from there, and the log
-- may let go of the segments before.
CREATE TABLE judge_state (
    partition BIGINT PRIMARY KEY,
    segment   BIGINT NOT NULL,
    state     BYTEA NOT NULL,
    at        BIGINT NOT NULL
);
