//! The lake's background: segments into the table and out of the log, on both databases.

use std::sync::Arc;
use std::time::Duration;

use lake::{Batch, Lake, LakeConfig, LakeDatabase, LakeError};
use model::Micros;
use model::observation::Columns;

use crate::damage::spoil;
use crate::table::Failing;
use crate::{all, append, each, last, reopen, sample, with_store};

/// A lake that puts its last values down and forgets nothing.
async fn put_down(lake: Arc<Lake>, config: &LakeConfig) -> Arc<Lake> {
    let lake = reopen(lake, config).await;
    lake.release(lake.last_seq().await);
    lake
}

#[tokio::test]
async fn what_was_taken_in_leaves_the_log_and_is_there_still() {
    for (_kept, config) in each().await {
        let lake = Lake::open(config.clone()).await.unwrap();
        let now = store::now();
        for n in 0..10 {
            append(&lake, now, &[sample(1, now.plus(n), n as f64), sample(2, now.plus(n), 0.5)]).await;
        }
        let done = lake.take_in().await.unwrap();
        assert_eq!((done.rows, done.damaged), (20, 0));
        assert_eq!(lake.segments_after(0, 99).await.unwrap().len(), 10, "nobody released them");
        let lake = put_down(lake, &config).await;
        let last_seq = lake.last_seq().await;
        lake.take_in().await.unwrap();
        let partition_open = matches!(config.database, LakeDatabase::Postgres { .. });
        let left = lake.segments_after(0, 99).await.unwrap().len();
        assert_eq!(left, if partition_open { 10 } else { 0 }, "a partition goes as a whole");
        for round in ["same", "opened again"] {
            assert_eq!(all(&lake, 1).await.len(), 10, "{round}");
            assert_eq!(last(&lake, 1), Some((now.0 + 9, 9.0)), "{round}");
            assert_eq!(lake.last_seq().await, last_seq, "{round}");
        }
        let lake = reopen(lake, &config).await;
        assert_eq!(all(&lake, 1).await.len(), 10);
        let next = append(&lake, now, &[sample(1, now.plus(20), 20.0)]).await;
        assert!(next > last_seq, "numbers go on: {next} after {last_seq}");
        assert_eq!(lake.take_in().await.unwrap().rows, 1);
        assert_eq!(all(&lake, 1).await.len(), 11);
        lake.close().await;
    }
}

/// At a high rate the log would reach its limit before it is time to put the last values down.
#[tokio::test]
async fn much_in_little_time_leaves_the_log_too() {
    for (_kept, config) in each().await {
        let config = LakeConfig { put_down_bytes: 5000, ..config };
        let lake = Lake::open(config.clone()).await.unwrap();
        let now = store::now();
        let step = |n: i64| -> Vec<_> { (0..100).map(|k| sample(k, now.plus(n), n as f64)).collect() };
        for n in 0..20 {
            let seq = append(&lake, now, &step(n)).await;
            lake.release(seq);
        }
        lake.take_in().await.unwrap();
        let left = lake.segments_after(0, 99).await.unwrap().len();
        let partition_open = matches!(config.database, LakeDatabase::Postgres { .. });
        assert!(partition_open || left < 10, "{left} of 20 segments are in the log still");
        let lake = reopen(lake, &config).await;
        assert_eq!((all(&lake, 7).await.len(), last(&lake, 7)), (20, Some((now.0 + 19, 19.0))));
        lake.close().await;
    }
}

