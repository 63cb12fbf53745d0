//! Topics and filters, as tables.

use gateway::topic::{Filter, Place, command, is_of, matches, place};
use model::DatastreamKey;

#[test]
fn topics_of_the_hub() {
    let of = |code| Place::Datastream { thing: "h-1", code };
    let table = [
        ("zs/v1/h-1/pressure", of("pressure")),
        ("zs/v1/h-1/a/b", of("a/b")),
        ("zs/v1/h-1/", of("")),
        ("zs/v1/h-1/reply", Place::Reply { thing: "h-1" }),
        ("zs/v1/h-1/command", of("command")),
        ("zs/v1/h-1", Place::Other),
        ("zs/v1//pressure", Place::Other),
        ("/zs/v1/h-1/pressure", Place::Other),
        ("v1.1/Datastreams(12)/Observations", Place::Observations(DatastreamKey(12))),
        ("v1.1/Datastreams(x)/Observations", Place::Other),
        ("v1.1/Datastreams(12)/Observations/x", Place::Other),
        ("", Place::Invalid),
        ("zs/v1/h-1/pre+ssure", Place::Invalid),
        ("#", Place::Invalid),
        ("zs/v1/h-1/\0", Place::Invalid),
    ];
    for (topic, expected) in table {
        assert_eq!(place(topic), expected, "{topic}");
    }
    assert!(is_of(&command("h-1"), "h-1"));
    assert!(!is_of("zs/v1/h-12/pressure", "h-1"));
}

#[test]
fn filters_match_as_the_standard_has_it() {
    let table = [
        ("sport/tennis/player1/#", "sport/tennis/player1", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
        ("sport/#", "sport", true),
        ("#", "sport/tennis", true),
        ("sport/tennis/+", "sport/tennis/player1", true),
        ("sport/tennis/+", "sport/tennis/player1/ranking", false),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("+/+", "/finance", true),
        ("/+", "/finance", true),
        ("+", "/finance", false),
        ("#", "$SYS/monitor", false),
        ("+/monitor", "$SYS/monitor", false),
        ("$SYS/#", "$SYS/monitor", true),
        ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
        ("ACCOUNTS", "accounts", false),
        ("a//b", "a//b", true),
        ("a/+/b", "a//b", true),
        ("a", "a/", false),
    ];
    for (filter, topic, expected) in table {
        assert_eq!(matches(filter, topic), expected, "{filter} on {topic}");
    }
}

#[test]
fn filters_that_are_none() {
    for text in [
        "",
        "a#",
        "a/#/b",
        "#/",
        "a+",
        "+a/b",
        "a\0",
        "$share",
        "$share/",
        "$share/g",
        "$share//a",
        "$share/+/a",
        "$share/g/",
    ] {
        let read = Filter::read(text);
        // "$share" alone is an ordinary filter.
        assert_eq!(read.is_some(), text == "$share", "{text:?} read as {read:?}");
    }
    assert_eq!(Filter::read("$share/g/a/#"), Some(Filter { group: Some("g"), filter: "a/#" }));
}

proptest::proptest! {
    /// Only what begins with the device's own prefix is ever its own.
    #[test]
    fn nothing_else_is_own(topic in "(zs/v1/)?(h-1|h-2|h|\\PC{0,6})?/?\\PC{0,8}") {
        proptest::prop_assert_eq!(is_of(&topic, "h-1"), topic.starts_with("zs/v1/h-1/"));
        match place(&topic) {
            Place::Datastream { thing, .. } | Place::Reply { thing } => {
                proptest::prop_assert!(is_of(&topic, thing));
            }
            Place::Invalid => {
                proptest::prop_assert!(topic.is_empty() || topic.contains(['+', '#', '\0']));
            }
            Place::Observations(_) => proptest::prop_assert!(topic.starts_with("v1.1/")),
            Place::Other => {}
        }
    }
}
