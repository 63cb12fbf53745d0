//! Rows in memory as a stream of batches of their own.

use std::ops::Range;

use arrow_schema::SchemaRef;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use model::observation::Columns;
use std::sync::Arc;

use crate::rows::{self, Rows};

/// A part of a run.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) run: Rows,
    pub(crate) range: Range<usize>,
}

/// One partition of the rows in memory, a batch a piece.
///
/// A batch is a copy made when it is asked for: a slice of a run would count with all of the run
/// in every operator that keeps account of its memory.
#[derive(Debug)]
pub(crate) struct Memory {
    schema: SchemaRef,
    pieces: Vec<Piece>,
}

impl Memory {
    pub(crate) fn new(pieces: Vec<Piece>) -> Self {
        Self { schema: rows::schema(), pieces }
    }
}

impl PartitionStream for Memory {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches = self.pieces.clone().into_iter().map(|Piece { run, range }| {
            let columns = Columns {
                datastream: run.keys()[range.clone()].to_vec(),
                time: run.times()[range.clone()].to_vec(),
                value: run.values()[range.clone()].to_vec(),
                quality: run.qualities()[range].to_vec(),
            };
            Ok(Rows::new(columns).batch().clone())
        });
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), futures::stream::iter(batches)))
    }
}
