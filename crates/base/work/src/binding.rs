//! `bindings.toml`: which alert starts which process, by which correlation key, and back.

use model::{IsoDuration, Text};
use platform::{PackError, PackFiles};
use serde::Deserialize;
use serde_json::Value;

/// The file.
pub(crate) const FILE: &str = "bindings.toml";

/// One binding.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Binding {
    /// The event; only `alert.opened` so far.
    pub(crate) on: On,
    /// The rule whose alerts it is about.
    pub(crate) rule: String,
    /// The process it starts.
    pub(crate) start: String,
    /// Where the key lies by which alerts share a case: `thing.properties.<name>` or `thing`.
    #[serde(default)]
    pub(crate) correlate: Option<String>,
    /// What the case is called; `{place}`, `{thing}`, `{alert}` are filled.
    pub(crate) title: Text,
    /// What an alert that resolves by itself does to its case.
    #[serde(default)]
    pub(crate) on_resolved: Option<OnResolved>,
    /// What happens when the case is closed and an alert of it is not resolved.
    #[serde(default)]
    pub(crate) on_case_closed: Option<OnCaseClosed>,
}

/// What starts a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum On {
    /// An alert opened.
    #[serde(rename = "alert.opened")]
    AlertOpened,
}

/// What a resolved alert does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnResolved {
    /// A note in the timeline; the work goes on.
    Note,
}

/// What a closed case does about alerts that are still open.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OnCaseClosed {
    pub(crate) if_still_open: IfStillOpen,
    /// How long after the closing.
    pub(crate) after: IsoDuration,
}

/// What to do about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum IfStillOpen {
    /// Start a new case.
    Restart,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BindingsFile {
    #[serde(default)]
    binding: Vec<Binding>,
}

/// The bindings of a pack.
pub(crate) fn read(pack: &PackFiles) -> Result<Vec<Binding>, Vec<PackError>> {
    let Some(text) = pack.files.get(FILE) else { return Ok(Vec::new()) };
    let file: BindingsFile = toml::from_str(text).map_err(|e| vec![PackError::toml(FILE, text, &e)])?;
    let mut errors = Vec::new();
    for binding in &file.binding {
        if let Some(path) = &binding.correlate
            && !is_path(path)
        {
            let line = text.lines().position(|l| l.contains(path.as_str())).map(|l| l as u32 + 1);
            let reason =
                format!("correlate is {path:?}; it must be \"thing\" or \"thing.properties.<name>\"");
            errors.push(PackError { file: FILE.into(), line, reason });
        }
    }
    if errors.is_empty() { Ok(file.binding) } else { Err(errors) }
}

fn is_path(path: &str) -> bool {
    path == "thing" || path.strip_prefix("thing.properties.").is_some_and(model::AreaPath::is_code)
}

impl Binding {
    /// The key by which alerts share a case: the value the path names; the thing's own code when
    /// there is none, so that a thing without the property has its own case. The prefix keeps a
    /// main from being taken for a thing of the same name, and `estate` keeps two estates that
    /// both have a "main-1" apart: neither's people may see into the other.
    pub(crate) fn correlation(&self, facts: &Value, estate: &str) -> String {
        let thing = facts.get("thing").and_then(Value::as_str).unwrap_or_default();
        let property = self.correlate.as_deref().and_then(|p| p.strip_prefix("thing.properties."));
        let value = property.and_then(|name| facts.get("properties")?.get(name));
        match (property, value) {
            (Some(name), Some(Value::String(v))) if !v.is_empty() => {
                format!("{}@{estate}:{name}={v}", self.rule)
            }
            (Some(name), Some(v @ (Value::Number(_) | Value::Bool(_)))) => {
                format!("{}@{estate}:{name}={v}", self.rule)
            }
            _ => format!("{}:thing={thing}", self.rule),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_of_one_main_share_a_key_and_others_keep_their_own() {
        let binding: Binding = toml::from_str(
            "on='alert.opened'\nrule='r'\nstart='p'\ncorrelate='thing.properties.main'\ntitle={zh='',en=''}",
        )
        .unwrap();
        for (facts, expected) in [
            (serde_json::json!({"thing":"h1","properties":{"main":"m3"}}), "r@50/jz/:main=m3"),
            (serde_json::json!({"thing":"h1","properties":{"main":7}}), "r@50/jz/:main=7"),
            (serde_json::json!({"thing":"h1","properties":{"main":""}}), "r:thing=h1"),
            (serde_json::json!({"thing":"h1","properties":{}}), "r:thing=h1"),
            (serde_json::json!({"thing":"h1"}), "r:thing=h1"),
        ] {
            assert_eq!(binding.correlation(&facts, "50/jz/"), expected, "{facts}");
        }
    }
}
