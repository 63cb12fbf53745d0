//! Faults: what goes wrong, when, by a script or at once.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Deserializer, Serialize};

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// A main or riser bursts: its hydrants fall together within seconds, to 0.05–0.15 MPa.
    Burst {
        /// The main's code: `riser-03-1`, `main-2`.
        target: String,
    },
    /// A main loses pressure slowly.
    Leak {
        /// The main's code.
        target: String,
        /// How long until the leak is at its worst; 10 minutes when absent.
        #[serde(default = "ten_minutes", with = "duration")]
        over: Duration,
    },
    /// A device stops sending, its connection stays up.
    Silent {
        /// The thing's code.
        target: String,
        /// For how long; 5 minutes when absent.
        #[serde(default = "five_minutes", with = "duration")]
        duration: Duration,
    },
    /// A device sends what nobody can read, instead of its samples.
    Malformed {
        /// The thing's code.
        target: String,
        /// For how long; 1 minute when absent.
        #[serde(default = "one_minute", with = "duration")]
        duration: Duration,
    },
}

fn ten_minutes() -> Duration {
    Duration::from_secs(600)
}
fn five_minutes() -> Duration {
    Duration::from_secs(300)
}
fn one_minute() -> Duration {
    Duration::from_secs(60)
}

impl Fault {
    /// The main or thing it strikes.
    #[must_use]
    pub fn target(&self) -> &str {
        match self {
            Self::Burst { target }
            | Self::Leak { target, .. }
            | Self::Silent { target, .. }
            | Self::Malformed { target, .. } => target,
        }
    }
}

/// A fault of a script.
#[derive(Clone, Debug, PartialEq)]
pub struct Scripted {
    /// How long after the start.
    pub at: Duration,
    /// What happens then.
    pub fault: Fault,
}

/// As the file has it: `at` beside the fields of the fault.
#[derive(Deserialize)]
struct Entry {
    #[serde(deserialize_with = "duration::deserialize")]
    at: Duration,
    #[serde(flatten)]
    rest: toml::Table,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    fault: Vec<Entry>,
}

/// Reads a script: a TOML file of `[[fault]]` with `at`, `kind`, `target` and more by kind.
///
/// # Errors
/// With the fault's position when a kind, key or duration is unknown.
pub fn parse(text: &str) -> Result<Vec<Scripted>> {
    let file: File = toml::from_str(text)?;
    let mut script = Vec::with_capacity(file.fault.len());
    for (entry, n) in file.fault.into_iter().zip(1..) {
        let fault = entry.rest.try_into().with_context(|| format!("fault {n} of the script is wrong"))?;
        script.push(Scripted { at: entry.at, fault });
    }
    script.sort_by_key(|s| s.at);
    Ok(script)
}

/// Reads a script from a file.
///
/// # Errors
/// As [`parse`], with the file's name.
pub fn read(file: &Path) -> Result<Vec<Scripted>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot open {}", file.display()))?;
    parse(&text).with_context(|| format!("cannot read the faults in {}", file.display()))
}

/// Reads a duration: a number and `ms`, `s`, `m` or `h`, as in `30s`.
///
/// # Errors
/// A message that says what is expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is not a duration: write a number and ms, s, m or h, as in 30s");
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(bad()),
    };
    let number: f64 = number.parse().map_err(|_| bad())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| bad())
}

mod duration {
    use super::{Deserialize as _, Deserializer, Duration, parse_duration};

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        parse_duration(&text).map_err(serde::de::Error::custom)
    }

    pub fn serialize<S: serde::Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{}ms", duration.as_millis()))
    }
}
