//! MQTT at QoS 1: ours, which commits and judges before each PUBACK, beside Mosquitto, which keeps
//! nothing, and beside Mosquitto with a subscriber that commits to SQLite.
//!
//! A thousand devices with messages of 100 bytes, over MQTT 3.1.1 and 5, with one message in
//! flight each and with twenty, one write(2) a message. What counts beside the subscriber is what
//! it has committed.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::bench::{Bench, Wanted, conclude};
use crate::city::Thing;
use crate::figure::Figure;
use crate::interrupt;
use crate::latency::Latency;
use crate::machine;
use crate::mqtt::subscriber::Subscriber;
use crate::mqtt::{Fleet, Version};
use crate::peer::Mosquitto;
use crate::rounds::{Round, Side, report};

/// Its name.
pub const NAME: &str = "mqtt-qos1";
/// Devices, each a connection.
const CONNECTIONS: usize = 1000;
/// Threads of the generator: one serves a thousand connections and takes least from the servers.
const THREADS: usize = 1;
/// Load before each round.
const WARM_UP: Duration = Duration::from_secs(2);
/// Messages that may wait for the subscriber before Mosquitto drops more.
const QUEUED: usize = 1_000_000;

/// What must be, and what is aimed at, by messages in flight.
const SHAPES: [(usize, f64, f64); 2] = [(1, 0.6, 0.85), (20, 1.0, 1.5)];
/// What must be beside the subscriber.
const BESIDE_SUBSCRIBER: f64 = 1.5;

/// Runs the bench, and prints what it found.
pub fn run(bench: &Bench) -> Result<()> {
    machine::allow_open_files(CONNECTIONS as u64 * 2 + 512)?;
    let folder = bench.folder()?;
    let path = folder.path();
    bench.introduce(NAME, path)?;
    let things = Thing::hydrants(CONNECTIONS);
    let hub = bench.hub(path, "hub", &Wanted { token: false, ..Wanted::new(&things) })?;
    let plain = Mosquitto::start(path, 1000)?;
    let behind = path.join("behind");
    std::fs::create_dir_all(&behind)?;
    let broker = Mosquitto::start(&behind, QUEUED)?;
    let mut subscriber = Subscriber::start(broker.address, &behind)?;
    let mut figures = Vec::new();
    for (in_flight, must, aim) in SHAPES {
        for version in [Version::V311, Version::V5] {
            let shape = format!("MQTT {}, {in_flight} in flight", version.name());
            if bench.only.as_ref().is_some_and(|only| !shape.contains(only)) {
                continue;
            }
            let mut ours = Side::new("zhongshu", vec![hub.pid()])?;
            let mut peer = Side::new(&plain.name, vec![plain.process.pid()])?;
            let mut stored = Side::new(
                format!("{} and SQLite", broker.name),
                vec![broker.process.pid(), subscriber.pid()],
            )?;
            let fleet = |address| Fleet::connect(address, version, &things, in_flight, THREADS);
            let samples = bench.counter(&hub, "zhongshu_samples_total")?;
            let mut acknowledged = 0;
            let mut unstored = 0;
            for n in 1..=bench.rounds {
                eprintln!("{shape}, round {n} of {} …", bench.rounds);
                acknowledged += round(&mut ours, bench.round, || fleet(hub.mqtt), None)?.1;
                round(&mut peer, bench.round, || fleet(plain.address), None)?;
                let (committed, acked) =
                    round(&mut stored, bench.round, || fleet(broker.address), Some(&mut subscriber))?;
                unstored += acked.saturating_sub(committed);
            }
            let counted = bench.counter(&hub, "zhongshu_samples_total")? - samples;
            let whole = (counted - acknowledged as f64).abs() < 0.5;
            println!("{shape}, {CONNECTIONS} connections");
            println!("{}", report("messages", &[&ours, &peer, &stored]));
            println!("  {acknowledged} messages acknowledged by the hub, {counted:.0} samples counted by it");
            println!(
                "  {unstored} messages acknowledged by Mosquitto were not in SQLite when its rounds had settled\n"
            );
            let rate =
                || Figure::new(NAME, format!("messages acknowledged, {shape}"), ours.rate(), "messages/s");
            figures.push(rate().beside(&peer.name, peer.rate()).at_least(must, aim, whole));
            let stored = rate().beside(&stored.name, stored.rate());
            figures.push(stored.at_least(BESIDE_SUBSCRIBER, BESIDE_SUBSCRIBER, whole));
            for (quantile, name) in [(0.5, "p50"), (0.99, "p99")] {
                let figure = Figure::new(
                    NAME,
                    format!("{name} of the PUBACK, {shape}"),
                    ours.acks().millis(quantile),
                    "ms",
                );
                figures.push(figure.beside(&peer.name, peer.acks().millis(quantile)));
            }
        }
    }
    anyhow::ensure!(
        !figures.is_empty(),
        "--only names no part; a part is \"MQTT 5, 20 in flight\" or some of it"
    );
    conclude(&figures)
}

/// One round; what the subscriber committed of it in the end, and what was acknowledged in all,
/// warm-up included.
fn round(
    side: &mut Side,
    lasts: Duration,
    fleet: impl FnOnce() -> Result<Fleet>,
    mut subscriber: Option<&mut Subscriber>,
) -> Result<(u64, u64)> {
    let name = side.name.clone();
    let mut acknowledged = 0;
    let at_first = subscriber.as_mut().map_or(Ok(0), |s| s.committed())?;
    let warm = || {
        let mut fleet = fleet()?;
        fleet.run(WARM_UP)?;
        Ok(fleet)
    };
    let measured = |mut fleet: Fleet| {
        let before = subscriber.as_mut().map_or(Ok(0), |s| s.committed())?;
        let mut round = fleet.run(lasts)?;
        if let Some(subscriber) = subscriber.as_mut() {
            round = Round { done: subscriber.committed()? - before, took: lasts, acks: Latency::new()? };
        }
        acknowledged = fleet.close()?;
        Ok(round)
    };
    side.round_after(warm, measured).with_context(|| format!("{name} under load"))?;
    let mut committed = 0;
    if let Some(subscriber) = subscriber {
        // What waits in the broker is not carried into the next round.
        loop {
            let now = subscriber.committed()? - at_first;
            if now >= acknowledged || now == committed {
                committed = now;
                break;
            }
            committed = now;
            interrupt::sleep(Duration::from_secs(1))?;
        }
    }
    Ok((committed, acknowledged))
}
