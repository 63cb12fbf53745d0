//! Events: the order given after the commit, durable cursors, and subscribers.
//!
//! On SQLite there is one writer, and an event's position is its place of insertion. On
//! PostgreSQL sequence numbers may commit out of order, so that positions are given after the
//! commit: whoever sequences locks the one row of `outbox_head`, and places in one statement
//! whatever is visible by then. A cursor that stands at a position has seen all below it.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use model::{AreaPath, Context, Event, Id, Micros};
use sqlx::{Connection as _, PgConnection};
use tokio::sync::watch;

use crate::database::postgres_options;
use crate::{Backend, Store, StoreError, Tx, args, new_id, now};

/// How many events a subscriber takes in one command.
const TAKE: i64 = 64;
/// How often an event is tried before it is laid aside.
const ATTEMPTS: u32 = 8;
/// How long events are kept for replay after every subscriber has them.
const KEEP: i64 = 7 * Micros::DAY;

crate::statements! {
    HEAD = "SELECT position FROM outbox_head";
    OLDEST = "SELECT COALESCE(MIN(position), 0) FROM outbox";
    AFTER = "SELECT id, position, kind, area, at, data FROM outbox WHERE position > $1 ORDER BY position LIMIT $2";
    CURSOR = "SELECT position FROM cursors WHERE subscriber = $1";
    NEW_CURSOR = "INSERT INTO cursors (subscriber, position) VALUES ($1, $2) ON CONFLICT (subscriber) DO NOTHING";
    MOVE_CURSOR = "UPDATE cursors SET position = $2 WHERE subscriber = $1 AND position < $2";
    LAY_ASIDE = "INSERT INTO dead_events (subscriber, event, reason, at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    FORGET = "DELETE FROM outbox WHERE at < $1 AND position <= (SELECT COALESCE(MIN(position), 0) FROM cursors)";
}

/// PostgreSQL only: places everything visible once the lock on the head is held.
const PLACE: &str = "WITH pending AS (
        SELECT seq, row_number() OVER (ORDER BY seq) AS n FROM outbox WHERE position IS NULL
    ), placed AS (
        UPDATE outbox SET position = (SELECT position FROM outbox_head) + pending.n
        FROM pending WHERE outbox.seq = pending.seq RETURNING 1
    )
    UPDATE outbox_head SET position = position + (SELECT count(*) FROM placed) RETURNING position";

#[derive(sqlx::FromRow)]
struct EventRow {
    id: Id,
    position: i64,
    kind: String,
    area: String,
    at: i64,
    data: String,
}

impl EventRow {
    fn read(self) -> Result<Event, StoreError> {
        Ok(Event {
            id: self.id,
            position: self.position,
            kind: self.kind,
            area: AreaPath::parse(&self.area).map_err(|e| StoreError::Document(e.to_string()))?,
            at: Micros(self.at),
            data: serde_json::from_str(&self.data)?,
        })
    }
}

/// A durable subscriber's handler: digests events inside a command.
pub type Handler =
    Arc<dyn for<'t> Fn(&'t mut Tx<'_>, &'t [Event]) -> BoxFuture<'t, Result<(), StoreError>> + Send + Sync>;

