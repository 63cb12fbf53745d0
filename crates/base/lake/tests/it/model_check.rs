//! Last values and curves against sorted maps, over sequences with repeats and late samples, with
//! restarts, kills, and the table's work between batches; segments against what was written.

use std::collections::BTreeMap;

use lake::{Lake, Rows, segment};
use model::observation::{Columns, Sample};
use model::{DatastreamKey, Micros};
use proptest::prelude::*;

use crate::{all, append, in_folder, last, reopen, sample};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_restart_changes_nothing_that_can_be_read(
        batches in prop::collection::vec(
            (0u8..6, prop::collection::vec((1i32..4, 0i64..30, 0u8..4), 1..20)),
            1..8,
        ),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let config = in_folder(&folder);
            let mut lake = Lake::open(config.clone()).await.unwrap();
            let now = store::now();
            let mut expected: BTreeMap<i32, BTreeMap<i64, f64>> = BTreeMap::new();
            for (then, batch) in batches {
                let samples: Vec<Sample> = batch
                    .iter()
                    .map(|(key, ago, value)| sample(*key, now.plus(-ago * Micros::SECOND), f64::from(*value)))
                    .collect();
                for s in &samples {
                    expected.entry(s.datastream.0).or_default().insert(s.time.0, s.value);
                }
                append(&lake, now, &samples).await;
                match then {
                    0 => lake = reopen(lake, &config).await,
                    1 => {
                        lake.release(lake.last_seq().await);
                        lake.take_in().await.unwrap();
                    }
                    2 => {
                        lake.take_in().await.unwrap();
                        lake.cold().optimise(now.plus(Micros::DAY)).await.unwrap();
                        lake.cold().vacuum().await.unwrap();
                    }
                    3 => {
                        lake.take_in().await.unwrap();
                        // Killed: nothing is put down.
                        drop(lake);
                        lake = Lake::open(config.clone()).await.unwrap();
                    }
                    _ => {}
                }
                for key in 1..4 {
                    let curve: Vec<_> = expected.get(&key).into_iter().flatten().map(|(t, v)| (*t, *v)).collect();
                    prop_assert_eq!(last(&lake, key), curve.last().copied());
                    prop_assert_eq!(all(&lake, key).await, curve);
                }
            }
            lake.close().await;
            Ok(())
        })?;
    }

    #[test]
    fn segments_read_back_as_they_were_written(
        rows in prop::collection::vec((any::<i32>(), any::<i64>(), -1e15f64..1e15, any::<u8>()), 1..200),
    ) {
        let columns: Columns = rows
            .into_iter()
            .map(|(key, time, value, quality)| Sample { datastream: DatastreamKey(key), time: Micros(time), value, quality })
            .collect();
        let rows = Rows::new(columns);
        prop_assert_eq!(segment::decode(&segment::encode(&rows).unwrap()).unwrap(), rows);
    }
}
