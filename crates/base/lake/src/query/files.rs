//! The files of the table with what their statistics say.

use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array as _, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use datafusion::common::{DataFusionError, Result};
use deltalake_core::DeltaTable;

/// One Parquet file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct File {
    /// Below the table's folder.
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) rows: Option<u64>,
    /// The smallest and the greatest key that may be in it.
    pub(crate) keys: (i32, i32),
    /// The earliest and the latest time that may be in it, microseconds.
    pub(crate) times: (i64, i64),
}

impl File {
    pub(crate) fn may_hold(&self, keys: (i32, i32), times: (i64, i64)) -> bool {
        self.keys.0 <= keys.1 && keys.0 <= self.keys.1 && self.times.0 <= times.1 && times.0 <= self.times.1
    }
}

/// The files of the version read last: listing them costs more than reading a few.
#[derive(Default)]
pub(crate) struct Files(Mutex<Option<(String, u64, Arc<Vec<File>>)>>);

impl Files {
    /// Those of the table as it is loaded.
    pub(crate) fn of(&self, table: &DeltaTable) -> Result<Arc<Vec<File>>> {
        let snapshot = table.snapshot().map_err(cannot)?;
        let (root, version) = (table.table_url().to_string(), snapshot.version());
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((url, at, files)) = &*cached
            && (url, *at) == (&root, version)
        {
            return Ok(files.clone());
        }
        let listed = snapshot.add_actions_table(true).map_err(cannot)?;
        let files = Arc::new(list(&listed)?);
        *cached = Some((root, version, files.clone()));
        Ok(files)
    }
}

fn cannot(e: deltalake_core::DeltaTableError) -> DataFusionError {
    DataFusionError::External(Box::new(e))
}

fn list(actions: &RecordBatch) -> Result<Vec<File>> {
    let wrong = |what: &str| DataFusionError::Execution(format!("the table's file list has no {what}"));
    let column = |name: &str| actions.column_by_name(name);
    let paths = column("path").ok_or_else(|| wrong("path"))?;
    let paths = arrow_array::cast::as_string_array(paths);
    let bytes =
        column("size_bytes").and_then(|c| c.as_primitive_opt::<Int64Type>()).ok_or_else(|| wrong("size"))?;
    let rows = column("num_records").and_then(|c| c.as_primitive_opt::<Int64Type>());
    let key = |name: &str| column(name).and_then(|c| c.as_primitive_opt::<Int32Type>());
    let (min_key, max_key) = (key("min.datastream"), key("max.datastream"));
    let time = |name: &str| {
        let column = column(name)?;
        matches!(column.data_type(), DataType::Timestamp(TimeUnit::Microsecond, _))
            .then(|| column.as_primitive::<TimestampMicrosecondType>())
    };
    let (min_time, max_time) = (time("min.phenomenon_time"), time("max.phenomenon_time"));
    let files = (0..actions.num_rows()).map(|at| {
        let i32_at = |c: Option<&arrow_array::Int32Array>| c.filter(|c| c.is_valid(at)).map(|c| c.value(at));
        let i64_at = |c: Option<&arrow_array::TimestampMicrosecondArray>| {
            c.filter(|c| c.is_valid(at)).map(|c| c.value(at))
        };
        // The log's statistics are cut to milliseconds (Delta protocol, per-file statistics):
        // downwards, but before 1970 towards zero.
        let loose = 1000;
        let earliest = |t: i64| if t < 0 { t.saturating_sub(loose) } else { t };
        File {
            path: paths.value(at).to_owned(),
            bytes: bytes.value(at).unsigned_abs(),
            rows: rows.filter(|c| c.is_valid(at)).map(|c| c.value(at).unsigned_abs()),
            keys: (i32_at(min_key).unwrap_or(i32::MIN), i32_at(max_key).unwrap_or(i32::MAX)),
            times: (
                i64_at(min_time).map_or(i64::MIN, earliest),
                i64_at(max_time).map_or(i64::MAX, |t| t.saturating_add(loose)),
            ),
        }
    });
    Ok(files.collect())
}
