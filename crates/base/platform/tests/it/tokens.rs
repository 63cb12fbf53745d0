//! Tokens: made, shown once, used, revoked, and refused in the shape that clients understand.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::middleware::from_fn_with_state;
use base64::Engine as _;
use model::{AreaPath, Micros};
use platform::Platform;
use platform::http::{Access, Api, ErrorShape, TokenCaller, identify, routes};
use platform::testing::{as_caller, caller, small_city, system};
use platform::token::{self, NewToken, TokenError, TokenRight};
use serde_json::{Value, json};
use store::testing::on_each;
use utoipa_axum::routes as paths;

use crate::{get, open, read, send};

const ESTATE: &str = "50/500112/500112011/500112011014/jz/";

fn new(name: &str) -> NewToken {
    let area = AreaPath::parse("50/500112/").unwrap();
    NewToken { name: name.into(), area, read: false, write: true, thing_tag: None, expires_at: None }
}

fn post(body: &Value) -> Request<Body> {
    Request::post("/api/v1/tokens")
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.to_string().into())
        .unwrap()
}

#[tokio::test]
async fn a_token_is_made_shown_once_listed_and_revoked() {
    on_each(|store| async move {
        let folder = tempfile::tempdir().unwrap();
        small_city(&store).await;
        let platform = open(&store, folder.path()).await;
        let officer = |area: &str| {
            as_caller(routes(platform.clone()), caller(store::new_id(), "李娜", area, &["token:manage"]))
        };
        let district = officer("50/500112/");
        let body = json!({ "name": "telegraf", "area": ESTATE, "write": true, "thing_tag": "host" });
        let (status, made) = read(send(&district, post(&body)).await).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        let secret = made["secret"].as_str().unwrap().to_owned();
        assert!(secret.starts_with("zst_") && secret.len() == 68, "{secret}");
        let integrator = platform.integrator(&secret).unwrap();
        let estate = AreaPath::parse(ESTATE).unwrap();
        assert!(integrator.may_write(&estate) && !integrator.may_read(&estate));
        assert!(!integrator.may_write(&AreaPath::parse("50/500112/").unwrap()));
        assert_eq!(platform.token(&secret).unwrap().thing_tag, "host");

        let (_, page) = get(&district, "/api/v1/tokens").await;
        let item = &page["items"][0];
        assert_eq!(
            json!([
                item["name"],
                item["area"]["code"],
                item["read"],
                item["write"],
                item["created_by"],
                item["revoked_at"]
            ]),
            json!(["telegraf", "jz", false, true, "李娜", null])
        );
        assert!(!page.to_string().contains(&secret[4..]), "the secret is shown once");
        let kept: Vec<(Vec<u8>,)> =
            store.read().all("SELECT secret_sha256 FROM tokens", vec![]).await.unwrap();
        assert_eq!(kept[0].0.len(), 32);

        for (asked, expected) in [
            (json!({ "name": "telegraf", "area": ESTATE, "write": true }), StatusCode::CONFLICT),
            (json!({ "name": "a b", "area": ESTATE, "write": true }), StatusCode::UNPROCESSABLE_ENTITY),
            (json!({ "name": "x", "area": ESTATE }), StatusCode::UNPROCESSABLE_ENTITY),
            (
                json!({ "name": "x", "area": ESTATE, "read": true, "thing_tag": "" }),
                StatusCode::UNPROCESSABLE_ENTITY,
            ),
            (
                json!({ "name": "x", "area": ESTATE, "read": true, "expires_at": "2020-01-01T00:00:00Z" }),
                StatusCode::UNPROCESSABLE_ENTITY,
            ),
            (json!({ "name": "x", "area": "50/", "write": true }), StatusCode::NOT_FOUND),
            (json!({ "name": "x", "area": "50/500112/none/", "write": true }), StatusCode::NOT_FOUND),
            (json!({ "name": "x", "area": ESTATE, "wriet": true }), StatusCode::BAD_REQUEST),
        ] {
            assert_eq!(read(send(&district, post(&asked)).await).await.0, expected, "{asked}");
        }

        // Outside one's areas there is no token.
        let other = officer(&format!("{ESTATE}jz-01/"));
        assert_eq!(get(&other, "/api/v1/tokens").await.1["items"], json!([]));
        let revoke = || Request::delete("/api/v1/tokens/telegraf").body(Body::empty()).unwrap();
        assert_eq!(send(&other, revoke()).await.status(), StatusCode::NOT_FOUND);
        assert!(platform.integrator(&secret).is_some());

        assert_eq!(send(&district, revoke()).await.status(), StatusCode::NO_CONTENT);
        assert!(platform.integrator(&secret).is_none(), "at once");
        assert_eq!(send(&district, revoke()).await.status(), StatusCode::NOT_FOUND);
        assert!(get(&district, "/api/v1/tokens").await.1["items"][0]["revoked_at"].is_string());
        let audit: Vec<(String,)> = store
            .read()
            .all("SELECT action FROM audit WHERE resource = 'token' ORDER BY seq", vec![])
            .await
            .unwrap();
        assert_eq!(audit, [("token:create".to_owned(),), ("token:revoke".to_owned(),)]);
    })
    .await;
}

