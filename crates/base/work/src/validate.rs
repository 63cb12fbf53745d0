//! Whether the processes, forms and bindings of a pack are right, before it is installed.

use std::collections::BTreeMap;

use platform::{Messages, PackError, PackFiles};
use process::{Definition, Kind};

use crate::binding;
use crate::form::Form;
use crate::service::{ASK_DEVICE, END_NOTICE, NOTIFY};

/// The services that a process may name.
const SERVICES: [&str; 3] = [NOTIFY, END_NOTICE, ASK_DEVICE];

/// Everything that is wrong with what a pack declares for this room: `processes/*.bpmn`,
/// `forms/*.schema.json` and `bindings.toml`, and what they say of each other.
#[must_use]
pub fn validate(pack: &PackFiles) -> Vec<PackError> {
    let mut errors = Vec::new();
    let mut forms = BTreeMap::new();
    for (file, text) in pack.under("forms/", ".schema.json") {
        let key = file.trim_start_matches("forms/").trim_end_matches(".schema.json");
        forms.insert(key, ());
        let wrong = match serde_json::from_str(text) {
            Ok(schema) => Form::compile(schema).err().map(|reason| (None, reason)),
            Err(e) => Some((Some(e.line() as u32), format!("is not JSON: {e}"))),
        };
        errors.extend(wrong.map(|(line, reason)| PackError { file: file.into(), line, reason }));
    }
    // A message that does not read is the platform's to tell.
    let messages = Messages::of(std::slice::from_ref(pack)).ok();
    let mut keys: BTreeMap<String, String> = BTreeMap::new();
    for (file, xml) in pack.under("processes/", ".bpmn") {
        let definitions = match process::read(xml) {
            Ok(definitions) => definitions,
            Err(all) => {
                errors.extend(all.0.iter().map(|e| {
                    PackError {
                        file: file.into(),
                        line: Some(e.line),
                        reason: e
                            .element
                            .as_ref()
                            .map_or_else(|| e.reason.clone(), |id| format!("element {id:?}: {}", e.reason)),
                    }
                }));
                continue;
            }
        };
        for definition in definitions {
            check(file, &definition, &forms, messages.as_ref(), &mut errors);
            if let Some(other) = keys.insert(definition.key().to_owned(), file.to_owned()) {
                let reason =
                    format!("process {:?} is in {other} too; give one of them another id", definition.key());
                errors.push(PackError { file: file.into(), line: None, reason });
            }
        }
    }
    match binding::read(pack) {
        Err(all) => errors.extend(all),
        Ok(bindings) => {
            let text = pack.files.get(binding::FILE).map(String::as_str).unwrap_or_default();
            let rules = rules(pack);
            let line_of = |word: &str| {
                text.lines().position(|l| l.contains(&format!("{word:?}"))).map(|l| l as u32 + 1)
            };
            let mut seen = BTreeMap::new();
            for b in &bindings {
                let mut wrong = |word: &str, reason: String| {
                    errors.push(PackError { file: binding::FILE.into(), line: line_of(word), reason });
                };
                if !keys.contains_key(&b.start) {
                    wrong(&b.start, format!("no process {:?} in processes/", b.start));
                }
                if !rules.contains(&b.rule) {
                    wrong(&b.rule, format!("no rule {:?} in rules.toml", b.rule));
                }
                if seen.insert(&b.rule, ()).is_some() {
                    wrong(
                        &b.rule,
                        format!("rule {:?} is bound twice; an alert starts one case at most", b.rule),
                    );
                }
            }
        }
    }
    errors
}

/// What a process says of forms, services and messages.
fn check(
    file: &str,
    definition: &Definition,
    forms: &BTreeMap<&str, ()>,
    messages: Option<&Messages>,
    errors: &mut Vec<PackError>,
) {
    for element in definition.elements() {
        let mut wrong = |reason: String| {
            let reason = format!("element {:?}: {reason}", element.id);
            errors.push(PackError { file: file.into(), line: Some(element.line), reason });
        };
        match &element.kind {
            Kind::UserTask(task) => {
                if let Some(form) = task.form.as_deref().filter(|f| !forms.contains_key(f)) {
                    wrong(format!("no form {form:?}: forms/{form}.schema.json is missing"));
                }
                for post in task.levels.iter().chain([&task.post]).filter(|p| !model::AreaPath::is_code(p)) {
                    wrong(format!("{post:?} is not the code of a post"));
                }
                if task.escalation.is_some_and(|e| e.0 == 0) {
                    wrong("zs:escalation is no time at all; give each level some".into());
                }
            }
            Kind::ServiceTask(task) => {
                if !SERVICES.contains(&task.service.as_str()) {
                    wrong(format!("no service {:?}; registered are {}", task.service, SERVICES.join(", ")));
                }
                let message = task.params.get("message");
                if task.service == NOTIFY && message.is_none() {
                    wrong("notify needs zs:param-message, the key of a file in messages/".into());
                }
                if let (Some(key), Some(messages)) = (message, messages)
                    && !messages.has(key)
                {
                    wrong(format!("no message {key:?}: messages/{key}.toml is missing"));
                }
                let audience = task.params.get("audience").map_or("residents", String::as_str);
                if task.service == NOTIFY && !matches!(audience, "residents" | "posts") {
                    wrong(format!("audience is {audience:?}; it must be residents or posts"));
                }
            }
            _ => {}
        }
    }
}

/// The ids of the rules in `rules.toml`; what is wrong with that file is another room's to tell.
fn rules(pack: &PackFiles) -> Vec<String> {
    let text = pack.files.get("rules.toml").map(String::as_str).unwrap_or_default();
    let table: toml::Table = toml::from_str(text).unwrap_or_default();
    let rules = table.get("rule").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    rules.iter().filter_map(|r| r.get("id")?.as_str().map(ToOwned::to_owned)).collect()
}
