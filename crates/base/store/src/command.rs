//! The writer: the only way to change state.
//!
//! One task owns the one connection that writes. Commands that arrive while it commits wait in a
//! bounded queue and are then run together in one transaction: their outbox events and audit
//! entries are written set-wise at its end, and each caller is answered after the commit. A
//! command that fails before it wrote anything drops out alone; one that fails later takes the
//! set back, and the set is then run one by one. A command may therefore run twice: it must do
//! nothing but read its arguments and use its [`Tx`].

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use model::{AreaPath, Context, Id, Micros};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::{AssertSqlSafe, Connection as _, SqlSafeStr};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::database::{postgres_options, sqlite_options};
use crate::sql::{Connection, FromAnyRow, Value, insert_runs};
use crate::{Backend, Store, StoreError, args, new_id, now};

/// How many commands may wait for the writer.
const QUEUE: usize = 1024;
/// How many commands share one transaction at most.
const SET: usize = 256;
/// How long one command may run.
const BOUND: Duration = Duration::from_secs(30);
/// How long outcomes of idempotent requests are kept.
const KEEP_OUTCOMES: i64 = 24 * Micros::HOUR;

crate::statements! {
    OUTCOME = "SELECT action, outcome FROM idempotency WHERE actor = $1 AND key = $2 AND at > $3";
    KEEP_OUTCOME = "INSERT INTO idempotency (actor, key, action, outcome, at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (actor, key) DO UPDATE SET action = excluded.action, outcome = excluded.outcome, at = excluded.at";
    FORGET_OUTCOMES = "DELETE FROM idempotency WHERE at <= $1";
    NEXT_NUMBER = "INSERT INTO counters (name, value) VALUES ($1, 1)
        ON CONFLICT (name) DO UPDATE SET value = counters.value + 1 RETURNING value";
    PLACE = "UPDATE outbox SET position = seq WHERE position IS NULL";
    MOVE_HEAD = "UPDATE outbox_head SET position = (SELECT MAX(position) FROM outbox)";
    HEAD = "SELECT position FROM outbox_head";
}

const INSERT_EVENTS: &str = "INSERT INTO outbox (id, kind, area, at, data)";
const INSERT_AUDIT: &str =
    "INSERT INTO audit (at, actor, actor_name, action, resource, resource_id, area, request, detail)";

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
        self.inner.writer.queue.send(Box::new(job)).await.map_err(|_| StoreError::Stopping)?;
        answered.await.unwrap_or_else(|_| Err(StoreError::Stopping.into()))
    }
}

/// What a command leaves for the end of its set.
#[derive(Default)]
struct Leaves {
    events: Vec<Vec<Value>>,
    audit: Vec<Vec<Value>>,
}

/// How a command went inside the transaction.
enum Ran {
    /// Its rows are written; these go with it.
    Well(Leaves),
    /// It failed and had written nothing.
    Dropped,
    /// It failed and the transaction must be taken back.
    Spoilt,
}

trait Job: Send {
    fn run<'t>(&'t mut self, connection: &'t mut Connection, now: Micros) -> BoxFuture<'t, Ran>;
    /// Answers the caller: with what it ran to, or with the error that befell the set.
    fn answer(self: Box<Self>, end: SetEnd);
}

/// How the transaction of a set ended.
#[derive(Clone)]
enum SetEnd {
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

/// Whom a commit with events wakes.
struct Told {
    /// Readers, when the position is known (SQLite).
    head: watch::Sender<i64>,
    /// The sequencer, when it is not (PostgreSQL).
    unplaced: Arc<Notify>,
}

/// The handle of the writing task.
pub(crate) struct Writer {
    queue: mpsc::Sender<Box<dyn Job>>,
    finished: watch::Receiver<bool>,
}

impl Writer {
    pub(crate) fn start(
        connection: Connection,
        backend: Backend,
        head: watch::Sender<i64>,
        unplaced: Arc<Notify>,
        stop: CancellationToken,
    ) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let (done, finished) = watch::channel(false);
        tokio::spawn(async move {
            let told = Told { head, unplaced };
            write(connection, backend, jobs, told, stop.clone()).await;
            // A store that no longer writes is no store: whoever waits for it must know.
            stop.cancel();
            // Nobody may be waiting.
            let _ = done.send(true);
        });
        Self { queue, finished }
    }

    pub(crate) async fn finished(&self) {
        let mut finished = self.finished.clone();
        drop(finished.wait_for(|f| *f).await);
    }
}

async fn write(
    mut connection: Connection,
    backend: Backend,
    mut jobs: mpsc::Receiver<Box<dyn Job>>,
    told: Told,
    stop: CancellationToken,
) {
    let mut forgot_at = Micros(0);
    loop {
        let first = tokio::select! {
            biased;
            job = jobs.recv() => job,
            () = stop.cancelled() => {
                // What was taken into the queue is still run; nothing more comes in.
                jobs.close();
                jobs.recv().await
            }
        };
        let Some(first) = first else { break };
        let mut set = vec![first];
        while set.len() < SET
            && let Ok(job) = jobs.try_recv()
        {
            set.push(job);
        }
        let started = Instant::now();
        metrics::histogram!("zhongshu_command_set_size").record(set.len() as f64);
        let commands = set.len() as u64;
        let lost = commit_set(&mut connection, set, &backend, &told).await;
        metrics::histogram!("zhongshu_command_seconds").record(started.elapsed().as_secs_f64());
        metrics::counter!("zhongshu_commands_total").increment(commands);
        if lost {
            match reconnect(&backend).await {
                Ok(fresh) => connection = fresh,
                Err(e) => {
                    tracing::warn!(error = %e, "the writer has no database; trying again with the next command")
                }
            }
        }
        let now = now();
        if now.since(forgot_at) > Micros::HOUR {
            forgot_at = now;
            if let Err(e) =
                connection.execute(FORGET_OUTCOMES.into_sql_str(), args![now.plus(-KEEP_OUTCOMES)]).await
            {
                tracing::warn!(error = %e, "old idempotency keys stay another hour");
            }
        }
    }
    match connection {
        Connection::Sqlite(c) => drop(c.close().await),
        Connection::Postgres(c) => drop(c.close().await),
    }
}

