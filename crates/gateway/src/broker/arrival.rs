//! Clients that come and go, and what a start finds in the store.

use std::sync::Arc;
use std::time::Duration;

use model::broker::{BrokerError, BrokerStore, Change, Delivery, Owner, SessionKey, Will};
use tokio::time::Instant;

use super::agenda::What;
use super::mailbox::Mailbox;
use super::post::Post;
use super::{Broker, Reach, State};
use crate::mqtt::link::{Link, most_of};
use crate::topic::Filter;

/// A client that proved who it is and wants its session.
pub(crate) struct Arrival<'a> {
    pub(crate) key: Arc<SessionKey>,
    pub(crate) link: &'a Arc<Link>,
    pub(crate) clean: bool,
    /// Seconds the session shall live without a connection.
    pub(crate) expiry: u32,
    pub(crate) reach: Reach,
    pub(crate) will: Option<Will>,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Parting {
    /// By DISCONNECT without its will (3.14.4-3).
    pub(crate) peaceful: bool,
    /// Session Expiry Interval of that DISCONNECT.
    pub(crate) expiry: Option<u32>,
    /// The hub stops: the client was not lost. A durable session keeps its will for the next start,
    /// others end without.
    pub(crate) stopping: bool,
}

/// The store holds as many sessions as it may.
pub(crate) struct Full;

impl Broker {
    /// Gives the client its session: whether it was there before (Session Present), and whether the
    /// store has to know first.
    pub(crate) fn attach(&self, arrival: Arrival<'_>) -> Result<(Arc<Mailbox>, bool, bool), Full> {
        let Arrival { key, link, clean, expiry, reach, will } = arrival;
        let state = &mut *self.state();
        let mut wait = false;
        let old = state.sessions.get(&key).cloned();
        let kept = old.as_ref().filter(|old| !clean && old.inner().expiry > 0).cloned();
        let present = kept.is_some();
        // One owner that connects under ever new ids shall not take the place of all others.
        let own = old.as_ref().map_or(0, |old| usize::from(old.inner().stored));
        let stored = state.stored.get(&key.owner).copied().unwrap_or(0) - own;
        let full = stored >= most_of(&key.owner) || state.stored_in_all >= self.common.limits.sessions;
        if expiry > 0 && !present && full {
            return Err(Full);
        }
        let mailbox = match (kept, old) {
            (Some(kept), _) => kept,
            (None, old) => {
                if let Some(old) = old {
                    wait = old.inner().stored;
                    self.end(state, &old);
                }
                let new = Arc::new(Mailbox::new(key.clone(), self.common.clone(), reach.clone(), expiry));
                state.sessions.insert(key, new.clone());
                new
            }
        };
        {
            let inner = &mut *mailbox.inner();
            for at in inner.appointments.drain(..) {
                state.agenda.remove(&at);
            }
            // A will that was delayed for the client to come back is not published (3.1.3-9).
            if let Some(old) = inner.will.take()
                && inner.link.is_some()
                && old.delay_seconds == 0
            {
                state.wills.push_back(old);
                self.agenda.notify_one();
            }
            (inner.expiry, inner.will) = (expiry, will);
            inner.reach = reach.clone();
            if expiry > 0 && !inner.stored {
                inner.stored = true;
                state.count(&mailbox.key.owner);
            }
        }
        mailbox.take_up(link, &|topic| self.covers(&reach, topic));
        let inner = mailbox.inner();
        if inner.stored {
            self.common.writer.push(Change::Save(Box::new(mailbox.image(&inner, None))));
            wait = true;
        }
        drop(inner);
        Ok((mailbox, present, wait))
    }

    /// The connection `link` of the session is over.
    pub(crate) fn detach(&self, mailbox: &Arc<Mailbox>, link: &Arc<Link>, parting: Parting) {
        let state = &mut *self.state();
        let inner = &mut *mailbox.inner();
        if !inner.link.as_ref().is_some_and(|own| Arc::ptr_eq(own, link)) {
            return;
        }
        inner.expiry = parting.expiry.unwrap_or(inner.expiry);
        if parting.peaceful {
            inner.will = None;
        }
        mailbox.leave(inner);
        if parting.stopping && inner.expiry > 0 {
            self.common.writer.push(Change::Save(Box::new(mailbox.image(inner, None))));
            return;
        }
        if parting.stopping {
            inner.will = None;
        }
        self.absent(state, mailbox, inner);
    }

    /// The session has no connection any more: it ends now or later, and its will falls due.
    fn absent(&self, state: &mut State, mailbox: &Arc<Mailbox>, inner: &mut super::mailbox::Inner) {
        if inner.expiry == 0 {
            self.end_locked(state, mailbox, inner);
            return;
        }
        let (now, wall) = (Instant::now(), (self.common.clock)());
        let seconds = |n: u32| i64::from(n).saturating_mul(model::Micros::SECOND);
        match inner.will.take() {
            Some(will) if will.delay_seconds == 0 => {
                state.wills.push_back(will);
                self.agenda.notify_one();
            }
            Some(mut will) => {
                will.due_at = Some(wall.plus(seconds(will.delay_seconds)));
                let after = Duration::from_secs(u64::from(will.delay_seconds));
                inner.will = Some(will);
                self.appoint(state, mailbox, inner, now + after, What::Will);
            }
            None => {}
        }
        let after = Duration::from_secs(u64::from(inner.expiry));
        self.appoint(state, mailbox, inner, now + after, What::End);
        let ends_at = wall.plus(seconds(inner.expiry));
        self.common.writer.push(Change::Save(Box::new(mailbox.image(inner, Some(ends_at)))));
    }

