//! `/api/v1/notices`: what holds at my building.

use std::sync::Arc;

use axum::extract::State;
use model::{AreaPath, Id, Micros, Severity, Text};
use serde::{Deserialize, Serialize};
use store::PageRequest;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::caller::Caller;
use super::problem::{HttpResult, Problem};
use super::shape::{Json, Query};
use super::{Access, Api};
use crate::notice::{self, NoticeRow};
use crate::{AreaRef, Platform};

pub(super) fn routes() -> Api<Arc<Platform>> {
    Api::new().add(Access::Permission("notice:read"), routes!(list))
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

/// Whether a notice still holds.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum NoticeState {
    Current,
    Ended,
}

/// A notice.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Notice {
    #[schema(value_type = uuid::Uuid)]
    id: Id,
    area: AreaRef,
    severity: Option<Severity>,
    title: Text,
    body: Text,
    state: NoticeState,
    published_at: Micros,
    ended_at: Option<Micros>,
}

/// One page of notices.
#[derive(Serialize, ToSchema)]
struct NoticePage {
    items: Vec<Notice>,
    next: Option<String>,
}

fn view(platform: &Platform, row: NoticeRow) -> HttpResult<Notice> {
    let area = AreaPath::parse(&row.area).map_err(|e| store::StoreError::Document(e.to_string()))?;
    Ok(Notice {
        id: row.id,
        area: platform.areas().reference(&area),
        severity: row.severity.and_then(Severity::from_rank),
        title: Text::new(row.title_zh, row.title_en),
        body: Text::new(row.body_zh, row.body_en),
        state: if row.ended == 0 { NoticeState::Current } else { NoticeState::Ended },
        published_at: Micros(row.published_at),
        ended_at: row.ended_at.map(Micros),
    })
}

/// Notices of my areas, current ones first.
#[utoipa::path(get, path = "/api/v1/notices", tag = "notices", params(Asked),
    responses((status = 200, body = NoticePage), (status = 401, body = Problem), (status = 403, body = Problem)))]
async fn list(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> HttpResult<Json<NoticePage>> {
    let page = PageRequest { limit: asked.limit, after: asked.after };
    let page = notice::list(platform.store(), &caller.scope(), &page).await?;
    let items = page.items.into_iter().map(|row| view(&platform, row)).collect::<HttpResult<_>>()?;
    Ok(Json(NoticePage { items, next: page.next }))
}
