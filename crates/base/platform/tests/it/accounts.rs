//! Accounts over their life: invited, logged in, changed, reset, locked out, disabled; who may do
//! what to whom.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use axum::middleware::from_fn_with_state;
use model::{AreaPath, Id};
use platform::http::{identify, routes};
use platform::person::{NewAccount, create_account};
use platform::testing::{small_city, system};
use platform::{Platform, PlatformConfig, SecondFactor, role};
use serde_json::{Value, json};
use store::testing::on_each;
use store::{Store, StoreError};

use crate::{read, send};

pub const ESTATE: &str = "50/500112/500112011/500112011014/jz/";
pub const PASSWORD: &str = "Tr0ubadour-and-3";

/// A hub's platform over HTTP, and the people who come to it.
pub struct World {
    pub platform: Arc<Platform>,
    pub router: Router,
    pub store: Store,
    _folder: tempfile::TempDir,
}

impl World {
    pub async fn new(store: Store, second_factor: SecondFactor) -> Self {
        let folder = tempfile::tempdir().unwrap();
        small_city(&store).await;
        let mut pack =
            platform::PackFiles { name: "p".into(), version: "1".into(), files: Default::default() };
        let roles = "[[role]]\ncode = \"manager\"\ntitle = { zh = \"物业\", en = \"Property\" }\npermissions = [\"area:read\", \"notice:read\"]";
        pack.files.insert("roles.toml".into(), roles.into());
        platform::pack::install(&store, &system(), pack).await.unwrap();
        let platform = Self::open(&store, folder.path(), second_factor).await;
        let router = routes(platform.clone()).split().0.layer(from_fn_with_state(platform.clone(), identify));
        Self { platform, router, store, _folder: folder }
    }

    pub async fn open(store: &Store, folder: &Path, second_factor: SecondFactor) -> Arc<Platform> {
        let config = PlatformConfig {
            files: folder.join("files"),
            keys: Some(folder.join("keys")),
            second_factor,
            ..PlatformConfig::default()
        };
        Platform::open(store.clone(), &[], config).await.unwrap()
    }

    pub fn folder(&self) -> &Path {
        self._folder.path()
    }

    /// An account with this role at the area.
    pub async fn account(&self, login: &str, role: &str, area: &str, must_change: bool) -> Id {
        let account = NewAccount {
            login: login.into(),
            name: format!("{login} 某"),
            grants: vec![(role.into(), AreaPath::parse(area).unwrap())],
            must_change,
            ..Default::default()
        };
        create_account(&self.store, &system(), account, Some(PASSWORD)).await.unwrap()
    }

    pub fn browser(&self) -> Browser {
        Browser { router: self.router.clone(), cookie: String::new(), csrf: String::new() }
    }

    pub async fn log_in(&self, login: &str) -> Browser {
        let mut browser = self.browser();
        let (status, answer) = browser.log_in(login, PASSWORD, None).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        browser
    }

    pub async fn set(&self, sql: &'static str) {
        self.store
            .command::<_, (), StoreError, _>(&system(), "test:set", (), move |tx, ()| {
                Box::pin(async move { tx.execute(sql, vec![]).await.map(drop) })
            })
            .await
            .unwrap();
    }
}

/// One browser: a cookie, and what unsafe requests repeat.
#[derive(Clone)]
pub struct Browser {
    router: Router,
    cookie: String,
    csrf: String,
}

impl Browser {
    pub async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
        request = request.header(header::COOKIE, &self.cookie).header("x-csrf-token", &self.csrf);
        let body = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        read(send(&self.router, request.body(body).unwrap()).await).await
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.ask("GET", path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.ask("POST", path, Some(body)).await
    }

