//! The outboxes of destinations: claiming what is due, and settling what came of it.
//!
//! A claim commits before anything is sent, so that a delivery is in one hand at a time; and a
//! destination has one delivery in hand at a time. What a hub that died had in hand is claimed
//! again when its lease is over, and sent again under the same idempotency key.

use model::{Context, Id, Micros, Severity, Text};
use serde::{Deserialize, Serialize};
use store::{StoreError, Tx, args, new_id};

use super::carrier::{Parcel, SendError};
use super::channel::Channel;
use super::quiet::QuietHours;
use super::retry::{self, Failed, Next};
use super::tell::{ADD_DELIVERIES, DELIVERY_COLUMNS, Plan, first};
use super::{Notifications, webhook};

store::statements! {
    // Two ends of one index, however long it is between them.
    NEXT_AT = "SELECT (SELECT MIN(next_at) FROM deliveries WHERE state = 'waiting'),
        (SELECT MIN(next_at) FROM deliveries WHERE state = 'held')";
    LAPSED = "SELECT COUNT(*) FROM deliveries WHERE state = 'sending' AND claimed_until <= $1";
    // Of each destination the gravest and then the oldest, and only where none is in hand.
    CLAIM = "UPDATE deliveries SET state = 'sending', claimed_until = $3, attempts = attempts + 1, tries = tries + 1,
        first_at = COALESCE(first_at, $2) WHERE id IN (SELECT id FROM (
            SELECT d.id, d.severity, d.next_at,
                ROW_NUMBER() OVER (PARTITION BY d.address ORDER BY d.severity, d.next_at, d.sort) AS place
            FROM deliveries d WHERE d.state IN ('waiting', 'held') AND d.channel = $1 AND d.next_at <= $2
            AND NOT EXISTS (SELECT 1 FROM deliveries s WHERE s.channel = d.channel AND s.address = d.address
                AND s.state = 'sending')
        ) AS due WHERE place = 1 ORDER BY severity, next_at LIMIT $4) RETURNING id";
    CLAIMED = "SELECT d.id, d.notification, d.channel, d.address, d.attempts, d.tries, d.first_at, n.webhook, n.recipient,
        n.post, n.area, n.case_no, n.severity, n.title_zh, n.title_en, n.body_zh, n.body_en, n.path, n.created_at
        FROM deliveries d JOIN notifications n ON n.id = d.notification WHERE d.id = $1";
    RECLAIM = "UPDATE deliveries SET state = 'waiting', next_at = $2, claimed_until = NULL
        WHERE state = 'sending' AND claimed_until <= $1";
    ACCEPT = "UPDATE deliveries SET state = 'accepted', settled_at = $3, claimed_until = NULL, reason = NULL,
        reference = $4 WHERE id = $1 AND state = 'sending' AND attempts = $2";
    ACCEPT_MESSAGE = "UPDATE notifications SET state = 'accepted' WHERE id = $1";
    LET_GO = "UPDATE deliveries SET state = $3, settled_at = $4, next_at = $5, claimed_until = NULL, reason = $6
        WHERE id = $1 AND state = 'sending' AND attempts = $2";
    ATTEMPT = "INSERT INTO delivery_attempts (delivery, n, at, outcome, reason) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (delivery, n) DO NOTHING";
    MESSAGE = "SELECT n.state, n.plan, n.area, n.severity, c.quiet FROM notifications n
        LEFT JOIN contacts c ON c.person = n.person WHERE n.id = $1";
    PLAN = "UPDATE notifications SET plan = $2 WHERE id = $1";
    DEAD_MESSAGE = "UPDATE notifications SET state = 'dead' WHERE id = $1 AND state = 'waiting'";
    RESEND = "UPDATE deliveries SET state = 'waiting', tries = 0, first_at = NULL, next_at = $2, settled_at = NULL
        WHERE id = $1 AND state IN ('dead', 'failed') RETURNING notification";
    REVIVE_MESSAGE = "UPDATE notifications SET state = 'waiting' WHERE id = $1 AND state = 'dead'";
}

/// For how long a claim holds, µs: longer than any sending takes.
const LEASE: i64 = Micros::MINUTE;

#[derive(Clone, Debug, Serialize, Deserialize, sqlx::FromRow)]
struct ClaimedRow {
    id: Id,
    notification: Id,
    channel: String,
    address: String,
    attempts: i64,
    tries: i64,
    first_at: i64,
    webhook: Option<Id>,
    recipient: String,
    post: String,
    area: String,
    case_no: String,
    severity: i64,
    title_zh: String,
    title_en: String,
    body_zh: String,
    body_en: String,
    path: String,
    created_at: i64,
}

#[derive(sqlx::FromRow)]
struct MessageRow {
    state: String,
    plan: String,
    area: String,
    severity: i64,
    quiet: Option<String>,
}

/// A delivery in hand.
#[derive(Clone, Debug)]
pub struct Claimed {
    notification: Id,
    attempts: i64,
    tries: i64,
    first_at: Micros,
    webhook: Option<Id>,
    /// What is to be sent.
    pub parcel: Parcel,
}

