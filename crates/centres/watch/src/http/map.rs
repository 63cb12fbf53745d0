//! `/api/v1/map/things`: every thing of an area in as few bytes as the map needs.

use std::sync::Arc;

use axum::extract::State;
use model::{AreaPath, DatastreamKey, Micros, Severity, Text};
use platform::http::{Access, Api, Caller, HttpResult, Json, Problem, Query};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::{ThingState, Watch};

/// The most things one answer holds.
const MOST: usize = 20_000;

pub(super) fn routes() -> Api<Arc<Watch>> {
    Api::new().add(Access::Permission("thing:read"), routes!(all))
}

/// The things of an area that have a place on the map.
#[derive(Debug, Serialize, ToSchema)]
pub struct MapThings {
    /// Of which moment.
    pub at: Micros,
    /// The things, by code.
    pub items: Vec<MapThing>,
}

/// A thing on the map, with the last value of its first datastream.
#[derive(Debug, Serialize, ToSchema)]
pub struct MapThing {
    /// Its code.
    pub code: String,
    /// The key of its first datastream; none measures nothing.
    pub key: Option<DatastreamKey>,
    /// What it is called.
    pub name: Text,
    /// Longitude, WGS-84.
    pub lon: f64,
    /// Latitude, WGS-84.
    pub lat: f64,
    /// The path of its area.
    pub area: AreaPath,
    /// On which floor it is, for one indoors.
    pub floor: Option<i64>,
    /// `indoor` or `outdoor`, where that is known.
    pub siting: Option<String>,
    /// How it stands.
    pub state: ThingState,
    /// The gravest of its unresolved alerts.
    pub severity: Option<Severity>,
    /// The last value.
    pub value: Option<f64>,
    /// Its unit.
    pub unit: String,
    /// When it held.
    pub time: Option<Micros>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// Only things in this area (a path).
    area: Option<String>,
}

/// Things for the map.
#[utoipa::path(get, path = "/api/v1/map/things", tag = "things", params(Asked),
    responses((status = 200, body = MapThings), (status = 413, body = Problem)))]
async fn all(
    State(watch): State<Arc<Watch>>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> HttpResult<Json<MapThings>> {
    let scope = caller.scope();
    let area = super::area(asked.area.as_deref())?;
    let shown: Vec<_> = watch
        .registry
        .things()
        .iter()
        .enumerate()
        .filter(|(_, t)| super::is_shown(&scope, area.as_ref(), &t.area))
        .filter_map(|(at, t)| Some((at, t, t.location?)))
        .take(MOST + 1)
        .collect();
    if shown.len() > MOST {
        return Err(Problem::too_large(format!(
            "the area has more than {MOST} things; ask for a smaller one"
        )));
    }
    let keys: Vec<_> = shown
        .iter()
        .map(|(_, t, _)| t.datastreams.first().map_or(DatastreamKey(0), |(key, _)| *key))
        .collect();
    let last = watch.lake.last_many(&keys);
    let items = shown.into_iter().zip(last).map(|((at, thing, [lon, lat]), last)| {
        let (state, severity) = watch.standing.of(at);
        let first = thing.datastreams.first();
        MapThing {
            code: thing.code.clone(),
            key: first.map(|(key, _)| *key),
            name: thing.name.clone(),
            lon,
            lat,
            area: thing.area.clone(),
            floor: thing.properties.get("floor").and_then(Value::as_i64),
            siting: thing.text("siting").map(str::to_owned),
            state,
            severity,
            value: last.map(|p| p.value),
            unit: first.map_or_else(String::new, |(_, place)| thing.kind.datastreams[*place].unit.clone()),
            time: last.map(|p| p.time),
        }
    });
    Ok(Json(MapThings { at: store::now(), items: items.collect() }))
}
