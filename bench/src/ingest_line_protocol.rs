//! 20,000 series over line protocol: ours beside VictoriaMetrics and InfluxDB.
//!
//! Four keep-alive connections, each with a body of 5,000 lines (one of each of its series) on its
//! way, the next when that one is acknowledged. The same bytes go to all. Ours acknowledges after
//! its sync and judges every sample by a threshold; InfluxDB after its sync; VictoriaMetrics
//! before. Ours runs a second time with a pack without rules.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::bench::{Bench, Wanted, conclude, write_door};
use crate::city::Thing;
use crate::figure::Figure;
use crate::hub::Hub;
use crate::interrupt;
use crate::line_protocol::{Bodies, Client, Pace, Target, load, now_nanos};
use crate::pack::Rules;
use crate::peer::{Influx, Victoria};
use crate::rounds::{Side, report};

/// Its name.
pub const NAME: &str = "ingest-line-protocol";
/// Series, one a hydrant.
pub const SERIES: usize = 20_000;
/// Connections.
pub const CONNECTIONS: usize = 4;

/// Before the first round of each side: its series become known.
const WARM_UP: Duration = Duration::from_secs(3);
/// How long an alert may take to open.
const JUDGED_WITHIN: Duration = Duration::from_secs(15);

/// The bodies of all connections: each has its share of the series.
pub fn bodies() -> Vec<Bodies> {
    let share = SERIES / CONNECTIONS;
    (0..CONNECTIONS).map(|n| Bodies::new(n * share, (n + 1) * share)).collect()
}

/// A server and what came of it.
struct Contestant {
    target: Target,
    side: Side,
    warm: u64,
}

impl Contestant {
    fn new(name: impl Into<String>, pid: u32, target: Target) -> Result<Self> {
        Ok(Self { target, side: Side::new(name, vec![pid])?, warm: 0 })
    }
}

/// Runs the bench, and prints what it found.
pub fn run(bench: &Bench) -> Result<()> {
    let folder = bench.folder()?;
    let path = folder.path();
    bench.introduce(NAME, path)?;
    let things = Thing::hydrants(SERIES);
    let judged = bench.hub(path, "judged", &Wanted::new(&things))?;
    let unjudged = bench.hub(path, "unjudged", &Wanted { rules: Rules::Off, ..Wanted::new(&things) })?;
    let victoria = Victoria::start(path)?;
    let influx = bench.runtime.block_on(Influx::start(path))?;
    let peer = |address, path: &str| Target { address, path: path.to_owned(), token: None };
    let mut all = [
        Contestant::new("zhongshu", judged.pid(), write_door(&judged)?)?,
        Contestant::new(&victoria.name, victoria.process.pid(), peer(victoria.address, Victoria::PATH))?,
        Contestant::new("zhongshu without rules", unjudged.pid(), write_door(&unjudged)?)?,
        Contestant::new(&influx.name, influx.process.pid(), peer(influx.address, Influx::PATH))?,
    ];
    let mut bodies = bodies();
    for contestant in &mut all {
        let warm = load(&contestant.target, &mut bodies, WARM_UP, Pace::Free);
        contestant.warm = warm.with_context(|| format!("{} warming up", contestant.side.name))?.done;
    }
    for n in 1..=bench.rounds {
        for contestant in &mut all {
            eprintln!("round {n} of {}: {} …", bench.rounds, contestant.side.name);
            let Contestant { target, side, .. } = contestant;
            let name = side.name.clone();
            side.round(|| {
                load(target, &mut bodies, bench.round, Pace::Free)
                    .with_context(|| format!("{name} under load"))
            })?;
        }
    }
    let [ours, victoria_side, without, influx_side] = &all;
    println!("{}", report("lines", &all.iter().map(|c| &c.side).collect::<Vec<_>>()));
    let whole = counted(bench, &judged, ours)? && counted(bench, &unjudged, without)?;
    opens_an_alert(bench, &judged, ours)?;
    println!("  an alert opened on two low samples: the rules were judging\n");
    conclude(&figures([ours, victoria_side, without, influx_side].map(|c| &c.side), whole))
}

/// Whether the hub counted all that it acknowledged, and no more.
fn counted(bench: &Bench, hub: &Hub, side: &Contestant) -> Result<bool> {
    let acknowledged = side.warm + side.side.done();
    let counted = bench.counter(hub, "zhongshu_samples_total")?;
    println!(
        "  {}: {acknowledged} lines acknowledged, {counted:.0} samples counted by the hub",
        side.side.name
    );
    Ok((counted - acknowledged as f64).abs() < 0.5)
}

/// Two low samples in a row must open an alert, or nothing was judged.
fn opens_an_alert(bench: &Bench, hub: &Hub, side: &Contestant) -> Result<()> {
    let before = bench.counter(hub, "zhongshu_alerts_open")?;
    let mut client = Client::connect(&side.target)?;
    for _ in 0..2 {
        client.write(format!("hydrant,thing=bench-00000 pressure=0.100 {}\n", now_nanos()).as_bytes())?;
        interrupt::sleep(Duration::from_millis(50))?;
    }
    let began = std::time::Instant::now();
    while bench.counter(hub, "zhongshu_alerts_open")? <= before {
        if began.elapsed() > JUDGED_WITHIN {
            bail!("two low samples opened no alert: what was measured was not judged");
        }
        interrupt::sleep(Duration::from_millis(200))?;
    }
    Ok(())
}

fn figures([ours, victoria, without, influx]: [&Side; 4], whole: bool) -> Vec<Figure> {
    let rate = |side: &Side| {
        Figure::new(NAME, format!("lines acknowledged by {}", side.name), side.rate(), "lines/s")
    };
    vec![
        rate(ours).beside(&victoria.name, victoria.rate()).at_least(0.5, 1.0, whole),
        rate(ours).beside(&influx.name, influx.rate()).at_least(2.0, 3.0, whole),
        rate(without).beside("zhongshu with rules", ours.rate()),
        Figure::new(NAME, "p50 of the acknowledgement of 5,000 lines", ours.acks().millis(0.5), "ms")
            .beside(&victoria.name, victoria.acks().millis(0.5)),
        Figure::new(NAME, "p99 of the acknowledgement of 5,000 lines", ours.acks().millis(0.99), "ms")
            .beside(&victoria.name, victoria.acks().millis(0.99)),
    ]
}
