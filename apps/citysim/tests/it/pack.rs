//! The declarations of packs/fire: every file parses, and they agree with the generated city.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use citysim::faults;
use citysim::hydraulics::Network;
use model::{IsoDuration, Severity, Text};

fn pack() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packs/fire")
}

fn read(file: &str) -> toml::Table {
    let text = std::fs::read_to_string(pack().join(file)).unwrap();
    text.parse().unwrap_or_else(|e| panic!("{file}: {e}"))
}

fn text(value: &toml::Value) -> Text {
    let text: Text = value.clone().try_into().unwrap();
    assert!(!text.zh.is_empty() && !text.en.is_empty());
    text
}

#[test]
fn every_toml_file_of_the_pack_parses() {
    let mut folders = vec![pack()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "toml") {
                let text = std::fs::read_to_string(&path).unwrap();
                let parsed = text.parse::<toml::Table>();
                assert!(parsed.is_ok(), "{}: {parsed:?}", path.display());
                files += 1;
            }
        }
    }
    assert!(files >= 7, "{files} files");
}

#[test]
fn rules_bindings_and_things_name_one_another() {
    let thing = read("things/fire-hydrant.toml");
    let datastream = &thing["datastream"].as_array().unwrap()[0];
    IsoDuration::parse(datastream["interval"].as_str().unwrap()).unwrap();
    let rules = read("rules.toml");
    let rules = rules["rule"].as_array().unwrap();
    let mut ids = HashSet::new();
    for rule in rules {
        assert!(ids.insert(rule["id"].as_str().unwrap()));
        assert_eq!(rule["type"], thing["type"]);
        assert_eq!(rule["datastream"], datastream["code"]);
        text(&rule["title"]);
        let mut mildest_first = Vec::new();
        for level in rule.get("level").and_then(toml::Value::as_array).into_iter().flatten() {
            let severity = Severity::from_name(level["severity"].as_str().unwrap()).unwrap();
            mildest_first.push((level["below"].as_float().unwrap(), severity));
            text(&level["label"]);
        }
        assert!(mildest_first.windows(2).all(|w| w[0].0 > w[1].0 && w[0].1 > w[1].1));
    }
    for binding in read("bindings.toml")["binding"].as_array().unwrap() {
        assert!(ids.contains(binding["rule"].as_str().unwrap()));
        text(&binding["title"]);
    }
}

#[test]
fn roles_ask_for_known_permissions_and_residents_for_two() {
    let known = [
        "situation:read",
        "thing:read",
        "alert:read",
        "case:read",
        "task:read",
        "task:complete",
        "task:hand-over",
        "file:write",
        "file:read",
        "notice:read",
        "area:read",
        "process:read",
        "person:read",
        "data:query",
        "token:manage",
        "sweep:start",
        "sweep:read",
        "observation:import",
        "notification:read",
        "notification:resend",
        "notification:manage",
    ];
    let roles: BTreeMap<String, HashSet<String>> = read("roles.toml")["role"]
        .as_array()
        .unwrap()
        .iter()
        .map(|role| {
            text(&role["title"]);
            let permissions: HashSet<String> = role["permissions"].clone().try_into().unwrap();
            assert!(permissions.iter().all(|p| known.contains(&p.as_str())), "{permissions:?}");
            (role["code"].as_str().unwrap().to_owned(), permissions)
        })
        .collect();
    assert_eq!(roles.len(), 5);
    assert_eq!(roles["resident"], HashSet::from(["notice:read".to_owned(), "area:read".to_owned()]));
}

#[test]
fn messages_fill_only_known_places() {
    for code in ["hydrant-low-pressure", "repair-overdue"] {
        let message = read(&format!("messages/{code}.toml"));
        assert_eq!(message["code"].as_str(), Some(code));
        for words in [text(&message["title"]), text(&message["body"])] {
            for language in [words.zh, words.en] {
                for place in language.split('{').skip(1) {
                    let place = place.split('}').next().unwrap();
                    assert!(["building", "time", "value"].contains(&place), "{code}: {place}");
                }
            }
        }
    }
}

#[test]
fn the_demo_script_strikes_what_exists() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("faults/demo.toml");
    let script = faults::read(&file).unwrap();
    let things = citysim::city::hydrants();
    let network = Network::of(&things);
    for scripted in &script {
        let target = scripted.fault.target();
        assert!(network.has(target) || things.iter().any(|t| t.code == target), "{target}");
    }
    assert_eq!(script[0].at.as_secs(), 20);
    assert_eq!(script[0].fault, faults::Fault::Burst { target: "riser-03-1".to_owned() });
}

#[test]
fn a_wrong_script_is_refused_with_its_reason() {
    for (script, reason) in [
        ("[[fault]]\nat='20'\nkind='burst'\ntarget='x'", "is not a duration"),
        ("[[fault]]\nat='20s'\nkind='flood'\ntarget='x'", "flood"),
        ("[[fault]]\nat='20s'\nkind='burst'", "target"),
        ("[[fault]]\nat='20s'\nkind='burst'\ntarget='x'\nwhen='y'", "when"),
        ("[[faults]]\nat='20s'", "faults"),
    ] {
        let error = format!("{:#}", faults::parse(script).unwrap_err());
        assert!(error.contains(reason), "{script}: {error}");
    }
}
