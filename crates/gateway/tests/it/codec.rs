//! The reader of packets against arbitrary bytes and against a codec that is not ours; the tree of
//! filters against the plain comparison.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::{Bytes, BytesMut};
use gateway::codec::connect::{Opening, connect, opening};
use gateway::codec::read::{Packet, frame, packet};
use gateway::codec::{Fault, Version};
use gateway::topic::matches;
use proptest::prelude::*;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::{self, PublishProperties};
use tokio_util::codec::Encoder;

use crate::conformance::raw::{Message, Plain};

const MOST: usize = 65_536;

/// Reads packets until the bytes end or are wrong; how many bytes were packets.
fn walk(bytes: &[u8], version: Version) -> usize {
    let mut at = 0;
    while let Ok(Some(next)) = frame(&bytes[at..], MOST) {
        assert!(next.length >= 2 && at + next.length <= bytes.len());
        // A packet is there when its last byte is, and not before.
        for cut in [0, 1, next.length - 1] {
            assert!(!matches!(frame(&bytes[at..at + cut], MOST), Ok(Some(_))));
        }
        if let Ok(Packet::Publish(publish)) = packet(next, version) {
            assert_eq!(publish.properties.users().count(), publish.properties.user_properties);
        }
        at += next.length;
    }
    at
}

#[test]
fn the_beginning_of_a_connection_is_judged_as_soon_as_it_can_be() {
    let table: &[(&[u8], Opening)] = &[
        (b"", Opening::Unknown),
        (b"\x10", Opening::Unknown),
        (b"\x10\xff", Opening::Unknown),
        (b"\x10\x20\0", Opening::Unknown),
        (b"\x10\x20\0\x04MQT", Opening::Unknown),
        (b"\x10\x20\0\x04MQTT", Opening::Unknown),
        (b"\x10\x20\0\x04MQTT\x04", Opening::Connect(Version::V3)),
        (b"\x10\xff\xff\xff\x7f\0\x04MQTT\x05", Opening::Connect(Version::V5)),
        (b"\x10\x20\0\x04MQTT\x03", Opening::OtherVersion),
        (b"\x10\x20\0\x06MQIsdp\x03", Opening::OtherVersion),
        (b"\x10\x20\0\x04MQTX", Opening::NotMqtt),
        (b"\x11\x20\0\x04MQTT\x04", Opening::NotMqtt),
        (b"GET", Opening::NotMqtt),
        (b"\x10\xff\xff\xff\xff", Opening::NotMqtt),
        (b"\x16\x03\x01", Opening::NotMqtt),
    ];
    for (bytes, expected) in table {
        assert_eq!(opening(bytes), *expected, "{bytes:02x?}");
    }
}

fn text() -> impl Strategy<Value = String> {
    "[a-z水/ ]{0,20}"
}

fn properties() -> impl Strategy<Value = PublishProperties> {
    let texts = (prop::option::of(text()), prop::option::of(text()));
    let rest = (
        prop::option::of(prop::collection::vec(any::<u8>(), 0..300)),
        prop::option::of(1u16..),
        prop::option::of(1u32..),
        any::<bool>(),
        prop::collection::vec((text(), text()), 0..5),
    );
    (texts, rest).prop_map(|((content, response), (data, alias, expiry, is_text, users))| PublishProperties {
        topic_alias: alias.and_then(NonZeroU16::new),
        correlation_data: data.map(Bytes::from),
        message_expiry_interval: expiry.and_then(NonZeroU32::new),
        content_type: content.map(Into::into),
        user_properties: users.into_iter().map(|(a, b)| (a.into(), b.into())).collect(),
        is_utf8_payload: is_text,
        response_topic: response.map(Into::into),
        subscription_ids: Vec::new(),
    })
}

