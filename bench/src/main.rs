//! The benches: one file or folder a claim. Each prints a table for people and, last, one JSON
//! line a figure.
//!
//! A bench exits 0 whether the aims are met or not; it fails only when it could not measure.
//!
//! | module | what is there |
//! | --- | --- |
//! | [`publish_to_task`] | from the deciding sample to the task of the person responsible |
//! | [`ingest_line_protocol`] | 20,000 series over line protocol, beside VictoriaMetrics and InfluxDB |
//! | [`mqtt_qos1`] | MQTT at QoS 1, beside Mosquitto |
//! | [`query`] | ten million points by SQL, beside DuckDB |
//! | [`storage`] | bytes a point after compaction |
//! | [`scan_under_load`] | what acknowledgements feel of a reader |
//! | [`memory`] | under load for minutes, and of idle connections |
//! | [`sweep`] | a sweep's end after its last answer, its silent ones, 100,000 devices |
//! | [`hub`] | the real binary, set up by the doors of production |
//! | [`bench`] | what every bench is given |
//! | [`peer`] | who is measured beside us |
//! | [`rounds`] | ours and the peers in turn |
//! | [`line_protocol`], [`mqtt`] | the generators |
//! | [`lake`] | histories, and the lake's table as others see it |
//! | [`database`] | where the hub keeps its state |
//! | [`city`], [`pack`] | the import folder, and the pack |
//! | [`api`] | a person's client: session, JSON, event stream |
//! | [`machine`] | cores, disk, and who took the CPU |
//! | [`latency`], [`figure`] | histograms, tables, the JSON line |
//! | [`interrupt`] | Ctrl-C ends peers too |

mod api;
mod bench;
mod city;
mod database;
mod figure;
mod hub;
mod ingest_line_protocol;
mod interrupt;
mod lake;
mod latency;
mod line_protocol;
mod machine;
mod memory;
mod mqtt;
mod mqtt_qos1;
mod pack;
mod peer;
mod publish_to_task;
mod query;
mod rounds;
mod scan_under_load;
mod storage;
mod sweep;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};
use tokio::runtime::Handle;

use crate::bench::Bench;
use crate::database::Kind;

/// How long a bench may take to end what it started after Ctrl-C.
const ENDING: Duration = Duration::from_secs(30);

/// The benches of Zhongshu.
#[derive(Parser)]
#[command(max_term_width = 100)]
struct Cli {
    /// Which bench; all when none is named.
    name: Option<Name>,
    /// How long each round lasts, in seconds [default: 10; publish-to-task: 60, with --soak 3600].
    #[arg(long)]
    seconds: Option<u64>,
    /// How many rounds each side has.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Lines a second, where a bench runs at a pace.
    #[arg(long)]
    lines: Option<f64>,
    /// How many minutes the bench of memory lasts [default: 10, with --soak 60].
    #[arg(long)]
    minutes: Option<u64>,
    /// Only the part of this name, where a bench has several.
    #[arg(long)]
    only: Option<String>,
    /// publish-to-task: how many tasks are opened [default: 1000 a minute].
    #[arg(long)]
    openings: Option<usize>,
    /// publish-to-task: samples a second of the devices beside.
    #[arg(long, default_value_t = 5000)]
    rate: u32,
    /// publish-to-task: how many devices send them.
    #[arg(long, default_value_t = 1000)]
    devices: usize,
    /// sweep: how many devices the large sweep asks.
    #[arg(long, default_value_t = 100_000)]
    registered: usize,
    /// Runs for an hour.
    #[arg(long)]
    soak: bool,
    /// publish-to-task: one database only.
    #[arg(long)]
    database: Option<Kind>,
    /// A hub that is built already.
    #[arg(long, value_name = "BINARY")]
    hub: Option<PathBuf>,
    /// Is the subscriber of mqtt-qos1, at this broker.
    #[arg(long, hide = true, requires = "into")]
    subscriber: Option<SocketAddr>,
    /// Where the subscriber commits to.
    #[arg(long, hide = true)]
    into: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    PublishToTask,
    IngestLineProtocol,
    MqttQos1,
    Query,
    Storage,
    ScanUnderLoad,
    Memory,
    Sweep,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bench: could not measure: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    if let (Some(broker), Some(database)) = (cli.subscriber, &cli.into) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        return runtime.block_on(mqtt::subscriber::run(broker, database));
    }
    let binary = match &cli.hub {
        Some(binary) => binary.clone(),
        None => hub::binary()?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let outcome = runtime.block_on(async {
        let mut work = tokio::task::spawn_blocking(move || benches(&cli, &binary, &handle));
        tokio::select! {
            done = &mut work => done?,
            signal = interrupt::signalled() => {
                signal?;
                interrupt::set();
                match tokio::time::timeout(ENDING, work).await {
                    Ok(done) => done?,
                    Err(_) => bail!("interrupted; something that was started may still run"),
                }
            }
        }
    });
    runtime.shutdown_background();
    outcome
}

/// The bench that is named, or all.
fn benches(cli: &Cli, binary: &std::path::Path, handle: &Handle) -> Result<()> {
    let bench = Bench {
        binary: binary.to_owned(),
        runtime: handle.clone(),
        round: Duration::from_secs(cli.seconds.unwrap_or(10).max(1)),
        rounds: cli.rounds.max(1),
        only: cli.only.clone(),
        rate: cli.lines,
        minutes: cli.minutes.unwrap_or(if cli.soak { 60 } else { 10 }).max(1),
    };
    for name in Name::value_variants() {
        if cli.name.is_some_and(|only| only != *name) {
            continue;
        }
        interrupt::check()?;
        match name {
            Name::PublishToTask => publish_to_task(cli, binary, handle)?,
            Name::IngestLineProtocol => ingest_line_protocol::run(&bench)?,
            Name::MqttQos1 => mqtt_qos1::run(&bench)?,
            Name::Query => query::run(&bench)?,
            Name::Storage => storage::run(&bench)?,
            Name::ScanUnderLoad => scan_under_load::run(&bench)?,
            Name::Memory => memory::run(&bench)?,
            Name::Sweep => sweep::run(&bench, cli.registered)?,
        }
    }
    Ok(())
}

fn publish_to_task(cli: &Cli, binary: &std::path::Path, handle: &Handle) -> Result<()> {
    let seconds = cli.seconds.unwrap_or(if cli.soak { 3600 } else { 60 }).max(1);
    let per_run = usize::try_from(seconds * 1000 / 60)?;
    let options = publish_to_task::Options {
        seconds,
        openings: cli.openings.unwrap_or(per_run).max(1),
        rate: cli.rate.max(1),
        devices: cli.devices.max(1),
        database: cli.database,
    };
    handle.block_on(async {
        tokio::select! {
            done = publish_to_task::run(&options, binary) => done,
            signal = interrupt::signalled() => signal.and_then(|()| interrupt::check()),
        }
    })
}
