//! The queue of batches and the one task that commits them.
//!
//! Sessions add to the last batch in line; the batcher takes the first as soon as the commit before
//! it has ended, with no linger: a batch is as long as the commit before it took. A batch closes at
//! [`BATCH_CAP`] samples; when the line is full, sessions stop reading their sockets.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use model::command::{Answer, Answers};
use model::observation::{Columns, Ingest, IngestError, Unreadable};
use tokio::sync::Notify;

use crate::broker::writer::Waiter;
use crate::broker::{Broker, Passage};
use crate::meters::Meters;
use crate::mqtt::link::Link;

/// Samples of one batch: what a commit of a few milliseconds takes.
const BATCH_CAP: usize = 8192;

/// Unreadable messages of one batch; each is at most 4 KiB, so that a batch stays below 2 MiB.
const UNREADABLE_CAP: usize = 400;

/// Messages of one batch that are routed, and their bytes.
const PASSAGES_CAP: usize = 4096;
const PASSAGE_BYTES_CAP: usize = 4 << 20;

/// Rows of a session's columns that are kept for its next group; a larger burst gives them back.
const ROWS_KEPT: usize = 64;

/// After a refused batch the next attempt waits, twice as long each time up to the last of these:
/// devices that re-send at once shall not spin against a full disk.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What one session read and has not handed over yet.
#[derive(Default)]
pub(crate) struct Group {
    pub(crate) samples: Columns,
    pub(crate) unreadable: Vec<Unreadable>,
    /// Answers to questions; the values among them are samples of this group besides.
    pub(crate) answers: Vec<Answer>,
    /// What is routed to subscribers after the commit; empty while nobody listens.
    passages: Vec<Passage>,
    passage_bytes: usize,
    /// QoS 1 and 2 messages among them: so many acknowledgements wait for this group's commit.
    pub(crate) acks: u64,
}

impl Group {
    /// A session stops decoding here and hands over. One message more still fits into a batch.
    pub(crate) fn is_full(&self) -> bool {
        self.samples.len() >= BATCH_CAP / 8
            || self.unreadable.len() >= UNREADABLE_CAP / 8
            || self.answers.len() >= BATCH_CAP / 8
            || self.passages.len() >= PASSAGES_CAP / 8
            || self.passage_bytes >= PASSAGE_BYTES_CAP / 8
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.samples.is_empty()
            && self.unreadable.is_empty()
            && self.answers.is_empty()
            && self.passages.is_empty()
    }

    pub(crate) fn pass(&mut self, passage: Passage) {
        self.passage_bytes += passage.post.as_ref().map_or(0, |post| post.weight());
        self.passages.push(passage);
    }

    /// After it was handed over: what a burst reserved is given back.
    fn slim(&mut self) {
        self.passage_bytes = 0;
        if self.samples.datastream.capacity() > ROWS_KEPT {
            self.samples = Columns::default();
        }
        if self.passages.capacity() > ROWS_KEPT {
            self.passages = Vec::new();
        }
    }
}

pub(crate) struct Batch {
    number: u32,
    samples: Columns,
    unreadable: Vec<Unreadable>,
    answers: Vec<Answer>,
    passages: Vec<Passage>,
    passage_bytes: usize,
    /// A connection stands here once however often it added to the batch.
    receipts: Vec<Receipt>,
}

/// So many messages of one connection in a batch.
pub(crate) struct Receipt {
    link: Arc<Link>,
    messages: u64,
}

impl Receipt {
    pub(crate) fn committed(self) {
        self.link.committed(self.messages);
    }
}

impl Batch {
    fn fits(&self, group: &Group) -> bool {
        self.samples.len() + group.samples.len() <= BATCH_CAP
            && self.unreadable.len() + group.unreadable.len() <= UNREADABLE_CAP
            && self.answers.len() + group.answers.len() <= BATCH_CAP
            && self.passages.len() + group.passages.len() <= PASSAGES_CAP
            && self.passage_bytes + group.passage_bytes <= PASSAGE_BYTES_CAP
    }

    fn add(&mut self, link: &Arc<Link>, group: &mut Group) {
        self.samples.append(&mut group.samples);
        self.unreadable.append(&mut group.unreadable);
        self.answers.append(&mut group.answers);
        self.passages.append(&mut group.passages);
        self.passage_bytes += group.passage_bytes;
        group.slim();
        let messages = std::mem::take(&mut group.acks);
        if messages == 0 {
            return;
        }
        // The slot is a guess that is checked: batch numbers come round again.
        let known = link.slot_in(self.number).and_then(|at| self.receipts.get_mut(at));
        match known.filter(|receipt| Arc::ptr_eq(&receipt.link, link)) {
            Some(receipt) => receipt.messages += messages,
            None => {
                link.take_slot(self.number, self.receipts.len());
                self.receipts.push(Receipt { link: link.clone(), messages });
            }
        }
    }
}

