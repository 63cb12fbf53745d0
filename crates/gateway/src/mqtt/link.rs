//! What other tasks may tell a session, and the register of sessions.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use bytestring::ByteString;
use rmqtt_codec::types::QoS;
use tokio::sync::{Notify, oneshot};

/// Connections of one thing at the same time. One more takes the place of the oldest: a device that
/// reconnects under a new client id each time leaves its dead ones behind.
const PER_THING: usize = 8;

/// Commands that may wait for one session to wake.
const COMMAND_QUEUE: usize = 16;

/// Bits of [`Link::signals`].
pub(crate) mod signal {
    /// A batch with messages of this session was refused; nothing after it is acknowledged.
    pub(crate) const NOT_STORED: u8 = 1;
    /// The same client connected again.
    pub(crate) const TAKEN_OVER: u8 = 2;
    /// The gateway stops.
    pub(crate) const STOP: u8 = 4;
    /// Commands wait in the queue.
    pub(crate) const COMMANDS: u8 = 8;
    /// The hub no longer knows the device as it was when it connected.
    pub(crate) const DISMISSED: u8 = 16;
}

/// The shared side of one session.
pub(crate) struct Link {
    pub(crate) thing: String,
    client_id: ByteString,
    /// QoS 1 messages of this session whose batches are committed, ever.
    committed: AtomicU64,
    signals: AtomicU8,
    /// Highest QoS + 1 granted on the command topic; 0 when it does not listen.
    listening: AtomicU8,
    /// Batch number and place of this session's receipt in it; only touched under the queue's lock.
    slot: AtomicU64,
    /// `None` once the session is over.
    commands: Mutex<Option<VecDeque<Command>>>,
    woken: Notify,
}

/// A command on its way to the socket.
pub(crate) struct Command {
    pub(crate) payload: Bytes,
    /// Told when the socket took it; dropped when it never will.
    pub(crate) written: oneshot::Sender<()>,
}

impl Link {
    pub(crate) fn new(thing: String, client_id: ByteString) -> Self {
        Self {
            thing,
            client_id,
            committed: AtomicU64::new(0),
            signals: AtomicU8::new(0),
            listening: AtomicU8::new(0),
            slot: AtomicU64::new(0),
            commands: Mutex::new(Some(VecDeque::new())),
            woken: Notify::new(),
        }
    }

    pub(crate) async fn woken(&self) {
        self.woken.notified().await;
    }

    pub(crate) fn wake(&self) {
        self.woken.notify_one();
    }

    /// `messages` more of this session are on disk. Batches come in order and one task calls this,
    /// so that a count says which; after a refusal the count stands still, because the messages in
    /// between never became safe.
    pub(crate) fn committed(&self, messages: u64) {
        if self.signals.load(Ordering::Relaxed) & signal::NOT_STORED == 0 {
            self.committed.fetch_add(messages, Ordering::Release);
            self.wake();
        }
    }

    pub(crate) fn not_stored(&self) {
        self.tell(signal::NOT_STORED);
    }

    pub(crate) fn tell(&self, signal: u8) {
        self.signals.fetch_or(signal, Ordering::Release);
        self.wake();
    }

    pub(crate) fn total_committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    pub(crate) fn signals(&self) -> u8 {
        self.signals.load(Ordering::Acquire)
    }

    pub(crate) fn slot_in(&self, batch: u32) -> Option<usize> {
        let slot = self.slot.load(Ordering::Relaxed);
        ((slot >> 32) as u32 == batch).then_some((slot & u64::from(u32::MAX)) as usize)
    }

    pub(crate) fn take_slot(&self, batch: u32, place: usize) {
        self.slot.store(u64::from(batch) << 32 | place as u64, Ordering::Relaxed);
    }

    pub(crate) fn listen(&self, qos: Option<QoS>) {
        self.listening.store(qos.map_or(0, |qos| qos.value() + 1), Ordering::Release);
    }

    fn listens(&self) -> bool {
        self.listening.load(Ordering::Acquire) > 0
    }

    fn queue(&self) -> MutexGuard<'_, Option<VecDeque<Command>>> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a command; `false` when the session is over or its queue is full.
    pub(crate) fn command(&self, command: Command) -> bool {
        {
            let mut queue = self.queue();
            let Some(queue) = queue.as_mut().filter(|queue| queue.len() < COMMAND_QUEUE) else {
                return false;
            };
            queue.push_back(command);
        }
        self.tell(signal::COMMANDS);
        true
    }

    pub(crate) fn take_commands(&self) -> VecDeque<Command> {
        self.signals.fetch_and(!signal::COMMANDS, Ordering::AcqRel);
        self.queue().as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn close(&self) {
        *self.queue() = None;
    }
}

/// Who is connected, by thing.
#[derive(Default)]
pub(crate) struct Register {
    inner: Mutex<Connected>,
}

#[derive(Default)]
struct Connected {
    things: HashMap<String, Vec<Arc<Link>>>,
    stopping: bool,
}

impl Register {
    fn inner(&self) -> MutexGuard<'_, Connected> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a session and tells the one whose place it takes: the same client of the same thing, or
    /// the oldest of too many.
    pub(crate) fn enter(&self, link: &Arc<Link>) {
        let connected = &mut *self.inner();
        if connected.stopping {
            link.tell(signal::STOP);
        }
        let links = connected.things.entry(link.thing.clone()).or_default();
        let replaced = match links.iter().position(|other| other.client_id == link.client_id) {
            None if links.len() >= PER_THING => Some(0),
            same => same,
        };
        if let Some(at) = replaced {
            links.remove(at).tell(signal::TAKEN_OVER);
        }
        links.push(link.clone());
    }

    /// Takes a session out (if it is still in) and drops the commands it did not write.
    pub(crate) fn leave(&self, link: &Arc<Link>) {
        let connected = &mut *self.inner();
        if let Some(links) = connected.things.get_mut(&link.thing) {
            links.retain(|other| !Arc::ptr_eq(other, link));
            if links.is_empty() {
                connected.things.remove(&link.thing);
            }
        }
        link.close();
    }

    /// The newest session of `thing` that listens to commands.
    pub(crate) fn listener(&self, thing: &str) -> Option<Arc<Link>> {
        self.inner().things.get(thing)?.iter().rev().find(|link| link.listens()).cloned()
    }

    /// Ends the sessions of `thing`; how many.
    pub(crate) fn dismiss(&self, thing: &str) -> usize {
        let connected = self.inner();
        let links = connected.things.get(thing).map_or(&[][..], Vec::as_slice);
        for link in links {
            link.tell(signal::DISMISSED);
        }
        links.len()
    }

    /// Tells every session, and each that enters later, to stop.
    pub(crate) fn stop(&self) {
        let mut connected = self.inner();
        connected.stopping = true;
        for link in connected.things.values().flatten() {
            link.tell(signal::STOP);
        }
    }
}
