//! The one error type of the crate.

use crate::Damaged;

/// Why the lake did not do something. Messages are fragments that fit after "failed to".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LakeError {
    /// The database does not open; the text says what to do.
    #[error("open the observations: {0}")]
    Setup(String),
    /// The database did not answer, or the disk did not take the write. Trying again may help.
    #[error("reach the observations: {0}")]
    Unavailable(String),
    /// A segment cannot be read back.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// Samples that Arrow does not take.
    #[error("write a segment: {0}")]
    Encode(String),
    /// The table's store did not answer, or holds what does not read. Trying again may help.
    #[error("reach the table of observations: {0}")]
    Table(String),
    /// The segments that wait for the table have reached their limit.
    #[error(
        "write a segment: {bytes} bytes of segments wait for the table of observations, at most {limit} may; {reason}"
    )]
    Full {
        /// How many wait.
        bytes: u64,
        /// How many may.
        limit: u64,
        /// Why the table did not take them in, as far as is known.
        reason: String,
    },
    /// A batch without samples.
    #[error("write a segment: the batch has no samples")]
    Empty,
}

impl From<sqlx::Error> for LakeError {
    fn from(e: sqlx::Error) -> Self {
        Self::Unavailable(e.to_string())
    }
}
