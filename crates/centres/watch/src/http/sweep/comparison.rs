//! A sweep beside an earlier one.

use std::sync::Arc;

use axum::extract::{Path, State};
use model::{Micros, Severity, Text};
use platform::http::{Access, Api, Caller, HttpResult, Json, Problem, Query};
use serde::{Deserialize, Serialize};
use store::args;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::Sweep;
use crate::sweep::{Sweeps, Verdict};

store::statements! {
    BEFORE = "SELECT number FROM sweeps WHERE area = $1 AND type = $2 AND datastream = $3 AND state <> 'running'
        AND repeats IS NULL AND started_at < $4 ORDER BY started_at DESC LIMIT 1";
    CHANGES = "SELECT b.verdict, a.verdict, COUNT(*) FROM sweep_rows a
        JOIN sweep_rows b ON b.sweep = $2 AND b.thing = a.thing WHERE a.sweep = $1
        GROUP BY b.verdict, a.verdict ORDER BY b.verdict, a.verdict";
    COMPARE = "SELECT a.thing AS thing, a.thing_zh AS thing_zh, a.thing_en AS thing_en, a.place_zh AS place_zh,
        a.place_en AS place_en, a.verdict AS verdict, a.severity AS severity, a.value AS value,
        a.measured_at AS measured_at, b.verdict AS verdict_before, b.severity AS severity_before,
        b.value AS value_before, b.measured_at AS measured_before
        FROM sweep_rows a JOIN sweep_rows b ON b.sweep = $2 AND b.thing = a.thing
        WHERE a.sweep = $1 AND a.thing > $3
        AND ($4 = 1 OR a.verdict <> b.verdict OR COALESCE(a.severity, 0) <> COALESCE(b.severity, 0))
        ORDER BY a.thing LIMIT $5";
}

pub(super) fn routes() -> Api<Arc<Sweeps>> {
    Api::new().add(Access::Permission("sweep:read"), routes!(comparison))
}

/// How a device stood in one sweep.
#[derive(Debug, Serialize, ToSchema)]
struct SweepStand {
    /// What its answer, or its silence, meant.
    verdict: Verdict,
    /// The gravest threshold that the value broke.
    severity: Option<Severity>,
    /// The value.
    value: Option<f64>,
    /// When it held.
    measured_at: Option<Micros>,
}

/// A device in both sweeps.
#[derive(Debug, Serialize, ToSchema)]
struct SweepDifference {
    /// The code of the thing.
    thing: String,
    /// What it is called.
    name: Text,
    /// Where it is, in words.
    place: Text,
    /// In the earlier sweep.
    before: SweepStand,
    /// In this one.
    after: SweepStand,
}

/// How many went from one verdict to another.
#[derive(Debug, Serialize, ToSchema)]
struct SweepChange {
    /// In the earlier sweep.
    before: Verdict,
    /// In this one.
    after: Verdict,
    /// How many devices.
    things: u64,
}

/// A sweep beside an earlier one.
#[derive(Debug, Serialize, ToSchema)]
struct SweepComparison {
    /// The earlier one; nothing when there is none to compare with.
    before: Option<Sweep>,
    /// All devices of both, by what they were and became.
    changes: Vec<SweepChange>,
    /// Devices that stand otherwise, by code.
    items: Vec<SweepDifference>,
    next: Option<String>,
}

#[derive(sqlx::FromRow)]
struct Row {
    thing: String,
    thing_zh: String,
    thing_en: String,
    place_zh: String,
    place_en: String,
    verdict: String,
    severity: Option<i64>,
    value: Option<f64>,
    measured_at: Option<i64>,
    verdict_before: String,
    severity_before: Option<i64>,
    value_before: Option<f64>,
    measured_before: Option<i64>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// The number of the earlier sweep. When absent: the one it repeats, or else the last of the
    /// same area, type and datastream.
    with: Option<String>,
    /// Every device of both, not only those that stand otherwise.
    all: Option<bool>,
    /// Rows a page, 1 to 500; 50 when absent.
    limit: Option<i64>,
    /// What the page before gave as `next`.
    after: Option<String>,
}

fn stand(verdict: &str, severity: Option<i64>, value: Option<f64>, measured_at: Option<i64>) -> SweepStand {
    SweepStand {
        verdict: Verdict::from_name(verdict).unwrap_or_default(),
        severity: severity.and_then(Severity::from_rank),
        value,
        measured_at: measured_at.map(Micros),
    }
}

/// The sweep beside the one before it: what has changed.
#[utoipa::path(get, path = "/api/v1/sweeps/{number}/comparison", tag = "sweeps",
    params(("number" = String, Path), Asked),
    responses((status = 200, body = SweepComparison), (status = 404, body = Problem)))]
async fn comparison(
    State(sweeps): State<Arc<Sweeps>>,
    caller: Caller,
    Path(number): Path<String>,
    Query(asked): Query<Asked>,
) -> HttpResult<Json<SweepComparison>> {
    let sweep = sweeps.seen(&caller, &number).await?;
    let read = sweeps.watch.store.read();
    let earlier = match (asked.with, &sweep.repeats) {
        (Some(with), _) => Some(with),
        (None, Some(repeats)) => Some(repeats.clone()),
        (None, None) => {
            let scope = args![sweep.area.path.as_str(), &sweep.r#type, &sweep.datastream, sweep.started_at];
            read.opt::<(String,)>(BEFORE, scope).await?.map(|(number,)| number)
        }
    };
    let Some(earlier) = earlier else {
        let (changes, items) = (Vec::new(), Vec::new());
        return Ok(Json(SweepComparison { before: None, changes, items, next: None }));
    };
    let before = sweeps.seen(&caller, &earlier).await?;
    let changes: Vec<(String, String, i64)> = read.all(CHANGES, args![sweep.id, before.id]).await?;
    let changes = changes.into_iter().map(|(before, after, things)| SweepChange {
        before: Verdict::from_name(&before).unwrap_or_default(),
        after: Verdict::from_name(&after).unwrap_or_default(),
        things: u64::try_from(things).unwrap_or(0),
    });
    let limit = asked.limit.unwrap_or(50).clamp(1, store::filter::LARGEST_PAGE);
    let all = asked.all == Some(true);
    let after = asked.after.unwrap_or_default();
    let mut rows: Vec<Row> = read.all(COMPARE, args![sweep.id, before.id, after, all, limit + 1]).await?;
    let more = rows.len() as i64 > limit;
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next = rows.last().filter(|_| more).map(|row| row.thing.clone());
    let items = rows.into_iter().map(|row| SweepDifference {
        before: stand(&row.verdict_before, row.severity_before, row.value_before, row.measured_before),
        after: stand(&row.verdict, row.severity, row.value, row.measured_at),
        thing: row.thing,
        name: Text::new(row.thing_zh, row.thing_en),
        place: Text::new(row.place_zh, row.place_en),
    });
    let (changes, items) = (changes.collect(), items.collect());
    Ok(Json(SweepComparison { before: Some(before), changes, items, next }))
}
