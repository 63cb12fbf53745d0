//! The token machine: one step from one input to the effects it has.
//!
//! A step is all or nothing: it works on a copy and replaces the instance only when it succeeded.
//! It is a function of its arguments alone, so that the same inputs at the same instants give the
//! same case again.
//!
//! | file | BPMN |
//! | --- | --- |
//! | `activity` | what user and service tasks share: tokens, boundary timers |
//! | `user_task`, `service_task` | opening, completing, withdrawing |
//! | `exclusive_gateway` | which way to go |
//! | `timer_boundary` | a timer that ran out |
//! | `end_event` | the end of a token, and of the case |

mod activity;
mod end_event;
mod exclusive_gateway;
mod service_task;
mod timer_boundary;
mod user_task;

use model::Micros;
use serde_json::{Map, Value};

use crate::condition::ConditionError;
use crate::definition::{Definition, Element, Flow, Kind};
use crate::effect::{Effect, Input};
use crate::instance::{Instance, Outcome, Token};

/// The most tokens a case may have at once. Only timers that do not interrupt make new ones, so a
/// case comes near only when a loop leaves side branches behind it that nobody works off.
pub const MAX_TOKENS: usize = 256;

/// Why a step could not be taken. The instance is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// The token is gone (somebody else was first, or a timer withdrew the activity) or stands at
    /// another kind of element.
    #[error("no token {token} is waiting for this: it was completed or withdrawn before")]
    NoSuchToken {
        /// The token of the input.
        token: u64,
    },
    /// The token is there, this timer on its activity is not, or has fired before.
    #[error("timer {element:?} is not set on token {token}: it fired or was cancelled before")]
    NoSuchTimer {
        /// The token of the input.
        token: u64,
        /// The boundary event of the input.
        element: String,
    },
    /// The instance speaks of an element that the definition lacks.
    #[error(
        "process {key:?} has no element or flow {id:?}: run the case with the version it was started with"
    )]
    NoSuchElement {
        /// The process.
        key: String,
        /// The id that is missing.
        id: String,
    },
    /// Data or answers are not a JSON object.
    #[error("{what} must be a JSON object")]
    NotAnObject {
        /// "the data" or "the values".
        what: &'static str,
    },
    /// A gateway whose conditions do not hold has no default.
    #[error("gateway {gateway:?} lets no flow go: {reason}")]
    NoFlowTaken {
        /// The gateway.
        gateway: String,
        /// Why.
        reason: String,
    },
    /// A condition cannot be answered with this data.
    #[error("condition of flow {flow:?} failed: {reason}")]
    Condition {
        /// The flow.
        flow: String,
        /// Why.
        reason: ConditionError,
    },
    /// More elements in one step, or more tokens in one case, than a sound process can have.
    #[error(
        "the case walks in circles or has more than {MAX_TOKENS} tokens, at element {element:?}: correct the process"
    )]
    StepBudget {
        /// Where it stopped.
        element: String,
    },
    /// The case is over.
    #[error("the case has ended already")]
    AlreadyEnded,
}

impl Instance {
    /// Begins a case: its token walks from the start event to the first activity.
    ///
    /// `data` is a JSON object, kept as the case's data; the members that later answers are kept
    /// under are named by element ids, so choose other names.
    ///
    /// # Errors
    /// When `data` is no object, or a gateway before the first activity cannot decide.
    pub fn start(def: &Definition, data: Value, at: Micros) -> Result<(Self, Vec<Effect>), StepError> {
        let Value::Object(data) = data else { return Err(StepError::NotAnObject { what: "the data" }) };
        let mut step = Step::new(def, Self { next_token: 1, data, ..Self::default() }, at);
        step.arrive(Traveller::default(), def.start())?;
        Ok(step.finish())
    }

    /// Takes one step. On an error nothing has changed.
    ///
    /// # Errors
    /// [`StepError`]; [`StepError::NoSuchToken`], [`StepError::NoSuchTimer`] and
    /// [`StepError::AlreadyEnded`] are the usual fate of an input that came second.
    pub fn apply(&mut self, def: &Definition, input: Input, at: Micros) -> Result<Vec<Effect>, StepError> {
        if self.ended.is_some() {
            return Err(StepError::AlreadyEnded);
        }
        let mut step = Step::new(def, self.clone(), at);
        match input {
            Input::TaskCompleted { token, values } => step.complete_task(token, values)?,
            Input::TimerFired { token, element } => step.fire_timer(token, &element)?,
            Input::ServiceDone { token, result } => step.finish_service(token, result)?,
            Input::ServiceFailed { token, reason } => {
                let failed = Map::from_iter([("failed".to_owned(), Value::String(reason))]);
                step.finish_service(token, Value::Object(failed))?;
            }
            Input::Cancel { reason } => step.cancel(reason)?,
        }
        let (next, effects) = step.finish();
        *self = next;
        Ok(effects)
    }
}

