-- The lake's log: one row is one committed batch of observations. (On SQLite it is a file of its
-- own beside the state, with a writer of its own.)
CREATE TABLE segments (
    seq         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partition   BIGINT NOT NULL,
    rows        BIGINT NOT NULL,
    min_time    BIGINT NOT NULL,
    max_time    BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    arrow_ipc   BYTEA NOT NULL,
    checksum    BIGINT NOT NULL
);
-- Measurements hardly compress by pglz: do not try at every commit.
ALTER TABLE segments ALTER COLUMN arrow_ipc SET STORAGE EXTERNAL;
CREATE INDEX segments_received ON segments (received_at);

-- The last value of every datastream as of a segment, so that opening need not read all history.
CREATE TABLE last_values (
    partition BIGINT PRIMARY KEY,
    seq       BIGINT NOT NULL,
    arrow_ipc BYTEA NOT NULL,
    checksum  BIGINT NOT NULL
);
ALTER TABLE last_values ALTER COLUMN arrow_ipc SET STORAGE EXTERNAL;
