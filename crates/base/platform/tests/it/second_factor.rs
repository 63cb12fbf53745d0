//! The second factor: set up, asked for, spent, recovered, required, taken away.

use axum::http::StatusCode;
use platform::{SecondFactor, totp};
use serde_json::json;
use store::testing::on_each;

use crate::accounts::{Browser, ESTATE, PASSWORD, World};

/// Base32 as an app reads it (RFC 4648 §6).
fn unbase32(text: &str) -> Vec<u8> {
    let (mut held, mut bits, mut bytes) = (0u32, 0, Vec::new());
    for c in text.bytes() {
        let value = if c.is_ascii_uppercase() { c - b'A' } else { c - b'2' + 26 };
        held = (held << 5) | u32::from(value);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
    }
    bytes
}

/// The code that an app shows `steps` from now.
fn code(secret: &str, steps: i64) -> String {
    totp::code(&unbase32(secret), totp::step(store::now()) + steps)
}

async fn set_up(browser: &Browser) -> (String, Vec<String>) {
    let (status, begun) =
        browser.post("/api/v1/account/second-factor", json!({ "password": PASSWORD })).await;
    assert_eq!(status, StatusCode::CREATED, "{begun}");
    let secret = begun["secret"].as_str().unwrap().to_owned();
    assert!(
        begun["qr_svg"].as_str().unwrap().contains("<svg")
            && begun["uri"].as_str().unwrap().contains(&secret)
    );
    let confirm = json!({ "code": code(&secret, -1) });
    let (status, confirmed) = browser.post("/api/v1/account/second-factor/confirm", confirm).await;
    assert_eq!(status, StatusCode::CREATED, "{confirmed}");
    let codes: Vec<String> = serde_json::from_value(confirmed["codes"].clone()).unwrap();
    (secret, codes)
}

