//! Questions to the lake: SQL for people (`/api/v1/query`), steps for pages
//! (`/api/v1/datastreams/{key}/aggregate`).
//!
//! The lake knows keys, the watch centre knows what they are, the platform where that is and who
//! may see it: here they are put together.

mod answer;
mod problem;
mod steps;

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use lake::query::{AreaRow, Catalog, Datastream, Dimension, Engine, Limits, Scope, ThingRow, kind, tables};
use model::{Context, Text};
use platform::http::{Access, Api, Caller, HttpResult, Json, Problem};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::StoreError;
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::hub::Rooms;
use answer::{ColumnKind, Form};
use problem::problem;

/// The most rows that one answer holds.
const MAX_ROWS: usize = 100_000;
/// So much of a statement its audit entry keeps.
const AUDITED: usize = 4096;

/// What the handlers work on.
#[derive(Clone)]
struct Questions {
    rooms: Arc<Rooms>,
    engine: Arc<Engine>,
    catalog: Arc<Catalog>,
}

/// The routes.
pub(super) fn routes(rooms: Arc<Rooms>) -> Api<()> {
    let catalog = Arc::new(catalog(&rooms));
    let engine = rooms.query.clone();
    Api::new()
        .add(Access::Permission("data:query"), routes!(ask))
        .add(Access::Permission("data:query"), routes!(list))
        .merge(steps::routes())
        .with_state(Questions { rooms, engine, catalog })
}

/// Things, datastreams and areas as the hub knows them since its start.
fn catalog(rooms: &Rooms) -> Catalog {
    let things = rooms.watch.registry().things();
    let datastreams = things.iter().flat_map(|thing| {
        thing.datastreams.iter().map(|(key, place)| {
            let stream = &thing.kind.datastreams[*place];
            Datastream {
                key: *key,
                thing: thing.code.clone(),
                property: stream.code.clone(),
                area: thing.area.clone(),
                unit: stream.unit.clone(),
                name: stream.name.clone(),
            }
        })
    });
    let dimension = Dimension::new(datastreams).unwrap_or_else(|e| {
        tracing::error!(error = %e, "the datastreams do not make a table; queries see none");
        Dimension::empty()
    });
    let rows = things.iter().map(|thing| ThingRow {
        code: thing.code.clone(),
        kind: thing.kind.name.clone(),
        area: thing.area.clone(),
        name: thing.name.clone(),
        location: thing.location,
    });
    let areas = rooms.platform.areas().all().iter().map(|area| AreaRow {
        path: area.path.clone(),
        level: area.level.as_str().to_owned(),
        name: area.name.clone(),
    });
    Catalog { dimension: Arc::new(dimension), things: rows.collect(), areas: areas.collect() }
}

/// A question.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Question {
    /// One SELECT, WITH … SELECT or EXPLAIN; at most 64 KiB.
    #[schema(example = "SELECT thing, max(value) FROM observations GROUP BY thing")]
    sql: String,
    /// At most so many rows, 1 to 100,000; 10,000 when absent.
    limit: Option<usize>,
}

/// The rows of a statement.
#[derive(Debug, Serialize, ToSchema)]
struct QueryAnswer {
    /// The columns.
    columns: Vec<AnswerColumn>,
    /// The rows: cells in the order of the columns; times as RFC 3339.
    #[schema(value_type = Vec<Vec<Option<serde_json::Value>>>)]
    rows: Vec<Vec<serde_json::Value>>,
    /// Whether there are more rows than were asked for.
    truncated: bool,
    /// How long it took.
    seconds: f64,
}

/// A column of an answer.
#[derive(Debug, Serialize, ToSchema)]
struct AnswerColumn {
    /// Its name.
    name: String,
    /// What it holds.
    r#type: ColumnKind,
}

/// Runs a statement that reads.
///
/// The answer is JSON; with `Accept: text/csv` a table for a spreadsheet, with `Accept:
/// application/vnd.apache.arrow.stream` an Arrow IPC stream. It sees what lies in the areas where
/// the caller holds `data:query`, and is kept in the audit.
#[utoipa::path(post, path = "/api/v1/query", tag = "query", request_body = Question,
    responses(
        (status = 200, body = QueryAnswer),
        (status = 400, body = Problem, description = "it does not read, or is not allowed: /problems/query-statement, /problems/query-refused"),
        (status = 422, body = Problem, description = "it failed, took too long or needed too much: /problems/query-failed, -timeout, -memory"),
        (status = 503, body = Problem, description = "others are being answered: /problems/query-busy")))]
async fn ask(
    State(questions): State<Questions>,
    caller: Caller,
    headers: HeaderMap,
    Json(question): Json<Question>,
) -> HttpResult<Response> {
    let form = Form::of(&headers);
    let limits = Limits { rows: question.limit.unwrap_or(10_000).clamp(1, MAX_ROWS), ..Limits::default() };
    audit(&questions, &caller, &question.sql).await?;
    let began = Instant::now();
    let scope = Scope::Areas(caller.scope());
    let mut running =
        questions.engine.sql(&question.sql, &questions.catalog, &scope, limits).await.map_err(problem)?;
    let mut batches = Vec::new();
    while let Some(batch) = running.next().await {
        batches.push(batch.map_err(problem)?);
    }
    let found = answer::Found {
        schema: running.schema(),
        batches,
        truncated: running.truncated(),
        seconds: began.elapsed().as_secs_f64(),
    };
    // For the operator alone: which pages were left out depends on rows that the asker may not see.
    let scanned = running.scanned();
    metrics::counter!("zhongshu_query_scanned_rows_total").increment(scanned.rows as u64);
    metrics::counter!("zhongshu_query_scanned_bytes_total").increment(scanned.bytes as u64);
    let zone = questions.rooms.store.time_zone().clone();
    answer::written(found, form, zone).await
}

/// Writes down who asked what, before it is answered.
async fn audit(questions: &Questions, caller: &Caller, sql: &str) -> Result<(), StoreError> {
    let mut end = sql.len().min(AUDITED);
    while !sql.is_char_boundary(end) {
        end -= 1;
    }
    // A question is asked anew each time: the key would keep an answer that is none.
    let context = Context { idempotency_key: None, ..caller.context.clone() };
    let text = sql[..end].to_owned();
    let asked = questions.rooms.store.command(&context, "data:query", text, |tx, text: &String| {
        Box::pin(async move {
            tx.subject("query", tx.context.request_id, None);
            tx.detail(json!({ "sql": text }));
            Ok::<(), StoreError>(())
        })
    });
    asked.await
}

/// A table that SQL sees.
#[derive(Debug, Serialize, ToSchema)]
struct QueryTable {
    /// Its name.
    name: String,
    /// What it holds.
    about: Text,
    /// Its columns.
    columns: Vec<QueryColumn>,
}

/// A column of a table.
#[derive(Debug, Serialize, ToSchema)]
struct QueryColumn {
    /// Its name.
    name: String,
    /// What it holds.
    r#type: ColumnKind,
    /// What that means.
    about: Text,
}

/// The tables that SQL sees, with their columns.
#[utoipa::path(get, path = "/api/v1/query/tables", tag = "query",
    responses((status = 200, body = Vec<QueryTable>)))]
async fn list(_: Caller) -> Json<Vec<QueryTable>> {
    let tables = tables().into_iter().map(|table| QueryTable {
        name: table.name.to_owned(),
        about: table.about,
        columns: table
            .columns
            .into_iter()
            .map(|column| QueryColumn {
                name: column.name.to_owned(),
                r#type: kind(&column.data_type).into(),
                about: column.about,
            })
            .collect(),
    });
    Json(tables.collect())
}
