//! Tasks (任务): completing, handing over, withdrawing.

use std::sync::Arc;

use model::{Id, Text};
use platform::file;
use platform::http::{Caller, FieldError};
use platform::notification::tell;
use process::{Input, StepError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{StoreError, args};

use crate::case::{Case, area};
use crate::form::check_without_form;
use crate::notify::{self, TaskTold, Why};
use crate::run::{Refused, Run};
use crate::timeline::{Entry, Told};
use crate::{Room, Work};

store::statements! {
    ONE = "SELECT t.id, t.sort, t.case_id, t.token, t.element, t.level, t.post, t.area, t.state, t.rank, t.due_sort,
        t.opened_at, t.due_at, t.escalates_at, t.assignee, t.assignee_name, t.completed_at, t.completed_by, t.outcome,
        c.number, c.process, c.version, c.title_zh, c.title_en, c.place_zh, c.place_en, c.location
        FROM tasks t JOIN cases c ON c.id = t.case_id WHERE t.id = $1";
    COMPLETE = "UPDATE tasks SET state = 'completed', rank = 9, due_sort = $5, completed_at = $2, completed_by = $3,
        completed_by_id = $4, outcome = $6, escalates_at = NULL WHERE id = $1 AND state = 'open'";
    DONE_BY = "SELECT completed_by, completed_at FROM tasks WHERE case_id = $1 AND token = $2 AND element = $3
        AND state = 'completed'";
    WITHDRAW = "UPDATE tasks SET state = 'withdrawn', rank = 9, due_sort = $4, completed_at = $5, escalates_at = NULL
        WHERE case_id = $1 AND token = $2 AND element = $3 AND state = 'open' RETURNING id, post";
    ASSIGN = "UPDATE tasks SET assignee = $2, assignee_name = $3 WHERE id = $1 AND state = 'open'";
    ACKNOWLEDGE = "UPDATE case_alerts SET state = 'acknowledged' WHERE case_id = $1 AND state = 'open'";
}

pub(crate) const SELECT: &str = "SELECT t.id, t.sort, t.case_id, t.token, t.element, t.level, t.post, t.area, t.state, t.rank, t.due_sort,
    t.opened_at, t.due_at, t.escalates_at, t.assignee, t.assignee_name, t.completed_at, t.completed_by, t.outcome,
    c.number, c.process, c.version, c.title_zh, c.title_en, c.place_zh, c.place_en, c.location
    FROM tasks t JOIN cases c ON c.id = t.case_id";

/// A task's row with what its list shows of its case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub(crate) struct TaskRow {
    pub(crate) id: Id,
    pub(crate) sort: String,
    pub(crate) case_id: Id,
    pub(crate) token: i64,
    pub(crate) element: String,
    pub(crate) level: i64,
    pub(crate) post: String,
    pub(crate) area: String,
    pub(crate) state: String,
    pub(crate) rank: i64,
    pub(crate) due_sort: i64,
    pub(crate) opened_at: i64,
    pub(crate) due_at: Option<i64>,
    pub(crate) escalates_at: Option<i64>,
    pub(crate) assignee: Option<Id>,
    pub(crate) assignee_name: Option<String>,
    pub(crate) completed_at: Option<i64>,
    pub(crate) completed_by: Option<String>,
    pub(crate) outcome: Option<String>,
    pub(crate) number: String,
    pub(crate) process: String,
    pub(crate) version: i64,
    pub(crate) title_zh: String,
    pub(crate) title_en: String,
    pub(crate) place_zh: String,
    pub(crate) place_en: String,
    pub(crate) location: Option<String>,
}

/// Why a task was not completed or handed over.
#[derive(Debug)]
pub(crate) enum TaskError {
    /// There is none with this id where the caller may look.
    NotFound,
    /// It is there, and not the caller's: who has it.
    NotYours(Vec<String>),
    /// It was completed or withdrawn before.
    NotOpen { state: String, by: Option<String>, at: Option<i64> },
    /// The answers are wrong.
    Invalid(Vec<FieldError>),
    /// The process cannot go on with these answers: a fault of the process.
    Process(StepError),
    /// The store.
    Store(StoreError),
}

