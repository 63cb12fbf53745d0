use lake::{Damaged, Lake, LakeConfig, LakeDatabase};
use model::Micros;
use sqlx::Connection as _;

use crate::{append, each, in_folder, last, reopen, sample};

/// Writes over segments behind the lake's back.
pub async fn spoil(config: &LakeConfig, sqlite: &'static str, postgres: &'static str) {
    match &config.database {
        LakeDatabase::Sqlite { path } => {
            let url = format!("sqlite:{}", path.display());
            let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
            sqlx::raw_sql(sqlite).execute(&mut connection).await.unwrap();
        }
        LakeDatabase::Postgres { url } => {
            let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
            sqlx::raw_sql(postgres).execute(&mut connection).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_damaged_segment_is_named_and_left_out() {
    for (sqlite, postgres, reason) in [
        (
            "UPDATE segments SET arrow_ipc = zeroblob(length(arrow_ipc)) WHERE seq = 2",
            "UPDATE segments SET arrow_ipc = '\\x0000' WHERE seq = 2",
            "checksum",
        ),
        // A checksum that fits and bytes that are no Arrow stream (CRC-32 of "no").
        (
            "UPDATE segments SET arrow_ipc = x'6e6f', checksum = 1739204639 WHERE seq = 2",
            "UPDATE segments SET arrow_ipc = '\\x6e6f', checksum = 1739204639 WHERE seq = 2",
            "Arrow",
        ),
    ] {
        for (_database, config) in each().await {
            let lake = Lake::open(config.clone()).await.unwrap();
            let now = store::now();
            for key in 1..=3 {
                append(&lake, now, &[sample(key, now, f64::from(key))]).await;
            }
            lake.close().await;
            spoil(&config, sqlite, postgres).await;
            spoil(&config, "DELETE FROM last_values", "DELETE FROM last_values").await;
            let lake = Lake::open(config).await.unwrap();
            assert_eq!(
                (last(&lake, 1).is_some(), last(&lake, 2), last(&lake, 3).is_some()),
                (true, None, true)
            );
            let page = lake.segments_after(0, 10).await.unwrap();
            let [Ok(_), Err(Damaged { seq: 2, reason: found }), Ok(_)] = &page[..] else {
                panic!("{page:?}")
            };
            assert!(found.contains(reason), "{found}");
            lake.close().await;
        }
    }
}

#[tokio::test]
async fn damaged_last_values_cost_time_only() {
    for (_database, config) in each().await {
        let lake = Lake::open(config.clone()).await.unwrap();
        let old = store::now().plus(-30 * Micros::DAY);
        append(&lake, old, &[sample(1, old, 0.5)]).await;
        lake.close().await;
        let spoilt = "UPDATE last_values SET checksum = 1";
        spoil(&config, spoilt, spoilt).await;
        let lake = reopen(Lake::open(config.clone()).await.unwrap(), &config).await;
        assert_eq!(last(&lake, 1), Some((old.0, 0.5)));
        lake.close().await;
    }
}

#[tokio::test]
async fn a_file_of_a_newer_hub_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = in_folder(&folder);
    Lake::open(config.clone()).await.unwrap().close().await;
    spoil(&config, "PRAGMA user_version = 99", "").await;
    let Err(refused) = Lake::open(config).await else { panic!("opened") };
    assert!(refused.to_string().contains("newer hub"), "{refused}");
}
