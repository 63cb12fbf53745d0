//! CONNECT and CONNACK.

use std::time::Duration;

use super::raw::{Hello, Message, Packet, Plain, Will, expiry, four, named, packet, two};

#[tokio::test]
async fn the_first_packet_must_be_connect() {
    let hub = Plain::start().await;
    for bytes in [&b"\xC0\0"[..], b"\x30\x03\0\x01a", b"\x82\x06\0\x01\0\x01a\0"] {
        let mut raw = hub.open(4).await;
        raw.send(bytes).await;
        assert_eq!(raw.maybe().await, None);
    }
}

#[tokio::test]
async fn a_second_connect_is_a_protocol_error() {
    let hub = Plain::start().await;
    for version in [4, 5] {
        let mut raw = hub.client(version, "c").await;
        raw.send(&Hello { version, ..Hello::default() }.bytes()).await;
        raw.ended(0x82).await;
    }
}

#[tokio::test]
async fn another_protocol_name_or_level_is_refused() {
    let hub = Plain::start().await;
    let table: &[(&[u8], &[u8])] = &[
        (b"\0\x04MQTT\x06\x02\0\0\0\x01c", &[0x20, 2, 0, 1]),
        (b"\0\x04MQTT\x03\x02\0\0\0\x01c", &[0x20, 2, 0, 1]),
        (b"\0\x06MQIsdp\x03\x02\0\0\0\x01c", &[0x20, 2, 0, 1]),
        (b"\0\x04mqtt\x04\x02\0\0\0\x01c", &[]),
        (b"\0\x04MQTX\x05\x02\0\0\0\0\x01c", &[]),
    ];
    for (body, answer) in table {
        let mut raw = hub.open(4).await;
        raw.send(&packet(0x10, body)).await;
        let told = raw.maybe().await.map(|p| packet(p.first, &p.body)).unwrap_or_default();
        assert_eq!(&told, answer);
        assert!(told.is_empty() || raw.maybe().await.is_none());
    }
}

/// Flags that the standard forbids, fields that are missing, and bytes that are too many.
#[tokio::test]
async fn a_connect_that_breaks_the_format_is_closed() {
    let hub = Plain::start().await;
    let table: &[(&str, u8, u8, &[u8])] = &[
        ("reserved flag", 4, 0x03, b"\0\x01c"),
        ("will qos without will", 4, 0x0A, b"\0\x01c"),
        ("will retain without will", 4, 0x22, b"\0\x01c"),
        ("will qos 3", 4, 0x1E, b"\0\x01c\0\x01t\0\x01p"),
        ("will fields missing", 4, 0x06, b"\0\x01c"),
        ("user name missing", 4, 0x82, b"\0\x01c"),
        ("password missing", 4, 0xC2, b"\0\x01c\0\x01u"),
        ("password without user name", 4, 0x42, b"\0\x01c\0\x01p"),
        ("user name without its flag", 4, 0x02, b"\0\x01c\0\x01u"),
        ("client id missing", 4, 0x02, b""),
        ("client id not UTF-8", 4, 0x02, b"\0\x02\xc3\x28"),
        ("client id with U+0000", 4, 0x02, b"\0\x02a\0"),
        ("client id with a surrogate", 4, 0x02, b"\0\x03\xed\xa0\x80"),
        ("will topic not UTF-8", 4, 0x06, b"\0\x01c\0\x01\xff\0\x01p"),
        ("user name not UTF-8", 4, 0x82, b"\0\x01c\0\x01\xff"),
        ("5 reserved flag", 5, 0x03, b"\0\0\x01c"),
        ("5 will qos without will", 5, 0x0A, b"\0\0\x01c"),
        ("5 will retain without will", 5, 0x22, b"\0\0\x01c"),
        ("5 will qos 3", 5, 0x1E, b"\0\0\x01c\0\0\x01t\0\x01p"),
        ("5 too short", 5, 0x02, b"\0\0\x05c"),
        ("5 goes on", 5, 0x02, b"\0\0\x01cxyz"),
        ("5 property of another packet", 5, 0x02, b"\x03\x23\0\x01\0\x01c"),
        ("5 client id with U+0000", 5, 0x02, b"\0\0\x02a\0"),
    ];
    for (what, level, flags, rest) in table {
        let mut body = b"\0\x04MQTT".to_vec();
        body.extend([*level, *flags, 0, 60]);
        body.extend(*rest);
        let mut raw = hub.open(*level).await;
        raw.send(&packet(0x10, &body)).await;
        if *level == 5 {
            assert_eq!(raw.next().await, Packet { first: 0x20, body: vec![0, 0x81, 0] }, "{what}");
        }
        assert_eq!(raw.maybe().await, None, "{what}");
    }
}

