//! Sweeps: started, answered, ended, repeated, compared, scheduled.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use model::command::{Answer, Answers as _, CommandDown, Correlation, Question, Reply, Sent, To};
use model::{DatastreamKey, Micros};
use platform::testing::{as_caller, caller, system};
use serde_json::{Value, json};
use store::StoreError;
use tower::ServiceExt as _;
use watch::sweep::Sweeps;

use crate::{ESTATE, Hub, eventually, on_each, pack};

/// The devices as the hub hears them: who listens, and what they were asked.
#[derive(Default)]
struct Field {
    absent: HashSet<&'static str>,
    asked: Mutex<Vec<(String, Correlation)>>,
}

impl Field {
    /// The question that `thing` was asked last.
    fn question(&self, thing: &str) -> Correlation {
        let asked = self.asked.lock().unwrap();
        asked.iter().rev().find(|(code, _)| code == thing).unwrap().1
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|(code, _)| code.clone()).collect()
    }
}

#[async_trait]
impl CommandDown for Field {
    async fn send(&self, _: &str, _: Bytes) -> Sent {
        Sent::NotListening
    }

    async fn ask(&self, question: &Question, to: &[To<'_>]) -> Vec<Sent> {
        assert_eq!(question.datastream, "pressure");
        to.iter()
            .map(|to| {
                if self.absent.contains(to.thing) {
                    return Sent::NotListening;
                }
                let correlation = Correlation { asker: question.asker, number: to.number };
                self.asked.lock().unwrap().push((to.thing.to_owned(), correlation));
                Sent::Delivered
            })
            .collect()
    }
}

/// A hub that sweeps, and the routes as one who may everything sees them.
struct City {
    hub: Hub,
    field: Arc<Field>,
    sweeps: Arc<Sweeps>,
    routes: Router,
}

const ALL: [&str; 2] = ["sweep:start", "sweep:read"];

fn routes(sweeps: &Arc<Sweeps>, area: &str, permissions: &[&str]) -> Router {
    let api = watch::http::sweep_routes(sweeps.clone());
    as_caller(api, caller(store::new_id(), "王强", area, permissions))
}

async fn call(router: &Router, method: &str, path: &str, body: Option<Value>) -> (StatusCode, String) {
    keyed(router, method, path, body, None).await
}

async fn keyed(
    router: &Router,
    method: &str,
    path: &str,
    body: Option<Value>,
    key: Option<&str>,
) -> (StatusCode, String) {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    let response = router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

impl City {
    async fn open(database: &store::testing::TestDatabase, field: Field) -> Self {
        let hub = Hub::open(database, &pack("")).await;
        let field = Arc::new(field);
        let sweeps = Sweeps::open(hub.watch.clone(), field.clone()).await.unwrap();
        let routes = routes(&sweeps, "50/", &ALL);
        Self { hub, field, sweeps, routes }
    }

    async fn close(self) {
        self.sweeps.stop().await;
        self.hub.close().await;
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = call(&self.routes, "GET", path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    async fn post(&self, path: &str, body: Option<Value>, expected: StatusCode) -> Value {
        let (status, text) = call(&self.routes, "POST", path, body).await;
        assert_eq!(status, expected, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Starts a sweep of the estate; its number, once everybody was asked.
    async fn start(&self, limit: f64) -> String {
        let before = self.field.asked().len();
        let body = json!({ "area": ESTATE, "type": "fire-hydrant", "datastream": "pressure",
            "limit_seconds": limit });
        let started = self.post("/api/v1/sweeps", Some(body), StatusCode::CREATED).await;
        assert_eq!(json!([started["state"], started["counts"]["total"]]), json!(["running", 3]));
        let listening = 3 - self.field.absent.len();
        eventually(|| async {
            let asked = self.field.asked().len() - before;
            if asked == listening { Ok(()) } else { Err(format!("{asked} asked")) }
        })
        .await;
        started["number"].as_str().unwrap().to_owned()
    }

    /// A device answers with a value, as the gateway hands it over: an observation, and after its
    /// commit the answer.
    async fn answer(&self, thing: &str, value: f64) {
        let correlation = self.field.question(thing);
        let key = self.hub.watch.expected(thing, correlation).expect("somebody waits");
        self.hub.ingest(key.0, &[(0, value)]).await;
        let reply = Reply::Value { time: store::now(), value };
        self.hub.watch.take(vec![Answer { correlation, reply, received_at: store::now() }]);
    }

    async fn over(&self, number: &str) -> Value {
        let path = format!("/api/v1/sweeps/{number}");
        eventually(|| async {
            let sweep = self.get(&path).await;
            if sweep["state"] == "running" { Err(sweep.to_string()) } else { Ok(()) }
        })
        .await;
        self.get(&path).await
    }

    async fn rows(&self, number: &str, query: &str) -> Vec<Value> {
        let page = self.get(&format!("/api/v1/sweeps/{number}/rows{query}")).await;
        page["items"].as_array().unwrap().clone()
    }
}

fn short(rows: &[Value]) -> Vec<String> {
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or("-").to_owned();
    let of = |row: &Value| format!("{} {} {}", text(row, "thing"), text(row, "verdict"), text(row, "via"));
    rows.iter().map(of).collect()
}

#[tokio::test]
async fn a_sweep_ends_with_its_last_answer() {
    on_each(|database| async move {
        let city = City::open(&database, Field::default()).await;
        let mut progress = city.sweeps.progress();
        let number = city.start(60.0).await;
        city.answer("h-1", 0.3).await;
        city.answer("h-2", 0.15).await;
        // A device that knows no questions publishes: measured after it was asked, it is an answer.
        city.hub.ingest(3, &[(-3600, 0.01)]).await;
        city.hub.ingest(3, &[(0, 0.4)]).await;
        let sweep = city.over(&number).await;
        assert_eq!(json!([sweep["state"], sweep["reason"]]), json!(["ended", "answered"]));
        assert_eq!(
            sweep["counts"],
            json!({ "total": 3, "asked": 3, "open": 0, "ok": 2, "low": 1, "fault": 0, "silent": 0 })
        );
        assert_eq!(
            json!([sweep["started_by"], sweep["unit"], sweep["type_title"]["zh"], sweep["limit_seconds"]]),
            json!(["王强", "MPa", "消火栓", 60.0])
        );
        let rows = city.rows(&number, "").await;
        assert_eq!(short(&rows), ["h-2 low reply", "h-1 ok reply", "h-3 ok observation"]);
        assert_eq!(json!([rows[0]["severity"], rows[0]["value"]]), json!(["yellow", 0.15]));
        assert_eq!(rows[2]["value"], 0.4, "not what was measured an hour ago");
        assert_eq!(short(&city.rows(&number, "?verdict=low,fault").await), ["h-2 low reply"]);
        assert_eq!(short(&city.rows(&number, "?q=OUTDOOR").await), ["h-1 ok reply"]);
        // Page by page.
        let first = city.get(&format!("/api/v1/sweeps/{number}/rows?limit=2")).await;
        let after = first["next"].as_str().unwrap();
        let rest = city.rows(&number, &format!("?limit=2&after={after}")).await;
        assert_eq!(short(&rest), ["h-3 ok observation"]);
        // Pages heard of it while it ran.
        let mut told = HashSet::new();
        while let Ok(report) = progress.try_recv() {
            told.extend(report.rows.iter().map(|row| row.thing.clone()));
        }
        assert_eq!(told.len(), 3, "{told:?}");
        // And everybody hears, by events that are kept, that it began and is over.
        let events = city.hub.store.events_after(0, 500).await.unwrap();
        let told: Vec<_> = events.iter().filter(|e| e.kind == "sweep.changed").collect();
        assert_eq!(told.iter().map(|e| &e.data["state"]).collect::<Vec<_>>(), ["running", "ended"]);
        assert_eq!((told[1].area.as_str(), &told[1].data["counts"]["low"]), (ESTATE, &json!(1)));
        // An answer after the end is nobody's.
        assert_eq!(city.hub.watch.expected("h-1", city.field.question("h-1")), None);
        city.close().await;
    })
    .await;
}

#[tokio::test]
async fn who_is_silent_is_named_asked_again_and_compared() {
    on_each(|database| async move {
        let field = Field { absent: HashSet::from(["h-3"]), ..Field::default() };
        let city = City::open(&database, field).await;
        city.hub.ingest(2, &[(-90, 0.31)]).await;
        let first = city.start(1.0).await;
        city.answer("h-1", 0.3).await;
        let sweep = city.over(&first).await;
        assert_eq!(sweep["reason"], "limit");
        assert_eq!(
            sweep["counts"],
            json!({ "total": 3, "asked": 2, "open": 0, "ok": 1, "low": 0, "fault": 0, "silent": 2 })
        );
        let silent = city.rows(&first, "?verdict=silent").await;
        assert_eq!(short(&silent), ["h-2 silent -", "h-3 silent -"]);
        assert_eq!(json!([silent[0]["last_value"], silent[0]["value"]]), json!([0.31, null]));
        assert!(silent[0]["last_at"].is_string() && silent[0]["asked_at"].is_string(), "{}", silent[0]);
        assert!(silent[1]["last_at"].is_null() && silent[1]["asked_at"].is_null(), "{}", silent[1]);

        // The silent ones again: h-2 answers now, and low.
        let asked = city.field.asked().len();
        let path = format!("/api/v1/sweeps/{first}/repeat");
        let again = city.post(&path, None, StatusCode::CREATED).await;
        assert_eq!(json!([again["repeats"], again["counts"]["total"]]), json!([first, 2]));
        let again = again["number"].as_str().unwrap().to_owned();
        eventually(|| async {
            if city.field.asked().len() > asked { Ok(()) } else { Err("not asked".to_owned()) }
        })
        .await;
        assert_eq!(city.field.asked()[asked..], ["h-2"]);
        city.answer("h-2", 0.12).await;
        assert_eq!(city.over(&again).await["counts"]["low"], 1);
        let beside = city.get(&format!("/api/v1/sweeps/{again}/comparison")).await;
        assert_eq!(beside["before"]["number"], *first);
        assert_eq!(
            beside["changes"],
            json!([{ "before": "silent", "after": "low", "things": 1 },
                { "before": "silent", "after": "silent", "things": 1 }])
        );
        let changed = beside["items"].as_array().unwrap();
        assert_eq!(changed.len(), 1, "who stands as before is left out");
        assert_eq!(
            json!([changed[0]["thing"], changed[0]["before"]["verdict"], changed[0]["after"]["value"]]),
            json!(["h-2", "silent", 0.12])
        );
        let all = city.get(&format!("/api/v1/sweeps/{again}/comparison?all=true&limit=1")).await;
        assert_eq!(json!([all["items"].as_array().unwrap().len(), all["next"]]), json!([1, "h-2"]));
        // The first has nothing before it.
        let beside = city.get(&format!("/api/v1/sweeps/{first}/comparison")).await;
        assert_eq!(beside["before"], Value::Null);
        let newest = city.get("/api/v1/sweeps?limit=1").await;
        assert_eq!(newest["items"][0]["number"], *again);
        let next = newest["next"].as_str().unwrap();
        let older = city.get(&format!("/api/v1/sweeps?after={next}&state=ended")).await;
        assert_eq!(older["items"][0]["number"], *first);

        // As a table, with nothing in it that a spreadsheet would run.
        let path = format!("/api/v1/sweeps/{first}/rows.csv?lang=zh");
        let (status, csv) = call(&city.routes, "GET", &path, None).await;
        assert_eq!(status, StatusCode::OK);
        assert!(csv.starts_with("\u{feff}对象,名称,位置,结论"), "{csv}");
        assert!(csv.contains("h-3,'=室内栓,2 栋 1 层,未连接,,,MPa"), "{csv}");
        city.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_device_may_be_at_fault() {
    on_each(|database| async move {
        let city = City::open(&database, Field::default()).await;
        let number = city.start(60.0).await;
        let correlation = city.field.question("h-1");
        let reply = Reply::Fault("=sensor frozen".into());
        city.hub.watch.take(vec![Answer { correlation, reply, received_at: store::now() }]);
        city.answer("h-2", 99.0).await;
        city.answer("h-3", 0.3).await;
        assert_eq!(city.over(&number).await["counts"]["fault"], 2);
        let rows = city.rows(&number, "?verdict=fault").await;
        assert_eq!(
            json!([rows[0]["thing"], rows[0]["note"], rows[1]["thing"], rows[1]["value"]]),
            json!(["h-1", "=sensor frozen", "h-2", 99.0])
        );
        city.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_stopped_sweep_keeps_what_came_and_calls_nobody_silent() {
    on_each(|database| async move {
        let city = City::open(&database, Field::default()).await;
        let number = city.start(60.0).await;
        city.answer("h-1", 0.3).await;
        let path = format!("/api/v1/sweeps/{number}/stop");
        city.post(&path, None, StatusCode::OK).await;
        let sweep = city.over(&number).await;
        assert_eq!(
            json!([sweep["state"], sweep["reason"], sweep["stopped_by"], sweep["counts"]["open"]]),
            json!(["stopped", "stopped", "王强", 2])
        );
        let rows = city.rows(&number, "").await;
        assert_eq!(short(&rows), ["h-2 open -", "h-3 open -", "h-1 ok reply"]);
        let refused = city.post(&path, None, StatusCode::CONFLICT).await;
        assert_eq!(refused["type"], "/problems/sweep-over");
        city.close().await;
    })
    .await;
}

#[tokio::test]
async fn the_same_devices_are_asked_by_one_sweep_at_a_time() {
    on_each(|database| async move {
        let city = City::open(&database, Field::default()).await;
        let body = json!({ "area": ESTATE, "type": "fire-hydrant", "datastream": "pressure" });
        let path = "/api/v1/sweeps";
        let person = caller(store::new_id(), "李娜", "50/", &ALL);
        let one = as_caller(watch::http::sweep_routes(city.sweeps.clone()), person);
        let (status, first) = keyed(&one, "POST", path, Some(body.clone()), Some("k")).await;
        assert_eq!(status, StatusCode::CREATED, "{first}");
        let number = serde_json::from_str::<Value>(&first).unwrap()["number"].clone();
        let refused = city.post(path, Some(body.clone()), StatusCode::CONFLICT).await;
        assert_eq!(json!([refused["type"], refused["number"]]), json!(["/problems/sweep-running", number]));
        let path_again = format!("/api/v1/sweeps/{}/repeat", number.as_str().unwrap());
        city.post(&path_again, None, StatusCode::CONFLICT).await;
        // A request that is repeated because its answer was lost starts nothing.
        let (status, again) = keyed(&one, "POST", path, Some(body.clone()), Some("k")).await;
        assert_eq!(status, StatusCode::CREATED, "{again}");
        assert_eq!(serde_json::from_str::<Value>(&again).unwrap()["number"], number);
        eventually(|| async {
            let asked = city.field.asked().len();
            if asked == 3 { Ok(()) } else { Err(format!("{asked} asked")) }
        })
        .await;
        // Another area is another sweep.
        let other = json!({ "area": format!("{ESTATE}jz-01/"), "type": "fire-hydrant", "datastream": "pressure" });
        let other = city.post(path, Some(other), StatusCode::CREATED).await;
        assert_eq!(other["counts"]["total"], 1);
        for (body, status) in [
            (json!({ "area": "99/", "type": "fire-hydrant", "datastream": "pressure" }), 404),
            (json!({ "area": ESTATE, "type": "pump", "datastream": "pressure" }), 422),
            (json!({ "area": ESTATE, "type": "fire-hydrant", "datastream": "level" }), 422),
            (json!({ "area": ESTATE, "type": "fire-hydrant", "datastream": "pressure", "limit_seconds": 0.5 }), 422),
            (json!({ "area": ESTATE, "type": "fire-hydrant", "datastream": "pressure", "limit_seconds": 1e300 }), 422),
            (json!({ "area": ESTATE, "type": "fire-hydrant" }), 400),
        ] {
            let (got, text) = call(&city.routes, "POST", path, Some(body)).await;
            assert_eq!(got, status, "{text}");
        }
        city.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_sweep_that_the_hub_was_stopped_in_ends_with_what_is_known() {
    on_each(|database| async move {
        // Well stopped, and as if killed: its task has no time to write the end.
        for well in [true, false] {
            let city = City::open(&database, Field::default()).await;
            let number = city.start(60.0).await;
            city.answer("h-1", 0.3).await;
            eventually(|| async {
                let rows = short(&city.rows(&number, "").await);
                if rows.contains(&"h-1 ok reply".to_owned()) { Ok(()) } else { Err(format!("{rows:?}")) }
            })
            .await;
            if well {
                city.close().await;
            } else {
                city.hub.close().await;
            }
            let city = City::open(&database, Field::default()).await;
            let sweep = city.get(&format!("/api/v1/sweeps/{number}")).await;
            assert_eq!(json!([sweep["state"], sweep["reason"]]), json!(["ended", "restart"]), "well: {well}");
            assert_eq!(
                sweep["counts"],
                json!({ "total": 3, "asked": 3, "open": 2, "ok": 1, "low": 0, "fault": 0, "silent": 0 })
            );
            let rows = city.rows(&number, "").await;
            assert_eq!(short(&rows), ["h-2 open -", "h-3 open -", "h-1 ok reply"]);
            city.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_schedule_that_was_missed_starts_once() {
    on_each(|database| async move {
        let city = City::open(&database, Field::default()).await;
        let path = "/api/v1/sweep-schedules";
        let body = json!({ "area": ESTATE, "type": "fire-hydrant", "datastream": "pressure", "at": "08:00" });
        let kept = city.post(path, Some(body.clone()), StatusCode::CREATED).await;
        assert_eq!(
            json!([kept["at"], kept["created_by"], kept["limit_seconds"]]),
            json!(["08:00", "王强", 10.0])
        );
        assert!(Micros::parse(kept["next_at"].as_str().unwrap()).unwrap() > store::now());
        city.post(path, Some(body), StatusCode::CONFLICT).await;
        let wrong =
            json!({ "area": ESTATE, "type": "fire-hydrant", "datastream": "pressure", "at": "25:00" });
        city.post(path, Some(wrong), StatusCode::UNPROCESSABLE_ENTITY).await;
        assert_eq!(city.get("/api/v1/sweeps").await["items"], json!([]), "it is not due");
        // Three days pass with the hub down.
        city.sweeps.stop().await;
        let then = store::now().plus(-3 * Micros::DAY);
        city.hub
            .store
            .command::<_, u64, StoreError, _>(&system(), "test:turn-back", then, |tx, then| {
                let sql = "UPDATE sweep_schedules SET next_at = $1";
                Box::pin(async move { tx.execute(sql, store::args![*then]).await })
            })
            .await
            .unwrap();
        city.close().await;
        let city = City::open(&database, Field::default()).await;
        eventually(|| async {
            let asked = city.field.asked().len();
            if asked == 3 { Ok(()) } else { Err(format!("{asked} asked")) }
        })
        .await;
        for (thing, value) in [("h-1", 0.3), ("h-2", 0.3), ("h-3", 0.3)] {
            city.answer(thing, value).await;
        }
        let started = city.get("/api/v1/sweeps").await["items"].clone();
        assert_eq!(started.as_array().unwrap().len(), 1, "once, not once a day: {started}");
        assert_eq!(json!([started[0]["scheduled"], started[0]["started_by"]]), json!([true, "王强"]));
        city.over(started[0]["number"].as_str().unwrap()).await;
        let kept = city.get(path).await["items"][0].clone();
        assert!(Micros::parse(kept["next_at"].as_str().unwrap()).unwrap() > store::now(), "{kept}");
        let one = format!("{path}/{}", kept["id"].as_str().unwrap());
        assert_eq!(call(&city.routes, "DELETE", &one, None).await.0, StatusCode::NO_CONTENT);
        assert_eq!(call(&city.routes, "DELETE", &one, None).await.0, StatusCode::NOT_FOUND);
        assert_eq!(city.get(path).await["items"], json!([]));
        city.close().await;
    })
    .await;
}

#[tokio::test]
async fn outside_ones_areas_there_is_no_sweep() {
    on_each(|database| async move {
        let city = City::open(&database, Field::default()).await;
        let number = city.start(60.0).await;
        for (thing, value) in [("h-1", 0.3), ("h-2", 0.3), ("h-3", 0.3)] {
            city.answer(thing, value).await;
        }
        city.over(&number).await;
        let building = format!("{ESTATE}jz-02/");
        let second = routes(&city.sweeps, &building, &ALL);
        for (method, path) in [
            ("GET", format!("/api/v1/sweeps/{number}")),
            ("GET", format!("/api/v1/sweeps/{number}/rows")),
            ("GET", format!("/api/v1/sweeps/{number}/rows.csv")),
            ("GET", format!("/api/v1/sweeps/{number}/comparison")),
            ("POST", format!("/api/v1/sweeps/{number}/stop")),
            ("POST", format!("/api/v1/sweeps/{number}/repeat")),
            ("GET", format!("/api/v1/sweep-scopes?area={ESTATE}")),
        ] {
            let (status, text) = call(&second, method, &path, None).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{method} {path}: {text}");
        }
        let (_, list) = call(&second, "GET", "/api/v1/sweeps", None).await;
        assert_eq!(serde_json::from_str::<Value>(&list).unwrap()["items"], json!([]));
        for path in ["/api/v1/sweeps", "/api/v1/sweep-schedules"] {
            let body =
                json!({ "area": ESTATE, "type": "fire-hydrant", "datastream": "pressure", "at": "08:00" });
            let body = if path.ends_with("sweeps") {
                json!({ "area": ESTATE, "type": "fire-hydrant", "datastream": "pressure" })
            } else {
                body
            };
            assert_eq!(call(&second, "POST", path, Some(body)).await.0, StatusCode::NOT_FOUND, "{path}");
        }
        let (_, scopes) = call(&second, "GET", "/api/v1/sweep-scopes", None).await;
        let scopes: Value = serde_json::from_str(&scopes).unwrap();
        assert_eq!(json!([scopes["area"]["code"], scopes["items"][0]["things"]]), json!(["jz-02", 1]));
        // Who may look may not start.
        let reader = routes(&city.sweeps, "50/", &["sweep:read"]);
        let body = json!({ "area": ESTATE, "type": "fire-hydrant", "datastream": "pressure" });
        for (method, path, body) in [
            ("POST", "/api/v1/sweeps".to_owned(), Some(body)),
            ("POST", format!("/api/v1/sweeps/{number}/stop"), None),
            ("POST", format!("/api/v1/sweeps/{number}/repeat"), None),
        ] {
            assert_eq!(call(&reader, method, &path, body).await.0, StatusCode::FORBIDDEN, "{path}");
        }
        city.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_question_is_answered_by_whom_it_was_asked() {
    on_each(|database| async move {
        let city = City::open(&database, Field::default()).await;
        city.start(60.0).await;
        let watch = &city.hub.watch;
        let correlation = city.field.question("h-1");
        assert_eq!(watch.expected("h-1", correlation), Some(DatastreamKey(1)));
        assert_eq!(watch.expected("h-2", correlation), None, "another's");
        assert_eq!(watch.expected("h-1", Correlation { number: 99, ..correlation }), None);
        assert_eq!(watch.expected("h-1", Correlation { asker: store::new_id(), ..correlation }), None);
        city.close().await;
    })
    .await;
}
