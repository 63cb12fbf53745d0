//! One statement, from its text to its rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow_array::{Array as _, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::compute::cast;
use datafusion::common::stats::Precision;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream, execute_stream};
use datafusion::prelude::SessionContext;
use futures::StreamExt as _;
use tokio::sync::{mpsc, oneshot};

use super::QueryError;
use super::dimension::Scope;
use super::engine::Engine;
use super::guard::{self, Accepted};
use super::snapshot::Snapshot;
use super::tables::Catalog;

/// What one statement may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the start to the last row, waiting for others included.
    pub time: Duration,
    /// Rows of the answer; what is beyond is cut off and said so.
    pub rows: usize,
    /// Bytes of the answer in memory; the same.
    pub bytes: usize,
}

impl Default for Limits {
    /// 30 s, 100,000 rows, 64 MiB.
    fn default() -> Self {
        Self { time: Duration::from_secs(30), rows: 100_000, bytes: 64 << 20 }
    }
}

/// The rows of a statement as they are computed. Dropping it ends the computation.
pub struct Answer {
    schema: SchemaRef,
    batches: mpsc::Receiver<Result<RecordBatch, QueryError>>,
    task: tokio::task::AbortHandle,
    deadline: tokio::time::Instant,
    limits: Limits,
    rows: usize,
    bytes: usize,
    truncated: bool,
    done: bool,
    /// Set after the last row was handed over.
    finished: Arc<AtomicBool>,
    plan: Arc<dyn ExecutionPlan>,
}

/// What was read from the table for an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Files that were looked at.
    pub files: usize,
    /// Rows that were decoded; row groups and pages that could hold nothing are not among them.
    pub rows: usize,
    /// Bytes that were fetched.
    pub bytes: usize,
}

impl Scanned {
    fn of(plan: &Arc<dyn ExecutionPlan>) -> Self {
        let mut all = Self::default();
        let source = plan.downcast_ref::<DataSourceExec>();
        let scan = source.and_then(|s| s.data_source().downcast_ref::<FileScanConfig>());
        if let Some(scan) = scan {
            let metrics = plan.metrics().unwrap_or_default();
            all.files = scan.file_groups.iter().map(FileGroup::len).sum();
            all.rows = metrics.output_rows().unwrap_or_default();
            all.bytes = metrics.sum_by_name("bytes_scanned").map_or(0, |bytes| bytes.as_usize());
        }
        for child in plan.children() {
            let below = Self::of(child);
            all.files += below.files;
            all.rows += below.rows;
            all.bytes += below.bytes;
        }
        all
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Answer {
    /// The columns: texts are `Utf8`, whatever they were inside.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// The next rows; `None` after the last. After an error comes nothing.
    pub async fn next(&mut self) -> Option<Result<RecordBatch, QueryError>> {
        if self.done {
            return None;
        }
        let next = match tokio::time::timeout_at(self.deadline, self.batches.recv()).await {
            Ok(Some(next)) => next,
            Ok(None) if self.finished.load(Ordering::Acquire) => return None,
            Ok(None) if tokio::time::Instant::now() >= self.deadline => {
                Err(QueryError::Timeout(self.limits.time.as_secs()))
            }
            // Nobody said that these were all.
            Ok(None) => Err(QueryError::Failed("the query ended before its last row".into())),
            Err(_) => Err(QueryError::Timeout(self.limits.time.as_secs())),
        };
        let batch = match next {
            Ok(batch) => batch,
            Err(e) => {
                self.done = true;
                self.task.abort();
                return Some(Err(e));
            }
        };
        let left = self.limits.rows - self.rows;
        self.bytes = self.bytes.saturating_add(bytes(&batch));
        let over = batch.num_rows() > left;
        let batch = if over { batch.slice(0, left) } else { batch };
        self.truncated = over || batch.num_rows() == left && self.has_more().await;
        self.rows += batch.num_rows();
        if !self.truncated && self.bytes > self.limits.bytes {
            self.truncated = true;
        }
        if self.truncated {
            self.done = true;
            self.task.abort();
        }
        Some(Ok(batch))
    }

    async fn has_more(&mut self) -> bool {
        loop {
            match tokio::time::timeout_at(self.deadline, self.batches.recv()).await {
                Ok(Some(Ok(batch))) if batch.num_rows() == 0 => {}
                Ok(None) => return false,
                _ => return true,
            }
        }
    }

    /// Whether rows were cut off; final after [`Answer::next`] gave `None`.
    #[must_use]
    pub fn truncated(&self) -> bool {
        self.truncated
    }

    /// What was read so far.
    #[must_use]
    pub fn scanned(&self) -> Scanned {
        Scanned::of(&self.plan)
    }

    /// All rows that the limits let through.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn collect(mut self) -> Result<(SchemaRef, Vec<RecordBatch>, bool), QueryError> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await {
            batches.push(batch?);
        }
        Ok((self.schema(), batches, self.truncated))
    }
}

