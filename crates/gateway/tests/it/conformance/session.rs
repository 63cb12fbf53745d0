//! Sessions that outlive their connection.

use super::raw::{Hello, Message, Plain, expiry};

#[tokio::test]
async fn session_present_says_what_is_there() {
    let hub = Plain::start().await;
    for version in [4, 5] {
        let durable = Hello::durable(version, "durable");
        for present in [false, true, true] {
            let (raw, connack) = hub.join(durable.clone()).await;
            assert_eq!(connack.present(), present);
            raw.leave().await;
        }
        // A clean start discards it.
        let (raw, connack) = hub.join(Hello { clean: true, ..durable.clone() }).await;
        assert!(!connack.present());
        raw.leave().await;
        let (raw, connack) = hub.join(durable).await;
        // 5: clean start with an expiry is kept after all; 3.1.1: a clean session is not.
        assert_eq!(connack.present(), version == 5);
        raw.leave().await;
        hub.client(version, "durable").await.leave().await;
    }
}

#[tokio::test]
async fn subscriptions_and_messages_wait_for_the_client() {
    let hub = Plain::start().await;
    for version in [4, 5] {
        let (mut raw, _) = hub.join(Hello::durable(version, "durable")).await;
        raw.subscribe(&[("t/#", 2)]).await;
        raw.leave().await;
        let mut other = hub.client(version, "other").await;
        other.tell("t/0", 0, "lost").await;
        other.tell("t/1", 1, "one").await;
        other.tell("t/2", 2, "two").await;
        other.tell("u", 1, "not asked for").await;
        let (mut raw, _) = hub.join(Hello::durable(version, "durable")).await;
        let one = raw.message().await;
        assert_eq!((one.payload.as_slice(), one.qos, one.dup), (&b"one"[..], 1, false));
        raw.ack(0x40, one.id.unwrap()).await;
        assert_eq!(raw.payload().await, "two");
        // The subscription is there still.
        other.tell("t/3", 0, "three").await;
        assert_eq!(raw.payload().await, "three");
        raw.quiet().await;
        raw.leave().await;
        hub.client(version, "durable").await.leave().await;
    }
}

#[tokio::test]
async fn a_clean_session_ends_with_its_connection() {
    let hub = Plain::start().await;
    for version in [4, 5] {
        let mut raw = hub.client(version, "c").await;
        raw.subscribe(&[("t", 1)]).await;
        raw.leave().await;
        let mut other = hub.client(version, "other").await;
        other.tell("t", 1, "x").await;
        let (mut raw, connack) =
            hub.join(Hello { version, clean: false, id: "c".into(), ..Hello::default() }).await;
        assert!(!connack.present());
        other.tell("t", 1, "y").await;
        raw.quiet().await;
        raw.leave().await;
        hub.client(version, "c").await.leave().await;
    }
}

#[tokio::test]
async fn a_session_is_there_while_its_connection_is() {
    let hub = Plain::start().await;
    // An expiry of one second runs from the end of the connection, not from its beginning.
    let hello = Hello { properties: expiry(1), ..Hello::durable(5, "c") };
    let (mut raw, _) = hub.join(hello).await;
    raw.subscribe(&[("t", 1)]).await;
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    raw.tell("t", 0, "still").await;
    assert_eq!(raw.payload().await, "still");
}

#[tokio::test]
async fn a_session_expires() {
    let hub = Plain::start().await;
    let short = Hello { properties: expiry(1), ..Hello::durable(5, "short") };
    let (mut raw, _) = hub.join(short.clone()).await;
    raw.subscribe(&[("t", 1)]).await;
    raw.leave().await;
    let (raw, connack) = hub.join(short.clone()).await;
    assert!(connack.present(), "within its second");
    raw.leave().await;
    tokio::time::sleep(std::time::Duration::from_millis(1300)).await;
    let (_, connack) = hub.join(short).await;
    assert!(!connack.present());
}

