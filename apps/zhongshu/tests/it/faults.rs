//! The faults of docs/operations.md, each made to happen to the real binary.
//!
//! `crash.rs` and `disk.rs` have two of them (the process, the machine's power); the gateway's own
//! tests have those that are between it and one client.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use citysim::client::{Device, Options, PublishError, Status};
use model::Micros;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, SqlSafeStr as _};
use store::Backend;
use store::testing::TestDatabase;
use testkit::{Disk, Running};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::city::{BOUND, task, until};
use crate::load::{Findings, Ledger, Load, Site, all, audit_settled, stored};

/// Waits until `good`, for as long as tests wait.
async fn eventually<F: Future<Output = bool>>(what: &str, mut good: impl FnMut() -> F) {
    let deadline = Instant::now() + BOUND;
    while !good().await {
        assert!(Instant::now() < deadline, "{what} did not happen within {BOUND:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn nothing_is_missing(site: &Site, hub: &Running, ledger: &Ledger) {
    let findings = audit_settled(ledger, &site.cleaner(hub).await).await;
    assert_eq!(findings, Findings::default());
}

/// Devices go on sending over what happens in between, and a sample counts when it was acknowledged.
async fn send(ledger: &Ledger, device: &Device, count: usize) {
    for _ in 0..count {
        assert!(ledger.publish(device, 4.0).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_acknowledges_nothing_and_mends_itself() {
    let site = Site::with_busy_lake(TestDatabase::sqlite(), 0).await;
    let disk = Disk::new(&site.folder.path().join("shim"), &site.installation.data).unwrap();
    let (installation, control) = disk.controlled(&site.installation).unwrap();
    let hub = installation.serve().await.unwrap();
    let cleaner = site.cleaner(&hub).await;
    let ledger = Arc::new(Ledger::default());
    let device = Arc::new(site.device(&hub, "bin-4").await);
    send(&ledger, &device, 20).await;

    control.full(true).unwrap();
    // The log is written over from its beginning until it has to grow.
    let flood = {
        let (ledger, device) = (ledger.clone(), device.clone());
        tokio::spawn(async move { send(&ledger, &device, 2000).await })
    };
    eventually("a refusal", async || hub.metric("zhongshu_mqtt_not_stored_total").await.unwrap() > 0.0).await;
    // What is read is read; what changes is refused, and says so.
    assert!(cleaner.get("/api/v1/alerts").await.is_ok());
    eventually("503", async || {
        let body = json!({ "login": "cleaner", "password": site.password });
        cleaner.call("POST", "/api/v1/session", Some(body)).await.unwrap().0 == 503
    })
    .await;
    let held = ledger.acknowledged().0;

    let began = Instant::now();
    control.full(false).unwrap();
    eventually("an acknowledgement", async || ledger.acknowledged().0 > held).await;
    eprintln!(
        "disk full: {:.1} s after there is room samples are taken again",
        began.elapsed().as_secs_f64()
    );
    flood.await.unwrap();
    eventually("a change", async || site.cleaner_if(&hub).await.is_some()).await;
    nothing_is_missing(&site, &hub, &ledger).await;
    // And what it wrote is on disk.
    hub.kill().await.unwrap();
    disk.lose_power().unwrap();
    let hub = installation.serve().await.unwrap();
    nothing_is_missing(&site, &hub, &ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_slows_the_senders_and_loses_nothing() {
    let site = Site::with_busy_lake(TestDatabase::sqlite(), 0).await;
    let disk = Disk::new(&site.folder.path().join("shim"), &site.installation.data).unwrap();
    let (installation, control) = disk.controlled(&site.installation).unwrap();
    let hub = installation.serve().await.unwrap();
    let ledger = Arc::new(Ledger::default());
    let device = site.device(&hub, "bin-4").await;
    send(&ledger, &device, 5).await;
    control.slow(200_000).unwrap();
    let began = Instant::now();
    send(&ledger, &device, 5).await;
    // Five commits one after the other, each held up by its sync: none was acknowledged before it.
    assert!(began.elapsed() > Duration::from_millis(5 * 200));
    let load = Load::start(&site, &hub, &ledger).await;
    let before = ledger.acknowledged();
    eventually("work under a slow disk", async || {
        let now = ledger.acknowledged();
        now.0 > before.0 + 100 && now.1 > before.1
    })
    .await;
    assert!(hub.metric("zhongshu_segment_commit_seconds_sum").await.unwrap() > 1.0);
    control.slow(0).unwrap();
    drop(load);
    nothing_is_missing(&site, &hub, &ledger).await;
}

/// A way to the database server that can be cut.
struct Line {
    url: String,
    cut: Arc<AtomicBool>,
}

impl Line {
    async fn to(url: &str) -> Self {
        let (head, tail) = url.split_once('@').unwrap();
        let (server, database) = tail.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{head}@{}/{database}", listener.local_addr().unwrap());
        let cut = Arc::new(AtomicBool::new(false));
        let (server, is_cut) = (server.to_owned(), cut.clone());
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (server, cut) = (server.clone(), is_cut.clone());
                tokio::spawn(async move {
                    if cut.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(mut far) = TcpStream::connect(server).await else { return };
                    let gone = async {
                        while !cut.load(Ordering::SeqCst) {
                            tokio::time::sleep(Duration::from_millis(10)).await;
                        }
                    };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        () = gone => {}
                    }
                });
            }
        });
        Self { url, cut }
    }
}

/// How long the database server is away.
const AWAY: Duration = Duration::from_secs(60);

/// Starts the hub again and again, as a supervisor does, until it stays; how often it did not.
async fn supervise(site: &Site) -> (Running, usize) {
    let deadline = Instant::now() + AWAY + BOUND;
    for failed in 0.. {
        match site.installation.serve().await {
            Ok(hub) => return (hub, failed),
            Err(e) => assert!(Instant::now() < deadline, "the hub does not start again: {e}"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    unreachable!()
}

/// A server of PostgreSQL stopped under load, as a crash stops it, away for a minute, and back: the
/// hub ends rather than write beside another, and the supervisor's starts come to an end when it is
/// back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_gone_for_a_minute_loses_nothing() {
    if std::env::var_os(store::testing::POSTGRES).is_none() {
        eprintln!("SKIPPED: {} is not set (make test sets it)", store::testing::POSTGRES);
        return;
    }
    let mut server = testkit::postgres::Server::start().unwrap();
    let mut site = Site::with_busy_lake(TestDatabase::on(&server.url()).await, 0).await;
    // Each start that fails says so: that much noise belongs into a file.
    site.installation.log_file = Some(site.folder.path().join("hub.log"));
    let mut hub = site.installation.serve().await.unwrap();
    let ledger = Arc::new(Ledger::default());
    let load = Load::start(&site, &hub, &ledger).await;
    eventually("load", async || ledger.acknowledged().0 > 300).await;
    let began = Instant::now();
    server.stop().unwrap();
    assert!(!hub.ended().await.unwrap(), "a hub without its database ends with an error");
    let ended = began.elapsed();
    drop(load);
    let acknowledged = ledger.acknowledged();

    let back = async {
        tokio::time::sleep_until((began + AWAY).into()).await;
        server.start_again().unwrap();
        Instant::now()
    };
    let ((hub, failed), back) = tokio::join!(supervise(&site), back);
    eprintln!(
        "database gone for {AWAY:?}: the hub ended after {:.1} s, {failed} starts failed, work again {:.1} s after the \
         server was back",
        ended.as_secs_f64(),
        back.elapsed().as_secs_f64()
    );
    assert!(failed > 0, "a start without a database does not succeed");
    assert_eq!(ledger.acknowledged(), acknowledged);
    nothing_is_missing(&site, &hub, &ledger).await;
    let load = Load::start(&site, &hub, &ledger).await;
    eventually("load again", async || ledger.acknowledged().0 > acknowledged.0 + 100).await;
    drop(load);
    nothing_is_missing(&site, &hub, &ledger).await;
    hub.kill().await.unwrap();
}

/// The network to the server cut and mended: the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_cannot_be_reached_for_a_while_loses_nothing() {
    let Some(database) = TestDatabase::postgres().await else { return };
    let mut site = Site::new(database, 0).await;
    let line = Line::to(site.installation.database.as_ref().unwrap()).await;
    site.installation.database = Some(line.url.clone());
    let mut hub = site.installation.serve().await.unwrap();
    let ledger = Arc::new(Ledger::default());
    let load = Load::start(&site, &hub, &ledger).await;
    eventually("load", async || ledger.acknowledged().0 > 300).await;
    let began = Instant::now();
    line.cut.store(true, Ordering::SeqCst);
    // Nothing is acknowledged from now on: what was on its way may still be.
    assert!(!hub.ended().await.unwrap(), "a hub without its database ends with an error");
    eprintln!("database gone: the hub ended after {:.1} s", began.elapsed().as_secs_f64());
    drop(load);
    // While it is away a start fails and says why; a supervisor tries again.
    assert!(site.installation.serve().await.is_err());
    line.cut.store(false, Ordering::SeqCst);
    let hub = site.installation.serve().await.unwrap();
    eprintln!("database back: ready after {:.1} s", hub.ready_after.as_secs_f64());
    nothing_is_missing(&site, &hub, &ledger).await;
    let load = Load::start(&site, &hub, &ledger).await;
    let before = ledger.acknowledged().0;
    eventually("load again", async || ledger.acknowledged().0 > before + 100).await;
    drop(load);
    nothing_is_missing(&site, &hub, &ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_stepped_back_loses_nothing_and_judging_goes_on() {
    let site = Site::new(TestDatabase::sqlite(), 0).await;
    let disk = Disk::new(&site.folder.path().join("shim"), &site.installation.data).unwrap();
    let (installation, control) = disk.controlled(&site.installation).unwrap();
    let hub = installation.serve().await.unwrap();
    let cleaner = site.cleaner(&hub).await;
    let ledger = Ledger::default();
    let device = site.device(&hub, "bin-1").await;
    for value in [4.0, 3.0, 4.0] {
        assert!(ledger.publish(&device, value).await);
    }
    let done = task(&cleaner, "change").await;

    control.clock(-Micros::HOUR).unwrap();
    // By the hub's clock these come from the future: kept, acknowledged, not judged.
    for value in [3.0, 4.0] {
        assert!(ledger.publish(&device, value).await);
    }
    // People go on: their session holds, a task is completed, a log-in works.
    let path = format!("/api/v1/tasks/{}/complete", done["id"].as_str().unwrap());
    let body = json!({ "values": { "outcome": "changed" } });
    assert_eq!(cleaner.call("POST", &path, Some(body)).await.unwrap().0, 200);
    site.cleaner(&hub).await;
    // A start by the wrong clock finds everything too.
    hub.kill().await.unwrap();
    let hub = installation.serve().await.unwrap();
    let cleaner = site.cleaner(&hub).await;
    assert_eq!(all(&cleaner, "/api/v1/alerts").await.len(), 1);

    control.clock(0).unwrap();
    let device = site.device(&hub, "bin-1").await;
    for value in [4.0, 3.0] {
        assert!(ledger.publish(&device, value).await);
    }
    until(&cleaner, "/api/v1/alerts", |page| (page["items"].as_array()?.len() == 2).then_some(())).await;
    hub.kill().await.unwrap();
    let hub = installation.serve().await.unwrap();
    // What came while the clock was wrong is stored and flagged; curves leave it out, so that what
    // is compared is the rest.
    let known: BTreeSet<Micros> =
        stored(&site.cleaner(&hub).await, "bin-1").await.iter().map(|(t, _)| *t).collect();
    let sent = ledger.sent("bin-1");
    assert_eq!(sent.len(), 7);
    for at in [0, 1, 2, 5, 6] {
        assert!(known.contains(&sent[at]), "sample {at}");
    }
    assert_eq!(segments(&site).await, 7);
}

/// How many samples the segments hold.
async fn segments(site: &Site) -> i64 {
    let path = site.installation.data.join("observations.db");
    let mut log =
        sqlx::SqliteConnection::connect_with(&store::database::sqlite_options(&path)).await.unwrap();
    let (samples,): (i64,) =
        sqlx::query_as("SELECT SUM(rows) FROM segments").fetch_one(&mut log).await.unwrap();
    samples
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_does_not_read_holds_up_nobody() {
    let site = Site::new(TestDatabase::sqlite(), 0).await;
    let hub = site.installation.serve().await.unwrap();
    let cleaner = site.cleaner(&hub).await;
    // Opened and never read.
    let mut deaf = Vec::new();
    for _ in 0..8 {
        deaf.push(cleaner.events(None).await.unwrap());
    }
    let ledger = Arc::new(Ledger::default());
    let load = Load::start(&site, &hub, &ledger).await;
    eventually("work", async || ledger.acknowledged().0 > 1000 && ledger.acknowledged().1 > 10).await;
    // Who reads hears what happens now.
    let mut events = cleaner.events(None).await.unwrap();
    events.wait_for("task.opened", BOUND).await.unwrap();
    drop(load);
    nothing_is_missing(&site, &hub, &ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_one_device_leaves_the_others_their_turn() {
    let site = Site::new(TestDatabase::sqlite(), 0).await;
    let hub = site.installation.serve().await.unwrap();
    let ledger = Arc::new(Ledger::default());
    let mut options = Options::new(hub.mqtt, "bin-4", &site.secrets["bin-4"]);
    options.window = 128;
    let flooder = Arc::new(Device::start(options));
    let mut flood = JoinSet::new();
    for _ in 0..128 {
        let (ledger, device) = (ledger.clone(), flooder.clone());
        flood.spawn(async move { while ledger.publish(&device, 4.0).await {} });
    }
    eventually("a flood", async || ledger.acknowledged().0 > 500).await;
    let calm = site.device(&hub, "bin-1").await;
    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        let began = Instant::now();
        assert!(ledger.publish(&calm, 4.0).await);
        slowest = slowest.max(began.elapsed());
    }
    drop(flood);
    eprintln!("flood of one device: another's slowest acknowledgement took {slowest:?}");
    assert!(slowest < BOUND / 2, "another device waited {slowest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_flood_is_kept_within_bounds_and_harms_nobody() {
    let site = Site::new(TestDatabase::sqlite(), 0).await;
    let hub = site.installation.serve().await.unwrap();
    let ledger = Arc::new(Ledger::default());
    let mad = Arc::new(site.device(&hub, "bin-4").await);
    let mut flood = JoinSet::new();
    for lane in 0..24 {
        let mad = mad.clone();
        flood.spawn(async move {
            for i in 0..500 {
                let refused = mad.publish("battery", format!("{{\"v\": nonsense {lane} {i}")).await;
                assert!(matches!(refused, Err(PublishError::Refused(_))), "{refused:?}");
            }
        });
    }
    let calm = site.device(&hub, "bin-1").await;
    send(&ledger, &calm, 50).await;
    while let Some(lane) = flood.join_next().await {
        lane.unwrap();
    }
    assert!(hub.metric("zhongshu_mqtt_unreadable_total").await.unwrap() >= 12_000.0);
    nothing_is_missing(&site, &hub, &ledger).await;
    // 12,000 came; what is kept to look at is bounded.
    hub.kill().await.unwrap();
    let mut state = sqlx::SqliteConnection::connect_with(&store::database::sqlite_options(
        &site.installation.data.join("state.db"),
    ))
    .await
    .unwrap();
    let (kept,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM unreadable").fetch_one(&mut state).await.unwrap();
    assert!((9_000..=11_000).contains(&kept), "{kept} unreadable payloads are kept");
}

/// CONNECT of MQTT 3.1.1 with keep-alive 0: this one never speaks again.
fn connect(client: &str, thing: &str, secret: &str) -> Vec<u8> {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 0b1100_0010, 0, 0];
    for text in [client, thing, secret] {
        body.extend((text.len() as u16).to_be_bytes());
        body.extend(text.as_bytes());
    }
    let mut packet = vec![0x10];
    let mut length = body.len();
    loop {
        let byte = (length % 128) as u8;
        length /= 128;
        packet.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

/// As many idle connections as this process may open, 10,000 where the limit of open files allows:
/// eight a thing, which is what a thing may hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections_leave_the_hub_responsive() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum.map_or(Some(1 << 16), |hard| Some(hard.min(1 << 16)));
    setrlimit(Resource::Nofile, limit).unwrap();
    let open = getrlimit(Resource::Nofile).current.unwrap_or(1 << 16) as usize;
    let connections = 9_984.min(open.saturating_sub(1000) / 8 * 8);
    if connections < 9_984 {
        eprintln!("only {connections} connections: the limit of open files is {open}");
    }
    let site = Site::new(TestDatabase::sqlite(), connections / 8).await;
    let hub = site.installation.serve().await.unwrap();
    let began = Instant::now();
    let mut opening = JoinSet::new();
    for lane in 0..16 {
        let things: Vec<(String, String)> = (1..=connections / 8)
            .filter(|i| i % 16 == lane)
            .map(|i| format!("old-{i}"))
            .map(|thing| (thing.clone(), site.secrets[&thing].clone()))
            .collect();
        let address = hub.mqtt;
        opening.spawn(async move {
            let mut opened = Vec::new();
            for (thing, secret) in things {
                for number in 0..8 {
                    let mut socket = TcpStream::connect(address).await.unwrap();
                    socket.write_all(&connect(&format!("{thing}-{number}"), &thing, &secret)).await.unwrap();
                    let mut answer = [0; 4];
                    socket.read_exact(&mut answer).await.unwrap();
                    assert_eq!(answer, [0x20, 2, 0, 0], "{thing}");
                    opened.push(socket);
                }
            }
            opened
        });
    }
    let idle: Vec<TcpStream> = opening.join_all().await.into_iter().flatten().collect();
    assert_eq!(idle.len(), connections);
    let rss = std::fs::read_to_string(format!("/proc/{}/status", hub.pid().unwrap())).unwrap();
    let rss = rss.lines().find(|l| l.starts_with("VmRSS")).unwrap_or_default();
    eprintln!("{connections} idle connections after {:.1} s; {rss}", began.elapsed().as_secs_f64());
    assert!(hub.metric("zhongshu_mqtt_connections").await.unwrap() >= connections as f64);
    let ledger = Arc::new(Ledger::default());
    let device = site.device(&hub, "bin-1").await;
    send(&ledger, &device, 20).await;
    nothing_is_missing(&site, &hub, &ledger).await;
    // All of them are still there.
    assert!(hub.metric("zhongshu_mqtt_connections").await.unwrap() >= connections as f64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_are_refused_alike_and_counted() {
    let site = Site::new(TestDatabase::sqlite(), 0).await;
    let hub = site.installation.serve().await.unwrap();
    let mut answers = Vec::new();
    for (thing, secret) in
        [("bin-1", "wrong"), ("no-such-bin", "wrong"), ("bin-2", site.secrets["bin-1"].as_str())]
    {
        let mut device = Device::start(Options::new(hub.mqtt, thing, secret));
        let Status::Lost(reason) = device.settled().await else { panic!("{thing} was let in") };
        answers.push(reason);
    }
    // Nobody learns which of the two was wrong.
    assert!(answers.iter().all(|a| *a == answers[0] && a.contains("BadUserNamePassword")), "{answers:?}");
    assert!(hub.metric("zhongshu_mqtt_refused_total").await.unwrap() >= 3.0);
    let ledger = Ledger::default();
    send(&ledger, &site.device(&hub, "bin-1").await, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_segment_is_named_and_the_rest_goes_on() {
    for database in TestDatabase::each().await {
        let site = Site::new(database, 0).await;
        let hub = site.installation.serve().await.unwrap();
        let ledger = Ledger::default();
        let device = site.device(&hub, "bin-4").await;
        send(&ledger, &device, 10).await;
        hub.kill().await.unwrap();
        // The disk flips bits in the fifth of ten segments.
        let flipped = match site.backend() {
            Backend::Sqlite { path } => {
                let path = path.with_file_name("observations.db");
                let options = store::database::sqlite_options(&path);
                let mut c = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
                let (seq, mut bytes): (i64, Vec<u8>) =
                    sqlx::query_as("SELECT seq, arrow_ipc FROM segments ORDER BY seq LIMIT 1 OFFSET 4")
                        .fetch_one(&mut c)
                        .await
                        .unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 0x10;
                let sql = "UPDATE segments SET arrow_ipc = $1 WHERE seq = $2";
                sqlx::query(sql).bind(bytes).bind(seq).execute(&mut c).await.unwrap();
                c.close().await.unwrap();
                seq
            }
            Backend::Postgres { url } => {
                let mut c = sqlx::PgConnection::connect(&url).await.unwrap();
                let sql = "UPDATE segments SET arrow_ipc = set_byte(arrow_ipc, length(arrow_ipc) / 2,
                        get_byte(arrow_ipc, length(arrow_ipc) / 2) # 16)
                    WHERE seq = (SELECT seq FROM segments ORDER BY seq LIMIT 1 OFFSET 4) RETURNING seq";
                let sql = AssertSqlSafe(sql.to_owned()).into_sql_str();
                let (seq,): (i64,) = sqlx::query_as(sql).fetch_one(&mut c).await.unwrap();
                c.close().await.unwrap();
                seq
            }
        };
        let log = site.folder.path().join("log");
        let mut installation = site.installation.clone();
        installation.log = "warn".into();
        installation.log_file = Some(log.clone());
        let hub = installation.serve().await.unwrap();
        let said = std::fs::read_to_string(&log).unwrap();
        assert!(said.contains("a segment is damaged") && said.contains(&format!("seq={flipped}")), "{said}");
        assert!(hub.metric("zhongshu_segments_damaged_total").await.unwrap() >= 1.0);
        let cleaner = site.cleaner(&hub).await;
        assert_eq!(stored(&cleaner, "bin-4").await.len(), 9, "the other nine are there");
        let device = site.device(&hub, "bin-4").await;
        send(&ledger, &device, 3).await;
        assert_eq!(stored(&cleaner, "bin-4").await.len(), 12);
        hub.kill().await.unwrap();
    }
}

/// Every row of the table names what is seen, what may be lost, how long it takes, a metric that
/// the code has, and a test that exists.
#[test]
fn every_row_of_the_fault_table_has_its_metric_and_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = std::fs::read_to_string(root.join("docs/operations.md")).unwrap();
    let section = text.split("\n## ").find(|s| s.starts_with("Faults")).expect("a section Faults");
    let rows: Vec<Vec<&str>> = section
        .lines()
        .filter(|line| line.starts_with("| "))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    assert_eq!(rows[0], ["fault", "the operator sees", "may be lost", "recovery", "metric", "test"]);
    let sources = sources(&root);
    let mut faults = BTreeSet::new();
    for row in &rows[1..] {
        let [fault, seen, lost, recovery, metrics, tests] = row[..] else { panic!("{row:?}") };
        assert!(faults.insert(fault), "{fault} stands twice");
        assert!([seen, lost, recovery].iter().all(|cell| !cell.is_empty()), "{fault}");
        let quoted = |cell: &str| -> Vec<String> {
            cell.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect()
        };
        let metrics = quoted(metrics);
        assert!(!metrics.is_empty(), "{fault} has no metric");
        for metric in metrics {
            let name = format!("\"{}\"", metric.split('{').next().unwrap());
            assert!(sources.iter().any(|s| s.contains(&name)), "{fault}: no metric {metric}");
        }
        let tests = quoted(tests);
        assert!(!tests.is_empty(), "{fault} has no test");
        for test in tests {
            let (file, function) = test.split_once("::").unwrap_or_else(|| panic!("{fault}: {test}"));
            let source =
                std::fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{fault}: {file}: {e}"));
            assert!(source.contains(&format!("fn {function}(")), "{fault}: {file} has no test {function}");
        }
    }
    for fault in [
        "process killed",
        "machine's power lost",
        "disk full",
        "database gone",
        "clock stepped back",
        "slow",
        "reader",
        "flood of one device",
        "malformed flood",
        "idle connections",
        "wrong credentials",
        "another's topic",
        "oversize packet",
        "segment corrupted",
    ] {
        assert!(faults.iter().any(|f| f.contains(fault)), "no row for: {fault}");
    }
}

/// The Rust sources that hold metrics.
fn sources(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.join("crates"), root.join("apps/zhongshu/src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    found
}
