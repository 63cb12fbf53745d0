//! The watch centre through its public face, on SQLite and on PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod alerts;
mod broker;
mod bulk;
mod declare;
mod http;
mod import;
mod ingest;
mod live;
mod restart;
mod schema;
mod sweep;
mod write;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use lake::{Lake, LakeConfig};
use model::observation::{Ingest as _, Sample};
use model::{DatastreamKey, Id, Micros};
use platform::testing::system;
use platform::{PackFiles, Platform, PlatformConfig};
use store::Store;
use store::testing::TestDatabase;
use watch::Watch;

/// The estate of the tests.
pub const ESTATE: &str = "50/500112/500112011/500112011014/jz/";

const TYPE: &str = r#"
type = "fire-hydrant"
title = { zh = "消火栓", en = "Fire hydrant" }

[[datastream]]
code = "pressure"
name = { zh = "水压", en = "Pressure" }
observed_property = "water-pressure"
unit = "MPa"
decimals = 3
interval = "PT1S"
range = [-0.1, 2.5]
"#;

const RULES: &str = r#"
[[rule]]
id = "low"
title = { zh = "水压低", en = "Pressure low" }
type = "fire-hydrant"
datastream = "pressure"
kind = "below"
samples = 2
clear_by = 0.02
clear_samples = 2

[[rule.level]]
severity = "yellow"
below = 0.20
label = { zh = "预警线", en = "Early warning" }

[[rule.level]]
severity = "red"
below = 0.10
where = { siting = "outdoor" }
label = { zh = "火灾时最低", en = "Minimum in a fire" }
"#;

/// A rule of silence: one interval of a second may be missed.
pub const SILENCE: &str = r#"
[[rule]]
id = "silent"
title = { zh = "离线", en = "Offline" }
type = "fire-hydrant"
datastream = "pressure"
kind = "silence"
missed = 1
severity = "blue"
offline = true
"#;

/// Three hydrants; their datastreams have the keys 1 to 3 in this order.
pub const THINGS: &str = "code,type,area,name_zh,name_en,place_zh,place_en,lon,lat,public,properties
h-1,fire-hydrant,jz,室外栓,Outdoor hydrant,东门,East gate,106.5135,29.5905,true,\"{\"\"siting\"\":\"\"outdoor\"\",\"\"main\"\":\"\"main-1\"\"}\"
h-2,fire-hydrant,jz-01-u1-f2,室内栓,Indoor hydrant,1 栋 2 层,\"Building 1, floor 2\",106.5136,29.5906,false,\"{\"\"siting\"\":\"\"indoor\"\",\"\"main\"\":\"\"riser-1\"\",\"\"floor\"\":2}\"
h-3,fire-hydrant,jz-02-u1-f1,=室内栓,,2 栋 1 层,,,,false,
";

/// The test pack, with `more` rules.
pub fn pack(more: &str) -> PackFiles {
    let manifest = "name = \"test\"\nformat = 1\nversion = \"1\"\ntitle = { zh = \"试\", en = \"Test\" }\n";
    let files = [
        ("pack.toml", manifest.to_owned()),
        ("things/fire-hydrant.toml", TYPE.to_owned()),
        ("rules.toml", format!("{RULES}{more}")),
    ];
    let files: BTreeMap<String, String> =
        files.into_iter().map(|(path, text)| (path.to_owned(), text)).collect();
    PackFiles { name: "test".into(), version: "1".into(), files }
}

/// The lake of `database`: the same one for each hub that is opened on it.
pub fn lake_config(database: &TestDatabase) -> LakeConfig {
    let name: String = match &database.backend {
        store::Backend::Sqlite { path } => path.to_string_lossy().into_owned(),
        store::Backend::Postgres { url } => url.clone(),
    };
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let folder = std::env::temp_dir().join(format!("zhongshu-watch-{}", std::process::id())).join(name);
    LakeConfig::beside(&database.backend, &folder)
}

/// A hub as far as this centre needs one.
pub struct Hub {
    /// The state.
    pub store: Store,
    /// Areas.
    pub platform: Arc<Platform>,
    /// Observations.
    pub lake: Arc<Lake>,
    /// What is tested.
    pub watch: Arc<Watch>,
    _files: tempfile::TempDir,
}

impl Hub {
    /// Opens everything on `database`, with the hydrants imported.
    pub async fn open(database: &TestDatabase, pack: &PackFiles) -> Self {
        let store = database.open().await.unwrap();
        let files = tempfile::tempdir().unwrap();
        platform::testing::small_city(&store).await;
        let packs = std::slice::from_ref(pack);
        let config = PlatformConfig { files: files.path().to_owned(), ..PlatformConfig::default() };
        let platform = Platform::open(store.clone(), packs, config).await.unwrap();
        watch::import::things(&store, &system(), packs, THINGS).await.unwrap();
        let lake = Lake::open(lake_config(database)).await.unwrap();
        let watch = Watch::open(store.clone(), platform.clone(), lake.clone(), packs).await.unwrap();
        Self { store, platform, lake, watch, _files: files }
    }

    /// Stops as the hub does.
    pub async fn close(self) {
        self.watch.stop().await;
        self.store.stop().await;
        self.lake.close().await;
    }

    /// Ingests samples of one datastream: seconds from now, and values.
    pub async fn ingest(&self, key: i32, samples: &[(i64, f64)]) {
        let now = store::now();
        let samples =
            samples.iter().map(|(s, value)| sample(key, now.plus(s * Micros::SECOND), *value)).collect();
        self.watch.ingest(samples, vec![]).await.unwrap();
    }

    /// All alerts: thing, rule, state, severity; in order of opening.
    pub async fn alerts(&self) -> Vec<String> {
        let sql = "SELECT thing, rule, state, severity FROM alerts ORDER BY opened_at, number";
        let rows: Vec<(String, String, String, i64)> = self.store.read().all(sql, vec![]).await.unwrap();
        rows.into_iter().map(|(t, r, s, n)| format!("{t} {r} {s} {n}")).collect()
    }

    /// Waits until the alerts are these.
    pub async fn wait_alerts(&self, expected: &[&str]) {
        eventually(|| async {
            let alerts = self.alerts().await;
            if alerts == expected { Ok(()) } else { Err(format!("{alerts:?} is not {expected:?}")) }
        })
        .await;
    }

    /// The ids of all alerts, in order of opening.
    pub async fn ids(&self) -> Vec<Id> {
        let sql = "SELECT id FROM alerts ORDER BY opened_at, number";
        let rows: Vec<(Id,)> = self.store.read().all(sql, vec![]).await.unwrap();
        rows.into_iter().map(|(id,)| id).collect()
    }
}

/// A good sample.
pub fn sample(key: i32, time: Micros, value: f64) -> Sample {
    Sample { datastream: DatastreamKey(key), time, value, quality: 0 }
}

/// Runs a test on every database.
pub async fn on_each<F, Fut>(test: F)
where
    F: Fn(TestDatabase) -> Fut,
    Fut: Future<Output = ()>,
{
    for database in TestDatabase::each().await {
        eprintln!("on {}", database.backend.name());
        test(database).await;
    }
}

/// Waits until `check` is content, 15 seconds at most.
pub async fn eventually<F, Fut>(check: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<(), String>>,
{
    let mut said = String::new();
    for _ in 0..1500 {
        match check().await {
            Ok(()) => return,
            Err(e) => said = e,
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("in vain: {said}");
}
