//! Cases (工单), tasks, timers, deadlines and escalation: the durable runner of `engines/process`.
//!
//! An alert starts a case by a binding of its pack; the case's process opens tasks for posts;
//! people complete them; services are called; the case ends. Every step commits the instance's
//! state, the rows it makes, its events and its audit entry in one command.
//!
//! | module | what is there |
//! | --- | --- |
//! | `definition` | processes and their forms, versioned in the database |
//! | `binding` | which alert starts which process |
//! | `alerts` | the subscriber of alert events |
//! | `case` | rows of cases, starting and joining one |
//! | `run` | one command in progress: engine steps, effects as rows |
//! | `task` | opening, completing, handing over |
//! | `escalation` | a task climbs its levels of posts |
//! | `notify` | what residents and posts are told |
//! | `timer`, `job` | what happens by itself, and services that leave the hub |
//! | [`http`] | cases, tasks and process diagrams over HTTP |
//!
//! Events: `case.opened`, `case.changed`, `case.acknowledged {alerts, by}`, `case.closed {alerts,
//! number, outcome}`, `case.noted`, `task.opened`, `task.completed`, `task.withdrawn`,
//! `task.handed-over`; each with `id` and `number` or `case` (the case's number).

mod alerts;
mod binding;
mod case;
mod definition;
mod escalation;
mod form;
mod gauge;
pub mod http;
mod job;
mod notify;
mod run;
mod service;
mod task;
mod timeline;
mod timer;
mod validate;

use std::collections::HashMap;
use std::sync::Arc;

use model::{IsoDuration, Micros};
use platform::{PackFiles, Platform};
use store::{Store, StoreError};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use service::{AlertCalled, ServiceCall, ServiceError, ServiceTask};
pub use validate::validate;

/// How the room is set up.
#[derive(Clone, Copy, Debug)]
pub struct WorkConfig {
    /// Durations of processes (escalation, due, timers, restarts) are divided by it, and nothing
    /// else: 1 in production.
    pub process_speed: f64,
}

/// Why the room does not open.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WorkError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An installed pack does not read any more.
    #[error("read the pack {pack:?}: {reason}")]
    Pack {
        /// Which pack.
        pack: String,
        /// What is wrong.
        reason: String,
    },
    /// The speed is not one.
    #[error("set the process speed to {0}: it must be a number above 0")]
    Speed(f64),
    /// A process names a service that this hub does not have.
    #[error("load process {process:?}: it calls the service {service:?}, which this hub does not have")]
    NoService {
        /// The process.
        process: String,
        /// The service.
        service: String,
    },
}

/// Everything that commands and runners need.
pub(crate) struct Room {
    pub(crate) store: Store,
    pub(crate) platform: Arc<Platform>,
    pub(crate) speed: f64,
    pub(crate) definitions: definition::Definitions,
    pub(crate) bindings: HashMap<String, binding::Binding>,
    pub(crate) services: HashMap<&'static str, Arc<dyn ServiceTask>>,
    pub(crate) timers: Notify,
    pub(crate) jobs: Notify,
    pub(crate) stop: CancellationToken,
}

impl Room {
    /// When a duration that begins `at` is over, at the room's speed.
    pub(crate) fn after(&self, at: Micros, duration: IsoDuration) -> Micros {
        // At least a microsecond, so that nothing is due before it began.
        at.plus(((duration.0 as f64 / self.speed) as i64).max(1))
    }

    /// The instances and timers changed: the runners look again.
    pub(crate) fn wake(&self) {
        self.timers.notify_one();
        self.jobs.notify_one();
    }
}

/// The room.
pub struct Work {
    pub(crate) room: Arc<Room>,
    runners: tokio::sync::Mutex<JoinSet<()>>,
}

impl Work {
    /// Loads the processes of the packs, subscribes to alerts, and runs what came due meanwhile.
    ///
    /// # Errors
    /// [`WorkError`].
    pub async fn open(
        store: Store,
        platform: Arc<Platform>,
        packs: &[PackFiles],
        config: WorkConfig,
        services: Vec<Arc<dyn ServiceTask>>,
    ) -> Result<Arc<Self>, WorkError> {
        if !(config.process_speed.is_finite() && config.process_speed > 0.0) {
            return Err(WorkError::Speed(config.process_speed));
        }
        let mut bindings = HashMap::new();
        for pack in packs {
            let wrong = |reason| WorkError::Pack { pack: pack.name.clone(), reason };
            let read = binding::read(pack)
                .map_err(|all| wrong(all.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))?;
            let read = read.into_iter().filter(|b| b.on == binding::On::AlertOpened);
            bindings.extend(read.map(|b| (b.rule.clone(), b)));
        }
        let definitions = definition::Definitions::open(&store, packs).await?;
        let services: HashMap<&'static str, _> = services.into_iter().map(|s| (s.name(), s)).collect();
        for loaded in definitions.all() {
            for (_, called) in service::called_by(&loaded.definition) {
                if !service::is_built_in(&called.service) && !services.contains_key(called.service.as_str()) {
                    let process = loaded.definition.key().to_owned();
                    return Err(WorkError::NoService { process, service: called.service.clone() });
                }
            }
        }
        let room = Arc::new(Room {
            store,
            platform,
            speed: config.process_speed,
            definitions,
            bindings,
            services,
            timers: Notify::new(),
            jobs: Notify::new(),
            stop: CancellationToken::new(),
        });
        alerts::subscribe(&room).await?;
        let mut runners = JoinSet::new();
        runners.spawn(timer::run(room.clone()));
        runners.spawn(job::run(room.clone()));
        runners.spawn(gauge::run(room.clone()));
        Ok(Arc::new(Self { room, runners: tokio::sync::Mutex::new(runners) }))
    }

    /// Stops the runners; what they have in hand is finished or comes back at the next start.
    pub async fn stop(&self) {
        self.room.stop.cancel();
        let mut runners = self.runners.lock().await;
        while runners.join_next().await.is_some() {}
    }
}

/// Name and text of every statement of the room, for the test that both databases take them.
#[must_use]
pub fn statements() -> Vec<(&'static str, &'static str)> {
    [
        definition::STATEMENTS,
        alerts::STATEMENTS,
        case::STATEMENTS,
        run::STATEMENTS,
        task::STATEMENTS,
        escalation::STATEMENTS,
        timer::STATEMENTS,
        job::STATEMENTS,
        gauge::STATEMENTS,
        http::STATEMENTS,
    ]
    .concat()
}
