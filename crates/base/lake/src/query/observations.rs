//! `observations`: the rows in memory and the files of the table as one table.
//!
//! Nothing is sorted and nothing merged while reading. The table holds one row an instant, and
//! so do the rows in memory once runs that overlap have been merged; only an instant that is in
//! both would be there twice. Which of the rows in memory are not newer than what the table
//! holds of their datastream is cheap to know; there are such only when samples came late or
//! twice, and then the table's rows at just those instants are left out.
//!
//! Who may see what is decided here and not by whoever writes SQL: every scan is of a set of
//! datastreams, and that set is made from the scope.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, ScalarValue};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::expressions::{Column, InListExpr, Literal, binary};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr, conjunction};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::union::UnionExec;

use super::barrier::Barrier;
use super::dimension::{COLUMNS, Dimension, KeySet};
use super::files::{File, Files};
use super::functions::{IsCurrent, IsShown, LookUp};
use super::memory::{Memory, Piece};
use super::pushdown::{self, Wanted};
use super::select;
use super::snapshot::{Cold, Snapshot};
use crate::rows::{self, Rows};

/// In how many parts the table is read.
pub(crate) const PARTITIONS: usize = 2;
/// A batch of rows in memory as it is handed on.
const BATCH: usize = 8192;
/// Up to so many keys the pages of the files are chosen key by key.
const FEW_KEYS: usize = 20;
/// Up to so many keys their rows in memory are looked up, beyond that all are looked through.
const LOOKED_UP: usize = 1024;

/// The columns of `observations`: the four of the lake and the four of the dimension.
pub(crate) fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let text = |name| Field::new(name, DataType::Utf8View, false);
    Arc::new(Schema::new(vec![
        Field::new("datastream", DataType::Int32, false),
        text("thing"),
        text("property"),
        text("area"),
        Field::new("phenomenon_time", time, false),
        Field::new("value", DataType::Float64, false),
        Field::new("quality", DataType::Int16, false),
        text("unit"),
    ]))
}

/// The table of one statement: one snapshot, one scope.
pub(crate) struct Observations {
    schema: SchemaRef,
    snapshot: Arc<Snapshot>,
    dimension: Arc<Dimension>,
    shown: Arc<KeySet>,
    files: Arc<Files>,
}

impl std::fmt::Debug for Observations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observations").field("shown", &self.shown.len()).finish_non_exhaustive()
    }
}

impl Observations {
    pub(crate) fn new(
        snapshot: Arc<Snapshot>,
        dimension: Arc<Dimension>,
        shown: Arc<KeySet>,
        files: Arc<Files>,
    ) -> Self {
        Self { schema: schema(), snapshot, dimension, shown, files }
    }
}

#[async_trait]
impl TableProvider for Observations {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(filters.iter().map(|filter| pushdown::support(filter)).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let projection = projection.unwrap_or(&all);
        let asked = Arc::new(self.schema.project(projection)?);
        let wanted = Wanted::read(filters, &self.dimension, &self.shown, state)?;
        if wanted.is_nothing() {
            return Ok(Arc::new(EmptyExec::new(asked)));
        }
        let read: Vec<usize> = (0..rows::schema().fields().len())
            .filter(|at| *at < READ_ALWAYS || asked.field_with_name(rows::schema().field(*at).name()).is_ok())
            .collect();
        let rows = rows_of(&self.snapshot, wanted, read, &self.files, state)?;
        columns(rows, &asked, &self.dimension, state)
    }
}

/// The lake's first columns, datastream and time, decide what is wanted and are always read.
const READ_ALWAYS: usize = 2;

/// The rows that are wanted, in the columns of [`rows::schema`] at the places in `read`: those
/// asked for, and the first [`READ_ALWAYS`].
pub(crate) fn rows_of(
    snapshot: &Snapshot,
    wanted: Wanted,
    read: Vec<usize>,
    files: &Files,
    state: &dyn Session,
) -> Result<Arc<dyn ExecutionPlan>> {
    let mut parts: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
    let schema = Arc::new(rows::schema().project(&read)?);
    if !wanted.is_nothing() {
        let scan = Scan { wanted, read, state };
        let hot = Hot::select(&snapshot.hot, &scan.wanted);
        if let Some(cold) = &snapshot.cold {
            let files = files.of(&cold.table)?;
            let replaced = hot.not_newer_than(cold, &files);
            parts.extend(scan.table(cold, &files, replaced)?);
        }
        parts.extend(scan.memory(hot)?);
    }
    match parts.len() {
        0 => Ok(Arc::new(EmptyExec::new(schema))),
        1 => Ok(parts.swap_remove(0)),
        _ => UnionExec::try_new(parts),
    }
}

/// One scan being planned.
struct Scan<'s> {
    wanted: Wanted,
    read: Vec<usize>,
    state: &'s dyn Session,
}

