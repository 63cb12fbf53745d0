//! Commands: the only way to change state.
//!
//! [`Store::command`] hands a command to the writer (`writer.rs`), which may run it twice: a
//! command must do nothing but read its arguments and use its [`Tx`].

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use model::{AreaPath, Context, Id, Micros};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::SqlSafeStr;
use tokio::sync::oneshot;

use crate::sql::{Connection, FromAnyRow, Value};
use crate::writer::insert_all;
use crate::{Store, StoreError, args, new_id};

/// How long one command may run.
pub(crate) const BOUND: Duration = Duration::from_secs(30);
/// How long outcomes of idempotent requests are kept.
pub(crate) const KEEP_OUTCOMES: i64 = 24 * Micros::HOUR;

crate::statements! {
    OUTCOME = "SELECT action, outcome FROM idempotency WHERE actor = $1 AND key = $2 AND at > $3";
    KEEP_OUTCOME = "INSERT INTO idempotency (actor, key, action, outcome, at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (actor, key) DO UPDATE SET action = excluded.action, outcome = excluded.outcome, at = excluded.at";
    NEXT_NUMBER = "INSERT INTO counters (name, value) VALUES ($1, 1)
        ON CONFLICT (name) DO UPDATE SET value = counters.value + 1 RETURNING value";
}

/// The transaction a command runs in.
pub struct Tx<'c> {
    connection: &'c mut Connection,
    /// Who acts.
    pub context: &'c Context,
    /// The time of the command: one instant for all it writes.
    pub now: Micros,
    time_zone: &'c jiff::tz::TimeZone,
    events: Vec<Vec<Value>>,
    subject: (Option<String>, Option<String>, Option<String>),
    detail: serde_json::Value,
    quiet: bool,
    wrote: bool,
    broken: bool,
}

impl Tx<'_> {
    /// Runs a statement that writes; the number of rows it touched.
    ///
    /// # Errors
    /// [`StoreError`]; the command is taken back.
    pub async fn execute(&mut self, sql: &'static str, args: Vec<Value>) -> Result<u64, StoreError> {
        self.wrote = true;
        let done = self.connection.execute(sql.into_sql_str(), args).await;
        self.broken |= done.is_err();
        done
    }

    /// Inserts many rows of `columns` values each: `head` is the text before `VALUES`, `tail`
    /// what follows the rows (`ON CONFLICT …`, or nothing).
    ///
    /// # Errors
    /// [`StoreError`]; the command is taken back.
    pub async fn insert_many(
        &mut self,
        head: &'static str,
        tail: &'static str,
        columns: usize,
        rows: Vec<Vec<Value>>,
    ) -> Result<(), StoreError> {
        self.wrote = true;
        let done = insert_all(self.connection, head, tail, columns, rows).await;
        self.broken |= done.is_err();
        done
    }

    /// All rows of a query, or of a write with `RETURNING`.
    ///
    /// # Errors
    /// [`StoreError`]; the command is taken back.
    pub async fn all<T: FromAnyRow>(
        &mut self,
        sql: &'static str,
        args: Vec<Value>,
    ) -> Result<Vec<T>, StoreError> {
        self.wrote |= !sql.trim_start().get(..6).is_some_and(|verb| verb.eq_ignore_ascii_case("select"));
        let rows = self.connection.all(sql.into_sql_str(), args).await;
        self.broken |= rows.is_err();
        rows
    }

    /// The first row, if any.
    ///
    /// # Errors
    /// [`StoreError`]; the command is taken back.
    pub async fn opt<T: FromAnyRow>(
        &mut self,
        sql: &'static str,
        args: Vec<Value>,
    ) -> Result<Option<T>, StoreError> {
        Ok(self.all(sql, args).await?.into_iter().next())
    }

    /// Tells the other rooms: the event is committed with the command and delivered after.
    pub fn event(&mut self, kind: &str, area: &AreaPath, data: &serde_json::Value) -> Id {
        let id = new_id();
        self.events.push(args![id, kind, area, self.now, data]);
        id
    }

    /// Names what the command acts on, for the audit entry.
    pub fn subject(&mut self, resource: &str, id: impl ToString, area: Option<&AreaPath>) {
        self.subject = (Some(resource.to_owned()), Some(id.to_string()), area.map(ToString::to_string));
    }

    /// Facts that the audit entry keeps.
    pub fn detail(&mut self, detail: serde_json::Value) {
        self.detail = detail;
    }

    /// Writes no audit entry: for bookkeeping that changes nothing a person would ask about
    /// (a cursor, a watermark). A command that also tells an event is audited all the same.
    pub fn bookkeeping(&mut self) {
        self.quiet = true;
    }

    /// The next number people can say on the phone: `2026-1124-0007`, counted by `what` and day.
    ///
    /// # Errors
    /// [`StoreError`]; the command is taken back.
    pub async fn next_number(&mut self, what: &str) -> Result<String, StoreError> {
        let day =
            self.now.timestamp().to_zoned_datetime(self.time_zone.clone()).strftime("%Y-%m%d").to_string();
        let row: Option<(i64,)> =
            self.all(NEXT_NUMBER, args![format!("{what}/{day}")]).await?.into_iter().next();
        let (value,) = row.ok_or_else(|| StoreError::Statement("the counter gave no number".into()))?;
        Ok(format!("{day}-{value:04}"))
    }
}

