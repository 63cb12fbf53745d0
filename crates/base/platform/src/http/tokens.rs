//! `/api/v1/tokens`: which systems may write and read observations.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use model::{AreaPath, Micros};
use serde::{Deserialize, Serialize};
use store::{PageRequest, StoreError};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::caller::Caller;
use super::problem::{FieldError, HttpResult, Problem};
use super::shape::{Created, Json, Query};
use super::{Access, Api};
use crate::token::{self, NewToken, TokenError, TokenRow};
use crate::{AreaRef, Platform};

pub(super) fn routes() -> Api<Arc<Platform>> {
    Api::new()
        .add(Access::Permission("token:manage"), routes!(list, create))
        .add(Access::Permission("token:manage"), routes!(revoke))
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

/// A token of an integrator.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Token)]
struct TokenView {
    /// Its name.
    name: String,
    /// Where it holds, and below.
    area: AreaRef,
    /// Whether its holder may read observations.
    read: bool,
    /// Whether its holder may write them.
    write: bool,
    /// The tag of a line that names the thing.
    thing_tag: String,
    /// When it was made.
    created_at: Micros,
    /// By whom.
    created_by: String,
    /// When it ends by itself.
    expires_at: Option<Micros>,
    /// When it was revoked.
    revoked_at: Option<Micros>,
    /// The beginning of the last day (UTC) on which it was used.
    last_used_on: Option<Micros>,
}

/// One page of tokens.
#[derive(Serialize, ToSchema)]
struct TokenPage {
    items: Vec<TokenView>,
    next: Option<String>,
}

/// A token to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TokenRequest {
    /// Its name: letters, digits, `-`, `_`, `.`.
    name: String,
    /// Where it holds: a path.
    area: AreaPath,
    /// Whether its holder may read observations.
    #[serde(default)]
    read: bool,
    /// Whether its holder may write them.
    #[serde(default)]
    write: bool,
    /// The tag of a line that names the thing; `thing` when absent (Telegraf: `host`).
    thing_tag: Option<String>,
    /// When it ends by itself; never when absent.
    expires_at: Option<Micros>,
}

/// A token's secret, shown this once.
#[derive(Serialize, ToSchema)]
struct TokenSecret {
    /// Its name.
    name: String,
    /// What its holder sends: `Authorization: Token zst_…`.
    secret: String,
}

fn view(platform: &Platform, row: TokenRow) -> HttpResult<TokenView> {
    let area = AreaPath::parse(&row.area).map_err(|e| StoreError::Document(e.to_string()))?;
    Ok(TokenView {
        name: row.name,
        area: platform.areas().reference(&area),
        read: row.may_read != 0,
        write: row.may_write != 0,
        thing_tag: row.thing_tag,
        created_at: Micros(row.created_at),
        created_by: row.created_by,
        expires_at: row.expires_at.map(Micros),
        revoked_at: row.revoked_at.map(Micros),
        last_used_on: row.last_used_day.map(|day| Micros(day.saturating_mul(Micros::DAY))),
    })
}

impl From<TokenError> for Problem {
    fn from(e: TokenError) -> Self {
        let field = |path: &str, zh: &str| {
            let message = model::Text::new(zh, e.to_string());
            Self::invalid(vec![FieldError { path: path.to_owned(), message }])
        };
        match &e {
            TokenError::BadName(_) => field("/name", "名称须为 1 至 64 个字母、数字或 - _ ."),
            TokenError::BadTag(_) => field("/thing_tag", "标签须为 1 至 64 个可见字符"),
            TokenError::Useless => field("/write", "读和写至少允许一项"),
            TokenError::Past(_) => field("/expires_at", "到期时间已过"),
            TokenError::Taken(_) => {
                Self::conflict("/problems/conflict", "it is there already", e.to_string())
            }
            TokenError::Repeated(_) => {
                Self::conflict("/problems/shown-once", "the secret was shown before", e.to_string())
            }
            TokenError::Unknown(_) => Self::not_found("token"),
            TokenError::Store(e) => e.clone().into(),
        }
    }
}

/// Tokens, by name; revoked ones too.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "tokens", params(Asked),
    responses((status = 200, body = TokenPage), (status = 401, body = Problem), (status = 403, body = Problem)))]
async fn list(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> HttpResult<Json<TokenPage>> {
    let page = PageRequest { limit: asked.limit, after: asked.after };
    let page = token::list(platform.store(), caller.scope(), &page).await?;
    let items = page.items.into_iter().map(|row| view(&platform, row)).collect::<HttpResult<_>>()?;
    Ok(Json(TokenPage { items, next: page.next }))
}

/// Make a token; its secret is in this answer and nowhere else.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "tokens", request_body = TokenRequest,
    responses((status = 201, body = TokenSecret), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem)))]
async fn create(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Json(asked): Json<TokenRequest>,
) -> HttpResult<Created<TokenSecret>> {
    if !caller.sees(&asked.area) || platform.areas().get(&asked.area).is_none() {
        return Err(Problem::not_found("area"));
    }
    let new = NewToken {
        name: asked.name.clone(),
        area: asked.area,
        read: asked.read,
        write: asked.write,
        thing_tag: asked.thing_tag,
        expires_at: asked.expires_at,
    };
    let secret = platform.create_token(&caller.context, new).await?;
    Ok(Created(TokenSecret { name: asked.name, secret }))
}

/// Revoke a token: it is refused from the next request on.
#[utoipa::path(delete, path = "/api/v1/tokens/{name}", tag = "tokens", params(("name" = String, Path)),
    responses((status = 204), (status = 404, body = Problem)))]
async fn revoke(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path(name): Path<String>,
) -> HttpResult<StatusCode> {
    let area = token::area(platform.store(), &name).await?.filter(|area| caller.sees(area));
    if area.is_none() {
        return Err(Problem::not_found("token"));
    }
    platform.revoke_token(&caller.context, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
