//! What other tasks may tell a session, and the register of sessions.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::task::AtomicWaker;
use model::broker::{Owner, Properties, SessionKey};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Connections of one thing or integrator at the same time. One more takes the place of the oldest:
/// a device that reconnects under a new client id each time leaves its dead ones behind. Of sessions
/// that outlive their connection there are as many; one more is refused.
pub(crate) fn most_of(owner: &Owner) -> usize {
    match owner {
        Owner::Device(_) => 8,
        Owner::Integrator(_) => 64,
        Owner::Anonymous => usize::MAX,
    }
}

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
    /// Messages wait in the mailbox.
    pub(crate) const MAIL: u8 = 32;
}

/// The shared side of one connection.
pub(crate) struct Link {
    pub(crate) key: Arc<SessionKey>,
    /// QoS 1 and 2 messages of this connection whose batches are committed, ever.
    committed: AtomicU64,
    /// Packets held back for the sessions' store that may leave, ever.
    let_go: AtomicU64,
    signals: AtomicU8,
    /// Highest QoS + 1 granted on the command topic; 0 when it does not listen.
    listening: AtomicU8,
    /// Batch number and place of this session's receipt in it; only touched under the queue's lock.
    slot: AtomicU64,
    /// `None` once the session is over.
    commands: Mutex<Option<VecDeque<Command>>>,
    is_woken: AtomicBool,
    waker: AtomicWaker,
}

/// A command on its way to the socket.
pub(crate) struct Command {
    pub(crate) payload: Bytes,
    /// What 5 carries besides; `None` for an order.
    pub(crate) properties: Option<Box<Properties>>,
    /// After this it is not sent any more.
    pub(crate) expires: Option<Instant>,
    /// Told when the socket took it; dropped when it never will. Nobody waits for a question.
    pub(crate) written: Option<oneshot::Sender<()>>,
}

impl Link {
    pub(crate) fn new(key: Arc<SessionKey>) -> Self {
        Self {
            key,
            committed: AtomicU64::new(0),
            let_go: AtomicU64::new(0),
            signals: AtomicU8::new(0),
            listening: AtomicU8::new(0),
            slot: AtomicU64::new(0),
            commands: Mutex::new(Some(VecDeque::new())),
            is_woken: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    /// Ready once for any number of [`Link::wake`]s before. One task waits.
    pub(crate) fn poll_woken(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.is_woken.swap(false, Ordering::Acquire) {
            return Poll::Ready(());
        }
        self.waker.register(context.waker());
        // What was woken between the look and the registration.
        if self.is_woken.swap(false, Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }

    pub(crate) async fn woken(&self) {
        std::future::poll_fn(|context| self.poll_woken(context)).await;
    }

    pub(crate) fn wake(&self) {
        self.is_woken.store(true, Ordering::Release);
        self.waker.wake();
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
        // Who was told and has not looked yet is not woken again.
        if self.signals.fetch_or(signal, Ordering::AcqRel) & signal == 0 {
            self.wake();
        }
    }

    /// Takes a signal back: what it stands for is looked at now.
    pub(crate) fn heed(&self, signal: u8) {
        self.signals.fetch_and(!signal, Ordering::AcqRel);
    }

    /// One more packet that was held back for the sessions' store may leave.
    pub(crate) fn let_go(&self) {
        self.let_go.fetch_add(1, Ordering::Release);
        self.wake();
    }

    pub(crate) fn total_let_go(&self) -> u64 {
        self.let_go.load(Ordering::Acquire)
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

    pub(crate) fn listen(&self, qos: Option<u8>) {
        self.listening.store(qos.map_or(0, |qos| qos + 1), Ordering::Release);
    }

    /// The QoS at which commands go to it.
    pub(crate) fn command_qos(&self) -> Option<u8> {
        self.listening.load(Ordering::Acquire).checked_sub(1).map(|qos| qos.min(1))
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
        self.heed(signal::COMMANDS);
        self.queue().as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn close(&self) {
        *self.queue() = None;
    }
}

/// Who is connected, by whose connection it is.
#[derive(Default)]
pub(crate) struct Register {
    inner: Mutex<Connected>,
}

#[derive(Default)]
struct Connected {
    owners: HashMap<Owner, Vec<Arc<Link>>>,
    stopping: bool,
}

impl Connected {
    fn listener(&self, thing: &str) -> Option<Arc<Link>> {
        let owner = Owner::Device(thing.to_owned());
        self.owners.get(&owner)?.iter().rev().find(|link| link.listens()).cloned()
    }
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
        let links = connected.owners.entry(link.key.owner.clone()).or_default();
        let replaced = match links.iter().position(|other| other.key.client == link.key.client) {
            None if links.len() >= most_of(&link.key.owner) => Some(0),
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
        if let Some(links) = connected.owners.get_mut(&link.key.owner) {
            links.retain(|other| !Arc::ptr_eq(other, link));
            if links.is_empty() {
                connected.owners.remove(&link.key.owner);
            }
        }
        link.close();
    }

    /// The newest session of `thing` that listens to commands.
    pub(crate) fn listener(&self, thing: &str) -> Option<Arc<Link>> {
        self.inner().listener(thing)
    }

    /// The same for many things, under one lock.
    pub(crate) fn listeners<'a>(&self, things: impl Iterator<Item = &'a str>) -> Vec<Option<Arc<Link>>> {
        let connected = self.inner();
        things.map(|thing| connected.listener(thing)).collect()
    }

    /// Ends the connections of `owner`; how many.
    pub(crate) fn dismiss(&self, owner: &Owner) -> usize {
        let connected = self.inner();
        let links = connected.owners.get(owner).map_or(&[][..], Vec::as_slice);
        for link in links {
            link.tell(signal::DISMISSED);
        }
        links.len()
    }

    /// Tells every session, and each that enters later, to stop.
    pub(crate) fn stop(&self) {
        let mut connected = self.inner();
        connected.stopping = true;
        for link in connected.owners.values().flatten() {
            link.tell(signal::STOP);
        }
    }
}
