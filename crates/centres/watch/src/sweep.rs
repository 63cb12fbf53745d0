//! Sweeps (巡检): every device of a kind in an area is asked for its value now, and what came back
//! is on record.
//!
//! A sweep is a row (`sweeps`) with a row for each device (`sweep_rows`): asked when, answered
//! when, with which value, and what that means. It ends as soon as the last one asked has
//! answered, or when the time they had is over; whoever has not answered by then is silent, with
//! what was last known. One that the hub was stopped in ends on the next start with what is known.
//!
//! ```text
//! start ── command ──> sweeps row ──> drive: ask a run of devices, note, write their rows ┐
//!   gateway, ingest ── after their commit ──> Run (in memory) <── four times a second ────┘
//!                                               └─ last answer or limit ──> settle, write, end
//! ```
//!
//! | module | what is there |
//! | --- | --- |
//! | `run` | a running sweep in memory |
//! | `drive` | the task of one sweep |
//! | `record` | sweeps and their rows in the database |
//! | [`schedule`] | sweeps that start by themselves |

pub mod schedule;

mod drive;
pub(crate) mod record;
mod run;

use std::sync::Arc;
use std::time::Duration;

use model::command::CommandDown;
use model::{AreaPath, Context, Id, Micros};
use serde::{Deserialize, Serialize};
use store::StoreError;
use tokio::sync::{Mutex, Notify, broadcast};
use tokio::task::JoinSet;
use utoipa::ToSchema;

use crate::Watch;
use record::Begun;
pub(crate) use run::Running;
use run::{Halt, Run, Target};

/// How long devices have to answer, unless asked otherwise.
pub const LIMIT: Duration = Duration::from_secs(10);
/// The shortest and the longest that they may be given.
pub const LIMITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120));
/// Sweeps that run at the same time.
const MOST_RUNNING: i64 = 8;
/// Devices of one sweep.
const MOST_THINGS: usize = 200_000;
/// Reports of progress that wait for a slow page; it then misses the oldest.
const REPORTS: usize = 32;

/// Where a sweep is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SweepState {
    /// Devices are asked or waited for.
    Running,
    /// Everybody answered, or the time was over.
    Ended,
    /// Somebody stopped it.
    Stopped,
}

/// What a device's answer, or its silence, means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = SweepVerdict)]
pub enum Verdict {
    /// No answer yet; or, once the sweep is over, it ended before one could be expected.
    #[default]
    Open,
    /// The value breaks no threshold.
    Ok,
    /// The value is below a threshold of the thing.
    Low,
    /// It answered that it cannot say, or with a value that its sensor cannot mean.
    Fault,
    /// It did not answer in time, or was not connected.
    Silent,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Open, Self::Ok, Self::Low, Self::Fault, Self::Silent];

    /// `open` … `silent`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Ok => "ok",
            Self::Low => "low",
            Self::Fault => "fault",
            Self::Silent => "silent",
        }
    }

    /// Reads what [`Verdict::as_str`] writes.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|v| v.as_str() == name)
    }
}

/// How an answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = SweepVia)]
pub enum Via {
    /// On the reply topic, with the question's correlation.
    Reply,
    /// As an observation measured after the question.
    Observation,
}

impl Via {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Reply => "reply",
            Self::Observation => "observation",
        }
    }
}

/// What a sweep asks: which datastream of which things.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Where the things are.
    pub area: AreaPath,
    /// Their type.
    pub kind: String,
    /// The code of the datastream.
    pub datastream: String,
}

/// How many devices stand how. `open` to `silent` add up to `total`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SweepCounts)]
pub struct Counts {
    /// Devices of the sweep.
    pub total: u64,
    /// Those that the question was sent to; the others were not connected.
    pub asked: u64,
    /// Without an answer yet, or never asked to the end.
    pub open: u64,
    /// Good values.
    pub ok: u64,
    /// Values below a threshold.
    pub low: u64,
    /// Faults.
    pub fault: u64,
    /// Silent ones.
    pub silent: u64,
}

