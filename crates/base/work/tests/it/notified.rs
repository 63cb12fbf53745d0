//! Who gets a task, or a message to posts, is told of it by the platform's notification.

use model::Context;
use platform::http::Caller;
use platform::testing::caller;
use serde_json::{Value, json};
use store::testing::on_each;
use store::{new_id, now};

use crate::world::{ESTATE, Mode, World, alert, city, on_duty};

fn operator() -> Caller {
    caller(new_id(), "operator", ESTATE, &["notification:read", "case:read", "task:read"])
}

/// Recipient and title of what was told, oldest first.
async fn told(world: &World) -> Vec<(String, String)> {
    let (_, page) = world.get(&operator(), "/api/v1/notifications").await;
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let rows = page["items"].as_array().unwrap();
    rows.iter().rev().map(|d| (text(&d["recipient"]), text(&d["title"]["zh"]))).collect()
}

#[tokio::test]
async fn holders_are_told_when_a_task_opens_climbs_and_is_handed_over() {
    on_each(|store| async move {
        let duty = city(&store).await;
        let colleague = on_duty(&store, "colleague", "property-duty", ESTATE).await;
        on_duty(&store, "community", "community-duty", "50/500112/500112011/500112011014/").await;
        // Ten minutes become 0.6 s.
        let world = World::open(&store, 1000.0, Mode::Answers).await;
        world.tell("alert.opened", alert(1, 1, "m", "yellow")).await;
        let sign = world.task(&duty, "sign").await;
        world
            .until(&operator(), "/api/v1/notifications", "the escalation", |p| {
                (p["items"].as_array()?.len() >= 3).then_some(())
            })
            .await;
        let (_, page) = world.get(&operator(), "/api/v1/notifications").await;
        for row in page["items"].as_array().unwrap() {
            assert_eq!((&row["case"], &row["severity"]), (&sign["case"], &json!("yellow")));
            assert_eq!((&row["channel"], &row["state"]), (&json!("in-page"), &json!("accepted")));
        }
        let told = told(&world).await;
        let mut first: Vec<&str> = told[..2].iter().map(|(name, _)| name.as_str()).collect();
        first.sort_unstable();
        assert_eq!(first, ["colleague", "property"]);
        assert!(told[0].1.starts_with("新任务“签收”"), "{told:?}");
        assert_eq!(told[2].0, "community");
        assert!(told[2].1.starts_with("任务升级“签收”"), "{told:?}");
        // Each reads the own messages in the pages, with the way to the task.
        let (_, inbox) = world.get(&duty, "/api/v1/inbox").await;
        assert_eq!(inbox["items"][0]["path"], format!("/tasks/{}", sign["id"].as_str().unwrap()));

        let path = format!("/api/v1/tasks/{}/hand-over", sign["id"].as_str().unwrap());
        let (status, body) = world.post(&duty, &path, json!({ "person": colleague.person }), None).await;
        assert_eq!(status, axum::http::StatusCode::OK, "{body}");
        let (_, inbox) = world.get(&colleague, "/api/v1/inbox").await;
        let title = inbox["items"][0]["title"]["zh"].as_str().unwrap();
        assert!(title.starts_with("property移交任务“签收”"), "{title}");
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn what_was_not_sent_when_the_task_is_done_is_withdrawn() {
    on_each(|store| async move {
        let duty = city(&store).await;
        let contact =
            platform::notification::Contact { phone: Some("13812345678".into()), ..Default::default() };
        let context = Context::system("test", new_id());
        platform::notification::contact::set(&store, &context, duty.person, contact).await.unwrap();
        let world = World::open_reaching(&store, 1.0).await;
        world.tell("alert.opened", alert(1, 1, "m", "red")).await;
        world.task(&duty, "sign").await;
        let sms = "/api/v1/notifications?channel=sms";
        let (_, page) = world.get(&operator(), sms).await;
        assert_eq!(page["items"][0]["state"], "waiting", "{page}");
        world.do_task(&duty, "sign", json!({ "outcome": "accepted" })).await;
        let (_, page) = world.get(&operator(), sms).await;
        let states: Vec<&Value> =
            page["items"].as_array().unwrap().iter().rev().map(|d| &d["state"]).collect();
        assert_eq!(states, [&json!("withdrawn"), &json!("waiting")], "the next step is told: {page}");
        assert_eq!(world.platform.notifications().round(now()).await.unwrap(), 1);
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_packs_message_to_posts_goes_with_its_text() {
    on_each(|store| async move {
        let duty = city(&store).await;
        on_duty(&store, "street", "street-duty", "50/500112/500112011/").await;
        // Four hours become 0.3 s.
        let world = World::open(&store, 48_000.0, Mode::Answers).await;
        world.tell("alert.opened", alert(1, 1, "m", "yellow")).await;
        world.do_task(&duty, "sign", json!({"outcome":"accepted"})).await;
        world.do_task(&duty, "verify", json!({"outcome":"real"})).await;
        let found = world
            .until(&operator(), "/api/v1/notifications?q=street", "the message", |p| {
                p["items"]
                    .as_array()?
                    .iter()
                    .find(|d| d["title"]["en"].as_str() == Some("late at Building 1"))
                    .cloned()
            })
            .await;
        assert_eq!((&found["recipient"], &found["text"]["zh"]), (&json!("street"), &json!("0.18")));
        world.stop().await;
    })
    .await;
}
