//! Random processes under random inputs.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use model::Micros;
use process::{Definition, Effect, Input, Instance, Kind};
use proptest::prelude::*;
use serde_json::json;

use crate::file;

/// One node of a chain: it leads to the next one, and perhaps elsewhere.
#[derive(Clone, Debug)]
enum Node {
    User { timer: Option<(usize, bool)> },
    Service { timer: Option<(usize, bool)> },
    Gateway { elsewhere: usize, outcome: u8 },
}

fn node() -> impl Strategy<Value = Node> {
    let timer = || proptest::option::weighted(0.3, (0usize..40, any::<bool>()));
    prop_oneof![
        4 => timer().prop_map(|timer| Node::User { timer }),
        2 => timer().prop_map(|timer| Node::Service { timer }),
        3 => (0usize..40, 0u8..3).prop_map(|(elsewhere, outcome)| Node::Gateway { elsewhere, outcome }),
    ]
}

/// What happens to a case; numbers choose among what is possible.
#[derive(Clone, Debug)]
enum Move {
    Complete(usize, u8),
    Fire(usize),
    Nonsense(u64),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        6 => (0usize..8, 0u8..3).prop_map(|(i, o)| Move::Complete(i, o)),
        2 => (0usize..8).prop_map(Move::Fire),
        1 => (0u64..40).prop_map(Move::Nonsense),
    ];
    proptest::collection::vec(one, 0..40)
}

/// `None` when the chance made a loop without a user task, which is refused.
fn definition(nodes: &[Node]) -> Option<Definition> {
    let id = |i: usize| if i < nodes.len() { format!("n{i}") } else { "e".to_owned() };
    let mut body = "<startEvent id=\"s\" /><endEvent id=\"e\" /><sequenceFlow id=\"s0\" sourceRef=\"s\" targetRef=\"n0\" />".to_owned();
    for (i, node) in nodes.iter().enumerate() {
        let timer = match node {
            Node::User { timer } => {
                let _ = write!(body, "<userTask id=\"n{i}\" zs:post=\"d\" />");
                timer
            }
            Node::Service { timer } => {
                let _ = write!(body, "<serviceTask id=\"n{i}\" zs:service=\"x\" />");
                timer
            }
            Node::Gateway { elsewhere, outcome } => {
                let to = id(elsewhere % (nodes.len() + 1));
                let _ = write!(
                    body,
                    "<exclusiveGateway id=\"n{i}\" default=\"f{i}\" /><sequenceFlow id=\"c{i}\" sourceRef=\"n{i}\" targetRef=\"{to}\"><conditionExpression>outcome == \"o{outcome}\"</conditionExpression></sequenceFlow>"
                );
                &None
            }
        };
        let _ = write!(body, "<sequenceFlow id=\"f{i}\" sourceRef=\"n{i}\" targetRef=\"{}\" />", id(i + 1));
        if let Some((to, interrupting)) = timer {
            let to = id(to % (nodes.len() + 1));
            let _ = write!(
                body,
                "<boundaryEvent id=\"b{i}\" attachedToRef=\"n{i}\" cancelActivity=\"{interrupting}\"><timerEventDefinition><timeDuration>PT1H</timeDuration></timerEventDefinition></boundaryEvent><sequenceFlow id=\"t{i}\" sourceRef=\"b{i}\" targetRef=\"{to}\" />"
            );
        }
    }
    match process::read(&file(&body)) {
        Ok(mut definitions) => Some(definitions.remove(0)),
        Err(errors) => {
            assert!(
                errors.0.iter().all(|e| e.reason.contains("loop without a user task")),
                "{errors}\n{body}"
            );
            None
        }
    }
}

/// A runner that knows of a case only what the effects told it.
#[derive(Default, Debug, PartialEq)]
struct Shadow {
    waiting: BTreeSet<(u64, String)>,
    timers: BTreeSet<(u64, String)>,
    ended: bool,
}

impl Shadow {
    fn carry_out(&mut self, effects: &[Effect]) {
        for effect in effects {
            assert!(!self.ended, "effects after the end");
            match effect.clone() {
                Effect::OpenTask { token, element } | Effect::RunService { token, element, .. } => {
                    assert!(self.waiting.insert((token, element)));
                }
                Effect::WithdrawTask { token, element } | Effect::WithdrawService { token, element } => {
                    assert!(self.waiting.remove(&(token, element)));
                }
                Effect::StartTimer { token, element, .. } => assert!(self.timers.insert((token, element))),
                Effect::CancelTimer { token, element } => assert!(self.timers.remove(&(token, element))),
                Effect::Ended { .. } => self.ended = true,
                Effect::Entered { .. } | Effect::Walked { .. } => {}
            }
        }
    }

