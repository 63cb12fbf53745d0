//! `/api/v1/sweeps`: what was asked of devices, and what they answered.

mod comparison;
mod rows;
mod schedules;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use model::{AreaPath, Id, Micros, Text};
use platform::AreaRef;
use platform::http::{Access, Api, Caller, Created, FieldError, HttpResult, Json, Problem, Query};
use serde::{Deserialize, Serialize};
use store::filter::{KeyValue, Keyed};
use store::{Filter, Order, PageRequest, Select, StoreError, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::sweep::{Counts, LIMIT, NewSweep, Scope, SweepError, SweepState, Sweeps};

pub use rows::SweepRow;

pub(crate) use comparison::STATEMENTS;

const HEAD: &str = "SELECT s.id, s.number, s.area, s.type, s.datastream, s.limit_ms, s.state, s.reason, s.started_at,
    s.by_name, s.schedule, r.number AS repeats, s.stopped_by, s.ended_at, s.last_answer_at, s.total, s.asked, s.ok,
    s.low, s.fault, s.silent FROM sweeps s LEFT JOIN sweeps r ON r.id = s.repeats";

pub(super) fn routes(sweeps: Arc<Sweeps>) -> Api<()> {
    Api::new()
        .add(Access::Permission("sweep:read"), routes!(scopes))
        .add(Access::Permission("sweep:read"), routes!(list))
        .add(Access::Permission("sweep:start"), routes!(start))
        .add(Access::Permission("sweep:read"), routes!(one))
        .add(Access::Permission("sweep:start"), routes!(stop))
        .add(Access::Permission("sweep:start"), routes!(repeat))
        .merge(rows::routes())
        .merge(comparison::routes())
        .merge(schedules::routes())
        .with_state(sweeps)
}

/// How a sweep came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SweepReason {
    /// Everybody asked has answered.
    Answered,
    /// The time to answer was over.
    Limit,
    /// Somebody stopped it.
    Stopped,
    /// The hub was stopped.
    Restart,
}

/// A sweep (巡检).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Sweep {
    /// Names it for ever.
    #[schema(value_type = uuid::Uuid)]
    pub id: Id,
    /// What people say on the phone.
    pub number: String,
    /// Where its things are.
    pub area: AreaRef,
    /// Their type.
    pub r#type: String,
    /// What the type is called.
    pub type_title: Text,
    /// The code of the datastream that was asked for.
    pub datastream: String,
    /// What the datastream is called.
    pub datastream_name: Text,
    /// The unit of values, as UCUM writes it.
    pub unit: String,
    /// How many decimals are shown.
    pub decimals: u8,
    /// Where it is in its life.
    pub state: SweepState,
    /// How it came to its end.
    pub reason: Option<SweepReason>,
    /// When it started.
    pub started_at: Micros,
    /// Who started it, or keeps the schedule that did.
    pub started_by: String,
    /// Whether a schedule started it.
    pub scheduled: bool,
    /// The number of the sweep whose silent ones it asks again.
    pub repeats: Option<String>,
    /// How long each device has to answer.
    pub limit_seconds: f64,
    /// Who stopped it.
    pub stopped_by: Option<String>,
    /// When it was over.
    pub ended_at: Option<Micros>,
    /// When the last answer came.
    pub last_answer_at: Option<Micros>,
    /// How its devices stand.
    pub counts: Counts,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Id,
    number: String,
    area: String,
    r#type: String,
    datastream: String,
    limit_ms: i64,
    state: String,
    reason: Option<String>,
    started_at: i64,
    by_name: String,
    schedule: Option<Id>,
    repeats: Option<String>,
    stopped_by: Option<String>,
    ended_at: Option<i64>,
    last_answer_at: Option<i64>,
    total: i64,
    asked: i64,
    ok: i64,
    low: i64,
    fault: i64,
    silent: i64,
}

impl Keyed for Row {
    fn key(&self) -> Vec<KeyValue> {
        vec![KeyValue::I64(self.started_at), KeyValue::Text(self.number.clone())]
    }
}

