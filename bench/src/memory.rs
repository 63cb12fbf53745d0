//! What the hub holds: under load for minutes, and for connections that say nothing.
//!
//! `load`: line protocol at the rate that `ingest-line-protocol` must reach (half of what
//! VictoriaMetrics takes on this machine, measured first, unless `--lines` says it); the memory of
//! the last minute beside that of the minute half-way. `idle`: ten thousand MQTT connections
//! without TLS.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::bench::{Bench, Wanted, conclude, write_door};
use crate::city::Thing;
use crate::figure::{Figure, table};
use crate::hub::Hub;
use crate::ingest_line_protocol::{SERIES, bodies};
use crate::interrupt;
use crate::line_protocol::{Pace, Target, load};
use crate::machine;
use crate::mqtt::{Version, connect};
use crate::peer::Victoria;
use crate::rounds::{Round, median};

/// Its name.
pub const NAME: &str = "memory";
/// Half of VictoriaMetrics' rate must be reached.
const MUST_OF_PEER: f64 = 0.5;
/// How much the last minute may hold of what the minute half-way held.
const GROWTH: f64 = 1.03;
/// Of the rate asked for, what must have been held for the figure to mean something.
const HELD: f64 = 0.98;
/// Connections that say nothing.
const IDLE: usize = 10_000;
/// KiB that each may take.
const IDLE_KIB: f64 = 16.0;
/// Before memory is looked at: allocators and caches settle.
const SETTLING: Duration = Duration::from_secs(10);

/// Runs the bench, and prints what it found.
pub fn run(bench: &Bench) -> Result<()> {
    let folder = bench.folder()?;
    let path = folder.path();
    bench.introduce(NAME, path)?;
    let wanted = |part: &str| bench.only.as_ref().is_none_or(|only| part.contains(only));
    let mut figures = Vec::new();
    if wanted("idle") {
        figures.push(idle(bench, path)?);
    }
    if wanted("load") {
        figures.push(under_load(bench, path)?);
    }
    anyhow::ensure!(!figures.is_empty(), "--only names no part; the parts are load and idle");
    conclude(&figures)
}

/// Ten thousand connections.
fn idle(bench: &Bench, folder: &std::path::Path) -> Result<Figure> {
    machine::allow_open_files(IDLE as u64 + 1024)?;
    let things = Thing::hydrants(IDLE);
    let settings = vec![("mqtt_connections", (IDLE + 100).to_string())];
    let hub = bench.hub(folder, "idle", &Wanted { token: false, settings, ..Wanted::new(&things) })?;
    interrupt::sleep(SETTLING)?;
    let before = machine::memory_kib(hub.pid())?;
    eprintln!("connecting {IDLE} devices …");
    let mut connections = Vec::with_capacity(IDLE);
    for (n, thing) in things.iter().enumerate() {
        interrupt::check()?;
        // Half of them the older way.
        let version = if n % 2 == 0 { Version::V5 } else { Version::V311 };
        connections.push(connect(hub.mqtt, version, thing)?);
    }
    interrupt::sleep(SETTLING)?;
    let connected = bench.counter(&hub, "zhongshu_mqtt_connections")?;
    let after = machine::memory_kib(hub.pid())?;
    drop(connections);
    let each = (after - before) / IDLE as f64;
    println!(
        "  {connected:.0} idle connections: {:.1} MiB before, {:.1} MiB after, {each:.2} KiB each\n",
        before / 1024.0,
        after / 1024.0
    );
    let all = (connected - IDLE as f64).abs() < 0.5;
    Ok(Figure::new(NAME, "memory of an idle MQTT connection", each, "KiB").at_most(IDLE_KIB, IDLE_KIB, all))
}

/// What VictoriaMetrics takes, lines a second.
fn peer_rate(bench: &Bench, folder: &std::path::Path) -> Result<f64> {
    let victoria = Victoria::start(folder)?;
    let target = Target { address: victoria.address, path: Victoria::PATH.to_owned(), token: None };
    let mut bodies = bodies();
    load(&target, &mut bodies, Duration::from_secs(3), Pace::Free)?;
    let round = load(&target, &mut bodies, bench.round, Pace::Free)?;
    println!("  {} takes {:.0} lines/s", victoria.name, round.rate());
    Ok(round.rate())
}

fn under_load(bench: &Bench, folder: &std::path::Path) -> Result<Figure> {
    let rate = match bench.rate {
        Some(rate) => rate,
        None => peer_rate(bench, folder)? * MUST_OF_PEER,
    };
    let things = Thing::hydrants(SERIES);
    let hub = bench.hub(folder, "load", &Wanted::new(&things))?;
    println!("  the hub is given {rate:.0} lines/s for {} minutes", bench.minutes);
    let (round, minutes) = watched(bench, &hub, rate)?;
    let rows: Vec<Vec<String>> = minutes
        .iter()
        .enumerate()
        .map(|(n, mib)| vec![format!("minute {}", n + 1), format!("{mib:.1}")])
        .collect();
    println!("{}", table(&["", "MiB in the middle"], &rows));
    println!(
        "  {:.0} lines/s acknowledged, p50 {:.1} ms, p99 {:.1} ms from when they were due; peak {:.0} MiB\n",
        round.rate(),
        round.acks.millis(0.5),
        round.acks.millis(0.99),
        machine::peak_memory_mib(hub.pid()).unwrap_or_default()
    );
    let half = minutes.get(minutes.len() / 2 - usize::from(minutes.len() > 1));
    let (half, last) = half.zip(minutes.last()).context("no minute was whole")?;
    let what = format!("memory of minute {} beside minute {}", minutes.len(), minutes.len().div_ceil(2));
    let held = round.rate() >= HELD * rate;
    Ok(Figure::new(NAME, what, *last, "MiB").beside("minute half-way", *half).at_most(GROWTH, GROWTH, held))
}

/// The load, and the hub's memory in MiB, the middle of each minute's readings.
fn watched(bench: &Bench, hub: &Hub, rate: f64) -> Result<(Round, Vec<f64>)> {
    let door = write_door(hub)?;
    let lasts = Duration::from_secs(bench.minutes * 60);
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| load(&door, &mut bodies(), lasts, Pace::Lines(rate)));
        let mut readings = Vec::new();
        for _ in 0..bench.minutes * 60 {
            interrupt::sleep(Duration::from_secs(1))?;
            readings.push(machine::memory_kib(hub.pid())? / 1024.0);
            if sending.is_finished() {
                break;
            }
        }
        let round = sending.join().unwrap_or_else(|_| bail!("the load's thread broke"))?;
        Ok((round, readings.chunks_exact(60).map(median).collect()))
    })
}
