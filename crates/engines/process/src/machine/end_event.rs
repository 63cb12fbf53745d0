//! None end event (BPMN 2.0.2 §10.5.3): the token is used up; the case ends with its last token.

use super::{Step, Traveller};
use crate::definition::Element;
use crate::instance::Outcome;

impl Step<'_> {
    pub(super) fn end_token(&mut self, traveller: &Traveller, element: &Element) {
        // The case's outcome is the main token's, whichever token ends last.
        if traveller.side {
            return;
        }
        let values = traveller.answered.as_ref().and_then(|task| self.instance.data.get(task));
        let outcome = values.and_then(|v| v.get("outcome")).and_then(|o| o.as_str()).map(str::to_owned);
        self.instance.reached = Some(Outcome::Completed { end: element.id.clone(), outcome });
    }
}
