//! What each device of a sweep answered: as a list, and as a table for a spreadsheet.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use jiff::tz::TimeZone;
use model::{AreaPath, DatastreamKey, Id, Micros, Severity, Text};
use platform::http::{Access, Api, Caller, Cell, HttpResult, Json, Problem, Query, Table};
use serde::{Deserialize, Serialize};
use store::filter::{KeyValue, Keyed};
use store::{Filter, Order, PageRequest, Select, StoreError, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::sweep::{Sweeps, Verdict, Via};

const HEAD: &str =
    "SELECT thing, thing_zh, thing_en, area, place_zh, place_en, datastream, asked_at, answered_at,
    measured_at, value, via, note, last_at, last_value, verdict, severity, sort FROM sweep_rows";

/// The most rows of an export: a whole sweep.
const MOST: i64 = 200_000;

pub(super) fn routes() -> Api<Arc<Sweeps>> {
    Api::new()
        .add(Access::Permission("sweep:read"), routes!(list))
        .add(Access::Permission("sweep:read"), routes!(csv))
}

/// What one device of a sweep answered.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct SweepRow {
    /// The code of the thing.
    pub thing: String,
    /// What the thing was called.
    pub name: Text,
    /// Where it was, in words.
    pub place: Text,
    /// Where it was in the area tree: a path.
    pub area: AreaPath,
    /// The datastream it was asked for.
    pub datastream: DatastreamKey,
    /// When it was asked; nothing for one that was not connected.
    pub asked_at: Option<Micros>,
    /// When its answer came.
    pub answered_at: Option<Micros>,
    /// When the value held, as the device says.
    pub measured_at: Option<Micros>,
    /// The value it answered with.
    pub value: Option<f64>,
    /// How the answer came.
    pub via: Option<Via>,
    /// Its own words, when it could not say.
    pub note: Option<String>,
    /// When it was last known before it was asked; nothing for one that was never heard.
    pub last_at: Option<Micros>,
    /// What was last known then.
    pub last_value: Option<f64>,
    /// What its answer, or its silence, means.
    pub verdict: Verdict,
    /// The gravest threshold that the value broke.
    pub severity: Option<Severity>,
}

#[derive(sqlx::FromRow)]
struct Row {
    thing: String,
    thing_zh: String,
    thing_en: String,
    area: String,
    place_zh: String,
    place_en: String,
    datastream: i64,
    asked_at: Option<i64>,
    answered_at: Option<i64>,
    measured_at: Option<i64>,
    value: Option<f64>,
    via: Option<String>,
    note: Option<String>,
    last_at: Option<i64>,
    last_value: Option<f64>,
    verdict: String,
    severity: Option<i64>,
    sort: i64,
}

impl Keyed for Row {
    fn key(&self) -> Vec<KeyValue> {
        vec![KeyValue::I64(self.sort), KeyValue::Text(self.thing.clone())]
    }
}

impl Row {
    fn view(self) -> Result<SweepRow, StoreError> {
        Ok(SweepRow {
            area: AreaPath::parse(&self.area).map_err(|e| StoreError::Document(e.to_string()))?,
            thing: self.thing,
            name: Text::new(self.thing_zh, self.thing_en),
            place: Text::new(self.place_zh, self.place_en),
            datastream: DatastreamKey(i32::try_from(self.datastream).unwrap_or_default()),
            asked_at: self.asked_at.map(Micros),
            answered_at: self.answered_at.map(Micros),
            measured_at: self.measured_at.map(Micros),
            value: self.value,
            via: self.via.map(|via| if via == "reply" { Via::Reply } else { Via::Observation }),
            note: self.note,
            last_at: self.last_at.map(Micros),
            last_value: self.last_value,
            verdict: Verdict::from_name(&self.verdict).unwrap_or_default(),
            severity: self.severity.and_then(Severity::from_rank),
        })
    }
}

/// One page of a sweep's rows.
#[derive(Serialize, ToSchema)]
struct SweepRowPage {
    items: Vec<SweepRow>,
    next: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// Verdicts, separated by commas: `low,silent`.
    verdict: Option<String>,
    /// Only things whose code, name or place holds this text.
    q: Option<String>,
    /// Rows a page, 1 to 500; 50 when absent.
    limit: Option<i64>,
    /// What the page before gave as `next`.
    after: Option<String>,
    /// The language of an export: `zh` (when absent) or `en`.
    lang: Option<String>,
}

