//! The rows of segments: a SQLite file of their own, or tables of the city's PostgreSQL.

use std::path::PathBuf;
use std::time::Duration;

use model::Micros;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{Connection as _, PgConnection, SqliteConnection};
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
/// PostgreSQL the same is `base/store/migrations/postgres/0002_lake.sql`.
const SQLITE_SCHEMA: &[&str] = &["
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
"];

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
    Sqlite { writer: Mutex<Option<SqliteConnection>>, options: SqliteConnectOptions, readers: SqlitePool },
    Postgres { writer: Mutex<Option<PgConnection>>, options: PgConnectOptions, readers: PgPool },
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
                Ok(Self::Sqlite { writer: Mutex::new(Some(writer)), options, readers })
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
                Ok(Self::Postgres { writer: Mutex::new(Some(writer)), options, readers })
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
            Self::Sqlite { writer, options, readers } => {
                let mut slot = writer.lock().await;
                if readers.is_closed() {
                    return Err(LakeError::Unavailable("they are closed".into()));
                }
                let mut connection = connected!(slot, SqliteConnection, options);
                let done = bound!(INSERT, query).execute(&mut connection).await?;
                *slot = Some(connection);
                Ok(done.last_insert_rowid().unsigned_abs())
            }
            Self::Postgres { writer, options, readers } => {
                let mut slot = writer.lock().await;
                if readers.is_closed() {
                    return Err(LakeError::Unavailable("they are closed".into()));
                }
                let mut connection = connected!(slot, PgConnection, options);
                // To the end, and not only to the first row: the row comes before the commit.
                let rows: Vec<(i64,)> = bound!(INSERT_RETURNING, query_as).fetch_all(&mut connection).await?;
                *slot = Some(connection);
                let seq =
                    rows.first().ok_or_else(|| LakeError::Unavailable("the insert gave no number".into()))?.0;
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
    Ok(())
}
