//! The words of the city, shared by every room of the house.
//!
//! Identifiers, time, the area tree, severity, events, the context a request carries, and the
//! traits at the seams between rooms. There is no I/O and no clock here: whoever needs the time
//! passes it in.
//!
//! | module | what it names |
//! | --- | --- |
//! | [`id`] | identifiers outside (UUID v7), dense keys inside |
//! | [`time`] | instants in UTC microseconds, durations as ISO 8601 |
//! | [`area`] | the area tree (区域树) and its paths |
//! | [`severity`] | the four national warning colours (预警颜色) |
//! | [`event`] | what a room tells the others after its commit |
//! | [`context`] | who asks, with which grants, under which request id |
//! | [`observation`] | samples, and the contracts of the doors they come in by |
//! | [`broker`] | what MQTT sessions must not forget, and who keeps it |
//! | [`command`] | what goes down to a device, and what comes back for it |

pub mod area;
pub mod broker;
pub mod command;
pub mod context;
pub mod event;
pub mod id;
pub mod observation;
pub mod severity;
pub mod text;
pub mod time;

pub use area::{AreaLevel, AreaPath};
pub use context::{Actor, Context, Grant};
pub use event::Event;
pub use id::{DatastreamKey, Id};
pub use severity::Severity;
pub use text::Text;
pub use time::{IsoDuration, Micros};
