//! The compiled rules of every datastream, and what samples do to their alerts.

use std::borrow::Borrow;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use model::observation::quality;
use model::{DatastreamKey, IsoDuration, Micros, Severity, Text, observation::Sample};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::below::{Below, LEVELS, Step, clear_from};
use crate::declare::{Kind, RuleDecl};
use crate::silence::Silence;

/// What became of an alert. Its key is (`rule`, `datastream`, `opened_at`): replayed samples give
/// the same key, so that nothing opens twice.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// An alert opens.
    Open {
        /// The rule that was broken.
        rule: Arc<str>,
        /// The datastream it was broken on.
        datastream: DatastreamKey,
        /// The time of the deciding sample; of the missed deadline for silence.
        opened_at: Micros,
        /// How grave it is.
        severity: Severity,
        /// The value of the deciding sample; none for silence.
        value: Option<f64>,
    },
    /// An open alert becomes graver or milder.
    Change {
        /// The rule.
        rule: Arc<str>,
        /// The datastream.
        datastream: DatastreamKey,
        /// When the alert had opened.
        opened_at: Micros,
        /// Its severity from now on.
        severity: Severity,
        /// The value of the deciding sample.
        value: Option<f64>,
        /// The time of the deciding sample.
        at: Micros,
    },
    /// An open alert resolves by itself.
    Resolve {
        /// The rule.
        rule: Arc<str>,
        /// The datastream.
        datastream: DatastreamKey,
        /// When the alert had opened.
        opened_at: Micros,
        /// The time of the deciding sample; of its receipt for silence.
        at: Micros,
        /// The value of the deciding sample.
        value: Option<f64>,
    },
}

/// A threshold as a curve shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// The rule it belongs to.
    pub rule: Arc<str>,
    /// The severity below it.
    pub severity: Severity,
    /// The threshold, in the datastream's unit.
    pub below: f64,
    /// From which value on it is clear again.
    pub clear_above: f64,
    /// Its name.
    pub label: Text,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    judged_to: Option<Micros>,
    below: Vec<Below>,
    silence: Vec<u32>,
}

/// The rules of every datastream and the state of their alerts.
///
/// A sample costs the same however many datastreams there are: slots are dense by key and
/// judging allocates only when an alert moves.
#[derive(Debug)]
pub struct Engine {
    version: String,
    started_at: Micros,
    rules: Vec<(Arc<str>, Arc<RuleDecl>)>,
    by_id: HashMap<String, u32>,
    slots: Vec<Slot>,
    silences: Vec<Silence>,
    /// (deadline, index of the silence), the nearest first.
    deadlines: BinaryHeap<Reverse<(Micros, u32)>>,
}

impl Engine {
    /// No rules yet. `version` names the set of rules (packs and their versions); `started_at` is
    /// when the hub began to listen: silence before it is nobody's fault.
    #[must_use]
    pub fn new(version: impl Into<String>, started_at: Micros) -> Self {
        Self {
            version: version.into(),
            started_at,
            rules: Vec::new(),
            by_id: HashMap::new(),
            slots: Vec::new(),
            silences: Vec::new(),
            deadlines: BinaryHeap::new(),
        }
    }

