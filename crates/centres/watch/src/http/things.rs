//! `/api/v1/things`: what stands in the city and how.

use std::sync::Arc;

use axum::extract::{Path, State};
use model::{DatastreamKey, Id, Micros, Severity, Text};
use platform::AreaRef;
use platform::http::{Access, Api, Caller, HttpResult, Json, Problem, Query};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::{Thing, ThingState, Watch};

pub(super) fn routes() -> Api<Arc<Watch>> {
    Api::new()
        .add(Access::Permission("thing:read"), routes!(list))
        .add(Access::Permission("thing:read"), routes!(one))
}

/// A thing as a page shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Thing)]
pub struct ThingView {
    /// Names it for ever.
    #[schema(value_type = uuid::Uuid)]
    pub id: Id,
    /// What stands on its label.
    pub code: String,
    /// What it is called.
    pub name: Text,
    /// Its type.
    pub r#type: String,
    /// What its type is called.
    pub type_title: Text,
    /// Where it is in the area tree.
    pub area: AreaRef,
    /// Where it is, in words.
    pub place: Text,
    /// Longitude and latitude, WGS-84.
    pub location: Option<[f64; 2]>,
    /// Facts of it.
    #[schema(value_type = Object)]
    pub properties: Map<String, Value>,
    /// Whether residents of the estate may know of it.
    pub public: bool,
    /// How it stands.
    pub state: ThingState,
    /// The gravest of its unresolved alerts.
    #[schema(value_type = Option<Severity>)]
    pub severity: Option<Severity>,
    /// What it measures.
    pub datastreams: Vec<DatastreamView>,
}

/// A datastream with its last value.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Datastream)]
pub struct DatastreamView {
    /// Its key.
    pub key: DatastreamKey,
    /// Its code.
    pub code: String,
    /// What it is called.
    pub name: Text,
    /// What is observed.
    pub observed_property: String,
    /// The unit, as UCUM writes it.
    pub unit: String,
    /// How many decimals are shown.
    pub decimals: u8,
    /// How often it reports at least.
    pub interval_seconds: Option<f64>,
    /// The newest value.
    pub last: Option<LastValue>,
}

/// A value at an instant.
#[derive(Debug, Serialize, ToSchema)]
pub struct LastValue {
    /// When it held.
    pub time: Micros,
    /// In the datastream's unit.
    pub value: f64,
    /// 0 is good; bits say why not: 1 time of receipt, 2 from the future, 4 late, 8 out of range.
    pub quality: u8,
}

/// One page of things.
#[derive(Debug, Serialize, ToSchema)]
struct ThingPage {
    items: Vec<ThingView>,
    next: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// Only things in this area (a path).
    area: Option<String>,
    /// Only things of this type.
    r#type: Option<String>,
    /// Only things that stand so.
    state: Option<ThingState>,
    /// Only things whose code, name or place holds this text.
    q: Option<String>,
    /// Rows a page, 1 to 500; 50 when absent.
    limit: Option<usize>,
    /// What the page before gave as `next`.
    after: Option<String>,
}

impl Watch {
    pub(super) fn view(&self, at: usize, thing: &Thing) -> ThingView {
        let keys: Vec<_> = thing.datastreams.iter().map(|(key, _)| *key).collect();
        let last = self.lake.last_many(&keys);
        let (state, severity) = self.standing.of(at);
        let datastreams = thing.datastreams.iter().zip(last).map(|((key, place), last)| {
            let stream = &thing.kind.datastreams[*place];
            DatastreamView {
                key: *key,
                code: stream.code.clone(),
                name: stream.name.clone(),
                observed_property: stream.observed_property.clone(),
                unit: stream.unit.clone(),
                decimals: stream.decimals,
                interval_seconds: stream.interval.map(|i| i.0 as f64 / Micros::SECOND as f64),
                last: last.map(|p| LastValue { time: p.time, value: p.value, quality: p.quality }),
            }
        });
        ThingView {
            id: thing.id,
            code: thing.code.clone(),
            name: thing.name.clone(),
            r#type: thing.kind.name.clone(),
            type_title: thing.kind.title.clone(),
            area: self.platform.areas().reference(&thing.area),
            place: thing.place.clone(),
            location: thing.location,
            properties: thing.properties.clone(),
            public: thing.public,
            state,
            severity,
            datastreams: datastreams.collect(),
        }
    }
}

fn holds(thing: &Thing, q: &str) -> bool {
    [&thing.code, &thing.name.zh, &thing.name.en, &thing.place.zh, &thing.place.en]
        .into_iter()
        .any(|text| text.to_lowercase().contains(q))
}

/// Things, by code.
#[utoipa::path(get, path = "/api/v1/things", tag = "things", params(Asked),
    responses((status = 200, body = ThingPage), (status = 401, body = Problem), (status = 403, body = Problem)))]
async fn list(
    State(watch): State<Arc<Watch>>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> HttpResult<Json<ThingPage>> {
    let scope = caller.scope();
    let area = super::area(asked.area.as_deref())?;
    let q = asked.q.as_deref().map(str::to_lowercase).filter(|q| !q.is_empty());
    let limit = asked.limit.unwrap_or(50).clamp(1, 500);
    let things = watch.registry.things();
    // Sorted by code: the cursor is the last code of the page before.
    let start = asked.after.as_ref().map_or(0, |after| things.partition_point(|t| t.code <= *after));
    let mut found = (start..)
        .zip(&things[start..])
        .filter(|(_, t)| super::is_shown(&scope, area.as_ref(), &t.area))
        .filter(|(_, t)| asked.r#type.as_ref().is_none_or(|k| t.kind.name == *k))
        .filter(|(_, t)| q.as_ref().is_none_or(|q| holds(t, q)))
        .filter(|(at, _)| asked.state.is_none_or(|s| watch.standing.of(*at).0 == s));
    let items: Vec<_> = found.by_ref().take(limit).map(|(at, t)| watch.view(at, t)).collect();
    let next = found.next().and_then(|_| items.last()).map(|t| t.code.clone());
    Ok(Json(ThingPage { items, next }))
}

/// One thing.
#[utoipa::path(get, path = "/api/v1/things/{code}", tag = "things", params(("code" = String, Path)),
    responses((status = 200, body = ThingView), (status = 404, body = Problem)))]
async fn one(
    State(watch): State<Arc<Watch>>,
    caller: Caller,
    Path(code): Path<String>,
) -> HttpResult<Json<ThingView>> {
    let at = watch.registry.position(&code).ok_or_else(|| Problem::not_found("thing"))?;
    let thing = &watch.registry.things()[at];
    if !caller.sees(&thing.area) {
        return Err(Problem::not_found("thing"));
    }
    Ok(Json(watch.view(at, thing)))
}