impl Scan<'_> {
    /// The table's files that may hold what is wanted: those where a row may have been replaced
    /// by one in memory, and the others.
    fn table(
        &self,
        cold: &Cold,
        all: &[File],
        replaced: Option<Rows>,
    ) -> Result<Vec<Arc<dyn ExecutionPlan>>> {
        let wanted = &self.wanted;
        let files: Vec<&File> =
            all.iter().filter(|f| f.may_hold(wanted.keys.bounds(), wanted.times)).collect();
        let Some((replaced, keys, times)) = replaced.and_then(|rows| {
            let (first, last) = rows.span()?;
            let keys = (*rows.keys().first()?, *rows.keys().last()?);
            Some((rows, keys, (first.0, last.0)))
        }) else {
            return Ok(self.files(cold, &files, None)?.into_iter().collect());
        };
        let (touched, others): (Vec<&File>, Vec<&File>) =
            files.into_iter().partition(|file| file.may_hold(keys, times));
        let touched = self.files(cold, &touched, Some(replaced))?;
        let others = self.files(cold, &others, None)?;
        Ok(others.into_iter().chain(touched).collect())
    }

    /// Some of the table's files, without the rows that were replaced.
    fn files(
        &self,
        cold: &Cold,
        files: &[&File],
        replaced: Option<Rows>,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if files.is_empty() {
            return Ok(None);
        }
        let whole = files.iter().all(|f| self.wanted.is_all_of(f));
        let url = ObjectStoreUrl::parse("lake://observations")?;
        let runtime = self.state.runtime_env();
        let store = cold.table.object_store();
        runtime.register_object_store(url.as_ref(), store.clone());
        let cache = runtime.cache_manager.get_file_metadata_cache();
        let mut source = ParquetSource::new(rows::schema())
            .with_parquet_file_reader_factory(Arc::new(CachedParquetFileReaderFactory::new(store, cache)))
            .with_enable_page_index(true);
        if let Some(predicate) = self.pruning(whole)? {
            source = source.with_predicate(predicate);
        }
        let scan = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_file_groups(grouped(files))
            .with_projection_indices(Some(self.read.clone()))?
            .build();
        let mut plan: Arc<dyn ExecutionPlan> = DataSourceExec::from_data_source(scan);
        let mut conditions = Vec::new();
        if !whole {
            conditions.extend(self.exact()?);
        }
        if let Some(replaced) = replaced {
            let arguments = vec![column(0), column(1)];
            conditions.push(self.call(IsCurrent::udf(Arc::new(replaced)), arguments)?);
        }
        if !conditions.is_empty() {
            plan = Barrier::above(Arc::new(FilterExec::try_new(conjunction(conditions), plan)?));
        }
        Ok(Some(plan))
    }

    /// The rows in memory.
    fn memory(&self, hot: Hot) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if hot.runs.is_empty() {
            return Ok(None);
        }
        let mut parts: Vec<Vec<Piece>> = vec![Vec::new(); PARTITIONS];
        let mut turn = 0;
        for run in &hot.runs {
            for start in (0..run.len()).step_by(BATCH) {
                let piece = Piece { run: run.clone(), range: start..run.len().min(start + BATCH) };
                parts[turn % PARTITIONS].push(piece);
                turn += 1;
            }
        }
        parts.retain(|part| !part.is_empty());
        let parts: Vec<Arc<dyn PartitionStream>> =
            parts.into_iter().map(|pieces| Arc::new(Memory::new(pieces)) as _).collect();
        let mut plan: Arc<dyn ExecutionPlan> = Arc::new(StreamingTableExec::try_new(
            rows::schema(),
            parts,
            Some(&self.read),
            std::iter::empty(),
            false,
            None,
        )?);
        let conditions = self.exact()?;
        if !hot.exact {
            plan = Barrier::above(Arc::new(FilterExec::try_new(conjunction(conditions), plan)?));
        }
        Ok(Some(plan))
    }

    /// What a row must meet, on the lake's columns.
    fn exact(&self) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
        let mut conditions = self.bounds(self.wanted.times)?;
        conditions.push(self.call(IsShown::udf(self.wanted.keys.clone()), vec![column(0)])?);
        Ok(conditions)
    }

    /// What chooses files, row groups and pages: looser than [`Scan::exact`] where that is no
    /// comparison with statistics, and with what else was asked of the lake's columns.
    fn pruning(&self, whole: bool) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        let mut conditions = self.wanted.others.clone();
        if !whole {
            conditions.extend(self.bounds(self.wanted.times)?);
            let (first, last) = self.wanted.keys.bounds();
            let schema = rows::schema();
            let at_least = binary(column(0), Operator::GtEq, int(first), &schema)?;
            let at_most = binary(column(0), Operator::LtEq, int(last), &schema)?;
            conditions.extend([at_least, at_most]);
            if self.wanted.keys.len() <= FEW_KEYS {
                let list = self.wanted.keys.iter().map(int).collect();
                conditions.push(Arc::new(InListExpr::try_new(column(0), list, false, &schema)?));
            }
        }
        Ok((!conditions.is_empty()).then(|| conjunction(conditions)))
    }

    fn bounds(&self, (from, to): (i64, i64)) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
        let schema = rows::schema();
        let mut conditions = Vec::new();
        if from > i64::MIN {
            conditions.push(binary(column(1), Operator::GtEq, time(from), &schema)?);
        }
        if to < i64::MAX {
            conditions.push(binary(column(1), Operator::LtEq, time(to), &schema)?);
        }
        Ok(conditions)
    }

    fn call(
        &self,
        function: Arc<datafusion::logical_expr::ScalarUDF>,
        arguments: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let options = Arc::new(self.state.config_options().clone());
        Ok(Arc::new(ScalarFunctionExpr::try_new(function, arguments, &rows::schema(), options)?))
    }
}

