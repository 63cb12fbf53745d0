//! Service tasks that need more than one room: the one door from a process to code.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use model::command::{CommandDown, Sent};
use work::{ServiceCall, ServiceError, ServiceTask};

/// `ask-device`: asks the devices of a case's alerts for a fresh sample.
///
/// A device that does not listen does not hold the process up: the answer says how many were
/// reached, and a device that stays silent is another rule's business.
pub struct AskDevice {
    down: OnceLock<Arc<dyn CommandDown>>,
}

impl AskDevice {
    /// Before the gateway runs nobody is reached.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { down: OnceLock::new() })
    }

    /// Gives it the gateway.
    pub fn connect(&self, down: Arc<dyn CommandDown>) {
        // Connected once, at start.
        let _ = self.down.set(down);
    }
}

#[async_trait]
impl ServiceTask for AskDevice {
    fn name(&self) -> &'static str {
        "ask-device"
    }

    async fn run(&self, call: ServiceCall) -> Result<serde_json::Value, ServiceError> {
        let Some(down) = self.down.get() else {
            return Err(ServiceError { retry: true, reason: "the gateway does not run yet".into() });
        };
        let command = call.params.get("command").map_or("measure", String::as_str);
        let payload = serde_json::json!({
            "command": command,
            "reason": call.params.get("reason"),
            "correlation": call.job,
        });
        let payload = bytes::Bytes::from(payload.to_string());
        let (mut asked, mut silent) = (Vec::new(), Vec::new());
        for alert in &call.alerts {
            match down.send(&alert.thing, payload.clone()).await {
                Sent::Delivered => asked.push(alert.thing.clone()),
                Sent::NotListening => silent.push(alert.thing.clone()),
            }
        }
        Ok(serde_json::json!({ "delivered": !asked.is_empty(), "asked": asked, "not_listening": silent }))
    }
}
