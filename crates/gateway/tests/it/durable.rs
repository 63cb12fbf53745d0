//! What is promised to durable sessions is on disk before it is promised, and is there after a kill.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use gateway::{Gateway, MemoryBroker};
use model::broker::{BrokerError, BrokerStore, Change, Image};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};

use crate::conformance::raw::{Hello, Message, Plain, Raw, Takes, Will, four, profile};
use crate::harness::{Awaited, SOON, Table};

/// A store whose commits wait for the test, or fail.
struct Gate {
    kept: MemoryBroker,
    permits: Semaphore,
    begun: Notify,
    commits: AtomicUsize,
    failing: AtomicBool,
}

impl Gate {
    fn new(permits: usize) -> Arc<Self> {
        Arc::new(Self {
            kept: MemoryBroker::default(),
            permits: Semaphore::new(permits),
            begun: Notify::new(),
            commits: AtomicUsize::new(0),
            failing: AtomicBool::new(false),
        })
    }

    async fn begun(&self) {
        tokio::time::timeout(SOON, self.begun.notified()).await.unwrap();
    }

    fn open(&self, commits: usize) {
        self.permits.add_permits(commits);
    }
}

#[async_trait]
impl BrokerStore for Gate {
    async fn load(&self) -> Result<Image, BrokerError> {
        self.kept.load().await
    }

