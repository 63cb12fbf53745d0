//! Cases as rows: reading, starting, joining, closing.

use std::sync::Arc;

use model::{AreaLevel, AreaPath, Event, Id, Micros, Severity, Text};
use platform::message::fill;
use platform::notice;
use process::{Instance, Outcome};
use serde_json::{Map, Value, json};
use store::{StoreError, args, new_id};

use crate::binding::{Binding, OnResolved};
use crate::definition::Loaded;
use crate::notify;
use crate::run::Run;
use crate::timeline::Entry;

pub(crate) const COLUMNS: &str =
    "SELECT id, number, process, version, rule, correlation, title_zh, title_en, area, place_zh, place_en,
    location, severity, state, outcome, opened_at, closed_at, due_at, messages, instance FROM cases";

store::statements! {
    ONE = "SELECT id, number, process, version, rule, correlation, title_zh, title_en, area, place_zh, place_en,
        location, severity, state, outcome, opened_at, closed_at, due_at, messages, instance FROM cases WHERE id = $1";
    BY_NUMBER = "SELECT id, number, process, version, rule, correlation, title_zh, title_en, area, place_zh, place_en,
        location, severity, state, outcome, opened_at, closed_at, due_at, messages, instance FROM cases WHERE number = $1";
    OPEN_ONE = "SELECT id, number, process, version, rule, correlation, title_zh, title_en, area, place_zh, place_en,
        location, severity, state, outcome, opened_at, closed_at, due_at, messages, instance FROM cases
        WHERE process = $1 AND correlation = $2 AND closed = 0";
    ADD = "INSERT INTO cases (id, number, process, version, rule, correlation, title_zh, title_en, area, place_zh,
        place_en, location, severity, state, closed, outcome, opened_at, closed_at, due_at, messages, instance)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 'open', 0, NULL, $14, NULL, $15, '[]', $16)";
    SAVE = "UPDATE cases SET instance = $2, messages = $3, severity = $4, state = $5, closed = $6, outcome = $7,
        closed_at = $8 WHERE id = $1";
    RAISE_TASKS = "UPDATE tasks SET rank = $2 WHERE case_id = $1 AND state = 'open'";
    JOIN = "INSERT INTO case_alerts (case_id, alert, sort, severity, state, facts, joined_at)
        VALUES ($1, $2, (SELECT COUNT(*) FROM case_alerts WHERE case_id = $1), $3, $4, $5, $6)
        ON CONFLICT (case_id, alert) DO NOTHING";
    ALERTS = "SELECT case_id, alert, severity, state, facts FROM case_alerts WHERE case_id = $1 ORDER BY sort, alert";
    SIGNED_BY = "SELECT completed_by FROM tasks WHERE case_id = $1 AND element = $2 AND state = 'completed'
        ORDER BY completed_at LIMIT 1";
    OF_ALERT = "SELECT case_id, alert, severity, state, facts FROM case_alerts WHERE alert = $1";
    UPDATE_ALERT = "UPDATE case_alerts SET state = $2, severity = $3, facts = $4 WHERE alert = $1";
}

/// The rank of a case without a severity: after blue.
pub(crate) const NO_SEVERITY: i64 = 5;

/// A case's row.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct CaseRow {
    pub(crate) id: Id,
    pub(crate) number: String,
    pub(crate) process: String,
    pub(crate) version: i64,
    pub(crate) rule: String,
    pub(crate) correlation: String,
    pub(crate) title_zh: String,
    pub(crate) title_en: String,
    pub(crate) area: String,
    pub(crate) place_zh: String,
    pub(crate) place_en: String,
    pub(crate) location: Option<String>,
    pub(crate) severity: i64,
    pub(crate) state: String,
    pub(crate) outcome: Option<String>,
    pub(crate) opened_at: i64,
    pub(crate) closed_at: Option<i64>,
    pub(crate) due_at: Option<i64>,
    /// Messages that residents see now: alerts that join publish them too.
    pub(crate) messages: String,
    pub(crate) instance: String,
}

/// An alert of a case, as work heard of it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct CaseAlert {
    pub(crate) case_id: Id,
    pub(crate) alert: Id,
    pub(crate) severity: i64,
    pub(crate) state: String,
    pub(crate) facts: String,
}

impl CaseAlert {
    pub(crate) fn facts(&self) -> Result<Value, StoreError> {
        Ok(serde_json::from_str(&self.facts)?)
    }
}

