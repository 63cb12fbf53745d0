//! Alerts (告警) as rows: what the rules and the cases do to them.
//!
//! An alert is one rule broken on one datastream from opening to resolution. Its key is (rule,
//! datastream, opening), so that judging the same samples again after a crash opens nothing twice.
//!
//! Events, each with `id`, `number`, `rule`, `thing`, `severity`, `value` and `at`: `alert.opened`
//! (with all that a binding or a page needs besides), `alert.changed`, `alert.acknowledged`,
//! `alert.resolved`.

use std::sync::Arc;

use model::{AreaPath, DatastreamKey, Event, Id, Micros, Severity, Text};
use rules::Effect;
use serde_json::json;
use store::{StoreError, Tx, Value, args, new_id};

use crate::registry::Thing;

// `sort` is the order of every list of alerts: open red 1, acknowledged red 2 (a known fire still
// burns), then open orange to blue 3 to 5, acknowledged orange to blue 12 to 14, resolved 20.
store::statements! {
    OPEN = "INSERT INTO alerts (id, number, rule, datastream, opened_at, title_zh, title_en, thing, thing_zh, thing_en,
        area, place_zh, place_en, lon, lat, unit, value, severity, peak, state, offline, sort)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $18, 'open', $19, $20)
        ON CONFLICT (rule, datastream, opened_at) DO NOTHING RETURNING id";
    IS_OPEN = "SELECT id FROM alerts WHERE rule = $1 AND datastream = $2 AND opened_at = $3";
    CHANGE = "UPDATE alerts SET severity = $4, peak = CASE WHEN peak > $4 THEN $4 ELSE peak END,
        sort = CASE WHEN $4 = 1 AND state = 'open' THEN 1 WHEN $4 = 1 THEN 2 WHEN state = 'open' THEN 1 + $4 ELSE 10 + $4 END
        WHERE rule = $1 AND datastream = $2 AND opened_at = $3 AND state <> 'resolved' AND severity <> $4
        RETURNING id, number, thing, area, severity";
    RESOLVE = "UPDATE alerts SET state = 'resolved', resolved_at = $4, sort = 20
        WHERE rule = $1 AND datastream = $2 AND opened_at = $3 AND state <> 'resolved'
        RETURNING id, number, thing, area, severity";
    ACKNOWLEDGE = "UPDATE alerts SET acknowledged_at = $2, acknowledged_by = $3,
        sort = CASE WHEN state <> 'open' THEN sort WHEN severity = 1 THEN 2 ELSE 10 + severity END,
        state = CASE WHEN state = 'open' THEN 'acknowledged' ELSE state END
        WHERE id = $1 AND acknowledged_at IS NULL
        RETURNING id, number, thing, area, severity, rule, value";
    HAS_ALERT = "SELECT id FROM alerts WHERE id = $1";
    JUDGED = "INSERT INTO judged (partition, segment, rule_version, at) VALUES (0, $1, $2, $3)
        ON CONFLICT (partition) DO UPDATE
        SET segment = excluded.segment, rule_version = excluded.rule_version, at = excluded.at";
    JUDGED_TO = "SELECT segment, rule_version FROM judged WHERE partition = 0";
    PUT_DOWN = "INSERT INTO judge_state (partition, segment, state, at) VALUES (0, $1, $2, $3)
        ON CONFLICT (partition) DO UPDATE
        SET segment = excluded.segment, state = excluded.state, at = excluded.at";
    STATE = "SELECT segment, state FROM judge_state WHERE partition = 0";
    UNRESOLVED = "SELECT rule, datastream, opened_at, severity, offline FROM alerts WHERE state <> 'resolved'";
}

const ADD_CHANGES: &str =
    "INSERT INTO alert_changes (id, alert, at, kind, severity, value, by_name, text_zh, text_en)";

/// What an alert that opens is written with.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    pub(crate) id: Id,
    pub(crate) title: Text,
    pub(crate) thing: Thing,
    pub(crate) unit: String,
    pub(crate) offline: bool,
}

/// An effect of the rules, with what opening needs besides.
#[derive(Clone, Debug)]
pub(crate) struct Move {
    pub(crate) effect: Effect,
    pub(crate) opening: Option<Box<Opening>>,
}

