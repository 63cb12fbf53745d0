//! MQTT: listener, handshake, session.

pub(crate) mod ack;
pub(crate) mod deliver;
pub(crate) mod handshake;
pub(crate) mod link;
pub(crate) mod listener;
mod publish;
pub(crate) mod serve;
pub(crate) mod session;
pub(crate) mod speaker;
pub(crate) mod stream;
mod subscribe;