impl Sweeps {
    fn view(&self, row: Row) -> HttpResult<Sweep> {
        let path = AreaPath::parse(&row.area)
            .map_err(|e| StoreError::Document(format!("sweep {}: {e}", row.number)))?;
        let kind = self.watch.declared.types.get(&row.r#type);
        let stream = kind.and_then(|k| k.datastreams.iter().find(|s| s.code == row.datastream));
        let count = |n: i64| u64::try_from(n).unwrap_or(0);
        let kept = Counts {
            total: count(row.total),
            asked: count(row.asked),
            ok: count(row.ok),
            low: count(row.low),
            fault: count(row.fault),
            silent: count(row.silent),
            open: count(row.total - row.ok - row.low - row.fault - row.silent),
        };
        let state = match row.state.as_str() {
            "running" => SweepState::Running,
            "stopped" => SweepState::Stopped,
            _ => SweepState::Ended,
        };
        // While it runs, what is in memory is newer.
        let live = if state == SweepState::Running { self.counts(row.id) } else { None };
        Ok(Sweep {
            id: row.id,
            number: row.number,
            area: self.watch.platform.areas().reference(&path),
            type_title: kind.map_or_else(|| Text::new(&row.r#type, &row.r#type), |k| k.title.clone()),
            r#type: row.r#type,
            datastream_name: stream
                .map_or_else(|| Text::new(&row.datastream, &row.datastream), |s| s.name.clone()),
            unit: stream.map(|s| s.unit.clone()).unwrap_or_default(),
            decimals: stream.map_or(3, |s| s.decimals),
            datastream: row.datastream,
            state,
            reason: row.reason.as_deref().map(|reason| match reason {
                "answered" => SweepReason::Answered,
                "stopped" => SweepReason::Stopped,
                "restart" => SweepReason::Restart,
                _ => SweepReason::Limit,
            }),
            started_at: Micros(row.started_at),
            started_by: row.by_name,
            scheduled: row.schedule.is_some(),
            repeats: row.repeats,
            limit_seconds: row.limit_ms as f64 / 1000.0,
            stopped_by: row.stopped_by,
            ended_at: row.ended_at.map(Micros),
            last_answer_at: row.last_answer_at.map(Micros),
            counts: live.unwrap_or(kept),
        })
    }

    /// The sweep with this number (or id), if the caller may see it.
    async fn seen(&self, caller: &Caller, number: &str) -> HttpResult<Sweep> {
        let named = match number.parse::<Id>() {
            Ok(id) => Filter::Is("s.id", Value::from(id)),
            Err(_) => Filter::Is("s.number", Value::from(number)),
        };
        let filter = Filter::Within("s.area", caller.scope()).and(named);
        let select = Select { head: HEAD, filter, order: vec![Order::Up("s.number")] };
        let row: Option<Row> = self.watch.store.select(&select, 1).await?.into_iter().next();
        self.view(row.ok_or_else(|| Problem::not_found("sweep"))?)
    }
}

impl From<SweepError> for Problem {
    fn from(e: SweepError) -> Self {
        let field = |path: &str, zh: &str| {
            let message = Text::new(zh, e.to_string());
            Self::invalid(vec![FieldError { path: path.to_owned(), message }])
        };
        let conflict = |kind, title| Self::conflict(kind, title, e.to_string());
        match &e {
            SweepError::Running(number) => {
                conflict("/problems/sweep-running", "the same devices are being asked").with("number", number)
            }
            SweepError::Busy(_) => conflict("/problems/sweeps-busy", "as many sweeps run as may"),
            SweepError::Over => conflict("/problems/sweep-over", "the sweep is over"),
            SweepError::NobodySilent => conflict("/problems/nobody-silent", "there is nobody to ask again"),
            SweepError::MovedOn | SweepError::Scheduled => {
                conflict("/problems/conflict", "it is there already")
            }
            SweepError::TooManySchedules(_) => {
                conflict("/problems/too-many-schedules", "there are as many schedules as may be")
            }
            SweepError::Nothing => field("/area", "该区域没有可巡检的此类设备"),
            SweepError::TooMany(_) => field("/area", "设备超过 20 万台，请选择较小的区域"),
            SweepError::BadLimit => field("/limit_seconds", "时限须为 1 至 120 秒"),
            SweepError::Store(e) => e.clone().into(),
        }
    }
}

/// What can be asked somewhere.
#[derive(Debug, Serialize, ToSchema)]
struct SweepScope {
    /// A type of things.
    r#type: String,
    /// What it is called.
    type_title: Text,
    /// The code of one of its datastreams.
    datastream: String,
    /// What that is called.
    datastream_name: Text,
    /// How many of them there are.
    things: u64,
}

/// What can be asked in an area.
#[derive(Debug, Serialize, ToSchema)]
struct SweepScopes {
    /// The area.
    area: AreaRef,
    /// By type and datastream, the most things first.
    items: Vec<SweepScope>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ScopesAsked {
    /// The area (a path); the widest that the caller sees when absent.
    area: Option<String>,
}

/// What can be asked in an area: types of things with their datastreams.
#[utoipa::path(get, path = "/api/v1/sweep-scopes", tag = "sweeps", params(ScopesAsked),
    responses((status = 200, body = SweepScopes), (status = 404, body = Problem)))]
async fn scopes(
    State(sweeps): State<Arc<Sweeps>>,
    caller: Caller,
    Query(asked): Query<ScopesAsked>,
) -> HttpResult<Json<SweepScopes>> {
    let path = super::area(asked.area.as_deref())?
        .or_else(|| caller.scope().into_iter().min_by_key(|p| p.as_str().len()))
        .filter(|path| caller.sees(path))
        .ok_or_else(|| Problem::not_found("area"))?;
    let watch = &sweeps.watch;
    let area = watch.platform.areas().get(&path).ok_or_else(|| Problem::not_found("area"))?;
    let mut items: Vec<SweepScope> = Vec::new();
    for thing in watch.registry.things().iter().filter(|thing| thing.area.is_in(&path)) {
        for (_, at) in &thing.datastreams {
            let Some(stream) = thing.kind.datastreams.get(*at) else { continue };
            let same = |s: &&mut SweepScope| s.r#type == thing.kind.name && s.datastream == stream.code;
            match items.iter_mut().find(same) {
                Some(scope) => scope.things += 1,
                None => items.push(SweepScope {
                    r#type: thing.kind.name.clone(),
                    type_title: thing.kind.title.clone(),
                    datastream: stream.code.clone(),
                    datastream_name: stream.name.clone(),
                    things: 1,
                }),
            }
        }
    }
    items.sort_by_key(|scope| std::cmp::Reverse(scope.things));
    Ok(Json(SweepScopes { area, items }))
}

/// One page of sweeps.
#[derive(Serialize, ToSchema)]
struct SweepPage {
    items: Vec<Sweep>,
    next: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// Only sweeps of this area or of areas in it (a path).
    area: Option<String>,
    /// Only sweeps in this state.
    #[param(inline)]
    state: Option<SweepState>,
    /// Rows a page, 1 to 500; 50 when absent.
    limit: Option<i64>,
    /// What the page before gave as `next`.
    after: Option<String>,
}

/// Sweeps, the newest first.
#[utoipa::path(get, path = "/api/v1/sweeps", tag = "sweeps", params(Asked),
    responses((status = 200, body = SweepPage), (status = 400, body = Problem)))]
