//! The tables of `docs/mqtt.md` are true: each test they name is one of this crate, and no statement
//! is left out.

use std::collections::HashSet;
use std::path::Path;

/// A row: the heading above it, the number, what it says, what shows it.
struct Statement<'a> {
    version: &'a str,
    number: &'a str,
    says: &'a str,
    shown: &'a str,
}

fn page() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/mqtt.md");
    std::fs::read_to_string(page).unwrap()
}

fn statements(page: &str) -> Vec<Statement<'_>> {
    let (mut statements, mut version) = (Vec::new(), "");
    for line in page.lines() {
        version = line.strip_prefix("## Statements of ").unwrap_or(version);
        let Some(rest) = line.strip_prefix("| MQTT-") else { continue };
        let cells: Vec<_> = rest.trim_end_matches(" |").split(" | ").collect();
        let [number, says, shown] = cells[..] else { panic!("no row of three: {line}") };
        statements.push(Statement { version, number, says, shown });
    }
    statements
}

/// `module::test` of every test in files that the tables name.
fn tests() -> HashSet<String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = HashSet::new();
    for folder in ["tests/it/conformance", "tests/it/interoperability", "tests/it"] {
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
    tests
}

#[test]
fn every_test_that_the_table_names_exists() {
    let (page, tests) = (page(), tests());
    let (mut named, mut without) = (0, Vec::new());
    for Statement { version, number, says, shown } in statements(&page) {
        assert!(says.len() > 5, "MQTT-{number} of {version} says nothing");
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
    assert!(named > 200, "{named} names");
}

/// As many as appendix B of the standard lists, each once, and none of a clause left out.
#[test]
fn no_statement_is_left_out() {
    let page = page();
    for (version, many) in [("3.1.1", 141), ("5", 251)] {
        let numbers: Vec<_> =
            statements(&page).iter().filter(|s| s.version == version).map(|s| s.number).collect();
        let all: HashSet<_> = numbers.iter().copied().collect();
        assert_eq!((numbers.len(), all.len()), (many, many), "statements of {version}");
        for number in numbers {
            let (clause, at) = number.rsplit_once('-').unwrap();
            let before = at.parse::<u32>().unwrap() - 1;
            // 5 begins 2.2.1 with its second.
            let is_first = before == 0 || (version, number) == ("5", "2.2.1-2");
            assert!(
                is_first || all.contains(&*format!("{clause}-{before}")),
                "{clause}-{before} of {version}"
            );
        }
    }
}
