//! The audit over HTTP: searched, paged, exported, within the reader's areas, and held against its
//! anchors.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use platform::SecondFactor;
use platform::audit::anchor::{self, Anchors};
use platform::testing::system;
use serde_json::Value;
use store::StoreError;
use store::testing::on_each;

use crate::accounts::{ESTATE, World};
use crate::send;

async fn note(world: &World, action: &'static str, object: &'static str, area: Option<&'static str>) {
    let place = area.map(|a| model::AreaPath::parse(a).unwrap());
    world
        .store
        .command::<_, (), StoreError, _>(&system(), action, (object, place), |tx, (object, place)| {
            Box::pin(async move {
                tx.subject("thing", object, place.as_ref());
                Ok(())
            })
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn entries_are_found_by_who_what_object_time_and_request() {
    on_each(|store| async move {
        let world = World::new(store, SecondFactor::Optional).await;
        world.account("auditor", "auditor", "50/", false).await;
        world.account("local", "auditor", ESTATE, false).await;
        world.account("security", "security-administrator", "50/", false).await;
        let id = world.account("wang", "manager", ESTATE, false).await;
        let (auditor, local) = (world.log_in("auditor").await, world.log_in("local").await);
        let security = world.log_in("security").await;
        world.log_in("wang").await;
        let sessions = format!("/api/v1/people/{id}/sessions");
        assert_eq!(security.ask("DELETE", &sessions, None).await.0, StatusCode::NO_CONTENT);
        let before = store::now();
        for n in 0..7 {
            note(&world, "thing:paint", if n % 2 == 0 { "=1+1" } else { "b" }, (n < 3).then_some(ESTATE))
                .await;
        }
        let find = async |query: &str| -> Vec<Value> {
            let (status, page) = auditor.get(&format!("/api/v1/audit{query}")).await;
            assert_eq!(status, StatusCode::OK, "{query}: {page}");
            page["items"].as_array().unwrap().clone()
        };
        let ended = find("?what=session:end").await;
        assert_eq!(ended.len(), 1);
        assert_eq!(
            (&ended[0]["actor_name"], &ended[0]["resource_id"]),
            (&"security 某".into(), &id.to_string().into())
        );
        let request = ended[0]["request"].as_str().unwrap();
        for (query, count) in [
            ("?what=thing:paint".to_owned(), 7),
            ("?what=PAINT&object=b".to_owned(), 3),
            ("?object=thing".to_owned(), 7),
            (format!("?object={id}&what=session"), 2),
            (format!("?who=security&object={id}"), 1),
            (format!("?who=person:{id}"), 1),
            (format!("?request={request}"), 1),
            (format!("?from={before}&what=thing"), 7),
            (format!("?to={before}&what=thing"), 0),
        ] {
            assert_eq!(find(&query).await.len(), count, "{query}");
        }
        let (status, _) = auditor.get("/api/v1/audit?request=nonsense").await;
        assert_eq!(status, StatusCode::BAD_REQUEST);

        // Pages hold every entry once, the newest first.
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let (_, page) = auditor.get(&format!("/api/v1/audit?what=thing&limit=3{after}")).await;
            seen.extend(page["items"].as_array().unwrap().iter().map(|e| e["position"].as_i64().unwrap()));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        assert_eq!(seen.len(), 7);
        assert!(seen.windows(2).all(|w| w[0] > w[1]), "{seen:?}");

        // A part of the city: what names an area in it, and no log-ins.
        let (_, page) = local.get("/api/v1/audit").await;
        let items = page["items"].as_array().unwrap();
        assert!(items.iter().all(|e| e["area"]["path"].as_str().is_some_and(|p| p.starts_with(ESTATE))));
        assert_eq!(items.iter().filter(|e| e["action"] == "thing:paint").count(), 3);
        assert_eq!(security.get("/api/v1/audit").await.0, StatusCode::FORBIDDEN);
        assert_eq!(auditor.get("/api/v1/people").await.0, StatusCode::FORBIDDEN);

        let export = async |format: &str| {
            let request = Request::get(format!("/api/v1/audit/export?format={format}&what=thing"))
                .header(header::COOKIE, auditor.cookie());
            let response = send(&world.router, request.body(Body::empty()).unwrap()).await;
            assert_eq!(response.status(), StatusCode::OK);
            let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
            String::from_utf8(bytes.to_vec()).unwrap()
        };
        let csv = export("csv").await;
        assert!(csv.starts_with("\u{feff}position,at,actor,") && csv.lines().count() == 8, "{csv}");
        assert!(csv.contains(",'=1+1,") && !csv.contains(",=1+1"), "no formula runs: {csv}");
        let lines: Vec<Value> =
            export("jsonl").await.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines.len(), 7);
        assert_eq!(find("?what=audit:export").await.len(), 2, "an export is an entry itself");
    })
    .await;
}

#[tokio::test]
async fn an_export_of_many_pages_is_whole() {
    on_each(|store| async move {
        let world = World::new(store, SecondFactor::Optional).await;
        world.account("auditor", "auditor", "50/", false).await;
        let auditor = world.log_in("auditor").await;
        let all = (0..1201).map(|_| note(&world, "thing:count", "x", None));
        futures::future::join_all(all).await;
        let request = Request::get("/api/v1/audit/export?format=jsonl&what=thing:count")
            .header(header::COOKIE, auditor.cookie());
        let response = send(&world.router, request.body(Body::empty()).unwrap()).await;
        let bytes = axum::body::to_bytes(response.into_body(), 8 << 20).await.unwrap();
        let mut positions: Vec<i64> = bytes
            .split(|b| *b == b'\n')
            .filter(|l| !l.is_empty())
            .map(|l| serde_json::from_slice::<Value>(l).unwrap()["position"].as_i64().unwrap())
            .collect();
        positions.dedup();
        assert_eq!(positions.len(), 1201);
        // The chain that they stand in holds, and so it does against an anchor.
        let anchors = Anchors::open(&world.folder().join("anchors"), &world.folder().join("keys")).unwrap();
        let head = world.store.audit_head().await.unwrap();
        let anchor = anchors.write(&head, store::now()).unwrap();
        let hashes = anchor::hashes(&[anchor]).unwrap();
        assert_eq!(world.store.verify_audit(&hashes).await.unwrap().unwrap().anchors, 1);
        let (_, chain) = auditor.get("/api/v1/audit/chain").await;
        assert_eq!(chain["position"], head.position);
        world.set("UPDATE audit SET actor_name = 'nobody' WHERE position = 600").await;
        let broken = world.store.verify_audit(&BTreeMap::new()).await.unwrap().unwrap_err();
        assert!(broken.to_string().starts_with("entry 600 (thing:count"), "{broken}");
    })
    .await;
}