impl Counts {
    fn of(&mut self, verdict: Verdict) -> &mut u64 {
        match verdict {
            Verdict::Open => &mut self.open,
            Verdict::Ok => &mut self.ok,
            Verdict::Low => &mut self.low,
            Verdict::Fault => &mut self.fault,
            Verdict::Silent => &mut self.silent,
        }
    }
}

/// A sweep to start.
#[derive(Clone, Debug)]
pub struct NewSweep {
    /// What is asked.
    pub scope: Scope,
    /// How long each device has to answer.
    pub limit: Duration,
    /// Ask only those that did not answer in this one.
    pub repeats: Option<Id>,
}

/// Why a sweep did not start, or was not stopped.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The same things are being asked.
    #[error("start a sweep: {0} asks the same devices now; wait for it or stop it")]
    Running(String),
    /// As many run as may.
    #[error("start a sweep: {0} run already; wait until one has ended")]
    Busy(i64),
    /// No such device.
    #[error("start a sweep: there is no device of this type with this datastream in the area")]
    Nothing,
    /// Nobody was silent.
    #[error("repeat the silent ones: everybody answered")]
    NobodySilent,
    /// More than [`MOST_THINGS`].
    #[error("start a sweep: {0} devices are more than one sweep asks (200000); choose a smaller area")]
    TooMany(usize),
    /// Not within [`LIMITS`].
    #[error("start a sweep: the limit must be 1 to 120 seconds")]
    BadLimit,
    /// It is over.
    #[error("stop the sweep: it is over")]
    Over,
    /// The schedule was changed meanwhile, or deleted.
    #[error("start a scheduled sweep: its schedule has moved on")]
    MovedOn,
    /// There are as many as may be.
    #[error("keep the schedule: there are {0} already")]
    TooManySchedules(i64),
    /// The same is scheduled at the same time.
    #[error("keep the schedule: the same is scheduled for the same time already")]
    Scheduled,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Progress of a running sweep, at most four times a second.
#[derive(Clone, Debug, Serialize)]
pub struct Progress {
    /// Which.
    pub id: Id,
    /// Its number.
    pub number: String,
    /// Where; who may not see the area is not told.
    #[serde(skip)]
    pub area: AreaPath,
    /// Always [`SweepState::Running`]; the end is told by an event that is kept.
    pub state: SweepState,
    /// How its devices stand.
    pub counts: Counts,
    /// What changed since the last report, as far as it is short.
    pub rows: Vec<crate::http::SweepRow>,
}

/// The sweeps of the hub.
pub struct Sweeps {
    pub(crate) watch: Arc<Watch>,
    down: Arc<dyn CommandDown>,
    progress: broadcast::Sender<Arc<Progress>>,
    tasks: Mutex<Option<JoinSet<()>>>,
    stopping: Notify,
    pub(crate) schedules_changed: Notify,
}

