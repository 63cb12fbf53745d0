//! Sockets: devices in, messages and commands out.
//!
//! An MQTT broker (3.1.1 and 5) made for one promise: **an acknowledgement leaves only after the
//! batch that holds the message is committed**, and a waiting acknowledgement never holds up the
//! next message of the same device.
//!
//! ```text
//! socket → session (decode, judge topic, read payload) → queue of batches → Ingest::ingest
//!             ↑ one wake a batch ←──────── committed, so many messages of yours ──┘
//!             ↑ messages ←── mailbox ←── route, after the commit ─────────────────┘
//! ```
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`config`] | limits and addresses |
//! | [`codec`] | packets, read in place |
//! | [`payload`] | JSON of a device → samples |
//! | [`topic`] | topics of the hub, filters |
//! | `batcher` | the queue of batches and the one task that commits them |
//! | `broker` | subscriptions, durable sessions, retained messages, wills |
//! | `mqtt` | listeners, handshake, session |
//! | `commands` | the way down to a device |
//!
//! This room knows nothing of databases, rules or HTTP. What it needs to know it asks of
//! [`model::observation::Devices`]; what it learns it hands to [`model::observation::Ingest`], and
//! answers besides to [`model::command::Answers`]; what sessions must not forget it hands to
//! [`model::broker::BrokerStore`].
//!
//! `docs/mqtt.md` is for whoever connects: topics, sessions, limits, reason codes, and the table of
//! the standard's statements with the test that shows each.
//!
//! # Choices
//! - A client id names a client of its thing (or integrator) only, so that no device can push out
//!   or take over another's session.
//! - A batch the store refuses is acknowledged to nobody: its senders are closed (5: 0x89, server
//!   busy), connect again and re-send; QoS 0 in it is lost and counted.
//! - A session knows its device as it was at CONNECT; [`Gateway::disconnect`] makes it come again.
//! - Packet ids of what goes to a durable session are given when it is queued, not when it is sent:
//!   sending then costs no commit, and what a stopped hub may have sent is sent again under the
//!   same id, as QoS 2 needs.
//! - A stopping hub publishes no wills: those of durable sessions are kept and fall due on the next
//!   start unless the client is back before.

mod batcher;
mod broker;
pub mod codec;
mod commands;
pub mod config;
mod meters;
mod mqtt;
pub mod payload;
mod server;
pub mod topic;

pub use broker::MemoryBroker;
pub use config::GatewayConfig;
pub use server::Gateway;
