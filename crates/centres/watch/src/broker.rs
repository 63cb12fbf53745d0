//! What MQTT sessions must not forget, in the state database.
//!
//! The gateway reads all of it once on start and then only writes. Changes are upserts and
//! deletes by key, so that a batch whose commit is in doubt may come again.

use std::sync::Arc;

use async_trait::async_trait;
use model::broker::{
    BrokerError, BrokerStore, Change, Delivery, Image, Message, MessageId, Owner, Properties, Session,
    SessionKey, Subscription, Will,
};
use model::{Context, Micros};
use store::{Store, StoreError, Tx, Value, args, new_id};

store::statements! {
    SESSIONS = "SELECT owner_kind, owner, client, expiry_seconds, ends_at, sent_to, read, will FROM mqtt_sessions";
    SUBSCRIPTIONS = "SELECT owner_kind, owner, client, filter, options, identifier FROM mqtt_subscriptions";
    MESSAGES = "SELECT id, topic, payload, qos, retain, expires_at, properties FROM mqtt_messages";
    DELIVERIES = "SELECT owner_kind, owner, client, sequence, message, packet_id, qos, retain, released, identifiers
        FROM mqtt_deliveries";
    RECEIVED = "SELECT owner_kind, owner, client, packet_id FROM mqtt_received";
    RETAINED = "SELECT topic, payload, qos, expires_at, properties FROM mqtt_retained";
    SAVE = "INSERT INTO mqtt_sessions (owner_kind, owner, client, expiry_seconds, ends_at, sent_to, read, will)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (owner_kind, owner, client) DO UPDATE
        SET expiry_seconds = excluded.expiry_seconds, ends_at = excluded.ends_at, sent_to = excluded.sent_to,
            read = excluded.read, will = excluded.will";
    END = "DELETE FROM mqtt_sessions WHERE owner_kind = $1 AND owner = $2 AND client = $3";
    END_SUBSCRIPTIONS = "DELETE FROM mqtt_subscriptions WHERE owner_kind = $1 AND owner = $2 AND client = $3";
    END_DELIVERIES = "DELETE FROM mqtt_deliveries WHERE owner_kind = $1 AND owner = $2 AND client = $3";
    END_RECEIVED = "DELETE FROM mqtt_received WHERE owner_kind = $1 AND owner = $2 AND client = $3";
    SUBSCRIBE = "INSERT INTO mqtt_subscriptions (owner_kind, owner, client, filter, options, identifier)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (owner_kind, owner, client, filter) DO UPDATE
        SET options = excluded.options, identifier = excluded.identifier";
    UNSUBSCRIBE = "DELETE FROM mqtt_subscriptions WHERE owner_kind = $1 AND owner = $2 AND client = $3 AND filter = $4";
    FORGET = "DELETE FROM mqtt_messages WHERE id = $1";
    RELEASE = "UPDATE mqtt_deliveries SET released = 1
        WHERE owner_kind = $1 AND owner = $2 AND client = $3 AND sequence = $4";
    DONE = "DELETE FROM mqtt_deliveries WHERE owner_kind = $1 AND owner = $2 AND client = $3 AND sequence = $4";
    ADD_RECEIVED = "INSERT INTO mqtt_received (owner_kind, owner, client, packet_id) VALUES ($1, $2, $3, $4)
        ON CONFLICT (owner_kind, owner, client, packet_id) DO NOTHING";
    COMPLETED = "DELETE FROM mqtt_received WHERE owner_kind = $1 AND owner = $2 AND client = $3 AND packet_id = $4";
    RETAIN = "INSERT INTO mqtt_retained (topic, payload, qos, expires_at, properties) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (topic) DO UPDATE
        SET payload = excluded.payload, qos = excluded.qos, expires_at = excluded.expires_at,
            properties = excluded.properties";
    UNRETAIN = "DELETE FROM mqtt_retained WHERE topic = $1";
}

