//! The writer: one task that owns the one connection that writes.
//!
//! Commands that arrive while it commits wait in a bounded queue and are then run together in one
//! transaction: their outbox events and audit entries (as the next of their chain) are written set-wise at its end, and each
//! caller is answered after the commit. A command that fails before it wrote anything drops out
//! alone; one that fails later takes the set back, and the set is then run one by one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::Micros;
use sqlx::{AssertSqlSafe, Connection as _, SqlSafeStr};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::command::{BOUND, Job, KEEP_OUTCOMES, Leaves, Ran, SetEnd};
use crate::database::{postgres_options, sqlite_options};
use crate::sql::{Connection, Value, insert_runs};
use crate::{Backend, StoreError, args, audit, now};

/// How many commands may wait for the writer.
const QUEUE: usize = 1024;
/// How many commands share one transaction at most.
const SET: usize = 256;

crate::statements! {
    FORGET_OUTCOMES = "DELETE FROM idempotency WHERE at <= $1";
    PLACE = "UPDATE outbox SET position = seq WHERE position IS NULL";
    MOVE_HEAD = "UPDATE outbox_head SET position = (SELECT MAX(position) FROM outbox)";
    HEAD = "SELECT position FROM outbox_head";
}

const INSERT_EVENTS: &str = "INSERT INTO outbox (id, kind, area, at, data)";

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

    /// Hands a command over; waits while the queue is full.
    pub(crate) async fn send(&self, job: Box<dyn Job>) -> Result<(), StoreError> {
        self.queue.send(job).await.map_err(|_| StoreError::Stopping)
    }

    pub(crate) async fn finished(&self) {
        let mut finished = self.finished.clone();
        drop(finished.wait_for(|f| *f).await);
    }
}

async fn write(
    connection: Connection,
    backend: Backend,
    mut jobs: mpsc::Receiver<Box<dyn Job>>,
    told: Told,
    stop: CancellationToken,
) {
    let mut forgot_at = Micros(0);
    // None after a transaction whose end is in doubt: going on on its connection could commit what
    // its callers were told is not there.
    let mut connection = Some(connection);
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
        let mut live = match connection.take() {
            Some(live) => live,
            None => match reconnect(&backend).await {
                Ok(fresh) => fresh,
                Err(e) => {
                    tracing::warn!(error = %e, "the writer has no database; trying again with the next command");
                    answer_all(set, &SetEnd::Failed(StoreError::Unavailable(e.to_string())));
                    continue;
                }
            },
        };
        let started = Instant::now();
        metrics::histogram!("zhongshu_command_set_size").record(set.len() as f64);
        let commands = set.len() as u64;
        let lost = commit_set(&mut live, set, &backend, &told).await;
        metrics::histogram!("zhongshu_command_seconds").record(started.elapsed().as_secs_f64());
        metrics::counter!("zhongshu_commands_total").increment(commands);
        if lost {
            continue;
        }
        let now = now();
        if now.since(forgot_at) > Micros::HOUR {
            forgot_at = now;
            if let Err(e) =
                live.execute(FORGET_OUTCOMES.into_sql_str(), args![now.plus(-KEEP_OUTCOMES)]).await
            {
                tracing::warn!(error = %e, "old idempotency keys stay another hour");
            }
        }
        connection = Some(live);
    }
    match connection {
        Some(Connection::Sqlite(c)) => drop(c.close().await),
        Some(Connection::Postgres(c)) => drop(c.close().await),
        None => {}
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
            audit::append(connection, leaves.audit).await?;
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

pub(crate) async fn insert_all(
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
