//! A file of the table as the log of the table describes it, and what we write there about ours.

use std::collections::HashMap;

use deltalake_core::kernel::{Add, LogicalFileView, Remove};
use jiff::Timestamp;
use model::Micros;
use serde_json::{Value, json};

use crate::rows::Rows;

/// The first and the last day that engines write with four digits: 0001-01-01, 9999-12-31.
const FIRST_DAY: i64 = -719_162;
const LAST_DAY: i64 = 2_932_896;

/// The day of an instant: days since 1970-01-01 in UTC. Instants that no calendar of four digits
/// holds stand on its first or last day.
pub(crate) fn day_of(time: i64) -> i64 {
    time.div_euclid(Micros::DAY).clamp(FIRST_DAY, LAST_DAY)
}

/// A day as partitions are named: `2026-11-24`.
pub(crate) fn day_name(day: i64) -> String {
    instant(day.saturating_mul(Micros::DAY)).map_or_else(String::new, |t| t.strftime("%F").to_string())
}

/// The day that a partition names.
pub(crate) fn day_named(name: &str) -> Option<i64> {
    let midnight: Timestamp = format!("{name}T00:00:00Z").parse().ok()?;
    Some(midnight.as_microsecond().div_euclid(Micros::DAY))
}

fn instant(micros: i64) -> Option<Timestamp> {
    Timestamp::from_microsecond(micros).ok()
}

/// A file of the table.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// From the root of the table.
    pub(crate) path: String,
    /// Bytes.
    pub(crate) size: u64,
    pub(crate) day: i64,
    pub(crate) rows: u64,
    /// No datastream is outside.
    pub(crate) keys: (i32, i32),
    /// No time is outside.
    pub(crate) times: (i64, i64),
    removal: Remove,
}

impl File {
    /// Reads the log's entry. What it does not say is taken as "anything".
    pub(crate) fn new(entry: &LogicalFileView) -> Self {
        let stats: Value = entry.stats().and_then(|s| serde_json::from_str(&s).ok()).unwrap_or_default();
        let key = |which: &str| stats[which]["datastream"].as_i64().and_then(|k| i32::try_from(k).ok());
        let time = |which: &str| {
            let text = stats[which]["phenomenon_time"].as_str()?;
            text.parse::<Timestamp>().ok().map(Timestamp::as_microsecond)
        };
        let removal = entry.remove_action(true);
        let day = removal.partition_values.as_ref().and_then(|values| values.get("day")?.as_deref());
        // Others cut the latest time down to milliseconds.
        let latest = time("maxValues").map(|t| t.saturating_add(999));
        Self {
            path: removal.path.clone(),
            size: entry.size().unsigned_abs(),
            day: day.and_then(day_named).unwrap_or_default(),
            rows: stats["numRecords"].as_u64().unwrap_or_default(),
            keys: (key("minValues").unwrap_or(i32::MIN), key("maxValues").unwrap_or(i32::MAX)),
            times: (time("minValues").unwrap_or(i64::MIN), latest.unwrap_or(i64::MAX)),
            removal,
        }
    }

    /// Whether it may hold a row of these datastreams and times.
    pub(crate) fn may_hold(&self, keys: (i32, i32), times: (i64, i64)) -> bool {
        self.keys.0 <= keys.1 && keys.0 <= self.keys.1 && self.times.0 <= times.1 && times.0 <= self.times.1
    }

    /// The entry that takes it out of the table.
    pub(crate) fn remove(&self, data_change: bool) -> Remove {
        Remove {
            data_change,
            deletion_timestamp: Some(store::now().0.div_euclid(1000)),
            ..self.removal.clone()
        }
    }
}

/// The entry of a new file in the partition `day`.
pub(crate) fn add(path: String, size: usize, day: i64, stats: &Value, data_change: bool) -> Add {
    Add {
        path,
        partition_values: HashMap::from([("day".to_owned(), Some(day_name(day)))]),
        size: i64::try_from(size).unwrap_or(i64::MAX),
        modification_time: store::now().0.div_euclid(1000),
        data_change,
        stats: Some(stats.to_string()),
        tags: None,
        deletion_vector: None,
        base_row_id: None,
        default_row_commit_version: None,
        clustering_provider: None,
    }
}

/// What the log says about the rows of a file, so that readers need not open it.
pub(crate) fn statistics(rows: &Rows) -> Value {
    let nulls = json!({"datastream": 0, "phenomenon_time": 0, "value": 0, "quality": 0});
    let mut stats = json!({"numRecords": rows.len(), "nullCount": nulls});
    if let (Some(first), Some(last), Some((earliest, latest))) =
        (rows.keys().first(), rows.keys().last(), rows.span())
    {
        stats["minValues"] = json!({"datastream": first});
        stats["maxValues"] = json!({"datastream": last});
        // Whole milliseconds, outwards: some engines read no more digits.
        if let Some(earliest) = millis(earliest.0.div_euclid(1000)) {
            stats["minValues"]["phenomenon_time"] = earliest.into();
        }
        if let Some(latest) = millis(latest.0.saturating_add(999).div_euclid(1000)) {
            stats["maxValues"]["phenomenon_time"] = latest.into();
        }
    }
    stats
}

/// `2026-11-24T12:00:00.123Z`; none outside the calendar of four digits.
pub(crate) fn millis(millis: i64) -> Option<String> {
    let day = millis.div_euclid(Micros::DAY / 1000);
    if !(FIRST_DAY..=LAST_DAY).contains(&day) {
        return None;
    }
    let instant = Timestamp::from_millisecond(millis).ok()?;
    Some(instant.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}
