//! The way down.

use bytes::Bytes;
use model::command::Sent;
use rmqtt_codec::types::QoS;
use rmqtt_codec::{v3, v5};

use crate::harness::{Heard, Hub};

#[tokio::test]
async fn a_device_listens_to_its_own_topics_only() {
    let table = [
        ("zs/v1/h-1/command", QoS::AtMostOnce, 0, 0),
        ("zs/v1/h-1/command", QoS::AtLeastOnce, 1, 1),
        ("zs/v1/h-1/#", QoS::ExactlyOnce, 2, 2),
        ("zs/v1/h-1/+", QoS::AtLeastOnce, 1, 1),
        ("zs/v1/h-2/command", QoS::AtLeastOnce, 0x80, 0x87),
        ("zs/v1/+/command", QoS::AtLeastOnce, 0x80, 0x87),
        ("zs/v1/h-1", QoS::AtLeastOnce, 0x80, 0x87),
        ("#", QoS::AtMostOnce, 0x80, 0x87),
        ("$share/g/zs/v1/h-1/command", QoS::AtMostOnce, 0, 0),
        ("$share/g/zs/v1/h-2/command", QoS::AtMostOnce, 0x80, 0x87),
        ("$share/zs", QoS::AtMostOnce, 0x80, 0x8F),
        ("zs/v1/h-1/#/x", QoS::AtMostOnce, 0x80, 0x8F),
        ("zs/v1/h-1/com+", QoS::AtMostOnce, 0x80, 0x8F),
    ];
    let hub = Hub::start().await;
    for version in [4, 5] {
        let mut client = hub.client(version).await;
        let filters: Vec<_> = table.iter().map(|&(filter, qos, ..)| (filter, qos)).collect();
        let expected: Vec<_> =
            table.iter().map(|&(_, _, v3, v5)| if version == 5 { v5 } else { v3 }).collect();
        assert_eq!(client.subscribe(&filters).await, expected);
    }
}

#[tokio::test]
async fn a_command_reaches_the_device_that_listens() {
    let hub = Hub::start().await;
    let down = hub.gateway.commands();
    let order = Bytes::from_static(br#"{"do":"sample"}"#);
    assert_eq!(down.send("h-1", order.clone()).await, Sent::NotListening, "nobody is connected");
    for version in [4, 5] {
        let mut client = hub.client(version).await;
        assert!(client.is_alive().await);
        assert_eq!(down.send("h-1", order.clone()).await, Sent::NotListening, "nobody subscribes");
        client.subscribe(&[("zs/v1/h-1/command", QoS::AtLeastOnce)]).await;
        assert_eq!(down.send("h-1", order.clone()).await, Sent::Delivered);
        let heard = client.heard().await;
        assert_eq!(heard, Heard::Publish("zs/v1/h-1/command".into(), 1, Some(1), order.clone()));
        client.raw(&[0x40, 2, 0, 1]).await;
        assert!(client.is_alive().await);

        client.subscribe(&[("zs/v1/h-1/command", QoS::AtMostOnce)]).await;
        assert_eq!(down.send("h-1", order.clone()).await, Sent::Delivered);
        let heard = client.heard().await;
        assert_eq!(heard, Heard::Publish("zs/v1/h-1/command".into(), 0, None, order.clone()));

        let packet_id = std::num::NonZeroU16::MIN;
        let topic_filters = vec!["zs/v1/h-1/command".into(), "x".into()];
        if version == 5 {
            let user_properties = Vec::new();
            let unsubscribe = v5::Unsubscribe { packet_id, user_properties, topic_filters };
            client.send5(unsubscribe.into()).await;
            assert_eq!(client.heard().await, Heard::Codes(vec![0, 0x11]));
        } else {
            client.send3(v3::Packet::Unsubscribe { packet_id, topic_filters }).await;
            assert_eq!(client.heard().await, Heard::Codes(vec![]));
        }
        assert_eq!(down.send("h-1", order.clone()).await, Sent::NotListening);
    }
}

#[tokio::test]
async fn a_device_that_acknowledges_nothing_gets_no_more_than_the_window() {
    let hub = Hub::start().await;
    let down = hub.gateway.commands();
    let mut client = hub.client(4).await;
    client.subscribe(&[("zs/v1/h-1/#", QoS::AtLeastOnce)]).await;
    for _ in 0..16 {
        assert_eq!(down.send("h-1", Bytes::from_static(b"{}")).await, Sent::Delivered);
    }
    assert_eq!(down.send("h-1", Bytes::from_static(b"{}")).await, Sent::NotListening);
    for id in 1..=16 {
        assert!(matches!(client.heard().await, Heard::Publish(_, 1, Some(n), _) if n == id));
    }
    client.raw(&[0x40, 2, 0, 7]).await;
    assert!(client.is_alive().await);
    assert_eq!(down.send("h-1", Bytes::from_static(b"{}")).await, Sent::Delivered);
    assert!(matches!(client.heard().await, Heard::Publish(_, 1, Some(17), _)));
}

#[tokio::test]
async fn a_command_longer_than_the_client_takes_is_not_sent() {
    let hub = Hub::start().await;
    let down = hub.gateway.commands();
    let mut client = crate::harness::Client::open(hub.addr(), 5).await;
    client
        .send5(
            v5::Connect {
                clean_start: true,
                client_id: "c".into(),
                username: Some("h-1".into()),
                password: Some(Bytes::from_static(b"s-h-1")),
                max_packet_size: std::num::NonZeroU32::new(128),
                ..v5::Connect::default()
            }
            .into(),
        )
        .await;
    assert!(client.packet().await.is_some());
    client.subscribe(&[("zs/v1/h-1/command", QoS::AtLeastOnce)]).await;
    assert_eq!(down.send("h-1", Bytes::from(vec![b' '; 200])).await, Sent::NotListening);
    assert_eq!(down.send("h-1", Bytes::from(vec![b' '; 90])).await, Sent::Delivered);
    assert!(matches!(client.heard().await, Heard::Publish(_, 1, _, payload) if payload.len() == 90));
}

#[tokio::test]
async fn an_unacknowledged_command_comes_again_to_a_session_that_waits() {
    let hub = Hub::start().await;
    let down = hub.gateway.commands();
    let durable = async || {
        let mut client = crate::harness::Client::open(hub.addr(), 4).await;
        let connect = v3::Connect {
            client_id: "durable".into(),
            username: Some("h-1".into()),
            password: Some(Bytes::from_static(b"s-h-1")),
            ..v3::Connect::default()
        };
        client.send3(connect.into()).await;
        assert!(client.packet().await.is_some());
        client
    };
    let mut client = durable().await;
    client.subscribe(&[("zs/v1/h-1/command", QoS::AtLeastOnce)]).await;
    assert_eq!(down.send("h-1", Bytes::from_static(b"{}")).await, Sent::Delivered);
    assert!(matches!(client.heard().await, Heard::Publish(_, 1, Some(1), _)));
    drop(client);
    let mut client = durable().await;
    assert!(matches!(client.heard().await, Heard::Publish(_, 1, Some(1), _)));
    // It listens at once, by the subscription that was there.
    assert_eq!(down.send("h-1", Bytes::from_static(b"{}")).await, Sent::Delivered);
    assert!(matches!(client.heard().await, Heard::Publish(_, 1, Some(2), _)));
}
