//! One device: resolves on PUBACK and not before, tells refusals, sends again after a loss.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use citysim::client::{Device, Options, PublishError, Status};

use crate::broker::{Broker, Policy, Seen};

#[tokio::test]
async fn publish_resolves_on_puback_and_not_before() {
    let mut broker = Broker::start(Some("secret")).await;
    broker.policy(Policy::Hold);
    let device = Device::connect(broker.address, "d-1", "secret").await.unwrap();
    let mut waiting = Box::pin(device.publish("pressure", r#"{"v":0.3}"#));
    tokio::select! {
        _ = &mut waiting => panic!("resolved without PUBACK"),
        sample = broker.sample("zs/v1/d-1/pressure") => assert_eq!(sample["v"], 0.3),
    }
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut waiting).await.is_err());
    // The held one is sent again on the next connection, and acknowledged there.
    broker.policy(Policy::Ack);
    broker.cut("d-1");
    waiting.await.unwrap();
    device.publish("pressure", "0.31").await.unwrap();
    device.close(Duration::from_secs(1)).await;
    broker.next(|seen| (*seen == Seen::Gone { user: "d-1".to_owned() }).then_some(())).await;
}

#[tokio::test]
async fn samples_of_a_lost_connection_come_again_in_their_order() {
    let mut broker = Broker::start(None).await;
    broker.policy(Policy::Hold);
    let options = Options::new(broker.address, "d-2", "x");
    let counters = Arc::clone(&options.counters);
    let mut device = Device::start(options);
    assert_eq!(device.settled().await, Status::Connected);
    let pending: Vec<_> = (0..20).map(|n| device.begin("pressure", format!("{n}")).unwrap()).collect();
    for n in 0..20 {
        assert_eq!(broker.sample("zs/v1/d-2/pressure").await, n);
    }
    broker.policy(Policy::Ack);
    broker.cut("d-2");
    for n in 0..20 {
        assert_eq!(broker.sample("zs/v1/d-2/pressure").await, n, "again");
    }
    for sample in pending {
        sample.acked().await.unwrap();
    }
    let count = |c: &std::sync::atomic::AtomicU64| c.load(Ordering::Relaxed);
    assert_eq!((count(&counters.sent), count(&counters.acked), count(&counters.resent)), (20, 20, 20));
    drop(device);
    assert_eq!(count(&counters.connected), 0);
}

#[tokio::test]
async fn refusals_are_told_and_harm_no_later_sample() {
    let broker = Broker::start(None).await;
    broker.policy(Policy::Refuse);
    let device = Device::connect(broker.address, "d-3", "x").await.unwrap();
    let refused = device.publish("pressure", "nonsense").await.unwrap_err();
    assert_eq!(refused, PublishError::Refused("PayloadFormatInvalid".to_owned()));
    broker.policy(Policy::Ack);
    device.publish("pressure", "0.3").await.unwrap();
}

#[tokio::test]
async fn a_wrong_secret_is_an_error_with_its_reason() {
    let broker = Broker::start(Some("right")).await;
    let error = Device::connect(broker.address, "d-4", "wrong").await.unwrap_err().to_string();
    assert!(error.contains("d-4") && error.contains("BadUserNamePassword"), "{error}");
}

#[tokio::test]
async fn the_window_bounds_what_waits() {
    let broker = Broker::start(None).await;
    broker.policy(Policy::Hold);
    let mut options = Options::new(broker.address, "d-5", "x");
    options.window = 3;
    let device = Device::start(options);
    let waiting: Vec<_> = (0..3).map(|_| device.begin("pressure", "0.3").unwrap()).collect();
    assert_eq!(device.begin("pressure", "0.3").unwrap_err(), PublishError::WindowFull(3));
    drop(device);
    for sample in waiting {
        assert_eq!(sample.acked().await, Err(PublishError::Closed));
    }
}

#[tokio::test]
async fn two_hundred_devices_publish_side_by_side() {
    let broker = Broker::start(None).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..200 {
        let address = broker.address;
        tasks.spawn(async move {
            let device = Device::connect(address, &format!("d-{n}"), "x").await.unwrap();
            for _ in 0..20 {
                device.publish("pressure", "0.3").await.unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}
