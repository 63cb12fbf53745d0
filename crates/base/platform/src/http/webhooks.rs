//! `/api/v1/webhooks`: systems that are told what posts are told.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use model::{AreaPath, Micros, Text};
use serde::{Deserialize, Serialize};
use store::{PageRequest, StoreError};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::caller::Caller;
use super::problem::{FieldError, HttpResult, Problem};
use super::shape::{Created, Json, Query};
use super::{Access, Api};
use crate::notification::webhook::{self, NewWebhook, WebhookError, WebhookRow};
use crate::{AreaRef, Platform};

pub(super) fn routes() -> Api<Arc<Platform>> {
    Api::new()
        .add(Access::Permission("notification:manage"), routes!(list, create))
        .add(Access::Permission("notification:manage"), routes!(remove))
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

/// A webhook.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Webhook)]
struct WebhookView {
    name: String,
    /// What is told of this area and below goes to it.
    area: AreaRef,
    /// Only what this post is told; what every post is told when absent.
    post: Option<String>,
    url: String,
    created_at: Micros,
    created_by: String,
}

/// One page of webhooks.
#[derive(Serialize, ToSchema)]
struct WebhookPage {
    items: Vec<WebhookView>,
    next: Option<String>,
}

/// A webhook to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WebhookRequest {
    /// Its name: letters, digits, `-`, `_`, `.`.
    name: String,
    /// Where it holds: a path.
    area: AreaPath,
    /// Only what this post is told; what every post is told when absent.
    #[serde(default)]
    post: Option<String>,
    /// Where messages are posted; https only.
    url: String,
}

/// A webhook's secret, shown this once.
#[derive(Serialize, ToSchema)]
struct WebhookSecret {
    name: String,
    /// What the bodies are signed with: HMAC-SHA256.
    secret: String,
}

fn view(platform: &Platform, row: WebhookRow) -> HttpResult<WebhookView> {
    let area = AreaPath::parse(&row.area).map_err(|e| StoreError::Document(e.to_string()))?;
    Ok(WebhookView {
        name: row.name,
        area: platform.areas().reference(&area),
        post: row.post,
        url: row.url,
        created_at: Micros(row.created_at),
        created_by: row.created_by,
    })
}

impl From<WebhookError> for Problem {
    fn from(e: WebhookError) -> Self {
        let field = |path: &str, zh: &str| {
            let message = Text::new(zh, e.to_string());
            Self::invalid(vec![FieldError { path: path.to_owned(), message }])
        };
        match &e {
            WebhookError::BadName(_) => field("/name", "名称须为 1 至 64 个字母、数字或 - _ ."),
            WebhookError::BadUrl(_) => field("/url", "地址须为 https，且不在本机或内部网络中"),
            WebhookError::Taken(_) | WebhookError::TooMany => {
                Self::conflict("/problems/conflict", "it is there already", e.to_string())
            }
            WebhookError::Repeated(_) => {
                Self::conflict("/problems/shown-once", "the secret was shown before", e.to_string())
            }
            WebhookError::Unknown(_) => Self::not_found("webhook"),
            WebhookError::Store(e) => e.clone().into(),
        }
    }
}

/// Webhooks, by name.
#[utoipa::path(get, path = "/api/v1/webhooks", tag = "notifications", params(Asked),
    responses((status = 200, body = WebhookPage), (status = 401, body = Problem), (status = 403, body = Problem)))]
async fn list(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> HttpResult<Json<WebhookPage>> {
    let page = PageRequest { limit: asked.limit, after: asked.after };
    let page = webhook::list(platform.store(), caller.scope(), &page).await?;
    let items = page.items.into_iter().map(|row| view(&platform, row)).collect::<HttpResult<_>>()?;
    Ok(Json(WebhookPage { items, next: page.next }))
}

/// Make a webhook; its secret is in this answer and nowhere else.
#[utoipa::path(post, path = "/api/v1/webhooks", tag = "notifications", request_body = WebhookRequest,
    responses((status = 201, body = WebhookSecret), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem)))]
async fn create(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Json(asked): Json<WebhookRequest>,
) -> HttpResult<Created<WebhookSecret>> {
    if !caller.sees(&asked.area) || platform.areas().get(&asked.area).is_none() {
        return Err(Problem::not_found("area"));
    }
    let name = asked.name.clone();
    let new = NewWebhook { name: asked.name, area: asked.area, post: asked.post, url: asked.url };
    let internal = &platform.notifications().config().internal;
    let secret = webhook::create(platform.store(), &caller.context, internal, new).await?;
    Ok(Created(WebhookSecret { name, secret: secret.expose().to_owned() }))
}

/// Remove a webhook.
#[utoipa::path(delete, path = "/api/v1/webhooks/{name}", tag = "notifications", params(("name" = String, Path)),
    responses((status = 204), (status = 404, body = Problem)))]
async fn remove(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path(name): Path<String>,
) -> HttpResult<StatusCode> {
    if webhook::area(platform.store(), &name).await?.filter(|area| caller.sees(area)).is_none() {
        return Err(Problem::not_found("webhook"));
    }
    webhook::remove(platform.store(), &caller.context, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
