//! Flow control in both directions, and errors.

use super::raw::{Hello, Message, Plain, two};

#[tokio::test]
async fn a_client_gets_no_more_than_its_receive_maximum() {
    let hub = Plain::start().await;
    let (mut sub, _) = hub.join(Hello { properties: two(0x21, 2), ..Hello::default() }).await;
    sub.subscribe(&[("t", 2)]).await;
    let mut raw = hub.client(5, "other").await;
    for n in 0..5 {
        raw.tell("t", 1 + n % 2, &n.to_string()).await;
    }
    let first = sub.message().await;
    let second = sub.message().await;
    assert_eq!((first.payload.as_slice(), second.payload.as_slice()), (&b"0"[..], &b"1"[..]));
    // No more until one is done; other packets are not held up.
    sub.quiet().await;
    assert_eq!(sub.subscribe(&[("u", 0)]).await, [0]);
    sub.ack(0x40, first.id.unwrap()).await;
    let third = sub.message().await;
    assert_eq!(third.payload, b"2");
    sub.quiet().await;
    // PUBREC is not the end of a QoS 2 message, PUBCOMP is.
    sub.ack(0x50, second.id.unwrap()).await;
    assert_eq!(sub.next().await.first, 0x62);
    sub.quiet().await;
    sub.ack(0x70, second.id.unwrap()).await;
    assert_eq!(sub.message().await.payload, b"3");
    sub.ack(0x40, third.id.unwrap()).await;
    assert_eq!(sub.message().await.payload, b"4");
    sub.quiet().await;
}

#[tokio::test]
async fn a_client_beyond_our_receive_maximum_is_closed() {
    let hub = Plain::with(|config| config.receive_maximum = 2).await;
    let mut raw = hub.client(5, "c").await;
    for id in [1, 2] {
        raw.publish(&Message::new("t", 2, id, "x")).await;
        assert_eq!(raw.next().await.first, 0x50);
    }
    // QoS 0, repeats and everything else go on.
    raw.publish(&Message::new("t", 0, 0, "x")).await;
    raw.publish(&Message { dup: true, ..Message::new("t", 2, 1, "x") }).await;
    assert_eq!(raw.next().await.first, 0x50);
    raw.quiet().await;
    // One done, one more.
    raw.ack(0x62, 1).await;
    assert_eq!(raw.next().await.first, 0x70);
    raw.publish(&Message::new("t", 2, 3, "x")).await;
    assert_eq!(raw.next().await.first, 0x50);
    raw.publish(&Message::new("t", 1, 4, "x")).await;
    raw.ended(0x93).await;
}

#[tokio::test]
async fn the_window_counts_what_an_earlier_connection_left_open() {
    let hub = Plain::with(|config| config.receive_maximum = 2).await;
    let (mut raw, _) = hub.join(Hello::durable(5, "c")).await;
    for id in [1, 2] {
        raw.publish(&Message::new("t", 2, id, "x")).await;
        assert_eq!(raw.next().await.first, 0x50);
    }
    raw.vanish().await;
    let (mut raw, _) = hub.join(Hello::durable(5, "c")).await;
    for id in [1, 2] {
        raw.publish(&Message { dup: true, ..Message::new("t", 2, id, "x") }).await;
        assert_eq!(raw.next().await.first, 0x50);
    }
    raw.publish(&Message::new("t", 2, 3, "x")).await;
    raw.ended(0x93).await;
}

#[tokio::test]
async fn many_messages_to_many_clients_arrive_whole() {
    let hub = Plain::start().await;
    let mut subs = Vec::new();
    for n in 0..10 {
        let mut sub = hub.client(if n % 2 == 0 { 4 } else { 5 }, &format!("s{n}")).await;
        sub.subscribe(&[("t/#", n % 3)]).await;
        subs.push(sub);
    }
    let mut raw = hub.client(5, "c").await;
    let writer = tokio::spawn(async move {
        for n in 0..200 {
            raw.tell(&format!("t/{}", n % 7), 1, &format!("{n}{}", "x".repeat(n * 20))).await;
        }
        raw
    });
    let mut readers = Vec::new();
    for mut sub in subs {
        readers.push(tokio::spawn(async move {
            for n in 0..200 {
                let got = sub.message().await;
                assert_eq!(got.payload, format!("{n}{}", "x".repeat(n * 20)).as_bytes());
                if let Some(id) = got.id {
                    sub.ack(0x40, id).await;
                }
            }
        }));
    }
    for reader in readers {
        reader.await.unwrap();
    }
    writer.await.unwrap().quiet().await;
}

#[tokio::test]
async fn a_message_that_fills_the_output_does_not_stop_the_input() {
    let hub = Plain::start().await;
    for version in [4, 5] {
        let mut sub = hub.client(version, "sub").await;
        sub.subscribe(&[("t", 0)]).await;
        let mut raw = hub.client(version, "c").await;
        raw.tell("t", 1, &"x".repeat(60_000)).await;
        assert_eq!(sub.message().await.payload.len(), 60_000);
        sub.quiet().await;
    }
}

#[tokio::test]
async fn a_stopping_server_says_so() {
    let hub = Plain::start().await;
    let mut five = hub.client(5, "five").await;
    let mut three = hub.client(4, "three").await;
    let stopping = tokio::spawn(hub.gateway.stop());
    five.ended(0x8B).await;
    three.ended(0x8B).await;
    drop((five, three));
    stopping.await.unwrap();
}
