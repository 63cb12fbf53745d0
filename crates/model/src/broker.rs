//! What an MQTT broker must not forget, and the contract of whoever keeps it.
//!
//! The gateway holds sessions, queues and retained messages in memory and hands every change of
//! those that outlive a connection to a [`BrokerStore`]. Nothing is read back but once, on start.
//!
//! ```text
//! session ──< subscription            retained message, by topic
//!         ──< delivery >── message    one message may wait for many sessions
//!         ──< received packet id      QoS 2 from the client, until its PUBREL
//! ```

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{AreaPath, Micros};

/// Whose a session is. A client id names a client of its owner only, so that nobody takes another's
/// session by guessing its id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// A device, by its thing's code.
    Device(String),
    /// An integrator, by its token's name.
    Integrator(String),
    /// A client without credentials (only where the configuration lets it in).
    Anonymous,
}

impl Owner {
    /// `device`, `integrator` or `anonymous`: one column of two.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Device(_) => "device",
            Self::Integrator(_) => "integrator",
            Self::Anonymous => "anonymous",
        }
    }

    /// The code or name; empty for [`Owner::Anonymous`]: the other column.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Device(name) | Self::Integrator(name) => name,
            Self::Anonymous => "",
        }
    }

    /// Reads the two columns back.
    #[must_use]
    pub fn from_columns(kind: &str, name: &str) -> Option<Self> {
        match kind {
            "device" => Some(Self::Device(name.to_owned())),
            "integrator" => Some(Self::Integrator(name.to_owned())),
            "anonymous" => Some(Self::Anonymous),
            _ => None,
        }
    }
}

/// What a session is found by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey {
    /// Whose it is.
    pub owner: Owner,
    /// The MQTT client identifier.
    pub client: String,
}

/// An application message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The topic name.
    pub topic: String,
    /// The payload, as published.
    pub payload: Bytes,
    /// 0, 1 or 2, as published.
    pub qos: u8,
    /// The RETAIN flag, as published.
    pub retain: bool,
    /// After this it goes to nobody any more.
    pub expires_at: Option<Micros>,
    /// What MQTT 5 carries besides; `None` when there is nothing of it.
    pub properties: Option<Box<Properties>>,
}

/// Properties of MQTT 5 that travel with a message unchanged (3.3.2.3). The serialised form may be
/// stored: members are only ever added, each with a default.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Properties {
    /// Payload Format Indicator; `Some(true)` is UTF-8 text.
    pub text: Option<bool>,
    /// Content Type.
    pub content_type: Option<String>,
    /// Response Topic.
    pub response_topic: Option<String>,
    /// Correlation Data.
    pub correlation_data: Option<Vec<u8>>,
    /// User Properties, in the order they came.
    pub user: Vec<(String, String)>,
}

/// A message published when its client is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// What is published.
    pub message: Message,
    /// Message Expiry Interval in seconds, counted from its publication.
    pub expiry_seconds: Option<u32>,
    /// Will Delay Interval in seconds, counted from the loss of the client.
    pub delay_seconds: u32,
    /// When it falls due; `None` while the client is connected.
    pub due_at: Option<Micros>,
}

/// A session that outlives its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// What it is found by.
    pub key: SessionKey,
    /// How long it lives without a connection.
    pub expiry_seconds: u32,
    /// When it ends; `None` while the client is connected.
    pub ends_at: Option<Micros>,
    /// Deliveries up to this [`Delivery::sequence`] may have been sent; [`i64::MAX`] while the
    /// client is connected. Those are sent again with DUP.
    pub sent_to: i64,
    /// Where an integrator may read; empty for others.
    pub read: Vec<AreaPath>,
    /// Its will, until published or withdrawn.
    pub will: Option<Will>,
}

/// A subscription of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The topic filter as asked, `$share/…` included: the key within its session.
    pub filter: String,
    /// The options byte of MQTT 5 (3.8.3.1): QoS, No Local, Retain As Published, Retain Handling.
    pub options: u8,
    /// Subscription Identifier, 1 to 268,435,455.
    pub identifier: Option<u32>,
}

/// A number that the gateway gives a message it keeps; never given twice.
pub type MessageId = i64;

