//! A store without a disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use model::broker::{
    BrokerError, BrokerStore, Change, Delivery, Image, Message, MessageId, Session, SessionKey, Subscription,
};

/// Keeps what a [`BrokerStore`] keeps for as long as it lives itself: for tests, and for a broker
/// whose sessions need not survive. What it does with each change is what every store must do.
#[derive(Debug, Default)]
pub struct MemoryBroker {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    sessions: BTreeMap<SessionKey, Session>,
    subscriptions: BTreeMap<(SessionKey, String), Subscription>,
    messages: BTreeMap<MessageId, Message>,
    deliveries: BTreeMap<(SessionKey, i64), Delivery>,
    received: BTreeSet<(SessionKey, u16)>,
    retained: BTreeMap<String, Message>,
}

impl Kept {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Save(session) => {
                self.sessions.insert(session.key.clone(), (**session).clone());
            }
            Change::End(key) => {
                self.sessions.remove(&**key);
                self.subscriptions.retain(|(of, _), _| *of != **key);
                self.deliveries.retain(|(of, _), _| *of != **key);
                self.received.retain(|(of, _)| *of != **key);
            }
            Change::Subscribe(key, subscription) => {
                let at = ((**key).clone(), subscription.filter.clone());
                self.subscriptions.insert(at, subscription.clone());
            }
            Change::Unsubscribe(key, filter) => {
                self.subscriptions.remove(&((**key).clone(), filter.clone()));
            }
            Change::Keep(id, message) => {
                self.messages.insert(*id, (**message).clone());
            }
            Change::Forget(id) => {
                self.messages.remove(id);
            }
            Change::Queue(delivery) => {
                self.deliveries.insert(((*delivery.session).clone(), delivery.sequence), delivery.clone());
            }
            Change::Release(key, sequence) => {
                if let Some(delivery) = self.deliveries.get_mut(&((**key).clone(), *sequence)) {
                    delivery.released = true;
                }
            }
            Change::Done(key, sequence) => {
                self.deliveries.remove(&((**key).clone(), *sequence));
            }
            Change::Received(key, packet_id) => {
                self.received.insert(((**key).clone(), *packet_id));
            }
            Change::Completed(key, packet_id) => {
                self.received.remove(&((**key).clone(), *packet_id));
            }
            Change::Retain(message) => {
                self.retained.insert(message.topic.clone(), (**message).clone());
            }
            Change::Unretain(topic) => {
                self.retained.remove(topic);
            }
        }
    }
}

impl MemoryBroker {
    /// What is kept now, ordered by key.
    #[must_use]
    pub fn image(&self) -> Image {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        Image {
            sessions: kept.sessions.values().cloned().collect(),
            subscriptions: kept.subscriptions.iter().map(|((key, _), s)| (key.clone(), s.clone())).collect(),
            messages: kept.messages.iter().map(|(id, message)| (*id, message.clone())).collect(),
            deliveries: kept.deliveries.values().cloned().collect(),
            received: kept.received.iter().cloned().collect(),
            retained: kept.retained.values().cloned().collect(),
        }
    }

    /// Applies changes; what [`BrokerStore::commit`] does.
    pub fn apply(&self, changes: &[Change]) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        changes.iter().for_each(|change| kept.apply(change));
    }
}

#[async_trait]
impl BrokerStore for MemoryBroker {
    async fn load(&self) -> Result<Image, BrokerError> {
        Ok(self.image())
    }

    async fn commit(&self, changes: &[Change]) -> Result<(), BrokerError> {
        self.apply(changes);
        Ok(())
    }
}
