//! Old days are kept by step or deleted, once, whatever fails in between.

use std::sync::Arc;

use lake::query::{Engine, QueryConfig, Scope};
use lake::{Downsample, Keep, Lake, LakeConfig};
use model::observation::{Sample, quality};
use model::{AreaPath, DatastreamKey, IsoDuration, Micros};

use crate::table::Failing;
use crate::{all, append, in_folder, reopen, sample, with_store};

fn keep(retention: &str, steps: &[(&str, &str)]) -> Keep {
    let duration = |text: &str| IsoDuration::parse(text).unwrap();
    let steps = steps.iter().map(|(after, step)| Downsample { after: duration(after), step: duration(step) });
    Keep { retention: Some(duration(retention)), downsample: steps.collect() }
}

/// Midnight some days before today.
fn days_ago(days: i64) -> Micros {
    Micros(store::now().0.div_euclid(Micros::DAY) * Micros::DAY).plus(-days * Micros::DAY)
}

/// Datastream 1 and 2 have four samples a day of `days`; 1 is to be cut down.
async fn filled(config: &LakeConfig, days: &[i64]) -> Arc<Lake> {
    let lake = Lake::open(config.clone()).await.unwrap();
    for day in days {
        let at = |minute: i64| days_ago(*day).plus(minute * Micros::MINUTE);
        let of = |key| [(1, 1.0), (4, 2.0), (6, 4.0), (70, 8.0)].map(|(m, v)| sample(key, at(m), v));
        let broken = Sample { quality: quality::OUT_OF_RANGE, ..sample(1, at(2), 1e9) };
        append(&lake, store::now(), &[&of(1)[..], &of(2), &[broken]].concat()).await;
    }
    lake.take_in().await.unwrap();
    lake
}

/// Minute of the day, step, count, mean, first and last.
async fn steps(lake: &Lake, key: i32, day: i64) -> Vec<(i64, i32, i64, f64, f64, f64)> {
    let (from, to) = (days_ago(day), days_ago(day - 1).plus(-1));
    let found = lake.cold().read_steps(DatastreamKey(key), from, to).await.unwrap();
    let minute = |t: Micros| t.since(from) / Micros::MINUTE;
    found.iter().map(|s| (minute(s.time), s.seconds, s.count, s.mean, s.first, s.last)).collect()
}

#[tokio::test]
async fn days_become_coarser_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let config = in_folder(&folder);
    let lake = filled(&config, &[2, 6, 10, 30]).await;
    let declared = vec![(DatastreamKey(1), keep("P20D", &[("P4D", "PT5M"), ("P8D", "PT1H")]))];
    lake.keep(declared.clone());
    lake.clear().await.unwrap();
    let fine = [(0, 300, 2, 1.5, 1.0, 2.0), (5, 300, 1, 4.0, 4.0, 4.0), (70, 300, 1, 8.0, 8.0, 8.0)];
    let coarse = [(0, 3600, 3, 7.0 / 3.0, 1.0, 4.0), (60, 3600, 1, 8.0, 8.0, 8.0)];
    let mut lake = lake;
    for round in ["once", "again", "opened again"] {
        assert_eq!(steps(&lake, 1, 2).await, [], "{round}: too young");
        assert_eq!(steps(&lake, 1, 6).await, fine, "{round}");
        assert_eq!(steps(&lake, 1, 10).await, coarse, "{round}");
        assert_eq!(steps(&lake, 1, 30).await, [], "{round}: past its keeping");
        assert_eq!(all(&lake, 2).await.len(), 16, "{round}: nothing is said of the other");
        // Those of today's table: five of the young day, and 16 of the other.
        assert_eq!(lake.cold().view().rows(), 21, "{round}");
        if round == "again" {
            lake = reopen(lake, &config).await;
            lake.keep(declared.clone());
        }
        lake.clear().await.unwrap();
    }
    // The same day later: the fine steps become coarse ones.
    lake.keep(vec![(DatastreamKey(1), keep("P20D", &[("P4D", "PT1H")]))]);
    lake.clear().await.unwrap();
    assert_eq!(steps(&lake, 1, 6).await, coarse);
    let means: Vec<f64> = all(&lake, 1).await.into_iter().map(|p| p.1).collect();
    let young = [1.0, 1e9, 2.0, 4.0, 8.0];
    assert_eq!(means, [&[7.0 / 3.0, 8.0, 7.0 / 3.0, 8.0][..], &young].concat(), "the curve has their means");
    lake.close().await;
}

