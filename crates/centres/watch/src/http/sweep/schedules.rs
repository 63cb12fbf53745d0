//! `/api/v1/sweep-schedules`: sweeps that start by themselves.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use model::{AreaPath, Id, Micros, Text};
use platform::AreaRef;
use platform::http::{Access, Api, Caller, Created, FieldError, HttpResult, Json, Problem, Query};
use serde::{Deserialize, Serialize};
use store::filter::{KeyValue, Keyed};
use store::{Filter, Order, PageRequest, Select, StoreError, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::limit;
use crate::sweep::schedule::NewSchedule;
use crate::sweep::{Scope, Sweeps};

const HEAD: &str =
    "SELECT id, area, type, datastream, limit_ms, minute, next_at, by_name FROM sweep_schedules";

pub(super) fn routes() -> Api<Arc<Sweeps>> {
    Api::new()
        .add(Access::Permission("sweep:read"), routes!(list))
        .add(Access::Permission("sweep:start"), routes!(create))
        .add(Access::Permission("sweep:start"), routes!(delete))
}

/// A sweep that starts daily by itself.
#[derive(Debug, Serialize, ToSchema)]
struct SweepSchedule {
    /// Names it for ever.
    #[schema(value_type = uuid::Uuid)]
    id: Id,
    /// Where its things are.
    area: AreaRef,
    /// Their type.
    r#type: String,
    /// What the type is called.
    type_title: Text,
    /// The code of the datastream.
    datastream: String,
    /// What the datastream is called.
    datastream_name: Text,
    /// How long each device has to answer.
    limit_seconds: f64,
    /// When, by the city's clock: `08:00`.
    at: String,
    /// When it is due next.
    next_at: Micros,
    /// Who keeps it.
    created_by: String,
}

/// One page of schedules.
#[derive(Serialize, ToSchema)]
struct SweepSchedulePage {
    items: Vec<SweepSchedule>,
    next: Option<String>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Id,
    area: String,
    r#type: String,
    datastream: String,
    limit_ms: i64,
    minute: i64,
    next_at: i64,
    by_name: String,
}

impl Keyed for Row {
    fn key(&self) -> Vec<KeyValue> {
        let texts = [&self.area, &self.r#type, &self.datastream].map(|text| KeyValue::Text(text.clone()));
        std::iter::once(KeyValue::I64(self.minute)).chain(texts).collect()
    }
}

fn view(sweeps: &Sweeps, row: Row) -> HttpResult<SweepSchedule> {
    let area = AreaPath::parse(&row.area).map_err(|e| StoreError::Document(e.to_string()))?;
    let kind = sweeps.watch.declared.types.get(&row.r#type);
    let stream = kind.and_then(|k| k.datastreams.iter().find(|s| s.code == row.datastream));
    Ok(SweepSchedule {
        id: row.id,
        area: sweeps.watch.platform.areas().reference(&area),
        type_title: kind.map_or_else(|| Text::new(&row.r#type, &row.r#type), |k| k.title.clone()),
        r#type: row.r#type,
        datastream_name: stream
            .map_or_else(|| Text::new(&row.datastream, &row.datastream), |s| s.name.clone()),
        datastream: row.datastream,
        limit_seconds: row.limit_ms as f64 / 1000.0,
        at: format!("{:02}:{:02}", row.minute / 60, row.minute % 60),
        next_at: Micros(row.next_at),
        created_by: row.by_name,
    })
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// Rows a page, 1 to 500; 50 when absent.
    limit: Option<i64>,
    /// What the page before gave as `next`.
    after: Option<String>,
}

/// Schedules, by the time of the day.
#[utoipa::path(get, path = "/api/v1/sweep-schedules", tag = "sweeps", params(Asked),
    responses((status = 200, body = SweepSchedulePage), (status = 403, body = Problem)))]
async fn list(
    State(sweeps): State<Arc<Sweeps>>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> HttpResult<Json<SweepSchedulePage>> {
    let order = vec![Order::Up("minute"), Order::Up("area"), Order::Up("type"), Order::Up("datastream")];
    let select = Select { head: HEAD, filter: Filter::Within("area", caller.scope()), order };
    let page = PageRequest { limit: asked.limit, after: asked.after };
    let page = sweeps.watch.store.list::<Row>(select, &page).await?;
    let items = page.items.into_iter().map(|row| view(&sweeps, row)).collect::<HttpResult<_>>()?;
    Ok(Json(SweepSchedulePage { items, next: page.next }))
}

/// A schedule to keep.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SweepScheduleRequest {
    /// Where: a path.
    area: AreaPath,
    /// The type of things.
    r#type: String,
    /// The code of the datastream.
    datastream: String,
    /// How long each device has to answer, 1 to 120; 10 when absent.
    limit_seconds: Option<f64>,
    /// When, by the city's clock: `08:00`.
    at: String,
}

/// `HH:MM` as a minute of the day.
fn minute(at: &str) -> Option<u16> {
    let (hours, minutes) = at.split_once(':')?;
    let number = |text: &str, below: u16| {
        let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u16>().ok().filter(|n| digits && *n < below)
    };
    Some(number(hours, 24)? * 60 + number(minutes, 60)?)
}

/// Keep a schedule: the sweep starts daily at this time by the city's clock.
#[utoipa::path(post, path = "/api/v1/sweep-schedules", tag = "sweeps", request_body = SweepScheduleRequest,
    responses((status = 201, body = SweepSchedule), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 422, body = Problem)))]
