//! What the person responsible sees, and when: the event stream while it runs, and afterwards
//! every task once over the API.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::StreamExt as _;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::api::{Api, Told};

/// Every how many tasks one is read over the API at once.
const READ_EVERY: usize = 20;
/// Whose tasks are counted: the first level's.
const POST: &str = "property-duty";
/// Reads at a time when all are read afterwards.
const AT_ONCE: usize = 4;

/// What was seen of one hydrant.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// When `alert.opened` was read.
    pub(super) alert: Option<Instant>,
    /// When `task.opened` was read.
    pub(super) task: Option<Instant>,
    /// Whether the API shows its task.
    pub(super) listed: bool,
}

/// All that was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Sights {
    /// By the hydrant's code.
    pub(super) things: HashMap<String, Seen>,
    /// Tasks beyond the first of a hydrant.
    pub(super) more: usize,
    /// From `task.opened` to the answer of `GET /api/v1/tasks/{id}`, of every twentieth.
    pub(super) reads: Vec<Duration>,
    /// Reads that did not find the task.
    pub(super) unreadable: Vec<String>,
}

/// A task that the stream told of.
struct Task {
    id: String,
    at: Instant,
}

#[derive(Default)]
struct Notes {
    /// `alert.opened`: the hydrant, and when.
    alerts: Vec<(String, Instant)>,
    tasks: Vec<Task>,
    reads: Vec<Duration>,
    unreadable: Vec<String>,
}

/// The reader of the event stream.
pub(super) struct Witness {
    notes: Arc<Mutex<Notes>>,
    /// How many tasks; a reason when the stream ended.
    told: watch::Receiver<(usize, Option<String>)>,
    reading: JoinHandle<()>,
}

fn lock(notes: &Mutex<Notes>) -> MutexGuard<'_, Notes> {
    // Pushing to a list cannot panic half-way.
    notes.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Witness {
    /// Reads the stream from now on.
    pub(super) async fn start(api: Api) -> Result<Self> {
        let notes = Arc::<Mutex<Notes>>::default();
        let (tell, told) = watch::channel((0, None));
        let mut events = api.events().await?;
        let kept = Arc::clone(&notes);
        let reading = tokio::spawn(async move {
            let mut reads = JoinSet::new();
            let reason = loop {
                let (at, event) = match events.next().await {
                    Ok(Some(event)) => event,
                    Ok(None) => break "the hub closed it".to_owned(),
                    Err(e) => break format!("{e:#}"),
                };
                while reads.try_join_next().is_some() {}
                match note(&kept, at, &event) {
                    Ok(None) => {}
                    Ok(Some(task)) => {
                        let count = lock(&kept).tasks.len();
                        tell.send_modify(|t| t.0 = count);
                        if count.is_multiple_of(READ_EVERY) {
                            reads.spawn(read_at_once(api.clone(), task, at, Arc::clone(&kept)));
                        }
                    }
                    Err(e) => break format!("{e:#}"),
                }
            };
            tell.send_modify(|t| t.1 = Some(reason));
        });
        Ok(Self { notes, told, reading })
    }

    /// Returns when the stream ended, with the reason.
    pub(super) async fn broken(&self) -> String {
        let mut told = self.told.clone();
        match told.wait_for(|t| t.1.is_some()).await {
            Ok(t) => t.1.clone().unwrap_or_default(),
            Err(_) => "its reader ended".to_owned(),
        }
    }

    /// Waits until so many tasks were told of; not longer than `patience`.
    pub(super) async fn wait_for(&self, tasks: usize, patience: Duration) {
        let mut told = self.told.clone();
        // Fewer than that is what the report is about.
        let _ = tokio::time::timeout(patience, told.wait_for(|t| t.0 >= tasks || t.1.is_some())).await;
    }

    /// Stops reading, reads every task once over the API, and says what was seen.
    pub(super) async fn finish(self, api: &Api) -> Result<Sights> {
        self.reading.abort();
        let notes = std::mem::take(&mut *lock(&self.notes));
        let mut sights = Sights { reads: notes.reads, unreadable: notes.unreadable, ..Sights::default() };
        for (thing, at) in notes.alerts {
            sights.things.entry(thing).or_default().alert.get_or_insert(at);
        }
        let told: HashMap<String, Instant> = notes.tasks.into_iter().map(|t| (t.id, t.at)).collect();
        let listed = api.list("/api/v1/tasks?mine=true&state=open").await?;
        let listed: HashSet<String> = listed
            .iter()
            .filter_map(|t| t.get("id").and_then(Value::as_str))
            .map(ToOwned::to_owned)
            .collect();
        for id in told.keys().filter(|id| !listed.contains(*id)) {
            sights.unreadable.push(format!("{id} was told of and is not in the list of tasks"));
        }
        let reading = futures::stream::iter(listed).map(|id| async move {
            let task = api.get(&format!("/api/v1/tasks/{id}")).await?;
            let thing = task.pointer("/alert/thing").and_then(Value::as_str);
            let thing = thing.with_context(|| format!("the task {id} names no thing: {task}"))?.to_owned();
            anyhow::Ok((id, thing))
        });
        let read: Vec<Result<(String, String)>> = reading.buffer_unordered(AT_ONCE).collect().await;
        for read in read {
            let (id, thing) = read?;
            let seen = sights.things.entry(thing).or_default();
            if seen.listed {
                sights.more += 1;
            }
            seen.listed = true;
            if let Some(at) = told.get(&id) {
                let first = seen.task.map_or(*at, |t| t.min(*at));
                seen.task = Some(first);
            }
        }
        Ok(sights)
    }
}

