//! A stand-in for the city's gateway of SMS, voice and WeCom messages: takes what the hub sends
//! by the contract of docs/notification.md, shows it, and can be told to be dead. Nothing of it
//! goes to anybody.
//!
//! | request | answer |
//! | --- | --- |
//! | `POST /messages` | 202 `{"id"}`; 401 for a wrong signature; 503 or 422 as it was told |
//! | `GET /messages` | the last thousand, oldest first |
//! | `GET /` | the same as a page |
//! | `PUT /mode` with [`Mode`] | 204 |

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// How many messages are kept.
const KEPT: usize = 1000;
/// How old a signature may be, in seconds.
const OLDEST: u64 = 300;
/// The largest body.
const LARGEST: usize = 64 << 10;

/// How the gateway behaves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mode {
    /// Channels that do not work now: 503.
    #[serde(default)]
    pub dead: Vec<String>,
    /// Channels whose messages are refused for good: 422.
    #[serde(default)]
    pub refused: Vec<String>,
}

/// A message as it came.
#[derive(Clone, Debug, Serialize)]
pub struct Received {
    /// The idempotency key it came with.
    pub key: String,
    /// When, in seconds since 1970.
    pub at: u64,
    /// The answer it was given.
    pub status: u16,
    /// How often it came.
    pub times: u32,
    /// The body.
    pub message: Value,
}

#[derive(Default)]
struct Kept {
    mode: Mode,
    messages: VecDeque<Received>,
}

/// The gateway.
#[derive(Clone)]
pub struct Gateway {
    key: Arc<hmac::Key>,
    kept: Arc<Mutex<Kept>>,
}

impl Gateway {
    /// A gateway that takes messages signed with `secret`.
    #[must_use]
    pub fn new(secret: &str) -> Self {
        Self { key: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())), kept: Arc::default() }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells it how to behave.
    pub fn set(&self, mode: Mode) {
        self.kept().mode = mode;
    }

    /// What came, oldest first.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.kept().messages.iter().cloned().collect()
    }

    /// Whether the signature is that of the body, and not old.
    fn is_signed(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
        let (Some(timestamp), Some(signature)) =
            (header("x-zhongshu-timestamp"), header("x-zhongshu-signature"))
        else {
            return false;
        };
        let fresh = timestamp.parse::<u64>().is_ok_and(|t| t.abs_diff(seconds()) <= OLDEST);
        let tag = signature.strip_prefix("v1=").and_then(|s| hex::decode(s).ok()).unwrap_or_default();
        let signed = [timestamp.as_bytes(), b".", body].concat();
        fresh && hmac::verify(&self.key, &signed, &tag).is_ok()
    }

    /// Its routes.
    pub fn router(self) -> Router {
        Router::new()
            .route("/messages", post(take).get(list))
            .route("/mode", put(mode))
            .route("/", get(page))
            .layer(DefaultBodyLimit::max(LARGEST))
            .with_state(self)
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Opens the door; port 0 takes a free one.
///
/// # Errors
/// When the address is not loopback (it shows what people are told) or is taken.
pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
    if !address.ip().is_loopback() {
        bail!("{address} is not loopback: the stand-in shows its messages to everybody, use 127.0.0.1");
    }
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// Serves until dropped.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, gateway: Gateway) -> std::io::Result<()> {
    axum::serve(listener, gateway.router()).await
}

async fn take(State(gateway): State<Gateway>, headers: HeaderMap, body: Bytes) -> Response {
    let refuse =
        |status: StatusCode, reason: &str| (status, Json(json!({ "reason": reason }))).into_response();
    if !gateway.is_signed(&headers, &body) {
        return refuse(StatusCode::UNAUTHORIZED, "the signature is missing, wrong or old");
    }
    let Some(key) = headers.get("idempotency-key").and_then(|k| k.to_str().ok()).map(ToOwned::to_owned)
    else {
        return refuse(StatusCode::BAD_REQUEST, "no Idempotency-Key");
    };
    let Ok(message) = serde_json::from_slice::<Value>(&body) else {
        return refuse(StatusCode::BAD_REQUEST, "the body is not JSON");
    };
    let channel = message["channel"].as_str().unwrap_or_default().to_owned();
    let mut kept = gateway.kept();
    let status = if kept.mode.dead.contains(&channel) {
        StatusCode::SERVICE_UNAVAILABLE
    } else if kept.mode.refused.contains(&channel) {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        StatusCode::ACCEPTED
    };
    match kept.messages.iter_mut().find(|m| m.key == key) {
        // A repeat of what was accepted is accepted, and reaches nobody a second time.
        Some(known) => {
            known.times += 1;
            if known.status != StatusCode::ACCEPTED.as_u16() {
                known.status = status.as_u16();
            }
        }
        None => {
            let to = message["to"].as_str().unwrap_or_default();
            let title = message["title"]["zh"].as_str().unwrap_or_default();
            tracing::info!(channel, to, title, status = status.as_u16(), "a message");
            if kept.messages.len() == KEPT {
                kept.messages.pop_front();
            }
            let key = key.clone();
            kept.messages.push_back(Received {
                key,
                at: seconds(),
                status: status.as_u16(),
                times: 1,
                message,
            });
        }
    }
    let accepted = kept.messages.iter().any(|m| m.key == key && m.status == StatusCode::ACCEPTED.as_u16());
    drop(kept);
    match status {
        _ if accepted => {
            (StatusCode::ACCEPTED, Json(json!({ "id": format!("standin-{key}") }))).into_response()
        }
        StatusCode::UNPROCESSABLE_ENTITY => refuse(status, "this number takes no messages"),
        _ => refuse(status, "the gateway is out of order"),
    }
}

async fn list(State(gateway): State<Gateway>) -> Json<Vec<Received>> {
    Json(gateway.received())
}

async fn mode(State(gateway): State<Gateway>, Json(mode): Json<Mode>) -> StatusCode {
    tracing::info!(?mode, "the gateway is told how to behave");
    gateway.set(mode);
    StatusCode::NO_CONTENT
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

async fn page(State(gateway): State<Gateway>) -> Html<String> {
    let (messages, mode) = (gateway.received(), gateway.kept().mode.clone());
    let word = |message: &Value, pointer: &str| {
        escaped(message.pointer(pointer).and_then(Value::as_str).unwrap_or_default())
    };
    let rows: String = messages
        .iter()
        .rev()
        .map(|r| {
            let m = &r.message;
            format!(
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                word(m, "/told_at"),
                word(m, "/channel"),
                word(m, "/recipient"),
                word(m, "/to"),
                word(m, "/title/zh"),
                word(m, "/text/zh"),
                r.status
            )
        })
        .collect();
    let named = |channels: &[String]| match channels {
        [] => "无".to_owned(),
        all => escaped(&all.join("、")),
    };
    Html(format!(
        "<!doctype html><html lang=\"zh-CN\"><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"3\">\
         <title>通知网关（替身）</title><style>body{{font:16px/1.5 sans-serif;margin:1.5rem}}\
         td,th{{padding:.25rem .75rem;border-bottom:1px solid #ccc;text-align:left;vertical-align:top}}</style>\
         <h1>通知网关（替身）</h1><p>收到 {} 条，没有发给任何人。故障渠道：{}。拒收渠道：{}。</p>\
         <table><thead><tr><th>时间 (UTC)<th>渠道<th>接收人<th>号码<th>标题<th>内容<th>应答</thead>\
         <tbody>{rows}</tbody></table></html>",
        messages.len(),
        named(&mode.dead),
        named(&mode.refused)
    ))
}
