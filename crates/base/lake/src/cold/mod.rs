//! The table: all observations of the past as one Delta table that any engine reads.
//!
//! | column | type | |
//! | --- | --- | --- |
//! | `datastream` | INT | the dense key |
//! | `phenomenon_time` | TIMESTAMP | microseconds, UTC |
//! | `value` | DOUBLE | in the datastream's unit |
//! | `quality` | SMALLINT | bits of [`model::observation::quality`] |
//! | `day` | DATE, partition | the UTC day of `phenomenon_time` |
//!
//! Within a file rows are sorted by (datastream, time), and no two rows of the table have the same
//! instant of one datastream. Segments come in **exactly once**: the commit that adds their rows
//! also says up to which segment the table has taken in (the table's application transaction
//! [`APP`]), so that after a crash either both are there or neither is.
//!
//! One writer at a time; readers hold a snapshot, whose files stay for [`ColdConfig::keep_removed`].

pub(crate) use append::blocking;
mod append;
mod file;
mod optimise;
mod parquet;
mod place;
mod read;
pub(crate) use steps::schema as step_schema;
mod steps;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake_core::kernel::{Action, DataType, PrimitiveType, StructField, Transaction};
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::protocol::DeltaOperation;
use deltalake_core::table::state::DeltaTableState;
use deltalake_core::{DeltaTable, DeltaTableBuilder, DeltaTableError};
use model::observation::FUTURE_TOLERANCE_MICROS;
use object_store::ObjectStore;

use crate::LakeError;
use file::File;
pub use optimise::Rearranged;
pub use place::LakeLocation;
pub use steps::{APP_KEEP, Kept, StepOf};

/// The name of the application transaction whose version is the last segment taken in.
pub const APP: &str = "zhongshu-segments";

/// How to open the table.
#[derive(Clone, Debug)]
pub struct ColdConfig {
    /// Where the tables lie.
    pub location: LakeLocation,
    /// How long files that the table no longer names stay for those who read an older snapshot.
    pub keep_removed: Duration,
    /// The most rows of a file.
    pub file_rows: usize,
}

impl ColdConfig {
    /// An hour for readers, files of two million rows.
    #[must_use]
    pub fn new(location: LakeLocation) -> Self {
        Self { location, keep_removed: Duration::from_secs(3600), file_rows: 1 << 21 }
    }
}

/// The table at one moment. Cheap to clone.
#[derive(Clone)]
pub struct ColdView {
    /// The last segment whose rows are in.
    pub compacted_to: u64,
    /// No sample that is not from the future is later (microseconds); `i64::MIN` of no rows.
    pub covers_to: i64,
    /// The snapshot.
    pub table: DeltaTable,
    files: Arc<Vec<Arc<File>>>,
}

impl ColdView {
    /// How many files the table has.
    #[must_use]
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// How many bytes its files have.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|f| f.size).sum()
    }

    /// How many rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|f| f.rows).sum()
    }
}

/// The table. Share it by `Arc`.
pub struct Cold {
    config: ColdConfig,
    view: RwLock<ColdView>,
    steps: RwLock<DeltaTable>,
    writer: tokio::sync::Mutex<Writer>,
}

/// What the one writer knows.
#[derive(Default)]
struct Writer {
    /// By datastream, a time that none in the table exceeds: later rows need no look.
    newest: Vec<i64>,
    checkpoint_at: u64,
    /// The last round of keeping, finished or not.
    round: i64,
    /// Whether it may be that it is not.
    unfinished: bool,
    done: steps::Done,
}

impl Cold {
    /// Opens the table, or creates it.
    ///
    /// # Errors
    /// [`LakeError::Setup`] when the place does not answer or holds something else.
    pub async fn open(config: ColdConfig) -> Result<Self, LakeError> {
        let table = open_table(&config.location, "observations", columns()).await?;
        let snapshot = table.snapshot().map_err(setup)?;
        let log = table.log_store();
        let compacted_to = snapshot.transaction_version(log.as_ref(), APP).await.map_err(setup)?;
        let checkpoint_at = snapshot.version();
        let view = view_of(table, compacted_to.unwrap_or_default().unsigned_abs());
        let newest = newest(&view.files);
        let mut writer = Writer { newest, checkpoint_at, ..Writer::default() };
        let steps = open_table(&config.location, "observations_by_step", steps::columns()).await?;
        let cold = Self {
            config,
            view: RwLock::new(view.clone()),
            steps: RwLock::new(steps),
            writer: tokio::sync::Mutex::new(Writer::default()),
        };
        cold.finish_round(&mut writer, view).await?;
        *cold.writer.lock().await = writer;
        Ok(cold)
    }