#[tokio::test]
async fn a_log_that_was_lost_does_not_make_new_segments_old() {
    for (_kept, config) in each().await {
        let lake = Lake::open(config.clone()).await.unwrap();
        let now = store::now();
        for n in 0..5 {
            append(&lake, now, &[sample(1, now.plus(n), 1.0)]).await;
        }
        lake.take_in().await.unwrap();
        lake.close().await;
        spoil(
            &config,
            "DELETE FROM segments; DELETE FROM last_values; DELETE FROM sqlite_sequence",
            "DELETE FROM segments; DELETE FROM last_values; SELECT setval('segments_number', 1, false)",
        )
        .await;
        let lake = Lake::open(config.clone()).await.unwrap();
        assert_eq!(last(&lake, 1), Some((now.0 + 4, 1.0)), "from the table");
        assert!(append(&lake, now, &[sample(1, now.plus(9), 2.0)]).await > 5);
        lake.take_in().await.unwrap();
        let lake = reopen(lake, &config).await;
        assert_eq!(all(&lake, 1).await.len(), 6);
        lake.close().await;
    }
}

#[tokio::test]
async fn the_log_shrinks() {
    for (_kept, config) in each().await {
        let config = LakeConfig { shrink_after: Duration::ZERO, ..config };
        let lake = Lake::open(config.clone()).await.unwrap();
        let now = store::now();
        // PostgreSQL drops whole partitions of 2048 numbers.
        let segments = if matches!(config.database, LakeDatabase::Postgres { .. }) { 2100 } else { 40 };
        let rows = if segments == 40 { 32_768 } else { 512 };
        for n in 0..segments {
            let samples: Columns = (0..rows).map(|k| sample(k, now.plus(n), f64::from(k))).collect();
            lake.append(Batch { samples, received_at: now }).await.unwrap();
        }
        let before = size(&config).await;
        lake.take_in().await.unwrap();
        let lake = put_down(lake, &config).await;
        lake.take_in().await.unwrap();
        // What the next segments might have taken again is given back when they have not.
        lake.take_in().await.unwrap();
        let after = size(&config).await;
        assert!(after * 2 < before, "{before} bytes and then {after}");
        lake.close().await;
    }
}

/// What the log takes on the disk.
async fn size(config: &LakeConfig) -> u64 {
    match &config.database {
        LakeDatabase::Sqlite { path } => std::fs::metadata(path).unwrap().len(),
        LakeDatabase::Postgres { url } => {
            let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(url).await.unwrap();
            let sql = "SELECT SUM(pg_total_relation_size(inhrelid))::bigint FROM pg_inherits
                       WHERE inhparent = 'segments'::regclass";
            let (bytes,): (i64,) = sqlx::query_as(sql).fetch_one(&mut connection).await.unwrap();
            bytes.unsigned_abs()
        }
    }
}

#[tokio::test]
async fn what_left_memory_before_the_table_took_it_is_read_from_the_log() {
    for (_kept, mut config) in each().await {
        config.memory = 1;
        let lake = Lake::open(config.clone()).await.unwrap();
        let now = store::now();
        for n in 0..20 {
            append(&lake, now, &[sample(1, now.plus(n), n as f64)]).await;
        }
        // The same instant later: it stands over what left memory.
        append(&lake, now, &[sample(1, now.plus(3), 33.0)]).await;
        let expected: Vec<_> = (0..20).map(|n| (now.0 + n, if n == 3 { 33.0 } else { n as f64 })).collect();
        assert_eq!(all(&lake, 1).await, expected, "spilled");
        lake.take_in().await.unwrap();
        assert_eq!(all(&lake, 1).await, expected, "in the table");
        append(&lake, now, &[sample(1, now.plus(20), 20.0)]).await;
        append(&lake, now, &[sample(1, now.plus(21), 21.0)]).await;
        assert_eq!(all(&lake, 1).await.len(), 22, "left memory, and waits, and in the table");
        let lake = reopen(lake, &config).await;
        assert_eq!(all(&lake, 1).await.len(), 22);
        lake.close().await;
    }
}

