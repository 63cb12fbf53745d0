//! Which datastream a line of another system means.
//!
//! The part of a line before its fields repeats from body to body. What it means is found once
//! and kept under its bytes, so that a line costs one look-up and allocates nothing. What is kept
//! never goes out of date: things, their areas and the area of a token are the same until the hub
//! starts anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use model::observation::{Columns, Sample, quality};
use model::{DatastreamKey, Id, Micros};
use platform::token::Token;
use protocols::line_protocol::{Field, Line, LineError, Lines, Precision};
use protocols::ucum::{self, Linear};

use crate::{Registry, Watch};

/// How many series are kept of one token; one more, and all are found anew.
const KEPT: usize = 200_000;
/// Longer ones are found anew every time.
const LONGEST_KEPT: usize = 512;
/// Of how many tokens series are kept.
const TOKENS: usize = 64;
/// How many lines are read between two looks at whether others wait.
const RUN: usize = 1024;
/// How many messages an answer carries.
const MESSAGES: usize = 10;

/// The tag that names the unit of a line's values.
const UNIT_TAG: &str = "unit";
/// The field that stands for the measurement.
const VALUE_FIELD: &[u8] = b"value";

/// The largest magnitude of a value: what comes near it is a mistake, and would ruin every mean.
pub(crate) const MAX_MAGNITUDE: f64 = 1e15;
/// 9999-12-31T23:59:59.999999Z
pub(crate) const LATEST: i64 = 253_402_300_799_999_999;

/// Why a point is dropped: the labels of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    Line,
    Thing,
    Datastream,
    Unit,
    String,
    Value,
    Time,
}

impl Dropped {
    pub(crate) const ALL: [Self; 7] =
        [Self::Line, Self::Thing, Self::Datastream, Self::Unit, Self::String, Self::Value, Self::Time];

    /// The metric's label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Thing => "thing",
            Self::Datastream => "datastream",
            Self::Unit => "unit",
            Self::String => "string",
            Self::Value => "value",
            Self::Time => "time",
        }
    }
}

/// What was dropped of a body, and why.
#[derive(Default)]
pub(crate) struct Report {
    /// How many of each kind.
    counts: [u64; Dropped::ALL.len()],
    /// The first few, each once.
    messages: Vec<String>,
}

impl Report {
    fn tell(&mut self, why: Dropped, count: usize, message: impl FnOnce() -> String) {
        self.counts[why as usize] += count as u64;
        if self.messages.len() < MESSAGES {
            let message = message();
            if !self.messages.contains(&message) {
                self.messages.push(message);
            }
        }
    }

    /// How many points were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How many of one kind.
    pub(crate) fn count(&self, why: Dropped) -> u64 {
        self.counts[why as usize]
    }

    /// Whether nothing but lines that did not read was dropped.
    pub(crate) fn only_lines(&self) -> bool {
        self.dropped() == self.count(Dropped::Line)
    }

    /// The first reasons, a line each.
    pub(crate) fn text(&self) -> String {
        self.messages.join("\n")
    }
}

/// What a series means: its thing, and where each field goes.
struct Target {
    thing: String,
    fields: Vec<FieldTarget>,
    /// Where the field `value` goes, if the measurement names a datastream: a place in `fields`.
    value: Option<usize>,
}

struct FieldTarget {
    code: String,
    key: DatastreamKey,
    /// `None` when the value is in the datastream's unit already; an error says why it cannot be.
    turn: Result<Option<Linear>, String>,
}

/// Of a token: what its series mean, or why they mean nothing.
type Kept = HashMap<Box<[u8]>, Result<Target, (Dropped, String)>>;

/// What the series of every token mean.
#[derive(Default)]
pub(crate) struct SeriesCache(Mutex<HashMap<Id, Arc<RwLock<Kept>>>>);

impl SeriesCache {
    fn of(&self, token: Id) -> Arc<RwLock<Kept>> {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= TOKENS && !tokens.contains_key(&token) {
            tokens.clear();
        }
        tokens.entry(token).or_default().clone()
    }
}

/// The lines of one body on their way to samples.
pub(crate) struct Points<'a> {
    watch: &'a Watch,
    token: &'a Token,
    kept: Arc<RwLock<Kept>>,
    lines: Lines<'a>,
    precision: Precision,
    received_at: Micros,
    /// What was dropped so far.
    pub(crate) report: Report,
}

impl<'a> Points<'a> {
    pub(crate) fn new(
        watch: &'a Watch,
        cache: &SeriesCache,
        token: &'a Token,
        body: &'a [u8],
        precision: Precision,
        received_at: Micros,
    ) -> Self {
        let kept = cache.of(token.id);
        let lines = Lines::new(body);
        Self { watch, token, kept, lines, precision, received_at, report: Report::default() }
    }

    /// Reads some lines into `columns`, until these hold `full` samples or others may have waited
    /// long enough; whether there is more.
    pub(crate) fn run(&mut self, columns: &mut Columns, full: usize) -> bool {
        let lock = self.kept.clone();
        let mut kept = lock.read().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..RUN {
            if columns.len() >= full {
                return true;
            }
            let Some(line) = self.lines.read() else { return false };
            let line = match line {
                Ok(line) => line,
                Err(error) => {
                    self.report.tell(Dropped::Line, 1, || error.to_string());
                    continue;
                }
            };
            let time = match time(&line, self.precision, self.received_at) {
                Ok(time) => time,
                Err(message) => {
                    self.report.tell(Dropped::Time, line.fields.len(), || message.to_owned());
                    continue;
                }
            };
            if let Some(target) = kept.get(line.key) {
                place(target, &line, time, columns, &mut self.report);
                continue;
            }
            let target = match find(&self.watch.registry, self.token, &line) {
                Ok(target) => target,
                Err(error) => {
                    self.report.tell(Dropped::Line, 1, || error.to_string());
                    continue;
                }
            };
            place(&target, &line, time, columns, &mut self.report);
            if line.key.len() > LONGEST_KEPT {
                continue;
            }
            drop(kept);
            {
                let mut kept = lock.write().unwrap_or_else(PoisonError::into_inner);
                if kept.len() >= KEPT {
                    kept.clear();
                }
                kept.insert(line.key.into(), target);
            }
            kept = lock.read().unwrap_or_else(PoisonError::into_inner);
        }
        true
    }
}

