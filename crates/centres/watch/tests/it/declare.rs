use crate::{SILENCE, pack};

#[test]
fn a_good_pack_has_no_errors() {
    assert_eq!(watch::validate(&pack(SILENCE)), []);
}

#[test]
fn the_fire_pack_of_the_hub_is_good() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../packs/fire");
    let mut pack = pack("");
    for file in ["pack.toml", "rules.toml", "things/fire-hydrant.toml"] {
        pack.files.insert(file.into(), std::fs::read_to_string(folder.join(file)).unwrap());
    }
    assert_eq!(watch::validate(&pack), []);
}

#[test]
fn what_is_wrong_with_a_pack_is_named_with_file_and_line() {
    let (things, rules) = ("things/fire-hydrant.toml", "rules.toml");
    for (file, from, to, line, reason) in [
        (things, "decimals = 3", "decimals = 30", 6, "more than 9 decimals"),
        (things, "PT1S", "PT0.1S", 6, "a second or more"),
        (things, "PT1S", "P1M", 11, "not fixed"),
        (things, "[-0.1, 2.5]", "[2.5, -0.1]", 6, "[lowest, highest]"),
        (things, "code = \"pressure\"", "code = \"command\"", 6, "topics of their own"),
        (things, "unit = ", "units = ", 9, "units"),
        (things, "type = \"fire-hydrant\"", "type = \"fire hydrant\"", 2, "must be letters"),
        (rules, "type = \"fire-hydrant\"", "type = \"pump\"", 2, "no thing type \"pump\""),
        (rules, "datastream = \"pressure\"", "datastream = \"flow\"", 2, "no datastream \"flow\""),
        (rules, "samples = 2", "samples = 0", 8, "from 1 to"),
    ] {
        let mut pack = pack("");
        let text = pack.files.get_mut(file).unwrap();
        *text = text.replacen(from, to, 1);
        let errors = watch::validate(&pack);
        let found =
            errors.iter().any(|e| e.file == file && e.line == Some(line) && e.reason.contains(reason));
        assert!(found, "{file}:{line} {reason}: {errors:?}");
    }
}

#[test]
fn silence_needs_an_interval() {
    let mut pack = pack(SILENCE);
    let text = pack.files.get_mut("things/fire-hydrant.toml").unwrap();
    *text = text.replace("interval = \"PT1S\"\n", "");
    assert!(watch::validate(&pack)[0].reason.contains("no interval"));
}