    fn of(instance: &Instance) -> Self {
        let timers = instance.tokens.iter().flat_map(|t| t.timers.iter().map(|b| (t.id, b.clone())));
        Self {
            waiting: instance.tokens.iter().map(|t| (t.id, t.element.clone())).collect(),
            timers: timers.collect(),
            ended: instance.ended.is_some(),
        }
    }
}

fn input(def: &Definition, shadow: &Shadow, chosen: &Move) -> Input {
    let nonsense = |token| Input::TimerFired { token, element: "nobody".into() };
    match chosen {
        Move::Nonsense(token) => nonsense(*token),
        Move::Complete(i, outcome) => match shadow.waiting.iter().nth(i % shadow.waiting.len().max(1)) {
            Some((token, element)) if def.user_task(element).is_some() => {
                Input::TaskCompleted { token: *token, values: json!({"outcome": format!("o{outcome}")}) }
            }
            Some((token, _)) => Input::ServiceDone { token: *token, result: json!(null) },
            None => nonsense(0),
        },
        Move::Fire(i) => match shadow.timers.iter().nth(i % shadow.timers.len().max(1)) {
            Some((token, element)) => Input::TimerFired { token: *token, element: element.clone() },
            None => nonsense(0),
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_global_rejects: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn tokens_are_neither_lost_nor_made_and_effects_tell_the_whole_story(
        nodes in proptest::collection::vec(node(), 1..10),
        moves in moves(),
    ) {
        let def = definition(&nodes);
        prop_assume!(def.is_some());
        let def = def.unwrap();
        let at = Micros(0);
        let (mut instance, effects) = Instance::start(&def, json!({}), at).unwrap();
        let mut shadow = Shadow::default();
        shadow.carry_out(&effects);
        let mut record = Vec::new();
        let mut last_id = 0;
        for (i, chosen) in moves.iter().enumerate() {
            let input = input(&def, &shadow, chosen);
            let at = Micros(i as i64);
            let before = instance.clone();
            match instance.apply(&def, input.clone(), at) {
                Ok(effects) => {
                    // What the input itself used up.
                    match &input {
                        Input::TaskCompleted { token, .. } | Input::ServiceDone { token, .. } => {
                            shadow.waiting.retain(|(t, _)| t != token);
                        }
                        Input::TimerFired { token, element } => {
                            prop_assert!(shadow.timers.remove(&(*token, element.clone())));
                        }
                        _ => {}
                    }
                    shadow.carry_out(&effects);
                    record.push((input, at));
                }
                Err(_) => prop_assert_eq!(&instance, &before),
            }
            prop_assert_eq!(&shadow, &Shadow::of(&instance));

            // Exactly one main token until it ends; side tokens only where a timer may split.
            let main = instance.tokens.iter().filter(|t| !t.side).count();
            prop_assert_eq!(main, usize::from(instance.reached.is_none() && instance.ended.is_none()));
            let splits = def.timers().any(|(_, t)| !t.interrupting);
            prop_assert!(splits || instance.tokens.len() <= 1);
            prop_assert!(instance.tokens.iter().all(|t| t.id < instance.next_token));
            prop_assert!(instance.next_token >= last_id);
            last_id = instance.next_token;
            prop_assert!(instance.tokens.iter().all(|t| matches!(
                def.element(&t.element).map(|e| &e.kind), Some(Kind::UserTask(_) | Kind::ServiceTask(_)))));
            prop_assert!(instance.passed.iter().all(|id| def.element(id).is_some() || def.flow(id).is_some()));
        }

        // The same inputs at the same instants give the same case, through JSON between the steps too.
        let (mut again, _) = Instance::start(&def, json!({}), at).unwrap();
        for (input, at) in record {
            again = serde_json::from_str(&serde_json::to_string(&again).unwrap()).unwrap();
            again.apply(&def, input, at).unwrap();
        }
        prop_assert_eq!(again, instance);
    }
}