/// The line of batches between the sessions and the batcher.
pub(crate) struct Queue {
    line: Mutex<Line>,
    filled: Notify,
    most: usize,
}

#[derive(Default)]
struct Line {
    batches: VecDeque<Batch>,
    /// Sessions that found no room; woken when a batch leaves the line.
    stalled: Vec<Arc<Link>>,
    opened: u32,
    closed: bool,
}

impl Queue {
    /// A line of at most `most` batches.
    pub(crate) fn new(most: usize) -> Self {
        Self { line: Mutex::default(), filled: Notify::new(), most: most.max(1) }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds `group` to the line and empties it; `false` when there is no room, and `link` is woken
    /// once there is some.
    pub(crate) fn try_push(&self, link: &Arc<Link>, group: &mut Group) -> bool {
        {
            let line = &mut *self.line();
            if !line.batches.back().is_some_and(|last| last.fits(group)) {
                if line.batches.len() >= self.most {
                    line.stalled.push(link.clone());
                    return false;
                }
                line.opened = line.opened.wrapping_add(1);
                line.batches.push_back(Batch {
                    number: line.opened,
                    samples: Columns::default(),
                    unreadable: Vec::new(),
                    answers: Vec::new(),
                    passages: Vec::new(),
                    passage_bytes: 0,
                    receipts: Vec::new(),
                });
            }
            if let Some(last) = line.batches.back_mut() {
                last.add(link, group);
            }
        }
        self.filled.notify_one();
        true
    }

    /// The first batch in line; `None` once the line is closed and empty.
    async fn take(&self) -> Option<Batch> {
        loop {
            let (batch, stalled, closed) = {
                let mut line = self.line();
                let batch = line.batches.pop_front();
                let stalled = if batch.is_some() { std::mem::take(&mut line.stalled) } else { Vec::new() };
                (batch, stalled, line.closed)
            };
            for link in stalled {
                link.wake();
            }
            if batch.is_some() || closed {
                return batch;
            }
            self.filled.notified().await;
        }
    }

    /// Lets the batcher end once it has committed what is in line.
    pub(crate) fn close(&self) {
        self.line().closed = true;
        self.filled.notify_one();
    }
}

/// Commits batch after batch until the queue is closed; answers are told and what is to be routed
/// is routed then.
pub(crate) async fn run(
    queue: Arc<Queue>,
    ingest: Arc<dyn Ingest>,
    waiting: Arc<dyn Answers>,
    broker: Arc<Broker>,
    meters: Arc<Meters>,
) {
    let mut pause = FIRST_PAUSE;
    while let Some(batch) = queue.take().await {
        let Batch { samples, unreadable, answers, passages, receipts, .. } = batch;
        let size = samples.len() + unreadable.len();
        let outcome = if size == 0 {
            Ok(())
        } else {
            // A panic in the store must not end the only task that acknowledges: it is a refusal.
            AssertUnwindSafe(ingest.ingest(samples, unreadable))
                .catch_unwind()
                .await
                .unwrap_or_else(|_| Err(IngestError::Store("the store panicked; see its log".into())))
        };
        match outcome {
            Ok(()) => {
                pause = FIRST_PAUSE;
                if !answers.is_empty() {
                    waiting.take(answers);
                }
                let routed = !passages.is_empty();
                for passage in passages {
                    // One message may be a change for each of thousands of sessions.
                    broker.common.writer.room().await;
                    broker.route(passage);
                }
                // Counts of commits must not overtake each other: while an earlier batch waits for
                // the sessions' store, later ones wait behind it.
                if routed || broker.common.writer.holds_batches() {
                    broker.common.writer.after(Waiter::Receipts(receipts));
                } else {
                    receipts.into_iter().for_each(Receipt::committed);
                }
            }
            Err(error) => {
                tracing::warn!(%error, observations = size, "batch not stored, nothing of it acknowledged");
                meters.not_stored.increment(size as u64);
                for receipt in receipts {
                    receipt.link.not_stored();
                }
                if !matches!(error, IngestError::Stopping) {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }
}