impl Store {
    /// Runs `command` in a transaction and returns its answer **after the commit is on disk**.
    ///
    /// `action` is `resource:verb`, as permissions are, and names the audit entry. `args` is
    /// handed to the command by reference, since it may run twice. With an idempotency key in
    /// the context, an answer that was committed under the same key within 24 hours is returned
    /// again and the command does not run.
    ///
    /// # Errors
    /// The command's own error, or a [`StoreError`]; in either case nothing of it was written.
    /// ([`StoreError::Unavailable`] from a connection lost during the commit itself is the one
    /// case that may have been written; an idempotency key tells.)
    pub async fn command<A, T, E, F>(
        &self,
        context: &Context,
        action: &str,
        args: A,
        command: F,
    ) -> Result<T, E>
    where
        A: Send + Sync + 'static,
        T: Serialize + DeserializeOwned + Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: for<'t> Fn(&'t mut Tx<'_>, &'t A) -> BoxFuture<'t, Result<T, E>> + Send + Sync + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job = Pending {
            context: context.clone(),
            action: action.to_owned(),
            time_zone: self.inner.time_zone.clone(),
            args,
            command,
            outcome: None,
            answer: Some(answer),
        };
        self.inner.writer.send(Box::new(job)).await?;
        answered.await.unwrap_or_else(|_| Err(StoreError::Stopping.into()))
    }
}

/// What a command leaves for the end of its set.
#[derive(Default)]
pub(crate) struct Leaves {
    pub(crate) events: Vec<Vec<Value>>,
    pub(crate) audit: Vec<Vec<Value>>,
}

/// How a command went inside the transaction.
pub(crate) enum Ran {
    /// Its rows are written; these go with it.
    Well(Leaves),
    /// It failed and had written nothing.
    Dropped,
    /// It failed and the transaction must be taken back.
    Spoilt,
}

pub(crate) trait Job: Send {
    fn run<'t>(&'t mut self, connection: &'t mut Connection, now: Micros) -> BoxFuture<'t, Ran>;
    /// Answers the caller: with what it ran to, or with the error that befell the set.
    fn answer(self: Box<Self>, end: SetEnd);
}

/// How the transaction of a set ended.
#[derive(Clone)]
pub(crate) enum SetEnd {
    Committed,
    /// Rolled back because this command failed.
    TakenBack,
    /// Not committed, for a reason that is none of its commands': nobody is told what came of
    /// what they read in it.
    Failed(StoreError),
}

struct Pending<A, T, E, F> {
    context: Context,
    action: String,
    time_zone: jiff::tz::TimeZone,
    args: A,
    command: F,
    outcome: Option<Result<T, E>>,
    answer: Option<oneshot::Sender<Result<T, E>>>,
}

/// The answer committed before under the same key, if any.
async fn earlier_outcome(
    connection: &mut Connection,
    context: &Context,
    action: &str,
    now: Micros,
) -> Result<Option<String>, StoreError> {
    let Some(key) = &context.idempotency_key else { return Ok(None) };
    let since = now.plus(-KEEP_OUTCOMES);
    let rows: Vec<(String, String)> =
        connection.all(OUTCOME.into_sql_str(), args![context.actor.key(), key, since]).await?;
    match rows.into_iter().next() {
        None => Ok(None),
        Some((earlier, outcome)) if earlier == action => Ok(Some(outcome)),
        Some((earlier, _)) => {
            Err(StoreError::KeyReused { key: key.clone(), action: action.to_owned(), earlier })
        }
    }
}