/// What one command of the judge writes.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) moves: Vec<Move>,
    /// Up to which segment everything is judged once this is committed.
    pub(crate) judged: Option<(u64, String)>,
}

#[derive(sqlx::FromRow)]
struct Touched {
    id: Id,
    number: String,
    thing: String,
    area: String,
    severity: i64,
}

/// Key of an alert, as parameters.
fn key(rule: &Arc<str>, datastream: DatastreamKey, opened_at: Micros) -> Vec<Value> {
    args![&**rule, datastream, opened_at]
}

fn path(text: &str) -> Result<AreaPath, StoreError> {
    AreaPath::parse(text).map_err(|e| StoreError::Document(e.to_string()))
}

fn colour(rank: i64) -> Severity {
    Severity::from_rank(rank).unwrap_or(Severity::Blue)
}

/// A row of `alert_changes`.
fn change(alert: Id, at: Micros, kind: &str, severity: Option<Severity>, value: Option<f64>) -> Vec<Value> {
    args![new_id(), alert, at, kind, severity, value, None::<String>, None::<String>, None::<String>]
}

/// Writes a verdict: alerts, their changes, events and the watermark. Doing it twice does it once.
pub(crate) async fn write(tx: &mut Tx<'_>, verdict: &Verdict) -> Result<(), StoreError> {
    tx.bookkeeping();
    let mut changes = Vec::new();
    let mut numbers = Vec::new();
    for Move { effect, opening } in &verdict.moves {
        match (effect, opening) {
            (Effect::Open { rule, datastream, opened_at, severity, value }, Some(opening)) => {
                if tx.opt::<(Id,)>(IS_OPEN, key(rule, *datastream, *opened_at)).await?.is_some() {
                    continue;
                }
                let number = tx.next_number("alert").await?;
                let area =
                    open(tx, opening, &number, (rule, *datastream, *opened_at), *severity, *value).await?;
                changes.push(change(opening.id, *opened_at, "opened", Some(*severity), *value));
                tx.event(
                    "alert.opened",
                    &area,
                    &opened(opening, &number, (rule, *datastream, *opened_at), *severity, *value),
                );
                numbers.push(number);
            }
            (Effect::Open { .. }, None) => {}
            (Effect::Change { rule, datastream, opened_at, severity, value, at }, _) => {
                let mut bound = key(rule, *datastream, *opened_at);
                bound.push(Value::from(*severity));
                let Some(row) = tx.opt::<Touched>(CHANGE, bound).await? else { continue };
                changes.push(change(row.id, *at, "severity", Some(*severity), *value));
                tell(tx, "alert.changed", &row, rule, *value, *at)?;
                numbers.push(row.number);
            }
            (Effect::Resolve { rule, datastream, opened_at, at, value }, _) => {
                let mut bound = key(rule, *datastream, *opened_at);
                bound.push(Value::from(*at));
                let Some(row) = tx.opt::<Touched>(RESOLVE, bound).await? else { continue };
                changes.push(change(row.id, *at, "resolved", Some(colour(row.severity)), *value));
                tell(tx, "alert.resolved", &row, rule, *value, *at)?;
                numbers.push(row.number);
            }
        }
    }
    if !changes.is_empty() {
        tx.insert_many(ADD_CHANGES, "", 9, changes).await?;
        tx.detail(json!({ "alerts": numbers }));
    }
    if let Some((segment, version)) = &verdict.judged {
        let now = tx.now;
        tx.execute(JUDGED, args![i64::try_from(*segment).unwrap_or(i64::MAX), version, now]).await?;
    }
    Ok(())
}

async fn open(
    tx: &mut Tx<'_>,
    opening: &Opening,
    number: &str,
    (rule, datastream, opened_at): (&Arc<str>, DatastreamKey, Micros),
    severity: Severity,
    value: Option<f64>,
) -> Result<AreaPath, StoreError> {
    let Opening { id, title, thing, unit, offline } = opening;
    let bound = args![
        id,
        number,
        &**rule,
        datastream,
        opened_at,
        &title.zh,
        &title.en,
        &thing.code,
        &thing.name.zh,
        &thing.name.en,
        &thing.area,
        &thing.place.zh,
        &thing.place.en,
        thing.location.map(|l| l[0]),
        thing.location.map(|l| l[1]),
        unit,
        value,
        severity,
        *offline,
        if severity == Severity::Red { 1 } else { 1 + severity.rank() }
    ];
    tx.all::<(Id,)>(OPEN, bound).await?;
    Ok(thing.area.clone())
}

