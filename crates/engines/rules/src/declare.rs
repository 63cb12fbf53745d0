//! What a pack writes in `rules.toml`, and why it is refused.

use std::collections::BTreeMap;
use std::ops::Range;

use model::{AreaPath, Severity, Text};
use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;

/// One declared rule: which datastreams it watches, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleDecl {
    /// Names the rule in alerts and bindings; unique in its pack.
    pub id: String,
    /// The title of its alerts.
    pub title: Text,
    /// The thing type it applies to.
    pub thing_type: String,
    /// The code of the datastream of that type.
    pub datastream: String,
    /// What it watches for.
    pub kind: Kind,
    /// The line of its `[[rule]]`.
    pub line: usize,
}

/// What a rule watches for.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// The value lies below a threshold.
    Below {
        /// How many samples in a row decide that it does.
        samples: u16,
        /// How far above the threshold the value must be to count as clear again, in its unit.
        clear_by: f64,
        /// How many samples in a row decide that it is clear.
        clear_samples: u16,
        /// The thresholds, mildest first; never empty.
        levels: Vec<Level>,
    },
    /// Nothing was heard for too long.
    Silence {
        /// How many intervals of the datastream may pass without a sample.
        missed: u16,
        /// The severity of its alert.
        severity: Severity,
        /// Whether the thing counts as offline while the alert is open.
        offline: bool,
    },
}

/// One threshold of a rule of the kind `below`.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    /// The severity while the value is below it.
    pub severity: Severity,
    /// The threshold, in the datastream's unit; a value equal to it is not below.
    pub below: f64,
    /// The properties a thing must have for this level to apply; empty means every thing.
    pub when: BTreeMap<String, Value>,
    /// Its name on the curve.
    pub label: Text,
}

impl Level {
    /// Whether the level applies to a thing with these properties.
    #[must_use]
    pub fn applies(&self, properties: &serde_json::Map<String, Value>) -> bool {
        self.when.iter().all(|(name, value)| properties.get(name) == Some(value))
    }

    /// Whether one thing could have both levels.
    fn meets(&self, other: &Self) -> bool {
        self.when.iter().all(|(name, value)| other.when.get(name).is_none_or(|v| v == value))
    }
}

/// Why a declaration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct RuleError {
    /// The line of the file, from 1.
    pub line: usize,
    /// What is wrong and what to do.
    pub reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<Spanned<RawRule>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    id: String,
    title: Text,
    r#type: String,
    datastream: String,
    kind: Spanned<String>,
    samples: Option<Spanned<u16>>,
    clear_by: Option<Spanned<f64>>,
    clear_samples: Option<Spanned<u16>>,
    #[serde(default)]
    level: Vec<Spanned<RawLevel>>,
    missed: Option<Spanned<u16>>,
    severity: Option<Spanned<Severity>>,
    offline: Option<Spanned<bool>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLevel {
    severity: Severity,
    below: f64,
    #[serde(default)]
    r#where: BTreeMap<String, Value>,
    label: Text,
}

/// The most samples in a row that a rule may ask for.
const MAX_SAMPLES: u16 = 1000;

/// Reads a `rules.toml`.
///
/// # Errors
/// Every [`RuleError`] of the file: not only the first, so that one look mends it.
pub fn parse(text: &str) -> Result<Vec<RuleDecl>, Vec<RuleError>> {
    let file: File = toml::from_str(text).map_err(|e| {
        vec![RuleError {
            line: line(text, &e.span().unwrap_or_default()),
            reason: e.message().replace('\n', "; "),
        }]
    })?;
    let mut reader = Reader { text, errors: Vec::new() };
    let mut rules: Vec<RuleDecl> = Vec::new();
    for raw in file.rule {
        let at = raw.span();
        let raw = raw.into_inner();
        if !AreaPath::is_code(&raw.id) {
            reader.refuse(&at, format!("the id {:?} must be letters, digits, '-', '_', '.'", raw.id));
        }
        if let Some(first) = rules.iter().find(|r| r.id == raw.id) {
            let reason = format!("the id {:?} is taken by the rule of line {}", raw.id, first.line);
            reader.refuse(&at, reason);
        }
        let kind = match raw.kind.as_ref().as_str() {
            "below" => reader.below(&raw, &at),
            "silence" => reader.silence(&raw, &at),
            other => {
                let reason = format!("the kind {other:?} is not known; write \"below\" or \"silence\"");
                reader.refuse(&raw.kind.span(), reason);
                continue;
            }
        };
        rules.push(RuleDecl {
            id: raw.id,
            title: raw.title,
            thing_type: raw.r#type,
            datastream: raw.datastream,
            kind,
            line: line(text, &at),
        });
    }
    if reader.errors.is_empty() { Ok(rules) } else { Err(reader.errors) }
}