    async fn commit(&self, changes: &[Change]) -> Result<(), BrokerError> {
        self.begun.notify_one();
        self.permits.acquire().await.unwrap().forget();
        if self.failing.load(Ordering::Relaxed) {
            return Err(BrokerError::Store("disk full".into()));
        }
        self.kept.apply(changes);
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[tokio::test]
async fn a_publisher_is_acknowledged_once_the_message_for_a_durable_session_is_on_disk() {
    let gate = Gate::new(100);
    let hub = Plain::over(profile(), gate.clone()).await;
    let (mut sub, _) = hub.join(Hello::durable(5, "sub")).await;
    sub.subscribe(&[("t", 2)]).await;
    let mut other = hub.client(4, "other").await;
    for present in [true, false] {
        if !present {
            sub.send(&[0xE0, 0]).await;
            while sub.maybe().await.is_some() {}
            // What the session left behind is written before the gate closes.
            while gate.kept.image().sessions[0].ends_at.is_none() {
                tokio::task::yield_now().await;
            }
        }
        let left = gate.permits.forget_permits(usize::MAX);
        assert!(left > 0);
        gate.begun.notify_one();
        gate.begun().await;
        let before = gate.kept.image().deliveries.len();
        for qos in [1, 2] {
            let id = 10 + u16::from(qos);
            other.publish(&Message::new("t", qos, id, "x")).await;
            gate.begun().await;
            // The ping goes round, the acknowledgement does not come.
            other.quiet().await;
            assert_eq!(gate.kept.image().deliveries.len(), before + usize::from(qos) - 1);
            gate.open(1);
            let packet = other.next().await;
            assert_eq!((packet.first, packet.id()), (0x30 + qos * 0x10, id));
            assert_eq!(gate.kept.image().deliveries.len(), before + usize::from(qos));
            if qos == 2 {
                other.ack(0x62, id).await;
                assert_eq!(other.next().await.first, 0x70);
            }
        }
        gate.open(100);
    }
}

#[tokio::test]
async fn connack_suback_pubrec_and_pubcomp_wait_for_the_store() {
    let gate = Gate::new(0);
    let hub = Plain::over(profile(), gate.clone()).await;
    let mut raw = hub.open(5).await;
    raw.send(&Hello::durable(5, "c").bytes()).await;
    gate.begun().await;
    assert!(gate.kept.image().sessions.is_empty());
    gate.open(1);
    assert_eq!(raw.next().await.first, 0x20);
    assert_eq!(gate.kept.image().sessions.len(), 1);
    let table: [(&[u8], u8); 4] = [
        (b"\x82\x07\0\x01\0\0\x01t\x02", 0x90),
        (b"\x34\x06\0\x01u\0\x07\0", 0x50),
        (b"\x62\x02\0\x07", 0x70),
        (b"\xA2\x06\0\x02\0\0\x01t", 0xB0),
    ];
    for (bytes, answer) in table {
        raw.send(bytes).await;
        gate.begun().await;
        raw.quiet().await;
        gate.open(1);
        assert_eq!(raw.next().await.first, answer);
    }
    let image = gate.kept.image();
    assert!(image.subscriptions.is_empty() && image.received.is_empty());
}

#[tokio::test]
async fn pubrel_waits_for_the_store() {
    let gate = Gate::new(100);
    let hub = Plain::over(profile(), gate.clone()).await;
    let (mut raw, _) = hub.join(Hello::durable(5, "c")).await;
    raw.subscribe(&[("t", 2)]).await;
    let mut other = hub.client(5, "other").await;
    other.tell("t", 2, "x").await;
    let id = raw.message().await.id.unwrap();
    gate.permits.forget_permits(usize::MAX);
    raw.ack(0x50, id).await;
    raw.quiet().await;
    assert!(!gate.kept.image().deliveries[0].released);
    gate.open(1);
    assert_eq!(raw.next().await.first, 0x62);
    let image = gate.kept.image();
    assert!(image.deliveries[0].released && image.messages.is_empty(), "its content is not needed any more");
    gate.open(1);
    raw.ack(0x70, id).await;
    while !gate.kept.image().deliveries.is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_gathers_during_a_commit_is_the_next_one_whole() {
    let gate = Gate::new(1000);
    let hub = Plain::over(profile(), gate.clone()).await;
    let mut subs = Vec::new();
    for n in 0..10 {
        let (mut sub, _) = hub.join(Hello::durable(5, &format!("s{n}"))).await;
        sub.subscribe(&[("t", 1)]).await;
        subs.push(sub);
    }
    let mut other = hub.client(5, "other").await;
    gate.permits.forget_permits(usize::MAX);
    let before = gate.commits.load(Ordering::Relaxed);
    other.publish(&Message::new("t", 1, 1, "x")).await;
    gate.begun().await;
    for id in 2..=100 {
        other.publish(&Message::new("t", 1, id, "x")).await;
    }
    other.quiet().await;
    // Nor does a durable session see what could be gone after a restart.
    for sub in &mut subs {
        sub.quiet().await;
    }
    gate.open(2);
    for sub in &mut subs {
        for _ in 1..=100 {
            assert_eq!(sub.message().await.payload, b"x");
        }
    }
    for id in 1..=100 {
        assert_eq!(other.next().await.id(), id);
    }
    assert_eq!(gate.commits.load(Ordering::Relaxed), before + 2, "1000 deliveries in two commits");
    let image = gate.kept.image();
    assert_eq!((image.deliveries.len(), image.messages.len()), (1000, 100), "a message is kept once");
}

#[tokio::test]
async fn a_store_that_fails_is_asked_again_and_nothing_is_acknowledged_meanwhile() {
    let gate = Gate::new(1000);
    let hub = Plain::over(profile(), gate.clone()).await;
    let (mut sub, _) = hub.join(Hello::durable(5, "sub")).await;
    sub.subscribe(&[("t", 1)]).await;
    gate.failing.store(true, Ordering::Relaxed);
    let mut other = hub.client(5, "other").await;
    other.publish(&Message::new("t", 1, 1, "x")).await;
    gate.begun().await;
    gate.begun().await;
    other.quiet().await;
    gate.failing.store(false, Ordering::Relaxed);
    assert_eq!(other.next().await.first, 0x40);
    assert_eq!(gate.kept.image().deliveries.len(), 1);
}

#[tokio::test]
async fn whom_nobody_listens_to_never_waits_for_the_store_of_sessions() {
    let gate = Gate::new(0);
    let hub = Plain::over(profile(), gate.clone()).await;
    let mut raw = hub.client(5, "c").await;
    for qos in 0..3 {
        raw.tell("t", qos, "x").await;
    }
    // Nor does a session that ends with its connection.
    raw.subscribe(&[("t", 2)]).await;
    raw.tell("t", 0, "x").await;
    assert_eq!(raw.payload().await, "x");
    assert_eq!(gate.commits.load(Ordering::Relaxed), 0);
}

/// A hub that was killed: nothing is said or written any more.
async fn kill(hub: Plain) {
    drop(hub.gateway);
    tokio::task::yield_now().await;
}

#[tokio::test]
async fn sessions_are_there_after_a_kill_and_after_a_stop() {
    for killed in [true, false] {
        for version in [4, 5] {
            let store = Arc::new(MemoryBroker::default());
            let hub = Plain::over(profile(), store.clone()).await;
            let (mut sub, _) = hub.join(Hello::durable(version, "sub")).await;
            sub.subscribe(&[("t", 2), ("$share/g/s", 1)]).await;
            let (mut away, _) = hub.join(Hello::durable(version, "away")).await;
            away.subscribe(&[("t", 1)]).await;
            away.leave().await;
            let mut other = hub.client(version, "other").await;
            for (n, qos) in [(1, 1), (2, 2), (3, 2), (4, 0)] {
                other.tell("t", qos, &n.to_string()).await;
                assert_eq!(sub.message().await.payload, n.to_string().as_bytes());
            }
            sub.ack(0x50, 2).await;
            assert_eq!(sub.next().await.first, 0x62);
            if killed {
                kill(hub).await;
            } else {
                let stopping = tokio::spawn(hub.gateway.stop());
                while sub.maybe().await.is_some() {}
                drop((sub, other));
                stopping.await.unwrap();
            }

            let hub = Plain::over(profile(), store.clone()).await;
            let (mut sub, connack) = hub.join(Hello::durable(version, "sub")).await;
            assert!(connack.present());
            assert_eq!((sub.next().await.first, sub.version), (0x62, version));
            for (n, qos) in [(1, 1), (3, 2)] {
                let got = sub.message().await;
                assert_eq!((got.payload, got.id), (n.to_string().into_bytes(), Some(n)));
                assert_eq!((got.qos, got.dup), (qos, true));
            }
            sub.quiet().await;
            let (mut away, connack) = hub.join(Hello::durable(version, "away")).await;
            assert!(connack.present());
            for n in 1..4 {
                let got = away.message().await;
                assert_eq!((got.payload.as_slice(), got.qos), (n.to_string().as_bytes(), 1));
                assert!(!got.dup, "it was never sent");
                away.ack(0x40, got.id.unwrap()).await;
            }
            let mut other = hub.client(version, "other").await;
            other.tell("s", 1, "shared").await;
            assert_eq!(sub.message().await.payload, b"shared");
            other.tell("t", 0, "live").await;
            assert_eq!(away.message().await.payload, b"live");
            // Clean starts leave nothing in the store.
            drop((sub, away));
            for id in ["sub", "away"] {
                hub.client(version, id).await.leave().await;
            }
            hub.gateway.stop().await;
            assert_eq!(store.image(), Image::default());
        }
    }
}

#[tokio::test]
async fn a_will_survives_the_hub() {
    let store = Arc::new(MemoryBroker::default());
    let hub = Plain::over(profile(), store.clone()).await;
    let with_will = |id: &str, delay| Hello {
        will: Some(Will("wills", b"gone", 1, false, four(0x18, delay))),
        ..Hello::durable(5, id)
    };
    let (_back, _) = hub.join(with_will("back", 2)).await;
    let (_lost, _) = hub.join(with_will("lost", 2)).await;
    let (mut watcher, _) = hub.join(Hello::durable(5, "watcher")).await;
    watcher.subscribe(&[("wills", 1)]).await;
    kill(hub).await;
    let hub = Plain::over(profile(), store.clone()).await;
    let (_back, _) = hub.join(with_will("back", 2)).await;
    let (mut watcher, _) = hub.join(Hello::durable(5, "watcher")).await;
    watcher.quiet().await;
    assert_eq!(watcher.payload().await, "gone");
    watcher.quiet().await;
    assert_eq!(store.image().sessions.iter().filter(|s| s.will.is_some()).count(), 1);
}

/// Publisher and subscriber do as the standard says, the hub is killed again and again: every QoS 2
/// message arrives exactly once, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_once_through_kills() {
    const MESSAGES: usize = 120;
    const KILLS: usize = 25;
    /// The disk takes a moment, and a kill may fall before or after it has the changes.
    struct Slow(MemoryBroker);
    #[async_trait]
    impl BrokerStore for Slow {
        async fn load(&self) -> Result<Image, BrokerError> {
            self.0.load().await
        }
        async fn commit(&self, changes: &[Change]) -> Result<(), BrokerError> {
            for applied in [false, true] {
                if applied {
                    self.0.apply(changes);
                }
                tokio::time::sleep(std::time::Duration::from_micros(700)).await;
            }
            Ok(())
        }
    }
    let store = Arc::new(Slow(MemoryBroker::default()));
    let start = async |store: &Arc<Slow>| {
        Gateway::start(profile(), Arc::new(Table), Arc::new(Takes), Arc::<Awaited>::default(), store.clone())
            .await
            .unwrap()
    };
    let mut gateway = start(&store).await;
    let addr = Arc::new(Mutex::new(gateway.mqtt_addr()));
    // Connects until it works: to whichever hub runs.
    let join = {
        let addr = addr.clone();
        async move |id: &'static str| loop {
            let to = *addr.lock().unwrap();
            let Ok(stream) = TcpStream::connect(to).await else {
                tokio::task::yield_now().await;
                continue;
            };
            let mut raw = Raw::over(stream, 5);
            if raw.try_send(&Hello::durable(5, id).bytes()).await && raw.maybe().await.is_some() {
                return raw;
            }
        }
    };
    let mut sub = join("sub").await;
    sub.subscribe(&[("t", 2)]).await;
    let publisher = tokio::spawn({
        let join = join.clone();
        async move {
            let mut raw = join("pub").await;
            for n in 0..MESSAGES {
                let id = u16::try_from(n % 50 + 1).unwrap();
                let mut message = Message::new("t", 2, id, &n.to_string());
                for (bytes, answer) in [(None, 0x50), (Some([0x62, 2, 0, id as u8]), 0x70)] {
                    loop {
                        let sent = match &bytes {
                            None => raw.try_publish(&message).await,
                            Some(pubrel) => raw.try_send(pubrel).await,
                        };
                        let answered = if sent { raw.maybe().await } else { None };
                        match answered {
                            Some(packet) => {
                                assert_eq!((packet.first, packet.id()), (answer, id));
                                break;
                            }
                            None => {
                                raw = join("pub").await;
                                message.dup = true;
                            }
                        }
                    }
                }
            }
        }
    });
    let subscriber = tokio::spawn(async move {
        let (mut got, mut open) = (Vec::new(), HashSet::new());
        while got.len() < MESSAGES || !open.is_empty() {
            let Some(packet) = sub.maybe().await else {
                sub = join("sub").await;
                continue;
            };
            let answer = if packet.first >> 4 == 3 {
                let message = packet.message(5);
                let id = message.id.unwrap();
                if open.insert(id) {
                    got.push(String::from_utf8(message.payload).unwrap());
                }
                [0x50, 2, (id >> 8) as u8, id as u8]
            } else {
                let id = packet.id();
                open.remove(&id);
                [0x70, 2, (id >> 8) as u8, id as u8]
            };
            sub.try_send(&answer).await;
        }
        got
    });
    for _ in 0..KILLS {
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        drop(gateway);
        gateway = start(&store).await;
        *addr.lock().unwrap() = gateway.mqtt_addr();
    }
    tokio::time::timeout(SOON * 3, publisher).await.unwrap().unwrap();
    let got = tokio::time::timeout(SOON * 3, subscriber).await.unwrap().unwrap();
    let expected: Vec<String> = (0..MESSAGES).map(|n| n.to_string()).collect();
    assert_eq!(got, expected);
}
