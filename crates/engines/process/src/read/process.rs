//! One `<process>`: its elements, each by its own reader, and the definition they make.

use super::attributes::{Attributes, is_word};
use super::error::Problems;
use super::xml::{Node, Space};
use super::{events, exclusive_gateway, sequence_flow, service_task, structure, user_task};
use crate::condition::Condition;
use crate::definition::{Definition, Element, Flow, Kind};
use model::Text;

/// A process while it is read: refused elements stay in, so that the flows to them are not reported
/// as leading nowhere.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) nodes: Vec<DraftNode>,
    pub(super) flows: Vec<DraftFlow>,
    /// What `<incoming>` and `<outgoing>` say.
    pub(super) mentions: Vec<Mention>,
}

/// A flow node while it is read.
pub(super) struct DraftNode {
    pub(super) id: String,
    pub(super) line: u32,
    pub(super) name: Text,
    /// `None` when it was refused.
    pub(super) kind: Option<Kind>,
    /// Of boundary events, refused ones too.
    pub(super) attached_to: Option<String>,
}

/// A sequence flow while it is read.
pub(super) struct DraftFlow {
    pub(super) id: String,
    pub(super) line: u32,
    pub(super) name: Text,
    pub(super) source: String,
    pub(super) target: String,
    /// Whether the file gives one; it may not compile.
    pub(super) conditional: bool,
    pub(super) condition: Option<Condition>,
}

/// An `<incoming>` or `<outgoing>` of a flow node.
pub(super) struct Mention {
    pub(super) node: String,
    pub(super) line: u32,
    pub(super) flow: String,
    pub(super) incoming: bool,
}

/// Reads one executable process; `None` when it cannot be run.
pub(super) fn read(node: &Node, problems: &mut Problems) -> Option<Definition> {
    let mut attributes = Attributes::of(node, problems);
    let key = attributes.required("id").unwrap_or_default().to_owned();
    if !key.is_empty() && !is_word(&key) {
        attributes.problem("the id has other characters than letters, digits, -, _ and .");
    }
    let name = attributes.name("title-en", &key);
    let due = attributes.zs_duration("due");
    attributes.ignore(&["isExecutable", "isClosed", "processType"]);
    attributes.finish();

    let mut draft = Draft::default();
    for child in &node.children {
        read_child(child, &mut draft, problems);
    }
    let start = structure::check(node, &draft, problems)?;
    let flows: Vec<Flow> = draft.flows.into_iter().map(finish_flow).collect();
    let elements = draft.nodes.into_iter().filter_map(|n| finish_node(n, &flows)).collect();
    Some(Definition::new(key, name, due, start, elements, flows))
}

fn read_child(child: &Node, draft: &mut Draft, problems: &mut Problems) {
    if child.space == Space::Zs {
        problems.add(child.id(), child.line, format!("there is no element zs:{}", child.name));
        return;
    }
    let kind: Option<KindReader> = match child.name.as_str() {
        "startEvent" => Some(events::start),
        "endEvent" => Some(events::end),
        "boundaryEvent" => Some(events::boundary),
        "userTask" => Some(user_task::read),
        "serviceTask" => Some(service_task::read),
        "exclusiveGateway" => Some(exclusive_gateway::read),
        "sequenceFlow" => {
            draft.flows.extend(sequence_flow::read(child, problems));
            return;
        }
        // Drawn for people; they change nothing about how a case runs.
        "documentation" | "laneSet" | "textAnnotation" | "association" | "group" => return,
        "extensionElements" => {
            extension(child, problems);
            return;
        }
        _ => None,
    };
    let Some(kind) = kind else {
        problems.add(child.id(), child.line, format!("{} is not run yet; use another element", child.name));
        if let Some(id) = child.id() {
            let attached_to = child.attribute(None, "attachedToRef").map(str::to_owned);
            let name = Text::new(id, id);
            draft.nodes.push(DraftNode {
                id: id.to_owned(),
                line: child.line,
                name,
                kind: None,
                attached_to,
            });
        }
        return;
    };

    let mut attributes = Attributes::of(child, problems);
    let id = attributes.required("id").unwrap_or_default().to_owned();
    if !id.is_empty() && !is_word(&id) {
        attributes.problem("the id has other characters than letters, digits, -, _ and .");
    }
    let name = attributes.name("name-en", &id);
    let kind = kind(child, &mut attributes);
    attributes.finish();
    for part in &child.children {
        match part.name.as_str() {
            "incoming" | "outgoing" => draft.mentions.push(Mention {
                node: id.clone(),
                line: part.line,
                // A reference may carry a prefix (QName); ids do not.
                flow: part.text.trim().rsplit(':').next().unwrap_or_default().to_owned(),
                incoming: part.name == "incoming",
            }),
            "extensionElements" => extension(part, problems),
            _ => {}
        }
    }
    let attached_to = child.attribute(None, "attachedToRef").map(str::to_owned);
    if !id.is_empty() {
        draft.nodes.push(DraftNode { id, line: child.line, name, kind, attached_to });
    }
}

/// Reads what is particular to one kind of element; `None` when it was refused.
pub(super) type KindReader = fn(&Node, &mut Attributes<'_, '_>) -> Option<Kind>;

/// Refuses the parts of an element that its reader has not named.
pub(super) fn refuse_other_parts(node: &Node, attributes: &mut Attributes<'_, '_>, named: &[&str]) -> bool {
    let mut sound = true;
    for part in &node.children {
        let general = ["incoming", "outgoing", "documentation", "extensionElements"];
        if part.space == Space::Bpmn
            && (general.contains(&part.name.as_str()) || named.contains(&part.name.as_str()))
        {
            continue;
        }
        attributes.problem(format!(
            "{} of {} (line {}) is not run yet; remove it",
            part.name, node.name, part.line
        ));
        sound = false;
    }
    sound
}

/// Other vendors' extensions are ignored; ours are attributes, so an element of ours is a mistake.
fn extension(node: &Node, problems: &mut Problems) {
    for ours in node.children.iter().filter(|c| c.space == Space::Zs) {
        problems.add(
            None,
            ours.line,
            format!("there is no element zs:{}; what we add are attributes", ours.name),
        );
    }
}

fn finish_flow(flow: DraftFlow) -> Flow {
    let DraftFlow { id, line, name, source, target, condition, .. } = flow;
    Flow { id, line, name, source, target, condition }
}

fn finish_node(node: DraftNode, flows: &[Flow]) -> Option<Element> {
    let outgoing = flows.iter().filter(|f| f.source == node.id).map(|f| f.id.clone()).collect();
    Some(Element { id: node.id, name: node.name, line: node.line, kind: node.kind?, outgoing })
}
