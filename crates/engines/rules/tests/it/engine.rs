use model::observation::{Sample, quality};
use model::{DatastreamKey, IsoDuration, Micros, Severity};
use rules::{Effect, Engine, parse};
use serde_json::json;

use crate::{HYDRANT, sample, seconds};

const INTERVAL: Option<IsoDuration> = Some(IsoDuration(30 * Micros::SECOND));

/// Datastream 1 is an indoor hydrant, 2 an outdoor one; listening since second 0.
fn engine() -> Engine {
    let mut engine = Engine::new("fire 0.1.0", seconds(0));
    for rule in &parse(HYDRANT).unwrap() {
        for (key, siting) in [(1, "indoor"), (2, "outdoor")] {
            assert!(engine.add(
                DatastreamKey(key),
                json!({ "siting": siting }).as_object().unwrap(),
                INTERVAL,
                rule
            ));
        }
    }
    engine
}

/// What the values of one datastream, one a second from second 1, do: `second:what`.
fn check(key: i32, values: &[f64], expected: &[&str]) {
    let mut engine = engine();
    let mut seen = Vec::new();
    for (time, value) in (1..).zip(values) {
        seen.extend(
            engine
                .judge([sample(key, time, *value)], seconds(time))
                .iter()
                .map(|e| format!("{time}:{}", say(e))),
        );
    }
    assert_eq!(seen, expected, "{values:?}");
}

fn say(effect: &Effect) -> String {
    match effect {
        Effect::Open { severity, .. } => format!("open {}", severity.as_str()),
        Effect::Change { severity, .. } => severity.as_str().to_owned(),
        Effect::Resolve { .. } => "resolved".to_owned(),
    }
}

#[test]
fn values_open_change_and_resolve_alerts() {
    check(1, &[0.3, 0.19, 0.3, 0.19], &[]);
    check(1, &[0.19, 0.19, 0.19], &["2:open yellow"]);
    check(1, &[0.2, 0.2, 0.2], &[]);
    // An indoor hydrant has one level.
    check(1, &[0.05, 0.05, 0.05], &["2:open yellow"]);
    // The gravest level that all of the deciding samples satisfy.
    check(2, &[0.05, 0.13], &["2:open orange"]);
    check(2, &[0.05, 0.05], &["2:open red"]);
    check(2, &[0.19, 0.05, 0.05], &["2:open yellow", "3:red"]);
    check(2, &[0.19, 0.05, 0.13, 0.12], &["2:open yellow", "3:orange"]);
    // Milder and resolved only beyond the hysteresis, twice.
    check(2, &[0.05, 0.05, 0.11, 0.11, 0.12, 0.12], &["2:open red", "6:orange"]);
    check(2, &[0.05, 0.05, 0.17, 0.17, 0.17], &["2:open red", "4:yellow"]);
    check(2, &[0.05, 0.05, 0.3, 0.3], &["2:open red", "4:resolved"]);
    check(1, &[0.1, 0.1, 0.21, 0.21, 0.22, 0.21, 0.22, 0.22], &["2:open yellow", "8:resolved"]);
    // Open again only after two more.
    check(1, &[0.1, 0.1, 0.3, 0.3, 0.1, 0.1], &["2:open yellow", "4:resolved", "6:open yellow"]);
}

#[test]
fn an_opening_names_the_deciding_sample() {
    let effects = engine().judge([sample(2, 10, 0.18), sample(2, 12, 0.187)], seconds(12));
    let expected = Effect::Open {
        rule: "low".into(),
        datastream: DatastreamKey(2),
        opened_at: seconds(12),
        severity: Severity::Yellow,
        value: Some(0.187),
    };
    assert_eq!(effects, [expected]);
}

#[test]
fn late_repeated_and_future_samples_are_not_judged() {
    let mut engine = engine();
    engine.judge([sample(1, 10, 0.1)], seconds(10));
    let future = Sample { quality: quality::FROM_THE_FUTURE, ..sample(1, 999, 0.1) };
    let broken = Sample { quality: quality::OUT_OF_RANGE, ..sample(1, 11, -9.0) };
    for not_judged in [sample(1, 10, 0.1), sample(1, 9, 0.1), future, broken] {
        assert_eq!(engine.judge([not_judged], seconds(11)), []);
        assert_eq!(engine.judged_to(DatastreamKey(1)), Some(seconds(10)));
    }
    assert_eq!(engine.judge([sample(1, 11, 0.1)], seconds(11)).len(), 1);
}

#[test]
fn silence_opens_after_the_missed_intervals_and_ends_with_a_word() {
    let mut engine = engine();
    assert_eq!(engine.tick(seconds(1000)), [], "never heard is not silent");
    engine.judge([sample(1, 1000, 0.3)], seconds(1000));
    engine.judge([sample(1, 1030, 0.3)], seconds(1030));
    for quiet in [1090, 1119] {
        assert_eq!(engine.tick(seconds(quiet)), [], "second {quiet}");
    }
    let opened = Effect::Open {
        rule: "silent".into(),
        datastream: DatastreamKey(1),
        opened_at: seconds(1120),
        severity: Severity::Blue,
        value: None,
    };
    assert_eq!(engine.tick(seconds(1121)), [opened]);
    assert_eq!(engine.tick(seconds(1200)), [], "once");
    // Late, and still a word.
    let resolved = Effect::Resolve {
        rule: "silent".into(),
        datastream: DatastreamKey(1),
        opened_at: seconds(1120),
        at: seconds(1300),
        value: Some(0.3),
    };
    assert_eq!(engine.judge([sample(1, 900, 0.3)], seconds(1300)), [resolved]);
    assert_eq!(engine.tick(seconds(1389)), []);
    assert_eq!(engine.tick(seconds(1390)).len(), 1);
}

