//! Databases of earlier versions open with this binary, and everything is there.
//!
//! `tests/fixtures/v<N>/` is one version's database: N counts the released schemas (v1 is hub 0.1,
//! migrations 1 to 5; v2 its lake and doors, 1 to 9). `<database>.json` says what is in it, and the files beside it are it:
//! `state.db.gz` and `observations.db.gz` for SQLite, `postgres.sql.gz` for PostgreSQL. A fixture is
//! made once, by the binary of its version, and never again:
//! `ZHONGSHU_MAKE_FIXTURE=v2 cargo test -p zhongshu --test it -- --ignored make_a_fixture`.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use model::Micros;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, SqlSafeStr as _};
use store::Backend;
use store::testing::TestDatabase;
use testkit::{Client, Installation, Running};

use crate::city::{complete, task, until};
use crate::load::{Ledger, Site, all, stored};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Two bins with alerts: one whose task was completed and that is good again, one still open.
#[tokio::test]
#[ignore = "makes a fixture of the present version; see the top of this file"]
async fn make_a_fixture() {
    let version = std::env::var("ZHONGSHU_MAKE_FIXTURE").expect("the fixture's name: v2 …");
    let folder = fixtures().join(version);
    fs::create_dir_all(&folder).unwrap();
    for database in TestDatabase::each().await {
        let site = Site::new(database, 0).await;
        let hub = site.installation.serve().await.unwrap();
        let ledger = Ledger::default();
        let (first, second) = (site.device(&hub, "bin-1").await, site.device(&hub, "bin-2").await);
        let cleaner = site.cleaner(&hub).await;
        for value in [4.0, 3.1] {
            assert!(ledger.publish(&first, value).await);
        }
        let done = task(&cleaner, "change").await;
        assert_eq!(complete(&cleaner, &done, json!({ "outcome": "changed", "note": "新电池" })).await.0, 200);
        for (device, value) in [(&first, 4.0), (&second, 4.1), (&second, 3.2)] {
            assert!(ledger.publish(device, value).await);
        }
        let open = task(&cleaner, "change").await;
        until(&cleaner, "/api/v1/alerts?state=resolved", |page| page["items"].get(0).cloned()).await;
        let samples = json!({
            "bin-1": stored(&cleaner, "bin-1").await,
            "bin-2": stored(&cleaner, "bin-2").await,
        });
        let said = json!({
            "password": site.password,
            "secret": site.secrets["bin-2"],
            "samples": samples,
            "completed": done["id"],
            "open": open["id"],
        });
        assert!(hub.stop().await.unwrap());
        let name = site.backend().name();
        fs::write(folder.join(format!("{name}.json")), format!("{said:#}\n")).unwrap();
        match &site.database.backend {
            Backend::Sqlite { .. } => {
                for file in ["state.db", "observations.db"] {
                    pack(
                        &folder.join(format!("{file}.gz")),
                        &fs::read(site.installation.data.join(file)).unwrap(),
                    );
                }
            }
            Backend::Postgres { url } => {
                let dump = std::process::Command::new("pg_dump")
                    .args(["--inserts", "--no-owner", "--no-privileges", url])
                    .output()
                    .unwrap();
                assert!(dump.status.success());
                // Lines with a backslash are psql's own commands.
                let text = String::from_utf8(dump.stdout).unwrap();
                let text: String =
                    text.lines().filter(|l| !l.starts_with('\\')).fold(String::new(), |t, l| t + l + "\n");
                pack(&folder.join("postgres.sql.gz"), text.as_bytes());
            }
        }
    }
}

fn pack(path: &Path, bytes: &[u8]) {
    let mut packed = GzEncoder::new(File::create(path).unwrap(), Compression::best());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap();
}

fn unpack(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes
}

