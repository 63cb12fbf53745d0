//! One case in motion: what the database keeps of it.

use std::collections::BTreeSet;

use model::Micros;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Where one run of a process stands.
///
/// Kept as JSON beside the case. Members may be added in later versions, each with a default, so
/// that a case begun under an older hub goes on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Instance {
    /// Live tokens, oldest first. Each stands at a user task or a service task.
    pub tokens: Vec<Token>,
    /// The id that the next token gets; ids are never used twice.
    pub next_token: u64,
    /// The case's data: what it was started with, and under each element's id what that gave.
    pub data: Map<String, Value>,
    /// How it ended; `None` while it runs.
    pub ended: Option<Outcome>,
    /// The end event that the main token has reached while a side token still runs.
    pub reached: Option<Outcome>,
    /// Ids of elements and flows walked so far, for the diagram. No larger than the definition.
    pub passed: BTreeSet<String>,
}

/// A token at rest.
///
/// An activity that a case comes to a second time gets a token with a new id, so that a late answer
/// to the first visit cannot be taken for one to the second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Token {
    /// Unique within the instance.
    pub id: u64,
    /// The user task or service task it waits at.
    pub element: String,
    /// When it came there.
    pub since: Micros,
    /// Boundary timers that are set and have not fired.
    pub timers: Vec<String>,
    /// The user task completed last on this token's way: what `outcome` and `values` speak of.
    pub answered: Option<String>,
    /// Split off by a timer that does not interrupt; the case's outcome is the main token's.
    pub side: bool,
}

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// An end event was reached and nothing is left to do.
    Completed {
        /// The end event of the main token.
        end: String,
        /// The outcome of the user task completed last before it.
        #[serde(default)]
        outcome: Option<String>,
    },
    /// It was stopped from outside.
    Cancelled {
        /// Why.
        reason: String,
    },
}

impl Instance {
    /// The live token with this id.
    #[must_use]
    pub fn token(&self, id: u64) -> Option<&Token> {
        self.tokens.iter().find(|t| t.id == id)
    }
}
