//! `<exclusiveGateway>`.

use super::attributes::Attributes;
use super::process::refuse_other_parts;
use super::xml::Node;
use crate::definition::{ExclusiveGateway, Kind};

pub(super) fn read(node: &Node, attributes: &mut Attributes<'_, '_>) -> Option<Kind> {
    let default = attributes.bpmn("default").map(str::to_owned);
    // A statement about the drawing, which the flows make as well.
    attributes.ignore(&["gatewayDirection"]);
    refuse_other_parts(node, attributes, &[]).then_some(Kind::ExclusiveGateway(ExclusiveGateway { default }))
}
