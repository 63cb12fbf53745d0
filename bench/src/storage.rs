//! What a point costs on disk after compaction, on three named sets of series.
//!
//! - `hydrant pressure`: 420 hydrants, every 30 s with a jitter of ±50 ms in whole milliseconds,
//!   in steps of 0.001 MPa, with a swing of the day and noise.
//! - `slow temperature`: 420 weather stations at the same times, in steps of 0.1 °C, with a swing
//!   of the day and little noise.
//! - `never repeating`: 420 noise meters at the same times, floats of 15 digits at random.
//!
//! Times are kept to the microsecond. Beside it stands what Gorilla's authors published for their
//! own data (1.37 bytes, with times of whole seconds): a figure of a paper, not of this run.

use std::f64::consts::TAU;

use anyhow::Result;
use rand::Rng as _;
use rand::rngs::StdRng;

use crate::bench::{Bench, Wanted, conclude};
use crate::city::Thing;
use crate::figure::{Figure, table};
use crate::lake::{Point, Table, eager, history_door, now_micros, write};
use crate::peer::Python;

/// Its name.
pub const NAME: &str = "storage";
/// Series of each set.
const SERIES: usize = 420;
/// Points of each: two days of one every 30 s.
const POINTS: usize = 5760;
/// Between two points, microseconds.
const STEP: i64 = 30_000_000;
/// A day in steps.
const DAY: f64 = 2880.0;
/// The jitter, milliseconds either way.
pub const JITTER: i64 = 50;
/// Pelkonen et al., Gorilla: a fast, scalable, in-memory time series database, VLDB 2015.
const GORILLA: f64 = 1.37;
/// Bytes a point that must be, and that are aimed at, in steps.
const BOUNDS: (f64, f64) = (4.2, 3.0);

/// A named set of series.
struct Set {
    name: &'static str,
    kind: &'static str,
    datastream: &'static str,
    value: fn(usize, usize, &mut StdRng) -> (f64, usize),
    bounded: bool,
}

const SETS: [Set; 3] = [
    Set {
        name: "hydrant pressure",
        kind: "fire-hydrant",
        datastream: "pressure",
        value: pressure,
        bounded: true,
    },
    Set {
        name: "slow temperature",
        kind: "weather-station",
        datastream: "temperature",
        value: temperature,
        bounded: true,
    },
    Set { name: "never repeating", kind: "noise-meter", datastream: "level", value: level, bounded: false },
];

/// About a normal distribution of mean 0 and deviation 1: the sum of twelve uniform ones, less six.
fn noise(random: &mut StdRng) -> f64 {
    (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0
}

/// The pressure of a hydrant in MPa, and its digits.
pub fn pressure(series: usize, step: usize, random: &mut StdRng) -> (f64, usize) {
    let base = 0.28 + (series % 12) as f64 * 0.01;
    (base + 0.03 * (TAU * step as f64 / DAY).sin() + 0.002 * noise(random), 3)
}

fn temperature(series: usize, step: usize, random: &mut StdRng) -> (f64, usize) {
    let base = 14.0 + (series % 7) as f64 * 0.3;
    (base + 5.0 * (TAU * (step as f64 / DAY - 0.25)).sin() + 0.03 * noise(random), 1)
}

fn level(_: usize, _: usize, random: &mut StdRng) -> (f64, usize) {
    (40.0 + 40.0 * random.random::<f64>(), 15)
}

/// Runs the bench, and prints what it found.
pub fn run(bench: &Bench) -> Result<()> {
    let folder = bench.folder()?;
    let path = folder.path();
    bench.introduce(NAME, path)?;
    let mut python = Python::start()?;
    let (mut rows, mut figures) = (Vec::new(), Vec::new());
    for set in &SETS {
        if bench.only.as_ref().is_some_and(|only| !set.name.contains(only)) {
            continue;
        }
        let things: Vec<Thing> = (0..SERIES)
            .map(|n| Thing::new(format!("bench-{n:05}"), set.kind, format!("main-{n:05}")))
            .collect();
        let hub = bench.hub(path, set.datastream, &Wanted { settings: eager(), ..Wanted::new(&things) })?;
        let first = now_micros() - POINTS as i64 * STEP;
        let point = |series: usize, step: usize, random: &mut StdRng| {
            let jitter = random.random_range(-JITTER..=JITTER) * 1000;
            let (value, decimals) = (set.value)(series, step, random);
            Point { time: first + step as i64 * STEP + jitter, value, decimals }
        };
        eprintln!("{}: writing {} points …", set.name, SERIES * POINTS);
        let written = write(&history_door(&hub)?, &things, set.datastream, POINTS, point)?;
        eprintln!("waiting for the lake …");
        let state = Table::of(&path.join(set.datastream)).settled(&mut python, written)?;
        let each = state.bytes as f64 / state.rows as f64;
        rows.push(vec![
            set.name.to_owned(),
            state.rows.to_string(),
            state.files.len().to_string(),
            format!("{:.2}", state.bytes as f64 / 1_048_576.0),
            format!("{each:.2}"),
        ]);
        let mut figure = Figure::new(NAME, format!("bytes a point, {}", set.name), each, "bytes");
        if set.bounded {
            figure = figure.below(BOUNDS.0, BOUNDS.1);
        }
        figures.push(figure);
        drop(hub);
    }
    anyhow::ensure!(!figures.is_empty(), "--only names no set of series");
    let published = ["Gorilla, as published", "", "", ""].map(ToOwned::to_owned).into_iter();
    rows.push(published.chain([GORILLA.to_string()]).collect());
    println!("{}", table(&["", "points", "files", "MiB", "bytes a point"], &rows));
    conclude(&figures)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn the_sets_are_what_they_are_called() {
        let mut random = StdRng::seed_from_u64(1);
        let mut distinct = |set: &Set| {
            let digits = |step| {
                let (value, decimals) = (set.value)(0, step, &mut random);
                format!("{value:.decimals$}")
            };
            let all: std::collections::HashSet<String> = (0..POINTS).map(digits).collect();
            all.len()
        };
        let [pressure, temperature, level] = SETS.each_ref().map(&mut distinct);
        assert!((60..100).contains(&pressure), "{pressure}");
        assert!((95..115).contains(&temperature), "{temperature}");
        assert_eq!(level, POINTS);
        let swing = |step| (SETS[0].value)(0, step, &mut StdRng::seed_from_u64(9)).0;
        assert!(swing(720) - swing(2160) > 0.05);
    }
}
