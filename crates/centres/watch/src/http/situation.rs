//! `/api/v1/situation`: an area at a glance (一张图).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use model::{Micros, Severity, Text};
use platform::AreaRef;
use platform::http::{Access, Api, Caller, HttpResult, Json, Problem, Query};
use serde::{Deserialize, Serialize};
use store::{Filter, Order, Select, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::{ThingState, Watch};

/// The most alerts a count looks at.
const MOST: i64 = 200_000;

pub(super) fn routes() -> Api<Arc<Watch>> {
    Api::new().add(Access::Permission("situation:read"), routes!(situation))
}

/// An area at a glance.
#[derive(Debug, Serialize, ToSchema)]
pub struct Situation {
    /// Of which moment.
    pub at: Micros,
    /// Of which area.
    pub area: AreaRef,
    /// How its things stand.
    pub things: ThingCounts,
    /// Its alerts.
    pub alerts: AlertCounts,
    /// How many alerts opened, by hour of the clock; the last one is the present hour.
    pub hours: Vec<Hour>,
    /// Unresolved alerts by rule, the most first.
    pub by_rule: Vec<RuleCount>,
}

/// How many things stand how.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct ThingCounts {
    total: u64,
    normal: u64,
    alert: u64,
    offline: u64,
    unknown: u64,
}

/// How many alerts there are.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct AlertCounts {
    /// Unresolved ones by severity.
    open: SeverityCounts,
    /// Unresolved ones that nobody acknowledged.
    unacknowledged: u64,
    /// Opened in the last 60 minutes.
    opened_last_hour: u64,
    /// Opened in the 60 minutes before.
    opened_previous_hour: u64,
}

/// A count a severity.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct SeverityCounts {
    red: u64,
    orange: u64,
    yellow: u64,
    blue: u64,
}

/// One hour of the clock.
#[derive(Debug, Serialize, ToSchema)]
pub struct Hour {
    /// When it begins.
    start: Micros,
    /// How many alerts opened in it.
    opened: u64,
    /// And in the same hour of the day before.
    opened_day_before: u64,
}

/// One rule.
#[derive(Debug, Serialize, ToSchema)]
pub struct RuleCount {
    /// The rule.
    rule: String,
    /// What its alerts are called.
    title: Text,
    /// How many are unresolved.
    open: u64,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// The area (a path); the widest the caller sees when absent.
    area: Option<String>,
}

/// An area at a glance.
#[utoipa::path(get, path = "/api/v1/situation", tag = "situation", params(Asked),
    responses((status = 200, body = Situation), (status = 404, body = Problem)))]
async fn situation(
    State(watch): State<Arc<Watch>>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> HttpResult<Json<Situation>> {
    let scope = caller.scope();
    let path = super::area(asked.area.as_deref())?
        .or_else(|| scope.iter().min_by_key(|p| p.as_str().len()).cloned())
        .ok_or_else(|| Problem::not_found("area"))?;
    // An area above one's own is shown as far as one sees into it.
    if !scope.iter().any(|s| path.is_in(s) || s.is_in(&path)) {
        return Err(Problem::not_found("area"));
    }
    let area = watch.platform.areas().get(&path).ok_or_else(|| Problem::not_found("area"))?;
    let now = store::now();
    let filter = super::shown(&caller, Some(path.clone()));

    let mut things = ThingCounts::default();
    for (at, _) in watch
        .registry
        .things()
        .iter()
        .enumerate()
        .filter(|(_, t)| super::is_shown(&scope, Some(&path), &t.area))
    {
        things.total += 1;
        match watch.standing.of(at).0 {
            ThingState::Normal => things.normal += 1,
            ThingState::Alert => things.alert += 1,
            ThingState::Offline => things.offline += 1,
            ThingState::Unknown => things.unknown += 1,
        }
    }

    let unresolved = Select {
        head: "SELECT severity, state, rule, title_zh, title_en FROM alerts",
        filter: filter.clone().and(Filter::Below("sort", Value::from(20i64))),
        order: vec![Order::Up("sort")],
    };
    let rows: Vec<(i64, String, String, String, String)> = watch.store.select(&unresolved, MOST).await?;
    let mut alerts = AlertCounts::default();
    let mut by_rule: BTreeMap<String, RuleCount> = BTreeMap::new();
    for (severity, state, rule, zh, en) in rows {
        match Severity::from_rank(severity) {
            Some(Severity::Red) => alerts.open.red += 1,
            Some(Severity::Orange) => alerts.open.orange += 1,
            Some(Severity::Yellow) => alerts.open.yellow += 1,
            _ => alerts.open.blue += 1,
        }
        alerts.unacknowledged += u64::from(state == "open");
        by_rule
            .entry(rule.clone())
            .or_insert_with(|| RuleCount { rule, title: Text::new(zh, en), open: 0 })
            .open += 1;
    }

    // Hours of the clock are whole hours of UTC in every zone the hub is used in (+08:00).
    let this_hour = now.0 - now.0.rem_euclid(Micros::HOUR);
    let first = this_hour - 47 * Micros::HOUR;
    let recent = Select {
        head: "SELECT opened_at FROM alerts",
        filter: filter.and(Filter::AtLeast("opened_at", Value::from(first))),
        order: vec![Order::Down("opened_at")],
    };
    let rows: Vec<(i64,)> = watch.store.select(&recent, MOST).await?;
    let mut opened = [0u64; 48];
    for (at,) in rows {
        let age = now.0 - at;
        alerts.opened_last_hour += u64::from((0..Micros::HOUR).contains(&age));
        alerts.opened_previous_hour += u64::from((Micros::HOUR..2 * Micros::HOUR).contains(&age));
        let slot = usize::try_from((at - first) / Micros::HOUR).unwrap_or_default();
        opened[slot.min(47)] += 1;
    }
    let hours = (24..48).map(|slot| Hour {
        start: Micros(first + slot as i64 * Micros::HOUR),
        opened: opened[slot],
        opened_day_before: opened[slot - 24],
    });
    let hours = hours.collect();
    let mut by_rule: Vec<_> = by_rule.into_values().collect();
    by_rule.sort_by_key(|r| std::cmp::Reverse(r.open));
    Ok(Json(Situation { at: now, area, things, alerts, hours, by_rule }))
}
