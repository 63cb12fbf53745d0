//! `<serviceTask>`.

use super::attributes::Attributes;
use super::process::refuse_other_parts;
use super::user_task::activity;
use super::xml::Node;
use crate::definition::{Kind, ServiceTask};

pub(super) fn read(node: &Node, attributes: &mut Attributes<'_, '_>) -> Option<Kind> {
    activity(attributes);
    attributes.ignore(&["implementation"]);
    let sound = refuse_other_parts(node, attributes, &[]);
    let service = attributes.zs_word("service").unwrap_or_default().to_owned();
    if service.is_empty() {
        attributes.problem("the service task names no service; add zs:service");
    }
    let params = attributes.zs_prefixed("param-").into_iter();
    let params = params.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    sound.then_some(Kind::ServiceTask(ServiceTask { service, params }))
}