#[test]
fn what_the_hub_could_not_hear_is_no_silence() {
    let mut engine = Engine::new("1", seconds(5000));
    for rule in &parse(HYDRANT).unwrap() {
        engine.add(DatastreamKey(1), &serde_json::Map::new(), INTERVAL, rule);
    }
    engine.seed_heard(DatastreamKey(1), seconds(1000));
    assert_eq!(engine.tick(seconds(5089)), []);
    assert_eq!(engine.tick(seconds(5090)).len(), 1);
}

#[test]
fn a_restart_opens_nothing_twice_and_goes_on() {
    let history = [sample(2, 1, 0.13), sample(2, 2, 0.13), sample(2, 3, 0.05)];
    let mut engine = engine();
    engine.replay(history, seconds(3));
    assert!(engine.seed_open("low", DatastreamKey(2), Severity::Orange, seconds(2)));
    assert_eq!(engine.judge(history, seconds(3)), [], "judged before");
    // One red sample before the restart and one after make two.
    let changed = engine.judge([sample(2, 4, 0.05)], seconds(4));
    assert!(
        matches!(&changed[..], [Effect::Change { severity: Severity::Red, opened_at, .. }] if *opened_at == seconds(2)),
        "{changed:?}"
    );
    assert!(!engine.seed_open("gone", DatastreamKey(2), Severity::Red, seconds(1)));
    assert!(!engine.seed_open("low", DatastreamKey(77), Severity::Red, seconds(1)));
    // A silence that was open is not opened again, and ends.
    assert!(engine.seed_open("silent", DatastreamKey(1), Severity::Blue, seconds(1)));
    engine.seed_heard(DatastreamKey(1), seconds(0));
    assert_eq!(engine.tick(seconds(93)), []);
    assert_eq!(engine.judge([sample(1, 95, 0.3)], seconds(95)).len(), 1);
}

#[test]
fn a_colour_the_rule_no_longer_has_becomes_the_next_milder() {
    let mut engine = engine();
    assert!(engine.seed_open("low", DatastreamKey(1), Severity::Red, seconds(1)));
    // Yellow is all an indoor hydrant has: two clear samples resolve it.
    assert_eq!(engine.judge([sample(1, 2, 0.3), sample(1, 3, 0.3)], seconds(3)).len(), 1);
}

#[test]
fn a_curve_shows_the_thresholds_that_apply() {
    let engine = engine();
    let of = |key| {
        engine.thresholds(DatastreamKey(key)).iter().map(|t| (t.below, t.clear_above)).collect::<Vec<_>>()
    };
    assert_eq!(of(1), [(0.2, 0.22)]);
    assert_eq!(of(2), [(0.2, 0.22), (0.14, 0.16), (0.1, 0.12)]);
    assert_eq!(of(3), []);
}

#[test]
fn a_rule_that_cannot_apply_says_so() {
    let rules = parse(HYDRANT).unwrap();
    let mut engine = engine();
    let nothing = serde_json::Map::new();
    assert!(!engine.add(DatastreamKey(1), &nothing, INTERVAL, &rules[0]), "watches already");
    assert!(!engine.add(DatastreamKey(5), &nothing, None, &rules[1]), "no interval");
    assert!(!engine.add(DatastreamKey(0), &nothing, INTERVAL, &rules[0]), "keys start at 1");
    assert_eq!(engine.judge([sample(-3, 1, 0.1), sample(99, 1, 0.1)], seconds(1)), []);
}

#[test]
fn a_state_put_down_and_taken_up_goes_on_as_if_nothing_had_been() {
    let mut before = engine();
    before.judge([sample(1, 10, 0.15), sample(2, 10, 0.3)], seconds(10));
    let bytes = before.put_down().unwrap();
    let mut after = engine();
    after.take_up(&bytes).unwrap();
    assert_eq!(after.judged_to(::model::DatastreamKey(1)), Some(seconds(10)));
    // The second low sample in a row opens in both; the repeat of the first does nothing.
    for engine in [&mut before, &mut after] {
        assert!(engine.judge([sample(1, 10, 0.15)], seconds(11)).is_empty());
    }
    assert_eq!(
        before.judge([sample(1, 11, 0.15)], seconds(11)),
        after.judge([sample(1, 11, 0.15)], seconds(11))
    );
    assert_eq!(before.tick(seconds(10_000)), after.tick(seconds(10_000)));
    assert_eq!(before.put_down().unwrap(), after.put_down().unwrap());
    // Runs of an open alert that is nearly clear count too.
    before.judge([sample(1, 12, 0.3)], seconds(12));
    let mut after = engine();
    assert!(after.seed_open("low", ::model::DatastreamKey(1), ::model::Severity::Yellow, seconds(11)));
    after.take_up(&before.put_down().unwrap()).unwrap();
    assert_eq!(
        before.judge([sample(1, 13, 0.3)], seconds(13)),
        after.judge([sample(1, 13, 0.3)], seconds(13))
    );
    for spoilt in [&bytes[..bytes.len() / 2], b"", &[9, 0, 0, 0, 0]] {
        assert!(engine().take_up(spoilt).is_err(), "{spoilt:?}");
    }
}
