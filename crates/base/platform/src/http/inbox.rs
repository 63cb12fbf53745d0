//! `/api/v1/inbox` and `/api/v1/contact`: what I was told, and where I am reached.

use std::sync::Arc;

use axum::extract::State;
use model::{AreaPath, Id, Micros, Severity, Text};
use serde::{Deserialize, Serialize};
use store::{PageRequest, StoreError};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::caller::Caller;
use super::problem::{FieldError, HttpResult, Problem};
use super::shape::{Json, Query};
use super::{Access, Api};
use crate::notification::contact::{self, Contact, ContactError};
use crate::notification::record::{self, InboxRow};
use crate::{AreaRef, Platform};

pub(super) fn routes() -> Api<Arc<Platform>> {
    Api::new()
        .add(Access::Session, routes!(list))
        .add(Access::Session, routes!(read))
        .add(Access::Session, routes!(mine, keep))
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

/// A message to me.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct InboxMessage {
    #[schema(value_type = uuid::Uuid)]
    id: Id,
    case: Option<String>,
    area: AreaRef,
    severity: Option<Severity>,
    title: Text,
    text: Text,
    /// The page that shows what it is about: `/tasks/…`.
    path: Option<String>,
    told_at: Micros,
    read_at: Option<Micros>,
}

/// One page of messages.
#[derive(Serialize, ToSchema)]
struct InboxPage {
    items: Vec<InboxMessage>,
    next: Option<String>,
    /// How many in all are unread.
    unread: i64,
}

fn view(platform: &Platform, row: InboxRow) -> HttpResult<InboxMessage> {
    let area = AreaPath::parse(&row.area).map_err(|e| StoreError::Document(e.to_string()))?;
    Ok(InboxMessage {
        id: row.id,
        case: Some(row.case_no).filter(|c| !c.is_empty()),
        area: platform.areas().reference(&area),
        severity: Severity::from_rank(row.severity),
        title: Text::new(row.title_zh, row.title_en),
        text: Text::new(row.body_zh, row.body_en),
        path: Some(row.path).filter(|p| !p.is_empty()),
        told_at: Micros(row.created_at),
        read_at: row.read_at.map(Micros),
    })
}

/// What I was told, newest first.
#[utoipa::path(get, path = "/api/v1/inbox", tag = "notifications", params(Asked),
    responses((status = 200, body = InboxPage), (status = 401, body = Problem)))]
async fn list(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> HttpResult<Json<InboxPage>> {
    let page = PageRequest { limit: asked.limit, after: asked.after };
    let page = record::inbox(platform.store(), caller.person, &page).await?;
    let unread = record::unread(platform.store(), caller.person).await?;
    let items = page.items.into_iter().map(|row| view(&platform, row)).collect::<HttpResult<_>>()?;
    Ok(Json(InboxPage { items, next: page.next, unread }))
}

/// Up to where I have read.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ReadRequest {
    /// The newest message that I have read; all of them when absent.
    #[serde(default)]
    #[schema(value_type = Option<uuid::Uuid>)]
    up_to: Option<Id>,
}

/// What is unread still.
#[derive(Serialize, ToSchema)]
struct Unread {
    unread: i64,
}

/// I have read my messages.
#[utoipa::path(post, path = "/api/v1/inbox/read", tag = "notifications", request_body = ReadRequest,
    responses((status = 200, body = Unread), (status = 401, body = Problem)))]
async fn read(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Json(asked): Json<ReadRequest>,
) -> HttpResult<Json<Unread>> {
    record::read(platform.store(), &caller.context, caller.person, asked.up_to).await?;
    Ok(Json(Unread { unread: record::unread(platform.store(), caller.person).await? }))
}

/// Where I am reached, and when not.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Contact)]
struct ContactView {
    #[serde(default)]
    email: Option<String>,
    /// With or without the country's number: `13812345678`, `+8613812345678`.
    #[serde(default)]
    phone: Option<String>,
    /// My user id in WeCom.
    #[serde(default)]
    wecom: Option<String>,
    /// `22:00-07:00` or `none`; the city's when absent.
    #[serde(default)]
    quiet: Option<String>,
}

impl From<Contact> for ContactView {
    fn from(c: Contact) -> Self {
        Self { email: c.email, phone: c.phone, wecom: c.wecom, quiet: c.quiet }
    }
}

impl From<ContactError> for Problem {
    fn from(e: ContactError) -> Self {
        let field = |path: &str, zh: &str| {
            let message = Text::new(zh, e.to_string());
            Self::invalid(vec![FieldError { path: path.to_owned(), message }])
        };
        match &e {
            ContactError::Email(_) => field("/email", "不是邮箱地址"),
            ContactError::Phone(_) => field("/phone", "不是电话号码"),
            ContactError::Wecom(_) => field("/wecom", "须为 1 至 64 个字母、数字或符号"),
            ContactError::Quiet(_) => field("/quiet", "须写成 22:00-07:00，或 none"),
            ContactError::Store(e) => e.clone().into(),
        }
    }
}

/// Where I am reached.
#[utoipa::path(get, path = "/api/v1/contact", tag = "notifications",
    responses((status = 200, body = ContactView), (status = 401, body = Problem)))]
async fn mine(State(platform): State<Arc<Platform>>, caller: Caller) -> HttpResult<Json<ContactView>> {
    Ok(Json(contact::of(platform.store(), caller.person).await?.into()))
}

/// Change where I am reached: what is left out is not kept.
#[utoipa::path(put, path = "/api/v1/contact", tag = "notifications", request_body = ContactView,
    responses((status = 200, body = ContactView), (status = 401, body = Problem), (status = 422, body = Problem)))]
async fn keep(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Json(asked): Json<ContactView>,
) -> HttpResult<Json<ContactView>> {
    let ContactView { email, phone, wecom, quiet } = asked;
    let new = Contact { email, phone, wecom, quiet };
    contact::set(platform.store(), &caller.context, caller.person, new).await?;
    Ok(Json(contact::of(platform.store(), caller.person).await?.into()))
}
