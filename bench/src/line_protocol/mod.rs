//! InfluxDB line protocol over HTTP/1.1: the generator that ours and the peers get alike.
//!
//! | file | what is there |
//! | --- | --- |
//! | `bodies.rs` | bodies rendered beforehand, whose times are patched in place |
//! | `client.rs` | one keep-alive connection |
//! | `load.rs` | several connections, as fast as acknowledged or at a pace |

mod bodies;
mod client;
mod load;

pub use bodies::Bodies;
pub use client::{Client, Target};
pub use load::{Pace, load, now_nanos};
