use lake::{Batch, Lake, LakeError};
use model::observation::{Sample, quality};
use model::{DatastreamKey, Micros};

use crate::{all, append, each, last, reopen, sample};

#[tokio::test]
async fn what_was_appended_is_there_after_a_restart() {
    for (_database, config) in each().await {
        let lake = Lake::open(config.clone()).await.unwrap();
        let now = store::now();
        let at = |s: i64| now.plus(s * Micros::SECOND);
        let first =
            append(&lake, now, &[sample(2, at(-3), 0.3), sample(1, at(-3), 0.2), sample(1, at(-5), 0.1)])
                .await;
        // Late, a repeat, and another value at the same instant.
        let second =
            append(&lake, now, &[sample(1, at(-4), 0.15), sample(1, at(-3), 0.2), sample(2, at(-3), 0.31)])
                .await;
        assert!(second > first);
        let expected_1 = [(at(-5).0, 0.1), (at(-4).0, 0.15), (at(-3).0, 0.2)];
        let mut lake = lake;
        for round in 0..2 {
            assert_eq!(all(&lake, 1).await, expected_1, "round {round}");
            assert_eq!(last(&lake, 1), Some((at(-3).0, 0.2)));
            assert_eq!(last(&lake, 2), Some((at(-3).0, 0.31)));
            assert_eq!(last(&lake, 3), None);
            assert_eq!(lake.last_seq().await, second);
            lake = reopen(lake, &config).await;
        }
        let third = append(&lake, now, &[sample(1, at(-1), 0.4)]).await;
        assert!(third > second, "numbers go on");
        let many = lake.last_many(&[DatastreamKey(2), DatastreamKey(9), DatastreamKey(1)]);
        assert_eq!(
            many.iter().map(|p| p.map(|p| p.value)).collect::<Vec<_>>(),
            [Some(0.31), None, Some(0.4)]
        );
        lake.close().await;
    }
}

#[tokio::test]
async fn segments_come_back_in_order_sorted_and_whole() {
    for (_database, config) in each().await {
        let lake = Lake::open(config).await.unwrap();
        let now = store::now();
        let flagged = Sample { quality: quality::TIME_OF_RECEIPT | quality::LATE, ..sample(7, now, -1.5) };
        let mut written = Vec::new();
        for samples in
            [vec![sample(9, now, 1.0), flagged, sample(7, now.plus(-1), 2.0)], vec![sample(1, now, f64::MAX)]]
        {
            written.push(
                lake.append(Batch { samples: samples.into_iter().collect(), received_at: now })
                    .await
                    .unwrap(),
            );
        }
        assert_eq!(
            written[0].rows.iter().map(|s| (s.datastream.0, s.value)).collect::<Vec<_>>(),
            [(7, 2.0), (7, -1.5), (9, 1.0)]
        );
        let read: Vec<_> =
            lake.segments_after(0, 10).await.unwrap().into_iter().map(Result::unwrap).collect();
        assert_eq!(read, written);
        let rest = lake.segments_after(written[0].seq, 10).await.unwrap();
        assert_eq!(rest.len(), 1);
        assert_eq!(lake.segments_after(0, 1).await.unwrap().len(), 1, "a page");
        assert_eq!(lake.first_since(now).await.unwrap(), Some(written[0].seq));
        assert_eq!(lake.first_since(now.plus(1)).await.unwrap(), None);
        lake.close().await;
    }
}

#[tokio::test]
async fn a_full_batch_is_one_segment() {
    for (_database, config) in each().await {
        let lake = Lake::open(config.clone()).await.unwrap();
        let now = store::now();
        let samples: Vec<_> =
            (0..model::observation::BATCH_CAP as i32).map(|k| sample(k, now, f64::from(k))).collect();
        append(&lake, now, &samples).await;
        let lake = reopen(lake, &config).await;
        assert_eq!(last(&lake, 8191), Some((now.0, 8191.0)));
        lake.close().await;
    }
}