impl Engine {
    /// Runs one statement that reads, over what `scope` shows and nothing else.
    ///
    /// # Errors
    /// [`QueryError`]; errors while rows are computed come with the rows.
    pub async fn sql(
        &self,
        text: &str,
        catalog: &Catalog,
        scope: &Scope,
        limits: Limits,
    ) -> Result<Answer, QueryError> {
        let deadline = tokio::time::Instant::now() + limits.time;
        let too_late = |_| QueryError::Timeout(limits.time.as_secs());
        // Reading the text recurses too: on a thread with the stack for it.
        let text = text.to_owned();
        let accepted = self.spawn(async move { guard::accept(&text) })?;
        let accepted = tokio::time::timeout_at(deadline, accepted).await.map_err(too_late)?;
        let accepted = accepted.map_err(|e| QueryError::Failed(e.to_string()))??;
        let wait = self.config.wait.min(limits.time);
        let permit = tokio::time::timeout(wait, self.permits.clone().acquire_owned()).await;
        let permit = permit.map_err(|_| QueryError::Busy)?.map_err(|_| QueryError::Busy)?;
        let began = Instant::now();
        let snapshot =
            tokio::time::timeout_at(deadline, self.source.snapshot()).await.map_err(too_late)??;
        let last = Snapshot { hot: vec![self.source.last()], ..Snapshot::default() };
        let memory = self.config.memory >> 20;
        let session = self.session(snapshot, last, catalog, scope).map_err(|e| failure(&e, memory))?;
        let (schema_out, schema_in) = oneshot::channel();
        let (batches_out, batches) = mpsc::channel(2);
        let finished = Arc::new(AtomicBool::new(false));
        let all_sent = finished.clone();
        let task = self.spawn(async move {
            let _permit = permit;
            let (plan, stream) = match start(&session, accepted, limits.rows).await {
                Ok(started) => started,
                Err(e) => {
                    drop(schema_out.send(Err(e)));
                    return;
                }
            };
            let schema = plain_schema(&stream.schema());
            if schema_out.send(Ok((schema.clone(), plan))).is_err() {
                return;
            }
            let pumped = pump(stream, &schema, memory, &batches_out);
            if tokio::time::timeout_at(deadline, pumped).await.is_ok() {
                all_sent.store(true, Ordering::Release);
            }
            metrics::histogram!("zhongshu_query_seconds").record(began.elapsed().as_secs_f64());
        })?;
        let task = AbortOnDrop::new(task.abort_handle());
        let schema = tokio::time::timeout_at(deadline, schema_in).await.map_err(too_late)?;
        let (schema, plan) = schema.map_err(|_| QueryError::Failed("the query ended early".into()))??;
        let Some(task) = task.keep() else { return Err(QueryError::Busy) };
        Ok(Answer {
            schema,
            batches,
            task,
            deadline,
            limits,
            rows: 0,
            bytes: 0,
            truncated: false,
            done: false,
            finished,
            plan,
        })
    }
}

/// Ends a task unless it was kept.
pub(super) struct AbortOnDrop(Option<tokio::task::AbortHandle>);

impl AbortOnDrop {
    pub(super) fn new(task: tokio::task::AbortHandle) -> Self {
        Self(Some(task))
    }

