//! Shared subscriptions.

use super::raw::{Hello, Message, Plain};

#[tokio::test]
async fn each_message_goes_to_one_of_the_group_and_to_all_others() {
    let hub = Plain::start().await;
    let mut members = [hub.client(5, "m1").await, hub.client(4, "m2").await, hub.client(5, "m3").await];
    for member in &mut members {
        assert_eq!(member.subscribe(&[("$share/g/t/+", 1)]).await, [1]);
    }
    let mut other_group = hub.client(5, "o").await;
    other_group.subscribe(&[("$share/h/t/#", 0)]).await;
    let mut alone = hub.client(5, "alone").await;
    alone.subscribe(&[("t/1", 0)]).await;
    let mut publisher = hub.client(5, "pub").await;
    for n in 0..9 {
        publisher.tell("t/1", 1, &n.to_string()).await;
    }
    // In turn.
    for (at, member) in members.iter_mut().enumerate() {
        for round in 0..3 {
            assert_eq!(member.payload().await, (round * 3 + at).to_string());
        }
        member.quiet().await;
    }
    for n in 0..9 {
        assert_eq!(other_group.payload().await, n.to_string());
        assert_eq!(alone.payload().await, n.to_string());
    }
}

#[tokio::test]
async fn filters_of_groups_are_as_they_must_be() {
    let hub = Plain::start().await;
    for (version, bad) in [(4, 0x80), (5, 0x8F)] {
        let mut raw = hub.client(version, "c").await;
        let filters =
            ["$share/g/t", "$share//t", "$share/g", "$share/+/t", "$share/#/t", "$share/g/", "$share/g/#/x"];
        let codes = raw.subscribe(&filters.map(|filter| (filter, 0))).await;
        assert_eq!(codes, [0, bad, bad, bad, bad, bad, bad]);
    }
}

#[tokio::test]
async fn each_member_has_the_qos_it_was_granted() {
    let hub = Plain::start().await;
    let mut low = hub.client(5, "low").await;
    let mut high = hub.client(5, "high").await;
    low.subscribe(&[("$share/g/t", 0)]).await;
    high.subscribe(&[("$share/g/t", 2)]).await;
    let mut publisher = hub.client(5, "pub").await;
    for _ in 0..2 {
        publisher.tell("t", 2, "x").await;
    }
    assert_eq!(low.message().await.qos, 0);
    assert_eq!(high.message().await.qos, 2);
}

#[tokio::test]
async fn no_retained_message_goes_to_a_group() {
    let hub = Plain::start().await;
    let mut raw = hub.client(5, "c").await;
    raw.say(&Message::retained("t", "x")).await;
    raw.subscribe(&[("$share/g/t", 1)]).await;
    raw.quiet().await;
}

#[tokio::test]
async fn who_is_there_goes_before_who_is_away_and_who_left_the_group_gets_nothing() {
    let hub = Plain::start().await;
    let (mut away, _) = hub.join(Hello::durable(5, "away")).await;
    away.subscribe(&[("$share/g/t", 1)]).await;
    let mut here = hub.client(5, "here").await;
    here.subscribe(&[("$share/g/t", 1)]).await;
    away.leave().await;
    let mut publisher = hub.client(5, "pub").await;
    for _ in 0..3 {
        publisher.tell("t", 1, "x").await;
        assert_eq!(here.payload().await, "x");
    }
    assert_eq!(here.unsubscribe(&["$share/g/t"]).await, [0]);
    // Only the one who is away is left: it waits for it.
    publisher.tell("t", 1, "kept").await;
    here.quiet().await;
    let (mut away, _) = hub.join(Hello::durable(5, "away")).await;
    assert_eq!(away.payload().await, "kept");
    away.quiet().await;
}

#[tokio::test]
async fn a_qos_2_message_that_began_stays_with_its_member() {
    let hub = Plain::start().await;
    let (mut first, _) = hub.join(Hello::durable(5, "first")).await;
    first.subscribe(&[("$share/g/t", 2)]).await;
    let mut publisher = hub.client(5, "pub").await;
    publisher.tell("t", 2, "x").await;
    assert_eq!(first.message().await.payload, b"x");
    let mut second = hub.client(5, "second").await;
    second.subscribe(&[("$share/g/t", 2)]).await;
    first.vanish().await;
    second.quiet().await;
    let (mut first, _) = hub.join(Hello::durable(5, "first")).await;
    let got = first.message().await;
    assert!(got.dup && got.payload == b"x");
    // Its session ends without the handshake: nobody else gets it.
    first.vanish().await;
    hub.client(5, "first").await.leave().await;
    second.quiet().await;
}

#[tokio::test]
async fn a_refused_message_goes_to_no_other() {
    let hub = Plain::start().await;
    let mut first = hub.client(5, "first").await;
    let mut second = hub.client(5, "second").await;
    first.subscribe(&[("$share/g/t", 2)]).await;
    let mut publisher = hub.client(5, "pub").await;
    publisher.tell("t", 1, "x").await;
    publisher.tell("t", 2, "y").await;
    second.subscribe(&[("$share/g/t", 2)]).await;
    for first_byte in [0x40, 0x50] {
        let id = first.message().await.id.unwrap();
        first.send(&[first_byte, 3, 0, id as u8, 0x80]).await;
    }
    first.quiet().await;
    second.quiet().await;
}
