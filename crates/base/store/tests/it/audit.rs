//! The audit's chain: it holds whatever is written at once, and its first broken entry is named.

use std::collections::BTreeMap;

use store::audit::{Broken, Verified};
use store::testing::{TestDatabase, on_each};
use store::{Store, StoreError, args};

use crate::context;

async fn act(store: &Store, what: &str) {
    store
        .command::<_, (), StoreError, _>(&context(), "thing:do", what.to_owned(), |tx, what| {
            Box::pin(async move {
                tx.subject("thing", what, None);
                tx.detail(serde_json::json!({ "what": what }));
                Ok(())
            })
        })
        .await
        .unwrap();
}

/// What a hand in the database does; leaves no entry.
async fn tamper(store: &Store, sql: &'static str) {
    store
        .command::<_, (), StoreError, _>(&context(), "test:tamper", (), move |tx, ()| {
            Box::pin(async move {
                tx.bookkeeping();
                tx.execute(sql, vec![]).await.map(drop)
            })
        })
        .await
        .unwrap();
}

async fn verify(store: &Store) -> Result<Verified, Broken> {
    store.verify_audit(&BTreeMap::new()).await.unwrap()
}

#[tokio::test]
async fn the_chain_holds_over_commands_at_once() {
    on_each(|store| async move {
        assert_eq!(verify(&store).await.unwrap().entries, 0);
        let all = (0..300).map(|n| {
            let store = store.clone();
            tokio::spawn(async move { act(&store, &n.to_string()).await })
        });
        for one in futures::future::join_all(all).await {
            one.unwrap();
        }
        let held = verify(&store).await.unwrap();
        assert_eq!(held, Verified { start: 0, entries: 300, anchors: 0 });
        let head = store.audit_head().await.unwrap();
        let anchors = BTreeMap::from([(head.position, head.hash)]);
        act(&store, "one more").await;
        let held = store.verify_audit(&anchors).await.unwrap().unwrap();
        assert_eq!(held, Verified { start: 0, entries: 301, anchors: 1 });
    })
    .await;
}

#[tokio::test]
async fn the_first_broken_entry_is_named() {
    let named = |broken: &Broken| match broken {
        Broken::Missing { position } | Broken::Changed { position, .. } | Broken::Head { position } => {
            *position
        }
        Broken::Outside { .. } => -1,
        Broken::Start { .. } | Broken::Anchor { .. } => -2,
    };
    for (what, sql, first) in [
        ("a word", "UPDATE audit SET detail = '{}' WHERE position = 4", 4),
        ("who", "UPDATE audit SET actor_name = 'another' WHERE position = 3", 3),
        ("when", "UPDATE audit SET at = at + 1 WHERE position = 5", 5),
        ("nothing for a text", "UPDATE audit SET resource = NULL WHERE position = 2", 2),
        (
            "a text into its neighbour",
            "UPDATE audit SET actor = actor || 'x', actor_name = substr(actor_name, 2) WHERE position = 2",
            2,
        ),
        (
            "a hash",
            "UPDATE audit SET hash = (SELECT hash FROM audit WHERE position = 1) WHERE position = 6",
            6,
        ),
        ("taken out", "DELETE FROM audit WHERE position = 5", 5),
        ("the end cut off", "DELETE FROM audit WHERE position > 7", 8),
        (
            "put in",
            "INSERT INTO audit (at, actor, actor_name, action, request, detail) SELECT at, actor, actor_name, action, request, detail FROM audit WHERE position = 1",
            -1,
        ),
        ("the head", "UPDATE audit_head SET hash = (SELECT hash FROM audit WHERE position = 1)", 8),
    ] {
        for database in TestDatabase::each().await {
            let store = database.open().await.unwrap();
            for n in 0..8 {
                act(&store, &n.to_string()).await;
            }
            tamper(&store, sql).await;
            let broken = verify(&store).await.unwrap_err();
            assert_eq!(named(&broken), first, "{what} on {}: {broken}", database.backend.name());
            store.stop().await;
        }
    }
}

#[tokio::test]
async fn a_chain_made_anew_or_cut_short_is_known_by_its_anchor() {
    on_each(|store| async move {
        for n in 0..6 {
            act(&store, &n.to_string()).await;
        }
        let head = store.audit_head().await.unwrap();
        let mut anchors = BTreeMap::from([(head.position, head.hash)]);
        assert!(store.verify_audit(&anchors).await.unwrap().is_ok());
        // The same entries, with another's hash kept outside.
        anchors.insert(3, [7; 32]);
        assert_eq!(store.verify_audit(&anchors).await.unwrap(), Err(Broken::Anchor { position: 3 }));
        // The end cut off and the head set back: the database agrees with itself.
        let anchors = BTreeMap::from([(head.position, head.hash)]);
        tamper(&store, "DELETE FROM audit WHERE position > 4").await;
        tamper(
            &store,
            "UPDATE audit_head SET position = 4, hash = (SELECT hash FROM audit WHERE position = 4)",
        )
        .await;
        assert!(verify(&store).await.is_ok());
        assert_eq!(store.verify_audit(&anchors).await.unwrap(), Err(Broken::Missing { position: 5 }));
    })
    .await;
}

#[tokio::test]
async fn entries_from_before_the_chain_are_its_start() {
    for database in TestDatabase::each().await {
        let store = database.open().await.unwrap();
        for n in 0..5 {
            act(&store, &n.to_string()).await;
        }
        // As an older version left them.
        tamper(&store, "UPDATE audit SET position = NULL, hash = NULL").await;
        tamper(&store, "DELETE FROM audit_head").await;
        store.stop().await;
        let store = database.open().await.unwrap();
        act(&store, "after").await;
        assert_eq!(verify(&store).await, Ok(Verified { start: 5, entries: 1, anchors: 0 }));
        tamper(&store, "UPDATE audit SET action = 'thing:undo' WHERE seq = 2").await;
        assert!(matches!(verify(&store).await, Err(Broken::Start { seq: 5 })));
        let rows: Vec<(i64,)> =
            store.read().all("SELECT seq FROM audit WHERE action = 'thing:undo'", args![]).await.unwrap();
        assert_eq!(rows, [(2,)]);
        store.stop().await;
    }
}
