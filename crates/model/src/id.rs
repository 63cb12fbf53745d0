//! Identifiers.
//!
//! Outside the hub everything is named by a UUID v7, whose order is the order of creation.
//! Datastreams have besides a dense integer key, the only one that segments and the lake carry.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// The name of a thing, alert, case, task, person … outside the hub: UUID v7 (RFC 9562 §5.7).
///
/// It is made where the clock is (`store::new_id`), never here.
pub type Id = Uuid;

/// The dense key of a datastream (数据流) inside segments, rules and the lake; from 1 upwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct DatastreamKey(pub i32);

impl std::fmt::Display for DatastreamKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
