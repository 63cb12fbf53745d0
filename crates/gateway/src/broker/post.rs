//! A message on its way through the broker.

use std::sync::{Arc, Mutex, PoisonError};

use model::broker::{Change, Message, MessageId};
use tokio::time::Instant;

use super::Common;

/// A message, shared by everybody it goes to.
pub(crate) struct Post {
    pub(crate) message: Arc<Message>,
    /// When it expires, on the clock that never jumps.
    pub(crate) expires: Option<Instant>,
    kept: Mutex<Kept>,
}

/// How the store knows the message.
#[derive(Default)]
struct Kept {
    id: MessageId,
    /// Deliveries of durable sessions that name it.
    deliveries: usize,
}

impl Post {
    pub(crate) fn new(message: Message, expires: Option<Instant>) -> Arc<Self> {
        Arc::new(Self { message: Arc::new(message), expires, kept: Mutex::default() })
    }

    /// A message that the store holds under `id`, named by nobody yet.
    pub(crate) fn loaded(message: Message, expires: Option<Instant>, id: MessageId) -> Arc<Self> {
        let kept = Mutex::new(Kept { id, deliveries: 0 });
        Arc::new(Self { message: Arc::new(message), expires, kept })
    }

    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }

    /// Seconds it still has, for its receiver (3.3.2-6); a begun second counts.
    pub(crate) fn seconds_left(&self, now: Instant) -> Option<u32> {
        let left = self.expires?.saturating_duration_since(now);
        Some(u32::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u32::MAX))
    }

    /// What it weighs in a queue.
    pub(crate) fn weight(&self) -> usize {
        self.message.topic.len() + self.message.payload.len() + 64
    }

    /// One more durable delivery; the first has the message kept. Changes are pushed under this
    /// lock, so that the store never sees a delivery of a message it has forgotten.
    pub(crate) fn name(&self, common: &Common) -> MessageId {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.deliveries == 0 {
            kept.id = common.message_id();
            common.writer.push(Change::Keep(kept.id, self.message.clone()));
        }
        kept.deliveries += 1;
        kept.id
    }

    /// A durable delivery that was loaded names it; nothing is written.
    pub(crate) fn name_loaded(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).deliveries += 1;
    }

    /// A durable delivery is done with it; the last has it forgotten.
    pub(crate) fn unname(&self, common: &Common) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.deliveries = kept.deliveries.saturating_sub(1);
        if kept.deliveries == 0 {
            common.writer.push(Change::Forget(kept.id));
        }
    }
}
