//! Samples, and the contracts of the doors they come in by.
//!
//! The gateway knows sockets and bytes; the watch centre knows things and rules. They meet in the
//! two traits of this module: [`Devices`] says who a device is, [`Ingest`] takes what it says.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{DatastreamKey, Micros};

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
    /// Datastream code → key. A device writes on these and no other.
    pub datastreams: HashMap<String, DatastreamKey>,
}

/// Who the devices are. Implemented by the watch centre, used by the gateway.
#[async_trait]
pub trait Devices: Send + Sync {
    /// The device named `thing` if `secret` is its own.
    ///
    /// `None` for an unknown name and for a wrong secret alike. Answers from memory, so that ten
    /// thousand reconnects do not become ten thousand queries.
    async fn authenticate(&self, thing: &str, secret: &[u8]) -> Option<Arc<Device>>;
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
}

/// Takes observations. Implemented by the watch centre, used by the gateway.
#[async_trait]
pub trait Ingest: Send + Sync {
    /// Stores the samples and what could not be read.
    ///
    /// **Returns `Ok` only after the commit that holds them is on disk**: the caller
    /// acknowledges its peers then and not before. Calls are made one after another by one
    /// batcher; a batch is at most [`BATCH_CAP`] samples. Repeats are allowed: the same
    /// (datastream, time) with the same value is the same sample.
    ///
    /// # Errors
    /// [`IngestError`]; nothing of the batch counts as stored then.
    async fn ingest(&self, samples: Vec<Sample>, unreadable: Vec<Unreadable>) -> Result<(), IngestError>;
}

/// The most samples that one call of [`Ingest::ingest`] carries.
pub const BATCH_CAP: usize = 8192;
