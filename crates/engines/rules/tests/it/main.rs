//! The rules through their public face.
#![allow(clippy::unwrap_used, reason = "tests")]

mod declare;
mod engine;
mod model_check;

use ::model::{DatastreamKey, Micros, observation::Sample};

/// The rules of the tests: those of hydrants, in three colours.
pub const HYDRANT: &str = r#"
[[rule]]
id = "low"
title = { zh = "水压低", en = "Pressure low" }
type = "fire-hydrant"
datastream = "pressure"
kind = "below"
samples = 2
clear_by = 0.02
clear_samples = 2

[[rule.level]]
severity = "yellow"
below = 0.20
label = { zh = "预警线", en = "Early warning" }

[[rule.level]]
severity = "orange"
below = 0.14
where = { siting = "outdoor" }
label = { zh = "平时最低", en = "Minimum in normal use" }

[[rule.level]]
severity = "red"
below = 0.10
where = { siting = "outdoor" }
label = { zh = "火灾时最低", en = "Minimum in a fire" }

[[rule]]
id = "silent"
title = { zh = "离线", en = "Offline" }
type = "fire-hydrant"
datastream = "pressure"
kind = "silence"
missed = 3
severity = "blue"
offline = true
"#;

/// A good sample of datastream `key` at second `time`.
pub fn sample(key: i32, time: i64, value: f64) -> Sample {
    Sample { datastream: DatastreamKey(key), time: seconds(time), value, quality: 0 }
}

/// The instant of a second.
pub fn seconds(s: i64) -> Micros {
    Micros(s * Micros::SECOND)
}
