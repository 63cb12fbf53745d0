//! Opening the database, and the settings that durability rests on.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection as _};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::sql::{Connection, Read, Readers};
use crate::writer::Writer;
use crate::{StoreError, audit, migrate};

/// Which database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// A file beside the hub: the embedded default.
    Sqlite {
        /// The database file; its folder is made if absent.
        path: PathBuf,
    },
    /// A server: a city's.
    Postgres {
        /// `postgres://user@host/database`
        url: String,
    },
}

impl Backend {
    /// Reads `--database`: a `postgres://` URL, or a path (with or without `sqlite:`).
    #[must_use]
    pub fn parse(text: &str) -> Self {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            Self::Postgres { url: text.to_owned() }
        } else {
            let path =
                text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:")).unwrap_or(text);
            Self::Sqlite { path: path.into() }
        }
    }

    /// `sqlite` or `postgres`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "sqlite",
            Self::Postgres { .. } => "postgres",
        }
    }
}

/// How to open a store.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Which database.
    pub backend: Backend,
    /// The time zone whose days number cases and alerts.
    pub time_zone: jiff::tz::TimeZone,
    /// Take the database for this process alone, as the hub and the commands of set-up do.
    pub exclusive: bool,
}

/// The store: cheap to clone, shared by every room.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) backend: Backend,
    pub(crate) read: Read,
    pub(crate) writer: Writer,
    /// The last position given to an event; subscribers wait on it.
    pub(crate) head: watch::Sender<i64>,
    /// Events were committed that have no position yet (PostgreSQL).
    pub(crate) unplaced: Arc<Notify>,
    pub(crate) stop: CancellationToken,
    pub(crate) time_zone: jiff::tz::TimeZone,
    exclusive: std::sync::Mutex<Option<Exclusive>>,
}

/// Held while this process alone may run a hub on the database.
enum Exclusive {
    File(#[expect(dead_code, reason = "the lock lives as long as the open file")] std::fs::File),
    Advisory,
}

/// "zhongshu" in the key space of PostgreSQL's advisory locks.
const HUB_LOCK: i64 = 0x7a68_6f6e_6773_6875;

impl Store {
    /// Opens the database, checks its settings, rolls its schema forward and starts the writer.
    ///
    /// # Errors
    /// [`StoreError::Setup`] says what to do: the file cannot be made, the server is out of
    /// reach, `fsync` is off, or another hub holds the database.
    pub async fn open(config: StoreConfig) -> Result<Self, StoreError> {
        let stop = CancellationToken::new();
        let (exclusive, writer, readers) = match &config.backend {
            Backend::Sqlite { path } => {
                if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
                    std::fs::create_dir_all(folder).map_err(|e| {
                        StoreError::Setup(format!("cannot make the folder {}: {e}", folder.display()))
                    })?;
                }
                let exclusive = if config.exclusive { Some(lock_file(path)?) } else { None };
                let options = sqlite_options(path);
                let writer = SqliteConnection::connect_with(&options)
                    .await
                    .map_err(|e| StoreError::Setup(format!("cannot open {}: {e}", path.display())))?;
                let mut writer = Connection::Sqlite(writer);
                migrate::run(&mut writer).await?;
                audit::begin(&mut writer).await?;
                let readers = SqlitePoolOptions::new()
                    .max_connections(4)
                    .acquire_timeout(Duration::from_secs(10))
                    .connect_with(options.pragma("query_only", "on"))
                    .await?;
                (exclusive, writer, Readers::Sqlite(readers))
            }
            Backend::Postgres { url } => {
                let options = postgres_options(url)?;
                let cannot = |e: sqlx::Error| {
                    StoreError::Setup(format!("cannot reach PostgreSQL at {}: {e}", hide(url)))
                };
                let mut writer = PgConnection::connect_with(&options).await.map_err(cannot)?;
                check_durable(&mut writer).await?;
                let exclusive = if config.exclusive { Some(hold(&options, &stop).await?) } else { None };
                let mut writer = Connection::Postgres(writer);
                migrate::run(&mut writer).await?;
                audit::begin(&mut writer).await?;
                let readers = PgPoolOptions::new()
                    .max_connections(8)
                    .acquire_timeout(Duration::from_secs(10))
                    .connect_with(options.options([("default_transaction_read_only", "on")]))
                    .await
                    .map_err(cannot)?;
                (exclusive, writer, Readers::Postgres(readers))
            }
        };
        let (head, _) = watch::channel(0);
        let backend = config.backend.clone();
        let unplaced = Arc::new(Notify::new());
        let writer = Writer::start(writer, backend.clone(), head.clone(), unplaced.clone(), stop.clone());
        let inner = Inner {
            backend,
            read: Read(readers),
            writer,
            head,
            unplaced,
            stop,
            time_zone: config.time_zone,
            exclusive: std::sync::Mutex::new(exclusive),
        };
        let store = Self { inner: Arc::new(inner) };
        store.start_outbox().await?;
        Ok(store)
    }

    /// Reads outside a command; sees every change that was acknowledged before the call.
    #[must_use]
    pub fn read(&self) -> &Read {
        &self.inner.read
    }

    /// Which database.
    #[must_use]
    pub fn backend(&self) -> &Backend {
        &self.inner.backend
    }

