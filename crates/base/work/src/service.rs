//! Service tasks: the one door from a process to code.

use std::collections::BTreeMap;

use async_trait::async_trait;
use model::{AreaPath, Id};
use process::{Definition, Element, Kind};

/// Built in: publishes a message of the pack to residents or tells posts.
pub(crate) const NOTIFY: &str = "notify";
/// Built in: ends the notices of the case.
pub(crate) const END_NOTICE: &str = "end-notice";
/// Registered by the hub: asks the devices of the case's alerts for a fresh sample.
pub(crate) const ASK_DEVICE: &str = "ask-device";

/// An alert of the case that calls.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertCalled {
    /// Its id.
    pub id: Id,
    /// Its number.
    pub number: String,
    /// The code of its thing.
    pub thing: String,
    /// The key of its datastream.
    pub datastream: i64,
}

/// One call of a service.
#[derive(Clone, Debug)]
pub struct ServiceCall {
    /// Names the call for ever: a service is idempotent by it, since a call whose answer was lost
    /// in a crash is made again.
    pub job: Id,
    /// The number of the case.
    pub case: String,
    /// The `zs:param-…` attributes of the element, without that prefix.
    pub params: BTreeMap<String, String>,
    /// The case's data.
    pub data: serde_json::Value,
    /// Where the case is.
    pub area: AreaPath,
    /// The alerts of the case, oldest first.
    pub alerts: Vec<AlertCalled>,
}

/// Why a service was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct ServiceError {
    /// Whether the same call may succeed later.
    pub retry: bool,
    /// Why, as a lower-case fragment.
    pub reason: String,
}

/// A service that processes may call.
#[async_trait]
pub trait ServiceTask: Send + Sync {
    /// What `zs:service` calls it by.
    fn name(&self) -> &'static str;

    /// Carries one call out; the answer is kept in the case's data under the element's id. Runs
    /// outside any transaction, for 30 s at most, and may run again for the same `call.job`.
    ///
    /// # Errors
    /// [`ServiceError`]; with `retry` it is tried again, later and later, a bounded number of
    /// times. A call that fails for good stops the case there, visibly.
    async fn run(&self, call: ServiceCall) -> Result<serde_json::Value, ServiceError>;
}

/// Whether the room carries the service out itself, inside the step's own transaction.
pub(crate) fn is_built_in(service: &str) -> bool {
    matches!(service, NOTIFY | END_NOTICE)
}

/// The service tasks of a process.
pub(crate) fn called_by(definition: &Definition) -> impl Iterator<Item = (&Element, &process::ServiceTask)> {
    definition.elements().iter().filter_map(|e| match &e.kind {
        Kind::ServiceTask(task) => Some((e, task)),
        _ => None,
    })
}
