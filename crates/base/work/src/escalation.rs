//! Escalation (升级): a task that nobody completes climbs its levels of posts.
//!
//! Every period the next level gets the same task; those below keep it; the first to complete it
//! withdraws the others. To the engine it is one token. A level that nobody is on duty for does
//! not hold it up: the next one gets it at once.

use model::{Id, Micros, Text};
use serde_json::json;
use store::{StoreError, args, new_id};

use crate::case::{Case, micros};
use crate::notify;
use crate::run::Run;
use crate::timeline::Entry;

store::statements! {
    ADD = "INSERT INTO tasks (id, sort, case_id, token, element, level, post, area, state, rank, due_sort, opened_at,
        due_at, escalates_at, assignee, assignee_name, completed_at, completed_by, completed_by_id, outcome)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'open', $9, $10, $11, $12, NULL, NULL, NULL, NULL, NULL, NULL, NULL)";
    OPEN_IN_GROUP = "SELECT level, due_at FROM tasks WHERE case_id = $1 AND token = $2 AND element = $3 AND state = 'open'
        ORDER BY level DESC";
    NEXT_AT = "UPDATE tasks SET escalates_at = $4 WHERE case_id = $1 AND token = $2 AND element = $3 AND state = 'open'";
}

/// A token waits at a user task: the first level gets it.
pub(crate) async fn open(
    run: &mut Run<'_, '_>,
    case: &mut Case,
    token: u64,
    element: &str,
) -> Result<(), StoreError> {
    let due = case.loaded.definition.user_task(element).and_then(|t| t.due);
    let due = due.map(|d| run.room.after(run.tx.now, d));
    climb(run, case, token, element, 0, due).await
}

/// The period of a level ran out: the next one gets the task, unless it is done.
pub(crate) async fn due(
    run: &mut Run<'_, '_>,
    case: &mut Case,
    token: u64,
    element: &str,
    level: i64,
) -> Result<(), StoreError> {
    let group: Vec<(i64, Option<i64>)> =
        run.tx.all(OPEN_IN_GROUP, args![case.row.id, token as i64, element]).await?;
    match group.first() {
        Some((highest, due)) if *highest < level => {
            climb(run, case, token, element, level as usize, micros(*due)).await
        }
        _ => Ok(()),
    }
}

/// Opens the task at `level`, and above it as long as nobody is there to take it.
async fn climb(
    run: &mut Run<'_, '_>,
    case: &mut Case,
    token: u64,
    element: &str,
    mut level: usize,
    due: Option<Micros>,
) -> Result<(), StoreError> {
    let loaded = case.loaded.clone();
    let Some(task) = loaded.definition.user_task(element) else {
        return Err(StoreError::Document(format!(
            "case {}: {element:?} is not a user task",
            case.row.number
        )));
    };
    let levels: &[String] =
        if task.levels.is_empty() { std::slice::from_ref(&task.post) } else { &task.levels };
    let name = loaded.name_of(element);
    while let Some(post) = levels.get(level) {
        let holders = run.holders(post, &case.area).await?;
        let task_id = add(run, case, token, element, level, post, due).await?;
        let title = run.room.platform.post_title(post);
        let (kind, text) = match (level, holders.is_empty()) {
            (0, false) => (
                "task.opened",
                Text::new(
                    format!("任务“{}”交给{}", name.zh, title.zh),
                    format!("task {:?} given to {}", name.en, title.en),
                ),
            ),
            (_, false) => (
                "task.escalated",
                Text::new(
                    format!("任务“{}”升级到{}", name.zh, title.zh),
                    format!("task {:?} escalated to {}", name.en, title.en),
                ),
            ),
            (0, true) => (
                "task.opened",
                Text::new(
                    format!("任务“{}”交给{}，此岗位无人值班", name.zh, title.zh),
                    format!("task {:?} given to {}, where nobody is on duty", name.en, title.en),
                ),
            ),
            (_, true) => (
                "task.escalated",
                Text::new(
                    format!("任务“{}”升级到{}，此岗位无人值班", name.zh, title.zh),
                    format!("task {:?} escalated to {}, where nobody is on duty", name.en, title.en),
                ),
            ),
        };
        run.log(case.row.id, Entry::new(kind, text).at(element).told(&holders));
        let why = if level == 0 { notify::Why::Opened } else { notify::Why::Escalated };
        notify::task(run, case, &notify::TaskTold { id: task_id, token, element, post, due, why }, &holders);
        level += 1;
        if !holders.is_empty() {
            break;
        }
    }
    let next = match task.escalation {
        Some(period) if level < levels.len() => Some(run.room.after(run.tx.now, period)),
        _ => None,
    };
    if let Some(next) = next {
        run.timer("escalation", case.row.id, token, element, level as i64, next).await?;
    }
    run.tx.execute(NEXT_AT, args![case.row.id, token as i64, element, next]).await?;
    Ok(())
}

async fn add(
    run: &mut Run<'_, '_>,
    case: &Case,
    token: u64,
    element: &str,
    level: usize,
    post: &str,
    due: Option<Micros>,
) -> Result<Id, StoreError> {
    let (id, now) = (new_id(), run.tx.now);
    let values = args![
        id,
        id.to_string(),
        case.row.id,
        token as i64,
        element,
        level as i64,
        post,
        &case.area,
        case.row.severity,
        due.map_or(i64::MAX, |d| d.0),
        now,
        due
    ];
    run.tx.execute(ADD, values).await?;
    let facts = json!({
        "id": id, "case": case.row.number, "element": element, "name": case.loaded.name_of(element), "post": post,
        "severity": model::Severity::from_rank(case.row.severity), "due_at": due,
    });
    run.tx.event("task.opened", &case.area, &facts);
    Ok(id)
}
