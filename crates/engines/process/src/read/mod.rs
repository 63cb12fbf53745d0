//! From XML to [`Definition`].
//!
//! The file is read into a small tree with line numbers (`xml`), each executable process into its
//! elements (one file a kind), and the whole is then checked as a graph (`structure`). All problems
//! are collected, so that one look at the message is enough to mend the file.
//!
//! Prefixes do not matter, namespaces do. What another vendor's namespace adds is ignored, as BPMN
//! asks (2.0.2 §8.3.3); what BPMN itself or our own namespace says and the engine does not run is
//! refused.

mod attributes;
mod error;
mod events;
mod exclusive_gateway;
mod process;
mod sequence_flow;
mod service_task;
mod structure;
mod user_task;
mod xml;

pub use error::{ReadError, ReadErrors};

use std::collections::HashMap;

use crate::definition::Definition;
use error::Problems;
use xml::{Node, Space};

/// The largest file, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;
/// The most elements and flows that the executable processes of a file may have together.
pub const MAX_ELEMENTS: usize = 2000;

/// Reads every executable process of a BPMN 2.0 file, in the order of the file.
///
/// # Errors
/// Everything that is wrong with the file, or that the engine does not run, with element and line.
pub fn read(xml: &str) -> Result<Vec<Definition>, ReadErrors> {
    let mut problems = Problems::default();
    let definitions = read_file(xml, &mut problems);
    problems.into_result(definitions)
}

fn read_file(xml: &str, problems: &mut Problems) -> Vec<Definition> {
    if xml.len() > MAX_BYTES {
        problems.add(None, 1, format!("the file has {} bytes, at most {MAX_BYTES} are allowed", xml.len()));
        return Vec::new();
    }
    let root = match xml::parse(xml) {
        Ok(root) => root,
        Err(e) => {
            problems.add(None, e.line, e.reason);
            return Vec::new();
        }
    };
    if !root.is(Space::Bpmn, "definitions") {
        let reason =
            "the root is not <definitions> of BPMN 2.0 (http://www.omg.org/spec/BPMN/20100524/MODEL)";
        problems.add(None, root.line, reason);
        return Vec::new();
    }
    find_repeated_ids(&root, problems);
    let collaborations = root.children.iter().filter(|n| n.is(Space::Bpmn, "collaboration"));
    for message in collaborations.flat_map(|c| &c.children).filter(|n| n.is(Space::Bpmn, "messageFlow")) {
        problems.add(message.id(), message.line, "messageFlow is not run yet; remove it");
    }

    let processes = root.children.iter().filter(|n| n.is(Space::Bpmn, "process"));
    let executable: Vec<&Node> =
        processes.filter(|p| p.attribute(None, "isExecutable") == Some("true")).collect();
    if executable.is_empty() {
        problems.add(None, root.line, "there is no process with isExecutable=\"true\"");
    }
    let size: usize = executable.iter().map(|p| p.children.len()).sum();
    if size > MAX_ELEMENTS {
        problems.add(
            None,
            root.line,
            format!("{size} elements and flows, at most {MAX_ELEMENTS} are allowed"),
        );
        return Vec::new();
    }
    executable.into_iter().filter_map(|p| process::read(p, problems)).collect()
}

/// Ids are unique in a file (XML's ID type), and everything here refers by id.
fn find_repeated_ids(root: &Node, problems: &mut Problems) {
    let mut seen: HashMap<&str, u32> = HashMap::new();
    let mut stack = vec![root];
    while let Some(node) = stack.pop() {
        if let Some(id) = node.id()
            && let Some(first) = seen.insert(id, node.line)
        {
            problems.add(
                Some(id),
                node.line,
                format!("the id is used before, in line {first}; ids are unique"),
            );
        }
        stack.extend(node.children.iter().rev());
    }
}
