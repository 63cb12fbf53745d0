//! Commands: whole or not at all, together, once.

use sqlx::{Connection as _, PgConnection};
use store::testing::{TestDatabase, on_each};
use store::{Backend, Store, StoreError, args};

use crate::{area, context, person};

async fn count(store: &Store, sql: &'static str) -> i64 {
    store.read().opt::<(i64,)>(sql, args![]).await.unwrap().unwrap().0
}

/// A command that writes a counter, tells of it, and fails when told to.
async fn bump(store: &Store, name: &str, fail: bool) -> Result<i64, StoreError> {
    store
        .command(&context(), "counter:bump", (name.to_owned(), fail), |tx, (name, fail)| {
            Box::pin(async move {
                let row: Option<(i64,)> = tx
                    .opt(
                        "INSERT INTO counters (name, value) VALUES ($1, 1)
                         ON CONFLICT (name) DO UPDATE SET value = counters.value + 1 RETURNING value",
                        args![name],
                    )
                    .await?;
                tx.event("counter.bumped", &area(), &serde_json::json!({ "name": name }));
                tx.subject("counter", name, Some(&area()));
                if *fail { Err(StoreError::Document("as asked".into())) } else { Ok(row.unwrap().0) }
            })
        })
        .await
}

#[tokio::test]
async fn a_command_writes_state_event_and_audit_together_or_nothing() {
    on_each(|store| async move {
        assert_eq!(bump(&store, "a", false).await.unwrap(), 1);
        assert!(matches!(bump(&store, "a", true).await, Err(StoreError::Document(_))));
        assert_eq!(count(&store, "SELECT value FROM counters WHERE name = 'a'").await, 1);
        assert_eq!(count(&store, "SELECT COUNT(*) FROM outbox").await, 1);
        assert_eq!(count(&store, "SELECT COUNT(*) FROM audit WHERE action = 'counter:bump'").await, 1);
    })
    .await;
}

#[tokio::test]
async fn in_a_set_a_failing_command_takes_only_itself_back() {
    on_each(|store| async move {
        // All at once, so that they share transactions; every third one fails after it wrote.
        let all = (0..90).map(|i| {
            let store = store.clone();
            tokio::spawn(async move { bump(&store, "set", i % 3 == 0).await })
        });
        let outcomes = futures::future::join_all(all).await;
        let good = outcomes.iter().filter(|o| o.as_ref().unwrap().is_ok()).count();
        assert_eq!(good, 60);
        assert_eq!(count(&store, "SELECT value FROM counters WHERE name = 'set'").await, 60);
        assert_eq!(count(&store, "SELECT COUNT(*) FROM outbox").await, 60);
        assert_eq!(count(&store, "SELECT COUNT(*) FROM audit WHERE action = 'counter:bump'").await, 60);
    })
    .await;
}

#[tokio::test]
async fn the_same_idempotency_key_gives_the_same_answer_once() {
    on_each(|store| async move {
        let number = |context| {
            let store = store.clone();
            async move {
                store
                    .command::<_, String, StoreError, _>(&context, "case:create", (), |tx, ()| {
                        Box::pin(async move { tx.next_number("case").await })
                    })
                    .await
            }
        };
        let first = number(person(Some("k1"))).await.unwrap();
        assert_eq!(number(person(Some("k1"))).await.unwrap(), first);
        assert_ne!(number(person(Some("k2"))).await.unwrap(), first);
        assert_ne!(number(person(None)).await.unwrap(), first);
        let other = store
            .command::<_, (), StoreError, _>(&person(Some("k1")), "case:close", (), |_, ()| {
                Box::pin(async { Ok(()) })
            })
            .await;
        assert!(matches!(other, Err(StoreError::KeyReused { .. })), "{other:?}");
    })
    .await;
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_reopening() {
    for database in TestDatabase::each().await {
        let store = database.open().await.unwrap();
        let second = database.open().await.err();
        assert!(matches!(second, Some(StoreError::Setup(_))), "a second hub is refused: {second:?}");
        assert_eq!(bump(&store, "kept", false).await.unwrap(), 1);
        store.stop().await;
        assert!(matches!(bump(&store, "kept", false).await, Err(StoreError::Stopping)));
        drop(store);
        let store = database.open().await.unwrap();
        assert_eq!(bump(&store, "kept", false).await.unwrap(), 2);
        store.stop().await;
    }
}

#[tokio::test]
async fn a_command_that_panics_takes_back_only_itself() {
    on_each(|store| async move {
        let panicking = store
            .command::<_, (), StoreError, _>(&context(), "test:panic", (), |tx, ()| {
                Box::pin(async move {
                    tx.execute("INSERT INTO counters (name, value) VALUES ('panicked', 1)", args![]).await?;
                    panic!("as asked")
                })
            })
            .await;
        assert!(matches!(panicking, Err(StoreError::Statement(_))), "{panicking:?}");
        assert_eq!(bump(&store, "after", false).await.unwrap(), 1);
        assert_eq!(count(&store, "SELECT COUNT(*) FROM counters WHERE name = 'panicked'").await, 0);
        assert!(store.is_ready().await);
    })
    .await;
}

/// The server ends the writer's connection in the middle of a command: its caller is told, nothing
/// of it is there, and the next command goes over a new connection.
#[tokio::test]
async fn a_lost_connection_takes_its_transaction_with_it() {
    let Some(database) = TestDatabase::postgres().await else { return };
    let Backend::Postgres { url } = database.backend.clone() else { return };
    let store = database.open().await.unwrap();
    let lost = store
        .command::<_, (), StoreError, _>(&context(), "test:lose", url, |tx, url| {
            Box::pin(async move {
                tx.execute("INSERT INTO counters (name, value) VALUES ('lost', 1)", args![]).await?;
                let pid: Option<(i64,)> = tx.opt("SELECT pg_backend_pid()::bigint", args![]).await?;
                let mut other = PgConnection::connect(url).await?;
                let end = sqlx::query("SELECT pg_terminate_backend($1::int)").bind(pid.unwrap().0);
                end.execute(&mut other).await?;
                tx.execute("INSERT INTO counters (name, value) VALUES ('lost too', 1)", args![]).await?;
                Ok(())
            })
        })
        .await;
    assert!(lost.as_ref().is_err_and(StoreError::is_transient), "{lost:?}");
    assert_eq!(bump(&store, "after", false).await.unwrap(), 1);
    assert_eq!(count(&store, "SELECT COUNT(*) FROM counters WHERE name LIKE 'lost%'").await, 0);
    store.stop().await;
}
