//! PUBLISH: what becomes an observation, what is kept as unreadable, what ends the connection.

use std::num::NonZeroU32;

use model::observation::quality;
use model::{DatastreamKey, Micros};
use rmqtt_codec::types::Publish;
use rmqtt_codec::v5::PublishProperties;
use rmqtt_codec::{MqttPacket, v5};

use crate::harness::{Heard, Hub, NOW, PRESSURE, publish};

#[tokio::test]
async fn an_observation_arrives_as_it_was_sent() {
    let mut hub = Hub::start().await;
    let mut client = hub.client(4).await;
    client.publish(PRESSURE, None, r#"{"t":"2026-11-24T14:32:05.120+08:00","v":0.187}"#).await;
    client.publish("zs/v1/h-1/level", None, "2.5").await;
    let (samples, _) = hub.commit(2).await;
    assert_eq!(samples[0].datastream, DatastreamKey(11));
    assert_eq!((samples[0].time, samples[0].value, samples[0].quality), (NOW, 0.187, 0));
    assert_eq!(samples[1].datastream, DatastreamKey(12));
    assert_eq!((samples[1].time, samples[1].quality), (NOW, quality::TIME_OF_RECEIPT));
}

#[tokio::test]
async fn what_cannot_be_read_is_kept_then_acknowledged_with_the_reason() {
    let table = [
        (PRESSURE, "on fire", 0x99, "payload is not JSON"),
        (PRESSURE, r#"{"v":"high"}"#, 0x99, "payload is not an observation"),
        (PRESSURE, "", 0x99, "payload is empty"),
        ("zs/v1/h-1/colour", "1", 0x90, "thing h-1 has no datastream \"colour\""),
        ("zs/v1/h-1/pressure/raw", "1", 0x90, "thing h-1 has no datastream \"pressure/raw\""),
        ("zs/v1/h-1/", "1", 0x90, "thing h-1 has no datastream \"\""),
    ];
    for version in [4, 5] {
        let mut hub = Hub::start().await;
        let mut client = hub.client(version).await;
        for (topic, payload, reason, words) in table {
            client.publish(topic, Some(5), payload).await;
            let begun = hub.begun().await;
            client.hears_nothing().await;
            let (samples, unreadable) = begun.commit();
            assert!(samples.is_empty());
            assert_eq!(client.heard().await, Heard::Ack(5, if version == 5 { reason } else { 0 }));
            let kept = &unreadable[0];
            assert_eq!((kept.thing.as_str(), kept.topic.as_str()), ("h-1", topic));
            assert_eq!((&kept.payload[..], kept.received_at), (payload.as_bytes(), NOW));
            assert!(kept.reason.starts_with(words), "{}", kept.reason);
        }
    }
}

#[tokio::test]
async fn the_reason_in_words_goes_to_5_and_what_is_kept_is_cut() {
    let mut hub = Hub::start().await;
    let mut client = hub.client(5).await;
    let topic = format!("zs/v1/h-1/{}", "水".repeat(200));
    client.publish(&topic, Some(1), &"x".repeat(10_000)).await;
    let (_, unreadable) = hub.commit(1).await;
    assert_eq!(unreadable[0].payload.len(), 4096);
    assert!(unreadable[0].topic.len() <= 256 && unreadable[0].topic.ends_with('水'));
    let Some(MqttPacket::V5(v5::Packet::PublishAck(ack))) = client.packet().await else {
        panic!("no puback")
    };
    assert!(ack.reason_string.is_some_and(|words| words.starts_with("thing h-1 has no datastream")));
}

#[tokio::test]
async fn the_topic_of_another_is_refused() {
    let elsewhere = ["zs/v1/h-2/pressure", "zs/v1/h-11/pressure", "zs/v2/h-1/pressure", "$SYS/x", "x"];
    let mut hub = Hub::start().await;
    for topic in elsewhere {
        let mut client = hub.client(5).await;
        client.publish(topic, Some(7), "1").await;
        assert_eq!(client.heard().await, Heard::Ack(7, 0x87), "{topic}");
        assert!(client.is_alive().await);
        client.publish(topic, None, "1").await;
        client.hears_the_end(0x87).await;
        for id in [None, Some(7)] {
            let mut client = hub.client(4).await;
            client.publish(topic, id, "1").await;
            assert_eq!(client.heard().await, Heard::Closed, "{topic}");
        }
    }
    assert!(hub.store.try_recv().is_err(), "nothing of it reached the store");
}

#[tokio::test]
async fn what_5_forbids_ends_the_connection_with_its_reason() {
    let ids = PublishProperties { subscription_ids: vec![NonZeroU32::MIN], ..PublishProperties::default() };
    let answers =
        PublishProperties { response_topic: Some("zs/v1/h-1/#".into()), ..PublishProperties::default() };
    let with = |properties| Publish { properties: Some(properties), ..publish(PRESSURE, None, "1") };
    let table = [
        (publish("zs/v1/h-1/+", Some(1), "1"), 0x90),
        (publish("zs/v1/h-1/#", None, "1"), 0x90),
        (publish("zs/v1/h-1/\0", None, "1"), 0x90),
        (publish("", None, "1"), 0x82),
        (with(ids), 0x82),
        (with(answers), 0x82),
        (publish(PRESSURE, None, &" ".repeat(70_000)), 0x95),
    ];
    let hub = Hub::start().await;
    for (packet, reason) in table {
        let mut client = hub.client(5).await;
        client.publish_this(packet).await;
        client.hears_the_end(reason).await;
    }
}

#[tokio::test]
async fn raw_bytes_out_of_place_end_the_connection_and_no_other() {
    let table: &[(&[u8], u8)] = &[
        (b"\xD0\0", 0x82),                                    // PINGRESP from a client
        (b"\x20\x03\0\0\0", 0x82),                            // CONNACK from a client
        (b"\x10\x0e\0\x04MQTT\x05\x02\0\x3c\0\0\x01c", 0x82), // CONNECT again
        (b"\x36\x06\0\x01a\0\x01\0", 0x81),                   // QoS 3
        (b"\x32\x05\0\x01a\0\0", 0x81),                       // packet id 0
        (b"\x00\0", 0x81),                                    // packet type 0
        (b"\x30\x04\0\x02\xff\xff", 0x81),                    // topic is not UTF-8
        (b"\x82\x03\0\x01\0", 0x82),                          // SUBSCRIBE to nothing
        (b"\x30\xff\xff\xff\xff", 0x81),                      // length without end
    ];
    let mut hub = Hub::start().await;
    let mut bystander = hub.client_of("h-2", "b", 5).await;
    for (bytes, reason) in table {
        let mut client = hub.client(5).await;
        client.publish(PRESSURE, None, "1").await;
        client.raw(bytes).await;
        client.hears_the_end(*reason).await;
        hub.commit(1).await;
    }
    assert!(bystander.is_alive().await);
}

#[tokio::test]
async fn a_reply_that_nobody_waits_for_is_acknowledged_at_once() {
    let hub = Hub::start().await;
    for version in [4, 5] {
        let mut client = hub.client(version).await;
        for payload in [r#"{"ok":true}"#, r#"{"id":"00000000000000000000000000000009-3","v":1}"#, "nonsense"]
        {
            client.publish("zs/v1/h-1/reply", Some(3), payload).await;
            assert_eq!(client.heard().await, Heard::Ack(3, 0), "{payload}");
        }
    }
    assert_eq!(hub.answers.told(), []);
}

#[tokio::test]
async fn a_message_in_pieces_is_one_message() {
    let mut hub = Hub::start().await;
    let mut client = hub.client(4).await;
    for byte in b"\x32\x1a\0\x12zs/v1/h-1/pressure\0\x015.25" {
        client.raw(&[*byte]).await;
        tokio::task::yield_now().await;
    }
    let (samples, _) = hub.commit(1).await;
    assert_eq!((samples[0].value, samples[0].time), (5.25, Micros(NOW.0)));
    assert_eq!(client.heard().await, Heard::Ack(1, 0));
}
