//! What a pack may declare, and what is refused with file, line and reason.

use std::path::Path;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use platform::PackFiles;
use serde_json::json;
use store::testing::on_each;

use crate::world::{Mode, World, alert, city, kinds, on_duty, pack};

#[test]
fn the_pack_of_these_tests_is_right() {
    assert_eq!(work::validate(&pack()), []);
}

#[test]
fn what_is_wrong_is_refused_with_file_and_line() {
    let bpmn = "processes/mend.bpmn";
    for (file, from, to, said) in [
        (bpmn, "zs:form=\"verify\"", "zs:form=\"nowhere\"", "no form \"nowhere\""),
        (bpmn, "zs:service=\"ask-device\"", "zs:service=\"rocket\"", "no service \"rocket\""),
        (bpmn, "zs:param-message=\"low\"", "zs:param-message=\"gone\"", "no message \"gone\""),
        (
            bpmn,
            "zs:param-audience=\"residents\"",
            "zs:param-audience=\"everyone\"",
            "audience is \"everyone\"",
        ),
        (bpmn, "bpmn:endEvent id=\"end\"", "bpmn:parallelGateway id=\"end\"", ""),
        ("bindings.toml", "start='mend'", "start=\"other\"", "no process \"other\""),
        ("bindings.toml", "rule='low'", "rule=\"high\"", "no rule \"high\""),
        ("bindings.toml", "thing.properties.main", "thing.owner", "correlate is \"thing.owner\""),
        ("bindings.toml", "after='PT30M'", "after='soon'", ""),
        ("bindings.toml", "on='alert.opened'", "on='alert.closed'", ""),
        ("bindings.toml", "on_resolved='note'", "on_resolve='note'", ""),
        ("forms/verify.schema.json", "\"object\"", "\"objekt\"", ""),
        ("forms/verify.schema.json", "{", "", "is not JSON"),
    ] {
        let mut pack = pack();
        let text = pack.files.get_mut(file).unwrap();
        assert!(text.contains(from), "{file}: {from}");
        *text = text.replacen(from, to, 1);
        let errors = work::validate(&pack);
        let found = errors.iter().find(|e| e.file == file && e.reason.contains(said));
        assert!(found.is_some(), "{file}: {to}: {errors:?}");
        if !said.is_empty() && file != "forms/verify.schema.json" {
            assert!(found.unwrap().line.is_some(), "{errors:?}");
        }
    }
}

fn fire() -> PackFiles {
    PackFiles::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../packs/fire")).unwrap()
}

#[test]
fn the_fire_pack_is_right() {
    let errors = work::validate(&fire());
    assert!(errors.is_empty(), "{errors:#?}");
}

#[tokio::test]
async fn the_fire_pack_runs_from_alert_to_close() {
    on_each(|store| async move {
        let mut duty = city(&store).await;
        for p in ["file:write", "file:read"] {
            duty.context.grants[0].permissions.insert(p.into());
        }
        let community =
            on_duty(&store, "community", "community-duty", "50/500112/500112011/500112011014/").await;
        let world = World::open_with(&store, 1.0, Mode::Answers, fire()).await;
        let mut low = alert(1, 1, "riser-1", "yellow");
        low["rule"] = json!("hydrant-low-pressure");
        world.tell("alert.opened", low).await;
        world.do_task(&duty, "sign", json!({"outcome":"accepted"})).await;
        world.do_task(&duty, "verify", json!({"outcome":"real"})).await;
        let repair = world.task(&duty, "repair").await;
        let (status, _) = world.complete(&duty, &repair, json!({"outcome":"done"})).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "a repair needs its cause and a photo");
        let jpeg: &[u8] = &[0xff, 0xd8, 0xff, 0xda, 0, 3, 0, 1, 2, 3, 0xff, 0xd9];
        let request = Request::post("/api/v1/files")
            .header("content-type", "image/jpeg")
            .body(Body::from(jpeg))
            .unwrap();
        let (_, file) = world.send(&duty, request).await;
        let (_, detail) =
            world.get(&duty, &format!("/api/v1/tasks/{}", repair["id"].as_str().unwrap())).await;
        let cause = detail["form"]["schema"]["properties"]["cause"]["enum"][0].clone();
        let answers = json!({"outcome":"done","cause":cause,"photos":[file["id"]]});
        let (status, body) = world.complete(&duty, &repair, answers).await;
        assert_eq!(status, StatusCode::OK, "{body:#}");
        world.do_task(&community, "check", json!({"outcome":"pass"})).await;
        world.do_task(&duty, "close", json!({"outcome":"closed"})).await;
        let case = world.case(&duty, repair["case"].as_str().unwrap()).await;
        assert_eq!(case["state"], "closed", "{:?}", kinds(&case));
        world.stop().await;
    })
    .await;
}
