//! Packets that break the format, on a connection that was good until then.

use super::raw::{Message, Plain, packet, text};

#[tokio::test]
async fn a_malformed_packet_ends_the_connection() {
    let hub = Plain::start().await;
    let table: &[(&str, u8, &[u8], u8)] = &[
        ("PUBLISH with QoS 3", 0, b"\x36\x06\0\x01a\0\x01x", 0x81),
        ("PUBLISH QoS 0 with DUP", 0, b"\x38\x04\0\x01ax", 0x81),
        ("PUBLISH with packet id 0", 0, b"\x32\x06\0\x01a\0\0x", 0x81),
        ("PUBLISH without its packet id", 0, b"\x32\x03\0\x01a", 0x81),
        ("PUBLISH with a topic that is not UTF-8", 0, b"\x30\x04\0\x02\xc3\x28", 0x81),
        ("PUBLISH with a surrogate in its topic", 0, b"\x30\x05\0\x03\xed\xa0\x80", 0x81),
        ("PUBREL with flags 0", 0, b"\x60\x02\0\x01", 0x81),
        ("PUBACK with flags", 0, b"\x41\x02\0\x01", 0x81),
        ("PUBACK with packet id 0", 0, b"\x40\x02\0\0", 0x81),
        ("SUBSCRIBE with flags 0", 0, b"\x80\x06\0\x01\0\x01a\0", 0x81),
        ("UNSUBSCRIBE with flags 0", 0, b"\xA0\x05\0\x01\0\x01a", 0x81),
        ("SUBSCRIBE with packet id 0", 4, b"\x82\x06\0\0\0\x01a\0", 0x81),
        ("SUBSCRIBE to nothing", 4, b"\x82\x02\0\x01", 0x82),
        ("SUBSCRIBE to nothing", 5, b"\x82\x03\0\x01\0", 0x82),
        ("SUBSCRIBE with QoS 3", 4, b"\x82\x06\0\x01\0\x01a\x03", 0x81),
        ("SUBSCRIBE with reserved bits", 4, b"\x82\x06\0\x01\0\x01a\x04", 0x81),
        ("SUBSCRIBE with reserved bits", 5, b"\x82\x07\0\x01\0\0\x01a\x41", 0x81),
        ("SUBSCRIBE with retain handling 3", 5, b"\x82\x07\0\x01\0\0\x01a\x30", 0x82),
        ("SUBSCRIBE with a filter that is not UTF-8", 4, b"\x82\x06\0\x01\0\x01\xff\0", 0x81),
        ("SUBSCRIBE with identifier 0", 5, b"\x82\x09\0\x01\x02\x0b\0\0\x01a\0", 0x82),
        ("SUBSCRIBE with two identifiers", 5, b"\x82\x0b\0\x01\x04\x0b\x01\x0b\x02\0\x01a\0", 0x82),
        ("UNSUBSCRIBE from nothing", 4, b"\xA2\x02\0\x01", 0x82),
        ("UNSUBSCRIBE from nothing", 5, b"\xA2\x03\0\x01\0", 0x82),
        ("UNSUBSCRIBE with a filter that is not UTF-8", 4, b"\xA2\x05\0\x01\0\x01\xff", 0x81),
        ("PINGREQ with flags", 0, b"\xC1\0", 0x81),
        ("PINGREQ with a body", 0, b"\xC0\x01\0", 0x81),
        ("DISCONNECT with flags", 0, b"\xE1\0", 0x81),
        ("DISCONNECT with a reason of the server", 5, b"\xE0\x01\x8E", 0x81),
        ("packet type 0", 0, b"\0\0", 0x81),
        ("packet type 15", 4, b"\xF0\0", 0x81),
        ("CONNACK from a client", 0, b"\x20\x02\0\0", 0x82),
        ("SUBACK from a client", 0, b"\x90\x03\0\x01\0", 0x82),
        ("PINGRESP from a client", 0, b"\xD0\0", 0x82),
        ("a length of five bytes", 0, b"\x30\x80\x80\x80\x80\x01", 0x81),
        ("a length longer than it needs", 0, b"\xC0\x80\0", 0x81),
        ("a property that stands twice", 5, b"\x30\x08\0\x01a\x04\x01\0\x01\0", 0x82),
        ("a property of CONNECT in PUBLISH", 5, b"\x30\x09\0\x01a\x05\x11\0\0\0\x01", 0x81),
        ("a property that ends early", 5, b"\x30\x06\0\x01a\x02\x02\0", 0x81),
        ("properties longer than the packet", 5, b"\x30\x05\0\x01a\x09x", 0x81),
        ("a payload format that is neither", 5, b"\x30\x06\0\x01a\x02\x01\x02", 0x82),
        ("a user property that is not UTF-8", 5, b"\x30\x0b\0\x01a\x07\x26\0\x01\xff\0\x01x", 0x81),
        ("a content type with U+0000", 5, b"\x30\x08\0\x01a\x04\x03\0\x01\0", 0x81),
    ];
    let mut bystander = hub.client(5, "bystander").await;
    for (what, only, bytes, reason) in table {
        for version in [4, 5].into_iter().filter(|version| *only == 0 || only == version) {
            println!("{what}, version {version}");
            let mut raw = hub.client(version, "c").await;
            // In 5 an acknowledgement's flags and ids stand at the same place; PUBLISH has its
            // properties between, which the malformed part comes before.
            raw.send(bytes).await;
            raw.ended(*reason).await;
        }
    }
    bystander.quiet().await;
}

#[tokio::test]
async fn a_topic_name_with_wildcards_or_nothing_ends_the_connection() {
    let hub = Plain::start().await;
    for version in [4, 5] {
        for (topic, reason) in [("a/+", 0x90), ("#", 0x90), ("a\0b", 0x90), ("", 0x82)] {
            let mut raw = hub.client(version, "c").await;
            raw.publish(&Message::new(topic, 1, 1, "x")).await;
            raw.ended(reason).await;
        }
    }
}

#[tokio::test]
async fn a_packet_above_the_announced_maximum_ends_the_connection() {
    let hub = Plain::with(|config| config.max_packet_bytes = 1000).await;
    for version in [4, 5] {
        let mut raw = hub.client(version, "c").await;
        let header = 4 + if version == 5 { 1 } else { 0 };
        // 1000 bytes in all are taken, one more is not.
        raw.publish(&Message::new("t", 0, 0, &"x".repeat(1000 - 2 - header))).await;
        raw.quiet().await;
        raw.publish(&Message::new("t", 0, 0, &"x".repeat(1000 - 1 - header))).await;
        raw.ended(0x95).await;
    }
}

#[tokio::test]
async fn packets_may_come_byte_by_byte_or_many_at_once() {
    let hub = Plain::start().await;
    let mut raw = hub.client(4, "c").await;
    let mut bytes = packet(0x32, &[text("t"), vec![0, 1], b"one".to_vec()].concat());
    bytes.extend(packet(0x32, &[text("t"), vec![0, 2], b"two".to_vec()].concat()));
    for byte in &bytes {
        raw.send(&[*byte]).await;
        tokio::task::yield_now().await;
    }
    bytes.extend([0xC0, 0]);
    raw.send(&bytes).await;
    let mut ids = Vec::new();
    let mut pongs = 0;
    while ids.len() < 4 || pongs < 1 {
        let packet = raw.next().await;
        match packet.first {
            0x40 => ids.push(packet.id()),
            _ => pongs += 1,
        }
    }
    assert_eq!((ids, pongs), (vec![1, 2, 1, 2], 1));
}
