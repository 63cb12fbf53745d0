//! The engine through its public face.
#![allow(clippy::unwrap_used, clippy::panic)] // helper functions of tests, which clippy.toml does not see as tests

mod condition;
mod machine;
mod pack;
mod random;
mod read;

use process::{Definition, Effect};

/// A file with one executable process `p` around `body`; the body begins on line 2.
pub fn file(body: &str) -> String {
    format!(
        r#"<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:zs="http://zhongshu.city/bpmn/1.0" xmlns:camunda="http://camunda.org/schema/1.0/bpmn"><process id="p" isExecutable="true">
{body}
</process></definitions>"#
    )
}

/// Flows given as `"a>b c>d"`; ids are `a-b`.
pub fn flows(list: &str) -> String {
    let flow = |pair: &str| {
        let (from, to) = pair.split_once('>').unwrap();
        format!(r#"<sequenceFlow id="{from}-{to}" sourceRef="{from}" targetRef="{to}" />"#)
    };
    list.split_whitespace().map(flow).collect()
}

/// Reads a file that must be sound and has one process.
pub fn definition(xml: &str) -> Definition {
    process::read(xml).unwrap_or_else(|e| panic!("{e}")).remove(0)
}

/// Effects in short: `open sign#1`, `timer late#1 PT1H`, …; where a token walked is left out.
pub fn short(effects: &[Effect]) -> Vec<String> {
    let name = |effect: &Effect| match effect {
        Effect::Entered { .. } | Effect::Walked { .. } => None,
        Effect::OpenTask { token, element } => Some(format!("open {element}#{token}")),
        Effect::WithdrawTask { token, element } => Some(format!("withdraw {element}#{token}")),
        Effect::StartTimer { token, element, due } => Some(format!("timer {element}#{token} {due}")),
        Effect::CancelTimer { token, element } => Some(format!("cancel {element}#{token}")),
        Effect::RunService { token, service, .. } => Some(format!("run {service}#{token}")),
        Effect::WithdrawService { token, element } => Some(format!("withdraw {element}#{token}")),
        Effect::Ended { outcome } => Some(format!("ended {}", serde_json::to_string(outcome).unwrap())),
    };
    effects.iter().filter_map(name).collect()
}
