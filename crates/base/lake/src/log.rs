//! The rows of segments: a SQLite file of their own, or tables of the city's PostgreSQL.

use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use model::Micros;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use store::database::{postgres_options, sqlite_options};
use tokio::sync::Mutex;

use crate::rows::Rows;
use crate::segment::{self, Damaged, Segment};
use crate::{LakeError, segment::checksum};

/// Where the segments are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LakeDatabase {
    /// A SQLite file; it and its folder are made if absent.
    Sqlite {
        /// The file.
        path: PathBuf,
    },
    /// The state's PostgreSQL, whose schema the store rolls forward.
    Postgres {
        /// `postgres://user@host/database`
        url: String,
    },
}

/// The one partition of a hub that runs alone.
const PARTITION: i64 = 0;

/// The schema of the SQLite file, version by version; `user_version` counts those applied. On
/// PostgreSQL the same is `base/store/migrations/postgres/0002_lake.sql` and `0008_segments.sql`.
const SQLITE_SCHEMA: &[&str] = &[
    "
    CREATE TABLE segments (
        seq         INTEGER PRIMARY KEY AUTOINCREMENT,
        partition   INTEGER NOT NULL,
        rows        INTEGER NOT NULL,
        min_time    INTEGER NOT NULL,
        max_time    INTEGER NOT NULL,
        received_at INTEGER NOT NULL,
        arrow_ipc   BLOB NOT NULL,
        checksum    INTEGER NOT NULL
    );
    CREATE INDEX segments_received ON segments (received_at);
    CREATE TABLE last_values (
        partition INTEGER PRIMARY KEY,
        seq       INTEGER NOT NULL,
        arrow_ipc BLOB NOT NULL,
        checksum  INTEGER NOT NULL
    );
    PRAGMA user_version = 1;
",
    "
    CREATE TABLE damaged_segments (
        seq         INTEGER PRIMARY KEY,
        received_at INTEGER NOT NULL,
        arrow_ipc   BLOB NOT NULL,
        checksum    INTEGER NOT NULL,
        reason      TEXT NOT NULL
    );
    PRAGMA user_version = 2;
",
];

const INSERT: &str =
    "INSERT INTO segments (partition, rows, min_time, max_time, received_at, arrow_ipc, checksum)
    VALUES ($1, $2, $3, $4, $5, $6, $7)";
const INSERT_RETURNING: &str =
    "INSERT INTO segments (partition, rows, min_time, max_time, received_at, arrow_ipc, checksum)
    VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING seq";
const AFTER: &str =
    "SELECT seq, received_at, arrow_ipc, checksum FROM segments WHERE seq > $1 ORDER BY seq LIMIT $2";
const FIRST_SINCE: &str = "SELECT MIN(seq) FROM segments WHERE received_at >= $1";
const LAST_SEQ: &str = "SELECT MAX(seq) FROM segments";
const PUT_DOWN: &str = "INSERT INTO last_values (partition, seq, arrow_ipc, checksum) VALUES ($1, $2, $3, $4)
    ON CONFLICT (partition) DO UPDATE
    SET seq = excluded.seq, arrow_ipc = excluded.arrow_ipc, checksum = excluded.checksum";
const LAST_VALUES: &str =
    "SELECT seq, CAST(0 AS BIGINT), arrow_ipc, checksum FROM last_values WHERE partition = $1";

const BYTES: &str = "SELECT CAST(COALESCE(SUM(LENGTH(arrow_ipc)), 0) AS BIGINT) FROM segments";
const KEEP_DAMAGED: &str = "INSERT INTO damaged_segments (seq, received_at, arrow_ipc, checksum, reason)
    SELECT seq, received_at, arrow_ipc, checksum, $2 FROM segments WHERE seq = $1
    ON CONFLICT (seq) DO NOTHING";
const DAMAGED: &str = "SELECT seq, reason FROM damaged_segments ORDER BY seq LIMIT $1";

