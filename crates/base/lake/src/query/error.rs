//! Why a query gave no answer.

/// Messages are lower-case fragments for whoever wrote the statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// It does not read as SQL, or names what is not there.
    #[error("{message}{}", at(.position))]
    Statement {
        /// What is wrong.
        message: String,
        /// Line and column, both from 1, where that is known.
        position: Option<(u64, u64)>,
    },
    /// It reads and is not allowed: it is more than one statement, changes something, or is too
    /// deep or too wide to plan.
    #[error("{0}")]
    Refused(String),
    /// Something failed while rows were computed: a division by zero, a text that is no number.
    #[error("{0}")]
    Failed(String),
    /// It took longer than it may.
    #[error("the query took longer than {0} s; narrow the time range or the datastreams, or aggregate")]
    Timeout(u64),
    /// It needed more memory than it may.
    #[error("the query needs more than {0} MB of memory; narrow the time range, or aggregate in wider steps")]
    Memory(usize),
    /// Others were being answered all the time it waited.
    #[error("other queries are running; try again in a few seconds")]
    Busy,
    /// What is to be read cannot be read now.
    #[error("read the observations: {0}")]
    Unavailable(String),
}

fn at(position: &Option<(u64, u64)>) -> String {
    position.map(|(line, column)| format!(" (line {line}, column {column})")).unwrap_or_default()
}
