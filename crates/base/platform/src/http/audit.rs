//! `/api/v1/audit`: what was done, by whom, when; for the auditor.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures::{Stream, StreamExt as _, stream};
use model::{AreaPath, Id, Micros};
use serde::{Deserialize, Serialize};
use store::{PageRequest, StoreError};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::caller::Caller;
use super::problem::{HttpResult, Problem};
use super::shape::{Json, Query};
use super::table::harmless;
use super::{Access, Api};
use crate::audit::{Entry, Search};
use crate::{AreaRef, Platform};

/// How many entries an export reads at once.
const PAGE: i64 = 500;
/// How many an export holds at most; the older ones are asked for by their time.
const MOST: usize = 1_000_000;

pub(super) fn routes() -> Api<Arc<Platform>> {
    Api::new()
        .add(Access::Permission("audit:read"), routes!(list))
        .add(Access::Permission("audit:read"), routes!(export))
        .add(Access::Permission("audit:read"), routes!(chain))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// Part of the actor's name, or the whole of its key (`person:<id>`).
    who: Option<String>,
    /// Part of the action (`account:disable`).
    what: Option<String>,
    /// The kind or the id of what was acted on.
    object: Option<String>,
    /// Not before.
    from: Option<Micros>,
    /// Before.
    to: Option<Micros>,
    /// The id of the request, as `X-Request-Id` gave it.
    #[param(value_type = Option<uuid::Uuid>)]
    request: Option<Id>,
    /// Rows a page, 1 to 500; 50 when absent.
    limit: Option<i64>,
    /// What the page before gave as `next`.
    after: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ExportFormat {
    /// A table for spreadsheets; no cell runs as a formula.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ExportAsked {
    /// `csv` or `jsonl`.
    #[param(inline)]
    format: ExportFormat,
    /// Part of the actor's name, or the whole of its key.
    who: Option<String>,
    /// Part of the action.
    what: Option<String>,
    /// The kind or the id of what was acted on.
    object: Option<String>,
    /// Not before.
    from: Option<Micros>,
    /// Before.
    to: Option<Micros>,
    /// The id of the request.
    #[param(value_type = Option<uuid::Uuid>)]
    request: Option<Id>,
}

/// An entry of the audit.
#[derive(Serialize, ToSchema)]
struct AuditEntry {
    /// Its number.
    seq: i64,
    /// Its position in the chain; `null` for one older than the chain.
    position: Option<i64>,
    at: Micros,
    /// `person:<id>` or `system:<part>`.
    actor: String,
    /// The name as it was then.
    actor_name: String,
    /// `resource:verb`
    action: String,
    /// The kind of what was acted on.
    resource: Option<String>,
    /// Which one.
    resource_id: Option<String>,
    /// Where.
    area: Option<AreaRef>,
    #[schema(value_type = uuid::Uuid)]
    request: Id,
    /// Facts, by the action.
    #[schema(value_type = Object)]
    detail: serde_json::Value,
    /// Its hash in the chain, hexadecimal.
    hash: Option<String>,
}

/// One page of the audit.
#[derive(Serialize, ToSchema)]
struct AuditPage {
    items: Vec<AuditEntry>,
    next: Option<String>,
}

/// Where the chain stands.
#[derive(Serialize, ToSchema)]
struct AuditChain {
    /// How many entries it has.
    position: i64,
    /// The hash of the last, hexadecimal.
    hash: String,
}

fn search(
    asked: [Option<String>; 3],
    from: Option<Micros>,
    to: Option<Micros>,
    request: Option<Id>,
) -> Search {
    let given = |text: Option<String>| text.map(|t| t.trim().to_owned()).filter(|t| !t.is_empty());
    let [who, what, object] = asked.map(given);
    Search { who, what, object, from, to, request }
}

fn view(platform: &Platform, entry: Entry) -> AuditEntry {
    let area = entry.area.as_deref().and_then(|path| AreaPath::parse(path).ok());
    AuditEntry {
        seq: entry.seq,
        position: entry.position,
        at: Micros(entry.at),
        actor: entry.actor,
        actor_name: entry.actor_name,
        action: entry.action,
        resource: entry.resource,
        resource_id: entry.resource_id,
        area: area.map(|path| platform.areas().reference(&path)),
        request: entry.request,
        // A detail that does not read is shown as the text it is.
        detail: serde_json::from_str(&entry.detail).unwrap_or(serde_json::Value::String(entry.detail)),
        hash: entry.hash.map(hex::encode),
    }
}

/// The audit, the newest first. Who holds the permission for the whole city sees every entry; for a
/// part, those that name an area in it.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(Asked),
    responses((status = 200, body = AuditPage), (status = 401, body = Problem), (status = 403, body = Problem)))]
