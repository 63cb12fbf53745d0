//! Topic filters as a tree, one level of the topic a step.

use std::collections::HashMap;
use std::sync::Arc;

use super::mailbox::Mailbox;
use crate::topic::Filter;

/// Options of a subscription (3.8.3.1), read from their byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options(pub(crate) u8);

impl Options {
    pub(crate) fn qos(self) -> u8 {
        self.0 & 3
    }

    pub(crate) fn no_local(self) -> bool {
        self.0 & 4 != 0
    }

    pub(crate) fn retain_as_published(self) -> bool {
        self.0 & 8 != 0
    }

    /// 0 sends retained messages, 1 for a new subscription only, 2 never.
    pub(crate) fn retain_handling(self) -> u8 {
        self.0 >> 4 & 3
    }
}

/// A subscription as it stands in the tree.
pub(crate) struct Leaf {
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) options: Options,
    pub(crate) identifier: Option<u32>,
}

/// A group that shares its messages (4.8.2).
struct Group {
    name: Box<str>,
    members: Vec<Leaf>,
    /// Whose turn it is.
    next: usize,
}

#[derive(Default)]
struct Leaves {
    single: Vec<Leaf>,
    groups: Vec<Group>,
}

impl Leaves {
    fn is_empty(&self) -> bool {
        self.single.is_empty() && self.groups.is_empty()
    }
}

#[derive(Default)]
struct Node {
    children: HashMap<Box<str>, Node>,
    /// The filter ends here.
    here: Leaves,
    /// The filter goes on with `#`.
    below: Leaves,
}

impl Node {
    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.here.is_empty() && self.below.is_empty()
    }
}

/// The tree of all subscriptions.
#[derive(Default)]
pub(crate) struct Trie {
    root: Node,
}

impl Trie {
    /// Adds a subscription or replaces the one of the same mailbox; whether it is new.
    pub(crate) fn insert(&mut self, filter: Filter<'_>, leaf: Leaf) -> bool {
        let mut node = &mut self.root;
        let mut below = false;
        for level in filter.filter.split('/') {
            if level == "#" {
                below = true;
                break;
            }
            if !node.children.contains_key(level) {
                node.children.insert(level.into(), Node::default());
            }
            let Some(child) = node.children.get_mut(level) else { return false };
            node = child;
        }
        let leaves = if below { &mut node.below } else { &mut node.here };
        let members = match filter.group {
            None => &mut leaves.single,
            Some(name) => {
                let at = leaves.groups.iter().position(|group| *group.name == *name);
                let at = at.unwrap_or_else(|| {
                    leaves.groups.push(Group { name: name.into(), members: Vec::new(), next: 0 });
                    leaves.groups.len() - 1
                });
                &mut leaves.groups[at].members
            }
        };
        match members.iter_mut().find(|other| Arc::ptr_eq(&other.mailbox, &leaf.mailbox)) {
            Some(other) => {
                *other = leaf;
                false
            }
            None => {
                members.push(leaf);
                true
            }
        }
    }

    /// Takes a subscription out; whether there was one.
    pub(crate) fn remove(&mut self, filter: Filter<'_>, mailbox: &Arc<Mailbox>) -> bool {
        let levels: Vec<&str> = filter.filter.split('/').collect();
        remove(&mut self.root, &levels, filter.group, mailbox)
    }

    /// Calls `found` with each subscription that matches `topic`; of a group with the member whose
    /// turn it is among those that `can_take`.
    pub(crate) fn matches(
        &mut self,
        topic: &str,
        can_take: &mut dyn FnMut(&Leaf) -> Taking,
        found: &mut dyn FnMut(&Leaf, bool),
    ) {
        let levels: Vec<&str> = topic.split('/').collect();
        let wild = !topic.starts_with('$');
        walk(&mut self.root, &levels, wild, can_take, found);
    }
}

/// How ready a member of a group is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taking {
    /// Connected, with room.
    Now,
    /// Absent; its queue has room.
    Later,
    /// Full, or not allowed to see it.
    No,
}

fn remove(node: &mut Node, levels: &[&str], group: Option<&str>, mailbox: &Arc<Mailbox>) -> bool {
    let leaves = match levels {
        ["#"] => &mut node.below,
        [] => &mut node.here,
        [level, rest @ ..] => {
            let Some(child) = node.children.get_mut(*level) else { return false };
            let was = remove(child, rest, group, mailbox);
            if child.is_empty() {
                node.children.remove(*level);
            }
            return was;
        }
    };
    let take = |members: &mut Vec<Leaf>| {
        let before = members.len();
        members.retain(|leaf| !Arc::ptr_eq(&leaf.mailbox, mailbox));
        members.len() < before
    };
    match group {
        None => take(&mut leaves.single),
        Some(name) => {
            let Some(at) = leaves.groups.iter().position(|group| *group.name == *name) else { return false };
            let was = take(&mut leaves.groups[at].members);
            if leaves.groups[at].members.is_empty() {
                leaves.groups.swap_remove(at);
            }
            was
        }
    }
}

fn walk(
    node: &mut Node,
    levels: &[&str],
    wild: bool,
    can_take: &mut dyn FnMut(&Leaf) -> Taking,
    found: &mut dyn FnMut(&Leaf, bool),
) {
    // "#" matches the level it stands behind as well (4.7.1.2).
    if wild {
        visit(&mut node.below, can_take, found);
    }
    match levels {
        [] => visit(&mut node.here, can_take, found),
        [level, rest @ ..] => {
            if let Some(child) = node.children.get_mut(*level) {
                walk(child, rest, true, can_take, found);
            }
            if wild && let Some(child) = node.children.get_mut("+") {
                walk(child, rest, true, can_take, found);
            }
        }
    }
}

fn visit(leaves: &mut Leaves, can_take: &mut dyn FnMut(&Leaf) -> Taking, found: &mut dyn FnMut(&Leaf, bool)) {
    for leaf in &leaves.single {
        found(leaf, false);
    }
    for group in &mut leaves.groups {
        let n = group.members.len();
        let mut later = None;
        for at in (0..n).map(|step| (group.next + step) % n) {
            match can_take(&group.members[at]) {
                Taking::Now => {
                    later = Some(at);
                    break;
                }
                Taking::Later => later = later.or(Some(at)),
                Taking::No => {}
            }
        }
        if let Some(at) = later {
            group.next = (at + 1) % n;
            found(&group.members[at], true);
        }
    }
}
