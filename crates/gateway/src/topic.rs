//! Who may publish and subscribe where: `zs/v1/{thing}/…`.

/// What every topic of this hub begins with; the number is the version of the payloads.
pub const PREFIX: &str = "zs/v1/";

/// Where a message of a device belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// `zs/v1/{thing}/{datastream}` of its own; whether such a datastream exists is not known here.
    Datastream(&'a str),
    /// `zs/v1/{thing}/reply`: the answer to a command.
    Reply,
    /// Anybody else's, or no topic of this hub.
    NotOwn,
    /// No topic name: wildcards or U+0000 (MQTT 4.7.1-1, 4.7.3-2), which the codec lets through.
    Invalid,
}

/// Judges the topic of a PUBLISH by the device named `thing`.
#[must_use]
pub fn place<'a>(topic: &'a str, thing: &str) -> Place<'a> {
    if topic.bytes().any(|b| matches!(b, b'+' | b'#' | 0)) {
        return Place::Invalid;
    }
    match own(topic, thing) {
        Some("reply") => Place::Reply,
        Some(rest) => Place::Datastream(rest),
        None => Place::NotOwn,
    }
}

/// What a topic filter asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A filter that matches the device's own command topic.
    Commands,
    /// Anything else that is well formed.
    NotOwn,
    /// `$share/…`: not offered.
    Shared,
    /// Not a topic filter (MQTT 4.7.1).
    Invalid,
}

/// Judges a topic filter of a SUBSCRIBE by the device named `thing`.
///
/// `zs/v1/{thing}/command` and the wildcards in its place are granted. Messages that the device
/// itself publishes are never sent back to it.
#[must_use]
pub fn asked(filter: &str, thing: &str) -> Asked {
    if !well_formed(filter) {
        return Asked::Invalid;
    }
    if filter.starts_with("$share/") {
        return Asked::Shared;
    }
    match own(filter, thing) {
        Some("command" | "#" | "+") => Asked::Commands,
        _ => Asked::NotOwn,
    }
}

/// The topic on which the device named `thing` gets its commands.
#[must_use]
pub fn command(thing: &str) -> String {
    format!("{PREFIX}{thing}/command")
}

fn own<'a>(topic: &'a str, thing: &str) -> Option<&'a str> {
    topic.strip_prefix(PREFIX)?.strip_prefix(thing)?.strip_prefix('/')
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
