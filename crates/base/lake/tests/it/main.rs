//! The lake through its public face, on SQLite and on PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod append;
mod damage;
mod model_check;

use std::sync::Arc;

use lake::{Batch, Lake, LakeConfig, Point};
use model::observation::Sample;
use model::{DatastreamKey, Micros};
use store::testing::TestDatabase;

/// A database with its schema, and how to open the lake in it; the store is closed again.
pub async fn each() -> Vec<(TestDatabase, LakeConfig)> {
    let mut all = Vec::new();
    for database in TestDatabase::each().await {
        database.open().await.unwrap().stop().await;
        let config = LakeConfig::beside(&database.backend);
        all.push((database, config));
    }
    all
}

/// A good sample, `ago` microseconds before `now`.
pub fn sample(key: i32, time: Micros, value: f64) -> Sample {
    Sample { datastream: DatastreamKey(key), time, value, quality: 0 }
}

/// Appends what was received at `at`.
pub async fn append(lake: &Lake, at: Micros, samples: &[Sample]) -> u64 {
    lake.append(Batch { samples: samples.to_vec(), received_at: at }).await.unwrap().seq
}

/// Everything of a datastream.
pub fn all(lake: &Lake, key: i32) -> Vec<(i64, f64)> {
    lake.curve(DatastreamKey(key), Micros(i64::MIN), Micros(i64::MAX), usize::MAX)
        .iter()
        .map(|p| (p.time.0, p.value))
        .collect()
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
