//! The hydrants running: each one a device that measures, reports and answers.
//!
//! Like real ones they report by interval, and by exception: when their main changes they look
//! twice a second and send at once what has moved by more than 0.02 MPa, with a second sample two
//! seconds later, so that a rule that wants two in a row need not wait for the interval.

mod hydrant;
mod world;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::city::{read_secrets, read_things};
use crate::client::{Counters, Options};
use crate::faults::{Fault, Scripted};
use crate::hydraulics::MainState;
use world::World;

/// How a fleet runs.
#[derive(Clone, Debug)]
pub struct FleetConfig {
    /// The hub's MQTT address.
    pub mqtt: SocketAddr,
    /// The import folder that holds `things.csv`.
    pub city: PathBuf,
    /// The secrets file: `thing,secret`.
    pub secrets: PathBuf,
    /// Time between two samples of a hydrant when nothing happens.
    pub interval: Duration,
    /// How much faster than the clock the simulated day goes. Only the daily swing of the pressure
    /// follows it: samples carry the true time.
    pub time_scale: f64,
    /// Seed of the sensors' noise and of the stagger.
    pub seed: u64,
    /// How hydrants answer questions.
    pub answers: AnswerPace,
}

/// How hydrants answer when they are asked for their value: after a time of their own, or never.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AnswerPace {
    /// The quickest answer.
    pub after: Duration,
    /// The slowest.
    pub within: Duration,
    /// The share of hydrants that never answer, 0 to 1. Which they are, the seed says.
    pub mute: f64,
}

impl Default for AnswerPace {
    /// After 0.1 to 8 s, everybody.
    fn default() -> Self {
        Self { after: Duration::from_millis(100), within: Duration::from_secs(8), mute: 0.0 }
    }
}

/// Why a fault cannot be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// No main of this code.
    #[error("no main {0:?}: `GET /state` lists them")]
    NoSuchMain(String),
    /// No thing of this code.
    #[error("no thing {0:?} in this fleet")]
    NoSuchThing(String),
}

/// The fleet as it stands.
#[derive(Clone, Debug, Serialize)]
pub struct FleetState {
    /// Seconds since the start.
    pub uptime_seconds: f64,
    /// The hour of the simulated day, 0 to 24.
    pub hour: f64,
    /// What was counted.
    pub counts: Counts,
    /// All mains.
    pub mains: Vec<MainState>,
    /// The hydrants, summed up.
    pub hydrants: HydrantSummary,
}

/// The fleet's counters at one moment; see [`Counters`].
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[expect(missing_docs, reason = "each is the counter of the same name in `Counters`")]
pub struct Counts {
    pub connected: u64,
    pub sent: u64,
    pub acked: u64,
    pub refused: u64,
    pub resent: u64,
    pub dropped: u64,
    pub lost: u64,
}

/// All hydrants in some figures, of what the sensors would read now.
#[derive(Clone, Debug, Serialize)]
pub struct HydrantSummary {
    /// How many.
    pub total: usize,
    /// How many are silent by a fault.
    pub silent: usize,
    /// How many send malformed payloads by a fault.
    pub malformed: usize,
    /// How many are below 0.20 MPa.
    pub below_0_20: usize,
    /// Lowest pressure, MPa.
    pub lowest: f64,
    /// Highest pressure, MPa.
    pub highest: f64,
}

/// A running fleet. Dropping it ends all connections without goodbye.
#[derive(Debug)]
pub struct Fleet {
    world: Arc<World>,
    counters: Arc<Counters>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Fleet {
    /// Reads the city and its secrets, and starts one connection a hydrant. Returns at once; the
    /// devices connect by themselves, and wait for the hub if it is not there yet. Call it inside a
    /// tokio runtime.
    ///
    /// # Errors
    /// When a file cannot be read, when a thing hangs on no main, or has no secret.
    pub fn start(config: &FleetConfig) -> Result<Self> {
        if config.interval < Duration::from_millis(100) {
            bail!("an interval of {:?} is too short: use 100ms or more", config.interval);
        }
        if !(config.time_scale.is_finite() && config.time_scale > 0.0) {
            bail!("a time scale of {} makes no sense: use a number above 0", config.time_scale);
        }
        let AnswerPace { after, within, mute } = config.answers;
        if after > within || !(0.0..=1.0).contains(&mute) {
            bail!("answers after {after:?} to {within:?}, {mute} of them never, make no sense");
        }
        let things = read_things(&config.city)?;
        let secrets = read_secrets(&config.secrets)?;
        let world = Arc::new(World::new(&things, config.time_scale)?);
        let counters = Arc::<Counters>::default();
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for (index, thing) in things.iter().enumerate() {
            let secret = secrets
                .get(&thing.code)
                .with_context(|| format!("{} has no secret in {}", thing.code, config.secrets.display()))?;
            let options = Options {
                listen: true,
                counters: Arc::clone(&counters),
                ..Options::new(config.mqtt, &thing.code, secret)
            };
            let pace =
                hydrant::Pace { interval: config.interval, seed: config.seed, answers: config.answers };
            tasks.spawn(hydrant::run(Arc::clone(&world), index, options, pace, stopped.clone()));
        }
        Ok(Self { world, counters, stop, tasks })
    }

    /// A handle for those who start faults and look, while the fleet runs.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle { world: Arc::clone(&self.world), counters: Arc::clone(&self.counters) }
    }

    /// Says goodbye on all connections, after waiting a little for what is on its way.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(Duration::from_secs(5), all).await;
    }
}

/// Starts faults, reports repairs, tells the state. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    world: Arc<World>,
    counters: Arc<Counters>,
}

impl Handle {
    /// Starts a fault now.
    ///
    /// # Errors
    /// [`FaultError`] when its target does not exist.
    pub fn inject(&self, fault: &Fault) -> Result<(), FaultError> {
        self.world.inject(fault)
    }

    /// The maintenance hook: the repair of a main is reported. Answers whether it was broken.
    ///
    /// # Errors
    /// [`FaultError::NoSuchMain`].
    pub fn repaired(&self, main: &str) -> Result<bool, FaultError> {
        self.world.repaired(main)
    }

    /// Runs a script to its end, counting from now. Faults whose target does not exist are logged
    /// and left out.
    pub async fn play(&self, script: &[Scripted]) {
        let start = Instant::now();
        for scripted in script {
            tokio::time::sleep_until(start + scripted.at).await;
            match self.inject(&scripted.fault) {
                Ok(()) => tracing::info!(fault = ?scripted.fault, "a fault by the script"),
                Err(error) => tracing::warn!(%error, "a fault of the script was left out"),
            }
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let c = &self.counters;
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            connected: read(&c.connected),
            sent: read(&c.sent),
            acked: read(&c.acked),
            refused: read(&c.refused),
            resent: read(&c.resent),
            dropped: read(&c.dropped),
            lost: read(&c.lost),
        }
    }

    /// How many hydrants there are.
    #[must_use]
    pub fn total(&self) -> usize {
        self.world.hydrants.len()
    }

    /// The fleet as it stands.
    #[must_use]
    pub fn state(&self) -> FleetState {
        FleetState {
            uptime_seconds: self.world.elapsed(),
            hour: self.world.hour(),
            counts: self.counts(),
            mains: self.world.mains(),
            hydrants: self.world.summary(),
        }
    }
}
