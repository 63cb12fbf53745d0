//! Who may publish and subscribe where: `zs/v1/{thing}/…`, and how filters match topics.

use model::DatastreamKey;

/// What every topic of this hub begins with; the number is the version of the payloads.
pub const PREFIX: &str = "zs/v1/";

/// Where a message belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// `zs/v1/{thing}/{datastream}`; whether such a datastream exists is not known here.
    Datastream {
        /// The thing's code.
        thing: &'a str,
        /// What follows it.
        code: &'a str,
    },
    /// `zs/v1/{thing}/reply`: the answer to a command.
    Reply {
        /// The thing's code.
        thing: &'a str,
    },
    /// `v1.1/Datastreams(ID)/Observations`: SensorThings' create (OGC 18-088, 14.2).
    Observations(DatastreamKey),
    /// No topic of this hub.
    Other,
    /// No topic name: empty, wildcards or U+0000 (4.7.1-1, 4.7.3-1, 4.7.3-2).
    Invalid,
}

/// Judges the topic of a PUBLISH.
#[must_use]
pub fn place(topic: &str) -> Place<'_> {
    if !is_name(topic) {
        return Place::Invalid;
    }
    if let Some((thing, code)) = topic.strip_prefix(PREFIX).and_then(|rest| rest.split_once('/')) {
        return match (thing, code) {
            ("", _) => Place::Other,
            (thing, "reply") => Place::Reply { thing },
            (thing, code) => Place::Datastream { thing, code },
        };
    }
    let key = topic.strip_prefix("v1.1/Datastreams(").and_then(|rest| rest.strip_suffix(")/Observations"));
    match key.and_then(|key| key.parse().ok()) {
        Some(key) => Place::Observations(DatastreamKey(key)),
        None => Place::Other,
    }
}

/// Whether `topic` is a topic name: one character or more, no wildcard, no U+0000.
#[must_use]
pub fn is_name(topic: &str) -> bool {
    !topic.is_empty() && !topic.bytes().any(|b| matches!(b, b'+' | b'#' | 0))
}

/// The thing that `topic` is about.
#[must_use]
pub fn thing(topic: &str) -> Option<&str> {
    let (thing, _) = topic.strip_prefix(PREFIX)?.split_once('/')?;
    (!thing.is_empty()).then_some(thing)
}

/// Whether `topic` lies below `zs/v1/{thing}/`.
#[must_use]
pub fn is_of(topic: &str, thing: &str) -> bool {
    let rest = topic.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix(thing));
    !thing.is_empty() && rest.is_some_and(|rest| rest.starts_with('/'))
}

/// The topic on which the device named `thing` gets its commands.
#[must_use]
pub fn command(thing: &str) -> String {
    format!("{PREFIX}{thing}/command")
}

/// The topic on which the device named `thing` answers.
#[must_use]
pub fn reply(thing: &str) -> String {
    format!("{PREFIX}{thing}/reply")
}

/// Whether `filter` matches command topics of one thing and nothing else: no observation can.
pub(crate) fn is_command(filter: &str) -> bool {
    !filter.contains(['+', '#'])
        && filter
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once('/'))
            .is_some_and(|(_, c)| c == "command")
}

/// What a topic filter asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter<'a> {
    /// The group of `$share/{group}/…`.
    pub group: Option<&'a str>,
    /// The filter itself, without `$share/{group}/`.
    pub filter: &'a str,
}

impl<'a> Filter<'a> {
    /// Reads a filter; `None` when it is none (4.7.1, 4.7.3, 4.8.2).
    #[must_use]
    pub fn read(text: &'a str) -> Option<Self> {
        let (group, filter) = match text.strip_prefix("$share/") {
            None => (None, text),
            Some(rest) => {
                let (group, filter) = rest.split_once('/')?;
                if group.is_empty() || group.contains(['+', '#']) {
                    return None;
                }
                (Some(group), filter)
            }
        };
        well_formed(filter).then_some(Self { group, filter })
    }
}

fn well_formed(filter: &str) -> bool {
    let mut levels = filter.split('/').peekable();
    let mut whole = !filter.is_empty() && !filter.contains('\0');
    while let Some(level) = levels.next() {
        whole &= match level {
            "#" => levels.peek().is_none(),
            "+" => true,
            other => !other.contains(['#', '+']),
        };
    }
    whole
}

/// Whether `filter` (well formed, without `$share`) matches `topic` (4.7).
#[must_use]
pub fn matches(filter: &str, topic: &str) -> bool {
    // Wildcards at the front do not match what begins with $ (4.7.2-1).
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut topic = topic.split('/');
    for level in filter.split('/') {
        match (level, topic.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (level, Some(name)) if level == name => {}
            _ => return false,
        }
    }
    topic.next().is_none()
}
