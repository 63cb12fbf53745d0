//! `/api/v1/processes`: the diagram of a process as it was when a case started.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use platform::http::{Access, Api, Caller, HttpResult, Problem};
use utoipa_axum::routes;

use crate::Work;

pub(super) fn routes() -> Api<Arc<Work>> {
    Api::new().add(Access::Permission("process:read"), routes!(bpmn))
}

/// A version of a process as BPMN 2.0 XML, diagram included.
#[utoipa::path(get, path = "/api/v1/processes/{key}/{version}/bpmn", tag = "processes",
    params(("key" = String, Path), ("version" = i64, Path)),
    responses((status = 200, body = String, content_type = "application/xml"), (status = 404, body = Problem)))]
async fn bpmn(
    State(work): State<Arc<Work>>,
    _: Caller,
    Path((key, version)): Path<(String, i64)>,
) -> HttpResult<Response> {
    let loaded = work.room.definitions.get(&key, version).ok_or_else(|| Problem::not_found("process"))?;
    // A version never changes.
    let headers =
        [(header::CONTENT_TYPE, "application/xml"), (header::CACHE_CONTROL, "private, max-age=86400")];
    Ok((headers, loaded.xml.clone()).into_response())
}