impl From<StoreError> for TaskError {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

impl From<Refused> for TaskError {
    fn from(e: Refused) -> Self {
        match e {
            Refused::Step(e) => Self::Process(e),
            Refused::Store(e) => Self::Store(e),
        }
    }
}

/// What `complete` takes into its command.
struct Completing {
    room: Arc<Room>,
    caller: Caller,
    id: Id,
    values: Value,
}

/// What `hand_over` takes into its command.
struct HandingOver {
    room: Arc<Room>,
    caller: Caller,
    id: Id,
    person: Id,
    note: Option<String>,
}

impl Work {
    /// Completes a task with the answers of its form. The first to complete it withdraws it from
    /// the other levels.
    pub(crate) async fn complete(
        &self,
        caller: &Caller,
        id: Id,
        values: Value,
    ) -> Result<TaskRow, TaskError> {
        let args = Completing { room: self.room.clone(), caller: caller.clone(), id, values };
        let done = self
            .room
            .store
            .command(&caller.context, "task:complete", args, |tx, c| {
                Box::pin(async move {
                    let mut run = Run::new(tx, &c.room);
                    let row = complete(&mut run, c).await?;
                    run.finish().await?;
                    Ok::<_, TaskError>(row)
                })
            })
            .await;
        self.room.wake();
        done
    }

