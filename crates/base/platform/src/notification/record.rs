//! What was told: for operators by delivery, for the person by message.

use std::collections::BTreeMap;

use model::{AreaPath, Context, Id, Micros};
use store::filter::{KeyValue, Keyed};
use store::{Filter, Order, Page, PageRequest, Select, Store, StoreError, Value, args, now};

use super::channel::Channel;

const SELECT: &str = "SELECT d.id, d.sort, d.notification, d.channel, d.address, d.state, d.attempts, d.next_at,
    d.settled_at, d.reason, d.reference, d.created_at, n.person, n.recipient, n.post, n.area, n.case_no, n.severity,
    n.title_zh, n.title_en, n.body_zh, n.body_en, n.path, n.read_at, n.state AS message_state
    FROM deliveries d JOIN notifications n ON n.id = d.notification";
const LAST_FAILURE: &str = "SELECT d.reason, d.sort FROM deliveries d";

store::statements! {
    ONE = "SELECT d.id, d.sort, d.notification, d.channel, d.address, d.state, d.attempts, d.next_at, d.settled_at,
        d.reason, d.reference, d.created_at, n.person, n.recipient, n.post, n.area, n.case_no, n.severity, n.title_zh,
        n.title_en, n.body_zh, n.body_en, n.path, n.read_at, n.state AS message_state
        FROM deliveries d JOIN notifications n ON n.id = d.notification WHERE d.id = $1";
    ATTEMPTS = "SELECT n, at, outcome, reason FROM delivery_attempts WHERE delivery = $1 ORDER BY n DESC LIMIT 50";
    COUNTS = "SELECT channel, state, COUNT(*), MIN(created_at) FROM deliveries WHERE area >= $1 AND area < $2
        AND (state IN ('waiting', 'held', 'sending', 'dead') OR created_at >= $3) GROUP BY channel, state";
    INBOX = "SELECT id, sort, case_no, area, severity, title_zh, title_en, body_zh, body_en, path, created_at, read_at
        FROM notifications";
    UNREAD = "SELECT COUNT(*) FROM notifications WHERE person = $1 AND read_at IS NULL";
    READ = "UPDATE notifications SET read_at = $2 WHERE person = $1 AND read_at IS NULL AND sort <= $3";
}

/// One delivery with its message.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct DeliveryRow {
    /// The delivery's id.
    pub id: Id,
    /// The same, to order by.
    pub sort: String,
    /// The message's id.
    pub notification: Id,
    /// The channel's name.
    pub channel: String,
    /// What the channel is addressed by, whole.
    pub address: String,
    /// `waiting`, `held`, `sending`, `accepted`, `failed`, `dead`, `withdrawn`.
    pub state: String,
    /// How often it was tried.
    pub attempts: i64,
    /// When it is tried next, µs; says nothing once it is settled.
    pub next_at: i64,
    /// When it was settled, µs.
    pub settled_at: Option<i64>,
    /// Why the last try failed.
    pub reason: Option<String>,
    /// What the far side calls it.
    pub reference: Option<String>,
    /// When it was written, µs.
    pub created_at: i64,
    /// Who is told; `None` for a system.
    pub person: Option<Id>,
    /// Their name, or the webhook's.
    pub recipient: String,
    /// The post that is told.
    pub post: String,
    /// Where it happened.
    pub area: String,
    /// The number of the case; empty when there is none.
    pub case_no: String,
    /// The rank of the severity; 5 without.
    pub severity: i64,
    /// Title in Chinese.
    pub title_zh: String,
    /// Title in English.
    pub title_en: String,
    /// Text in Chinese.
    pub body_zh: String,
    /// Text in English.
    pub body_en: String,
    /// The page that shows it; empty when there is none.
    pub path: String,
    /// When the person read it in the pages, µs.
    pub read_at: Option<i64>,
    /// Where the message as a whole stands: `waiting`, `accepted`, `dead`, `in-page`, `withdrawn`.
    pub message_state: String,
}