    /// Logs in, as this browser.
    pub async fn log_in(&mut self, login: &str, password: &str, code: Option<&str>) -> (StatusCode, Value) {
        let body = json!({ "login": login, "password": password, "code": code });
        let request = Request::post("/api/v1/session")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, "Test/1 (手机)".as_bytes())
            .header(header::COOKIE, &self.cookie)
            .body(body.to_string().into())
            .unwrap();
        let response = send(&self.router, request).await;
        if let Some(cookie) = response.headers().get(header::SET_COOKIE) {
            self.cookie = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
        }
        let (status, answer) = read(response).await;
        if let Some(csrf) = answer["csrf"].as_str() {
            self.csrf = csrf.to_owned();
        }
        (status, answer)
    }

    pub fn cookie(&self) -> &str {
        &self.cookie
    }

    /// Whether the session holds.
    pub async fn is_in(&self) -> bool {
        self.get("/api/v1/session").await.0 == StatusCode::OK
    }
}

#[tokio::test]
async fn a_password_is_changed_by_its_owner_and_other_sessions_end() {
    on_each(|store| async move {
        let world = World::new(store, SecondFactor::Optional).await;
        world.account("wang", "manager", ESTATE, false).await;
        let (here, there) = (world.log_in("wang").await, world.log_in("wang").await);
        let new = "correct horse battery";
        for (old, new, expected) in [
            ("wrong", new, "/old"),
            (PASSWORD, "short", "/new"),
            (PASSWORD, "onlysmallone", "/new"),
            (PASSWORD, "wang-W4ng-wang!", "/new"),
            (PASSWORD, PASSWORD, "/new"),
        ] {
            let (status, problem) =
                here.post("/api/v1/account/password", json!({ "old": old, "new": new })).await;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{old} {new}: {problem}");
            assert_eq!(problem["errors"][0]["path"], expected, "{old} {new}");
        }
        assert!(there.is_in().await);
        let mut changes = world.platform.sessions().changes();
        let changed = here.post("/api/v1/account/password", json!({ "old": PASSWORD, "new": new })).await;
        assert_eq!(changed.0, StatusCode::NO_CONTENT);
        assert!(changes.try_recv().is_ok(), "whoever holds a session open is told");
        assert!(here.is_in().await && !there.is_in().await);
        let mut again = world.browser();
        assert_eq!(again.log_in("wang", PASSWORD, None).await.0, StatusCode::UNAUTHORIZED);
        assert_eq!(again.log_in("wang", new, None).await.0, StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn a_password_to_be_changed_opens_nothing_else() {
    on_each(|store| async move {
        let world = World::new(store, SecondFactor::Optional).await;
        world.account("wang", "manager", ESTATE, true).await;
        let wang = world.log_in("wang").await;
        assert_eq!(wang.get("/api/v1/session").await.1["need"], "password-change");
        for path in ["/api/v1/areas/jz", "/api/v1/notices", "/api/v1/account/sessions"] {
            let (status, problem) = wang.get(path).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
            assert_eq!(problem["type"], "/problems/password-change-required", "{path}");
        }
        let new = "correct horse battery";
        let changed = wang.post("/api/v1/account/password", json!({ "old": PASSWORD, "new": new })).await;
        assert_eq!(changed.0, StatusCode::NO_CONTENT);
        assert_eq!(wang.get("/api/v1/session").await.1["need"], Value::Null);
        assert_eq!(wang.get("/api/v1/areas/jz").await.0, StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn an_invitation_sets_the_first_password_once() {
    on_each(|store| async move {
        let world = World::new(store, SecondFactor::Optional).await;
        world.account("admin", "system-administrator", "50/500112/", false).await;
        let admin = world.log_in("admin").await;
        let invitation = |login: &str| json!({ "login": login, "name": "王强", "area": ESTATE });
        for (body, expected, path) in [
            (invitation("a b"), StatusCode::UNPROCESSABLE_ENTITY, "/login"),
            (invitation("admin"), StatusCode::UNPROCESSABLE_ENTITY, "/login"),
            (
                json!({ "login": "x1", "name": " ", "area": ESTATE }),
                StatusCode::UNPROCESSABLE_ENTITY,
                "/name",
            ),
            (
                json!({ "login": "x1", "name": "x", "area": ESTATE, "organisation": "none" }),
                StatusCode::UNPROCESSABLE_ENTITY,
                "/organisation",
            ),
            (json!({ "login": "x1", "name": "x", "area": "50/" }), StatusCode::NOT_FOUND, ""),
            (json!({ "login": "x1", "name": "x", "area": "50/500112/none/" }), StatusCode::NOT_FOUND, ""),
        ] {
            let (status, problem) = admin.post("/api/v1/people", body.clone()).await;
            assert_eq!(status, expected, "{body}: {problem}");
            assert_eq!(problem["errors"][0]["path"].as_str().unwrap_or_default(), path, "{body}");
        }
        let (status, link) = admin.post("/api/v1/people", invitation("wang")).await;
        assert_eq!((status, &link["kind"]), (StatusCode::CREATED, &json!("invitation")), "{link}");
        let code = link["code"].as_str().unwrap().to_owned();
        let (_, page) = admin.get("/api/v1/people?state=invited").await;
        assert_eq!(page["items"][0]["login"], "wang");
        assert!(!page.to_string().contains(&code), "the code is shown once");

        let mut wang = world.browser();
        for wrong in ["", "x", &code[1..], &"A".repeat(43)] {
            let (status, problem) = wang.post("/api/v1/account-links/look", json!({ "code": wrong })).await;
            assert_eq!((status, &problem["type"]), (StatusCode::CONFLICT, &json!("/problems/link-void")));
        }
        let (_, seen) = wang.post("/api/v1/account-links/look", json!({ "code": code })).await;
        assert_eq!(json!([seen["login"], seen["name"], seen["kind"]]), json!(["wang", "王强", "invitation"]));
        let set = |password: &str| json!({ "code": code, "password": password });
        let (status, problem) = wang.post("/api/v1/account-links/password", set("short")).await;
        assert_eq!(
            (status, &problem["errors"][0]["path"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("/password"))
        );
        let (status, done) = wang.post("/api/v1/account-links/password", set(PASSWORD)).await;
        assert_eq!((status, &done["login"]), (StatusCode::OK, &json!("wang")));
        let again = wang.post("/api/v1/account-links/password", set("another passphrase")).await;
        assert_eq!(again.0, StatusCode::CONFLICT, "used once");
        assert_eq!(wang.log_in("wang", PASSWORD, None).await.0, StatusCode::OK);

        // One that was replaced, and one that is too old.
        let (_, first) = admin.post("/api/v1/people", invitation("li")).await;
        let path = format!("/api/v1/people/{}/reset", first["person"].as_str().unwrap());
        let (status, second) = admin.ask("POST", &path, None).await;
        assert_eq!((status, &second["kind"]), (StatusCode::CREATED, &json!("invitation")));
        let look = |link: &Value| json!({ "code": link["code"] });
        assert_eq!(wang.post("/api/v1/account-links/look", look(&first)).await.0, StatusCode::CONFLICT);
        assert_eq!(wang.post("/api/v1/account-links/look", look(&second)).await.0, StatusCode::OK);
        world.set("UPDATE account_links SET expires_at = 1").await;
        assert_eq!(wang.post("/api/v1/account-links/look", look(&second)).await.0, StatusCode::CONFLICT);
        let late = json!({ "code": second["code"], "password": PASSWORD });
        assert_eq!(wang.post("/api/v1/account-links/password", late).await.0, StatusCode::CONFLICT);
    })
    .await;
}

#[tokio::test]
async fn a_reset_ends_the_old_password_and_a_disabled_account_opens_nothing() {
    on_each(|store| async move {
        let world = World::new(store, SecondFactor::Optional).await;
        let admin_id = world.account("admin", "system-administrator", "50/500112/", false).await;
        let id = world.account("wang", "manager", ESTATE, false).await;
        let (admin, wang) = (world.log_in("admin").await, world.log_in("wang").await);
        let (status, link) = admin.ask("POST", &format!("/api/v1/people/{id}/reset"), None).await;
        assert_eq!((status, &link["kind"]), (StatusCode::CREATED, &json!("reset")));
        assert!(!wang.is_in().await);
        let mut again = world.browser();
        assert_eq!(again.log_in("wang", PASSWORD, None).await.0, StatusCode::UNAUTHORIZED);
        let (_, second) = admin.ask("POST", &format!("/api/v1/people/{id}/reset"), None).await;
        assert_eq!(second["kind"], "reset", "still a reset, though the password is gone");
        let new = json!({ "code": second["code"], "password": "correct horse battery" });
        assert_eq!(again.post("/api/v1/account-links/password", new).await.0, StatusCode::OK);
        assert_eq!(again.log_in("wang", "correct horse battery", None).await.0, StatusCode::OK);

        for action in ["disable", "reset"] {
            let own = admin.ask("POST", &format!("/api/v1/people/{admin_id}/{action}"), None).await;
            assert_eq!((own.0, &own.1["type"]), (StatusCode::CONFLICT, &json!("/problems/own-account")));
        }
        let disable = format!("/api/v1/people/{id}/disable");
        assert_eq!(admin.ask("POST", &disable, None).await.0, StatusCode::NO_CONTENT);
        assert_eq!(admin.ask("POST", &disable, None).await.0, StatusCode::NOT_FOUND, "it is already");
        assert!(!again.is_in().await);
        let (status, problem) = again.log_in("wang", "correct horse battery", None).await;
        assert_eq!((status, &problem["type"]), (StatusCode::UNAUTHORIZED, &json!("/problems/wrong-login")));
        let reset = admin.ask("POST", &format!("/api/v1/people/{id}/reset"), None).await;
        assert_eq!(reset.0, StatusCode::NOT_FOUND, "enable it first");
        let (_, person) = admin.get(&format!("/api/v1/people/{id}")).await;
        assert_eq!((&person["state"], person["disabled_at"].is_string()), (&json!("disabled"), true));
        assert_eq!(
            admin.ask("POST", &format!("/api/v1/people/{id}/enable"), None).await.0,
            StatusCode::NO_CONTENT
        );
        assert_eq!(again.log_in("wang", "correct horse battery", None).await.0, StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn lock_outs_are_seen_and_lifted_by_the_security_administrator() {
    on_each(|store| async move {
        let world = World::new(store, SecondFactor::Optional).await;
        world.account("security", "security-administrator", "50/500112/", false).await;
        world.account("admin", "system-administrator", "50/500112/", false).await;
        let id = world.account("wang", "manager", ESTATE, false).await;
        let (security, admin) = (world.log_in("security").await, world.log_in("admin").await);
        let mut guesser = world.browser();
        for _ in 0..5 {
            assert_eq!(guesser.log_in("wang", "wrong", None).await.0, StatusCode::UNAUTHORIZED);
        }
        assert_eq!(guesser.log_in("wang", PASSWORD, None).await.0, StatusCode::TOO_MANY_REQUESTS);
        let (_, person) = security.get(&format!("/api/v1/people/{id}")).await;
        let lock_out = &person["lock_outs"][0];
        assert_eq!((&lock_out["address"], &lock_out["attempts"]), (&json!("unknown"), &json!(5)));
        let lift = format!("/api/v1/people/{id}/lock-outs");
        assert_eq!(admin.ask("DELETE", &lift, None).await.0, StatusCode::FORBIDDEN);
        assert_eq!(security.ask("DELETE", &lift, None).await.0, StatusCode::NO_CONTENT);
        assert_eq!(security.get(&format!("/api/v1/people/{id}")).await.1["lock_outs"], json!([]));
        assert_eq!(guesser.log_in("wang", PASSWORD, None).await.0, StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn sessions_are_seen_and_ended_and_a_new_log_in_replaces_its_browser_s() {
    on_each(|store| async move {
        let world = World::new(store, SecondFactor::Optional).await;
        world.account("security", "security-administrator", "50/500112/", false).await;
        let id = world.account("wang", "manager", ESTATE, false).await;
        let (security, desk, phone) =
            (world.log_in("security").await, world.log_in("wang").await, world.log_in("wang").await);
        let (_, mine) = desk.get("/api/v1/account/sessions").await;
        let items = mine["items"].as_array().unwrap().clone();
        assert_eq!(items.len(), 2);
        let other = items.iter().find(|s| s["current"] == false).unwrap();
        assert_eq!((&other["agent"], &other["address"]), (&json!("Test/1 (手机)"), &json!("unknown")));
        assert!(other["used_at"].is_string() && other["created_at"].is_string());
        let path = format!("/api/v1/account/sessions/{}", other["id"].as_str().unwrap());
        // Another's session is not there.
        assert_eq!(security.ask("DELETE", &path, None).await.0, StatusCode::NOT_FOUND);
        assert_eq!(desk.ask("DELETE", &path, None).await.0, StatusCode::NO_CONTENT);
        assert_eq!(desk.ask("DELETE", &path, None).await.0, StatusCode::NOT_FOUND);
        assert!(desk.is_in().await && !phone.is_in().await);

        let mut replacing = desk.clone();
        assert_eq!(replacing.log_in("wang", PASSWORD, None).await.0, StatusCode::OK);
        assert!(replacing.is_in().await && !desk.is_in().await, "the session that it replaces has ended");

        let (phone, tablet) = (world.log_in("wang").await, world.log_in("wang").await);
        assert_eq!(replacing.ask("DELETE", "/api/v1/account/sessions", None).await.0, StatusCode::NO_CONTENT);
        assert!(replacing.is_in().await && !phone.is_in().await && !tablet.is_in().await);

        let sessions = format!("/api/v1/people/{id}/sessions");
        let (_, seen) = security.get(&sessions).await;
        let session = seen["items"][0]["id"].as_str().unwrap();
        let one = format!("{sessions}/{session}");
        assert_eq!(security.ask("DELETE", &one, None).await.0, StatusCode::NO_CONTENT);
        assert!(!replacing.is_in().await);
        let (a, b) = (world.log_in("wang").await, world.log_in("wang").await);
        assert_eq!(security.ask("DELETE", &sessions, None).await.0, StatusCode::NO_CONTENT);
        assert!(!a.is_in().await && !b.is_in().await);
    })
    .await;
}

#[tokio::test]
async fn grants_and_duties_are_given_and_ended_and_the_three_roles_kept_apart() {
    on_each(|store| async move {
        let world = World::new(store, SecondFactor::Optional).await;
        let security_id = world.account("security", "security-administrator", "50/500112/", false).await;
        let id = world.account("wang", "manager", ESTATE, false).await;
        let (security, wang) = (world.log_in("security").await, world.log_in("wang").await);
        let grant =
            |person: Id, role: &str, area: &str| json!({ "person": person, "role": role, "area": area });
        let (status, roles) = security.get("/api/v1/roles").await;
        assert_eq!(status, StatusCode::OK);
        let separated: Vec<&str> = roles["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|r| r["separated"] == true)
            .map(|r| r["code"].as_str().unwrap())
            .collect();
        assert_eq!(separated, ["auditor", "security-administrator", "system-administrator"]);
        for (body, status, kind) in [
            (grant(id, "nothing", ESTATE), StatusCode::UNPROCESSABLE_ENTITY, "/problems/invalid"),
            (grant(id, "manager", "50/"), StatusCode::NOT_FOUND, "/problems/not-found"),
            (grant(store::new_id(), "manager", ESTATE), StatusCode::NOT_FOUND, "/problems/not-found"),
            (grant(security_id, "manager", ESTATE), StatusCode::CONFLICT, "/problems/own-account"),
            (
                json!({ "person": id, "role": "manager", "area": ESTATE, "to": "2020-01-01T00:00:00Z" }),
                StatusCode::UNPROCESSABLE_ENTITY,
                "/problems/invalid",
            ),
        ] {
            let (got, problem) = security.post("/api/v1/grants", body.clone()).await;
            assert_eq!((got, problem["type"].as_str().unwrap()), (status, kind), "{body}");
        }
        // Any two of the three, in either order.
        for a in role::BUILT_IN {
            let login = format!("one-{}", a.code);
            let person = world.account(&login, a.code, ESTATE, false).await;
            for b in role::BUILT_IN.iter().filter(|b| b.code != a.code) {
                let (status, problem) =
                    security.post("/api/v1/grants", grant(person, b.code, "50/500112/500112011/")).await;
                assert_eq!(status, StatusCode::CONFLICT, "{} and {}", a.code, b.code);
                assert_eq!(problem["type"], "/problems/separated-roles");
            }
            let (status, _) = security.post("/api/v1/grants", grant(person, a.code, "50/500112/")).await;
            assert_eq!(status, StatusCode::CREATED, "the same role elsewhere is no second role");
        }
        let both = NewAccount {
            login: "both".into(),
            name: "both".into(),
            grants: vec![
                ("auditor".into(), AreaPath::parse(ESTATE).unwrap()),
                ("system-administrator".into(), AreaPath::parse(ESTATE).unwrap()),
            ],
            ..Default::default()
        };
        assert!(
            create_account(&world.store, &system(), both, None).await.is_err(),
            "nor by the command line"
        );

        assert_eq!(wang.get("/api/v1/people").await.0, StatusCode::FORBIDDEN);
        let (_, given) = security.post("/api/v1/grants", grant(id, "auditor", ESTATE)).await;
        let roles = |session: &Value| session["grants"].as_array().unwrap().len();
        assert_eq!(roles(&wang.get("/api/v1/session").await.1), 2);
        let path = format!("/api/v1/grants/{}", given["id"].as_str().unwrap());
        assert_eq!(security.ask("DELETE", &path, None).await.0, StatusCode::NO_CONTENT);
        assert_eq!(security.ask("DELETE", &path, None).await.0, StatusCode::NOT_FOUND, "it has ended");
        assert_eq!(roles(&wang.get("/api/v1/session").await.1), 1);

        let duty = json!({ "person": id, "post": "property-duty", "area": ESTATE });
        let (status, given) = security.post("/api/v1/duties", duty).await;
        assert_eq!(status, StatusCode::CREATED);
        assert_eq!(wang.get("/api/v1/session").await.1["duties"][0]["post"], "property-duty");
        let path = format!("/api/v1/duties/{}", given["id"].as_str().unwrap());
        assert_eq!(security.ask("DELETE", &path, None).await.0, StatusCode::NO_CONTENT);
        assert_eq!(wang.get("/api/v1/session").await.1["duties"], json!([]));
        let (_, person) = security.get(&format!("/api/v1/people/{id}")).await;
        assert_eq!(json!([person["grants"][0]["role"], person["duties"]]), json!(["manager", []]));
    })
    .await;
}

/// Each of the three does its own work and is refused the others'; nobody reaches beyond his areas.
#[tokio::test]
async fn none_of_the_three_does_another_s_work() {
    on_each(|store| async move {
        let world = World::new(store, SecondFactor::Optional).await;
        let mut browsers = Vec::new();
        for role in role::BUILT_IN {
            world.account(role.code, role.code, "50/500112/", false).await;
            browsers.push((role.code, world.log_in(role.code).await));
        }
        world.account("beyond-system", "system-administrator", &format!("{ESTATE}jz-02/"), false).await;
        world.account("beyond-security", "security-administrator", &format!("{ESTATE}jz-02/"), false).await;
        let beyond = [world.log_in("beyond-system").await, world.log_in("beyond-security").await];
        let id = world.account("wang", "manager", ESTATE, false).await;
        let path = |tail: &str| format!("/api/v1/people/{id}{tail}");
        let grant = json!({ "person": id, "role": "manager", "area": ESTATE });
        let duty = json!({ "person": id, "post": "property-duty", "area": ESTATE });
        let new = json!({ "login": "new", "name": "new", "area": ESTATE });
        let none = store::new_id();
        let (system, security) = ("system-administrator", "security-administrator");
        for (method, path, body, whose) in [
            ("GET", "/api/v1/people".to_owned(), None, vec![system, security]),
            ("GET", path(""), None, vec![system, security]),
            ("POST", "/api/v1/people".to_owned(), Some(new), vec![system]),
            ("POST", path("/reset"), None, vec![system]),
            ("POST", path("/disable"), None, vec![system]),
            ("POST", path("/enable"), None, vec![system]),
            ("GET", path("/personal"), None, vec![system, security]),
            (
                "PUT",
                path("/personal"),
                Some(json!({ "field": "phone", "value": "13800001234" })),
                vec![system],
            ),
            (
                "POST",
                path("/personal/reveal"),
                Some(json!({ "field": "phone", "reason": "x" })),
                vec![system],
            ),
            ("DELETE", path("/lock-outs"), None, vec![security]),
            ("DELETE", path("/second-factor"), None, vec![security]),
            ("GET", path("/sessions"), None, vec![security]),
            ("DELETE", path("/sessions"), None, vec![security]),
            ("DELETE", path(&format!("/sessions/{none}")), None, vec![security]),
            ("GET", "/api/v1/roles".to_owned(), None, vec![security]),
            ("GET", "/api/v1/posts".to_owned(), None, vec![security]),
            ("POST", "/api/v1/grants".to_owned(), Some(grant), vec![security]),
            ("DELETE", format!("/api/v1/grants/{none}"), None, vec![security]),
            ("POST", "/api/v1/duties".to_owned(), Some(duty), vec![security]),
            ("DELETE", format!("/api/v1/duties/{none}"), None, vec![security]),
        ] {
            for (role, browser) in &browsers {
                let (status, answer) = browser.ask(method, &path, body.clone()).await;
                let refused = status == StatusCode::FORBIDDEN;
                assert_eq!(refused, !whose.contains(role), "{method} {path} as {role}: {status} {answer}");
            }
            if path.contains(&id.to_string()) || body.is_some() {
                let one = &beyond[usize::from(!whose.contains(&system))];
                let (status, _) = one.ask(method, &path, body).await;
                assert_eq!(status, StatusCode::NOT_FOUND, "{method} {path} from elsewhere");
            }
        }
        let (_, page) = beyond[0].get("/api/v1/people").await;
        let logins: Vec<&str> =
            page["items"].as_array().unwrap().iter().filter_map(|p| p["login"].as_str()).collect();
        assert_eq!(logins, ["beyond-security", "beyond-system"], "only who belongs to one's areas");
    })
    .await;
}

#[tokio::test]
async fn people_are_found_paged_and_told_apart() {
    on_each(|store| async move {
        let world = World::new(store, SecondFactor::Optional).await;
        world.account("admin", "system-administrator", "50/", false).await;
        for n in 0..7 {
            world.account(&format!("person-{n}"), "manager", ESTATE, false).await;
        }
        world.account("other", "manager", "50/500112/", false).await;
        let admin = world.log_in("admin").await;
        let mut found = Vec::new();
        let mut after = String::new();
        loop {
            let (_, page) = admin.get(&format!("/api/v1/people?q=PERSON&limit=3{after}")).await;
            found.extend(
                page["items"].as_array().unwrap().iter().map(|p| p["login"].as_str().unwrap().to_owned()),
            );
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        assert_eq!(found, (0..7).map(|n| format!("person-{n}")).collect::<Vec<_>>());
        for (query, count) in [
            ("", 9),
            ("?q=person-3", 1),
            ("?q=某", 9),
            (&format!("?under={ESTATE}"), 7),
            ("?state=active", 9),
            ("?state=disabled", 0),
            ("?state=invited", 0),
        ] {
            let path = format!("/api/v1/people{}", query.replace('某', "%E6%9F%90"));
            let (_, page) = admin.get(&path).await;
            assert_eq!(page["items"].as_array().unwrap().len(), count, "{query}");
        }
    })
    .await;
}
