-- The lake's log by ranges of numbers: what the table of observations has taken in goes by dropping
-- a partition, which deleting rows would leave as bloat. The hub makes partitions ahead
-- (crates/base/lake/src/log.rs); the table so far becomes the first.
CREATE SEQUENCE segments_number;
ALTER TABLE segments ALTER COLUMN seq DROP IDENTITY;
ALTER TABLE segments RENAME TO segments_first;
ALTER INDEX segments_pkey RENAME TO segments_first_pkey;
ALTER INDEX segments_received RENAME TO segments_first_received;
CREATE TABLE segments (
    seq         BIGINT NOT NULL DEFAULT nextval('segments_number') PRIMARY KEY,
    partition   BIGINT NOT NULL,
    rows        BIGINT NOT NULL,
    min_time    BIGINT NOT NULL,
    max_time    BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    arrow_ipc   BYTEA NOT NULL,
    checksum    BIGINT NOT NULL
) PARTITION BY RANGE (seq);
ALTER TABLE segments ALTER COLUMN arrow_ipc SET STORAGE EXTERNAL;
CREATE INDEX segments_received ON segments (received_at);
DO $$
DECLARE
    last BIGINT := (SELECT COALESCE(MAX(seq), 0) FROM segments_first);
BEGIN
    -- To the end of a range of 2048, as the hub makes them.
    EXECUTE format('ALTER TABLE segments ATTACH PARTITION segments_first FOR VALUES FROM (MINVALUE) TO (%s)',
        (last / 2048 + 1) * 2048);
    PERFORM setval('segments_number', GREATEST(last, 1), last > 0);
END $$;

-- Segments that could not be read back, kept when the log drops their numbers.
CREATE TABLE damaged_segments (
    seq         BIGINT PRIMARY KEY,
    received_at BIGINT NOT NULL,
    arrow_ipc   BYTEA NOT NULL,
    checksum    BIGINT NOT NULL,
    reason      TEXT NOT NULL
);
