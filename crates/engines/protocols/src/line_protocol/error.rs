//! Why a line is refused, in InfluxDB's words.

use std::fmt;

use super::lines::MAX_KEY;

/// How much of a wrong line its error repeats.
const SHOWN: usize = 256;

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The line begins with a comma.
    #[error("missing measurement")]
    MissingMeasurement,
    /// A tag without a key: `cpu,=x`.
    #[error("missing tag key")]
    MissingTagKey,
    /// A tag without a value: `cpu,host=` or `cpu,host`.
    #[error("missing tag value")]
    MissingTagValue,
    /// An `=` in a tag's value that is not escaped.
    #[error("invalid tag format")]
    InvalidTagFormat,
    /// Two tags with one key.
    #[error("duplicate tags")]
    DuplicateTags,
    /// Measurement and tags are longer than [`MAX_KEY`].
    #[error("max key length exceeded: {0} > {MAX_KEY}")]
    KeyTooLong(usize),
    /// Nothing behind measurement and tags.
    #[error("missing fields")]
    MissingFields,
    /// A field without a key: `cpu =1`.
    #[error("missing field key")]
    MissingFieldKey,
    /// A field without a value: `cpu v=`.
    #[error("missing field value")]
    MissingFieldValue,
    /// A field without `=`.
    #[error("invalid field format")]
    InvalidFieldFormat,
    /// Begins like a number and is none, or one that a double cannot hold.
    #[error("invalid number")]
    InvalidNumber,
    /// Beyond what 64 bits hold.
    #[error("unable to parse integer: value out of range")]
    IntegerOutOfRange,
    /// Neither number nor string nor one of the ten ways to write a boolean.
    #[error("invalid boolean")]
    InvalidBoolean,
    /// A string that does not end.
    #[error("unbalanced quotes")]
    UnbalancedQuotes,
    /// What stands where the timestamp should is no 64-bit integer.
    #[error("bad timestamp")]
    BadTimestamp,
}

/// A line that is refused: `unable to parse 'cpu': missing fields (line 3, column 4)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineError<'a> {
    /// The line, without its end.
    pub text: &'a [u8],
    /// Its number in the body, from 1.
    pub line: u64,
    /// The byte of the line where the fault was seen, from 1.
    pub column: usize,
    /// What is wrong.
    pub reason: Reason,
}

impl fmt::Display for LineError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.text.get(..SHOWN).unwrap_or(self.text);
        let more = if shown.len() < self.text.len() { "…" } else { "" };
        let text = String::from_utf8_lossy(shown);
        let (line, column) = (self.line, self.column);
        write!(f, "unable to parse '{text}{more}': {} (line {line}, column {column})", self.reason)
    }
}

impl std::error::Error for LineError<'_> {}
