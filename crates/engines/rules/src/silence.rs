//! The life of one alert of the kind `silence` on one datastream.

use model::{DatastreamKey, Micros, Severity};

/// A compiled rule and the state of its alert.
#[derive(Clone, Debug)]
pub(crate) struct Silence {
    /// The rule in the engine's list.
    pub(crate) rule: u32,
    pub(crate) datastream: DatastreamKey,
    pub(crate) severity: Severity,
    /// How long nothing may be heard, in microseconds.
    allowed: i64,
    /// When the last sample was received; `None` before the first: a device that was never heard
    /// is not silent, it is not there yet.
    heard_at: Option<Micros>,
    /// Whether an entry for it waits among the deadlines. It may name an earlier time than the
    /// true deadline: that is found out when it is due, so that a sample costs no more than
    /// writing one number.
    pub(crate) waits: bool,
    pub(crate) open: Option<Micros>,
}

impl Silence {
    pub(crate) fn new(rule: u32, datastream: DatastreamKey, severity: Severity, allowed: i64) -> Self {
        Self { rule, datastream, severity, allowed, heard_at: None, waits: false, open: None }
    }

    /// Notes a sample. Says when the open alert it ends had opened.
    pub(crate) fn hear(&mut self, received_at: Micros) -> Option<Micros> {
        self.heard(received_at);
        self.open.take()
    }

    /// Notes a sample without ending anything.
    pub(crate) fn heard(&mut self, received_at: Micros) {
        self.heard_at = self.heard_at.max(Some(received_at));
    }

    /// When the last sample was received.
    pub(crate) fn heard_at(&self) -> Option<Micros> {
        self.heard_at
    }

    /// When it becomes silent if nothing more is heard; `None` when it was never heard. What the
    /// hub could not hear while it was down does not count: `started_at` is the grace.
    pub(crate) fn deadline(&self, started_at: Micros) -> Option<Micros> {
        self.heard_at.map(|heard| heard.max(started_at).plus(self.allowed))
    }
}
