//! No statement sees more than the scope shows.

use lake::query::{QueryError, Scope};
use model::{AreaPath, DatastreamKey};

use super::{DAY, SECOND, ask, catalog, cold, engine, rows, texts};

#[tokio::test]
async fn no_statement_goes_round_the_scope() {
    let folder = tempfile::tempdir().unwrap();
    let old = rows((1..=4).map(|key| (key, DAY, f64::from(key))));
    let new = rows((1..=4).map(|key| (key, DAY + SECOND, f64::from(key))));
    let engine = engine(vec![new], Some(cold(folder.path(), &[old], true).await));
    let catalog = catalog(4);
    // Odd keys lie in 50/1/, even ones in 50/2/.
    let area = Scope::Areas(vec![AreaPath::parse("50/1/").unwrap()]);
    let keys = Scope::Keys(vec![DatastreamKey(1), DatastreamKey(3), DatastreamKey(99)]);
    let nothing = Scope::Areas(Vec::new());
    for sql in [
        "SELECT DISTINCT datastream FROM observations ORDER BY 1",
        "SELECT datastream FROM observations GROUP BY 1 ORDER BY 1",
        "SELECT DISTINCT datastream FROM observations WHERE datastream IN (1, 2, 3, 4) ORDER BY 1",
        "SELECT DISTINCT datastream FROM observations WHERE datastream = 2 OR true ORDER BY 1",
        "SELECT DISTINCT datastream FROM observations WHERE area LIKE '%' ORDER BY 1",
        "SELECT DISTINCT datastream FROM observations WHERE NOT in_area(area, '50/9/') ORDER BY 1",
        "SELECT DISTINCT datastream FROM public.observations ORDER BY 1",
        "SELECT DISTINCT datastream FROM datafusion.public.observations ORDER BY 1",
        "SELECT DISTINCT b.datastream FROM (SELECT count(*) FROM observations) a JOIN observations b ON true ORDER BY 1",
        "SELECT DISTINCT b.datastream FROM observations a FULL JOIN observations b ON a.datastream = b.datastream ORDER BY 1",
        "SELECT DISTINCT o.datastream FROM datastreams d RIGHT JOIN observations o ON d.key = o.datastream ORDER BY 1",
        "WITH all_of_them AS (SELECT * FROM observations) SELECT DISTINCT datastream FROM all_of_them ORDER BY 1",
        "WITH observations AS (SELECT * FROM observations) SELECT DISTINCT datastream FROM observations ORDER BY 1",
        "SELECT DISTINCT datastream FROM (SELECT * FROM observations UNION ALL SELECT * FROM observations) ORDER BY 1",
        "SELECT key FROM datastreams WHERE EXISTS (SELECT 1 FROM observations o WHERE o.datastream = key) ORDER BY 1",
        "SELECT DISTINCT datastream FROM observations WHERE value IN (SELECT max(value) FROM observations GROUP BY datastream) ORDER BY 1",
        "SELECT datastream FROM latest ORDER BY 1",
        "SELECT key FROM datastreams ORDER BY 1",
        "SELECT CAST(substr(code, 3) AS INT) FROM things ORDER BY 1",
    ] {
        for scope in [&area, &keys] {
            assert_eq!(texts(&engine, &catalog, scope, sql).await, ["1", "3"], "{sql}");
        }
        assert_eq!(texts(&engine, &catalog, &nothing, sql).await, [""; 0], "{sql}");
    }
    let count = "SELECT count(*), count(thing), min(value), max(value) FROM observations";
    assert_eq!(texts(&engine, &catalog, &area, count).await, ["4 4 1.0 3.0"]);
    assert_eq!(texts(&engine, &catalog, &area, "SELECT path FROM areas").await, ["50/1/"]);
    // A filter that fails on what is hidden does not tell of it.
    let oracle = "SELECT count(*) FROM observations WHERE 1 / (datastream - 2) >= -5";
    assert_eq!(texts(&engine, &catalog, &area, oracle).await, ["4"]);
    let of_values = "SELECT count(*) FROM observations WHERE 1 / (CAST(value AS INT) - 2) >= -5";
    assert_eq!(texts(&engine, &catalog, &area, of_values).await, ["4"]);
    assert!(ask(&engine, &catalog, &Scope::All, of_values).await.is_err());
    assert!(matches!(
        ask(&engine, &catalog, &Scope::All, oracle).await,
        Err(QueryError::Failed(_) | QueryError::Statement { .. })
    ));
    // What belongs to nobody is in no answer.
    let stray = super::engine(vec![rows([(5, DAY, 1.0), (1, DAY, 1.0)])], None);
    assert_eq!(texts(&stray, &catalog, &Scope::All, "SELECT datastream FROM observations").await, ["1"]);
}

#[tokio::test]
async fn there_are_no_tables_but_ours() {
    let engine = engine(vec![rows([(1, DAY, 1.0)])], None);
    let catalog = catalog(1);
    for sql in [
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM information_schema.df_settings",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM '/etc/passwd.csv'",
        "SELECT * FROM \"https://example.invalid/x.parquet\"",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM generate_series(1, 10)",
        "SELECT * FROM range(1, 10)",
        "SELECT * FROM nowhere.observations",
        "SELECT repeat('x', 1000000000)",
        "SELECT range(1, 1000000000)",
        "SELECT array_agg(value) FROM observations",
        "SELECT [1, 2, 3]",
    ] {
        let error = ask(&engine, &catalog, &Scope::All, sql).await.expect_err(sql);
        assert!(matches!(error, QueryError::Statement { .. }), "{sql}: {error:?}");
    }
}
