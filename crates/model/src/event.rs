//! What a room tells the others after its commit.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{AreaPath, Id, Micros};

/// One event of the outbox: committed together with the change it tells of, delivered at least
/// once and in the order of `position`.
///
/// `kind` is `noun.past-participle` (`alert.opened`, `task.completed`). `data` is a JSON object
/// whose fields the room that writes it documents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Names the event for ever; what a handler is idempotent by.
    #[schema(value_type = uuid::Uuid)]
    pub id: Id,
    /// Its place in the order given after the commit; what cursors and `Last-Event-ID` hold.
    pub position: i64,
    /// `alert.opened`, `case.closed` …
    pub kind: String,
    /// Where it happened; who may not see the area does not get the event.
    pub area: AreaPath,
    /// When the change was made (not when it is delivered).
    pub at: Micros,
    /// The facts.
    #[schema(value_type = Object)]
    pub data: serde_json::Value,
}
