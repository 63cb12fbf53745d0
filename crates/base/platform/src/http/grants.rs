//! `/api/v1/grants`, `/api/v1/duties`, `/api/v1/roles`, `/api/v1/posts`: what people may do and which
//! posts they hold, given and ended by the security administrator.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use model::{AreaLevel, AreaPath, Id, Micros, Text};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::caller::Caller;
use super::problem::{HttpResult, Problem};
use super::shape::{Created, Json};
use super::{Access, Api};
use crate::Platform;
use crate::grant::{Holding, Kind};
use crate::role;

pub(super) fn routes() -> Api<Arc<Platform>> {
    Api::new()
        .add(Access::Permission("role:read"), routes!(roles))
        .add(Access::Permission("role:read"), routes!(posts))
        .add(Access::Permission("grant:manage"), routes!(give_grant))
        .add(Access::Permission("grant:manage"), routes!(end_grant))
        .add(Access::Permission("duty:manage"), routes!(give_duty))
        .add(Access::Permission("duty:manage"), routes!(end_duty))
}

/// A role.
#[derive(Serialize, ToSchema)]
#[schema(as = Role)]
struct RoleView {
    /// Its name in grants.
    code: String,
    /// What people call it.
    title: Text,
    /// The pack that declares it; `platform` for the three administrators' roles.
    pack: String,
    /// Whether nobody holds it together with another of its kind.
    separated: bool,
    /// `resource:verb` each.
    permissions: BTreeSet<String>,
}

/// Roles.
#[derive(Serialize, ToSchema)]
struct Roles {
    items: Vec<RoleView>,
}

/// A post.
#[derive(Serialize, ToSchema)]
#[schema(as = Post)]
struct PostView {
    /// Its name in processes.
    code: String,
    /// What people call it.
    title: Text,
    /// At which level of the area tree it stands.
    level: AreaLevel,
}

/// Posts.
#[derive(Serialize, ToSchema)]
struct Posts {
    items: Vec<PostView>,
}

/// A role to give.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewGrant {
    /// To whom.
    #[schema(value_type = uuid::Uuid)]
    person: Id,
    /// Which role.
    role: String,
    /// Where, and below: a path.
    area: AreaPath,
    /// From when; from now when absent.
    #[serde(default)]
    from: Option<Micros>,
    /// Until when; until it is ended when absent.
    #[serde(default)]
    to: Option<Micros>,
}

/// A post to put somebody on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewDuty {
    /// Whom.
    #[schema(value_type = uuid::Uuid)]
    person: Id,
    /// Which post.
    post: String,
    /// Where, and below: a path.
    area: AreaPath,
    /// From when; from now when absent.
    #[serde(default)]
    from: Option<Micros>,
    /// Until when; until it is ended when absent.
    #[serde(default)]
    to: Option<Micros>,
}

/// What was given.
#[derive(Serialize, ToSchema)]
struct Given {
    /// Ends it: `DELETE …/{id}`.
    #[schema(value_type = uuid::Uuid)]
    id: Id,
}

/// The roles that may be given.
#[utoipa::path(get, path = "/api/v1/roles", tag = "people",
    responses((status = 200, body = Roles), (status = 401, body = Problem), (status = 403, body = Problem)))]
async fn roles(State(platform): State<Arc<Platform>>) -> HttpResult<Json<Roles>> {
    let items = role::all(platform.store()).await?;
    let items = items
        .into_iter()
        .map(|role| RoleView {
            separated: role::is_built_in(&role.code),
            code: role.code,
            title: role.title,
            pack: role.pack,
            permissions: role.permissions,
        })
        .collect();
    Ok(Json(Roles { items }))
}

/// The posts that people may be put on.
#[utoipa::path(get, path = "/api/v1/posts", tag = "people",
    responses((status = 200, body = Posts), (status = 401, body = Problem), (status = 403, body = Problem)))]
async fn posts(State(platform): State<Arc<Platform>>) -> Json<Posts> {
    let items =
        platform.posts().into_iter().map(|p| PostView { code: p.code, title: p.name, level: p.level });
    Json(Posts { items: items.collect() })
}

async fn give(platform: &Platform, caller: &Caller, kind: Kind, new: Holding) -> HttpResult<Created<Given>> {
    if !caller.sees(&new.area) || platform.areas().get(&new.area).is_none() {
        return Err(Problem::not_found("area"));
    }
    match platform.area_of(new.person).await? {
        Some(area) if caller.sees(&area) => {}
        _ => return Err(Problem::not_found("person")),
    }
    let id = platform.give(&caller.context, kind, new).await?;
    Ok(Created(Given { id }))
}

async fn end(platform: &Platform, caller: &Caller, kind: Kind, id: Id) -> HttpResult<StatusCode> {
    match platform.holding_area(kind, id).await? {
        Some(area) if caller.sees(&area) => {}
        _ => return Err(Problem::not_found("grant or duty")),
    }
    platform.end_holding(&caller.context, kind, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give a person a role in an area and below.
#[utoipa::path(post, path = "/api/v1/grants", tag = "people", request_body = NewGrant,
    responses((status = 201, body = Given), (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
async fn give_grant(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Json(asked): Json<NewGrant>,
) -> HttpResult<Created<Given>> {
    let NewGrant { person, role, area, from, to } = asked;
    give(&platform, &caller, Kind::Grant, Holding { person, what: role, area, from, to }).await
}

/// End a grant now.
#[utoipa::path(delete, path = "/api/v1/grants/{id}", tag = "people", params(("id" = uuid::Uuid, Path)),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn end_grant(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path(id): Path<Id>,
) -> HttpResult<StatusCode> {
    end(&platform, &caller, Kind::Grant, id).await
}

/// Put a person on a post in an area and below.
#[utoipa::path(post, path = "/api/v1/duties", tag = "people", request_body = NewDuty,
    responses((status = 201, body = Given), (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
async fn give_duty(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Json(asked): Json<NewDuty>,
) -> HttpResult<Created<Given>> {
    let NewDuty { person, post, area, from, to } = asked;
    give(&platform, &caller, Kind::Duty, Holding { person, what: post, area, from, to }).await
}

/// End a duty now.
#[utoipa::path(delete, path = "/api/v1/duties/{id}", tag = "people", params(("id" = uuid::Uuid, Path)),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn end_duty(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path(id): Path<Id>,
) -> HttpResult<StatusCode> {
    end(&platform, &caller, Kind::Duty, id).await
}
