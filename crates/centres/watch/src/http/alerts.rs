//! `/api/v1/alerts`: what the rules found.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use model::{AreaPath, DatastreamKey, Id, Micros, Severity, Text};
use platform::AreaRef;
use platform::http::{Access, Api, Caller, HttpResult, Json, Problem, Query};
use serde::{Deserialize, Serialize};
use store::filter::{KeyValue, Keyed};
use store::{Filter, Order, PageRequest, Select, StoreError, Value, args};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::export;
use super::observations::ThresholdView;
use crate::Watch;

/// The most rows of an export.
const MOST: i64 = 100_000;

const HEAD: &str = "SELECT id, number, rule, datastream, opened_at, title_zh, title_en, thing, thing_zh, thing_en, area,
    place_zh, place_en, lon, lat, unit, value, severity, peak, state, sort, acknowledged_at, acknowledged_by, resolved_at
    FROM alerts";

store::statements! {
    CHANGES = "SELECT at, kind, severity, value, by_name, text_zh, text_en FROM alert_changes WHERE alert = $1 ORDER BY id";
}

pub(super) fn routes() -> Api<Arc<Watch>> {
    Api::new()
        .add(Access::Permission("alert:read"), routes!(list))
        .add(Access::Permission("alert:read"), routes!(csv))
        .add(Access::Permission("alert:read"), routes!(one))
}

/// Where an alert is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// Nobody acknowledged it.
    Open,
    /// Somebody signed for it.
    Acknowledged,
    /// The value is good again.
    Resolved,
}

/// An alert.
#[derive(Debug, Serialize, ToSchema)]
pub struct Alert {
    /// Names it for ever.
    #[schema(value_type = uuid::Uuid)]
    pub id: Id,
    /// What people say on the phone.
    pub number: String,
    /// The rule that was broken.
    pub rule: String,
    /// What happened.
    pub title: Text,
    /// The code of the thing.
    pub thing: String,
    /// What the thing is called.
    pub thing_name: Text,
    /// The key of the datastream.
    pub datastream: DatastreamKey,
    /// Where it is in the area tree.
    pub area: AreaRef,
    /// Where it is, in words.
    pub place: Text,
    /// Longitude and latitude, WGS-84.
    pub location: Option<[f64; 2]>,
    /// How grave it is; how grave it was, once it is resolved.
    pub severity: Severity,
    /// The gravest it has been.
    pub peak_severity: Severity,
    /// Where it is in its life.
    pub state: AlertState,
    /// The value it opened with; none for silence.
    pub value: Option<f64>,
    /// The unit of values.
    pub unit: String,
    /// The newest value of the datastream.
    pub last_value: Option<f64>,
    /// When it opened.
    pub opened_at: Micros,
    /// When it was acknowledged.
    pub acknowledged_at: Option<Micros>,
    /// By whom.
    pub acknowledged_by: Option<String>,
    /// When it resolved.
    pub resolved_at: Option<Micros>,
    /// What alerts of one cause share: the main or riser that the thing hangs on.
    pub correlation: Option<String>,
}

/// An alert with its history.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlertDetail {
    /// The alert.
    #[serde(flatten)]
    pub alert: Alert,
    /// What became of it, oldest first.
    pub changes: Vec<AlertChange>,
    /// What its datastream is compared with.
    pub thresholds: Vec<ThresholdView>,
}

/// One step of an alert's life.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlertChange {
    /// When.
    pub at: Micros,
    /// `opened`, `severity`, `acknowledged`, `resolved` or `note`.
    pub kind: String,
    /// The severity from then on.
    pub severity: Option<Severity>,
    /// The deciding value.
    pub value: Option<f64>,
    /// Who did it.
    pub by: Option<String>,
    /// The words of a note.
    pub text: Option<Text>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Id,
    number: String,
    rule: String,
    datastream: i64,
    opened_at: i64,
    title_zh: String,
    title_en: String,
    thing: String,
    thing_zh: String,
    thing_en: String,
    area: String,
    place_zh: String,
    place_en: String,
    lon: Option<f64>,
    lat: Option<f64>,
    unit: String,
    value: Option<f64>,
    severity: i64,
    peak: i64,
    state: String,
    sort: i64,
    acknowledged_at: Option<i64>,
    acknowledged_by: Option<String>,
    resolved_at: Option<i64>,
}

