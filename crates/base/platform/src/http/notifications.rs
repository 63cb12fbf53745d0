//! `/api/v1/notifications`: who was told what, by which channel, and whether it arrived.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use model::{AreaPath, Id, Micros, Severity, Text};
use serde::{Deserialize, Serialize};
use store::{PageRequest, StoreError};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::caller::Caller;
use super::problem::{FieldError, HttpResult, Problem};
use super::shape::{Json, Query};
use super::table::{Cell, Table};
use super::{Access, Api};
use crate::notification::Channel;
use crate::notification::channel::masked;
use crate::notification::record::{self, AttemptRow, DeliveryRow};
use crate::{AreaRef, Platform};

/// How many deliveries one request sends again.
const RESENT_AT_ONCE: usize = 500;
/// How many rows a table has at most.
const LARGEST_TABLE: i64 = 10_000;

pub(super) fn routes() -> Api<Arc<Platform>> {
    Api::new()
        .add(Access::Permission("notification:read"), routes!(list))
        .add(Access::Permission("notification:read"), routes!(table))
        .add(Access::Permission("notification:read"), routes!(one))
        .add(Access::Permission("notification:read"), routes!(channels))
        .add(Access::Permission("notification:resend"), routes!(resend))
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum DeliveryState {
    /// Waits for its (next) try.
    Waiting,
    /// Held back until the quiet hours end.
    Held,
    /// In hand.
    Sending,
    /// The far side accepted it.
    Accepted,
    /// Given up: the next channel was used.
    Failed,
    /// Given up, and there is no other channel: an operator must look.
    Dead,
    /// Not wanted any more before it was sent.
    Withdrawn,
}

impl DeliveryState {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Waiting, "waiting"),
        (Self::Held, "held"),
        (Self::Sending, "sending"),
        (Self::Accepted, "accepted"),
        (Self::Failed, "failed"),
        (Self::Dead, "dead"),
        (Self::Withdrawn, "withdrawn"),
    ];

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, n)| *n == name).map(|(state, _)| state)
    }

    fn title(self) -> Text {
        match self {
            Self::Waiting => Text::new("等待发送", "waiting"),
            Self::Held => Text::new("免打扰，暂缓", "held back"),
            Self::Sending => Text::new("正在发送", "sending"),
            Self::Accepted => Text::new("已送达", "accepted"),
            Self::Failed => Text::new("失败，已改用下一渠道", "failed, next channel used"),
            Self::Dead => Text::new("失败，待处理", "failed, needs an operator"),
            Self::Withdrawn => Text::new("已撤回", "withdrawn"),
        }
    }
}

/// What people call a channel.
fn title(channel: Channel) -> Text {
    match channel {
        Channel::InPage => Text::new("站内", "in page"),
        Channel::Wecom => Text::new("企业微信", "WeCom"),
        Channel::Sms => Text::new("短信", "SMS"),
        Channel::Voice => Text::new("语音电话", "voice call"),
        Channel::Email => Text::new("邮件", "e-mail"),
        Channel::Webhook => Text::new("系统推送", "webhook"),
    }
}

/// One message on one channel.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Delivery {
    #[schema(value_type = uuid::Uuid)]
    id: Id,
    /// The message: the same for all channels that it went along.
    #[schema(value_type = uuid::Uuid)]
    notification: Id,
    channel: Channel,
    /// What the channel is addressed by, masked.
    address: String,
    state: DeliveryState,
    /// The person's name, or the system's.
    recipient: String,
    #[schema(value_type = Option<uuid::Uuid>)]
    person: Option<Id>,
    post: String,
    post_title: Text,
    area: AreaRef,
    /// The number of the case.
    case: Option<String>,
    severity: Option<Severity>,
    title: Text,
    text: Text,
    /// When the person was told.
    told_at: Micros,
    attempts: i64,
    /// When it is tried next; of held ones, when the quiet hours end.
    next_at: Option<Micros>,
    settled_at: Option<Micros>,
    /// When the person read the message in the pages.
    read_at: Option<Micros>,
    /// Why the last try failed.
    reason: Option<String>,
    /// What the far side calls it.
    reference: Option<String>,
}

/// One page of deliveries.
#[derive(Serialize, ToSchema)]
struct DeliveryPage {
    items: Vec<Delivery>,
    next: Option<String>,
}

/// One try.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct DeliveryAttempt {
    /// Which, from 1.
    n: i64,
    at: Micros,
    /// `accepted`, `retryable` or `final`.
    outcome: String,
    reason: Option<String>,
}