#[tokio::test]
async fn disconnect_may_change_the_expiry_but_not_from_nothing() {
    let hub = Plain::start().await;
    let (mut raw, _) = hub.join(Hello::durable(5, "c")).await;
    // DISCONNECT, reason 0, expiry 0.
    raw.send(b"\xE0\x07\0\x05\x11\0\0\0\0").await;
    assert_eq!(raw.maybe().await, None);
    let (mut raw, connack) = hub.join(Hello::durable(5, "c")).await;
    assert!(!connack.present());
    raw.send(b"\xE0\x07\0\x05\x11\0\0\0\x64").await;
    assert_eq!(raw.maybe().await, None);
    let (raw, connack) = hub.join(Hello::durable(5, "c")).await;
    assert!(connack.present());
    raw.leave().await;
    let mut raw = hub.client(5, "d").await;
    raw.send(b"\xE0\x07\0\x05\x11\0\0\0\x64").await;
    raw.ended(0x82).await;
}

#[tokio::test]
async fn taking_over_keeps_the_session() {
    let hub = Plain::start().await;
    for version in [4, 5] {
        let (mut old, _) = hub.join(Hello::durable(version, "c")).await;
        old.subscribe(&[("t", 1)]).await;
        let mut other = hub.client(version, "other").await;
        other.tell("t", 1, "x").await;
        assert_eq!(old.message().await.payload, b"x");
        let (mut new, connack) = hub.join(Hello::durable(version, "c")).await;
        assert!(connack.present());
        old.ended(0x8E).await;
        let again = new.message().await;
        assert!(again.dup && again.payload == b"x");
        other.tell("t", 0, "y").await;
        assert_eq!(new.message().await.payload, b"y");
        new.leave().await;
        hub.client(version, "c").await.leave().await;
    }
}

#[tokio::test]
async fn a_full_queue_drops_the_newest() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let rendered = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let hub = Plain::with(|config| config.session_queue = 3).await;
    let (mut raw, _) = hub.join(Hello::durable(5, "c")).await;
    raw.subscribe(&[("t", 1)]).await;
    raw.leave().await;
    let mut other = hub.client(5, "other").await;
    for n in 0..5 {
        other.tell("t", 1, &n.to_string()).await;
    }
    let (mut raw, _) = hub.join(Hello::durable(5, "c")).await;
    for n in 0..3 {
        assert_eq!(raw.payload().await, n.to_string());
    }
    raw.quiet().await;
    let text = rendered.render();
    for line in ["zhongshu_mqtt_dropped_total{reason=\"queue-full\"} 2", "zhongshu_mqtt_delivered_total 3"] {
        assert!(text.lines().any(|found| found == line), "no {line} in:\n{text}");
    }
}

#[tokio::test]
async fn so_many_sessions_are_kept() {
    let hub = Plain::with(|config| config.max_sessions = 1).await;
    hub.join(Hello::durable(4, "first")).await.0.leave().await;
    for (version, answer) in [(4, vec![0, 3]), (5, vec![0, 0x97, 0])] {
        let mut raw = hub.open(version).await;
        raw.send(&Hello::durable(version, "second").bytes()).await;
        assert_eq!(raw.next().await.body, answer);
        assert_eq!(raw.maybe().await, None);
        hub.client(version, "clean").await.leave().await;
    }
    hub.client(4, "first").await.leave().await;
    hub.join(Hello::durable(4, "second")).await.0.leave().await;
}

#[tokio::test]
async fn a_publisher_may_leave_at_once() {
    let hub = Plain::start().await;
    let mut sub = hub.client(5, "sub").await;
    sub.subscribe(&[("t", 1)]).await;
    let mut raw = hub.client(4, "c").await;
    raw.publish(&Message::new("t", 1, 1, "x")).await;
    raw.send(&[0xE0, 0]).await;
    drop(raw);
    assert_eq!(sub.payload().await, "x");
}
