//! Observations: written once, never changed.
//!
//! A batch of samples is committed as one *segment*, an Arrow IPC stream in one database row;
//! that row is the log and there is no other. [`Lake::append`] returns **after the commit is on
//! disk**: whoever acknowledges a device does it then and not before. After the commit the
//! samples join what is kept in memory for reading: the last value of every datastream, and the
//! newest observations in sorted runs. In the background the segments are taken into the table of
//! observations ([`cold`], exactly once) and then dropped. [`Lake::open`] rebuilds the memory from
//! the last values put down and the segments that are left.
//!
//! | module | what is there |
//! | --- | --- |
//! | [`rows`] | observations as Arrow columns |
//! | [`segment`] | rows to Arrow IPC and back, with a checksum |
//! | `log` | the rows of segments, in SQLite or PostgreSQL |
//! | [`recent`] | last values in memory |
//! | `hot` | the newest observations in memory |
//! | [`query`] | reading: SQL, ranges, steps |
//! | [`cold`] | the table of observations: Delta Lake over Parquet |
//! | `keep` | how long observations are kept, and how coarse the old ones become |
//! | `maintain` | what runs in the background: taking in, dropping, rearranging, clearing |
//!
//! A segment that cannot be read back is named by its number, counted and left out; it never
//! stops the hub.

pub mod cold;
pub mod query;
pub mod recent;
pub mod rows;
pub mod segment;

mod error;
mod hot;
mod keep;
mod log;
mod maintain;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::observation::{Columns, quality};
use model::{DatastreamKey, Micros};

use cold::ColdConfig;
pub use cold::{Cold, ColdView, LakeLocation};
pub use error::LakeError;
use hot::Hot;
pub use keep::{Downsample, Keep};
pub use log::LakeDatabase;
use log::{Log, Row};
pub use maintain::TakenIn;
use maintain::Upkeep;
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
    /// Where the tables of observations lie.
    pub location: LakeLocation,
    /// How often segments are taken into the table.
    pub take_in_every: Duration,
    /// … and at the latest when so many rows wait for it.
    pub take_in_rows: usize,
    /// How often the files of the table are rearranged.
    pub optimise_every: Duration,
    /// How often files that nothing names are deleted, and what is past its keeping.
    pub vacuum_every: Duration,
    /// How long files that the table no longer names stay for those who read an older snapshot.
    pub keep_removed: Duration,
    /// After so many bytes of segments the last values are put down, ahead of their time: until then
    /// none of these segments may leave the log.
    pub put_down_bytes: usize,
    /// Room that segments left and that was not needed for so long goes back to the disk (SQLite).
    pub shrink_after: Duration,
    /// The most bytes of segments: beyond, the lake takes no more until the table has taken some in.
    pub log_limit: u64,
}

