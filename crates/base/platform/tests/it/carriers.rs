//! The channels themselves: SMTP, the gateway and webhooks, against servers of the tests' own.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use base64::Engine as _;
use model::Severity;
use platform::notification::{
    Channel, Contact, GatewayConfig, Internal, MailConfig, NotificationConfig, Notifications, Secret,
};
use platform::testing::small_city;
use serde_json::{Value, json};
use store::now;
use store::testing::on_each;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::notifications::{
    ESTATE, S, awake, deliveries, open_with, operator, person, reached, say, telling,
};
use crate::{get, read, send};

/// A mail server that takes mails to anybody but `nobody@…`, and is busy the first time.
async fn smtp() -> (u16, mpsc::Receiver<(Vec<String>, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (mails, taken) = mpsc::channel(16);
    tokio::spawn(async move {
        let mut busy = true;
        while let Ok((socket, _)) = listener.accept().await {
            let mut lines = BufReader::new(socket);
            lines.get_mut().write_all(b"220 test\r\n").await.unwrap();
            let (mut envelope, mut line) = (Vec::new(), String::new());
            while lines.read_line(&mut line).await.unwrap_or(0) > 0 {
                let said = std::mem::take(&mut line);
                let verb = said.get(..4).unwrap_or_default().to_uppercase();
                let answer = match verb.as_str() {
                    "EHLO" => "250 test",
                    "MAIL" if std::mem::take(&mut busy) => "451 come back later",
                    "RCPT" if said.contains("nobody@") => "550 no such mailbox",
                    "MAIL" | "RCPT" => {
                        envelope.push(said.trim().to_owned());
                        "250 so be it"
                    }
                    "DATA" => "354 go on",
                    "QUIT" => "221 bye",
                    _ => "250 yes",
                };
                lines.get_mut().write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
                if verb == "DATA" {
                    let mut text = String::new();
                    while lines.read_line(&mut text).await.unwrap_or(0) > 0 && !text.ends_with("\r\n.\r\n") {}
                    lines.get_mut().write_all(b"250 queued as 42\r\n").await.unwrap();
                    mails.send((std::mem::take(&mut envelope), text)).await.unwrap();
                }
            }
        }
    });
    (port, taken)
}

/// The text of a mail of one part.
fn text_of(mail: &str) -> String {
    let (head, body) = mail.split_once("\r\n\r\n").unwrap();
    let bytes = if head.to_lowercase().contains("content-transfer-encoding: base64") {
        let body: String = body.trim_end_matches(".\r\n").split_whitespace().collect();
        base64::engine::general_purpose::STANDARD.decode(body).unwrap()
    } else {
        let body = body.replace("=\r\n", "");
        let (mut bytes, mut rest) = (Vec::new(), body.as_str());
        while let Some(at) = rest.find('=') {
            bytes.extend_from_slice(&rest.as_bytes()[..at]);
            bytes.push(u8::from_str_radix(&rest[at + 1..at + 3], 16).unwrap());
            rest = &rest[at + 3..];
        }
        bytes.extend_from_slice(rest.as_bytes());
        bytes
    };
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_mail_is_taken_by_the_server_and_a_busy_one_is_asked_again() {
    on_each(|store| async move {
        small_city(&store).await;
        let (port, mut mails) = smtp().await;
        let mail = MailConfig {
            url: Secret::new(format!("smtp://127.0.0.1:{port}")),
            from: "中枢 <hub@example.org>".into(),
        };
        let public_url = Some("https://hub.example.org/".to_owned());
        let config = NotificationConfig { mail: Some(mail), public_url, ..awake() };
        let (platform, _folder) = open_with(&store, Notifications::new(store.clone(), config).unwrap()).await;
        let wang = person(&store, "wang", reached(None, Some("wang@example.org"))).await;
        say(&platform, vec![telling("a", &[(wang, "王强")], Severity::Red)]).await;
        let notifications = platform.notifications();
        notifications.round(now()).await.unwrap();
        let operator = operator(&platform);
        let (_, state, tries, reason) = deliveries(&operator, "?channel=email").await.remove(0);
        assert_eq!((state.as_str(), tries), ("waiting", 1));
        assert!(reason.unwrap().contains("come back later"));
        notifications.round(now().plus(10 * S)).await.unwrap();
        let (envelope, text) = mails.recv().await.unwrap();
        assert_eq!(envelope, ["MAIL FROM:<hub@example.org>", "RCPT TO:<wang@example.org>"]);
        let (_, page) = get(&operator, "/api/v1/notifications?channel=email").await;
        let delivery = &page["items"][0];
        assert_eq!(delivery["state"], "accepted");
        assert_eq!(delivery["address"], "w***@example.org");
        let id = delivery["id"].as_str().unwrap();
        assert!(text.contains(&format!("Message-ID: <{id}@example.org>")), "{text}");
        let body = text_of(&text);
        for part in ["新任务", "请尽快办理", "New task", "https://hub.example.org/tasks/1"] {
            assert!(body.contains(part), "{part} in {body}");
        }
        let nobody = person(&store, "no", reached(None, Some("nobody@example.org"))).await;
        say(&platform, vec![telling("b", &[(nobody, "无人")], Severity::Red)]).await;
        notifications.round(now().plus(20 * S)).await.unwrap();
        let (_, state, _, reason) = deliveries(&operator, "?channel=email&state=dead").await.remove(0);
        assert_eq!(state, "dead");
        assert!(reason.unwrap().contains("no such mailbox"));
    })
    .await;
}

/// One HTTP request: its head in lower case, and its body.
async fn request(socket: &mut (impl AsyncRead + Unpin)) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        assert!(socket.read_buf(&mut bytes).await.unwrap() > 0, "the request breaks off");
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
    let length: usize = header(&head, "content-length").unwrap().parse().unwrap();
    while bytes.len() < end + length {
        assert!(socket.read_buf(&mut bytes).await.unwrap() > 0, "the body breaks off");
    }
    (head, bytes.split_off(end))
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|l| l.strip_prefix(&format!("{name}:")).map(|v| v.trim().to_owned()))
}