/// SQLite: segments deleted at a time; a commit of observations waits no longer than that takes.
const DROP_STEP: &str = "DELETE FROM segments WHERE seq <= $1
    AND seq IN (SELECT seq FROM segments ORDER BY seq LIMIT 64)";
/// SQLite: pages given back to the disk at a time…
const SHRINK_STEP: &str = "PRAGMA incremental_vacuum(512)";
const SHRINK_PAGES: i64 = 512;
/// … down to this many, which the next segments take again.
const SPARE_PAGES: i64 = 2048;

/// PostgreSQL: the numbers of a partition; `0008_segments.sql` begins with them too.
const SPAN: i64 = 2048;
const PARTITIONS: &str = "SELECT c.relname::text, pg_get_expr(c.relpartbound, c.oid)
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'segments'::regclass";

/// A segment on its way in.
pub(crate) struct Row {
    rows: i64,
    min_time: i64,
    max_time: i64,
    received_at: i64,
    arrow_ipc: Vec<u8>,
    checksum: i64,
}

impl Row {
    pub(crate) fn new(rows: &Rows, received_at: Micros) -> Result<Self, LakeError> {
        let arrow_ipc = segment::encode(rows)?;
        let (min_time, max_time) = rows.span().unwrap_or((Micros(0), Micros(0)));
        Ok(Self {
            rows: rows.len() as i64,
            min_time: min_time.0,
            max_time: max_time.0,
            received_at: received_at.0,
            checksum: checksum(&arrow_ipc),
            arrow_ipc,
        })
    }
}

impl Row {
    /// The bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.arrow_ipc.len()
    }
}

/// A segment as it was read, before anybody trusts it.
pub(crate) struct Stored {
    pub(crate) seq: u64,
    received_at: i64,
    arrow_ipc: Vec<u8>,
    checksum: i64,
}

impl Stored {
    fn new((seq, received_at, arrow_ipc, checksum): (i64, i64, Vec<u8>, i64)) -> Self {
        Self { seq: seq.unsigned_abs(), received_at, arrow_ipc, checksum }
    }

    pub(crate) fn decode(self) -> Result<Segment, Damaged> {
        let damaged = |reason| Damaged { seq: self.seq, reason };
        let found = checksum(&self.arrow_ipc);
        if found != self.checksum {
            return Err(damaged(format!(
                "its checksum is {found:08x}, it was written with {:08x}",
                self.checksum
            )));
        }
        let rows = segment::decode(&self.arrow_ipc).map_err(damaged)?;
        Ok(Segment { seq: self.seq, received_at: Micros(self.received_at), rows })
    }
}

/// The rows of segments: one connection that writes, a few that read.
pub(crate) enum Log {
    Sqlite {
        writer: Mutex<Option<SqliteConnection>>,
        options: SqliteConnectOptions,
        readers: SqlitePool,
        spare: std::sync::Mutex<Spare>,
    },
    Postgres {
        writer: Mutex<Option<PgConnection>>,
        options: PgConnectOptions,
        readers: PgPool,
        /// Numbers below have their partition.
        ready_to: AtomicI64,
    },
}

/// The pages of the file that nothing is in. Giving them back moves the newest segments into them,
/// so that a log which takes its room again every minute would be moved for nothing: only what
/// stayed spare for long goes.
pub(crate) struct Spare {
    /// The fewest since then.
    least: i64,
    since: Instant,
}

impl Spare {
    fn new() -> Self {
        Self { least: i64::MAX, since: Instant::now() }
    }

    fn seen(&mut self, pages: i64) {
        self.least = self.least.min(pages);
    }

    /// The pages that were not needed for so long; then it begins anew.
    fn surplus(&mut self, long: Duration) -> i64 {
        if self.since.elapsed() < long {
            return 0;
        }
        let least = std::mem::replace(self, Self::new()).least;
        if least == i64::MAX { 0 } else { least }
    }
}

