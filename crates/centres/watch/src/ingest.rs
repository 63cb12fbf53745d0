//! The doors' way in: what waits is committed together, then judged.
//!
//! Doors call [`Ingest::ingest`] as they like; one task, the committer, takes what is there and
//! commits it as one segment. While the disk syncs, the next one gathers: no linger, and one sync
//! for as many connections as there are. How much may wait is bounded; beyond it the call waits,
//! the door stops reading, and the sender's socket fills up.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use lake::{Batch, Rows, Segment};
use model::observation::{
    BATCH_CAP, Columns, FUTURE_TOLERANCE_MICROS, Ingest, IngestError, Unreadable, quality,
};
use model::{Context, DatastreamKey, Micros};
use store::{StoreError, args, new_id, now};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::{Registry, Watch};

store::statements! {
    TRIM_UNREADABLE = "DELETE FROM unreadable WHERE id <= (SELECT id FROM unreadable ORDER BY id DESC LIMIT 1 OFFSET 10000)";
}

const ADD_UNREADABLE: &str = "INSERT INTO unreadable (id, thing, topic, payload, reason, received_at)";

/// How many unreadable payloads are written between two looks at the bound of 10,000.
const TRIM_EVERY: u64 = 500;
/// How many samples of all doors may wait for their commit.
const ROOM: usize = 8 * BATCH_CAP;
/// What an unreadable payload (at most 4 KiB) takes of that room.
const UNREADABLE_ROOM: usize = 200;
/// Calls of which nothing was taken yet; each holds room besides.
const CALLS: usize = 4096;
/// A segment closes at so many samples: beyond, a longer one gains nothing and delays its acks.
const SEGMENT: usize = 2 * BATCH_CAP;

/// Kept, and not judged.
const NOT_JUDGED: i16 = (quality::FROM_THE_FUTURE | quality::OUT_OF_RANGE) as i16;

/// A committed segment on its way to the judge.
pub(crate) struct Taken {
    pub(crate) segment: Segment,
    /// When its commit began, for the lag.
    pub(crate) began: Instant,
}

/// A call that waits for its commit.
pub(crate) struct Waiting {
    samples: Columns,
    unreadable: Vec<Unreadable>,
    answer: oneshot::Sender<Result<(), IngestError>>,
    _room: OwnedSemaphorePermit,
}

/// Where the doors hand in.
pub(crate) struct Door {
    /// `None` once the centre stops.
    line: Mutex<Option<mpsc::Sender<Waiting>>>,
    room: Arc<Semaphore>,
}

impl Door {
    /// A door, and the end of its line for the committer.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Waiting>) {
        let (line, waiting) = mpsc::channel(CALLS);
        (Self { line: Mutex::new(Some(line)), room: Arc::new(Semaphore::new(ROOM)) }, waiting)
    }

    /// Lets nothing more in. What is in line is still committed.
    pub(crate) fn close(&self) {
        self.line.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.room.close();
    }

    fn line(&self) -> Option<mpsc::Sender<Waiting>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Ingest for Watch {
    async fn ingest(&self, samples: Columns, unreadable: Vec<Unreadable>) -> Result<(), IngestError> {
        if samples.len() > BATCH_CAP {
            return Err(IngestError::TooLarge(samples.len()));
        }
        let weight = (samples.len() + unreadable.len() * UNREADABLE_ROOM).clamp(1, ROOM);
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        let room =
            self.door.room.clone().acquire_many_owned(weight).await.map_err(|_| IngestError::Stopping)?;
        let line = self.door.line().ok_or(IngestError::Stopping)?;
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { samples, unreadable, answer, _room: room };
        line.send(waiting).await.map_err(|_| IngestError::Stopping)?;
        drop(line);
        answered.await.unwrap_or(Err(IngestError::Stopping))
    }
}

/// The task that commits.
pub(crate) struct Committer {
    /// By datastream key, so that a sample costs no look-up.
    streams: Vec<Stream>,
    /// Unreadable payloads since the last look at their bound.
    untrimmed: u64,
    judge: mpsc::Sender<Taken>,
}

#[derive(Clone, Copy)]
struct Stream {
    /// The newest sample to be judged: what is not newer is late.
    newest: i64,
    /// What the datastream can mean at all.
    range: [f64; 2],
    /// The thing's place in the registry.
    thing: u32,
}

impl Committer {
    /// A committer for the datastreams of `registry`; `judged_to` says up to when each is judged.
    pub(crate) fn new(
        registry: &Registry,
        judged_to: impl Fn(DatastreamKey) -> Option<Micros>,
        judge: mpsc::Sender<Taken>,
    ) -> Self {
        let streams = (0..registry.keys()).map(|key| {
            let key = DatastreamKey(i32::try_from(key).unwrap_or(i32::MAX));
            let known = registry.by_key(key);
            Stream {
                newest: judged_to(key).map_or(i64::MIN, |t| t.0),
                range: known
                    .and_then(|(.., stream)| stream.range)
                    .unwrap_or([f64::NEG_INFINITY, f64::INFINITY]),
                thing: known.and_then(|(thing, ..)| u32::try_from(thing).ok()).unwrap_or(u32::MAX),
            }
        });
        Self { streams: streams.collect(), untrimmed: TRIM_EVERY, judge }
    }