async fn list(
    State(sweeps): State<Arc<Sweeps>>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> HttpResult<Json<SweepPage>> {
    let mut filter = Filter::And(vec![Filter::Within("s.area", caller.scope())]);
    if let Some(area) = super::area(asked.area.as_deref())? {
        filter = filter.and(Filter::Within("s.area", vec![area]));
    }
    if let Some(state) = asked.state {
        let state = match state {
            SweepState::Running => "running",
            SweepState::Ended => "ended",
            SweepState::Stopped => "stopped",
        };
        filter = filter.and(Filter::Is("s.state", state.into()));
    }
    let order = vec![Order::Down("s.started_at"), Order::Down("s.number")];
    let page = PageRequest { limit: asked.limit, after: asked.after };
    let page = sweeps.watch.store.list::<Row>(Select { head: HEAD, filter, order }, &page).await?;
    let items = page.items.into_iter().map(|row| sweeps.view(row)).collect::<HttpResult<_>>()?;
    Ok(Json(SweepPage { items, next: page.next }))
}

/// A sweep to start.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SweepRequest {
    /// Where: a path.
    area: AreaPath,
    /// The type of things.
    r#type: String,
    /// The code of the datastream.
    datastream: String,
    /// How long each device has to answer, 1 to 120; 10 when absent.
    limit_seconds: Option<f64>,
}