/// A case being worked on inside a command.
pub(crate) struct Case {
    pub(crate) row: CaseRow,
    pub(crate) area: AreaPath,
    pub(crate) instance: Instance,
    pub(crate) messages: Vec<String>,
    pub(crate) loaded: Arc<Loaded>,
}

pub(crate) fn area(text: &str) -> Result<AreaPath, StoreError> {
    AreaPath::parse(text).map_err(|e| StoreError::Document(e.to_string()))
}

pub(crate) fn text_of(value: Option<&Value>) -> Text {
    value.and_then(|v| serde_json::from_value(v.clone()).ok()).unwrap_or_default()
}

fn rank(facts: &Value) -> i64 {
    facts
        .get("severity")
        .and_then(Value::as_str)
        .and_then(Severity::from_name)
        .map_or(NO_SEVERITY, Severity::rank)
}

pub(crate) fn str_of<'a>(facts: &'a Value, name: &str) -> &'a str {
    facts.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The id of the alert that facts speak of.
pub(crate) fn alert_id(facts: &Value) -> Result<Id, StoreError> {
    Id::parse_str(str_of(facts, "id")).map_err(|e| StoreError::Document(format!("the alert's id: {e}")))
}

impl Case {
    pub(crate) fn of(run: &Run<'_, '_>, row: CaseRow) -> Result<Self, StoreError> {
        let loaded = run.room.definitions.get(&row.process, row.version).cloned().ok_or_else(|| {
            StoreError::Document(format!(
                "case {}: version {} of process {:?} does not read",
                row.number, row.version, row.process
            ))
        })?;
        Ok(Self {
            area: area(&row.area)?,
            instance: serde_json::from_str(&row.instance)?,
            messages: serde_json::from_str(&row.messages)?,
            loaded,
            row,
        })
    }

    pub(crate) async fn load(run: &mut Run<'_, '_>, id: Id) -> Result<Option<Self>, StoreError> {
        let row: Option<CaseRow> = run.tx.opt(ONE, args![id]).await?;
        row.map(|row| Self::of(run, row)).transpose()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.row.state == "open"
    }

    /// Writes what changed.
    pub(crate) async fn save(&mut self, run: &mut Run<'_, '_>) -> Result<(), StoreError> {
        self.row.instance = serde_json::to_string(&self.instance)?;
        self.row.messages = serde_json::to_string(&self.messages)?;
        let r = &self.row;
        let values = args![
            r.id,
            &r.instance,
            &r.messages,
            r.severity,
            &r.state,
            r.state != "open",
            r.outcome.clone(),
            r.closed_at
        ];
        run.tx.execute(SAVE, values).await?;
        Ok(())
    }

    /// The alerts of the case, oldest first.
    pub(crate) async fn alerts(&self, run: &mut Run<'_, '_>) -> Result<Vec<CaseAlert>, StoreError> {
        run.tx.all(ALERTS, args![self.row.id]).await
    }

    /// The instance ended: the case is closed.
    pub(crate) async fn close(&mut self, run: &mut Run<'_, '_>, outcome: &Outcome) -> Result<(), StoreError> {
        let (state, word) = match outcome {
            Outcome::Completed { end, outcome } => ("closed", outcome.clone().unwrap_or_else(|| end.clone())),
            Outcome::Cancelled { reason } => ("cancelled", reason.clone()),
        };
        self.row.state = state.into();
        self.row.outcome = Some(word.clone());
        self.row.closed_at = Some(run.tx.now.0);
        run.drop_timers(self.row.id).await?;
        let alerts = self.alerts(run).await?;
        let restart = run.room.bindings.get(&self.row.rule).and_then(|b| b.on_case_closed.clone());
        if let Some(restart) = restart
            && alerts.iter().any(|a| a.state != "resolved")
        {
            let due = run.room.after(run.tx.now, restart.after);
            run.timer("restart", self.row.id, 0, "", 0, due).await?;
        }
        run.log(self.row.id, Entry::new("case.closed", Text::new("结案", "case closed")));
        let facts = json!({
            "id": self.row.id, "number": self.row.number, "outcome": word,
            "alerts": alerts.iter().map(|a| a.alert).collect::<Vec<_>>(),
        });
        run.tx.event("case.closed", &self.area, &facts);
        Ok(())
    }

