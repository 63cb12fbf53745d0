//! A small city with a hub's work in it, driven as the hub drives it: events in, HTTP out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use model::{AreaPath, Context, Id};
use platform::http::Caller;
use platform::notification::{
    Carrier, Channel, NotificationConfig, Notifications, Parcel, QuietHours, SendError,
};
use platform::testing::{as_caller, caller, person_on_duty, small_city};
use platform::{PackFiles, Platform, PlatformConfig};
use serde_json::{Value, json};
use store::{Store, StoreError, new_id};
use tower::ServiceExt as _;
use work::{ServiceCall, ServiceError, ServiceTask, Work, WorkConfig};

pub const ESTATE: &str = "50/500112/500112011/500112011014/jz/";
pub const ALL: &[&str] =
    &["case:read", "process:read", "task:read", "task:complete", "task:hand-over", "notice:read"];

/// `ask-device` as a test has it: counts calls, and may fail or hang.
pub struct Ask {
    pub calls: AtomicU32,
    pub jobs: std::sync::Mutex<Vec<Id>>,
    pub mode: Mode,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Mode {
    Answers,
    FailsOnce,
    Refuses,
    Hangs,
}

impl Ask {
    pub fn new(mode: Mode) -> Arc<Self> {
        Arc::new(Self { calls: AtomicU32::new(0), jobs: std::sync::Mutex::default(), mode })
    }
}

#[async_trait]
impl ServiceTask for Ask {
    fn name(&self) -> &'static str {
        "ask-device"
    }

    async fn run(&self, call: ServiceCall) -> Result<Value, ServiceError> {
        let n = self.calls.fetch_add(1, Ordering::SeqCst);
        self.jobs.lock().unwrap().push(call.job);
        match self.mode {
            Mode::Answers => {}
            Mode::FailsOnce if n > 0 => {}
            Mode::FailsOnce => return Err(ServiceError { retry: true, reason: "not yet".into() }),
            Mode::Refuses => return Err(ServiceError { retry: false, reason: "never".into() }),
            Mode::Hangs => std::future::pending().await,
        }
        Ok(json!({ "delivered": true, "command": call.params["command"], "things": call.alerts.len() }))
    }
}

/// A channel that takes everything.
struct Reaches;

#[async_trait]
impl Carrier for Reaches {
    async fn send(&self, _: &Parcel) -> Result<Option<String>, SendError> {
        Ok(None)
    }
}

pub fn pack() -> PackFiles {
    let message = |code: &str, audience: &str| {
        format!(
            "code='{code}'\naudience='{audience}'\ntitle={{zh='{{building}}{code}',en='{code} at {{building}}'}}\nbody={{zh='{{value}}',en='{{value}}'}}\n"
        )
    };
    let verify = json!({
        "type": "object",
        "properties": {
            "outcome": { "type": "string", "enum": ["real", "false-alarm"] },
            "note": { "type": "string", "maxLength": 10 },
            "photos": { "type": "array", "items": { "type": "string", "format": "file-id" }, "maxItems": 2 },
        },
        "required": ["outcome"],
        "additionalProperties": false,
    });
    let bindings = "[[binding]]\non='alert.opened'\nrule='low'\nstart='mend'\ncorrelate='thing.properties.main'\n\
        title={zh='{place}水压低',en='Low pressure, {place}'}\non_resolved='note'\n\
        on_case_closed={if_still_open='restart',after='PT30M'}\n";
    let files = [
        ("pack.toml", "name='test'\nformat=1\nversion='1'\ntitle={zh='试',en='Test'}\n".to_owned()),
        ("processes/mend.bpmn", include_str!("pack/mend.bpmn").to_owned()),
        ("forms/verify.schema.json", verify.to_string()),
        ("bindings.toml", bindings.to_owned()),
        ("rules.toml", "[[rule]]\nid='low'\n".to_owned()),
        ("messages/low.toml", message("low", "residents")),
        ("messages/late.toml", message("late", "posts")),
    ];
    let files = files.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    PackFiles { name: "test".into(), version: "1".into(), files }
}

pub struct World {
    pub store: Store,
    pub work: Arc<Work>,
    pub platform: Arc<Platform>,
    pub ask: Arc<Ask>,
    _files: tempfile::TempDir,
}

impl World {
    pub async fn open(store: &Store, speed: f64, mode: Mode) -> Self {
        Self::open_with(store, speed, mode, pack()).await
    }

    pub async fn open_with(store: &Store, speed: f64, mode: Mode, pack: PackFiles) -> Self {
        let config = NotificationConfig::default();
        let notifications = Notifications::with_carriers(store.clone(), config, BTreeMap::new());
        Self::open_all(store, speed, mode, pack, notifications).await
    }

    /// One in which people can be reached by SMS.
    pub async fn open_reaching(store: &Store, speed: f64) -> Self {
        let carriers = BTreeMap::from([(Channel::Sms, Arc::new(Reaches) as Arc<dyn Carrier>)]);
        let config = NotificationConfig { quiet: QuietHours::NONE, ..NotificationConfig::default() };
        let notifications = Notifications::with_carriers(store.clone(), config, carriers);
        Self::open_all(store, speed, Mode::Answers, pack(), notifications).await
    }