/// A limit as requests give it; what is none is refused where limits are checked.
fn limit(seconds: Option<f64>) -> Duration {
    seconds.map_or(LIMIT, |s| Duration::try_from_secs_f64(s).unwrap_or(Duration::ZERO))
}

/// Start a sweep: every device of the type in the area is asked for its value now.
#[utoipa::path(post, path = "/api/v1/sweeps", tag = "sweeps", request_body = SweepRequest,
    responses((status = 201, body = Sweep), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 422, body = Problem)))]
async fn start(
    State(sweeps): State<Arc<Sweeps>>,
    caller: Caller,
    Json(asked): Json<SweepRequest>,
) -> HttpResult<Created<Sweep>> {
    let known = sweeps.watch.platform.areas().get(&asked.area).is_some();
    if !caller.sees(&asked.area) || !known {
        return Err(Problem::not_found("area"));
    }
    let scope = Scope { area: asked.area, kind: asked.r#type, datastream: asked.datastream };
    let new = NewSweep { scope, limit: limit(asked.limit_seconds), repeats: None };
    let id = sweeps.start(&caller.context, new).await?;
    Ok(Created(sweeps.seen(&caller, &id.to_string()).await?))
}

/// One sweep, by its number or id.
#[utoipa::path(get, path = "/api/v1/sweeps/{number}", tag = "sweeps", params(("number" = String, Path)),
    responses((status = 200, body = Sweep), (status = 404, body = Problem)))]
async fn one(
    State(sweeps): State<Arc<Sweeps>>,
    caller: Caller,
    Path(number): Path<String>,
) -> HttpResult<Json<Sweep>> {
    Ok(Json(sweeps.seen(&caller, &number).await?))
}

/// Stop a running sweep; what came so far stays on record.
#[utoipa::path(post, path = "/api/v1/sweeps/{number}/stop", tag = "sweeps", params(("number" = String, Path)),
    responses((status = 200, body = Sweep), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn stop(
    State(sweeps): State<Arc<Sweeps>>,
    caller: Caller,
    Path(number): Path<String>,
) -> HttpResult<Json<Sweep>> {
    let sweep = sweeps.seen(&caller, &number).await?;
    sweeps.halt(&caller.context, sweep.id).await?;
    Ok(Json(sweeps.seen(&caller, &number).await?))
}

/// Ask those again that did not answer: a sweep of its own.
#[utoipa::path(post, path = "/api/v1/sweeps/{number}/repeat", tag = "sweeps", params(("number" = String, Path)),
    responses((status = 201, body = Sweep), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn repeat(
    State(sweeps): State<Arc<Sweeps>>,
    caller: Caller,
    Path(number): Path<String>,
) -> HttpResult<Created<Sweep>> {
    let sweep = sweeps.seen(&caller, &number).await?;
    if sweep.state == SweepState::Running {
        return Err(SweepError::Running(sweep.number).into());
    }
    let new = NewSweep {
        scope: Scope { area: sweep.area.path, kind: sweep.r#type, datastream: sweep.datastream },
        limit: Duration::from_secs_f64(sweep.limit_seconds.clamp(0.0, 3600.0)),
        repeats: Some(sweep.id),
    };
    let id = sweeps.start(&caller.context, new).await?;
    Ok(Created(sweeps.seen(&caller, &id.to_string()).await?))
}
