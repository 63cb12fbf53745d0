//! CONNECT: who gets in, who does not, and what each is told.

use bytes::Bytes;
use rmqtt_codec::types::QoS;
use rmqtt_codec::{MqttPacket, v5};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Client, Heard, Hub, SOON};

/// CONNECT written by hand: protocol level, flags, then the fields in order.
fn connect(level: u8, flags: u8, fields: &[&str]) -> Vec<u8> {
    let mut body = b"\0\x04MQTT".to_vec();
    body.extend([level, flags, 0, 60]);
    if level == 5 {
        body.push(0);
    }
    for field in fields {
        body.extend((field.len() as u16).to_be_bytes());
        body.extend(field.as_bytes());
    }
    let mut packet = vec![0x10, body.len() as u8];
    packet.extend(body);
    packet
}

#[tokio::test]
async fn each_refusal_is_told_as_the_standard_has_it() {
    let hub = Hub::start().await;
    let cases: &[(&str, Vec<u8>, &[u8])] = &[
        ("3.1.1 accepted", connect(4, 0xC2, &["c", "h-1", "s-h-1"]), &[0x20, 2, 0, 0]),
        ("3.1.1 wrong secret", connect(4, 0xC2, &["c", "h-1", "s-h-2"]), &[0x20, 2, 0, 4]),
        ("3.1.1 unknown thing", connect(4, 0xC2, &["c", "h-9", "s-h-9"]), &[0x20, 2, 0, 4]),
        ("3.1.1 a wildcard as name", connect(4, 0xC2, &["c", "+", "s-+"]), &[0x20, 2, 0, 4]),
        ("3.1.1 nobody", connect(4, 0x02, &["c"]), &[0x20, 2, 0, 5]),
        ("3.1.1 no secret", connect(4, 0x82, &["c", "h-1"]), &[0x20, 2, 0, 5]),
        ("3.1.1 no id, not clean", connect(4, 0xC0, &["", "h-1", "s-h-1"]), &[0x20, 2, 0, 2]),
        ("3.1.1 no id", connect(4, 0xC2, &["", "h-1", "s-h-1"]), &[0x20, 2, 0, 0]),
        ("3.1.1 not clean", connect(4, 0xC0, &["c", "h-1", "s-h-1"]), &[0x20, 2, 0, 0]),
        ("3.1.1 reserved flag", connect(4, 0xC3, &["c", "h-1", "s-h-1"]), &[]),
        ("level 6", connect(6, 0xC2, &["c", "h-1", "s-h-1"]), &[0x20, 2, 0, 1]),
        ("3.1", b"\x10\x1b\0\x06MQIsdp\x03\xC2\0\x3c\0\x01c\0\x03h-1\0\x05s-h-1".to_vec(), &[0x20, 2, 0, 1]),
        ("5 wrong secret", connect(5, 0xC2, &["c", "h-1", "nope"]), &[0x20, 3, 0, 0x86, 0]),
        ("5 nobody", connect(5, 0x02, &["c"]), &[0x20, 3, 0, 0x87, 0]),
        ("5 cut short", b"\x10\x0d\0\x04MQTT\x05\xC2\0\x3c\0\0\x09".to_vec(), &[0x20, 3, 0, 0x81, 0]),
        ("publish first", b"\x30\x05\0\x01a00".to_vec(), &[]),
        ("http", b"GET / HTTP/1.1\r\n\r\n".to_vec(), &[]),
        ("a length without end", b"\x10\xff\xff\xff\xff\xff".to_vec(), &[]),
        ("an endless connect", b"\x10\xff\xff\xff\x7f\0\x04MQTT\x04\xC2\0\x3c".to_vec(), &[]),
    ];
    for (name, bytes, expected) in cases {
        let mut stream = TcpStream::connect(hub.addr()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.unwrap();
        assert_eq!(&answer, expected, "{name}");
    }
}

fn connect5() -> v5::Connect {
    v5::Connect {
        clean_start: true,
        client_id: "c".into(),
        username: Some("h-1".into()),
        password: Some(Bytes::from_static(b"s-h-1")),
        ..v5::Connect::default()
    }
}

#[tokio::test]
async fn an_authentication_method_is_refused_by_its_reason() {
    let hub = Hub::start().await;
    let mut client = Client::open(hub.addr(), 5).await;
    let connect = v5::Connect { auth_method: Some("SCRAM".into()), ..connect5() };
    client.send5(connect.into()).await;
    let Some(MqttPacket::V5(v5::Packet::ConnectAck(ack))) = client.packet().await else {
        panic!("no connack")
    };
    assert_eq!(u8::from(ack.reason_code), 0x8C);
}

#[tokio::test]
async fn connack_of_5_announces_the_limits() {
    let hub = Hub::start().await;
    let mut client = Client::open(hub.addr(), 5).await;
    let connect =
        v5::Connect { client_id: "".into(), session_expiry_interval_secs: 0xFFFF_FFFF, ..connect5() };
    client.send5(connect.into()).await;
    let Some(MqttPacket::V5(v5::Packet::ConnectAck(ack))) = client.packet().await else {
        panic!("no connack")
    };
    assert!(!ack.session_present);
    assert_eq!(ack.session_expiry_interval_secs, Some(604_800), "never was asked");
    assert_eq!(ack.receive_max.get(), 1024);
    assert_eq!(ack.max_qos, QoS::ExactlyOnce);
    assert_eq!(ack.max_packet_size, Some(64 * 1024));
    assert_eq!(ack.topic_alias_max, 16);
    assert!(ack.retain_available);
    assert!(ack.shared_subscription_available);
    assert!(ack.subscription_identifiers_available);
    assert_eq!(ack.server_keepalive_sec, Some(1200), "keep-alive 0 was asked");
    assert!(ack.assigned_client_id.is_some_and(|id| id.len() > 4));
}

#[tokio::test]
async fn the_same_client_takes_its_place_and_no_other() {
    let hub = Hub::start().await;
    for version in [4, 5] {
        let mut old = hub.client_of("h-1", "c", version).await;
        let mut beside = hub.client_of("h-1", "d", version).await;
        let mut other_thing = hub.client_of("h-2", "c", version).await;
        let mut new = hub.client_of("h-1", "c", version).await;
        old.hears_the_end(0x8E).await;
        assert!(beside.is_alive().await && other_thing.is_alive().await && new.is_alive().await);
    }
}

#[tokio::test]
async fn one_thing_holds_eight_connections_and_the_oldest_goes() {
    let hub = Hub::start().await;
    let mut clients = Vec::new();
    for n in 0..9 {
        clients.push(hub.client_of("h-1", &format!("c{n}"), 5).await);
    }
    assert_eq!(clients[0].heard().await, Heard::Disconnect(0x8E));
    assert!(clients[1].is_alive().await && clients[8].is_alive().await);
}

#[tokio::test]
async fn a_dismissed_thing_has_to_connect_again() {
    let hub = Hub::start().await;
    for version in [4, 5] {
        let mut first = hub.client_of("h-1", "a", version).await;
        let mut second = hub.client_of("h-1", "b", version).await;
        let mut other = hub.client_of("h-2", "a", version).await;
        assert_eq!(hub.gateway.disconnect("h-1"), 2);
        first.hears_the_end(0x98).await;
        second.hears_the_end(0x98).await;
        assert!(other.is_alive().await);
        assert_eq!(hub.gateway.disconnect("h-9"), 0);
    }
}
