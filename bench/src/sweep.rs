//! Sweeps: how soon one ends after its last answer, whether its silent ones are named, and what
//! one of 100,000 devices costs.
//!
//! `answers`: 420 hydrants answer after 0.1 to 8 s. `silent`: 5 % of them never do; the sweep ends
//! at its limit of 10 s. `many`: 100,000 devices, of which as many are connected as the limit of
//! open files allows (one a process here and in the hub); the others count as not connected.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::api::Api;
use crate::bench::{ANALYST, Bench, Wanted, conclude};
use crate::city::Thing;
use crate::figure::{Figure, table};
use crate::hub::Hub;
use crate::interrupt;
use crate::machine;
use crate::mqtt::answering::{Done, Fleet, Manner};

/// Its name.
pub const NAME: &str = "sweep";
/// The demo's estate.
const HYDRANTS: usize = 420;
/// Answers come after.
const AFTER: Duration = Duration::from_millis(100);
/// And within.
const WITHIN: Duration = Duration::from_secs(8);
/// One of so many is silent.
const SILENT_EVERY: usize = 20;
/// How long devices have.
const LIMIT: f64 = 10.0;
/// Seconds that the end may come after the last answer.
const END: f64 = 0.5;
/// Files besides connections.
const FILES: u64 = 2048;
/// The area of everything.
const AREA: &str = "50/500112/";
/// How long a sweep may take beyond its limit before the bench gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs the bench, and prints what it found.
pub fn run(bench: &Bench, registered: usize) -> Result<()> {
    let folder = bench.folder()?;
    let path = folder.path();
    bench.introduce(NAME, path)?;
    let wanted = |part: &str| bench.only.as_ref().is_none_or(|only| part.contains(only));
    let mut figures = Vec::new();
    if wanted("answers") || wanted("silent") {
        let things = Thing::hydrants(HYDRANTS);
        let hub = bench.hub(path, "estate", &wanted_hub(&things, HYDRANTS))?;
        let mut fleet = Fleet::connect(hub.mqtt, &things)?;
        if wanted("answers") {
            fleet = answers(bench, &hub, fleet, &mut figures)?;
        }
        if wanted("silent") {
            silent(bench, &hub, fleet, &things, &mut figures)?;
        }
    }
    if wanted("many") {
        many(bench, path, registered, &mut figures)?;
    }
    anyhow::ensure!(!figures.is_empty(), "--only names no part; the parts are answers, silent and many");
    conclude(&figures)
}

fn wanted_hub(things: &[Thing], connected: usize) -> Wanted<'_> {
    let settings = vec![("mqtt_connections", (connected + 100).to_string())];
    Wanted { token: false, analyst: true, settings, ..Wanted::new(things) }
}

/// A sweep that is over: its record, what the devices did, and when its end was read.
struct Swept {
    sweep: Value,
    done: Done,
    ended: Instant,
    /// From the request to its answer.
    started_in: Duration,
}

impl Swept {
    fn count(&self, name: &str) -> f64 {
        self.sweep.pointer(&format!("/counts/{name}")).and_then(Value::as_f64).unwrap_or(-1.0)
    }

    fn number(&self) -> &str {
        self.sweep.get("number").and_then(Value::as_str).unwrap_or_default()
    }

    /// Seconds from one of its instants to another.
    fn between(&self, from: &str, to: &str) -> Result<f64> {
        let at = |name: &str| {
            let text = self.sweep.get(name).and_then(Value::as_str);
            let text = text.with_context(|| format!("the sweep has no {name}: {}", self.sweep))?;
            model::Micros::parse(text).map_err(anyhow::Error::msg)
        };
        Ok(at(to)?.since(at(from)?) as f64 / 1e6)
    }
}