#[tokio::test]
async fn properties_that_break_a_rule_are_protocol_errors() {
    let hub = Plain::start().await;
    let table = [
        [expiry(1), expiry(1)].concat(),
        two(0x21, 0),
        four(0x27, 0),
        vec![0x17, 2],
        vec![0x19, 2],
        b"\x16\0\x01x".to_vec(), // authentication data without a method
    ];
    for properties in table {
        let mut raw = hub.open(5).await;
        raw.send(&Hello { properties, ..Hello::default() }.bytes()).await;
        assert_eq!(raw.next().await, Packet { first: 0x20, body: vec![0, 0x82, 0] });
        assert_eq!(raw.maybe().await, None);
    }
}

#[tokio::test]
async fn connack_comes_first_and_once_with_flags_as_they_must_be() {
    let hub = Plain::start().await;
    for version in [4, 5] {
        let mut raw = hub.open(version).await;
        // Everything at once: the answer to CONNECT is still the first.
        let mut bytes = Hello { version, ..Hello::default() }.bytes();
        bytes.extend([0xC0, 0]);
        raw.send(&bytes).await;
        let connack = raw.next().await;
        assert_eq!((connack.first, connack.body[0], connack.body[1]), (0x20, 0, 0));
        assert_eq!(raw.next().await.first, 0xD0);
        raw.quiet().await;
    }
}

#[tokio::test]
async fn client_ids_of_1_to_23_letters_and_digits_are_taken_and_longer_ones_too() {
    let hub = Plain::start().await;
    for version in [4, 5] {
        for id in ["a", "0123456789abcdefghijABC", &"x".repeat(200), "设备-7"] {
            hub.client(version, id).await.quiet().await;
        }
    }
}

#[tokio::test]
async fn an_empty_client_id_gets_one_of_its_own() {
    let hub = Plain::start().await;
    let mut ids = Vec::new();
    for clean in [true, false] {
        let (mut raw, connack) = hub.join(Hello { clean, id: String::new(), ..Hello::default() }).await;
        let at = connack.properties().windows(3).position(|w| w[0] == 0x12 && w[1] == 0).unwrap();
        let n = usize::from(connack.properties()[at + 2]);
        let id = connack.properties()[at + 3..at + 3 + n].to_vec();
        assert!(!id.is_empty() && !ids.contains(&id));
        ids.push(id);
        raw.quiet().await;
    }
    // 3.1.1 is not told, and may only ask so with a clean session.
    let empty = Hello { version: 4, id: String::new(), ..Hello::default() };
    hub.join(empty.clone()).await.0.quiet().await;
    let mut raw = hub.open(4).await;
    raw.send(&Hello { clean: false, ..empty }.bytes()).await;
    assert_eq!(raw.next().await, Packet { first: 0x20, body: vec![0, 2] });
    assert_eq!(raw.maybe().await, None);
}

#[tokio::test]
async fn a_refused_client_id_is_told_and_closed() {
    let hub = Plain::start().await;
    for (version, answer) in [(4, vec![0, 2]), (5, vec![0, 0x85, 0])] {
        let mut raw = hub.open(version).await;
        // What follows a refused CONNECT is not looked at.
        let mut bytes = Hello { version, id: "x".repeat(300), ..Hello::default() }.bytes();
        bytes.extend(packet(0x30, b"\0\x01ax"));
        raw.send(&bytes).await;
        assert_eq!(raw.next().await, Packet { first: 0x20, body: answer });
        assert_eq!(raw.maybe().await, None);
    }
}

#[tokio::test]
async fn the_same_client_id_takes_over() {
    let hub = Plain::start().await;
    for version in [4, 5] {
        let mut old = hub.client(version, "same").await;
        let mut new = hub.client(version, "same").await;
        old.ended(0x8E).await;
        new.quiet().await;
    }
}

#[tokio::test]
async fn enhanced_authentication_is_refused() {
    let hub = Plain::start().await;
    let mut raw = hub.open(5).await;
    raw.send(&Hello { properties: named(0x15, "SCRAM-SHA-256"), ..Hello::default() }.bytes()).await;
    assert_eq!(raw.next().await, Packet { first: 0x20, body: vec![0, 0x8C, 0] });
    assert_eq!(raw.maybe().await, None);
    // AUTH without a method agreed on.
    let mut raw = hub.client(5, "c").await;
    raw.send(&[0xF0, 0]).await;
    raw.ended(0x82).await;
    let mut raw = hub.client(5, "c").await;
    raw.send(&[0xF1, 0]).await;
    raw.ended(0x81).await;
}

