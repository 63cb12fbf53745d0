//! BPMN 2.0: reading process definitions, and the token machine that runs them.
//!
//! A pure engine. There is no I/O, no clock and no randomness: whoever runs a case passes the time
//! in, keeps the [`Instance`] in the database and carries the [`Effect`]s out (opening tasks,
//! setting timers, calling services) in the same transaction that saves the instance.
//!
//! ```text
//! read(xml) ──► Definition ─┐
//!                           ├─► Instance::start / Instance::apply(Input, at) ──► Vec<Effect>
//! Instance (JSON) ──────────┘
//! ```
//!
//! What runs: none start event, none end event, user task, service task, exclusive gateway with
//! conditions in CEL, timer boundary event (interrupting or not, `timeDuration`), sequence flow.
//! Anything else in an executable process is refused by [`read()`] with its id and line; nothing is
//! skipped in silence. Drawing (diagram interchange), documentation, annotations, lanes and the
//! attributes of other vendors are read over, because they change nothing about how a case runs.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`read`](mod@read) | XML to [`Definition`], with every problem found and its line |
//! | [`definition`] | elements, flows, posts, deadlines: what a process says |
//! | [`condition`] | conditions of gateways in CEL |
//! | [`instance`] | where the tokens of one case stand: what the database keeps |
//! | [`effect`] | what goes into the machine and what it asks for |
//! | [`machine`] | the steps, one file a kind of BPMN element |

pub mod condition;
pub mod definition;
pub mod effect;
pub mod instance;
pub mod machine;
pub mod read;

pub use condition::{Condition, ConditionError};
pub use definition::{
    Definition, Element, ExclusiveGateway, Flow, Kind, ServiceTask, TimerBoundary, UserTask,
};
pub use effect::{Effect, Input};
pub use instance::{Instance, Outcome, Token};
pub use machine::StepError;
pub use read::{ReadError, ReadErrors, read};

/// The namespace of the hub's own BPMN attributes (`zs:post`, `zs:escalation`, …).
pub const ZS_NAMESPACE: &str = "http://zhongshu.city/bpmn/1.0";