async fn keep_outcome(
    connection: &mut Connection,
    context: &Context,
    action: &str,
    now: Micros,
    outcome: Result<String, serde_json::Error>,
) -> Result<(), StoreError> {
    let Some(key) = &context.idempotency_key else { return Ok(()) };
    connection
        .execute(KEEP_OUTCOME.into_sql_str(), args![context.actor.key(), key, action, outcome?, now])
        .await?;
    Ok(())
}

impl<A, T, E, F> Job for Pending<A, T, E, F>
where
    A: Send + Sync + 'static,
    T: Serialize + DeserializeOwned + Send + 'static,
    E: From<StoreError> + Send + 'static,
    F: for<'t> Fn(&'t mut Tx<'_>, &'t A) -> BoxFuture<'t, Result<T, E>> + Send + Sync + 'static,
{
    fn run<'t>(&'t mut self, connection: &'t mut Connection, now: Micros) -> BoxFuture<'t, Ran> {
        Box::pin(async move {
            match earlier_outcome(connection, &self.context, &self.action, now).await {
                Ok(None) => {}
                Ok(Some(outcome)) => {
                    let read = serde_json::from_str(&outcome);
                    self.outcome = Some(read.map_err(|e| StoreError::from(e).into()));
                    return Ran::Well(Leaves::default());
                }
                Err(e @ StoreError::KeyReused { .. }) => {
                    self.outcome = Some(Err(e.into()));
                    return Ran::Dropped;
                }
                Err(e) => {
                    self.outcome = Some(Err(e.into()));
                    return Ran::Spoilt;
                }
            }
            let mut tx = Tx {
                connection,
                context: &self.context,
                now,
                time_zone: &self.time_zone,
                events: Vec::new(),
                subject: (None, None, None),
                detail: serde_json::Value::Null,
                quiet: false,
                wrote: false,
                broken: false,
            };
            // A panic in one command is that command's fault and must not end all writing.
            let running = AssertUnwindSafe((self.command)(&mut tx, &self.args)).catch_unwind();
            let outcome = tokio::time::timeout(BOUND, running).await;
            let Tx { connection, events, subject, detail, quiet, wrote, broken, .. } = tx;
            let outcome = match outcome {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => {
                    tracing::error!(action = self.action, "a command panicked and was taken back");
                    let defect = StoreError::Statement(format!("the command {} panicked", self.action));
                    self.outcome = Some(Err(defect.into()));
                    return Ran::Spoilt;
                }
                Err(_) => {
                    self.outcome = Some(Err(StoreError::TooSlow(BOUND.as_secs()).into()));
                    return Ran::Spoilt;
                }
            };
            let value = match outcome {
                Ok(value) => value,
                Err(e) => {
                    self.outcome = Some(Err(e));
                    return if wrote || broken { Ran::Spoilt } else { Ran::Dropped };
                }
            };
            let kept = match &self.context.idempotency_key {
                Some(_) => serde_json::to_string(&value),
                None => Ok(String::new()),
            };
            if let Err(e) = keep_outcome(connection, &self.context, &self.action, now, kept).await {
                self.outcome = Some(Err(e.into()));
                return Ran::Spoilt;
            }
            self.outcome = Some(Ok(value));
            let mut audit = Vec::new();
            if !(quiet && events.is_empty()) {
                let actor = &self.context.actor;
                let (resource, id, area) = subject;
                audit.push(args![
                    now,
                    actor.key(),
                    actor.name(),
                    &self.action,
                    resource,
                    id,
                    area,
                    self.context.request_id,
                    detail.to_string()
                ]);
            }
            Ran::Well(Leaves { events, audit })
        })
    }

    fn answer(self: Box<Self>, end: SetEnd) {
        let Self { outcome, answer, .. } = *self;
        let result = match (outcome, end) {
            (_, SetEnd::Failed(e)) => Err(e.into()),
            (Some(Err(e)), _) => Err(e),
            (Some(Ok(value)), SetEnd::Committed) => Ok(value),
            (Some(Ok(_)), SetEnd::TakenBack) => {
                Err(StoreError::Statement("the command was taken back".into()).into())
            }
            (None, _) => Err(StoreError::Stopping.into()),
        };
        if let Some(answer) = answer {
            // A caller that went away has its answer in the database.
            drop(answer.send(result));
        }
    }
}
