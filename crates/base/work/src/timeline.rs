//! The timeline of a case (处置过程): what happened, in order, in words.

use model::{Id, Text};
use platform::FileRef;
use platform::duty::Holder;
use serde::{Deserialize, Serialize};
use store::{Tx, Value, args, new_id};

/// Rows go in set-wise at the end of a command.
pub(crate) const INSERT: &str =
    "INSERT INTO case_log (sort, case_id, at, kind, element, text_zh, text_en, by_name, told, given, files)";

/// Who was told of something, as the timeline keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Their name.
    pub name: String,
    /// The post they hold.
    pub post: String,
    /// Where they hold it.
    pub area: String,
}

impl From<&Holder> for Told {
    fn from(h: &Holder) -> Self {
        Self { name: h.name.clone(), post: h.post.clone(), area: h.area.to_string() }
    }
}

/// An entry being written.
pub(crate) struct Entry<'a> {
    pub(crate) kind: &'static str,
    pub(crate) element: Option<&'a str>,
    pub(crate) text: Text,
    pub(crate) told: Option<Vec<Told>>,
    pub(crate) given: Option<&'a serde_json::Value>,
    pub(crate) files: &'a [FileRef],
}

impl<'a> Entry<'a> {
    pub(crate) fn new(kind: &'static str, text: Text) -> Self {
        Self { kind, element: None, text, told: None, given: None, files: &[] }
    }

    pub(crate) fn at(mut self, element: &'a str) -> Self {
        self.element = Some(element);
        self
    }

    pub(crate) fn told(mut self, holders: &[Holder]) -> Self {
        self.told = Some(holders.iter().map(Told::from).collect());
        self
    }

    /// The row; `by` is the person who acts, nobody when the hub acts by itself.
    pub(crate) fn row(self, tx: &Tx<'_>, case: Id) -> Vec<Value> {
        let by = tx.context.actor.person().map(|_| tx.context.actor.name().to_owned());
        // Lists of plain texts always serialise.
        let json = |v: &Vec<Told>| serde_json::to_string(v).unwrap_or_default();
        args![
            new_id().to_string(),
            case,
            tx.now,
            self.kind,
            self.element,
            self.text.zh,
            self.text.en,
            by,
            self.told.as_ref().map(json),
            self.given.map(ToString::to_string),
            serde_json::to_string(self.files).unwrap_or_else(|_| "[]".into())
        ]
    }
}
