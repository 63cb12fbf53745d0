//! `<userTask>`.

use super::attributes::{Attributes, is_word};
use super::process::refuse_other_parts;
use super::xml::Node;
use crate::definition::{Kind, UserTask};

/// More levels than an administration has.
const MAX_LEVELS: usize = 10;

pub(super) fn read(node: &Node, attributes: &mut Attributes<'_, '_>) -> Option<Kind> {
    activity(attributes);
    attributes.ignore(&["implementation"]);
    let sound = refuse_other_parts(node, attributes, &[]);
    let post = attributes.zs_word("post").unwrap_or_default().to_owned();
    if post.is_empty() {
        attributes.problem("the user task names no post; add zs:post");
    }
    let levels: Vec<String> = match attributes.zs("levels") {
        Some(levels) => levels.split_whitespace().map(str::to_owned).collect(),
        None => vec![post.clone()],
    };
    if let Some(reason) = unsound(&levels, &post) {
        attributes.problem(reason);
    }
    let escalation = attributes.zs_duration("escalation");
    if attributes.zs("escalation").is_some() != (levels.len() > 1) {
        attributes
            .problem("zs:escalation needs at least two posts in zs:levels, and those need zs:escalation");
    }
    let task = UserTask {
        post,
        levels,
        escalation,
        due: attributes.zs_duration("due"),
        form: attributes.zs_word("form").map(str::to_owned),
        acknowledge: attributes.zs_flag("acknowledge"),
    };
    sound.then_some(Kind::UserTask(task))
}

/// What every activity may say, and the engine runs one value of.
pub(super) fn activity(attributes: &mut Attributes<'_, '_>) {
    attributes.only("isForCompensation", "false");
    attributes.only("startQuantity", "1");
    attributes.only("completionQuantity", "1");
}

fn unsound(levels: &[String], post: &str) -> Option<String> {
    if levels.len() > MAX_LEVELS {
        return Some(format!("zs:levels has {} posts, at most {MAX_LEVELS} are allowed", levels.len()));
    }
    if let Some(bad) = levels.iter().find(|l| !is_word(l) && !l.is_empty()) {
        return Some(format!("zs:levels: {bad:?} is not the name of a post"));
    }
    if levels.iter().enumerate().any(|(i, level)| levels.iter().skip(i + 1).any(|other| other == level)) {
        return Some("zs:levels names a post twice".to_owned());
    }
    (levels.first().map(String::as_str) != Some(post))
        .then(|| format!("the first of zs:levels is not zs:post={post:?}"))
}
