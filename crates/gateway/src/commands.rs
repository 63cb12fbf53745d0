//! The way down to a device.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use model::broker::Properties;
use model::command::{CommandDown, Correlation, Question, Sent, To};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::mqtt::link::{Command, Register};
use crate::topic;

/// Devices asked between two looks at what else there is to do.
const RUN: usize = 256;

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
            let command = Command { payload, properties: None, expires: None, written: Some(told) };
            if !link.command(command) {
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

    async fn ask(&self, question: &Question, to: &[To<'_>]) -> Vec<Sent> {
        let expires = Instant::now() + question.within;
        let mut sent = Vec::with_capacity(to.len());
        for run in to.chunks(RUN) {
            let links = self.register.listeners(run.iter().map(|to| to.thing));
            sent.extend(run.iter().zip(links).map(|(to, link)| match link {
                Some(link) if link.command(command(question, to, expires)) => Sent::Delivered,
                _ => Sent::NotListening,
            }));
            // The sessions that were woken write before the next run is queued.
            tokio::task::yield_now().await;
        }
        sent
    }
}

/// The question as one device gets it. The correlation stands in the payload too: 3.1.1 has no
/// other place for it, and a device of 5 may use either.
fn command(question: &Question, to: &To<'_>, expires: Instant) -> Command {
    let id = Correlation { asker: question.asker, number: to.number }.to_string();
    let payload = serde_json::json!({
        "id": id,
        "ask": question.datastream,
        "within": question.within.as_secs_f64(),
    });
    let properties = Properties {
        text: Some(true),
        content_type: Some("application/json".to_owned()),
        response_topic: Some(topic::reply(to.thing)),
        correlation_data: Some(id.into_bytes()),
        user: Vec::new(),
    };
    Command {
        payload: payload.to_string().into(),
        properties: Some(Box::new(properties)),
        expires: Some(expires),
        written: None,
    }
}
