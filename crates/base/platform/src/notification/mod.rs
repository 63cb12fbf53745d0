//! Notification (通知送达): who is told what, by which channel, and whether it arrived.
//!
//! A message to a person goes along channels in a declared order: in-page always, then the first
//! outside channel that the hub serves and the person has an address for; when that one fails for
//! good or for the declared time, the next. Each message on each channel is a durable row, a
//! delivery, in the outbox of its destination; it is written in the transaction of the step that
//! told the person, and sent by a background task. A delivery counts as accepted when the far
//! side said so, and as nothing else before.
//!
//! | module | what is there |
//! | --- | --- |
//! | [`channel`] | the channels and what each is addressed by |
//! | [`contact`] | where a person is reached, and when not |
//! | [`quiet`] | quiet hours |
//! | [`retry`] | when a failed delivery is tried again, and when the next channel is used |
//! | [`tell`] | messages and their first deliveries, inside a command |
//! | [`outbox`] | claiming what is due, and settling what came of it |
//! | [`run`] | the background task |
//! | [`carrier`] | one sender a channel: gateway and webhook ([`signed`]), e-mail ([`mail`]) |
//! | [`guard`] | addresses that a webhook may not reach |
//! | [`webhook`] | systems that are told what posts are told |
//! | [`record`] | what was told, for operators and for the person |

pub mod carrier;
pub mod channel;
pub mod contact;
pub mod guard;
pub mod mail;
pub mod outbox;
pub mod quiet;
pub mod record;
pub mod retry;
pub mod run;
pub mod secret;
pub mod signed;
pub mod tell;
pub mod webhook;

use std::collections::BTreeMap;
use std::sync::Arc;

use model::Micros;
use store::Store;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use carrier::{Carrier, Parcel, SendError};
pub use channel::Channel;
pub use contact::{Contact, ContactError};
pub use guard::Internal;
pub use outbox::Claimed;
pub use quiet::QuietHours;
pub use secret::Secret;
pub use tell::Telling;

/// The gateway that takes SMS, voice and WeCom messages.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Where messages are posted.
    pub url: String,
    /// What requests are signed with.
    pub secret: Secret,
}

/// The server that takes e-mail.
#[derive(Clone, Debug)]
pub struct MailConfig {
    /// `smtps://user:password@host:465`, or `smtp://…:587?tls=required`.
    pub url: Secret,
    /// The sender: `中枢 <hub@example.org>`.
    pub from: String,
}

/// How notification is set up. The default reaches people in the pages only.
#[derive(Clone, Debug)]
pub struct NotificationConfig {
    /// The outside channels to people, the first choice first.
    pub order: Vec<Channel>,
    /// For how long (µs) a channel may fail before the next one is used.
    pub next_after: i64,
    /// When those are left in peace who have not chosen otherwise.
    pub quiet: QuietHours,
    /// Where SMS, voice and WeCom messages go; none of them is served without.
    pub gateway: Option<GatewayConfig>,
    /// Where e-mail goes; it is not served without.
    pub mail: Option<MailConfig>,
    /// Which addresses inside networks of one's own a webhook may reach.
    pub internal: Internal,
    /// Certificates (PEM) that are trusted beside the machine's own.
    pub certificates: Vec<u8>,
    /// Where people open the pages, for links in messages.
    pub public_url: Option<String>,
}

impl Default for NotificationConfig {
    fn default() -> Self {
        Self {
            order: Channel::TO_PEOPLE.to_vec(),
            next_after: 2 * Micros::MINUTE,
            quiet: QuietHours::default(),
            gateway: None,
            mail: None,
            internal: Internal::Refused,
            certificates: Vec::new(),
            public_url: None,
        }
    }
}

/// Why notification is not set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("set up notification: {0}")]
pub struct SetupError(pub String);

/// Telling people and systems: one value of the platform.
pub struct Notifications {
    pub(crate) store: Store,
    pub(crate) config: NotificationConfig,
    pub(crate) carriers: BTreeMap<Channel, Arc<dyn Carrier>>,
    pub(crate) wake: Notify,
    pub(crate) stop: CancellationToken,
}

impl Notifications {
    /// With the channels that the configuration serves.
    ///
    /// # Errors
    /// [`SetupError`] names what is wrong with the configuration.
    pub fn new(store: Store, config: NotificationConfig) -> Result<Self, SetupError> {
        let carriers = carrier::carriers(&config)?;
        Ok(Self::with_carriers(store, config, carriers))
    }

    /// With these carriers in place of those of the configuration.
    #[must_use]
    pub fn with_carriers(
        store: Store,
        config: NotificationConfig,
        carriers: BTreeMap<Channel, Arc<dyn Carrier>>,
    ) -> Self {
        Self { store, config, carriers, wake: Notify::new(), stop: CancellationToken::new() }
    }

    /// How it is set up.
    #[must_use]
    pub fn config(&self) -> &NotificationConfig {
        &self.config
    }

    /// Whether the hub can send on `channel`.
    #[must_use]
    pub fn serves(&self, channel: Channel) -> bool {
        channel == Channel::InPage || self.carriers.contains_key(&channel)
    }
}
