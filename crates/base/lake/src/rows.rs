//! Observations as Arrow columns: what a segment holds, memory keeps and a table is written from.

use std::sync::{Arc, LazyLock};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int16Type, Int32Type, TimestampMicrosecondType};
use arrow_array::{Array as _, Float64Array, Int16Array, Int32Array, RecordBatch, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use model::observation::{Columns, Sample, quality};
use model::{DatastreamKey, Micros};

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("datastream", DataType::Int32, false),
        Field::new("phenomenon_time", time, false),
        Field::new("value", DataType::Float64, false),
        Field::new("quality", DataType::Int16, false),
    ]))
});

/// The columns of observations: `datastream` Int32, `phenomenon_time` Timestamp(µs, UTC), `value`
/// Float64, `quality` Int16 (the table format has no unsigned integers); none is ever null.
#[must_use]
pub fn schema() -> SchemaRef {
    SCHEMA.clone()
}

/// Observations in the columns of [`schema`], sorted by (datastream, time). Cheap to clone.
///
/// From a segment, equal instants stand in order of arrival; [`Rows::merge`] leaves the last.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows(RecordBatch);

impl Rows {
    /// Takes columns over without copying them when they are sorted already.
    #[must_use]
    pub fn new(mut columns: Columns) -> Self {
        if !is_sorted(&columns) {
            columns = sorted(&columns, false);
        }
        Self::of(columns)
    }

    /// One run out of many, the later the stronger: of equal (datastream, time) the last stays.
    #[must_use]
    pub fn merge(runs: &[Self]) -> Self {
        let mut all = Columns::with_capacity(runs.iter().map(Self::len).sum());
        for run in runs {
            all.datastream.extend_from_slice(run.keys());
            all.time.extend_from_slice(run.times());
            all.value.extend_from_slice(run.values());
            all.quality.extend_from_slice(run.qualities());
        }
        Self::of(sorted(&all, true))
    }

    /// Reads a batch of another's making.
    ///
    /// # Errors
    /// What is wrong with it, as a fragment.
    pub(crate) fn from_batch(batch: RecordBatch) -> Result<Self, String> {
        if batch.schema().fields() != SCHEMA.fields() {
            return Err("its columns are not those of observations".into());
        }
        if batch.columns().iter().any(|c| c.null_count() > 0) {
            return Err("a column has gaps".into());
        }
        Ok(Self(batch))
    }

    fn of(columns: Columns) -> Self {
        let Columns { datastream, time, value, quality } = columns;
        let columns: Vec<arrow_array::ArrayRef> = vec![
            Arc::new(Int32Array::from(datastream)),
            Arc::new(TimestampMicrosecondArray::from(time).with_timezone("UTC")),
            Arc::new(Float64Array::from(value)),
            Arc::new(Int16Array::from(quality)),
        ];
        // Columns have one length and the schema's types: there is nothing that could be refused.
        Self(RecordBatch::try_new(schema(), columns).unwrap_or_else(|_| RecordBatch::new_empty(schema())))
    }

    /// As Arrow has them.
    #[must_use]
    pub fn batch(&self) -> &RecordBatch {
        &self.0
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.num_rows()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Datastream keys.
    #[must_use]
    pub fn keys(&self) -> &[i32] {
        self.0.column(0).as_primitive::<Int32Type>().values()
    }

    /// Phenomenon times, microseconds.
    #[must_use]
    pub fn times(&self) -> &[i64] {
        self.0.column(1).as_primitive::<TimestampMicrosecondType>().values()
    }

    /// Values.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        self.0.column(2).as_primitive::<Float64Type>().values()
    }

    /// Bits of [`model::observation::quality`].
    #[must_use]
    pub fn qualities(&self) -> &[i16] {
        self.0.column(3).as_primitive::<Int16Type>().values()
    }

    /// Every sample in order.
    pub fn iter(&self) -> impl Iterator<Item = Sample> + '_ {
        self.range(0..self.len())
    }

    /// Where the samples of a datastream from `from` to `to`, both included, stand.
    #[must_use]
    pub fn find(&self, key: DatastreamKey, from: Micros, to: Micros) -> std::ops::Range<usize> {
        let (keys, times) = (self.keys(), self.times());
        let start = keys.partition_point(|k| *k < key.0);
        let end = start + keys[start..].partition_point(|k| *k == key.0);
        let first = start + times[start..end].partition_point(|t| *t < from.0);
        let last = start + times[start..end].partition_point(|t| *t <= to.0);
        first..last.max(first)
    }

    /// The samples that stand in `range`.
    pub fn range(&self, range: std::ops::Range<usize>) -> impl Iterator<Item = Sample> + '_ {
        let (keys, times, values, qualities) = (self.keys(), self.times(), self.values(), self.qualities());
        range.map(move |at| Sample {
            datastream: DatastreamKey(keys[at]),
            time: Micros(times[at]),
            value: values[at],
            // Only the low byte is ever written.
            quality: u8::try_from(qualities[at]).unwrap_or(u8::MAX),
        })
    }

    /// The earliest and the latest time; none of no rows.
    #[must_use]
    pub fn span(&self) -> Option<(Micros, Micros)> {
        let times = self.times();
        let first = times.iter().min()?;
        let last = times.iter().max()?;
        Some((Micros(*first), Micros(*last)))
    }

    /// The latest time of a sample that is not from the future.
    pub(crate) fn latest_sound(&self) -> Option<i64> {
        let sound = |q: &i16| q & i16::from(quality::FROM_THE_FUTURE) == 0;
        self.times().iter().zip(self.qualities()).filter(|(_, q)| sound(q)).map(|(t, _)| *t).max()
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.len() * Columns::ROW_BYTES
    }
}

fn is_sorted(columns: &Columns) -> bool {
    let order = |at: usize| (columns.datastream[at], columns.time[at]);
    (1..columns.len()).all(|at| order(at - 1) <= order(at))
}

/// Sorted by (datastream, time), equal instants in order of arrival, or only the last of them.
fn sorted(columns: &Columns, unique: bool) -> Columns {
    // A batch is far below 2³² rows; what lies beyond is cut off by nobody.
    let rows = columns.datastream.iter().zip(&columns.time).zip(0u32..);
    let mut order: Vec<(i32, i64, u32)> = rows.map(|((key, time), at)| (*key, *time, at)).collect();
    // With the place in the key an unstable sort keeps the order of arrival; the stable one is
    // used because it takes advantage of runs that are sorted, and that is what comes.
    order.sort();
    if unique {
        // `dedup_by` keeps the first: look from the end.
        order.reverse();
        order.dedup_by(|later, kept| (later.0, later.1) == (kept.0, kept.1));
        order.reverse();
    }
    Columns {
        datastream: order.iter().map(|o| o.0).collect(),
        time: order.iter().map(|o| o.1).collect(),
        value: order.iter().map(|o| columns.value[o.2 as usize]).collect(),
        quality: order.iter().map(|o| columns.quality[o.2 as usize]).collect(),
    }
}
