//! `/api/v1/people`: accounts, for those who administer them. The system administrator invites,
//! disables and resets; the security administrator lifts lock-outs, takes second factors away and
//! ends sessions.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use model::{AreaPath, Id, Micros, Text};
use serde::{Deserialize, Serialize};
use store::{PageRequest, StoreError};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::account::{OpenSessions, listed};
use super::caller::Caller;
use super::problem::{HttpResult, Problem};
use super::shape::{Created, Json, Query};
use super::{Access, Api};
use crate::account::{AccountRow, AccountState, DutyRow, GrantRow, Invitation, Link, LinkKind, Listed};
use crate::session::LockOut;
use crate::{AreaRef, Platform};

pub(super) fn routes() -> Api<Arc<Platform>> {
    Api::new()
        .add(Access::Permission("account:read"), routes!(list))
        .add(Access::Permission("account:read"), routes!(one))
        .add(Access::Permission("account:manage"), routes!(invite))
        .add(Access::Permission("account:manage"), routes!(reset))
        .add(Access::Permission("account:manage"), routes!(disable))
        .add(Access::Permission("account:manage"), routes!(enable))
        .add(Access::Permission("account:unlock"), routes!(unlock))
        .add(Access::Permission("account:unlock"), routes!(remove_second_factor))
        .add(Access::Permission("session:manage"), routes!(sessions, end_sessions))
        .add(Access::Permission("session:manage"), routes!(end_session))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// Only people who belong to this area (a path).
    under: Option<AreaPath>,
    /// Only accounts that stand so.
    state: Option<AccountState>,
    /// Only people whose login or name holds this text.
    q: Option<String>,
    /// Rows a page, 1 to 500; 50 when absent.
    limit: Option<i64>,
    /// What the page before gave as `next`.
    after: Option<String>,
}

/// A grant that holds now or later.
#[derive(Serialize, ToSchema)]
struct HeldGrant {
    #[schema(value_type = uuid::Uuid)]
    id: Id,
    role: String,
    /// What people call the role.
    role_title: Text,
    area: AreaRef,
    /// From when; `null` for always.
    from: Option<Micros>,
    /// Until when; `null` until it is ended.
    to: Option<Micros>,
}

/// A duty that holds now or later.
#[derive(Serialize, ToSchema)]
struct HeldDuty {
    #[schema(value_type = uuid::Uuid)]
    id: Id,
    post: String,
    /// What people call the post.
    post_title: Text,
    area: AreaRef,
    /// From when; `null` for always.
    from: Option<Micros>,
    /// Until when; `null` until it is ended.
    to: Option<Micros>,
}

/// A login that must wait at an address after wrong attempts.
#[derive(Serialize, ToSchema)]
struct LockOutView {
    address: String,
    attempts: u32,
    seconds_left: u64,
}

/// A person's account, as administrators see it.
#[derive(Serialize, ToSchema)]
pub(super) struct PersonAccount {
    #[schema(value_type = uuid::Uuid)]
    id: Id,
    login: String,
    name: String,
    /// The code of their organisation.
    organisation: Option<String>,
    /// Where they belong.
    area: AreaRef,
    state: AccountState,
    /// Whether it is of the demo.
    demo: bool,
    created_at: Micros,
    /// When the password was set.
    password_at: Option<Micros>,
    /// Whether it is to be changed at the next log-in.
    must_change: bool,
    /// Since when the account is disabled.
    disabled_at: Option<Micros>,
    /// Since when a second factor is asked for.
    second_factor_at: Option<Micros>,
    grants: Vec<HeldGrant>,
    duties: Vec<HeldDuty>,
    lock_outs: Vec<LockOutView>,
}

/// One page of people.
#[derive(Serialize, ToSchema)]
pub(super) struct PersonAccountPage {
    pub(super) items: Vec<PersonAccount>,
    pub(super) next: Option<String>,
}

/// A person to invite.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PersonInvitation {
    /// What they will log in with.
    login: String,
    /// Their name.
    name: String,
    /// Where they belong: a path.
    area: AreaPath,
    /// The code of their organisation.
    #[serde(default)]
    organisation: Option<String>,
}

