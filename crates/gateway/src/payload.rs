//! JSON of a device → samples.
//!
//! Three forms, all on the topic of one datastream:
//! - an object `{"t": "2026-11-24T14:32:05.120+08:00", "v": 0.187}`; other members are ignored;
//! - an array of such objects, at most [`MAX_OBSERVATIONS`], each with its `t` when there are
//!   several;
//! - a bare number.
//!
//! `t` is RFC 3339 or an integer of milliseconds since 1970 UTC; without it the time of receipt
//! stands in and the sample says so. A payload is taken whole or not at all.
//!
//! What answers a question ([`reply`]) is such an object with the question's `id` besides, or with
//! an `error` in the place of `v`, or a bare number.

use std::borrow::Cow;
use std::fmt;

use model::command::Reply;
use model::observation::{FUTURE_TOLERANCE_MICROS, quality};
use model::{
    DatastreamKey, Micros,
    observation::{Columns, Sample},
};
use serde::de::{self, Deserialize, Deserializer, Visitor};

/// The most observations that one message carries.
pub const MAX_OBSERVATIONS: usize = 1000;

/// The largest magnitude of a value. No quantity of a city comes near it in its unit; what does is
/// a broken sensor or a mistaken field, and would ruin every mean it entered.
pub const MAX_MAGNITUDE: f64 = 1e15;

/// 9999-12-31T23:59:59.999999Z. A count of microseconds taken for milliseconds lies far beyond.
const LATEST: i64 = 253_402_300_799_999_999;

/// Why a payload could not be read; each fits into [`model::observation::Unreadable::reason`].
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// No bytes, or only blanks.
    #[error("payload is empty")]
    Empty,
    /// Not JSON at all.
    #[error("payload is not JSON: {0}")]
    NotJson(serde_json::Error),
    /// JSON of another shape.
    #[error("payload is not an observation: {0}; it must be {{\"t\": time, \"v\": number}}")]
    NotAnObservation(serde_json::Error),
    /// JSON of another shape, on a topic of SensorThings.
    #[error(
        "payload is not an observation: {0}; it must be {{\"result\": number, \"phenomenonTime\": time}}"
    )]
    NotASensorThingsObservation(serde_json::Error),
    /// An empty array.
    #[error("payload is an array without an observation")]
    NoObservation,
    /// More than [`MAX_OBSERVATIONS`].
    #[error("payload holds {0} observations; at most 1000 go into one message")]
    TooMany(usize),
    /// Beyond [`MAX_MAGNITUDE`].
    #[error("value {0:e} of observation {1} is beyond ±1e15")]
    ValueOutOfRange(f64, usize),
    /// Before 1970 or after 9999.
    #[error("time of observation {0} is not between 1970 and 9999; an integer counts milliseconds")]
    TimeOutOfRange(usize),
    /// An answer without a value.
    #[error(
        "payload answers nothing; it must be {{\"id\": id, \"t\": time, \"v\": number}}, or have an \"error\""
    )]
    NoAnswer,
    /// Several observations of one datastream cannot share the time of receipt.
    #[error("observation {0} has no t; in an array of several each needs one")]
    NoTime(usize),
}

/// Reads `payload` of `datastream`, received at `now`, and appends its samples to `out`.
///
/// # Errors
/// [`PayloadError`]; nothing is appended then.
pub fn decode(
    payload: &[u8],
    datastream: DatastreamKey,
    now: Micros,
    out: &mut Columns,
) -> Result<(), PayloadError> {
    let start = payload.iter().position(|b| !b.is_ascii_whitespace()).ok_or(PayloadError::Empty)?;
    let sample = |row: Row, position| row.sample(datastream, now, position);
    match payload[start] {
        b'{' => out.push(sample(read(payload)?, 1)?),
        b'[' => {
            let rows: Vec<Row> = read(payload)?;
            match rows.len() {
                0 => return Err(PayloadError::NoObservation),
                1 => {}
                n if n > MAX_OBSERVATIONS => return Err(PayloadError::TooMany(n)),
                _ => {
                    if let Some(at) = rows.iter().position(|row| row.t.is_none()) {
                        return Err(PayloadError::NoTime(at + 1));
                    }
                }
            }
            let before = out.len();
            for (at, row) in rows.into_iter().enumerate() {
                match sample(row, at + 1) {
                    Ok(sample) => out.push(sample),
                    Err(error) => {
                        out.truncate(before);
                        return Err(error);
                    }
                }
            }
        }
        _ => out.push(sample(Row { t: None, v: read(payload)? }, 1)?),
    }
    Ok(())
}

fn read<'de, T: Deserialize<'de>>(payload: &'de [u8]) -> Result<T, PayloadError> {
    serde_json::from_slice(payload).map_err(|error| {
        if error.is_data() { PayloadError::NotAnObservation(error) } else { PayloadError::NotJson(error) }
    })
}

#[derive(serde::Deserialize)]
struct Row {
    #[serde(default)]
    t: Option<When>,
    v: f64,
}

/// SensorThings' observation (OGC 18-088): a number, and when it held.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Observation {
    result: f64,
    #[serde(default)]
    phenomenon_time: Option<Instant>,
    #[serde(default)]
    result_time: Option<Instant>,
}

