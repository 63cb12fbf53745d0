//! Ten million points by SQL: ours beside DuckDB over the same Parquet files.
//!
//! A thousand series of ten thousand points at 30 s, hydrant pressures as in `storage`, go in by
//! the door for line protocol. When the lake has compacted them the hub is started again, so that
//! it reads the files and not its memory. Then both are asked in turn: by device and hour (mean,
//! least, most, count), and the last value of all. Ours counts from the request until the whole
//! Arrow stream is there, HTTP and session included; DuckDB, in its own process, until the whole
//! Arrow table is.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rand::Rng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::api::Api;
use crate::bench::{ANALYST, Bench, Wanted, conclude};
use crate::city::Thing;
use crate::figure::{Figure, table};
use crate::hub::Hub;
use crate::interrupt;
use crate::lake::{Point, Table, eager, history_door, now_micros, write};
use crate::machine;
use crate::peer::Python;
use crate::rounds::median;
use crate::storage::{JITTER, pressure};

/// Its name.
pub const NAME: &str = "query";
/// Series.
const SERIES: usize = 1000;
/// Points of each.
const POINTS: usize = 10_000;
/// Between two points, microseconds.
const STEP: i64 = 30_000_000;
/// More rows than any answer has.
const LIMIT: usize = 100_000;
/// Asked once before what is measured: files are in the page cache of both.
const WARM: usize = 2;
/// Bound of the ratio to DuckDB's time, and aim.
const BOUNDS: (f64, f64) = (2.0, 1.2);

/// What is asked: a name, and the same SQL for both unless they say it differently.
const QUESTIONS: [(&str, &str, &str); 2] = [
    (
        "by device and hour",
        "SELECT datastream, date_trunc('hour', phenomenon_time) AS hour, avg(value) AS mean, min(value) AS least, \
         max(value) AS most, count(*) AS points FROM observations GROUP BY datastream, date_trunc('hour', phenomenon_time)",
        // DuckDB's date_trunc of a time with a zone goes through the calendar row by row; its integers
        // are what a person who knows it would take.
        "SELECT datastream, make_timestamp(hour * 3600000000) AS hour, mean, least, most, points FROM \
         (SELECT datastream, epoch_us(phenomenon_time) // 3600000000 AS hour, avg(value) AS mean, min(value) AS least, \
         max(value) AS most, count(*) AS points FROM observations GROUP BY ALL)",
    ),
    (
        "last value of all",
        "SELECT datastream, max(phenomenon_time) AS at, last_value(value ORDER BY phenomenon_time) AS value \
         FROM observations GROUP BY datastream",
        "SELECT datastream, max(phenomenon_time) AS at, arg_max(value, phenomenon_time) AS value \
         FROM observations GROUP BY datastream",
    ),
];

/// A logged-in analyst of a hub.
pub fn analyst(bench: &Bench, hub: &Hub) -> Result<Api> {
    let password = hub.passwords.get(ANALYST).context("the hub has no analyst")?;
    bench.runtime.block_on(Api::log_in(&hub.url, ANALYST, password))
}

