//! From the sample to the closed case, and up the four levels: over the API, as people use it.

use std::time::Duration;

use serde_json::{Value, json};
use store::testing::TestDatabase;

use crate::city::{BOUND, Estate, complete, photo, publish, task, until};

fn kinds(timeline: &Value) -> Vec<String> {
    timeline.as_array().unwrap().iter().map(|e| e["kind"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_burst_is_signed_verified_repaired_checked_and_closed() {
    for database in TestDatabase::each().await {
        let mut estate = Estate::start(database, 1.0).await;
        let property = estate.client("property").await;
        let colleague = estate.client("property2").await;
        let community = estate.client("community").await;
        let resident = estate.client("resident").await;
        let mut events = property.events(None).await.unwrap();
        let [first, second] = estate.riser();
        let (first, second) = (estate.device(first).await, estate.device(second).await);

        // One low sample opens nothing; the second in a row does; one burst is one case.
        publish(&first, "pressure", &[0.41, 0.12, 0.11]).await;
        let opened = events.wait_for("alert.opened", BOUND).await.unwrap();
        assert_eq!(opened.data["severity"], "yellow", "indoor hydrants have one level");
        events.wait_for("task.opened", BOUND).await.unwrap();
        publish(&second, "pressure", &[0.12, 0.11]).await;
        let sign = task(&property, "sign").await;
        let case = format!("/api/v1/cases/{}", sign["case"].as_str().unwrap());
        until(&property, &case, |c| (c["alerts"].as_array().unwrap().len() == 2).then_some(())).await;
        let (_, cases) = property.call("GET", "/api/v1/cases", None).await.unwrap();
        assert_eq!(cases["items"].as_array().unwrap().len(), 1);

        // The resident of the building sees the notice and nothing else.
        let notice =
            until(&resident, "/api/v1/notices", |p| p["items"].as_array().unwrap().first().cloned()).await;
        assert_eq!(notice["area"]["code"], "jz-03");
        assert_eq!(resident.call("GET", "/api/v1/tasks", None).await.unwrap().0, 403);

        // Signed by the colleague: the second to sign is told who was first.
        assert_eq!(complete(&colleague, &sign, json!({ "outcome": "accepted" })).await.0, 200);
        let (status, problem) = complete(&property, &sign, json!({ "outcome": "accepted" })).await;
        assert_eq!(
            (status, &problem["type"], &problem["by"]),
            (409, &"/problems/task-not-open".into(), &"property2".into())
        );
        until(&property, "/api/v1/alerts?state=acknowledged", |p| {
            (p["items"].as_array().unwrap().len() == 2).then_some(())
        })
        .await;

        // Verified; handed over within the post; repaired with a photo.
        let verify = task(&property, "verify").await;
        let id = verify["id"].as_str().unwrap();
        let candidates = property.get(&format!("/api/v1/tasks/{id}/candidates")).await.unwrap();
        let other = candidates["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|p| p["name"] == "property2")
            .unwrap()
            .clone();
        let over = json!({ "person": other["id"], "note": "我在开会" });
        let (status, handed) =
            property.call("POST", &format!("/api/v1/tasks/{id}/hand-over"), Some(over)).await.unwrap();
        assert_eq!(status, 200, "{handed}");
        assert_eq!(handed["assignee"]["name"], "property2");
        assert_eq!(complete(&colleague, &verify, json!({ "outcome": "real" })).await.0, 200);
        let repair = task(&property, "repair").await;
        let (status, problem) = complete(&property, &repair, json!({ "outcome": "done" })).await;
        assert_eq!(status, 422, "a repair needs its photo: {problem}");
        let form = property.get(&format!("/api/v1/tasks/{}", repair["id"].as_str().unwrap())).await.unwrap();
        let cause = form["form"]["schema"]["properties"]["cause"]["enum"][0].clone();
        let file = property.send_photo(photo()).await.unwrap();
        let repaired = json!({ "outcome": "done", "cause": cause, "photos": [file] });
        let (status, answer) = complete(&property, &repair, repaired).await;
        assert_eq!(status, 200, "{answer}");

        // The devices are asked; the pressure is back; the alerts resolve and leave a note.
        publish(&first, "pressure", &[0.40, 0.41]).await;
        publish(&second, "pressure", &[0.40, 0.41]).await;
        until(&property, "/api/v1/alerts?state=resolved", |p| {
            (p["items"].as_array().unwrap().len() == 2).then_some(())
        })
        .await;
        let check = task(&community, "check").await;
        assert_eq!(
            complete(&property, &check, json!({ "outcome": "pass" })).await.0,
            403,
            "another post's task"
        );
        assert_eq!(complete(&community, &check, json!({ "outcome": "pass" })).await.0, 200);
        let close = task(&property, "close").await;
        let (status, answer) =
            complete(&property, &close, json!({ "outcome": "closed", "summary": "立管更换" })).await;
        assert_eq!(status, 200, "{answer}");

        let closed = until(&property, &case, |c| (c["state"] == "closed").then(|| c.clone())).await;
        let kinds = kinds(&closed["timeline"]);
        for kind in [
            "case.opened",
            "alert.joined",
            "task.opened",
            "task.completed",
            "task.handed-over",
            "alert.resolved",
            "service.done",
            "case.closed",
        ] {
            assert!(kinds.iter().any(|k| k == kind), "{kind} is missing from {kinds:?}");
        }
        let entries = closed["timeline"].as_array().unwrap();
        let with_photo =
            entries.iter().find(|e| e["files"].as_array().is_some_and(|f| !f.is_empty())).unwrap();
        let path = format!("/api/v1/files/{}", with_photo["files"][0]["id"].as_str().unwrap());
        assert_eq!(property.send("GET", &path, None).await.unwrap().status(), 200);
        until(&resident, "/api/v1/notices", |p| (p["items"][0]["state"] == "ended").then_some(())).await;
        estate.hub.stop().await;
    }
}

#[tokio::test]
async fn left_alone_it_climbs_four_levels_and_the_first_to_act_withdraws_the_others() {
    for database in TestDatabase::each().await {
        // Ten minutes are one second.
        let mut estate = Estate::start(database, 600.0).await;
        let device = estate.device(estate.riser()[0]).await;
        publish(&device, "pressure", &[0.41, 0.12, 0.11]).await;
        let mut tasks = Vec::new();
        for login in ["property", "community", "street", "district"] {
            let client = estate.client(login).await;
            tasks.push((task(&client, "sign").await, client));
        }
        let (sign, district) = tasks.pop().unwrap();
        let case = district.get(&format!("/api/v1/cases/{}", sign["case"].as_str().unwrap())).await.unwrap();
        let told: Vec<&str> = case["timeline"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|e| e["told"].as_array().into_iter().flatten())
            .map(|t| t["name"].as_str().unwrap())
            .collect();
        for name in ["property", "community", "street", "district"] {
            assert!(told.contains(&name), "{name} was told: {told:?}");
        }
        assert_eq!(complete(&district, &sign, json!({ "outcome": "accepted" })).await.0, 200);
        for (sign, client) in tasks {
            let path = format!("/api/v1/tasks/{}", sign["id"].as_str().unwrap());
            until(&client, &path, |t| (t["state"] == "withdrawn").then_some(())).await;
            let (status, problem) = complete(&client, &sign, json!({ "outcome": "accepted" })).await;
            assert_eq!((status, &problem["by"]), (409, &"district".into()));
        }
        estate.hub.stop().await;
    }
}

#[tokio::test]
async fn an_event_stream_resumes_where_it_broke_off() {
    for database in TestDatabase::each().await {
        let mut estate = Estate::start(database, 1.0).await;
        let property = estate.client("property").await;
        let mut stream = property.events(None).await.unwrap();
        let hello = stream.wait_for("hello", BOUND).await.unwrap();
        drop(stream);
        let device = estate.device(estate.riser()[0]).await;
        publish(&device, "pressure", &[0.41, 0.12, 0.11]).await;
        task(&property, "sign").await;
        let mut stream = property.events(hello.id.as_deref()).await.unwrap();
        stream.wait_for("alert.opened", BOUND).await.unwrap();
        let told = stream.wait_for("task.opened", BOUND).await.unwrap();
        assert!(told.id.is_some());
        let mut stream = property.events(Some("999999999")).await.unwrap();
        stream.wait_for("reset", BOUND).await.unwrap();
        // Values come coalesced, without id.
        publish(&device, "pressure", &[0.10]).await;
        let values = stream.wait_for("values", BOUND).await.unwrap();
        assert_eq!(values.id, None);
        // A stranger's stream says nothing of it, and logging out ends a stream.
        let resident = estate.client("resident").await;
        let mut stream = resident.events(None).await.unwrap();
        resident.send("DELETE", "/api/v1/session", None).await.unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(12), async {
            while let Some(told) = stream.next().await.unwrap() {
                assert!(matches!(told.event.as_str(), "hello" | "ping" | "notice.published"), "{told:?}");
            }
        });
        ended.await.unwrap();
        estate.hub.stop().await;
    }
}
