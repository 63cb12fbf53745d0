//! The machine that runs queries: threads, memory and functions of its own.
//!
//! Queries compute for seconds; on the threads that answer sockets they would hold up every
//! acknowledgement. They have threads of their own, which the system's scheduler serves after
//! the others.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::error::Result;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{SessionStateBuilder, TaskContext};
use datafusion::functions_aggregate::planner::AggregateFunctionPlanner;
use datafusion::functions_window::planner::WindowFunctionPlanner;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use super::by_step::ObservationsByStep;
use super::dimension::{KeySet, Scope};
use super::files::Files;
use super::functions::{Bounded, DateTrunc, InArea, LimitTexts};
use super::observations::{self, Observations, PARTITIONS};
use super::pushdown::Wanted;
use super::snapshot::{Snapshot, Source};
use super::tables::Catalog;
use super::{QueryConfig, QueryError};

/// Functions that compute a value of bounded size from values. What could build a text or a list
/// of any length from a few letters is not among them.
const SCALAR: &[&str] = &[
    "abs",
    "acos",
    "asin",
    "atan",
    "atan2",
    "cbrt",
    "ceil",
    "cos",
    "cot",
    "degrees",
    "exp",
    "floor",
    "gcd",
    "isnan",
    "iszero",
    "lcm",
    "ln",
    "log",
    "log10",
    "log2",
    "nanvl",
    "pi",
    "power",
    "radians",
    "round",
    "signum",
    "sin",
    "sinh",
    "sqrt",
    "tan",
    "tanh",
    "trunc",
    "coalesce",
    "greatest",
    "least",
    "nullif",
    "nvl",
    "nvl2",
    "current_date",
    "current_time",
    "date_bin",
    "date_part",
    "date_trunc",
    "from_unixtime",
    "make_date",
    "now",
    "to_date",
    "to_timestamp",
    "to_timestamp_micros",
    "to_timestamp_millis",
    "to_timestamp_seconds",
    "to_unixtime",
    "to_local_time",
    "ascii",
    "btrim",
    "character_length",
    "contains",
    "ends_with",
    "left",
    "lower",
    "ltrim",
    "octet_length",
    "right",
    "rtrim",
    "split_part",
    "starts_with",
    "strpos",
    "substr",
    "upper",
    "regexp_like",
];

/// Aggregates whose state is bounded, or counted by the memory pool.
const AGGREGATE: &[&str] = &[
    "approx_distinct",
    "approx_median",
    "approx_percentile_cont",
    "avg",
    "bit_and",
    "bit_or",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar_pop",
    "covar",
    "first_value",
    "last_value",
    "max",
    "median",
    "min",
    "percentile_cont",
    "regr_avgx",
    "regr_avgy",
    "regr_count",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "regr_sxx",
    "regr_sxy",
    "regr_syy",
    "stddev",
    "stddev_pop",
    "sum",
    "var",
    "var_pop",
];

struct Functions {
    scalar: Vec<Arc<ScalarUDF>>,
    aggregate: Vec<Arc<AggregateUDF>>,
    window: Vec<Arc<WindowUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
}

impl Functions {
    fn new() -> Self {
        let all = datafusion::functions::all_default_functions();
        let mut scalar: Vec<_> = all.into_iter().filter(|f| SCALAR.contains(&f.name())).collect();
        for function in &mut scalar {
            if function.name() == "date_trunc" {
                *function = DateTrunc::udf(function.clone());
            }
        }
        scalar.extend([InArea::udf(), Bounded::udf()]);
        let mut aggregate = datafusion::functions_aggregate::all_default_aggregate_functions();
        aggregate.retain(|f| AGGREGATE.contains(&f.name()));
        let planners: Vec<Arc<dyn ExprPlanner>> = vec![
            Arc::new(LimitTexts),
            Arc::new(datafusion::functions::core::planner::CoreFunctionPlanner::default()),
            Arc::new(datafusion::functions::datetime::planner::DatetimeFunctionPlanner),
            Arc::new(datafusion::functions::unicode::planner::UnicodeFunctionPlanner),
            Arc::new(AggregateFunctionPlanner),
            Arc::new(WindowFunctionPlanner),
        ];
        Self {
            scalar,
            aggregate,
            window: datafusion::functions_window::all_default_window_functions(),
            planners,
        }
    }
}

