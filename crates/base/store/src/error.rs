//! The one error type of the crate.

/// Why the store did not do something. Messages are fragments that fit after "failed to".
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database did not answer, or the disk did not take the write. Trying again may help.
    #[error("reach the database: {0}")]
    Unavailable(String),
    /// A unique or foreign key forbids it; nothing was written.
    #[error("write: the {constraint} constraint forbids it")]
    Conflict {
        /// Its name as the database gives it.
        constraint: String,
    },
    /// The `Idempotency-Key` was used before for another action.
    #[error("use the idempotency key {key:?} for {action:?}: it was used for {earlier:?}")]
    KeyReused {
        /// The client's key.
        key: String,
        /// What it came with now.
        action: String,
        /// What it came with first.
        earlier: String,
    },
    /// The paging cursor is not one of ours.
    #[error("read the cursor: it is not one that this list gave out")]
    BadCursor,
    /// The database is not fit for use; the text says what to do.
    #[error("open the database: {0}")]
    Setup(String),
    /// A statement and the database do not agree: a defect of the hub.
    #[error("run a statement: {0}")]
    Statement(String),
    /// A stored document does not read: a defect, or a hand in the database.
    #[error("read a stored document: {0}")]
    Document(String),
    /// The writer has stopped; the hub is going down.
    #[error("write: the hub is stopping")]
    Stopping,
    /// The command took longer than its bound and was rolled back.
    #[error("finish the command within its bound of {0} s; it was rolled back")]
    TooSlow(u64),
}

impl StoreError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Stopping | Self::TooSlow(_))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(e: sqlx::Error) -> Self {
        match &e {
            sqlx::Error::Database(d) if d.is_unique_violation() || d.is_foreign_key_violation() => {
                // SQLite names the columns in its message, PostgreSQL names the constraint.
                let constraint = d.constraint().map_or_else(|| d.message().to_owned(), ToOwned::to_owned);
                Self::Conflict { constraint }
            }
            sqlx::Error::Database(d) => {
                // SQLite: FULL 13, IOERR 10, BUSY 5, CANTOPEN 14, READONLY 8; PostgreSQL: classes
                // 08 connection, 53 resources, 57 operator intervention, 40 rollback.
                let code = d.code().unwrap_or_default();
                let primary = code.parse::<u32>().map(|c| c & 0xff);
                // 08P01, protocol violation, is a parameter of the wrong kind: trying again helps nobody.
                let transient = code.len() == 5
                    && code != "08P01"
                    && ["08", "53", "57", "40"].iter().any(|class| code.starts_with(class))
                    || code.len() != 5 && matches!(primary, Ok(5 | 8 | 10 | 13 | 14));
                if transient { Self::Unavailable(e.to_string()) } else { Self::Statement(e.to_string()) }
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(e.to_string()),
            _ => Self::Statement(e.to_string()),
        }
    }
}

impl From<serde_json::Error> for StoreError {
    fn from(e: serde_json::Error) -> Self {
        Self::Document(e.to_string())
    }
}
