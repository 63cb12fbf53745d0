//! `observations_by_step`: what old days were cut down to, as a table within a scope.
//!
//! The same care as for `observations`: every scan is of a set of datastreams made from the scope,
//! and nothing that a statement asks is tried on rows that the scope hides.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::expressions::{Column, binary};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr, conjunction};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use deltalake_core::DeltaTable;

use super::barrier::Barrier;
use super::dimension::{Dimension, KeySet};
use super::files::{File, Files};
use super::functions::IsShown;
use super::observations::{columns, grouped, time};
use super::pushdown::{self, Wanted};
use crate::cold::step_schema;

/// Where the key and the beginning stand in a file of steps.
const KEY: usize = 0;
const TIME: usize = 2;

/// The columns of `observations_by_step`: those of the lake and the four of the dimension.
pub(crate) fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let text = |name| Field::new(name, DataType::Utf8View, false);
    let mut fields = vec![
        Field::new("datastream", DataType::Int32, false),
        text("thing"),
        text("property"),
        text("area"),
        Field::new("phenomenon_time", time, false),
        Field::new("step_seconds", DataType::Int32, false),
    ];
    fields.extend(["mean", "min", "max", "first", "last"].map(|c| Field::new(c, DataType::Float64, false)));
    fields.push(Field::new("count", DataType::Int64, false));
    fields.push(text("unit"));
    Arc::new(Schema::new(fields))
}

/// The table of one statement: one snapshot, one scope.
pub(crate) struct ObservationsByStep {
    schema: SchemaRef,
    table: Option<DeltaTable>,
    dimension: Arc<Dimension>,
    shown: Arc<KeySet>,
    files: Arc<Files>,
}

impl std::fmt::Debug for ObservationsByStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObservationsByStep").field("shown", &self.shown.len()).finish_non_exhaustive()
    }
}

impl ObservationsByStep {
    pub(crate) fn new(
        table: Option<DeltaTable>,
        dimension: Arc<Dimension>,
        shown: Arc<KeySet>,
        files: Arc<Files>,
    ) -> Self {
        Self { schema: schema(), table, dimension, shown, files }
    }

    /// The rows that are wanted, in the lake's columns.
    fn rows(
        &self,
        table: &DeltaTable,
        wanted: &Wanted,
        state: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = step_schema();
        let files = self.files.of(table)?;
        let files: Vec<&File> =
            files.iter().filter(|f| f.may_hold(wanted.keys.bounds(), wanted.times)).collect();
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let url = ObjectStoreUrl::parse("lake://observations_by_step")?;
        let runtime = state.runtime_env();
        let store = table.object_store();
        runtime.register_object_store(url.as_ref(), store.clone());
        let cache = runtime.cache_manager.get_file_metadata_cache();
        let source = ParquetSource::new(schema.clone())
            .with_parquet_file_reader_factory(Arc::new(CachedParquetFileReaderFactory::new(store, cache)));
        let scan =
            FileScanConfigBuilder::new(url, Arc::new(source)).with_file_groups(grouped(&files)).build();
        let column =
            |at: usize| -> Arc<dyn PhysicalExpr> { Arc::new(Column::new(schema.field(at).name(), at)) };
        let options = Arc::new(state.config_options().clone());
        let shown = IsShown::udf(wanted.keys.clone());
        let shown = ScalarFunctionExpr::try_new(shown, vec![column(KEY)], &schema, options)?;
        let mut conditions: Vec<Arc<dyn PhysicalExpr>> = vec![Arc::new(shown)];
        let (from, to) = wanted.times;
        if from > i64::MIN {
            conditions.push(binary(column(TIME), Operator::GtEq, time(from), &schema)?);
        }
        if to < i64::MAX {
            conditions.push(binary(column(TIME), Operator::LtEq, time(to), &schema)?);
        }
        let plan = DataSourceExec::from_data_source(scan);
        Ok(Barrier::above(Arc::new(FilterExec::try_new(conjunction(conditions), plan)?)))
    }
}

#[async_trait]
impl TableProvider for ObservationsByStep {
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
        let asked = Arc::new(self.schema.project(projection.unwrap_or(&all))?);
        let wanted = Wanted::read(filters, &self.dimension, &self.shown, state)?;
        match &self.table {
            Some(table) if !wanted.is_nothing() => {
                let rows = self.rows(table, &wanted, state)?;
                columns(rows, &asked, &self.dimension, state)
            }
            _ => Ok(Arc::new(EmptyExec::new(asked))),
        }
    }
}