    /// Hands a task over to another holder of its post.
    pub(crate) async fn hand_over(
        &self,
        caller: &Caller,
        id: Id,
        person: Id,
        note: Option<String>,
    ) -> Result<TaskRow, TaskError> {
        let args = HandingOver { room: self.room.clone(), caller: caller.clone(), id, person, note };
        self.room
            .store
            .command(&caller.context, "task:hand-over", args, |tx, h| {
                Box::pin(async move {
                    let mut run = Run::new(tx, &h.room);
                    let row = hand_over(&mut run, h).await?;
                    run.finish().await?;
                    Ok::<_, TaskError>(row)
                })
            })
            .await
    }
}

/// The task, when the caller may see it and has it to do.
async fn mine(run: &mut Run<'_, '_>, caller: &Caller, id: Id) -> Result<TaskRow, TaskError> {
    let row: TaskRow = run.tx.opt(ONE, args![id]).await?.ok_or(TaskError::NotFound)?;
    let at = area(&row.area)?;
    if !caller.sees(&at) {
        let seen = caller.context.may("task:read", &at);
        return Err(if seen { TaskError::NotYours(Vec::new()) } else { TaskError::NotFound });
    }
    run.tx.subject("task", id, Some(&at));
    if row.state != "open" {
        // Withdrawn because another level was faster: say who that was.
        let done: Option<(Option<String>, Option<i64>)> =
            run.tx.opt(DONE_BY, args![row.case_id, row.token, &row.element]).await?;
        let (by, at) = done.unwrap_or((row.completed_by, row.completed_at));
        return Err(TaskError::NotOpen { state: row.state, by, at });
    }
    let holders = run.holders(&row.post, &at).await?;
    if row.assignee != Some(caller.person) && !holders.iter().any(|h| h.person == caller.person) {
        return Err(TaskError::NotYours(holders.into_iter().map(|h| h.name).collect()));
    }
    Ok(row)
}

async fn again(run: &mut Run<'_, '_>, id: Id) -> Result<TaskRow, TaskError> {
    run.tx.opt(ONE, args![id]).await?.ok_or(TaskError::NotFound)
}

async fn complete(run: &mut Run<'_, '_>, c: &Completing) -> Result<TaskRow, TaskError> {
    let row = mine(run, &c.caller, c.id).await?;
    let mut case = Case::load(run, row.case_id).await?.ok_or(TaskError::NotFound)?;
    let loaded = case.loaded.clone();
    let form = loaded.form_of(&row.element).map(|(_, form)| form);
    let errors = form.map_or_else(|| check_without_form(&c.values), |form| form.check(&c.values));
    if !errors.is_empty() {
        return Err(TaskError::Invalid(errors));
    }
    let named = form.map(|f| f.files(&c.values)).unwrap_or_default();
    let ids: Vec<Id> = named.iter().map(|(_, id)| *id).collect();
    let files = file::claim(run.tx, &ids, &case.area, &row.number).await?;
    let unknown: Vec<FieldError> = named
        .into_iter()
        .filter(|(_, id)| !files.iter().any(|f| f.id == *id))
        .map(|(path, _)| FieldError {
            path,
            message: Text::new(
                "文件不存在或不是您上传的，请重新上传",
                "no such file of yours; send it again",
            ),
        })
        .collect();
    if !unknown.is_empty() {
        return Err(TaskError::Invalid(unknown));
    }
    let now = run.tx.now;
    let by = c.caller.context.actor.name().to_owned();
    let outcome = c.values.get("outcome").and_then(Value::as_str).map(ToOwned::to_owned);
    let token = row.token as u64;
    run.tx.execute(COMPLETE, args![row.id, now, &by, c.caller.person, -now.0, outcome.clone()]).await?;
    let name = loaded.name_of(&row.element);
    let text = Text::new(format!("{by}完成了“{}”", name.zh), format!("{by} completed {:?}", name.en));
    let mut entry = Entry::new("task.completed", text).at(&row.element);
    entry.given = Some(&c.values);
    entry.files = &files;
    run.log(case.row.id, entry);
    let facts = json!({
        "id": row.id, "case": row.number, "element": row.element, "outcome": outcome, "by": by,
    });
    run.tx.event("task.completed", &case.area, &facts);
    withdraw(run, &case, token, &row.element, Some(&by)).await?;
    run.drop_timer("escalation", case.row.id, token, &row.element).await?;
    if loaded.definition.user_task(&row.element).is_some_and(|t| t.acknowledge) {
        let alerts: Vec<Id> = case.alerts(run).await?.into_iter().map(|a| a.alert).collect();
        run.tx.execute(ACKNOWLEDGE, args![case.row.id]).await?;
        let facts = json!({ "id": case.row.id, "number": row.number, "alerts": alerts, "by": by });
        run.tx.event("case.acknowledged", &case.area, &facts);
    }
    run.step(&mut case, Input::TaskCompleted { token, values: c.values.clone() }).await?;
    again(run, c.id).await
}

/// Takes the open tasks of a token back; `by` is who was faster.
pub(crate) async fn withdraw(
    run: &mut Run<'_, '_>,
    case: &Case,
    token: u64,
    element: &str,
    by: Option<&str>,
) -> Result<(), StoreError> {
    let now = run.tx.now;
    let withdrawn: Vec<(Id, String)> =
        run.tx.all(WITHDRAW, args![case.row.id, token as i64, element, -now.0, now]).await?;
    let name = case.loaded.name_of(element);
    for (id, post) in withdrawn {
        let title = run.room.platform.post_title(&post);
        let text = match by {
            Some(by) => Text::new(
                format!("{by}已办，{}的任务“{}”撤回", title.zh, name.zh),
                format!("task {:?} of {} withdrawn: {by} did it", name.en, title.en),
            ),
            None => Text::new(
                format!("{}的任务“{}”撤回", title.zh, name.zh),
                format!("task {:?} of {} withdrawn", name.en, title.en),
            ),
        };
        run.log(case.row.id, Entry::new("task.withdrawn", text).at(element));
        let facts = json!({ "id": id, "case": case.row.number, "element": element, "by": by });
        run.tx.event("task.withdrawn", &case.area, &facts);
    }
    // Who was not told yet needs not hear of it any more.
    tell::withdraw(run.tx, &notify::task_key(case.row.id, token, element)).await?;
    Ok(())
}

async fn hand_over(run: &mut Run<'_, '_>, h: &HandingOver) -> Result<TaskRow, TaskError> {
    let row = mine(run, &h.caller, h.id).await?;
    let at = area(&row.area)?;
    let holders = run.holders(&row.post, &at).await?;
    let Some(to) = holders.into_iter().find(|p| p.person == h.person && p.person != h.caller.person) else {
        let message = Text::new(
            "只能移交给同一岗位上正在值班的其他人",
            "must be another person on duty for the same post",
        );
        return Err(TaskError::Invalid(vec![FieldError { path: "/person".into(), message }]));
    };
    run.tx.execute(ASSIGN, args![row.id, to.person, &to.name]).await?;
    let by = h.caller.context.actor.name().to_owned();
    let note = h.note.as_deref().map(str::trim).filter(|n| !n.is_empty());
    let text = Text::new(format!("{by}移交给{}", to.name), format!("{by} handed it over to {}", to.name));
    // What a person wrote stands apart from the hub's own words, as it does for forms.
    let written = note.map(|note| json!({ "note": note }));
    let mut entry = Entry::new("task.handed-over", text).at(&row.element);
    entry.given = written.as_ref();
    entry.told = Some(vec![Told::from(&to)]);
    run.log(row.case_id, entry);
    let facts = json!({ "id": row.id, "case": row.number, "element": row.element, "assignee": to.person });
    run.tx.event("task.handed-over", &at, &facts);
    if let Some(case) = Case::load(run, row.case_id).await? {
        let due = row.due_at.map(model::Micros);
        let (token, element) = (row.token as u64, row.element.as_str());
        let told = TaskTold { id: row.id, token, element, post: &row.post, due, why: Why::HandedOver(&by) };
        notify::task(run, &case, &told, std::slice::from_ref(&to));
    }
    again(run, h.id).await
}
