//! Observations: written once, never changed.
//!
//! A batch of samples is committed as one *segment*, an Arrow IPC stream in one database row;
//! that row is the log and there is no other. [`Lake::append`] returns **after the commit is on
//! disk**: whoever acknowledges a device does it then and not before. After the commit the
//! samples join what is kept in memory for reading: the last value of every datastream, and the
//! newest observations in sorted runs. [`Lake::open`] rebuilds that from the segments.
//!
//! | module | what is there |
//! | --- | --- |
//! | [`rows`] | observations as Arrow columns |
//! | [`segment`] | rows to Arrow IPC and back, with a checksum |
//! | `log` | the rows of segments, in SQLite or PostgreSQL |
//! | [`recent`] | last values in memory |
//! | `hot` | the newest observations in memory |
//!
//! A segment that cannot be read back is named by its number, counted and left out; it never
//! stops the hub.

pub mod recent;
pub mod rows;
pub mod segment;

mod error;
mod hot;
mod log;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use model::observation::{Columns, quality};
use model::{DatastreamKey, Micros};

pub use error::LakeError;
use hot::Hot;
pub use log::LakeDatabase;
use log::{Log, Row};
pub use recent::Point;
use recent::Recent;
pub use rows::Rows;
pub use segment::{Damaged, Segment};

/// How to open a lake.
#[derive(Clone, Debug)]
pub struct LakeConfig {
    /// Where the segments are.
    pub database: LakeDatabase,
    /// How many bytes of the newest observations are kept in memory for reading.
    pub memory: usize,
}

impl LakeConfig {
    /// Beside the state: for SQLite `observations.db` in the same folder, for PostgreSQL the same
    /// database. 256 MiB in memory.
    #[must_use]
    pub fn beside(state: &store::Backend) -> Self {
        let database = match state {
            store::Backend::Sqlite { path } => {
                LakeDatabase::Sqlite { path: path.with_file_name("observations.db") }
            }
            store::Backend::Postgres { url } => LakeDatabase::Postgres { url: url.clone() },
        };
        Self { database, memory: 256 << 20 }
    }
}

/// A batch that arrived together.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Its samples, in order of arrival.
    pub samples: Columns,
    /// When it was received, by the hub's clock.
    pub received_at: Micros,
}

/// How many segments are read from the database at a time.
const PAGE: i64 = 64;
/// How often the last values are put down, so that opening need not read all history.
const PUT_DOWN_EVERY: i64 = 10 * Micros::MINUTE;

/// The lake: share it by `Arc`.
pub struct Lake {
    log: Log,
    recent: Recent,
    hot: Hot,
    /// Up to which segment nobody reads the log any more.
    released: AtomicU64,
    /// Appending is one at a time: memory takes segments in the order of their numbers.
    writer: tokio::sync::Mutex<Writer>,
}

struct Writer {
    last_seq: u64,
    put_down_at: Micros,
}

impl Lake {
    /// Opens the segments and rebuilds what is kept in memory, with progress in the log.
    ///
    /// On PostgreSQL the schema is the store's: open the store first.
    ///
    /// # Errors
    /// [`LakeError::Setup`] when the database does not open. A damaged segment is no error: it
    /// is logged by its number, counted and left out.
    pub async fn open(config: LakeConfig) -> Result<Arc<Self>, LakeError> {
        let log = Log::open(&config.database).await?;
        let lake = Self {
            log,
            recent: Recent::default(),
            hot: Hot::new(config.memory, 0, i64::MIN),
            released: AtomicU64::new(0),
            writer: tokio::sync::Mutex::new(Writer { last_seq: 0, put_down_at: store::now() }),
        };
        lake.rebuild().await?;
        Ok(Arc::new(lake))
    }

    /// Commits a batch as one segment: sorted by (datastream, time), equal instants in order of
    /// arrival.
    ///
    /// **Returns `Ok` only after the commit is on disk** (SQLite: WAL synced; PostgreSQL: the
    /// server's commit). After an error nothing of the batch counts as stored; a connection lost
    /// during the commit itself may have stored it, and the repeat is then the same samples.
    ///
    /// # Errors
    /// [`LakeError::Unavailable`] when the database does not take it, [`LakeError::Empty`] for
    /// no samples.
    pub async fn append(&self, batch: Batch) -> Result<Segment, LakeError> {
        let Batch { samples, received_at } = batch;
        if samples.is_empty() {
            return Err(LakeError::Empty);
        }
        let rows = Rows::new(samples);
        let row = Row::new(&rows, received_at)?;
        let mut writer = self.writer.lock().await;
        let began = Instant::now();
        let seq = self.log.insert(row).await?;
        metrics::histogram!("zhongshu_segment_commit_seconds").record(began.elapsed().as_secs_f64());
        metrics::counter!("zhongshu_samples_total").increment(rows.len() as u64);
        writer.last_seq = seq;
        let replaced = self.recent.take(&rows);
        self.hot.push(seq, rows.clone());
        if replaced > 0 {
            metrics::counter!("zhongshu_samples_replaced_total").increment(replaced);
        }
        if received_at.since(writer.put_down_at) >= PUT_DOWN_EVERY {
            writer.put_down_at = received_at;
            self.put_down(seq).await;
        }
        Ok(Segment { seq, received_at, rows })
    }

