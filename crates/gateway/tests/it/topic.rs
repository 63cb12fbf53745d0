//! Topics and filters, as tables.

use gateway::topic::{Asked, Place, asked, command, place};

#[test]
fn topics_of_a_thing() {
    let table = [
        ("zs/v1/h-1/pressure", Place::Datastream("pressure")),
        ("zs/v1/h-1/a/b", Place::Datastream("a/b")),
        ("zs/v1/h-1/reply", Place::Reply),
        ("zs/v1/h-1/command", Place::Datastream("command")),
        ("zs/v1/h-1", Place::NotOwn),
        ("zs/v1/h-12/pressure", Place::NotOwn),
        ("zs/v1//pressure", Place::NotOwn),
        ("/zs/v1/h-1/pressure", Place::NotOwn),
        ("zs/v1/h-1/pre+ssure", Place::Invalid),
        ("#", Place::Invalid),
        ("zs/v1/h-1/\0", Place::Invalid),
    ];
    for (topic, expected) in table {
        assert_eq!(place(topic, "h-1"), expected, "{topic}");
    }
    assert_eq!(asked(&command("h-1"), "h-1"), Asked::Commands);
}

proptest::proptest! {
    /// Only what begins with the device's own prefix is ever its own.
    #[test]
    fn nothing_else_is_own(topic in "(zs/v1/)?(h-1|h-2|h|\\PC{0,6})?/?\\PC{0,8}") {
        let own = topic.starts_with("zs/v1/h-1/");
        match place(&topic, "h-1") {
            Place::Datastream(_) | Place::Reply => proptest::prop_assert!(own),
            Place::NotOwn => proptest::prop_assert!(!own),
            Place::Invalid => proptest::prop_assert!(topic.contains(['+', '#', '\0'])),
        }
        if asked(&topic, "h-1") == Asked::Commands {
            proptest::prop_assert!(own);
        }
    }
}