    /// Another alert of the same cause.
    async fn join(&mut self, run: &mut Run<'_, '_>, facts: &Value, state: &str) -> Result<(), StoreError> {
        let now = run.tx.now;
        let signed = self.signed_by(run).await?.filter(|_| state == "open");
        let state = if signed.is_some() { "acknowledged" } else { state };
        let values = args![self.row.id, alert_id(facts)?, rank(facts), state, facts, now];
        if run.tx.execute(JOIN, values).await? == 0 {
            return Ok(());
        }
        let place = text_of(facts.get("place"));
        let number = str_of(facts, "number");
        let text = Text::new(
            format!("{}告警 {number} 并入本工单", place.zh),
            format!("alert {number} at {} joined the case", place.en),
        );
        run.log(self.row.id, Entry::new("alert.joined", text));
        if let Some(by) = signed {
            // The cause is in hand already: nobody will be asked to sign again.
            let told = json!({ "id": self.row.id, "number": self.row.number, "alerts": [alert_id(facts)?], "by": by });
            run.tx.event("case.acknowledged", &self.area, &told);
        }
        notify::joined(run, self, facts).await?;
        self.raise(run, rank(facts)).await?;
        self.save(run).await
    }

    /// Who signed (签收) the case, when somebody did.
    async fn signed_by(&self, run: &mut Run<'_, '_>) -> Result<Option<String>, StoreError> {
        let definition = &self.loaded.definition;
        let signs = definition.user_tasks().into_iter().map(|e| e.id.as_str()).find(|id| {
            self.instance.data.contains_key(*id) && definition.user_task(id).is_some_and(|t| t.acknowledge)
        });
        let Some(element) = signs else { return Ok(None) };
        let row: Option<(Option<String>,)> = run.tx.opt(SIGNED_BY, args![self.row.id, element]).await?;
        Ok(row.and_then(|(by,)| by))
    }

    /// The case is as grave as its gravest alert was.
    pub(crate) async fn raise(&mut self, run: &mut Run<'_, '_>, rank: i64) -> Result<(), StoreError> {
        if !self.is_open() || rank >= self.row.severity {
            return Ok(());
        }
        self.row.severity = rank;
        run.tx.execute(RAISE_TASKS, args![self.row.id, rank]).await?;
        let severity = Severity::from_rank(rank);
        let facts = json!({ "id": self.row.id, "number": self.row.number, "severity": severity });
        run.tx.event("case.changed", &self.area, &facts);
        // Residents read how grave it is now, not how it began.
        if let Some(severity) = severity {
            notice::raise(run.tx, &format!("case/{}/", self.row.id), severity).await?;
        }
        Ok(())
    }
}

/// An alert opened that a binding speaks of: it joins the open case of its cause, or starts one.
pub(crate) async fn open_or_join(
    run: &mut Run<'_, '_>,
    binding: &Binding,
    facts: &Value,
    state: &str,
) -> Result<(), StoreError> {
    let at = area(str_of(facts, "area"))?;
    let estate = run.room.platform.areas().at_level(&at, AreaLevel::Estate).map_or(at, |a| a.path);
    let correlation = binding.correlation(facts, estate.as_str());
    let open: Option<CaseRow> = run.tx.opt(OPEN_ONE, args![&binding.start, &correlation]).await?;
    match open {
        Some(row) => Case::of(run, row)?.join(run, facts, state).await,
        None => start(run, binding, correlation, facts, state).await,
    }
}

