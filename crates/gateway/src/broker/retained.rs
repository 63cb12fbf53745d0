//! Retained messages (3.3.1.3): the last of each topic that was published with RETAIN.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use tokio::time::Instant;

use super::post::Post;
use crate::topic::matches;

/// A bounded number and weight of them, by topic.
#[derive(Default)]
pub(super) struct Retained {
    posts: BTreeMap<String, Arc<Post>>,
    bytes: usize,
    most: usize,
    most_bytes: usize,
}

impl Retained {
    pub(super) fn new(most: usize, most_bytes: usize) -> Self {
        Self { most, most_bytes, ..Self::default() }
    }

    /// Whether a message of `bytes` on `topic` fits, once the expired ones are gone.
    pub(super) fn has_room(&mut self, topic: &str, bytes: usize, now: Instant) -> bool {
        for swept in [false, true] {
            let old = self.posts.get(topic).map(|post| post.weight());
            let count = self.posts.len() + usize::from(old.is_none());
            if count <= self.most && self.bytes - old.unwrap_or(0) + bytes <= self.most_bytes {
                return true;
            }
            if !swept {
                self.posts.retain(|_, post| !post.is_expired(now));
                self.bytes = self.posts.values().map(|post| post.weight()).sum();
            }
        }
        false
    }

    /// Keeps `post` in place of the one before on its topic; `false` when there is no room.
    pub(super) fn set(&mut self, post: Arc<Post>, now: Instant) -> bool {
        let topic = post.message.topic.clone();
        if !self.has_room(&topic, post.weight(), now) {
            return false;
        }
        self.bytes += post.weight();
        if let Some(old) = self.posts.insert(topic, post) {
            self.bytes -= old.weight();
        }
        true
    }

    /// Keeps nothing on `topic` any more; whether there was something.
    pub(super) fn remove(&mut self, topic: &str) -> bool {
        match self.posts.remove(topic) {
            Some(old) => {
                self.bytes -= old.weight();
                true
            }
            None => false,
        }
    }

    /// Those on topics that `filter` matches.
    pub(super) fn matching(&self, filter: &str, now: Instant) -> Vec<Arc<Post>> {
        // Everything that matches begins with what stands before the first wildcard; "a/#" matches
        // "a" too.
        let before = filter.find(['+', '#']).map_or(filter, |at| &filter[..at]);
        let before = before.strip_suffix('/').unwrap_or(before);
        self.posts
            .range::<str, _>((Bound::Included(before), Bound::Unbounded))
            .take_while(|(topic, _)| topic.starts_with(before))
            .filter(|(topic, post)| matches(filter, topic) && !post.is_expired(now))
            .map(|(_, post)| post.clone())
            .collect()
    }
}