/// Reads an observation as SensorThings' MQTT create sends it: `{"result": number,
/// "phenomenonTime": time, "resultTime": time}`. Times are RFC 3339; without a phenomenonTime the
/// resultTime stands in, without both the time of receipt. Other members are ignored, an interval
/// is not taken: a sample here holds at an instant.
///
/// # Errors
/// [`PayloadError`]; nothing is appended then.
pub fn decode_observation(
    payload: &[u8],
    datastream: DatastreamKey,
    now: Micros,
    out: &mut Columns,
) -> Result<(), PayloadError> {
    if payload.iter().all(u8::is_ascii_whitespace) {
        return Err(PayloadError::Empty);
    }
    let observation: Observation = serde_json::from_slice(payload).map_err(|error| {
        if error.is_data() {
            PayloadError::NotASensorThingsObservation(error)
        } else {
            PayloadError::NotJson(error)
        }
    })?;
    let t = observation.phenomenon_time.or(observation.result_time).map(|Instant(t)| When(t));
    out.push(Row { t, v: observation.result }.sample(datastream, now, 1)?);
    Ok(())
}

/// An answer as a device sends it.
#[derive(Debug, Default, serde::Deserialize)]
pub struct ReplyBody<'a> {
    /// Which question: the text that it came with.
    #[serde(default, borrow)]
    pub id: Option<Cow<'a, str>>,
    #[serde(default)]
    t: Option<When>,
    #[serde(default)]
    v: Option<f64>,
    #[serde(default, borrow)]
    error: Option<Cow<'a, str>>,
}

/// Bytes of a device's own words that are kept.
const WORDS: usize = 200;

/// Reads `payload` as the answer to a question.
///
/// # Errors
/// [`PayloadError`].
pub fn reply(payload: &[u8]) -> Result<ReplyBody<'_>, PayloadError> {
    match payload.iter().find(|b| !b.is_ascii_whitespace()) {
        None => Err(PayloadError::Empty),
        Some(b'{') => read(payload),
        Some(_) => Ok(ReplyBody { v: Some(read(payload)?), ..ReplyBody::default() }),
    }
}

impl ReplyBody<'_> {
    /// What it says of `datastream`; a value is appended to `out` as a sample.
    ///
    /// # Errors
    /// [`PayloadError`]; nothing is appended then.
    pub fn take(
        self,
        datastream: DatastreamKey,
        now: Micros,
        out: &mut Columns,
    ) -> Result<Reply, PayloadError> {
        if let Some(error) = self.error {
            // A device's words may hold anything; U+0000 no database takes.
            return Ok(Reply::Fault(cut(&error, WORDS).replace('\0', " ")));
        }
        let v = self.v.ok_or(PayloadError::NoAnswer)?;
        let sample = Row { t: self.t, v }.sample(datastream, now, 1)?;
        out.push(sample);
        Ok(Reply::Value { time: sample.time, value: sample.value })
    }
}

/// An instant as SensorThings writes it: RFC 3339, no number.
struct Instant(Micros);

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(d)?;
        Micros::parse(&text)
            .map(Self)
            .map_err(|e| de::Error::custom(format_args!("time {:?} is not RFC 3339: {e}", cut(&text, 40))))
    }
}

impl Row {
    fn sample(self, datastream: DatastreamKey, now: Micros, position: usize) -> Result<Sample, PayloadError> {
        // JSON knows no NaN and serde_json refuses what overflows to infinity; the comparison is
        // written so that either would be refused here too.
        if !(-MAX_MAGNITUDE..=MAX_MAGNITUDE).contains(&self.v) {
            return Err(PayloadError::ValueOutOfRange(self.v, position));
        }
        let (time, quality) = match self.t {
            None => (now, quality::TIME_OF_RECEIPT),
            Some(When(t)) if !(0..=LATEST).contains(&t.0) => {
                return Err(PayloadError::TimeOutOfRange(position));
            }
            Some(When(t)) if t.since(now) > FUTURE_TOLERANCE_MICROS => (t, quality::FROM_THE_FUTURE),
            Some(When(t)) => (t, 0),
        };
        Ok(Sample { datastream, time, value: self.v, quality })
    }
}

/// An instant as devices write it.
#[derive(Clone, Copy, Debug)]
struct When(Micros);

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = When;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("t as RFC 3339 or as an integer of milliseconds")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<When, E> {
                Micros::parse(text)
                    .map(When)
                    .map_err(|e| E::custom(format_args!("t {:?} is not RFC 3339: {e}", cut(text, 40))))
            }

            fn visit_i64<E: de::Error>(self, ms: i64) -> Result<When, E> {
                Ok(When(Micros(ms.saturating_mul(1000))))
            }

            fn visit_u64<E: de::Error>(self, ms: u64) -> Result<When, E> {
                Ok(When(Micros(i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1000))))
            }
        }
        d.deserialize_any(Reader)
    }
}

/// The first `bytes` bytes of `text`, ended at a character.
pub(crate) fn cut(text: &str, bytes: usize) -> Cow<'_, str> {
    Cow::Borrowed(&text[..text.floor_char_boundary(bytes)])
}
