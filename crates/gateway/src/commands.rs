//! The way down to a device.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use model::command::{CommandDown, Sent};
use tokio::sync::oneshot;

use crate::mqtt::link::{Command, Register};

pub(crate) struct Down {
    pub(crate) register: Arc<Register>,
    /// Longer payloads are not sent.
    pub(crate) longest: usize,
}

#[async_trait]
impl CommandDown for Down {
    async fn send(&self, thing: &str, payload: Bytes) -> Sent {
        if payload.len() > self.longest {
            return Sent::NotListening;
        }
        let written = {
            let Some(link) = self.register.listener(thing) else { return Sent::NotListening };
            let (told, written) = oneshot::channel();
            if !link.command(Command { payload, written: told }) {
                return Sent::NotListening;
            }
            written
        };
        // The session drops its end when it cannot write or is over, so that this always ends.
        match written.await {
            Ok(()) => Sent::Delivered,
            Err(_) => Sent::NotListening,
        }
    }
}
