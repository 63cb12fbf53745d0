//! Tasks as CSV (RFC 4180) that a spreadsheet opens: with a byte order mark, times in the hub's
//! zone, and no cell that would run as a formula.

use model::{Micros, Severity, Text};

use super::tasks::{Task, TaskState};

/// The table.
pub(super) fn tasks(tasks: &[Task], english: bool, zone: &jiff::tz::TimeZone) -> Result<Vec<u8>, csv::Error> {
    let pick = |zh: &str, en: &str| if english { en.to_owned() } else { zh.to_owned() };
    let words = |text: &Text| harmless(pick(&text.zh, &text.en));
    let time = |at: Option<Micros>| {
        at.map(|at| at.timestamp().to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string())
            .unwrap_or_default()
    };
    let mut out = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer("\u{feff}".as_bytes().to_vec());
    out.write_record([
        pick("工单", "Case"),
        pick("任务", "Task"),
        pick("事项", "Title"),
        pick("级别", "Severity"),
        pick("位置", "Place"),
        pick("区域", "Area"),
        pick("岗位", "Post"),
        pick("状态", "State"),
        pick("下达时间", "Opened"),
        pick("时限", "Due"),
        pick("办结时间", "Ended"),
        pick("办理人", "By"),
        pick("结果", "Outcome"),
    ])?;
    for task in tasks {
        let severity = match task.severity {
            Some(Severity::Red) => pick("红色", "red"),
            Some(Severity::Orange) => pick("橙色", "orange"),
            Some(Severity::Yellow) => pick("黄色", "yellow"),
            Some(Severity::Blue) => pick("蓝色", "blue"),
            None => String::new(),
        };
        let state = match task.state {
            TaskState::Open => pick("待办", "open"),
            TaskState::Completed => pick("已办", "completed"),
            TaskState::Withdrawn => pick("已撤回", "withdrawn"),
        };
        out.write_record([
            harmless(task.case.clone()),
            words(&task.name),
            words(&task.title),
            severity,
            words(&task.place),
            words(&task.area.name),
            words(&task.post_title),
            state,
            time(Some(task.opened_at)),
            time(task.due_at),
            time(task.completed_at),
            harmless(task.completed_by.clone().unwrap_or_default()),
            harmless(task.outcome.clone().unwrap_or_default()),
        ])?;
    }
    out.into_inner().map_err(|e| csv::Error::from(e.into_error()))
}

/// A text that a spreadsheet shows and does not run: one that begins as formulas do gets an
/// apostrophe before it.
fn harmless(text: String) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text }
}