impl LakeConfig {
    /// Beside the state: for SQLite `observations.db` in the same folder, for PostgreSQL the same
    /// database. The tables lie in `folder/lake`. 256 MiB in memory, 8 GiB of segments at most.
    #[must_use]
    pub fn beside(state: &store::Backend, folder: &Path) -> Self {
        let database = match state {
            store::Backend::Sqlite { path } => {
                LakeDatabase::Sqlite { path: path.with_file_name("observations.db") }
            }
            store::Backend::Postgres { url } => LakeDatabase::Postgres { url: url.clone() },
        };
        Self {
            database,
            memory: 256 << 20,
            location: LakeLocation::Folder(folder.join("lake")),
            take_in_every: Duration::from_secs(60),
            take_in_rows: 2_000_000,
            optimise_every: Duration::from_secs(600),
            vacuum_every: Duration::from_secs(3600),
            keep_removed: Duration::from_secs(3600),
            put_down_bytes: 256 << 20,
            shrink_after: Duration::from_secs(600),
            log_limit: 8 << 30,
        }
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

/// How many days of the table are looked through for last values when those put down are damaged.
const LAST_VALUES_DAYS: usize = 31;

/// The lake: share it by `Arc`.
pub struct Lake {
    log: Log,
    recent: Recent,
    hot: Hot,
    cold: Cold,
    upkeep: Upkeep,
    put_down_bytes: usize,
    /// Appending is one at a time: memory takes segments in the order of their numbers.
    writer: tokio::sync::Mutex<Writer>,
}

struct Writer {
    last_seq: u64,
    put_down_at: Micros,
    since_put_down: usize,
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
        let cold = Cold::open(ColdConfig {
            keep_removed: config.keep_removed,
            ..ColdConfig::new(config.location.clone())
        })
        .await?;
        let view = cold.view();
        let lake = Self {
            log,
            recent: Recent::default(),
            hot: Hot::new(config.memory, view.compacted_to, view.covers_to.saturating_add(1)),
            cold,
            upkeep: Upkeep::new(&config),
            put_down_bytes: config.put_down_bytes,
            writer: tokio::sync::Mutex::new(Writer {
                last_seq: 0,
                put_down_at: store::now(),
                since_put_down: 0,
            }),
        };
        lake.rebuild().await?;
        let lake = Arc::new(lake);
        maintain::start(&lake);
        Ok(lake)
    }

    /// Commits a batch as one segment: sorted by (datastream, time), equal instants in order of
    /// arrival.
    ///
    /// **Returns `Ok` only after the commit is on disk** (SQLite: WAL synced; PostgreSQL: the
    /// server's commit). After an error nothing of the batch counts as stored; a connection lost
    /// during the commit itself may have stored it, and the repeat is then the same samples.
    ///
    /// # Errors
    /// [`LakeError::Unavailable`] when the database does not take it, [`LakeError::Full`] when the
    /// segments have reached their limit, [`LakeError::Empty`] for no samples.
    pub async fn append(&self, batch: Batch) -> Result<Segment, LakeError> {
        let Batch { samples, received_at } = batch;
        if samples.is_empty() {
            return Err(LakeError::Empty);
        }
        self.upkeep.room()?;
        let rows = Rows::new(samples);
        let row = Row::new(&rows, received_at)?;
        let bytes = row.bytes();
        let mut writer = self.writer.lock().await;
        let began = Instant::now();
        let seq = self.log.insert(row).await?;
        metrics::histogram!("zhongshu_segment_commit_seconds").record(began.elapsed().as_secs_f64());
        metrics::counter!("zhongshu_samples_total").increment(rows.len() as u64);
        writer.last_seq = seq;
        let replaced = self.recent.take(&rows);
        self.hot.push(seq, rows.clone());
        self.upkeep.committed(rows.len(), bytes);
        if replaced > 0 {
            metrics::counter!("zhongshu_samples_replaced_total").increment(replaced);
        }
        writer.since_put_down += bytes;
        if received_at.since(writer.put_down_at) >= PUT_DOWN_EVERY
            || writer.since_put_down >= self.put_down_bytes
        {
            (writer.put_down_at, writer.since_put_down) = (received_at, 0);
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
    /// `limit` points of it, one an instant. Samples from the future are not on it; of days that
    /// are kept by step it has the means.
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
        // What leaves memory is in the table before: memory first, the table last.
        let view = self.hot.view();
        let mut runs: Vec<Rows> = Vec::with_capacity(view.runs.len());
        let spilled = view.spilled.clone();
        let before = |run: &hot::Run| spilled.as_ref().is_none_or(|range| run.last < *range.start());
        let (settled, waiting): (Vec<_>, Vec<_>) = view.runs.into_iter().partition(before);
        runs.extend(settled.into_iter().map(|run| run.rows));
        if let Some(range) = &spilled {
            runs.extend(self.spilled(key, from, to, range.clone()).await?);
        }
        runs.extend(waiting.into_iter().map(|run| run.rows));
        let mut points: Vec<Point> = Vec::new();
        let until = if spilled.is_some() { to } else { to.min(Micros(view.covers_from.saturating_sub(1))) };
        if from <= until {
            let steps = self.cold.read_steps(key, from, until).await?;
            points.extend(steps.iter().map(|s| Point { time: s.time, value: s.mean, quality: 0 }));
            points.extend(self.cold.read(key, from, until, limit).await?.iter().map(Point::from));
        }
        for rows in &runs {
            points.extend(rows.range(rows.find(key, from, to)).map(Point::from));
        }
        points.retain(|p| p.quality & quality::FROM_THE_FUTURE == 0);
        Ok(newest(last_of_each(points), limit))
    }

    /// The rows of a datastream in segments that are neither in memory nor, when memory was
    /// looked at, in the table.
    async fn spilled(
        &self,
        key: DatastreamKey,
        from: Micros,
        to: Micros,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Vec<Rows>, LakeError> {
        let mut found = Vec::new();
        let mut after = range.start().saturating_sub(1);
        while after < *range.end() {
            let page = self.log.after(after, PAGE).await?;
            let Some(end) = page.last().map(|row| row.seq) else { break };
            for row in page.into_iter().filter(|row| range.contains(&row.seq)) {
                // A damaged one was named when it was read for the table.
                let Ok(segment) = row.decode() else { continue };
                let at = segment.rows.find(key, from, to);
                if !at.is_empty() {
                    found.push(Rows::new(segment.rows.range(at).collect::<Columns>()));
                }
            }
            after = end;
        }
        Ok(found)
    }

    /// The table of observations.
    #[must_use]
    pub fn cold(&self) -> &Cold {
        &self.cold
    }

    /// Nobody needs the segments up to `seq` any more but the table; they go when it has taken
    /// them in. Until this is called none goes.
    pub fn release(&self, seq: u64) {
        self.upkeep.release(seq);
    }

    /// Says how long the observations of each datastream are kept, and how coarse the old ones
    /// become; what was said before is forgotten. What nothing is said of is kept for ever.
    pub fn keep(&self, keeps: Vec<(DatastreamKey, Keep)>) {
        self.upkeep.keep(keep::by_key(keeps));
    }

    /// The segments that could not be read back and were put aside, at most `limit`.
    ///
    /// # Errors
    /// [`LakeError::Unavailable`].
    pub async fn damaged(&self, limit: u32) -> Result<Vec<Damaged>, LakeError> {
        self.log.damaged(i64::from(limit)).await
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

    /// The number of the last segment; 0 before the first.
    pub async fn last_seq(&self) -> u64 {
        self.writer.lock().await.last_seq
    }

    /// Ends what runs in the background, puts down the last values and closes the database.
    /// Appending afterwards fails.
    pub async fn close(&self) {
        self.upkeep.stop().await;
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
        match done {
            Ok(()) => self.upkeep.put_down(seq),
            Err(e) => {
                tracing::warn!(seq, error = %e, "could not put down the last values; the next start reads more segments");
            }
        }
    }

    async fn rebuild(&self) -> Result<(), LakeError> {
        let began = Instant::now();
        let mut writer = self.writer.lock().await;
        let compacted_to = self.cold.view().compacted_to;
        let put_down = match self.log.put_down_last().await?.map(|(seq, row)| (seq, row.decode())) {
            Some((seq, Ok(last))) => {
                self.recent.take(&last.rows);
                seq
            }
            Some((_, Err(damaged))) => {
                tracing::warn!(
                    reason = damaged.reason,
                    "the last values put down are damaged; looking for them in the table"
                );
                0
            }
            None => 0,
        };
        if put_down == 0 && compacted_to > 0 {
            let take = |rows: &Rows| {
                self.recent.take(rows);
            };
            self.cold.last_values(LAST_VALUES_DAYS, take).await?;
        }
        // The log may be empty, and may have been lost.
        self.log.start_after(compacted_to.max(put_down)).await?;
        let last_seq = self.log.last_seq().await?.max(compacted_to).max(put_down);
        writer.last_seq = last_seq;
        self.upkeep.put_down(put_down);
        let from = compacted_to.min(put_down);
        let mut after = from;
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
                        if segment.seq > compacted_to {
                            self.upkeep.committed(segment.rows.len(), 0);
                            self.hot.push(segment.seq, segment.rows);
                        }
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
                let percent = 100 * (after - from) / last_seq.saturating_sub(from).max(1);
                tracing::info!(percent, segments, samples, "reading back the recent observations");
            }
        }
        self.upkeep.log_bytes(self.log.bytes().await?);
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
