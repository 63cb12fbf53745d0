//! What is refused, and how far a statement may go.

use std::sync::Arc;
use std::time::Duration;

use lake::query::{Engine, Limits, QueryConfig, QueryError, Scope, Snapshot};

use super::{DAY, Fixed, SECOND, ask, catalog, engine, rows};

#[tokio::test]
async fn only_one_statement_that_reads_is_run() {
    let engine = engine(vec![rows([(1, DAY, 1.0)])], None);
    let catalog = catalog(1);
    for sql in [
        "",
        " -- nothing",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP TABLE observations",
        "INSERT INTO observations SELECT * FROM observations",
        "INSERT INTO things VALUES ('x')",
        "UPDATE observations SET value = 0",
        "DELETE FROM observations",
        "CREATE TABLE t AS SELECT 1",
        "CREATE VIEW v AS SELECT * FROM observations",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "CREATE SCHEMA s",
        "CREATE FUNCTION f() RETURNS INT RETURN 1",
        "DROP TABLE observations",
        "DROP VIEW observations",
        "ALTER TABLE observations ADD COLUMN x INT",
        "COPY observations TO '/tmp/x.parquet'",
        "COPY (SELECT 1) TO '/tmp/x.csv'",
        "SET datafusion.execution.target_partitions = 64",
        "RESET datafusion.execution.target_partitions",
        "SHOW TABLES",
        "SHOW ALL",
        "DESCRIBE observations",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "BEGIN",
        "COMMIT",
        "TRUNCATE TABLE observations",
        "EXPLAIN ANALYZE SELECT * FROM observations",
        "EXPLAIN VERBOSE SELECT * FROM observations",
        "EXPLAIN COPY (SELECT 1) TO '/tmp/x'",
        "EXPLAIN INSERT INTO things VALUES ('x')",
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n) SELECT * FROM n",
        "WITH x AS (SELECT 1) INSERT INTO things SELECT * FROM x",
        "SELECT * INTO t FROM observations",
    ] {
        let error = ask(&engine, &catalog, &Scope::All, sql).await.expect_err(sql);
        assert!(matches!(error, QueryError::Refused(_) | QueryError::Statement { .. }), "{sql}: {error:?}");
        assert!(ask(&engine, &catalog, &Scope::All, "SELECT * FROM observations").await.is_ok(), "{sql}");
    }
}

#[tokio::test]
async fn an_error_says_where_it_is() {
    let engine = engine(vec![rows([(1, DAY, 1.0)])], None);
    let catalog = catalog(1);
    for (sql, words, position) in [
        ("SELECT value\nFROM observations WHERE", "expected", Some((2, 24))),
        ("SELEC value FROM observations", "expected", Some((1, 1))),
        ("SELECT value,\n  valeu FROM observations", "valeu", Some((2, 3))),
        ("SELECT * FROM observation", "observation", None),
        ("SELECT 'abc", "unterminated", Some((1, 8))),
        ("SELECT nosuch(value) FROM observations", "nosuch", None),
    ] {
        let error = ask(&engine, &catalog, &Scope::All, sql).await.expect_err(sql);
        let QueryError::Statement { message, position: at } = &error else { panic!("{sql}: {error:?}") };
        assert!(message.to_lowercase().contains(words), "{sql}: {message}");
        if position.is_some() {
            assert_eq!(*at, position, "{sql}: {message}");
        }
    }
}

#[tokio::test]
async fn what_is_too_deep_or_too_wide_is_refused_and_nothing_falls_over() {
    let engine = engine(vec![rows([(1, DAY, 1.0)])], None);
    let catalog = catalog(1);
    let doubled = |times: usize| {
        let parts = (1..=times)
            .map(|n| format!(", a{n} AS (SELECT * FROM a{p} UNION ALL SELECT * FROM a{p})", p = n - 1));
        format!("WITH a0 AS (SELECT 1){} SELECT * FROM a{times}", parts.collect::<String>())
    };
    for (sql, fine) in [
        (format!("SELECT {}1{}", "(".repeat(10), ")".repeat(10)), true),
        (format!("SELECT {}1{}", "(".repeat(20_000), ")".repeat(20_000)), false),
        (format!("SELECT {}1", "- ".repeat(20_000)), false),
        (format!("SELECT {}true", "NOT ".repeat(5000)), false),
        (format!("SELECT 1{}", " + 1".repeat(400)), true),
        (format!("SELECT 1{}", " + 1".repeat(10_000)), false),
        (format!("SELECT 1{}", "::int".repeat(10_000)), false),
        (format!("SELECT 1 WHERE true{}", " OR true".repeat(5000)), false),
        (format!("SELECT {}1{}", "abs(".repeat(5000), ")".repeat(5000)), false),
        (format!("SELECT * FROM {}observations{}", "(SELECT * FROM ".repeat(2000), ")".repeat(2000)), false),
        (format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(3000)), false),
        (format!("SELECT 1 FROM observations o{}", ", observations".repeat(100)), false),
        (format!("SELECT value FROM observations WHERE datastream IN ({}1)", "1, ".repeat(5000)), true),
        (format!("SELECT '{}'", "x".repeat(20_000)), false),
        (format!("SELECT 1 -- {}", "x".repeat(70_000)), false),
        (doubled(3), true),
        (doubled(7), false),
        (doubled(40), false),
        ("WITH \"a\"\"b\" AS (SELECT 1) SELECT * FROM \"a\"\"b\"".into(), true),
    ] {
        let outcome = ask(&engine, &catalog, &Scope::All, &sql).await;
        let head: String = sql.chars().take(60).collect();
        match outcome {
            Ok(_) => assert!(fine, "{head} … was run"),
            Err(QueryError::Refused(_) | QueryError::Statement { .. }) => {
                assert!(!fine, "{head} …: {outcome:?}")
            }
            Err(e) => panic!("{head} …: {e:?}"),
        }
    }
}

