//! What residents and posts are told: the built-in services `notify` and `end-notice`, and the
//! messages to those who get a task.
//!
//! They write nothing outside the database, so that they run inside the step's own command: a
//! notice is published exactly once, together with the step that called for it. A notice to
//! residents carries the message of the pack and the place: never names, tasks or photos.

use std::collections::BTreeMap;

use model::{AreaLevel, AreaPath, Id, Micros, Severity, Text};
use platform::duty::Holder;
use platform::notice::{self, NewNotice};
use platform::notification::Telling;
use process::Kind;
use serde_json::{Map, Value, json};
use store::StoreError;

use crate::case::{Case, area, str_of, text_of};
use crate::run::Run;
use crate::timeline::Entry;

/// Where the residents concerned by an alert live, and whether it concerns all below: an outdoor
/// or public thing concerns the estate, any other the building it stands in.
fn concerned(run: &Run<'_, '_>, facts: &Value) -> Result<(AreaPath, bool), StoreError> {
    let at = area(str_of(facts, "area"))?;
    let outdoor = facts.pointer("/properties/siting").and_then(Value::as_str) == Some("outdoor");
    let public = outdoor || facts.get("public").and_then(Value::as_bool) == Some(true);
    let level = if public { AreaLevel::Estate } else { AreaLevel::Building };
    let at = run.room.platform.areas().at_level(&at, level).map_or(at, |a| a.path);
    Ok((at, public))
}

/// What the places of a message are filled with.
fn values(run: &Run<'_, '_>, case: &Case, facts: &Value, at: &AreaPath) -> Map<String, Value> {
    let zone = run.room.store.time_zone().clone();
    let time = run.tx.now.timestamp().to_zoned_datetime(zone);
    let mut values = Map::new();
    values.insert("building".into(), json!(run.room.platform.areas().reference(at).name));
    values.insert("place".into(), json!(text_of(facts.get("place"))));
    values.insert("time".into(), json!(time.strftime("%H:%M").to_string()));
    let value = facts.get("value").and_then(Value::as_f64).map(|v| format!("{v:.2}")).unwrap_or_default();
    values.insert("value".into(), json!(value));
    values.insert("unit".into(), json!(str_of(facts, "unit")));
    values.insert("number".into(), json!(case.row.number));
    values
}

fn key(case: &Case, message: &str, at: &AreaPath) -> String {
    format!("case/{}/{message}/{at}", case.row.id)
}

/// Publishes `message` where the residents concerned by one alert live; the area when it is one.
async fn publish(
    run: &mut Run<'_, '_>,
    case: &Case,
    message: &str,
    facts: &Value,
) -> Result<Option<AreaPath>, StoreError> {
    let (at, public) = concerned(run, facts)?;
    let values = values(run, case, facts, &at);
    let Some((title, body)) = run.room.platform.messages().render(message, &values) else { return Ok(None) };
    let severity = Severity::from_rank(case.row.severity);
    let new = NewNotice { key: key(case, message, &at), area: at.clone(), public, severity, title, body };
    notice::publish(run.tx, &new).await?;
    Ok(Some(at))
}

/// `notify`: to residents of the areas concerned, or to posts.
pub(crate) async fn notify(
    run: &mut Run<'_, '_>,
    case: &mut Case,
    element: &str,
    params: &BTreeMap<String, String>,
) -> Result<Value, StoreError> {
    let message = params.get("message").map(String::as_str).unwrap_or_default();
    if params.get("audience").is_some_and(|a| a == "posts") {
        return tell_posts(run, case, element, message, params).await;
    }
    let mut areas: Vec<AreaPath> = Vec::new();
    for alert in case.alerts(run).await? {
        let facts = alert.facts()?;
        if let Some(at) = publish(run, case, message, &facts).await?
            && !areas.contains(&at)
        {
            areas.push(at);
        }
    }
    if areas.is_empty() {
        failed(run, case, element, message);
        return Ok(json!({ "published": 0 }));
    }
    if !case.messages.iter().any(|m| m == message) {
        case.messages.push(message.to_owned());
    }
    sent(run, case, Some(element), &areas);
    Ok(json!({ "published": areas.len() }))
}

