//! Questions, and what comes back for them.

use std::num::NonZeroU16;
use std::time::Duration;

use bytes::Bytes;
use model::command::{Answer, Question, Reply, Sent, To};
use model::{DatastreamKey, Micros};
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::PublishProperties;
use rmqtt_codec::{MqttPacket, v3, v5};
use serde_json::{Value, json};

use crate::harness::{Client, Heard, Hub, NOW, QUESTION, publish};

fn question(within: Duration) -> Question {
    Question { asker: QUESTION.asker, datastream: "pressure".into(), within }
}

const TO: [To<'_>; 2] = [To { thing: "h-2", number: 2 }, To { thing: "h-1", number: QUESTION.number }];

/// The next PUBLISH, whole.
async fn question_heard(client: &mut Client) -> Publish {
    match client.packet().await {
        Some(MqttPacket::V3(v3::Packet::Publish(p)) | MqttPacket::V5(v5::Packet::Publish(p))) => *p,
        other => panic!("no question: {other:?}"),
    }
}

#[tokio::test]
async fn a_question_carries_its_correlation_and_expires() {
    let hub = Hub::start().await;
    let down = hub.gateway.commands();
    for version in [4, 5] {
        let mut client = hub.client(version).await;
        client.subscribe(&[("zs/v1/h-1/command", QoS::AtLeastOnce)]).await;
        let sent = down.ask(&question(Duration::from_secs(10)), &TO).await;
        assert_eq!(sent, [Sent::NotListening, Sent::Delivered], "in the order asked");
        let heard = question_heard(&mut client).await;
        assert_eq!((heard.topic.to_string().as_str(), heard.qos), ("zs/v1/h-1/command", QoS::AtLeastOnce));
        let payload: Value = serde_json::from_slice(&heard.payload).unwrap();
        let id = QUESTION.to_string();
        assert_eq!(payload, json!({ "id": id, "ask": "pressure", "within": 10.0 }));
        if version == 5 {
            let properties = heard.properties.unwrap();
            assert_eq!(properties.correlation_data.as_deref(), Some(id.as_bytes()));
            assert_eq!(properties.response_topic.unwrap().to_string(), "zs/v1/h-1/reply");
            assert_eq!(properties.message_expiry_interval.map(std::num::NonZeroU32::get), Some(10));
        }
        client.raw(&[0x40, 2, 0, 1]).await;
        assert!(client.is_alive().await);
        // One that is too old by the time it could be written is not.
        assert_eq!(down.ask(&question(Duration::ZERO), &TO[1..]).await, [Sent::Delivered]);
        assert!(client.is_alive().await, "a pong and no question");
    }
}

#[tokio::test]
async fn nobody_who_does_not_acknowledge_holds_up_the_others() {
    let hub = Hub::start().await;
    let down = hub.gateway.commands();
    let mut one = hub.client_of("h-1", "one", 4).await;
    let mut other = hub.client_of("h-2", "other", 5).await;
    one.subscribe(&[("zs/v1/h-1/command", QoS::AtLeastOnce)]).await;
    other.subscribe(&[("zs/v1/h-2/command", QoS::AtMostOnce)]).await;
    for _ in 0..100 {
        let sent = down.ask(&question(Duration::from_secs(10)), &TO).await;
        assert_eq!(sent[0], Sent::Delivered, "QoS 0 knows no window");
        question_heard(&mut other).await;
    }
    for _ in 0..16 {
        question_heard(&mut one).await;
    }
    assert!(one.is_alive().await, "no more than the window");
}

#[tokio::test]
async fn an_answer_is_an_observation_and_told_after_its_commit() {
    let mut hub = Hub::start().await;
    let id = QUESTION.to_string();
    let t = Micros(NOW.0 - 20_000);
    let at = t.to_string();
    // Payload, whether the correlation stands in the properties, what it means.
    let value = |time| Reply::Value { time, value: 0.25 };
    let table = [
        (json!({ "id": id, "t": at, "v": 0.25 }).to_string(), false, value(t)),
        (json!({ "t": at, "v": 0.25 }).to_string(), true, value(t)),
        ("0.25".to_owned(), true, value(NOW)),
    ];
    for version in [4, 5] {
        for (payload, in_properties, reply) in &table {
            if *in_properties && version == 4 {
                continue;
            }
            let before = hub.answers.told().len();
            let mut client = hub.client(version).await;
            let mut answer = publish("zs/v1/h-1/reply", Some(5), payload);
            if *in_properties {
                let correlation_data = Some(Bytes::from(id.clone()));
                answer.properties = Some(PublishProperties { correlation_data, ..Default::default() });
            }
            client.publish_this(answer).await;
            let begun = hub.begun().await;
            assert_eq!(hub.answers.told().len(), before, "not before the commit");
            let (samples, _) = begun.commit();
            assert_eq!((samples[0].datastream, samples[0].value), (DatastreamKey(11), 0.25));
            assert_eq!(client.heard().await, Heard::Ack(5, 0));
            let told = hub.answers.told().pop().unwrap();
            assert_eq!(told, Answer { correlation: QUESTION, reply: reply.clone(), received_at: NOW });
        }
    }
}

#[tokio::test]
async fn a_device_may_say_that_it_cannot_say() {
    let hub = Hub::start().await;
    let mut client = hub.client(5).await;
    let payload = json!({ "id": QUESTION.to_string(), "error": "sensor frozen\0", "v": 1 }).to_string();
    client.publish("zs/v1/h-1/reply", Some(5), &payload).await;
    assert_eq!(client.heard().await, Heard::Ack(5, 0));
    let told = hub.answers.told().pop().unwrap();
    assert_eq!(told.reply, Reply::Fault("sensor frozen ".into()), "and no sample");
}

#[tokio::test]
async fn an_answer_that_does_not_read_is_kept_with_its_reason() {
    let mut hub = Hub::start().await;
    let id = QUESTION.to_string();
    let mut client = hub.client(5).await;
    for (n, payload) in [json!({ "id": id }), json!({ "id": id, "v": 1e16 })].into_iter().enumerate() {
        let packet_id = u16::try_from(n + 1).unwrap();
        client.publish("zs/v1/h-1/reply", Some(packet_id), &payload.to_string()).await;
        let (_, unreadable) = hub.commit(1).await;
        assert_eq!(unreadable[0].thing, "h-1");
        assert_eq!(client.heard().await, Heard::Ack(packet_id, 0x99), "{}", unreadable[0].reason);
    }
    assert_eq!(hub.answers.told(), []);
    // Another thing's answer is nobody's.
    let mut other = hub.client_of("h-2", "o", 4).await;
    let payload = json!({ "id": id, "v": 1 }).to_string();
    other.publish("zs/v1/h-2/reply", Some(NonZeroU16::MIN.get()), &payload).await;
    assert_eq!(other.heard().await, Heard::Ack(1, 0));
    assert_eq!(hub.answers.told(), []);
}

#[tokio::test]
async fn what_the_store_refused_is_no_answer() {
    let mut hub = Hub::start().await;
    let mut client = hub.client(5).await;
    let payload = json!({ "id": QUESTION.to_string(), "v": 0.3 }).to_string();
    client.publish("zs/v1/h-1/reply", Some(5), &payload).await;
    hub.begun().await.refuse();
    client.hears_the_end(0x89).await;
    assert_eq!(hub.answers.told(), []);
}
