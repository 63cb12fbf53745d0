//! Imports as rows: what was offered, and how far it has come.

use model::{AreaPath, Context, Id};
use serde::{Deserialize, Serialize};
use store::{Filter, Order, Page, PageRequest, Select, Store, StoreError, args, new_id};
use utoipa::ToSchema;

use super::row::WrongRow;
use super::source::Position;
use super::{BulkError, ColumnNames, Format, NewImport, WAITING};

/// How many wrong rows are named.
pub(crate) const NAMED: usize = 100;

store::statements! {
    ADD = "INSERT INTO imports (id, sort, owner, owner_name, areas, name, format, columns, bytes, state, position,
        bytes_read, samples, wrong, wrong_rows, reason, created_at, finished_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'queued', NULL, 0, 0, 0, '[]', NULL, $10, NULL)";
    TRIM = "DELETE FROM imports WHERE state NOT IN ('queued', 'running')
        AND sort <= (SELECT sort FROM imports ORDER BY sort DESC LIMIT 1 OFFSET 1000)";
    HOW_MANY = "SELECT COUNT(*) FROM imports WHERE state IN ('queued', 'running')";
    WAITING_IDS = "SELECT id FROM imports WHERE state IN ('queued', 'running')";
    NEXT = "SELECT id, sort, owner, owner_name, areas, name, format, columns, bytes, state, position, bytes_read,
        samples, wrong, wrong_rows, reason, created_at, finished_at
        FROM imports WHERE state IN ('queued', 'running') ORDER BY sort LIMIT 1";
    ONE = "SELECT id, sort, owner, owner_name, areas, name, format, columns, bytes, state, position, bytes_read,
        samples, wrong, wrong_rows, reason, created_at, finished_at FROM imports WHERE id = $1 AND owner = $2";
    RECORD = "UPDATE imports SET state = 'running', position = $2, bytes_read = $3, samples = $4, wrong = $5,
        wrong_rows = $6 WHERE id = $1 AND state IN ('queued', 'running')";
    FINISH = "UPDATE imports SET state = $2, position = NULL, bytes_read = $3, samples = $4, wrong = $5,
        wrong_rows = $6, reason = $7, finished_at = $8 WHERE id = $1 AND state IN ('queued', 'running')";
    CANCEL = "UPDATE imports SET state = 'cancelled', finished_at = $2 WHERE id = $1 AND owner = $3
        AND state IN ('queued', 'running')";
}

const LIST: &str = "SELECT id, sort, owner, owner_name, areas, name, format, columns, bytes, state, position,
    bytes_read, samples, wrong, wrong_rows, reason, created_at, finished_at FROM imports";

/// How an import stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ImportState {
    /// Taken, not read yet.
    Queued,
    /// Being read.
    Running,
    /// Read to its end.
    Done,
    /// It could not be read further; the reason says why.
    Failed,
    /// Cancelled; what was stored before stays.
    Cancelled,
}

impl ImportState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// An import as a row.
#[derive(Clone, Debug, Serialize, Deserialize, sqlx::FromRow)]
pub struct ImportRow {
    /// Names it for ever.
    pub id: Id,
    /// Orders lists: the id as a text.
    pub sort: String,
    /// The key of the actor who sent it.
    pub owner: String,
    /// Their name, as shown.
    pub owner_name: String,
    areas: String,
    /// The file's name.
    pub name: String,
    format: String,
    columns: String,
    /// How large the file is.
    pub bytes: i64,
    state: String,
    position: Option<String>,
    /// How much of it is read and stored.
    pub bytes_read: i64,
    /// How many samples were stored.
    pub samples: i64,
    /// How many rows were not stored.
    pub wrong: i64,
    wrong_rows: String,
    /// Why it failed.
    pub reason: Option<String>,
    /// When it was taken.
    pub created_at: i64,
    /// When it ended.
    pub finished_at: Option<i64>,
}

impl ImportRow {
    /// How it stands.
    #[must_use]
    pub fn state(&self) -> ImportState {
        use ImportState::{Cancelled, Done, Failed, Queued, Running};
        [Queued, Running, Done, Cancelled].into_iter().find(|s| s.as_str() == self.state).unwrap_or(Failed)
    }

    /// What the file is.
    #[must_use]
    pub fn format(&self) -> Format {
        if self.format == "parquet" { Format::Parquet } else { Format::Csv }
    }

    /// The first rows that were not stored.
    #[must_use]
    pub fn wrong_rows(&self) -> Vec<WrongRow> {
        serde_json::from_str(&self.wrong_rows).unwrap_or_default()
    }

    pub(super) fn areas(&self) -> Vec<AreaPath> {
        serde_json::from_str(&self.areas).unwrap_or_default()
    }

    pub(super) fn columns(&self) -> ColumnNames {
        serde_json::from_str(&self.columns).unwrap_or_default()
    }

    pub(super) fn position(&self) -> Option<Position> {
        self.position.as_deref().and_then(|text| serde_json::from_str(text).ok())
    }

