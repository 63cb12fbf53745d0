//! The disk proved: nothing is acknowledged before it is synced, and a power loss takes nothing
//! that was acknowledged. The negative control is the same hub on a disk whose syncs do nothing.
//!
//! On SQLite: PostgreSQL's disk is PostgreSQL's own, and the hub refuses one with `fsync` off.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sqlx::Connection as _;
use store::testing::TestDatabase;
use testkit::power::{Step, Syncs};
use testkit::{Disk, Running};

use crate::city::BOUND;
use crate::load::{Findings, Ledger, Load, Site, Writer, audit_settled};

async fn site() -> (Site, Disk) {
    let site = Site::with_busy_lake(TestDatabase::sqlite(), 0).await;
    let disk = Disk::new(&site.folder.path().join("shim"), &site.installation.data).unwrap();
    (site, disk)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_loss_takes_nothing_that_was_acknowledged() {
    let seed = store::now().0.unsigned_abs();
    eprintln!("power loss: seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (site, disk) = site().await;
    let under = disk.under(&site.installation, Syncs::Honest);
    let ledger = Arc::new(Ledger::default());
    let mut taken_back = 0;
    for _ in 0..4 {
        let hub = under.serve().await.unwrap();
        let load = Load::start(&site, &hub, &ledger).await;
        tokio::time::sleep(Duration::from_millis(random.random_range(200..900))).await;
        hub.kill().await.unwrap();
        drop(load);
        taken_back += disk.lose_power().unwrap().writes;
    }
    let hub = under.serve().await.unwrap();
    let (samples, tasks) = ledger.acknowledged();
    eprintln!(
        "power loss: {samples} samples, {tasks} task changes acknowledged; {taken_back} writes taken back"
    );
    let findings = audit_settled(&ledger, &site.cleaner(&hub).await).await;
    assert_eq!(findings, Findings::default());
    assert!(samples > 200 && tasks > 4, "{samples} samples and {tasks} task changes are no load");
}

/// The same test must be able to fail: on a disk that acknowledges a sync and does none, what was
/// acknowledged is gone. If this one breaks, the test above proves nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_disk_that_lies_the_same_test_finds_what_is_missing() {
    let (site, disk) = site().await;
    let under = disk.under(&site.installation, Syncs::Lie);
    let ledger = Arc::new(Ledger::default());
    let hub = under.serve().await.unwrap();
    let load = Load::start(&site, &hub, &ledger).await;
    while ledger.acknowledged().0 < 200 || ledger.acknowledged().1 < 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    hub.kill().await.unwrap();
    drop(load);
    let lost = disk.lose_power().unwrap();
    assert!(lost.writes > 0, "nothing was taken back");
    let hub = site.installation.serve().await.unwrap();
    let (samples, tasks) = ledger.acknowledged();
    let findings = audit_settled(&ledger, &site.cleaner(&hub).await).await;
    eprintln!("a disk that lies: {} of {samples} acknowledged samples are gone", findings.samples);
    assert_eq!((findings.samples, findings.tasks), (samples, tasks), "{findings:?}");
}

/// Samples that the log still holds, seen from outside.
async fn in_log(site: &Site) -> usize {
    let path = site.installation.data.join("observations.db");
    let mut log =
        sqlx::SqliteConnection::connect_with(&store::database::sqlite_options(&path)).await.unwrap();
    let sql = "SELECT COALESCE(SUM(rows), 0) FROM segments";
    let (samples,): (i64,) = sqlx::query_as(sql).fetch_one(&mut log).await.unwrap();
    log.close().await.unwrap();
    usize::try_from(samples).unwrap()
}

/// What the lake's table has taken in leaves the log: from then on the table's own syncs are what
/// an acknowledgement rests on. With a disk that lies below `lake/` only, the test must fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_left_the_log_for_the_table_survives_a_power_loss() {
    for syncs in [Syncs::Honest, Syncs::LieInLake] {
        let (site, disk) = site().await;
        let under = disk.under(&site.installation, syncs);
        let ledger = Arc::new(Ledger::default());
        let hub = under.serve().await.unwrap();
        let load = Load::start(&site, &hub, &ledger).await;
        while ledger.acknowledged().0 < 1000 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drop(load);
        // Stopping in order puts down the last values, which the log waits for.
        assert!(hub.stop().await.unwrap());
        let hub = under.serve().await.unwrap();
        let acknowledged = ledger.acknowledged().0;
        let deadline = Instant::now() + BOUND;
        while in_log(&site).await >= acknowledged / 2 {
            assert!(Instant::now() < deadline, "the log keeps {} of {acknowledged}", in_log(&site).await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        hub.kill().await.unwrap();
        disk.lose_power().unwrap();
        let hub = site.installation.serve().await.unwrap();
        let findings = audit_settled(&ledger, &site.cleaner(&hub).await).await;
        match syncs {
            Syncs::Honest => assert_eq!(findings, Findings::default()),
            _ => {
                eprintln!(
                    "a lake that lies: {} of {acknowledged} acknowledged samples are gone",
                    findings.samples
                );
                assert!(findings.samples > 0, "the test cannot tell");
            }
        }
    }
}

/// What one connection has sent and been sent, as MQTT packets.
#[derive(Default)]
struct Line {
    read: Vec<u8>,
    sent: Vec<u8>,
}

/// The whole packets at the front of `bytes`: first byte and packet identifier of each.
fn packets(bytes: &mut Vec<u8>) -> Vec<(u8, u16)> {
    let mut found = Vec::new();
    loop {
        let (mut length, mut head) = (0usize, 1);
        loop {
            let Some(byte) = bytes.get(head) else { return found };
            length |= usize::from(byte & 0x7f) << (7 * (head - 1));
            head += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        if bytes.len() < head + length {
            return found;
        }
        let packet: Vec<u8> = bytes.drain(..head + length).collect();
        let body = &packet[head..];
        let two = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
        let id = match packet[0] >> 4 {
            // PUBLISH of QoS 1: after the topic.
            3 if packet[0] & 0b110 != 0 => two(2 + usize::from(two(0))),
            4 => two(0),
            _ => 0,
        };
        found.push((packet[0], id));
    }
}

/// Which acknowledgements left, and which of them before a sync of the observations that covers
/// writes begun after their message had been read: PUBACKs, and 204 for line protocol.
#[derive(Default)]
struct Order {
    pubacks: usize,
    written: usize,
    early: Vec<String>,
}

fn order(steps: &[Step], mqtt: u16, http: u16) -> Order {
    let mut lines: HashMap<u32, Line> = HashMap::new();
    let mut pages: HashSet<u32> = HashSet::new();
    // When each unacknowledged message had been read, in steps; a body of line protocol is number 0.
    let mut read_at: HashMap<(u32, u16), usize> = HashMap::new();
    // Where the writes began that each sync covers.
    let mut covered: Vec<usize> = Vec::new();
    let mut wrote: Option<usize> = None;
    let mut order = Order::default();
    for (now, step) in steps.iter().enumerate() {
        match step {
            Step::Accepted { connection, port } if *port == mqtt => {
                lines.insert(*connection, Line::default());
            }
            Step::Accepted { connection, port } if *port == http => {
                pages.insert(*connection);
            }
            Step::Accepted { .. } => {}
            Step::Wrote => wrote = wrote.or(Some(now)),
            Step::Synced => covered.extend(wrote.take()),
            Step::Read { connection, bytes } => {
                if let Some(line) = lines.get_mut(connection) {
                    line.read.extend_from_slice(bytes);
                    let messages = packets(&mut line.read).into_iter().filter(|(kind, _)| kind >> 4 == 3);
                    read_at.extend(messages.map(|(_, id)| ((*connection, id), now)));
                } else if pages.contains(connection) {
                    // A body may come after its head, in pieces: the last of them counts.
                    if bytes.starts_with(b"POST /api/v2/write") || read_at.contains_key(&(*connection, 0)) {
                        read_at.insert((*connection, 0), now);
                    }
                }
            }
            Step::Sent { connection, bytes } => {
                let mut acknowledged = Vec::new();
                if let Some(line) = lines.get_mut(connection) {
                    line.sent.extend_from_slice(bytes);
                    let pubacks = packets(&mut line.sent).into_iter().filter(|(kind, _)| *kind == 0x40);
                    acknowledged.extend(pubacks.map(|(_, id)| id));
                    order.pubacks += acknowledged.len();
                } else if bytes.starts_with(b"HTTP/1.1 204") && read_at.contains_key(&(*connection, 0)) {
                    acknowledged.push(0);
                    order.written += 1;
                }
                for id in acknowledged {
                    let read = read_at.remove(&(*connection, id));
                    // Syncs are in order: the last one's writes began last.
                    if read.is_none_or(|read| covered.last().is_none_or(|first| *first <= read)) {
                        order.early.push(format!("step {now}: {id} on connection {connection}"));
                    }
                }
            }
        }
    }
    order
}

/// One message in flight in the whole hub: read, written, synced, acknowledged, in this order, and
/// nothing of another message in between that could stand in for it.
async fn one_by_one(site: &Site, hub: &Running, messages: usize) {
    let ledger = Ledger::default();
    let device = site.device(hub, "bin-4").await;
    let writer = Writer::new(site, hub);
    for _ in 0..messages {
        assert!(ledger.publish(&device, 4.0).await);
        assert!(ledger.write(&writer, "bin-9").await);
    }
}

fn ports(hub: &Running) -> (u16, u16) {
    (hub.mqtt.port(), hub.url.rsplit(':').next().unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledgement_is_written_before_the_sync_of_its_batch_returned() {
    let (site, disk) = site().await;
    for syncs in [Syncs::Honest, Syncs::Lie] {
        let hub = disk.under(&site.installation, syncs).serve().await.unwrap();
        let (mqtt, http) = ports(&hub);
        one_by_one(&site, &hub, 100).await;
        hub.kill().await.unwrap();
        let steps = disk.steps().unwrap();
        let Order { pubacks, written, early } = order(&steps, mqtt, http);
        assert_eq!((pubacks, written), (100, 100));
        if syncs == Syncs::Lie {
            // The negative control: a sync that is none counts for none.
            assert_eq!(early.len(), 200);
        } else {
            assert!(early.is_empty(), "acknowledged before the sync: {early:?}");
        }
        disk.forget().unwrap();
    }
    // Under load, many a commit and many a line at once.
    let hub = disk.under(&site.installation, Syncs::Honest).serve().await.unwrap();
    let (mqtt, http) = ports(&hub);
    let ledger = Arc::new(Ledger::default());
    let load = Load::start(&site, &hub, &ledger).await;
    while ledger.acknowledged().0 < 3000 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    hub.kill().await.unwrap();
    drop(load);
    let Order { pubacks, written, early } = order(&disk.steps().unwrap(), mqtt, http);
    assert!(pubacks >= 500 && written >= 20, "{pubacks} PUBACKs and {written} bodies are no load");
    assert!(early.is_empty(), "acknowledged before the sync: {early:?}");
}

/// The reader of the log is itself tried: acknowledgements out of order are found.
#[test]
fn an_early_acknowledgement_is_found() {
    let publish = |id: u8| Step::Read { connection: 1, bytes: vec![0x32, 5, 0, 1, b't', 0, id] };
    let puback = |id: u8| Step::Sent { connection: 1, bytes: vec![0x40, 2, 0, id] };
    let accepted = Step::Accepted { connection: 1, port: 1883 };
    let (wrote, synced) = (Step::Wrote, Step::Synced);
    for (steps, early) in [
        (vec![publish(1), wrote.clone(), synced.clone(), puback(1)], 0),
        (vec![publish(1), wrote.clone(), puback(1), synced.clone()], 1),
        (vec![publish(1), puback(1)], 1),
        // The sync of an earlier batch, during which the message came, is not its own.
        (vec![wrote.clone(), publish(1), synced.clone(), puback(1)], 1),
        (vec![publish(1), wrote.clone(), synced.clone(), publish(2), puback(1), puback(2)], 1),
        (vec![publish(1), publish(2), wrote, synced, puback(1), puback(2)], 0),
    ] {
        let steps: Vec<Step> = std::iter::once(accepted.clone()).chain(steps).collect();
        assert_eq!(order(&steps, 1883, 8080).early.len(), early, "{steps:?}");
    }
}
