//! What runs in the background: segments are taken into the table, dropped from the log, and the
//! table's files are rearranged and cleared.
//!
//! One task, one thing at a time. It never holds what appending or reading waits for, but for one
//! small step of the log at a time. When the table's store is away the log grows, memory keeps
//! what fits, and the task tries again, less and less often up to every five minutes; at
//! [`crate::LakeConfig::log_limit`] appending is refused with the reason.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::cold::{self, blocking};
use crate::keep::Keeps;
use crate::log::Stored;
use crate::rows::Rows;
use crate::{Lake, LakeConfig, LakeError, PAGE};

/// The most rows taken in at once: what merging them takes in memory is some 40 bytes each.
const AT_ONCE: usize = 2_000_000;
/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// A store that has not answered for so long has not.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long closing waits for what is being done.
const GOODBYE: Duration = Duration::from_secs(30);

/// What was taken into the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakenIn {
    /// Up to which segment.
    pub to: u64,
    /// How many rows, one an instant.
    pub rows: u64,
    /// How many segments could not be read and were put aside.
    pub damaged: u64,
}

/// What the background knows and what it is told.
pub(crate) struct Upkeep {
    every: Duration,
    at_rows: u64,
    optimise_every: Duration,
    vacuum_every: Duration,
    shrink_after: Duration,
    log_limit: u64,
    /// Rows committed and not in the table.
    waiting: AtomicU64,
    log_bytes: AtomicU64,
    released: AtomicU64,
    put_down: AtomicU64,
    failure: Mutex<Option<String>>,
    keeps: Mutex<Arc<Keeps>>,
    one_at_a_time: tokio::sync::Mutex<()>,
    wake: Arc<Notify>,
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Upkeep {
    pub(crate) fn new(config: &LakeConfig) -> Self {
        Self {
            every: config.take_in_every,
            at_rows: config.take_in_rows as u64,
            optimise_every: config.optimise_every,
            vacuum_every: config.vacuum_every,
            shrink_after: config.shrink_after,
            log_limit: config.log_limit,
            waiting: AtomicU64::new(0),
            log_bytes: AtomicU64::new(0),
            released: AtomicU64::new(0),
            put_down: AtomicU64::new(0),
            failure: Mutex::new(None),
            keeps: Mutex::default(),
            one_at_a_time: tokio::sync::Mutex::new(()),
            wake: Arc::new(Notify::new()),
            stop: watch::channel(false).0,
            task: Mutex::new(None),
        }
    }

    /// Whether the log may grow.
    pub(crate) fn room(&self) -> Result<(), LakeError> {
        let bytes = self.log_bytes.load(Ordering::Relaxed);
        if bytes < self.log_limit {
            return Ok(());
        }
        self.wake.notify_one();
        let reason = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let reason = reason.unwrap_or_else(|| "it takes them in now, try again".into());
        Err(LakeError::Full { bytes, limit: self.log_limit, reason })
    }

    pub(crate) fn committed(&self, rows: usize, bytes: usize) {
        self.log_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let rows = rows as u64;
        let before = self.waiting.fetch_add(rows, Ordering::Relaxed);
        if before < self.at_rows && before + rows >= self.at_rows {
            self.wake.notify_one();
        }
    }

    pub(crate) fn log_bytes(&self, bytes: u64) {
        self.log_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn keep(&self, keeps: Keeps) {
        *self.keeps.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(keeps);
    }

    pub(crate) fn release(&self, seq: u64) {
        self.released.fetch_max(seq, Ordering::Relaxed);
    }

    pub(crate) fn put_down(&self, seq: u64) {
        self.put_down.fetch_max(seq, Ordering::Relaxed);
    }

    /// Ends the task after what it is doing.
    pub(crate) async fn stop(&self) {
        self.stop.send_replace(true);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut task) = task
            && tokio::time::timeout(GOODBYE, &mut task).await.is_err()
        {
            tracing::warn!(
                "the table of observations does not answer; what it was doing is left, and done at the next start"
            );
            task.abort();
        }
    }

    fn stopping(&self) -> bool {
        *self.stop.borrow()
    }
}

/// Starts the task of a lake; it ends by [`Upkeep::stop`], or when nobody holds the lake.
pub(crate) fn start(lake: &Arc<Lake>) {
    let task = tokio::spawn(run(Arc::downgrade(lake), lake.upkeep.stop.subscribe()));
    *lake.upkeep.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
}

async fn run(lake: Weak<Lake>, mut stop: watch::Receiver<bool>) {
    let (every, optimise_every, vacuum_every, wake) = {
        let Some(lake) = lake.upgrade() else { return };
        let Upkeep { every, optimise_every, vacuum_every, wake, .. } = &lake.upkeep;
        (*every, *optimise_every, *vacuum_every, wake.clone())
    };
    let (mut optimised, mut vacuumed, mut failures) = (Instant::now(), Instant::now(), 0u32);
    loop {
        let wait = every.saturating_mul(1 << failures.min(8)).min(LONGEST_WAIT.max(every));
        // While it waits it does not hold the lake. After a failure only time wakes it: the store
        // is given its rest.
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(wait) => {}
            () = wake.notified(), if failures == 0 => {}
        }
        let Some(lake) = lake.upgrade() else { return };
        let mut done = patient(lake.take_in()).await.map(drop);
        if done.is_ok() && optimised.elapsed() >= optimise_every {
            optimised = Instant::now();
            done = patient(lake.rearrange()).await;
        }
        if done.is_ok() && vacuumed.elapsed() >= vacuum_every {
            vacuumed = Instant::now();
            done = patient(lake.clear()).await;
        }
        failures = lake.tell(done, failures);
    }
}

