//! The handshakes of QoS 1 and 2, and what is sent again.

use super::raw::{Hello, Message, Packet, Plain};

fn ack(first: u8, id: u16) -> Packet {
    Packet { first, body: id.to_be_bytes().to_vec() }
}

#[tokio::test]
async fn publications_are_acknowledged_by_their_qos_and_in_order() {
    let hub = Plain::start().await;
    for version in [4, 5] {
        let mut raw = hub.client(version, "c").await;
        for id in [1, 2, 3] {
            raw.publish(&Message::new("t", 1, id, "x")).await;
        }
        raw.publish(&Message::new("t", 0, 0, "x")).await;
        for id in [4, 5] {
            raw.publish(&Message::new("t", 2, id, "x")).await;
        }
        for expected in [ack(0x40, 1), ack(0x40, 2), ack(0x40, 3), ack(0x50, 4), ack(0x50, 5)] {
            assert_eq!(raw.next().await, expected);
        }
        for id in [4, 5] {
            raw.ack(0x62, id).await;
            assert_eq!(raw.next().await, ack(0x70, id));
        }
        raw.quiet().await;
    }
}

#[tokio::test]
async fn a_qos_2_message_goes_on_once_however_often_it_is_sent() {
    let hub = Plain::start().await;
    for version in [4, 5] {
        let mut sub = hub.client(version, "sub").await;
        sub.subscribe(&[("t", 0)]).await;
        let mut raw = hub.client(version, "c").await;
        let mut message = Message::new("t", 2, 7, "once");
        for dup in [false, true, true] {
            message.dup = dup;
            raw.publish(&message).await;
            assert_eq!(raw.next().await, ack(0x50, 7));
        }
        raw.ack(0x62, 7).await;
        assert_eq!(raw.next().await, ack(0x70, 7));
        assert_eq!(sub.payload().await, "once");
        sub.quiet().await;
        // The id is free: the same again is another message, whatever DUP says.
        raw.publish(&message).await;
        assert_eq!(raw.next().await, ack(0x50, 7));
        assert_eq!(sub.payload().await, "once");
    }
}

#[tokio::test]
async fn a_qos_2_message_goes_on_once_across_connections() {
    let hub = Plain::start().await;
    for version in [4, 5] {
        let mut sub = hub.client(version, "sub").await;
        sub.subscribe(&[("t", 0)]).await;
        let (mut raw, _) = hub.join(Hello::durable(version, "durable")).await;
        let message = Message::new("t", 2, 7, "once");
        raw.publish(&message).await;
        assert_eq!(raw.next().await, ack(0x50, 7));
        raw.vanish().await;
        let (mut raw, connack) = hub.join(Hello::durable(version, "durable")).await;
        assert!(connack.present());
        raw.publish(&Message { dup: true, ..message }).await;
        assert_eq!(raw.next().await, ack(0x50, 7));
        raw.ack(0x62, 7).await;
        assert_eq!(raw.next().await, ack(0x70, 7));
        assert_eq!(sub.payload().await, "once");
        sub.quiet().await;
        raw.leave().await;
    }
}

#[tokio::test]
async fn a_packet_id_that_nobody_knows_is_said_so() {
    let hub = Plain::start().await;
    let mut raw = hub.client(5, "c").await;
    raw.ack(0x62, 9).await;
    assert_eq!(raw.next().await, Packet { first: 0x70, body: vec![0, 9, 0x92] });
    raw.ack(0x50, 9).await;
    assert_eq!(raw.next().await, Packet { first: 0x62, body: vec![0, 9, 0x92] });
    raw.ack(0x40, 9).await;
    raw.ack(0x70, 9).await;
    raw.quiet().await;
    // 3.1.1 has no reasons: the handshake is completed.
    let mut raw = hub.client(4, "c").await;
    raw.ack(0x62, 9).await;
    assert_eq!(raw.next().await, ack(0x70, 9));
    raw.quiet().await;
}

#[tokio::test]
async fn messages_to_a_client_have_ids_not_in_use_and_are_acknowledged_by_them() {
    let hub = Plain::start().await;
    for version in [4, 5] {
        let mut sub = hub.client(version, "sub").await;
        sub.subscribe(&[("t", 2)]).await;
        let mut other = hub.client(version, "other").await;
        for n in 0..5 {
            other.tell("t", 1 + n % 2, "x").await;
        }
        let mut ids = Vec::new();
        for _ in 0..5 {
            let got = sub.message().await;
            assert!(!got.dup);
            ids.push((got.id.unwrap(), got.qos));
        }
        assert_eq!(ids, [(1, 1), (2, 2), (3, 1), (4, 2), (5, 1)]);
        // Acknowledged in another order than sent; nothing is sent again meanwhile.
        for (id, qos) in ids.into_iter().rev() {
            if qos == 1 {
                sub.ack(0x40, id).await;
            } else {
                sub.ack(0x50, id).await;
                assert_eq!(sub.next().await, ack(0x62, id));
                sub.ack(0x70, id).await;
            }
        }
        sub.quiet().await;
    }
}