/// A link that sets a password once; shown this once.
#[derive(Serialize, ToSchema)]
struct NewLink {
    /// Whose.
    #[schema(value_type = uuid::Uuid)]
    person: Id,
    /// The code; the page is `/welcome#CODE`.
    code: String,
    kind: LinkKind,
    expires_at: Micros,
}

fn instant(at: i64) -> Option<Micros> {
    (at != 0).then_some(Micros(at))
}

fn area_of(platform: &Platform, path: &str) -> HttpResult<AreaRef> {
    let path = AreaPath::parse(path).map_err(|e| StoreError::Document(e.to_string()))?;
    Ok(platform.areas().reference(&path))
}

fn grant(platform: &Platform, row: GrantRow) -> HttpResult<HeldGrant> {
    Ok(HeldGrant {
        id: row.id,
        role_title: Text::new(
            row.title_zh.unwrap_or_else(|| row.role.clone()),
            row.title_en.unwrap_or_else(|| row.role.clone()),
        ),
        role: row.role,
        area: area_of(platform, &row.area)?,
        from: instant(row.from_at),
        to: row.to_at.map(Micros),
    })
}

fn duty(platform: &Platform, row: DutyRow) -> HttpResult<HeldDuty> {
    Ok(HeldDuty {
        id: row.id,
        post_title: platform.post_title(&row.post),
        post: row.post,
        area: area_of(platform, &row.area)?,
        from: instant(row.from_at),
        to: row.to_at.map(Micros),
    })
}

pub(super) fn view(platform: &Platform, person: Listed) -> HttpResult<PersonAccount> {
    let Listed { account, grants, duties, lock_outs } = person;
    let state = account.state();
    let AccountRow { id, login, name, organisation, area, .. } = account;
    let lock_out =
        |LockOut { address, attempts, seconds_left }| LockOutView { address, attempts, seconds_left };
    Ok(PersonAccount {
        id,
        login,
        name,
        organisation,
        area: area_of(platform, &area)?,
        state,
        demo: account.demo != 0,
        created_at: Micros(account.created_at),
        password_at: account.password_at.map(Micros),
        must_change: account.must_change != 0,
        disabled_at: account.disabled_at.map(Micros),
        second_factor_at: account.totp_at.map(Micros),
        grants: grants.into_iter().map(|row| grant(platform, row)).collect::<HttpResult<_>>()?,
        duties: duties.into_iter().map(|row| duty(platform, row)).collect::<HttpResult<_>>()?,
        lock_outs: lock_outs.into_iter().map(lock_out).collect(),
    })
}

fn new_link(person: Id, link: Link) -> Created<NewLink> {
    Created(NewLink { person, code: link.code, kind: link.kind, expires_at: link.expires_at })
}

/// A person outside the caller's areas is not there.
pub(super) async fn within(platform: &Platform, caller: &Caller, id: Id) -> HttpResult<()> {
    match platform.area_of(id).await? {
        Some(area) if caller.sees(&area) => Ok(()),
        _ => Err(Problem::not_found("person")),
    }
}

/// People, by login.
#[utoipa::path(get, path = "/api/v1/people", tag = "people", params(Asked),
    responses((status = 200, body = PersonAccountPage), (status = 401, body = Problem), (status = 403, body = Problem)))]
async fn list(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> HttpResult<Json<PersonAccountPage>> {
    let page = PageRequest { limit: asked.limit, after: asked.after };
    let page = platform.people(caller.scope(), asked.under, asked.state, asked.q, &page).await?;
    let items = page.items.into_iter().map(|person| view(&platform, person)).collect::<HttpResult<_>>()?;
    Ok(Json(PersonAccountPage { items, next: page.next }))
}

/// One person.
#[utoipa::path(get, path = "/api/v1/people/{id}", tag = "people", params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = PersonAccount), (status = 404, body = Problem)))]
async fn one(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path(id): Path<Id>,
) -> HttpResult<Json<PersonAccount>> {
    within(&platform, &caller, id).await?;
    let person = platform.person(id).await?.ok_or_else(|| Problem::not_found("person"))?;
    Ok(Json(view(&platform, person)?))
}

/// Invite a person: an account without a password, and the link that sets it.
#[utoipa::path(post, path = "/api/v1/people", tag = "people", request_body = PersonInvitation,
    responses((status = 201, body = NewLink), (status = 404, body = Problem), (status = 422, body = Problem)))]