const ADD_MESSAGES: &str =
    "INSERT INTO mqtt_messages (id, topic, payload, qos, retain, expires_at, properties)";
const KEPT_ALREADY: &str = "ON CONFLICT (id) DO NOTHING";
const ADD_DELIVERIES: &str = "INSERT INTO mqtt_deliveries
    (owner_kind, owner, client, sequence, message, packet_id, qos, retain, released, identifiers)";
const QUEUED_ALREADY: &str = "ON CONFLICT (owner_kind, owner, client, sequence) DO NOTHING";

/// The broker's memory, in the state database.
pub struct StoredBroker(Store);

impl StoredBroker {
    /// Keeps it in `store`.
    #[must_use]
    pub fn new(store: Store) -> Arc<Self> {
        Arc::new(Self(store))
    }
}

#[async_trait]
impl BrokerStore for StoredBroker {
    async fn load(&self) -> Result<Image, BrokerError> {
        load(&self.0).await.map_err(|e| BrokerError::Store(e.to_string()))
    }

    async fn commit(&self, changes: &[Change]) -> Result<(), BrokerError> {
        let context = Context::system("mqtt", new_id());
        let changes: Arc<[Change]> = changes.into();
        self.0
            .command::<_, (), StoreError, _>(&context, "mqtt:keep", changes, |tx, changes| {
                Box::pin(async move {
                    tx.bookkeeping();
                    apply(tx, changes).await
                })
            })
            .await
            .map_err(|e| BrokerError::Store(e.to_string()))
    }
}

/// Neighbours of one kind are written together.
async fn apply(tx: &mut Tx<'_>, changes: &[Change]) -> Result<(), StoreError> {
    let mut messages = Vec::new();
    let mut deliveries = Vec::new();
    for change in changes {
        match change {
            Change::Keep(id, message) => {
                messages.push(message_row(*id, message)?);
                continue;
            }
            Change::Queue(delivery) => {
                deliveries.push(delivery_row(delivery)?);
                continue;
            }
            _ => {}
        }
        // Nothing else may overtake what was gathered.
        flush(tx, &mut messages, &mut deliveries).await?;
        apply_one(tx, change).await?;
    }
    flush(tx, &mut messages, &mut deliveries).await
}

async fn flush(
    tx: &mut Tx<'_>,
    messages: &mut Vec<Vec<Value>>,
    deliveries: &mut Vec<Vec<Value>>,
) -> Result<(), StoreError> {
    if !messages.is_empty() {
        tx.insert_many(ADD_MESSAGES, KEPT_ALREADY, 7, std::mem::take(messages)).await?;
    }
    if !deliveries.is_empty() {
        tx.insert_many(ADD_DELIVERIES, QUEUED_ALREADY, 10, std::mem::take(deliveries)).await?;
    }
    Ok(())
}