#[tokio::test]
async fn what_was_not_acknowledged_is_sent_again_in_order_with_dup() {
    for version in [4, 5] {
        let hub = Plain::start().await;
        let (mut sub, _) = hub.join(Hello::durable(version, "durable")).await;
        sub.subscribe(&[("t", 2)]).await;
        let mut other = hub.client(version, "other").await;
        for (n, qos) in [(1, 1), (2, 2), (3, 1), (4, 2), (5, 2)] {
            other.tell("t", qos, &n.to_string()).await;
            assert_eq!(sub.message().await.id, Some(n));
        }
        sub.ack(0x40, 3).await;
        sub.ack(0x50, 4).await;
        assert_eq!(sub.next().await, ack(0x62, 4));
        sub.quiet().await;
        sub.vanish().await;
        other.tell("t", 1, "new").await;

        let (mut sub, connack) = hub.join(Hello::durable(version, "durable")).await;
        assert!(connack.present());
        // The PUBREL that had no PUBCOMP, then what had no PUBACK or PUBREC, then what is new.
        assert_eq!(sub.next().await, ack(0x62, 4));
        for (n, qos) in [(1, 1), (2, 2), (5, 2)] {
            let got = sub.message().await;
            assert_eq!((got.id, got.qos, got.dup), (Some(n), qos, true));
            assert_eq!(got.payload, n.to_string().as_bytes());
        }
        let got = sub.message().await;
        assert_eq!((got.payload.as_slice(), got.dup), (&b"new"[..], false));
        sub.quiet().await;
        // Done with: nothing comes a third time.
        for id in [1, got.id.unwrap()] {
            sub.ack(0x40, id).await;
        }
        for id in [2, 5] {
            sub.ack(0x50, id).await;
            assert_eq!(sub.next().await, ack(0x62, id));
            sub.ack(0x70, id).await;
        }
        sub.ack(0x70, 4).await;
        sub.quiet().await;
        sub.vanish().await;
        let (mut sub, _) = hub.join(Hello::durable(version, "durable")).await;
        sub.quiet().await;
        sub.leave().await;
    }
}

#[tokio::test]
async fn a_refusal_by_the_receiver_ends_the_handshake() {
    let hub = Plain::start().await;
    let (mut sub, _) = hub.join(Hello::durable(5, "durable")).await;
    sub.subscribe(&[("t", 2)]).await;
    let mut other = hub.client(5, "other").await;
    other.tell("t", 1, "one").await;
    other.tell("t", 2, "two").await;
    for first in [0x40, 0x50] {
        let id = sub.message().await.id.unwrap();
        sub.send(&[first, 3, 0, id as u8, 0x83]).await;
    }
    sub.quiet().await;
    sub.vanish().await;
    let (mut sub, _) = hub.join(Hello::durable(5, "durable")).await;
    sub.quiet().await;
}

#[tokio::test]
async fn an_acknowledgement_of_the_wrong_kind_ends_nothing() {
    let hub = Plain::start().await;
    for version in [4, 5] {
        let mut sub = hub.client(version, "sub").await;
        sub.subscribe(&[("t", 2)]).await;
        let mut other = hub.client(version, "other").await;
        other.tell("t", 1, "one").await;
        other.tell("t", 2, "two").await;
        let (one, two) = (sub.message().await.id.unwrap(), sub.message().await.id.unwrap());
        // PUBCOMP for QoS 1, PUBACK and an early PUBCOMP for QoS 2.
        for (first, id) in [(0x70, one), (0x40, two), (0x70, two)] {
            sub.ack(first, id).await;
        }
        sub.quiet().await;
        sub.ack(0x50, two).await;
        assert_eq!(sub.next().await, ack(0x62, two), "it is still on its way");
        sub.ack(0x70, two).await;
        sub.ack(0x40, one).await;
        sub.quiet().await;
    }
}

#[tokio::test]
async fn after_a_refusal_the_id_is_free() {
    let hub = Plain::with(|config| (config.max_retained, config.receive_maximum) = (0, 1)).await;
    let mut sub = hub.client(5, "sub").await;
    sub.subscribe(&[("t", 0)]).await;
    let mut raw = hub.client(5, "c").await;
    let message = Message::new("t", 2, 7, "x");
    for _ in 0..2 {
        raw.publish(&Message { retain: true, ..message.clone() }).await;
        let pubrec = raw.next().await;
        assert_eq!((pubrec.first, pubrec.id(), pubrec.body[2]), (0x50, 7, 0x97));
    }
    // Neither a repeat nor beyond the window of one.
    raw.publish(&message).await;
    assert_eq!(raw.next().await, ack(0x50, 7));
    assert_eq!(sub.payload().await, "x");
    raw.ack(0x62, 7).await;
    assert_eq!(raw.next().await, ack(0x70, 7));
}
