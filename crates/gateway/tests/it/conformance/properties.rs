//! Properties of 5 that travel with a message, topic aliases, expiry.

use std::time::Duration;

use super::raw::{Hello, Message, Plain, expiry, four, named, two, user};

#[tokio::test]
async fn what_travels_with_a_message_arrives_unaltered_and_in_order() {
    let hub = Plain::start().await;
    let mut sub = hub.client(5, "sub").await;
    let mut three = hub.client(4, "three").await;
    sub.subscribe(&[("t", 1)]).await;
    three.subscribe(&[("t", 1)]).await;
    let mut raw = hub.client(5, "c").await;
    for format in [0, 1] {
        let passed = [
            vec![1, format],
            named(3, "application/json"),
            named(8, "answers/水"),
            b"\x09\0\x03\0\xff\x01".to_vec(),
            user("b", "2"),
            user("a", "1"),
            user("b", "2"),
            user("", ""),
        ]
        .concat();
        raw.say(&Message::new("t", 1, 1, "x").with(passed.clone())).await;
        assert_eq!(sub.message().await.properties, passed);
        assert_eq!(three.message().await.payload, b"x");
    }
    // Another order of the kinds is the same to the standard; of the user properties it is not.
    raw.say(&Message::new("t", 1, 1, "x").with([user("z", "1"), named(3, "text"), user("y", "2")].concat()))
        .await;
    let expected = [named(3, "text"), user("z", "1"), user("y", "2")].concat();
    assert_eq!(sub.message().await.properties, expected);
}

#[tokio::test]
async fn request_and_response() {
    let hub = Plain::start().await;
    let mut asking = hub.client(5, "asking").await;
    let mut answering = hub.client(5, "answering").await;
    asking.subscribe(&[("answers/asking", 1)]).await;
    answering.subscribe(&[("questions", 1)]).await;
    let properties = [named(8, "answers/asking"), b"\x09\0\x0242".to_vec()].concat();
    asking.say(&Message::new("questions", 1, 1, "?").with(properties.clone())).await;
    let question = answering.message().await;
    assert_eq!(question.properties, properties);
    answering.say(&Message::new("answers/asking", 1, 1, "!").with(b"\x09\0\x0242".to_vec())).await;
    let answer = asking.message().await;
    assert_eq!((answer.payload.as_slice(), answer.properties.as_slice()), (&b"!"[..], &b"\x09\0\x0242"[..]));
    // A response topic with wildcards is none, nor one that is not UTF-8.
    for (topic, reason) in [(named(8, "a/#"), 0x82), (b"\x08\0\x01\xff".to_vec(), 0x81)] {
        let mut raw = hub.client(5, "c").await;
        raw.publish(&Message::new("t", 0, 0, "x").with(topic)).await;
        raw.ended(reason).await;
    }
}

#[tokio::test]
async fn a_client_may_not_send_subscription_identifiers() {
    let hub = Plain::start().await;
    let mut raw = hub.client(5, "c").await;
    raw.publish(&Message::new("t", 0, 0, "x").with(vec![0x0B, 1])).await;
    raw.ended(0x82).await;
}

#[tokio::test]
async fn a_message_expires_while_it_waits_and_what_is_left_is_told() {
    let hub = Plain::start().await;
    let (mut sub, _) = hub.join(Hello::durable(5, "sub")).await;
    sub.subscribe(&[("t", 1)]).await;
    let mut raw = hub.client(5, "c").await;
    raw.say(&Message::new("t", 1, 1, "now").with(four(2, 50))).await;
    let got = sub.message().await;
    assert!(got.properties == four(2, 50) || got.properties == four(2, 49));
    sub.ack(0x40, got.id.unwrap()).await;
    sub.leave().await;
    raw.say(&Message::new("t", 1, 1, "short").with(four(2, 1))).await;
    raw.say(&Message::new("t", 1, 1, "long").with(four(2, 50))).await;
    raw.say(&Message::new("t", 1, 1, "gone at once").with(four(2, 0))).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let (mut sub, _) = hub.join(Hello::durable(5, "sub")).await;
    let got = sub.message().await;
    assert_eq!(got.payload, b"long");
    assert!((40..50).contains(&got.properties[4]), "{:?}", got.properties);
    sub.quiet().await;
}

#[tokio::test]
async fn a_handshake_that_began_goes_on_after_its_message_expired() {
    let hub = Plain::start().await;
    let (mut sub, _) = hub.join(Hello::durable(5, "sub")).await;
    sub.subscribe(&[("t", 2)]).await;
    let mut raw = hub.client(5, "c").await;
    raw.say(&Message::new("t", 2, 1, "x").with(four(2, 1))).await;
    let id = sub.message().await.id.unwrap();
    sub.vanish().await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let (mut sub, _) = hub.join(Hello::durable(5, "sub")).await;
    let again = sub.message().await;
    assert_eq!((again.dup, again.id), (true, Some(id)), "it was sent: it is sent again");
    sub.ack(0x50, id).await;
    assert_eq!(sub.next().await.first, 0x62);
    sub.ack(0x70, id).await;
    sub.quiet().await;
}

#[tokio::test]
async fn aliases_of_the_client_stand_for_topics() {
    let hub = Plain::start().await;
    let mut sub = hub.client(4, "sub").await;
    sub.subscribe(&[("#", 0)]).await;
    let mut raw = hub.client(5, "c").await;
    let aliased = |topic: &str, alias| Message::new(topic, 0, 0, "x").with(two(0x23, alias));
    for (topic, alias, expected) in
        [("a", 1, "a"), ("b", 16, "b"), ("", 1, "a"), ("", 16, "b"), ("c", 1, "c"), ("", 1, "c")]
    {
        raw.publish(&aliased(topic, alias)).await;
        assert_eq!(sub.message().await.topic, expected);
    }
    // Beyond the maximum, zero, unknown; and they end with the connection.
    for (topic, alias, reason) in [("a", 17, 0x94), ("a", 0, 0x94), ("", 2, 0x82), ("", 1, 0x82)] {
        let (mut raw, _) = hub.join(Hello { properties: expiry(60), clean: false, ..Hello::default() }).await;
        raw.publish(&aliased(topic, alias)).await;
        raw.ended(reason).await;
    }
    sub.quiet().await;
}

#[tokio::test]
async fn aliases_are_given_to_a_client_that_takes_them() {
    let hub = Plain::start().await;
    let (mut sub, _) = hub.join(Hello { properties: two(0x22, 2), ..Hello::durable(5, "sub") }).await;
    let mut none = hub.client(5, "none").await;
    sub.subscribe(&[("#", 0)]).await;
    none.subscribe(&[("#", 0)]).await;
    let mut raw = hub.client(5, "c").await;
    let table = [
        ("a", "a", 1),
        ("a", "", 1),
        ("b", "b", 2),
        ("b", "", 2),
        ("c", "c", 0),
        ("c", "c", 0),
        ("a", "", 1),
    ];
    for (topic, written, alias) in table {
        raw.tell(topic, 1, "x").await;
        let got = sub.message().await;
        assert_eq!(got.topic, written);
        assert_eq!(got.properties, if alias > 0 { two(0x23, alias) } else { vec![] });
        let got = none.message().await;
        assert_eq!((got.topic.as_str(), got.properties.len()), (topic, 0));
    }
    // They are of the connection, not of the session.
    sub.leave().await;
    let (mut sub, _) = hub.join(Hello { properties: two(0x22, 2), ..Hello::durable(5, "sub") }).await;
    sub.subscribe(&[("#", 0)]).await;
    raw.tell("a", 1, "x").await;
    assert_eq!(sub.message().await.topic, "a");
}
