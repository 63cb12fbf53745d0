use model::Id;
use platform::testing::system;
use serde_json::json;
use store::StoreError;
use store::testing::TestDatabase;

use crate::{Hub, SILENCE, eventually, on_each, pack};

/// The kinds of the changes of an alert, with severity.
async fn changes(hub: &Hub, alert: Id) -> Vec<String> {
    let sql = "SELECT kind, severity FROM alert_changes WHERE alert = $1 ORDER BY id";
    let rows: Vec<(String, Option<i64>)> = hub.store.read().all(sql, store::args![alert]).await.unwrap();
    rows.into_iter().map(|(kind, s)| s.map_or(kind.clone(), |s| format!("{kind} {s}"))).collect()
}

async fn events(hub: &Hub) -> Vec<model::Event> {
    let events = hub.store.events_after(0, 500).await.unwrap();
    events.into_iter().filter(|e| e.kind.starts_with("alert.")).collect()
}

#[tokio::test]
async fn one_alert_opens_changes_in_place_and_resolves() {
    on_each(|database| async move {
        let hub = Hub::open(&database, &pack("")).await;
        hub.ingest(1, &[(-9, 0.3), (-8, 0.15)]).await;
        hub.ingest(1, &[(-7, 0.15)]).await;
        hub.wait_alerts(&["h-1 low open 3"]).await;
        hub.ingest(1, &[(-6, 0.05), (-5, 0.05)]).await;
        hub.wait_alerts(&["h-1 low open 1"]).await;
        hub.ingest(1, &[(-4, 0.3), (-3, 0.3)]).await;
        hub.wait_alerts(&["h-1 low resolved 1"]).await;
        let alert = hub.ids().await[0];
        assert_eq!(changes(&hub, alert).await, ["opened 3", "severity 1", "resolved 1"]);
        eventually(|| async {
            let kinds: Vec<_> = events(&hub).await.into_iter().map(|e| e.kind).collect();
            let expected = ["alert.opened", "alert.changed", "alert.resolved"];
            if kinds == expected { Ok(()) } else { Err(format!("{kinds:?}")) }
        })
        .await;
        let opened = events(&hub).await.remove(0);
        assert_eq!(opened.area.as_str(), crate::ESTATE);
        let facts = opened.data;
        assert_eq!(
            json!([
                facts["thing"],
                facts["severity"],
                facts["value"],
                facts["unit"],
                facts["properties"]["main"]
            ]),
            json!(["h-1", "yellow", 0.15, "MPa", "main-1"])
        );
        // It may open again, as another alert.
        hub.ingest(1, &[(-2, 0.15), (-1, 0.15)]).await;
        hub.wait_alerts(&["h-1 low resolved 1", "h-1 low open 3"]).await;
        hub.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_burst_is_one_batch_and_an_alert_for_each() {
    on_each(|database| async move {
        let hub = Hub::open(&database, &pack("")).await;
        for s in [-2, -1] {
            let now = store::now();
            let samples = (1..=3).map(|key| crate::sample(key, now.plus(s * 1_000_000), 0.05)).collect();
            model::observation::Ingest::ingest(&*hub.watch, samples, vec![]).await.unwrap();
        }
        eventually(|| async {
            let mut alerts = hub.alerts().await;
            alerts.sort();
            let expected = ["h-1 low open 1", "h-2 low open 3", "h-3 low open 3"];
            if alerts == expected { Ok(()) } else { Err(format!("{alerts:?}")) }
        })
        .await;
        let numbers: Vec<(String,)> =
            hub.store.read().all("SELECT number FROM alerts ORDER BY number", vec![]).await.unwrap();
        assert!(numbers[0].0.ends_with("-0001") && numbers[2].0.ends_with("-0003"), "{numbers:?}");
        hub.close().await;
    })
    .await;
}

#[tokio::test]
async fn silence_is_an_alert_that_ends_with_a_word() {
    on_each(|database| async move {
        let hub = Hub::open(&database, &pack(SILENCE)).await;
        // Indoor hydrant 2 speaks once; 1 and 3 were never heard and are not silent.
        hub.ingest(2, &[(0, 0.3)]).await;
        hub.wait_alerts(&["h-2 silent open 4"]).await;
        hub.ingest(2, &[(0, 0.3)]).await;
        eventually(|| async {
            let first = hub.alerts().await.remove(0);
            if first == "h-2 silent resolved 4" { Ok(()) } else { Err(first) }
        })
        .await;
        hub.close().await;
    })
    .await;
}

/// What a case tells.
async fn tell(hub: &Hub, kind: &'static str, data: serde_json::Value) {
    hub.store
        .command::<_, (), StoreError, _>(&system(), "case:test", data, move |tx, data| {
            Box::pin(async move {
                let area =
                    model::AreaPath::parse(crate::ESTATE).map_err(|e| StoreError::Document(e.to_string()))?;
                tx.event(kind, &area, data);
                Ok(())
            })
        })
        .await
        .unwrap();
}

async fn opened(database: &TestDatabase) -> (Hub, Id) {
    let hub = Hub::open(database, &pack("")).await;
    hub.ingest(1, &[(-2, 0.15), (-1, 0.15)]).await;
    hub.wait_alerts(&["h-1 low open 3"]).await;
    let id = hub.ids().await[0];
    (hub, id)
}

#[tokio::test]
async fn a_case_acknowledges_its_alerts_and_leaves_a_note() {
    on_each(|database| async move {
        let (hub, alert) = opened(&database).await;
        tell(&hub, "case.acknowledged", json!({ "alerts": [alert, store::new_id()], "by": "王强" })).await;
        hub.wait_alerts(&["h-1 low acknowledged 3"]).await;
        tell(&hub, "case.acknowledged", json!({ "alerts": [alert], "by": "somebody else" })).await;
        tell(
            &hub,
            "case.closed",
            json!({ "alerts": [alert, store::new_id()], "number": "2026-1124-0003", "outcome": "repaired" }),
        )
        .await;
        eventually(|| async {
            let changes = changes(&hub, alert).await;
            if changes == ["opened 3", "acknowledged 3", "note"] {
                Ok(())
            } else {
                Err(format!("{changes:?}"))
            }
        })
        .await;
        let by: Option<(String,)> =
            hub.store.read().opt("SELECT acknowledged_by FROM alerts", vec![]).await.unwrap();
        assert_eq!(by.unwrap().0, "王强", "the first");
        // Acknowledged or not, it gets graver and resolves.
        hub.ingest(1, &[(0, 0.05), (1, 0.05)]).await;
        hub.wait_alerts(&["h-1 low acknowledged 1"]).await;
        hub.ingest(1, &[(2, 0.3), (3, 0.3)]).await;
        hub.wait_alerts(&["h-1 low resolved 1"]).await;
        hub.close().await;
    })
    .await;
}