/// How a try went, as the command takes it.
struct Settling {
    delivery: Id,
    notification: Id,
    channel: Channel,
    attempts: i64,
    tries: i64,
    first_at: Micros,
    outcome: Result<Option<String>, SendError>,
    now: Micros,
    jitter: f64,
    next_after: i64,
    quiet: QuietHours,
    zone: jiff::tz::TimeZone,
}

impl Notifications {
    fn context() -> Context {
        Context::system("notification", new_id())
    }

    /// When the next delivery is due; `None` when none waits.
    pub(super) async fn next_at(&self) -> Result<Option<Micros>, StoreError> {
        let row: Option<(Option<i64>, Option<i64>)> = self.store.read().opt(NEXT_AT, args![]).await?;
        Ok(row.and_then(|(waiting, held)| waiting.into_iter().chain(held).min()).map(Micros))
    }

    /// Claims what is due on `channel` at `now`, `most` deliveries at most: one a destination.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn claim(&self, channel: Channel, now: Micros, most: i64) -> Result<Vec<Claimed>, StoreError> {
        let rows = self
            .store
            .command::<_, Vec<ClaimedRow>, StoreError, _>(
                &Self::context(),
                "notification:claim",
                (channel, now, most),
                |tx, (channel, now, most)| {
                    Box::pin(async move {
                        tx.bookkeeping();
                        let values = args![channel.as_str(), *now, now.plus(LEASE), *most];
                        let ids: Vec<(Id,)> = tx.all(CLAIM, values).await?;
                        let mut rows = Vec::with_capacity(ids.len());
                        for (id,) in ids {
                            rows.extend(tx.opt::<ClaimedRow>(CLAIMED, args![id]).await?);
                        }
                        Ok(rows)
                    })
                },
            )
            .await?;
        let mut claimed = Vec::with_capacity(rows.len());
        for row in rows {
            claimed.push(self.read_claimed(row).await?);
        }
        Ok(claimed)
    }

    async fn read_claimed(&self, row: ClaimedRow) -> Result<Claimed, StoreError> {
        let channel = Channel::from_name(&row.channel).ok_or_else(|| {
            StoreError::Document(format!("delivery {}: no channel {:?}", row.id, row.channel))
        })?;
        let secret = match row.webhook {
            Some(id) => webhook::secret(&self.store, id).await?,
            None => None,
        };
        let base = self.config.public_url.as_deref().map(|u| u.trim_end_matches('/'));
        let parcel = Parcel {
            id: row.id,
            channel,
            address: row.address,
            secret,
            recipient: row.recipient,
            post: row.post,
            area: row.area,
            case: row.case_no,
            severity: Severity::from_rank(row.severity),
            title: Text::new(row.title_zh, row.title_en),
            body: Text::new(row.body_zh, row.body_en),
            link: base.filter(|_| !row.path.is_empty()).map(|base| format!("{base}{}", row.path)),
            told_at: Micros(row.created_at),
        };
        Ok(Claimed {
            notification: row.notification,
            attempts: row.attempts,
            tries: row.tries,
            first_at: Micros(row.first_at),
            webhook: row.webhook,
            parcel,
        })
    }

    /// Takes back what hands that are gone still hold: whose lease was over at `lapsed`.
    pub(super) async fn reclaim(&self, lapsed: Micros, now: Micros) -> Result<u64, StoreError> {
        let held: Option<(i64,)> = self.store.read().opt(LAPSED, args![lapsed]).await?;
        if held.is_none_or(|(n,)| n == 0) {
            return Ok(0);
        }
        self.store
            .command(&Self::context(), "notification:reclaim", (lapsed, now), |tx, (lapsed, now)| {
                Box::pin(async move {
                    tx.bookkeeping();
                    tx.execute(RECLAIM, args![*lapsed, *now]).await
                })
            })
            .await
    }

    /// Hands a claimed delivery to the channel's carrier; what the far side calls it.
    ///
    /// # Errors
    /// [`SendError`], the carrier's own.
    pub async fn deliver(&self, claimed: &Claimed) -> Result<Option<String>, SendError> {
        let parcel = &claimed.parcel;
        if parcel.channel == Channel::Webhook && claimed.webhook.is_some() && parcel.secret.is_none() {
            return Err(SendError::last("the webhook was removed"));
        }
        match self.carriers.get(&parcel.channel) {
            Some(carrier) => carrier.send(parcel).await,
            None => Err(SendError::last(format!("the hub serves no channel {}", parcel.channel.as_str()))),
        }
    }

    /// Writes down how a try went at `now`, and what follows from it.
    ///
    /// # Errors
    /// [`StoreError`]; the claim then lapses and the delivery is sent again.
    pub async fn settle(
        &self,
        claimed: &Claimed,
        outcome: Result<Option<String>, SendError>,
        now: Micros,
    ) -> Result<(), StoreError> {
        let channel = claimed.parcel.channel;
        if let Err(e) = &outcome {
            tracing::warn!(
                delivery = %claimed.parcel.id, channel = channel.as_str(), tries = claimed.tries, error = %e,
                "a notification was not accepted"
            );
        }
        let settling = Settling {
            delivery: claimed.parcel.id,
            notification: claimed.notification,
            channel,
            attempts: claimed.attempts,
            tries: claimed.tries,
            first_at: claimed.first_at,
            outcome,
            now,
            jitter: rand::random(),
            next_after: self.config.next_after,
            quiet: self.config.quiet,
            zone: self.store.time_zone().clone(),
        };
        let state = self
            .store
            .command::<_, Option<String>, StoreError, _>(
                &Self::context(),
                "notification:settle",
                settling,
                |tx, settling| {
                    Box::pin(async move {
                        tx.bookkeeping();
                        settle(tx, settling).await
                    })
                },
            )
            .await?;
        if let Some(state) = state {
            metrics::counter!("zhongshu_notifications_total", "channel" => channel.as_str(), "state" => state)
                .increment(1);
        }
        Ok(())
    }

    /// Sends again what was given up: those of `deliveries` that are dead or failed. How many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn resend(&self, context: &Context, deliveries: Vec<Id>) -> Result<u64, StoreError> {
        let sent = self
            .store
            .command(context, "notification:resend", deliveries, |tx, deliveries| {
                Box::pin(async move {
                    tx.subject(
                        "notification",
                        deliveries.first().map(ToString::to_string).unwrap_or_default(),
                        None,
                    );
                    tx.detail(serde_json::json!({ "deliveries": deliveries }));
                    let now = tx.now;
                    let mut sent = 0u64;
                    for delivery in deliveries {
                        if let Some((message,)) = tx.opt::<(Id,)>(RESEND, args![*delivery, now]).await? {
                            tx.execute(REVIVE_MESSAGE, args![message]).await?;
                            sent += 1;
                        }
                    }
                    Ok::<_, StoreError>(sent)
                })
            })
            .await;
        self.wake.notify_one();
        sent
    }
}