impl Keyed for Row {
    fn key(&self) -> Vec<KeyValue> {
        vec![KeyValue::I64(self.sort), KeyValue::I64(self.opened_at), KeyValue::Text(self.number.clone())]
    }
}

fn colour(rank: i64) -> Severity {
    Severity::from_rank(rank).unwrap_or(Severity::Blue)
}

impl Watch {
    fn alert(&self, row: Row) -> HttpResult<Alert> {
        let datastream = DatastreamKey(i32::try_from(row.datastream).unwrap_or_default());
        let path = AreaPath::parse(&row.area)
            .map_err(|e| StoreError::Document(format!("alert {}: {e}", row.number)))?;
        let area = self.platform.areas().reference(&path);
        let main = self.registry.by_code(&row.thing).and_then(|t| t.text("main"));
        Ok(Alert {
            id: row.id,
            number: row.number,
            rule: row.rule,
            title: Text::new(row.title_zh, row.title_en),
            correlation: main.map(str::to_owned),
            thing: row.thing,
            thing_name: Text::new(row.thing_zh, row.thing_en),
            datastream,
            area,
            place: Text::new(row.place_zh, row.place_en),
            location: row.lon.zip(row.lat).map(|(lon, lat)| [lon, lat]),
            severity: colour(row.severity),
            peak_severity: colour(row.peak),
            state: match row.state.as_str() {
                "open" => AlertState::Open,
                "acknowledged" => AlertState::Acknowledged,
                _ => AlertState::Resolved,
            },
            value: row.value,
            unit: row.unit,
            last_value: self.lake.last(datastream).map(|p| p.value),
            opened_at: Micros(row.opened_at),
            acknowledged_at: row.acknowledged_at.map(Micros),
            acknowledged_by: row.acknowledged_by,
            resolved_at: row.resolved_at.map(Micros),
        })
    }
}

/// One page of alerts.
#[derive(Debug, Serialize, ToSchema)]
struct AlertPage {
    items: Vec<Alert>,
    next: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// Only alerts in this area (a path).
    area: Option<String>,
    /// `open`, `acknowledged`, `resolved` or `unresolved` (the first two).
    state: Option<String>,
    /// Severities, separated by commas: `red,orange`.
    severity: Option<String>,
    /// Only alerts whose number, title, thing or place holds this text.
    q: Option<String>,
    /// Rows a page, 1 to 500; 50 when absent.
    limit: Option<i64>,
    /// What the page before gave as `next`.
    after: Option<String>,
    /// The language of an export: `zh` (when absent) or `en`.
    lang: Option<String>,
}

fn select(caller: &Caller, asked: &Asked) -> HttpResult<Select> {
    let mut filter = super::shown(caller, super::area(asked.area.as_deref())?);
    match asked.state.as_deref() {
        None | Some("") => {}
        Some("unresolved") => filter = filter.and(Filter::Below("sort", Value::from(20i64))),
        Some(state @ ("open" | "acknowledged" | "resolved")) => {
            filter = filter.and(Filter::Is("state", Value::from(state)));
        }
        Some(other) => {
            let known = "open, acknowledged, resolved, unresolved";
            return Err(Problem::bad_request(format!("state: {other:?} is none of {known}")));
        }
    }
    if let Some(severities) = asked.severity.as_deref().filter(|s| !s.is_empty()) {
        let ranks = severities.split(',').map(|name| {
            Severity::from_name(name.trim()).map(Value::from).ok_or_else(|| {
                Problem::bad_request(format!("severity: {name:?} is none of red, orange, yellow, blue"))
            })
        });
        filter = filter.and(Filter::In("severity", ranks.collect::<Result<_, _>>()?));
    }
    if let Some(q) = asked.q.as_deref().filter(|q| !q.is_empty()) {
        let columns =
            vec!["number", "title_zh", "title_en", "thing", "thing_zh", "thing_en", "place_zh", "place_en"];
        filter = filter.and(Filter::Contains(columns, q.to_owned()));
    }
    // Open before acknowledged before resolved, the graver first, then the newest.
    let order = vec![Order::Up("sort"), Order::Down("opened_at"), Order::Down("number")];
    Ok(Select { head: HEAD, filter, order })
}

