//! What changed since a page looked last: coalesced last values, and how things stand.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use model::{AreaPath, DatastreamKey, Micros, Severity};
use serde::ser::SerializeTuple as _;
use serde::{Serialize, Serializer};

use crate::Watch;
use crate::standing::ThingState;

/// How many changes are remembered; a page that missed more gets everything.
const KEPT: usize = 1 << 18;

/// Where one stream of a page stands.
#[derive(Clone, Debug)]
pub struct LiveCursor {
    values: u64,
    things: u64,
}

/// What changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Live {
    /// Last values that are new, one a datastream.
    pub values: Vec<LiveValue>,
    /// Things that stand otherwise.
    pub things: Vec<LiveThing>,
}

/// A last value; serialised as `[key, "time", value, quality]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LiveValue {
    /// The datastream.
    pub key: DatastreamKey,
    /// When the value held.
    pub time: Micros,
    /// In the datastream's unit.
    pub value: f64,
    /// Bits of [`model::observation::quality`].
    pub quality: u8,
}

impl Serialize for LiveValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(4)?;
        tuple.serialize_element(&self.key)?;
        tuple.serialize_element(&self.time)?;
        tuple.serialize_element(&self.value)?;
        tuple.serialize_element(&self.quality)?;
        tuple.end()
    }
}

/// How a thing stands now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LiveThing {
    /// The thing's code.
    pub code: String,
    /// How it stands.
    pub state: ThingState,
    /// The gravest of its unresolved alerts.
    pub severity: Option<Severity>,
}

/// A log of which numbers (datastream keys, places of things) changed, in order.
pub(crate) struct Changes(Mutex<Log>);

#[derive(Default)]
struct Log {
    /// The position of the first of `recent`.
    first: u64,
    recent: VecDeque<u32>,
    /// The last position of every number: an earlier entry of the same number is skipped.
    last: Vec<u64>,
}

impl Changes {
    pub(crate) fn new(numbers: usize) -> Self {
        Self(Mutex::new(Log { last: vec![0; numbers], ..Log::default() }))
    }

    pub(crate) fn push(&self, numbers: impl Iterator<Item = usize>) {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for number in numbers {
            let at = log.first + log.recent.len() as u64;
            let (Ok(entry), Some(last)) = (u32::try_from(number), log.last.get_mut(number)) else { continue };
            *last = at;
            log.recent.push_back(entry);
            if log.recent.len() > KEPT {
                log.recent.pop_front();
                log.first += 1;
            }
        }
    }

    pub(crate) fn position(&self) -> u64 {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.first + log.recent.len() as u64
    }

    /// The numbers that changed since `position`, each once; all of them when too much changed.
    fn since(&self, position: &mut u64) -> Vec<usize> {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let from = std::mem::replace(position, log.first + log.recent.len() as u64);
        if from < log.first {
            return (0..log.last.len()).collect();
        }
        let skip = usize::try_from(from - log.first).unwrap_or(usize::MAX);
        let entries = (from..).zip(log.recent.iter().skip(skip));
        entries
            .map(|(at, n)| (at, *n as usize))
            .filter(|(at, n)| log.last[*n] == *at)
            .map(|(_, n)| n)
            .collect()
    }
}

impl Watch {
    /// Where a stream stands that begins now.
    #[must_use]
    pub fn live_cursor(&self) -> LiveCursor {
        LiveCursor { values: self.changed_values.position(), things: self.changed_things.position() }
    }

    /// What changed in the areas of `scope` since the cursor, which moves to the present. A value
    /// that changed many times comes once, as it is now.
    #[must_use]
    pub fn live_since(&self, cursor: &mut LiveCursor, scope: &[AreaPath]) -> Live {
        let sees = |area: &AreaPath| scope.iter().any(|s| area.is_in(s));
        let keys: Vec<DatastreamKey> = self
            .changed_values
            .since(&mut cursor.values)
            .into_iter()
            .filter_map(|n| i32::try_from(n).ok().map(DatastreamKey))
            .filter(|key| self.registry.by_key(*key).is_some_and(|(_, thing, _)| sees(&thing.area)))
            .collect();
        let last = self.lake.last_many(&keys);
        let values = keys.into_iter().zip(last).filter_map(|(key, last)| {
            last.map(|p| LiveValue { key, time: p.time, value: p.value, quality: p.quality })
        });
        let things = self.changed_things.since(&mut cursor.things).into_iter().filter_map(|at| {
            let thing = self.registry.things().get(at).filter(|t| sees(&t.area))?;
            let (state, severity) = self.standing.of(at);
            Some(LiveThing { code: thing.code.clone(), state, severity })
        });
        Live { values: values.collect(), things: things.collect() }
    }
}