/// A delivery with its tries.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct DeliveryDetail {
    #[serde(flatten)]
    delivery: Delivery,
    /// The last fifty, the newest first.
    tries: Vec<DeliveryAttempt>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// Only these states, with commas: `dead,failed`.
    state: Option<String>,
    /// Only this channel.
    #[param(inline)]
    channel: Option<Channel>,
    /// Only what the person with this id was told.
    #[param(value_type = Option<uuid::Uuid>)]
    person: Option<Id>,
    /// Only what was told of the case with this number.
    case: Option<String>,
    /// Only where recipient, case, post, title or reason holds this text.
    q: Option<String>,
    /// Rows a page, 1 to 500; 50 when absent.
    limit: Option<i64>,
    /// What the page before gave as `next`.
    after: Option<String>,
}

impl Asked {
    fn filter(&self) -> HttpResult<record::Asked> {
        let mut states = Vec::new();
        for name in self.state.iter().flat_map(|s| s.split(',')).filter(|s| !s.is_empty()) {
            if DeliveryState::from_name(name).is_none() {
                return Err(Problem::bad_request(format!("state: no state {name:?}")));
            }
            states.push(name.to_owned());
        }
        let (case, text) = (self.case.clone(), self.q.clone());
        Ok(record::Asked { states, channel: self.channel, person: self.person, case, text })
    }
}

fn view(platform: &Platform, row: DeliveryRow) -> HttpResult<Delivery> {
    let wrong = |what: &str| StoreError::Document(format!("delivery {}: no {what}", row.id));
    let channel = Channel::from_name(&row.channel).ok_or_else(|| wrong("such channel"))?;
    let state = DeliveryState::from_name(&row.state).ok_or_else(|| wrong("such state"))?;
    let area = AreaPath::parse(&row.area).map_err(|e| StoreError::Document(e.to_string()))?;
    let waits = matches!(state, DeliveryState::Waiting | DeliveryState::Held);
    Ok(Delivery {
        id: row.id,
        notification: row.notification,
        channel,
        address: masked(channel, &row.address),
        state,
        recipient: row.recipient,
        person: row.person,
        post_title: platform.post_title(&row.post),
        post: row.post,
        area: platform.areas().reference(&area),
        case: Some(row.case_no).filter(|c| !c.is_empty()),
        severity: Severity::from_rank(row.severity),
        title: Text::new(row.title_zh, row.title_en),
        text: Text::new(row.body_zh, row.body_en),
        told_at: Micros(row.created_at),
        attempts: row.attempts,
        next_at: Some(Micros(row.next_at)).filter(|_| waits),
        settled_at: row.settled_at.map(Micros),
        read_at: row.read_at.map(Micros),
        reason: row.reason,
        reference: row.reference,
    })
}

/// Deliveries, newest first.
#[utoipa::path(get, path = "/api/v1/notifications", tag = "notifications", params(Asked),
    responses((status = 200, body = DeliveryPage), (status = 400, body = Problem), (status = 403, body = Problem)))]
async fn list(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> HttpResult<Json<DeliveryPage>> {
    let page = PageRequest { limit: asked.limit, after: asked.after.clone() };
    let page = record::list(platform.store(), caller.scope(), &asked.filter()?, &page).await?;
    let items = page.items.into_iter().map(|row| view(&platform, row)).collect::<HttpResult<_>>()?;
    Ok(Json(DeliveryPage { items, next: page.next }))
}

/// What the table is asked for: its language.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct TableAsked {
    /// `zh` (the default) or `en`: the language of the headings.
    lang: Option<String>,
}

/// The same as CSV for a spreadsheet, 10,000 at most.
#[utoipa::path(get, path = "/api/v1/notifications.csv", tag = "notifications", params(Asked, TableAsked),
    responses((status = 200, body = String, content_type = "text/csv"), (status = 403, body = Problem)))]
async fn table(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Query(asked): Query<Asked>,
    Query(language): Query<TableAsked>,
) -> HttpResult<Response> {
    let select = record::select(caller.scope(), &asked.filter()?);
    let rows: Vec<DeliveryRow> = platform.store().select(&select, LARGEST_TABLE).await?;
    let rows = rows.into_iter().map(|row| view(&platform, row)).collect::<HttpResult<Vec<_>>>()?;
    let english = language.lang.as_deref() == Some("en");
    let bytes = write(&rows, english, platform.store().time_zone()).map_err(|e| {
        tracing::error!(error = %e, "a table could not be written");
        Problem::internal()
    })?;
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"notifications.csv\""),
    ];
    Ok((headers, bytes).into_response())
}