/// Alerts.
#[utoipa::path(get, path = "/api/v1/alerts", tag = "alerts", params(Asked),
    responses((status = 200, body = AlertPage), (status = 400, body = Problem)))]
async fn list(
    State(watch): State<Arc<Watch>>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> HttpResult<Json<AlertPage>> {
    let select = select(&caller, &asked)?;
    let page = PageRequest { limit: asked.limit, after: asked.after };
    let page = watch.store.list::<Row>(select, &page).await?;
    let items = page.items.into_iter().map(|row| watch.alert(row)).collect::<HttpResult<_>>()?;
    Ok(Json(AlertPage { items, next: page.next }))
}

/// The same alerts as a table for a spreadsheet.
#[utoipa::path(get, path = "/api/v1/alerts.csv", tag = "alerts", params(Asked),
    responses((status = 200, body = String, content_type = "text/csv"), (status = 400, body = Problem)))]
async fn csv(
    State(watch): State<Arc<Watch>>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> HttpResult<Response> {
    let rows: Vec<Row> = watch.store.select(&select(&caller, &asked)?, MOST).await?;
    let alerts = rows.into_iter().map(|row| watch.alert(row)).collect::<HttpResult<Vec<_>>>()?;
    let english = asked.lang.as_deref() == Some("en");
    let table = export::alerts(&alerts, english, watch.store.time_zone()).map_err(|e| {
        tracing::error!(error = %e, "alerts cannot be written as CSV");
        Problem::internal()
    })?;
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"alerts.csv\""),
    ];
    Ok((headers, table).into_response())
}

type ChangeRow = (i64, String, Option<i64>, Option<f64>, Option<String>, Option<String>, Option<String>);

/// One alert, by its number or id, with its history.
#[utoipa::path(get, path = "/api/v1/alerts/{number}", tag = "alerts", params(("number" = String, Path)),
    responses((status = 200, body = AlertDetail), (status = 404, body = Problem)))]
async fn one(
    State(watch): State<Arc<Watch>>,
    caller: Caller,
    Path(number): Path<String>,
) -> HttpResult<Json<AlertDetail>> {
    let named = match number.parse::<Id>() {
        Ok(id) => Filter::Is("id", Value::from(id)),
        Err(_) => Filter::Is("number", Value::from(&number)),
    };
    let order = vec![Order::Up("sort")];
    let select = Select { head: HEAD, filter: super::shown(&caller, None).and(named), order };
    let row: Option<Row> = watch.store.select(&select, 1).await?.into_iter().next();
    let alert = watch.alert(row.ok_or_else(|| Problem::not_found("alert"))?)?;
    let changes: Vec<ChangeRow> = watch.store.read().all(CHANGES, args![alert.id]).await?;
    let changes = changes.into_iter().map(|(at, kind, severity, value, by, zh, en)| AlertChange {
        at: Micros(at),
        kind,
        severity: severity.map(colour),
        value,
        by,
        text: zh.zip(en).map(|(zh, en)| Text::new(zh, en)),
    });
    let changes = changes.collect();
    let thresholds = watch.threshold_views(alert.datastream);
    Ok(Json(AlertDetail { alert, changes, thresholds }))
}