async fn answer(socket: &mut (impl AsyncWrite + Unpin), answer: &(&str, String)) {
    let (status, body) = answer;
    let text = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    // A far side that does not read to the end is its own affair.
    let _ = socket.write_all(text.as_bytes()).await;
    let _ = socket.shutdown().await;
}

type Answers = Vec<(&'static str, String)>;

/// A server that answers the requests that come one after the other; with TLS when it has a key.
async fn server(
    answers: Answers,
    tls: Option<tokio_rustls::TlsAcceptor>,
) -> (u16, mpsc::Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (requests, taken) = mpsc::channel(32);
    tokio::spawn(async move {
        for one in answers {
            let (mut socket, _) = listener.accept().await.unwrap();
            let came = match &tls {
                None => {
                    let came = request(&mut socket).await;
                    answer(&mut socket, &one).await;
                    came
                }
                Some(tls) => {
                    let mut socket = tls.accept(socket).await.unwrap();
                    let came = request(&mut socket).await;
                    answer(&mut socket, &one).await;
                    came
                }
            };
            requests.send(came).await.unwrap();
        }
    });
    (port, taken)
}

/// The signature as the contract describes it, reckoned here by itself.
fn signed(secret: &str, head: &str, body: &[u8]) -> bool {
    let timestamp = header(head, "x-zhongshu-timestamp").unwrap();
    let age = now().0 / S - timestamp.parse::<i64>().unwrap();
    let tag = header(head, "x-zhongshu-signature").unwrap();
    let tag = hex::decode(tag.strip_prefix("v1=").unwrap()).unwrap();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let text = [timestamp.as_bytes(), b".", body].concat();
    (0..60).contains(&age) && ring::hmac::verify(&key, &text, &tag).is_ok()
}

#[tokio::test]
async fn the_gateways_answers_are_told_apart() {
    on_each(|store| async move {
        small_city(&store).await;
        let long = format!(r#"{{"reason": "{}"}}"#, "x".repeat(100_000));
        let cases: Vec<(&'static str, String, &str, &str)> = vec![
            ("202 Accepted", r#"{"id": "g-1"}"#.into(), "accepted", ""),
            ("200 OK", "fine".into(), "accepted", ""),
            ("503 Service Unavailable", r#"{"reason": "out of order"}"#.into(), "waiting", "out of order"),
            ("429 Too Many Requests", String::new(), "waiting", "429"),
            ("422 Unprocessable", r#"{"reason": "no such number"}"#.into(), "dead", "no such number"),
            ("401 Unauthorized", r#"{"reason": "wrong signature"}"#.into(), "dead", "wrong signature"),
            // The far side's own word weighs more than its status.
            ("400 Bad Request", r#"{"retry": true, "reason": "quota"}"#.into(), "waiting", "quota"),
            ("500 Oops", r#"{"retry": false, "reason": "never"}"#.into(), "dead", "never"),
            ("302 Found", String::new(), "dead", "redirects are not followed"),
            ("500 Oops", long, "waiting", "answers 500"),
        ];
        let answers = cases.iter().map(|(status, body, ..)| (*status, body.clone())).collect();
        let (port, mut requests) = server(answers, None).await;
        let secret = "a secret of the gateway";
        let url = format!("http://127.0.0.1:{port}/messages");
        let gateway = GatewayConfig { url, secret: Secret::new(secret) };
        let config = NotificationConfig { gateway: Some(gateway), ..awake() };
        let (platform, _folder) = open_with(&store, Notifications::new(store.clone(), config).unwrap()).await;
        let operator = operator(&platform);
        for (n, (status, _, state, reason)) in cases.iter().enumerate() {
            let login = format!("p{n}");
            let phone = format!("1381234{n:04}");
            let who = person(&store, &login, reached(Some(&phone), None)).await;
            let case = format!("case-{n}");
            let mut telling = telling(&case, &[(who, &login)], Severity::Orange);
            telling.case.clone_from(&case);
            telling.channels = Some(vec![Channel::Sms]);
            say(&platform, vec![telling]).await;
            platform.notifications().round(now()).await.unwrap();
            let (head, body) = requests.recv().await.unwrap();
            assert!(head.starts_with("post /messages http/1.1"), "{head}");
            assert!(signed(secret, &head, &body), "{head}");
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(header(&head, "idempotency-key").unwrap(), body["id"].as_str().unwrap());
            assert_eq!(
                (&body["to"], &body["channel"], &body["severity"]),
                (&json!(phone), &json!("sms"), &json!("orange"))
            );
            assert_eq!(body["title"], json!({ "zh": "新任务", "en": "New task" }));
            let (_, page) = get(&operator, &format!("/api/v1/notifications?channel=sms&case={case}")).await;
            let delivery = &page["items"][0];
            assert_eq!(delivery["state"], *state, "{status}: {delivery}");
            let said = delivery["reason"].as_str().unwrap_or_default();
            assert!(said.contains(reason) && said.len() < 400, "{status}: {said}");
            // What waits must not be tried again in the next case's round.
            if *state == "waiting" {
                store
                    .command::<_, (), store::StoreError, _>(
                        &platform::testing::system(),
                        "test:end",
                        case,
                        |tx, case| {
                            Box::pin(async move { platform::notification::tell::withdraw(tx, case).await })
                        },
                    )
                    .await
                    .unwrap();
            }
        }
        let (_, page) = get(&operator, "/api/v1/notifications?case=case-0&channel=sms").await;
        assert_eq!(page["items"][0]["reference"], "g-1");
    })
    .await;
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_tried_again() {
    on_each(|store| async move {
        small_city(&store).await;
        // A port that was free a moment ago.
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}/secret-path");
        let gateway = GatewayConfig { url, secret: Secret::new("a secret of the gateway") };
        let config = NotificationConfig { gateway: Some(gateway), ..awake() };
        let (platform, _folder) = open_with(&store, Notifications::new(store.clone(), config).unwrap()).await;
        let wang = person(&store, "wang", reached(Some("13812345678"), None)).await;
        say(&platform, vec![telling("a", &[(wang, "王强")], Severity::Red)]).await;
        platform.notifications().round(now()).await.unwrap();
        let (channel, state, _, reason) = deliveries(&operator(&platform), "?channel=sms").await.remove(0);
        assert_eq!((channel.as_str(), state.as_str()), ("sms", "waiting"));
        let reason = reason.unwrap();
        assert!(reason.starts_with("no connection") && !reason.contains("secret-path"), "{reason}");
    })
    .await;
}

async fn make_webhook(router: &axum::Router, name: &str, url: &str) -> (StatusCode, Value) {
    let body = json!({ "name": name, "area": ESTATE, "url": url }).to_string();
    let request = Request::post("/api/v1/webhooks").header("content-type", "application/json");
    read(send(router, request.body(Body::from(body)).unwrap()).await).await
}

#[tokio::test]
async fn a_webhook_into_the_hubs_own_networks_is_refused_by_default() {
    on_each(|store| async move {
        small_city(&store).await;
        let config = NotificationConfig { internal: Internal::Refused, ..awake() };
        let (platform, _folder) = open_with(&store, Notifications::new(store.clone(), config).unwrap()).await;
        let operator = operator(&platform);
        for url in
            ["https://127.0.0.1/in", "https://[::1]/in", "http://example.org/in", "https://10.0.0.8/in"]
        {
            let (status, problem) = make_webhook(&operator, "hook", url).await;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{url}");
            assert_eq!(problem["errors"][0]["path"], "/url");
        }
        // A name is looked up when a message goes, and refused then: nothing connects.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (status, made) = make_webhook(&operator, "hook", &format!("https://localhost:{port}/in")).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        say(&platform, vec![telling("a", &[], Severity::Blue)]).await;
        platform.notifications().round(now()).await.unwrap();
        let (_, state, tries, reason) = deliveries(&operator, "?channel=webhook").await.remove(0);
        assert_eq!((state.as_str(), tries), ("dead", 1), "{reason:?}");
        assert!(reason.unwrap().contains("notification_internal"));
        let nobody = tokio::time::timeout(std::time::Duration::ZERO, listener.accept()).await;
        assert!(nobody.is_err(), "nothing connected");
    })
    .await;
}

#[tokio::test]
async fn a_webhook_is_told_by_https_signed_and_without_names() {
    on_each(|store| async move {
        small_city(&store).await;
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let der = key.signing_key.serialize_der();
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let tls = tokio_rustls::rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![key.cert.der().clone()], der.try_into().unwrap())
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        let answers = vec![("503 Busy", String::new()), ("200 OK", r#"{"id":"w-1"}"#.to_owned())];
        let (port, mut requests) = server(answers, Some(acceptor)).await;
        let internal = Internal::parse("127.0.0.0/8 ::1/128").unwrap();
        let certificates = key.cert.pem().into_bytes();
        let config = NotificationConfig { internal, certificates, ..awake() };
        let (platform, _folder) = open_with(&store, Notifications::new(store.clone(), config).unwrap()).await;
        let operator = operator(&platform);
        let url = format!("https://localhost:{port}/in?key=1");
        let (status, made) = make_webhook(&operator, "hook", &url).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        let secret = made["secret"].as_str().unwrap().to_owned();
        let (status, _) = make_webhook(&operator, "hook", &url).await;
        assert_eq!(status, StatusCode::CONFLICT);
        let (_, list) = get(&operator, "/api/v1/webhooks").await;
        assert!(!list.to_string().contains(&secret) && list["items"][0]["name"] == "hook", "{list}");
        let wang = person(&store, "wang", Contact::default()).await;
        say(&platform, vec![telling("a", &[(wang, "王强")], Severity::Blue)]).await;
        let notifications = platform.notifications();
        for at in [now(), now().plus(10 * S)] {
            assert_eq!(notifications.round(at).await.unwrap(), 1, "{:?}", deliveries(&operator, "").await);
            let (head, body) = requests.recv().await.unwrap();
            assert!(head.starts_with("post /in?key=1"), "{head}");
            assert!(signed(&secret, &head, &body), "{head}");
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!((&body["channel"], &body["case"]), (&json!("webhook"), &json!("2026-1124-0007")));
            assert!(!body.to_string().contains("王强") && body.get("to").is_none(), "{body}");
        }
        let (_, page) = get(&operator, "/api/v1/notifications?channel=webhook").await;
        let delivery = &page["items"][0];
        assert_eq!((&delivery["state"], &delivery["reference"]), (&json!("accepted"), &json!("w-1")));
        assert_eq!(delivery["address"], "https://localhost/…");
        let request = Request::delete("/api/v1/webhooks/hook").body(Body::empty()).unwrap();
        assert_eq!(send(&operator, request).await.status(), StatusCode::NO_CONTENT);
        say(&platform, vec![telling("b", &[(wang, "王强")], Severity::Blue)]).await;
        assert_eq!(notifications.round(now()).await.unwrap(), 0, "nobody is told by a webhook that is gone");
    })
    .await;
}
