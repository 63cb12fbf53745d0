//! A lake in an object store that speaks S3: PyPI's `moto`, as a process of its own.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use store::testing::TestDatabase;
use testkit::Running;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::load::{Findings, Ledger, Load, Site, audit_settled};

/// For as long as anything here may take: a slow store's round, and a dead one's patience.
const BOUND: Duration = Duration::from_secs(120);
const BUCKET: &str = "city-lake";
/// What signs a request; the store does not check it.
const SIGNED: &str =
    "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";

/// An object store with an empty bucket.
struct ObjectStore {
    _process: Child,
    address: std::net::SocketAddr,
}

fn python() -> PathBuf {
    let named = std::env::var_os("ZHONGSHU_PYTHON").map(PathBuf::from);
    named.unwrap_or_else(|| "target/python/bin/python".into())
}

impl ObjectStore {
    /// `None`, said on standard error, where there is no `moto`.
    async fn start() -> Option<Self> {
        let python = python();
        let there =
            Command::new(&python).args(["-c", "import moto.server"]).stderr(Stdio::null()).status().await;
        if !there.is_ok_and(|s| s.success()) {
            eprintln!("SKIPPED: no moto under {} (set ZHONGSHU_PYTHON)", python.display());
            return None;
        }
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = Command::new(&python);
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &address.port().to_string()]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let store = Self { _process: command.spawn().unwrap(), address };
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let deadline = Instant::now() + BOUND;
        let bucket = format!("http://{address}/{BUCKET}");
        while !http
            .put(&bucket)
            .header("authorization", SIGNED)
            .send()
            .await
            .is_ok_and(|a| a.status().is_success())
        {
            assert!(Instant::now() < deadline, "the object store does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(store)
    }
}

/// A way to the object store on which every answer can be made to take longer, and which can be cut.
struct Way {
    address: std::net::SocketAddr,
    delay: Arc<AtomicU64>,
    cut: Arc<AtomicBool>,
}

impl Way {
    async fn to(store: &ObjectStore) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (delay, cut) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (far, slow, gone) = (store.address, delay.clone(), cut.clone());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (slow, gone) = (slow.clone(), gone.clone());
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(far).await else { return };
                    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                    let at_once = AtomicU64::new(0);
                    tokio::select! {
                        () = pass(near_in, far_out, &at_once, &gone) => {}
                        () = pass(far_in, near_out, &slow, &gone) => {}
                    }
                });
            }
        });
        Self { address, delay, cut }
    }

    fn slow(&self, delay: Duration) {
        self.delay.store(delay.as_millis().try_into().unwrap(), Ordering::SeqCst);
    }
}

/// Passes on what comes, each piece late by `delay` milliseconds, until an end or a cut.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: &AtomicU64, cut: &AtomicBool) {
    let mut piece = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        tokio::time::sleep(Duration::from_millis(delay.load(Ordering::SeqCst))).await;
        if cut.load(Ordering::SeqCst) || to.write_all(&piece[..read]).await.is_err() {
            return;
        }
    }
}

/// The city of bins, its lake in the store.
async fn site(database: TestDatabase, store: std::net::SocketAddr) -> Site {
    let mut site = Site::with_busy_lake(database, 0).await;
    for (name, value) in [
        ("ZHONGSHU_LAKE", format!("s3://{BUCKET}/zhongshu")),
        ("ZHONGSHU_LAKE_OPTIMISE_EVERY", "2s".to_owned()),
        ("AWS_ENDPOINT_URL", format!("http://{store}")),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
    ] {
        site.installation = site.installation.variable(name, value);
    }
    site
}

