//! How things stand: which alerts are open on them, and what that makes of them on the map.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use model::{DatastreamKey, Micros, Severity};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ThingState {
    /// Heard, and no alert is open.
    Normal,
    /// An alert is open.
    Alert,
    /// It fell silent.
    Offline,
    /// It was never heard.
    Unknown,
}

/// An unresolved alert, as far as the map needs it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unresolved {
    pub(crate) rule: Arc<str>,
    pub(crate) datastream: DatastreamKey,
    pub(crate) opened_at: Micros,
    pub(crate) severity: Severity,
    pub(crate) offline: bool,
}

/// How every thing stands, by its place in the registry.
pub(crate) struct Standing {
    heard: Vec<AtomicBool>,
    unresolved: RwLock<Vec<Vec<Unresolved>>>,
}

impl Standing {
    pub(crate) fn new(things: usize) -> Self {
        Self {
            heard: (0..things).map(|_| AtomicBool::new(false)).collect(),
            unresolved: RwLock::new(vec![Vec::new(); things]),
        }
    }

    /// Notes that a thing was heard; whether for the first time.
    pub(crate) fn hear(&self, thing: usize) -> bool {
        let Some(heard) = self.heard.get(thing) else { return false };
        !heard.load(Ordering::Relaxed) && !heard.swap(true, Ordering::Relaxed)
    }

    /// An alert opened, or changed its severity.
    pub(crate) fn set(&self, thing: usize, alert: Unresolved) {
        let mut all = self.unresolved.write().unwrap_or_else(PoisonError::into_inner);
        let Some(of) = all.get_mut(thing) else { return };
        of.retain(|a| !a.is(&alert.rule, alert.datastream));
        of.push(alert);
    }

    /// An alert changed its severity.
    pub(crate) fn change(&self, thing: usize, rule: &str, datastream: DatastreamKey, severity: Severity) {
        let mut all = self.unresolved.write().unwrap_or_else(PoisonError::into_inner);
        let of = all.get_mut(thing).into_iter().flatten();
        for alert in of.filter(|a| a.is(rule, datastream)) {
            alert.severity = severity;
        }
    }

    /// An alert resolved.
    pub(crate) fn clear(&self, thing: usize, rule: &str, datastream: DatastreamKey) {
        let mut all = self.unresolved.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(of) = all.get_mut(thing) {
            of.retain(|a| !a.is(rule, datastream));
        }
    }

    /// How a thing stands, and the gravest of its unresolved alerts.
    pub(crate) fn of(&self, thing: usize) -> (ThingState, Option<Severity>) {
        let all = self.unresolved.read().unwrap_or_else(PoisonError::into_inner);
        let alerts = all.get(thing).map(Vec::as_slice).unwrap_or_default();
        // `Ord` of severities puts the graver first.
        let gravest = alerts.iter().map(|a| a.severity).min();
        let heard = self.heard.get(thing).is_some_and(|h| h.load(Ordering::Relaxed));
        let state = if alerts.iter().any(|a| a.offline) {
            ThingState::Offline
        } else if !alerts.is_empty() {
            ThingState::Alert
        } else if heard {
            ThingState::Normal
        } else {
            ThingState::Unknown
        };
        (state, gravest)
    }

    /// How many alerts of each severity are unresolved, gravest first.
    pub(crate) fn count(&self) -> [(Severity, u64); 4] {
        let all = self.unresolved.read().unwrap_or_else(PoisonError::into_inner);
        Severity::ALL.map(|s| (s, all.iter().flatten().filter(|a| a.severity == s).count() as u64))
    }
}

impl Unresolved {
    fn is(&self, rule: &str, datastream: DatastreamKey) -> bool {
        &*self.rule == rule && self.datastream == datastream
    }
}
