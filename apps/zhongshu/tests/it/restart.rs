//! Stop and start in the middle of everything.

use serde_json::{Value, json};
use store::testing::TestDatabase;

use crate::city::{Estate, complete, publish, task, until};

#[tokio::test]
async fn after_a_restart_everything_acknowledged_is_there_and_goes_on() {
    for database in TestDatabase::each().await {
        // Ten minutes are three seconds: escalation comes due while the hub is down.
        let mut estate = Estate::start(database, 200.0).await;
        let [first, second] = estate.riser();
        let device = estate.device(first).await;
        let other = estate.device(second).await;
        publish(&device, "pressure", &[0.41, 0.12]).await;
        publish(&other, "pressure", &[0.41, 0.12]).await;
        let thing = format!("/api/v1/things/{first}");
        let property = estate.client("property").await;
        let before = property.get(&thing).await.unwrap()["datastreams"][0]["last"].clone();
        assert_eq!(before["value"], 0.12);
        estate.hub.stop().await;

        estate.hub.start_again().await.unwrap();
        let property = estate.client("property").await;
        assert_eq!(
            property.get(&thing).await.unwrap()["datastreams"][0]["last"],
            before,
            "the sample is there"
        );
        // The first low sample was before the restart: the next one is the second in a row.
        let device = estate.device(first).await;
        publish(&device, "pressure", &[0.11]).await;
        let sign = task(&property, "sign").await;
        assert_eq!(complete(&property, &sign, json!({ "outcome": "accepted" })).await.0, 200);
        let verify = task(&property, "verify").await;
        estate.hub.stop().await;
        tokio::time::sleep(std::time::Duration::from_secs(4)).await;

        estate.hub.start_again().await.unwrap();
        let property = estate.client("property").await;
        let signed = property.get(&format!("/api/v1/tasks/{}", sign["id"].as_str().unwrap())).await.unwrap();
        assert_eq!((&signed["state"], &signed["completed_by"]), (&"completed".into(), &"property".into()));
        // The timer that came due while the hub was down fires.
        let community = estate.client("community").await;
        let climbed = task(&community, "verify").await;
        assert_eq!(climbed["case"], verify["case"]);
        // More low samples, and a second hydrant that was at its first low one: no alert twice.
        let (device, other) = (estate.device(first).await, estate.device(second).await);
        publish(&device, "pressure", &[0.11, 0.10]).await;
        publish(&other, "pressure", &[0.11]).await;
        let alerts =
            until(&property, "/api/v1/alerts", |p| (p["items"].as_array()?.len() == 2).then(|| p.clone()))
                .await;
        let mut things: Vec<&Value> =
            alerts["items"].as_array().unwrap().iter().map(|a| &a["thing"]).collect();
        things.sort_by_key(|t| t.to_string());
        assert_eq!(things, [first, second]);
        let curve = format!("/api/v1/datastreams/{}/observations", alerts["items"][0]["datastream"]);
        assert!(property.get(&curve).await.unwrap()["points"].as_array().unwrap().len() >= 3);
        estate.hub.stop().await;
    }
}