    /// Ends a session: its subscriptions go, and its will is published (3.1.2-8).
    pub(super) fn end(&self, state: &mut State, mailbox: &Arc<Mailbox>) {
        let inner = &mut *mailbox.inner();
        self.end_locked(state, mailbox, inner);
    }

    fn end_locked(&self, state: &mut State, mailbox: &Arc<Mailbox>, inner: &mut super::mailbox::Inner) {
        if let Some(will) = inner.will.take() {
            state.wills.push_back(will);
            self.agenda.notify_one();
        }
        for at in inner.appointments.drain(..) {
            state.agenda.remove(&at);
        }
        for text in std::mem::take(&mut inner.subscriptions).into_keys() {
            self.uproot(state, mailbox, &text);
        }
        if state.sessions.get(&mailbox.key).is_some_and(|other| Arc::ptr_eq(other, mailbox)) {
            state.sessions.remove(&mailbox.key);
        }
        if inner.stored {
            state.discount(&mailbox.key.owner);
        }
        mailbox.end(inner);
    }

    /// Ends the sessions of `owner`, without their wills: now, or with their connection.
    pub(crate) fn forget(&self, owner: &Owner) {
        let state = &mut *self.state();
        let own = state.sessions.values().filter(|mailbox| mailbox.key.owner == *owner);
        for mailbox in own.cloned().collect::<Vec<_>>() {
            let inner = &mut *mailbox.inner();
            (inner.will, inner.expiry) = (None, 0);
            if inner.link.is_none() {
                self.end_locked(state, &mailbox, inner);
            }
        }
    }

    /// Reads what the store kept. Sessions that were connected when the hub stopped count as lost
    /// now.
    pub(crate) async fn load(&self, store: &dyn BrokerStore) -> Result<(), BrokerError> {
        let image = store.load().await?;
        let state = &mut *self.state();
        let (now, wall) = (Instant::now(), (self.common.clock)());
        let posts: std::collections::HashMap<_, _> = image
            .messages
            .into_iter()
            .map(|(id, message)| {
                let expires = message.expires_at.map(|at| self.common.instant(at));
                (id, Post::loaded(message, expires, id))
            })
            .collect();
        let next = posts.keys().copied().chain(image.deliveries.iter().map(|d| d.message)).max().unwrap_or(0);
        self.common.messages.store(next.saturating_add(1), std::sync::atomic::Ordering::Relaxed);
        for message in image.retained {
            let expires = message.expires_at.map(|at| self.common.instant(at));
            // More than the bounds of today allow are left out, not deleted.
            state.retained.set(Post::new(message, expires), now);
        }
        let mut sent_to = std::collections::HashMap::new();
        for session in &image.sessions {
            let key = Arc::new(session.key.clone());
            let reach = match key.owner {
                Owner::Integrator(_) if !self.open_topics => Reach::Areas(session.read.clone()),
                _ => Reach::Granted,
            };
            let mailbox =
                Arc::new(Mailbox::new(key.clone(), self.common.clone(), reach, session.expiry_seconds));
            {
                let mut inner = mailbox.inner();
                inner.stored = true;
                inner.will.clone_from(&session.will);
            }
            mailbox.load_sequence(session.sent_to);
            state.count(&key.owner);
            sent_to.insert(key.clone(), session.sent_to);
            state.sessions.insert(key, mailbox);
        }
        for (key, kept) in &image.subscriptions {
            let Some(mailbox) = state.sessions.get(key).cloned() else { continue };
            mailbox.load_subscription(kept);
            if let Some(filter) = Filter::read(&kept.filter) {
                let options = super::Options(kept.options);
                self.plant(state, &mailbox, filter, options, kept.identifier);
            }
        }
        let mut deliveries: Vec<Delivery> = image.deliveries;
        deliveries.sort_by_key(|delivery| delivery.sequence);
        for kept in &deliveries {
            let Some(mailbox) = state.sessions.get(&kept.session) else { continue };
            let post = match posts.get(&kept.message) {
                Some(post) => post.clone(),
                // Only what is released may have lost its message.
                None if kept.released => Post::new(model::broker::Message::default(), None),
                None => {
                    let lost = Change::Done(kept.session.clone(), kept.sequence);
                    self.common.writer.push(lost);
                    continue;
                }
            };
            mailbox.load_delivery(kept, post, sent_to.get(&kept.session).copied().unwrap_or(i64::MAX));
        }
        let named: std::collections::HashSet<_> =
            deliveries.iter().filter(|kept| !kept.released).map(|kept| kept.message).collect();
        for id in posts.keys().filter(|id| !named.contains(*id)) {
            self.common.writer.push(Change::Forget(*id));
        }
        for (key, packet_id) in image.received {
            if let Some(mailbox) = state.sessions.get(&key) {
                mailbox.load_received(packet_id);
            }
        }
        for session in image.sessions {
            let Some(mailbox) = state.sessions.get(&session.key).cloned() else { continue };
            let inner = &mut *mailbox.inner();
            match session.ends_at {
                None => self.absent(state, &mailbox, inner),
                Some(at) if at <= wall => self.end_locked(state, &mailbox, inner),
                Some(at) => {
                    if let Some(due) = inner.will.as_ref().and_then(|will| will.due_at) {
                        let due = self.common.instant(due);
                        self.appoint(state, &mailbox, inner, due, What::Will);
                    }
                    let at = self.common.instant(at);
                    self.appoint(state, &mailbox, inner, at, What::End);
                }
            }
        }
        Ok(())
    }
}
