//! Rows in memory and in the table, in every mixture, against a sorted map.

use std::collections::BTreeMap;

use lake::Rows;
use lake::query::Scope;
use proptest::prelude::*;

use super::{DAY, SECOND, ask, catalog, cold, engine, rows};

/// What is asked beside everything.
#[derive(Clone, Debug)]
enum Asked {
    Times(i64, i64),
    Key(i32),
    Area(u8),
    Value(u8),
}

fn asked() -> impl Strategy<Value = Asked> {
    prop_oneof![
        (0i64..60, 0i64..60).prop_map(|(a, b)| Asked::Times(a.min(b), a.max(b))),
        (1i32..6).prop_map(Asked::Key),
        (1u8..3).prop_map(Asked::Area),
        (0u8..5).prop_map(Asked::Value),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn the_newest_row_of_every_instant_is_there_once(
        segments in prop::collection::vec(prop::collection::vec((1i32..6, 0i64..60, 0u8..5), 1..15), 1..8),
        split in 0usize..8,
        known in any::<bool>(),
        filters in prop::collection::vec(asked(), 0..3),
    ) {
        let at = |s: i64| DAY + s * 3600 * SECOND;
        let segments: Vec<Rows> = segments
            .iter()
            .map(|samples| rows(samples.iter().map(|(key, time, value)| (*key, at(*time), f64::from(*value)))))
            .collect();
        let (compacted, hot) = segments.split_at(split.min(segments.len()));
        // One commit an hour-of-arrival would do too; two that do not share an instant show more.
        let merged = Rows::merge(compacted);
        let half = merged.len() / 2;
        let commits: Vec<Rows> = [(0, half), (half, merged.len() - half)]
            .into_iter()
            .filter(|(_, len)| *len > 0)
            .map(|(start, len)| {
                rows(merged.iter().skip(start).take(len).map(|s| (s.datastream.0, s.time.0, s.value)))
            })
            .collect();
        let mut expected: BTreeMap<(i32, i64), f64> = BTreeMap::new();
        for segment in &segments {
            expected.extend(segment.iter().map(|s| ((s.datastream.0, s.time.0), s.value)));
        }
        let mut conditions = vec!["true".to_owned()];
        for filter in &filters {
            match filter {
                Asked::Times(from, to) => {
                    conditions.push(format!(
                        "phenomenon_time BETWEEN to_timestamp_micros({}) AND to_timestamp_micros({})",
                        at(*from), at(*to)
                    ));
                    expected.retain(|(_, t), _| (at(*from)..=at(*to)).contains(t));
                }
                Asked::Key(key) => {
                    conditions.push(format!("thing = 't-{key}'"));
                    expected.retain(|(k, _), _| k == key);
                }
                Asked::Area(area) => {
                    conditions.push(format!("area LIKE '50/{area}/%'"));
                    expected.retain(|(k, _), _| 1 + (k + 1) % 2 == i32::from(*area));
                }
                Asked::Value(value) => {
                    conditions.push(format!("value >= {value}"));
                    expected.retain(|_, v| *v >= f64::from(*value));
                }
            }
        }
        let sql = format!(
            "SELECT datastream, thing, arrow_time, value FROM (
                SELECT *, to_unixtime(phenomenon_time) AS arrow_time FROM observations
             ) WHERE {} ORDER BY datastream, phenomenon_time",
            conditions.join(" AND ")
        );
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let found = runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let cold = match commits.is_empty() {
                true => None,
                false => Some(cold(folder.path(), &commits, known).await),
            };
            ask(&engine(hot.to_vec(), cold), &catalog(5), &Scope::All, &sql).await.unwrap().0
        });
        let expected: Vec<Vec<String>> = expected
            .iter()
            .map(|((key, time), value)| {
                vec![key.to_string(), format!("t-{key}"), (time / SECOND).to_string(), format!("{value:.1}")]
            })
            .collect();
        prop_assert_eq!(found, expected);
    }
}