impl Sweeps {
    /// Ends the sweeps that the hub was stopped in, and begins to keep the schedules. Stop it
    /// before the gateway behind `down`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open(watch: Arc<Watch>, down: Arc<dyn CommandDown>) -> Result<Arc<Self>, StoreError> {
        record::end_interrupted(&watch.store).await?;
        let sweeps = Arc::new(Self {
            watch,
            down,
            progress: broadcast::channel(REPORTS).0,
            tasks: Mutex::new(Some(JoinSet::new())),
            stopping: Notify::new(),
            schedules_changed: Notify::new(),
        });
        if let Some(tasks) = sweeps.tasks.lock().await.as_mut() {
            tasks.spawn(schedule::keep(sweeps.clone()));
        }
        Ok(sweeps)
    }

    /// Ends the running sweeps with what is known, and starts no more.
    pub async fn stop(&self) {
        let tasks = self.tasks.lock().await.take();
        for run in self.watch.sweeping.all() {
            run.halt(Halt::HubStops);
        }
        self.stopping.notify_one();
        let Some(mut tasks) = tasks else { return };
        while let Some(done) = tasks.join_next().await {
            if let Err(e) = done {
                tracing::error!(error = %e, "a sweep ended badly; the next start puts its end on record");
            }
        }
    }

    /// Reports of progress from now on; a reader that falls behind misses the oldest.
    #[must_use]
    pub fn progress(&self) -> broadcast::Receiver<Arc<Progress>> {
        self.progress.subscribe()
    }

    /// How the devices of a running sweep stand; `None` once it is over.
    #[must_use]
    pub fn counts(&self, id: Id) -> Option<Counts> {
        self.watch.sweeping.find(id).map(|run| run.counts())
    }

    /// Starts a sweep; its id, **once it is on record**. Asking goes on after the return.
    ///
    /// # Errors
    /// [`SweepError`].
    pub async fn start(&self, context: &Context, new: NewSweep) -> Result<Id, SweepError> {
        self.begin(context, new, None).await
    }

    async fn begin(
        &self,
        context: &Context,
        new: NewSweep,
        due: Option<schedule::Due>,
    ) -> Result<Id, SweepError> {
        if !(LIMITS.0..=LIMITS.1).contains(&new.limit) {
            return Err(SweepError::BadLimit);
        }
        let mut targets = self.targets(&new.scope);
        if let Some(earlier) = new.repeats {
            let unanswered = record::unanswered(&self.watch.store, earlier).await?;
            targets.retain(|target| unanswered.contains(&*target.code));
            if targets.is_empty() {
                return Err(SweepError::NobodySilent);
            }
        }
        if targets.is_empty() {
            return Err(SweepError::Nothing);
        }
        if targets.len() > MOST_THINGS {
            return Err(SweepError::TooMany(targets.len()));
        }
        let begun = Begun {
            id: store::new_id(),
            scope: new.scope.clone(),
            limit_ms: i64::try_from(new.limit.as_millis()).unwrap_or(i64::MAX),
            total: i64::try_from(targets.len()).unwrap_or(i64::MAX),
            repeats: new.repeats,
            due,
        };
        let ours = begun.id;
        let (id, number) = record::begin(&self.watch.store, context, begun).await?;
        // Under an idempotency key that came before it is the sweep of then, and runs or ran.
        if id == ours {
            let run = Arc::new(Run::new(id, number, new.scope, targets));
            let mut tasks = self.tasks.lock().await;
            // A hub that stops just now leaves it to the next start to end it.
            let tasks = tasks.as_mut().ok_or(StoreError::Stopping)?;
            while tasks.try_join_next().is_some() {}
            self.watch.sweeping.enter(&run);
            tasks.spawn(drive::run(self.driver(), run, new.limit));
        }
        Ok(id)
    }

    fn driver(&self) -> drive::Driver {
        drive::Driver { watch: self.watch.clone(), down: self.down.clone(), progress: self.progress.clone() }
    }

    /// Stops a running sweep: devices that did not answer yet stay open.
    ///
    /// # Errors
    /// [`SweepError::Over`], [`SweepError::Store`].
    pub async fn halt(&self, context: &Context, id: Id) -> Result<(), SweepError> {
        record::stop(&self.watch.store, context, id).await?;
        if let Some(run) = self.watch.sweeping.find(id) {
            run.halt(Halt::Stopped);
        }
        Ok(())
    }

    fn targets(&self, scope: &Scope) -> Vec<Target> {
        let things = self.watch.registry.things().iter();
        let things = things.filter(|t| t.kind.name == scope.kind && t.area.is_in(&scope.area));
        let target = |thing: &crate::Thing| {
            let stream =
                |at: usize| thing.kind.datastreams.get(at).is_some_and(|s| s.code == scope.datastream);
            let (key, _) = thing.datastreams.iter().find(|(_, at)| stream(*at))?;
            Some(Target { code: thing.code.as_str().into(), key: *key })
        };
        things.filter_map(target).collect()
    }

    async fn stopped(&self) {
        self.stopping.notified().await;
    }
}

/// The clock, as rows keep it.
fn now() -> Micros {
    store::now()
}
