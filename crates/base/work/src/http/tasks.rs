//! `/api/v1/tasks`: what is to do, by whom, and doing it.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use model::{AreaLevel, AreaPath, Id, Micros, Severity, Text};
use platform::http::{Access, Api, Caller, HttpResult, Json, Problem, Query};
use platform::{AreaRef, duty};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::filter::{KeyValue, Keyed};
use store::{Filter, Order, PageRequest, Select, StoreError, args};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::{FIRST_ALERTS, export};
use crate::case::{self, CaseAlert, CaseRow, area, micros, str_of};
use crate::task::{self, SELECT, TaskError, TaskRow};
use crate::{Room, Work};

pub(super) fn routes() -> Api<Arc<Work>> {
    Api::new()
        .add(Access::Permission("task:read"), routes!(list))
        .add(Access::Permission("task:read"), routes!(table))
        .add(Access::Permission("task:read"), routes!(one))
        .add(Access::Permission("task:hand-over"), routes!(candidates))
        .add(Access::Permission("task:complete"), routes!(complete))
        .add(Access::Permission("task:hand-over"), routes!(hand_over))
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum TaskState {
    /// To do.
    Open,
    /// Done.
    Completed,
    /// Taken back: another level did it, or it is not wanted any more.
    Withdrawn,
}

/// What a caller may do with a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Action {
    /// Complete it.
    Complete,
    /// Hand it over within the post.
    HandOver,
}

/// A person by id and name.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct PersonRef {
    #[schema(value_type = uuid::Uuid)]
    id: Id,
    name: String,
}

/// A task.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Task {
    #[schema(value_type = uuid::Uuid)]
    pub(super) id: Id,
    /// The number of its case.
    pub(super) case: String,
    #[schema(value_type = uuid::Uuid)]
    case_id: Id,
    /// The user task of the process.
    element: String,
    /// What is to do.
    pub(super) name: Text,
    /// What the case is about.
    pub(super) title: Text,
    pub(super) place: Text,
    pub(super) area: AreaRef,
    /// Longitude and latitude, WGS-84.
    location: Option<[f64; 2]>,
    pub(super) severity: Option<Severity>,
    post: String,
    pub(super) post_title: Text,
    level: AreaLevel,
    pub(super) state: TaskState,
    pub(super) opened_at: Micros,
    pub(super) due_at: Option<Micros>,
    escalates_at: Option<Micros>,
    /// To whom it was handed over.
    assignee: Option<PersonRef>,
    pub(super) completed_at: Option<Micros>,
    pub(super) completed_by: Option<String>,
    pub(super) outcome: Option<String>,
    /// What the caller may do with it now.
    actions: Vec<Action>,
}

/// One page of tasks.
#[derive(Serialize, ToSchema)]
struct TaskPage {
    items: Vec<Task>,
    next: Option<String>,
}

/// A step of the process.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Step {
    element: String,
    name: Text,
    state: StepState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum StepState {
    Done,
    Current,
    Ahead,
}

/// What a task asks for.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct FormView {
    key: String,
    /// JSON Schema, draft 2020-12.
    #[schema(value_type = Object)]
    schema: Value,
    #[schema(value_type = Option<Object>)]
    ui: Option<Value>,
}

/// The alert that started the case.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct TaskAlert {
    number: String,
    #[schema(value_type = uuid::Uuid)]
    id: Id,
    thing: String,
    datastream: i64,
    value: Option<f64>,
    unit: String,
}

/// A task with all that doing it needs.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct TaskDetail {
    #[serde(flatten)]
    task: Task,
    form: Option<FormView>,
    /// The case's data.
    #[schema(value_type = Object)]
    data: Value,
    steps: Vec<Step>,
    alert: Option<TaskAlert>,
}

/// Which tasks by their state.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum StateAsked {
    #[default]
    Open,
    Done,
    All,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// Only what is mine: of posts that I hold now, or handed over to me.
    mine: Option<bool>,
    /// Open ones when absent.
    #[param(inline)]
    state: Option<StateAsked>,
    /// Only tasks of the case with this number.
    case: Option<String>,
    /// Only tasks in this area (a path).
    area: Option<String>,
    /// Rows a page, 1 to 500; 50 when absent.
    limit: Option<i64>,
    /// What the page before gave as `next`.
    after: Option<String>,
}

impl Keyed for TaskRow {
    fn key(&self) -> Vec<KeyValue> {
        vec![KeyValue::I64(self.rank), KeyValue::I64(self.due_sort), KeyValue::Text(self.sort.clone())]
    }
}

