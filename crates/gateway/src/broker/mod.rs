//! Who gets which message: subscriptions, sessions that outlive their connection, retained messages
//! and wills.
//!
//! ```text
//! session ── PUBLISH ──> group ──> batch ── committed ──> route ──> mailboxes ──> sessions
//!                                                           └─ changes of durable sessions
//!                                                                 └─> writer ──> BrokerStore
//! ```
//!
//! Everything that goes to subscribers travels with the batches of observations and is routed after
//! their commit, by the one task that commits: nobody sees what is not stored, a publisher's
//! messages keep their order, and one count of commits serves every acknowledgement. Where routing
//! changed a durable session, the acknowledgements go on to the [`writer`] and leave after its
//! commit. A publication that nobody could be waiting for never gets here: [`Broker::listens`] is
//! one atomic load.
//!
//! Locks are taken in one order: state, mailbox, post, writer.

mod agenda;
mod arrival;
mod mailbox;
mod memory;
mod post;
mod retained;
mod trie;
pub(crate) mod writer;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::broker::{Change, MessageId, Owner, SessionKey, Subscription, Will};
use model::observation::Devices;
use model::{AreaPath, Micros};
use tokio::sync::Notify;
use tokio::time::Instant;

pub(crate) use agenda::run as keep_agenda;
pub(crate) use arrival::{Arrival, Parting};
pub(crate) use mailbox::{By, Delivery, Mailbox, Reach, Release, Written};
pub use memory::MemoryBroker;
pub(crate) use post::Post;
use retained::Retained;
pub(crate) use trie::Options;
use trie::{Leaf, Trie};
use writer::Writer;

use crate::config::GatewayConfig;
use crate::meters::Meters;
use crate::topic::{self, Filter, Place, place};

/// Bounds of what sessions may hold.
pub(crate) struct Limits {
    pub(crate) queue: usize,
    pub(crate) queue_bytes: usize,
    pub(crate) sessions: usize,
    pub(crate) subscriptions: usize,
}

/// What mailboxes and posts need of the whole.
pub(crate) struct Common {
    pub(crate) writer: Arc<Writer>,
    pub(crate) limits: Limits,
    pub(crate) meters: Arc<Meters>,
    pub(crate) clock: fn() -> Micros,
    messages: AtomicI64,
}

impl Common {
    fn message_id(&self) -> MessageId {
        self.messages.fetch_add(1, Ordering::Relaxed)
    }

    /// The instant on the clock that never jumps that is `at` on the wall's.
    fn instant(&self, at: Micros) -> Instant {
        let left = u64::try_from(at.since((self.clock)())).unwrap_or(0);
        Instant::now() + std::time::Duration::from_micros(left)
    }
}

/// What travels with a batch and is routed after its commit.
pub(crate) struct Passage {
    /// The session it came from; none for a will.
    pub(crate) from: Option<Arc<Mailbox>>,
    /// Of a QoS 2 message: what its repeats are known by.
    pub(crate) packet_id: Option<NonZeroU16>,
    /// The message, when somebody may be waiting for it.
    pub(crate) post: Option<Arc<Post>>,
}

/// The router of one gateway.
pub(crate) struct Broker {
    pub(crate) common: Arc<Common>,
    devices: Arc<dyn Devices>,
    open_topics: bool,
    /// Subscriptions that an observation could match.
    listening: AtomicUsize,
    state: Mutex<State>,
    /// The agenda has something earlier, or a will is to be published.
    agenda: Notify,
}

#[derive(Default)]
struct State {
    sessions: HashMap<Arc<SessionKey>, Arc<Mailbox>>,
    /// How many of them the store knows, by owner and in all.
    stored: HashMap<Owner, usize>,
    stored_in_all: usize,
    trie: Trie,
    retained: Retained,
    agenda: BTreeMap<(Instant, u64), agenda::Due>,
    appointments: u64,
    wills: VecDeque<Will>,
}

impl State {
    /// One more session that the store knows.
    fn count(&mut self, owner: &Owner) {
        *self.stored.entry(owner.clone()).or_default() += 1;
        self.stored_in_all += 1;
    }

