//! Samples to Arrow IPC and back.
//!
//! A segment is one Arrow IPC stream of one record batch, columns as in the lake's tables to
//! come: `datastream` Int32, `phenomenon_time` Timestamp(µs, UTC), `value` Float64, `quality`
//! Int16 (the table format has no unsigned integers).

use std::sync::{Arc, LazyLock};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int16Type, Int32Type, TimestampMicrosecondType};
use arrow_array::{Float64Array, Int16Array, Int32Array, RecordBatch, TimestampMicrosecondArray};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema, TimeUnit};
use model::observation::Sample;
use model::{DatastreamKey, Micros};

use crate::LakeError;

/// Samples that were committed together.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// Its number; numbers rise with every commit and may leave gaps.
    pub seq: u64,
    /// When the batch was received, by the hub's clock.
    pub received_at: Micros,
    /// Sorted by (datastream, time); equal instants in order of arrival.
    pub samples: Arc<[Sample]>,
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

static SCHEMA: LazyLock<Arc<Schema>> = LazyLock::new(|| {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("datastream", DataType::Int32, false),
        Field::new("phenomenon_time", time, false),
        Field::new("value", DataType::Float64, false),
        Field::new("quality", DataType::Int16, false),
    ]))
});

/// The checksum a segment is stored with: CRC-32 (IEEE) of its bytes.
pub(crate) fn checksum(bytes: &[u8]) -> i64 {
    i64::from(crc32fast::hash(bytes))
}

/// Samples as an Arrow IPC stream.
///
/// # Errors
/// [`LakeError::Encode`].
pub fn encode(samples: &[Sample]) -> Result<Vec<u8>, LakeError> {
    write(samples).map_err(|e| LakeError::Encode(e.to_string()))
}

fn write(samples: &[Sample]) -> Result<Vec<u8>, ArrowError> {
    let batch = RecordBatch::try_new(
        SCHEMA.clone(),
        vec![
            Arc::new(samples.iter().map(|s| s.datastream.0).collect::<Int32Array>()),
            Arc::new(
                TimestampMicrosecondArray::from_iter_values(samples.iter().map(|s| s.time.0))
                    .with_timezone("UTC"),
            ),
            Arc::new(samples.iter().map(|s| s.value).collect::<Float64Array>()),
            Arc::new(samples.iter().map(|s| i16::from(s.quality)).collect::<Int16Array>()),
        ],
    )?;
    let mut writer = StreamWriter::try_new(Vec::with_capacity(1024 + samples.len() * 22), &SCHEMA)?;
    writer.write(&batch)?;
    writer.finish()?;
    writer.into_inner()
}

/// Reads what [`encode`] wrote: bytes whose checksum fits. Arrow's reader reserves the lengths
/// that a stream names, so that bytes of unknown origin do not belong here.
///
/// # Errors
/// What is wrong, as a fragment.
pub fn decode(bytes: &[u8]) -> Result<Vec<Sample>, String> {
    // Arrow's reader takes offsets on trust and panics on some that lie outside the stream.
    std::panic::catch_unwind(|| read(bytes))
        .unwrap_or_else(|_| Err("its Arrow stream contradicts itself".into()))
}

fn read(bytes: &[u8]) -> Result<Vec<Sample>, String> {
    let reader = StreamReader::try_new(bytes, None).map_err(|e| format!("it is no Arrow stream: {e}"))?;
    if reader.schema().fields() != SCHEMA.fields() {
        return Err("its columns are not those of observations".into());
    }
    let mut samples = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|e| format!("its Arrow stream does not read: {e}"))?;
        let datastream = batch.column(0).as_primitive::<Int32Type>().values();
        let time = batch.column(1).as_primitive::<TimestampMicrosecondType>().values();
        let value = batch.column(2).as_primitive::<Float64Type>().values();
        let quality = batch.column(3).as_primitive::<Int16Type>().values();
        samples.reserve(batch.num_rows());
        for at in 0..batch.num_rows() {
            samples.push(Sample {
                datastream: DatastreamKey(datastream[at]),
                time: Micros(time[at]),
                value: value[at],
                quality: u8::try_from(quality[at])
                    .map_err(|_| format!("row {at} has the quality {}", quality[at]))?,
            });
        }
    }
    Ok(samples)
}