proptest! {
    #[test]
    fn any_bytes_are_packets_or_faults(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for version in [Version::V3, Version::V5] {
            walk(&bytes, version);
        }
        let _ = opening(&bytes);
        let _ = connect(&bytes);
    }

    /// Bytes that look like packets get further.
    #[test]
    fn any_body_is_a_packet_or_a_fault(
        first in any::<u8>(),
        body in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(2), any::<u8>()], 0..120),
    ) {
        let mut bytes = vec![first, body.len() as u8];
        bytes.extend(&body);
        for version in [Version::V3, Version::V5] {
            prop_assert_eq!(walk(&bytes, version), bytes.len());
        }
        for level in [4, 5] {
            let mut hello = b"\0\x04MQTT".to_vec();
            hello.push(level);
            hello.extend(&body);
            if let Ok(connect) = connect(&hello) {
                prop_assert_eq!(connect.properties.users().count(), connect.properties.user_properties);
            }
        }
    }

    /// What another codec writes is read as it was meant.
    #[test]
    fn a_publication_is_read_as_another_codec_wrote_it(
        topic in "[a-z/]{1,40}",
        payload in prop::collection::vec(any::<u8>(), 0..200),
        (dup, qos, retain, id) in (any::<bool>(), 0u8..3, any::<bool>(), 1u16..),
        properties in properties(),
    ) {
        let sent = Publish {
            dup: dup && qos > 0,
            retain,
            qos: QoS::try_from(qos).unwrap(),
            topic: topic.clone().into(),
            packet_id: (qos > 0).then(|| NonZeroU16::new(id).unwrap()),
            payload: Bytes::from(payload.clone()),
            properties: Some(properties.clone()),
        };
        let mut bytes = BytesMut::new();
        v5::Codec::new(0, 0).encode(v5::Packet::Publish(Box::new(sent)), &mut bytes).unwrap();
        let framed = frame(&bytes, 1 << 20).unwrap().unwrap();
        prop_assert_eq!(framed.length, bytes.len());
        let Ok(Packet::Publish(read)) = packet(framed, Version::V5) else {
            return Err(TestCaseError::fail("not read"));
        };
        prop_assert_eq!((read.dup, read.qos, read.retain), (dup && qos > 0, qos, retain));
        prop_assert_eq!((read.topic, read.payload), (topic.as_str(), payload.as_slice()));
        prop_assert_eq!(read.packet_id.map(NonZeroU16::get), (qos > 0).then_some(id));
        let got = read.properties;
        prop_assert_eq!(got.topic_alias, properties.topic_alias.map(NonZeroU16::get));
        prop_assert_eq!(got.message_expiry, properties.message_expiry_interval.map(NonZeroU32::get));
        prop_assert_eq!(got.content_type, properties.content_type.as_deref());
        prop_assert_eq!(got.response_topic, properties.response_topic.as_deref());
        prop_assert_eq!(got.correlation_data, properties.correlation_data.as_deref());
        prop_assert_eq!(got.payload_format, properties.is_utf8_payload.then_some(1));
        let users: Vec<_> = got.users().map(|(a, b)| (a.into(), b.into())).collect();
        prop_assert_eq!(users, properties.user_properties);
    }
}

#[test]
fn a_length_is_believed_up_to_the_maximum_only() {
    assert_eq!(frame(b"\x30\x80\x80\x04", 65_535), Err(Fault::TooLarge(65_540)));
    assert_eq!(frame(b"\x30\x80\x80\x04", 65_540), Ok(None));
    assert!(matches!(frame(b"\x30\xff\xff\xff\x80", MOST), Err(Fault::Malformed(_))));
}

/// Every filter with an identifier of its own: what comes says which the tree found.
#[tokio::test]
async fn the_tree_of_filters_finds_what_comparison_finds() {
    let hub = Plain::with(|config| config.max_subscriptions = 1000).await;
    let mut raw = hub.client(5, "c").await;
    let mut other = hub.client(5, "other").await;
    let levels = ["a", "b", "", "+", "$x", "#"];
    let mut filters = Vec::new();
    for one in levels {
        filters.push(one.to_owned());
        for two in levels.iter().filter(|_| one != "#") {
            filters.push(format!("{one}/{two}"));
            for three in levels.iter().filter(|_| *two != "#") {
                filters.push(format!("{one}/{two}/{three}"));
            }
        }
    }
    filters.retain(|filter| !filter.is_empty());
    let mut round = 0;
    let mut known = vec![true; filters.len()];
    // All of them, then every second, then all again: removing is right, too.
    while round < 3 {
        for (at, filter) in filters.iter().enumerate() {
            let wanted = round != 1 || at % 2 == 0;
            if wanted && (round != 1) {
                let id = at + 1;
                let property = if id < 128 {
                    vec![0x0B, id as u8]
                } else {
                    vec![0x0B, id as u8 | 0x80, (id >> 7) as u8]
                };
                assert_eq!(raw.subscribe_with(&property, &[(filter, 0)]).await, [0], "{filter}");
            } else if !wanted {
                assert_eq!(raw.unsubscribe(&[filter]).await, [0]);
            }
            known[at] = wanted;
        }
        let names = ["a", "b", "", "c", "$x"];
        for one in names {
            for two in names {
                for topic in [
                    one.to_owned(),
                    format!("{one}/{two}"),
                    format!("{one}/{two}/a"),
                    format!("{one}/{two}//b"),
                ] {
                    if topic.is_empty() {
                        continue;
                    }
                    other.say(&Message::new(&topic, 1, 1, "x")).await;
                    let mut expected: Vec<usize> = (0..filters.len())
                        .filter(|at| known[*at] && matches(&filters[*at], &topic))
                        .map(|at| at + 1)
                        .collect();
                    expected.sort_unstable();
                    let mut found = Vec::new();
                    if !expected.is_empty() {
                        let properties = raw.message().await.properties;
                        let mut rest = properties.as_slice();
                        while let [0x0B, low, after @ ..] = rest {
                            let mut id = usize::from(low & 0x7F);
                            rest = after;
                            if low & 0x80 != 0 {
                                id |= usize::from(rest[0]) << 7;
                                rest = &rest[1..];
                            }
                            found.push(id);
                        }
                    }
                    found.sort_unstable();
                    assert_eq!(found, expected, "{topic}");
                }
            }
        }
        raw.quiet().await;
        round += 1;
    }
}