/// What a token carries from element to element while it is not at rest.
#[derive(Clone, Debug, Default)]
struct Traveller {
    /// See [`Token::answered`].
    answered: Option<String>,
    /// See [`Token::side`].
    side: bool,
}

impl From<Token> for Traveller {
    fn from(token: Token) -> Self {
        Self { answered: token.answered, side: token.side }
    }
}

/// A step in progress.
struct Step<'d> {
    def: &'d Definition,
    instance: Instance,
    at: Micros,
    effects: Vec<Effect>,
    /// Elements this step may still enter.
    budget: usize,
}

impl<'d> Step<'d> {
    fn new(def: &'d Definition, instance: Instance, at: Micros) -> Self {
        // A token passes an element at most once between two activities (loops have a user task
        // in them), so the number of elements is enough for any step.
        Self { def, instance, at, effects: Vec::new(), budget: def.elements().len() }
    }

    /// Walks until the token comes to rest or ends.
    fn arrive(&mut self, token: Traveller, element: &str) -> Result<(), StepError> {
        let mut element = self.element(element)?;
        loop {
            self.enter(element)?;
            let flow = match &element.kind {
                Kind::UserTask(_) => return self.open_task(token, element),
                Kind::ServiceTask(service) => return self.run_service(token, element, service),
                Kind::EndEvent => {
                    self.end_token(&token, element);
                    return Ok(());
                }
                Kind::ExclusiveGateway(gateway) => self.choose(&token, element, gateway)?,
                Kind::StartEvent | Kind::TimerBoundary(_) => self.only_way_out(element)?,
            };
            element = self.walk(flow)?;
        }
    }

    /// Leaves an activity by its one flow.
    fn leave(&mut self, token: Traveller, element: &'d Element) -> Result<(), StepError> {
        let flow = self.only_way_out(element)?;
        let target = self.walk(flow)?;
        self.arrive(token, &target.id)
    }

    fn enter(&mut self, element: &Element) -> Result<(), StepError> {
        self.budget = self
            .budget
            .checked_sub(1)
            .ok_or_else(|| StepError::StepBudget { element: element.id.clone() })?;
        self.instance.passed.insert(element.id.clone());
        self.effects.push(Effect::Entered { element: element.id.clone() });
        Ok(())
    }

    fn walk(&mut self, flow: &'d Flow) -> Result<&'d Element, StepError> {
        self.instance.passed.insert(flow.id.clone());
        self.effects.push(Effect::Walked { flow: flow.id.clone() });
        self.element(&flow.target)
    }

    fn only_way_out(&self, element: &Element) -> Result<&'d Flow, StepError> {
        let id = element.outgoing.first().map_or(element.id.as_str(), String::as_str);
        self.def.flow(id).ok_or_else(|| self.missing(id))
    }

    fn element(&self, id: &str) -> Result<&'d Element, StepError> {
        self.def.element(id).ok_or_else(|| self.missing(id))
    }

    fn missing(&self, id: &str) -> StepError {
        StepError::NoSuchElement { key: self.def.key().to_owned(), id: id.to_owned() }
    }

    /// Stops everything.
    fn cancel(&mut self, reason: String) -> Result<(), StepError> {
        for token in std::mem::take(&mut self.instance.tokens) {
            let element = self.element(&token.element)?;
            self.cancel_timers(&token);
            self.withdraw(&token, element);
        }
        self.instance.reached = Some(Outcome::Cancelled { reason });
        Ok(())
    }

    /// Closes the step: a case without tokens is over.
    fn finish(mut self) -> (Instance, Vec<Effect>) {
        if self.instance.tokens.is_empty()
            && let Some(outcome) = self.instance.reached.take()
        {
            self.instance.ended = Some(outcome.clone());
            self.effects.push(Effect::Ended { outcome });
        }
        (self.instance, self.effects)
    }
}