fn opened(
    opening: &Opening,
    number: &str,
    (rule, datastream, opened_at): (&Arc<str>, DatastreamKey, Micros),
    severity: Severity,
    value: Option<f64>,
) -> serde_json::Value {
    let Opening { id, title, thing, unit, .. } = opening;
    json!({
        "id": id,
        "number": number,
        "rule": &**rule,
        "title": title,
        "thing": thing.code,
        "thing_name": thing.name,
        "thing_type": thing.kind.name,
        "datastream": datastream,
        "area": thing.area,
        "place": thing.place,
        "location": thing.location,
        "public": thing.public,
        "properties": thing.properties,
        "severity": severity,
        "value": value,
        "unit": unit,
        "opened_at": opened_at,
        "at": opened_at,
    })
}

fn tell(
    tx: &mut Tx<'_>,
    kind: &str,
    row: &Touched,
    rule: &str,
    value: Option<f64>,
    at: Micros,
) -> Result<(), StoreError> {
    let data = json!({
        "id": row.id,
        "number": row.number,
        "rule": rule,
        "thing": row.thing,
        "severity": colour(row.severity),
        "value": value,
        "at": at,
    });
    tx.event(kind, &path(&row.area)?, &data);
    Ok(())
}

#[derive(sqlx::FromRow)]
struct Acknowledged {
    id: Id,
    number: String,
    thing: String,
    area: String,
    severity: i64,
    rule: String,
    value: Option<f64>,
}

/// What cases do to alerts: `case.acknowledged` `{alerts: [ids], by: name}` acknowledges them,
/// `case.closed` `{alerts: [ids], number, outcome}` leaves a note. Runs in the subscriber's
/// command, so that each event acts once.
pub(crate) async fn follow_cases(tx: &mut Tx<'_>, events: &[Event]) -> Result<(), StoreError> {
    let mut changes = Vec::new();
    for event in events {
        let alerts = event.data.get("alerts").and_then(|a| a.as_array()).cloned().unwrap_or_default();
        let alerts = alerts.iter().filter_map(|a| a.as_str()).filter_map(|a| a.parse::<Id>().ok());
        let text = |name: &str| event.data.get(name).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
        match event.kind.as_str() {
            "case.acknowledged" => {
                let by = text("by");
                for alert in alerts {
                    let bound = args![alert, event.at, &by];
                    let Some(row) = tx.opt::<Acknowledged>(ACKNOWLEDGE, bound).await? else { continue };
                    let severity = colour(row.severity);
                    changes.push(args![
                        new_id(),
                        row.id,
                        event.at,
                        "acknowledged",
                        severity,
                        None::<f64>,
                        &by,
                        None::<String>,
                        None::<String>
                    ]);
                    let data = json!({
                        "id": row.id,
                        "number": row.number,
                        "rule": row.rule,
                        "thing": row.thing,
                        "severity": severity,
                        "value": row.value,
                        "by": by,
                        "at": event.at,
                    });
                    tx.event("alert.acknowledged", &path(&row.area)?, &data);
                }
            }
            "case.closed" => {
                let number = text("number");
                let (zh, en) = (format!("工单 {number} 已结案"), format!("case {number} closed"));
                for alert in alerts {
                    if tx.opt::<(Id,)>(HAS_ALERT, args![alert]).await?.is_none() {
                        continue;
                    }
                    changes.push(args![
                        new_id(),
                        alert,
                        event.at,
                        "note",
                        None::<Severity>,
                        None::<f64>,
                        None::<String>,
                        &zh,
                        &en
                    ]);
                }
            }
            _ => {}
        }
    }
    if changes.is_empty() { Ok(()) } else { tx.insert_many(ADD_CHANGES, "", 9, changes).await }
}
