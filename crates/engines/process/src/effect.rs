//! What goes into the machine, and what it asks its runner to do.

use std::collections::BTreeMap;

use model::IsoDuration;
use serde::{Deserialize, Serialize};

use crate::instance::Outcome;

/// Something that happened to a case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Input {
    /// Somebody completed the user task at `token`.
    TaskCompleted {
        /// The token that [`Effect::OpenTask`] named.
        token: u64,
        /// The form's answers, a JSON object. They are kept as `data.<element id>`; their member
        /// `outcome` is what `outcome` means in conditions from here on.
        values: serde_json::Value,
    },
    /// A timer set by [`Effect::StartTimer`] ran out.
    TimerFired {
        /// The token whose activity carries the timer.
        token: u64,
        /// The boundary event.
        element: String,
    },
    /// The service asked for by [`Effect::RunService`] answered.
    ServiceDone {
        /// The token that waits for it.
        token: u64,
        /// Kept as `data.<element id>`; any JSON value.
        result: serde_json::Value,
    },
    /// The service was not carried out, and the case shall go on without it.
    ///
    /// Whether to try again, to wait for somebody to look at it, or to send this is the runner's
    /// choice. `data.<element id>` becomes `{"failed": reason}`, so that a gateway can ask for it.
    ServiceFailed {
        /// The token that waits for it.
        token: u64,
        /// Why, for the timeline.
        reason: String,
    },
    /// Stop the case: everything open is withdrawn.
    Cancel {
        /// Why, for the timeline.
        reason: String,
    },
}

/// What the runner has to do, in this order, in the transaction that saves the instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Effect {
    /// A token came to an element; for timelines and diagrams.
    Entered {
        /// The element.
        element: String,
    },
    /// A token went along a sequence flow; for timelines and diagrams.
    Walked {
        /// The flow.
        flow: String,
    },
    /// Give the user task to its post.
    OpenTask {
        /// The token that waits; completing the task names it.
        token: u64,
        /// The user task.
        element: String,
    },
    /// Take an open task back without completion.
    WithdrawTask {
        /// The token of its [`Effect::OpenTask`].
        token: u64,
        /// The user task.
        element: String,
    },
    /// Call [`Input::TimerFired`] once `due` has passed.
    StartTimer {
        /// The token whose activity carries the timer.
        token: u64,
        /// The boundary event.
        element: String,
        /// From the instant of this step.
        due: IsoDuration,
    },
    /// A timer that has not fired is not wanted any more.
    CancelTimer {
        /// The token of its [`Effect::StartTimer`].
        token: u64,
        /// The boundary event.
        element: String,
    },
    /// Call a registered service, then [`Input::ServiceDone`] or [`Input::ServiceFailed`].
    RunService {
        /// The token that waits for the answer.
        token: u64,
        /// The service task.
        element: String,
        /// The registered name of the service.
        service: String,
        /// The `zs:param-…` attributes, without that prefix.
        params: BTreeMap<String, String>,
    },
    /// An answer of this service is not waited for any more; not trying again is enough.
    WithdrawService {
        /// The token of its [`Effect::RunService`].
        token: u64,
        /// The service task.
        element: String,
    },
    /// The case is over; always the last effect.
    Ended {
        /// How.
        outcome: Outcome,
    },
}