#[tokio::test]
async fn connack_announces_what_there_is() {
    let hub = Plain::with(|config| config.max_keep_alive = 50).await;
    let asks = [expiry(u32::MAX), vec![0x19, 1]].concat();
    let (_raw, connack) = hub.join(Hello { keep_alive: 0, properties: asks, ..Hello::default() }).await;
    let told = connack.properties();
    let has = |property: &[u8]| told.windows(property.len()).any(|w| w == property);
    assert!(has(&expiry(604_800)), "session expiry is bounded: {told:02x?}");
    assert!(has(&two(0x21, 1024)), "receive maximum");
    assert!(has(&four(0x27, 65_536)), "maximum packet size");
    assert!(has(&two(0x22, 16)), "topic alias maximum");
    assert!(has(&two(0x13, 50)), "server keep alive");
    // Nothing says that QoS, retain, wildcards, identifiers or sharing were missing; and no
    // response information, server reference or authentication was asked for or offered.
    for absent in [0x24, 0x25, 0x28, 0x29, 0x2A, 0x1A, 0x1C, 0x15, 0x16] {
        assert!(!told.contains(&absent), "{absent:02x} in {told:02x?}");
    }
    let (_raw, connack) = hub.join(Hello { keep_alive: 30, ..Hello::default() }).await;
    assert!(!connack.properties().contains(&0x13), "the client's own keep alive holds");
}

#[tokio::test]
async fn silence_beyond_one_and_a_half_keep_alives_ends_it() {
    let hub = Plain::start().await;
    for version in [4, 5] {
        let hello = Hello { version, keep_alive: 1, ..Hello::default() };
        let (mut silent, _) = hub.join(Hello { id: "silent".into(), ..hello.clone() }).await;
        let (mut speaking, _) = hub.join(Hello { id: "speaking".into(), ..hello }).await;
        let start = std::time::Instant::now();
        while start.elapsed() < Duration::from_millis(1700) {
            speaking.quiet().await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        silent.ended(0x8D).await;
        speaking.quiet().await;
    }
}

#[tokio::test]
async fn a_client_with_a_small_packet_maximum_is_not_sent_more() {
    let hub = Plain::start().await;
    let (mut raw, _) = hub.join(Hello { properties: four(0x27, 40), ..Hello::default() }).await;
    raw.subscribe(&[("t", 1)]).await;
    let mut other = hub.client(5, "other").await;
    other.tell("t", 1, &"long ".repeat(20)).await;
    other.tell("t", 1, "short").await;
    assert_eq!(raw.payload().await, "short");
    raw.quiet().await;
    // An answer that does not fit is not sent.
    let many: Vec<u8> = (0..40).flat_map(|_| [0, 1, b'x', 0]).collect();
    raw.send(&packet(0x82, &[&[0, 9, 0][..], &many].concat())).await;
    raw.quiet().await;
    // A CONNACK that does not fit: the connection ends without one.
    let mut raw = hub.open(5).await;
    raw.send(&Hello { properties: four(0x27, 5), ..Hello::default() }.bytes()).await;
    assert_eq!(raw.maybe().await, None);
}

#[tokio::test]
async fn reasons_in_words_go_to_those_who_want_them() {
    let hub = Plain::with(|config| config.max_retained = 0).await;
    for (qos, first) in [(1, 0x40), (2, 0x50)] {
        let message = Message { retain: true, ..Message::new("t", qos, 9, "x") };
        for (asks, words) in [(vec![], true), (vec![0x17, 0], false), (four(0x27, 40), false)] {
            let (mut raw, _) = hub.join(Hello { properties: asks, ..Hello::default() }).await;
            raw.publish(&message).await;
            let answer = raw.next().await;
            assert_eq!((answer.first, answer.id(), answer.body[2]), (first, 9, 0x97));
            assert_eq!(answer.body.len() > 3, words, "{answer:?}");
        }
    }
}

#[tokio::test]
async fn a_will_topic_with_wildcards_is_refused() {
    let hub = Plain::start().await;
    let mut raw = hub.open(5).await;
    raw.send(&Hello { will: Some(Will("a/#", b"x", 0, false, vec![])), ..Hello::default() }.bytes()).await;
    assert_eq!(raw.next().await, Packet { first: 0x20, body: vec![0, 0x90, 0] });
    assert_eq!(raw.maybe().await, None);
}
