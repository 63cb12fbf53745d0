use lake::{Batch, Lake};
use model::Micros;

use crate::{Hub, lake_config, on_each, pack, sample};

#[tokio::test]
async fn a_restart_opens_nothing_twice_and_goes_on() {
    on_each(|database| async move {
        let hub = Hub::open(&database, &pack("")).await;
        hub.ingest(1, &[(-20, 0.15), (-19, 0.15), (-18, 0.05)]).await;
        hub.ingest(2, &[(-20, 0.15)]).await;
        hub.close().await;

        let hub = Hub::open(&database, &pack("")).await;
        assert_eq!(hub.alerts().await, ["h-1 low open 3"]);
        // One red sample before the restart and one after make two; so does one low one of h-2.
        hub.ingest(1, &[(-17, 0.05)]).await;
        hub.ingest(2, &[(-17, 0.15)]).await;
        hub.wait_alerts(&["h-1 low open 1", "h-2 low open 3"]).await;
        // What came before the restart is late after it.
        hub.ingest(1, &[(-25, 0.3), (-24, 0.3)]).await;
        hub.close().await;

        let hub = Hub::open(&database, &pack("")).await;
        hub.ingest(1, &[(-10, 0.3), (-9, 0.3)]).await;
        hub.wait_alerts(&["h-1 low resolved 1", "h-2 low open 3"]).await;
        hub.close().await;
    })
    .await;
}

#[tokio::test]
async fn what_was_committed_and_not_judged_is_judged_after_the_restart() {
    on_each(|database| async move {
        let hub = Hub::open(&database, &pack("")).await;
        hub.ingest(1, &[(-20, 0.15)]).await;
        hub.close().await;
        // As if the hub had died between the commit and the judge.
        let lake = Lake::open(lake_config(&database)).await.unwrap();
        let now = store::now();
        for s in [19, 18] {
            let samples = [sample(1, now.plus(-s * Micros::SECOND), 0.15)].into_iter().collect();
            lake.append(Batch { samples, received_at: now }).await.unwrap();
        }
        lake.close().await;
        for _ in 0..2 {
            let hub = Hub::open(&database, &pack("")).await;
            assert_eq!(hub.alerts().await, ["h-1 low open 3"]);
            hub.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn judging_again_what_is_on_record_changes_nothing() {
    on_each(|database| async move {
        let hub = Hub::open(&database, &pack("")).await;
        hub.ingest(1, &[(-20, 0.15), (-19, 0.15)]).await;
        hub.ingest(1, &[(-18, 0.05), (-17, 0.05)]).await;
        hub.ingest(1, &[(-16, 0.3), (-15, 0.3)]).await;
        hub.wait_alerts(&["h-1 low resolved 1"]).await;
        // A watermark that lags: the effects are on record, the mark is not.
        hub.watch.stop().await;
        hub.store
            .command::<_, u64, store::StoreError, _>(
                &platform::testing::system(),
                "test:forget",
                (),
                |tx, ()| Box::pin(async move { tx.execute("DELETE FROM judged", vec![]).await }),
            )
            .await
            .unwrap();
        hub.close().await;
        let hub = Hub::open(&database, &pack("")).await;
        assert_eq!(hub.alerts().await, ["h-1 low resolved 1"]);
        let count: Option<(i64,)> =
            hub.store.read().opt("SELECT COUNT(*) FROM alert_changes", vec![]).await.unwrap();
        assert_eq!(count, Some((3,)));
        hub.close().await;
    })
    .await;
}

#[tokio::test]
async fn an_alert_of_a_rule_that_is_gone_is_resolved() {
    on_each(|database| async move {
        let hub = Hub::open(&database, &pack("")).await;
        hub.ingest(1, &[(-20, 0.15), (-19, 0.15)]).await;
        hub.wait_alerts(&["h-1 low open 3"]).await;
        hub.close().await;
        let mut other = pack("");
        let rules = other.files.get_mut("rules.toml").unwrap();
        *rules = rules.replace("id = \"low\"", "id = \"lower\"");
        let hub = Hub::open(&database, &other).await;
        assert_eq!(hub.alerts().await, ["h-1 low resolved 3"]);
        hub.close().await;
    })
    .await;
}