/// Has everything asked, and waits for the end as a page does: by the event stream.
async fn sweep(hub: &Hub, limit: f64) -> Result<(Value, Instant, Duration)> {
    let password = hub.passwords.get(ANALYST).context("the hub has no analyst")?;
    let api = Api::log_in(&hub.url, ANALYST, password).await?;
    let mut events = api.events().await?;
    let body =
        json!({ "area": AREA, "type": "fire-hydrant", "datastream": "pressure", "limit_seconds": limit });
    let began = Instant::now();
    let started = api.post("/api/v1/sweeps", &body).await?;
    let started_in = began.elapsed();
    let number = started.get("number").and_then(Value::as_str).context("a sweep without a number")?;
    let over = async {
        loop {
            let Some((at, told)) = events.next().await? else { bail!("the hub ended the event stream") };
            if told.event != "sweep.changed" {
                continue;
            }
            let data: Value = serde_json::from_str(&told.data)?;
            if data.get("number").and_then(Value::as_str) == Some(number)
                && data.get("state").and_then(Value::as_str) != Some("running")
            {
                return Ok(at);
            }
        }
    };
    let patience = Duration::from_secs_f64(limit) + PATIENCE;
    let ended = tokio::time::timeout(patience, over).await.context("the sweep did not end")??;
    let sweep = api.get(&format!("/api/v1/sweeps/{number}")).await?;
    Ok((sweep, ended, started_in))
}

fn swept(bench: &Bench, hub: &Hub, fleet: Fleet, manner: Manner, limit: f64) -> Result<(Swept, Fleet)> {
    let answering = fleet.answer(manner);
    let outcome = bench.runtime.block_on(async {
        tokio::select! {
            done = sweep(hub, limit) => done,
            signal = interrupt::signalled() => signal.and_then(|()| interrupt::check()).and_then(|()| bail!("interrupted")),
        }
    });
    let (done, fleet) = answering.stop()?;
    let (sweep, ended, started_in) =
        outcome.with_context(|| format!("a sweep; the hub said: {}", hub.said()))?;
    Ok((Swept { sweep, done, ended, started_in }, fleet))
}

fn answers(bench: &Bench, hub: &Hub, mut fleet: Fleet, figures: &mut Vec<Figure>) -> Result<Fleet> {
    let mut rows = Vec::new();
    let mut worst = f64::MIN;
    let mut whole = true;
    for n in 1..=bench.rounds {
        eprintln!("{HYDRANTS} hydrants that answer, round {n} of {} …", bench.rounds);
        let manner = Manner { after: AFTER, within: WITHIN, mute: HashSet::new() };
        let (swept, again) = swept(bench, hub, fleet, manner, LIMIT)?;
        fleet = again;
        let last = swept.done.last.context("nobody answered")?;
        let end = swept.ended.saturating_duration_since(last).as_secs_f64();
        worst = worst.max(end);
        whole &= (swept.count("ok") - HYDRANTS as f64).abs() < 0.5;
        rows.push(vec![
            format!("round {n}"),
            format!("{}", swept.done.answered),
            format!("{:.3}", swept.between("started_at", "ended_at")?),
            format!("{:.3}", swept.between("last_answer_at", "ended_at")?),
            format!("{end:.3}"),
            format!("{:.1}", swept.started_in.as_secs_f64() * 1e3),
        ]);
    }
    let header = ["", "answers", "took s", "end after last (hub) s", "(as a page sees it) s", "start ms"];
    println!("{HYDRANTS} hydrants answer after 0.1 to 8 s");
    println!("{}", table(&header, &rows));
    let what = "end of a sweep after its last answer, worst round";
    figures.push(Figure::new(NAME, what, worst, "s").at_most(END, END, whole));
    Ok(fleet)
}

