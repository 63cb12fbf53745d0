//! Rows as those take them who do not speak Arrow, and a stream for those who do.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{ArrowError, DataType, SchemaRef, TimeUnit};
use datafusion::arrow::compute::cast;
use datafusion::arrow::util::display::array_value_to_string;
use model::Micros;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Nothing.
    Null,
    /// Yes or no.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A whole number beyond [`i64::MAX`].
    Large(u64),
    /// A number.
    Number(f64),
    /// A text; also what has no other form: dates, intervals, decimals.
    Text(String),
    /// An instant.
    Time(Micros),
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Yes or no.
    Boolean,
    /// Whole numbers.
    Integer,
    /// Numbers.
    Number,
    /// Texts.
    Text,
    /// Instants.
    Time,
}

/// What a column of this type holds.
#[must_use]
pub fn kind(data_type: &DataType) -> Kind {
    match data_type {
        DataType::Boolean => Kind::Boolean,
        DataType::Timestamp(..) => Kind::Time,
        other if other.is_integer() => Kind::Integer,
        other if other.is_floating() => Kind::Number,
        _ => Kind::Text,
    }
}

/// The rows of a batch, each with its cells in the order of the columns.
///
/// # Errors
/// What Arrow says of a value that has no form.
pub fn cells(batch: &RecordBatch) -> Result<Vec<Vec<Cell>>, ArrowError> {
    let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let columns = batch.columns().iter().map(|column| match column.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => Ok(column.clone()),
        // Without a zone it is in UTC, as everything here.
        DataType::Timestamp(..) => cast(column, &micros),
        DataType::Float16 => cast(column, &DataType::Float64),
        _ => Ok(column.clone()),
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    (0..batch.num_rows())
        .map(|row| columns.iter().map(|column| cell(column.as_ref(), row)).collect())
        .collect()
}

fn cell(column: &dyn Array, row: usize) -> Result<Cell, ArrowError> {
    if column.is_null(row) {
        return Ok(Cell::Null);
    }
    macro_rules! number {
        ($type:ty, $cell:expr) => {{
            let value = column.as_primitive::<$type>().value(row);
            $cell(value.into())
        }};
    }
    Ok(match column.data_type() {
        DataType::Null => Cell::Null,
        DataType::Boolean => Cell::Boolean(column.as_boolean().value(row)),
        DataType::Int8 => number!(Int8Type, Cell::Integer),
        DataType::Int16 => number!(Int16Type, Cell::Integer),
        DataType::Int32 => number!(Int32Type, Cell::Integer),
        DataType::Int64 => number!(Int64Type, Cell::Integer),
        DataType::UInt8 => number!(UInt8Type, Cell::Integer),
        DataType::UInt16 => number!(UInt16Type, Cell::Integer),
        DataType::UInt32 => number!(UInt32Type, Cell::Integer),
        DataType::UInt64 => {
            let value = column.as_primitive::<UInt64Type>().value(row);
            i64::try_from(value).map_or(Cell::Large(value), Cell::Integer)
        }
        DataType::Float32 => number!(Float32Type, Cell::Number),
        DataType::Float64 => number!(Float64Type, Cell::Number),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            Cell::Time(Micros(column.as_primitive::<TimestampMicrosecondType>().value(row)))
        }
        DataType::Utf8 => Cell::Text(column.as_string::<i32>().value(row).to_owned()),
        DataType::Utf8View => Cell::Text(column.as_string_view().value(row).to_owned()),
        _ => Cell::Text(array_value_to_string(column, row)?),
    })
}

/// The batches as an Arrow IPC stream (`application/vnd.apache.arrow.stream`).
///
/// # Errors
/// None in memory that Arrow is known to give.
pub fn arrow_stream(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Vec<u8>, ArrowError> {
    let mut writer = arrow_ipc::writer::StreamWriter::try_new(Vec::new(), schema)?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    writer.into_inner()
}
