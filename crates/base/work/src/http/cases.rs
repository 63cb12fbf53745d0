//! `/api/v1/cases`: what is being dealt with, and the whole story of each.

use std::sync::Arc;

use axum::extract::{Path, State};
use model::{AreaPath, Id, Micros, Severity, Text};
use platform::http::{Access, Api, Caller, HttpResult, Json, Problem, Query};
use platform::{AreaRef, FileRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::filter::{KeyValue, Keyed};
use store::{Filter, Order, PageRequest, Select, StoreError, args};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::tasks::{Duties, Task, view as task_view};
use super::{CASES_OF_ALERT, FIRST_ALERTS, LOG};
use crate::case::{self, COLUMNS, CaseAlert, CaseRow, area, micros, str_of, text_of};
use crate::task::{SELECT, TaskRow};
use crate::timeline::Told;
use crate::{Room, Work};

pub(super) fn routes() -> Api<Arc<Work>> {
    Api::new()
        .add(Access::Permission("case:read"), routes!(list))
        .add(Access::Permission("case:read"), routes!(one))
}

/// Where a case stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum CaseState {
    /// Being dealt with.
    Open,
    /// Dealt with.
    Closed,
    /// Stopped from outside.
    Cancelled,
}

impl CaseState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A case.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Case {
    #[schema(value_type = uuid::Uuid)]
    id: Id,
    /// What people say on the phone.
    number: String,
    process: String,
    process_title: Text,
    version: i64,
    title: Text,
    area: AreaRef,
    place: Text,
    severity: Option<Severity>,
    state: CaseState,
    opened_at: Micros,
    closed_at: Option<Micros>,
    due_at: Option<Micros>,
    outcome: Option<String>,
}

/// One page of cases.
#[derive(Serialize, ToSchema)]
struct CasePage {
    items: Vec<Case>,
    next: Option<String>,
}

/// An alert of a case.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct CaseAlertView {
    #[schema(value_type = uuid::Uuid)]
    id: Id,
    number: String,
    title: Text,
    thing: String,
    place: Text,
    state: String,
}

/// Where a token stands on the diagram.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct TokenView {
    element: String,
    since: Micros,
}

/// Who was told of something.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Told)]
struct ToldView {
    /// Their name.
    name: String,
    /// The post they hold.
    post: String,
    /// What people call it.
    post_title: Text,
    /// Where they hold it.
    area: AreaRef,
}

/// What happened.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct TimelineEntry {
    at: Micros,
    /// `case.opened`, `task.completed`, `notice.sent` …
    kind: String,
    element: Option<String>,
    text: Text,
    by: Option<String>,
    /// Who was told.
    told: Option<Vec<ToldView>>,
    #[schema(value_type = Option<Object>)]
    values: Option<Value>,
    files: Vec<FileRef>,
}

/// A case with its whole story.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct CaseDetail {
    #[serde(flatten)]
    case: Case,
    alerts: Vec<CaseAlertView>,
    #[schema(value_type = Object)]
    data: Value,
    tokens: Vec<TokenView>,
    /// Elements and flows walked already.
    passed: Vec<String>,
    tasks: Vec<Task>,
    timeline: Vec<TimelineEntry>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// Only cases of the alert with this id.
    alert: Option<uuid::Uuid>,
    /// Only cases in this area (a path).
    area: Option<String>,
    /// Only cases in this state.
    state: Option<CaseState>,
    /// Only cases whose number, title or place holds this text.
    q: Option<String>,
    /// Rows a page, 1 to 500; 50 when absent.
    limit: Option<i64>,
    /// What the page before gave as `next`.
    after: Option<String>,
}

impl Keyed for CaseRow {
    fn key(&self) -> Vec<KeyValue> {
        vec![KeyValue::I64(i64::from(self.state != "open")), KeyValue::Text(self.number.clone())]
    }
}

fn view(room: &Room, row: &CaseRow) -> Result<Case, StoreError> {
    let at = area(&row.area)?;
    let loaded = room.definitions.get(&row.process, row.version);
    Ok(Case {
        id: row.id,
        number: row.number.clone(),
        process: row.process.clone(),
        process_title: loaded
            .map_or_else(|| Text::new(&row.process, &row.process), |l| l.definition.name().clone()),
        version: row.version,
        title: Text::new(&row.title_zh, &row.title_en),
        area: room.platform.areas().reference(&at),
        place: Text::new(&row.place_zh, &row.place_en),
        severity: Severity::from_rank(row.severity),
        state: match row.state.as_str() {
            "open" => CaseState::Open,
            "cancelled" => CaseState::Cancelled,
            _ => CaseState::Closed,
        },
        opened_at: Micros(row.opened_at),
        closed_at: micros(row.closed_at),
        due_at: micros(row.due_at),
        outcome: row.outcome.clone(),
    })
}

/// Cases: open ones first, then the newest.
#[utoipa::path(get, path = "/api/v1/cases", tag = "cases", params(Asked),
    responses((status = 200, body = CasePage), (status = 401, body = Problem), (status = 403, body = Problem)))]
