//! The life of one alert of the kind `below` on one datastream.

use model::{Micros, Severity};

/// The most levels that one thing can have: one a colour.
pub(crate) const LEVELS: usize = Severity::ALL.len();

/// A compiled rule and the state of its alert, in one place so that judging a sample touches one
/// stretch of memory. Levels are mildest first, so thresholds fall with the index.
#[derive(Clone, Debug)]
pub(crate) struct Below {
    /// The rule in the engine's list.
    pub(crate) rule: u32,
    samples: u16,
    clear_samples: u16,
    count: u8,
    below: [f64; LEVELS],
    clear: [f64; LEVELS],
    severity: [Severity; LEVELS],
    /// How many samples in a row were below, by level; saturates.
    below_run: [u16; LEVELS],
    /// How many samples in a row were clear, by level; saturates.
    clear_run: [u16; LEVELS],
    pub(crate) open: Option<Open>,
}

/// An open alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) opened_at: Micros,
    level: u8,
}

/// What a sample does to the alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Open(Severity),
    Change(Micros, Severity),
    Resolve(Micros),
}

/// The value from which a level is clear: threshold and hysteresis added as people add decimals
/// (in binary, 0.10 + 0.02 is above 0.12, and a gauge that shows 0.12 would never clear).
pub(crate) fn clear_from(below: f64, clear_by: f64) -> f64 {
    let sum = below + clear_by;
    let rounded = (sum * 1e9).round() / 1e9;
    if rounded.is_finite() { rounded } else { sum }
}

impl Below {
    /// `levels` mildest first, one a severity at most.
    pub(crate) fn new(
        rule: u32,
        samples: u16,
        clear_by: f64,
        clear_samples: u16,
        levels: &[(Severity, f64)],
    ) -> Self {
        let mut this = Self {
            rule,
            samples,
            clear_samples,
            count: 0,
            below: [f64::NEG_INFINITY; LEVELS],
            clear: [f64::NEG_INFINITY; LEVELS],
            severity: [Severity::Blue; LEVELS],
            below_run: [0; LEVELS],
            clear_run: [0; LEVELS],
            open: None,
        };
        for (at, (severity, below)) in levels.iter().take(LEVELS).enumerate() {
            this.below[at] = *below;
            this.clear[at] = clear_from(*below, clear_by);
            this.severity[at] = *severity;
            this.count += 1;
        }
        this
    }

    /// Severity and threshold of each level, mildest first.
    pub(crate) fn levels(&self) -> impl Iterator<Item = (Severity, f64)> {
        self.severity.into_iter().zip(self.below).take(usize::from(self.count))
    }

    /// Counts a sample without judging it.
    pub(crate) fn count(&mut self, value: f64) {
        for at in 0..usize::from(self.count) {
            self.below_run[at] =
                if value < self.below[at] { self.below_run[at].saturating_add(1) } else { 0 };
            self.clear_run[at] =
                if value >= self.clear[at] { self.clear_run[at].saturating_add(1) } else { 0 };
        }
    }

    /// Counts a sample and says what it does.
    pub(crate) fn judge(&mut self, time: Micros, value: f64) -> Option<Step> {
        self.count(value);
        let gravest = (0..self.count).rev().find(|at| self.below_run[usize::from(*at)] >= self.samples);
        let Some(open) = &mut self.open else {
            let level = gravest?;
            self.open = Some(Open { opened_at: time, level });
            return Some(Step::Open(self.severity[usize::from(level)]));
        };
        let is_clear = |level: u8| self.clear_run[usize::from(level)] >= self.clear_samples;
        let level = match gravest {
            Some(graver) if graver > open.level => graver,
            // What is clear of a mild level is clear of every graver one: the lowest decides.
            _ if is_clear(0) => {
                let opened_at = open.opened_at;
                self.open = None;
                return Some(Step::Resolve(opened_at));
            }
            _ => (0..=open.level).rev().find(|at| !is_clear(*at)).unwrap_or(0),
        };
        if level == open.level {
            return None;
        }
        open.level = level;
        Some(Step::Change(open.opened_at, self.severity[usize::from(level)]))
    }

    /// The runs counted so far, by level, if any counts for what may come: those of clear samples
    /// only do while an alert is open.
    pub(crate) fn runs(&self) -> Option<Vec<(u16, u16)>> {
        let clear = |at: usize| if self.open.is_some() { self.clear_run[at] } else { 0 };
        let runs: Vec<_> = (0..usize::from(self.count)).map(|at| (self.below_run[at], clear(at))).collect();
        runs.iter().any(|run| *run != (0, 0)).then_some(runs)
    }

    /// Takes up runs that [`Below::runs`] gave for the same levels.
    pub(crate) fn seed_runs(&mut self, runs: &[(u16, u16)]) {
        if runs.len() != usize::from(self.count) {
            return;
        }
        for (at, (below, clear)) in runs.iter().enumerate() {
            self.below_run[at] = *below;
            self.clear_run[at] = *clear;
        }
    }

    /// Takes up an alert that was open before. A colour that the rule no longer has becomes the
    /// next milder one, or its mildest.
    pub(crate) fn seed(&mut self, severity: Severity, opened_at: Micros) {
        let level = (0..self.count).rev().find(|at| self.severity[usize::from(*at)] >= severity).unwrap_or(0);
        self.open = Some(Open { opened_at, level });
    }
}