    /// The table of steps (`observations_by_step`), to which old days of some datastreams are cut
    /// down: a snapshot.
    #[must_use]
    pub fn steps(&self) -> DeltaTable {
        self.steps.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn publish_steps(&self, table: DeltaTable) {
        *self.steps.write().unwrap_or_else(PoisonError::into_inner) = table;
    }

    /// The table as it is now.
    #[must_use]
    pub fn view(&self) -> ColdView {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn publish(&self, view: ColdView) {
        metrics::gauge!("zhongshu_lake_files").set(view.files() as f64);
        metrics::gauge!("zhongshu_lake_bytes").set(view.bytes() as f64);
        metrics::gauge!("zhongshu_lake_rows").set(view.rows() as f64);
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = view;
    }

    fn store(view: &ColdView) -> Arc<dyn ObjectStore> {
        view.table.log_store().object_store(None)
    }

    /// The newest state of the table, whoever made it, with every round of keeping finished:
    /// whoever changes the table begins here.
    async fn refresh(&self, writer: &mut Writer) -> Result<ColdView, LakeError> {
        let before = self.view();
        let mut table = before.table.clone();
        table.update_state().await.map_err(unavailable)?;
        let mut view = before.clone();
        if table.version() != before.table.version() {
            let log = table.log_store();
            let snapshot = table.snapshot().map_err(unavailable)?;
            let to = snapshot.transaction_version(log.as_ref(), APP).await.map_err(unavailable)?;
            view = view_of(table, to.unwrap_or_default().unsigned_abs());
            writer.newest = newest(&view.files);
            self.publish(view.clone());
        }
        if writer.unfinished {
            view = self.finish_round(writer, view).await?;
            writer.unfinished = false;
        }
        Ok(view)
    }

    /// Commits against `view`, which becomes the table with these entries in it.
    async fn commit(
        &self,
        view: &ColdView,
        actions: Vec<Action>,
        operation: DeltaOperation,
        transaction: Option<(&str, i64)>,
    ) -> Result<ColdView, LakeError> {
        let state = commit(&view.table, actions, operation, transaction).await?;
        let mut table = view.table.clone();
        table.state = Some(state);
        let to = match transaction {
            Some((APP, to)) => to.unsigned_abs(),
            _ => view.compacted_to,
        };
        let view = view_of(table, to);
        self.publish(view.clone());
        Ok(view)
    }
}

/// One commit of the library's protocol: entries and, in it, the application transaction.
async fn commit(
    table: &DeltaTable,
    actions: Vec<Action>,
    operation: DeltaOperation,
    transaction: Option<(&str, i64)>,
) -> Result<DeltaTableState, LakeError> {
    // A checkpoint that fails must not look like a commit that failed: they are taken apart.
    let mut properties =
        CommitProperties::default().with_create_checkpoint(false).with_cleanup_expired_logs(Some(false));
    if let Some((app, version)) = transaction {
        properties = properties.with_application_transaction(Transaction::new(app, version));
    }
    let snapshot = table.snapshot().map_err(unavailable)?;
    let done = CommitBuilder::from(properties)
        .with_actions(actions)
        .build(Some(snapshot), table.log_store(), operation)
        .await
        .map_err(unavailable)?;
    Ok(done.snapshot())
}

async fn open_table(
    location: &LakeLocation,
    name: &str,
    columns: Vec<StructField>,
) -> Result<DeltaTable, LakeError> {
    let place = location.table(name)?;
    let url = place.url;
    let mut table = DeltaTableBuilder::from_url(url.clone())
        .map_err(setup)?
        .with_storage_backend(place.root, url)
        .build()
        .map_err(setup)?;
    if table.verify_deltatable_existence().await.map_err(setup)? {
        table.load().await.map_err(setup)?;
        return Ok(table);
    }
    CreateBuilder::new()
        .with_log_store(table.log_store())
        .with_table_name(name)
        .with_columns(columns)
        .with_partition_columns(["day"])
        // The library's clean-up keeps what these say; transactions have no time to live.
        .with_configuration([
            ("delta.logRetentionDuration".to_owned(), Some("interval 1 days".to_owned())),
            ("delta.deletedFileRetentionDuration".to_owned(), Some("interval 1 days".to_owned())),
        ])
        .await
        .map_err(setup)
}

fn field(name: &str, primitive: PrimitiveType) -> StructField {
    // Optional as everywhere in the format's own engines; none is ever missing.
    StructField::new(name, DataType::Primitive(primitive), true)
}

fn columns() -> Vec<StructField> {
    vec![
        field("datastream", PrimitiveType::Integer),
        field("phenomenon_time", PrimitiveType::Timestamp),
        field("value", PrimitiveType::Double),
        field("quality", PrimitiveType::Short),
        field("day", PrimitiveType::Date),
    ]
}

fn view_of(table: DeltaTable, compacted_to: u64) -> ColdView {
    let files: Vec<Arc<File>> = table
        .snapshot()
        .map(|s| s.log_data().iter().map(|f| Arc::new(File::new(&f))).collect())
        .unwrap_or_default();
    // What is later was flagged when it came, and stands on no curve.
    let sound = store::now().plus(FUTURE_TOLERANCE_MICROS);
    let covers_to = files.iter().map(|f| f.times.1.min(sound.0)).max().unwrap_or(i64::MIN);
    ColdView { compacted_to, covers_to, table, files: Arc::new(files) }
}

fn newest(files: &[Arc<File>]) -> Vec<i64> {
    let mut newest: Vec<i64> = Vec::new();
    for file in files {
        let (Ok(first), Ok(last)) = (usize::try_from(file.keys.0.max(0)), usize::try_from(file.keys.1))
        else {
            continue;
        };
        // Keys are dense; a file without statistics says "anything", and then everything is looked at.
        if last >= newest.len() {
            newest.resize(last.min(MOST_KEYS) + 1, i64::MIN);
        }
        for at in newest.iter_mut().take(last.saturating_add(1)).skip(first) {
            *at = (*at).max(file.times.1);
        }
    }
    newest
}

/// How many datastreams the writer remembers; those beyond are looked up.
const MOST_KEYS: usize = 4 << 20;

fn setup(e: DeltaTableError) -> LakeError {
    LakeError::Setup(format!("the table of observations: {e}"))
}

fn unavailable(e: DeltaTableError) -> LakeError {
    LakeError::Table(e.to_string())
}