impl Keyed for DeliveryRow {
    fn key(&self) -> Vec<KeyValue> {
        vec![KeyValue::Text(self.sort.clone())]
    }
}

/// One try.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct AttemptRow {
    /// Which, from 1.
    pub n: i64,
    /// When it ended, µs.
    pub at: i64,
    /// `accepted`, `retryable` or `final`.
    pub outcome: String,
    /// Why it failed.
    pub reason: Option<String>,
}

/// Which deliveries are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Only these states.
    pub states: Vec<String>,
    /// Only this channel.
    pub channel: Option<Channel>,
    /// Only what this person was told.
    pub person: Option<Id>,
    /// Only what was told of the case with this number.
    pub case: Option<String>,
    /// Only where recipient, case, post, title or reason holds this text.
    pub text: Option<String>,
}

/// The list, within `scope`, newest first.
#[must_use]
pub fn select(scope: Vec<AreaPath>, asked: &Asked) -> Select {
    let mut filter = Filter::Within("d.area", scope);
    if !asked.states.is_empty() {
        filter = filter.and(Filter::In("d.state", asked.states.iter().map(Value::from).collect()));
    }
    if let Some(channel) = asked.channel {
        filter = filter.and(Filter::Is("d.channel", channel.as_str().into()));
    }
    if let Some(person) = asked.person {
        filter = filter.and(Filter::Is("n.person", person.into()));
    }
    if let Some(case) = &asked.case {
        filter = filter.and(Filter::Is("n.case_no", case.into()));
    }
    if let Some(text) = asked.text.clone().filter(|t| !t.is_empty()) {
        let columns = vec!["n.recipient", "n.case_no", "n.post", "n.title_zh", "n.title_en", "d.reason"];
        filter = filter.and(Filter::Contains(columns, text));
    }
    Select { head: SELECT, filter, order: vec![Order::Down("d.sort")] }
}

/// One page of deliveries.
///
/// # Errors
/// [`StoreError`].
pub async fn list(
    store: &Store,
    scope: Vec<AreaPath>,
    asked: &Asked,
    page: &PageRequest,
) -> Result<Page<DeliveryRow>, StoreError> {
    store.list(select(scope, asked), page).await
}

/// One delivery with its last fifty tries, the newest first.
///
/// # Errors
/// [`StoreError`].
pub async fn one(store: &Store, id: Id) -> Result<Option<(DeliveryRow, Vec<AttemptRow>)>, StoreError> {
    let Some(row) = store.read().opt::<DeliveryRow>(ONE, args![id]).await? else { return Ok(None) };
    Ok(Some((row, store.read().all(ATTEMPTS, args![id]).await?)))
}

/// Of these ids those that lie in `scope`.
///
/// # Errors
/// [`StoreError`].
pub async fn known(store: &Store, scope: Vec<AreaPath>, ids: &[Id]) -> Result<Vec<Id>, StoreError> {
    let filter =
        Filter::Within("d.area", scope).and(Filter::In("d.id", ids.iter().map(Value::from).collect()));
    let select = Select { head: SELECT, filter, order: vec![Order::Down("d.sort")] };
    let rows: Vec<DeliveryRow> = store.select(&select, ids.len() as i64).await?;
    Ok(rows.into_iter().map(|r| r.id).collect())
}

/// How a channel does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// How many wait, held back and in hand included.
    pub waiting: i64,
    /// How many of them are held back by quiet hours.
    pub held: i64,
    /// Since when the oldest waits, µs.
    pub oldest: Option<i64>,
    /// How many were accepted in the last 24 hours.
    pub accepted: i64,
    /// How many were given up for the next channel in the last 24 hours.
    pub failed: i64,
    /// How many wait for an operator.
    pub dead: i64,
    /// Why the last one that failed did.
    pub last_reason: Option<String>,
}