/// Notes an event; the task's id when it opened one.
fn note(notes: &Mutex<Notes>, at: Instant, told: &Told) -> Result<Option<String>> {
    let text = |field: &str| -> Result<String> {
        let data: Value = serde_json::from_str(&told.data)?;
        let value = data.get(field).and_then(Value::as_str);
        Ok(value.with_context(|| format!("{} without {field}: {}", told.event, told.data))?.to_owned())
    };
    match told.event.as_str() {
        "task.opened" => {
            // Tasks that a case climbed to, in a long run, are others' business.
            if text("post")? != POST {
                return Ok(None);
            }
            let id = text("id")?;
            lock(notes).tasks.push(Task { id: id.clone(), at });
            Ok(Some(id))
        }
        "alert.opened" => {
            let thing = text("thing")?;
            lock(notes).alerts.push((thing, at));
            Ok(None)
        }
        "reset" => bail!("the hub could not keep up with its own stream: {}", told.data),
        _ => Ok(None),
    }
}

async fn read_at_once(api: Api, id: String, told: Instant, notes: Arc<Mutex<Notes>>) {
    let read = api.get(&format!("/api/v1/tasks/{id}")).await;
    let took = told.elapsed();
    match read {
        Ok(_) => lock(&notes).reads.push(took),
        Err(e) => lock(&notes).unreadable.push(format!("{id} was told of and not readable at once: {e:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_is_noted_and_the_rest_passed_over() {
        let notes = Mutex::default();
        let told = |event: &str, data: &str| Told { event: event.into(), data: data.into() };
        let at = Instant::now();
        for (event, data, opened) in [
            ("hello", "{}", None),
            ("alert.opened", r#"{"thing":"a","id":"1"}"#, None),
            ("values", "not even JSON", None),
            ("task.opened", r#"{"id":"7","case":"2026-1124-0001","post":"property-duty"}"#, Some("7")),
            ("task.opened", r#"{"id":"8","post":"community-duty"}"#, None),
        ] {
            assert_eq!(note(&notes, at, &told(event, data)).unwrap().as_deref(), opened, "{event}");
        }
        assert!(note(&notes, at, &told("reset", "{}")).is_err());
        assert!(note(&notes, at, &told("task.opened", "{}")).is_err());
        let notes = notes.into_inner().unwrap();
        assert_eq!((notes.alerts.len(), notes.tasks.len()), (1, 1));
    }
}
