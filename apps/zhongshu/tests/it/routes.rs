//! Every route as nobody, as one who may do nothing, and as one who may do everything elsewhere.

use platform::role;
use serde_json::{Value, json};
use store::testing::TestDatabase;
use testkit::{Access, Client};

use crate::city::{Estate, photo, publish, task, until};

#[tokio::test]
async fn every_route_is_refused_by_default() {
    for database in TestDatabase::each().await {
        let mut estate = Estate::start(database, 1.0).await;
        let device = estate.device(estate.riser()[0]).await;
        publish(&device, "pressure", &[0.41, 0.12, 0.11]).await;
        let property = estate.client("property").await;
        let sign = task(&property, "sign").await;
        let alert = until(&property, "/api/v1/alerts", |p| p["items"].as_array()?.first().cloned()).await;
        let file = property.send_photo(photo()).await.unwrap();
        let district = estate.client("district").await;
        let area = &district.get("/api/v1/areas/jz").await.unwrap()["path"];
        let token = json!({ "name": "telegraf", "area": area, "write": true });
        let (made, _) = district.call("POST", "/api/v1/tokens", Some(token)).await.unwrap();
        assert_eq!(made, 201);
        let hook = json!({ "name": "city-brain", "area": area, "url": "https://localhost/in" });
        let (made, _) = district.call("POST", "/api/v1/webhooks", Some(hook)).await.unwrap();
        assert_eq!(made, 201);
        let told =
            until(&district, "/api/v1/notifications", |p| p["items"].as_array()?.first().cloned()).await;
        let scope = json!({ "area": area, "type": "fire-hydrant", "datastream": "pressure" });
        let (started, sweep) = district.call("POST", "/api/v1/sweeps", Some(scope.clone())).await.unwrap();
        assert_eq!(started, 201, "{sweep}");
        let mut daily = scope;
        daily["at"] = json!("08:00");
        let (kept, schedule) = district.call("POST", "/api/v1/sweep-schedules", Some(daily)).await.unwrap();
        assert_eq!(kept, 201, "{schedule}");
        let text = |v: &Value| v.as_str().unwrap().to_owned();
        let security = estate.client("security").await;
        let people = security.get("/api/v1/people?q=property2").await.unwrap();
        let person = people["items"][0].clone();
        let sessions =
            security.get(&format!("/api/v1/people/{}/sessions", text(&person["id"]))).await.unwrap();
        assert_eq!(sessions["items"], json!([]));
        let fill = |path: &str| {
            path.replace("/areas/{code}", "/areas/jz-03")
                .replace("/things/{code}", &format!("/things/{}", estate.riser()[0]))
                .replace("/datastreams/{key}", &format!("/datastreams/{}", alert["datastream"]))
                .replace("/alerts/{number}", &format!("/alerts/{}", text(&alert["number"])))
                .replace("/cases/{number}", &format!("/cases/{}", text(&sign["case"])))
                .replace("/processes/{key}/{version}", "/processes/hydrant-pressure/1")
                .replace("/tasks/{id}", &format!("/tasks/{}", text(&sign["id"])))
                .replace("/files/{id}", &format!("/files/{file}"))
                .replace("/tokens/{name}", "/tokens/telegraf")
                .replace("/webhooks/{name}", "/webhooks/city-brain")
                .replace("/notifications/{id}", &format!("/notifications/{}", text(&told["id"])))
                .replace("/sweeps/{number}", &format!("/sweeps/{}", text(&sweep["number"])))
                .replace("/sweep-schedules/{id}", &format!("/sweep-schedules/{}", text(&schedule["id"])))
                .replace("/people/{id}", &format!("/people/{}", text(&person["id"])))
                .replace("/grants/{id}", &format!("/grants/{}", text(&person["grants"][0]["id"])))
                .replace("/duties/{id}", &format!("/duties/{}", text(&person["duties"][0]["id"])))
                .replace("/account/sessions/{id}", &format!("/account/sessions/{}", text(&person["id"])))
                .replace("/sessions/{session}", &format!("/sessions/{}", text(&person["id"])))
                .replace("/imports/{id}", &format!("/imports/{}", text(&alert["id"])))
        };
        // Lists and sums hold nothing of another's area, and a process is the same everywhere.
        let everywhere = ["/api/v1/processes/{key}/{version}/bpmn"];
        let elsewhere_system = estate.client("elsewhere-system").await;
        let elsewhere_security = estate.client("elsewhere-security").await;
        let nobody = Client::nobody(&estate.hub.url().unwrap()).unwrap();
        let guest = estate.client("guest").await;
        let neighbour = estate.client("neighbour").await;
        let elsewhere = estate.client("elsewhere").await;
        let mut walked = 0;
        for (method, path, access) in estate.hub.routes().unwrap() {
            let filled = fill(&path);
            assert!(!filled.contains('{'), "the walk knows no example for {path}");
            let body = match path.rsplit('/').next() {
                Some("complete") => Some(json!({ "values": { "outcome": "accepted" } })),
                Some("personal") if method == "PUT" => Some(json!({ "field": "phone" })),
                Some("reveal") => Some(json!({ "field": "phone", "reason": "x" })),
                Some("hand-over") => Some(json!({ "person": alert["id"] })),
                _ => matches!(method.as_str(), "POST" | "PUT").then(|| json!({})),
            };
            let ask = async |client: &Client| client.send(&method, &filled, body.clone()).await.unwrap();
            walked += 1;
            match access {
                Access::Public => continue,
                Access::Session | Access::Unsettled if path == "/api/v1/events" || method != "GET" => {
                    assert_eq!(ask(&nobody).await.status(), 401, "{method} {path}");
                    continue;
                }
                Access::Session | Access::Unsettled => {
                    assert_eq!(ask(&nobody).await.status(), 401, "{method} {path}");
                    assert_eq!(ask(&guest).await.status(), 200, "{method} {path}");
                    continue;
                }
                Access::Token => {
                    // A session is no token, whatever its grants.
                    for client in [&nobody, &guest, &district] {
                        assert_eq!(ask(client).await.status(), 401, "{method} {path}");
                    }
                    continue;
                }
                Access::Permission(_) | Access::PermissionOrToken(_) => {}
            }
            assert_eq!(ask(&nobody).await.status(), 401, "{method} {path} as nobody");
            assert_eq!(ask(&guest).await.status(), 403, "{method} {path} as one who may do nothing");
            // Of those elsewhere, one whose role holds the permission.
            let answer = match access {
                Access::Permission("token:manage" | "notification:manage" | "notification:resend")
                | Access::PermissionOrToken(_) => ask(&elsewhere).await,
                Access::Permission("account:read" | "account:manage" | "personal:reveal") => {
                    ask(&elsewhere_system).await
                }
                Access::Permission(p) if role::is_reserved(p) => ask(&elsewhere_security).await,
                _ => ask(&neighbour).await,
            };
            let status = answer.status();
            if path.contains('{') && !everywhere.contains(&path.as_str()) {
                assert_eq!(status, 404, "{method} {path} as one from elsewhere");
            } else if status.is_success() && method == "GET" {
                let text = answer.text().await.unwrap();
                assert!(
                    !text.contains("jz-h-0081") && !text.contains("3 栋"),
                    "{method} {path} tells a neighbour: {text}"
                );
            } else {
                assert!(status.is_client_error() || method == "POST", "{method} {path}: {status}");
            }
        }
        assert!(walked > 20, "{walked} routes");
        // What the neighbour tried has changed nothing.
        let still = property.get(&format!("/api/v1/tasks/{}", text(&sign["id"]))).await.unwrap();
        assert_eq!(still["state"], "open");
        let tokens = district.get("/api/v1/tokens").await.unwrap();
        assert_eq!(tokens["items"][0]["revoked_at"], Value::Null, "{tokens}");
        estate.hub.stop().await;
    }
}