#[tokio::test]
async fn a_code_is_asked_for_and_good_once() {
    on_each(|store| async move {
        let world = World::new(store, SecondFactor::Administrators).await;
        world.account("wang", "manager", ESTATE, false).await;
        let wang = world.log_in("wang").await;
        let wrong = wang.post("/api/v1/account/second-factor", json!({ "password": "wrong" })).await;
        assert_eq!(wrong.0, StatusCode::UNPROCESSABLE_ENTITY);
        let early = wang.post("/api/v1/account/second-factor/confirm", json!({ "code": "000000" })).await;
        assert_eq!(
            (early.0, &early.1["type"]),
            (StatusCode::CONFLICT, &json!("/problems/second-factor-state"))
        );
        let (secret, codes) = set_up(&wang).await;
        assert_eq!(codes.len(), 10);
        let again = wang.post("/api/v1/account/second-factor", json!({ "password": PASSWORD })).await;
        assert_eq!(again.0, StatusCode::CONFLICT, "remove it first");
        let (_, account) = wang.get("/api/v1/account").await;
        assert_eq!(
            json!([account["second_factor"]["recovery_codes"], account["second_factor"]["required"]]),
            json!([10, false])
        );

        let mut browser = world.browser();
        let (status, problem) = browser.log_in("wang", PASSWORD, None).await;
        assert_eq!((status, &problem["type"]), (StatusCode::UNAUTHORIZED, &json!("/problems/second-factor")));
        let (status, problem) = browser.log_in("wang", "wrong", Some(&code(&secret, 0))).await;
        assert_eq!((status, &problem["type"]), (StatusCode::UNAUTHORIZED, &json!("/problems/wrong-login")));
        let (_, problem) = browser.log_in("wang", PASSWORD, Some("12345x")).await;
        assert_eq!(problem["type"], "/problems/wrong-code");
        let (_, problem) = browser.log_in("wang", PASSWORD, Some(&code(&secret, 5))).await;
        assert_eq!(problem["type"], "/problems/wrong-code", "of a time to come");
        // The next step's, so that a step that ends meanwhile does no harm.
        let next = code(&secret, 1);
        assert_eq!(browser.log_in("wang", PASSWORD, Some(&next)).await.0, StatusCode::OK);
        let (_, problem) = browser.log_in("wang", PASSWORD, Some(&next)).await;
        assert_eq!(problem["type"], "/problems/wrong-code", "a code is good once");

        let spoken = codes[0].to_uppercase();
        assert_eq!(browser.log_in("wang", PASSWORD, Some(&spoken)).await.0, StatusCode::OK);
        let (_, problem) = browser.log_in("wang", PASSWORD, Some(&codes[0])).await;
        assert_eq!(problem["type"], "/problems/wrong-code", "a recovery code too");
        let (_, account) = browser.get("/api/v1/account").await;
        assert_eq!(account["second_factor"]["recovery_codes"], 9);

        let remove = |code: &str| json!({ "password": PASSWORD, "code": code });
        let (status, _) = browser.post("/api/v1/account/second-factor/remove", remove("000000x")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        let (status, _) = browser.post("/api/v1/account/second-factor/remove", remove(&codes[1])).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        assert_eq!(browser.log_in("wang", PASSWORD, None).await.0, StatusCode::OK);

        // Neither the secret nor a recovery code stands readable in the database.
        let rows: Vec<(Vec<u8>,)> =
            world.store.read().all("SELECT sha256 FROM recovery_codes", vec![]).await.unwrap();
        assert!(rows.is_empty(), "they go with the factor");
    })
    .await;
}

#[tokio::test]
async fn who_must_have_one_does_nothing_before() {
    on_each(|store| async move {
        let world = World::new(store, SecondFactor::Administrators).await;
        let id = world.account("admin", "system-administrator", "50/", true).await;
        world.account("security", "security-administrator", "50/", false).await;
        let admin = world.log_in("admin").await;
        assert_eq!(admin.get("/api/v1/session").await.1["need"], "password-change", "that first");
        let begin = json!({ "old": PASSWORD, "new": "correct horse battery" });
        admin.post("/api/v1/account/password", begin).await;
        assert_eq!(admin.get("/api/v1/session").await.1["need"], "second-factor");
        let (status, problem) = admin.get("/api/v1/people").await;
        assert_eq!(
            (status, &problem["type"]),
            (StatusCode::FORBIDDEN, &json!("/problems/second-factor-required"))
        );
        world.set("UPDATE people SET must_change = 0").await;

        let security = world.log_in("security").await;
        let (_, codes) = set_up(&security).await;
        assert_eq!(security.get("/api/v1/people").await.0, StatusCode::OK, "at once, in the same session");
        let remove = json!({ "password": PASSWORD, "code": codes[0] });
        let (status, _) = security.post("/api/v1/account/second-factor/remove", remove).await;
        assert_eq!(status, StatusCode::CONFLICT, "the role asks for it");

        // The administrator sets it up, loses it, and the security administrator takes it away.
        let begin = json!({ "password": "correct horse battery" });
        let (_, begun) = admin.post("/api/v1/account/second-factor", begin).await;
        let confirm = json!({ "code": code(begun["secret"].as_str().unwrap(), 0) });
        assert_eq!(admin.post("/api/v1/account/second-factor/confirm", confirm).await.0, StatusCode::CREATED);
        assert_eq!(admin.get("/api/v1/people").await.0, StatusCode::OK);
        let path = format!("/api/v1/people/{id}/second-factor");
        assert_eq!(security.ask("DELETE", &path, None).await.0, StatusCode::NO_CONTENT);
        assert!(!admin.is_in().await, "its sessions end");
        assert_eq!(security.ask("DELETE", &path, None).await.0, StatusCode::CONFLICT, "there is none");
        let mut again = world.browser();
        let (_, session) = again.log_in("admin", "correct horse battery", None).await;
        assert_eq!(session["need"], "second-factor");
    })
    .await;
}

#[tokio::test]
async fn secrets_are_encrypted_under_keys_that_can_be_replaced() {
    on_each(|store| async move {
        let world = World::new(store, SecondFactor::Optional).await;
        world.account("wang", "manager", ESTATE, false).await;
        let (secret, _) = set_up(&world.log_in("wang").await).await;
        let sealed = async || -> Vec<u8> {
            let rows: Vec<(Vec<u8>,)> = world
                .store
                .read()
                .all("SELECT totp FROM people WHERE totp IS NOT NULL", vec![])
                .await
                .unwrap();
            rows[0].0.clone()
        };
        let before = sealed().await;
        let plain = unbase32(&secret);
        assert!(!before.windows(plain.len()).any(|w| w == plain));
        // A new first line in the file of keys: the secret is encrypted anew at the next start.
        let file = world.folder().join("keys/data.key");
        let old = std::fs::read_to_string(&file).unwrap();
        let new = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
        std::fs::write(&file, format!("{new}\n{old}")).unwrap();
        World::open(&world.store, world.folder(), SecondFactor::Optional).await;
        let after = sealed().await;
        assert_ne!(before[..4], after[..4], "under the new key");
        std::fs::write(&file, format!("{new}\n")).unwrap();
        World::open(&world.store, world.folder(), SecondFactor::Optional).await;
        // Without the key the hub does not start, and says what to put back.
        std::fs::write(&file, &old).unwrap();
        let config = platform::PlatformConfig {
            files: world.folder().join("files"),
            keys: Some(world.folder().join("keys")),
            ..Default::default()
        };
        let refused =
            platform::Platform::open(world.store.clone(), &[], config).await.err().unwrap().to_string();
        assert!(refused.contains("data.key"), "{refused}");
    })
    .await;
}
