//! `<startEvent>`, `<endEvent>` and `<boundaryEvent>`.

use super::attributes::{Attributes, duration};
use super::process::refuse_other_parts;
use super::xml::{Node, Space};
use crate::definition::{Kind, TimerBoundary};

pub(super) fn start(node: &Node, attributes: &mut Attributes<'_, '_>) -> Option<Kind> {
    attributes.only("parallelMultiple", "false");
    // Says something in event sub-processes only.
    attributes.ignore(&["isInterrupting"]);
    refuse_other_parts(node, attributes, &[]).then_some(Kind::StartEvent)
}

pub(super) fn end(node: &Node, attributes: &mut Attributes<'_, '_>) -> Option<Kind> {
    refuse_other_parts(node, attributes, &[]).then_some(Kind::EndEvent)
}

pub(super) fn boundary(node: &Node, attributes: &mut Attributes<'_, '_>) -> Option<Kind> {
    attributes.only("parallelMultiple", "false");
    let interrupting = attributes.flag("cancelActivity", true);
    let attached_to = attributes.required("attachedToRef").unwrap_or_default().to_owned();
    let sound = refuse_other_parts(node, attributes, &["timerEventDefinition"]);
    let mut timers = node.children.iter().filter(|c| c.is(Space::Bpmn, "timerEventDefinition"));
    let due = match (timers.next(), timers.next()) {
        (Some(timer), None) => time_duration(timer, attributes)?,
        // When another kind of event was refused above, that says it already.
        (None, _) if !sound => return None,
        _ => {
            attributes.problem("a boundary event needs exactly one timerEventDefinition");
            return None;
        }
    };
    sound.then_some(Kind::TimerBoundary(TimerBoundary { attached_to, interrupting, due }))
}

fn time_duration(timer: &Node, attributes: &mut Attributes<'_, '_>) -> Option<model::IsoDuration> {
    let mut due = None;
    for part in timer.children.iter().filter(|c| c.space == Space::Bpmn) {
        match part.name.as_str() {
            "timeDuration" if due.is_none() => due = Some(part.text.as_str()),
            "documentation" | "extensionElements" => {}
            other => {
                let reason = format!("{other} (line {}) is not run yet; only one timeDuration", part.line);
                attributes.problem(reason);
                return None;
            }
        }
    }
    let Some(due) = due else {
        attributes.problem("the timer has no timeDuration");
        return None;
    };
    duration(due).map_err(|e| attributes.problem(format!("timeDuration: {e}"))).ok()
}
