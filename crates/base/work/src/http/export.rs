//! Tasks as a table for a spreadsheet.

use jiff::tz::TimeZone;
use model::Text;
use platform::http::{Cell, Table};

use super::tasks::{Task, TaskState};

/// The table.
pub(super) fn tasks(tasks: &[Task], english: bool, zone: &TimeZone) -> Result<Vec<u8>, csv::Error> {
    let mut table = Table::new(
        english,
        zone,
        &[
            ("工单", "Case"),
            ("任务", "Task"),
            ("事项", "Title"),
            ("级别", "Severity"),
            ("位置", "Place"),
            ("区域", "Area"),
            ("岗位", "Post"),
            ("状态", "State"),
            ("下达时间", "Opened"),
            ("时限", "Due"),
            ("办结时间", "Ended"),
            ("办理人", "By"),
            ("结果", "Outcome"),
        ],
    )?;
    for task in tasks {
        let state = match task.state {
            TaskState::Open => Text::new("待办", "open"),
            TaskState::Completed => Text::new("已办", "completed"),
            TaskState::Withdrawn => Text::new("已撤回", "withdrawn"),
        };
        table.row([
            Cell::Plain(task.case.clone()),
            Cell::Words(task.name.clone()),
            Cell::Words(task.title.clone()),
            Cell::Severity(task.severity),
            Cell::Words(task.place.clone()),
            Cell::Words(task.area.name.clone()),
            Cell::Words(task.post_title.clone()),
            Cell::Words(state),
            Cell::Time(Some(task.opened_at)),
            Cell::Time(task.due_at),
            Cell::Time(task.completed_at),
            Cell::Plain(task.completed_by.clone().unwrap_or_default()),
            Cell::Plain(task.outcome.clone().unwrap_or_default()),
        ])?;
    }
    table.finish()
}
