//! Limits and addresses of the gateway.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::Micros;

/// What the gateway may use and how long it waits.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Where MQTT listens; port 0 takes a free one.
    pub mqtt: SocketAddr,
    /// Connections at the same time; one more is closed unanswered.
    pub max_connections: usize,
    /// The longest packet taken, in bytes. Small, because the decoder reserves a declared length
    /// before its bytes are there.
    pub max_packet_bytes: u32,
    /// From accept to CONNECT answered.
    pub connect_timeout: Duration,
    /// How long a client may leave what was written to it unread.
    pub write_timeout: Duration,
    /// QoS 1 messages of one connection that may wait for their acknowledgement (5: Receive
    /// Maximum; 3.1.1: its socket is not read meanwhile). 0 counts as 1.
    pub receive_maximum: u16,
    /// The longest keep-alive in seconds; 5 is told (Server Keep Alive). 0 counts as 1.
    pub max_keep_alive: u16,
    /// Batches that may wait while one is being committed; beyond, sockets are not read.
    pub queued_batches: usize,
    /// How long [`crate::Gateway::stop`] waits for the last commits and goodbyes.
    pub stop_timeout: Duration,
    /// The clock that stamps what carries no time. Tests give their own.
    pub clock: fn() -> Micros,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            mqtt: SocketAddr::from((Ipv4Addr::LOCALHOST, 1883)),
            max_connections: 10_000,
            max_packet_bytes: 64 * 1024,
            connect_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            receive_maximum: 1024,
            max_keep_alive: 1200,
            queued_batches: 2,
            stop_timeout: Duration::from_secs(10),
            clock: system_clock,
        }
    }
}

/// The machine's clock. A clock before 1970 reads as 1970.
#[must_use]
pub fn system_clock() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
