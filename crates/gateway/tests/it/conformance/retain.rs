//! Retained messages.

use std::sync::Arc;

use gateway::MemoryBroker;

use super::raw::{Message, Plain, four, profile};

#[tokio::test]
async fn the_last_retained_message_goes_to_a_new_subscription() {
    let hub = Plain::start().await;
    for version in [4, 5] {
        let mut raw = hub.client(version, "c").await;
        for payload in ["first", "second"] {
            raw.say(&Message { retain: true, ..Message::new("a/b", 2, 3, payload) }).await;
        }
        for (filter, qos) in [("a/b", 0), ("a/+", 1), ("a/#", 2), ("a/b/#", 1), ("#", 1), ("+/b", 1)] {
            let mut sub = hub.client(version, "sub").await;
            sub.subscribe(&[(filter, qos)]).await;
            let got = sub.message().await;
            assert_eq!((got.payload.as_slice(), got.retain, got.qos), (&b"second"[..], true, qos));
            sub.quiet().await;
        }
        for filter in ["a", "a/b/c", "+", "a/b/+"] {
            let mut sub = hub.client(version, "sub").await;
            sub.subscribe(&[(filter, 1)]).await;
            sub.quiet().await;
        }
    }
}

#[tokio::test]
async fn without_retain_nothing_is_kept_or_replaced() {
    let hub = Plain::start().await;
    let mut raw = hub.client(4, "c").await;
    raw.say(&Message::retained("t", "kept")).await;
    raw.tell("t", 1, "passing").await;
    raw.tell("u", 1, "passing").await;
    raw.subscribe(&[("t", 0), ("u", 0)]).await;
    assert_eq!(raw.payload().await, "kept");
    raw.quiet().await;
}

#[tokio::test]
async fn an_empty_payload_removes_what_is_retained_and_goes_to_subscribers() {
    let hub = Plain::start().await;
    for version in [4, 5] {
        let mut raw = hub.client(version, "c").await;
        raw.say(&Message::retained("t", "kept")).await;
        raw.subscribe(&[("t", 0)]).await;
        assert_eq!(raw.payload().await, "kept");
        let mut other = hub.client(version, "other").await;
        other.say(&Message::retained("t", "")).await;
        let got = raw.message().await;
        assert_eq!((got.payload.as_slice(), got.retain), (&b""[..], false));
        other.subscribe(&[("t", 0)]).await;
        other.quiet().await;
    }
}

#[tokio::test]
async fn a_retained_qos_0_message_replaces_the_one_before() {
    let hub = Plain::start().await;
    let mut raw = hub.client(4, "c").await;
    raw.say(&Message::retained("t", "one")).await;
    raw.say(&Message { retain: true, ..Message::new("t", 0, 0, "two") }).await;
    // Behind it in order.
    raw.tell("elsewhere", 1, "").await;
    raw.subscribe(&[("t", 1)]).await;
    assert_eq!(raw.payload().await, "two");
}

#[tokio::test]
async fn an_established_subscription_gets_it_without_the_flag_unless_it_asked() {
    let hub = Plain::start().await;
    let mut plain = hub.client(4, "plain").await;
    let mut asking = hub.client(5, "asking").await;
    plain.subscribe(&[("t", 0)]).await;
    asking.subscribe(&[("t", 0x08)]).await;
    let mut raw = hub.client(5, "c").await;
    raw.say(&Message::retained("t", "x")).await;
    assert!(!plain.message().await.retain);
    assert!(asking.message().await.retain, "retain as published");
    raw.tell("t", 1, "y").await;
    assert!(!asking.message().await.retain, "it was not published so");
}

#[tokio::test]
async fn retain_handling_says_when_a_subscription_gets_them() {
    let hub = Plain::start().await;
    let mut raw = hub.client(5, "c").await;
    raw.say(&Message::retained("t", "x")).await;
    let table = [(0x00, true, true), (0x10, true, false), (0x20, false, false)];
    for (options, first, again) in table {
        let mut sub = hub.client(5, "sub").await;
        for expected in [first, again] {
            sub.subscribe(&[("t", options)]).await;
            if expected {
                assert_eq!(sub.payload().await, "x");
            }
            sub.quiet().await;
        }
    }
    // 3.1.1 gets them with every SUBSCRIBE.
    let mut sub = hub.client(4, "sub").await;
    for _ in 0..2 {
        sub.subscribe(&[("t", 0)]).await;
        assert_eq!(sub.payload().await, "x");
    }
}

#[tokio::test]
async fn they_outlive_the_session_and_the_hub() {
    let store = Arc::new(MemoryBroker::default());
    let hub = Plain::over(profile(), store.clone()).await;
    let properties = [super::raw::user("a", "1"), super::raw::named(0x03, "text/plain")].concat();
    let mut raw = hub.client(5, "c").await;
    raw.say(&Message::retained("t", "x").with(properties)).await;
    raw.leave().await;
    hub.gateway.stop().await;
    let hub = Plain::over(profile(), store.clone()).await;
    let mut raw = hub.client(5, "c").await;
    raw.subscribe(&[("t", 1)]).await;
    let got = raw.message().await;
    assert_eq!((got.payload.as_slice(), got.retain, got.qos), (&b"x"[..], true, 1));
    // Content Type and User Property.
    assert_eq!(got.properties, b"\x03\0\x0atext/plain\x26\0\x01a\0\x011");
    raw.say(&Message::retained("t", "")).await;
    hub.gateway.stop().await;
    assert!(store.image().retained.is_empty());
}

#[tokio::test]
async fn they_are_bounded_and_told_so() {
    let hub = Plain::with(|config| config.max_retained = 1).await;
    let mut raw = hub.client(5, "c").await;
    raw.say(&Message::retained("t", "x")).await;
    raw.publish(&Message::retained("u", "y")).await;
    assert_eq!(raw.next().await.body[..3], [0, 9, 0x97]);
    // In place of the one before there is room; 3.1.1 cannot be told, it goes on unretained.
    raw.say(&Message::retained("t", "z")).await;
    let mut three = hub.client(4, "three").await;
    three.subscribe(&[("#", 0)]).await;
    assert_eq!(three.payload().await, "z");
    three.say(&Message::retained("u", "y")).await;
    assert_eq!(three.payload().await, "y");
    raw.subscribe(&[("u", 0)]).await;
    raw.quiet().await;
}

#[tokio::test]
async fn an_expired_one_is_gone() {
    let hub = Plain::start().await;
    let mut raw = hub.client(5, "c").await;
    raw.say(&Message::retained("t", "x").with(four(2, 1))).await;
    raw.say(&Message::retained("u", "y").with(four(2, 100))).await;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    raw.subscribe(&[("t", 0), ("u", 0)]).await;
    let got = raw.message().await;
    assert_eq!(got.payload, b"y");
    // What is left of its hundred seconds.
    assert_eq!(got.properties[..4], [2, 0, 0, 0]);
    assert!((95..100).contains(&got.properties[4]), "{:?}", got.properties);
    raw.quiet().await;
}