/// The posts that a caller holds, asked once a request.
pub(super) struct Duties(Vec<(String, AreaPath)>);

impl Duties {
    pub(super) async fn of(room: &Room, caller: &Caller) -> Result<Self, StoreError> {
        duty::duties_of(&room.store, caller.person).await.map(Self)
    }

    fn cover(&self, post: &str, at: &AreaPath) -> bool {
        self.0.iter().any(|(p, a)| p == post && at.is_in(a))
    }
}

/// A task as the caller sees it.
pub(super) fn view(room: &Room, caller: &Caller, duties: &Duties, row: TaskRow) -> Result<Task, StoreError> {
    let at = area(&row.area)?;
    let loaded = room.definitions.get(&row.process, row.version);
    let state = match row.state.as_str() {
        "open" => TaskState::Open,
        "completed" => TaskState::Completed,
        _ => TaskState::Withdrawn,
    };
    let theirs = row.assignee == Some(caller.person) || duties.cover(&row.post, &at);
    let may = |permission| state == TaskState::Open && theirs && caller.context.may(permission, &at);
    let mut actions = Vec::new();
    actions.extend(may("task:complete").then_some(Action::Complete));
    actions.extend(may("task:hand-over").then_some(Action::HandOver));
    Ok(Task {
        id: row.id,
        case: row.number,
        case_id: row.case_id,
        name: loaded.map_or_else(|| Text::new(&row.element, &row.element), |l| l.name_of(&row.element)),
        element: row.element,
        title: Text::new(row.title_zh, row.title_en),
        place: Text::new(row.place_zh, row.place_en),
        area: room.platform.areas().reference(&at),
        location: row.location.as_deref().and_then(|l| serde_json::from_str(l).ok()),
        severity: Severity::from_rank(row.rank),
        post_title: room.platform.post_title(&row.post),
        level: room.platform.post_level(&row.post),
        post: row.post,
        state,
        opened_at: Micros(row.opened_at),
        due_at: micros(row.due_at),
        escalates_at: micros(row.escalates_at),
        assignee: row.assignee.map(|id| PersonRef { id, name: row.assignee_name.unwrap_or_default() }),
        completed_at: micros(row.completed_at),
        completed_by: row.completed_by,
        outcome: row.outcome,
        actions,
    })
}

fn select(caller: &Caller, duties: &Duties, asked: &Asked) -> HttpResult<Select> {
    let mut filter = Filter::Within("t.area", caller.scope());
    filter = match asked.state.unwrap_or_default() {
        StateAsked::Open => filter.and(Filter::Is("t.state", "open".into())),
        StateAsked::Done => filter.and(Filter::In("t.state", vec!["completed".into(), "withdrawn".into()])),
        StateAsked::All => filter,
    };
    if asked.mine == Some(true) {
        let mut any = vec![
            Filter::Is("t.assignee", caller.person.into()),
            Filter::Is("t.completed_by_id", caller.person.into()),
        ];
        for (post, at) in &duties.0 {
            any.push(Filter::Is("t.post", post.into()).and(Filter::Within("t.area", vec![at.clone()])));
        }
        filter = filter.and(Filter::Or(any));
    }
    if let Some(number) = &asked.case {
        filter = filter.and(Filter::Is("c.number", number.into()));
    }
    if let Some(path) = &asked.area {
        let path = AreaPath::parse(path).map_err(|e| Problem::bad_request(e.to_string()))?;
        filter = filter.and(Filter::Within("t.area", vec![path]));
    }
    Ok(Select {
        head: SELECT,
        filter,
        order: vec![Order::Up("t.rank"), Order::Up("t.due_sort"), Order::Up("t.sort")],
    })
}

/// Tasks: open ones first, the gravest and then the soonest due first.
#[utoipa::path(get, path = "/api/v1/tasks", tag = "tasks", params(Asked),
    responses((status = 200, body = TaskPage), (status = 401, body = Problem), (status = 403, body = Problem)))]
async fn list(
    State(work): State<Arc<Work>>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> HttpResult<Json<TaskPage>> {
    let room = &work.room;
    let duties = Duties::of(room, &caller).await?;
    let select = select(&caller, &duties, &asked)?;
    let page =
        room.store.list::<TaskRow>(select, &PageRequest { limit: asked.limit, after: asked.after }).await?;
    let items =
        page.items.into_iter().map(|row| view(room, &caller, &duties, row)).collect::<Result<_, _>>()?;
    Ok(Json(TaskPage { items, next: page.next }))
}

/// What the table is asked for: its language.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct TableAsked {
    /// `zh` (the default) or `en`: the language of the headings.
    lang: Option<String>,
}