#[tokio::test]
async fn a_repeated_request_makes_no_second_token_and_keeps_no_secret() {
    on_each(|store| async move {
        let folder = tempfile::tempdir().unwrap();
        small_city(&store).await;
        let platform = open(&store, folder.path()).await;
        let officer =
            as_caller(routes(platform.clone()), caller(store::new_id(), "李娜", "50/", &["token:manage"]));
        let body = json!({ "name": "once", "area": ESTATE, "write": true });
        let again = || {
            let mut request = post(&body);
            request.headers_mut().insert("idempotency-key", "k-1".parse().unwrap());
            request
        };
        let (status, made) = read(send(&officer, again()).await).await;
        assert_eq!(status, StatusCode::CREATED);
        let (status, problem) = read(send(&officer, again()).await).await;
        assert_eq!((status, &problem["type"]), (StatusCode::CONFLICT, &json!("/problems/shown-once")));
        let kept: Vec<(String,)> = store.read().all("SELECT outcome FROM idempotency", vec![]).await.unwrap();
        let secret = made["secret"].as_str().unwrap();
        assert!(!kept.is_empty() && kept.iter().all(|(outcome,)| !outcome.contains(&secret[4..])));
        assert!(platform.integrator(secret).is_some());
    })
    .await;
}

#[tokio::test]
async fn tokens_end_survive_a_restart_and_note_their_use() {
    on_each(|store| async move {
        let folder = tempfile::tempdir().unwrap();
        small_city(&store).await;
        let (_, secret) = token::create(&store, &system(), new("a")).await.unwrap();
        let soon = NewToken { expires_at: Some(store::now().plus(Micros::HOUR)), ..new("b") };
        let (_, ending) = token::create(&store, &system(), soon).await.unwrap();
        let (_, gone) = token::create(&store, &system(), new("c")).await.unwrap();
        token::revoke(&store, &system(), "c").await.unwrap();
        assert!(matches!(token::revoke(&store, &system(), "c").await, Err(TokenError::Unknown(_))));
        let platform = open(&store, folder.path()).await;
        assert!(platform.integrator(&secret).is_some() && platform.token_is_live("a"));
        assert!(platform.integrator(&ending).is_some());
        assert!(platform.integrator(&gone).is_none() && !platform.token_is_live("c"));
        for wrong in ["", "zst_", &secret[..67], &secret.to_uppercase(), &format!("zst_{}", "0".repeat(64))] {
            assert!(platform.integrator(wrong).is_none(), "{wrong}");
        }
        let today = store::now().0.div_euclid(Micros::DAY);
        let mut noted = 0;
        for _ in 0..500 {
            let sql = "SELECT name, last_used_day FROM tokens WHERE last_used_day IS NOT NULL ORDER BY name";
            let days: Vec<(String, i64)> = store.read().all(sql, vec![]).await.unwrap();
            noted = days.iter().filter(|(_, day)| (today..=today + 1).contains(day)).count();
            if noted == 2 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert_eq!(noted, 2, "the two that were used");
        // One that has ended is refused, though it stands in memory.
        let past = "UPDATE tokens SET expires_at = 1 WHERE name = 'b'";
        store
            .command::<_, (), store::StoreError, _>(&system(), "test:set", (), move |tx, ()| {
                Box::pin(async move { tx.execute(past, vec![]).await.map(drop) })
            })
            .await
            .unwrap();
        let platform = open(&store, folder.path()).await;
        assert!(platform.integrator(&ending).is_none() && !platform.token_is_live("b"));
    })
    .await;
}

/// Who wrote.
#[utoipa::path(post, path = "/v1", responses((status = 200)))]
async fn v1(caller: TokenCaller) -> String {
    caller.token.integrator.name.clone()
}

/// Who wrote.
#[utoipa::path(post, path = "/v2", responses((status = 200)))]
async fn v2(caller: TokenCaller) -> String {
    caller.token.integrator.name.clone()
}

fn doors(platform: &Arc<Platform>) -> Router {
    Api::<()>::new()
        .add(Access::Token(TokenRight::Write, ErrorShape::InfluxV1), paths!(v1))
        .add(Access::Token(TokenRight::Write, ErrorShape::InfluxV2), paths!(v2))
        .merge(routes(platform.clone()))
        .split()
        .0
        .layer(from_fn_with_state(platform.clone(), identify))
}

#[tokio::test]
async fn a_token_opens_its_doors_however_it_is_sent_and_no_others() {
    on_each(|store| async move {
        let folder = tempfile::tempdir().unwrap();
        small_city(&store).await;
        let platform = open(&store, folder.path()).await;
        let secret = platform.create_token(&system(), new("telegraf")).await.unwrap();
        let reader = NewToken { read: true, write: false, ..new("reader") };
        let reader = platform.create_token(&system(), reader).await.unwrap();
        let router = doors(&platform);
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("anyone:{secret}"));
        let ask = async |path: &str, authorization: Option<&str>| {
            let mut request = Request::post(path);
            if let Some(value) = authorization {
                request = request.header(header::AUTHORIZATION, value);
            }
            let response = send(&router, request.body(Body::empty()).unwrap()).await;
            let status = response.status();
            let error = response.headers().get("x-influxdb-error").cloned();
            let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
            (status, String::from_utf8(body.to_vec()).unwrap(), error)
        };
        for (path, authorization) in [
            ("/v2", Some(format!("Token {secret}"))),
            ("/v2", Some(format!("bearer {secret}"))),
            ("/v1", Some(format!("Basic {basic}"))),
            (&format!("/v1?db=x&u=anyone&p={secret}"), None),
        ] {
            let (status, body, _) = ask(path, authorization.as_deref()).await;
            assert_eq!((status, body.as_str()), (StatusCode::OK, "telegraf"), "{path} {authorization:?}");
        }
        let wrong = format!("Token zst_{}", "0".repeat(64));
        for authorization in [None, Some(wrong.as_str()), Some("Token"), Some("Basic !"), Some("Digest x")] {
            let (status, body, error) = ask("/v1", authorization).await;
            assert_eq!(
                (status, body.as_str()),
                (StatusCode::UNAUTHORIZED, r#"{"error":"authorization failed"}"#)
            );
            assert_eq!(error.unwrap(), "authorization failed");
            let (status, body, error) = ask("/v2", authorization).await;
            let expected = r#"{"code":"unauthorized","message":"unauthorized access"}"#;
            assert_eq!((status, body.as_str(), error), (StatusCode::UNAUTHORIZED, expected, None));
        }
        let (status, body, _) = ask("/v2", Some(&format!("Token {reader}"))).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(body.starts_with(r#"{"code":"forbidden","#), "{body}");
        // A token is nobody on people's routes.
        let request = Request::get("/api/v1/tokens").header(header::AUTHORIZATION, format!("Token {secret}"));
        let response = send(&router, request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    })
    .await;
}