async fn start(
    run: &mut Run<'_, '_>,
    binding: &Binding,
    correlation: String,
    facts: &Value,
    state: &str,
) -> Result<(), StoreError> {
    let Some(loaded) = run.room.definitions.latest(&binding.start).cloned() else {
        return Err(StoreError::Document(format!(
            "rule {}: no process {:?} is installed",
            binding.rule, binding.start
        )));
    };
    let now = run.tx.now;
    let (id, number) = (new_id(), run.tx.next_number("case").await?);
    let at = area(str_of(facts, "area"))?;
    let place = text_of(facts.get("place"));
    let mut values = Map::new();
    values.insert("place".into(), json!(place));
    values.insert("thing".into(), facts.get("thing_name").cloned().unwrap_or_default());
    values.insert("alert".into(), json!(str_of(facts, "number")));
    let title = fill(&binding.title, &values);
    let pick = |names: &[&str]| -> Map<String, Value> {
        names.iter().filter_map(|n| Some(((*n).to_owned(), facts.get(*n)?.clone()))).collect()
    };
    let mut thing = pick(&["area", "place", "properties", "public", "location"]);
    thing.insert("code".into(), json!(str_of(facts, "thing")));
    thing.insert("name".into(), facts.get("thing_name").cloned().unwrap_or_default());
    let data = json!({
        "alert": pick(&["id", "number", "rule", "title", "severity", "value", "unit", "opened_at", "datastream", "thing"]),
        "thing": thing,
    });
    let (instance, effects) = Instance::start(&loaded.definition, data, now)
        .map_err(|e| StoreError::Document(format!("process {:?}: {e}", binding.start)))?;
    let due_at = loaded.definition.due().map(|d| run.room.after(now, d).0);
    let row = CaseRow {
        id,
        number: number.clone(),
        process: binding.start.clone(),
        version: loaded.version,
        rule: binding.rule.clone(),
        correlation,
        title_zh: title.zh.clone(),
        title_en: title.en.clone(),
        area: at.to_string(),
        place_zh: place.zh,
        place_en: place.en,
        location: facts.get("location").filter(|l| l.is_array()).map(ToString::to_string),
        severity: rank(facts),
        state: "open".into(),
        outcome: None,
        opened_at: now.0,
        closed_at: None,
        due_at,
        messages: "[]".into(),
        instance: String::new(),
    };
    let values = args![
        id,
        &number,
        &row.process,
        row.version,
        &row.rule,
        &row.correlation,
        &row.title_zh,
        &row.title_en,
        &row.area,
        &row.place_zh,
        &row.place_en,
        row.location.clone(),
        row.severity,
        now,
        due_at,
        "{}"
    ];
    run.tx.execute(ADD, values).await?;
    run.tx.execute(JOIN, args![id, alert_id(facts)?, row.severity, state, facts, now]).await?;
    run.log(
        id,
        Entry::new(
            "case.opened",
            Text::new(format!("立案：{}", title.zh), format!("case opened: {}", title.en)),
        ),
    );
    let severity = Severity::from_rank(row.severity);
    let told = json!({
        "id": id, "number": number, "title": title, "severity": severity, "process": row.process,
        "alerts": [alert_id(facts)?],
    });
    run.tx.event("case.opened", &at, &told);
    let mut case = Case { row, area: at, instance, messages: Vec::new(), loaded };
    run.carry_out(&mut case, effects).await?;
    case.save(run).await
}

/// An alert changed its severity or resolved: the cases it belongs to hear of it.
pub(crate) async fn follow_alert(run: &mut Run<'_, '_>, event: &Event) -> Result<(), StoreError> {
    let resolved = event.kind == "alert.resolved";
    let known: Vec<CaseAlert> = run.tx.all(OF_ALERT, args![alert_id(&event.data)?]).await?;
    let Some(first) = known.first() else { return Ok(()) };
    let mut facts = first.facts()?;
    if let Some(facts) = facts.as_object_mut() {
        for name in ["severity", "value"] {
            facts.extend(event.data.get(name).filter(|v| !v.is_null()).map(|v| (name.to_owned(), v.clone())));
        }
    }
    let state = if resolved { "resolved" } else { first.state.as_str() };
    let severity = rank(&event.data).min(first.severity);
    run.tx.execute(UPDATE_ALERT, args![first.alert, state, severity, &facts]).await?;
    for alert in &known {
        let Some(mut case) = Case::load(run, alert.case_id).await? else { continue };
        if !case.is_open() {
            continue;
        }
        if resolved {
            let note = run.room.bindings.get(&case.row.rule).and_then(|b| b.on_resolved);
            if note == Some(OnResolved::Note) && alert.state != "resolved" {
                let place = text_of(facts.get("place"));
                let number = str_of(&facts, "number");
                let text = Text::new(
                    format!("{}告警 {number} 数值已恢复，工单继续处理", place.zh),
                    format!("alert {number} at {} resolved; the work goes on", place.en),
                );
                run.log(case.row.id, Entry::new("alert.resolved", text));
            }
        } else {
            case.raise(run, severity).await?;
            case.save(run).await?;
        }
    }
    Ok(())
}

/// A case was closed a while ago: those of its alerts that are still not resolved start anew.
pub(crate) async fn restart(run: &mut Run<'_, '_>, closed: Id) -> Result<(), StoreError> {
    let Some(old) = Case::load(run, closed).await? else { return Ok(()) };
    let Some(binding) = run.room.bindings.get(&old.row.rule).cloned() else { return Ok(()) };
    for alert in old.alerts(run).await? {
        if alert.state != "resolved" {
            open_or_join(run, &binding, &alert.facts()?, &alert.state).await?;
        }
    }
    Ok(())
}

/// The instant as a column holds it.
pub(crate) fn micros(at: Option<i64>) -> Option<Micros> {
    at.map(Micros)
}
