//! Reading the lake: SQL for people, curves and steps for pages.
//!
//! | module | what is there |
//! | --- | --- |
//! | `engine` | threads, memory and functions of queries |
//! | `guard` | which statements are run at all |
//! | `run` | one statement, from its text to its rows |
//! | `observations` | rows in memory and files as one table, within a scope |
//! | `by_step` | what old days were cut down to, within a scope |
//! | `memory` | rows in memory as a stream |
//! | `barrier` | what keeps a statement's conditions away from hidden rows |
//! | `pushdown` | what filters say about keys and times |
//! | `dimension` | what a datastream is, beside its key |
//! | `tables` | the tables that SQL sees |
//! | `snapshot`, `lake` | what a query reads, and who gives it |
//! | `cell` | rows as people and pages take them |
//! | `steps` | means, extremes and counts step by step |

mod barrier;
mod by_step;
mod cell;
mod dimension;
mod engine;
mod error;
mod files;
mod functions;
mod guard;
mod lake;
mod memory;
mod observations;
mod pushdown;
mod run;
mod select;
mod snapshot;
mod steps;
mod tables;

use std::time::Duration;

/// Rows of an answer.
pub use arrow_array::RecordBatch as Batch;
/// The columns of an answer.
pub use arrow_schema::SchemaRef as Schema;
pub use cell::{Cell, Kind, arrow_stream, cells, kind};
pub use dimension::{Datastream, Dimension, KeySet, Scope};
pub use engine::Engine;
pub use error::QueryError;
pub use guard::MAX_TEXT;
pub use run::{Answer, Limits, Scanned};
pub use snapshot::{Cold, Snapshot, Source};
pub use steps::{Fill, MAX_STEPS, Step, Steps};
pub use tables::{AreaRow, Catalog, ColumnInfo, TableInfo, ThingRow, tables};

/// How much of the machine queries get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryConfig {
    /// Statements that run at the same time.
    pub at_once: usize,
    /// How long one waits for its turn.
    pub wait: Duration,
    /// Bytes that the operators of one statement may hold.
    pub memory: usize,
}

impl Default for QueryConfig {
    /// Two at once, 5 s of waiting, 256 MiB each.
    fn default() -> Self {
        Self { at_once: 2, wait: Duration::from_secs(5), memory: 256 << 20 }
    }
}