/// When a line's values held, and whether that is the time of receipt.
fn time(
    line: &Line<'_, '_>,
    precision: Precision,
    received_at: Micros,
) -> Result<(Micros, u8), &'static str> {
    let Some(timestamp) = line.timestamp else { return Ok((received_at, quality::TIME_OF_RECEIPT)) };
    match precision.micros(timestamp) {
        Some(time) if (0..=LATEST).contains(&time) => Ok((Micros(time), 0)),
        _ => Err("time outside range 1970 to 9999 (is the precision right?)"),
    }
}

/// Puts the values of a line where they go.
fn place(
    target: &Result<Target, (Dropped, String)>,
    line: &Line<'_, '_>,
    (time, quality): (Micros, u8),
    columns: &mut Columns,
    report: &mut Report,
) {
    let target = match target {
        Ok(target) => target,
        Err((why, message)) => return report.tell(*why, line.fields.len(), || message.clone()),
    };
    for field in line.fields {
        match sample(target, field) {
            Ok((datastream, value)) => columns.push(Sample { datastream, time, value, quality }),
            Err(why) => report.tell(why, 1, || complaint(why, target, line, field)),
        }
    }
}

fn sample(target: &Target, field: &Field<'_>) -> Result<(DatastreamKey, f64), Dropped> {
    let value = field.value.number().ok_or(Dropped::String)?;
    let place = target.field(field).ok_or(Dropped::Datastream)?;
    let value = match &place.turn {
        Ok(None) => value,
        Ok(Some(turn)) => turn.apply(value),
        Err(_) => return Err(Dropped::Unit),
    };
    // Written so that NaN would be refused too.
    if (-MAX_MAGNITUDE..=MAX_MAGNITUDE).contains(&value) {
        Ok((place.key, value))
    } else {
        Err(Dropped::Value)
    }
}

fn complaint(why: Dropped, target: &Target, line: &Line<'_, '_>, field: &Field<'_>) -> String {
    let key = field.key.text();
    match why {
        Dropped::String => format!("field {key:?} is a string; datastreams hold numbers"),
        Dropped::Unit => match target.field(field).map(|place| &place.turn) {
            Some(Err(message)) => format!("field {key:?}: {message}"),
            _ => format!("field {key:?}: its unit does not fit"),
        },
        Dropped::Value => format!("field {key:?}: value beyond ±1e15 (line {})", line.number),
        _ => {
            let known: Vec<&str> = target.fields.iter().map(|f| f.code.as_str()).collect();
            let named = match key.as_bytes() == VALUE_FIELD {
                true => "the measurement, which names the datastream of a field \"value\",".to_owned(),
                false => format!("field {key:?}"),
            };
            format!("{named} is no datastream of thing {:?}; known are {}", target.thing, known.join(", "))
        }
    }
}

impl Target {
    fn field(&self, field: &Field<'_>) -> Option<&FieldTarget> {
        let raw = field.key.raw();
        if raw == VALUE_FIELD
            && let Some(at) = self.value
        {
            return self.fields.get(at);
        }
        self.fields.iter().find(|f| f.code.as_bytes() == raw).or_else(|| {
            let meant = field.key.bytes();
            self.fields.iter().find(|f| f.code.as_bytes() == &*meant)
        })
    }
}

/// What a series means, or why it means nothing to this token.
fn find<'l>(
    registry: &Registry,
    token: &Token,
    line: &Line<'l, '_>,
) -> Result<Result<Target, (Dropped, String)>, LineError<'l>> {
    let series = line.series()?;
    let Some(code) = series.tag(&token.thing_tag) else {
        let message = format!("no tag {:?} names the thing", token.thing_tag);
        return Ok(Err((Dropped::Thing, message)));
    };
    let code = code.text();
    // What lies outside the token's areas is not told apart from what is not there.
    let Some(thing) = registry.by_code(&code).filter(|t| token.integrator.may_write(&t.area)) else {
        let message = format!("no thing {code:?} in the areas that the token may write");
        return Ok(Err((Dropped::Thing, message)));
    };
    let unit = series.tag(UNIT_TAG).map(|unit| unit.text());
    let fields: Vec<FieldTarget> = thing
        .datastreams
        .iter()
        .map(|(key, at)| {
            let stream = &thing.kind.datastreams[*at];
            FieldTarget { code: stream.code.clone(), key: *key, turn: turn(unit.as_deref(), &stream.unit) }
        })
        .collect();
    let measurement = series.measurement().text();
    let value = fields.iter().position(|f| f.code == measurement);
    Ok(Ok(Target { thing: thing.code.clone(), fields, value }))
}

/// How a value in `given` becomes one in `wanted`.
pub(crate) fn turn(given: Option<&str>, wanted: &str) -> Result<Option<Linear>, String> {
    match given {
        None => Ok(None),
        Some(given) if given == wanted => Ok(None),
        Some(given) => ucum::conversion(given, wanted).map(Some).map_err(|e| e.to_string()),
    }
}
