//! Stopping well.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::harness::{A_WHILE, Client, Heard, Hub, PRESSURE};

#[tokio::test]
async fn stop_commits_and_acknowledges_what_was_read_then_says_goodbye() {
    for version in [4, 5] {
        let Hub { gateway, mut store, .. } = {
            let mut hub = Hub::start().await;
            let mut idle = hub.client_of("h-2", "idle", version).await;
            let mut client = hub.client(version).await;
            client.publish(PRESSURE, Some(1), "1").await;
            let first = hub.begun().await;
            client.publish(PRESSURE, Some(2), "2").await;
            assert!(client.is_alive().await);
            let addr = hub.addr();

            let Hub { gateway, mut store, .. } = hub;
            let stopping = tokio::spawn(gateway.stop());
            idle.hears_the_end(0x8B).await;
            client.hears_nothing().await;
            assert!(TcpStream::connect(addr).await.is_err(), "still listening");
            first.commit();
            assert_eq!(store.recv().await.unwrap().commit().0[0].value, 2.0);
            assert_eq!(client.heard().await, Heard::Ack(1, 0));
            assert_eq!(client.heard().await, Heard::Ack(2, 0));
            client.hears_the_end(0x8B).await;
            drop((client, idle));
            stopping.await.unwrap();
            assert!(store.recv().await.is_none(), "the store was let go");
            Hub::start().await
        };
        gateway.stop().await;
        assert!(store.recv().await.is_none());
    }
}

#[tokio::test]
async fn stop_ends_though_the_store_hangs_and_a_client_never_reads() {
    let mut hub = Hub::with(|config| config.stop_timeout = Duration::from_millis(300)).await;
    let mut client = hub.client(5).await;
    let half = Client::open(hub.addr(), 5).await;
    client.publish(PRESSURE, Some(1), "1").await;
    let hanging = hub.begun().await;
    let start = Instant::now();
    hub.gateway.stop().await;
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    // Told or cut off, but not acknowledged.
    assert!(matches!(client.heard().await, Heard::Disconnect(0x8B) | Heard::Closed));
    drop((hanging, half));
}

#[tokio::test]
async fn dropping_the_gateway_closes_its_connections() {
    let hub = Hub::start().await;
    let mut client = hub.client(5).await;
    drop(hub.gateway);
    assert_eq!(client.heard().await, Heard::Closed);
    tokio::time::sleep(A_WHILE / 10).await;
}
