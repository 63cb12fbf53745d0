//! Last values and recent curves in memory.

use std::collections::VecDeque;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use model::observation::{Sample, quality};
use model::{DatastreamKey, Micros};

/// A value at an instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When it held.
    pub time: Micros,
    /// In the datastream's unit.
    pub value: f64,
    /// Bits of [`model::observation::quality`].
    pub quality: u8,
}

impl From<&Sample> for Point {
    fn from(s: &Sample) -> Self {
        Self { time: s.time, value: s.value, quality: s.quality }
    }
}

#[derive(Default)]
struct Series {
    last: Option<Point>,
    /// Sorted by time, one point an instant.
    curve: VecDeque<Point>,
}

/// The last value and the recent curve of every datastream, dense by key.
///
/// One lock for all: a batch takes it once, and a reader of many values sees one moment.
pub(crate) struct Recent {
    series: RwLock<Vec<Series>>,
    window: i64,
    max_points: usize,
}

impl Recent {
    pub(crate) fn new(window: i64, max_points: usize) -> Self {
        Self { series: RwLock::default(), window, max_points: max_points.max(1) }
    }

    /// Takes samples that were received together; how many had another value at their instant
    /// before.
    pub(crate) fn take(&self, samples: &[Sample], received_at: Micros) -> u64 {
        let oldest = received_at.plus(-self.window);
        let mut series = self.series.write().unwrap_or_else(PoisonError::into_inner);
        let mut replaced = 0;
        for sample in samples {
            let Ok(key) = usize::try_from(sample.datastream.0) else { continue };
            if series.len() <= key {
                series.resize_with(key + 1, Series::default);
            }
            replaced += u64::from(series[key].take(sample, oldest, self.max_points));
        }
        replaced
    }

    /// Forgets the curves and keeps the last values.
    pub(crate) fn clear_curves(&self) {
        for series in self.series.write().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            series.curve.clear();
        }
    }

    pub(crate) fn last(&self, key: DatastreamKey) -> Option<Point> {
        find(&self.read(), key).and_then(|s| s.last)
    }

    pub(crate) fn last_many(&self, keys: &[DatastreamKey]) -> Vec<Option<Point>> {
        let series = self.read();
        keys.iter().map(|key| find(&series, *key).and_then(|s| s.last)).collect()
    }

    /// Every last value, as samples.
    pub(crate) fn all_last(&self) -> Vec<Sample> {
        let series = self.read();
        let last = (0..).zip(series.iter()).filter_map(|(key, s)| {
            let Point { time, value, quality } = s.last?;
            Some(Sample { datastream: DatastreamKey(key), time, value, quality })
        });
        last.collect()
    }

    pub(crate) fn curve(&self, key: DatastreamKey, from: Micros, to: Micros, limit: usize) -> Vec<Point> {
        let series = self.read();
        let Some(Series { curve, .. }) = find(&series, key) else { return Vec::new() };
        let end = curve.partition_point(|p| p.time <= to);
        let start = curve.partition_point(|p| p.time < from).max(end.saturating_sub(limit)).min(end);
        curve.range(start..end).copied().collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<Series>> {
        self.series.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find(series: &[Series], key: DatastreamKey) -> Option<&Series> {
    usize::try_from(key.0).ok().and_then(|at| series.get(at))
}

fn is_from_the_future(quality: u8) -> bool {
    quality & quality::FROM_THE_FUTURE != 0
}

impl Series {
    /// Whether the sample replaced another value.
    fn take(&mut self, sample: &Sample, oldest: Micros, max_points: usize) -> bool {
        let point = Point::from(sample);
        let future = is_from_the_future(point.quality);
        let newest = match &self.last {
            None => true,
            // A clock that is wrong must not hide what a right one says, nor freeze on its maximum.
            Some(last) if is_from_the_future(last.quality) => true,
            Some(last) => !future && point.time >= last.time,
        };
        // The same value at the same instant again stays what it was, flags included.
        let repeated = self.last.is_some_and(|last| {
            (last.time, last.value) == (point.time, point.value) && is_from_the_future(last.quality) == future
        });
        if newest && !repeated {
            self.last = Some(point);
        }
        if future {
            return false;
        }
        while self.curve.front().is_some_and(|p| p.time < oldest) {
            self.curve.pop_front();
        }
        if point.time < oldest {
            return false;
        }
        let at = match self.curve.back() {
            Some(back) if back.time < point.time => self.curve.len(),
            _ => self.curve.partition_point(|p| p.time < point.time),
        };
        if let Some(there) = self.curve.get_mut(at).filter(|p| p.time == point.time) {
            if there.value == point.value {
                return false;
            }
            *there = point;
            return true;
        }
        if self.curve.len() >= max_points {
            if at == 0 {
                return false;
            }
            self.curve.pop_front();
            self.curve.insert(at - 1, point);
        } else {
            self.curve.insert(at, point);
        }
        false
    }
}
