use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use platform::testing::{as_caller, caller};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{ESTATE, Hub, on_each, pack};

const ALL: [&str; 3] = ["thing:read", "situation:read", "alert:read"];

/// The routes as one who holds all permissions at `area` sees them.
fn routes(hub: &Hub, area: &str, permissions: &[&str]) -> Router {
    as_caller(watch::http::routes(hub.watch.clone()), caller(store::new_id(), "王强", area, permissions))
}

async fn text(router: &Router, path: &str) -> (StatusCode, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

async fn get(router: &Router, path: &str) -> Value {
    let (status, body) = text(router, path).await;
    assert_eq!(status, StatusCode::OK, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

fn codes(page: &Value, field: &str) -> Vec<String> {
    page["items"].as_array().unwrap().iter().map(|i| i[field].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn things_are_listed_by_area_state_and_text() {
    on_each(|database| async move {
        let hub = Hub::open(&database, &pack("")).await;
        hub.ingest(1, &[(-2, 0.3)]).await;
        hub.ingest(2, &[(-2, 0.15), (-1, 0.15)]).await;
        hub.wait_alerts(&["h-2 low open 3"]).await;
        hub.watch.stop().await;
        let all = routes(&hub, "50/", &ALL);
        for (query, expected) in [
            ("", vec!["h-1", "h-2", "h-3"]),
            ("?limit=2", vec!["h-1", "h-2"]),
            ("?after=h-2", vec!["h-3"]),
            ("?state=alert", vec!["h-2"]),
            ("?state=normal", vec!["h-1"]),
            ("?state=unknown", vec!["h-3"]),
            ("?type=pump", vec![]),
            ("?q=OUTDOOR", vec!["h-1"]),
            ("?q=%E6%A0%8B", vec!["h-2", "h-3"]),
            (&format!("?area={ESTATE}jz-01/"), vec!["h-2"]),
        ] {
            assert_eq!(
                codes(&get(&all, &format!("/api/v1/things{query}")).await, "code"),
                expected,
                "{query}"
            );
        }
        assert_eq!(get(&all, "/api/v1/things?limit=2").await["next"], "h-2");
        let thing = get(&all, "/api/v1/things/h-2").await;
        assert_eq!(
            json!([thing["state"], thing["severity"], thing["area"]["code"], thing["type_title"]["en"]]),
            json!(["alert", "yellow", "jz-01-u1-f2", "Fire hydrant"])
        );
        let stream = &thing["datastreams"][0];
        assert_eq!(
            json!([stream["key"], stream["unit"], stream["interval_seconds"], stream["last"]["value"]]),
            json!([2, "MPa", 1.0, 0.15])
        );
        // Outside one's areas there is nothing, and nothing is told apart.
        let second = routes(&hub, &format!("{ESTATE}jz-02/"), &ALL);
        assert_eq!(codes(&get(&second, "/api/v1/things").await, "code"), ["h-3"]);
        for path in ["things/h-2", "things/none", "datastreams/2/observations", "datastreams/x/observations"]
        {
            assert_eq!(text(&second, &format!("/api/v1/{path}")).await.0, StatusCode::NOT_FOUND, "{path}");
        }
        let stranger = routes(&hub, "50/", &["notice:read"]);
        for path in [
            "things",
            "things/h-1",
            "map/things",
            "datastreams/1/observations",
            "situation",
            "alerts",
            "alerts.csv",
            "alerts/1",
        ] {
            assert_eq!(text(&stranger, &format!("/api/v1/{path}")).await.0, StatusCode::FORBIDDEN, "{path}");
        }
        hub.close().await;
    })
    .await;
}

#[tokio::test]
async fn the_map_and_the_curve() {
    on_each(|database| async move {
        let hub = Hub::open(&database, &pack("")).await;
        hub.ingest(2, &[(-3, 0.3), (-2, 0.15), (-1, 0.15)]).await;
        hub.wait_alerts(&["h-2 low open 3"]).await;
        hub.watch.stop().await;
        let all = routes(&hub, "50/", &ALL);
        let map = get(&all, &format!("/api/v1/map/things?area={ESTATE}")).await;
        assert_eq!(codes(&map, "code"), ["h-1", "h-2"], "h-3 has no place on the map");
        let h2 = &map["items"][1];
        assert_eq!(
            json!([
                h2["key"],
                h2["floor"],
                h2["siting"],
                h2["state"],
                h2["severity"],
                h2["value"],
                h2["unit"]
            ]),
            json!([2, 2, "indoor", "alert", "yellow", 0.15, "MPa"])
        );
        assert_eq!(map["items"][0]["state"], "unknown");
        let curve = get(&all, "/api/v1/datastreams/2/observations").await;
        let values: Vec<_> =
            curve["points"].as_array().unwrap().iter().map(|p| p[1].as_f64().unwrap()).collect();
        assert_eq!(values, [0.3, 0.15, 0.15]);
        assert_eq!(curve["thresholds"].as_array().unwrap().len(), 1, "indoors there is one level");
        assert_eq!(
            get(&all, "/api/v1/datastreams/1/observations").await["thresholds"][1],
            json!({ "severity": "red", "below": 0.1, "clear_above": 0.12,
                "label": { "zh": "火灾时最低", "en": "Minimum in a fire" } })
        );
        let bad = text(&all, "/api/v1/datastreams/2/observations?from=yesterday").await;
        assert_eq!(bad.0, StatusCode::BAD_REQUEST, "{}", bad.1);
        hub.close().await;
    })
    .await;
}

#[tokio::test]
async fn alerts_are_listed_the_gravest_first_filtered_and_paged() {
    on_each(|database| async move {
        let hub = Hub::open(&database, &pack("")).await;
        hub.ingest(2, &[(-9, 0.15), (-8, 0.15)]).await;
        hub.ingest(1, &[(-7, 0.05), (-6, 0.05)]).await;
        hub.ingest(3, &[(-5, 0.15), (-4, 0.15)]).await;
        hub.ingest(3, &[(-3, 0.3), (-2, 0.3)]).await;
        hub.watch.stop().await;
        let all = routes(&hub, "50/", &ALL);
        for (query, expected) in [
            ("", vec!["h-1", "h-2", "h-3"]),
            ("?state=unresolved", vec!["h-1", "h-2"]),
            ("?state=resolved", vec!["h-3"]),
            ("?severity=red", vec!["h-1"]),
            ("?severity=red,yellow&state=open", vec!["h-1", "h-2"]),
            ("?q=floor%202", vec!["h-2"]),
            (&format!("?area={ESTATE}jz-02/"), vec!["h-3"]),
            ("?area=99/", vec![]),
        ] {
            assert_eq!(
                codes(&get(&all, &format!("/api/v1/alerts{query}")).await, "thing"),
                expected,
                "{query}"
            );
        }
        let mut seen = Vec::new();
        let mut next = String::new();
        loop {
            let page = get(&all, &format!("/api/v1/alerts?limit=1{next}")).await;
            seen.extend(codes(&page, "thing"));
            match page["next"].as_str() {
                Some(after) => next = format!("&after={after}"),
                None => break,
            }
        }
        assert_eq!(seen, ["h-1", "h-2", "h-3"], "page by page");
        for query in ["?state=gone", "?severity=pink", "?area=x", "?after=x", "?limit=x"] {
            assert_eq!(
                text(&all, &format!("/api/v1/alerts{query}")).await.0,
                StatusCode::BAD_REQUEST,
                "{query}"
            );
        }

        let page = get(&all, "/api/v1/alerts").await;
        let first = &page["items"][0];
        assert_eq!(
            json!([
                first["severity"],
                first["state"],
                first["value"],
                first["last_value"],
                first["correlation"]
            ]),
            json!(["red", "open", 0.05, 0.05, "main-1"])
        );
        let number = first["number"].as_str().unwrap();
        let id = first["id"].as_str().unwrap();
        let detail = get(&all, &format!("/api/v1/alerts/{number}")).await;
        assert_eq!(detail, get(&all, &format!("/api/v1/alerts/{id}")).await);
        assert_eq!(
            json!([detail["changes"][0]["kind"], detail["thresholds"][0]["below"]]),
            json!(["opened", 0.2])
        );
        let second = routes(&hub, &format!("{ESTATE}jz-02/"), &ALL);
        assert_eq!(text(&second, &format!("/api/v1/alerts/{number}")).await.0, StatusCode::NOT_FOUND);
        assert_eq!(codes(&get(&second, "/api/v1/alerts").await, "thing"), ["h-3"]);

        let (_, csv) = text(&all, "/api/v1/alerts.csv?state=resolved").await;
        let mut lines = csv.lines();
        assert!(lines.next().unwrap().starts_with("\u{feff}编号,级别,状态"), "{csv}");
        let row = lines.next().unwrap();
        assert!(row.contains("黄色,已恢复,水压低,h-3,'=室内栓,2 栋 1 层"), "{csv}");
        let (_, csv) = text(&all, "/api/v1/alerts.csv?lang=en&severity=red").await;
        assert!(
            csv.contains("red,open,Pressure low,h-1,Outdoor hydrant,East gate,Jiazhou Garden,0.05,MPa,20"),
            "{csv}"
        );
        hub.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_situation_counts_what_the_caller_sees() {
    on_each(|database| async move {
        let hub = Hub::open(&database, &pack("")).await;
        hub.ingest(1, &[(-7, 0.05), (-6, 0.05)]).await;
        hub.ingest(2, &[(-9, 0.3)]).await;
        hub.watch.stop().await;
        let all = routes(&hub, "50/500112/", &ALL);
        let situation = get(&all, "/api/v1/situation").await;
        assert_eq!(situation["area"]["name"]["zh"], "渝北区", "the widest of one's own");
        assert_eq!(
            situation["things"],
            json!({ "total": 3, "normal": 1, "alert": 1, "offline": 0, "unknown": 1 })
        );
        assert_eq!(situation["alerts"]["open"], json!({ "red": 1, "orange": 0, "yellow": 0, "blue": 0 }));
        assert_eq!(
            json!([situation["alerts"]["unacknowledged"], situation["alerts"]["opened_last_hour"]]),
            json!([1, 1])
        );
        assert_eq!(situation["by_rule"][0]["open"], 1);
        let hours = situation["hours"].as_array().unwrap();
        assert_eq!(hours.len(), 24);
        // Six seconds ago may have been the hour before.
        let opened: u64 = hours[22..].iter().map(|h| h["opened"].as_u64().unwrap()).sum();
        assert_eq!(opened, 1);
        let second = routes(&hub, &format!("{ESTATE}jz-02/"), &ALL);
        let situation = get(&second, "/api/v1/situation?area=50/").await;
        assert_eq!(situation["things"]["total"], 1, "an area above one's own is shown as far as one sees");
        assert_eq!(situation["alerts"]["open"]["red"], 0);
        for area in ["50/500112/500112011/500112011014/jz/jz-01/", "99/"] {
            let path = format!("/api/v1/situation?area={area}");
            assert_eq!(text(&second, &path).await.0, StatusCode::NOT_FOUND, "{area}");
        }
        hub.close().await;
    })
    .await;
}
