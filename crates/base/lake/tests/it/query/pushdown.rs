//! What is not asked for is not read.

use lake::query::Scope;
use model::AreaPath;

use super::{DAY, SECOND, ask, catalog, cold, engine, rows, texts};

const HOUR: i64 = 3600 * SECOND;

#[tokio::test]
async fn files_are_chosen_by_day_and_pages_by_key() {
    let folder = tempfile::tempdir().unwrap();
    // Three days, 40 datastreams, 1440 rows each a day.
    let days: Vec<_> = (0..3)
        .map(|day| {
            rows((1..=40).flat_map(move |key| {
                (0..1440)
                    .map(move |minute| (key, DAY + day * 24 * HOUR + minute * 60 * SECOND, f64::from(key)))
            }))
        })
        .collect();
    let engine = engine(Vec::new(), Some(cold(folder.path(), &days, true).await));
    let catalog = catalog(40);
    let all = 3 * 40 * 1440;
    let one = Scope::Areas(vec![AreaPath::parse("50/1/").unwrap()]);
    for (scope, condition, files, rows_at_most, expected) in [
        (&Scope::All, "true", 3, all, all),
        (&Scope::All, "phenomenon_time < '2026-11-25T00:00:00Z'", 1, all / 3, all / 3),
        (&Scope::All, "phenomenon_time >= '2026-11-26T12:00:00Z'", 1, all / 3, all / 6),
        (&Scope::All, "phenomenon_time = '2026-11-25T00:00:00Z'", 1, all / 3, 40),
        (&Scope::All, "thing = 't-7'", 3, 3 * 22_000, 3 * 1440),
        (&Scope::All, "datastream IN (7, 8)", 3, 3 * 42_000, 2 * 3 * 1440),
        (&Scope::All, "datastream = 41", 0, 0, 0),
        (&Scope::All, "thing = 'nobody'", 0, 0, 0),
        (&Scope::All, "value > 1000", 3, 0, 0),
        (&Scope::All, "in_area(area, '50/2/')", 3, all, all / 2),
        (&one, "true", 3, all, all / 2),
        (&one, "area LIKE '50/2/%'", 0, 0, 0),
    ] {
        let sql = format!("SELECT count(*) FROM (SELECT value + 0 FROM observations WHERE {condition})");
        let (cells, scanned) = ask(&engine, &catalog, scope, &sql).await.unwrap();
        assert_eq!(cells, [[expected.to_string()]], "{condition}");
        assert_eq!(scanned.files, files, "{condition}: files");
        assert!(scanned.rows <= rows_at_most, "{condition}: {} rows were read", scanned.rows);
    }
}

#[tokio::test]
async fn what_is_newer_than_the_table_costs_no_comparison_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let old = rows((1..=3).map(|key| (key, DAY, 1.0)));
    let new = rows((1..=3).map(|key| (key, DAY + HOUR, 2.0)));
    let late = rows([(2, DAY, 9.0)]);
    let catalog = catalog(3);
    let sql = "EXPLAIN SELECT value FROM observations";
    for (hot, compared) in [(vec![new.clone()], false), (vec![new, late], true)] {
        let engine = engine(hot, Some(cold(folder.path(), std::slice::from_ref(&old), true).await));
        let plan = texts(&engine, &catalog, &Scope::All, sql).await.join("\n");
        assert_eq!(plan.contains("is_current"), compared, "{plan}");
        drop(std::fs::remove_dir_all(folder.path().join("_delta_log")));
    }
}
