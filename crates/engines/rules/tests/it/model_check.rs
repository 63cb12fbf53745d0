//! The engine against a slow and obvious model that looks at the whole history again for every
//! sample.

use model::{DatastreamKey, Micros, Severity, observation::Sample};
use proptest::prelude::*;
use rules::{Effect, Engine, Kind, Level, RuleDecl};

const LEVELS: [(Severity, f64); 3] = [(Severity::Yellow, 3.0), (Severity::Orange, 2.0), (Severity::Red, 1.0)];

fn rule(samples: u16, clear_by: f64, clear_samples: u16) -> RuleDecl {
    let levels = LEVELS
        .iter()
        .map(|(severity, below)| Level {
            severity: *severity,
            below: *below,
            when: Default::default(),
            label: Default::default(),
        })
        .collect();
    RuleDecl {
        id: "r".into(),
        title: Default::default(),
        thing_type: "t".into(),
        datastream: "d".into(),
        kind: Kind::Below { samples, clear_by, clear_samples, levels },
        line: 1,
    }
}

/// The last `n` of the history all satisfy `test`.
fn last(history: &[f64], n: u16, test: impl Fn(f64) -> bool) -> bool {
    let n = usize::from(n);
    history.len() >= n && history[history.len() - n..].iter().all(|v| test(*v))
}

fn obvious(samples: &[Sample], n: u16, clear_by: f64, clear_n: u16) -> Vec<(Micros, &'static str)> {
    let mut effects = Vec::new();
    let mut history: Vec<f64> = Vec::new();
    let mut newest = None;
    let mut open: Option<usize> = None;
    for sample in samples {
        if newest.is_some_and(|t| sample.time <= t) {
            continue;
        }
        newest = Some(sample.time);
        history.push(sample.value);
        let is_below = |level: usize| last(&history, n, |v| v < LEVELS[level].1);
        let is_clear = |level: usize| last(&history, clear_n, |v| v >= LEVELS[level].1 + clear_by);
        let gravest = (0..3).rev().find(|l| is_below(*l));
        let next = match open {
            None => gravest,
            Some(level) if gravest.is_some_and(|g| g > level) => gravest,
            Some(level) => (0..=level).rev().find(|l| !is_clear(*l)),
        };
        match (open, next) {
            (None, Some(level)) | (Some(_), Some(level)) if open != next => {
                effects.push((sample.time, LEVELS[level].0.as_str()));
            }
            (Some(_), None) => effects.push((sample.time, "resolved")),
            _ => {}
        }
        open = next;
    }
    effects
}

fn said(effects: &[Effect]) -> Vec<(Micros, &'static str)> {
    let say = |e: &Effect| match e {
        Effect::Open { opened_at, severity, .. } => (*opened_at, severity.as_str()),
        Effect::Change { at, severity, .. } => (*at, severity.as_str()),
        Effect::Resolve { at, .. } => (*at, "resolved"),
    };
    effects.iter().map(say).collect()
}

proptest! {
    #[test]
    fn the_engine_does_what_the_obvious_model_does(
        steps in prop::collection::vec((-1i64..3, 0u8..20), 0..120),
        n in 1u16..4,
        clear_n in 1u16..4,
        clear_by in prop::sample::select(vec![0.0, 0.25, 0.5]),
        cut in 0usize..120,
    ) {
        let mut time = 1000;
        let samples: Vec<Sample> = steps
            .iter()
            .map(|(step, value)| {
                time += step;
                Sample {
                    datastream: DatastreamKey(1),
                    time: Micros(time),
                    value: f64::from(*value) * 0.25,
                    quality: 0,
                }
            })
            .collect();
        let expected = obvious(&samples, n, clear_by, clear_n);
        let rule = rule(n, clear_by, clear_n);
        let fresh = || {
            let mut engine = Engine::new("1", Micros(0));
            engine.add(DatastreamKey(1), &serde_json::Map::new(), None, &rule);
            engine
        };
        // Sample by sample.
        let mut engine = fresh();
        let one_by_one: Vec<Effect> = samples.iter().flat_map(|s| engine.judge([*s], s.time)).collect();
        prop_assert_eq!(said(&one_by_one), expected.clone());

        // With a restart in the middle: replayed quietly, open alerts seeded.
        let cut = cut.min(samples.len());
        let mut before = fresh();
        let mut effects: Vec<Effect> = samples[..cut].iter().flat_map(|s| before.judge([*s], s.time)).collect();
        let mut after = fresh();
        after.replay(&samples[..cut], Micros(0));
        let mut open = None;
        for effect in &effects {
            match effect {
                Effect::Open { opened_at, severity, .. } | Effect::Change { opened_at, severity, .. } => {
                    open = Some((*severity, *opened_at));
                }
                Effect::Resolve { .. } => open = None,
            }
        }
        if let Some((severity, opened_at)) = open {
            prop_assert!(after.seed_open("r", DatastreamKey(1), severity, opened_at));
        }
        effects.extend(samples[cut..].iter().flat_map(|s| after.judge([*s], s.time)));
        prop_assert_eq!(effects, one_by_one);
    }
}