#[tokio::test]
async fn rows_time_and_memory_are_bounded() {
    let many = rows((1..=50).flat_map(|key| (0..1000).map(move |s| (key, DAY + s * SECOND, f64::from(key)))));
    let config = QueryConfig { at_once: 1, wait: Duration::from_millis(50), memory: 16 << 20 };
    let engine =
        Engine::new(Arc::new(Fixed(Snapshot { hot: vec![many], ..Snapshot::default() })), config).unwrap();
    let catalog = catalog(50);
    let limits = Limits { rows: 10, ..Limits::default() };
    for (sql, rows, truncated) in [
        ("SELECT value FROM observations", 10, true),
        ("SELECT value FROM observations LIMIT 10", 10, false),
        ("SELECT value FROM observations LIMIT 11", 10, true),
        ("SELECT value FROM observations LIMIT 3", 3, false),
    ] {
        let (_, batches, cut) =
            engine.sql(sql, &catalog, &Scope::All, limits).await.unwrap().collect().await.unwrap();
        let found: usize = batches.iter().map(arrow_array::RecordBatch::num_rows).sum();
        assert_eq!((found, cut), (rows, truncated), "{sql}");
    }
    let small = Limits { bytes: 100_000, ..Limits::default() };
    let answer = engine.sql("SELECT * FROM observations", &catalog, &Scope::All, small).await.unwrap();
    let (_, batches, cut) = answer.collect().await.unwrap();
    assert!(cut && batches.iter().map(arrow_array::RecordBatch::num_rows).sum::<usize>() < 50_000);

    // Every pair of two long sides is refused before it begins; beside a single row it is not.
    let pairs = "SELECT count(*) FROM observations a, observations b WHERE a.value + b.value < 0";
    let refused = engine.sql(pairs, &catalog, &Scope::All, Limits::default()).await.err();
    assert!(matches!(refused, Some(QueryError::Refused(_))), "{refused:?}");
    let one = "SELECT count(*) FROM observations WHERE value > (SELECT avg(value) FROM observations)";
    assert!(engine.sql(one, &catalog, &Scope::All, Limits::default()).await.unwrap().collect().await.is_ok());

    // Each of 50 series beside itself: 50 million rows to count.
    let long = "SELECT count(*) FROM observations a JOIN observations b ON a.datastream = b.datastream
        WHERE a.value + b.value < 1000";
    let answer = engine.sql(long, &catalog, &Scope::All, Limits::default()).await.unwrap();
    // The only place is taken.
    let second = engine.sql("SELECT 1", &catalog, &Scope::All, Limits::default()).await;
    assert_eq!(second.err(), Some(QueryError::Busy));
    // Who leaves gives its place back, and so does one whose time is over.
    drop(answer);
    let limits = Limits { time: Duration::from_millis(300), ..Limits::default() };
    let mut tries = 0;
    let late = loop {
        match engine.sql(long, &catalog, &Scope::All, limits).await {
            Ok(answer) => break answer.collect().await.err(),
            Err(QueryError::Busy) => tries += 1,
            Err(other) => break Some(other),
        }
        assert!(tries < 1000, "the place was never given back");
    };
    assert_eq!(late, Some(QueryError::Timeout(0)));
    while let Err(e) = engine.sql("SELECT 1", &catalog, &Scope::All, Limits::default()).await {
        assert_eq!(e, QueryError::Busy);
        tries += 1;
        assert!(tries < 1000, "the place was never given back");
    }

    let wide = "SELECT count(*) FROM (
        SELECT DISTINCT a.phenomenon_time, b.phenomenon_time, a.datastream
        FROM observations a JOIN observations b ON a.datastream = b.datastream
    )";
    let answer = engine.sql(wide, &catalog, &Scope::All, Limits::default()).await.unwrap();
    let outcome = answer.collect().await;
    assert_eq!(outcome.err(), Some(QueryError::Memory(16)));

    // Doubling a text does not fill the memory.
    let mut text = "SELECT 'abcdefgh' || thing AS s FROM observations".to_owned();
    for _ in 0..12 {
        text = format!("SELECT s || s || s || s AS s FROM ({text})");
    }
    let outcome = ask(&engine, &catalog, &Scope::All, &text).await;
    assert!(matches!(outcome, Err(QueryError::Failed(_) | QueryError::Memory(_))), "{outcome:?}");
}
