//! `/api/v1/account`: one's own password, second factor and sessions.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use model::{Id, Micros, Text};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::caller::{Address, Caller};
use super::problem::{FieldError, HttpResult, Problem};
use super::shape::{Created, Json};
use super::{Access, Api};
use crate::Platform;
use crate::account::{AccountError, SHORTEST, Weakness};
use crate::personal::PersonalField;
use crate::session::SessionRow;

pub(super) fn routes() -> Api<Arc<Platform>> {
    Api::new()
        .add(Access::Unsettled, routes!(account))
        .add(Access::Unsettled, routes!(change_password))
        .add(Access::Unsettled, routes!(begin_second_factor))
        .add(Access::Unsettled, routes!(confirm_second_factor))
        .add(Access::Session, routes!(remove_second_factor))
        .add(Access::Session, routes!(sessions, end_others))
        .add(Access::Session, routes!(end))
}

/// How my second factor stands.
#[derive(Serialize, ToSchema)]
struct SecondFactorView {
    /// Since when it is asked for; `null` when there is none.
    since: Option<Micros>,
    /// How many recovery codes are left.
    recovery_codes: i64,
    /// Whether a role of mine asks for one.
    required: bool,
}

/// My account.
#[derive(Serialize, ToSchema)]
struct Account {
    /// What I log in with.
    login: String,
    /// My name.
    name: String,
    /// The second factor.
    second_factor: SecondFactorView,
    /// The fewest characters of a password.
    shortest_password: usize,
}

/// A change of my password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordChange {
    /// The present one.
    old: String,
    /// The new one.
    new: String,
}

/// My password, to begin with a second factor.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SecondFactorBegin {
    /// My password.
    password: String,
}

/// What an app is fed with; shown once.
#[derive(Serialize, ToSchema)]
struct SecondFactorSecret {
    /// The secret in base32, for typing.
    secret: String,
    /// The same as a key URI (`otpauth://totp/…`).
    uri: String,
    /// The URI as a QR code: an SVG document.
    qr_svg: String,
}

/// A first code of the app.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SecondFactorConfirm {
    /// Six digits.
    code: String,
}

/// Codes for a lost phone, each good once; shown once.
#[derive(Serialize, ToSchema)]
struct RecoveryCodes {
    codes: Vec<String>,
}

/// What it takes to remove my second factor.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SecondFactorRemove {
    /// My password.
    password: String,
    /// A code, or a recovery code.
    code: String,
}

/// A session, as listed.
#[derive(Serialize, ToSchema)]
pub(super) struct OpenSession {
    /// Names it.
    #[schema(value_type = uuid::Uuid)]
    id: Id,
    /// Whether it is the one that asks.
    current: bool,
    /// The browser's own name for itself.
    agent: String,
    /// From where it was opened.
    address: String,
    /// When it began.
    created_at: Micros,
    /// When it was last used, to five minutes.
    used_at: Micros,
    /// When it ends by itself.
    expires_at: Micros,
}

/// Sessions.
#[derive(Serialize, ToSchema)]
pub(super) struct OpenSessions {
    items: Vec<OpenSession>,
}

pub(super) fn listed(rows: Vec<SessionRow>, current: Id) -> OpenSessions {
    let items = rows
        .into_iter()
        .map(|row| OpenSession {
            current: row.id == current,
            id: row.id,
            agent: row.agent,
            address: row.address,
            created_at: Micros(row.created_at),
            used_at: Micros(row.used_at),
            expires_at: Micros(row.expires_at),
        })
        .collect();
    OpenSessions { items }
}

/// What is wrong with a password, for people.
pub(super) fn weak(weakness: Weakness) -> Text {
    let zh = match weakness {
        Weakness::Short => format!("密码至少 {SHORTEST} 个字符"),
        Weakness::Long => "密码太长".into(),
        Weakness::OneKind => {
            "不满 16 个字符（汉字按 3 个计）的密码须含小写字母、大写字母、数字、其他字符中的三种".into()
        }
        Weakness::Plain => "密码不能是重复或连续的字符".into(),
        Weakness::HoldsLogin => "密码不能含有账号".into(),
        Weakness::Same => "新密码不能与现在的相同".into(),
    };
    Text::new(zh, weakness.to_string())
}

impl From<AccountError> for Problem {
    fn from(e: AccountError) -> Self {
        let field = |path: &str, zh: &str| {
            let message = Text::new(zh, e.to_string());
            Self::invalid(vec![FieldError { path: path.to_owned(), message }])
        };
        match &e {
            AccountError::BadLogin(_) => field("/login", "账号须为 2 至 64 个字母、数字或 - _ . @"),
            AccountError::BadName(_) => field("/name", "姓名须为 1 至 64 个字"),
            AccountError::Taken(_) => field("/login", "这个账号已经有了"),
            AccountError::NoOrganisation(_) => field("/organisation", "没有这个单位"),
            AccountError::NoRole(_) => field("/role", "没有这个角色"),
            AccountError::NoPost(_) => field("/post", "没有这个岗位"),
            AccountError::BadPersonal(PersonalField::Phone) => field("/value", "电话号码不正确"),
            AccountError::BadPersonal(PersonalField::IdNumber) => field("/value", "身份证号不正确，请核对"),
            AccountError::NoReason => field("/reason", "请写明原因（200 字以内）"),
            AccountError::BadPeriod => field("/to", "结束时间须在开始之后，并且还没有过"),
            AccountError::WrongPassword => field("/password", "现在的密码不正确"),
            AccountError::WrongCode => field("/code", "验证码不正确，或已经用过"),
            AccountError::Weak(weakness) => {
                let errors = vec![FieldError { path: "/new".into(), message: weak(*weakness) }];
                Self::invalid(errors)
            }
            AccountError::Separated { .. } => {
                Self::conflict("/problems/separated-roles", "the roles are kept apart", e.to_string())
            }
            AccountError::Own => Self::conflict("/problems/own-account", "it is your own", e.to_string()),
            AccountError::Unknown => Self::not_found("account, grant, duty or session in this state"),
            AccountError::Throttled(wait) => Self::throttled(wait.as_secs().max(1)),
            AccountError::LinkVoid => Self::conflict(
                "/problems/link-void",
                "the link is not good",
                "it is unknown, was used, or is too old; ask for another",
            ),
            AccountError::HasSecondFactor | AccountError::NotBegun | AccountError::SecondFactorRequired => {
                Self::conflict(
                    "/problems/second-factor-state",
                    "not as the second factor stands",
                    e.to_string(),
                )
            }
            AccountError::Repeated => {
                Self::conflict("/problems/shown-once", "it was shown before", e.to_string())
            }
            AccountError::Hash(_) => Self::internal(),
            AccountError::Store(e) => e.clone().into(),
        }
    }
}

