//! Samples, and the contracts of the doors they come in by.
//!
//! The gateway knows sockets and bytes; the watch centre knows things and rules. They meet in the
//! two traits of this module: [`Devices`] says who a device is, [`Ingest`] takes what it says.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{AreaPath, DatastreamKey, Micros};

/// One observation (观测): a value of a datastream at an instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Which datastream.
    pub datastream: DatastreamKey,
    /// When the value held (SensorThings' phenomenonTime).
    pub time: Micros,
    /// The value in the datastream's unit; never NaN or infinite.
    pub value: f64,
    /// Bits of [`quality`]; 0 is good.
    pub quality: u8,
}

/// Samples that travel together, column by column, in the types of the lake's tables (which have
/// no unsigned integers), so that from the socket to the disk nothing is allocated per sample.
///
/// All columns have the same length; [`Columns::push`] and [`Columns::append`] see to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns {
    /// [`DatastreamKey`]s.
    pub datastream: Vec<i32>,
    /// Phenomenon times, microseconds UTC.
    pub time: Vec<i64>,
    /// Values in the datastreams' units.
    pub value: Vec<f64>,
    /// Bits of [`quality`].
    pub quality: Vec<i16>,
}

impl Columns {
    /// Bytes that a sample takes.
    pub const ROW_BYTES: usize = 4 + 8 + 8 + 2;

    /// Empty columns with room for `rows` samples.
    #[must_use]
    pub fn with_capacity(rows: usize) -> Self {
        Self {
            datastream: Vec::with_capacity(rows),
            time: Vec::with_capacity(rows),
            value: Vec::with_capacity(rows),
            quality: Vec::with_capacity(rows),
        }
    }

    /// How many samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.datastream.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.datastream.is_empty()
    }

    /// Adds a sample.
    pub fn push(&mut self, sample: Sample) {
        self.datastream.push(sample.datastream.0);
        self.time.push(sample.time.0);
        self.value.push(sample.value);
        self.quality.push(i16::from(sample.quality));
    }

    /// Moves all of `other` to the end.
    pub fn append(&mut self, other: &mut Self) {
        self.datastream.append(&mut other.datastream);
        self.time.append(&mut other.time);
        self.value.append(&mut other.value);
        self.quality.append(&mut other.quality);
    }

    /// Keeps the first `rows` samples.
    pub fn truncate(&mut self, rows: usize) {
        self.datastream.truncate(rows);
        self.time.truncate(rows);
        self.value.truncate(rows);
        self.quality.truncate(rows);
    }

    /// The sample at `at`, if there are so many.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<Sample> {
        Some(Sample {
            datastream: DatastreamKey(*self.datastream.get(at)?),
            time: Micros(*self.time.get(at)?),
            value: *self.value.get(at)?,
            // Only the low byte is ever written.
            quality: u8::try_from(*self.quality.get(at)?).unwrap_or(u8::MAX),
        })
    }

    /// Every sample in order.
    pub fn iter(&self) -> impl Iterator<Item = Sample> + '_ {
        let columns = self.datastream.iter().zip(&self.time).zip(self.value.iter().zip(&self.quality));
        columns.map(|((datastream, time), (value, quality))| Sample {
            datastream: DatastreamKey(*datastream),
            time: Micros(*time),
            value: *value,
            quality: u8::try_from(*quality).unwrap_or(u8::MAX),
        })
    }
}

impl FromIterator<Sample> for Columns {
    fn from_iter<I: IntoIterator<Item = Sample>>(samples: I) -> Self {
        let samples = samples.into_iter();
        let mut columns = Self::with_capacity(samples.size_hint().0);
        samples.for_each(|sample| columns.push(sample));
        columns
    }
}

/// Bits of [`Sample::quality`].
pub mod quality {
    /// The device gave no time; the time of receipt stands in.
    pub const TIME_OF_RECEIPT: u8 = 1;
    /// More than five minutes ahead of the hub's clock: kept, not judged.
    pub const FROM_THE_FUTURE: u8 = 2;
    /// Late: older than the last judged sample of its datastream: kept, not judged.
    pub const LATE: u8 = 4;
    /// Outside what the datastream can mean at all (a broken sensor): kept, not judged.
    pub const OUT_OF_RANGE: u8 = 8;
}

