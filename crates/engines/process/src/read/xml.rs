//! XML to a small tree that remembers lines.
//!
//! Elements of other namespaces (the drawing, other vendors) are checked to be well-formed and left
//! out. Document type declarations are refused: there is no entity to expand and nothing to fetch.

use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, ResolveResult};
use quick_xml::reader::NsReader;

use crate::ZS_NAMESPACE;

/// Deeper than any modeller draws; keeps recursion (dropping the tree) shallow.
const MAX_DEPTH: usize = 64;
/// All XML elements, the drawing among them (about ten to a BPMN element).
const MAX_NODES: usize = 50_000;
const BPMN_NAMESPACE: &str = "http://www.omg.org/spec/BPMN/20100524/MODEL";

/// Whose word it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// BPMN 2.0.
    Bpmn,
    /// Ours.
    Zs,
    /// Anybody else's.
    Other,
}

/// One XML element.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) space: Space,
    /// Without prefix.
    pub(super) name: String,
    pub(super) attributes: Vec<Attribute>,
    /// Those of BPMN and ours.
    pub(super) children: Vec<Node>,
    /// Character data directly inside.
    pub(super) text: String,
    /// Where its tag begins, from 1.
    pub(super) line: u32,
}

/// One XML attribute; namespace declarations are none.
#[derive(Debug)]
pub(super) struct Attribute {
    /// `None` for one without prefix, which belongs to its element.
    pub(super) space: Option<Space>,
    pub(super) name: String,
    pub(super) value: String,
}

/// Why the file is no XML that we read.
pub(super) struct XmlError {
    pub(super) line: u32,
    pub(super) reason: String,
}

impl Node {
    pub(super) fn is(&self, space: Space, name: &str) -> bool {
        self.space == space && self.name == name
    }

    pub(super) fn attribute(&self, space: Option<Space>, name: &str) -> Option<&str> {
        self.attributes.iter().find(|a| a.space == space && a.name == name).map(|a| a.value.as_str())
    }

    pub(super) fn id(&self) -> Option<&str> {
        self.attribute(None, "id")
    }
}

/// Reads the file and gives its root.
pub(super) fn parse(xml: &str) -> Result<Node, XmlError> {
    let xml = xml.strip_prefix('\u{feff}').unwrap_or(xml);
    let mut lines = Lines { xml: xml.as_bytes(), at: 0, line: 1 };
    let mut reader = NsReader::from_str(xml);
    let mut open: Vec<Node> = Vec::new();
    let mut root = None;
    let mut nodes = 0usize;
    loop {
        let line = lines.line_at(reader.buffer_position());
        let fail = |reason: String| XmlError { line, reason };
        let event = match reader.read_event() {
            Ok(event) => event,
            Err(e) => {
                let line = lines.line_at(reader.error_position());
                return Err(XmlError { line, reason: format!("not well-formed XML: {e}") });
            }
        };
        let closed = match event {
            Event::Start(tag) => {
                open.push(node(&reader, &tag, line)?);
                None
            }
            Event::Empty(tag) => Some(node(&reader, &tag, line)?),
            Event::End(_) => open.pop(),
            Event::Text(text) => {
                characters(&mut open, &text, line)?;
                None
            }
            Event::CData(text) => {
                characters(&mut open, &text, line)?;
                None
            }
            Event::GeneralRef(entity) => {
                let text = match entity.resolve_char_ref() {
                    Ok(Some(c)) => c.to_string(),
                    Ok(None) => resolve_predefined_entity(&entity)
                        .ok_or_else(|| {
                            fail(format!("the entity &{}; is not one of XML's own five", &*entity))
                        })?
                        .to_owned(),
                    Err(e) => return Err(fail(format!("not well-formed XML: {e}"))),
                };
                characters(&mut open, &text, line)?;
                None
            }
            Event::DocType(_) => {
                return Err(fail("a document type declaration is not allowed; remove it".into()));
            }
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => None,
            Event::Eof => break,
        };
        // Both counts are taken after at most one element more than allowed.
        nodes += usize::from(closed.is_some());
        if open.len() > MAX_DEPTH || nodes > MAX_NODES {
            return Err(fail(format!("deeper than {MAX_DEPTH} or more than {MAX_NODES} XML elements")));
        }
        match (closed, open.last_mut()) {
            (Some(child), Some(parent)) if child.space != Space::Other => parent.children.push(child),
            (Some(_), Some(_)) | (None, _) => {}
            (Some(top), None) if root.is_none() => root = Some(top),
            (Some(_), None) => return Err(fail("a second root element; a file has one".into())),
        }
    }
    let line = lines.line_at(reader.buffer_position());
    match (open.pop(), root) {
        (Some(left), _) => {
            Err(XmlError { line: left.line, reason: format!("<{}> is never closed", left.name) })
        }
        (None, Some(root)) => Ok(root),
        (None, None) => Err(XmlError { line, reason: "the file is empty".into() }),
    }
}

fn characters(open: &mut [Node], text: &str, line: u32) -> Result<(), XmlError> {
    match open.last_mut() {
        Some(node) => node.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err(XmlError { line, reason: "text outside the root element".into() }),
    }
    Ok(())
}

fn node(reader: &NsReader<&[u8]>, tag: &BytesStart<'_>, line: u32) -> Result<Node, XmlError> {
    let (space, name) = reader.resolver().resolve_element(tag.name());
    let space = space_of(&space, line)?.unwrap_or(Space::Other);
    let mut attributes = Vec::new();
    for attribute in tag.attributes() {
        let fail = |e: &dyn std::fmt::Display| XmlError { line, reason: format!("not well-formed XML: {e}") };
        let attribute = attribute.map_err(|e| fail(&e))?;
        if attribute.key.as_namespace_binding().is_some() {
            continue;
        }
        let (space, name) = reader.resolver().resolve_attribute(attribute.key);
        attributes.push(Attribute {
            space: space_of(&space, line)?,
            name: name.into_inner().to_owned(),
            value: attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|e| fail(&e))?.into_owned(),
        });
    }
    let name = name.into_inner().to_owned();
    Ok(Node { space, name, attributes, children: Vec::new(), text: String::new(), line })
}

fn space_of(resolved: &ResolveResult<'_>, line: u32) -> Result<Option<Space>, XmlError> {
    match resolved {
        ResolveResult::Unbound => Ok(None),
        ResolveResult::Bound(Namespace(BPMN_NAMESPACE)) => Ok(Some(Space::Bpmn)),
        ResolveResult::Bound(Namespace(name)) if *name == ZS_NAMESPACE => Ok(Some(Space::Zs)),
        ResolveResult::Bound(_) => Ok(Some(Space::Other)),
        ResolveResult::Unknown(prefix) => Err(XmlError {
            line,
            reason: format!("the prefix {prefix:?} has no namespace; declare xmlns:{prefix}"),
        }),
    }
}

/// Counts lines on the way; positions only grow.
struct Lines<'x> {
    xml: &'x [u8],
    at: usize,
    line: u32,
}

impl Lines<'_> {
    fn line_at(&mut self, position: u64) -> u32 {
        let position = usize::try_from(position).unwrap_or(usize::MAX).min(self.xml.len());
        let new = self.xml.get(self.at..position).unwrap_or_default();
        self.line =
            self.line.saturating_add(u32::try_from(new.iter().filter(|b| **b == b'\n').count()).unwrap_or(0));
        self.at = self.at.max(position);
        self.line
    }
}
