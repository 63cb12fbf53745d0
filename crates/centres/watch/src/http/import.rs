//! `/api/v1/imports`: files of observations, and how far they have come.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use model::{AreaPath, Context, Id, Micros};
use platform::http::{Access, Api, Created, HttpResult, Json, Party, Problem, Query};
use platform::token::TokenRight;
use serde::{Deserialize, Serialize};
use store::PageRequest;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::bulk::{
    Bulk, BulkError, ColumnNames, Format, ImportRow, ImportState, NewImport, TimeUnit, WrongRow,
};

/// The longest name of a file or a column.
const LONGEST_NAME: usize = 200;

/// The routes of imports.
#[must_use]
pub fn import_routes(bulk: Arc<Bulk>) -> Api<()> {
    let access = Access::PermissionOrToken("observation:import", TokenRight::Write);
    Api::new().add(access, routes!(list, send)).add(access, routes!(one, cancel)).with_state(bulk)
}

/// What is asked: which page.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// Rows a page, 1 to 500; 50 when absent.
    limit: Option<i64>,
    /// What the page before gave as `next`.
    after: Option<String>,
}

/// What is said of a file.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Offered {
    /// The file's name, as shown.
    name: Option<String>,
    /// csv or parquet; by the Content-Type or the name when absent.
    format: Option<Format>,
    /// The column of the thing's code.
    thing: Option<String>,
    /// The column of the datastream's code.
    datastream: Option<String>,
    /// The column of the time.
    time: Option<String>,
    /// The column of the value.
    value: Option<String>,
    /// The column of the quality.
    quality: Option<String>,
    /// The column of the unit (UCUM).
    unit: Option<String>,
    /// What times count that are integers: s, ms, us or ns; without it they are RFC 3339.
    #[param(inline)]
    time_unit: Option<TimeUnit>,
}

/// A file on its way into the lake.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Import)]
struct ImportView {
    /// Names it for ever.
    #[schema(value_type = uuid::Uuid)]
    id: Id,
    /// The file's name.
    name: String,
    /// What it is.
    format: Format,
    /// How it stands.
    state: ImportState,
    /// How large the file is.
    bytes: i64,
    /// How much of it is read and stored.
    bytes_read: i64,
    /// How many samples were stored.
    samples: i64,
    /// How many rows were not.
    wrong: i64,
    /// The first hundred of these.
    wrong_rows: Vec<WrongRow>,
    /// Why it failed.
    reason: Option<String>,
    /// When it was taken.
    created_at: Micros,
    /// Who sent it.
    created_by: String,
    /// When it ended.
    finished_at: Option<Micros>,
}

/// One page of imports.
#[derive(Serialize, ToSchema)]
struct ImportPage {
    items: Vec<ImportView>,
    next: Option<String>,
}

impl From<ImportRow> for ImportView {
    fn from(row: ImportRow) -> Self {
        Self {
            id: row.id,
            format: row.format(),
            state: row.state(),
            wrong_rows: row.wrong_rows(),
            name: row.name,
            bytes: row.bytes,
            bytes_read: row.bytes_read,
            samples: row.samples,
            wrong: row.wrong,
            reason: row.reason,
            created_at: Micros(row.created_at),
            created_by: row.owner_name,
            finished_at: row.finished_at.map(Micros),
        }
    }
}

fn context(party: &Party) -> &Context {
    match party {
        Party::Person(caller) => &caller.context,
        Party::Token(caller) => &caller.context,
    }
}

fn areas(party: &Party) -> Vec<AreaPath> {
    match party {
        Party::Person(caller) => caller.scope(),
        Party::Token(caller) => caller.token.integrator.write.clone(),
    }
}

/// What the file is: as said, by its media type, or by its name.
fn format(offered: &Offered, headers: &HeaderMap) -> HttpResult<Format> {
    let name = offered.name.as_deref().unwrap_or_default().to_lowercase();
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    match (offered.format, kind) {
        (Some(format), _) => Ok(format),
        (None, "text/csv") => Ok(Format::Csv),
        (None, "application/vnd.apache.parquet") => Ok(Format::Parquet),
        _ if name.ends_with(".csv") => Ok(Format::Csv),
        _ if name.ends_with(".parquet") => Ok(Format::Parquet),
        _ => Err(Problem::unsupported("send CSV or Parquet, and say which: format=csv or format=parquet")),
    }
}

