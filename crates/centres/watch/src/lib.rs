//! The watch centre (监测中心): things, what they measure, and what that means.
//!
//! Samples come in by [`model::observation::Ingest`], are committed by the lake, and are judged
//! right after by the rules that packs declare. What the rules find are alerts; whoever works on
//! them is `work`'s affair, which the two tell each other by events.
//!
//! | module | what is there |
//! | --- | --- |
//! | [`bulk`] | files of observations on their way into the lake |
//! | [`declare`] | thing types and rules of the packs |
//! | [`registry`] | things and their datastreams, in memory |
//! | [`import`] | things and their secrets from files |
//! | `devices` | who stands at the other end of a connection |
//! | `ingest` | the doors' way in: what waits is committed together |
//! | `series` | which datastream a line of another system means |
//! | `judge` | committed segments in, alerts out; restarts |
//! | `alert` | alerts as rows, and what cases do to them |
//! | [`standing`] | how things stand |
//! | [`live`] | what changed since a page looked last |
//! | [`sweep`] | every device of a kind asked for its value now |
//! | [`broker`] | what MQTT sessions must not forget |
//! | [`http`] | the routes |

pub mod broker;
pub mod bulk;
pub mod declare;
pub mod http;
pub mod import;
pub mod live;
pub mod registry;
pub mod standing;
pub mod sweep;

mod alert;
mod devices;
mod ingest;
mod judge;
mod series;

use std::sync::Arc;

use lake::{Lake, LakeError};
use model::{DatastreamKey, Micros};
use platform::{PackError, PackFiles, Platform};
use rules::{Engine, RuleDecl, Threshold};
use store::{Store, StoreError, now};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use declare::Declarations;
pub use declare::validate;
use ingest::{Committer, Door};
use judge::Judge;
use live::Changes;
pub use live::{Live, LiveCursor, LiveThing, LiveValue};
pub use registry::{Registry, Thing};
use standing::Standing;
pub use standing::ThingState;

/// How many committed segments may wait for the judge before taking more in waits.
const QUEUE: usize = 256;

/// Every statement of this centre, for the test that describes them on both databases.
#[must_use]
pub fn statements() -> Vec<(&'static str, &'static str)> {
    [
        registry::STATEMENTS,
        alert::STATEMENTS,
        broker::STATEMENTS,
        bulk::STATEMENTS,
        import::STATEMENTS,
        ingest::STATEMENTS,
        http::STATEMENTS,
        http::SWEEP_STATEMENTS,
        sweep::record::STATEMENTS,
        sweep::schedule::STATEMENTS,
    ]
    .concat()
}

/// Why the centre does not start.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// Packs are wrong.
    #[error("read the packs: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Packs(Vec<PackError>),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The lake.
    #[error(transparent)]
    Lake(#[from] LakeError),
}

/// The watch centre.
pub struct Watch {
    pub(crate) store: Store,
    pub(crate) platform: Arc<Platform>,
    pub(crate) lake: Arc<Lake>,
    pub(crate) declared: Declarations,
    pub(crate) registry: Registry,
    pub(crate) standing: Standing,
    pub(crate) changed_values: Changes,
    pub(crate) changed_things: Changes,
    pub(crate) door: Door,
    pub(crate) sweeping: sweep::Running,
    committing: Mutex<Option<JoinHandle<()>>>,
    judging: Mutex<Option<JoinHandle<()>>>,
}

impl Watch {
    /// Loads things and rules, takes up where the last run stopped (every committed segment is
    /// judged once, open alerts stay open), and begins to judge.
    ///
    /// # Errors
    /// [`WatchError`].
    pub async fn open(
        store: Store,
        platform: Arc<Platform>,
        lake: Arc<Lake>,
        packs: &[PackFiles],
    ) -> Result<Arc<Self>, WatchError> {
        let declared = declare::read(packs).map_err(WatchError::Packs)?;
        let registry = Registry::load(&store, &declared).await?;
        let mut engine = Engine::new(declared.version.clone(), now());
        for thing in registry.things() {
            for (key, stream) in &thing.datastreams {
                watch_with(&mut engine, &declared, thing, *key, *stream);
            }
        }
        let (queue, taken) = mpsc::channel(QUEUE);
        let (door, line) = Door::new();
        let things = registry.things().len();
        let watch = Self {
            door,
            sweeping: sweep::Running::default(),
            committing: Mutex::new(None),
            standing: Standing::new(things),
            changed_values: Changes::new(registry.keys()),
            changed_things: Changes::new(things),
            judging: Mutex::new(None),
            store,
            platform,
            lake,
            declared,
            registry,
        };
        for (at, thing) in watch.registry.things().iter().enumerate() {
            if thing.datastreams.iter().any(|(key, _)| watch.lake.last(*key).is_some()) {
                watch.standing.hear(at);
            }
        }
        let keeps = (0..watch.registry.keys()).filter_map(|key| {
            let key = DatastreamKey(i32::try_from(key).ok()?);
            Some((key, watch.registry.by_key(key)?.2.keep()))
        });
        watch.lake.keep(keeps.collect());
        let (mut judge, orphans) = Judge::restore(&watch, engine).await?;
        judge.catch_up(&watch, orphans).await?;
        let committer = Committer::new(&watch.registry, |key| judge.engine.judged_to(key), queue);
        watch.show_open();
        let watch = Arc::new(watch);
        watch
            .store
            .subscribe("watch.cases", Arc::new(|tx, events| Box::pin(alert::follow_cases(tx, events))))
            .await?;
        *watch.committing.lock().await = Some(tokio::spawn(committer.run(watch.clone(), line)));
        *watch.judging.lock().await = Some(tokio::spawn(judge.run(watch.clone(), taken)));
        tracing::info!(things, rules = watch.declared.rules.len(), "the watch centre is open");
        Ok(watch)
    }

    /// Takes nothing more in, and returns when everything taken is judged and on record. Stop
    /// the gateway before, the store and the lake after.
    pub async fn stop(&self) {
        self.door.close();
        if let Some(committing) = self.committing.lock().await.take()
            && let Err(e) = committing.await
        {
            tracing::error!(error = %e, "the committer ended badly; nothing it did not commit was acknowledged");
        }
        if let Some(judging) = self.judging.lock().await.take()
            && let Err(e) = judging.await
        {
            tracing::error!(error = %e, "the judge ended badly; the next start judges again from its last record");
        }
    }

    /// The things.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The declaration of a rule.
    #[must_use]
    pub fn rule(&self, id: &str) -> Option<&RuleDecl> {
        self.declared.rules.iter().find(|r| r.id == id)
    }

    /// The thresholds of a datastream, mildest first.
    #[must_use]
    pub fn thresholds(&self, key: DatastreamKey) -> Vec<Threshold> {
        let Some((_, thing, stream)) = self.registry.by_key(key) else { return Vec::new() };
        let Some(at) = thing.kind.datastreams.iter().position(|s| s.code == stream.code) else {
            return Vec::new();
        };
        let mut engine = Engine::new("", Micros(0));
        watch_with(&mut engine, &self.declared, thing, key, at);
        engine.thresholds(key)
    }
}

/// Has every rule of a datastream watch it.
fn watch_with(
    engine: &mut Engine,
    declared: &Declarations,
    thing: &Thing,
    key: DatastreamKey,
    stream: usize,
) {
    let stream = &thing.kind.datastreams[stream];
    let apply = |r: &&RuleDecl| r.thing_type == thing.kind.name && r.datastream == stream.code;
    for rule in declared.rules.iter().filter(apply) {
        engine.add(key, &thing.properties, stream.interval, rule);
    }
}