fn sent(run: &mut Run<'_, '_>, case: &Case, element: Option<&str>, areas: &[AreaPath]) {
    let names: Vec<Text> = areas.iter().map(|a| run.room.platform.areas().reference(a).name).collect();
    let join = |pick: fn(&Text) -> &str, with: &str| names.iter().map(pick).collect::<Vec<_>>().join(with);
    let text = Text::new(
        format!("已通知 {} 居民", join(|t| &t.zh, "、")),
        format!("residents of {} were told", join(|t| &t.en, ", ")),
    );
    let mut entry = Entry::new("notice.sent", text);
    entry.element = element;
    run.log(case.row.id, entry);
}

fn failed(run: &mut Run<'_, '_>, case: &Case, element: &str, message: &str) {
    let text = Text::new(
        format!("没有通知文本 {message}，未发送"),
        format!("no message {message:?}: nothing was sent"),
    );
    run.log(case.row.id, Entry::new("service.failed", text).at(element));
}

async fn tell_posts(
    run: &mut Run<'_, '_>,
    case: &Case,
    element: &str,
    message: &str,
    params: &BTreeMap<String, String>,
) -> Result<Value, StoreError> {
    let posts: Vec<String> = match params.get("posts").or_else(|| params.get("post")) {
        Some(named) => named.split_whitespace().map(ToOwned::to_owned).collect(),
        None => all_posts(case),
    };
    let facts = match case.alerts(run).await?.first() {
        Some(alert) => alert.facts()?,
        None => Value::Null,
    };
    let at = run
        .room
        .platform
        .areas()
        .at_level(&case.area, AreaLevel::Building)
        .map_or(case.area.clone(), |a| a.path);
    let values = values(run, case, &facts, &at);
    let Some((title, body)) = run.room.platform.messages().render(message, &values) else {
        failed(run, case, element, message);
        return Ok(json!({ "told": 0 }));
    };
    let alert = str_of(&facts, "number");
    let path = if alert.is_empty() { String::new() } else { format!("/alerts/{alert}") };
    let channels = run.room.platform.messages().channels(message).map(<[_]>::to_vec);
    let mut told: Vec<Holder> = Vec::new();
    for post in &posts {
        let holders = run.holders(post, &case.area).await?;
        run.tell(Telling {
            key: format!("case/{}/{message}", case.row.id),
            case: case.row.number.clone(),
            area: case.area.clone(),
            severity: Severity::from_rank(case.row.severity),
            post: post.clone(),
            people: people(&holders),
            title: title.clone(),
            body: body.clone(),
            path: path.clone(),
            channels: channels.clone(),
        });
        told.extend(holders);
    }
    run.log(case.row.id, Entry::new("notice.sent", title.clone()).at(element).told(&told));
    let facts = json!({ "id": case.row.id, "number": case.row.number, "title": title, "posts": posts });
    run.tx.event("case.noted", &case.area, &facts);
    Ok(json!({ "told": told.len() }))
}

fn people(holders: &[Holder]) -> Vec<(Id, String)> {
    holders.iter().map(|h| (h.person, h.name.clone())).collect()
}

/// Why somebody gets a task.
pub(crate) enum Why<'a> {
    /// The process came to it.
    Opened,
    /// The level below did not complete it.
    Escalated,
    /// A colleague handed it over.
    HandedOver(&'a str),
}

/// A task that somebody gets.
pub(crate) struct TaskTold<'a> {
    pub(crate) id: Id,
    pub(crate) token: u64,
    pub(crate) element: &'a str,
    pub(crate) post: &'a str,
    pub(crate) due: Option<Micros>,
    pub(crate) why: Why<'a>,
}

/// What messages of a task are about, for all its levels: done at one, it is over for all.
pub(crate) fn task_key(case: Id, token: u64, element: &str) -> String {
    format!("task/{case}/{token}/{element}")
}