/// The state that the delivery has now; `None` when another hand had it.
async fn settle(tx: &mut Tx<'_>, s: &Settling) -> Result<Option<String>, StoreError> {
    let error = match &s.outcome {
        Ok(reference) => {
            let values = args![s.delivery, s.attempts, s.now, reference.clone()];
            if tx.execute(ACCEPT, values).await? == 0 {
                return Ok(None);
            }
            tx.execute(ACCEPT_MESSAGE, args![s.notification]).await?;
            attempt(tx, s, "accepted", None).await?;
            return Ok(Some("accepted".into()));
        }
        Err(error) => error,
    };
    let message: Option<MessageRow> = tx.opt(MESSAGE, args![s.notification]).await?;
    let message = message.ok_or_else(|| StoreError::Statement("a notification vanished".into()))?;
    let mut plan: Plan = serde_json::from_str(&message.plan)?;
    let quiet = message.quiet.as_deref().and_then(|q| QuietHours::parse(q).ok()).unwrap_or(s.quiet);
    // A webhook is a system's: it has no night.
    let hold = |at: Micros| {
        let severity = Severity::from_rank(message.severity);
        if s.channel == Channel::Webhook { None } else { quiet.hold(severity, at, &s.zone) }
    };
    let failed = Failed { tries: s.tries, first_at: s.first_at, has_next: !plan.0.is_empty(), error };
    let next = retry::decide(&failed, s.now, s.next_after, s.jitter);
    let (state, next_at) = match next {
        // What it was about is over: nobody needs to hear of it any more.
        _ if message.state == "withdrawn" => ("withdrawn", s.now),
        Next::Again(at) => hold(at).map_or(("waiting", at), |until| ("held", until)),
        Next::NextChannel => ("failed", s.now),
        Next::Dead => ("dead", s.now),
    };
    let settled = matches!(state, "failed" | "dead" | "withdrawn").then_some(s.now);
    let values = args![s.delivery, s.attempts, state, settled, next_at, &error.reason];
    if tx.execute(LET_GO, values).await? == 0 {
        return Ok(None);
    }
    attempt(tx, s, if error.retry { "retryable" } else { "final" }, Some(&error.reason)).await?;
    match state {
        "failed" => {
            let way = plan.0.remove(0);
            tx.execute(PLAN, args![s.notification, serde_json::to_string(&plan)?]).await?;
            let next = first(s.notification, &message.area, message.severity, &way, s.now, hold(s.now));
            let row = next.row(s.now);
            tx.insert_many(ADD_DELIVERIES, "", DELIVERY_COLUMNS, vec![row]).await?;
        }
        "dead" => {
            tx.execute(DEAD_MESSAGE, args![s.notification]).await?;
        }
        _ => {}
    }
    let told = if matches!(next, Next::Again(_)) && state != "withdrawn" { "retried" } else { state };
    Ok(Some(told.into()))
}

async fn attempt(
    tx: &mut Tx<'_>,
    s: &Settling,
    outcome: &str,
    reason: Option<&str>,
) -> Result<(), StoreError> {
    let values = args![s.delivery, s.attempts, s.now, outcome, reason];
    tx.execute(ATTEMPT, values).await.map(|_| ())
}
