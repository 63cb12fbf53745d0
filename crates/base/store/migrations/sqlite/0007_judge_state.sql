-- What the rules counted, as of a segment (centres/watch): a start replays from there, and the log
-- may let go of the segments before.
CREATE TABLE judge_state (
    partition INTEGER PRIMARY KEY,
    segment   INTEGER NOT NULL,
    state     BLOB NOT NULL,
    at        INTEGER NOT NULL
);
