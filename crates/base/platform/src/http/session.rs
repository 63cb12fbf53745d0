//! `/api/v1/session`: logging in, who I am, logging out.

use std::sync::Arc;

use axum::extract::{FromRequest as _, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use model::{Id, Micros, Text};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::caller::{COOKIE, Caller, address, cookie};
use super::problem::{HttpResult, Problem};
use super::shape::Json;
use super::{Access, Api};
use crate::login::{self, LoginError};
use crate::session::{Need, Session};
use crate::{AreaRef, Platform, duty};

pub(super) fn routes() -> Api<Arc<Platform>> {
    Api::new()
        .add(Access::Public, routes!(log_in))
        .add(Access::Unsettled, routes!(session))
        .add(Access::Unsettled, routes!(log_out))
}

/// Login and password, and a code where the account has a second factor.
#[derive(Deserialize, ToSchema)]
struct LogIn {
    login: String,
    password: String,
    /// A code of the second factor, or a recovery code; the answer says when it is needed.
    #[serde(default)]
    code: Option<String>,
}

/// A person, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PersonView {
    /// Their id.
    #[schema(value_type = uuid::Uuid)]
    pub id: Id,
    /// What they log in with.
    pub login: String,
    /// Their name.
    pub name: String,
}

/// A grant, as shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct GrantView {
    /// The role.
    pub role: String,
    /// What people call it.
    pub role_title: Text,
    /// Where it holds.
    pub area: AreaRef,
    /// What it permits.
    pub permissions: Vec<String>,
}

/// A duty held now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct DutyView {
    /// The post.
    pub post: String,
    /// What people call it.
    pub post_title: Text,
    /// Where.
    pub area: AreaRef,
}

/// Who I am and what I may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Session)]
pub struct SessionView {
    /// Names the session among mine.
    #[schema(value_type = uuid::Uuid)]
    pub id: Id,
    /// What I must do first; until then the session is good for nothing else.
    pub need: Option<Need>,
    /// Who.
    pub person: PersonView,
    /// What unsafe requests repeat in `X-CSRF-Token`.
    pub csrf: String,
    /// What I may do, and where.
    pub grants: Vec<GrantView>,
    /// The posts I hold now.
    pub duties: Vec<DutyView>,
    /// When I must log in again.
    pub expires_at: Micros,
}

/// Log in.
#[utoipa::path(post, path = "/api/v1/session", tag = "session", request_body = LogIn,
    responses((status = 200, body = SessionView), (status = 401, body = Problem), (status = 429, body = Problem)))]
async fn log_in(State(platform): State<Arc<Platform>>, request: Request) -> HttpResult<Response> {
    let (parts, body) = request.into_parts();
    let address = address(&parts);
    let replaces = cookie(&parts.headers);
    let agent = parts.headers.get(header::USER_AGENT).map(|v| v.as_bytes()).unwrap_or_default();
    let agent = String::from_utf8_lossy(agent).into_owned();
    let request = Request::from_parts(parts, body);
    let Json(LogIn { login, password, code }) = Json::from_request(request, &()).await?;
    let asked = login::LogIn { login, password, code, address, agent, replaces };
    let (token, session) = platform.log_in(asked).await.map_err(|e| match e {
        LoginError::Wrong => Problem::wrong_login(),
        LoginError::CodeNeeded => Problem::code_needed(),
        LoginError::WrongCode => Problem::wrong_code(),
        LoginError::Throttled(wait) => Problem::throttled(wait.as_secs().max(1)),
        LoginError::Store(e) => e.into(),
    })?;
    let mut response = Json(view(&platform, &session).await?).into_response();
    set_cookie(&platform, &mut response, &token, 12 * 3600);
    Ok(response)
}

/// Who I am.
#[utoipa::path(get, path = "/api/v1/session", tag = "session",
    responses((status = 200, body = SessionView), (status = 401, body = Problem)))]
async fn session(State(platform): State<Arc<Platform>>, caller: Caller) -> HttpResult<Json<SessionView>> {
    Ok(Json(view(&platform, &caller.session).await?))
}

/// Log out.
#[utoipa::path(delete, path = "/api/v1/session", tag = "session",
    responses((status = 204), (status = 401, body = Problem)))]
async fn log_out(State(platform): State<Arc<Platform>>, caller: Caller) -> HttpResult<Response> {
    platform.sessions().log_out(platform.store(), &caller.context, &caller.token).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    set_cookie(&platform, &mut response, "", 0);
    Ok(response)
}

fn set_cookie(platform: &Platform, response: &mut Response, token: &str, seconds: u32) {
    let secure = if platform.sessions().secure { "; Secure" } else { "" };
    let cookie = format!("{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
}

async fn view(platform: &Platform, session: &Session) -> HttpResult<SessionView> {
    let duties = duty::duties_of(platform.store(), session.person).await?;
    Ok(SessionView {
        id: session.id,
        need: session.need,
        person: PersonView { id: session.person, login: session.login.clone(), name: session.name.clone() },
        csrf: session.csrf.clone(),
        grants: session
            .grants
            .iter()
            .map(|g| GrantView {
                role: g.grant.role.clone(),
                role_title: g.title.clone(),
                area: platform.areas().reference(&g.grant.area),
                permissions: g.grant.permissions.iter().cloned().collect(),
            })
            .collect(),
        duties: duties
            .into_iter()
            .map(|(post, area)| DutyView {
                post_title: platform.post_title(&post),
                post,
                area: platform.areas().reference(&area),
            })
            .collect(),
        expires_at: session.expires_at,
    })
}
