//! Files of observations (CSV, Parquet) on their way into the lake.
//!
//! A file is taken whole onto the disk first and put on record, then read in batches by one task
//! through the same door as everything else. How far it has come is recorded as it goes, after
//! the commit of what was read: a restart takes up there, and what is sent again is the same
//! samples. Rows that cannot be stored are counted, and the first of them named.

mod csv;
mod parquet;
mod progress;
mod row;
mod source;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt as _};
use model::observation::{Columns, Ingest as _, IngestError};
use model::{AreaPath, Context, Id};
use serde::{Deserialize, Serialize};
use store::{Page, PageRequest, StoreError, new_id};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Mutex, Notify, Semaphore, mpsc};
use tokio::task::JoinHandle;
use utoipa::ToSchema;

use crate::Watch;
pub(crate) use progress::STATEMENTS;
pub use progress::{ImportRow, ImportState};
pub use row::WrongRow;
use source::Step;

/// How many files may arrive at once.
const UPLOADS: usize = 2;
/// How many files may wait to be read.
pub(crate) const WAITING: i64 = 16;
/// How long a sender may send nothing.
const IDLE: Duration = Duration::from_secs(60);
/// Progress is recorded after so many batches, or this long after the last record.
const RECORD_EVERY: u32 = 32;
const RECORD_AFTER: Duration = Duration::from_secs(2);
/// How long a batch that was not stored waits before it is tried again: twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long the runner sleeps when the store does not answer.
const STORE_PAUSE: Duration = Duration::from_secs(2);

/// How imports are set up.
#[derive(Clone, Debug)]
pub struct BulkConfig {
    /// Where files lie until they are read.
    pub folder: PathBuf,
    /// The largest file, in bytes.
    pub largest: u64,
}

impl BulkConfig {
    /// The largest file unless configured otherwise: 2 GiB.
    pub const LARGEST: u64 = 2 << 30;
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// RFC 4180 with a header, UTF-8.
    Csv,
    /// Apache Parquet.
    Parquet,
}

/// What a time that is an integer counts, since 1970 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TimeUnit {
    /// Seconds.
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
}

/// Which columns hold what; absent ones have the name of the field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnNames {
    /// The thing's code.
    pub thing: Option<String>,
    /// The datastream's code.
    pub datastream: Option<String>,
    /// When the value held.
    pub time: Option<String>,
    /// The value.
    pub value: Option<String>,
    /// Bits of [`model::observation::quality`]; a file may do without unless it is named.
    pub quality: Option<String>,
    /// The value's unit (UCUM); a file may do without unless it is named.
    pub unit: Option<String>,
    /// What an integer time counts; without it times are RFC 3339.
    pub time_unit: Option<TimeUnit>,
}