/// The same tasks as CSV for a spreadsheet, 10,000 at most.
#[utoipa::path(get, path = "/api/v1/tasks.csv", tag = "tasks", params(Asked, TableAsked),
    responses((status = 200, body = String, content_type = "text/csv"), (status = 403, body = Problem)))]
async fn table(
    State(work): State<Arc<Work>>,
    caller: Caller,
    Query(asked): Query<Asked>,
    Query(language): Query<TableAsked>,
) -> HttpResult<Response> {
    let room = &work.room;
    let duties = Duties::of(room, &caller).await?;
    let select = select(&caller, &duties, &asked)?;
    let rows: Vec<TaskRow> = room.store.select(&select, 10_000).await?;
    let tasks: Vec<Task> =
        rows.into_iter().map(|r| view(room, &caller, &duties, r)).collect::<Result<_, _>>()?;
    let english = language.lang.as_deref() == Some("en");
    let bytes = export::tasks(&tasks, english, room.store.time_zone()).map_err(|e| {
        tracing::error!(error = %e, "a table could not be written");
        Problem::internal()
    })?;
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"tasks.csv\""),
    ];
    Ok((headers, bytes).into_response())
}

/// The task when the caller sees it.
async fn seen(room: &Room, caller: &Caller, id: Id) -> HttpResult<TaskRow> {
    let row: Option<TaskRow> = room.store.read().opt(task::ONE, args![id]).await?;
    let row = row.ok_or_else(|| Problem::not_found("task"))?;
    if caller.sees(&area(&row.area)?) { Ok(row) } else { Err(Problem::not_found("task")) }
}

/// One task, with its form and what the case knows.
#[utoipa::path(get, path = "/api/v1/tasks/{id}", tag = "tasks", params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = TaskDetail), (status = 404, body = Problem)))]
async fn one(
    State(work): State<Arc<Work>>,
    caller: Caller,
    Path(id): Path<Id>,
) -> HttpResult<Json<TaskDetail>> {
    let room = &work.room;
    let row = seen(room, &caller, id).await?;
    let case: CaseRow = room
        .store
        .read()
        .opt(case::ONE, args![row.case_id])
        .await?
        .ok_or_else(|| Problem::not_found("case"))?;
    let instance: process::Instance = serde_json::from_str(&case.instance).map_err(StoreError::from)?;
    let loaded = room.definitions.get(&row.process, row.version);
    let form = loaded.and_then(|l| l.form_of(&row.element)).map(|(key, form)| FormView {
        key: key.to_owned(),
        schema: form.schema.clone(),
        ui: None,
    });
    let steps = loaded.map(|l| l.definition.user_tasks()).unwrap_or_default();
    let steps = steps
        .into_iter()
        .map(|e| {
            let state = if instance.tokens.iter().any(|t| t.element == e.id) {
                StepState::Current
            } else if instance.passed.contains(&e.id) {
                StepState::Done
            } else {
                StepState::Ahead
            };
            Step { element: e.id.clone(), name: e.name.clone(), state }
        })
        .collect();
    let alerts: Vec<CaseAlert> = room.store.read().all(FIRST_ALERTS, args![row.case_id]).await?;
    let alert = match alerts.first() {
        None => None,
        Some(first) => {
            let facts = first.facts()?;
            Some(TaskAlert {
                number: str_of(&facts, "number").to_owned(),
                id: first.alert,
                thing: str_of(&facts, "thing").to_owned(),
                datastream: facts.get("datastream").and_then(Value::as_i64).unwrap_or_default(),
                value: facts.get("value").and_then(Value::as_f64),
                unit: str_of(&facts, "unit").to_owned(),
            })
        }
    };
    let duties = Duties::of(room, &caller).await?;
    let task = view(room, &caller, &duties, row)?;
    Ok(Json(TaskDetail { task, form, data: Value::Object(instance.data), steps, alert }))
}

/// People a task can be handed over to.
#[derive(Serialize, ToSchema)]
struct Candidates {
    items: Vec<PersonRef>,
}