fn problem(e: BulkError) -> Problem {
    match e {
        BulkError::TooLarge(_) => Problem::too_large(e.to_string()),
        BulkError::Busy => Problem::unavailable(e.to_string()),
        BulkError::Cut(_) => Problem::bad_request(e.to_string()),
        BulkError::Disk(e) => {
            tracing::error!(error = %e, "a file of observations was not kept");
            Problem::unavailable("the hub could not write the file; try again in a moment")
        }
        BulkError::Store(e) => e.into(),
    }
}

/// The imports that the caller sent, newest first.
#[utoipa::path(get, path = "/api/v1/imports", tag = "imports", params(Asked),
    responses((status = 200, body = ImportPage), (status = 401, body = Problem), (status = 403, body = Problem)))]
async fn list(
    State(bulk): State<Arc<Bulk>>,
    party: Party,
    Query(asked): Query<Asked>,
) -> HttpResult<Json<ImportPage>> {
    let page = PageRequest { limit: asked.limit, after: asked.after };
    let page = bulk.list(&context(&party).actor.key(), &page).await?.map(ImportView::from);
    Ok(Json(ImportPage { items: page.items, next: page.next }))
}

/// Send a file: the body is its bytes. Answered once they are on disk; reading goes on after.
#[utoipa::path(post, path = "/api/v1/imports", tag = "imports", params(Offered),
    request_body(content = Vec<u8>, content_type = "text/csv"),
    responses((status = 201, body = ImportView), (status = 400, body = Problem), (status = 413, body = Problem),
        (status = 415, body = Problem), (status = 503, body = Problem)))]
async fn send(
    State(bulk): State<Arc<Bulk>>,
    party: Party,
    Query(offered): Query<Offered>,
    headers: HeaderMap,
    body: Body,
) -> HttpResult<Created<ImportView>> {
    let format = format(&offered, &headers)?;
    let columns = [
        &offered.name,
        &offered.thing,
        &offered.datastream,
        &offered.time,
        &offered.value,
        &offered.quality,
        &offered.unit,
    ];
    if columns.into_iter().flatten().any(|name| name.is_empty() || name.len() > LONGEST_NAME) {
        return Err(Problem::bad_request(format!("a name must have 1 to {LONGEST_NAME} bytes")));
    }
    let new = NewImport {
        name: offered.name.unwrap_or_else(|| "observations".to_owned()),
        format,
        areas: areas(&party),
        columns: ColumnNames {
            thing: offered.thing,
            datastream: offered.datastream,
            time: offered.time,
            value: offered.value,
            quality: offered.quality,
            unit: offered.unit,
            time_unit: offered.time_unit,
        },
    };
    let taken = bulk.take(context(&party), new, body.into_data_stream()).await;
    taken.map(|row| Created(row.into())).map_err(problem)
}

/// One import.
#[utoipa::path(get, path = "/api/v1/imports/{id}", tag = "imports", params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = ImportView), (status = 404, body = Problem)))]
async fn one(
    State(bulk): State<Arc<Bulk>>,
    party: Party,
    Path(id): Path<Id>,
) -> HttpResult<Json<ImportView>> {
    let row = bulk.find(&context(&party).actor.key(), id).await?;
    row.map(|row| Json(row.into())).ok_or_else(|| Problem::not_found("import"))
}

/// Cancel an import; what was stored stays.
#[utoipa::path(delete, path = "/api/v1/imports/{id}", tag = "imports", params(("id" = uuid::Uuid, Path)),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn cancel(State(bulk): State<Arc<Bulk>>, party: Party, Path(id): Path<Id>) -> HttpResult<StatusCode> {
    let context = context(&party);
    if bulk.find(&context.actor.key(), id).await?.is_none() {
        return Err(Problem::not_found("import"));
    }
    if bulk.cancel(context, id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::conflict("/problems/ended", "it has ended", "the import had ended before"))
    }
}
