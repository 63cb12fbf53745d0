//! A sweep from the request to the devices' sockets and back: what they answer is stored and judged
//! like any observation.

use citysim::client::{Device, Options, Status};
use serde_json::{Value, json};
use store::testing::TestDatabase;

use crate::city::{Estate, until};

/// A device that listens to its commands.
async fn listening(estate: &Estate, thing: &str) -> Device {
    let (_, secret) = estate.secrets.iter().find(|(t, _)| t == thing).unwrap();
    let options = Options { listen: true, ..Options::new(estate.hub.mqtt().unwrap(), thing, secret) };
    let mut device = Device::start(options);
    assert_eq!(device.settled().await, Status::Connected);
    // Its SUBSCRIBE went before this: an acknowledged sample says that it was taken.
    device.publish("pressure", json!({ "t": store::now(), "v": 0.41 }).to_string()).await.unwrap();
    device
}

/// Answers the next question with a value.
async fn answer(device: &mut Device, value: f64) {
    let question: Value = serde_json::from_slice(&device.command().await.unwrap()).unwrap();
    assert_eq!(question["ask"], "pressure");
    let reply = json!({ "id": question["id"], "t": store::now(), "v": value });
    device.publish("reply", reply.to_string()).await.unwrap();
}

#[tokio::test]
async fn what_devices_answer_to_a_sweep_is_stored_and_judged() {
    for database in TestDatabase::each().await {
        let mut estate = Estate::start(database, 1.0).await;
        let [one, other] = estate.riser();
        let (mut good, mut low) = (listening(&estate, one).await, listening(&estate, other).await);
        let property = estate.client("property").await;
        let building = property.get("/api/v1/areas/jz-03").await.unwrap()["path"].clone();
        let scopes = format!("/api/v1/sweep-scopes?area={}", building.as_str().unwrap());
        let things = property.get(&scopes).await.unwrap()["items"][0]["things"].as_u64().unwrap();
        let body = json!({ "area": building, "type": "fire-hydrant", "datastream": "pressure", "limit_seconds": 60 });
        for n in 1..=2 {
            let (status, sweep) = property.call("POST", "/api/v1/sweeps", Some(body.clone())).await.unwrap();
            assert_eq!(status, 201, "{sweep}");
            tokio::join!(answer(&mut good, 0.4), answer(&mut low, 0.15));
            let path = format!("/api/v1/sweeps/{}", sweep["number"].as_str().unwrap());
            let over = until(&property, &path, |s| (s["state"] != "running").then(|| s.clone())).await;
            assert_eq!(
                json!([over["reason"], over["counts"]["ok"], over["counts"]["low"], over["counts"]["asked"]]),
                json!(["answered", 1, 1, 2]),
                "sweep {n}: {over}"
            );
            assert_eq!(over["counts"]["silent"], things - 2, "who is not connected is not waited for");
            let rows = property.get(&format!("{path}/rows?verdict=low,ok")).await.unwrap();
            let shown: Vec<_> = rows["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|r| (&r["thing"], &r["via"], &r["last_value"]))
                .collect();
            let last = if n == 1 { [0.41, 0.41] } else { [0.15, 0.4] }.map(Value::from);
            let (other, one, reply) = (Value::from(other), Value::from(one), Value::from("reply"));
            assert_eq!(shown, [(&other, &reply, &last[0]), (&one, &reply, &last[1])]);
        }
        // Two low samples in a row, and both were answers.
        let alert = until(&property, "/api/v1/alerts", |p| p["items"].as_array()?.first().cloned()).await;
        assert_eq!(json!([alert["thing"], alert["value"]]), json!([other, 0.15]));
        let resident = estate.client("resident").await;
        assert_eq!(resident.call("GET", "/api/v1/sweeps", None).await.unwrap().0, 403);
        estate.hub.stop().await;
    }
}
