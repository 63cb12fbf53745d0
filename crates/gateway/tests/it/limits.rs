//! What one client cannot do to the others, or to the memory.

use std::time::Duration;

use bytes::Bytes;
use model::command::Sent;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rmqtt_codec::types::QoS;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::harness::{A_WHILE, Client, Heard, Hub, PRESSURE, SOON};

#[tokio::test]
async fn one_connection_too_many_is_closed_and_a_place_that_frees_is_given() {
    let hub = Hub::with(|config| config.max_connections = 1).await;
    let mut first = hub.client(5).await;
    let mut second = Client::open(hub.addr(), 5).await;
    assert_eq!(second.heard().await, Heard::Closed);
    assert!(first.is_alive().await);
    first.raw(&[0xE0, 0]).await;
    assert_eq!(first.heard().await, Heard::Closed);
    let end = tokio::time::Instant::now() + SOON;
    loop {
        let mut third = Client::open(hub.addr(), 5).await;
        third.connect("h-1", "c").await;
        if third.packet().await.is_some() {
            break;
        }
        assert!(tokio::time::Instant::now() < end, "the place did not come free");
    }
}

#[tokio::test]
async fn who_does_not_connect_in_time_is_closed() {
    let hub = Hub::with(|config| config.connect_timeout = Duration::from_millis(100)).await;
    let mut silent = TcpStream::connect(hub.addr()).await.unwrap();
    let mut dripping = TcpStream::connect(hub.addr()).await.unwrap();
    dripping.write_all(b"\x10\x20\0\x04MQTT").await.unwrap();
    for stream in [&mut silent, &mut dripping] {
        let mut answer = Vec::new();
        let _ = timeout(SOON, stream.read_to_end(&mut answer)).await.unwrap();
        assert!(answer.is_empty());
    }
}

