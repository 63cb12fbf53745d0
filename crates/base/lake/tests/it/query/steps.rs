//! Steps, gaps and ranges.

use lake::query::{Fill, QueryError, Step, Steps};
use model::{DatastreamKey, Micros};

use super::{DAY, SECOND, cold, engine, rows};

fn asked(fill: Fill, from: i64, to: i64) -> Steps {
    Steps {
        keys: vec![DatastreamKey(1), DatastreamKey(2)],
        from: Micros(DAY + from * SECOND),
        to: Micros(DAY + to * SECOND),
        step: 10 * SECOND,
        origin: Micros(0),
        fill,
    }
}

#[tokio::test]
async fn gaps_are_filled_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let at = |s: i64| DAY + s * SECOND;
    // The sample at 5 is replaced by one in memory; at 31 and 32 only memory has any.
    let old = rows([(1, at(1), 1.0), (1, at(5), 99.0), (1, at(12), 4.0), (2, at(11), 7.0)]);
    let new = rows([(1, at(5), 3.0), (1, at(41), 10.0), (1, at(42), 12.0)]);
    let engine = engine(vec![new], Some(cold(folder.path(), &[old], true).await));
    let step = |s: i64, mean: Option<f64>, min: Option<f64>, max: Option<f64>, count: u64| Step {
        time: Micros(at(s)),
        mean,
        min,
        max,
        count,
    };
    let (first, second, last) = (
        step(0, Some(2.0), Some(1.0), Some(3.0), 2),
        step(10, Some(4.0), Some(4.0), Some(4.0), 1),
        step(40, Some(11.0), Some(10.0), Some(12.0), 2),
    );
    let empty = |s: i64, mean: Option<f64>| step(s, mean, None, None, 0);
    let seven = step(10, Some(7.0), Some(7.0), Some(7.0), 1);
    let gap = |a, b, c| vec![first, second, empty(20, a), empty(30, b), last, empty(50, c)];
    let other = |before, after: Option<f64>| {
        vec![empty(0, before), seven, empty(20, after), empty(30, after), empty(40, after), empty(50, after)]
    };
    for (fill, one, two) in [
        (Fill::None, vec![first, second, last], vec![seven]),
        (Fill::Null, gap(None, None, None), other(None, None)),
        (Fill::Previous, gap(Some(4.0), Some(4.0), Some(11.0)), other(None, Some(7.0))),
        (Fill::Linear, gap(Some(4.0 + 7.0 / 3.0), Some(4.0 + 14.0 / 3.0), None), other(None, None)),
    ] {
        let found = engine.steps(&asked(fill, 0, 60)).await.unwrap();
        for (found, expected) in found.iter().zip([one, two]) {
            assert_eq!(found.len(), expected.len(), "{fill:?}");
            for (found, expected) in found.iter().zip(expected) {
                let close = found.mean.zip(expected.mean).is_none_or(|(a, b)| (a - b).abs() < 1e-9);
                assert!(close && found.mean.is_some() == expected.mean.is_some(), "{fill:?}: {found:?}");
                let rest = |s: &Step| (s.time, s.min, s.max, s.count);
                assert_eq!(rest(found), rest(&expected), "{fill:?}");
            }
        }
    }
}

#[tokio::test]
async fn steps_begin_at_the_origin_and_are_bounded() {
    let engine = engine(vec![rows([(1, DAY + 5 * SECOND, 1.0), (1, DAY + 14 * SECOND, 3.0)])], None);
    let mut steps = asked(Fill::None, 0, 60);
    steps.origin = Micros(4 * SECOND);
    let found = engine.steps(&steps).await.unwrap();
    let begin: Vec<_> = found[0].iter().map(|s| ((s.time.0 - DAY) / SECOND, s.count)).collect();
    assert_eq!(begin, [(4, 1), (14, 1)]);
    steps.step = 0;
    assert!(matches!(engine.steps(&steps).await, Err(QueryError::Refused(_))));
    steps.step = 1;
    assert!(matches!(engine.steps(&steps).await, Err(QueryError::Refused(_))));
    assert_eq!(engine.steps(&asked(Fill::Null, 60, 0)).await.unwrap(), [vec![], vec![]]);
}

#[tokio::test]
async fn a_range_gives_the_newest_rows() {
    let folder = tempfile::tempdir().unwrap();
    let old = rows((0..100).map(|s| (1, DAY + s * SECOND, 0.0)));
    let new = rows((90..110).map(|s| (1, DAY + s * SECOND, 1.0)));
    let engine = engine(vec![new], Some(cold(folder.path(), &[old], true).await));
    let range = |limit| engine.range(&[DatastreamKey(1)], Micros(DAY), Micros(DAY + 104 * SECOND), limit);
    let all = range(1000).await.unwrap();
    assert_eq!(all.len(), 105);
    assert_eq!(all.values().iter().filter(|v| **v > 0.5).count(), 15);
    let some = range(3).await.unwrap();
    assert_eq!(some.times(), [102, 103, 104].map(|s| DAY + s * SECOND));
}
