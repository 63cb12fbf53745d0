//! SUBSCRIBE, UNSUBSCRIBE, and their answers.

use super::raw::{Message, Plain, packet, text};

#[tokio::test]
async fn each_filter_has_its_code_in_order() {
    let hub = Plain::start().await;
    let filters = [("a", 0), ("b/#", 2), ("#/c", 1), ("d", 1), ("e+", 0), ("", 0), ("f\0", 0), ("g/+/h", 1)];
    for (version, bad) in [(4, 0x80), (5, 0x8F)] {
        let mut raw = hub.client(version, "c").await;
        let codes = raw.subscribe(&filters).await;
        assert_eq!(codes, [0, 2, bad, 1, bad, bad, bad, 1]);
        let codes = raw.unsubscribe(&["a", "nothing", "d"]).await;
        assert_eq!(codes, if version == 5 { vec![0, 0x11, 0] } else { vec![] });
    }
}

#[tokio::test]
async fn the_same_filter_replaces_its_subscription() {
    let hub = Plain::start().await;
    for version in [4, 5] {
        let mut raw = hub.client(version, "c").await;
        assert_eq!(raw.subscribe(&[("t", 2)]).await, [2]);
        assert_eq!(raw.subscribe(&[("t", 0)]).await, [0]);
        let mut other = hub.client(version, "other").await;
        other.tell("t", 2, "x").await;
        assert_eq!(raw.message().await.qos, 0);
        raw.quiet().await;
    }
}

#[tokio::test]
async fn nothing_comes_after_unsubscribe_but_what_was_on_its_way_is_completed() {
    let hub = Plain::start().await;
    for version in [4, 5] {
        let mut raw = hub.client(version, "c").await;
        let mut other = hub.client(version, "other").await;
        raw.subscribe(&[("t", 2), ("t/#", 2), ("u", 1)]).await;
        other.tell("t", 2, "x").await;
        let got = raw.message().await;
        // A filter goes by its characters alone: "t/#" does not take "t" with it.
        raw.unsubscribe(&["t/#"]).await;
        other.tell("t", 0, "y").await;
        other.tell("t", 1, "z").await;
        assert_eq!(raw.message().await.payload, b"y");
        assert_eq!(raw.message().await.payload, b"z");
        raw.unsubscribe(&["t"]).await;
        other.tell("t", 1, "late").await;
        raw.quiet().await;
        // The QoS 2 message that had begun.
        let id = got.id.unwrap();
        raw.ack(0x50, id).await;
        assert_eq!((raw.next().await.first, got.qos), (0x62, 2));
        raw.ack(0x70, id).await;
        raw.quiet().await;
    }
}

#[tokio::test]
async fn overlapping_subscriptions_give_one_message_at_the_highest_qos() {
    let hub = Plain::start().await;
    for version in [4, 5] {
        let mut raw = hub.client(version, "c").await;
        raw.subscribe(&[("a/#", 2), ("a/+", 1), ("a/b", 0)]).await;
        let mut other = hub.client(version, "other").await;
        other.tell("a/b", 2, "x").await;
        assert_eq!(raw.message().await.qos, 2);
        raw.quiet().await;
    }
}

#[tokio::test]
async fn identifiers_of_all_matching_subscriptions_come_with_the_message() {
    let hub = Plain::start().await;
    let mut raw = hub.client(5, "c").await;
    raw.subscribe_with(&[0x0B, 1], &[("a/#", 1)]).await;
    raw.subscribe_with(&[0x0B, 0x80, 0x01], &[("a/+", 0)]).await;
    raw.subscribe(&[("+/b", 0)]).await;
    let mut other = hub.client(5, "other").await;
    other.tell("a/b", 1, "x").await;
    let mut ids = raw.message().await.properties;
    // 1 and 128, in either order.
    if ids.len() == 5 && ids[1] == 0x80 {
        ids.rotate_left(3);
    }
    assert_eq!(ids, [0x0B, 1, 0x0B, 0x80, 0x01]);
    // Replaced without an identifier: it has none any more.
    raw.subscribe(&[("a/#", 1)]).await;
    raw.unsubscribe(&["a/+"]).await;
    other.tell("a/b", 1, "y").await;
    assert!(raw.message().await.properties.is_empty());
    // 3.1.1 has none.
    let mut three = hub.client(4, "three").await;
    three.subscribe(&[("a/b", 0)]).await;
    other.tell("a/b", 1, "z").await;
    assert_eq!(three.message().await.payload, b"z");
}

#[tokio::test]
async fn no_local_keeps_own_messages_away() {
    let hub = Plain::start().await;
    let mut raw = hub.client(5, "c").await;
    raw.subscribe(&[("own", 0x04), ("both", 0)]).await;
    let mut other = hub.client(5, "other").await;
    raw.tell("own", 1, "mine").await;
    other.tell("own", 1, "theirs").await;
    assert_eq!(raw.payload().await, "theirs");
    raw.publish(&Message::new("both", 0, 0, "mine")).await;
    assert_eq!(raw.payload().await, "mine");
    raw.quiet().await;
    // On a shared subscription it makes no sense, and is an error.
    let body = [vec![0, 1, 0], text("$share/g/t"), vec![0x04]].concat();
    raw.send(&packet(0x82, &body)).await;
    raw.ended(0x82).await;
}

#[tokio::test]
async fn a_session_has_so_many_subscriptions() {
    let hub = Plain::with(|config| config.max_subscriptions = 2).await;
    for (version, full) in [(4, 0x80), (5, 0x97)] {
        let mut raw = hub.client(version, "c").await;
        assert_eq!(raw.subscribe(&[("a", 0), ("b", 0), ("c", 0), ("b", 1)]).await, [0, 0, full, 1]);
        raw.unsubscribe(&["a"]).await;
        assert_eq!(raw.subscribe(&[("c", 0)]).await, [0]);
    }
}

#[tokio::test]
async fn a_filter_deeper_than_is_walked_is_refused() {
    let hub = Plain::start().await;
    let mut raw = hub.client(5, "c").await;
    let deep = |levels| vec!["x"; levels].join("/");
    assert_eq!(raw.subscribe(&[(&deep(64), 0), (&deep(65), 0)]).await, [0, 0x8F]);
    // A topic may be as deep as it likes.
    raw.publish(&Message::new(&deep(20_000), 0, 0, "")).await;
    raw.quiet().await;
}

#[tokio::test]
async fn without_the_right_a_filter_is_refused() {
    let hub = crate::harness::Hub::start().await;
    for (version, code) in [(4, 0x80), (5, 0x87)] {
        let mut client = hub.client(version).await;
        let qos = rmqtt_codec::types::QoS::AtLeastOnce;
        assert_eq!(client.subscribe(&[("zs/v1/h-2/#", qos), ("zs/v1/h-1/#", qos)]).await, [code, 1]);
    }
}