    /// One less.
    fn discount(&mut self, owner: &Owner) {
        self.stored_in_all -= 1;
        if let Some(stored) = self.stored.get_mut(owner) {
            *stored -= 1;
            if *stored == 0 {
                self.stored.remove(owner);
            }
        }
    }
}

/// A subscription was not granted: the session has as many as it may.
pub(crate) struct TooMany;

struct Hit {
    mailbox: Arc<Mailbox>,
    options: Options,
    identifier: Option<u32>,
}

impl Hit {
    fn of(leaf: &Leaf) -> Self {
        Self { mailbox: leaf.mailbox.clone(), options: leaf.options, identifier: leaf.identifier }
    }
}

impl Broker {
    pub(crate) fn new(config: &GatewayConfig, devices: Arc<dyn Devices>, meters: Arc<Meters>) -> Self {
        let common = Arc::new(Common {
            writer: Arc::default(),
            limits: Limits {
                queue: config.session_queue.clamp(1, 60_000),
                queue_bytes: config.session_queue_bytes,
                sessions: config.max_sessions,
                subscriptions: config.max_subscriptions,
            },
            meters,
            clock: config.clock,
            messages: AtomicI64::new(1),
        });
        let state = State {
            retained: Retained::new(config.max_retained, config.max_retained_bytes),
            ..State::default()
        };
        Self {
            common,
            devices,
            open_topics: config.open_topics,
            listening: AtomicUsize::new(0),
            state: Mutex::new(state),
            agenda: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a subscription may match an observation. Devices that listen to their commands only
    /// do not count.
    pub(crate) fn listens(&self) -> bool {
        self.listening.load(Ordering::Relaxed) > 0
    }

    /// Where the thing is that `topic` is about.
    fn area(&self, topic: &str) -> Option<AreaPath> {
        let device = match place(topic) {
            Place::Observations(key) => self.devices.owner(key),
            _ => topic::thing(topic).and_then(|thing| self.devices.device(thing)),
        };
        device.map(|device| device.area.clone())
    }

    fn covers(&self, reach: &Reach, topic: &str) -> bool {
        match reach {
            Reach::Granted => true,
            Reach::Areas(_) => reach.covers(self.area(topic).as_ref()),
        }
    }

    /// Whether the broker would keep one more message of `bytes` retained on `topic`.
    pub(crate) fn retains(&self, topic: &str, bytes: usize) -> bool {
        self.state().retained.has_room(topic, bytes, Instant::now())
    }

    /// Hands a stored message to everybody it is for.
    pub(crate) fn route(&self, passage: Passage) {
        let Passage { from, packet_id, post } = passage;
        let state = &mut *self.state();
        if let (Some(from), Some(packet_id)) = (&from, packet_id)
            && !from.receive(packet_id)
        {
            return;
        }
        let Some(post) = post else { return };
        let message = &post.message;
        if message.retain {
            self.retain(state, &post);
        }
        let area = self.area(&message.topic);
        let (mut single, mut shared) = (Vec::new(), Vec::new());
        state.trie.matches(
            &message.topic,
            &mut |leaf| leaf.mailbox.readiness(area.as_ref()),
            &mut |leaf, is_shared| {
                let own = from.as_ref().is_some_and(|from| Arc::ptr_eq(from, &leaf.mailbox));
                if !(own && leaf.options.no_local()) {
                    if is_shared { &mut shared } else { &mut single }.push(Hit::of(leaf));
                }
            },
        );
        // Subscriptions of one client that overlap give one message, at the highest QoS, with all
        // identifiers (3.3.4-2, 3.3.4-3).
        single.sort_by_key(|hit| Arc::as_ptr(&hit.mailbox) as usize);
        let of_one = single.chunk_by(|a, b| Arc::ptr_eq(&a.mailbox, &b.mailbox));
        for hits in of_one.chain(shared.chunks(1)) {
            let Some(first) = hits.first() else { continue };
            let qos = hits.iter().map(|hit| hit.options.qos()).max().unwrap_or(0).min(message.qos);
            let retain = message.retain && hits.iter().any(|hit| hit.options.retain_as_published());
            let identifiers: Vec<u32> = hits.iter().filter_map(|hit| hit.identifier).collect();
            first.mailbox.enqueue(&post, qos, retain, &identifiers, area.as_ref());
        }
    }

    fn retain(&self, state: &mut State, post: &Arc<Post>) {
        let message = &post.message;
        let change = if message.payload.is_empty() {
            state.retained.remove(&message.topic).then(|| Change::Unretain(message.topic.clone()))
        } else if state.retained.set(post.clone(), Instant::now()) {
            Some(Change::Retain(message.clone()))
        } else {
            self.common.meters.dropped("retained-full");
            None
        };
        if let Some(change) = change {
            self.common.writer.push(change);
        }
    }

    /// Adds a subscription and puts the retained messages it asks for in line. Whether the store
    /// has to know first.
    pub(crate) fn subscribe(
        &self,
        mailbox: &Arc<Mailbox>,
        text: &str,
        filter: Filter<'_>,
        options: Options,
        identifier: Option<u32>,
    ) -> Result<bool, TooMany> {
        let state = &mut *self.state();
        let stored = {
            let mut inner = mailbox.inner();
            if !inner.subscriptions.contains_key(text)
                && inner.subscriptions.len() >= self.common.limits.subscriptions
            {
                return Err(TooMany);
            }
            inner.subscriptions.insert(text.to_owned(), (options, identifier));
            if inner.stored {
                let kept = Subscription { filter: text.to_owned(), options: options.0, identifier };
                self.common.writer.push(Change::Subscribe(mailbox.key.clone(), kept));
            }
            inner.stored
        };
        let new = self.plant(state, mailbox, filter, options, identifier);
        let asked = options.retain_handling() == 0 || options.retain_handling() == 1 && new;
        if filter.group.is_none() && asked {
            let identifiers: Vec<u32> = identifier.into_iter().collect();
            let open = matches!(mailbox.inner().reach, Reach::Granted);
            for post in state.retained.matching(filter.filter, Instant::now()) {
                let area = if open { None } else { self.area(&post.message.topic) };
                let qos = options.qos().min(post.message.qos);
                mailbox.enqueue(&post, qos, true, &identifiers, area.as_ref());
            }
        }
        Ok(stored)
    }

    fn plant(
        &self,
        state: &mut State,
        mailbox: &Arc<Mailbox>,
        filter: Filter<'_>,
        options: Options,
        identifier: Option<u32>,
    ) -> bool {
        let new = state.trie.insert(filter, Leaf { mailbox: mailbox.clone(), options, identifier });
        if new && self.counts(filter) {
            self.listening.fetch_add(1, Ordering::Relaxed);
        }
        new
    }

    fn counts(&self, filter: Filter<'_>) -> bool {
        self.open_topics || !topic::is_command(filter.filter)
    }

    /// Takes a subscription out: whether there was one, and whether the store has to know first.
    pub(crate) fn unsubscribe(&self, mailbox: &Arc<Mailbox>, text: &str) -> (bool, bool) {
        let state = &mut *self.state();
        let stored = {
            let mut inner = mailbox.inner();
            if inner.subscriptions.remove(text).is_none() {
                return (false, false);
            }
            if inner.stored {
                let change = Change::Unsubscribe(mailbox.key.clone(), text.to_owned());
                self.common.writer.push(change);
            }
            inner.stored
        };
        self.uproot(state, mailbox, text);
        (true, stored)
    }

    fn uproot(&self, state: &mut State, mailbox: &Arc<Mailbox>, text: &str) {
        if let Some(filter) = Filter::read(text)
            && state.trie.remove(filter, mailbox)
            && self.counts(filter)
        {
            self.listening.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The highest QoS at which the session listens on `topic` by itself.
    pub(crate) fn granted(&self, mailbox: &Mailbox, topic: &str) -> Option<u8> {
        let inner = mailbox.inner();
        let matching = inner.subscriptions.iter().filter(|(text, _)| {
            Filter::read(text).is_some_and(|f| f.group.is_none() && topic::matches(f.filter, topic))
        });
        matching.map(|(_, (options, _))| options.qos()).max()
    }
}