impl Store {
    /// Starts what gives positions; on SQLite the writer itself does.
    pub(crate) async fn start_outbox(&self) -> Result<(), StoreError> {
        if let Backend::Postgres { url } = &self.inner.backend {
            let mut connection = PgConnection::connect_with(&postgres_options(url)?).await?;
            self.inner.head.send_replace(sequence(&mut connection).await?);
            let (url, head, stop) = (url.clone(), self.inner.head.clone(), self.inner.stop.clone());
            let unplaced = self.inner.unplaced.clone();
            tokio::spawn(async move {
                loop {
                    tokio::select! {
                        () = stop.cancelled() => break,
                        // Another node's events have no wake-up here: look often enough.
                        _ = tokio::time::timeout(Duration::from_millis(500), unplaced.notified()) => {}
                    }
                    match sequence(&mut connection).await {
                        Ok(position) => {
                            head.send_if_modified(|h| std::mem::replace(h, position) != position);
                        }
                        Err(e) => {
                            tracing::warn!(error = %e, "events wait: no position can be given");
                            tokio::time::sleep(Duration::from_millis(500)).await;
                            let options = postgres_options(&url);
                            if let Ok(options) = options
                                && let Ok(fresh) = PgConnection::connect_with(&options).await
                            {
                                connection = fresh;
                            }
                        }
                    }
                }
            });
        } else {
            let head = self.read().opt::<(i64,)>(HEAD, vec![]).await?;
            self.inner.head.send_replace(head.map_or(0, |(p,)| p));
        }
        let store = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = store.stopped() => break,
                    () = tokio::time::sleep(Duration::from_secs(3600)) => {}
                }
                let context = Context::system("store", new_id());
                let before = now().plus(-KEEP);
                let forget = store.command(&context, "event:forget", before, |tx, before| {
                    Box::pin(async move {
                        tx.bookkeeping();
                        tx.execute(FORGET, args![*before]).await
                    })
                });
                if let Err(e) = forget.await {
                    tracing::warn!(error = %e, "old events stay another hour");
                }
            }
        });
        Ok(())
    }

    /// The last position given; changes when there is more to read.
    #[must_use]
    pub fn head(&self) -> watch::Receiver<i64> {
        self.inner.head.subscribe()
    }

    /// The position of the oldest event kept, 0 when there is none: a reader that stands before
    /// it has missed some.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn oldest_event(&self) -> Result<i64, StoreError> {
        Ok(self.read().opt::<(i64,)>(OLDEST, vec![]).await?.map_or(0, |(p,)| p))
    }

    /// Events after `position` in their order, `limit` at most.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn events_after(&self, position: i64, limit: i64) -> Result<Vec<Event>, StoreError> {
        let rows: Vec<EventRow> = self.read().all(AFTER, args![position, limit]).await?;
        rows.into_iter().map(EventRow::read).collect()
    }

    /// Starts a durable subscriber: every event after its cursor goes to `handler` in order, and
    /// the cursor moves in the same transaction, so that what the handler writes is written
    /// exactly once. A new subscriber begins at the oldest event kept.
    ///
    /// Events come in runs; a run that fails is tried event by event, and an event that fails
    /// eight times (for a reason other than an absent database) is laid aside in `dead_events`,
    /// counted and logged.
    ///
    /// # Errors
    /// [`StoreError`] when the cursor cannot be read or made.
    pub async fn subscribe(&self, subscriber: &'static str, handler: Handler) -> Result<(), StoreError> {
        let context = Context::system(subscriber, new_id());
        self.command(&context, "cursor:create", subscriber, |tx, name| {
            Box::pin(async move {
                tx.bookkeeping();
                tx.execute(NEW_CURSOR, args![*name, 0i64]).await
            })
        })
        .await?;
        let row = self.read().opt::<(i64,)>(CURSOR, args![subscriber]).await?;
        let mut position = row.map_or(0, |(p,)| p);
        let store = self.clone();
        tokio::spawn(async move {
            let mut head = store.head();
            let mut failures = 0u32;
            loop {
                if *head.borrow_and_update() <= position {
                    tokio::select! {
                        () = store.stopped() => break,
                        changed = head.changed() => if changed.is_err() { break },
                    }
                    continue;
                }
                if store.inner.stop.is_cancelled() {
                    break;
                }
                // After a failure go one by one, so that a good event does not wait for a bad one.
                let take = if failures == 0 { TAKE } else { 1 };
                let events = match store.events_after(position, take).await {
                    Ok(events) if events.is_empty() => {
                        position = *head.borrow();
                        continue;
                    }
                    Ok(events) => events,
                    Err(e) => {
                        tracing::warn!(subscriber, error = %e, "events cannot be read; trying again");
                        tokio::time::sleep(Duration::from_millis(500)).await;
                        continue;
                    }
                };
                let last = events.last().map_or(position, |e| e.position);
                match store.digest(subscriber, &handler, events.clone(), last).await {
                    Ok(()) => {
                        position = last;
                        failures = 0;
                    }
                    Err(StoreError::Stopping) => break,
                    Err(e) => {
                        // Too slow together may be fast enough one by one.
                        if !e.is_transient() || matches!(e, StoreError::TooSlow(_)) {
                            failures += 1;
                        }
                        metrics::counter!("zhongshu_event_failures_total", "subscriber" => subscriber)
                            .increment(1);
                        tracing::error!(subscriber, error = %e, failures, position = last, "an event was not digested");
                        if failures >= ATTEMPTS && events.len() == 1 {
                            match store.lay_aside(subscriber, &events[0], &e).await {
                                Ok(()) => {
                                    position = last;
                                    failures = 0;
                                }
                                Err(e) => {
                                    tracing::error!(subscriber, error = %e, "it cannot be laid aside either")
                                }
                            }
                        } else {
                            let pause = Duration::from_millis(20 << failures.min(6));
                            tokio::select! {
                                () = store.stopped() => break,
                                () = tokio::time::sleep(pause) => {}
                            }
                        }
                    }
                }
            }
        });
        Ok(())
    }

    async fn digest(
        &self,
        subscriber: &'static str,
        handler: &Handler,
        events: Vec<Event>,
        last: i64,
    ) -> Result<(), StoreError> {
        let context = Context::system(subscriber, events.first().map_or_else(new_id, |e| e.id));
        let args = (handler.clone(), events, last, subscriber);
        self.command(&context, "event:digest", args, |tx, (handler, events, last, subscriber)| {
            Box::pin(async move {
                tx.bookkeeping();
                // No row moved: another node was faster, and its work is committed.
                if tx.execute(MOVE_CURSOR, args![*subscriber, *last]).await? == 0 {
                    return Ok(());
                }
                handler(tx, events).await
            })
        })
        .await
    }

    async fn lay_aside(
        &self,
        subscriber: &'static str,
        event: &Event,
        reason: &StoreError,
    ) -> Result<(), StoreError> {
        let context = Context::system(subscriber, event.id);
        let args = (subscriber, event.clone(), reason.to_string());
        self.command(&context, "event:lay-aside", args, |tx, (subscriber, event, reason)| {
            Box::pin(async move {
                tx.subject("event", event.id, Some(&event.area));
                tx.execute(LAY_ASIDE, args![*subscriber, event.id, reason, tx.now]).await?;
                tx.execute(MOVE_CURSOR, args![*subscriber, event.position]).await?;
                Ok(())
            })
        })
        .await
    }
}

/// Gives positions to what is visible; the head after it.
async fn sequence(connection: &mut PgConnection) -> Result<i64, StoreError> {
    // A quick look first: most wake-ups on an idle hub find nothing.
    let (unplaced, head): (bool, i64) = sqlx::query_as(
        "SELECT EXISTS (SELECT 1 FROM outbox WHERE position IS NULL), (SELECT position FROM outbox_head)",
    )
    .fetch_one(&mut *connection)
    .await?;
    if !unplaced {
        return Ok(head);
    }
    sqlx::raw_sql("BEGIN").execute(&mut *connection).await?;
    let place = async {
        // The lock first, in a statement of its own: the next one then sees, under READ
        // COMMITTED, everything that committed before the lock was granted.
        sqlx::query("SELECT position FROM outbox_head FOR UPDATE").fetch_one(&mut *connection).await?;
        let (position,): (i64,) = sqlx::query_as(PLACE).fetch_one(&mut *connection).await?;
        sqlx::raw_sql("COMMIT").execute(&mut *connection).await?;
        Ok::<_, sqlx::Error>(position)
    };
    match place.await {
        Ok(position) => Ok(position),
        Err(e) => {
            drop(sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await);
            Err(e.into())
        }
    }
}
