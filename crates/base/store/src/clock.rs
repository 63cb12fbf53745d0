//! The hub's clock and its ids: the one place below the edges that reads the time.

use model::{Id, Micros};

/// The wall clock, UTC. Before 1970 (a clock that was never set) counts as 1970.
#[must_use]
pub fn now() -> Micros {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// A new UUID v7.
#[must_use]
pub fn new_id() -> Id {
    uuid::Uuid::now_v7()
}
