//! Logging in, staying so, being refused.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::middleware::from_fn_with_state;
use model::AreaPath;
use platform::http::{identify, routes};
use platform::person::{NewAccount, create_account};
use platform::testing::{small_city, system};
use store::testing::on_each;

use crate::{open, read, send};

const ESTATE: &str = "50/500112/500112011/500112011014/jz/";

fn log_in(login: &str, password: &str) -> Request<Body> {
    let body = serde_json::json!({ "login": login, "password": password }).to_string();
    Request::post("/api/v1/session")
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.into())
        .unwrap()
}

#[tokio::test]
async fn a_session_from_log_in_to_log_out() {
    on_each(|store| async move {
        let folder = tempfile::tempdir().unwrap();
        small_city(&store).await;
        let mut pack = platform::PackFiles { name: "p".into(), version: "1".into(), files: Default::default() };
        let roles = "[[role]]\ncode = \"manager\"\ntitle = { zh = \"物业\", en = \"Property\" }\npermissions = [\"area:read\", \"file:write\", \"file:read\"]";
        pack.files.insert("roles.toml".into(), roles.into());
        platform::pack::install(&store, &system(), pack).await.unwrap();
        let account = NewAccount {
            login: "wang".into(),
            name: "王强".into(),
            organisation: None,
            grants: vec![("manager".into(), AreaPath::parse(ESTATE).unwrap())],
            duties: vec![("property-duty".into(), AreaPath::parse(ESTATE).unwrap())],
            demo: true,
            ..Default::default()
        };
        create_account(&store, &system(), account, Some("open sesame")).await.unwrap();
        let platform = open(&store, folder.path()).await;
        let router = routes(platform.clone()).split().0.layer(from_fn_with_state(platform.clone(), identify));

        let (status, problem) = read(send(&router, log_in("wang", "wrong")).await).await;
        assert_eq!((status, &problem["type"]), (StatusCode::UNAUTHORIZED, &"/problems/wrong-login".into()));
        let (status, same) = read(send(&router, log_in("nobody", "wrong")).await).await;
        assert_eq!((status, same), (StatusCode::UNAUTHORIZED, problem), "unknown and wrong are not told apart");

        let response = send(&router, log_in("wang", "open sesame")).await;
        let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let (_, session) = read(response).await;
        assert_eq!(session["person"]["name"], "王强");
        assert_eq!(session["grants"][0]["area"]["name"]["zh"], "加州花园");
        assert_eq!(session["duties"][0]["post_title"]["en"], "Property duty");
        let csrf = session["csrf"].as_str().unwrap().to_owned();

        let with = |request: axum::http::request::Builder| request.header(header::COOKIE, &cookie);
        for (request, expected) in [
            (Request::get("/api/v1/areas/jz").body(Body::empty()).unwrap(), StatusCode::UNAUTHORIZED),
            (with(Request::get("/api/v1/areas/jz")).body(Body::empty()).unwrap(), StatusCode::OK),
            (with(Request::get("/api/v1/areas/500112")).body(Body::empty()).unwrap(), StatusCode::NOT_FOUND),
            (with(Request::get("/api/v1/notices")).body(Body::empty()).unwrap(), StatusCode::FORBIDDEN),
            (with(Request::get("/api/v1/nothing")).body(Body::empty()).unwrap(), StatusCode::NOT_FOUND),
            (
                with(Request::post("/api/v1/files")).header("content-type", "image/png").body("x".into()).unwrap(),
                StatusCode::FORBIDDEN, // no CSRF token
            ),
            (
                with(Request::post("/api/v1/files"))
                    .header("content-type", "image/png")
                    .header("x-csrf-token", &csrf)
                    .body("x".into())
                    .unwrap(),
                StatusCode::UNPROCESSABLE_ENTITY,
            ),
        ] {
            let what = format!("{} {}", request.method(), request.uri());
            assert_eq!(read(send(&router, request).await).await.0, expected, "{what}");
        }

        let png = [b"\x89PNG\r\n\x1a\n".as_slice(), &chunk(b"IHDR", &[0; 13]), &chunk(b"IEND", &[])].concat();
        let request = with(Request::post("/api/v1/files"))
            .header("content-type", "image/png")
            .header("x-file-name", "%E7%85%A7%E7%89%87.png")
            .header("x-csrf-token", &csrf)
            .body(png.clone().into())
            .unwrap();
        let (status, file) = read(send(&router, request).await).await;
        assert_eq!((status, &file["name"]), (StatusCode::CREATED, &"照片.png".into()));
        let path = format!("/api/v1/files/{}", file["id"].as_str().unwrap());
        let response = send(&router, with(Request::get(&path)).body(Body::empty()).unwrap()).await;
        assert_eq!(axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap(), png);

        let out = with(Request::delete("/api/v1/session")).header("x-csrf-token", &csrf).body(Body::empty()).unwrap();
        assert_eq!(send(&router, out).await.status(), StatusCode::NO_CONTENT);
        let after = with(Request::get("/api/v1/session")).body(Body::empty()).unwrap();
        assert_eq!(send(&router, after).await.status(), StatusCode::UNAUTHORIZED);
    })
    .await;
}

/// A PNG chunk (PNG 1.2 §3.2) with its CRC-32.
fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = u32::MAX;
    for byte in kind.iter().chain(data) {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    [&(data.len() as u32).to_be_bytes(), kind.as_slice(), data, &(!crc).to_be_bytes()].concat()
}

#[tokio::test]
async fn guessing_is_slowed_down() {
    on_each(|store| async move {
        let folder = tempfile::tempdir().unwrap();
        let platform = open(&store, folder.path()).await;
        let router = routes(platform.clone()).split().0.layer(from_fn_with_state(platform, identify));
        for _ in 0..5 {
            assert_eq!(send(&router, log_in("wang", "wrong")).await.status(), StatusCode::UNAUTHORIZED);
        }
        let response = send(&router, log_in("wang", "wrong")).await;
        assert!(response.headers().contains_key(header::RETRY_AFTER));
        let (status, problem) = read(response).await;
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
        assert!(problem["seconds"].as_u64().unwrap() >= 1);
        // Another login from the same address (an office, a proxy) is not held up by it.
        assert_eq!(send(&router, log_in("somebody-else", "wrong")).await.status(), StatusCode::UNAUTHORIZED);
        // Many at once are no way round, and a login longer than any costs nothing.
        let many = (0..30).map(|_| send(&router, log_in("crowd", "wrong")));
        let tried = futures::future::join_all(many).await;
        assert_eq!(tried.iter().filter(|r| r.status() == StatusCode::UNAUTHORIZED).count(), 5);
        assert_eq!(send(&router, log_in(&"x".repeat(1 << 16), "w")).await.status(), StatusCode::UNAUTHORIZED);
        // U+0000 is no text of ours.
        assert_eq!(send(&router, log_in("a\0b", "w")).await.status(), StatusCode::BAD_REQUEST);
    })
    .await;
}