    /// The version of the rules.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Has `rule` watch `datastream`, which belongs to a thing with `properties` and is expected
    /// to speak every `interval`. The caller sees to it that type and datastream are the rule's.
    ///
    /// `false` when the rule says nothing about this one: no level applies to the properties, it
    /// watches for silence and there is no interval, the key is not positive, or it watches
    /// already.
    pub fn add(
        &mut self,
        datastream: DatastreamKey,
        properties: &Map<String, Value>,
        interval: Option<IsoDuration>,
        rule: &RuleDecl,
    ) -> bool {
        let Some(slot) = usize::try_from(datastream.0).ok().filter(|at| *at > 0) else { return false };
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, Slot::default);
        }
        let index = self.index(rule);
        let taken = self.slots[slot].below.iter().any(|b| b.rule == index)
            || self.slots[slot].silence.iter().any(|s| self.silences[*s as usize].rule == index);
        if taken {
            return false;
        }
        match &rule.kind {
            Kind::Below { samples, clear_by, clear_samples, levels } => {
                let levels: Vec<_> = levels
                    .iter()
                    .filter(|l| l.applies(properties))
                    .map(|l| (l.severity, l.below))
                    .take(LEVELS)
                    .collect();
                if levels.is_empty() {
                    return false;
                }
                self.slots[slot].below.push(Below::new(index, *samples, *clear_by, *clear_samples, &levels));
            }
            Kind::Silence { missed, severity, .. } => {
                let Some(interval) = interval else { return false };
                let allowed = interval.0.saturating_mul(i64::from(*missed));
                self.slots[slot].silence.push(narrow(self.silences.len()));
                self.silences.push(Silence::new(index, datastream, *severity, allowed));
            }
        }
        true
    }

    /// Judges samples that were received together, sorted by (datastream, time), and appends what
    /// they do.
    ///
    /// Not judged: what comes from the future or lies out of the datastream's range, and what is
    /// not newer than the last judged of its datastream. Any still ends a silence: the device spoke.
    pub fn judge_into<S: Borrow<Sample>>(
        &mut self,
        samples: impl IntoIterator<Item = S>,
        received_at: Micros,
        effects: &mut Vec<Effect>,
    ) {
        for sample in samples {
            let sample = sample.borrow();
            let Some(slot) = usize::try_from(sample.datastream.0).ok().and_then(|at| self.slots.get_mut(at))
            else {
                continue;
            };
            for at in &slot.silence {
                let silence = &mut self.silences[*at as usize];
                if let Some(opened_at) = silence.hear(received_at) {
                    effects.push(Effect::Resolve {
                        rule: self.rules[silence.rule as usize].0.clone(),
                        datastream: sample.datastream,
                        opened_at,
                        at: received_at,
                        value: Some(sample.value),
                    });
                }
                wait(&mut self.deadlines, silence, *at, self.started_at);
            }
            if !is_judged(slot, sample) {
                continue;
            }
            slot.judged_to = Some(sample.time);
            for below in &mut slot.below {
                let Some(step) = below.judge(sample.time, sample.value) else { continue };
                let rule = self.rules[below.rule as usize].0.clone();
                let (datastream, at, value) = (sample.datastream, sample.time, Some(sample.value));
                effects.push(match step {
                    Step::Open(severity) => Effect::Open { rule, datastream, opened_at: at, severity, value },
                    Step::Change(opened_at, severity) => {
                        Effect::Change { rule, datastream, opened_at, severity, value, at }
                    }
                    Step::Resolve(opened_at) => Effect::Resolve { rule, datastream, opened_at, at, value },
                });
            }
        }
    }

    /// [`Engine::judge_into`] a new list.
    pub fn judge<S: Borrow<Sample>>(
        &mut self,
        samples: impl IntoIterator<Item = S>,
        received_at: Micros,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.judge_into(samples, received_at, &mut effects);
        effects
    }

    /// Looks for silence at the instant `now` of the hub's clock. Looks only at what is due.
    pub fn tick(&mut self, now: Micros) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some(Reverse((due, at))) = self.deadlines.peek().copied() {
            if due > now {
                break;
            }
            self.deadlines.pop();
            let silence = &mut self.silences[at as usize];
            silence.waits = false;
            if silence.open.is_some() {
                continue;
            }
            match silence.deadline(self.started_at) {
                // It spoke since the entry was made.
                Some(deadline) if deadline > now => wait(&mut self.deadlines, silence, at, self.started_at),
                Some(deadline) => {
                    silence.open = Some(deadline);
                    effects.push(Effect::Open {
                        rule: self.rules[silence.rule as usize].0.clone(),
                        datastream: silence.datastream,
                        opened_at: deadline,
                        severity: silence.severity,
                        value: None,
                    });
                }
                None => {}
            }
        }
        effects
    }

    /// Counts samples that were judged before a restart: runs, last judged time, last heard.
    /// Alerts do not move: which are open says [`Engine::seed_open`], called before or after.
    pub fn replay<S: Borrow<Sample>>(&mut self, samples: impl IntoIterator<Item = S>, received_at: Micros) {
        for sample in samples {
            let sample = sample.borrow();
            self.seed_heard(sample.datastream, received_at);
            let Some(slot) = usize::try_from(sample.datastream.0).ok().and_then(|at| self.slots.get_mut(at))
            else {
                continue;
            };
            if is_judged(slot, sample) {
                slot.judged_to = Some(sample.time);
                for below in &mut slot.below {
                    below.count(sample.value);
                }
            }
        }
    }

    /// Notes that `datastream` was heard at `received_at`.
    pub fn seed_heard(&mut self, datastream: DatastreamKey, received_at: Micros) {
        let Some(slot) = usize::try_from(datastream.0).ok().and_then(|at| self.slots.get(at)) else { return };
        for at in &slot.silence {
            let silence = &mut self.silences[*at as usize];
            silence.heard(received_at);
            wait(&mut self.deadlines, silence, *at, self.started_at);
        }
    }

    /// Takes up an alert that was open before a restart. `false` when no rule of that id watches
    /// the datastream any more; the alert is then the caller's to close.
    pub fn seed_open(
        &mut self,
        rule: &str,
        datastream: DatastreamKey,
        severity: Severity,
        opened_at: Micros,
    ) -> bool {
        let slot = usize::try_from(datastream.0).ok().and_then(|at| self.slots.get_mut(at));
        let (Some(index), Some(slot)) = (self.by_id.get(rule).copied(), slot) else { return false };
        if let Some(below) = slot.below.iter_mut().find(|b| b.rule == index) {
            below.seed(severity, opened_at);
            return true;
        }
        let silence = slot.silence.iter().find(|at| self.silences[**at as usize].rule == index);
        silence.is_some_and(|at| {
            self.silences[*at as usize].open = Some(opened_at);
            true
        })
    }

    /// What a restart must know besides the open alerts, in bytes: up to when each datastream is
    /// judged, the runs counted, when each was heard. Whoever keeps them keeps beside them which
    /// segment they are as of.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn put_down(&self) -> Result<Vec<u8>, StateError> {
        let slots = (0..).zip(&self.slots).filter_map(|(key, slot)| {
            let runs = slot.below.iter().filter_map(|b| Some((b.rule, b.runs()?))).collect();
            Some(SlotState { key, judged_to: slot.judged_to?.0, runs })
        });
        let heard = self.silences.iter().filter_map(|s| Some((s.datastream.0, s.heard_at()?.0)));
        let rules = self.rules.iter().map(|(id, _)| id.to_string()).collect();
        let state = State {
            format: FORMAT,
            version: self.version.clone(),
            rules,
            slots: slots.collect(),
            heard: heard.collect(),
        };
        Ok(postcard::to_stdvec(&state)?)
    }

    /// Takes up what [`Engine::put_down`] gave. Runs are taken up only when the rules are the
    /// same ones: what another rule counted says nothing.
    ///
    /// # Errors
    /// [`StateError`]; nothing is taken up then.
    pub fn take_up(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let state: State = postcard::from_bytes(bytes)?;
        if state.format != FORMAT {
            return Err(StateError::Format(state.format));
        }
        let same = state.version == self.version;
        for SlotState { key, judged_to, runs } in state.slots {
            let Some(slot) = usize::try_from(key).ok().and_then(|at| self.slots.get_mut(at)) else {
                continue;
            };
            slot.judged_to = Some(Micros(judged_to));
            for (rule, runs) in runs.iter().filter(|_| same) {
                let id = usize::try_from(*rule).ok().and_then(|at| state.rules.get(at));
                let Some(index) = id.and_then(|id| self.by_id.get(id)) else { continue };
                if let Some(below) = slot.below.iter_mut().find(|b| b.rule == *index) {
                    below.seed_runs(runs);
                }
            }
        }
        for (key, heard_at) in state.heard {
            self.seed_heard(DatastreamKey(key), Micros(heard_at));
        }
        Ok(())
    }

    /// The time of the last judged sample of `datastream`: what is not newer is late.
    #[must_use]
    pub fn judged_to(&self, datastream: DatastreamKey) -> Option<Micros> {
        usize::try_from(datastream.0).ok().and_then(|at| self.slots.get(at)).and_then(|slot| slot.judged_to)
    }

    /// The thresholds that apply to `datastream`, mildest first.
    #[must_use]
    pub fn thresholds(&self, datastream: DatastreamKey) -> Vec<Threshold> {
        let slot = usize::try_from(datastream.0).ok().and_then(|at| self.slots.get(at));
        let mut thresholds = Vec::new();
        for below in slot.into_iter().flat_map(|s| &s.below) {
            let (id, rule) = &self.rules[below.rule as usize];
            let Kind::Below { clear_by, levels, .. } = &rule.kind else { continue };
            thresholds.extend(below.levels().filter_map(|(severity, threshold)| {
                // A level is told from another of its colour by its threshold.
                let level = levels.iter().find(|l| l.severity == severity && l.below == threshold)?;
                Some(Threshold {
                    rule: id.clone(),
                    severity,
                    below: threshold,
                    clear_above: clear_from(threshold, *clear_by),
                    label: level.label.clone(),
                })
            }));
        }
        thresholds
    }

    fn index(&mut self, rule: &RuleDecl) -> u32 {
        if let Some(index) = self.by_id.get(&rule.id) {
            return *index;
        }
        let index = narrow(self.rules.len());
        self.rules.push((rule.id.as_str().into(), Arc::new(rule.clone())));
        self.by_id.insert(rule.id.clone(), index);
        index
    }
}