#[tokio::test]
async fn what_days_were_cut_down_to_is_asked_in_sql_within_the_scope() {
    use crate::query::{ask, catalog, texts};
    let folder = tempfile::tempdir().unwrap();
    let lake = filled(&in_folder(&folder), &[2, 6, 10]).await;
    let cut = || keep("P20D", &[("P4D", "PT5M"), ("P8D", "PT1H")]);
    lake.keep(vec![(DatastreamKey(1), cut()), (DatastreamKey(2), cut())]);
    lake.clear().await.unwrap();
    let engine = Engine::over(lake.clone(), QueryConfig::default()).unwrap();
    // Datastream 1 lies in 50/1/, 2 in 50/2/.
    let catalog = catalog(2);
    let area = Scope::Areas(vec![AreaPath::parse("50/1/").unwrap()]);
    let steps = "SELECT thing, unit, step_seconds, mean, min, max, first, last, count FROM observations_by_step \
                 WHERE property = 'pressure' ORDER BY phenomenon_time";
    let expected = [
        "t-1 MPa 3600 2.3333333333333335 1.0 4.0 1.0 4.0 3",
        "t-1 MPa 3600 8.0 8.0 8.0 8.0 8.0 1",
        "t-1 MPa 300 1.5 1.0 2.0 1.0 2.0 2",
        "t-1 MPa 300 4.0 4.0 4.0 4.0 4.0 1",
        "t-1 MPa 300 8.0 8.0 8.0 8.0 8.0 1",
    ];
    assert_eq!(texts(&engine, &catalog, &area, steps).await, expected);
    for (condition, count) in [
        ("true", 5),
        ("datastream IN (1, 2)", 5),
        ("datastream = 2", 0),
        ("count > 1", 2),
        ("step_seconds = 300 AND mean < 5", 2),
        ("phenomenon_time < now() - INTERVAL '8 days'", 2),
        // A condition that fails on what is hidden does not tell of it: 2 is not seen, nor its steps.
        ("1 / (datastream - 2) > -5", 5),
    ] {
        let sql = format!("SELECT count(*) FROM observations_by_step WHERE {condition}");
        assert_eq!(texts(&engine, &catalog, &area, &sql).await, [count.to_string()], "{condition}");
    }
    let all = "SELECT count(*), count(DISTINCT thing) FROM observations_by_step";
    assert_eq!(texts(&engine, &catalog, &Scope::All, all).await, ["10 2"]);
    assert_eq!(texts(&engine, &catalog, &Scope::Areas(Vec::new()), all).await, ["0 0"]);
    // Both tables side by side are the whole.
    let whole =
        "SELECT count(*) + (SELECT sum(count) FROM observations_by_step) FROM observations WHERE quality < 8";
    assert_eq!(texts(&engine, &catalog, &area, whole).await, ["12"]);
    let oracle = "SELECT count(*) FROM observations_by_step WHERE 1 / (datastream - 2) > -5";
    assert!(ask(&engine, &catalog, &Scope::All, oracle).await.is_err());
    lake.close().await;
}

#[tokio::test]
async fn late_samples_are_added_to_the_steps_that_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let config = in_folder(&folder);
    let lake = filled(&config, &[6]).await;
    lake.keep(vec![(DatastreamKey(1), keep("P20D", &[("P4D", "PT5M")]))]);
    lake.clear().await.unwrap();
    append(&lake, store::now(), &[sample(1, days_ago(6).plus(3 * Micros::MINUTE), 6.0)]).await;
    lake.take_in().await.unwrap();
    lake.clear().await.unwrap();
    assert_eq!(steps(&lake, 1, 6).await[0], (0, 300, 3, 3.0, 1.0, 6.0));
    lake.close().await;
}

#[tokio::test]
async fn a_round_that_was_cut_off_is_finished_and_counts_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    // Writes: the steps, their commit, the rows that stay, their commit.
    for killed in [false, true] {
        for written in [false, true] {
            for n in 0..5 {
                let store = Failing::new();
                let config = with_store(&in_folder(&folder), store.clone());
                std::fs::remove_file(folder.path().join("observations.db")).ok();
                let mut lake = filled(&config, &[6]).await;
                let declared = vec![(DatastreamKey(1), keep("P20D", &[("P4D", "PT5M")]))];
                lake.keep(declared.clone());
                store.fail_at(n, written);
                let first = lake.clear().await;
                store.heal();
                let case = format!("write {n} failed, written {written}, killed {killed}: {first:?}");
                if killed {
                    lake = reopen(lake, &config).await;
                    lake.keep(declared);
                }
                // What comes in between finds the round finished.
                append(&lake, store::now(), &[sample(1, days_ago(6).plus(3 * Micros::MINUTE), 6.0)]).await;
                lake.take_in().await.unwrap();
                lake.clear().await.unwrap();
                let found: Vec<_> = steps(&lake, 1, 6).await.iter().map(|s| (s.0, s.2)).collect();
                assert_eq!(found, [(0, 3), (5, 1), (70, 1)], "{case}");
                assert_eq!(lake.cold().view().rows(), 4, "{case}: the other's");
                lake.close().await;
            }
        }
    }
}