async fn list(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> HttpResult<Json<AuditPage>> {
    let page = PageRequest { limit: asked.limit, after: asked.after };
    let search = search([asked.who, asked.what, asked.object], asked.from, asked.to, asked.request);
    let page = platform.audit(caller.scope(), search, &page).await?;
    let items = page.items.into_iter().map(|entry| view(&platform, entry)).collect();
    Ok(Json(AuditPage { items, next: page.next }))
}

/// Where the chain of the audit stands: to write down elsewhere. `zhongshu audit verify` reads all of
/// it.
#[utoipa::path(get, path = "/api/v1/audit/chain", tag = "audit",
    responses((status = 200, body = AuditChain), (status = 401, body = Problem), (status = 403, body = Problem)))]
async fn chain(State(platform): State<Arc<Platform>>) -> HttpResult<Json<AuditChain>> {
    let head = platform.store().audit_head().await?;
    Ok(Json(AuditChain { position: head.position, hash: hex::encode(head.hash) }))
}

/// The same as a file, a million entries at most.
#[utoipa::path(get, path = "/api/v1/audit/export", tag = "audit", params(ExportAsked),
    responses((status = 200, body = String, content_type = "text/csv"), (status = 401, body = Problem), (status = 403, body = Problem)))]
async fn export(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Query(asked): Query<ExportAsked>,
) -> HttpResult<Response> {
    let format = asked.format;
    let facts = serde_json::json!({
        "who": asked.who, "what": asked.what, "object": asked.object, "from": asked.from, "to": asked.to,
        "request": asked.request,
    });
    platform.note_export(&caller.context, facts).await?;
    let search = search([asked.who, asked.what, asked.object], asked.from, asked.to, asked.request);
    let (kind, name) = match format {
        ExportFormat::Csv => ("text/csv; charset=utf-8", "audit.csv"),
        ExportFormat::Jsonl => ("application/jsonl", "audit.jsonl"),
    };
    let rows = entries(platform.clone(), caller.scope(), search).map(move |page| match format {
        ExportFormat::Csv => page.and_then(|(first, entries)| csv(&platform, first, entries)),
        ExportFormat::Jsonl => page.and_then(|(_, entries)| jsonl(&platform, entries)),
    });
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    Ok((headers, Body::from_stream(rows)).into_response())
}

/// Pages of entries, each told whether it is the first.
fn entries(
    platform: Arc<Platform>,
    scope: Vec<AreaPath>,
    search: Search,
) -> impl Stream<Item = Result<(bool, Vec<Entry>), StoreError>> {
    let begin = Some((None, 0usize));
    stream::try_unfold(begin, move |state: Option<(Option<String>, usize)>| {
        let (platform, scope, search) = (platform.clone(), scope.clone(), search.clone());
        async move {
            let Some((after, read)) = state else { return Ok(None) };
            let first = after.is_none();
            let page = platform.audit(scope, search, &PageRequest { limit: Some(PAGE), after }).await?;
            let read = read + page.items.len();
            let next = page.next.filter(|_| read < MOST).map(|next| (Some(next), read));
            Ok(Some(((first, page.items), next)))
        }
    })
}

fn csv(platform: &Platform, first: bool, entries: Vec<Entry>) -> Result<Vec<u8>, StoreError> {
    let wrong = |e: csv::Error| StoreError::Document(e.to_string());
    let start = if first { "\u{feff}".as_bytes().to_vec() } else { Vec::new() };
    let mut out = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(start);
    if first {
        let headings = [
            "position",
            "at",
            "actor",
            "actor_name",
            "action",
            "resource",
            "resource_id",
            "area",
            "request",
            "detail",
            "hash",
        ];
        out.write_record(headings).map_err(wrong)?;
    }
    for entry in entries {
        let entry = view(platform, entry);
        let cells = [
            entry.position.map(|p| p.to_string()).unwrap_or_default(),
            entry.at.to_string(),
            entry.actor,
            entry.actor_name,
            entry.action,
            entry.resource.unwrap_or_default(),
            entry.resource_id.unwrap_or_default(),
            entry.area.map(|a| a.name.zh).unwrap_or_default(),
            entry.request.to_string(),
            entry.detail.to_string(),
            entry.hash.unwrap_or_default(),
        ];
        out.write_record(cells.map(harmless)).map_err(wrong)?;
    }
    out.into_inner().map_err(|e| StoreError::Document(e.error().to_string()))
}

fn jsonl(platform: &Platform, entries: Vec<Entry>) -> Result<Vec<u8>, StoreError> {
    let mut out = Vec::new();
    for entry in entries {
        serde_json::to_writer(&mut out, &view(platform, entry))?;
        out.push(b'\n');
    }
    Ok(out)
}
