//! One behaviour a test, by kind of element.

use crate::{definition, file, flows, short};
use model::Micros;
use process::{Definition, Effect, Input, Instance, Outcome, StepError};
use serde_json::{Value, json};

fn at(seconds: i64) -> Micros {
    Micros(1_795_501_925_000_000 + seconds * Micros::SECOND)
}

fn done(token: u64, values: Value) -> Input {
    Input::TaskCompleted { token, values }
}

fn fired(token: u64, element: &str) -> Input {
    Input::TimerFired { token, element: element.to_owned() }
}

/// start → task `a` → gateway: outcome "no" → end `refused`; count > 2 → `many`; else task `b` → end `e`.
fn branching() -> Definition {
    definition(&file(&format!(
        r#"<startEvent id="s" /><userTask id="a" zs:post="d" /><userTask id="b" zs:post="d" />
        <exclusiveGateway id="g" default="g-b" />
        <sequenceFlow id="no" sourceRef="g" targetRef="refused"><conditionExpression>outcome == "no"</conditionExpression></sequenceFlow>
        <sequenceFlow id="many" sourceRef="g" targetRef="lots"><conditionExpression>count &gt; 2</conditionExpression></sequenceFlow>
        <endEvent id="e" /><endEvent id="refused" /><endEvent id="lots" />{}"#,
        flows("s>a a>g g>b b>e")
    )))
}

/// start → `work` with timers → end; `late` goes to service `tell` → `told`.
fn timed(interrupting: bool) -> Definition {
    definition(&file(&format!(
        r#"<startEvent id="s" /><userTask id="work" zs:post="d" />
        <boundaryEvent id="late" attachedToRef="work" cancelActivity="{interrupting}"><timerEventDefinition><timeDuration>PT4H</timeDuration></timerEventDefinition></boundaryEvent>
        <boundaryEvent id="later" attachedToRef="work"><timerEventDefinition><timeDuration>P1D</timeDuration></timerEventDefinition></boundaryEvent>
        <serviceTask id="tell" zs:service="notify" zs:param-message="m" />
        <endEvent id="e" /><endEvent id="told" />{}"#,
        flows("s>work work>e late>tell tell>told later>e")
    )))
}

#[test]
fn a_case_waits_at_its_first_task() {
    let (instance, effects) = Instance::start(&branching(), json!({"count": 1}), at(0)).unwrap();
    assert_eq!(short(&effects), ["open a#1"]);
    assert_eq!(effects.first(), Some(&Effect::Entered { element: "s".into() }));
    assert!(effects.contains(&Effect::Walked { flow: "s-a".into() }));
    assert_eq!(instance.passed.iter().map(String::as_str).collect::<Vec<_>>(), ["a", "s", "s-a"]);
    let token = instance.token(1).unwrap();
    assert_eq!((token.element.as_str(), token.since), ("a", at(0)));
}