/// A message on its way to one session, QoS 1 or 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// For which session.
    pub session: Arc<SessionKey>,
    /// Its place in the order of this session: the key within it.
    pub sequence: i64,
    /// Which message. It may be gone once `released` is set.
    pub message: MessageId,
    /// The packet identifier it is or will be sent with.
    pub packet_id: u16,
    /// 1 or 2.
    pub qos: u8,
    /// The RETAIN flag it is sent with.
    pub retain: bool,
    /// Subscription Identifiers of the subscriptions that matched.
    pub identifiers: Vec<u32>,
    /// The client has it (its PUBREC came); only PUBREL and PUBCOMP are left.
    pub released: bool,
}

/// One change of what is kept. Each is an upsert or a delete by key, so that the same changes may
/// be applied again: after an error nobody knows whether they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The session is so from now on (its subscriptions and deliveries stay as they are).
    Save(Box<Session>),
    /// The session is over, with its subscriptions, deliveries and received packet ids.
    End(Arc<SessionKey>),
    /// A subscription is added, or replaces the one with the same filter.
    Subscribe(Arc<SessionKey>, Subscription),
    /// The subscription with this filter is gone.
    Unsubscribe(Arc<SessionKey>, String),
    /// A message that deliveries will name.
    Keep(MessageId, Arc<Message>),
    /// No delivery names this message any more.
    Forget(MessageId),
    /// A delivery is added.
    Queue(Delivery),
    /// [`Delivery::released`] of the delivery with this sequence is set.
    Release(Arc<SessionKey>, i64),
    /// The delivery with this sequence is done.
    Done(Arc<SessionKey>, i64),
    /// The QoS 2 message with this packet id came from the client.
    Received(Arc<SessionKey>, u16),
    /// Its PUBREL came; the packet id is free.
    Completed(Arc<SessionKey>, u16),
    /// The message is retained on its topic, in place of the one before.
    Retain(Arc<Message>),
    /// Nothing is retained on this topic any more.
    Unretain(String),
}

/// Everything that is kept, as the gateway finds it on start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Sessions.
    pub sessions: Vec<Session>,
    /// Their subscriptions.
    pub subscriptions: Vec<(SessionKey, Subscription)>,
    /// Messages that deliveries name.
    pub messages: Vec<(MessageId, Message)>,
    /// Deliveries, in any order.
    pub deliveries: Vec<Delivery>,
    /// Packet ids of QoS 2 messages whose PUBREL has not come.
    pub received: Vec<(SessionKey, u16)>,
    /// Retained messages, one a topic.
    pub retained: Vec<Message>,
}

impl Image {
    /// The same, each list in the order of its key: so that what two stores hold can be compared.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.sessions.sort_by(|a, b| a.key.cmp(&b.key));
        self.subscriptions.sort_by(|(a, one), (b, two)| (a, &one.filter).cmp(&(b, &two.filter)));
        self.messages.sort_by_key(|(id, _)| *id);
        self.deliveries.sort_by(|a, b| (&a.session, a.sequence).cmp(&(&b.session, b.sequence)));
        self.received.sort();
        self.retained.sort_by(|a, b| a.topic.cmp(&b.topic));
        self
    }
}

/// Why the store did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// The store did not take or give it (disk full, database away). The caller tries again.
    #[error("the store of mqtt sessions did not answer: {0}")]
    Store(String),
}

/// Keeps what sessions need after a restart. Implemented beside the database, used by the gateway.
#[async_trait]
pub trait BrokerStore: Send + Sync {
    /// Everything there is. Called once, before the first connection.
    ///
    /// # Errors
    /// [`BrokerError`]; the gateway does not start then.
    async fn load(&self) -> Result<Image, BrokerError>;

    /// Applies `changes` in their order, all or none.
    ///
    /// **Returns `Ok` only after the commit that holds them is on disk**: acknowledgements to
    /// publishers and subscribers leave then and not before. One call at a time; it carries
    /// whatever gathered during the one before, for many sessions, so that a commit is not paid
    /// per message. After an error the same changes come again, with more behind them.
    ///
    /// # Errors
    /// [`BrokerError`].
    async fn commit(&self, changes: &[Change]) -> Result<(), BrokerError>;
}
