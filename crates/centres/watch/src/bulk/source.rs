//! What the readers of both formats have in common: batches, and where the next one begins.

use std::path::Path;
use std::sync::Arc;

use model::observation::Columns;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::progress::{ImportRow, NAMED};
use super::row::{Rows, WrongRow};
use super::{Format, csv, parquet};
use crate::Watch;

/// How many rows a batch takes.
pub(super) const BATCH: usize = 8192;

/// Where the next batch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Position {
    /// In a CSV: a byte, its line and its record.
    Csv {
        /// The byte.
        byte: u64,
        /// The line, from 1.
        line: u64,
        /// The record.
        record: u64,
    },
    /// In a Parquet file: a row, from 0.
    Parquet {
        /// The row.
        row: u64,
    },
}

/// A batch.
pub(super) struct Step {
    /// Its samples.
    pub(super) columns: Columns,
    /// How many of its rows were wrong.
    pub(super) wrong: u64,
    /// Some of those, named.
    pub(super) wrong_rows: Vec<WrongRow>,
    /// Where the next begins.
    pub(super) position: Position,
    /// How much of the file is read then.
    pub(super) bytes_read: u64,
}

impl Step {
    pub(super) fn new(position: Position) -> Self {
        let columns = Columns::with_capacity(BATCH);
        Self { columns, wrong: 0, wrong_rows: Vec::new(), position, bytes_read: 0 }
    }

    pub(super) fn wrong(&mut self, line: u64, reason: String) {
        self.wrong += 1;
        if self.wrong_rows.len() < NAMED {
            self.wrong_rows.push(WrongRow { line, reason });
        }
    }
}

/// Reads a file from where its import stands, batch by batch, until its end or until nobody takes
/// any more. Blocks.
pub(super) fn read(
    watch: &Arc<Watch>,
    path: &Path,
    import: &ImportRow,
    steps: &mpsc::Sender<Result<Step, String>>,
) {
    let mut rows = Rows::new(watch.clone(), import.areas());
    let mut give = |step: Step| steps.blocking_send(Ok(step)).is_ok();
    let outcome = match import.format() {
        Format::Csv => csv::read(path, &import.columns(), import.position(), &mut rows, &mut give),
        Format::Parquet => parquet::read(path, &import.columns(), import.position(), &mut rows, &mut give),
    };
    if let Err(reason) = outcome {
        // Whoever does not wait any more has given the import up.
        let _ = steps.blocking_send(Err(reason));
    }
}
