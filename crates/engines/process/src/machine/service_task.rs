//! Service task (BPMN 2.0.2 §10.3.3): a registered service does it, outside the step.

use serde_json::Value;

use super::{Step, StepError, Traveller};
use crate::definition::{Element, Kind, ServiceTask};
use crate::effect::Effect;

impl Step<'_> {
    pub(super) fn run_service(
        &mut self,
        traveller: Traveller,
        element: &Element,
        service: &ServiceTask,
    ) -> Result<(), StepError> {
        let token = self.rest(traveller, element)?;
        self.effects.push(Effect::RunService {
            token,
            element: element.id.clone(),
            service: service.service.clone(),
            params: service.params.clone(),
        });
        self.start_timers(token, element);
        Ok(())
    }

    pub(super) fn finish_service(&mut self, token: u64, result: Value) -> Result<(), StepError> {
        let token = self.take(token)?;
        let element = self.element(&token.element)?;
        if !matches!(element.kind, Kind::ServiceTask(_)) {
            return Err(StepError::NoSuchToken { token: token.id });
        }
        self.instance.data.insert(element.id.clone(), result);
        self.leave(token.into(), element)
    }
}
