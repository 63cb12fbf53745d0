//! Conditions: what they see, and what is refused.

use process::condition::{Condition, ConditionError, Facts};
use serde_json::{Value, json};

fn ask(source: &str, data: &Value, values: Option<&Value>) -> Result<bool, ConditionError> {
    Condition::compile(source)?.holds(Facts { data: data.as_object().unwrap(), values })
}

#[test]
fn what_a_condition_sees() {
    let data = json!({
        "verify": {"outcome": "real", "photos": ["a", "b"]}, "pressure": 0.12, "count": 3, "notify-residents": {"sent": 7},
        "outcome": "of the data", "empty": null, "big": 18_446_744_073_709_551_615u64
    });
    let values = json!({"outcome": "false-alarm", "minutes": 5});
    for (source, expected) in [
        (r#"outcome == "false-alarm""#, true),
        (r#"  outcome == "real" "#, false),
        (r#"data.outcome == "of the data""#, true),
        (r#"verify.outcome == "real""#, true),
        ("values.minutes + 1 == 6", true),
        ("pressure < 0.2 && count >= 3", true),
        ("count / 2 == 1", true),
        (r#"data["notify-residents"].sent > 5"#, true),
        ("size(verify.photos) == 2", true),
        (r#"verify.photos.exists(p, p == "b")"#, true),
        ("has(data.verify) && !has(data.repair)", true),
        ("empty == null", true),
        ("big > 1u", true),
        (r#"outcome in ["false-alarm", "pass"]"#, true),
        (r#"outcome.startsWith("false")"#, true),
        (r#"'((((((((((' != "\")))" && ((((((true))))))"#, true),
    ] {
        assert_eq!(ask(source, &data, Some(&values)), Ok(expected), "{source}");
    }
}

#[test]
fn before_any_task_there_is_no_outcome() {
    assert_eq!(ask(r#"outcome == "real""#, &json!({}), None), Ok(false));
    assert_eq!(ask("outcome == null && size(values) == 0", &json!({}), None), Ok(true));
}

#[test]
fn refused_at_load() {
    let long = format!("outcome == \"{}\"", "x".repeat(1000));
    for (source, expected) in [
        (long.as_str(), "the condition has 1013 bytes"),
        ("outcome ==", "the condition is not valid CEL"),
        ("", "the condition is not valid CEL"),
        (r#"outcome == r"x""#, "only plain strings"),
        (r#"outcome == """x""""#, "only plain strings"),
        ("outcome == \"x\ny\"", "does not end on its line"),
        ("true // always", "comments"),
        ("(((((((true)))))))", "nests too deep"),
        (&*format!("{}true", "true && ".repeat(8) + &"1 + ".repeat(60)), "nests too deep"),
        ("matches_moon(outcome)", "calls \"matches_moon\""),
        ("[1, 2].exists(a, [3].exists(b, a == b))", "a loop inside a loop"),
    ] {
        let message = Condition::compile(source).unwrap_err().to_string();
        assert!(message.contains(expected), "{source}: {message}");
    }
}

#[test]
fn refused_when_asked() {
    for (source, expected) in [
        ("nobody == 1", "nobody"),
        ("data.nobody == 1", "nobody"),
        ("size(data)", "it gives a number, not true or false"),
        ("outcome + 1 > 2", "unsupported"),
        ("1 / 0 == 1", "zero"),
    ] {
        let message = ask(source, &json!({}), None).unwrap_err().to_string();
        assert!(message.to_lowercase().contains(expected), "{source}: {message}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_compiled_or_refused(source in "[a-z0-9 .()\\[\\]{}\"'=<>&|!?:+*/%,-]{0,60}|\\PC{0,40}") {
        if let Ok(condition) = Condition::compile(&source) {
            let data = json!({"a": 1, "b": "x", "c": [1, 2]});
            let _ = condition.holds(Facts { data: data.as_object().unwrap(), values: None });
        }
    }
}

#[test]
fn hostile_text_is_answered_soon() {
    for piece in [
        "(",
        "[",
        "{",
        "!",
        "-",
        "a.",
        "1+",
        "a?b:",
        "a&&",
        "a||",
        "[a,",
        "{1:",
        "\"",
        "a(",
        "x.all(x,",
        "a[",
        "has(a.b)&&",
        "1.",
        "!-",
    ] {
        for end in ["", "a", "true"] {
            let source = format!("{}{end}", piece.repeat(990 / piece.len()));
            if let Ok(condition) = Condition::compile(&source) {
                let _ = condition
                    .holds(Facts { data: json!({"a": true, "b": true}).as_object().unwrap(), values: None });
            }
        }
    }
}
