//! MQTT: listener, handshake, session.

pub(crate) mod ack;
pub(crate) mod handshake;
pub(crate) mod link;
pub(crate) mod listener;
mod publish;
pub(crate) mod session;
mod subscribe;
pub(crate) mod wire;
