use rules::{Kind, parse};

use crate::HYDRANT;

#[test]
fn the_hydrants_rules_read() {
    let rules = parse(HYDRANT).unwrap();
    assert_eq!(
        rules.iter().map(|r| (r.id.as_str(), r.line)).collect::<Vec<_>>(),
        [("low", 2), ("silent", 29)]
    );
    let Kind::Below { levels, .. } = &rules[0].kind else { panic!("{:?}", rules[0]) };
    assert_eq!(levels.iter().map(|l| l.below).collect::<Vec<_>>(), [0.20, 0.14, 0.10], "mildest first");
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let change = |from: &str, to: &str| HYDRANT.replacen(from, to, 1);
    for (text, line, reason) in [
        (change("kind = \"below\"", "kind = \"above\""), 7, "\"above\" is not known"),
        (change("samples = 2", "samples = 0"), 8, "samples must be from 1 to 1000"),
        (change("samples = 2\n", "\n"), 2, "samples is missing"),
        (change("clear_by = 0.02", "clear_by = -1.0"), 2, "clear_by must be 0 or more"),
        (change("below = 0.20", "below = nan"), 12, "below must be a number"),
        (change("below = 0.14", "below = 0.25"), 17, "contradict"),
        (change("severity = \"orange\"", "severity = \"yellow\""), 17, "two yellow levels"),
        (change("severity = \"orange\"", "severity = \"violet\""), 18, "violet"),
        (change("missed = 3", "missed = 3\nsamples = 2"), 36, "does not belong"),
        (change("id = \"silent\"", "id = \"low\""), 29, "taken by the rule of line 2"),
        (change("id = \"low\"", "id = \"lo w\""), 2, "must be letters"),
        (change("offline = true", "offlien = true"), 37, "offlien"),
        (change("missed = 3", "missed ="), 35, ""),
    ] {
        let errors = parse(&text).unwrap_err();
        assert!(errors.iter().any(|e| e.line == line && e.reason.contains(reason)), "{reason}: {errors:?}");
    }
}

#[test]
fn one_look_shows_every_mistake() {
    let text = HYDRANT.replacen("samples = 2", "samples = 0", 1).replacen("missed = 3", "missed = 0", 1);
    assert_eq!(parse(&text).unwrap_err().len(), 2);
}

#[test]
fn the_same_colour_may_have_a_threshold_for_each_kind_of_thing() {
    let text = HYDRANT.replacen(
        "below = 0.20",
        "below = 0.20\nwhere = { siting = \"indoor\" }\nlabel = { zh = \"\", en = \"\" }\n[[rule.level]]\nseverity = \"yellow\"\nbelow = 0.25\nwhere = { siting = \"outdoor\" }",
        1,
    );
    assert!(parse(&text).is_ok(), "{:?}", parse(&text));
}
