//! The stand-in for the gateway keeps the contract of docs/notification.md.

use std::time::{SystemTime, UNIX_EPOCH};

use citysim::gateway::{Gateway, Mode, bind, serve};
use reqwest::StatusCode;
use ring::hmac;
use serde_json::{Value, json};

const SECRET: &str = "a secret of the gateway";

async fn send(url: &str, secret: &str, age: u64, key: &str, message: &Value) -> (StatusCode, Value) {
    let body = message.to_string();
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - age;
    let text = format!("{seconds}.{body}");
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), text.as_bytes());
    let request = reqwest::Client::builder().no_proxy().build().unwrap().post(format!("{url}/messages"));
    let request = request
        .header("idempotency-key", key)
        .header("x-zhongshu-timestamp", seconds.to_string())
        .header("x-zhongshu-signature", format!("v1={}", hex::encode(tag)));
    let answer = request.body(body).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap_or_default())
}

#[tokio::test]
async fn the_stand_in_checks_signatures_tells_repeats_and_can_be_dead() {
    let gateway = Gateway::new(SECRET);
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(serve(listener, gateway.clone()));
    assert!(bind("0.0.0.0:0".parse().unwrap()).await.is_err(), "it shows messages: loopback only");

    let sms = json!({ "channel": "sms", "to": "13812345678", "title": { "zh": "<b>新任务</b>" } });
    for (secret, age, expected) in [
        ("another secret", 0, StatusCode::UNAUTHORIZED),
        (SECRET, 400, StatusCode::UNAUTHORIZED),
        (SECRET, 0, StatusCode::ACCEPTED),
        (SECRET, 0, StatusCode::ACCEPTED),
    ] {
        let (status, answer) = send(&url, secret, age, "k1", &sms).await;
        assert_eq!(status, expected, "{answer}");
    }
    let received = gateway.received();
    assert_eq!((received.len(), received[0].times), (1, 2), "a repeat is the same message");

    gateway.set(Mode { dead: vec!["sms".into()], refused: vec!["voice".into()] });
    let voice = json!({ "channel": "voice", "to": "13812345678" });
    for (key, message, expected) in [
        ("k1", &sms, StatusCode::ACCEPTED),
        ("k2", &sms, StatusCode::SERVICE_UNAVAILABLE),
        ("k3", &voice, StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let (status, answer) = send(&url, SECRET, 0, key, message).await;
        assert_eq!(status, expected, "{key}: {answer}");
    }
    gateway.set(Mode::default());
    assert_eq!(send(&url, SECRET, 0, "k2", &sms).await.0, StatusCode::ACCEPTED);
    let statuses: Vec<u16> = gateway.received().iter().map(|r| r.status).collect();
    assert_eq!(statuses, [202, 202, 422]);
    let page = reqwest::get(format!("{url}/")).await.unwrap().text().await.unwrap();
    assert!(page.contains("&lt;b&gt;新任务") && !page.contains("<b>新任务"), "{page}");
}