#[test]
fn an_exclusive_gateway_takes_the_first_condition_that_holds_else_the_default() {
    for (count, values, expected) in [
        (1, json!({"outcome": "no"}), r#"ended {"kind":"completed","end":"refused","outcome":"no"}"#),
        (9, json!({"outcome": "no"}), r#"ended {"kind":"completed","end":"refused","outcome":"no"}"#),
        (3, json!({"outcome": "yes"}), r#"ended {"kind":"completed","end":"lots","outcome":"yes"}"#),
        (1, json!({"outcome": "yes"}), "open b#2"),
        (1, json!({}), "open b#2"),
    ] {
        let def = branching();
        let (mut instance, _) = Instance::start(&def, json!({"count": count}), at(0)).unwrap();
        let effects = instance.apply(&def, done(1, values.clone()), at(1)).unwrap();
        assert_eq!(short(&effects), [expected], "{count} {values}");
        assert_eq!(instance.data["a"], values);
    }
}

#[test]
fn a_step_that_fails_changes_nothing() {
    let def = branching();
    let (mut instance, _) = Instance::start(&def, json!({}), at(0)).unwrap();
    let before = instance.clone();
    for (input, expected) in [
        (done(1, json!({"outcome": "yes"})), "condition of flow \"many\" failed"),
        (done(1, json!("yes")), "the values must be a JSON object"),
        (done(7, json!({})), "no token 7"),
        (fired(1, "late"), "timer \"late\" is not set on token 1"),
        (fired(8, "late"), "no token 8"),
        (Input::ServiceDone { token: 1, result: json!(1) }, "no token 1"),
        (Input::ServiceFailed { token: 1, reason: "x".into() }, "no token 1"),
    ] {
        let message = instance.apply(&def, input, at(1)).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
        assert_eq!(instance, before);
    }
    assert!(matches!(Instance::start(&def, json!([]), at(0)), Err(StepError::NotAnObject { .. })));
}

#[test]
fn the_second_to_complete_finds_no_token_and_an_ended_case_takes_nothing() {
    let def = branching();
    let (mut instance, _) = Instance::start(&def, json!({"count": 0}), at(0)).unwrap();
    instance.apply(&def, done(1, json!({})), at(1)).unwrap();
    assert_eq!(instance.apply(&def, done(1, json!({})), at(1)), Err(StepError::NoSuchToken { token: 1 }));
    instance.apply(&def, done(2, json!({"outcome": "done"})), at(2)).unwrap();
    let outcome = Outcome::Completed { end: "e".into(), outcome: Some("done".into()) };
    assert_eq!(instance.ended, Some(outcome));
    for input in [done(2, json!({})), fired(2, "x"), Input::Cancel { reason: "r".into() }] {
        assert_eq!(instance.apply(&def, input, at(3)), Err(StepError::AlreadyEnded));
    }
}

#[test]
fn timers_start_with_their_task_and_are_cancelled_with_it() {
    let def = timed(false);
    let (mut instance, effects) = Instance::start(&def, json!({}), at(0)).unwrap();
    assert_eq!(short(&effects), ["open work#1", "timer late#1 PT4H", "timer later#1 PT24H"]);
    let effects = instance.apply(&def, done(1, json!({})), at(1)).unwrap();
    assert_eq!(
        short(&effects),
        ["cancel late#1", "cancel later#1", r#"ended {"kind":"completed","end":"e","outcome":null}"#]
    );
}

#[test]
fn a_timer_that_does_not_interrupt_sends_a_second_token_once() {
    let def = timed(false);
    let (mut instance, _) = Instance::start(&def, json!({}), at(0)).unwrap();
    assert_eq!(short(&instance.apply(&def, fired(1, "late"), at(2)).unwrap()), ["run notify#2"]);
    assert_eq!(
        instance.apply(&def, fired(1, "late"), at(2)),
        Err(StepError::NoSuchTimer { token: 1, element: "late".into() })
    );
    // The main token ends first; the case waits for the side token, whose end is not its outcome.
    let effects = instance.apply(&def, done(1, json!({"outcome": "ok"})), at(3)).unwrap();
    assert_eq!(short(&effects), ["cancel later#1"]);
    assert_eq!(instance.ended, None);
    let effects =
        instance.apply(&def, Input::ServiceDone { token: 2, result: json!({"sent": 1}) }, at(4)).unwrap();
    assert_eq!(short(&effects), [r#"ended {"kind":"completed","end":"e","outcome":"ok"}"#]);
    assert_eq!(instance.data["tell"], json!({"sent": 1}));
}

#[test]
fn a_timer_that_interrupts_withdraws_the_task() {
    let def = timed(true);
    let (mut instance, _) = Instance::start(&def, json!({}), at(0)).unwrap();
    let effects = instance.apply(&def, fired(1, "late"), at(2)).unwrap();
    assert_eq!(short(&effects), ["cancel later#1", "withdraw work#1", "run notify#2"]);
    assert_eq!(instance.apply(&def, done(1, json!({})), at(3)), Err(StepError::NoSuchToken { token: 1 }));
    let failed = Input::ServiceFailed { token: 2, reason: "no post".into() };
    let effects = instance.apply(&def, failed, at(4)).unwrap();
    assert_eq!(short(&effects), [r#"ended {"kind":"completed","end":"told","outcome":null}"#]);
    assert_eq!(instance.data["tell"], json!({"failed": "no post"}));
}

#[test]
fn a_service_task_says_what_to_run_with_what() {
    let def = timed(true);
    let (mut instance, _) = Instance::start(&def, json!({}), at(0)).unwrap();
    let effects = instance.apply(&def, fired(1, "late"), at(2)).unwrap();
    let run = effects.iter().find(|e| matches!(e, Effect::RunService { .. })).unwrap();
    assert_eq!(
        serde_json::to_value(run).unwrap(),
        json!({"kind": "run_service", "token": 2, "element": "tell", "service": "notify", "params": {"message": "m"}})
    );
}

#[test]
fn cancelling_withdraws_everything_open() {
    let def = timed(false);
    let (mut instance, _) = Instance::start(&def, json!({}), at(0)).unwrap();
    instance.apply(&def, fired(1, "late"), at(1)).unwrap();
    let effects = instance.apply(&def, Input::Cancel { reason: "merged".into() }, at(2)).unwrap();
    assert_eq!(
        short(&effects),
        [
            "cancel later#1",
            "withdraw work#1",
            "withdraw tell#2",
            r#"ended {"kind":"cancelled","reason":"merged"}"#
        ]
    );
    assert!(instance.tokens.is_empty());
}

#[test]
fn an_instance_is_kept_as_json_and_old_records_are_read() {
    let def = timed(false);
    let (mut instance, _) = Instance::start(&def, json!({"place": "3 栋"}), at(0)).unwrap();
    instance.apply(&def, fired(1, "late"), at(1)).unwrap();
    let kept = serde_json::to_string(&instance).unwrap();
    assert_eq!(serde_json::from_str::<Instance>(&kept).unwrap(), instance);
    // Written by an older hub without the later members, or by a newer one with more.
    let old = json!({"tokens": [{"id": 4, "element": "work"}], "next_token": 5, "since_version_9": true});
    let mut old: Instance = serde_json::from_value(old).unwrap();
    let effects = old.apply(&def, done(4, json!({})), at(1)).unwrap();
    assert_eq!(short(&effects), [r#"ended {"kind":"completed","end":"e","outcome":null}"#]);
}

#[test]
fn another_version_of_the_process_is_not_walked() {
    let (mut instance, _) = Instance::start(&branching(), json!({}), at(0)).unwrap();
    let error = instance.apply(&timed(false), done(1, json!({})), at(1)).unwrap_err();
    assert_eq!(error, StepError::NoSuchElement { key: "p".into(), id: "a".into() });
}

#[test]
fn side_tokens_are_bounded() {
    // Every round through `again` leaves a token at `watch` that nobody completes.
    let def = definition(&file(&format!(
        r#"<startEvent id="s" /><userTask id="again" zs:post="d" /><userTask id="watch" zs:post="d" />
        <boundaryEvent id="late" attachedToRef="again" cancelActivity="false"><timerEventDefinition><timeDuration>PT1S</timeDuration></timerEventDefinition></boundaryEvent>
        <exclusiveGateway id="g" default="g-again" />
        <sequenceFlow id="out" sourceRef="g" targetRef="e"><conditionExpression>outcome == "out"</conditionExpression></sequenceFlow>
        <endEvent id="e" /><endEvent id="e2" />{}"#,
        flows("s>again again>g g>again late>watch watch>e2")
    )));
    let (mut instance, _) = Instance::start(&def, json!({}), at(0)).unwrap();
    let error = loop {
        let main = instance.tokens.iter().find(|t| !t.side).unwrap().id;
        if let Err(e) = instance.apply(&def, fired(main, "late"), at(1)) {
            break e;
        }
        instance.apply(&def, done(main, json!({})), at(1)).unwrap();
    };
    assert_eq!(error, StepError::StepBudget { element: "watch".into() });
    assert_eq!(instance.tokens.len(), process::machine::MAX_TOKENS);
}
