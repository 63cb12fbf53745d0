//! Alerts start cases, share them, and cases come to their ends.

use axum::http::StatusCode;
use platform::testing::caller;
use serde_json::json;
use store::new_id;
use store::testing::on_each;

use crate::world::{ALL, ESTATE, Mode, World, alert, city, kinds, later};

/// The facts of the events of a kind, once there are `least` of them: on PostgreSQL an event gets
/// its place a moment after its commit.
async fn events(world: &World, kind: &str, least: usize) -> Vec<serde_json::Value> {
    for _ in 0..1000 {
        let all = world.store.events_after(0, 500).await.unwrap();
        let found: Vec<_> = all.into_iter().filter(|e| e.kind == kind).map(|e| e.data).collect();
        if found.len() >= least {
            return found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{least} events {kind}");
}

#[tokio::test]
async fn an_alert_becomes_a_case_and_is_worked_to_its_close() {
    on_each(|store| async move {
        let duty = city(&store).await;
        let world = World::open(&store, 1.0, Mode::Answers).await;
        let first = alert(1, 1, "riser-1", "yellow");
        world.tell("alert.opened", first.clone()).await;

        let sign = world.task(&duty, "sign").await;
        assert_eq!(sign["name"], json!({"zh":"签收","en":"Sign"}));
        assert_eq!(sign["title"]["zh"], "1 栋 1 层水压低");
        assert_eq!((&sign["severity"], &sign["post"]), (&json!("yellow"), &json!("property-duty")));
        assert_eq!(sign["location"], json!([106.5, 29.6]));
        assert_eq!(sign["actions"], json!(["complete", "hand-over"]));
        let resident = caller(new_id(), "resident", &format!("{ESTATE}jz-01/"), &["notice:read"]);
        let (_, notices) = world.get(&resident, "/api/v1/notices").await;
        assert_eq!(notices["items"][0]["title"]["zh"], "1 栋low");
        assert_eq!(notices["items"][0]["state"], "current");

        let number = sign["case"].as_str().unwrap().to_owned();
        world.do_task(&duty, "sign", json!({"outcome":"accepted"})).await;
        let acknowledged = events(&world, "case.acknowledged", 1).await;
        assert_eq!(
            (&acknowledged[0]["alerts"][0], &acknowledged[0]["by"]),
            (&first["id"], &json!("property"))
        );
        world.do_task(&duty, "verify", json!({"outcome":"real","note":"漏水"})).await;
        world.do_task(&duty, "repair", json!({"outcome":"done"})).await;
        world.do_task(&duty, "close", json!({"outcome":"closed"})).await;

        let case = world.case(&duty, &number).await;
        assert_eq!((&case["state"], &case["outcome"]), (&json!("closed"), &json!("closed")));
        assert_eq!(case["data"]["verify"]["note"], "漏水");
        assert_eq!(case["data"]["ask"], json!({"delivered":true,"command":"measure","things":1}));
        assert_eq!(case["tokens"], json!([]));
        assert!(case["passed"].as_array().unwrap().contains(&json!("f-repair")));
        assert_eq!(
            kinds(&case),
            [
                "case.opened",
                "notice.sent",
                "task.opened",
                "task.completed",
                "task.opened",
                "task.completed",
                "task.opened",
                "task.completed",
                "service.done",
                "task.opened",
                "task.completed",
                "case.closed"
            ]
        );
        assert_eq!(case["timeline"][2]["told"][0]["name"], "property");
        let closed = events(&world, "case.closed", 1).await;
        assert_eq!((&closed[0]["alerts"], &closed[0]["number"]), (&json!([first["id"]]), &json!(number)));
        let (_, notices) = world.get(&resident, "/api/v1/notices").await;
        assert_eq!(notices["items"][0]["state"], "ended");
        let (_, by_alert) =
            world.get(&duty, &format!("/api/v1/cases?alert={}", first["id"].as_str().unwrap())).await;
        assert_eq!(by_alert["items"][0]["number"], json!(number));
        let path = format!("/api/v1/processes/mend/{}/bpmn", case["version"]);
        let (status, xml) = world.get(&duty, &path).await;
        assert!(status == StatusCode::OK && xml.as_str().unwrap().contains("bpmn:userTask"));
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn alerts_of_one_main_share_a_case_and_others_have_their_own() {
    on_each(|store| async move {
        let duty = city(&store).await;
        let world = World::open(&store, 1.0, Mode::Answers).await;
        let (a, b, other) = (
            alert(1, 1, "main-3", "yellow"),
            alert(2, 2, "main-3", "orange"),
            alert(3, 1, "main-4", "yellow"),
        );
        for one in [&a, &b, &other] {
            world.tell("alert.opened", one.clone()).await;
        }
        let page = world
            .until(&duty, "/api/v1/cases", "two cases", |b| {
                (b["items"].as_array()?.len() == 2 && b["items"][1]["severity"] == "orange")
                    .then(|| b.clone())
            })
            .await;
        let number = page["items"][1]["number"].as_str().unwrap();
        let case = world.case(&duty, number).await;
        assert_eq!(case["alerts"].as_array().unwrap().len(), 2);
        assert_eq!(case["severity"], "orange", "as grave as its gravest alert");
        assert!(kinds(&case).contains(&"alert.joined".to_owned()));
        assert_eq!(case["tasks"][0]["severity"], "orange");
        // Residents of the building that joined are told too, those of an alert's building once.
        let of = |b: u32| caller(new_id(), "resident", &format!("{ESTATE}jz-0{b}/"), &["notice:read"]);
        let (_, notices) = world.get(&of(2), "/api/v1/notices").await;
        assert_eq!(notices["items"].as_array().unwrap().len(), 1);

        world.tell("alert.changed", later(&a, "red", 0.08)).await;
        world
            .until(&duty, "/api/v1/cases", "red", |b| (b["items"][1]["severity"] == "red").then_some(()))
            .await;
        world.tell("alert.resolved", later(&a, "yellow", 0.25)).await;
        let path = format!("/api/v1/cases/{number}");
        let case = world
            .until(&duty, &path, "the note", |c| {
                kinds(c).contains(&"alert.resolved".to_owned()).then(|| c.clone())
            })
            .await;
        assert_eq!(case["state"], "open", "the work goes on");
        assert_eq!(case["alerts"][0]["state"], "resolved");
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_false_alarm_goes_straight_to_the_close() {
    on_each(|store| async move {
        let duty = city(&store).await;
        let world = World::open(&store, 1.0, Mode::Answers).await;
        world.tell("alert.opened", alert(1, 1, "m", "yellow")).await;
        world.do_task(&duty, "sign", json!({"outcome":"accepted"})).await;
        world.do_task(&duty, "verify", json!({"outcome":"false-alarm"})).await;
        let close = world.task(&duty, "close").await;
        let case = world.case(&duty, close["case"].as_str().unwrap()).await;
        assert!(case["data"].get("repair").is_none());
        assert_eq!(case["tokens"][0]["element"], "close");
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_case_closed_too_early_starts_anew_for_what_is_still_open() {
    on_each(|store| async move {
        let duty = city(&store).await;
        // 30 minutes become half a second; nobody escalates before the first task is done.
        let world = World::open(&store, 3600.0, Mode::Answers).await;
        let (a, b) = (alert(1, 1, "m", "yellow"), alert(2, 1, "m", "yellow"));
        world.tell("alert.opened", a.clone()).await;
        world.tell("alert.opened", b.clone()).await;
        world.tell("alert.resolved", later(&b, "yellow", 0.3)).await;
        world.do_task(&duty, "sign", json!({"outcome":"accepted"})).await;
        world.do_task(&duty, "verify", json!({"outcome":"false-alarm"})).await;
        world.do_task(&duty, "close", json!({"outcome":"closed"})).await;
        let page = world
            .until(&duty, "/api/v1/cases", "a second case", |p| {
                (p["items"].as_array()?.len() == 2).then(|| p.clone())
            })
            .await;
        let again = world.case(&duty, page["items"][0]["number"].as_str().unwrap()).await;
        assert_eq!(again["state"], "open");
        let ids: Vec<_> = again["alerts"].as_array().unwrap().iter().map(|x| x["id"].clone()).collect();
        assert_eq!(ids, [a["id"].clone()], "the resolved one is left out");
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn who_may_not_see_the_area_finds_nothing() {
    on_each(|store| async move {
        let duty = city(&store).await;
        let world = World::open(&store, 1.0, Mode::Answers).await;
        world.tell("alert.opened", alert(1, 1, "m", "yellow")).await;
        let task = world.task(&duty, "sign").await;
        let number = task["case"].as_str().unwrap();
        let neighbour = caller(new_id(), "n", &format!("{ESTATE}jz-02/"), ALL);
        let id = task["id"].as_str().unwrap();
        for path in [
            format!("/api/v1/cases/{number}"),
            format!("/api/v1/tasks/{id}"),
            format!("/api/v1/tasks/{id}/candidates"),
        ] {
            assert_eq!(world.get(&neighbour, &path).await.0, StatusCode::NOT_FOUND, "{path}");
        }
        assert_eq!(world.complete(&neighbour, &task, json!({})).await.0, StatusCode::NOT_FOUND);
        for path in ["/api/v1/cases", "/api/v1/tasks"] {
            assert_eq!(world.get(&neighbour, path).await.1["items"], json!([]), "{path}");
        }
        let resident = caller(new_id(), "r", &format!("{ESTATE}jz-01/"), &["notice:read"]);
        for path in ["/api/v1/cases", "/api/v1/tasks", "/api/v1/tasks.csv"] {
            assert_eq!(world.get(&resident, path).await.0, StatusCode::FORBIDDEN, "{path}");
        }
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn what_joins_a_signed_case_is_acknowledged_and_outdoors_concerns_the_estate() {
    on_each(|store| async move {
        let duty = city(&store).await;
        let world = World::open(&store, 1.0, Mode::Answers).await;
        world.tell("alert.opened", alert(1, 1, "m", "yellow")).await;
        let done = world.do_task(&duty, "sign", json!({"outcome":"accepted"})).await;
        let mut outdoor = alert(2, 1, "m", "yellow");
        outdoor["properties"]["siting"] = json!("outdoor");
        world.tell("alert.opened", outdoor.clone()).await;
        let path = format!("/api/v1/cases/{}", done["case"].as_str().unwrap());
        let case = world
            .until(&duty, &path, "two alerts", |c| (c["alerts"].as_array()?.len() == 2).then(|| c.clone()))
            .await;
        assert_eq!(case["alerts"][1]["state"], "acknowledged");
        let told = events(&world, "case.acknowledged", 2).await;
        assert_eq!((&told[1]["alerts"], &told[1]["by"]), (&json!([outdoor["id"]]), &json!("property")));
        // A neighbour in the other building sees what concerns the estate, and not what does not.
        let neighbour = caller(new_id(), "n", &format!("{ESTATE}jz-02/"), &["notice:read"]);
        let (_, notices) = world.get(&neighbour, "/api/v1/notices").await;
        let titles: Vec<_> =
            notices["items"].as_array().unwrap().iter().map(|n| n["title"]["zh"].clone()).collect();
        assert_eq!(titles, ["加州花园low"]);
        world.stop().await;
    })
    .await;
}
