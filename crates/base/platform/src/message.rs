//! The texts of notices, declared by packs in `messages/*.toml`.
//!
//! A message has a title and a body in both languages, with places `{name}` that are filled when
//! it is sent. A place without a value stays readable: it is left empty.

use std::collections::BTreeMap;

use model::Text;
use serde::Deserialize;

use crate::notification::Channel;
use crate::{PackError, PackFiles};

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Its key: the file's name without `.toml`.
    pub code: String,
    /// Whom it is written for: residents read other words than posts.
    pub audience: Audience,
    /// What happened.
    pub title: Text,
    /// What still works and what to do.
    pub body: Text,
    /// The channels by which posts are told this, in their order, in place of the hub's.
    #[serde(default)]
    pub channels: Option<Vec<Channel>>,
}

impl Message {
    /// What is wrong with its channels.
    fn wrong_channel(&self) -> Option<String> {
        let channels = self.channels.as_ref()?;
        if self.audience != Audience::Posts {
            return Some("channels are for posts; residents read notices in the pages".into());
        }
        let wrong = channels.iter().find(|c| !Channel::TO_PEOPLE.contains(c))?;
        Some(format!("{:?} is no channel to people; known are wecom, sms, voice, email", wrong.as_str()))
    }
}

/// Whom a message is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    /// Those who live there.
    Residents,
    /// Those on duty.
    Posts,
}

/// All messages, by key (the file's name without `.toml`).
#[derive(Clone, Debug, Default)]
pub struct Messages(BTreeMap<String, Message>);

impl Messages {
    /// Reads the messages of the packs.
    ///
    /// # Errors
    /// Every file that does not read, with line and reason.
    pub fn of(packs: &[PackFiles]) -> Result<Self, Vec<PackError>> {
        let mut messages = BTreeMap::new();
        let mut errors = Vec::new();
        for pack in packs {
            for (path, text) in pack.under("messages/", ".toml") {
                match toml::from_str::<Message>(text) {
                    Ok(message) => {
                        let key = path.trim_start_matches("messages/").trim_end_matches(".toml");
                        if let Some(reason) = message.wrong_channel() {
                            errors.push(PackError { file: path.to_owned(), line: None, reason });
                        } else if message.code == key {
                            messages.insert(key.to_owned(), message);
                        } else {
                            let reason = format!(
                                "code is {:?} and the file is called {key:?}; make them the same",
                                message.code
                            );
                            errors.push(PackError { file: path.to_owned(), line: None, reason });
                        }
                    }
                    Err(e) => errors.push(PackError::toml(path, text, &e)),
                }
            }
        }
        if errors.is_empty() { Ok(Self(messages)) } else { Err(errors) }
    }

    /// Whether there is a message with this key.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// The channels that a message names for itself.
    #[must_use]
    pub fn channels(&self, key: &str) -> Option<&[Channel]> {
        self.0.get(key)?.channels.as_deref()
    }

    /// Title and body with their places filled, `None` for an unknown key. A value may be a text,
    /// a number, or `{zh, en}`.
    #[must_use]
    pub fn render(
        &self,
        key: &str,
        values: &serde_json::Map<String, serde_json::Value>,
    ) -> Option<(Text, Text)> {
        let message = self.0.get(key)?;
        Some((fill(&message.title, values), fill(&message.body, values)))
    }
}

/// Fills the places of both languages.
#[must_use]
pub fn fill(text: &Text, values: &serde_json::Map<String, serde_json::Value>) -> Text {
    Text { zh: fill_one(&text.zh, "zh", values), en: fill_one(&text.en, "en", values) }
}

fn fill_one(text: &str, language: &str, values: &serde_json::Map<String, serde_json::Value>) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let Some(close) = rest[open..].find('}') else { break };
        filled.push_str(&rest[..open]);
        let value = values.get(&rest[open + 1..open + close]);
        let value = value.and_then(|v| v.get(language)).or(value);
        match value {
            Some(serde_json::Value::String(s)) => filled.push_str(s),
            Some(v @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => {
                filled.push_str(&v.to_string())
            }
            _ => {}
        }
        rest = &rest[open + close + 1..];
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_in_each_language() {
        let values = serde_json::json!({ "place": { "zh": "3 栋", "en": "Building 3" }, "value": 0.18 });
        let values = values.as_object().unwrap();
        for (text, expected) in [
            (
                Text::new("{place}水压 {value}", "{place}: {value}"),
                Text::new("3 栋水压 0.18", "Building 3: 0.18"),
            ),
            (Text::new("{nobody}。", "a { b"), Text::new("。", "a { b")),
        ] {
            assert_eq!(fill(&text, values), expected);
        }
    }
}