/// A file that is offered.
#[derive(Clone, Debug)]
pub struct NewImport {
    /// Its name, as shown.
    pub name: String,
    /// What it is.
    pub format: Format,
    /// Its columns.
    pub columns: ColumnNames,
    /// Where its things may be.
    pub areas: Vec<AreaPath>,
}

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum BulkError {
    /// Larger than is taken.
    #[error("take the file: it is larger than {0} bytes; split it")]
    TooLarge(u64),
    /// As many arrive or wait as may.
    #[error("take the file: as many files arrive or wait to be read as may; try again later")]
    Busy,
    /// It stopped arriving.
    #[error("take the file: it did not arrive whole: {0}")]
    Cut(String),
    /// The disk.
    #[error("keep the file: {0}")]
    Disk(#[from] std::io::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The imports of observations.
pub struct Bulk {
    pub(crate) watch: Arc<Watch>,
    config: BulkConfig,
    uploads: Semaphore,
    woken: Notify,
    stopping: AtomicBool,
    running: Mutex<Option<JoinHandle<()>>>,
}

impl Bulk {
    /// Takes up where the last run stopped. Stop it before the watch centre.
    ///
    /// # Errors
    /// [`BulkError::Disk`] when the folder cannot be used, [`BulkError::Store`].
    pub async fn open(watch: Arc<Watch>, config: BulkConfig) -> Result<Arc<Self>, BulkError> {
        std::fs::create_dir_all(&config.folder)?;
        let wanted = progress::waiting(&watch.store).await?;
        for left in std::fs::read_dir(&config.folder)?.flatten() {
            // Half arrived, or read and not removed before the last run ended.
            if !wanted.iter().any(|id| left.file_name() == *id.to_string()) {
                std::fs::remove_file(left.path())?;
            }
        }
        let bulk = Arc::new(Self {
            watch,
            config,
            uploads: Semaphore::new(UPLOADS),
            woken: Notify::new(),
            stopping: AtomicBool::new(false),
            running: Mutex::new(None),
        });
        *bulk.running.lock().await = Some(tokio::spawn(bulk.clone().run()));
        Ok(bulk)
    }

    /// Stops reading; what was read is on record.
    pub async fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.woken.notify_one();
        if let Some(running) = self.running.lock().await.take()
            && let Err(e) = running.await
        {
            tracing::error!(error = %e, "the import of files ended badly; the next start takes it up again");
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn path(&self, id: Id) -> PathBuf {
        self.config.folder.join(id.to_string())
    }

    /// Takes a file; its record, **once its bytes are on disk**.
    ///
    /// # Errors
    /// [`BulkError`].
    pub async fn take<S, B, E>(
        &self,
        context: &Context,
        new: NewImport,
        body: S,
    ) -> Result<ImportRow, BulkError>
    where
        S: Stream<Item = Result<B, E>> + Unpin,
        B: AsRef<[u8]>,
        E: std::fmt::Display,
    {
        let _place = self.uploads.try_acquire().map_err(|_| BulkError::Busy)?;
        if progress::waiting(&self.watch.store).await?.len() as i64 >= WAITING {
            return Err(BulkError::Busy);
        }
        let id = new_id();
        let arriving = self.config.folder.join(format!("{id}.part"));
        let taken = match self.write(&arriving, body).await {
            Ok(bytes) => {
                tokio::fs::rename(&arriving, self.path(id)).await?;
                let folder = self.config.folder.clone();
                blocking(move || std::fs::File::open(folder)?.sync_all()).await?;
                progress::add(&self.watch.store, context, id, new, bytes).await
            }
            Err(e) => Err(e),
        };
        match &taken {
            // The same request again, answered with the first one's record.
            Ok(row) if row.id != id => self.remove(id).await,
            Ok(_) => self.woken.notify_one(),
            Err(_) => {
                self.remove(id).await;
                let _ = tokio::fs::remove_file(&arriving).await;
            }
        }
        taken
    }

    async fn write<S, B, E>(&self, path: &Path, mut body: S) -> Result<u64, BulkError>
    where
        S: Stream<Item = Result<B, E>> + Unpin,
        B: AsRef<[u8]>,
        E: std::fmt::Display,
    {
        let mut file = tokio::fs::File::create(path).await?;
        let mut bytes = 0u64;
        loop {
            let chunk = tokio::time::timeout(IDLE, body.next())
                .await
                .map_err(|_| BulkError::Cut(format!("nothing came for {} s", IDLE.as_secs())))?;
            let Some(chunk) = chunk else { break };
            let chunk = chunk.map_err(|e| BulkError::Cut(e.to_string()))?;
            bytes += chunk.as_ref().len() as u64;
            if bytes > self.config.largest {
                return Err(BulkError::TooLarge(self.config.largest));
            }
            file.write_all(chunk.as_ref()).await?;
        }
        file.sync_all().await?;
        Ok(bytes)
    }

    async fn remove(&self, id: Id) {
        // What is left behind is removed on the next start.
        let _ = tokio::fs::remove_file(self.path(id)).await;
    }

    /// One page of the imports of `owner` (an actor's key), newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self, owner: &str, page: &PageRequest) -> Result<Page<ImportRow>, StoreError> {
        progress::list(&self.watch.store, owner, page).await
    }

    /// An import of `owner`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find(&self, owner: &str, id: Id) -> Result<Option<ImportRow>, StoreError> {
        progress::find(&self.watch.store, owner, id).await
    }

    /// Cancels an import of the one who acts; what was stored stays. Whether it had not ended yet.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn cancel(&self, context: &Context, id: Id) -> Result<bool, StoreError> {
        let cancelled = progress::cancel(&self.watch.store, context, id).await?;
        if cancelled {
            // The one that reads it has it open and notices at its next record.
            self.remove(id).await;
        }
        Ok(cancelled)
    }

    async fn run(self: Arc<Self>) {
        while !self.is_stopping() {
            match progress::next(&self.watch.store).await {
                Ok(Some(import)) => {
                    if let Err(e) = self.read(import).await {
                        tracing::warn!(error = %e, "the import of a file waits for the store");
                        self.pause(STORE_PAUSE).await;
                    }
                }
                Ok(None) => self.woken.notified().await,
                Err(e) => {
                    tracing::warn!(error = %e, "imports wait for the store");
                    self.pause(STORE_PAUSE).await;
                }
            }
        }
    }

    async fn pause(&self, length: Duration) {
        if !self.is_stopping() {
            let _ = tokio::time::timeout(length, self.woken.notified()).await;
        }
    }

    /// Reads one file to its end, or until it is cancelled or the hub stops.
    async fn read(&self, mut import: ImportRow) -> Result<(), StoreError> {
        let id = import.id;
        let (send, mut steps) = mpsc::channel::<Result<Step, String>>(2);
        let (watch, path, row) = (self.watch.clone(), self.path(id), import.clone());
        let reading = tokio::task::spawn_blocking(move || source::read(&watch, &path, &row, &send));
        let mut recorded = Instant::now();
        let mut unrecorded = 0;
        let mut failed = None;
        while let Some(step) = steps.recv().await {
            let step = match step {
                Ok(step) => step,
                Err(reason) => {
                    failed = Some(reason);
                    break;
                }
            };
            let samples = step.columns.len() as u64;
            if !self.store(step.columns).await {
                // The hub stops: the next start reads from the last record on.
                return progress::record(&self.watch.store, &import).await.map(drop);
            }
            metrics::counter!("zhongshu_import_samples_total").increment(samples);
            metrics::counter!("zhongshu_import_wrong_rows_total").increment(step.wrong);
            import.advance(samples, step.wrong, step.wrong_rows, &step.position, step.bytes_read);
            unrecorded += 1;
            if unrecorded >= RECORD_EVERY || recorded.elapsed() >= RECORD_AFTER {
                if !progress::record(&self.watch.store, &import).await? {
                    tracing::info!(import = %id, "the import of a file was cancelled");
                    return Ok(());
                }
                if !self.may_go_on(&import) {
                    failed = Some("the token that sent the file was revoked or has ended".to_owned());
                    break;
                }
                recorded = Instant::now();
                unrecorded = 0;
            }
        }
        drop(steps);
        if let Err(e) = reading.await {
            tracing::error!(error = %e, import = %id, "reading a file ended badly");
            failed = failed.or_else(|| Some("the file cannot be read: it is damaged".to_owned()));
        }
        let ended = progress::finish(&self.watch.store, &import, failed).await?;
        tracing::info!(import = %id, samples = import.samples, wrong = import.wrong, ended, "the import of a file ended");
        self.remove(id).await;
        Ok(())
    }

    /// Whether who sent the file may still write.
    fn may_go_on(&self, import: &ImportRow) -> bool {
        import
            .owner
            .strip_prefix("system:token:")
            .is_none_or(|token| self.watch.platform.token_is_live(token))
    }

    /// Stores a batch, however long the store is away; `false` when the hub stops first.
    async fn store(&self, columns: Columns) -> bool {
        if columns.is_empty() {
            return !self.is_stopping();
        }
        let mut pause = FIRST_PAUSE;
        loop {
            if self.is_stopping() {
                return false;
            }
            match self.watch.ingest(columns.clone(), Vec::new()).await {
                Ok(()) => return true,
                Err(IngestError::Stopping) => return false,
                Err(e) => {
                    tracing::warn!(error = %e, "a batch of an import was not stored and is tried again");
                    self.pause(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}

impl store::filter::Keyed for ImportRow {
    fn key(&self) -> Vec<store::filter::KeyValue> {
        vec![store::filter::KeyValue::Text(self.sort.clone())]
    }
}
