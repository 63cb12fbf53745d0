//! What is wrong with a file.

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}{at}: {reason}", at = element.as_ref().map(|e| format!(", {e}")).unwrap_or_default())]
pub struct ReadError {
    /// The id of the element, when it has one.
    pub element: Option<String>,
    /// The line of the file, from 1.
    pub line: u32,
    /// What is wrong, and what to do.
    pub reason: String,
}

/// All problems of a file, in the order of their lines; at least one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ReadErrors(pub Vec<ReadError>);

/// Problems as they are found.
#[derive(Default)]
pub(super) struct Problems(Vec<ReadError>);

impl Problems {
    pub(super) fn add(&mut self, element: Option<&str>, line: u32, reason: impl Into<String>) {
        self.0.push(ReadError { element: element.map(str::to_owned), line, reason: reason.into() });
    }

    pub(super) fn into_result<T>(mut self, value: T) -> Result<T, ReadErrors> {
        if self.0.is_empty() {
            return Ok(value);
        }
        self.0.sort_by_key(|e| e.line);
        Err(ReadErrors(self.0))
    }
}