/// Runs queries over what its source has. Share it by `Arc`.
pub struct Engine {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) config: QueryConfig,
    pub(crate) permits: Arc<Semaphore>,
    runtime: Option<Runtime>,
    environment: Arc<RuntimeEnv>,
    functions: Functions,
    files: Arc<Files>,
    files_of_steps: Arc<Files>,
}

impl Engine {
    /// Starts the threads.
    ///
    /// # Errors
    /// [`QueryError::Unavailable`] when the system gives no threads.
    pub fn new(source: Arc<dyn Source>, config: QueryConfig) -> Result<Self, QueryError> {
        let cannot = |e: &dyn std::fmt::Display| QueryError::Unavailable(e.to_string());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(PARTITIONS)
            .max_blocking_threads(8)
            .thread_name("query")
            // Planning recurses; the guard bounds how deep, and this holds that.
            .thread_stack_size(32 << 20)
            .on_thread_start(|| {
                // Of the calling thread, on Linux; where it is not taken, queries run at par.
                let _ = rustix::process::setpriority_process(None, 10);
            })
            .enable_all()
            .build()
            .map_err(|e| cannot(&e))?;
        let environment = RuntimeEnvBuilder::new()
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build_arc()
            .map_err(|e| cannot(&e))?;
        Ok(Self {
            source,
            permits: Arc::new(Semaphore::new(config.at_once)),
            config,
            runtime: Some(runtime),
            environment,
            functions: Functions::new(),
            files: Arc::default(),
            files_of_steps: Arc::default(),
        })
    }

    /// Runs on the threads for queries.
    pub(crate) fn spawn<F>(&self, task: F) -> Result<tokio::task::JoinHandle<F::Output>, QueryError>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let runtime = self.runtime.as_ref().ok_or_else(|| QueryError::Unavailable("the hub stops".into()))?;
        Ok(runtime.spawn(task))
    }

    /// A session in which one statement runs: its memory, its tables, and nothing else.
    pub(crate) fn session(
        &self,
        snapshot: Snapshot,
        last: Snapshot,
        catalog: &Catalog,
        scope: &Scope,
    ) -> Result<SessionContext> {
        let shown = Arc::new(catalog.dimension.keys(scope));
        let context = SessionContext::new_with_state(self.state());
        let table = |snapshot: Snapshot| -> Arc<dyn TableProvider> {
            let files = self.files.clone();
            Arc::new(Observations::new(Arc::new(snapshot), catalog.dimension.clone(), shown.clone(), files))
        };
        let steps = ObservationsByStep::new(
            snapshot.steps.clone(),
            catalog.dimension.clone(),
            shown.clone(),
            self.files_of_steps.clone(),
        );
        context.register_table("observations_by_step", Arc::new(steps))?;
        context.register_table("observations", table(snapshot))?;
        context.register_table("latest", table(last))?;
        for (name, batch) in catalog.batches(scope, &shown)? {
            let schema = batch.schema();
            context.register_table(name, Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))?;
        }
        Ok(context)
    }

    /// The rows of these datastreams in a time range, in the lake's columns.
    pub(crate) fn plain_scan(
        &self,
        snapshot: Snapshot,
        keys: Vec<i32>,
        from: i64,
        to: i64,
    ) -> Result<(Arc<dyn ExecutionPlan>, Arc<TaskContext>)> {
        let state = self.state();
        let all = (0..crate::rows::schema().fields().len()).collect();
        let wanted = Wanted { keys: Arc::new(KeySet::new(keys)), times: (from, to), others: Vec::new() };
        let plan = observations::rows_of(&snapshot, wanted, all, &self.files, &state)?;
        Ok((plan, state.task_ctx()))
    }

    fn state(&self) -> SessionState {
        let mut config = SessionConfig::new()
            .with_target_partitions(PARTITIONS)
            .with_information_schema(false)
            .with_create_default_catalog_and_schema(true);
        let options = config.options_mut();
        options.sql_parser.collect_spans = true;
        options.execution.enable_recursive_ctes = false;
        options.execution.parquet.pushdown_filters = false;
        let pool = Arc::new(GreedyMemoryPool::new(self.config.memory));
        let environment = RuntimeEnv { memory_pool: pool, ..self.environment.as_ref().clone() };
        SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(Arc::new(environment))
            .with_scalar_functions(self.functions.scalar.clone())
            .with_aggregate_functions(self.functions.aggregate.clone())
            .with_window_functions(self.functions.window.clone())
            .with_expr_planners(self.functions.planners.clone())
            .build()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // What still runs ends with its threads; nobody waits for an answer any more.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
