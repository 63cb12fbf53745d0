//! The lake as a source of snapshots.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Cold, QueryError, Snapshot, Source};
use crate::hot::View;
use crate::{Lake, PAGE, Rows};

/// Rows that left memory before the table took them in and that one statement reads back. There
/// are such only while the table cannot be written.
const MOST_SPILLED: usize = 4_000_000;

/// How often a moment is looked for at which table and memory fit together.
const TRIES: usize = 16;

#[async_trait]
impl Source for Lake {
    async fn snapshot(&self) -> Result<Snapshot, QueryError> {
        for _ in 0..TRIES {
            // The table first: what it takes in later is in memory still, or is seen to be gone.
            let table = self.cold().view();
            let view = self.hot.view();
            if view.evicted_to > table.compacted_to {
                continue;
            }
            let spilled = view.spilled.is_some();
            let hot = self.not_taken_in(view, table.compacted_to).await?;
            // Segments go from the log when the table has them.
            if spilled && self.cold().view().compacted_to > table.compacted_to {
                continue;
            }
            let cold = Some(Cold { table: table.table, newest: None });
            return Ok(Snapshot { hot, cold, steps: Some(self.cold().steps()) });
        }
        Err(QueryError::Unavailable("the table grows faster than it can be looked at; try again".into()))
    }

    fn last(&self) -> Rows {
        self.recent.all()
    }
}

impl Lake {
    /// The rows of the segments after `taken_in`, the older before the newer.
    async fn not_taken_in(&self, view: View, taken_in: u64) -> Result<Vec<Rows>, QueryError> {
        let mut rows = Vec::new();
        if let Some(range) = view.spilled {
            let mut after = taken_in.max(range.start().saturating_sub(1));
            let mut count = 0;
            while after < *range.end() {
                let page = self.log.after(after, PAGE).await;
                let page = page.map_err(|e| QueryError::Unavailable(e.to_string()))?;
                let Some(last) = page.last().map(|stored| stored.seq) else { break };
                for stored in page.into_iter().take_while(|stored| stored.seq <= *range.end()) {
                    // A damaged segment was named when it was found; it holds nobody up.
                    if let Ok(segment) = stored.decode() {
                        count += segment.rows.len();
                        rows.push(segment.rows);
                    }
                }
                if count > MOST_SPILLED {
                    return Err(QueryError::Unavailable(
                        "too many of them wait for the table, which cannot be written; ask the operator to look at the object store"
                            .into(),
                    ));
                }
                after = last;
            }
        }
        rows.extend(view.runs.into_iter().filter(|run| run.last > taken_in).map(|run| run.rows));
        Ok(rows)
    }
}

impl super::Engine {
    /// An engine that reads `lake`.
    ///
    /// # Errors
    /// [`QueryError::Unavailable`] when the system gives no threads.
    pub fn over(lake: Arc<Lake>, config: super::QueryConfig) -> Result<Arc<Self>, QueryError> {
        Self::new(lake, config).map(Arc::new)
    }
}
