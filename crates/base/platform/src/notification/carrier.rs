//! What brings a message to a destination on one channel.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use model::{Id, Micros, Severity, Text};

use super::channel::Channel;
use super::mail::Mail;
use super::secret::Secret;
use super::signed::{Gateway, Webhook};
use super::{NotificationConfig, SetupError};

/// One message for one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// The delivery's id: the idempotency key, the same at every try.
    pub id: Id,
    /// The channel.
    pub channel: Channel,
    /// What the channel is addressed by: a number, a user id, an e-mail address, a URL.
    pub address: String,
    /// What messages to this address are signed with, when the address has a secret of its own.
    pub secret: Option<Secret>,
    /// The name of the person or system.
    pub recipient: String,
    /// The post that is told.
    pub post: String,
    /// Where it happened: a path.
    pub area: String,
    /// The number of the case; empty when there is none.
    pub case: String,
    /// How grave.
    pub severity: Option<Severity>,
    /// What happened.
    pub title: Text,
    /// What to do.
    pub body: Text,
    /// The page that shows it, whole; `None` when the hub's own address is not configured.
    pub link: Option<String>,
    /// When the person was told in the hub.
    pub told_at: Micros,
}

/// Why a message was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, thiserror::Error)]
#[error("{reason}")]
pub struct SendError {
    /// Whether the same message may be accepted later.
    pub retry: bool,
    /// How long (µs) the far side asks to be left alone.
    pub after: Option<i64>,
    /// Why, as a lower-case fragment an operator can act on.
    pub reason: String,
}

impl SendError {
    /// It may be accepted later.
    #[must_use]
    pub fn retry(reason: impl Into<String>) -> Self {
        Self { retry: true, after: None, reason: reason.into() }
    }

    /// It will never be accepted like this.
    #[must_use]
    pub fn last(reason: impl Into<String>) -> Self {
        Self { retry: false, after: None, reason: reason.into() }
    }
}

/// Sends on one channel.
#[async_trait]
pub trait Carrier: Send + Sync {
    /// Hands one message over; returns when the far side has accepted it, with what it calls the
    /// message, if it says. May be called again for the same `parcel.id` when an answer was lost:
    /// the far side tells a repeat by that id.
    ///
    /// # Errors
    /// [`SendError`].
    async fn send(&self, parcel: &Parcel) -> Result<Option<String>, SendError>;
}

/// The carriers that a configuration makes.
pub(super) fn carriers(
    config: &NotificationConfig,
) -> Result<BTreeMap<Channel, Arc<dyn Carrier>>, SetupError> {
    let mut carriers: BTreeMap<Channel, Arc<dyn Carrier>> = BTreeMap::new();
    if let Some(gateway) = &config.gateway {
        let gateway = Arc::new(Gateway::new(gateway.clone(), config.certificates.clone())?);
        for channel in Channel::BY_GATEWAY {
            carriers.insert(channel, gateway.clone());
        }
    }
    if let Some(mail) = &config.mail {
        carriers.insert(Channel::Email, Arc::new(Mail::new(mail)?));
    }
    let webhook = Webhook::new(config.internal.clone(), config.certificates.clone());
    carriers.insert(Channel::Webhook, Arc::new(webhook));
    Ok(carriers)
}
