//! `<sequenceFlow>` and its condition.

use super::attributes::{Attributes, is_word};
use super::error::Problems;
use super::process::DraftFlow;
use super::xml::{Node, Space};
use crate::condition::Condition;

pub(super) fn read(node: &Node, problems: &mut Problems) -> Option<DraftFlow> {
    let mut attributes = Attributes::of(node, problems);
    let id = attributes.required("id").map(str::to_owned);
    if id.as_ref().is_some_and(|id| !is_word(id)) {
        attributes.problem("the id has other characters than letters, digits, -, _ and .");
    }
    let name = attributes.name("name-en", "");
    let source = attributes.required("sourceRef").map(str::to_owned);
    let target = attributes.required("targetRef").map(str::to_owned);
    attributes.ignore(&["isImmediate"]);

    let mut conditional = false;
    let mut condition = None;
    for part in &node.children {
        match (part.space, part.name.as_str()) {
            (Space::Bpmn, "conditionExpression") if !conditional => {
                conditional = true;
                condition = compile(part, &mut attributes);
            }
            (Space::Bpmn, "documentation" | "extensionElements") => {}
            (_, other) => {
                attributes.problem(format!("{other} (line {}) is not run yet; remove it", part.line))
            }
        }
    }
    attributes.finish();
    Some(DraftFlow {
        id: id?,
        line: node.line,
        name,
        source: source?,
        target: target?,
        conditional,
        condition,
    })
}

fn compile(part: &Node, attributes: &mut Attributes<'_, '_>) -> Option<Condition> {
    if let Some(language) =
        part.attribute(None, "language").filter(|l| !l.to_ascii_lowercase().ends_with("cel"))
    {
        attributes
            .problem(format!("conditions are written in CEL, not {language:?}; leave the language out"));
        return None;
    }
    Condition::compile(&part.text).map_err(|e| attributes.problem(e.to_string())).ok()
}