/// My account.
#[utoipa::path(get, path = "/api/v1/account", tag = "account",
    responses((status = 200, body = Account), (status = 401, body = Problem)))]
async fn account(State(platform): State<Arc<Platform>>, caller: Caller) -> HttpResult<Json<Account>> {
    let state = platform.second_factor(&caller.session).await?;
    Ok(Json(Account {
        login: caller.session.login.clone(),
        name: caller.session.name.clone(),
        second_factor: SecondFactorView {
            since: state.since,
            recovery_codes: state.recovery_codes,
            required: state.required,
        },
        shortest_password: SHORTEST,
    }))
}

/// Change my password; my other sessions end.
#[utoipa::path(post, path = "/api/v1/account/password", tag = "account", request_body = PasswordChange,
    responses((status = 204), (status = 401, body = Problem), (status = 422, body = Problem), (status = 429, body = Problem)))]
async fn change_password(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Address(address): Address,
    Json(asked): Json<PasswordChange>,
) -> HttpResult<StatusCode> {
    let changed =
        platform.change_password(&caller.context, &caller.session, &address, asked.old, asked.new).await;
    match changed {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(AccountError::WrongPassword) => {
            let message = Text::new("现在的密码不正确", "the present password is wrong");
            Err(Problem::invalid(vec![FieldError { path: "/old".into(), message }]))
        }
        Err(e) => Err(e.into()),
    }
}

/// Begin with a second factor: a secret for an app, shown this once.
#[utoipa::path(post, path = "/api/v1/account/second-factor", tag = "account", request_body = SecondFactorBegin,
    responses((status = 201, body = SecondFactorSecret), (status = 409, body = Problem), (status = 422, body = Problem)))]
async fn begin_second_factor(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Address(address): Address,
    Json(asked): Json<SecondFactorBegin>,
) -> HttpResult<Created<SecondFactorSecret>> {
    let begun =
        platform.begin_second_factor(&caller.context, &caller.session, &address, asked.password).await?;
    Ok(Created(SecondFactorSecret { secret: begun.secret, uri: begun.uri, qr_svg: begun.qr_svg }))
}

/// Confirm it by a first code; the recovery codes, shown this once.
#[utoipa::path(post, path = "/api/v1/account/second-factor/confirm", tag = "account", request_body = SecondFactorConfirm,
    responses((status = 201, body = RecoveryCodes), (status = 409, body = Problem), (status = 422, body = Problem)))]
async fn confirm_second_factor(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Address(address): Address,
    Json(asked): Json<SecondFactorConfirm>,
) -> HttpResult<Created<RecoveryCodes>> {
    let codes =
        platform.confirm_second_factor(&caller.context, &caller.session, &address, &asked.code).await?;
    Ok(Created(RecoveryCodes { codes }))
}

/// Remove my second factor, unless a role of mine asks for one.
#[utoipa::path(post, path = "/api/v1/account/second-factor/remove", tag = "account", request_body = SecondFactorRemove,
    responses((status = 204), (status = 409, body = Problem), (status = 422, body = Problem)))]
async fn remove_second_factor(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Address(address): Address,
    Json(asked): Json<SecondFactorRemove>,
) -> HttpResult<StatusCode> {
    platform
        .remove_second_factor(&caller.context, &caller.session, &address, asked.password, &asked.code)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Where I am logged in.
#[utoipa::path(get, path = "/api/v1/account/sessions", tag = "account",
    responses((status = 200, body = OpenSessions), (status = 401, body = Problem)))]
async fn sessions(State(platform): State<Arc<Platform>>, caller: Caller) -> HttpResult<Json<OpenSessions>> {
    let rows = platform.sessions().of_person(platform.store(), caller.person).await?;
    Ok(Json(listed(rows, caller.session.id)))
}

/// Log me out everywhere else.
#[utoipa::path(delete, path = "/api/v1/account/sessions", tag = "account",
    responses((status = 204), (status = 401, body = Problem)))]
async fn end_others(State(platform): State<Arc<Platform>>, caller: Caller) -> HttpResult<StatusCode> {
    let sessions = platform.sessions();
    sessions.end_others(platform.store(), &caller.context, caller.person, caller.session.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Log me out there.
#[utoipa::path(delete, path = "/api/v1/account/sessions/{id}", tag = "account", params(("id" = uuid::Uuid, Path)),
    responses((status = 204), (status = 404, body = Problem)))]
async fn end(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path(id): Path<Id>,
) -> HttpResult<StatusCode> {
    let ended = platform.sessions().end(platform.store(), &caller.context, caller.person, id).await?;
    if ended { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found("session")) }
}
