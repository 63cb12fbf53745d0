//! A task that nobody completes climbs; the first to complete it withdraws the others.

use axum::http::StatusCode;
use serde_json::{Value, json};
use store::testing::on_each;

use crate::world::{ESTATE, Mode, World, alert, city, kinds, on_duty};

fn open_posts(case: &Value) -> Vec<String> {
    case["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|t| t["state"] == "open" && t["element"] == "sign")
        .map(|t| t["post"].as_str().unwrap().to_owned())
        .collect()
}

async fn climbed(world: &World, who: &platform::http::Caller, levels: usize) -> Value {
    let number = world
        .until(who, "/api/v1/cases", "a case", |p| p["items"][0]["number"].as_str().map(ToOwned::to_owned))
        .await;
    world
        .until(who, &format!("/api/v1/cases/{number}"), "levels", |c| {
            // The timeline is read a moment before the tasks.
            let told = kinds(c).iter().filter(|k| *k == "task.escalated").count();
            (open_posts(c).len() == levels && told + 1 == levels).then(|| c.clone())
        })
        .await
}

#[tokio::test]
async fn four_levels_get_the_task_and_the_first_to_do_it_withdraws_the_others() {
    on_each(|store| async move {
        let duty = city(&store).await;
        on_duty(&store, "community", "community-duty", "50/500112/500112011/500112011014/").await;
        on_duty(&store, "street", "street-duty", "50/500112/500112011/").await;
        let district = on_duty(&store, "district", "district-duty", "50/500112/").await;
        // Ten minutes become 0.2 s.
        let world = World::open(&store, 3000.0, Mode::Answers).await;
        world.tell("alert.opened", alert(1, 1, "m", "yellow")).await;
        let case = climbed(&world, &duty, 4).await;
        assert_eq!(open_posts(&case), ["property-duty", "community-duty", "street-duty", "district-duty"]);
        assert_eq!(kinds(&case).iter().filter(|k| *k == "task.escalated").count(), 3);
        let levels: Vec<_> = case["tasks"].as_array().unwrap().iter().map(|t| t["level"].clone()).collect();
        assert_eq!(levels, ["estate", "community", "street", "district"]);
        assert!(
            case["tasks"].as_array().unwrap().iter().all(|t| t["escalates_at"].is_null()),
            "there is no level above"
        );
        let top = world.task(&district, "sign").await;
        let (status, _) = world.complete(&district, &top, json!({"outcome":"accepted"})).await;
        assert_eq!(status, StatusCode::OK);
        let case = world.case(&duty, case["number"].as_str().unwrap()).await;
        let states: Vec<_> = case["tasks"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|t| t["element"] == "sign")
            .map(|t| t["state"].clone())
            .collect();
        assert_eq!(states, ["withdrawn", "withdrawn", "withdrawn", "completed"]);
        let own = case["tasks"].as_array().unwrap()[0].clone();
        let (status, problem) = world.complete(&duty, &own, json!({"outcome":"accepted"})).await;
        assert_eq!((status, &problem["by"]), (StatusCode::CONFLICT, &json!("district")));
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_level_that_nobody_is_on_duty_for_does_not_hold_it_up() {
    on_each(|store| async move {
        platform::testing::small_city(&store).await;
        let street = on_duty(&store, "street", "street-duty", "50/500112/500112011/").await;
        let world = World::open(&store, 1.0, Mode::Answers).await;
        world.tell("alert.opened", alert(1, 1, "m", "yellow")).await;
        let case = climbed(&world, &street, 3).await;
        assert_eq!(open_posts(&case), ["property-duty", "community-duty", "street-duty"]);
        let texts: Vec<_> = case["timeline"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|e| e["kind"].as_str().unwrap().starts_with("task."))
            .map(|e| {
                (e["text"]["zh"].as_str().unwrap().contains("无人值班"), e["told"].as_array().unwrap().len())
            })
            .collect();
        assert_eq!(texts, [(true, 0), (true, 0), (false, 1)]);
        assert!(case["tasks"][0]["escalates_at"].is_string(), "the district is next");
        let _ = ESTATE;
        world.stop().await;
    })
    .await;
}