#[tokio::test]
async fn a_curve_is_the_newest_points_of_a_range() {
    for (_database, config) in each().await {
        let lake = Lake::open(config.clone()).await.unwrap();
        let now = store::now();
        let at = |s: i64| now.plus(s * Micros::SECOND);
        for s in -6..0 {
            append(&lake, now, &[sample(1, at(s), s as f64)]).await;
        }
        append(&lake, now, &[sample(1, now.plus(-1_500_000), -1.5)]).await;
        for round in ["in memory", "in the table"] {
            for (from, to, limit, expected) in [
                (-3, -1, 9, &[-3.0, -2.0, -1.5, -1.0][..]),
                (-3, -1, 2, &[-1.5, -1.0]),
                (-6, -4, 2, &[-5.0, -4.0]),
                (5, 1, 2, &[]),
                (1, 5, 2, &[]),
            ] {
                let curve = lake.curve(DatastreamKey(1), at(from), at(to), limit).await.unwrap();
                let values: Vec<_> = curve.iter().map(|p| p.value).collect();
                assert_eq!(values, expected, "{round}: from {from} to {to}, {limit}");
            }
            lake.take_in().await.unwrap();
        }
        lake.close().await;
    }
}

#[tokio::test]
async fn a_sample_from_the_future_hides_no_good_one() {
    for (_database, config) in each().await {
        let lake = Lake::open(config.clone()).await.unwrap();
        let now = store::now();
        let future =
            |value| Sample { quality: quality::FROM_THE_FUTURE, ..sample(1, now.plus(Micros::DAY), value) };
        append(&lake, now, &[future(1.0)]).await;
        append(&lake, now, &[future(2.0)]).await;
        assert_eq!(last(&lake, 1).map(|l| l.1), Some(2.0), "better than nothing");
        append(&lake, now, &[sample(1, now, 3.0)]).await;
        append(&lake, now, &[future(4.0)]).await;
        let lake = reopen(lake, &config).await;
        assert_eq!(last(&lake, 1).map(|l| l.1), Some(3.0));
        assert_eq!(all(&lake, 1).await, [(now.0, 3.0)], "and on no curve");
        lake.close().await;
    }
}

#[tokio::test]
async fn last_values_outlive_memory() {
    for (_database, config) in each().await {
        let lake = Lake::open(config.clone()).await.unwrap();
        let old = store::now().plus(-30 * Micros::DAY);
        append(&lake, old, &[sample(1, old, 0.5)]).await;
        let lake = reopen(lake, &config).await;
        let now = store::now();
        append(&lake, now, &[sample(2, now, 0.6)]).await;
        let lake = reopen(reopen(lake, &config).await, &config).await;
        assert_eq!((last(&lake, 1), last(&lake, 2)), (Some((old.0, 0.5)), Some((now.0, 0.6))));
        lake.close().await;
    }
}

#[tokio::test]
async fn a_hub_that_was_killed_reads_every_committed_segment() {
    for (_database, config) in each().await {
        let lake = Lake::open(config.clone()).await.unwrap();
        let now = store::now();
        append(&lake, now, &[sample(1, now, 0.1)]).await;
        lake.close().await;
        let lake = Lake::open(config.clone()).await.unwrap();
        append(&lake, now, &[sample(1, now.plus(1), 0.2)]).await;
        // Nothing is put down, no connection is closed.
        std::mem::forget(lake);
        let lake = Lake::open(config.clone()).await.unwrap();
        assert_eq!(all(&lake, 1).await, [(now.0, 0.1), (now.0 + 1, 0.2)]);
        lake.close().await;
    }
}

#[tokio::test]
async fn what_cannot_be_appended_is_refused() {
    for (_database, config) in each().await {
        let lake = Lake::open(config).await.unwrap();
        assert_eq!(lake.append(Batch::default()).await, Err(LakeError::Empty));
        lake.close().await;
        let batch =
            Batch { samples: [sample(1, Micros(1), 1.0)].into_iter().collect(), received_at: Micros(1) };
        assert!(matches!(lake.append(batch).await, Err(LakeError::Unavailable(_))), "closed");
    }
}
