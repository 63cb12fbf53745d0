//! The side of a session that may outlive its connection: what waits for the client, what is on the
//! way to it, and which QoS 2 packets came from it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::AreaPath;
use model::broker::{Change, Delivery as Kept, Session, SessionKey, Subscription, Will};
use tokio::time::Instant;

use super::Common;
use super::post::Post;
use super::trie::{Options, Taking};
use super::writer::Waiter;
use crate::mqtt::link::{Link, signal};

/// Whose messages a session may see.
#[derive(Clone, Debug)]
pub(crate) enum Reach {
    /// Everybody's (topics are open), or its filters were judged before they were granted.
    Granted,
    /// Those of things in these areas.
    Areas(Vec<AreaPath>),
}

impl Reach {
    pub(crate) fn covers(&self, area: Option<&AreaPath>) -> bool {
        match self {
            Self::Granted => true,
            Self::Areas(areas) => area.is_some_and(|area| areas.iter().any(|a| area.is_in(a))),
        }
    }
}

/// A message on its way to this client.
pub(crate) struct Delivery {
    pub(crate) post: Arc<Post>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    pub(crate) packet_id: Option<NonZeroU16>,
    pub(crate) identifiers: Box<[u32]>,
    sequence: i64,
    /// The store knows of it, or will once this change is on disk. It is not sent before: its
    /// packet id must be the same after a restart, or QoS 2 would be neither once nor at all.
    durable: Option<u64>,
    /// The client has it; PUBREL was sent or will be.
    released: bool,
    /// A command of the hub: counted apart, and never kept by the store.
    command: bool,
}

/// What a session tells of a packet it was asked to write.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    Yes,
    /// Longer than the client takes: counts as delivered (3.1.2-25).
    TooLong,
    /// No room at the socket now.
    NoRoom,
}

/// What ends a message's way to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Puback,
    RefusingPubrec,
    Pubcomp,
}

/// What follows a PUBREC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// PUBREL now.
    Now,
    /// PUBREL once the change is on disk.
    Held,
    /// No such packet id.
    Unknown,
}

pub(crate) struct Inner {
    pub(crate) link: Option<Arc<Link>>,
    pub(crate) reach: Reach,
    /// Seconds it lives without a connection; 0 ends it with its connection.
    pub(crate) expiry: u32,
    /// Filter as asked → options and identifier.
    pub(crate) subscriptions: HashMap<String, (Options, Option<u32>)>,
    pub(crate) will: Option<Will>,
    waiting: VecDeque<Delivery>,
    in_flight: VecDeque<Delivery>,
    received: HashSet<NonZeroU16>,
    weight: usize,
    last_id: u16,
    sequence: i64,
    /// The store knows of it.
    pub(crate) stored: bool,
    /// The writer will tell once the next message is on disk.
    awaiting: bool,
    /// Where the agenda has it.
    pub(crate) appointments: Vec<(Instant, u64)>,
    over: bool,
}

/// One session.
pub(crate) struct Mailbox {
    pub(crate) key: Arc<SessionKey>,
    common: Arc<Common>,
    online: AtomicBool,
    inner: Mutex<Inner>,
}