/// Who else holds the post of the task now.
#[utoipa::path(get, path = "/api/v1/tasks/{id}/candidates", tag = "tasks", params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = Candidates), (status = 404, body = Problem)))]
async fn candidates(
    State(work): State<Arc<Work>>,
    caller: Caller,
    Path(id): Path<Id>,
) -> HttpResult<Json<Candidates>> {
    let row = seen(&work.room, &caller, id).await?;
    let holders = duty::holders_now(&work.room.store, &row.post, &area(&row.area)?).await?;
    let mut items: Vec<PersonRef> = Vec::new();
    for h in holders {
        if h.person != caller.person
            && Some(h.person) != row.assignee
            && !items.iter().any(|p| p.id == h.person)
        {
            items.push(PersonRef { id: h.person, name: h.name });
        }
    }
    Ok(Json(Candidates { items }))
}

/// The answers of a task's form.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Completion {
    /// As the form's schema says.
    #[schema(value_type = Object)]
    values: Value,
}

/// To whom a task goes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct HandOver {
    /// One of the candidates.
    #[schema(value_type = uuid::Uuid)]
    person: Id,
    /// Why, or what they should know.
    note: Option<String>,
}

fn problem(e: TaskError) -> Problem {
    match e {
        TaskError::NotFound => Problem::not_found("task"),
        TaskError::NotYours(names) if names.is_empty() => Problem::forbidden(
            "you are not on duty for the post of this task, and nobody is; ask the level above",
        ),
        TaskError::NotYours(names) => Problem::forbidden(format!(
            "you are not on duty for the post of this task; ask {} to do it or to hand it over",
            names.join(", ")
        )),
        TaskError::NotOpen { state, by, at } => {
            let by_whom = by.clone().map(|b| format!(" by {b}")).unwrap_or_default();
            let detail = format!("the task was {state}{by_whom} before; load it again to see what is next");
            Problem::conflict("/problems/task-not-open", "the task is not open any more", detail)
                .with("by", by)
                .with("at", micros(at))
        }
        TaskError::Invalid(errors) => Problem::invalid(errors),
        TaskError::Process(e) => {
            tracing::error!(error = %e, "a process cannot go on");
            Problem::conflict("/problems/process-cannot-go-on", "the process cannot go on", e.to_string())
        }
        TaskError::Store(e) => e.into(),
    }
}

/// The answer of a command; one kept under a key that was used for another task is refused.
async fn answer(
    work: &Work,
    caller: &Caller,
    id: Id,
    row: Result<TaskRow, TaskError>,
) -> HttpResult<Json<Task>> {
    let row = row.map_err(problem)?;
    if row.id != id {
        let key = caller.context.idempotency_key.clone().unwrap_or_default();
        let (action, earlier) = (format!("task {id}"), format!("task {}", row.id));
        return Err(StoreError::KeyReused { key, action, earlier }.into());
    }
    let duties = Duties::of(&work.room, caller).await?;
    Ok(Json(view(&work.room, caller, &duties, row)?))
}

/// Complete a task with the answers of its form.
#[utoipa::path(post, path = "/api/v1/tasks/{id}/complete", tag = "tasks", params(("id" = uuid::Uuid, Path)),
    request_body = Completion,
    responses((status = 200, body = Task), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, description = "/problems/task-not-open with by and at", body = Problem),
        (status = 422, description = "errors: [{path, message}]", body = Problem)))]
async fn complete(
    State(work): State<Arc<Work>>,
    caller: Caller,
    Path(id): Path<Id>,
    Json(body): Json<Completion>,
) -> HttpResult<Json<Task>> {
    let row = work.complete(&caller, id, body.values).await;
    answer(&work, &caller, id, row).await
}

/// Hand a task over to another holder of its post.
#[utoipa::path(post, path = "/api/v1/tasks/{id}/hand-over", tag = "tasks", params(("id" = uuid::Uuid, Path)),
    request_body = HandOver,
    responses((status = 200, body = Task), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem)))]
async fn hand_over(
    State(work): State<Arc<Work>>,
    caller: Caller,
    Path(id): Path<Id>,
    Json(body): Json<HandOver>,
) -> HttpResult<Json<Task>> {
    if body.note.as_ref().is_some_and(|n| n.chars().count() > 500) {
        let message = Text::new("最多 500 个字", "at most 500 characters");
        return Err(Problem::invalid(vec![platform::http::FieldError { path: "/note".into(), message }]));
    }
    let row = work.hand_over(&caller, id, body.person, body.note).await;
    answer(&work, &caller, id, row).await
}
