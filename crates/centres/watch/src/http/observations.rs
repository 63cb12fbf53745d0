//! `/api/v1/datastreams/{key}/observations`: the recent curve with its thresholds.

use std::sync::Arc;

use axum::extract::{Path, State};
use model::{DatastreamKey, Micros, Severity, Text};
use platform::http::{Access, Api, Caller, HttpResult, Json, Problem, Query};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::Watch;

pub(super) fn routes() -> Api<Arc<Watch>> {
    Api::new().add(Access::Permission("thing:read"), routes!(curve))
}

/// The recent curve of a datastream.
#[derive(Debug, Serialize, ToSchema)]
pub struct Curve {
    /// The datastream.
    pub key: DatastreamKey,
    /// The unit, as UCUM writes it.
    pub unit: String,
    /// How many decimals are shown.
    pub decimals: u8,
    /// `[time, value, quality]`, oldest first.
    #[schema(value_type = Vec<(String, f64, u8)>)]
    pub points: Vec<(Micros, f64, u8)>,
    /// What its rules compare with, mildest first.
    pub thresholds: Vec<ThresholdView>,
}

/// A threshold.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Threshold)]
pub struct ThresholdView {
    /// What an alert below it is.
    pub severity: Severity,
    /// The threshold, in the datastream's unit.
    pub below: f64,
    /// From which value on it is clear again.
    pub clear_above: f64,
    /// What it is called.
    pub label: Text,
}

impl Watch {
    pub(super) fn threshold_views(&self, key: DatastreamKey) -> Vec<ThresholdView> {
        let views = self.thresholds(key).into_iter().map(|t| ThresholdView {
            severity: t.severity,
            below: t.below,
            clear_above: t.clear_above,
            label: t.label,
        });
        views.collect()
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// From when on, RFC 3339; 24 hours ago when absent.
    #[param(value_type = Option<String>)]
    from: Option<Micros>,
    /// Until when, RFC 3339; now when absent.
    #[param(value_type = Option<String>)]
    to: Option<Micros>,
    /// At most so many, the newest; 5000 when absent, 20000 at most.
    limit: Option<usize>,
}

/// The recent curve.
#[utoipa::path(get, path = "/api/v1/datastreams/{key}/observations", tag = "things",
    params(("key" = i32, Path), Asked),
    responses((status = 200, body = Curve), (status = 404, body = Problem)))]
async fn curve(
    State(watch): State<Arc<Watch>>,
    caller: Caller,
    Path(key): Path<String>,
    Query(asked): Query<Asked>,
) -> HttpResult<Json<Curve>> {
    let key = DatastreamKey(key.parse().map_err(|_| Problem::not_found("datastream"))?);
    let (_, thing, stream) = watch.registry.by_key(key).ok_or_else(|| Problem::not_found("datastream"))?;
    if !caller.sees(&thing.area) {
        return Err(Problem::not_found("datastream"));
    }
    let now = store::now();
    let from = asked.from.unwrap_or_else(|| now.plus(-Micros::DAY));
    // A device's clock may be a little ahead of ours.
    let to = asked.to.unwrap_or_else(|| now.plus(model::observation::FUTURE_TOLERANCE_MICROS));
    let limit = asked.limit.unwrap_or(5000).clamp(1, 20_000);
    let points =
        watch.lake.curve(key, from, to, limit).await.map_err(|e| Problem::unavailable(e.to_string()))?;
    let points = points.into_iter().map(|p| (p.time, p.value, p.quality)).collect();
    Ok(Json(Curve {
        key,
        unit: stream.unit.clone(),
        decimals: stream.decimals,
        points,
        thresholds: watch.threshold_views(key),
    }))
}
