//! Exclusive gateway (BPMN 2.0.2 §10.6.2): the first flow of the file whose condition holds, else
//! the default. As a merge it lets every token pass.

use super::{Step, StepError, Traveller};
use crate::condition::Facts;
use crate::definition::{Element, ExclusiveGateway, Flow};

impl<'d> Step<'d> {
    pub(super) fn choose(
        &self,
        traveller: &Traveller,
        element: &Element,
        gateway: &ExclusiveGateway,
    ) -> Result<&'d Flow, StepError> {
        if gateway.default.is_none() && element.outgoing.len() == 1 {
            return self.only_way_out(element);
        }
        let data = &self.instance.data;
        let values = traveller.answered.as_ref().and_then(|task| data.get(task));
        for id in &element.outgoing {
            let flow = self.def.flow(id).ok_or_else(|| self.missing(id))?;
            let Some(condition) = &flow.condition else { continue };
            let holds = condition.holds(Facts { data, values });
            if holds.map_err(|reason| StepError::Condition { flow: id.clone(), reason })? {
                return Ok(flow);
            }
        }
        let default = gateway.default.as_ref().ok_or_else(|| StepError::NoFlowTaken {
            gateway: element.id.clone(),
            reason: "no condition holds and it has no default".to_owned(),
        })?;
        self.def.flow(default).ok_or_else(|| self.missing(default))
    }
}