fn write(rows: &[Delivery], english: bool, zone: &jiff::tz::TimeZone) -> Result<Vec<u8>, csv::Error> {
    let headings = [
        ("通知时间", "Told"),
        ("接收人", "Recipient"),
        ("岗位", "Post"),
        ("渠道", "Channel"),
        ("地址", "Address"),
        ("状态", "State"),
        ("次数", "Tries"),
        ("完成时间", "Settled"),
        ("已读时间", "Read"),
        ("原因", "Reason"),
        ("级别", "Severity"),
        ("工单", "Case"),
        ("区域", "Area"),
        ("标题", "Title"),
    ];
    let mut table = Table::new(english, zone, &headings)?;
    for row in rows {
        table.row([
            Cell::Time(Some(row.told_at)),
            Cell::Plain(row.recipient.clone()),
            Cell::Words(row.post_title.clone()),
            Cell::Words(title(row.channel)),
            Cell::Plain(row.address.clone()),
            Cell::Words(row.state.title()),
            Cell::Number(Some(row.attempts as f64)),
            Cell::Time(row.settled_at),
            Cell::Time(row.read_at),
            Cell::Plain(row.reason.clone().unwrap_or_default()),
            Cell::Severity(row.severity),
            Cell::Plain(row.case.clone().unwrap_or_default()),
            Cell::Words(row.area.name.clone()),
            Cell::Words(row.title.clone()),
        ])?;
    }
    table.finish()
}

/// One delivery with its tries.
#[utoipa::path(get, path = "/api/v1/notifications/{id}", tag = "notifications", params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = DeliveryDetail), (status = 404, body = Problem)))]
async fn one(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path(id): Path<Id>,
) -> HttpResult<Json<DeliveryDetail>> {
    let Some((row, tries)) = record::one(platform.store(), id).await? else {
        return Err(Problem::not_found("notification"));
    };
    let area = AreaPath::parse(&row.area).map_err(|e| StoreError::Document(e.to_string()))?;
    if !caller.sees(&area) {
        return Err(Problem::not_found("notification"));
    }
    let attempt =
        |AttemptRow { n, at, outcome, reason }| DeliveryAttempt { n, at: Micros(at), outcome, reason };
    let tries = tries.into_iter().map(attempt).collect();
    Ok(Json(DeliveryDetail { delivery: view(&platform, row)?, tries }))
}

/// Which deliveries to send again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ResendRequest {
    /// Their ids, 1 to 500; those that were not given up are left as they are.
    #[schema(value_type = Vec<uuid::Uuid>)]
    ids: Vec<Id>,
}

/// What was sent again.
#[derive(Serialize, ToSchema)]
struct Resent {
    /// How many wait for their next try now.
    resent: u64,
}

/// Send again what was given up.
#[utoipa::path(post, path = "/api/v1/notifications/resend", tag = "notifications", request_body = ResendRequest,
    responses((status = 200, body = Resent), (status = 404, body = Problem), (status = 422, body = Problem)))]
async fn resend(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Json(asked): Json<ResendRequest>,
) -> HttpResult<Json<Resent>> {
    let mut ids = asked.ids;
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() || ids.len() > RESENT_AT_ONCE {
        let message = Text::new("请选择 1 至 500 条", "must be 1 to 500");
        return Err(Problem::invalid(vec![FieldError { path: "/ids".into(), message }]));
    }
    // One that is not the caller's to see is not there, and the request with it is refused whole.
    if record::known(platform.store(), caller.scope(), &ids).await?.len() != ids.len() {
        return Err(Problem::not_found("notification"));
    }
    let resent = platform.notifications().resend(&caller.context, ids).await?;
    Ok(Json(Resent { resent }))
}

/// How a channel does.
#[derive(Serialize, ToSchema)]
struct ChannelHealth {
    channel: Channel,
    /// Whether the hub is set up to send on it.
    served: bool,
    /// Its place among the channels to people, from 1; `null` when it is in none.
    place: Option<usize>,
    waiting: i64,
    /// How many of the waiting are held back by quiet hours.
    held: i64,
    oldest_waiting_at: Option<Micros>,
    /// Accepted in the last 24 hours.
    accepted: i64,
    /// Given up for the next channel in the last 24 hours.
    failed: i64,
    /// Given up, waiting for an operator.
    dead: i64,
    last_reason: Option<String>,
}

/// The channels.
#[derive(Serialize, ToSchema)]
struct ChannelHealthList {
    items: Vec<ChannelHealth>,
}

/// How the channels do, by what was told in the caller's areas.
#[utoipa::path(get, path = "/api/v1/channels", tag = "notifications",
    responses((status = 200, body = ChannelHealthList), (status = 403, body = Problem)))]
async fn channels(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
) -> HttpResult<Json<ChannelHealthList>> {
    let mut health = record::health(platform.store(), &caller.scope()).await?;
    let notifications = platform.notifications();
    let items = Channel::ALL
        .into_iter()
        .map(|channel| {
            let h = health.remove(&channel).unwrap_or_default();
            ChannelHealth {
                channel,
                served: notifications.serves(channel),
                place: notifications.config().order.iter().position(|c| *c == channel).map(|p| p + 1),
                waiting: h.waiting,
                held: h.held,
                oldest_waiting_at: h.oldest.map(Micros),
                accepted: h.accepted,
                failed: h.failed,
                dead: h.dead,
                last_reason: h.last_reason,
            }
        })
        .collect();
    Ok(Json(ChannelHealthList { items }))
}