    fn keep(mut self) -> Option<tokio::task::AbortHandle> {
        self.0.take()
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

async fn start(
    session: &SessionContext,
    accepted: Accepted,
    rows: usize,
) -> Result<(Arc<dyn ExecutionPlan>, SendableRecordBatchStream), QueryError> {
    let state = session.state();
    let plan = state.statement_to_plan(accepted.statement).await.map_err(statement_error)?;
    let reads_only =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    reads_only.verify_plan(&plan).map_err(|e| QueryError::Refused(guard::plain(&e)))?;
    let plan = if accepted.explain {
        plan
    } else {
        // One more than is handed out, to know whether there are more.
        let limited = LogicalPlanBuilder::from(plan).limit(0, Some(rows.saturating_add(1)));
        limited.and_then(LogicalPlanBuilder::build).map_err(statement_error)?
    };
    let frame = session.execute_logical_plan(plan).await.map_err(statement_error)?;
    let tasks = Arc::new(frame.task_ctx());
    let plan = frame.create_physical_plan().await.map_err(statement_error)?;
    refuse_every_pair(&plan)?;
    let stream = execute_stream(plan.clone(), tasks).map_err(statement_error)?;
    Ok((plan, stream))
}

/// What one side of a join that looks at every pair may have.
const FEW: usize = 1000;

/// Refuses a join that would look at every pair of two long sides: it computes without a pause in
/// which its deadline could end it, and would hold one of the few threads of queries for hours.
fn refuse_every_pair(plan: &Arc<dyn ExecutionPlan>) -> Result<(), QueryError> {
    let children = plan.children();
    if matches!(plan.name(), "NestedLoopJoinExec" | "CrossJoinExec") {
        let few = |side: &&Arc<dyn ExecutionPlan>| {
            let known = StatisticsContext::new().compute(side.as_ref(), &StatisticsArgs::new());
            // An estimate is no bound.
            known.is_ok_and(|s| matches!(s.num_rows, Precision::Exact(rows) if rows <= FEW))
        };
        if !children.iter().any(few) {
            return Err(QueryError::Refused(format!(
                "this join compares every row with every other; join by an equality, or aggregate one side to at most {FEW} rows first"
            )));
        }
    }
    children.into_iter().try_for_each(refuse_every_pair)
}

/// Of its rows alone: a slice shares its columns with others.
fn bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|c| c.to_data().get_slice_memory_size().unwrap_or_default()).sum()
}

async fn pump(
    mut stream: SendableRecordBatchStream,
    schema: &SchemaRef,
    memory: usize,
    out: &mpsc::Sender<Result<RecordBatch, QueryError>>,
) {
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|e| failure(&e, memory)).and_then(|b| plain_batch(&b, schema));
        let failed = batch.is_err();
        // Nobody listens any more, or there is nothing more to say.
        if out.send(batch).await.is_err() || failed {
            return;
        }
    }
}

/// Views are how texts are handled inside; outside not everybody reads them.
fn plain_schema(schema: &SchemaRef) -> SchemaRef {
    let plain = |field: &Arc<Field>| match field.data_type() {
        DataType::Utf8View => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8)),
        _ => field.clone(),
    };
    Arc::new(Schema::new(schema.fields().iter().map(plain).collect::<Vec<_>>()))
}

fn plain_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, QueryError> {
    let failed = |e: arrow_schema::ArrowError| QueryError::Failed(e.to_string());
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| {
        if column.data_type() == field.data_type() {
            Ok(column.clone())
        } else {
            cast(column, field.data_type())
        }
    });
    let columns = columns.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(failed)
}

/// What is wrong with the statement, and where.
pub(super) fn statement_error(error: DataFusionError) -> QueryError {
    if let DataFusionError::ResourcesExhausted(text) = error.find_root() {
        return QueryError::Failed(text.clone());
    }
    let message = guard::plain(&error);
    if let Some((message, position)) = guard::position(&message) {
        return QueryError::Statement { message: guard::unwrapped(&message), position: Some(position) };
    }
    let span = error.diagnostic().and_then(|d| d.span);
    let position = span.map(|span| (span.start.line, span.start.column)).filter(|(line, _)| *line > 0);
    QueryError::Statement { message: guard::unwrapped(&message), position }
}

/// What went wrong while rows were computed.
pub(super) fn failure(error: &DataFusionError, memory: usize) -> QueryError {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => QueryError::Memory(memory),
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) | DataFusionError::ParquetError(_) => {
            QueryError::Unavailable(guard::plain(error))
        }
        _ => QueryError::Failed(guard::plain(error)),
    }
}
