//! Histories written through the hub's door for line protocol, and the lake's table as another
//! engine sees it.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::city::Thing;
use crate::interrupt;
use crate::line_protocol::{Client, Target};
use crate::peer::Python;

/// Settings of a hub that moves what it takes in to its table at once, not by the minute.
pub fn eager() -> Vec<(&'static str, String)> {
    vec![("lake_compact_every", "5s".to_owned()), ("lake_optimise_every", "10s".to_owned())]
}

/// Connections of a load.
const CONNECTIONS: usize = 4;
/// Lines of a body.
const LINES: usize = 5000;
/// How long the table may take to hold everything, and to change no more.
const PATIENCE: Duration = Duration::from_secs(300);
/// So long without a change, and it is taken to be optimised.
const UNCHANGED: Duration = Duration::from_secs(20);

/// One observation of a history: microseconds since 1970, a value, and its digits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Microseconds since 1970.
    pub time: i64,
    /// The value.
    pub value: f64,
    /// Digits after the point, as the device sends them.
    pub decimals: usize,
}

/// Writes `steps` observations of each thing in the order of time, as devices would have sent them.
/// How many were acknowledged.
pub fn write(
    target: &Target,
    things: &[Thing],
    datastream: &str,
    steps: usize,
    point: impl Fn(usize, usize, &mut StdRng) -> Point + Sync,
) -> Result<u64> {
    let share = things.len().div_ceil(CONNECTIONS).max(1);
    let written: Vec<Result<u64>> = std::thread::scope(|scope| {
        let threads: Vec<_> = things
            .chunks(share)
            .enumerate()
            .map(|(n, things)| {
                let point = &point;
                scope.spawn(move || {
                    let mut client = Client::connect(target)?;
                    // The same history in every run.
                    let mut random = StdRng::seed_from_u64(n as u64);
                    let (mut body, mut lines, mut written) = (Vec::new(), 0_usize, 0_u64);
                    for step in 0..steps {
                        for (m, thing) in things.iter().enumerate() {
                            let Point { time, value, decimals } = point(n * share + m, step, &mut random);
                            let code = &thing.code;
                            writeln!(body, "history,thing={code} {datastream}={value:.decimals$} {time}")?;
                            lines += 1;
                            if lines == LINES {
                                interrupt::check()?;
                                client.write(&body)?;
                                written += lines as u64;
                                lines = 0;
                                body.clear();
                            }
                        }
                    }
                    if lines > 0 {
                        client.write(&body)?;
                    }
                    Ok(written + lines as u64)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|t| t.join().unwrap_or_else(|_| bail!("a connection's thread broke")))
            .collect()
    });
    let mut all = 0;
    for written in written {
        all += written.context("while a history was written")?;
    }
    Ok(all)
}

/// The lake's table of observations.
#[derive(Debug)]
pub struct Table {
    /// Its folder.
    pub folder: PathBuf,
}

/// What a version of the table holds.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Its live files.
    pub files: Vec<String>,
    /// Their bytes.
    pub bytes: u64,
    /// Their rows.
    pub rows: u64,
}

impl Table {
    /// The table of the hub whose data lie in `folder`/hub.
    pub fn of(folder: &std::path::Path) -> Self {
        Self { folder: folder.join("hub/lake/observations") }
    }

    /// What it holds now.
    pub fn state(&self, python: &mut Python) -> Result<State> {
        let answer = python.ask(&json!({ "do": "table", "path": self.folder }))?;
        let number = |name: &str| answer.get(name).and_then(Value::as_u64);
        let files = answer.get("files").and_then(Value::as_array);
        let files = files.into_iter().flatten().filter_map(Value::as_str).map(ToOwned::to_owned).collect();
        let (bytes, rows) = number("bytes").zip(number("rows")).context("the table tells no size")?;
        Ok(State { files, bytes, rows })
    }

    /// Waits until it holds `rows` and changes no more.
    pub fn settled(&self, python: &mut Python, rows: u64) -> Result<State> {
        let began = Instant::now();
        let (mut last, mut since): (Option<State>, Instant) = (None, began);
        loop {
            interrupt::sleep(Duration::from_secs(1))?;
            let exists = self.folder.join("_delta_log").is_dir();
            let now = if exists { Some(self.state(python)?) } else { None };
            if now != last {
                let [held, files] = now.as_ref().map_or([0, 0], |s| [s.rows, s.files.len() as u64]);
                eprintln!("  the lake holds {held} of {rows} rows in {files} files");
                (last, since) = (now, Instant::now());
            }
            if let Some(state) = last.as_ref().filter(|s| s.rows == rows)
                && since.elapsed() > UNCHANGED
            {
                return Ok(state.clone());
            }
            if began.elapsed() > PATIENCE {
                let held = last.map_or(0, |s| s.rows);
                bail!("the lake holds {held} of {rows} rows after {} s", PATIENCE.as_secs());
            }
        }
    }
}

/// Microseconds since 1970, now, at a whole second.
pub fn now_micros() -> i64 {
    (crate::line_protocol::now_nanos() / 1_000_000_000) as i64 * 1_000_000
}

/// Where a hub takes histories: the times are microseconds.
pub fn history_door(hub: &crate::hub::Hub) -> Result<Target> {
    let door = crate::bench::write_door(hub)?;
    Ok(Target { path: door.path.replace("precision=ns", "precision=us"), ..door })
}