/// The line of the start of a span, from 1.
fn line(text: &str, span: &Range<usize>) -> usize {
    1 + text.bytes().take(span.start).filter(|b| *b == b'\n').count()
}

struct Reader<'t> {
    text: &'t str,
    errors: Vec<RuleError>,
}

impl Reader<'_> {
    fn refuse(&mut self, at: &Range<usize>, reason: String) {
        self.errors.push(RuleError { line: line(self.text, at), reason });
    }

    fn count(&mut self, name: &str, value: Option<&Spanned<u16>>, rule: &Range<usize>) -> u16 {
        let Some(value) = value else {
            self.refuse(rule, format!("{name} is missing; give how many"));
            return 1;
        };
        if !(1..=MAX_SAMPLES).contains(value.as_ref()) {
            self.refuse(&value.span(), format!("{name} must be from 1 to {MAX_SAMPLES}"));
        }
        *value.as_ref()
    }

    fn foreign(&mut self, kind: &str, name: &str, span: Option<Range<usize>>) {
        if let Some(span) = span {
            self.refuse(&span, format!("{name} does not belong to a rule of the kind {kind:?}; remove it"));
        }
    }

    fn below(&mut self, raw: &RawRule, at: &Range<usize>) -> Kind {
        self.foreign("below", "missed", raw.missed.as_ref().map(Spanned::span));
        self.foreign("below", "severity (write it on its levels)", raw.severity.as_ref().map(Spanned::span));
        self.foreign("below", "offline", raw.offline.as_ref().map(Spanned::span));
        let samples = self.count("samples", raw.samples.as_ref(), at);
        let clear_samples = self.count("clear_samples", raw.clear_samples.as_ref(), at);
        let clear_by = raw.clear_by.as_ref().map_or(0.0, |c| *c.as_ref());
        if !(clear_by.is_finite() && clear_by >= 0.0) {
            self.refuse(at, "clear_by must be 0 or more".into());
        }
        if raw.level.is_empty() {
            self.refuse(at, "a rule of the kind \"below\" needs at least one [[rule.level]]".into());
        }
        let mut levels: Vec<Level> = Vec::new();
        for spanned in &raw.level {
            let raw = spanned.as_ref();
            let level = Level {
                severity: raw.severity,
                below: raw.below,
                when: raw.r#where.clone(),
                label: raw.label.clone(),
            };
            if !level.below.is_finite() {
                self.refuse(&spanned.span(), "below must be a number".into());
            }
            for (name, value) in &level.when {
                if !(value.is_string() || value.is_number() || value.is_boolean()) {
                    self.refuse(
                        &spanned.span(),
                        format!("where.{name} must be a text, a number or true or false"),
                    );
                }
            }
            for other in levels.iter().filter(|o| o.meets(&level)) {
                let reason = if other.severity == level.severity {
                    format!(
                        "two {} levels apply to the same things; tell them apart by `where`",
                        level.severity.as_str()
                    )
                } else if (other.severity < level.severity) != (other.below < level.below) {
                    format!(
                        "{} below {} and {} below {} contradict: the graver one must lie lower",
                        other.severity.as_str(),
                        other.below,
                        level.severity.as_str(),
                        level.below
                    )
                } else {
                    continue;
                };
                self.refuse(&spanned.span(), reason);
                break;
            }
            levels.push(level);
        }
        // Mildest first: the greater of the ordering.
        levels.sort_by_key(|l| std::cmp::Reverse(l.severity));
        Kind::Below { samples, clear_by, clear_samples, levels }
    }

    fn silence(&mut self, raw: &RawRule, at: &Range<usize>) -> Kind {
        self.foreign("silence", "samples", raw.samples.as_ref().map(Spanned::span));
        self.foreign("silence", "clear_by", raw.clear_by.as_ref().map(Spanned::span));
        self.foreign("silence", "clear_samples", raw.clear_samples.as_ref().map(Spanned::span));
        self.foreign("silence", "level", raw.level.first().map(Spanned::span));
        let missed = self.count("missed", raw.missed.as_ref(), at);
        if raw.severity.is_none() {
            self.refuse(at, "severity is missing; write red, orange, yellow or blue".into());
        }
        Kind::Silence {
            missed,
            severity: raw.severity.as_ref().map_or(Severity::Blue, |s| *s.as_ref()),
            offline: raw.offline.as_ref().is_some_and(|o| *o.as_ref()),
        }
    }
}
