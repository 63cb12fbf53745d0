//! Wills.

use std::time::Duration;

use super::raw::{Hello, Message, Plain, Raw, Will, expiry, four, named, user};

const WILL: Will = Will("will/c", b"gone", 1, false, Vec::new());

fn hello(version: u8, will: Will) -> Hello {
    Hello { version, will: Some(will), ..Hello::default() }
}

async fn watcher(hub: &Plain) -> Raw {
    let mut watcher = hub.client(5, "watcher").await;
    watcher.subscribe(&[("will/#", 2 | 8)]).await;
    watcher
}

#[tokio::test]
async fn a_will_is_published_when_the_client_is_lost() {
    let hub = Plain::start().await;
    let mut watcher = watcher(&hub).await;
    for version in [4, 5] {
        for qos in 0..3 {
            let will = Will(WILL.0, WILL.1, qos, false, vec![]);
            let (raw, _) = hub.join(hello(version, will)).await;
            raw.vanish().await;
            let got = watcher.message().await;
            assert_eq!((got.topic.as_str(), got.payload.as_slice()), ("will/c", &b"gone"[..]));
            assert_eq!((got.qos, got.retain), (qos, false));
        }
        // Broken rules and silence are losses too.
        let (mut raw, _) = hub.join(hello(version, WILL)).await;
        raw.send(b"\0\0").await;
        raw.ended(0x81).await;
        assert_eq!(watcher.message().await.payload, b"gone");
        let (mut raw, _) = hub.join(Hello { keep_alive: 1, ..hello(version, WILL) }).await;
        raw.ended(0x8D).await;
        assert_eq!(watcher.message().await.payload, b"gone");
    }
}

#[tokio::test]
async fn a_will_is_discarded_by_disconnect_and_gone_once_published() {
    let hub = Plain::start().await;
    let mut watcher = watcher(&hub).await;
    for version in [4, 5] {
        hub.join(hello(version, WILL)).await.0.leave().await;
        // A client without a will leaves none, however it goes.
        hub.client(version, "c").await.vanish().await;
        let mut other = hub.client(version, "other").await;
        other.tell("will/other", 1, "marker").await;
        assert_eq!(watcher.message().await.payload, b"marker");
        // Published once: the next connection of the client has none unless it says so.
        let (raw, _) = hub.join(Hello { clean: false, ..hello(version, WILL) }).await;
        raw.vanish().await;
        assert_eq!(watcher.message().await.payload, b"gone");
        hub.join(Hello { version, clean: false, ..Hello::default() }).await.0.vanish().await;
        other.tell("will/other", 1, "marker").await;
        assert_eq!(watcher.message().await.payload, b"marker");
        hub.client(version, "c").await.leave().await;
    }
}

#[tokio::test]
async fn disconnect_may_ask_for_it() {
    let hub = Plain::start().await;
    let mut watcher = watcher(&hub).await;
    let (mut raw, _) = hub.join(hello(5, WILL)).await;
    raw.send(b"\xE0\x01\x04").await;
    assert_eq!(raw.maybe().await, None);
    assert_eq!(watcher.message().await.payload, b"gone");
}

#[tokio::test]
async fn a_will_may_be_retained() {
    let hub = Plain::start().await;
    for version in [4, 5] {
        let mut watcher = watcher(&hub).await;
        let (raw, _) = hub.join(hello(version, Will("will/kept", b"gone", 1, true, vec![]))).await;
        raw.vanish().await;
        let got = watcher.message().await;
        assert!(got.retain, "retain as published");
        let mut late = hub.client(version, "late").await;
        late.subscribe(&[("will/kept", 0)]).await;
        let got = late.message().await;
        assert_eq!((got.payload.as_slice(), got.retain), (&b"gone"[..], true));
        late.unsubscribe(&["will/kept"]).await;
        late.say(&Message::retained("will/kept", "")).await;
        late.leave().await;
    }
}

#[tokio::test]
async fn a_will_keeps_its_properties() {
    let hub = Plain::start().await;
    let mut watcher = watcher(&hub).await;
    let passed = [vec![1, 1], named(3, "text"), named(8, "answers/here"), b"\x09\0\x02id".to_vec()];
    let passed = [passed.concat(), user("b", "2"), user("a", "1"), user("b", "0")].concat();
    let properties = [four(2, 60), passed.clone()].concat();
    let (raw, _) = hub.join(hello(5, Will(WILL.0, WILL.1, 1, false, properties))).await;
    raw.vanish().await;
    let got = watcher.message().await.properties;
    let (expiry, rest) = got.split_at(5);
    assert!(expiry == four(2, 60) || expiry == four(2, 59), "{expiry:?}");
    assert_eq!(rest, passed);
}

#[tokio::test]
async fn a_delayed_will_waits_for_the_client_to_come_back() {
    let hub = Plain::start().await;
    let mut watcher = watcher(&hub).await;
    let delayed = |seconds| Hello {
        will: Some(Will(WILL.0, WILL.1, 1, false, four(0x18, seconds))),
        ..Hello::durable(5, "c")
    };
    // Back in time: nothing is published.
    hub.join(delayed(1)).await.0.vanish().await;
    watcher.quiet().await;
    let (raw, connack) = hub.join(delayed(1)).await;
    assert!(connack.present());
    tokio::time::sleep(Duration::from_millis(1200)).await;
    watcher.quiet().await;
    // Taken over by a connection that goes on with the session: the same.
    let (raw2, _) = hub.join(delayed(1)).await;
    drop(raw);
    watcher.quiet().await;
    // Not back: published after the delay.
    raw2.vanish().await;
    watcher.quiet().await;
    assert_eq!(watcher.message().await.payload, b"gone");
    // The session ends before the delay: published then.
    hub.join(Hello { properties: expiry(1), ..delayed(3600) }).await.0.vanish().await;
    watcher.quiet().await;
    assert_eq!(watcher.message().await.payload, b"gone");
    // A clean start ends it as well.
    hub.join(delayed(3600)).await.0.vanish().await;
    watcher.quiet().await;
    hub.client(5, "c").await.leave().await;
    assert_eq!(watcher.message().await.payload, b"gone");
}

#[tokio::test]
async fn a_connection_that_is_taken_over_leaves_its_will() {
    let hub = Plain::start().await;
    let mut watcher = watcher(&hub).await;
    for version in [4, 5] {
        let (mut old, _) = hub.join(hello(version, WILL)).await;
        let new = hub.client(version, "c").await;
        old.ended(0x8E).await;
        assert_eq!(watcher.message().await.payload, b"gone");
        new.leave().await;
    }
}