async fn reconnect(backend: &Backend) -> Result<Connection, StoreError> {
    let connect = async {
        Ok(match backend {
            Backend::Sqlite { path } => {
                Connection::Sqlite(sqlx::SqliteConnection::connect_with(&sqlite_options(path)).await?)
            }
            Backend::Postgres { url } => {
                Connection::Postgres(sqlx::PgConnection::connect_with(&postgres_options(url)?).await?)
            }
        })
    };
    tokio::time::timeout(Duration::from_secs(5), connect)
        .await
        .unwrap_or_else(|_| Err(StoreError::Unavailable("no answer within 5 s".into())))
}

/// Runs a set in one transaction, or one by one when the set is spoilt. Tells whether the
/// connection is lost.
async fn commit_set(
    connection: &mut Connection,
    mut set: Vec<Box<dyn Job>>,
    backend: &Backend,
    told: &Told,
) -> bool {
    match transaction(connection, &mut set, backend, told).await {
        Ok(Whole::Committed) => answer_all(set, &SetEnd::Committed),
        Ok(Whole::Spoilt) if set.len() == 1 => answer_all(set, &SetEnd::TakenBack),
        Ok(Whole::Spoilt) => {
            metrics::counter!("zhongshu_command_sets_split_total").increment(1);
            let mut lost = None;
            for job in set {
                let mut one = vec![job];
                let end = match &lost {
                    Some(e) => SetEnd::Failed(StoreError::clone(e)),
                    None => match transaction(connection, &mut one, backend, told).await {
                        Ok(Whole::Committed) => SetEnd::Committed,
                        Ok(Whole::Spoilt) => SetEnd::TakenBack,
                        Err(e) => SetEnd::Failed(lost.insert(e).clone()),
                    },
                };
                answer_all(one, &end);
            }
            return lost.is_some();
        }
        Err(e) => {
            tracing::error!(error = %e, commands = set.len(), "commands could not be committed");
            answer_all(set, &SetEnd::Failed(e));
            return true;
        }
    }
    false
}

fn answer_all(set: Vec<Box<dyn Job>>, end: &SetEnd) {
    for job in set {
        job.answer(end.clone());
    }
}

enum Whole {
    Committed,
    Spoilt,
}

/// One attempt. `Err` means the connection is in doubt and must be made anew.
async fn transaction(
    connection: &mut Connection,
    set: &mut [Box<dyn Job>],
    backend: &Backend,
    told: &Told,
) -> Result<Whole, StoreError> {
    let sqlite = matches!(backend, Backend::Sqlite { .. });
    bounded(connection.raw(if sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" })).await?;
    let now = now();
    let mut leaves = Leaves::default();
    let mut spoilt = false;
    for job in &mut *set {
        match job.run(connection, now).await {
            Ran::Well(more) => {
                leaves.events.extend(more.events);
                leaves.audit.extend(more.audit);
            }
            Ran::Dropped => {}
            Ran::Spoilt => {
                spoilt = true;
                break;
            }
        }
    }
    let has_events = !leaves.events.is_empty();
    let mut placed = None;
    if !spoilt {
        let end = async {
            insert_all(connection, INSERT_EVENTS, "", 5, leaves.events).await?;
            insert_all(connection, INSERT_AUDIT, "", 9, leaves.audit).await?;
            // SQLite has one writer, so that the order of insertion is the order of commit.
            if has_events && sqlite {
                connection.execute(PLACE.into_sql_str(), vec![]).await?;
                connection.execute(MOVE_HEAD.into_sql_str(), vec![]).await?;
                placed = connection.all::<(i64,)>(HEAD.into_sql_str(), vec![]).await?.pop();
            }
            Ok::<_, StoreError>(())
        };
        if let Err(e) = bounded(end).await {
            tracing::error!(error = %e, "the end of a set of commands failed");
            if e.is_transient() {
                return Err(e);
            }
            spoilt = true;
        }
    }
    if spoilt {
        bounded(connection.raw("ROLLBACK")).await?;
        return Ok(Whole::Spoilt);
    }
    if let Err(e) = bounded(connection.raw("COMMIT")).await {
        // In doubt: the connection is made anew, and with it what was not committed is gone.
        return Err(match e {
            e if e.is_transient() => e,
            e => StoreError::Unavailable(e.to_string()),
        });
    }
    if has_events {
        match placed {
            Some((position,)) => drop(told.head.send_replace(position)),
            None => told.unplaced.notify_one(),
        }
    }
    Ok(Whole::Committed)
}

/// A server that went silent must not hold the writer for ever.
async fn bounded<T>(step: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(BOUND, step)
        .await
        .unwrap_or_else(|_| Err(StoreError::Unavailable(format!("no answer within {} s", BOUND.as_secs()))))
}

async fn insert_all(
    connection: &mut Connection,
    head: &str,
    tail: &str,
    columns: usize,
    rows: Vec<Vec<Value>>,
) -> Result<(), StoreError> {
    for (sql, values) in insert_runs(head, tail, columns, rows) {
        connection.execute(AssertSqlSafe(sql).into_sql_str(), values).await?;
    }
    Ok(())
}
