//! Sockets: devices in, commands out.
//!
//! An MQTT endpoint (3.1.1 and 5, QoS 0 and 1) made for one promise: **a PUBACK leaves only after
//! the batch that holds the message is committed**, and a waiting acknowledgement never holds up
//! the next message of the same device.
//!
//! ```text
//! socket → session (decode, judge topic, read payload) → queue of batches → Ingest::ingest
//!             ↑ one wake a batch ←──────── committed, so many messages of yours ──┘
//! ```
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`config`] | limits and addresses |
//! | [`payload`] | JSON of a device → samples |
//! | [`topic`] | who may publish and subscribe where |
//! | `batcher` | the queue of batches and the one task that commits them |
//! | `mqtt` | listener, handshake, session |
//! | `commands` | the way down to a device |
//!
//! This room knows nothing of databases, rules or HTTP. What it needs to know it asks of
//! [`model::observation::Devices`]; what it learns it hands to [`model::observation::Ingest`].
//!
//! # What this endpoint is not
//! It is no broker: nothing is distributed between devices, retained, or kept for an absent client.
//! - Sessions are always clean: session present is 0, a session expiry asked for is answered 0.
//! - A will is accepted and never published: silence is found by rules, not by wills. (5 refuses
//!   wills with retain or QoS 2, as the standard demands of a server without them.)
//! - Retain: 5 closes with 0x9A as announced; 3.1.1 has no way to announce it, the flag is ignored.
//! - QoS 2: 5 closes with 0x9B as announced; 3.1.1 closes.
//! - A client id names a client of its thing only, so that no device can push out another's.
//! - A batch the store refuses is acknowledged to nobody: its QoS 1 senders are closed (5: 0x89,
//!   server busy), connect again and re-send; QoS 0 in it is lost and counted.
//! - A session knows its device as it was at CONNECT; [`Gateway::disconnect`] makes it come again.
//! - MQTT 5 with an empty client id and Clean Start 0 is refused with 0x85 (3.1.3.1 allows that).

mod batcher;
mod commands;
pub mod config;
mod meters;
mod mqtt;
pub mod payload;
mod server;
pub mod topic;

pub use config::GatewayConfig;
pub use server::{Gateway, Reply};
