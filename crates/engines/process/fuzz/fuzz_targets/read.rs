//! Any text is read or refused, and whatever is read can be started and walked.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::Micros;
use process::{Input, Instance};
use serde_json::json;

fuzz_target!(|text: &str| {
    let Ok(definitions) = process::read(text) else { return };
    for def in definitions {
        let _ = def.user_tasks();
        let Ok((mut instance, _)) = Instance::start(&def, json!({}), Micros(0)) else { continue };
        for step in 0..64 {
            let Some(token) = instance.tokens.first().cloned() else { break };
            let input = match token.timers.first() {
                Some(timer) if step % 2 == 0 => Input::TimerFired { token: token.id, element: timer.clone() },
                _ if def.user_task(&token.element).is_some() => {
                    Input::TaskCompleted { token: token.id, values: json!({"outcome": "done"}) }
                }
                _ => Input::ServiceDone { token: token.id, result: json!(null) },
            };
            if instance.apply(&def, input, Micros(step)).is_err() {
                break;
            }
        }
    }
});