/// Runs the bench, and prints what it found.
pub fn run(bench: &Bench) -> Result<()> {
    let folder = bench.folder()?;
    let path = folder.path();
    bench.introduce(NAME, path)?;
    let things = Thing::hydrants(SERIES);
    let wanted = Wanted { analyst: true, settings: eager(), ..Wanted::new(&things) };
    let hub = bench.hub(path, "query", &wanted)?;
    let mut python = Python::start()?;
    eprintln!("writing {} points …", SERIES * POINTS);
    let first = now_micros() - POINTS as i64 * STEP;
    let point = |series: usize, step: usize, random: &mut StdRng| {
        let jitter = random.random_range(-JITTER..=JITTER) * 1000;
        let (value, decimals) = pressure(series, step, random);
        Point { time: first + step as i64 * STEP + jitter, value, decimals }
    };
    let began = Instant::now();
    let written = write(&history_door(&hub)?, &things, "pressure", POINTS, point)?;
    println!("  {written} points acknowledged in {:.1} s", began.elapsed().as_secs_f64());
    eprintln!("waiting for the lake …");
    let state = Table::of(&path.join("query")).settled(&mut python, written)?;
    println!("  the lake: {} files, {:.1} MiB\n", state.files.len(), state.bytes as f64 / 1_048_576.0);
    // What came in is in the hub's memory too: a hub that starts again reads the files, as DuckDB does.
    let hub = bench.again(hub, path, "query", &wanted)?;
    let version = python.ask(&json!({ "do": "view", "files": state.files }))?;
    let duckdb = format!("DuckDB {}", version.get("duckdb").and_then(Value::as_str).unwrap_or_default());
    let api = analyst(bench, &hub)?;
    let (mut rows, mut figures) = (Vec::new(), Vec::new());
    for (name, ours, theirs) in QUESTIONS {
        let same = agree(bench, &api, &mut python, path, (ours, theirs))?;
        let measured = measure(bench, &api, &hub, &mut python, (ours, theirs))?;
        let [ours, peer] = [median(&measured.ours), median(&measured.theirs)];
        rows.push(vec![
            name.to_owned(),
            same.to_string(),
            format!("{:.0}", ours * 1e3),
            format!("{:.0}", peer * 1e3),
            format!("{:.2}", ours / peer),
            measured.ours.len().to_string(),
            format!("{:.2}", measured.cpu.0),
            format!("{:.2}", measured.cpu.1),
        ]);
        let figure = Figure::new(NAME, format!("{name}, 10 million points"), ours * 1e3, "ms");
        figures.push(figure.beside(&duckdb, peer * 1e3).at_most(BOUNDS.0, BOUNDS.1, true));
    }
    let heads = [
        "",
        "rows",
        "zhongshu ms",
        "DuckDB ms",
        "ratio",
        "times each",
        "hub CPU s each",
        "DuckDB CPU s each",
    ];
    println!("{}", table(&heads, &rows));
    conclude(&figures)
}

/// Whether both say the same; how many rows.
fn agree(
    bench: &Bench,
    api: &Api,
    python: &mut Python,
    folder: &Path,
    (ours, theirs): (&str, &str),
) -> Result<u64> {
    let answer = bench.runtime.block_on(api.query(ours, LIMIT))?;
    let file = folder.join("answer.arrow");
    std::fs::write(&file, &answer)?;
    let said = python.ask(&json!({ "do": "compare", "arrow": file, "sql": theirs }))?;
    if said.get("same").and_then(Value::as_bool) != Some(true) {
        bail!("the hub and DuckDB do not say the same to {ours}: {said}");
    }
    said.get("rows").and_then(Value::as_u64).context("the comparison tells no rows")
}

struct Measured {
    ours: Vec<f64>,
    theirs: Vec<f64>,
    /// CPU seconds of one question: the hub's, Python's.
    cpu: (f64, f64),
}

fn measure(
    bench: &Bench,
    api: &Api,
    hub: &Hub,
    python: &mut Python,
    (ours, theirs): (&str, &str),
) -> Result<Measured> {
    let mut measured = Measured { ours: Vec::new(), theirs: Vec::new(), cpu: (0.0, 0.0) };
    let (mut asked, mut spent) = (0, Duration::ZERO);
    // In turn, until each side was measured as long as all its rounds are.
    while spent < bench.round * u32::try_from(bench.rounds)? * 2 {
        interrupt::check()?;
        let hub_before = machine::cpu_seconds(hub.pid())?;
        let began = Instant::now();
        let answer = bench.runtime.block_on(api.query(ours, LIMIT))?;
        let took = began.elapsed();
        drop(answer);
        let python_before = machine::cpu_seconds(python.pid())?;
        let said = python.ask(&json!({ "do": "query", "sql": theirs }))?;
        let seconds = said.get("seconds").and_then(Value::as_f64).context("DuckDB tells no time")?;
        asked += 1;
        if asked > WARM {
            measured.ours.push(took.as_secs_f64());
            measured.theirs.push(seconds);
            measured.cpu.0 += machine::cpu_seconds(hub.pid())? - hub_before;
            measured.cpu.1 += machine::cpu_seconds(python.pid())? - python_before;
            spent += took + Duration::from_secs_f64(seconds);
        }
    }
    let times = measured.ours.len() as f64;
    measured.cpu = (measured.cpu.0 / times, measured.cpu.1 / times);
    Ok(measured)
}
