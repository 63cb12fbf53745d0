//! Rows to Arrow IPC and back.
//!
//! A segment is one Arrow IPC stream of one record batch in the columns of [`crate::rows::schema`].

use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::ArrowError;
use model::Micros;

use crate::LakeError;
use crate::rows::{Rows, schema};

/// Samples that were committed together.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// Its number; numbers rise with every commit and may leave gaps.
    pub seq: u64,
    /// When the batch was received, by the hub's clock.
    pub received_at: Micros,
    /// Sorted by (datastream, time); equal instants in order of arrival.
    pub rows: Rows,
}

/// A segment that cannot be read back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read segment {seq}: {reason}")]
pub struct Damaged {
    /// Its number.
    pub seq: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// The checksum a segment is stored with: CRC-32 (IEEE) of its bytes.
pub(crate) fn checksum(bytes: &[u8]) -> i64 {
    i64::from(crc32fast::hash(bytes))
}

/// Rows as an Arrow IPC stream.
///
/// # Errors
/// [`LakeError::Encode`].
pub fn encode(rows: &Rows) -> Result<Vec<u8>, LakeError> {
    write(rows).map_err(|e| LakeError::Encode(e.to_string()))
}

fn write(rows: &Rows) -> Result<Vec<u8>, ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::with_capacity(1024 + rows.len() * 22), &schema())?;
    writer.write(rows.batch())?;
    writer.finish()?;
    writer.into_inner()
}

/// Reads what [`encode`] wrote: bytes whose checksum fits. Arrow's reader reserves the lengths
/// that a stream names, so that bytes of unknown origin do not belong here.
///
/// # Errors
/// What is wrong, as a fragment.
pub fn decode(bytes: &[u8]) -> Result<Rows, String> {
    // Arrow's reader takes offsets on trust and panics on some that lie outside the stream.
    std::panic::catch_unwind(|| read(bytes))
        .unwrap_or_else(|_| Err("its Arrow stream contradicts itself".into()))
}

fn read(bytes: &[u8]) -> Result<Rows, String> {
    let reader = StreamReader::try_new(bytes, None).map_err(|e| format!("it is no Arrow stream: {e}"))?;
    if reader.schema().fields() != schema().fields() {
        return Err("its columns are not those of observations".into());
    }
    let mut batches = Vec::with_capacity(1);
    for batch in reader {
        batches.push(batch.map_err(|e| format!("its Arrow stream does not read: {e}"))?);
    }
    match <[_; 1]>::try_from(batches) {
        Ok([batch]) => Rows::from_batch(batch),
        Err(batches) => Err(format!("it holds {} batches and not one", batches.len())),
    }
}