/// Those who get a task are told by their channels.
pub(crate) fn task(run: &mut Run<'_, '_>, case: &Case, told: &TaskTold<'_>, holders: &[Holder]) {
    let row = &case.row;
    let name = case.loaded.name_of(told.element);
    let title = match told.why {
        Why::Opened => Text::new(
            format!("新任务“{}”：{}", name.zh, row.title_zh),
            format!("New task {:?}: {}", name.en, row.title_en),
        ),
        Why::Escalated => Text::new(
            format!("任务升级“{}”：{}", name.zh, row.title_zh),
            format!("Escalated task {:?}: {}", name.en, row.title_en),
        ),
        Why::HandedOver(by) => Text::new(
            format!("{by}移交任务“{}”：{}", name.zh, row.title_zh),
            format!("{by} hands over task {:?}: {}", name.en, row.title_en),
        ),
    };
    let post = run.room.platform.post_title(told.post);
    let severity = Severity::from_rank(row.severity);
    let (colour_zh, colour_en) = match severity {
        Some(Severity::Red) => ("红色", "red"),
        Some(Severity::Orange) => ("橙色", "orange"),
        Some(Severity::Yellow) => ("黄色", "yellow"),
        Some(Severity::Blue) => ("蓝色", "blue"),
        None => ("未分级", "none"),
    };
    let mut body = Text::new(
        format!("地点：{}。级别：{colour_zh}。岗位：{}。工单：{}。", row.place_zh, post.zh, row.number),
        format!("Place: {}. Severity: {colour_en}. Post: {}. Case: {}.", row.place_en, post.en, row.number),
    );
    if let Some(due) = told.due {
        let due = due.timestamp().to_zoned_datetime(run.room.store.time_zone().clone());
        body.zh.push_str(&format!("请在 {} 前办理。", due.strftime("%m-%d %H:%M")));
        body.en.push_str(&format!(" Please do it by {}.", due.strftime("%m-%d %H:%M")));
    }
    run.tell(Telling {
        key: task_key(row.id, told.token, told.element),
        case: row.number.clone(),
        area: case.area.clone(),
        severity,
        post: told.post.to_owned(),
        people: people(holders),
        title,
        body,
        path: format!("/tasks/{}", told.id),
        channels: None,
    });
}

/// Every post that the process names, in its order.
fn all_posts(case: &Case) -> Vec<String> {
    let mut posts: Vec<String> = Vec::new();
    for element in case.loaded.definition.elements() {
        if let Kind::UserTask(task) = &element.kind {
            for post in std::iter::once(&task.post).chain(&task.levels) {
                if !posts.contains(post) {
                    posts.push(post.clone());
                }
            }
        }
    }
    posts
}

/// An alert joined: residents of its building see what those of the others see.
pub(crate) async fn joined(run: &mut Run<'_, '_>, case: &Case, facts: &Value) -> Result<(), StoreError> {
    for message in &case.messages {
        publish(run, case, message, facts).await?;
    }
    Ok(())
}

/// `end-notice`: the notices of the case end; with `zs:param-message` that message follows them
/// and ends by itself after a day.
pub(crate) async fn end(
    run: &mut Run<'_, '_>,
    case: &mut Case,
    element: &str,
    params: &BTreeMap<String, String>,
) -> Result<Value, StoreError> {
    let ended = notice::end(run.tx, &format!("case/{}/", case.row.id)).await?;
    case.messages.clear();
    let mut published = 0;
    if let Some(message) = params.get("message") {
        let mut areas: Vec<AreaPath> = Vec::new();
        for alert in case.alerts(run).await? {
            let facts = alert.facts()?;
            areas.extend(publish(run, case, message, &facts).await?.filter(|a| !areas.contains(a)));
        }
        published = areas.len();
        if published > 0 {
            let day = model::IsoDuration(model::Micros::DAY);
            let due = run.room.after(run.tx.now, day);
            run.timer("notice", case.row.id, 0, "", 0, due).await?;
            sent(run, case, Some(element), &areas);
        }
    }
    Ok(json!({ "ended": ended, "published": published }))
}
