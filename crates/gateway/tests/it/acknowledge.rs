//! The promise: a PUBACK leaves after the commit, and holds up nothing.

use model::DatastreamKey;

use crate::harness::{Heard, Hub, PRESSURE};

#[tokio::test]
async fn no_puback_before_the_commit_and_the_next_message_is_read_meanwhile() {
    for version in [4, 5] {
        let mut hub = Hub::start().await;
        let mut client = hub.client(version).await;
        client.publish(PRESSURE, Some(1), r#"{"v":0.187}"#).await;
        let first = hub.begun().await;
        assert_eq!(first.samples.len(), 1);
        client.publish(PRESSURE, Some(2), r#"{"v":0.188}"#).await;
        client.publish("zs/v1/h-1/level", Some(3), r#"{"v":2}"#).await;
        // A ping goes round behind both publications: they are read, though one ack waits.
        assert!(client.is_alive().await);
        client.hears_nothing().await;

        first.commit();
        assert_eq!(client.heard().await, Heard::Ack(1, 0));
        let second = hub.begun().await;
        let values: Vec<_> = second.samples.iter().map(|s| (s.datastream, s.value)).collect();
        assert_eq!(values, [(DatastreamKey(11), 0.188), (DatastreamKey(12), 2.0)]);
        client.hears_nothing().await;
        second.commit();
        assert_eq!(client.heard().await, Heard::Ack(2, 0));
        assert_eq!(client.heard().await, Heard::Ack(3, 0));
    }
}

#[tokio::test]
async fn what_waits_during_a_commit_is_the_next_batch_whole() {
    let mut hub = Hub::start().await;
    let mut a = hub.client_of("h-1", "a", 4).await;
    let mut b = hub.client_of("h-2", "b", 5).await;
    a.publish(PRESSURE, Some(1), "1").await;
    let first = hub.begun().await;
    for id in 2..=20 {
        a.publish(PRESSURE, Some(id), "1").await;
        b.publish("zs/v1/h-2/pressure", Some(id), "2").await;
    }
    assert!(a.is_alive().await && b.is_alive().await);
    first.commit();
    let second = hub.begun().await;
    assert_eq!(second.samples.len(), 38);
    second.commit();
    assert_eq!(a.heard().await, Heard::Ack(1, 0));
    for id in 2..=20 {
        assert_eq!(a.heard().await, Heard::Ack(id, 0));
        assert_eq!(b.heard().await, Heard::Ack(id, 0));
    }
}

#[tokio::test]
async fn a_refused_batch_acknowledges_nothing_and_its_senders_come_again() {
    for version in [4, 5] {
        let mut hub = Hub::start().await;
        let mut client = hub.client(version).await;
        let mut other = hub.client_of("h-2", "o", version).await;
        client.publish(PRESSURE, Some(1), "1").await;
        let first = hub.begun().await;
        client.publish(PRESSURE, Some(2), "2").await;
        assert!(client.is_alive().await);
        first.commit();
        let second = hub.begun().await;
        client.publish(PRESSURE, Some(3), "3").await;
        assert_eq!(client.heard().await, Heard::Ack(1, 0));
        assert!(client.is_alive().await);
        other.publish("zs/v1/h-2/level", Some(9), "9").await;
        assert!(other.is_alive().await);
        second.refuse();
        client.hears_the_end(0x89).await;
        // The third message was behind the refused one: it may be stored, never acknowledged.
        hub.commit(2).await;
        assert_eq!(other.heard().await, Heard::Ack(9, 0));

        let mut again = hub.client(version).await;
        again.publish(PRESSURE, Some(2), "2").await;
        hub.commit(1).await;
        assert_eq!(again.heard().await, Heard::Ack(2, 0));
    }
}

#[tokio::test]
async fn a_store_that_breaks_down_is_a_refusal_and_the_next_batch_goes_on() {
    let mut hub = Hub::start().await;
    let mut client = hub.client(5).await;
    client.publish(PRESSURE, Some(1), "1").await;
    hub.begun().await.break_down();
    client.hears_the_end(0x89).await;
    let mut again = hub.client(5).await;
    again.publish(PRESSURE, Some(1), "1").await;
    hub.commit(1).await;
    assert_eq!(again.heard().await, Heard::Ack(1, 0));
}

#[tokio::test]
async fn qos_0_is_stored_without_an_answer_even_when_the_sender_leaves_at_once() {
    let mut hub = Hub::start().await;
    let mut client = hub.client(4).await;
    client.publish(PRESSURE, None, "0.2").await;
    client.raw(&[0xE0, 0]).await;
    drop(client);
    let (samples, _) = hub.commit(1).await;
    assert_eq!(samples[0].value, 0.2);
}

#[tokio::test]
async fn acknowledgements_keep_the_order_of_receipt() {
    let mut hub = Hub::start().await;
    let mut client = hub.client(5).await;
    client.publish(PRESSURE, Some(1), "1").await;
    // Refused without a commit, but behind one that waits.
    client.publish("zs/v1/h-2/pressure", Some(2), "1").await;
    client.publish(PRESSURE, Some(3), "nonsense").await;
    assert!(client.is_alive().await);
    client.hears_nothing().await;
    hub.commit(2).await;
    assert_eq!(client.heard().await, Heard::Ack(1, 0));
    assert_eq!(client.heard().await, Heard::Ack(2, 0x87));
    assert_eq!(client.heard().await, Heard::Ack(3, 0x99));
}

/// Many connections, many messages, commits in between: every message is acknowledged exactly once,
/// in order, and every observation is stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_is_acknowledged_whole() {
    let mut hub = Hub::start().await;
    let mut fleet = Vec::new();
    for n in 0..8 {
        fleet.push(hub.client_of("h-1", &format!("c{n}"), if n % 2 == 0 { 4 } else { 5 }).await);
    }
    let clients: Vec<_> = fleet
        .into_iter()
        .map(|mut client| {
            tokio::spawn(async move {
                let (mut sent, mut acked) = (0u16, 0u16);
                while acked < 500 {
                    while sent < 500 && sent - acked < 20 {
                        sent += 1;
                        client.publish(PRESSURE, Some(sent), &format!("{{\"v\":{sent}}}")).await;
                    }
                    acked += 1;
                    assert_eq!(client.heard().await, Heard::Ack(acked, 0));
                }
            })
        })
        .collect();
    let (samples, unreadable) = hub.commit(8 * 500).await;
    assert_eq!((samples.len(), unreadable.len()), (4000, 0));
    for client in clients {
        client.await.unwrap();
    }
}