async fn apply_one(tx: &mut Tx<'_>, change: &Change) -> Result<(), StoreError> {
    match change {
        Change::Save(session) => {
            let mut row = key(&session.key);
            row.extend(args![
                i64::from(session.expiry_seconds),
                session.ends_at,
                session.sent_to,
                serde_json::to_string(&session.read)?,
                session.will.as_ref().map(|w| serde_json::to_string(&KeptWill::from(w))).transpose()?
            ]);
            tx.execute(SAVE, row).await?;
        }
        Change::End(session) => {
            for sql in [END_SUBSCRIPTIONS, END_DELIVERIES, END_RECEIVED, END] {
                tx.execute(sql, key(session)).await?;
            }
        }
        Change::Subscribe(session, subscription) => {
            let Subscription { filter, options, identifier } = subscription;
            let mut row = key(session);
            row.extend(args![filter.clone(), i64::from(*options), identifier.map(i64::from)]);
            tx.execute(SUBSCRIBE, row).await?;
        }
        Change::Unsubscribe(session, filter) => {
            let mut row = key(session);
            row.push(filter.clone().into());
            tx.execute(UNSUBSCRIBE, row).await?;
        }
        Change::Keep(..) | Change::Queue(_) => {}
        Change::Forget(id) => {
            tx.execute(FORGET, args![*id]).await?;
        }
        Change::Release(session, sequence) => {
            tx.execute(RELEASE, keyed(session, *sequence)).await?;
        }
        Change::Done(session, sequence) => {
            tx.execute(DONE, keyed(session, *sequence)).await?;
        }
        Change::Received(session, packet_id) => {
            tx.execute(ADD_RECEIVED, keyed(session, i64::from(*packet_id))).await?;
        }
        Change::Completed(session, packet_id) => {
            tx.execute(COMPLETED, keyed(session, i64::from(*packet_id))).await?;
        }
        Change::Retain(message) => {
            let row = args![
                message.topic.clone(),
                message.payload.to_vec(),
                i64::from(message.qos),
                message.expires_at,
                properties(message)?
            ];
            tx.execute(RETAIN, row).await?;
        }
        Change::Unretain(topic) => {
            tx.execute(UNRETAIN, args![topic.clone()]).await?;
        }
    }
    Ok(())
}

fn key(session: &SessionKey) -> Vec<Value> {
    args![session.owner.kind().to_owned(), session.owner.name().to_owned(), session.client.clone()]
}

fn keyed(session: &SessionKey, number: i64) -> Vec<Value> {
    let mut row = key(session);
    row.push(number.into());
    row
}

fn message_row(id: MessageId, message: &Message) -> Result<Vec<Value>, StoreError> {
    Ok(args![
        id,
        message.topic.clone(),
        message.payload.to_vec(),
        i64::from(message.qos),
        i64::from(message.retain),
        message.expires_at,
        properties(message)?
    ])
}

fn delivery_row(delivery: &Delivery) -> Result<Vec<Value>, StoreError> {
    let mut row = key(&delivery.session);
    row.extend(args![
        delivery.sequence,
        delivery.message,
        i64::from(delivery.packet_id),
        i64::from(delivery.qos),
        i64::from(delivery.retain),
        i64::from(delivery.released),
        serde_json::to_string(&delivery.identifiers)?
    ]);
    Ok(row)
}

fn properties(message: &Message) -> Result<Option<String>, StoreError> {
    Ok(message.properties.as_deref().map(serde_json::to_string).transpose()?)
}

/// A will as its column holds it.
#[derive(serde::Serialize, serde::Deserialize)]
struct KeptWill {
    topic: String,
    payload: Vec<u8>,
    qos: u8,
    retain: bool,
    properties: Option<Properties>,
    expiry_seconds: Option<u32>,
    delay_seconds: u32,
    due_at: Option<i64>,
}

impl From<&Will> for KeptWill {
    fn from(will: &Will) -> Self {
        let message = &will.message;
        Self {
            topic: message.topic.clone(),
            payload: message.payload.to_vec(),
            qos: message.qos,
            retain: message.retain,
            properties: message.properties.as_deref().cloned(),
            expiry_seconds: will.expiry_seconds,
            delay_seconds: will.delay_seconds,
            due_at: will.due_at.map(|t| t.0),
        }
    }
}

impl From<KeptWill> for Will {
    fn from(kept: KeptWill) -> Self {
        let message = Message {
            topic: kept.topic,
            payload: kept.payload.into(),
            qos: kept.qos,
            retain: kept.retain,
            expires_at: None,
            properties: kept.properties.map(Box::new),
        };
        Self {
            message,
            expiry_seconds: kept.expiry_seconds,
            delay_seconds: kept.delay_seconds,
            due_at: kept.due_at.map(Micros),
        }
    }
}

