//! The table of `docs/mqtt.md` is true: each test it names is one of this folder.

use std::collections::HashSet;
use std::path::Path;

#[test]
fn every_test_that_the_table_names_exists() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = HashSet::new();
    for folder in ["tests/it/conformance", "tests/it"] {
        for entry in std::fs::read_dir(here.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let mut is_test = false;
            for line in text.lines() {
                if line.starts_with("#[tokio::test") || line == "#[test]" {
                    is_test = true;
                } else if is_test && let Some(rest) = line.trim_start_matches("async ").strip_prefix("fn ") {
                    tests.insert(format!("{module}::{}", rest.split('(').next().unwrap()));
                    is_test = false;
                }
            }
        }
    }
    let text = std::fs::read_to_string(here.join("../../docs/mqtt.md")).unwrap();
    let (mut statements, mut named, mut without) = (HashSet::new(), 0, Vec::new());
    let mut version = "";
    for line in text.lines() {
        if line.starts_with("## ") {
            version = line;
        }
        let Some(rest) = line.strip_prefix("| MQTT-") else { continue };
        let mut cells = rest.split(" | ");
        let number = cells.next().unwrap();
        let (says, shown) = (cells.next().unwrap(), cells.next().unwrap().trim_end_matches(" |"));
        assert!(statements.insert((version, number)), "MQTT-{number} stands twice under {version}");
        assert!(says.len() > 5 && cells.next().is_none(), "MQTT-{number} is no row of three");
        if shown.starts_with("not applicable: ") || shown.starts_with("by construction: ") {
            continue;
        }
        let names: Vec<_> = shown.split(", ").map(|name| name.trim_matches('`')).collect();
        for name in &names {
            if !tests.contains(*name) {
                without.push(format!("MQTT-{number} of {version}: {name}"));
            }
        }
        named += names.len();
    }
    assert!(without.is_empty(), "no such test:\n{}", without.join("\n"));
    assert!(statements.len() > 300 && named > 200, "{} statements, {named} names", statements.len());
}
