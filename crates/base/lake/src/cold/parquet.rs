//! Rows to Parquet and back.
//!
//! Times are differences, packed to the width they need; datastreams and flags hardly change from
//! row to row and become runs; values are a dictionary where they repeat (a sensor with steps)
//! and bytes by their place where they do not. Pages are small, so that one datastream's hours
//! are few pages of a file that holds a day.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int16Type, Int32Type, TimestampMicrosecondType};
use arrow_schema::SchemaRef;
use bytes::Bytes;
use deltalake_core::arrow::compute::cast;
use futures::TryStreamExt as _;
use futures::future::{BoxFuture, FutureExt as _};
use model::observation::Columns;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, RowSelection, RowSelector};
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, SortingColumn};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::statistics::Statistics;

use super::file::File;
use crate::LakeError;
use crate::rows::Rows;

/// Rows of a row group.
const GROUP_ROWS: usize = 1 << 20;
/// Rows of a page: what one look at a datastream has to unpack.
const PAGE_ROWS: usize = 20_000;
/// How many values are looked at to see whether they repeat.
const LOOKED_AT: usize = 65_536;

/// How hard a file is compressed: as zstd counts.
pub(crate) type Level = i32;
/// What is rearranged soon.
pub(crate) const SOON: Level = 6;
/// What stays: a tenth smaller for four times the work.
pub(crate) const FOR_LONG: Level = 15;

/// The file of these rows.
pub(crate) fn encode(rows: &Rows, level: Level) -> Result<Vec<u8>, LakeError> {
    write(rows.batch(), properties(repeats(rows.values()), level))
}

/// A file of any columns sorted by the first two.
pub(crate) fn write(batch: &RecordBatch, properties: WriterProperties) -> Result<Vec<u8>, LakeError> {
    let wrong = |e: parquet::errors::ParquetError| LakeError::Encode(e.to_string());
    let mut bytes = Vec::with_capacity(batch.num_rows() * 4 + 4096);
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).map_err(wrong)?;
    writer.write(batch).map_err(wrong)?;
    writer.close().map_err(wrong)?;
    Ok(bytes)
}

/// How files are written; whether the values repeat decides their encoding.
pub(crate) fn properties(values_repeat: bool, level: Level) -> WriterProperties {
    let sorting = (0..2)
        .map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: false })
        .collect();
    WriterProperties::builder()
        .set_created_by("zhongshu".into())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(level).unwrap_or_default()))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_sorting_columns(Some(sorting))
        .set_column_dictionary_enabled("phenomenon_time".into(), false)
        .set_column_encoding("phenomenon_time".into(), Encoding::DELTA_BINARY_PACKED)
        .set_column_dictionary_enabled("value".into(), values_repeat)
        .set_column_encoding("value".into(), Encoding::BYTE_STREAM_SPLIT)
        .set_column_statistics_enabled("value".into(), EnabledStatistics::Chunk)
        .set_column_statistics_enabled("quality".into(), EnabledStatistics::Chunk)
        .build()
}

/// Whether values come again so often that a dictionary pays.
pub(crate) fn repeats(values: &[f64]) -> bool {
    let step = values.len().div_ceil(LOOKED_AT).max(1);
    let looked_at = values.len().div_ceil(step);
    let distinct: HashSet<u64> = values.iter().step_by(step).map(|v| v.to_bits()).collect();
    distinct.len() * 3 <= looked_at
}

/// What is wanted of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want {
    /// The first and the last datastream.
    pub(crate) keys: (i32, i32),
    /// The first and the last time.
    pub(crate) times: (i64, i64),
}

impl Want {
    /// Everything.
    pub(crate) const ALL: Self = Self { keys: (i32::MIN, i32::MAX), times: (i64::MIN, i64::MAX) };
}

/// The rows of a file that are wanted, appended to `out`; only the pages that may hold them are
/// read.
pub(crate) async fn read(
    store: &Arc<dyn ObjectStore>,
    file: &File,
    want: Want,
    out: &mut Columns,
) -> Result<(), LakeError> {
    let whole = want.keys.0 <= file.keys.0
        && file.keys.1 <= want.keys.1
        && want.times.0 <= file.times.0
        && file.times.1 <= want.times.1;
    let batches = pages(store, file, (!whole).then_some(want)).await?;
    for batch in batches {
        let batch = as_ours(&batch, &crate::rows::schema())?;
        take(&batch, want, out);
    }
    Ok(())
}

/// The batches of a file, or of the pages that may hold what is wanted.
pub(crate) async fn pages(
    store: &Arc<dyn ObjectStore>,
    file: &File,
    want: Option<Want>,
) -> Result<Vec<RecordBatch>, LakeError> {
    let wrong = |e: parquet::errors::ParquetError| LakeError::Table(format!("read {}: {e}", file.path));
    let path = Path::parse(&file.path).map_err(|e| LakeError::Table(e.to_string()))?;
    let reader = Ranges { store: store.clone(), path, size: file.size };
    let index = if want.is_some() { PageIndexPolicy::Optional } else { PageIndexPolicy::Skip };
    let options = ArrowReaderOptions::new().with_page_index_policy(index);
    let mut builder =
        ParquetRecordBatchStreamBuilder::new_with_options(reader, options).await.map_err(wrong)?;
    if let Some(want) = want {
        let (groups, selection) = select(builder.metadata(), want);
        builder = builder.with_row_groups(groups).with_row_selection(selection);
    }
    builder.with_batch_size(65_536).build().map_err(wrong)?.try_collect().await.map_err(wrong)
}

