//! `/api/v1/datastreams/{key}/aggregate`: a curve in steps, with its gaps filled as asked.

use axum::extract::{Path, State};
use lake::query::{Fill, Steps};
use model::{DatastreamKey, IsoDuration, Micros};
use platform::http::{Access, Api, Caller, HttpResult, Json, Problem, Query};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::Questions;
use super::problem::problem;

/// The most steps of one answer.
const MAX_POINTS: i64 = 20_000;
/// About so many there are when no step is asked for.
const POINTS: i64 = 300;

/// Steps that people read clocks by, in microseconds: second to day.
const ROUND: [i64; 16] = {
    let s = Micros::SECOND;
    let (m, h) = (60 * s, 3600 * s);
    [
        s,
        5 * s,
        10 * s,
        30 * s,
        m,
        2 * m,
        5 * m,
        10 * m,
        15 * m,
        30 * m,
        h,
        2 * h,
        3 * h,
        6 * h,
        12 * h,
        24 * h,
    ]
};

pub(super) fn routes() -> Api<Questions> {
    Api::new().add(Access::Permission("thing:read"), routes!(aggregate))
}

/// A datastream in steps.
#[derive(Debug, Serialize, ToSchema)]
struct Aggregate {
    /// The datastream.
    key: DatastreamKey,
    /// The unit, as UCUM writes it.
    unit: String,
    /// How many decimals are shown.
    decimals: u8,
    /// How long a step is.
    step_seconds: f64,
    /// `[time, mean, min, max, count]`, oldest first; a step without samples has null extremes.
    #[schema(value_type = Vec<(String, Option<f64>, Option<f64>, Option<f64>, u64)>)]
    points: Vec<(Micros, Option<f64>, Option<f64>, Option<f64>, u64)>,
}

/// What to do with steps that have no sample.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum FillWord {
    /// Leave them out.
    #[default]
    None,
    /// Show them empty.
    Null,
    /// The mean of the step before.
    Previous,
    /// On the line between the steps on either side.
    Linear,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// From when on, RFC 3339; 24 hours ago when absent.
    #[param(value_type = Option<String>)]
    from: Option<Micros>,
    /// Until before when, RFC 3339; now when absent.
    #[param(value_type = Option<String>)]
    to: Option<Micros>,
    /// How long a step is, an ISO 8601 duration: `PT5M`; about 300 steps when absent. Steps of
    /// a day begin at midnight of the hub's time zone.
    #[param(value_type = Option<String>)]
    step: Option<IsoDuration>,
    /// What to do with steps that have no sample.
    #[param(inline)]
    fill: Option<FillWord>,
}

/// A datastream in steps: mean, smallest, greatest, count.
#[utoipa::path(get, path = "/api/v1/datastreams/{key}/aggregate", tag = "things",
    params(("key" = i32, Path), Asked),
    responses((status = 200, body = Aggregate), (status = 404, body = Problem)))]
async fn aggregate(
    State(questions): State<Questions>,
    caller: Caller,
    Path(key): Path<String>,
    Query(asked): Query<Asked>,
) -> HttpResult<Json<Aggregate>> {
    let key = DatastreamKey(key.parse().map_err(|_| Problem::not_found("datastream"))?);
    let registry = questions.rooms.watch.registry();
    let (_, thing, stream) = registry.by_key(key).ok_or_else(|| Problem::not_found("datastream"))?;
    if !caller.sees(&thing.area) {
        return Err(Problem::not_found("datastream"));
    }
    let now = store::now();
    let from = asked.from.unwrap_or_else(|| now.plus(-Micros::DAY));
    let to = asked.to.unwrap_or(now);
    let span = to.0.saturating_sub(from.0).max(0);
    let step = asked.step.map_or_else(|| readable(span), |step| step.0);
    if step <= 0 || span / step > MAX_POINTS {
        return Err(Problem::bad_request(format!(
            "step: that are more than {MAX_POINTS} steps; take a wider step or a shorter time"
        )));
    }
    let fill = match asked.fill.unwrap_or_default() {
        FillWord::None => Fill::None,
        FillWord::Null => Fill::Null,
        FillWord::Previous => Fill::Previous,
        FillWord::Linear => Fill::Linear,
    };
    let origin = midnight(from, questions.rooms.store.time_zone());
    let steps = Steps { keys: vec![key], from, to, step, origin, fill };
    let found = questions.engine.steps(&steps).await.map_err(problem)?;
    let points = found.into_iter().flatten().map(|s| (s.time, s.mean, s.min, s.max, s.count)).collect();
    Ok(Json(Aggregate {
        key,
        unit: stream.unit.clone(),
        decimals: stream.decimals,
        #[expect(clippy::cast_precision_loss, reason = "a step is far below 285 years")]
        step_seconds: step as f64 / 1e6,
        points,
    }))
}

/// The shortest round step that gives no more than about [`POINTS`].
fn readable(span: i64) -> i64 {
    let least = span / POINTS;
    ROUND.into_iter().find(|step| *step >= least).unwrap_or_else(|| (least / Micros::DAY + 1) * Micros::DAY)
}

/// The midnight before `at` in a time zone.
fn midnight(at: Micros, zone: &jiff::tz::TimeZone) -> Micros {
    let day = at.timestamp().to_zoned_datetime(zone.clone()).start_of_day();
    day.map_or(Micros(0), |day| Micros(day.timestamp().as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_without_being_asked_for_is_one_that_clocks_show() {
        for (span, expected) in [
            (0, Micros::SECOND),
            (Micros::HOUR, 30 * Micros::SECOND),
            (Micros::DAY, 5 * Micros::MINUTE),
            (30 * Micros::DAY, 3 * Micros::HOUR),
            (3000 * Micros::DAY, 11 * Micros::DAY),
        ] {
            assert_eq!(readable(span), expected, "{span}");
        }
    }
}
