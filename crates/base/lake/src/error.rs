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
    /// A batch without samples.
    #[error("write a segment: the batch has no samples")]
    Empty,
}

impl From<sqlx::Error> for LakeError {
    fn from(e: sqlx::Error) -> Self {
        Self::Unavailable(e.to_string())
    }
}