/// A file of an object store, read by ranges.
struct Ranges {
    store: Arc<dyn ObjectStore>,
    path: Path,
    size: u64,
}

impl AsyncFileReader for Ranges {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        async move { Ok(self.store.get_range(&self.path, range).await?) }.boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        async move { Ok(self.store.get_ranges(&self.path, &ranges).await?) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        let index = options.map_or(PageIndexPolicy::Skip, ArrowReaderOptions::offset_index_policy);
        let size = self.size;
        async move {
            let reader =
                ParquetMetaDataReader::new().with_page_index_policy(index).with_prefetch_hint(Some(FOOTER));
            Ok(Arc::new(reader.load_and_finish(self, size).await?))
        }
        .boxed()
    }
}

/// Bytes read from the end of a file at once: footer and page index of most.
const FOOTER: usize = 32 << 10;

/// A batch in the columns of `schema`: another engine that rearranged a file may have left
/// columns optional, or in another order.
pub(crate) fn as_ours(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, LakeError> {
    let wrong = |e: &dyn std::fmt::Display| LakeError::Table(format!("a file is not of this table: {e}"));
    let columns = schema.fields().iter().map(|field| {
        let column = batch
            .column_by_name(field.name())
            .ok_or_else(|| wrong(&format!("no column {}", field.name())))?;
        if column.data_type() == field.data_type() {
            return Ok(column.clone());
        }
        cast(column, field.data_type()).map_err(|e| wrong(&e))
    });
    let columns: Vec<_> = columns.collect::<Result<_, LakeError>>()?;
    RecordBatch::try_new(schema.clone(), columns).map_err(|e| wrong(&e))
}

fn take(batch: &RecordBatch, want: Want, out: &mut Columns) {
    let keys = batch.column(0).as_primitive::<Int32Type>().values();
    let times = batch.column(1).as_primitive::<TimestampMicrosecondType>().values();
    let values = batch.column(2).as_primitive::<Float64Type>().values();
    let qualities = batch.column(3).as_primitive::<Int16Type>().values();
    for at in 0..keys.len() {
        let (key, time) = (keys[at], times[at]);
        if (want.keys.0..=want.keys.1).contains(&key) && (want.times.0..=want.times.1).contains(&time) {
            out.datastream.push(key);
            out.time.push(time);
            out.value.push(values[at]);
            out.quality.push(qualities[at]);
        }
    }
}

/// The row groups and, in them, the rows of the pages that may hold what is wanted.
fn select(metadata: &ParquetMetaData, want: Want) -> (Vec<usize>, RowSelection) {
    let mut groups = Vec::new();
    let mut selectors = Vec::new();
    for (at, group) in metadata.row_groups().iter().enumerate() {
        let overlaps = |column: usize, (first, last): (i64, i64)| match group.column(column).statistics() {
            Some(Statistics::Int32(s)) => outside(s.min_opt(), s.max_opt(), first, last, |v| i64::from(*v)),
            Some(Statistics::Int64(s)) => outside(s.min_opt(), s.max_opt(), first, last, |v| *v),
            _ => true,
        };
        let keys = (i64::from(want.keys.0), i64::from(want.keys.1));
        if !overlaps(0, keys) || !overlaps(1, want.times) {
            continue;
        }
        groups.push(at);
        let rows = usize::try_from(group.num_rows()).unwrap_or_default();
        let by_key = page_selection(metadata, at, 0, keys, rows);
        let by_time = page_selection(metadata, at, 1, want.times, rows);
        selectors.extend(Vec::<RowSelector>::from(by_key.intersection(&by_time)));
    }
    (groups, RowSelection::from(selectors))
}

fn outside<T>(min: Option<&T>, max: Option<&T>, first: i64, last: i64, as_i64: impl Fn(&T) -> i64) -> bool {
    min.is_none_or(|m| as_i64(m) <= last) && max.is_none_or(|m| first <= as_i64(m))
}

fn page_selection(
    metadata: &ParquetMetaData,
    group: usize,
    column: usize,
    (first, last): (i64, i64),
    rows: usize,
) -> RowSelection {
    let everything = || RowSelection::from(vec![RowSelector::select(rows)]);
    let Some(index) = metadata.column_index().and_then(|i| i.get(group)).and_then(|g| g.get(column)) else {
        return everything();
    };
    let Some(offsets) = metadata.offset_index().and_then(|i| i.get(group)).and_then(|g| g.get(column)) else {
        return everything();
    };
    let pages = offsets.page_locations();
    let holds = |page: usize| match index {
        ColumnIndexMetaData::INT32(i) => {
            outside(i.min_value(page), i.max_value(page), first, last, |v| i64::from(*v))
        }
        ColumnIndexMetaData::INT64(i) => outside(i.min_value(page), i.max_value(page), first, last, |v| *v),
        _ => true,
    };
    let selectors = pages.iter().enumerate().map(|(page, location)| {
        let start = usize::try_from(location.first_row_index).unwrap_or_default();
        let next = pages.get(page + 1).and_then(|p| usize::try_from(p.first_row_index).ok()).unwrap_or(rows);
        let count = next.saturating_sub(start);
        if holds(page) { RowSelector::select(count) } else { RowSelector::skip(count) }
    });
    selectors.collect::<Vec<_>>().into()
}
