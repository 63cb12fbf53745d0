//! `/api/v1/areas`: the tree as far as the caller sees it, and its features for the map.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use model::{AreaLevel, AreaPath};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::caller::Caller;
use super::problem::{HttpResult, Problem};
use super::shape::{Json, Query};
use super::{Access, Api};
use crate::area::features;
use crate::{AreaRef, Platform};

pub(super) fn routes() -> Api<Arc<Platform>> {
    Api::new()
        .add(Access::Permission("area:read"), routes!(list))
        .add(Access::Permission("area:read"), routes!(one))
        .add(Access::Permission("area:read"), routes!(map_features))
}

/// An area with those above it.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Area {
    #[serde(flatten)]
    area: AreaRef,
    /// The code of the area it hangs on.
    parent: Option<String>,
    /// The areas above it, widest first.
    ancestors: Vec<AreaRef>,
}

/// One page of areas.
#[derive(Serialize, ToSchema)]
struct AreaPage {
    items: Vec<Area>,
    next: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// Only areas in this one (a path).
    under: Option<String>,
    /// Only areas of this level.
    level: Option<AreaLevel>,
    /// Only areas whose name or code holds this text.
    q: Option<String>,
    /// Rows a page, 1 to 500; 50 when absent.
    limit: Option<usize>,
    /// What the page before gave as `next`.
    after: Option<String>,
}

fn area_of(platform: &Platform, area: AreaRef) -> Area {
    let ancestors = platform.areas().above(&area.path);
    Area { parent: ancestors.last().map(|a| a.code.clone()), ancestors, area }
}

/// Areas.
#[utoipa::path(get, path = "/api/v1/areas", tag = "areas", params(Asked),
    responses((status = 200, body = AreaPage), (status = 401, body = Problem), (status = 403, body = Problem)))]
async fn list(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> HttpResult<Json<AreaPage>> {
    let scope = caller.scope();
    let under = asked
        .under
        .as_deref()
        .map(AreaPath::parse)
        .transpose()
        .map_err(|e| Problem::bad_request(e.to_string()))?;
    let q = asked.q.as_deref().map(str::to_lowercase).filter(|q| !q.is_empty());
    let limit = asked.limit.unwrap_or(50).clamp(1, 500);
    let mut items = platform
        .areas()
        .all()
        .iter()
        .filter(|a| scope.iter().any(|s| a.path.is_in(s)))
        .filter(|a| under.as_ref().is_none_or(|u| a.path.is_in(u)))
        .filter(|a| asked.level.is_none_or(|l| a.level == l))
        .filter(|a| {
            q.as_ref().is_none_or(|q| {
                a.code.contains(q.as_str())
                    || a.name.zh.contains(q.as_str())
                    || a.name.en.to_lowercase().contains(q.as_str())
            })
        })
        .skip_while(|a| asked.after.as_ref().is_some_and(|after| a.code != *after))
        .skip(usize::from(asked.after.is_some()))
        .take(limit + 1)
        .cloned()
        .collect::<Vec<_>>();
    let next = if items.len() > limit {
        items.truncate(limit);
        items.last().map(|a| a.code.clone())
    } else {
        None
    };
    Ok(Json(AreaPage { items: items.into_iter().map(|a| area_of(&platform, a)).collect(), next }))
}

fn seen(platform: &Platform, caller: &Caller, code: &str) -> HttpResult<AreaRef> {
    platform.areas().by_code(code).filter(|a| caller.sees(&a.path)).ok_or_else(|| Problem::not_found("area"))
}

/// One area.
#[utoipa::path(get, path = "/api/v1/areas/{code}", tag = "areas", params(("code" = String, Path)),
    responses((status = 200, body = Area), (status = 404, body = Problem)))]
async fn one(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path(code): Path<String>,
) -> HttpResult<Json<Area>> {
    let area = seen(&platform, &caller, &code)?;
    Ok(Json(area_of(&platform, area)))
}

/// What the map draws of an area: a GeoJSON FeatureCollection (RFC 7946), WGS-84.
#[utoipa::path(get, path = "/api/v1/areas/{code}/features", tag = "areas", params(("code" = String, Path)),
    responses((status = 200, body = Object, content_type = "application/geo+json"), (status = 404, body = Problem)))]
async fn map_features(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path(code): Path<String>,
) -> HttpResult<Response> {
    let area = seen(&platform, &caller, &code)?;
    let features = features(platform.store(), &area.path).await?;
    let body = format!("{{\"type\":\"FeatureCollection\",\"features\":[{}]}}", features.join(","));
    Ok((
        [(header::CONTENT_TYPE, "application/geo+json"), (header::CACHE_CONTROL, "private, max-age=60")],
        body,
    )
        .into_response())
}
