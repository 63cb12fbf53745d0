//! The benches: one file a claim. Each prints a table for people and, last, one JSON line a figure.
//!
//! A bench exits 0 whether the aims are met or not; it fails only when it could not measure.
//!
//! | module | what is there |
//! | --- | --- |
//! | [`publish_to_task`] | from the deciding sample to the task of the person responsible |
//! | [`hub`] | the real binary, set up by the doors of production |
//! | [`database`] | where it keeps its state |
//! | [`city`] | the import folder |
//! | [`api`] | a person's client: session, JSON, event stream |
//! | [`machine`] | cores, disk, and who took the CPU |
//! | [`latency`], [`figure`] | histograms, tables, the JSON line |

mod api;
mod city;
mod database;
mod figure;
mod hub;
mod latency;
mod machine;
mod publish_to_task;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, ValueEnum};

use crate::database::Kind;
use crate::publish_to_task::Options;

/// The benches of Zhongshu.
#[derive(Parser)]
#[command(max_term_width = 100)]
struct Cli {
    /// Which bench; all when none is named.
    name: Option<Name>,
    /// How long openings are measured, in seconds [default: 60, with --soak 3600].
    #[arg(long)]
    seconds: Option<u64>,
    /// How many tasks are opened in that time [default: 1000 a minute].
    #[arg(long)]
    openings: Option<usize>,
    /// Samples a second of the devices beside.
    #[arg(long, default_value_t = 5000)]
    rate: u32,
    /// How many devices send them.
    #[arg(long, default_value_t = 1000)]
    devices: usize,
    /// Runs for an hour.
    #[arg(long)]
    soak: bool,
    /// One database only.
    #[arg(long)]
    database: Option<Kind>,
    /// A hub that is built already.
    #[arg(long, value_name = "BINARY")]
    hub: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    PublishToTask,
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
    let seconds = cli.seconds.unwrap_or(if cli.soak { 3600 } else { 60 }).max(1);
    let per_run = usize::try_from(seconds * 1000 / 60)?;
    let options = Options {
        seconds,
        openings: cli.openings.unwrap_or(per_run).max(1),
        rate: cli.rate.max(1),
        devices: cli.devices.max(1),
        database: cli.database,
    };
    let binary = match cli.hub {
        Some(binary) => binary,
        None => hub::binary()?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match cli.name {
        None | Some(Name::PublishToTask) => runtime.block_on(publish_to_task::run(&options, &binary)),
    }
}
