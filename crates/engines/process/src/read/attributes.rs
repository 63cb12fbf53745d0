//! Reading the attributes of one element so that none is overlooked.

use model::{IsoDuration, Text};

use super::error::Problems;
use super::xml::{Node, Space};

/// The attributes of a node; whoever reads it says which are known, and [`Attributes::finish`]
/// refuses the rest.
pub(super) struct Attributes<'n, 'p> {
    node: &'n Node,
    problems: &'p mut Problems,
    known: Vec<(Option<Space>, &'n str)>,
}

impl<'n, 'p> Attributes<'n, 'p> {
    pub(super) fn of(node: &'n Node, problems: &'p mut Problems) -> Self {
        let mut known = Vec::new();
        known.extend(node.id().map(|_| (None, "id")));
        Self { node, problems, known }
    }

    /// Reports a problem of this element.
    pub(super) fn problem(&mut self, reason: impl Into<String>) {
        self.problems.add(self.node.id(), self.node.line, reason);
    }

    /// A BPMN attribute.
    pub(super) fn bpmn(&mut self, name: &str) -> Option<&'n str> {
        self.take(None, name)
    }

    /// A BPMN attribute that must be there.
    pub(super) fn required(&mut self, name: &str) -> Option<&'n str> {
        let value = self.bpmn(name).filter(|v| !v.trim().is_empty());
        if value.is_none() {
            self.problem(format!("{} has no {name}", self.node.name));
        }
        value
    }

    /// BPMN attributes that change nothing about how a case runs.
    pub(super) fn ignore(&mut self, names: &[&str]) {
        for name in names {
            self.bpmn(name);
        }
    }

    /// A BPMN attribute of which the engine runs one value only, its default.
    pub(super) fn only(&mut self, name: &str, value: &str) {
        if let Some(other) = self.bpmn(name).filter(|v| *v != value) {
            self.problem(format!("{name}=\"{other}\" is not run yet; only \"{value}\""));
        }
    }

    /// A `true` or `false` of BPMN.
    pub(super) fn flag(&mut self, name: &str, default: bool) -> bool {
        let value = self.bpmn(name);
        self.boolean(name, value, default)
    }

    /// One of our attributes.
    pub(super) fn zs(&mut self, name: &str) -> Option<&'n str> {
        self.take(Some(Space::Zs), name)
    }

    /// One of ours that is `true` or `false`.
    pub(super) fn zs_flag(&mut self, name: &str) -> bool {
        let value = self.zs(name);
        self.boolean(&format!("zs:{name}"), value, false)
    }

    /// One of ours that is a name: letters, digits, `-`, `_`, `.`.
    pub(super) fn zs_word(&mut self, name: &str) -> Option<&'n str> {
        let value = self.zs(name)?;
        if is_word(value) {
            return Some(value);
        }
        self.problem(format!("zs:{name}={value:?} is not a name (letters, digits, -, _ and . only)"));
        None
    }

    /// One of ours that is an ISO 8601 duration above zero.
    pub(super) fn zs_duration(&mut self, name: &str) -> Option<IsoDuration> {
        let value = self.zs(name)?;
        match duration(value) {
            Ok(duration) => Some(duration),
            Err(e) => {
                self.problem(format!("zs:{name}: {e}"));
                None
            }
        }
    }

    /// Ours whose names begin with `prefix`, without it.
    pub(super) fn zs_prefixed(&mut self, prefix: &str) -> Vec<(&'n str, &'n str)> {
        let mut found = Vec::new();
        for a in self.node.attributes.iter().filter(|a| a.space == Some(Space::Zs)) {
            if let Some(rest) = a.name.strip_prefix(prefix).filter(|rest| !rest.is_empty()) {
                self.known.push((Some(Space::Zs), &a.name));
                found.push((rest, a.value.as_str()));
            }
        }
        found
    }

    /// `name` with the English of `zs:<english>`; what is missing is taken from the other, or is
    /// `fallback`.
    pub(super) fn name(&mut self, english: &str, fallback: &str) -> Text {
        let filled = |v: &&str| !v.trim().is_empty();
        let zh = self.bpmn("name").filter(filled).map(str::trim);
        let en = self.zs(english).filter(filled).map(str::trim);
        Text::new(zh.or(en).unwrap_or(fallback), en.or(zh).unwrap_or(fallback))
    }

    /// Refuses what nobody asked for. Attributes of other namespaces are not ours to judge.
    pub(super) fn finish(mut self) {
        let node = self.node;
        for a in &node.attributes {
            if self.known.contains(&(a.space, &a.name)) {
                continue;
            }
            match a.space {
                None | Some(Space::Bpmn) => {
                    self.problem(format!(
                        "attribute {:?} of {} is not run yet; remove it",
                        a.name, node.name
                    ));
                }
                Some(Space::Zs) => {
                    self.problem(format!(
                        "{} has no attribute zs:{}; correct its name or remove it",
                        node.name, a.name
                    ));
                }
                Some(Space::Other) => {}
            }
        }
    }

    fn take(&mut self, space: Option<Space>, name: &str) -> Option<&'n str> {
        let found = self.node.attributes.iter().find(|a| a.space == space && a.name == name)?;
        self.known.push((space, &found.name));
        Some(&found.value)
    }

    fn boolean(&mut self, name: &str, value: Option<&str>, default: bool) -> bool {
        match value {
            None => default,
            // XML Schema's boolean has both spellings.
            Some("true" | "1") => true,
            Some("false" | "0") => false,
            Some(other) => {
                self.problem(format!("{name}={other:?} is neither true nor false"));
                default
            }
        }
    }
}

/// A name that other files can refer to.
pub(super) fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 100
        && text.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// An ISO 8601 duration above zero. jiff reads "10 minutes" too; a process file speaks ISO only.
pub(super) fn duration(text: &str) -> Result<IsoDuration, String> {
    let text = text.trim();
    if !text.starts_with(['P', 'p']) {
        return Err(format!("{text:?} is not an ISO 8601 duration such as PT10M"));
    }
    match IsoDuration::parse(text) {
        Ok(duration) if duration.0 > 0 => Ok(duration),
        Ok(_) => Err(format!("{text:?} is no time at all; it must be above zero")),
        Err(e) => Err(format!("cannot read the duration {text:?}: {e}")),
    }
}