    /// The time zone whose days number cases and alerts.
    #[must_use]
    pub fn time_zone(&self) -> &jiff::tz::TimeZone {
        &self.inner.time_zone
    }

    /// Whether a reader answers within two seconds: what `/readyz` asks.
    pub async fn is_ready(&self) -> bool {
        if self.inner.stop.is_cancelled() {
            return false;
        }
        let ask = self.read().opt::<(i64,)>("SELECT position FROM outbox_head", vec![]);
        matches!(tokio::time::timeout(Duration::from_secs(2), ask).await, Ok(Ok(Some(_))))
    }

    /// Ends when the store stops, or when a hold on the database was lost.
    pub async fn stopped(&self) {
        self.inner.stop.cancelled().await;
    }

    /// Stops subscribers, lets waiting commands finish and closes the database.
    pub async fn stop(&self) {
        self.inner.stop.cancel();
        self.inner.writer.finished().await;
        match &self.inner.read.0 {
            Readers::Sqlite(pool) => pool.close().await,
            Readers::Postgres(pool) => pool.close().await,
        }
        // Only now may another hub begin.
        if let Ok(mut exclusive) = self.inner.exclusive.lock() {
            *exclusive = None;
        }
    }
}

/// SQLite as the hub needs it: WAL with a sync a commit, bounded journal, no overwriting of freed
/// pages (on, it wrote 181 MiB of log for a delete of 180).
#[must_use]
pub fn sqlite_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(10))
        .pragma("secure_delete", "off")
        .pragma("journal_size_limit", "67108864")
        .statement_cache_capacity(256)
        .disable_statement_logging()
}

/// PostgreSQL as the hub needs it: statements cached, none logged by the client.
///
/// # Errors
/// [`StoreError::Setup`] for a URL that does not read.
pub fn postgres_options(url: &str) -> Result<PgConnectOptions, StoreError> {
    Ok(PgConnectOptions::from_str(url)
        .map_err(|e| StoreError::Setup(format!("{} is not a PostgreSQL URL: {e}", hide(url))))?
        .application_name("zhongshu")
        .statement_cache_capacity(256)
        .disable_statement_logging())
}

/// The URL without its password.
fn hide(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 <= at => {
            let user = url[scheme + 3..at].split(':').next().unwrap_or_default();
            format!("{}{user}{}", &url[..scheme + 3], &url[at..])
        }
        _ => url.to_owned(),
    }
}

/// A hub on a server that acknowledges before the disk has it would promise what it cannot keep.
async fn check_durable(connection: &mut PgConnection) -> Result<(), StoreError> {
    for setting in ["fsync", "synchronous_commit"] {
        let (value,): (String,) =
            sqlx::query_as("SELECT current_setting($1)").bind(setting).fetch_one(&mut *connection).await?;
        if value == "off" {
            return Err(StoreError::Setup(format!(
                "PostgreSQL runs with {setting} = off, so that what it acknowledges may be lost; set {setting} = on"
            )));
        }
    }
    Ok(())
}

fn lock_file(path: &Path) -> Result<Exclusive, StoreError> {
    let lock = path.with_extension("lock");
    let file = std::fs::File::create(&lock)
        .map_err(|e| StoreError::Setup(format!("cannot make {}: {e}", lock.display())))?;
    file.try_lock().map_err(|e| {
        StoreError::Setup(format!(
            "another hub runs on {} ({e}); stop it first, or give this one a data folder of its own",
            path.display()
        ))
    })?;
    Ok(Exclusive::File(file))
}

/// Takes the hub's advisory lock on a connection of its own. The lock ends with the connection,
/// so that a hub that died frees it at once; a hub that loses it stops.
async fn hold(options: &PgConnectOptions, stop: &CancellationToken) -> Result<Exclusive, StoreError> {
    let mut connection = PgConnection::connect_with(options).await?;
    // A hub that was just killed may still be going down: the server frees its lock when it sees
    // the closed socket.
    let mut taken = false;
    for _ in 0..20 {
        (taken,) = sqlx::query_as("SELECT pg_try_advisory_lock($1)")
            .bind(HUB_LOCK)
            .fetch_one(&mut connection)
            .await?;
        if taken {
            break;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    if !taken {
        return Err(StoreError::Setup(
            "another hub runs on this PostgreSQL database; stop it first, or give this one a database of its own".into(),
        ));
    }
    let stop = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(Duration::from_secs(2)) => {}
            }
            let ping = tokio::time::timeout(Duration::from_secs(10), connection.ping()).await;
            if !matches!(ping, Ok(Ok(()))) {
                tracing::error!(
                    "lost the hold on the database: stopping, so that no second hub writes beside this one"
                );
                stop.cancel();
                break;
            }
        }
        drop(connection.close().await);
    });
    Ok(Exclusive::Advisory)
}

#[cfg(test)]
mod tests {
    #[test]
    fn passwords_are_hidden() {
        for (url, shown) in [
            ("postgres://hub:s3cret@db/city", "postgres://hub@db/city"),
            ("postgres://hub@db/city", "postgres://hub@db/city"),
            ("postgres:///city?host=/run", "postgres:///city?host=/run"),
        ] {
            assert_eq!(super::hide(url), shown);
        }
    }
}
