//! What goes down to a device.

use async_trait::async_trait;
use bytes::Bytes;

/// What became of a command sent down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Written to the socket of a connected device that subscribes to its command topic.
    Delivered,
    /// The device is not connected, or does not listen; nothing was sent.
    NotListening,
}

/// Sends commands to devices (`zs/v1/{thing}/command`). Implemented by the gateway.
#[async_trait]
pub trait CommandDown: Send + Sync {
    /// Hands `payload` (a JSON object) to the device `thing` if it listens now.
    ///
    /// Never waits for the device's answer: that comes back on `zs/v1/{thing}/reply` or as an
    /// observation. Bounded: a full queue of the connection answers [`Sent::NotListening`].
    async fn send(&self, thing: &str, payload: Bytes) -> Sent;
}