/// Runs a query that reads on either pool.
macro_rules! read {
    ($log:expr, $sql:expr, $($bind:expr),*; $fetch:ident) => {
        match $log {
            Log::Sqlite { readers, .. } => sqlx::query_as($sql)$(.bind($bind))*.$fetch(readers).await,
            Log::Postgres { readers, .. } => sqlx::query_as($sql)$(.bind($bind))*.$fetch(readers).await,
        }
    };
}

/// The connection in `slot`, opened again if an error closed it.
macro_rules! connected {
    ($slot:expr, $connection:ty, $options:expr) => {
        match $slot.take() {
            Some(connection) => connection,
            None => <$connection>::connect_with($options).await?,
        }
    };
}

impl Log {
    pub(crate) async fn open(database: &LakeDatabase) -> Result<Self, LakeError> {
        match database {
            LakeDatabase::Sqlite { path } => {
                let cannot = |e: &dyn std::fmt::Display| LakeError::Setup(format!("{}: {e}", path.display()));
                if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
                    std::fs::create_dir_all(folder).map_err(|e| cannot(&e))?;
                }
                let options = sqlite_options(path);
                let mut writer = SqliteConnection::connect_with(&options).await.map_err(|e| cannot(&e))?;
                roll_forward(&mut writer).await.map_err(|e| cannot(&e))?;
                let readers = SqlitePoolOptions::new()
                    .max_connections(2)
                    .acquire_timeout(Duration::from_secs(10))
                    .connect_with(options.clone().pragma("query_only", "on"))
                    .await
                    .map_err(|e| cannot(&e))?;
                let spare = std::sync::Mutex::new(Spare::new());
                Ok(Self::Sqlite { writer: Mutex::new(Some(writer)), options, readers, spare })
            }
            LakeDatabase::Postgres { url } => {
                let cannot = |e: &dyn std::fmt::Display| LakeError::Setup(e.to_string());
                let options = postgres_options(url).map_err(|e| cannot(&e))?;
                let writer = PgConnection::connect_with(&options).await.map_err(|e| cannot(&e))?;
                let readers = PgPoolOptions::new()
                    .max_connections(2)
                    .acquire_timeout(Duration::from_secs(10))
                    .connect_with(options.clone().options([("default_transaction_read_only", "on")]))
                    .await
                    .map_err(|e| cannot(&e))?;
                let ready_to = AtomicI64::new(0);
                let log = Self::Postgres { writer: Mutex::new(Some(writer)), options, readers, ready_to };
                log.make_partitions().await.map_err(|e| cannot(&e))?;
                Ok(log)
            }
        }
    }

    /// Writes a segment; its number, after the commit.
    pub(crate) async fn insert(&self, row: Row) -> Result<u64, LakeError> {
        macro_rules! bound {
            ($sql:expr, $query:ident) => {
                sqlx::$query($sql)
                    .bind(PARTITION)
                    .bind(row.rows)
                    .bind(row.min_time)
                    .bind(row.max_time)
                    .bind(row.received_at)
                    .bind(row.arrow_ipc)
                    .bind(row.checksum)
            };
        }
        // The connection goes back only after success: what an error left it in, nobody knows.
        match self {
            Self::Sqlite { writer, options, readers, .. } => {
                let mut slot = writer.lock().await;
                if readers.is_closed() {
                    return Err(LakeError::Unavailable("they are closed".into()));
                }
                let mut connection = connected!(slot, SqliteConnection, options);
                let done = bound!(INSERT, query).execute(&mut connection).await?;
                *slot = Some(connection);
                Ok(done.last_insert_rowid().unsigned_abs())
            }
            Self::Postgres { writer, options, readers, ready_to } => {
                let mut slot = writer.lock().await;
                if readers.is_closed() {
                    return Err(LakeError::Unavailable("they are closed".into()));
                }
                let mut connection = connected!(slot, PgConnection, options);
                // To the end, and not only to the first row: the row comes before the commit.
                let rows: Vec<(i64,)> = bound!(INSERT_RETURNING, query_as).fetch_all(&mut connection).await?;
                let seq =
                    rows.first().ok_or_else(|| LakeError::Unavailable("the insert gave no number".into()))?.0;
                if seq + SPAN >= ready_to.load(Ordering::Relaxed) {
                    // The segment is committed: a partition that is not made now is made next time.
                    match partitions_ahead(&mut connection, seq).await {
                        Ok(to) => ready_to.store(to, Ordering::Relaxed),
                        Err(e) => {
                            tracing::warn!(error = %e, "could not make a partition of segments ahead");
                            return Ok(seq.unsigned_abs());
                        }
                    }
                }
                *slot = Some(connection);
                Ok(seq.unsigned_abs())
            }
        }
    }

    pub(crate) async fn put_down(&self, seq: u64, row: Row) -> Result<(), LakeError> {
        macro_rules! bound {
            () => {
                sqlx::query(PUT_DOWN).bind(PARTITION).bind(seq as i64).bind(row.arrow_ipc).bind(row.checksum)
            };
        }
        match self {
            Self::Sqlite { writer, options, .. } => {
                let mut slot = writer.lock().await;
                let mut connection = connected!(slot, SqliteConnection, options);
                bound!().execute(&mut connection).await?;
                *slot = Some(connection);
            }
            Self::Postgres { writer, options, .. } => {
                let mut slot = writer.lock().await;
                let mut connection = connected!(slot, PgConnection, options);
                bound!().execute(&mut connection).await?;
                *slot = Some(connection);
            }
        }
        Ok(())
    }

    /// The segments after `seq`, in order.
    pub(crate) async fn after(&self, seq: u64, limit: i64) -> Result<Vec<Stored>, LakeError> {
        let rows: Vec<_> = read!(self, AFTER, seq as i64, limit; fetch_all)?;
        Ok(rows.into_iter().map(Stored::new).collect())
    }

    pub(crate) async fn first_since(&self, instant: Micros) -> Result<Option<u64>, LakeError> {
        let (seq,): (Option<i64>,) = read!(self, FIRST_SINCE, instant.0; fetch_one)?;
        Ok(seq.map(i64::unsigned_abs))
    }

    /// The number of the last segment; 0 before the first.
    pub(crate) async fn last_seq(&self) -> Result<u64, LakeError> {
        let (seq,): (Option<i64>,) = read!(self, LAST_SEQ, ; fetch_one)?;
        Ok(seq.unwrap_or_default().unsigned_abs())
    }

    /// The last values put down and the segment they are as of.
    pub(crate) async fn put_down_last(&self) -> Result<Option<(u64, Stored)>, LakeError> {
        let row: Option<_> = read!(self, LAST_VALUES, PARTITION; fetch_optional)?;
        Ok(row.map(Stored::new).map(|stored| (stored.seq, stored)))
    }

    /// The bytes of all segments.
    pub(crate) async fn bytes(&self) -> Result<u64, LakeError> {
        let (bytes,): (i64,) = read!(self, BYTES, ; fetch_one)?;
        Ok(bytes.unsigned_abs())
    }

    /// The damaged segments kept aside, at most `limit`.
    pub(crate) async fn damaged(&self, limit: i64) -> Result<Vec<Damaged>, LakeError> {
        let rows: Vec<(i64, String)> = read!(self, DAMAGED, limit; fetch_all)?;
        Ok(rows.into_iter().map(|(seq, reason)| Damaged { seq: seq.unsigned_abs(), reason }).collect())
    }

    /// Puts a damaged segment aside as it is, so that dropping its number does not lose it.
    pub(crate) async fn keep_damaged(&self, damaged: &Damaged) -> Result<(), LakeError> {
        match self {
            Self::Sqlite { writer, options, .. } => {
                let mut slot = writer.lock().await;
                let mut connection = connected!(slot, SqliteConnection, options);
                let query = sqlx::query(KEEP_DAMAGED).bind(damaged.seq as i64).bind(&damaged.reason);
                query.execute(&mut connection).await?;
                *slot = Some(connection);
            }
            Self::Postgres { writer, options, .. } => {
                let mut slot = writer.lock().await;
                let mut connection = connected!(slot, PgConnection, options);
                let query = sqlx::query(KEEP_DAMAGED).bind(damaged.seq as i64).bind(&damaged.reason);
                query.execute(&mut connection).await?;
                *slot = Some(connection);
            }
        }
        Ok(())
    }

    /// Drops the segments up to `to` (on PostgreSQL those of partitions that end by then) and
    /// gives the room back that was not needed for `long`. In steps: a commit of observations waits
    /// for one at most.
    pub(crate) async fn drop_to(&self, to: u64, long: Duration) -> Result<(), LakeError> {
        let to = i64::try_from(to).unwrap_or(i64::MAX);
        match self {
            Self::Sqlite { writer, options, spare, .. } => {
                let see = |pages| spare.lock().unwrap_or_else(PoisonError::into_inner).seen(pages);
                // Before anything goes: how much of the room was taken again.
                let mut first = true;
                let mut surplus = None;
                let mut shrunk = false;
                loop {
                    let mut slot = writer.lock().await;
                    let mut connection = connected!(slot, SqliteConnection, options);
                    if std::mem::take(&mut first) {
                        see(free_pages(&mut connection).await?);
                    }
                    let deleted =
                        sqlx::query(DROP_STEP).bind(to).execute(&mut connection).await?.rows_affected();
                    if deleted == 0 {
                        let pages = free_pages(&mut connection).await?;
                        see(pages);
                        let left = match surplus {
                            None => spare.lock().unwrap_or_else(PoisonError::into_inner).surplus(long),
                            Some(left) => pages.min(left),
                        };
                        if left <= SPARE_PAGES {
                            if shrunk {
                                // The file gets shorter when its write-ahead log is carried over.
                                sqlx::raw_sql("PRAGMA wal_checkpoint(PASSIVE)")
                                    .execute(&mut connection)
                                    .await?;
                            }
                            *slot = Some(connection);
                            return Ok(());
                        }
                        sqlx::raw_sql(SHRINK_STEP).execute(&mut connection).await?;
                        surplus = Some(left - SHRINK_PAGES);
                        shrunk = true;
                    }
                    *slot = Some(connection);
                }
            }
            Self::Postgres { writer, options, .. } => {
                let mut slot = writer.lock().await;
                let mut connection = connected!(slot, PgConnection, options);
                let partitions: Vec<(String, String)> =
                    sqlx::query_as(PARTITIONS).fetch_all(&mut connection).await?;
                let over =
                    partitions.iter().filter(|(_, bound)| end_of(bound).is_some_and(|end| end <= to + 1));
                for (name, _) in over {
                    // A reader who holds the table must not make commits wait behind us for long.
                    let sql = format!("SET lock_timeout = '1s'; DROP TABLE {name}; RESET lock_timeout");
                    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
                }
                *slot = Some(connection);
                Ok(())
            }
        }
    }

    /// The next segment's number will be above `seq`: a table that has taken in more than the log
    /// ever wrote (a log that was lost) would take new ones for old.
    pub(crate) async fn start_after(&self, seq: u64) -> Result<(), LakeError> {
        let seq = i64::try_from(seq).unwrap_or(i64::MAX);
        match self {
            Self::Sqlite { writer, options, .. } => {
                let mut slot = writer.lock().await;
                let mut connection = connected!(slot, SqliteConnection, options);
                for sql in [
                    "INSERT INTO sqlite_sequence (name, seq) SELECT 'segments', 0
                     WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'segments')",
                    "UPDATE sqlite_sequence SET seq = MAX(seq, $1) WHERE name = 'segments'",
                ] {
                    let query = sqlx::query(sql);
                    let query = if sql.contains("$1") { query.bind(seq) } else { query };
                    query.execute(&mut connection).await?;
                }
                *slot = Some(connection);
            }
            Self::Postgres { writer, options, .. } => {
                let mut slot = writer.lock().await;
                let mut connection = connected!(slot, PgConnection, options);
                sqlx::query(
                    "SELECT setval('segments_number', $1) FROM segments_number WHERE last_value < $1",
                )
                .bind(seq)
                .execute(&mut connection)
                .await?;
                *slot = Some(connection);
                drop(slot);
                self.make_partitions().await?;
            }
        }
        Ok(())
    }

    async fn make_partitions(&self) -> Result<(), LakeError> {
        if let Self::Postgres { writer, options, ready_to, .. } = self {
            let mut slot = writer.lock().await;
            let mut connection = connected!(slot, PgConnection, options);
            let query = sqlx::query_as("SELECT last_value FROM segments_number");
            let (last,): (i64,) = query.fetch_one(&mut connection).await?;
            ready_to.store(partitions_ahead(&mut connection, last).await?, Ordering::Relaxed);
            *slot = Some(connection);
        }
        Ok(())
    }

    pub(crate) async fn close(&self) {
        // A failure to say goodbye loses nothing: every segment is committed.
        match self {
            Self::Sqlite { writer, readers, .. } => {
                let mut writer = writer.lock().await;
                readers.close().await;
                if let Some(connection) = writer.take() {
                    drop(connection.close().await);
                }
            }
            Self::Postgres { writer, readers, .. } => {
                let mut writer = writer.lock().await;
                readers.close().await;
                if let Some(connection) = writer.take() {
                    drop(connection.close().await);
                }
            }
        }
    }
}

