//! Who asks: one value that every request carries down to the store.

use serde::{Deserialize, Serialize};

use crate::{AreaPath, Id};

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Actor {
    /// A person with an account.
    Person {
        /// The person's id.
        id: Id,
        /// The name as shown, kept with what was done.
        name: String,
    },
    /// A part of the hub acting by itself: `watch`, `work`, `import` …
    System {
        /// Which part.
        part: String,
    },
}

impl Actor {
    /// The text that audit entries hold: `person:<id>` or `system:<part>`.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Person { id, .. } => format!("person:{id}"),
            Self::System { part } => format!("system:{part}"),
        }
    }

    /// The person's id, `None` for the hub itself.
    #[must_use]
    pub fn person(&self) -> Option<Id> {
        match self {
            Self::Person { id, .. } => Some(*id),
            Self::System { .. } => None,
        }
    }

    /// The name as shown.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Person { name, .. } => name,
            Self::System { part } => part,
        }
    }
}

/// One grant (授权): the permissions of a role, held in an area and below.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The role that gave them.
    pub role: String,
    /// `resource:verb` each.
    pub permissions: std::collections::BTreeSet<String>,
    /// Where they hold.
    pub area: AreaPath,
}

/// What every request carries: who, what they may do and where, and under which request id it is
/// logged and audited.
#[derive(Clone, Debug)]
pub struct Context {
    /// Who acts.
    pub actor: Actor,
    /// What they may do, and where.
    pub grants: Vec<Grant>,
    /// Names the request in logs, audit and answers.
    pub request_id: Id,
    /// The client's `Idempotency-Key`, when the request carried one.
    pub idempotency_key: Option<String>,
}

impl Context {
    /// The hub acting by itself; it may do everything it is coded to do.
    #[must_use]
    pub fn system(part: &str, request_id: Id) -> Self {
        Self {
            actor: Actor::System { part: part.to_owned() },
            grants: Vec::new(),
            request_id,
            idempotency_key: None,
        }
    }

    /// Whether `permission` is held at `area`. The hub itself always holds it.
    #[must_use]
    pub fn may(&self, permission: &str, area: &AreaPath) -> bool {
        matches!(self.actor, Actor::System { .. })
            || self.grants.iter().any(|g| g.permissions.contains(permission) && area.is_in(&g.area))
    }

    /// The areas where `permission` is held, none inside another: the scope every list carries.
    #[must_use]
    pub fn scope(&self, permission: &str) -> Vec<AreaPath> {
        let mut areas: Vec<_> = self
            .grants
            .iter()
            .filter(|g| g.permissions.contains(permission))
            .map(|g| g.area.clone())
            .collect();
        areas.sort();
        areas.dedup_by(|later, earlier| later.is_in(earlier));
        areas
    }
}