async fn reaches(what: &str, mut enough: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + BOUND;
    while !enough().await {
        assert!(Instant::now() < deadline, "{what} did not happen within {BOUND:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn nothing_is_missing(site: &Site, hub: &Running, ledger: &Ledger) {
    assert_eq!(audit_settled(ledger, &site.cleaner(hub).await).await, Findings::default());
}

async fn all_taken_in(hub: &Running) {
    let waiting = async || hub.metric("zhongshu_lake_waiting_rows").await.unwrap();
    let taken = async || hub.metric("zhongshu_lake_rows").await.unwrap();
    reaches("everything is in the table", async || taken().await > 0.0 && waiting().await == 0.0).await;
}

/// How many rows another engine finds in the table, how many of them of distinct instants.
async fn read_by_another(store: &ObjectStore) -> (usize, usize) {
    const READER: &str = "
import sys, deltalake
t = deltalake.DeltaTable(sys.argv[1], storage_options={'AWS_ENDPOINT_URL': sys.argv[2], 'AWS_ALLOW_HTTP': 'true',
    'AWS_REGION': 'us-east-1', 'AWS_ACCESS_KEY_ID': 'test', 'AWS_SECRET_ACCESS_KEY': 'test'})
a = t.to_pyarrow_table(columns=['datastream', 'phenomenon_time'])
print(a.num_rows, a.group_by(['datastream', 'phenomenon_time']).aggregate([]).num_rows)
";
    let mut command = Command::new(python());
    let (table, store) =
        (format!("s3://{BUCKET}/zhongshu/observations"), format!("http://{}", store.address));
    let output = command.args(["-c", READER, &table, &store]).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    let (rows, distinct) = printed.trim().split_once(' ').unwrap();
    (rows.parse().unwrap(), distinct.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lake_in_an_object_store_survives_kills_and_is_read_by_others() {
    let Some(store) = ObjectStore::start().await else { return };
    let site = site(TestDatabase::sqlite(), store.address).await;
    let ledger = Arc::new(Ledger::default());
    for _ in 0..3 {
        let hub = site.installation.serve().await.unwrap();
        let load = Load::start(&site, &hub, &ledger).await;
        // Killed while it takes in, and once more while it rearranges.
        reaches("taking in", async || hub.metric("zhongshu_lake_taken_in_total").await.unwrap() > 0.0).await;
        hub.kill().await.unwrap();
        drop(load);
    }
    let hub = site.installation.serve().await.unwrap();
    nothing_is_missing(&site, &hub, &ledger).await;
    all_taken_in(&hub).await;
    let acknowledged = ledger.acknowledged().0;
    let (rows, distinct) = read_by_another(&store).await;
    println!("lake in an object store: {acknowledged} samples acknowledged, {rows} read by another engine");
    assert_eq!(rows, distinct, "an instant is there twice");
    assert!(rows >= acknowledged, "{rows} rows of {acknowledged} samples");
    nothing_is_missing(&site, &hub, &ledger).await;
    hub.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_or_absent_object_store_holds_up_nobody() {
    let Some(store) = ObjectStore::start().await else { return };
    let way = Way::to(&store).await;
    let site = site(TestDatabase::sqlite(), way.address).await;
    let ledger = Arc::new(Ledger::default());
    let hub = site.installation.serve().await.unwrap();
    let device = site.device(&hub, "bin-4").await;
    assert!(ledger.publish(&device, 4.0).await);
    all_taken_in(&hub).await;

    // Each answer takes two seconds: a round of taking in takes several, an acknowledgement none.
    way.slow(Duration::from_secs(2));
    let began = Instant::now();
    for _ in 0..200 {
        assert!(ledger.publish(&device, 4.0).await);
    }
    let acknowledged = began.elapsed();
    nothing_is_missing(&site, &hub, &ledger).await;
    let taken = hub.metric("zhongshu_lake_taken_in_total").await.unwrap();
    reaches("a slow round ends", async || hub.metric("zhongshu_lake_taken_in_total").await.unwrap() > taken)
        .await;
    println!(
        "object store slow by 2 s an answer: 200 acknowledgements in {:.2} s",
        acknowledged.as_secs_f64()
    );
    assert!(
        acknowledged < Duration::from_secs(2 * 200 / 10),
        "an acknowledgement waits for the object store"
    );

    // And none comes at all.
    way.slow(Duration::ZERO);
    way.cut.store(true, Ordering::SeqCst);
    let failures = async || hub.metric("zhongshu_lake_failures_total").await.unwrap();
    for _ in 0..200 {
        assert!(ledger.publish(&device, 4.0).await);
    }
    reaches("a failure is counted", async || failures().await > 0.0).await;
    assert!(hub.metric("zhongshu_lake_waiting_rows").await.unwrap() > 0.0);
    way.cut.store(false, Ordering::SeqCst);
    all_taken_in(&hub).await;
    nothing_is_missing(&site, &hub, &ledger).await;
    hub.kill().await.unwrap();
}