fn select(sweep: Id, asked: &Asked) -> HttpResult<Select> {
    let mut filter = Filter::And(vec![Filter::Is("sweep", Value::from(sweep))]);
    if let Some(verdicts) = asked.verdict.as_deref().filter(|v| !v.is_empty()) {
        let named = verdicts.split(',').map(|name| {
            Verdict::from_name(name.trim()).map(|v| Value::from(v.as_str())).ok_or_else(|| {
                Problem::bad_request(format!("verdict: {name:?} is none of open, ok, low, fault, silent"))
            })
        });
        filter = filter.and(Filter::In("verdict", named.collect::<Result<_, _>>()?));
    }
    if let Some(q) = asked.q.as_deref().filter(|q| !q.is_empty()) {
        let columns = vec!["thing", "thing_zh", "thing_en", "place_zh", "place_en"];
        filter = filter.and(Filter::Contains(columns, q.to_owned()));
    }
    Ok(Select { head: HEAD, filter, order: vec![Order::Up("sort"), Order::Up("thing")] })
}

/// What each device answered: low values first, the gravest first, then faults, silent ones, and
/// good values last.
#[utoipa::path(get, path = "/api/v1/sweeps/{number}/rows", tag = "sweeps",
    params(("number" = String, Path), Asked),
    responses((status = 200, body = SweepRowPage), (status = 400, body = Problem), (status = 404, body = Problem)))]
async fn list(
    State(sweeps): State<Arc<Sweeps>>,
    caller: Caller,
    Path(number): Path<String>,
    Query(asked): Query<Asked>,
) -> HttpResult<Json<SweepRowPage>> {
    let sweep = sweeps.seen(&caller, &number).await?;
    let select = select(sweep.id, &asked)?;
    let page = PageRequest { limit: asked.limit, after: asked.after };
    let page = sweeps.watch.store.list::<Row>(select, &page).await?;
    let items = page.items.into_iter().map(Row::view).collect::<Result<_, _>>()?;
    Ok(Json(SweepRowPage { items, next: page.next }))
}

/// The same as a table for a spreadsheet.
#[utoipa::path(get, path = "/api/v1/sweeps/{number}/rows.csv", tag = "sweeps",
    params(("number" = String, Path), Asked),
    responses((status = 200, body = String, content_type = "text/csv"), (status = 404, body = Problem)))]
async fn csv(
    State(sweeps): State<Arc<Sweeps>>,
    caller: Caller,
    Path(number): Path<String>,
    Query(asked): Query<Asked>,
) -> HttpResult<Response> {
    let sweep = sweeps.seen(&caller, &number).await?;
    let rows: Vec<Row> = sweeps.watch.store.select(&select(sweep.id, &asked)?, MOST).await?;
    let rows = rows.into_iter().map(Row::view).collect::<Result<Vec<_>, _>>()?;
    let english = asked.lang.as_deref() == Some("en");
    let zone = sweeps.watch.store.time_zone();
    let table = table(&rows, &sweep.unit, english, zone).map_err(|e| {
        tracing::error!(error = %e, "a sweep cannot be written as CSV");
        Problem::internal()
    })?;
    // Numbers are digits and hyphens.
    let name = format!("attachment; filename=\"sweep-{}.csv\"", sweep.number);
    let headers =
        [(header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, table).into_response())
}

fn table(rows: &[SweepRow], unit: &str, english: bool, zone: &TimeZone) -> Result<Vec<u8>, csv::Error> {
    let headings = [
        ("对象", "Thing"),
        ("名称", "Name"),
        ("位置", "Place"),
        ("结论", "Verdict"),
        ("级别", "Severity"),
        ("本次数值", "Value now"),
        ("单位", "Unit"),
        ("测量时间", "Measured"),
        ("询问时间", "Asked"),
        ("回答时间", "Answered"),
        ("上次数值", "Last known value"),
        ("上次时间", "Last known"),
        ("说明", "Note"),
    ];
    let mut table = Table::new(english, zone, &headings)?;
    for row in rows {
        table.row([
            Cell::Plain(row.thing.clone()),
            Cell::Words(row.name.clone()),
            Cell::Words(row.place.clone()),
            Cell::Words(words(row)),
            Cell::Severity(row.severity),
            Cell::Number(row.value),
            Cell::Plain(unit.to_owned()),
            Cell::Time(row.measured_at),
            Cell::Time(row.asked_at),
            Cell::Time(row.answered_at),
            Cell::Number(row.last_value),
            Cell::Time(row.last_at),
            Cell::Plain(row.note.clone().unwrap_or_default()),
        ])?;
    }
    table.finish()
}

fn words(row: &SweepRow) -> Text {
    match row.verdict {
        Verdict::Open => Text::new("未完成", "not finished"),
        Verdict::Ok => Text::new("正常", "ok"),
        Verdict::Low => Text::new("偏低", "low"),
        Verdict::Fault => Text::new("故障", "fault"),
        Verdict::Silent if row.asked_at.is_none() => Text::new("未连接", "not connected"),
        Verdict::Silent => Text::new("无应答", "silent"),
    }
}
