//! A reader who scans a year while 20,000 samples a second come in: what the acknowledgements feel.
//!
//! A year of a hundred series (one point every five minutes) lies in the lake. Eighty bodies of
//! 250 lines a second come over eight connections; in every other round a reader asks by SQL for
//! the whole year by device and month, again and again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rand::Rng as _;
use rand::rngs::StdRng;

use crate::bench::{Bench, Wanted, conclude, write_door};
use crate::city::Thing;
use crate::figure::Figure;
use crate::lake::{Point, Table, eager, history_door, now_micros, write};
use crate::line_protocol::{Bodies, Pace, load};
use crate::peer::Python;
use crate::query::analyst;
use crate::rounds::{Round, Side, report};
use crate::storage::{JITTER, pressure};

/// Its name.
pub const NAME: &str = "scan-under-load";
/// Samples a second.
const RATE: f64 = 20_000.0;
/// Connections.
const CONNECTIONS: usize = 8;
/// Lines of a body.
const LINES: usize = 250;
/// Series with a year behind them.
const SERIES: usize = 100;
/// Between two points of the year, microseconds.
const STEP: i64 = 300_000_000;
/// Points of each: 365 days.
const POINTS: usize = 365 * 288;
/// Load before the first round.
const WARM_UP: Duration = Duration::from_secs(3);
/// How many times the p99 without a reader the p99 with one may be. Nothing better is promised.
const BOUND: f64 = 2.0;
/// Of the rate asked for, what must have been held for the figure to mean something.
const HELD: f64 = 0.98;
/// More rows than the answer has.
const LIMIT: usize = 100_000;

/// Runs the bench, and prints what it found.
pub fn run(bench: &Bench) -> Result<()> {
    let folder = bench.folder()?;
    let path = folder.path();
    bench.introduce(NAME, path)?;
    let rate = bench.rate.unwrap_or(RATE);
    // The last ones have a year behind them, the others what comes now.
    let things = Thing::hydrants(CONNECTIONS * LINES + SERIES);
    let wanted = Wanted { analyst: true, settings: eager(), ..Wanted::new(&things) };
    let hub = bench.hub(path, "scan", &wanted)?;
    let first = now_micros() - POINTS as i64 * STEP;
    let point = |series: usize, step: usize, random: &mut StdRng| {
        let jitter = random.random_range(-JITTER..=JITTER) * 1000;
        let (value, decimals) = pressure(series, step * 10, random);
        Point { time: first + step as i64 * STEP + jitter, value, decimals }
    };
    eprintln!("writing a year, {} points …", SERIES * POINTS);
    let year = &things[CONNECTIONS * LINES..];
    let written = write(&history_door(&hub)?, year, "pressure", POINTS, point)?;
    eprintln!("waiting for the lake …");
    let mut python = Python::start()?;
    let state = Table::of(&path.join("scan")).settled(&mut python, written)?;
    drop(python);
    println!("  {} points in {} files of the lake", state.rows, state.files.len());

    // The year is read from the files, not from what is still in memory.
    let hub = bench.again(hub, path, "scan", &wanted)?;
    let api = analyst(bench, &hub)?;
    let door = write_door(&hub)?;
    let mut bodies: Vec<Bodies> = (0..CONNECTIONS).map(|n| Bodies::new(n * LINES, (n + 1) * LINES)).collect();
    let mut send = |lasts| load(&door, &mut bodies, lasts, Pace::Lines(rate));
    send(WARM_UP)?;
    let scan = format!(
        "SELECT datastream, date_trunc('month', phenomenon_time) AS month, avg(value) AS mean, min(value) AS least, \
         max(value) AS most, count(*) AS points FROM observations \
         WHERE phenomenon_time >= to_timestamp_micros({first}) GROUP BY datastream, date_trunc('month', phenomenon_time)"
    );
    let mut quiet = Side::new("nobody reads", vec![hub.pid()])?;
    let mut read = Side::new("somebody reads", vec![hub.pid()])?;
    let mut scans = Vec::new();
    for n in 1..=bench.rounds {
        eprintln!("round {n} of {} …", bench.rounds);
        quiet.round(|| send(bench.round))?;
        read.round(|| {
            let over = AtomicBool::new(false);
            std::thread::scope(|scope| -> Result<Round> {
                let reader = scope.spawn(|| -> Result<Vec<f64>> {
                    let mut took = Vec::new();
                    while !over.load(Ordering::Relaxed) {
                        let began = Instant::now();
                        bench.runtime.block_on(api.query(&scan, LIMIT)).context("a scan failed")?;
                        took.push(began.elapsed().as_secs_f64());
                    }
                    Ok(took)
                });
                let round = send(bench.round);
                over.store(true, Ordering::Relaxed);
                scans.extend(reader.join().unwrap_or_else(|_| bail!("the reader's thread broke"))?);
                round
            })
        })?;
    }
    println!("{}", report("samples", &[&quiet, &read]));
    println!("  {} scans of a year, {:.2} s in the middle\n", scans.len(), crate::rounds::median(&scans));
    if scans.len() < bench.rounds {
        bail!("too few scans ended to say anything");
    }
    let held = [&quiet, &read].iter().all(|side| side.rate() >= HELD * rate);
    let figure = |what: &str, quantile: f64| {
        let what = format!("{what} of the acknowledgement while a year is scanned, {rate:.0} samples/s");
        let figure = Figure::new(NAME, what, read.acks().millis(quantile), "ms");
        figure.beside("nobody reads", quiet.acks().millis(quantile))
    };
    conclude(&[figure("p99", 0.99).at_most(BOUND, BOUND, held), figure("p50", 0.5)])
}
