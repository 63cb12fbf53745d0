//! The room over HTTP: cases, their processes' diagrams, and tasks.

mod cases;
mod export;
mod processes;
mod tasks;

use std::sync::Arc;

use platform::http::Api;

use crate::Work;

store::statements! {
    FIRST_ALERTS = "SELECT case_id, alert, severity, state, facts FROM case_alerts WHERE case_id = $1 ORDER BY sort, alert";
    CASES_OF_ALERT = "SELECT case_id FROM case_alerts WHERE alert = $1";
    LOG = "SELECT at, kind, element, text_zh, text_en, by_name, told, given, files FROM case_log WHERE case_id = $1 ORDER BY sort";
}

/// The room's routes.
#[must_use]
pub fn routes(work: Arc<Work>) -> Api<()> {
    Api::new().merge(cases::routes()).merge(tasks::routes()).merge(processes::routes()).with_state(work)
}
