//! The one task that brings changes of durable sessions to the store.
//!
//! Changes gather while a commit runs and are the next one, whatever sessions they are of. Whoever
//! must not speak before they are safe leaves a [`Waiter`] behind them. A commit that fails is
//! tried again with what came after it, so that the order never breaks; meanwhile those waiters
//! wait, their publishers' windows fill, and the sockets stand still.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use model::broker::{BrokerError, BrokerStore, Change};
use tokio::sync::{Notify, oneshot};

use crate::batcher::Receipt;
use crate::mqtt::link::{Link, signal};

/// With so many changes waiting the batcher routes nothing more.
const ROOM: usize = 16_384;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Who is told once the changes before it are on disk.
pub(crate) enum Waiter {
    /// Publishers of a batch.
    Receipts(Vec<Receipt>),
    /// A session with a packet in its line of [`crate::mqtt::ack::Held`].
    Held(Arc<Link>),
    /// A session whose next message was not on disk.
    Mail(Arc<Link>),
    /// A handshake.
    Told(oneshot::Sender<()>),
}

impl Waiter {
    fn tell(self) {
        match self {
            Self::Receipts(receipts) => receipts.into_iter().for_each(Receipt::committed),
            Self::Held(link) => link.let_go(),
            Self::Mail(link) => link.tell(signal::MAIL),
            // The handshake may have given up.
            Self::Told(told) => drop(told.send(())),
        }
    }
}

#[derive(Default)]
struct Pending {
    changes: Vec<Change>,
    waiters: Vec<Waiter>,
    /// Changes pushed, ever.
    pushed: u64,
    committing: bool,
    closed: bool,
}

/// The queue before that task.
#[derive(Default)]
pub(crate) struct Writer {
    pending: Mutex<Pending>,
    filled: Notify,
    emptied: Notify,
    /// Batches whose receipts wait here; while there are any, later ones go the same way.
    batches: AtomicUsize,
    /// Changes on disk, ever.
    committed: AtomicU64,
}

impl Writer {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a change behind all others; its place among them.
    pub(crate) fn push(&self, change: Change) -> u64 {
        let pushed = {
            let mut pending = self.pending();
            pending.changes.push(change);
            pending.pushed += 1;
            pending.pushed
        };
        self.filled.notify_one();
        pushed
    }

    /// Whether the change at this place is on disk.
    pub(crate) fn is_safe(&self, place: u64) -> bool {
        place <= self.committed.load(Ordering::Acquire)
    }

    /// Tells `waiter` once what was pushed before is on disk: at once when it is.
    pub(crate) fn after(&self, waiter: Waiter) {
        let mut pending = self.pending();
        if pending.changes.is_empty() && !pending.committing && pending.waiters.is_empty() {
            drop(pending);
            waiter.tell();
            return;
        }
        if matches!(waiter, Waiter::Receipts(_)) {
            self.batches.fetch_add(1, Ordering::Relaxed);
        }
        pending.waiters.push(waiter);
        drop(pending);
        self.filled.notify_one();
    }

    /// Whether receipts of an earlier batch wait here. Only the batcher asks, which alone adds them.
    pub(crate) fn holds_batches(&self) -> bool {
        self.batches.load(Ordering::Relaxed) > 0
    }

    /// Returns once fewer than a bounded number of changes wait.
    pub(crate) async fn room(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.pending().changes.len() < ROOM {
                return;
            }
            emptied.await;
        }
    }

    /// Lets [`run`] end once it has written what waits.
    pub(crate) fn close(&self) {
        self.pending().closed = true;
        self.filled.notify_one();
    }
}

/// Commits what gathers until the writer is closed.
pub(crate) async fn run(writer: Arc<Writer>, store: Arc<dyn BrokerStore>) {
    let mut changes: Vec<Change> = Vec::new();
    let mut waiters: Vec<Waiter> = Vec::new();
    let mut pause = FIRST_PAUSE;
    loop {
        let closed = {
            let mut pending = writer.pending();
            pending.committing = true;
            changes.append(&mut pending.changes);
            waiters.append(&mut pending.waiters);
            pending.closed
        };
        writer.emptied.notify_waiters();
        let outcome = if changes.is_empty() {
            Ok(())
        } else {
            // A panic in the store must not end the only task that acknowledges.
            AssertUnwindSafe(store.commit(&changes))
                .catch_unwind()
                .await
                .unwrap_or_else(|_| Err(BrokerError::Store("it panicked; see its log".into())))
        };
        match outcome {
            Ok(()) => {
                pause = FIRST_PAUSE;
                writer.committed.fetch_add(changes.len() as u64, Ordering::Release);
                changes.clear();
                for waiter in waiters.drain(..) {
                    if matches!(waiter, Waiter::Receipts(_)) {
                        writer.batches.fetch_sub(1, Ordering::Relaxed);
                    }
                    waiter.tell();
                }
            }
            Err(error) => {
                tracing::warn!(%error, changes = changes.len(), "sessions not stored, tried again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                continue;
            }
        }
        let idle = {
            let mut pending = writer.pending();
            let idle = pending.changes.is_empty() && pending.waiters.is_empty();
            pending.committing = !idle;
            idle
        };
        if idle {
            if changes.capacity() > ROOM {
                changes = Vec::new();
            }
            if closed {
                return;
            }
            writer.filled.notified().await;
        }
    }
}
