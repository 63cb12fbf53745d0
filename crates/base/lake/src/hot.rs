//! The newest observations, in memory: what is committed and not in the table yet, and of what
//! is in it as much as fits.
//!
//! A *run* is sorted rows of neighbouring segments. A commit adds its segment as a run; small
//! ones are merged into one, so that a reader looks into few. When the table has taken segments
//! in, one run with all of them takes their place ([`Hot::settle`]): merged already, it costs
//! nothing. What exceeds the budget leaves from the old end. A reader who asks for times before
//! [`View::covers_from`] must look into the table too; one who needs all that is not in the table
//! must read [`View::spilled`] from the log.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};

use crate::rows::Rows;

/// Runs below this many rows are merged…
const SMALL: usize = 4096;
/// … when there are so many of them.
const TOGETHER: usize = 32;

/// Sorted rows of neighbouring segments.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// The first segment.
    pub(crate) first: u64,
    /// The last.
    pub(crate) last: u64,
    /// Sorted by (datastream, time). Equal instants stand in order of arrival.
    pub(crate) rows: Rows,
}

/// What is in memory at one moment.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// The older before the newer: of an instant in several, the last is right.
    pub(crate) runs: Vec<Run>,
    /// From this time on (microseconds) everything ever stored is in `runs` or in `spilled`.
    pub(crate) covers_from: i64,
    /// Segments that left memory before the table took them in: they are in the log alone.
    pub(crate) spilled: Option<RangeInclusive<u64>>,
    /// The last segment that left memory after the table had taken it in.
    pub(crate) evicted_to: u64,
}

/// The newest observations.
pub(crate) struct Hot {
    inner: RwLock<Inner>,
    budget: usize,
}

struct Inner {
    runs: VecDeque<Run>,
    bytes: usize,
    /// Up to which segment the table has taken in.
    settled: u64,
    /// No run reaches over this segment.
    cut: u64,
    covers_from: i64,
    spilled: Option<RangeInclusive<u64>>,
    evicted_to: u64,
}

impl Hot {
    /// Nothing yet; the table has taken in the segments up to `settled`, whose samples are all
    /// older than `covers_from`.
    pub(crate) fn new(budget: usize, settled: u64, covers_from: i64) -> Self {
        let inner = Inner {
            runs: VecDeque::new(),
            bytes: 0,
            settled,
            cut: settled,
            covers_from,
            spilled: None,
            evicted_to: settled,
        };
        Self { inner: RwLock::new(inner), budget }
    }

    /// Adds a committed segment.
    pub(crate) fn push(&self, seq: u64, rows: Rows) {
        let mut inner = self.write();
        inner.bytes += rows.bytes();
        inner.runs.push_back(Run { first: seq, last: seq, rows });
        inner.merge_small();
        inner.keep_within(self.budget);
    }

    /// The last segment in memory; runs end there, so that what comes later is apart.
    pub(crate) fn cut(&self) -> u64 {
        let mut inner = self.write();
        inner.cut = inner.runs.back().map_or(inner.settled, |run| run.last);
        inner.cut
    }

    /// The table has taken in the segments up to `to`, a [`Hot::cut`]: `rows` are those of the
    /// segments since the last time, one an instant.
    pub(crate) fn settle(&self, to: u64, rows: Rows) {
        let mut inner = self.write();
        let first = inner.settled + 1;
        let from = inner.runs.partition_point(|run| run.last < first);
        let until = inner.runs.partition_point(|run| run.last <= to);
        let freed: usize = inner.runs.drain(from..until).map(|run| run.rows.bytes()).sum();
        inner.bytes = inner.bytes.saturating_sub(freed) + rows.bytes();
        inner.settled = to;
        inner.spilled = match inner.spilled.take() {
            Some(range) if *range.end() > to => Some(to + 1..=*range.end()),
            _ => None,
        };
        if !rows.is_empty() {
            inner.runs.insert(from, Run { first, last: to, rows });
        }
        inner.keep_within(self.budget);
    }

    /// What is there now.
    pub(crate) fn view(&self) -> View {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        View {
            runs: inner.runs.iter().cloned().collect(),
            covers_from: inner.covers_from,
            spilled: inner.spilled.clone(),
            evicted_to: inner.evicted_to,
        }
    }

    /// Rows committed and not in the table: in memory, and whether there are more in the log.
    pub(crate) fn unsettled(&self) -> (usize, bool) {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let rows = inner.runs.iter().rev().take_while(|run| run.last > inner.settled);
        (rows.map(|run| run.rows.len()).sum(), inner.spilled.is_some())
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn merge_small(&mut self) {
        let small = |run: &&Run| run.rows.len() < SMALL && run.first > self.cut;
        let count = self.runs.iter().rev().take_while(small).count();
        if count < TOGETHER {
            return;
        }
        let tail: Vec<Run> = self.runs.split_off(self.runs.len() - count).into();
        let (Some(first), Some(last)) = (tail.first(), tail.last()) else { return };
        let (first, last) = (first.first, last.last);
        let rows: Vec<Rows> = tail.into_iter().map(|run| run.rows).collect();
        let before: usize = rows.iter().map(Rows::bytes).sum();
        let rows = Rows::merge(&rows);
        self.bytes = self.bytes.saturating_sub(before) + rows.bytes();
        self.runs.push_back(Run { first, last, rows });
    }

    fn keep_within(&mut self, budget: usize) {
        while self.bytes > budget && self.runs.len() > 1 {
            let Some(run) = self.runs.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(run.rows.bytes());
            if run.last > self.settled {
                let first = self.spilled.take().map_or(run.first, |range| *range.start());
                self.spilled = Some(first..=run.last);
            } else {
                self.evicted_to = run.last;
                if let Some(latest) = run.rows.latest_sound() {
                    self.covers_from = self.covers_from.max(latest.saturating_add(1));
                }
            }
        }
    }
}