async fn list(
    State(work): State<Arc<Work>>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> HttpResult<Json<CasePage>> {
    let room = &work.room;
    let mut filter = Filter::Within("area", caller.scope());
    if let Some(alert) = asked.alert {
        let ids: Vec<(Id,)> = room.store.read().all(CASES_OF_ALERT, args![alert]).await?;
        filter = filter.and(Filter::In("id", ids.into_iter().map(|(id,)| id.into()).collect()));
    }
    if let Some(path) = &asked.area {
        let path = AreaPath::parse(path).map_err(|e| Problem::bad_request(e.to_string()))?;
        filter = filter.and(Filter::Within("area", vec![path]));
    }
    if let Some(state) = asked.state {
        filter = filter.and(Filter::Is("state", state.as_str().into()));
    }
    if let Some(q) = asked.q.filter(|q| !q.is_empty()) {
        filter =
            filter.and(Filter::Contains(vec!["number", "title_zh", "title_en", "place_zh", "place_en"], q));
    }
    let select = Select { head: COLUMNS, filter, order: vec![Order::Up("closed"), Order::Down("number")] };
    let page =
        room.store.list::<CaseRow>(select, &PageRequest { limit: asked.limit, after: asked.after }).await?;
    let items = page.items.iter().map(|row| view(room, row)).collect::<Result<_, _>>()?;
    Ok(Json(CasePage { items, next: page.next }))
}

#[derive(sqlx::FromRow)]
struct LogRow {
    at: i64,
    kind: String,
    element: Option<String>,
    text_zh: String,
    text_en: String,
    by_name: Option<String>,
    told: Option<String>,
    given: Option<String>,
    files: String,
}

impl LogRow {
    fn view(self, room: &Room) -> Result<TimelineEntry, StoreError> {
        let told: Option<Vec<Told>> = self.told.as_deref().map(serde_json::from_str).transpose()?;
        let told = told.map(|all| {
            let view = |told: Told| {
                Ok(ToldView {
                    post_title: room.platform.post_title(&told.post),
                    area: room.platform.areas().reference(&area(&told.area)?),
                    name: told.name,
                    post: told.post,
                })
            };
            all.into_iter().map(view).collect::<Result<_, StoreError>>()
        });
        Ok(TimelineEntry {
            at: Micros(self.at),
            kind: self.kind,
            element: self.element,
            text: Text::new(self.text_zh, self.text_en),
            by: self.by_name,
            told: told.transpose()?,
            values: self.given.as_deref().map(serde_json::from_str).transpose()?,
            files: serde_json::from_str(&self.files)?,
        })
    }
}

/// One case, by its number or its id.
#[utoipa::path(get, path = "/api/v1/cases/{number}", tag = "cases", params(("number" = String, Path)),
    responses((status = 200, body = CaseDetail), (status = 404, body = Problem)))]
async fn one(
    State(work): State<Arc<Work>>,
    caller: Caller,
    Path(number): Path<String>,
) -> HttpResult<Json<CaseDetail>> {
    let room = &work.room;
    let read = room.store.read();
    let row: Option<CaseRow> = match Id::parse_str(&number) {
        Ok(id) => read.opt(case::ONE, args![id]).await?,
        Err(_) => read.opt(case::BY_NUMBER, args![&number]).await?,
    };
    let row = row.ok_or_else(|| Problem::not_found("case"))?;
    if !caller.sees(&area(&row.area)?) {
        return Err(Problem::not_found("case"));
    }
    // The timeline first, the rest after it: what the timeline tells, the rest then shows.
    let log: Vec<LogRow> = read.all(LOG, args![row.id]).await?;
    let row: CaseRow = read.opt(case::ONE, args![row.id]).await?.ok_or_else(|| Problem::not_found("case"))?;
    let alerts: Vec<CaseAlert> = read.all(FIRST_ALERTS, args![row.id]).await?;
    let alerts = alerts
        .into_iter()
        .map(|a| {
            let facts = a.facts()?;
            Ok(CaseAlertView {
                id: a.alert,
                number: str_of(&facts, "number").to_owned(),
                title: text_of(facts.get("title")),
                thing: str_of(&facts, "thing").to_owned(),
                place: text_of(facts.get("place")),
                state: a.state,
            })
        })
        .collect::<Result<_, StoreError>>()?;
    let duties = Duties::of(room, &caller).await?;
    let select = Select {
        head: SELECT,
        filter: Filter::Within("t.area", caller.scope()).and(Filter::Is("t.case_id", row.id.into())),
        order: vec![Order::Up("t.sort")],
    };
    let tasks: Vec<TaskRow> = room.store.select(&select, 500).await?;
    let tasks = tasks.into_iter().map(|t| task_view(room, &caller, &duties, t)).collect::<Result<_, _>>()?;
    let timeline = log.into_iter().map(|entry| entry.view(room)).collect::<Result<_, _>>()?;
    let instance: process::Instance = serde_json::from_str(&row.instance).map_err(StoreError::from)?;
    Ok(Json(CaseDetail {
        case: view(room, &row)?,
        alerts,
        data: Value::Object(instance.data),
        tokens: instance
            .tokens
            .into_iter()
            .map(|t| TokenView { element: t.element, since: t.since })
            .collect(),
        passed: instance.passed.into_iter().collect(),
        tasks,
        timeline,
    }))
}