async fn create(
    State(sweeps): State<Arc<Sweeps>>,
    caller: Caller,
    Json(asked): Json<SweepScheduleRequest>,
) -> HttpResult<Created<SweepSchedule>> {
    let known = sweeps.watch.platform.areas().get(&asked.area).is_some();
    if !caller.sees(&asked.area) || !known {
        return Err(Problem::not_found("area"));
    }
    let field = |path: &str, zh: &str, en: &str| {
        Problem::invalid(vec![FieldError { path: path.to_owned(), message: Text::new(zh, en) }])
    };
    let minute = minute(&asked.at)
        .ok_or_else(|| field("/at", "时间须为 00:00 至 23:59", "the time must be 00:00 to 23:59"))?;
    let declared = sweeps.watch.declared.types.get(&asked.r#type);
    if declared.is_none_or(|kind| !kind.datastreams.iter().any(|s| s.code == asked.datastream)) {
        return Err(field(
            "/datastream",
            "没有这种设备或数据流",
            "no such type of things, or no such datastream",
        ));
    }
    let new = NewSchedule {
        scope: Scope { area: asked.area, kind: asked.r#type, datastream: asked.datastream },
        limit: limit(asked.limit_seconds),
        minute,
    };
    let id = sweeps.schedule(&caller.context, new).await?;
    Ok(Created(view(&sweeps, seen(&sweeps, &caller, id).await?)?))
}

async fn seen(sweeps: &Sweeps, caller: &Caller, id: Id) -> HttpResult<Row> {
    let filter = Filter::Within("area", caller.scope()).and(Filter::Is("id", Value::from(id)));
    let select = Select { head: HEAD, filter, order: vec![Order::Up("minute")] };
    let row = sweeps.watch.store.select::<Row>(&select, 1).await?.into_iter().next();
    row.ok_or_else(|| Problem::not_found("schedule"))
}

/// Delete a schedule; sweeps that it started stay.
#[utoipa::path(delete, path = "/api/v1/sweep-schedules/{id}", tag = "sweeps",
    params(("id" = String, Path)), responses((status = 204), (status = 404, body = Problem)))]
async fn delete(
    State(sweeps): State<Arc<Sweeps>>,
    caller: Caller,
    Path(id): Path<String>,
) -> HttpResult<StatusCode> {
    let id = id.parse().map_err(|_| Problem::not_found("schedule"))?;
    seen(&sweeps, &caller, id).await?;
    sweeps.unschedule(&caller.context, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::minute;

    #[test]
    fn times_of_the_day_have_one_form() {
        for (text, expected) in [
            ("00:00", Some(0)),
            ("08:05", Some(485)),
            ("23:59", Some(1439)),
            ("24:00", None),
            ("08:60", None),
            ("8:00", None),
            ("+8:00", None),
            ("08:00:00", None),
            ("0800", None),
            ("", None),
        ] {
            assert_eq!(minute(text), expected, "{text}");
        }
    }
}