impl Mailbox {
    pub(crate) fn new(key: Arc<SessionKey>, common: Arc<Common>, reach: Reach, expiry: u32) -> Self {
        let inner = Inner {
            link: None,
            reach,
            expiry,
            subscriptions: HashMap::new(),
            will: None,
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
            received: HashSet::new(),
            weight: 0,
            last_id: 0,
            sequence: 0,
            stored: false,
            awaiting: false,
            appointments: Vec::new(),
            over: false,
        };
        Self { key, common, online: AtomicBool::new(false), inner: Mutex::new(inner) }
    }

    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection takes the session up: what was on the way is sent again, in its order, with
    /// DUP (4.4.0-1); what the new rights do not cover any more is dropped.
    pub(crate) fn take_up(&self, link: &Arc<Link>, covers: &dyn Fn(&str) -> bool) {
        let inner = &mut *self.inner();
        inner.link = Some(link.clone());
        inner.awaiting = false;
        self.online.store(true, Ordering::Release);
        let (released, again): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut inner.in_flight).into_iter().partition(|delivery| delivery.released);
        inner.in_flight = released;
        for mut delivery in again.into_iter().rev() {
            delivery.dup = true;
            inner.weight += delivery.post.weight();
            inner.waiting.push_front(delivery);
        }
        let (keep, drop): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut inner.waiting)
            .into_iter()
            .partition(|delivery| delivery.command || covers(&delivery.post.message.topic));
        inner.waiting = keep;
        for delivery in drop {
            inner.weight -= delivery.post.weight();
            self.done(&delivery);
        }
        if !inner.waiting.is_empty() {
            link.tell(signal::MAIL);
        }
    }

    /// The connection is gone. QoS 0 that waits goes with it.
    pub(crate) fn leave(&self, inner: &mut Inner) {
        inner.link = None;
        self.online.store(false, Ordering::Release);
        inner.waiting.retain(|delivery| delivery.qos > 0);
        inner.weight = inner.waiting.iter().map(|delivery| delivery.post.weight()).sum();
        inner.waiting.shrink_to_fit();
    }

    /// The session is over: nothing goes in or out any more.
    pub(crate) fn end(&self, inner: &mut Inner) {
        inner.over = true;
        self.online.store(false, Ordering::Release);
        let (waiting, in_flight) = (std::mem::take(&mut inner.waiting), std::mem::take(&mut inner.in_flight));
        for delivery in waiting.into_iter().chain(in_flight) {
            if delivery.durable.is_some() && !delivery.released {
                delivery.post.unname(&self.common);
            }
        }
        if inner.stored {
            self.common.writer.push(Change::End(self.key.clone()));
        }
    }

    /// The session as the store keeps it.
    pub(crate) fn image(&self, inner: &Inner, ends_at: Option<model::Micros>) -> Session {
        let sent_to = match (&inner.link, inner.waiting.iter().find(|delivery| !delivery.dup)) {
            (Some(_), _) => i64::MAX,
            (None, Some(first)) => first.sequence - 1,
            (None, None) => inner.sequence,
        };
        Session {
            key: (*self.key).clone(),
            expiry_seconds: inner.expiry,
            ends_at,
            sent_to,
            read: match &inner.reach {
                Reach::Granted => Vec::new(),
                Reach::Areas(areas) => areas.clone(),
            },
            will: inner.will.clone(),
        }
    }

    /// How ready it is for a message of a shared subscription about a thing at `area`.
    pub(crate) fn readiness(&self, area: Option<&AreaPath>) -> Taking {
        let inner = self.inner();
        if inner.over || !inner.reach.covers(area) || inner.waiting.len() >= self.common.limits.queue {
            return Taking::No;
        }
        match (&inner.link, inner.expiry) {
            (Some(_), _) => Taking::Now,
            (None, 0) => Taking::No,
            (None, _) => Taking::Later,
        }
    }

    /// Puts a message in line. A full line drops the newcomer and counts it: what waits is older,
    /// promised, and in order.
    pub(crate) fn enqueue(
        &self,
        post: &Arc<Post>,
        qos: u8,
        retain: bool,
        identifiers: &[u32],
        area: Option<&AreaPath>,
    ) {
        let inner = &mut *self.inner();
        let nobody = inner.link.is_none() && (qos == 0 || inner.expiry == 0);
        if inner.over || nobody || !inner.reach.covers(area) {
            return;
        }
        let weight = post.weight();
        let limits = &self.common.limits;
        let full = inner.waiting.len() >= limits.queue || inner.weight + weight > limits.queue_bytes;
        let packet_id = if qos == 0 { None } else { inner.next_id() };
        if full || qos > 0 && packet_id.is_none() {
            self.common.meters.dropped("queue-full");
            return;
        }
        inner.sequence += 1;
        let mut durable = None;
        if qos > 0 && inner.stored {
            let message = post.name(&self.common);
            durable = Some(self.common.writer.push(Change::Queue(Kept {
                session: self.key.clone(),
                sequence: inner.sequence,
                message,
                packet_id: packet_id.map_or(0, NonZeroU16::get),
                qos,
                retain,
                identifiers: identifiers.to_vec(),
                released: false,
            })));
        }
        inner.weight += weight;
        inner.waiting.push_back(Delivery {
            post: post.clone(),
            qos,
            retain,
            dup: false,
            packet_id,
            identifiers: identifiers.into(),
            sequence: inner.sequence,
            durable,
            released: false,
            command: false,
        });
        if let Some(link) = &inner.link {
            link.tell(signal::MAIL);
        }
    }

    /// Sends what may go: in order, as far as the client's window and the socket have room. `true`
    /// when the socket had none.
    pub(crate) fn send(
        &self,
        link: &Arc<Link>,
        window: usize,
        now: Instant,
        write: &mut dyn FnMut(&Delivery) -> Written,
    ) -> bool {
        let inner = &mut *self.inner();
        if !inner.is_of(link) {
            return false;
        }
        while let Some(delivery) = inner.waiting.front() {
            if delivery.qos > 0 && inner.in_flight.len() >= window {
                return false;
            }
            if delivery.durable.is_some_and(|place| !self.common.writer.is_safe(place)) {
                if !std::mem::replace(&mut inner.awaiting, true) {
                    self.common.writer.after(Waiter::Mail(link.clone()));
                }
                return false;
            }
            inner.awaiting = false;
            // What was sent before is sent again whatever its age (4.3.3-7).
            let expired = !delivery.dup && delivery.post.is_expired(now);
            let written = if expired { Written::TooLong } else { write(delivery) };
            if written == Written::NoRoom {
                return true;
            }
            let Some(delivery) = inner.waiting.pop_front() else { return false };
            inner.weight -= delivery.post.weight();
            match written {
                Written::Yes if delivery.qos > 0 => inner.in_flight.push_back(delivery),
                _ => self.done(&delivery),
            }
        }
        // Idle mailboxes hold no memory.
        inner.waiting.shrink_to(8);
        false
    }

    /// A command of the hub goes out now; its packet id (with QoS 1), or `None` when `most` of them
    /// are unacknowledged or the window is full.
    pub(crate) fn command(
        &self,
        link: &Arc<Link>,
        post: &Arc<Post>,
        qos: u8,
        (most, window): (usize, usize),
    ) -> Option<Option<NonZeroU16>> {
        let inner = &mut *self.inner();
        let sent = inner.in_flight.iter().filter(|delivery| delivery.command).count();
        if !inner.is_of(link) || sent >= most || inner.in_flight.len() >= window {
            return None;
        }
        if qos == 0 {
            return Some(None);
        }
        let packet_id = inner.next_id()?;
        inner.sequence += 1;
        inner.in_flight.push_back(Delivery {
            post: post.clone(),
            qos: 1,
            retain: false,
            dup: false,
            packet_id: Some(packet_id),
            identifiers: Box::default(),
            sequence: inner.sequence,
            durable: None,
            released: false,
            command: true,
        });
        Some(Some(packet_id))
    }

    /// A command could not be written after all.
    pub(crate) fn take_back(&self, packet_id: NonZeroU16) {
        self.inner().take(packet_id);
    }

    /// PUBACK, a PUBREC that refuses, or PUBCOMP: the message is done. `false`, with nothing
    /// changed, for an id that no message waits under for this packet.
    pub(crate) fn acknowledged(&self, link: &Arc<Link>, packet_id: NonZeroU16, by: By) -> bool {
        let inner = &mut *self.inner();
        let waits = |delivery: &Delivery| match by {
            By::Puback => delivery.qos == 1,
            By::RefusingPubrec => delivery.qos == 2 && !delivery.released,
            By::Pubcomp => delivery.released,
        };
        let found = inner.in_flight.iter().find(|delivery| delivery.packet_id == Some(packet_id));
        let expected = inner.is_of(link) && found.is_some_and(waits);
        let taken = if expected { inner.take(packet_id) } else { None };
        match taken {
            Some(delivery) => {
                self.done(&delivery);
                true
            }
            None => false,
        }
    }

    /// PUBREC: from now on only PUBREL is sent (4.3.3).
    pub(crate) fn received_by_client(&self, link: &Arc<Link>, packet_id: NonZeroU16) -> Release {
        let inner = &mut *self.inner();
        if !inner.is_of(link) {
            return Release::Unknown;
        }
        let Some(delivery) =
            inner.in_flight.iter_mut().find(|d| d.packet_id == Some(packet_id) && d.qos == 2)
        else {
            return Release::Unknown;
        };
        if delivery.released {
            return Release::Now;
        }
        delivery.released = true;
        if delivery.durable.is_none() {
            return Release::Now;
        }
        self.common.writer.push(Change::Release(self.key.clone(), delivery.sequence));
        delivery.post.unname(&self.common);
        Release::Held
    }

    /// Packet ids whose PUBREL is to be sent again.
    pub(crate) fn to_release(&self) -> Vec<NonZeroU16> {
        self.inner().in_flight.iter().filter(|d| d.released).filter_map(|d| d.packet_id).collect()
    }

    /// Whether the QoS 2 message with this packet id came before and its PUBREL did not.
    pub(crate) fn has_received(&self, packet_id: NonZeroU16) -> bool {
        self.inner().received.contains(&packet_id)
    }

    /// How many such there are.
    pub(crate) fn received(&self) -> usize {
        self.inner().received.len()
    }

    /// A QoS 2 message is safe; `false` when it is a repeat and must not go on.
    pub(crate) fn receive(&self, packet_id: NonZeroU16) -> bool {
        let inner = &mut *self.inner();
        let new = inner.received.insert(packet_id);
        if new && inner.stored && !inner.over {
            self.common.writer.push(Change::Received(self.key.clone(), packet_id.get()));
        }
        new
    }

    /// PUBREL: the packet id is free. Whether it was in use, and whether PUBCOMP has to wait for
    /// the store.
    pub(crate) fn complete(&self, packet_id: NonZeroU16) -> (bool, bool) {
        let inner = &mut *self.inner();
        let known = inner.received.remove(&packet_id);
        let held = known && inner.stored && !inner.over;
        if held {
            self.common.writer.push(Change::Completed(self.key.clone(), packet_id.get()));
        }
        (known, held)
    }

    /// Puts back what the store kept: the session knows its numbers up to `sent_to`.
    pub(crate) fn load_sequence(&self, sent_to: i64) {
        if sent_to < i64::MAX {
            self.inner().sequence = sent_to;
        }
    }

    /// Puts back what the store kept: a subscription.
    pub(crate) fn load_subscription(&self, kept: &Subscription) {
        let value = (Options(kept.options), kept.identifier);
        self.inner().subscriptions.insert(kept.filter.clone(), value);
    }

    /// Puts back what the store kept: deliveries, in the order of their sequence.
    pub(crate) fn load_delivery(&self, kept: &Kept, post: Arc<Post>, sent_to: i64) {
        let inner = &mut *self.inner();
        inner.sequence = inner.sequence.max(kept.sequence);
        inner.last_id = kept.packet_id;
        let delivery = Delivery {
            qos: kept.qos,
            retain: kept.retain,
            dup: kept.sequence <= sent_to,
            packet_id: NonZeroU16::new(kept.packet_id),
            identifiers: kept.identifiers.as_slice().into(),
            sequence: kept.sequence,
            durable: Some(0),
            released: kept.released,
            command: false,
            post,
        };
        if delivery.released {
            inner.in_flight.push_back(delivery);
        } else {
            delivery.post.name_loaded();
            inner.weight += delivery.post.weight();
            inner.waiting.push_back(delivery);
        }
    }

    /// Puts back what the store kept: a packet id of a QoS 2 message.
    pub(crate) fn load_received(&self, packet_id: u16) {
        self.inner().received.extend(NonZeroU16::new(packet_id));
    }

    fn done(&self, delivery: &Delivery) {
        if delivery.durable.is_some() {
            self.common.writer.push(Change::Done(self.key.clone(), delivery.sequence));
            if !delivery.released {
                delivery.post.unname(&self.common);
            }
        }
    }
}

impl Inner {
    fn is_of(&self, link: &Arc<Link>) -> bool {
        self.link.as_ref().is_some_and(|own| Arc::ptr_eq(own, link))
    }

    /// The next packet id. Those in use are older and in one run behind it, so that a full circle
    /// is the only collision there is; then there is none.
    fn next_id(&mut self) -> Option<NonZeroU16> {
        let next = NonZeroU16::new(self.last_id.wrapping_add(1)).unwrap_or(NonZeroU16::MIN);
        let oldest = |line: &VecDeque<Delivery>| line.iter().find_map(|delivery| delivery.packet_id);
        if oldest(&self.in_flight) == Some(next) || oldest(&self.waiting) == Some(next) {
            return None;
        }
        self.last_id = next.get();
        Some(next)
    }

    fn take(&mut self, packet_id: NonZeroU16) -> Option<Delivery> {
        let at = self.in_flight.iter().position(|delivery| delivery.packet_id == Some(packet_id))?;
        self.in_flight.remove(at)
    }
}