fn silent(bench: &Bench, hub: &Hub, fleet: Fleet, things: &[Thing], figures: &mut Vec<Figure>) -> Result<()> {
    let mute: HashSet<String> = things.iter().step_by(SILENT_EVERY).map(|thing| thing.code.clone()).collect();
    eprintln!("{} of {HYDRANTS} hydrants are silent …", mute.len());
    let manner = Manner { after: AFTER, within: WITHIN, mute: mute.clone() };
    let (swept, _) = swept(bench, hub, fleet, manner, LIMIT)?;
    let took = swept.between("started_at", "ended_at")?;
    let named = bench.runtime.block_on(named(hub, swept.number()))?;
    println!(
        "{} silent ones of {HYDRANTS}: the sweep ended after {took:.3} s ({}), {} named\n",
        mute.len(),
        swept.sweep.get("reason").and_then(Value::as_str).unwrap_or("?"),
        named.len()
    );
    let all = named == mute;
    let what = format!("a sweep with {} silent ones, beyond its limit of {LIMIT} s", mute.len());
    figures.push(Figure::new(NAME, what, took - LIMIT, "s").at_most(END, END, all));
    let share = named.intersection(&mute).count() as f64 / mute.len() as f64;
    figures.push(Figure::new(NAME, "silent ones that are named", share, "").at_least(1.0, 1.0, all));
    Ok(())
}

/// The codes of a sweep's silent ones, as the API gives them.
async fn named(hub: &Hub, number: &str) -> Result<HashSet<String>> {
    let password = hub.passwords.get(ANALYST).context("the hub has no analyst")?;
    let api = Api::log_in(&hub.url, ANALYST, password).await?;
    let rows = api.list(&format!("/api/v1/sweeps/{number}/rows?verdict=silent")).await?;
    let code = |row: &Value| row.get("thing").and_then(Value::as_str).map(ToOwned::to_owned);
    Ok(rows.iter().filter_map(code).collect())
}

fn many(bench: &Bench, folder: &std::path::Path, registered: usize, figures: &mut Vec<Figure>) -> Result<()> {
    let most = usize::try_from(machine::most_open_files().saturating_sub(FILES)).unwrap_or(usize::MAX);
    let connected = registered.min(most);
    machine::allow_open_files(connected as u64 + FILES)?;
    let things = Thing::hydrants(registered);
    let hub = bench.hub(folder, "many", &wanted_hub(&things, connected))?;
    eprintln!("connecting {connected} devices …");
    let fleet = Fleet::connect(hub.mqtt, &things[..connected])?;
    let before = machine::memory_kib(hub.pid())? / 1024.0;
    // One is silent, so that the end tells when all were asked: the limit counts from then.
    let mute: HashSet<String> = things.first().map(|thing| thing.code.clone()).into_iter().collect();
    let manner = Manner { after: AFTER, within: WITHIN, mute };
    let cpu = machine::cpu_seconds(hub.pid())?;
    let limit = 30.0;
    let (swept, fleet) = swept(bench, &hub, fleet, manner, limit)?;
    let cpu = machine::cpu_seconds(hub.pid())? - cpu;
    let after = machine::memory_kib(hub.pid())? / 1024.0;
    let peak = machine::peak_memory_mib(hub.pid()).unwrap_or_default();
    drop(fleet);
    let asked_in = (swept.between("started_at", "ended_at")? - limit).max(1e-3);
    let whole = (swept.count("total") - registered as f64).abs() < 0.5
        && (swept.count("asked") - connected as f64).abs() < 0.5
        && swept.done.answered + 1 == connected as u64
        && (swept.count("ok") - swept.done.answered as f64).abs() < 0.5;
    println!(
        "{registered} devices, {connected} of them connected: all asked in {asked_in:.2} s, {} answered, {} silent",
        swept.count("ok"),
        swept.count("silent")
    );
    println!(
        "  the hub held {before:.0} MiB before, {after:.0} MiB after, {peak:.0} MiB at most; {cpu:.1} s of CPU\n"
    );
    if !whole {
        println!("  not everything that was asked or answered is on record: {}\n", swept.sweep);
    }
    let rate = registered as f64 / asked_in;
    let what = format!("devices asked, {registered} of which {connected} are connected");
    figures.push(Figure::new(NAME, what, rate, "devices/s").at_least(10_000.0, 20_000.0, whole));
    let each = (peak - before).max(0.0) * 1024.0 / registered as f64;
    let what = "memory of a sweep at its peak, each device";
    figures.push(Figure::new(NAME, what, each, "KiB").at_most(4.0, 1.0, whole));
    Ok(())
}