/// How the channels do within `scope`.
///
/// # Errors
/// [`StoreError`].
pub async fn health(store: &Store, scope: &[AreaPath]) -> Result<BTreeMap<Channel, Health>, StoreError> {
    let mut all: BTreeMap<Channel, Health> = BTreeMap::new();
    let since = now().plus(-Micros::DAY);
    // An area inside another of the scope is counted with that one.
    for area in scope.iter().filter(|a| !scope.iter().any(|b| b != *a && a.is_in(b))) {
        let to = format!("{}0", area.as_str().trim_end_matches('/'));
        let rows: Vec<(String, String, i64, i64)> = store.read().all(COUNTS, args![area, to, since]).await?;
        for (channel, state, count, oldest) in rows {
            let Some(channel) = Channel::from_name(&channel) else { continue };
            let health = all.entry(channel).or_default();
            match state.as_str() {
                "accepted" => health.accepted += count,
                "failed" => health.failed += count,
                "dead" => health.dead += count,
                "withdrawn" => {}
                waiting => {
                    health.waiting += count;
                    health.held += if waiting == "held" { count } else { 0 };
                    health.oldest = Some(health.oldest.map_or(oldest, |o| o.min(oldest)));
                }
            }
        }
    }
    for (channel, health) in &mut all {
        let filter = Filter::Within("d.area", scope.to_vec())
            .and(Filter::Is("d.channel", channel.as_str().into()))
            .and(Filter::Not(Box::new(Filter::Null("d.reason"))));
        let select = Select { head: LAST_FAILURE, filter, order: vec![Order::Down("d.sort")] };
        let last: Vec<(String, String)> = store.select(&select, 1).await?;
        health.last_reason = last.into_iter().next().map(|(reason, _)| reason);
    }
    Ok(all)
}

/// A message as its person sees it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct InboxRow {
    /// The message's id.
    pub id: Id,
    /// The same, to order by.
    pub sort: String,
    /// The number of the case; empty when there is none.
    pub case_no: String,
    /// Where it happened.
    pub area: String,
    /// The rank of the severity; 5 without.
    pub severity: i64,
    /// Title in Chinese.
    pub title_zh: String,
    /// Title in English.
    pub title_en: String,
    /// Text in Chinese.
    pub body_zh: String,
    /// Text in English.
    pub body_en: String,
    /// The page that shows it; empty when there is none.
    pub path: String,
    /// When the person was told, µs.
    pub created_at: i64,
    /// When they read it in the pages, µs.
    pub read_at: Option<i64>,
}

impl Keyed for InboxRow {
    fn key(&self) -> Vec<KeyValue> {
        vec![KeyValue::Text(self.sort.clone())]
    }
}

/// What a person was told, newest first.
///
/// # Errors
/// [`StoreError`].
pub async fn inbox(store: &Store, person: Id, page: &PageRequest) -> Result<Page<InboxRow>, StoreError> {
    let filter = Filter::Is("person", person.into());
    store.list(Select { head: INBOX, filter, order: vec![Order::Down("sort")] }, page).await
}

/// How many of a person's messages are unread.
///
/// # Errors
/// [`StoreError`].
pub async fn unread(store: &Store, person: Id) -> Result<i64, StoreError> {
    let row: Option<(i64,)> = store.read().opt(UNREAD, args![person]).await?;
    Ok(row.map_or(0, |(n,)| n))
}

/// A person has read their messages up to the one with this id; up to the newest when `None`.
/// How many were unread.
///
/// # Errors
/// [`StoreError`].
pub async fn read(
    store: &Store,
    context: &Context,
    person: Id,
    up_to: Option<Id>,
) -> Result<u64, StoreError> {
    store
        .command(context, "inbox:read", (person, up_to), |tx, (person, up_to)| {
            Box::pin(async move {
                // What a person looked at is no change that an audit asks for; the time is on the message.
                tx.bookkeeping();
                // UUIDs are ordered by time and written in hexadecimal: "g" comes after all of them.
                let last = up_to.map_or_else(|| "g".to_owned(), |id| id.to_string());
                let now = tx.now;
                tx.execute(READ, args![*person, now, last]).await
            })
        })
        .await
}