#[tokio::test]
async fn who_is_silent_beyond_one_and_a_half_keep_alives_is_closed() {
    let hub = Hub::with(|config| config.max_keep_alive = 1).await;
    let mut silent = hub.client_of("h-1", "silent", 5).await;
    let mut pinging = hub.client_of("h-1", "pinging", 5).await;
    let start = std::time::Instant::now();
    while start.elapsed() < Duration::from_millis(1800) {
        assert!(pinging.is_alive().await);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    silent.hears_the_end(0x8D).await;
    assert!(pinging.is_alive().await);
}

#[tokio::test]
async fn receive_maximum_ends_5_and_holds_3_1_1_back() {
    let mut hub = Hub::with(|config| config.receive_maximum = 4).await;
    let mut five = hub.client_of("h-2", "five", 5).await;
    for id in 1..=5 {
        five.publish("zs/v1/h-2/level", Some(id), "1").await;
    }
    five.hears_the_end(0x93).await;
    hub.commit(4).await;

    let mut three = hub.client(4).await;
    for id in 1..=10 {
        three.publish(PRESSURE, Some(id), "1").await;
    }
    // Four at most are in the gateway unacknowledged, however many the socket holds.
    let mut acknowledged = 0;
    while acknowledged < 10 {
        let begun = hub.begun().await;
        let n = begun.samples.len();
        assert!(n <= 4, "{n} at once");
        three.hears_nothing().await;
        begun.commit();
        for _ in 0..n {
            acknowledged += 1;
            assert_eq!(three.heard().await, Heard::Ack(acknowledged, 0));
        }
    }
}

#[tokio::test]
async fn a_full_line_is_felt_at_the_socket_and_nothing_is_lost() {
    let mut hub = Hub::with(|config| config.queued_batches = 1).await;
    let mut client = hub.client(4).await;
    let row = r#"{"t":1795501925120,"v":0.18700000000000}"#;
    let payload = format!("[{}]", vec![row; 1000].join(","));
    let messages = 400; // 16 MB: more than the kernel's buffers and the line of batches hold
    let writer = tokio::spawn(async move {
        for _ in 0..messages {
            client.publish(PRESSURE, None, &payload).await;
        }
        client
    });
    let first = hub.begun().await;
    tokio::time::sleep(A_WHILE * 4).await;
    assert!(!writer.is_finished(), "16 MB went into a gateway whose store stands still");
    assert!(first.samples.len() <= model::observation::BATCH_CAP);
    let mut stored = first.commit().0.len();
    while stored < messages * 1000 {
        let next = hub.begun().await;
        assert!(next.samples.len() <= model::observation::BATCH_CAP);
        stored += next.commit().0.len();
    }
    assert_eq!(stored, messages * 1000);
    assert!(writer.await.unwrap().is_alive().await);
}

#[tokio::test]
async fn who_does_not_read_is_dropped() {
    let hub = Hub::with(|config| config.write_timeout = Duration::from_millis(200)).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = Client::over(socket.connect(hub.addr()).await.unwrap(), 4);
    client.connect("h-1", "c").await;
    assert!(client.packet().await.is_some());
    client.subscribe(&[("zs/v1/h-1/command", QoS::AtMostOnce)]).await;
    let down = hub.gateway.commands();
    let stuffed =
        async { while down.send("h-1", Bytes::from(vec![b' '; 60_000])).await == Sent::Delivered {} };
    timeout(SOON, stuffed).await.unwrap();
    assert_eq!(down.send("h-1", Bytes::from_static(b"{}")).await, Sent::NotListening, "it is gone");
    drop(client);
    assert!(hub.client(4).await.is_alive().await);
}

/// Whatever bytes a connection sends, before or after its CONNECT: another goes on.
#[tokio::test]
async fn random_bytes_harm_nobody_else() {
    let mut hub = Hub::start().await;
    let mut bystander = hub.client_of("h-2", "bystander", 5).await;
    let bytes = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        // Looks like a packet: type and flags, a fitting length, and a body of anything.
        (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..120)).prop_map(|(first, body)| {
            let mut packet = vec![first, body.len() as u8];
            packet.extend(body);
            packet
        }),
    ];
    let strategy = (bytes, prop::sample::select(vec![0u8, 4, 5]));
    let mut runner = TestRunner::default();
    for id in 1..=200 {
        let (bytes, version) = strategy.new_tree(&mut runner).unwrap().current();
        let mut client = match version {
            0 => Client::open(hub.addr(), 4).await,
            version => hub.client(version).await,
        };
        let _ = client.stream.write_all(&bytes).await;
        let _ = client.stream.shutdown().await;
        bystander.publish("zs/v1/h-2/pressure", Some(id), "1").await;
        // What the random one got through may be in a batch of its own.
        while hub.begun().await.commit().0.iter().all(|sample| sample.datastream.0 != 21) {}
        assert_eq!(bystander.heard().await, Heard::Ack(id, 0), "after {bytes:?} to version {version}");
    }
}

#[tokio::test]
async fn what_happens_is_counted() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let rendered = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let mut hub = Hub::start().await;
    let mut client = hub.client(5).await;
    client.publish(PRESSURE, Some(1), "1").await;
    client.publish(PRESSURE, Some(2), "x").await;
    client.publish("zs/v1/h-2/pressure", Some(3), "1").await;
    hub.commit(2).await;
    for (id, reason) in [(1, 0), (2, 0x99), (3, 0x87)] {
        assert_eq!(client.heard().await, Heard::Ack(id, reason));
    }
    let text = rendered.render();
    for line in [
        "zhongshu_mqtt_connections 1",
        "zhongshu_mqtt_messages_total 3",
        "zhongshu_mqtt_unreadable_total 1",
        "zhongshu_mqtt_refused_total{reason=\"topic-not-own\"} 1",
        "zhongshu_mqtt_ack_seconds_count 3",
    ] {
        assert!(text.lines().any(|found| found == line), "no {line} in:\n{text}");
    }
}
