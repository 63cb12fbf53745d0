//! The last value of every datastream, in memory.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use model::observation::{Columns, Sample, quality};
use model::{DatastreamKey, Micros};

use crate::rows::Rows;

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

impl From<Sample> for Point {
    fn from(s: Sample) -> Self {
        Self { time: s.time, value: s.value, quality: s.quality }
    }
}

/// The last values, dense by key.
///
/// One lock for all: a batch takes it once, and a reader of many values sees one moment.
#[derive(Default)]
pub(crate) struct Recent(RwLock<Vec<Option<Point>>>);

impl Recent {
    /// Takes rows that were committed; how many gave the last instant of their datastream another
    /// value than it had.
    pub(crate) fn take(&self, rows: &Rows) -> u64 {
        let mut last = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut replaced = 0;
        for sample in rows.iter() {
            let Ok(key) = usize::try_from(sample.datastream.0) else { continue };
            if last.len() <= key {
                last.resize(key + 1, None);
            }
            replaced += u64::from(take(&mut last[key], sample.into()));
        }
        replaced
    }

    pub(crate) fn last(&self, key: DatastreamKey) -> Option<Point> {
        find(&self.read(), key)
    }

    pub(crate) fn last_many(&self, keys: &[DatastreamKey]) -> Vec<Option<Point>> {
        let last = self.read();
        keys.iter().map(|key| find(&last, *key)).collect()
    }

    /// Every last value.
    pub(crate) fn all(&self) -> Rows {
        let last = self.read();
        let samples = (0..).zip(last.iter()).filter_map(|(key, point)| {
            let Point { time, value, quality } = (*point)?;
            Some(Sample { datastream: DatastreamKey(key), time, value, quality })
        });
        Rows::new(samples.collect::<Columns>())
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<Option<Point>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find(last: &[Option<Point>], key: DatastreamKey) -> Option<Point> {
    usize::try_from(key.0).ok().and_then(|at| last.get(at).copied().flatten())
}

fn is_from_the_future(point: &Point) -> bool {
    point.quality & quality::FROM_THE_FUTURE != 0
}

/// Whether another value stood at this instant.
fn take(last: &mut Option<Point>, point: Point) -> bool {
    let future = is_from_the_future(&point);
    let Some(there) = last else {
        *last = Some(point);
        return false;
    };
    // A clock that is wrong must not hide what a right one says, nor freeze on its maximum.
    if !is_from_the_future(there) && (future || point.time < there.time) {
        return false;
    }
    let same_instant = there.time == point.time && is_from_the_future(there) == future;
    // The same value at the same instant again stays what it was, flags included.
    if same_instant && there.value == point.value {
        return false;
    }
    *there = point;
    same_instant
}
