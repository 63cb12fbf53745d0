//! A row of a file becomes a sample, or a reason why not.

use std::collections::HashMap;
use std::sync::Arc;

use model::observation::Sample;
use model::{AreaPath, DatastreamKey, Micros};
use protocols::ucum::Linear;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::TimeUnit;
use crate::Watch;
use crate::series::{LATEST, MAX_MAGNITUDE, turn};

/// How many datastreams are remembered; one more, and all are found anew.
const REMEMBERED: usize = 200_000;
/// How much of a wrong cell a reason repeats.
const SHOWN: usize = 60;

/// A row that was not stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WrongRow {
    /// Its line in a CSV, its row in a Parquet file; from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// Finds the datastreams of rows.
pub(super) struct Rows {
    watch: Arc<Watch>,
    areas: Vec<AreaPath>,
    known: HashMap<String, Result<(DatastreamKey, Option<Linear>), String>>,
    /// The key of the row at hand, kept so that no row allocates.
    asked: String,
}

impl Rows {
    /// For things in these areas.
    pub(super) fn new(watch: Arc<Watch>, areas: Vec<AreaPath>) -> Self {
        Self { watch, areas, known: HashMap::new(), asked: String::new() }
    }

    /// The sample of a row.
    pub(super) fn sample(
        &mut self,
        thing: &str,
        datastream: &str,
        unit: Option<&str>,
        time: Micros,
        value: f64,
        quality: u8,
    ) -> Result<Sample, String> {
        if !(0..=LATEST).contains(&time.0) {
            return Err("time is not between 1970 and 9999; is time_unit right?".into());
        }
        self.asked.clear();
        for part in [thing, "\0", datastream, "\0", unit.unwrap_or_default()] {
            self.asked.push_str(part);
        }
        if !self.known.contains_key(&self.asked) {
            if self.known.len() >= REMEMBERED {
                self.known.clear();
            }
            let found = self.find(thing, datastream, unit);
            self.known.insert(self.asked.clone(), found);
        }
        let (key, turn) = match self.known.get(&self.asked) {
            Some(Ok(found)) => found,
            Some(Err(reason)) => return Err(reason.clone()),
            None => return Err("the datastream was not found".into()),
        };
        let value = turn.map_or(value, |turn| turn.apply(value));
        // Written so that NaN is refused too.
        if (-MAX_MAGNITUDE..=MAX_MAGNITUDE).contains(&value) {
            Ok(Sample { datastream: *key, time, value, quality })
        } else {
            Err("value is not a number within ±1e15".into())
        }
    }

    fn find(
        &self,
        thing: &str,
        datastream: &str,
        unit: Option<&str>,
    ) -> Result<(DatastreamKey, Option<Linear>), String> {
        // What lies outside the areas is not told apart from what is not there.
        let found = self.watch.registry.by_code(thing).filter(|t| self.areas.iter().any(|a| t.area.is_in(a)));
        let Some(found) = found else { return Err(format!("no thing {:?} in your areas", cut(thing))) };
        let stream = found
            .datastreams
            .iter()
            .map(|(key, at)| (*key, &found.kind.datastreams[*at]))
            .find(|(_, stream)| stream.code == datastream);
        let Some((key, stream)) = stream else {
            return Err(format!("thing {:?} has no datastream {:?}", found.code, cut(datastream)));
        };
        Ok((key, turn(unit.filter(|u| !u.is_empty()), &stream.unit)?))
    }
}

/// A time as a file writes it.
pub(super) fn time(text: &str, unit: Option<TimeUnit>) -> Result<Micros, String> {
    match unit {
        None => Micros::parse(text).map_err(|_| {
            format!("time {:?} is not RFC 3339; for integers say what they count (time_unit)", cut(text))
        }),
        Some(unit) => text
            .parse()
            .ok()
            .and_then(|count| epoch(count, unit))
            .ok_or_else(|| format!("time {:?} is not an integer of {unit:?}", cut(text))),
    }
}

/// An integer time.
pub(super) fn epoch(count: i64, unit: TimeUnit) -> Option<Micros> {
    match unit {
        TimeUnit::S => count.checked_mul(1_000_000),
        TimeUnit::Ms => count.checked_mul(1000),
        TimeUnit::Us => Some(count),
        TimeUnit::Ns => Some(count.div_euclid(1000)),
    }
    .map(Micros)
}

/// The beginning of a text, ended at a character.
pub(super) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(SHOWN)]
}
