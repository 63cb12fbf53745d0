//! Parquet as observations.

use std::fs::File;
use std::path::Path;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int16Type, Int64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::cast;
use arrow_schema::{DataType, TimeUnit as ArrowUnit};
use model::Micros;
use model::observation::Sample;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::row::{Rows, epoch, time};
use super::source::{BATCH, Position, Step};
use super::{ColumnNames, TimeUnit};

/// The columns of a batch, each in the one type that is read on.
struct Cells {
    thing: ArrayRef,
    datastream: ArrayRef,
    time: Times,
    value: ArrayRef,
    quality: Option<ArrayRef>,
    unit: Option<ArrayRef>,
}

/// Times as a file may hold them.
enum Times {
    /// Timestamps, in microseconds UTC.
    Micros(ArrayRef),
    /// Integers that count what the import says.
    Epoch(ArrayRef, TimeUnit),
    /// RFC 3339.
    Text(ArrayRef),
}

/// Reads from `position` on and gives batches, until `give` takes no more.
pub(super) fn read(
    path: &Path,
    names: &ColumnNames,
    position: Option<Position>,
    rows: &mut Rows,
    give: &mut dyn FnMut(Step) -> bool,
) -> Result<(), String> {
    let unreadable = |e: &dyn std::fmt::Display| format!("the file does not read: {e}");
    let file = File::open(path).map_err(|e| unreadable(&e))?;
    let size = file.metadata().map_err(|e| unreadable(&e))?.len();
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| unreadable(&e))?;
    let total = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0).max(1);
    let named = [
        (&names.thing, "thing", true),
        (&names.datastream, "datastream", true),
        (&names.time, "time", true),
        (&names.value, "value", true),
        (&names.quality, "quality", names.quality.is_some()),
        (&names.unit, "unit", names.unit.is_some()),
    ];
    let mut wanted = Vec::new();
    for (asked, name, needed) in named {
        let name = asked.as_deref().unwrap_or(name);
        match builder.schema().index_of(name) {
            Ok(at) => wanted.push(at),
            Err(_) if !needed => {}
            Err(_) => {
                let known: Vec<_> = builder.schema().fields().iter().map(|f| f.name().as_str()).collect();
                let known = known.join(", ");
                let known = &known[..known.floor_char_boundary(400)];
                return Err(format!("the file has no column {name:?}; it has {known}"));
            }
        }
    }
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
    let mut row = match position {
        Some(Position::Parquet { row }) => row,
        _ => 0,
    };
    let offset = usize::try_from(row).unwrap_or(usize::MAX);
    let reader = builder
        .with_projection(mask)
        .with_batch_size(BATCH)
        .with_offset(offset)
        .build()
        .map_err(|e| unreadable(&e))?;
    for batch in reader {
        let batch = batch.map_err(|e| unreadable(&e))?;
        let cells = Cells::of(&batch, names)?;
        let mut step = Step::new(Position::Parquet { row });
        for at in 0..batch.num_rows() {
            match cells.sample(at, rows) {
                Ok(sample) => step.columns.push(sample),
                Err(reason) => step.wrong(row + at as u64 + 1, reason),
            }
        }
        row += batch.num_rows() as u64;
        step.position = Position::Parquet { row };
        step.bytes_read =
            u64::try_from(u128::from(size) * u128::from(row) / u128::from(total)).unwrap_or(size);
        if !give(step) {
            return Ok(());
        }
    }
    Ok(())
}

impl Cells {
    fn of(batch: &RecordBatch, names: &ColumnNames) -> Result<Self, String> {
        let column = |asked: &Option<String>, name: &str| {
            batch.column_by_name(asked.as_deref().unwrap_or(name)).cloned()
        };
        let needed = |asked: &Option<String>, name: &str| {
            column(asked, name).ok_or_else(|| format!("the file has no column {name:?}"))
        };
        let of = |array: ArrayRef, to: &DataType, name: &str| {
            cast(&array, to).map_err(|e| format!("the column of {name} cannot be read as {to}: {e}"))
        };
        let time = needed(&names.time, "time")?;
        let time = match (time.data_type(), names.time_unit) {
            (DataType::Timestamp(..), _) => {
                // Without a time zone they are UTC.
                let micros = of(time, &DataType::Timestamp(ArrowUnit::Microsecond, None), "time")?;
                Times::Micros(of(micros, &DataType::Int64, "time")?)
            }
            (kind, Some(unit)) if kind.is_integer() => {
                Times::Epoch(of(time, &DataType::Int64, "time")?, unit)
            }
            (kind, None) if kind.is_integer() => {
                return Err("times are integers; say what they count (time_unit)".into());
            }
            _ => Times::Text(of(time, &DataType::Utf8, "time")?),
        };
        let optional = |asked, name: &str, to| column(asked, name).map(|c| of(c, to, name)).transpose();
        Ok(Self {
            thing: of(needed(&names.thing, "thing")?, &DataType::Utf8, "thing")?,
            datastream: of(needed(&names.datastream, "datastream")?, &DataType::Utf8, "datastream")?,
            time,
            value: of(needed(&names.value, "value")?, &DataType::Float64, "value")?,
            quality: optional(&names.quality, "quality", &DataType::Int16)?,
            unit: optional(&names.unit, "unit", &DataType::Utf8)?,
        })
    }

    fn sample(&self, at: usize, rows: &mut Rows) -> Result<Sample, String> {
        let filled = |array: &ArrayRef, name: &str| match array.is_null(at) {
            true => Err(format!("{name} is null or cannot be read")),
            false => Ok(()),
        };
        filled(&self.thing, "thing")?;
        filled(&self.datastream, "datastream")?;
        filled(&self.value, "value")?;
        let time = match &self.time {
            Times::Micros(array) => {
                filled(array, "time")?;
                Micros(array.as_primitive::<Int64Type>().value(at))
            }
            Times::Epoch(array, unit) => {
                filled(array, "time")?;
                let count = array.as_primitive::<Int64Type>().value(at);
                epoch(count, *unit).ok_or("time is out of range")?
            }
            Times::Text(array) => {
                filled(array, "time")?;
                time(array.as_string::<i32>().value(at), None)?
            }
        };
        let quality = match &self.quality {
            Some(array) if !array.is_null(at) => u8::try_from(array.as_primitive::<Int16Type>().value(at))
                .map_err(|_| "quality is not 0 to 255")?,
            _ => 0,
        };
        let unit = match &self.unit {
            Some(array) if !array.is_null(at) => Some(array.as_string::<i32>().value(at)),
            _ => None,
        };
        rows.sample(
            self.thing.as_string::<i32>().value(at),
            self.datastream.as_string::<i32>().value(at),
            unit,
            time,
            self.value.as_primitive::<Float64Type>().value(at),
            quality,
        )
    }
}
