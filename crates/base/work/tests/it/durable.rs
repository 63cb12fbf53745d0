//! Timers and jobs survive what happens to the hub.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;
use store::testing::{TestDatabase, on_each};
use store::{Store, args};

use crate::world::{Mode, World, alert, city, kinds, on_duty, pack};

/// Opens the store again once the tasks of the stopped one have let it go.
async fn reopen(database: &TestDatabase) -> Store {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match database.open().await {
            Ok(store) => return store,
            Err(e) => assert!(Instant::now() < until, "{e}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_timer_set_before_a_restart_fires_once_after_it() {
    for database in TestDatabase::each().await {
        let store = database.open().await.unwrap();
        let duty = city(&store).await;
        on_duty(&store, "community", "community-duty", "50/500112/500112011/500112011014/").await;
        // Ten minutes become 0.6 s; the hub is down when they are over.
        let world = World::open(&store, 1000.0, Mode::Answers).await;
        world.tell("alert.opened", alert(1, 1, "m", "yellow")).await;
        let task = world.task(&duty, "sign").await;
        let number = task["case"].as_str().unwrap().to_owned();
        world.stop().await;
        store.stop().await;
        drop((world, store));
        tokio::time::sleep(Duration::from_millis(700)).await;

        let store = reopen(&database).await;
        let world = World::open(&store, 1000.0, Mode::Answers).await;
        let path = format!("/api/v1/cases/{number}");
        let case = world
            .until(&duty, &path, "the escalation", |c| {
                kinds(c).contains(&"task.escalated".to_owned()).then(|| c.clone())
            })
            .await;
        assert_eq!(kinds(&case).iter().filter(|k| *k == "task.opened").count(), 1, "nothing opened twice");
        world.stop().await;
        store.stop().await;
    }
}

#[tokio::test]
async fn a_boundary_timer_tells_the_street_and_the_repair_goes_on() {
    on_each(|store| async move {
        let duty = city(&store).await;
        on_duty(&store, "street", "street-duty", "50/500112/500112011/").await;
        // Four hours become 0.3 s.
        let world = World::open(&store, 48_000.0, Mode::Answers).await;
        world.tell("alert.opened", alert(1, 1, "m", "yellow")).await;
        world.do_task(&duty, "sign", json!({"outcome":"accepted"})).await;
        world.do_task(&duty, "verify", json!({"outcome":"real"})).await;
        let repair = world.task(&duty, "repair").await;
        let path = format!("/api/v1/cases/{}", repair["case"].as_str().unwrap());
        let case = world
            .until(&duty, &path, "the timer", |c| {
                kinds(c).contains(&"timer.fired".to_owned()).then(|| c.clone())
            })
            .await;
        let told = case["timeline"]
            .as_array()
            .unwrap()
            .iter()
            .rfind(|e| e["kind"] == "notice.sent")
            .unwrap()
            .clone();
        assert_eq!((&told["element"], &told["told"][0]["name"]), (&json!("tell-street"), &json!("street")));
        assert_eq!(case["tokens"].as_array().unwrap().len(), 1);
        world.do_task(&duty, "repair", json!({"outcome":"done"})).await;
        world.do_task(&duty, "close", json!({"outcome":"closed"})).await;
        let (_, case) = world.get(&duty, &path).await;
        assert_eq!(case["state"], "closed");
        world.stop().await;
    })
    .await;
}

async fn to_the_service(world: &World, duty: &platform::http::Caller) -> String {
    world.tell("alert.opened", alert(1, 1, "m", "yellow")).await;
    world.do_task(duty, "sign", json!({"outcome":"accepted"})).await;
    world.do_task(duty, "verify", json!({"outcome":"real"})).await;
    let done = world.do_task(duty, "repair", json!({"outcome":"done"})).await;
    done["case"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_call_whose_answer_was_lost_is_made_again_and_moves_the_case_once() {
    for database in TestDatabase::each().await {
        let store = database.open().await.unwrap();
        let duty = city(&store).await;
        let world = World::open(&store, 1.0, Mode::Hangs).await;
        let number = to_the_service(&world, &duty).await;
        let until = Instant::now() + Duration::from_secs(10);
        while world.ask.calls.load(Ordering::SeqCst) == 0 {
            assert!(Instant::now() < until, "the service is called");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let job = world.ask.jobs.lock().unwrap()[0];
        world.stop().await;
        store.stop().await;
        drop((world, store));

        let store = reopen(&database).await;
        let world = World::open(&store, 1.0, Mode::Answers).await;
        world.task(&duty, "close").await;
        assert_eq!(*world.ask.jobs.lock().unwrap(), [job], "the same call again");
        let case = world.case(&duty, &number).await;
        assert_eq!(kinds(&case).iter().filter(|k| *k == "service.done").count(), 1);
        world.stop().await;
        store.stop().await;
    }
}

#[tokio::test]
async fn a_call_that_fails_is_tried_again_and_one_that_is_refused_stops_the_case_visibly() {
    on_each(|store| async move {
        let duty = city(&store).await;
        let world = World::open(&store, 1.0, Mode::FailsOnce).await;
        to_the_service(&world, &duty).await;
        world.do_task(&duty, "close", json!({"outcome":"closed"})).await;
        assert_eq!(world.ask.calls.load(Ordering::SeqCst), 2);
        world.stop().await;

        let world = World::open(&store, 1.0, Mode::Refuses).await;
        let number = to_the_service(&world, &duty).await;
        let path = format!("/api/v1/cases/{number}");
        let case = world
            .until(&duty, &path, "the failure", |c| {
                kinds(c).contains(&"service.failed".to_owned()).then(|| c.clone())
            })
            .await;
        assert_eq!((&case["state"], &case["tokens"][0]["element"]), (&json!("open"), &json!("ask")));
        let jobs: Vec<(String, String)> = store
            .read()
            .all("SELECT state, COALESCE(reason, '') FROM jobs ORDER BY created_at", args![])
            .await
            .unwrap();
        assert_eq!(jobs, [("done".into(), String::new()), ("failed".into(), "never".into())]);
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_changed_process_gets_the_next_version_and_running_cases_keep_theirs() {
    on_each(|store| async move {
        let duty = city(&store).await;
        let world = World::open(&store, 1.0, Mode::Answers).await;
        world.tell("alert.opened", alert(1, 1, "m1", "yellow")).await;
        let old = world.task(&duty, "sign").await;
        world.stop().await;
        // The subscriber of the first hub goes on within the same store; both digest by one cursor.
        let mut changed = pack();
        let xml = changed.files.get_mut("processes/mend.bpmn").unwrap();
        *xml = xml.replace("name=\"核实\"", "name=\"现场核实\"");
        let world = World::open_with(&store, 1.0, Mode::Answers, changed.clone()).await;
        world.complete(&duty, &old, json!({"outcome":"accepted"})).await;
        let verify = world.task(&duty, "verify").await;
        assert_eq!(verify["name"]["zh"], "核实", "the version it was started with");
        let case = world.case(&duty, old["case"].as_str().unwrap()).await;
        assert_eq!(case["version"], 1);
        for (version, name) in [(1, "name=\"核实\""), (2, "name=\"现场核实\"")] {
            let (_, xml) = world.get(&duty, &format!("/api/v1/processes/mend/{version}/bpmn")).await;
            assert!(xml.as_str().unwrap().contains(name), "{version}");
        }
        world.stop().await;
        let again = World::open_with(&store, 1.0, Mode::Answers, changed).await;
        let (status, _) = again.get(&duty, "/api/v1/processes/mend/3/bpmn").await;
        assert_eq!(status, axum::http::StatusCode::NOT_FOUND, "the same file is the same version");
        again.stop().await;
    })
    .await;
}