#[tokio::test]
async fn the_store_away_grows_the_log_up_to_its_limit_and_then_catches_up() {
    for (_kept, config) in each().await {
        let store = Failing::new();
        let config = LakeConfig { log_limit: 20_000, ..with_store(&config, store.clone()) };
        let lake = Lake::open(config.clone()).await.unwrap();
        let now = store::now();
        store.fail_at(0, false);
        let mut taken = 0i64;
        let refused = loop {
            let samples: Columns = [sample(1, now.plus(taken), 1.0)].into_iter().collect();
            match lake.append(Batch { samples, received_at: now }).await {
                Ok(_) => taken += 1,
                Err(e) => break e,
            }
            if taken == 3 {
                assert!(matches!(lake.take_in().await, Err(LakeError::Table(_))));
            }
        };
        assert!(matches!(refused, LakeError::Full { limit: 20_000, .. }), "{refused}");
        assert_eq!(all(&lake, 1).await.len() as i64, taken, "and all that was acknowledged is there");
        store.heal();
        let lake = put_down(lake, &config).await;
        assert_eq!(lake.take_in().await.unwrap().rows as i64, taken);
        if matches!(config.database, LakeDatabase::Sqlite { .. }) {
            append(&lake, now, &[sample(1, now.plus(taken), 1.0)]).await;
        }
        assert!(all(&lake, 1).await.len() as i64 >= taken);
        lake.close().await;
    }
}

#[tokio::test]
async fn a_kill_between_the_commit_and_what_follows_repeats_nothing() {
    for (_kept, config) in each().await {
        let lake = Lake::open(config.clone()).await.unwrap();
        let now = store::now();
        append(&lake, now, &[sample(1, now, 1.0)]).await;
        append(&lake, now, &[sample(1, now.plus(1), 2.0)]).await;
        lake.take_in().await.unwrap();
        // Killed: memory is gone, the log was not shortened, nothing is put down.
        std::mem::forget(lake);
        let lake = Lake::open(config.clone()).await.unwrap();
        assert_eq!(lake.take_in().await.unwrap().rows, 0);
        assert_eq!(lake.cold().view().rows(), 2);
        assert_eq!((all(&lake, 1).await.len(), last(&lake, 1)), (2, Some((now.0 + 1, 2.0))));
        lake.close().await;
    }
}

#[tokio::test]
async fn a_damaged_segment_is_put_aside_and_the_rest_goes_on() {
    for (_kept, config) in each().await {
        let lake = Lake::open(config.clone()).await.unwrap();
        let now = store::now();
        for key in 1..=3 {
            append(&lake, now, &[sample(key, now, f64::from(key))]).await;
        }
        let spoilt = "UPDATE segments SET checksum = 1 WHERE seq = 2";
        spoil(&config, spoilt, spoilt).await;
        let done = lake.take_in().await.unwrap();
        assert_eq!((done.rows, done.damaged), (2, 1));
        let lake = put_down(lake, &config).await;
        lake.take_in().await.unwrap();
        let damaged = lake.damaged(9).await.unwrap();
        assert_eq!(damaged.iter().map(|d| d.seq).collect::<Vec<_>>(), [2]);
        assert!(damaged[0].reason.contains("checksum"), "{}", damaged[0].reason);
        assert_eq!(
            (all(&lake, 1).await.len(), all(&lake, 2).await.len(), all(&lake, 3).await.len()),
            (1, 0, 1)
        );
        lake.close().await;
    }
}

#[tokio::test]
async fn the_background_takes_in_by_itself() {
    for (_kept, config) in each().await {
        let config = LakeConfig {
            take_in_every: Duration::from_millis(5),
            optimise_every: Duration::ZERO,
            vacuum_every: Duration::ZERO,
            ..config
        };
        let lake = Lake::open(config.clone()).await.unwrap();
        let now = store::now();
        for n in 0..5 {
            append(&lake, now, &[sample(1, now.plus(n * Micros::SECOND), 1.0)]).await;
        }
        while lake.cold().view().rows() < 5 {
            tokio::task::yield_now().await;
        }
        lake.close().await;
    }
}