/// Makes the partitions of the numbers after `seq`, two of them ahead; up to which number.
///
/// A table is made apart and then attached, which does not wait for those who read.
async fn partitions_ahead(connection: &mut PgConnection, seq: i64) -> Result<i64, sqlx::Error> {
    let there: Vec<(String, String)> = sqlx::query_as(PARTITIONS).fetch_all(&mut *connection).await?;
    let ready = there.iter().filter_map(|(_, bound)| end_of(bound)).max();
    let last = (seq / SPAN + 3) * SPAN;
    let mut from = ready.unwrap_or(0).max(seq / SPAN * SPAN);
    while from < last {
        let to = from + SPAN;
        let sql = format!(
            "CREATE TABLE segments_{from} (LIKE segments INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING INDEXES);
             ALTER TABLE segments ATTACH PARTITION segments_{from} FOR VALUES FROM ({from}) TO ({to})"
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await?;
        from = to;
    }
    Ok(from)
}

/// The number that a partition ends before: `FOR VALUES FROM ('0') TO ('2048')`.
fn end_of(bound: &str) -> Option<i64> {
    bound.rsplit_once("TO (")?.1.trim_matches(|c| c == ')' || c == '\'').parse().ok()
}

async fn roll_forward(connection: &mut SqliteConnection) -> Result<(), String> {
    let (version,): (i64,) =
        sqlx::query_as("PRAGMA user_version").fetch_one(&mut *connection).await.map_err(|e| e.to_string())?;
    let version = usize::try_from(version).unwrap_or(usize::MAX);
    if version > SQLITE_SCHEMA.len() {
        return Err(format!(
            "its schema is version {version}, from a newer hub; this one knows {}",
            SQLITE_SCHEMA.len()
        ));
    }
    for step in &SQLITE_SCHEMA[version..] {
        for sql in ["BEGIN IMMEDIATE", step, "COMMIT"] {
            sqlx::raw_sql(sql).execute(&mut *connection).await.map_err(|e| e.to_string())?;
        }
    }
    // What was dropped can be given back to the disk only by a file that was made for it.
    let (vacuum,): (i64,) =
        sqlx::query_as("PRAGMA auto_vacuum").fetch_one(&mut *connection).await.map_err(|e| e.to_string())?;
    if vacuum != 2 {
        for sql in ["PRAGMA auto_vacuum = INCREMENTAL", "VACUUM"] {
            sqlx::raw_sql(sql).execute(&mut *connection).await.map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}

/// SQLite's pages that nothing is in.
async fn free_pages(connection: &mut SqliteConnection) -> Result<i64, LakeError> {
    let (pages,) = sqlx::query_as("PRAGMA freelist_count").fetch_one(connection).await?;
    Ok(pages)
}
