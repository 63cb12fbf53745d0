//! What a query reads: the rows in memory and the table, of one moment.

use std::sync::Arc;

use async_trait::async_trait;
use deltalake_core::DeltaTable;

use super::QueryError;
use crate::rows::Rows;

/// The observations of one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Rows that the table has not taken in, each run sorted by (datastream, time); the older
    /// before the newer: of an instant in several, the last is right. All are newer than what
    /// the table holds.
    pub hot: Vec<Rows>,
    /// The table, if there is one.
    pub cold: Option<Cold>,
    /// The table of steps, if there is one: columns as its files have them.
    pub steps: Option<DeltaTable>,
}

/// The table at one version.
#[derive(Clone, Debug)]
pub struct Cold {
    /// The table, loaded. Columns as [`crate::rows::schema`], one row an instant of a datastream,
    /// every file sorted by (datastream, time).
    pub table: DeltaTable,
    /// By datastream key, a time (microseconds) that none of its rows in the table exceeds, where
    /// the owner knows it; of a key beyond the end there is none. Without it the files'
    /// statistics stand in.
    pub newest: Option<Arc<Vec<i64>>>,
}

/// Who gives snapshots.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// What is there now.
    ///
    /// # Errors
    /// [`QueryError::Unavailable`].
    async fn snapshot(&self) -> Result<Snapshot, QueryError>;

    /// The newest row of every datastream.
    fn last(&self) -> Rows;
}
