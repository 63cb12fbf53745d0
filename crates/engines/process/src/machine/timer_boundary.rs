//! Timer boundary event (BPMN 2.0.2 §10.5.4): a timer on the edge of an activity.
//!
//! One that interrupts ends the activity, and the token goes on from the timer. One that does not
//! sends a second token out, once; the activity waits as before.

use super::{Step, StepError, Traveller};
use crate::definition::Kind;

impl Step<'_> {
    pub(super) fn fire_timer(&mut self, token: u64, boundary: &str) -> Result<(), StepError> {
        let resting = self.instance.tokens.iter_mut().find(|t| t.id == token);
        let resting = resting.ok_or(StepError::NoSuchToken { token })?;
        let set = resting.timers.iter().position(|timer| timer == boundary);
        let set = set.ok_or_else(|| StepError::NoSuchTimer { token, element: boundary.to_owned() })?;
        resting.timers.remove(set);
        let side = Traveller { answered: resting.answered.clone(), side: true };

        let element = self.element(boundary)?;
        match &element.kind {
            Kind::TimerBoundary(timer) if timer.interrupting => {
                let token = self.take(token)?;
                let activity = self.element(&token.element)?;
                self.withdraw(&token, activity);
                self.arrive(token.into(), &element.id)
            }
            Kind::TimerBoundary(_) => self.arrive(side, &element.id),
            _ => Err(StepError::NoSuchTimer { token, element: boundary.to_owned() }),
        }
    }
}
