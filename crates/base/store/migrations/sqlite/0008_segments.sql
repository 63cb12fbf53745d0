-- Observations are a file of their own beside the state (crates/base/lake/src/log.rs).
SELECT 1;
