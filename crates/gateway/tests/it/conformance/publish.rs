//! PUBLISH from one client to another.

use super::raw::{Message, Plain};

#[tokio::test]
async fn a_message_goes_to_who_subscribed_as_it_was_sent() {
    let hub = Plain::start().await;
    for (from, to) in [(4, 4), (4, 5), (5, 4), (5, 5)] {
        let mut sub = hub.client(to, "sub").await;
        let mut publisher = hub.client(from, "pub").await;
        sub.subscribe(&[("a/b", 2)]).await;
        for qos in 0..3 {
            publisher.publish(&Message::new("a/b", qos, 7, "x\0y")).await;
            let got = sub.message().await;
            assert_eq!((got.topic.as_str(), got.payload.as_slice()), ("a/b", &b"x\0y"[..]));
            assert_eq!((got.qos, got.dup, got.retain), (qos, false, false));
            assert_eq!(got.id.is_some(), qos > 0);
            sub.quiet().await;
        }
        // An empty payload is a payload.
        publisher.publish(&Message::new("a/b", 0, 0, "")).await;
        assert_eq!(sub.message().await.payload, b"");
    }
}

#[tokio::test]
async fn dup_of_the_publisher_goes_no_further() {
    let hub = Plain::start().await;
    let mut sub = hub.client(5, "sub").await;
    let mut publisher = hub.client(4, "pub").await;
    sub.subscribe(&[("t", 1)]).await;
    publisher.publish(&Message { dup: true, ..Message::new("t", 1, 7, "x") }).await;
    assert!(!sub.message().await.dup);
}

#[tokio::test]
async fn the_lower_qos_of_publication_and_subscription_holds() {
    let hub = Plain::start().await;
    for version in [4, 5] {
        let mut publisher = hub.client(version, "pub").await;
        for granted in 0..3u8 {
            let mut sub = hub.client(version, "sub").await;
            assert_eq!(sub.subscribe(&[("t", granted)]).await, [granted]);
            for sent in 0..3u8 {
                publisher.tell("t", sent, "x").await;
                assert_eq!(sub.message().await.qos, sent.min(granted));
            }
        }
    }
}

#[tokio::test]
async fn order_is_kept_for_each_topic_and_qos() {
    let hub = Plain::start().await;
    for qos in 0..3u8 {
        let mut sub = hub.client(5, "sub").await;
        sub.subscribe(&[("a", 2), ("b", 2)]).await;
        let mut publisher = hub.client(4, "pub").await;
        for n in 1..=300u16 {
            let topic = if n % 2 == 0 { "a" } else { "b" };
            publisher.publish(&Message::new(topic, qos, n, &n.to_string())).await;
        }
        for n in 1..=300u16 {
            let got = sub.message().await;
            assert_eq!(got.payload, n.to_string().as_bytes());
            assert_eq!(got.id, (qos > 0).then_some(n), "ids are given in order");
        }
    }
}

#[tokio::test]
async fn topics_are_compared_byte_for_byte() {
    let hub = Plain::start().await;
    let mut raw = hub.client(4, "c").await;
    // Case, a trailing or leading separator, composition, and a byte order mark all count.
    let topics =
        ["Topic", "topic", "topic/", "/topic", "caf\u{e9}", "cafe\u{301}", "\u{feff}topic", " topic"];
    for topic in topics {
        raw.subscribe(&[(topic, 0)]).await;
        for other in topics {
            raw.publish(&Message::new(other, 0, 0, other)).await;
        }
        assert_eq!(raw.payload().await, topic);
        raw.quiet().await;
        raw.unsubscribe(&[topic]).await;
    }
}

#[tokio::test]
async fn the_longest_topic_is_taken() {
    let hub = Plain::with(|config| config.max_packet_bytes = 200_000).await;
    let mut raw = hub.client(5, "c").await;
    let topic = "x".repeat(65_535);
    raw.subscribe(&[(&topic, 0)]).await;
    raw.publish(&Message::new(&topic, 0, 0, "far")).await;
    assert_eq!(raw.message().await.topic.len(), 65_535);
}

#[tokio::test]
async fn wildcards_match_as_the_standard_has_it() {
    let hub = Plain::start().await;
    let filters = ["sport/#", "sport/+", "#", "+", "+/+", "/+", "sport/+/player", "$SYS/#", "$SYS/monitor/+"];
    let table: &[(&str, &[usize])] = &[
        ("sport", &[0, 2, 3]),
        ("sport/", &[0, 1, 2, 4]),
        ("sport/tennis", &[0, 1, 2, 4]),
        ("sport/tennis/player", &[0, 2, 6]),
        ("/finance", &[2, 4, 5]),
        ("sports", &[2, 3]),
        ("$SYS/monitor/Clients", &[7, 8]),
        ("$SYS", &[7]),
    ];
    let mut publisher = hub.client(5, "pub").await;
    for (at, filter) in filters.iter().enumerate() {
        let mut sub = hub.client(5, "sub").await;
        sub.subscribe(&[(filter, 0)]).await;
        for (topic, matching) in table {
            publisher.tell(topic, 1, topic).await;
            if matching.contains(&at) {
                assert_eq!(sub.payload().await, *topic, "{filter}");
            }
        }
        sub.quiet().await;
    }
}

#[tokio::test]
async fn without_the_right_a_publication_is_refused() {
    // Not the open profile: a device publishes on another's topic.
    let mut hub = crate::harness::Hub::start().await;
    let mut five = hub.client(5).await;
    five.publish("zs/v1/h-2/pressure", Some(3), "1").await;
    assert_eq!(five.heard().await, crate::harness::Heard::Ack(3, 0x87));
    let mut three = hub.client_of("h-1", "three", 4).await;
    three.publish("zs/v1/h-2/pressure", Some(3), "1").await;
    assert_eq!(three.heard().await, crate::harness::Heard::Closed);
    assert!(hub.store.try_recv().is_err());
}
