//! Events: order after commit, exactly once in effect, bad ones laid aside.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use store::testing::{TestDatabase, on_each};
use store::{Backend, Store, StoreError, args, new_id};

use crate::{area, context};

async fn tell(store: &Store, kind: &str, n: i64) {
    store
        .command::<_, (), StoreError, _>(&context(), "test:tell", (kind.to_owned(), n), |tx, (kind, n)| {
            Box::pin(async move {
                tx.event(kind, &area(), &serde_json::json!({ "n": n }));
                Ok(())
            })
        })
        .await
        .unwrap();
}

async fn until(store: &Store, sql: &'static str, expected: i64) {
    for _ in 0..500 {
        if store.read().opt::<(i64,)>(sql, args![]).await.unwrap().unwrap().0 == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{sql} never gave {expected}");
}

const COUNT: &str = "INSERT INTO counters (name, value) VALUES ($1, 1)
    ON CONFLICT (name) DO UPDATE SET value = counters.value + 1";

#[tokio::test]
async fn a_subscriber_digests_every_event_once_and_goes_on_after_a_restart() {
    for database in TestDatabase::each().await {
        for round in 1..=2 {
            let store = database.open().await.unwrap();
            for n in 0..100 {
                tell(&store, "thing.happened", n).await;
            }
            let handler: store::outbox::Handler = Arc::new(|tx, events| {
                Box::pin(async move {
                    for _ in events {
                        tx.execute(COUNT, args!["digested"]).await?;
                    }
                    Ok(())
                })
            });
            store.subscribe("test.counter", handler).await.unwrap();
            until(
                &store,
                "SELECT COALESCE(MAX(value), 0) FROM counters WHERE name = 'digested'",
                100 * round,
            )
            .await;
            store.stop().await;
        }
    }
}

#[tokio::test]
async fn an_event_that_cannot_be_digested_is_laid_aside_and_the_rest_goes_on() {
    on_each(|store| async move {
        let tries = Arc::new(AtomicU32::new(0));
        let seen = tries.clone();
        let handler: store::outbox::Handler = Arc::new(move |tx, events| {
            let seen = seen.clone();
            Box::pin(async move {
                for event in events {
                    if event.kind == "bad.one" {
                        seen.fetch_add(1, Ordering::Relaxed);
                        return Err(StoreError::Document("this one never reads".into()));
                    }
                    tx.execute(COUNT, args!["good"]).await?;
                }
                Ok(())
            })
        });
        store.subscribe("test.picky", handler).await.unwrap();
        for n in 0..10 {
            tell(&store, if n == 4 { "bad.one" } else { "good.one" }, n).await;
        }
        until(&store, "SELECT COALESCE(MAX(value), 0) FROM counters WHERE name = 'good'", 9).await;
        until(&store, "SELECT COUNT(*) FROM dead_events WHERE subscriber = 'test.picky'", 1).await;
        assert!(tries.load(Ordering::Relaxed) >= 8);
    })
    .await;
}

/// Two transactions that take sequence numbers in one order and commit in the other: a reader
/// that stands past the later number must still see the earlier one.
#[tokio::test]
async fn commits_in_reverse_order_are_all_seen() {
    let Some(database) = TestDatabase::postgres().await else { return };
    let store = database.open().await.unwrap();
    let Backend::Postgres { url } = &database.backend else { panic!("a PostgreSQL database") };
    let insert =
        "INSERT INTO outbox (id, kind, area, at, data) VALUES ($1, 'a.b', '50/', 0, '{}') RETURNING seq";
    let mut slow = PgConnection::connect(url).await.unwrap();
    let mut fast = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql("BEGIN").execute(&mut slow).await.unwrap();
    let (first,): (i64,) = sqlx::query_as(insert).bind(new_id()).fetch_one(&mut slow).await.unwrap();
    sqlx::raw_sql("BEGIN").execute(&mut fast).await.unwrap();
    let (second,): (i64,) = sqlx::query_as(insert).bind(new_id()).fetch_one(&mut fast).await.unwrap();
    assert!(first < second);
    sqlx::raw_sql("COMMIT").execute(&mut fast).await.unwrap();
    let mut head = store.head();
    head.wait_for(|p| *p >= 1).await.unwrap();
    let cursor = store.events_after(0, 10).await.unwrap().last().unwrap().position;
    sqlx::raw_sql("COMMIT").execute(&mut slow).await.unwrap();
    head.wait_for(|p| *p > cursor).await.unwrap();
    let late = store.events_after(cursor, 10).await.unwrap();
    assert_eq!(late.len(), 1, "the one that committed last comes after the cursor");
    store.stop().await;
}