    /// The last value of a datastream: that of the newest phenomenon time. A sample from the
    /// future stands in only while there is no other.
    #[must_use]
    pub fn last(&self, key: DatastreamKey) -> Option<Point> {
        self.recent.last(key)
    }

    /// The last values of many datastreams, in the order asked, all of one moment.
    #[must_use]
    pub fn last_many(&self, keys: &[DatastreamKey]) -> Vec<Option<Point>> {
        self.recent.last_many(keys)
    }

    /// The curve of a datastream from `from` to `to`, both included, oldest first; the newest
    /// `limit` points of it, one an instant. Samples from the future are not on it.
    ///
    /// # Errors
    /// [`LakeError::Unavailable`] when what is not in memory cannot be read.
    pub async fn curve(
        &self,
        key: DatastreamKey,
        from: Micros,
        to: Micros,
        limit: usize,
    ) -> Result<Vec<Point>, LakeError> {
        let view = self.hot.view();
        let mut points: Vec<Point> = Vec::new();
        for run in &view.runs {
            let range = run.rows.find(key, from, to);
            points.extend(run.rows.range(range).map(Point::from));
        }
        points.retain(|p| p.quality & quality::FROM_THE_FUTURE == 0);
        Ok(newest(last_of_each(points), limit))
    }

    /// The segments after `seq` in order, at most `limit`; a page. A damaged one takes its place
    /// in the page with its number and reason.
    ///
    /// # Errors
    /// [`LakeError::Unavailable`].
    pub async fn segments_after(
        &self,
        seq: u64,
        limit: u32,
    ) -> Result<Vec<Result<Segment, Damaged>>, LakeError> {
        let rows = self.log.after(seq, i64::from(limit)).await?;
        Ok(rows.into_iter().map(log::Stored::decode).collect())
    }

    /// The number of the first segment received at or after `instant`, if any.
    ///
    /// # Errors
    /// [`LakeError::Unavailable`].
    pub async fn first_since(&self, instant: Micros) -> Result<Option<u64>, LakeError> {
        self.log.first_since(instant).await
    }

    /// Says that the segments up to `seq` are read no more: once they are in the table as well, the
    /// log lets go of them.
    pub fn release(&self, seq: u64) {
        self.released.fetch_max(seq, Ordering::Relaxed);
    }

    /// The number of the last segment; 0 before the first.
    pub async fn last_seq(&self) -> u64 {
        self.writer.lock().await.last_seq
    }

    /// Puts down the last values and closes the database. Appending afterwards fails.
    pub async fn close(&self) {
        let writer = self.writer.lock().await;
        if writer.last_seq > 0 {
            self.put_down(writer.last_seq).await;
        }
        self.log.close().await;
    }

    /// Puts down the last values as of `seq`. Not having them costs time at the next opening and
    /// nothing else, so that a failure is only logged.
    async fn put_down(&self, seq: u64) {
        let done = match Row::new(&self.recent.all(), Micros(0)) {
            Ok(row) => self.log.put_down(seq, row).await,
            Err(e) => Err(e),
        };
        if let Err(e) = done {
            tracing::warn!(seq, error = %e, "could not put down the last values; the next start reads more segments");
        }
    }

    async fn rebuild(&self) -> Result<(), LakeError> {
        let began = Instant::now();
        let mut writer = self.writer.lock().await;
        let last_seq = self.log.last_seq().await?;
        writer.last_seq = last_seq;
        let after = 0;
        match self.log.put_down_last().await?.map(|(seq, row)| (seq, row.decode())) {
            Some((_, Ok(last))) => {
                self.recent.take(&last.rows);
            }
            Some((_, Err(damaged))) => {
                tracing::warn!(
                    reason = damaged.reason,
                    "the last values put down are damaged; reading all segments"
                );
            }
            None => {}
        }
        let (from, mut after) = (after, after);
        let (mut segments, mut samples, mut damaged) = (0u64, 0u64, 0u64);
        let mut told = Instant::now();
        loop {
            let page = self.log.after(after, PAGE).await?;
            let Some(end) = page.last().map(|row| row.seq) else { break };
            for row in page {
                match row.decode() {
                    Ok(segment) => {
                        samples += segment.rows.len() as u64;
                        self.recent.take(&segment.rows);
                        self.hot.push(segment.seq, segment.rows);
                    }
                    Err(e) => {
                        damaged += 1;
                        metrics::counter!("zhongshu_segments_damaged_total").increment(1);
                        tracing::error!(seq = e.seq, reason = e.reason, "a segment is damaged and left out");
                    }
                }
                segments += 1;
            }
            after = end;
            if told.elapsed() >= Duration::from_secs(2) {
                told = Instant::now();
                let percent = 100 * (after - from) / (last_seq - from).max(1);
                tracing::info!(percent, segments, samples, "reading back the recent observations");
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        tracing::info!(segments, samples, damaged, seconds, "the recent observations are in memory");
        Ok(())
    }
}

/// Sorted by time, of each instant the last.
fn last_of_each(mut points: Vec<Point>) -> Vec<Point> {
    points.sort_by_key(|p| p.time);
    points.reverse();
    points.dedup_by_key(|p| p.time);
    points.reverse();
    points
}

/// The newest `limit` of points in order.
fn newest(mut points: Vec<Point>, limit: usize) -> Vec<Point> {
    let surplus = points.len().saturating_sub(limit);
    points.drain(..surplus);
    points
}