/// The form of [`State`]; another is refused.
const FORMAT: u8 = 1;

#[derive(Serialize, Deserialize)]
struct State {
    format: u8,
    version: String,
    rules: Vec<String>,
    slots: Vec<SlotState>,
    heard: Vec<(i32, i64)>,
}

#[derive(Serialize, Deserialize)]
struct SlotState {
    key: i32,
    judged_to: i64,
    runs: Vec<(u32, Vec<(u16, u16)>)>,
}

/// Why a state was not put down or taken up.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Bytes that are no state.
    #[error("read the rules' state: {0}")]
    Bytes(#[from] postcard::Error),
    /// Of another hub's version.
    #[error("read the rules' state: its form is {0}, this hub knows {FORMAT}")]
    Format(u8),
}

/// Lists hold at most one entry a datastream and rule, far fewer than 2³².
fn narrow(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn is_judged(slot: &Slot, sample: &Sample) -> bool {
    sample.quality & (quality::FROM_THE_FUTURE | quality::OUT_OF_RANGE) == 0
        && slot.judged_to.is_none_or(|last| sample.time > last)
}

fn wait(
    deadlines: &mut BinaryHeap<Reverse<(Micros, u32)>>,
    silence: &mut Silence,
    at: u32,
    started_at: Micros,
) {
    if !silence.waits
        && let Some(deadline) = silence.deadline(started_at)
    {
        silence.waits = true;
        deadlines.push(Reverse((deadline, at)));
    }
}