    /// Notes what was stored of the file.
    pub(super) fn advance(
        &mut self,
        samples: u64,
        wrong: u64,
        named: Vec<WrongRow>,
        position: &Position,
        bytes_read: u64,
    ) {
        self.samples = self.samples.saturating_add_unsigned(samples);
        self.wrong = self.wrong.saturating_add_unsigned(wrong);
        self.bytes_read = i64::try_from(bytes_read).unwrap_or(i64::MAX).min(self.bytes);
        self.position = serde_json::to_string(position).ok();
        if !named.is_empty() {
            let mut rows = self.wrong_rows();
            rows.extend(named);
            rows.truncate(NAMED);
            self.wrong_rows = serde_json::to_string(&rows).unwrap_or_default();
        }
    }
}

/// The imports that wait or are read.
pub(super) async fn waiting(store: &Store) -> Result<Vec<Id>, StoreError> {
    let rows: Vec<(Id,)> = store.read().all(WAITING_IDS, args![]).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// The next to be read.
pub(super) async fn next(store: &Store) -> Result<Option<ImportRow>, StoreError> {
    store.read().opt(NEXT, args![]).await
}

/// Puts a file that has arrived on record.
pub(super) async fn add(
    store: &Store,
    context: &Context,
    id: Id,
    new: NewImport,
    bytes: u64,
) -> Result<ImportRow, BulkError> {
    let format = if new.format == Format::Parquet { "parquet" } else { "csv" };
    let json = |value: serde_json::Result<String>| value.map_err(|e| StoreError::Document(e.to_string()));
    let areas = json(serde_json::to_string(&new.areas))?;
    let columns = json(serde_json::to_string(&new.columns))?;
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    let values = (id, new, format, areas, columns, bytes);
    let added: Option<ImportRow> = store
        .command::<_, _, StoreError, _>(context, "observation:import", values, |tx, values| {
            let (id, new, format, areas, columns, bytes) = values;
            Box::pin(async move {
                let waiting: Option<(i64,)> = tx.opt(HOW_MANY, args![]).await?;
                if waiting.is_some_and(|(waiting,)| waiting >= WAITING) {
                    return Ok(None);
                }
                let (owner, name, now) = (tx.context.actor.key(), tx.context.actor.name().to_owned(), tx.now);
                tx.subject("import", id, new.areas.first());
                tx.detail(serde_json::json!({ "name": new.name, "bytes": bytes, "format": format }));
                tx.execute(TRIM, args![]).await?;
                let row =
                    args![id, id.to_string(), &owner, name, areas, &new.name, *format, columns, *bytes, now];
                tx.execute(ADD, row).await?;
                tx.opt(ONE, args![id, owner]).await
            })
        })
        .await?;
    added.ok_or(BulkError::Busy)
}

/// Records how far an import has come; whether it goes on.
pub(super) async fn record(store: &Store, import: &ImportRow) -> Result<bool, StoreError> {
    let context = Context::system("watch", new_id());
    store
        .command(&context, "import:record", import.clone(), |tx, import| {
            Box::pin(async move {
                tx.bookkeeping();
                let i = import.clone();
                let row = args![i.id, i.position, i.bytes_read, i.samples, i.wrong, i.wrong_rows];
                Ok(tx.execute(RECORD, row).await? > 0)
            })
        })
        .await
}

/// Records the end of an import; whether it had not been cancelled before.
pub(super) async fn finish(
    store: &Store,
    import: &ImportRow,
    failed: Option<String>,
) -> Result<bool, StoreError> {
    let state = if failed.is_some() { ImportState::Failed } else { ImportState::Done };
    let context = Context::system("watch", new_id());
    let values = (import.clone(), state.as_str(), failed);
    store
        .command(&context, "import:finish", values, |tx, (import, state, failed)| {
            Box::pin(async move {
                tx.subject("import", import.id, import.areas().first());
                tx.detail(serde_json::json!({ "samples": import.samples, "wrong": import.wrong }));
                let (i, now) = (import.clone(), tx.now);
                let read = if failed.is_none() { i.bytes } else { i.bytes_read };
                let row = args![i.id, *state, read, i.samples, i.wrong, i.wrong_rows, failed.clone(), now];
                Ok(tx.execute(FINISH, row).await? > 0)
            })
        })
        .await
}

/// Cancels an import of the one who acts; whether it had not ended.
pub(super) async fn cancel(store: &Store, context: &Context, id: Id) -> Result<bool, StoreError> {
    store
        .command(context, "import:cancel", id, |tx, id| {
            Box::pin(async move {
                tx.subject("import", id, None);
                let (owner, now) = (tx.context.actor.key(), tx.now);
                Ok(tx.execute(CANCEL, args![id, now, owner]).await? > 0)
            })
        })
        .await
}

/// One page of the imports of an actor, newest first.
pub(super) async fn list(
    store: &Store,
    owner: &str,
    page: &PageRequest,
) -> Result<Page<ImportRow>, StoreError> {
    let filter = Filter::Is("owner", owner.into());
    store.list(Select { head: LIST, filter, order: vec![Order::Down("sort")] }, page).await
}

/// An import of an actor.
pub(super) async fn find(store: &Store, owner: &str, id: Id) -> Result<Option<ImportRow>, StoreError> {
    store.read().opt(ONE, args![id, owner]).await
}
