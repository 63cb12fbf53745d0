//! Both databases have the same tables and columns, and take every statement.

use std::collections::BTreeSet;

use store::args;
use store::testing::{TestDatabase, on_each, refused_statements};

#[tokio::test]
async fn both_databases_have_the_same_tables_and_columns() {
    let Some(postgres) = TestDatabase::postgres().await else { return };
    let sqlite = TestDatabase::sqlite();
    let (s, p) = (sqlite.open().await.unwrap(), postgres.open().await.unwrap());
    let of_sqlite: Vec<(String, String)> = s
        .read()
        .all(
            "SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c
             WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name NOT LIKE '_sqlx%'",
            args![],
        )
        .await
        .unwrap();
    let of_postgres: Vec<(String, String)> = p
        .read()
        .all(
            "SELECT table_name::text, column_name::text FROM information_schema.columns
             WHERE table_schema = 'public' AND table_name NOT LIKE '\\_sqlx%'",
            args![],
        )
        .await
        .unwrap();
    // The lake's tables lie in a file of their own beside SQLite's state.
    // `segments` has partitions there.
    let lake =
        |table: &str| ["last_values", "damaged_segments"].contains(&table) || table.starts_with("segments");
    let of_postgres: BTreeSet<_> = of_postgres.into_iter().filter(|(t, _)| !lake(t)).collect();
    let of_sqlite: BTreeSet<_> = of_sqlite.into_iter().collect();
    assert!(of_sqlite.len() > 50, "{} columns", of_sqlite.len());
    let apart: Vec<_> = of_sqlite.symmetric_difference(&of_postgres).collect();
    assert!(apart.is_empty(), "only on one: {apart:?}");
    s.stop().await;
    p.stop().await;
}

#[tokio::test]
async fn every_statement_is_understood_by_both() {
    on_each(|store| async move {
        let all = [
            store::audit::STATEMENTS,
            store::command::STATEMENTS,
            store::outbox::STATEMENTS,
            store::writer::STATEMENTS,
        ]
        .concat();
        let refused = refused_statements(&store, &all).await.unwrap();
        assert!(refused.is_empty(), "{refused:#?}");
    })
    .await;
}
