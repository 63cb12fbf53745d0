//! User task (BPMN 2.0.2 §10.3.3): a person does it.

use serde_json::Value;

use super::{Step, StepError, Traveller};
use crate::definition::{Element, Kind};
use crate::effect::Effect;

impl Step<'_> {
    pub(super) fn open_task(&mut self, traveller: Traveller, element: &Element) -> Result<(), StepError> {
        let token = self.rest(traveller, element)?;
        self.effects.push(Effect::OpenTask { token, element: element.id.clone() });
        self.start_timers(token, element);
        Ok(())
    }

    pub(super) fn complete_task(&mut self, token: u64, values: Value) -> Result<(), StepError> {
        if !values.is_object() {
            return Err(StepError::NotAnObject { what: "the values" });
        }
        let token = self.take(token)?;
        let element = self.element(&token.element)?;
        if !matches!(element.kind, Kind::UserTask(_)) {
            return Err(StepError::NoSuchToken { token: token.id });
        }
        self.instance.data.insert(element.id.clone(), values);
        let traveller = Traveller { answered: Some(element.id.clone()), ..token.into() };
        self.leave(traveller, element)
    }
}
