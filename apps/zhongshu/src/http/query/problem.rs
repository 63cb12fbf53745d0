//! What went wrong with a query, as a problem document.

use lake::query::QueryError;
use platform::http::Problem;

/// Every kind has a type of its own: a page says it in the reader's language.
pub(super) fn problem(error: QueryError) -> Problem {
    let detail = error.to_string();
    let typed = |kind: &str, title: &str, status: u16| {
        let mut problem = Problem::bad_request(detail.clone());
        problem.kind = format!("/problems/query-{kind}");
        problem.title = title.to_owned();
        problem.status = status;
        problem
    };
    match error {
        QueryError::Statement { position, .. } => {
            let problem = typed("statement", "the statement is wrong", 400);
            match position {
                Some((line, column)) => problem.with("line", line).with("column", column),
                None => problem,
            }
        }
        QueryError::Refused(_) => typed("refused", "the statement is not run", 400),
        QueryError::Failed(_) => typed("failed", "the statement failed", 422),
        QueryError::Timeout(seconds) => {
            typed("timeout", "the query took too long", 422).with("seconds", seconds)
        }
        QueryError::Memory(megabytes) => {
            typed("memory", "the query needs too much memory", 422).with("megabytes", megabytes)
        }
        QueryError::Busy => {
            let mut problem = Problem::unavailable(detail);
            "/problems/query-busy".clone_into(&mut problem.kind);
            problem
        }
        QueryError::Unavailable(_) => {
            tracing::warn!(error = %detail, "a query could not read the lake");
            Problem::unavailable(detail)
        }
    }
}