/// The columns asked for, those of the dimension looked up.
pub(crate) fn columns(
    rows: Arc<dyn ExecutionPlan>,
    asked: &SchemaRef,
    dimension: &Arc<Dimension>,
    state: &dyn Session,
) -> Result<Arc<dyn ExecutionPlan>> {
    let options = Arc::new(state.config_options().clone());
    let mut expressions: Vec<(Arc<dyn PhysicalExpr>, String)> = Vec::new();
    for field in asked.fields() {
        let expression: Arc<dyn PhysicalExpr> = match COLUMNS.iter().position(|c| c == field.name()) {
            None => Arc::new(Column::new_with_schema(field.name(), &rows.schema())?),
            Some(at) => Arc::new(ScalarFunctionExpr::new(
                COLUMNS[at],
                LookUp::udf(dimension.clone(), at),
                vec![column(0)],
                Arc::new(LookUp::field(at)),
                options.clone(),
            )),
        };
        expressions.push((expression, field.name().clone()));
    }
    Ok(Arc::new(ProjectionExec::try_new(expressions, rows)?))
}

/// Which rows in memory a scan reads.
struct Hot {
    /// No instant is in two of them.
    runs: Vec<Rows>,
    /// Whether they hold nothing but what is wanted.
    exact: bool,
}

impl Hot {
    fn select(runs: &[Rows], wanted: &Wanted) -> Self {
        let (from, to) = wanted.times;
        let few = wanted.keys.len() <= LOOKED_UP;
        let mut selected: Vec<Rows> = Vec::new();
        for run in runs {
            if few {
                selected.push(select::of_keys(run, wanted.keys.iter(), from, to));
            } else if run.span().is_some_and(|(first, last)| first.0 <= to && from <= last.0) {
                selected.push(run.clone());
            }
        }
        selected.retain(|run| !run.is_empty());
        if overlap(&selected) {
            selected = vec![Rows::merge(&selected)];
        }
        Self { runs: selected, exact: few }
    }

    /// The rows whose instants the table may hold too, in order; none is the rule.
    fn not_newer_than(&self, cold: &Cold, files: &[File]) -> Option<Rows> {
        let newest_of_all = files.iter().map(|f| f.times.1).max()?;
        let newest = |key: i32| match &cold.newest {
            Some(newest) => {
                usize::try_from(key).ok().and_then(|at| newest.get(at).copied()).unwrap_or(i64::MIN)
            }
            None => newest_of_all,
        };
        let mut late: Vec<Rows> = Vec::new();
        for run in &self.runs {
            for (key, range) in select::by_key(run) {
                let limit = newest(key);
                let count = run.times()[range.clone()].partition_point(|t| *t <= limit);
                if count > 0 {
                    late.push(select::slice(run, range.start, count));
                }
            }
        }
        (!late.is_empty()).then(|| Rows::merge(&late))
    }
}

/// Whether an instant of a datastream may be in two of the runs, or is twice in one.
fn overlap(runs: &[Rows]) -> bool {
    let mut newest: HashMap<i32, i64> = HashMap::new();
    for run in runs {
        for (key, range) in select::by_key(run) {
            let times = &run.times()[range];
            let Some((first, last)) = times.first().zip(times.last()) else { continue };
            if newest.insert(key, *last).is_some_and(|before| *first <= before)
                || times.windows(2).any(|pair| pair[0] == pair[1])
            {
                return true;
            }
        }
    }
    false
}

/// Spread over [`PARTITIONS`] so that each reads about as much.
pub(crate) fn grouped(files: &[&File]) -> Vec<FileGroup> {
    let mut order: Vec<&File> = files.to_vec();
    order.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.path.cmp(&b.path)));
    let mut groups: Vec<(u64, Vec<PartitionedFile>)> = vec![(0, Vec::new()); PARTITIONS];
    for file in order {
        if let Some(least) = groups.iter_mut().min_by_key(|group| group.0) {
            least.0 += file.bytes;
            least.1.push(PartitionedFile::new(file.path.clone(), file.bytes));
        }
    }
    groups.into_iter().filter(|group| !group.1.is_empty()).map(|group| FileGroup::new(group.1)).collect()
}

fn column(at: usize) -> Arc<dyn PhysicalExpr> {
    let schema = rows::schema();
    Arc::new(Column::new(schema.field(at).name(), at))
}

fn int(value: i32) -> Arc<dyn PhysicalExpr> {
    Arc::new(Literal::new(ScalarValue::Int32(Some(value))))
}

pub(crate) fn time(micros: i64) -> Arc<dyn PhysicalExpr> {
    Arc::new(Literal::new(ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()))))
}