/// Puts a fixture's database where `database` and `data` say.
async fn lay_out(fixture: &Path, database: &TestDatabase, data: &Path) -> Option<String> {
    match &database.backend {
        Backend::Sqlite { .. } => {
            fs::create_dir_all(data).unwrap();
            for file in ["state.db", "observations.db"] {
                fs::write(data.join(file), unpack(&fixture.join(format!("{file}.gz")))).unwrap();
            }
            None
        }
        Backend::Postgres { url } => {
            let text = String::from_utf8(unpack(&fixture.join("postgres.sql.gz"))).unwrap();
            let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
            sqlx::raw_sql(AssertSqlSafe(text).into_sql_str()).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            Some(url.clone())
        }
    }
}

async fn check(said: &Value, hub: &Running) -> Client {
    let cleaner = Client::log_in(&hub.url, "cleaner", said["password"].as_str().unwrap()).await.unwrap();
    let done = cleaner.get(&format!("/api/v1/tasks/{}", said["completed"].as_str().unwrap())).await.unwrap();
    assert_eq!((&done["state"], &done["completed_by"]), (&json!("completed"), &json!("cleaner")));
    let open = cleaner.get(&format!("/api/v1/tasks/{}", said["open"].as_str().unwrap())).await.unwrap();
    assert_eq!(open["state"], "open");
    let mut alerts: Vec<String> = all(&cleaner, "/api/v1/alerts")
        .await
        .iter()
        .map(|a| format!("{} {}", a["thing"].as_str().unwrap(), a["state"].as_str().unwrap()))
        .collect();
    alerts.sort();
    // Silence is judged by the clock, and a fixture has been silent for long: `bin-battery-low` only.
    assert_eq!(alerts, ["bin-1 resolved", "bin-2 open"]);
    let cases = all(&cleaner, "/api/v1/cases").await;
    assert_eq!(cases.len(), 2, "{cases:#?}");
    cleaner
}

#[tokio::test]
async fn the_databases_of_every_version_open_and_everything_is_there() {
    let mut versions: Vec<PathBuf> = fs::read_dir(fixtures()).unwrap().map(|e| e.unwrap().path()).collect();
    versions.sort();
    assert!(!versions.is_empty());
    for fixture in versions {
        for database in TestDatabase::each().await {
            let name = database.backend.name();
            eprintln!("{} on {name}", fixture.display());
            let said: Value =
                serde_json::from_slice(&fs::read(fixture.join(format!("{name}.json"))).unwrap()).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let data = folder.path().join("hub");
            let url = lay_out(&fixture, &database, &data).await;
            let binary = Path::new(env!("CARGO_BIN_EXE_zhongshu"));
            let installation = Installation::new(binary, &data, url);
            let hub = installation.serve().await.unwrap();
            let cleaner = check(&said, &hub).await;
            // Every sample it had, whichever day it is now.
            for (thing, samples) in said["samples"].as_object().unwrap() {
                let shown = cleaner.get(&format!("/api/v1/things/{thing}")).await.unwrap();
                let last = &shown["datastreams"][0]["last"];
                let newest = samples.as_array().unwrap().last().unwrap();
                assert_eq!((&last["time"], &last["value"]), (&newest[0], &newest[1]), "{thing}");
            }
            // And it goes on: the open task is done, a device is heard, a new alert opens.
            let open = task(&cleaner, "change").await;
            assert_eq!(complete(&cleaner, &open, json!({ "outcome": "changed" })).await.0, 200);
            let secret = said["secret"].as_str().unwrap();
            let device = citysim::client::Device::connect(hub.mqtt, "bin-2", secret).await.unwrap();
            let ledger = Ledger::default();
            for value in [4.0, 3.0] {
                assert!(ledger.publish(&device, value).await);
            }
            until(&cleaner, "/api/v1/alerts", |page| (page["items"].as_array()?.len() == 3).then_some(()))
                .await;
            assert!(stored(&cleaner, "bin-2").await.iter().any(|(t, v)| *v == 3.0 && *t > Micros(0)));
            assert!(hub.stop().await.unwrap());
            // Once rolled forward, it opens again.
            let hub = installation.serve().await.unwrap();
            hub.kill().await.unwrap();
        }
    }
}
