//! What falls due while a client is away: the end of its session, and its will.

use std::sync::Arc;
use std::time::Duration;

use model::broker::{Change, Message, Owner, SessionKey, Will};
use tokio::time::Instant;

use super::mailbox::{Inner, Mailbox};
use super::{Broker, Passage, Post, State};
use crate::batcher::Group;
use crate::mqtt::link::Link;
use crate::payload;
use crate::server::Shared;
use crate::topic::{Place, place};

/// An entry of the agenda.
pub(super) struct Due {
    mailbox: Arc<Mailbox>,
    what: What,
}

/// What falls due.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Will,
    End,
}

/// Without an entry the agenda is looked at so often.
const IDLE: Duration = Duration::from_secs(3600);

impl Broker {
    pub(super) fn appoint(
        &self,
        state: &mut State,
        mailbox: &Arc<Mailbox>,
        inner: &mut Inner,
        at: Instant,
        what: What,
    ) {
        state.appointments += 1;
        let at = (at, state.appointments);
        inner.appointments.push(at);
        state.agenda.insert(at, Due { mailbox: mailbox.clone(), what });
        self.agenda.notify_one();
    }

    /// Does what is due by `now`; wills to be published, and when the next entry is due.
    fn keep_appointments(&self, now: Instant) -> (Vec<Will>, Option<Instant>) {
        let state = &mut *self.state();
        while let Some(entry) = state.agenda.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let (at, Due { mailbox, what }) = entry.remove_entry();
            match what {
                What::End => self.end(state, &mailbox),
                What::Will => {
                    let inner = &mut *mailbox.inner();
                    inner.appointments.retain(|other| *other != at);
                    state.wills.extend(inner.will.take());
                    let ends_in =
                        inner.appointments.first().map(|(end, _)| end.saturating_duration_since(now));
                    let micros =
                        ends_in.map_or(0, |left| i64::try_from(left.as_micros()).unwrap_or(i64::MAX));
                    let ends_at = (self.common.clock)().plus(micros);
                    let image = mailbox.image(inner, Some(ends_at));
                    self.common.writer.push(Change::Save(Box::new(image)));
                }
            }
        }
        (state.wills.drain(..).collect(), state.agenda.keys().next().map(|(at, _)| *at))
    }
}

/// Keeps the agenda until the gateway is dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    let key = SessionKey { owner: Owner::Anonymous, client: "wills".into() };
    let link = Arc::new(Link::new(Arc::new(key)));
    loop {
        let called = shared.broker.agenda.notified();
        let (wills, next) = shared.broker.keep_appointments(Instant::now());
        for will in wills {
            publish(&shared, &link, will).await;
        }
        let next = next.unwrap_or_else(|| Instant::now() + IDLE);
        tokio::select! {
            () = called => {}
            () = tokio::time::sleep_until(next) => {}
        }
    }
}

/// A will goes the way of every message: into a batch, and to subscribers after its commit. On the
/// topic of a datastream it is an observation.
async fn publish(shared: &Shared, link: &Arc<Link>, will: Will) {
    let now = (shared.config.clock)();
    let mut group = Group::default();
    if let Place::Datastream { thing, code } = place(&will.message.topic)
        && let Some(key) =
            shared.devices.device(thing).and_then(|device| device.datastreams.get(code).copied())
        && let Err(error) = payload::decode(&will.message.payload, key, now, &mut group.samples)
    {
        tracing::debug!(%error, topic = will.message.topic, "a will is no observation");
    }
    let micros = |n: u32| i64::from(n).saturating_mul(model::Micros::SECOND);
    let expires_at = will.expiry_seconds.map(|n| now.plus(micros(n)));
    let expires = will.expiry_seconds.map(|n| Instant::now() + Duration::from_secs(u64::from(n)));
    let post = Post::new(Message { expires_at, ..will.message }, expires);
    group.pass(Passage { from: None, packet_id: None, post: Some(post) });
    while !shared.queue.try_push(link, &mut group) {
        link.woken().await;
    }
}