#[derive(sqlx::FromRow)]
struct SessionRow {
    owner_kind: String,
    owner: String,
    client: String,
    expiry_seconds: i64,
    ends_at: Option<i64>,
    sent_to: i64,
    read: String,
    will: Option<String>,
}

#[derive(sqlx::FromRow)]
struct DeliveryRow {
    owner_kind: String,
    owner: String,
    client: String,
    sequence: i64,
    message: i64,
    packet_id: i64,
    qos: i64,
    retain: i64,
    released: i64,
    identifiers: String,
}

async fn load(store: &Store) -> Result<Image, StoreError> {
    let read = store.read();
    let mut image = Image::default();
    for row in read.all::<SessionRow>(SESSIONS, args![]).await? {
        let will: Option<KeptWill> = row.will.as_deref().map(serde_json::from_str).transpose()?;
        image.sessions.push(Session {
            key: session_key(&row.owner_kind, &row.owner, row.client)?,
            expiry_seconds: narrow(row.expiry_seconds)?,
            ends_at: row.ends_at.map(Micros),
            sent_to: row.sent_to,
            read: serde_json::from_str(&row.read)?,
            will: will.map(Will::from),
        });
    }
    let rows: Vec<(String, String, String, String, i64, Option<i64>)> =
        read.all(SUBSCRIPTIONS, args![]).await?;
    for (kind, owner, client, filter, options, identifier) in rows {
        let subscription = Subscription {
            filter,
            options: narrow(options)?,
            identifier: identifier.map(narrow).transpose()?,
        };
        image.subscriptions.push((session_key(&kind, &owner, client)?, subscription));
    }
    let rows: Vec<(i64, String, Vec<u8>, i64, i64, Option<i64>, Option<String>)> =
        read.all(MESSAGES, args![]).await?;
    for (id, topic, payload, qos, retain, expires_at, properties) in rows {
        image.messages.push((id, message(topic, payload, qos, retain != 0, expires_at, properties)?));
    }
    for row in read.all::<DeliveryRow>(DELIVERIES, args![]).await? {
        image.deliveries.push(Delivery {
            session: Arc::new(session_key(&row.owner_kind, &row.owner, row.client)?),
            sequence: row.sequence,
            message: row.message,
            packet_id: narrow(row.packet_id)?,
            qos: narrow(row.qos)?,
            retain: row.retain != 0,
            identifiers: serde_json::from_str(&row.identifiers)?,
            released: row.released != 0,
        });
    }
    let rows: Vec<(String, String, String, i64)> = read.all(RECEIVED, args![]).await?;
    for (kind, owner, client, packet_id) in rows {
        image.received.push((session_key(&kind, &owner, client)?, narrow(packet_id)?));
    }
    let rows: Vec<(String, Vec<u8>, i64, Option<i64>, Option<String>)> = read.all(RETAINED, args![]).await?;
    for (topic, payload, qos, expires_at, properties) in rows {
        image.retained.push(message(topic, payload, qos, true, expires_at, properties)?);
    }
    Ok(image)
}

fn session_key(kind: &str, owner: &str, client: String) -> Result<SessionKey, StoreError> {
    let owner = Owner::from_columns(kind, owner)
        .ok_or_else(|| StoreError::Document(format!("an mqtt session is owned by a {kind:?}")))?;
    Ok(SessionKey { owner, client })
}

fn message(
    topic: String,
    payload: Vec<u8>,
    qos: i64,
    retain: bool,
    expires_at: Option<i64>,
    properties: Option<String>,
) -> Result<Message, StoreError> {
    Ok(Message {
        topic,
        payload: payload.into(),
        qos: narrow(qos)?,
        retain,
        expires_at: expires_at.map(Micros),
        properties: properties.as_deref().map(serde_json::from_str).transpose()?,
    })
}

fn narrow<T: TryFrom<i64>>(number: i64) -> Result<T, StoreError> {
    T::try_from(number).map_err(|_| StoreError::Document(format!("{number} is out of range for MQTT")))
}