    async fn open_all(
        store: &Store,
        speed: f64,
        mode: Mode,
        pack: PackFiles,
        notifications: Notifications,
    ) -> Self {
        let files = tempfile::tempdir().unwrap();
        let config = PlatformConfig { files: files.path().to_owned(), ..PlatformConfig::default() };
        let packs = [pack];
        let platform = Platform::open_with(store.clone(), &packs, config, notifications).await.unwrap();
        let ask = Ask::new(mode);
        let config = WorkConfig { process_speed: speed };
        let work =
            Work::open(store.clone(), platform.clone(), &packs, config, vec![ask.clone()]).await.unwrap();
        Self { store: store.clone(), work, platform, ask, _files: files }
    }

    /// Somebody may do `permissions` at `area`.
    pub fn router(&self, caller: &Caller) -> axum::Router {
        let api = work::http::routes(self.work.clone()).merge(platform::http::routes(self.platform.clone()));
        as_caller(api, caller.clone())
    }

    pub async fn get(&self, who: &Caller, path: &str) -> (StatusCode, Value) {
        self.send(who, Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub async fn post(
        &self,
        who: &Caller,
        path: &str,
        body: Value,
        key: Option<&str>,
    ) -> (StatusCode, Value) {
        let mut request = Request::post(path).header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        self.send(who, request.body(Body::from(body.to_string())).unwrap()).await
    }

    pub async fn send(&self, who: &Caller, request: Request<Body>) -> (StatusCode, Value) {
        let response = self.router(who).oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 22).await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)));
        (status, body)
    }

    /// Asks until the answer is what was waited for; its value.
    pub async fn until<T>(
        &self,
        who: &Caller,
        path: &str,
        what: &str,
        found: impl Fn(&Value) -> Option<T>,
    ) -> T {
        let until = Instant::now() + Duration::from_secs(15);
        loop {
            let (status, body) = self.get(who, path).await;
            if let Some(value) = found(&body) {
                return value;
            }
            assert!(Instant::now() < until, "{what}: {status} {body:#}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The open task at `element`, once it is there.
    pub async fn task(&self, who: &Caller, element: &str) -> Value {
        self.until(who, "/api/v1/tasks?mine=true", element, |b| {
            b["items"].as_array()?.iter().find(|t| t["element"] == element).cloned()
        })
        .await
    }

    pub async fn complete(&self, who: &Caller, task: &Value, values: Value) -> (StatusCode, Value) {
        let path = format!("/api/v1/tasks/{}/complete", task["id"].as_str().unwrap());
        self.post(who, &path, json!({ "values": values }), None).await
    }

    /// Completes the task at `element` once it is there.
    pub async fn do_task(&self, who: &Caller, element: &str, values: Value) -> Value {
        let task = self.task(who, element).await;
        let (status, body) = self.complete(who, &task, values).await;
        assert_eq!(status, StatusCode::OK, "{element}: {body:#}");
        body
    }

    pub async fn case(&self, who: &Caller, number: &str) -> Value {
        let (status, body) = self.get(who, &format!("/api/v1/cases/{number}")).await;
        assert_eq!(status, StatusCode::OK, "{body:#}");
        body
    }

    /// What watch tells.
    pub async fn tell(&self, kind: &'static str, data: Value) {
        tell(&self.store, kind, data).await;
    }

    pub async fn stop(&self) {
        self.work.stop().await;
    }
}

pub async fn tell(store: &Store, kind: &'static str, data: Value) {
    let area = data["area"].as_str().map_or(ESTATE, |a| a).to_owned();
    store
        .command::<_, (), StoreError, _>(
            &Context::system("watch", new_id()),
            "alert:tell",
            (area, data),
            move |tx, (area, data)| {
                Box::pin(async move {
                    tx.event(kind, &AreaPath::parse(area).unwrap(), data);
                    Ok(())
                })
            },
        )
        .await
        .unwrap();
}

/// An alert of thing `n` in building `b`, on `main`.
pub fn alert(n: u32, building: u32, main: &str, severity: &str) -> Value {
    let id = new_id();
    json!({
        "id": id, "number": format!("2026-1124-{n:04}"), "rule": "low", "title": {"zh":"水压低","en":"Pressure low"},
        "thing": format!("h{n}"), "thing_name": {"zh":format!("{n} 号栓"),"en":format!("Hydrant {n}")},
        "datastream": n, "area": format!("{ESTATE}jz-0{building}/jz-0{building}-u1/jz-0{building}-u1-f1/"),
        "place": {"zh":format!("{building} 栋 1 层"),"en":format!("Building {building}, floor 1")},
        "location": [106.5, 29.6], "public": false, "properties": {"main": main, "siting": "indoor"},
        "severity": severity, "value": 0.18, "unit": "MPa", "opened_at": "2026-11-24T06:32:05Z",
    })
}

/// What watch tells of an alert later.
pub fn later(alert: &Value, severity: &str, value: f64) -> Value {
    json!({
        "id": alert["id"], "number": alert["number"], "rule": "low", "thing": alert["thing"], "severity": severity,
        "value": value, "at": "2026-11-24T06:40:05Z",
    })
}

/// The city, and who is on duty at the estate.
pub async fn city(store: &Store) -> Caller {
    small_city(store).await;
    on_duty(store, "property", "property-duty", ESTATE).await
}

pub async fn on_duty(store: &Store, login: &str, post: &str, area: &str) -> Caller {
    let id = person_on_duty(store, login, post, area).await;
    caller(id, login, area, ALL)
}

pub fn kinds(case: &Value) -> Vec<String> {
    case["timeline"].as_array().unwrap().iter().map(|e| e["kind"].as_str().unwrap().to_owned()).collect()
}
