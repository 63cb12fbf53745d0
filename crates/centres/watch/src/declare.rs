//! What packs declare for this centre: thing types with their datastreams, and rules.

use std::collections::HashMap;
use std::sync::Arc;

use model::{AreaPath, IsoDuration, Text};
use platform::{PackError, PackFiles};
use rules::{Kind, RuleDecl};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// A thing type (`things/*.toml`).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThingType {
    /// Its name: `fire-hydrant`.
    #[serde(rename = "type")]
    pub name: String,
    /// What people call it.
    pub title: Text,
    /// What its things measure.
    #[serde(default, rename = "datastream")]
    pub datastreams: Vec<DatastreamType>,
}

/// A datastream (数据流) that every thing of a type has.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatastreamType {
    /// Its code: the last level of its topic.
    pub code: String,
    /// What people call it.
    pub name: Text,
    /// What is observed: `water-pressure`.
    pub observed_property: String,
    /// The unit, as UCUM writes it.
    pub unit: String,
    /// How many decimals are shown.
    pub decimals: u8,
    /// How often a device reports at least; none for one that reports only changes.
    #[serde(default)]
    pub interval: Option<IsoDuration>,
    /// What the sensor can mean at all, in the unit.
    #[serde(default)]
    pub range: Option<[f64; 2]>,
    /// How long observations are kept; none for ever.
    #[serde(default)]
    pub retention: Option<IsoDuration>,
    /// What is kept of older days instead of every sample.
    #[serde(default)]
    pub downsample: Vec<Downsample>,
}

/// Days that ended `after` ago are kept by `step`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Downsample {
    /// How long after the end of a day.
    pub after: IsoDuration,
    /// Whole seconds that divide a day.
    pub step: IsoDuration,
}

impl DatastreamType {
    /// How long the lake keeps what its datastreams observe.
    #[must_use]
    pub fn keep(&self) -> lake::Keep {
        let steps = self.downsample.iter().map(|d| lake::Downsample { after: d.after, step: d.step });
        lake::Keep { retention: self.retention, downsample: steps.collect() }
    }
}

/// The declarations of all packs together.
#[derive(Clone, Debug)]
pub struct Declarations {
    /// By name.
    pub types: HashMap<String, Arc<ThingType>>,
    /// In the order of packs and files.
    pub rules: Vec<RuleDecl>,
    /// Names this set of rules: changes when any of them does.
    pub version: String,
}

/// Reads what the packs declare.
///
/// # Errors
/// Everything that is wrong, with file and line; pack names precede the files when there are
/// several packs.
pub fn read(packs: &[PackFiles]) -> Result<Declarations, Vec<PackError>> {
    let mut errors = Vec::new();
    let mut types: HashMap<String, Arc<ThingType>> = HashMap::new();
    for pack in packs {
        for (file, text) in pack.under("things/", ".toml") {
            let mut wrong = |needle: &str, reason: String| {
                errors.push(PackError { file: file.into(), line: line_of(text, needle), reason })
            };
            let declared: ThingType = match toml::from_str(text) {
                Ok(declared) => declared,
                Err(e) => {
                    errors.push(PackError::toml(file, text, &e));
                    continue;
                }
            };
            check_type(&declared, &mut wrong);
            if types.contains_key(&declared.name) {
                wrong(&declared.name, format!("the type {:?} is declared twice", declared.name));
            }
            types.insert(declared.name.clone(), Arc::new(declared));
        }
    }
    let mut all: Vec<RuleDecl> = Vec::new();
    let mut version = Sha256::new();
    let file = "rules.toml";
    for pack in packs {
        let Some(text) = pack.files.get(file) else { continue };
        version.update(text.as_bytes());
        match rules::parse(text) {
            Err(wrong) => errors.extend(wrong.into_iter().map(|e| at(e.line, e.reason))),
            Ok(rules) => {
                // A type that a needed pack declares is not here when a pack is checked alone.
                let alone = packs.len() == 1 && pack.manifest().is_ok_and(|m| !m.needs.is_empty());
                for rule in rules {
                    let reason = match types.get(&rule.thing_type) {
                        None if alone => None,
                        None => Some(format!("no thing type {:?} is declared in things/", rule.thing_type)),
                        Some(declared) => check_rule(&rule, declared),
                    };
                    errors.extend(reason.map(|reason| at(rule.line, reason)));
                    if all.iter().any(|r| r.id == rule.id) {
                        errors.push(at(rule.line, format!("another pack has a rule {:?} already", rule.id)));
                    }
                    all.push(rule);
                }
            }
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let version = hex::encode(&version.finalize()[..8]);
    Ok(Declarations { types, rules: all, version })
}

/// What this centre finds wrong with a pack.
#[must_use]
pub fn validate(pack: &PackFiles) -> Vec<PackError> {
    read(std::slice::from_ref(pack)).err().unwrap_or_default()
}

fn at(line: usize, reason: String) -> PackError {
    PackError { file: "rules.toml".into(), line: u32::try_from(line).ok(), reason }
}

/// The line where a declared name stands in its quotes.
fn line_of(text: &str, name: &str) -> Option<u32> {
    let quoted = format!("\"{name}\"");
    let at = text.lines().position(|l| l.contains(&quoted))?;
    u32::try_from(at + 1).ok()
}

fn check_type(declared: &ThingType, wrong: &mut impl FnMut(&str, String)) {
    if !AreaPath::is_code(&declared.name) {
        wrong(&declared.name, format!("the type {:?} must be letters, digits, '-', '_', '.'", declared.name));
    }
    for (n, stream) in declared.datastreams.iter().enumerate() {
        if !AreaPath::is_code(&stream.code) || ["command", "reply"].contains(&stream.code.as_str()) {
            let reason = format!(
                "the datastream {:?} must be letters, digits, '-', '_', '.', and neither \"command\" nor \"reply\", which are topics of their own",
                stream.code
            );
            wrong(&stream.code, reason);
        }
        if declared.datastreams[..n].iter().any(|s| s.code == stream.code) {
            wrong(&stream.code, format!("the datastream {:?} is declared twice", stream.code));
        }
        if let Err(reason) = stream.keep().check() {
            wrong(&stream.code, format!("the keeping of {:?}: {reason}", stream.code));
        }
        if stream.decimals > 9 {
            wrong(&stream.code, format!("the datastream {:?} shows more than 9 decimals", stream.code));
        }
        if stream.interval.is_some_and(|i| i.0 < 1_000_000) {
            wrong(&stream.code, format!("the interval of {:?} must be a second or more", stream.code));
        }
        if stream.range.is_some_and(|[low, high]| low.partial_cmp(&high) != Some(std::cmp::Ordering::Less)) {
            wrong(&stream.code, format!("the range of {:?} must be [lowest, highest]", stream.code));
        }
    }
}

fn check_rule(rule: &RuleDecl, declared: &ThingType) -> Option<String> {
    let Some(stream) = declared.datastreams.iter().find(|s| s.code == rule.datastream) else {
        return Some(format!("the type {:?} has no datastream {:?}", declared.name, rule.datastream));
    };
    let silent = matches!(rule.kind, Kind::Silence { .. });
    (silent && stream.interval.is_none()).then(|| {
        format!("the datastream {:?} has no interval, so that nothing tells its silence", rule.datastream)
    })
}
