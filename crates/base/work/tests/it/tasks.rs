//! Completing and handing over.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use platform::testing::caller;
use serde_json::json;
use store::new_id;
use store::testing::on_each;

use crate::world::{ALL, ESTATE, Mode, World, alert, city, on_duty};

#[tokio::test]
async fn a_task_is_completed_once_and_the_second_hears_by_whom() {
    on_each(|store| async move {
        let duty = city(&store).await;
        let second = on_duty(&store, "second", "property-duty", ESTATE).await;
        let world = World::open(&store, 1.0, Mode::Answers).await;
        world.tell("alert.opened", alert(1, 1, "m", "yellow")).await;
        let task = world.task(&duty, "sign").await;
        let path = format!("/api/v1/tasks/{}/complete", task["id"].as_str().unwrap());
        let body = json!({"values":{"outcome":"accepted"}});
        let (status, done) = world.post(&duty, &path, body.clone(), Some("k1")).await;
        assert_eq!(
            (status, &done["state"], &done["actions"]),
            (StatusCode::OK, &json!("completed"), &json!([]))
        );
        assert_eq!(
            world.post(&duty, &path, body.clone(), Some("k1")).await,
            (StatusCode::OK, done),
            "the same answer"
        );
        for who in [&duty, &second] {
            let (status, problem) = world.post(who, &path, body.clone(), None).await;
            assert_eq!(status, StatusCode::CONFLICT);
            assert_eq!(
                (&problem["type"], &problem["by"]),
                (&json!("/problems/task-not-open"), &json!("property"))
            );
            assert!(problem["at"].is_string());
        }
        let verify = world.task(&duty, "verify").await;
        let other = format!("/api/v1/tasks/{}/complete", verify["id"].as_str().unwrap());
        let (status, problem) =
            world.post(&duty, &other, json!({"values":{"outcome":"real"}}), Some("k1")).await;
        assert_eq!(
            (status, &problem["type"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("/problems/idempotency-key-reused"))
        );
        let (_, done) = world.get(&duty, "/api/v1/tasks?state=done&mine=true").await;
        assert_eq!(done["items"][0]["completed_by"], "property");
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn wrong_answers_are_named_in_both_languages_and_change_nothing() {
    on_each(|store| async move {
        let duty = city(&store).await;
        let world = World::open(&store, 1.0, Mode::Answers).await;
        world.tell("alert.opened", alert(1, 1, "m", "yellow")).await;
        world.do_task(&duty, "sign", json!({"outcome":"accepted"})).await;
        let task = world.task(&duty, "verify").await;
        let stranger = new_id().to_string();
        for (values, path) in [
            (json!({}), "/values/outcome"),
            (json!({"outcome":"perhaps"}), "/values/outcome"),
            (json!({"outcome":"real","note":"一二三四五六七八九十一"}), "/values/note"),
            (json!({"outcome":"real","photos":[stranger]}), "/values/photos"),
            (json!({"outcome":"real","photos":["x"]}), "/values/photos"),
            (json!({"outcome":"real","evil":1}), "/values"),
            (json!([]), "/values"),
        ] {
            let (status, problem) = world.complete(&duty, &task, values.clone()).await;
            assert_eq!(
                (status, &problem["errors"][0]["path"]),
                (StatusCode::UNPROCESSABLE_ENTITY, &json!(path)),
                "{values} {problem}"
            );
            let message = &problem["errors"][0]["message"];
            assert!(
                !message["zh"].as_str().unwrap().is_empty() && !message["en"].as_str().unwrap().is_empty()
            );
        }
        let (_, detail) = world.get(&duty, &format!("/api/v1/tasks/{}", task["id"].as_str().unwrap())).await;
        assert_eq!((&detail["state"], &detail["form"]["key"]), (&json!("open"), &json!("verify")));
        assert_eq!(detail["form"]["schema"]["required"], json!(["outcome"]));
        let steps: Vec<_> = detail["steps"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| format!("{} {}", s["element"].as_str().unwrap(), s["state"].as_str().unwrap()))
            .collect();
        assert_eq!(steps, ["sign done", "verify current", "repair ahead", "close ahead"]);
        assert_eq!((&detail["alert"]["thing"], &detail["alert"]["datastream"]), (&json!("h1"), &json!(1)));
        assert!(detail["due_at"].is_string() && detail["escalates_at"].is_null());
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_photo_of_ones_own_becomes_part_of_the_case() {
    on_each(|store| async move {
        let duty = city(&store).await;
        let mut duty = duty;
        for p in ["file:write", "file:read"] {
            duty.context.grants[0].permissions.insert(p.into());
        }
        let world = World::open(&store, 1.0, Mode::Answers).await;
        world.tell("alert.opened", alert(1, 1, "m", "yellow")).await;
        world.do_task(&duty, "sign", json!({"outcome":"accepted"})).await;
        let jpeg: &[u8] = &[0xff, 0xd8, 0xff, 0xda, 0, 3, 0, 1, 2, 3, 0xff, 0xd9];
        let request = Request::post("/api/v1/files")
            .header("content-type", "image/jpeg")
            .body(Body::from(jpeg))
            .unwrap();
        let (status, file) = world.send(&duty, request).await;
        assert_eq!(status, StatusCode::CREATED, "{file}");
        let done = world.do_task(&duty, "verify", json!({"outcome":"real","photos":[file["id"]]})).await;
        let case = world.case(&duty, done["case"].as_str().unwrap()).await;
        let entry = case["timeline"]
            .as_array()
            .unwrap()
            .iter()
            .rfind(|e| e["kind"] == "task.completed")
            .unwrap()
            .clone();
        assert_eq!((&entry["files"][0]["id"], &entry["by"]), (&file["id"], &json!("property")));
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_task_is_handed_over_within_its_post_and_to_nobody_else() {
    on_each(|store| async move {
        let duty = city(&store).await;
        let second = on_duty(&store, "second", "property-duty", ESTATE).await;
        let other_post = on_duty(&store, "community", "community-duty", ESTATE).await;
        let stranger = caller(new_id(), "stranger", ESTATE, ALL);
        let world = World::open(&store, 1.0, Mode::Answers).await;
        world.tell("alert.opened", alert(1, 1, "m", "yellow")).await;
        let task = world.task(&duty, "sign").await;
        let path = format!("/api/v1/tasks/{}", task["id"].as_str().unwrap());
        let (_, candidates) = world.get(&duty, &format!("{path}/candidates")).await;
        assert_eq!(candidates["items"], json!([{"id": second.person, "name": "second"}]));
        let hand = format!("{path}/hand-over");
        for person in [other_post.person, duty.person, new_id()] {
            let (status, _) = world.post(&duty, &hand, json!({"person": person}), None).await;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        }
        assert_eq!(
            world.post(&stranger, &hand, json!({"person": second.person}), None).await.0,
            StatusCode::FORBIDDEN
        );
        let (status, seen) = world.get(&stranger, &path).await;
        assert_eq!((status, &seen["actions"]), (StatusCode::OK, &json!([])));
        assert_eq!(
            world.complete(&other_post, &task, json!({"outcome":"accepted"})).await.0,
            StatusCode::FORBIDDEN
        );
        let (status, handed) =
            world.post(&duty, &hand, json!({"person": second.person, "note":"我在现场"}), None).await;
        assert_eq!((status, &handed["assignee"]["name"]), (StatusCode::OK, &json!("second")));
        let (status, _) = world.complete(&second, &task, json!({"outcome":"accepted"})).await;
        assert_eq!(status, StatusCode::OK);
        let case = world.case(&duty, task["case"].as_str().unwrap()).await;
        let entry = case["timeline"]
            .as_array()
            .unwrap()
            .iter()
            .find(|e| e["kind"] == "task.handed-over")
            .unwrap()
            .clone();
        assert_eq!((&entry["told"][0]["name"], &entry["by"]), (&json!("second"), &json!("property")));
        assert!(entry["values"]["note"].as_str().unwrap().contains("我在现场"));
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn lists_are_paged_and_the_table_opens_in_a_spreadsheet() {
    on_each(|store| async move {
        let duty = city(&store).await;
        let world = World::open(&store, 1.0, Mode::Answers).await;
        for (n, severity) in [(1, "yellow"), (2, "red"), (3, "orange")] {
            let mut one = alert(n, 1, &format!("m{n}"), severity);
            one["place"] = json!({"zh":"=1+1","en":"=1+1"});
            world.tell("alert.opened", one).await;
        }
        let all = world
            .until(&duty, "/api/v1/tasks", "three tasks", |p| {
                (p["items"].as_array()?.len() == 3).then(|| p.clone())
            })
            .await;
        let severities: Vec<_> =
            all["items"].as_array().unwrap().iter().map(|t| t["severity"].clone()).collect();
        assert_eq!(severities, ["red", "orange", "yellow"]);
        let mut seen = Vec::new();
        let mut path = "/api/v1/tasks?limit=1".to_owned();
        loop {
            let (_, page) = world.get(&duty, &path).await;
            seen.push(page["items"][0]["id"].clone());
            let Some(next) = page["next"].as_str() else { break };
            path = format!("/api/v1/tasks?limit=1&after={next}");
        }
        let ids: Vec<_> = all["items"].as_array().unwrap().iter().map(|t| t["id"].clone()).collect();
        assert_eq!(seen, ids);
        let (status, csv) = world.get(&duty, "/api/v1/tasks.csv?lang=en").await;
        let csv = csv.as_str().unwrap();
        assert_eq!(status, StatusCode::OK);
        assert!(csv.starts_with("\u{feff}Case,Task,"), "{csv}");
        assert!(csv.contains(",'=1+1,") && csv.lines().count() == 4, "{csv}");
        world.stop().await;
    })
    .await;
}