async fn invite(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Json(asked): Json<PersonInvitation>,
) -> HttpResult<Created<NewLink>> {
    if !caller.sees(&asked.area) || platform.areas().get(&asked.area).is_none() {
        return Err(Problem::not_found("area"));
    }
    let PersonInvitation { login, name, area, organisation } = asked;
    let new = Invitation { login, name, area, organisation };
    let (person, link) = platform.invite(&caller.context, new).await?;
    Ok(new_link(person, link))
}

/// Reset a person's password: the present one is good no more, and the link sets a new one. For
/// one who never had a password, a new invitation.
#[utoipa::path(post, path = "/api/v1/people/{id}/reset", tag = "people", params(("id" = uuid::Uuid, Path)),
    responses((status = 201, body = NewLink), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn reset(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path(id): Path<Id>,
) -> HttpResult<Created<NewLink>> {
    within(&platform, &caller, id).await?;
    let link = platform.reset_password(&caller.context, id).await?;
    Ok(new_link(id, link))
}

/// Disable an account; its sessions end.
#[utoipa::path(post, path = "/api/v1/people/{id}/disable", tag = "people", params(("id" = uuid::Uuid, Path)),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn disable(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path(id): Path<Id>,
) -> HttpResult<StatusCode> {
    within(&platform, &caller, id).await?;
    platform.disable(&caller.context, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Enable a disabled account.
#[utoipa::path(post, path = "/api/v1/people/{id}/enable", tag = "people", params(("id" = uuid::Uuid, Path)),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn enable(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path(id): Path<Id>,
) -> HttpResult<StatusCode> {
    within(&platform, &caller, id).await?;
    platform.enable(&caller.context, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lift a person's lock-outs.
#[utoipa::path(delete, path = "/api/v1/people/{id}/lock-outs", tag = "people", params(("id" = uuid::Uuid, Path)),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn unlock(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path(id): Path<Id>,
) -> HttpResult<StatusCode> {
    within(&platform, &caller, id).await?;
    platform.unlock(&caller.context, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take a person's second factor away, who lost it; their sessions end.
#[utoipa::path(delete, path = "/api/v1/people/{id}/second-factor", tag = "people", params(("id" = uuid::Uuid, Path)),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn remove_second_factor(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path(id): Path<Id>,
) -> HttpResult<StatusCode> {
    within(&platform, &caller, id).await?;
    platform.reset_second_factor(&caller.context, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Where a person is logged in.
#[utoipa::path(get, path = "/api/v1/people/{id}/sessions", tag = "people", params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = OpenSessions), (status = 404, body = Problem)))]
async fn sessions(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path(id): Path<Id>,
) -> HttpResult<Json<OpenSessions>> {
    within(&platform, &caller, id).await?;
    let rows = platform.sessions().of_person(platform.store(), id).await?;
    Ok(Json(listed(rows, caller.session.id)))
}

/// End all sessions of a person.
#[utoipa::path(delete, path = "/api/v1/people/{id}/sessions", tag = "people", params(("id" = uuid::Uuid, Path)),
    responses((status = 204), (status = 404, body = Problem)))]
async fn end_sessions(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path(id): Path<Id>,
) -> HttpResult<StatusCode> {
    within(&platform, &caller, id).await?;
    platform.sessions().end_all(platform.store(), &caller.context, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// End one session of a person.
#[utoipa::path(delete, path = "/api/v1/people/{id}/sessions/{session}", tag = "people",
    params(("id" = uuid::Uuid, Path), ("session" = uuid::Uuid, Path)),
    responses((status = 204), (status = 404, body = Problem)))]
async fn end_session(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path((id, session)): Path<(Id, Id)>,
) -> HttpResult<StatusCode> {
    within(&platform, &caller, id).await?;
    let ended = platform.sessions().end(platform.store(), &caller.context, id, session).await?;
    if ended { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found("session")) }
}