    /// Commits until the door is closed and its line empty.
    pub(crate) async fn run(mut self, watch: Arc<Watch>, mut line: mpsc::Receiver<Waiting>) {
        let mut samples = Columns::default();
        let mut answers = Vec::new();
        while let Some(first) = line.recv().await {
            let mut unreadable = Vec::new();
            let mut next = Some(first);
            // The room of a call is given back with its answer: what waits stays bounded.
            while let Some(mut waiting) = next {
                if samples.is_empty() {
                    samples = waiting.samples;
                } else {
                    samples.append(&mut waiting.samples);
                }
                unreadable.append(&mut waiting.unreadable);
                answers.push((waiting.answer, waiting._room));
                next = if samples.len() < SEGMENT { line.try_recv().ok() } else { None };
            }
            let outcome = self.commit(&watch, std::mem::take(&mut samples), unreadable).await;
            for (answer, _room) in answers.drain(..) {
                // Whoever does not wait any more has left; what it sent is committed all the same.
                let _ = answer.send(outcome.clone());
            }
        }
    }

    async fn commit(
        &mut self,
        watch: &Watch,
        mut samples: Columns,
        unreadable: Vec<Unreadable>,
    ) -> Result<(), IngestError> {
        let began = Instant::now();
        if !unreadable.is_empty() {
            self.keep_unreadable(watch, unreadable).await.map_err(|e| IngestError::Store(e.to_string()))?;
        }
        if samples.is_empty() {
            return Ok(());
        }
        // A place in the queue first: after the commit nothing may wait, or the ack would.
        let judge = self.judge.clone();
        let place = judge.reserve().await.map_err(|_| IngestError::Stopping)?;
        let received_at = now();
        self.flag(&mut samples, received_at);
        let segment = watch
            .lake
            .append(Batch { samples, received_at })
            .await
            .map_err(|e| IngestError::Store(e.to_string()))?;
        self.note(watch, &segment.rows);
        watch.sweeping.observed(&segment.rows);
        place.send(Taken { segment, began });
        Ok(())
    }

    /// Says of each sample what is wrong with it.
    fn flag(&self, samples: &mut Columns, received_at: Micros) {
        let horizon = received_at.plus(FUTURE_TOLERANCE_MICROS).0;
        let rows = samples.datastream.iter().zip(&samples.time).zip(&samples.value);
        for (((key, time), value), quality) in rows.zip(&mut samples.quality) {
            let mut flags = 0;
            if *time > horizon {
                flags = quality::FROM_THE_FUTURE;
            } else if let Some(stream) = self.stream(*key) {
                let [low, high] = stream.range;
                if !(low..=high).contains(value) {
                    flags = quality::OUT_OF_RANGE;
                }
                if *time <= stream.newest {
                    flags |= quality::LATE;
                }
            }
            *quality |= i16::from(flags);
        }
    }

    fn stream(&self, key: i32) -> Option<&Stream> {
        usize::try_from(key).ok().and_then(|at| self.streams.get(at))
    }

    /// Notes what committed rows change in memory.
    fn note(&mut self, watch: &Watch, rows: &Rows) {
        let mut appeared = Vec::new();
        let mut changed = Vec::new();
        let mut before = -1;
        for ((key, time), flags) in rows.keys().iter().zip(rows.times()).zip(rows.qualities()) {
            let Ok(at) = usize::try_from(*key) else { continue };
            let Some(stream) = self.streams.get_mut(at) else { continue };
            if flags & NOT_JUDGED == 0 {
                stream.newest = stream.newest.max(*time);
            }
            // Rows of a datastream stand together.
            if *key == before {
                continue;
            }
            before = *key;
            changed.push(at);
            let thing = stream.thing as usize;
            if watch.standing.hear(thing) {
                appeared.push(thing);
            }
        }
        watch.changed_values.push(changed.into_iter());
        if !appeared.is_empty() {
            watch.changed_things.push(appeared.into_iter());
        }
    }

    async fn keep_unreadable(
        &mut self,
        watch: &Watch,
        unreadable: Vec<Unreadable>,
    ) -> Result<(), StoreError> {
        self.untrimmed += unreadable.len() as u64;
        let trim = self.untrimmed >= TRIM_EVERY;
        let rows: Vec<_> = unreadable
            .into_iter()
            .map(|u| args![new_id(), u.thing, u.topic, u.payload.to_vec(), u.reason, u.received_at])
            .collect();
        let context = Context::system("watch", new_id());
        watch
            .store
            .command::<_, (), StoreError, _>(&context, "unreadable:keep", rows, move |tx, rows| {
                Box::pin(async move {
                    tx.bookkeeping();
                    tx.insert_many(ADD_UNREADABLE, "", 6, rows.clone()).await?;
                    if trim {
                        tx.execute(TRIM_UNREADABLE, args![]).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        if trim {
            self.untrimmed = 0;
        }
        Ok(())
    }
}
