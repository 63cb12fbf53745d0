//! Limits and addresses of the gateway.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::Micros;

/// What the gateway may use and how long it waits.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Where MQTT listens; port 0 takes a free one.
    pub mqtt: SocketAddr,
    /// Where MQTT over TLS listens, and how it speaks TLS; port 0 takes a free one.
    pub mqtts: Option<(SocketAddr, Arc<rustls::ServerConfig>)>,
    /// Connections at the same time; one more is closed unanswered.
    pub max_connections: usize,
    /// The longest packet taken, in bytes with its fixed header.
    pub max_packet_bytes: u32,
    /// From accept to CONNECT answered.
    pub connect_timeout: Duration,
    /// How long a client may leave what was written to it unread.
    pub write_timeout: Duration,
    /// QoS 1 messages of one connection that may wait for their acknowledgement (5: Receive
    /// Maximum; 3.1.1: its socket is not read meanwhile). 0 counts as 1.
    pub receive_maximum: u16,
    /// The longest keep-alive in seconds, of a client without credentials at most 60; 5 is told
    /// (Server Keep Alive). 0 counts as 1.
    pub max_keep_alive: u16,
    /// The longest that a session lives without a connection, in seconds; 3.1.1 without Clean Session
    /// gets so much.
    pub max_session_expiry: u32,
    /// Sessions that outlive their connection; one more is refused (5: 0x97, 3.1.1: 3).
    pub max_sessions: usize,
    /// Subscriptions of one session; one more is refused (5: 0x97, 3.1.1: 0x80).
    pub max_subscriptions: usize,
    /// Messages that wait for one session, at most 60,000; a newer one is dropped and counted.
    pub session_queue: usize,
    /// Bytes of them.
    pub session_queue_bytes: usize,
    /// Retained messages; one more is refused (5: 0x97) or goes on without being retained.
    pub max_retained: usize,
    /// Bytes of them.
    pub max_retained_bytes: usize,
    /// Topic aliases of a connection, in each direction.
    pub topic_alias_maximum: u16,
    /// Clients without credentials get in. For conformance tests: every address must be loopback.
    pub anonymous: bool,
    /// Any topic is routed to any subscriber, as by a plain broker; only the filters `nosubscribe`
    /// and `test/nosubscribe` are refused. For conformance tests: every address must be loopback.
    pub open_topics: bool,
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
            mqtts: None,
            max_connections: 10_000,
            max_packet_bytes: 64 * 1024,
            connect_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            receive_maximum: 1024,
            max_keep_alive: 1200,
            max_session_expiry: 7 * 24 * 60 * 60,
            max_sessions: 20_000,
            max_subscriptions: 100,
            session_queue: 1000,
            session_queue_bytes: 4 << 20,
            max_retained: 20_000,
            max_retained_bytes: 64 << 20,
            topic_alias_maximum: 16,
            anonymous: false,
            open_topics: false,
            queued_batches: 2,
            stop_timeout: Duration::from_secs(10),
            clock: system_clock,
        }
    }
}

impl GatewayConfig {
    /// Whether these settings may be used at all.
    ///
    /// # Errors
    /// The profile of conformance tests on an address that others can reach; the message names it.
    pub fn check(&self) -> io::Result<()> {
        let mut addresses = std::iter::once(self.mqtt).chain(self.mqtts.as_ref().map(|(at, _)| *at));
        match addresses.find(|at| (self.anonymous || self.open_topics) && !at.ip().is_loopback()) {
            None => Ok(()),
            Some(at) => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "anonymous and open_topics are for tests on loopback; {at} is reached from outside: \
                     switch them off or listen on 127.0.0.1"
                ),
            )),
        }
    }
}

/// The machine's clock. A clock before 1970 reads as 1970.
#[must_use]
pub fn system_clock() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
