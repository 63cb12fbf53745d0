//! The lake through its public face, on SQLite and on PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod append;
mod damage;
mod engines;
mod keep;
mod model_check;
mod query;
mod storage;
mod table;
mod upkeep;

use std::sync::Arc;

use lake::{Batch, Lake, LakeConfig, LakeLocation, Point};
use model::observation::Sample;
use model::{DatastreamKey, Micros};
use store::testing::TestDatabase;
use tempfile::TempDir;

/// A database and a folder for the tables, gone when the test ends.
pub type Kept = (TestDatabase, TempDir);

/// A database with its schema, and how to open the lake in it; the store is closed again. Nothing
/// is taken into the table but when a test says so.
pub async fn each() -> Vec<(Kept, LakeConfig)> {
    let mut all = Vec::new();
    for database in TestDatabase::each().await {
        database.open().await.unwrap().stop().await;
        let folder = tempfile::tempdir().unwrap();
        let config = quiet(LakeConfig::beside(&database.backend, folder.path()));
        all.push(((database, folder), config));
    }
    all
}

/// A lake on SQLite in a folder.
pub fn in_folder(folder: &TempDir) -> LakeConfig {
    let state = store::Backend::Sqlite { path: folder.path().join("state.db") };
    quiet(LakeConfig::beside(&state, folder.path()))
}

fn quiet(mut config: LakeConfig) -> LakeConfig {
    config.take_in_every = std::time::Duration::from_secs(1 << 20);
    config
}

/// The same with another store for the tables.
pub fn with_store(config: &LakeConfig, store: Arc<dyn object_store::ObjectStore>) -> LakeConfig {
    LakeConfig { location: LakeLocation::Store(store), ..config.clone() }
}

/// A good sample, `ago` microseconds before `now`.
pub fn sample(key: i32, time: Micros, value: f64) -> Sample {
    Sample { datastream: DatastreamKey(key), time, value, quality: 0 }
}

/// Appends what was received at `at`.
pub async fn append(lake: &Lake, at: Micros, samples: &[Sample]) -> u64 {
    lake.append(Batch { samples: samples.iter().copied().collect(), received_at: at }).await.unwrap().seq
}

/// Everything of a datastream.
pub async fn all(lake: &Lake, key: i32) -> Vec<(i64, f64)> {
    let curve = lake.curve(DatastreamKey(key), Micros(i64::MIN), Micros(i64::MAX), usize::MAX).await;
    curve.unwrap().iter().map(|p| (p.time.0, p.value)).collect()
}

/// The last value of a datastream.
pub fn last(lake: &Lake, key: i32) -> Option<(i64, f64)> {
    lake.last(DatastreamKey(key)).map(|Point { time, value, .. }| (time.0, value))
}

/// Closes the lake and opens it again.
pub async fn reopen(lake: Arc<Lake>, config: &LakeConfig) -> Arc<Lake> {
    lake.close().await;
    drop(lake);
    Lake::open(config.clone()).await.unwrap()
}