/// How far ahead of the hub's clock a sample may be before it is flagged and not judged.
pub const FUTURE_TOLERANCE_MICROS: i64 = 5 * Micros::MINUTE;

/// A device that proved who it is, with the datastreams it may write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The thing's code: the user name of the connection and the second level of its topics.
    pub thing: String,
    /// Where the thing is.
    pub area: AreaPath,
    /// Datastream code → key. A device writes on these and no other.
    pub datastreams: HashMap<String, DatastreamKey>,
}

/// Another system (集成方) that reads or writes for the things of its areas: who holds a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Integrator {
    /// The token's name, as audit and metrics show it.
    pub name: String,
    /// Where it may read observations.
    pub read: Vec<AreaPath>,
    /// Where it may write them.
    pub write: Vec<AreaPath>,
}

impl Integrator {
    /// Whether it may read the observations of a thing at `area`.
    #[must_use]
    pub fn may_read(&self, area: &AreaPath) -> bool {
        self.read.iter().any(|a| area.is_in(a))
    }

    /// Whether it may write the observations of a thing at `area`.
    #[must_use]
    pub fn may_write(&self, area: &AreaPath) -> bool {
        self.write.iter().any(|a| area.is_in(a))
    }
}

/// Who stands at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A device: its own topics.
    Device(Arc<Device>),
    /// An integrator: the topics of the things in its areas.
    Integrator(Arc<Integrator>),
}

/// Who the devices are. Implemented by the watch centre, used by the gateway.
#[async_trait]
pub trait Devices: Send + Sync {
    /// The device named `name` if `secret` is its own, or the integrator whose token `secret` is
    /// (its name is then of no weight).
    ///
    /// `None` for an unknown name and for a wrong secret alike. Answers from memory, so that ten
    /// thousand reconnects do not become ten thousand queries.
    async fn authenticate(&self, name: &str, secret: &[u8]) -> Option<Peer>;

    /// The thing with this code, for topics that an integrator uses.
    fn device(&self, thing: &str) -> Option<Arc<Device>>;

    /// The thing that a datastream belongs to: SensorThings names datastreams by their key.
    fn owner(&self, key: DatastreamKey) -> Option<Arc<Device>>;
}

/// What a device sent and the hub could not read, kept with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The thing's code, as authenticated.
    pub thing: String,
    /// The topic, cut to 256 bytes.
    pub topic: String,
    /// The payload, cut to 4 KiB.
    pub payload: bytes::Bytes,
    /// Why, as a lower-case fragment: `payload is not JSON: …`.
    pub reason: String,
    /// When it came.
    pub received_at: Micros,
}

/// Why a batch was not taken. Nothing of it may be acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    /// The store did not take it (disk full, database away). The sender may try again.
    #[error("the store did not take the batch: {0}")]
    Store(String),
    /// The hub is stopping.
    #[error("the hub is stopping")]
    Stopping,
    /// More than [`BATCH_CAP`] samples in one call.
    #[error("{0} samples are more than one batch holds; send at most {BATCH_CAP}")]
    TooLarge(usize),
}

/// Takes observations. Implemented by the watch centre, used by the gateway and by HTTP's doors.
#[async_trait]
pub trait Ingest: Send + Sync {
    /// Stores the samples and what could not be read.
    ///
    /// **Returns `Ok` only after the commit that holds them is on disk**: the caller
    /// acknowledges its peers then and not before. Many may call at the same time: what waits
    /// while one commit runs is the next, one commit for all doors. A call that finds no room
    /// waits, so that a slow store slows the sockets; whoever waits stops reading. A call is at
    /// most [`BATCH_CAP`] samples, else nothing of it is taken. Repeats are allowed: the same
    /// (datastream, time) with the same value is the same sample.
    ///
    /// # Errors
    /// [`IngestError`]; nothing of the batch counts as stored then.
    async fn ingest(&self, samples: Columns, unreadable: Vec<Unreadable>) -> Result<(), IngestError>;
}

/// The most samples that one call of [`Ingest::ingest`] carries.
pub const BATCH_CAP: usize = 32_768;
