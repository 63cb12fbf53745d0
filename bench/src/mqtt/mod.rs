//! A generator of MQTT that costs little: packets built beforehand, few threads, one write a
//! message. Ours and the peer get the same bytes.
//!
//! | file | what is there |
//! | --- | --- |
//! | `packet.rs` | the packets of MQTT 3.1.1 and 5 that the benches need |
//! | `fleet.rs` | many connections on few threads, so many messages of each in flight |
//! | `answering.rs` | devices that answer questions after a time of their own |
//! | `subscriber.rs` | a subscriber that commits what it gets to SQLite |

pub mod answering;
mod fleet;
mod packet;
pub mod subscriber;

pub use fleet::{Fleet, connect};
pub use packet::Version;
