//! The process of the fire pack, from its file to its end.

use std::path::PathBuf;

use model::{IsoDuration, Micros};
use process::{Definition, Input, Instance, Kind};
use serde_json::{Value, json};

use crate::{definition, short};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../packs/fire")
}

/// The file's text.
pub fn file() -> String {
    std::fs::read_to_string(folder().join("processes/hydrant-pressure.bpmn")).unwrap()
}

/// A case and what its steps asked for, walked by element names.
struct Case {
    def: Definition,
    instance: Instance,
    told: Vec<String>,
}

impl Case {
    fn start() -> Self {
        let def = definition(&file());
        let (instance, effects) = Instance::start(&def, json!({"place": "3 栋 12 层"}), Micros(0)).unwrap();
        Self { def, instance, told: short(&effects) }
    }

    fn token(&self, element: &str) -> u64 {
        self.instance
            .tokens
            .iter()
            .find(|t| t.element == element)
            .unwrap_or_else(|| panic!("nothing at {element}"))
            .id
    }

    fn step(&mut self, input: Input) -> &mut Self {
        self.told = short(&self.instance.apply(&self.def, input, Micros(1)).unwrap());
        self
    }

    fn complete(&mut self, element: &str, outcome: &str) -> &mut Self {
        let token = self.token(element);
        self.step(Input::TaskCompleted { token, values: json!({"outcome": outcome}) })
    }

    fn answer(&mut self, element: &str) -> &mut Self {
        let token = self.token(element);
        self.step(Input::ServiceDone { token, result: json!({"delivered": true}) })
    }

    fn check(&mut self, told: &[&str]) -> &mut Self {
        assert_eq!(self.told, told);
        self
    }
}

const ENDED: &str = r#"ended {"kind":"completed","end":"end","outcome":"closed"}"#;

#[test]
fn it_says_what_the_pack_promises() {
    let def = definition(&file());
    assert_eq!((def.key(), &*def.name().zh), ("hydrant-pressure", "消火栓水压处置"));
    let ids: Vec<_> = def.elements().iter().map(|e| e.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "start",
            "notify-residents",
            "sign",
            "verify",
            "real",
            "repair",
            "repair-overdue",
            "notify-overdue",
            "end-overdue",
            "ask-device",
            "check",
            "passed",
            "close",
            "end-notice",
            "end"
        ]
    );
    let tasks: Vec<_> = def.user_tasks().iter().map(|e| (e.id.as_str(), e.name.zh.as_str())).collect();
    let expected =
        [("sign", "签收"), ("verify", "核实"), ("repair", "维修"), ("check", "复核"), ("close", "结案")];
    assert_eq!(tasks, expected);

    let sign = def.user_task("sign").unwrap();
    assert_eq!(sign.levels, ["property-duty", "community-duty", "street-duty", "district-duty"]);
    assert_eq!(sign.escalation, Some(IsoDuration(10 * Micros::MINUTE)));
    assert!(sign.acknowledge && !def.user_task("verify").unwrap().acknowledge);
    assert_eq!(def.user_task("check").unwrap().post, "community-duty");
    assert!(def.elements().iter().all(|e| e.name.zh != e.name.en), "a name is not translated");
}

#[test]
fn every_form_is_there_with_the_outcomes_that_conditions_ask_for() {
    let def = definition(&file());
    for (task, outcomes, required) in [
        ("sign", &["accepted"][..], &["outcome"][..]),
        ("verify", &["real", "false-alarm"], &["outcome"]),
        ("repair", &["done"], &["cause", "photos", "outcome"]),
        ("check", &["pass", "redo"], &["outcome"]),
        ("close", &["closed"], &["outcome"]),
    ] {
        let form = def.user_task(task).unwrap().form.clone().unwrap();
        let text = std::fs::read_to_string(folder().join(format!("forms/{form}.schema.json"))).unwrap();
        let schema: Value = serde_json::from_str(&text).unwrap();
        let outcome = &schema["properties"]["outcome"];
        assert_eq!(outcome["enum"], json!(outcomes), "{task}");
        assert_eq!(outcome["x-primary"], json!(true), "{task}");
        assert_eq!(schema["required"], json!(required), "{task}");
        for (name, property) in schema["properties"].as_object().unwrap() {
            for value in property["enum"].as_array().into_iter().flatten() {
                let title = &property["x-enum-titles"][value.as_str().unwrap()];
                assert!(title["zh"].is_string() && title["en"].is_string(), "{task} {name} {value}");
            }
            assert!(
                property["x-title"]["zh"].is_string() && property["x-title"]["en"].is_string(),
                "{task} {name}"
            );
        }
    }
}

#[test]
fn a_real_loss_of_pressure_is_repaired_twice_and_closed() {
    let mut case = Case::start();
    case.check(&["run notify#1"]).answer("notify-residents");
    case.check(&["open sign#2"]).complete("sign", "accepted");
    case.check(&["open verify#3"]).complete("verify", "real");
    case.check(&["open repair#4", "timer repair-overdue#4 PT4H"]).complete("repair", "done");
    case.check(&["cancel repair-overdue#4", "run ask-device#5"]).answer("ask-device");
    case.check(&["open check#6"]).complete("check", "redo");
    case.check(&["open repair#7", "timer repair-overdue#7 PT4H"])
        .complete("repair", "done")
        .answer("ask-device");
    case.complete("check", "pass").check(&["open close#10"]).complete("close", "closed");
    case.check(&["run end-notice#11"]).answer("end-notice").check(&[ENDED]);
    assert!(
        case.instance.passed.contains("flow-passed-repair")
            && !case.instance.passed.contains("flow-real-close")
    );
}

#[test]
fn a_false_alarm_is_closed_at_once() {
    let mut case = Case::start();
    case.answer("notify-residents").complete("sign", "accepted").complete("verify", "false-alarm");
    case.check(&["open close#4"]).complete("close", "closed").answer("end-notice").check(&[ENDED]);
    assert!(!case.instance.passed.contains("repair"));
}

#[test]
fn an_overdue_repair_is_told_to_the_street_while_it_goes_on() {
    let mut case = Case::start();
    case.answer("notify-residents").complete("sign", "accepted").complete("verify", "real");
    let token = case.token("repair");
    case.step(Input::TimerFired { token, element: "repair-overdue".into() }).check(&["run notify#5"]);
    let service = &case.def.element("notify-overdue").unwrap().kind;
    let Kind::ServiceTask(service) = service else { panic!("no service task") };
    assert_eq!(
        (service.params["message"].as_str(), service.params["audience"].as_str()),
        ("repair-overdue", "posts")
    );
    case.answer("notify-overdue").check(&[]).complete("repair", "done").check(&["run ask-device#6"]);
}