async fn patient<T>(work: impl Future<Output = Result<T, LakeError>>) -> Result<T, LakeError> {
    let late = |_| LakeError::Table(format!("no answer within {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|e| Err(late(e)))
}

impl Lake {
    /// Takes the segments that are committed by now into the table, and drops from the log what
    /// nobody needs any more. The background does so every
    /// [`take_in_every`](LakeConfig::take_in_every).
    ///
    /// # Errors
    /// [`LakeError::Table`] when the table's store does not take them, [`LakeError::Unavailable`]
    /// when the log does not give them; nothing is lost, the next time begins where this ended.
    pub async fn take_in(&self) -> Result<TakenIn, LakeError> {
        let _one = self.upkeep.one_at_a_time.lock().await;
        let began = Instant::now();
        let target = self.hot.cut();
        let mut all = TakenIn { to: self.cold.view().compacted_to, ..TakenIn::default() };
        while all.to < target && !self.upkeep.stopping() {
            let before = self.upkeep.waiting.load(Ordering::Relaxed);
            let (to, runs, raw, damaged) = self.waiting(all.to, target).await?;
            let rows = blocking(move || Rows::merge(&runs)).await?;
            self.cold.append(rows.clone(), to).await?;
            all.rows += rows.len() as u64;
            all.damaged += damaged;
            all.to = to;
            self.hot.settle(to, rows);
            self.upkeep.waiting.fetch_sub(raw.min(before), Ordering::Relaxed);
            metrics::counter!("zhongshu_lake_taken_in_total").increment(1);
        }
        metrics::histogram!("zhongshu_lake_take_in_seconds").record(began.elapsed().as_secs_f64());
        self.shorten().await?;
        Ok(all)
    }

    /// The next segments after `after`, up to `target`: the last one, their rows, how many rows
    /// those are and how many segments were damaged.
    async fn waiting(&self, after: u64, target: u64) -> Result<(u64, Vec<Rows>, u64, u64), LakeError> {
        let (mut to, mut runs, mut rows, mut damaged) = (after, Vec::new(), 0, 0);
        while to < target && rows < AT_ONCE {
            let page = self.log.after(to, PAGE).await?;
            if page.is_empty() {
                // Numbers without a segment at the end.
                to = target;
                break;
            }
            let decoded = blocking(move || page.into_iter().map(Stored::decode).collect::<Vec<_>>()).await?;
            for segment in decoded {
                let seq = segment.as_ref().map_or_else(|d| d.seq, |s| s.seq);
                if seq > target {
                    return Ok((target, runs, rows as u64, damaged));
                }
                to = seq;
                match segment {
                    Ok(segment) => {
                        rows += segment.rows.len();
                        runs.push(segment.rows);
                    }
                    Err(e) => {
                        damaged += 1;
                        metrics::counter!("zhongshu_segments_damaged_total").increment(1);
                        tracing::error!(
                            seq = e.seq,
                            reason = e.reason,
                            "a segment is damaged and put aside; restore it from a backup"
                        );
                        self.log.keep_damaged(&e).await?;
                    }
                }
            }
        }
        Ok((to, runs, rows as u64, damaged))
    }

    /// Drops from the log what is in the table, released, and in the last values put down.
    async fn shorten(&self) -> Result<(), LakeError> {
        let upkeep = &self.upkeep;
        let (released, put_down) =
            (upkeep.released.load(Ordering::Relaxed), upkeep.put_down.load(Ordering::Relaxed));
        let to = self.cold.view().compacted_to.min(released).min(put_down);
        if to > 0 {
            self.log.drop_to(to, upkeep.shrink_after).await?;
        }
        let bytes = self.log.bytes().await?;
        upkeep.log_bytes(bytes);
        metrics::gauge!("zhongshu_lake_log_bytes").set(bytes as f64);
        Ok(())
    }

    /// Merges the table's small files and writes its checkpoint when it is time. The background
    /// does so every [`optimise_every`](LakeConfig::optimise_every).
    ///
    /// # Errors
    /// [`LakeError::Table`].
    pub async fn rearrange(&self) -> Result<(), LakeError> {
        let done = self.cold.optimise(store::now()).await?;
        if done.before > 0 {
            tracing::info!(
                done.before,
                done.after,
                done.rows,
                "files of the table of observations are merged"
            );
        }
        self.cold.checkpoint().await?;
        Ok(())
    }

    /// Does what is due of old days ([`Lake::keep`]) and deletes what the table no longer names. The background does so every
    /// [`vacuum_every`](LakeConfig::vacuum_every).
    ///
    /// # Errors
    /// [`LakeError::Table`].
    pub async fn clear(&self) -> Result<(), LakeError> {
        let keeps = self.upkeep.keeps.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let done = self.cold.keep(&keeps, store::now()).await?;
        if done != cold::Kept::default() {
            tracing::info!(done.stepped, done.deleted, "old observations are cut down as declared");
        }
        self.cold.vacuum().await?;
        Ok(())
    }

    /// Logs and counts how a turn went; how many have failed in a row.
    fn tell(&self, done: Result<(), LakeError>, failures: u32) -> u32 {
        let (in_memory, spilled) = self.hot.unsettled();
        // What left memory is counted by what was committed; that counts repeats besides.
        let counted = self.upkeep.waiting.load(Ordering::Relaxed);
        let waiting = if spilled { counted } else { in_memory as u64 };
        metrics::gauge!("zhongshu_lake_waiting_rows").set(waiting as f64);
        let failure = done.err();
        let mut kept = self.upkeep.failure.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = failure.as_ref().map(ToString::to_string);
        let Some(e) = failure else {
            if failures > 0 {
                tracing::info!(waiting, "the table of observations takes in again");
            }
            return 0;
        };
        metrics::counter!("zhongshu_lake_failures_total").increment(1);
        tracing::warn!(
            error = %e,
            waiting,
            failures = failures + 1,
            "the table of observations was not kept up; segments wait in the log and nothing is lost. \
             See that its store answers and has room"
        );
        failures + 1
    }
}
