//! Signed messages by HTTP: to the gateway of SMS, voice and WeCom, and to webhooks.
//!
//! Both speak one contract (docs/notification.md): a JSON body, `Idempotency-Key` with the
//! delivery's id, and HMAC-SHA256 (RFC 2104) over timestamp, a dot and the body.

use std::sync::OnceLock;
use std::time::Duration;

use async_trait::async_trait;
use model::Micros;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Certificate, Client, Response, StatusCode, redirect};
use ring::hmac;
use serde_json::{Value, json};
use url::{Host, Url};

use super::carrier::{Carrier, Parcel, SendError};
use super::guard::{Forbidden, Guarded, Internal};
use super::secret::Secret;
use super::{GatewayConfig, SetupError};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the whole of a request may take.
const BOUND: Duration = Duration::from_secs(15);
/// How much of an answer is read.
const LARGEST_ANSWER: usize = 8 << 10;
/// How much of the far side's own words is kept.
const LONGEST_REASON: usize = 200;

/// The header that holds when a message was signed, in seconds since 1970.
pub const TIMESTAMP_HEADER: &str = "x-zhongshu-timestamp";
/// The header that holds the signature: `v1=` and 64 hexadecimal digits.
pub const SIGNATURE_HEADER: &str = "x-zhongshu-signature";

/// The signature of a body sent at `timestamp` (seconds).
#[must_use]
pub fn signature(secret: &str, timestamp: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(timestamp.as_bytes());
    context.update(b".");
    context.update(body);
    format!("v1={}", hex::encode(context.sign()))
}

/// What a gateway is sent: docs/notification.md, "The gateway's contract".
fn body(parcel: &Parcel) -> Value {
    let told = parcel.told_at.to_string();
    let mut body = json!({
        "id": parcel.id,
        "channel": parcel.channel,
        "severity": parcel.severity,
        "title": parcel.title,
        "text": parcel.body,
        "case": Some(&parcel.case).filter(|c| !c.is_empty()),
        "link": parcel.link,
        "post": parcel.post,
        "area": parcel.area,
        "told_at": told,
    });
    // A webhook gets no name and no address: its receiver is a system.
    if parcel.channel != super::Channel::Webhook {
        body["to"] = json!(parcel.address);
        body["recipient"] = json!(parcel.recipient);
    }
    body
}

/// A client made at the first message: a machine without certificates of its own must not keep
/// the hub from starting.
struct LazyClient {
    made: OnceLock<Result<Client, String>>,
    certificates: Vec<u8>,
    guard: Option<Internal>,
}

impl LazyClient {
    fn new(certificates: Vec<u8>, guard: Option<Internal>) -> Self {
        Self { made: OnceLock::new(), certificates, guard }
    }

    fn get(&self) -> Result<&Client, SendError> {
        let made = self.made.get_or_init(|| {
            let certificates = Certificate::from_pem_bundle(&self.certificates).map_err(|e| chain(&e))?;
            let mut builder = Client::builder()
                .no_proxy()
                .redirect(redirect::Policy::none())
                .connect_timeout(CONNECT)
                .timeout(BOUND)
                .pool_max_idle_per_host(2)
                .user_agent(concat!("zhongshu/", env!("CARGO_PKG_VERSION")));
            if !certificates.is_empty() {
                builder = builder.tls_certs_merge(certificates);
            }
            if let Some(internal) = &self.guard {
                builder = builder.dns_resolver(Guarded(internal.clone()));
            }
            builder.build().map_err(|e| chain(&e))
        });
        made.as_ref().map_err(|e| SendError::retry(format!("no client can be made: {e}")))
    }
}

/// An error with what is behind it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

/// Whether an address that may not be reached is behind an error.
fn forbidden(error: &reqwest::Error) -> Option<String> {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(forbidden) = inner.downcast_ref::<Forbidden>() {
            return Some(forbidden.to_string());
        }
        source = inner.source();
    }
    None
}

/// Posts a signed message.
async fn post(
    client: &Client,
    url: Url,
    secret: &Secret,
    parcel: &Parcel,
) -> Result<Option<String>, SendError> {
    let body = serde_json::to_vec(&body(parcel)).map_err(|e| SendError::last(e.to_string()))?;
    let timestamp = (store::now().0 / Micros::SECOND).to_string();
    let signature = signature(secret.expose(), &timestamp, &body);
    let sent = client
        .post(url)
        .header(CONTENT_TYPE, "application/json")
        .header("idempotency-key", parcel.id.to_string())
        .header(TIMESTAMP_HEADER, timestamp)
        .header(SIGNATURE_HEADER, signature)
        .body(body)
        .send()
        .await;
    let response = sent.map_err(|e| match forbidden(&e) {
        Some(reason) => SendError::last(reason),
        // The address may hold a secret of the far side's; the reason does not repeat it.
        None => {
            let slow = e.is_timeout();
            let text = chain(&e.without_url());
            let reason = if slow {
                format!("no answer within {} s ({text})", BOUND.as_secs())
            } else {
                format!("no connection ({text})")
            };
            SendError::retry(reason)
        }
    })?;
    read(response).await
}

async fn read(mut response: Response) -> Result<Option<String>, SendError> {
    let status = response.status();
    let after = retry_after(response.headers());
    let mut text = Vec::new();
    // An answer that breaks off does not change what the status said.
    while let Ok(Some(chunk)) = response.chunk().await {
        text.extend_from_slice(&chunk[..chunk.len().min(LARGEST_ANSWER - text.len())]);
        if text.len() >= LARGEST_ANSWER {
            break;
        }
    }
    let answer: Value = serde_json::from_slice(&text).unwrap_or_default();
    let said = |name: &str| answer.get(name).and_then(Value::as_str).map(clean).filter(|t| !t.is_empty());
    if status.is_success() {
        return Ok(said("id"));
    }
    if status.is_redirection() {
        return Err(SendError::last(format!("answers {status}: redirects are not followed")));
    }
    let by_status = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        );
    let retry = answer.get("retry").and_then(Value::as_bool).unwrap_or(by_status);
    let reason = match said("reason").or_else(|| said("detail")) {
        Some(said) => format!("answers {status}: {said}"),
        None => format!("answers {status}"),
    };
    Err(SendError { retry, after: after.filter(|_| retry), reason })
}

/// `Retry-After` in seconds, as µs; a date is not read.
fn retry_after(headers: &HeaderMap) -> Option<i64> {
    let seconds: i64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    (seconds >= 0).then(|| seconds.saturating_mul(Micros::SECOND))
}

/// The far side's words as one line of bounded length.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(LONGEST_REASON)
        .collect::<String>()
        .trim()
        .to_owned()
}

/// Sends by the gateway. Its address is the operator's own setting and may lie anywhere.
pub(super) struct Gateway {
    url: Url,
    secret: Secret,
    client: LazyClient,
}

impl Gateway {
    pub(super) fn new(config: GatewayConfig, certificates: Vec<u8>) -> Result<Self, SetupError> {
        let wrong = |reason: String| SetupError(format!("the gateway's address {:?}: {reason}", config.url));
        let url = Url::parse(&config.url).map_err(|e| wrong(e.to_string()))?;
        if !(url.scheme() == "https" || url.scheme() == "http" && is_loopback(&url)) {
            return Err(wrong("must be https; http goes to this machine only".into()));
        }
        if config.secret.expose().len() < 16 {
            return Err(SetupError("the gateway's secret must have 16 characters or more".into()));
        }
        Ok(Self { url, secret: config.secret, client: LazyClient::new(certificates, None) })
    }
}

/// Whether a URL names this machine by an address.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(a)) => a.is_loopback(),
        Some(Host::Ipv6(a)) => a.is_loopback(),
        // By other schemes than http an address is a name to the parser.
        Some(Host::Domain(name)) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|a| a.is_loopback())
        }
        None => false,
    }
}

#[async_trait]
impl Carrier for Gateway {
    async fn send(&self, parcel: &Parcel) -> Result<Option<String>, SendError> {
        post(self.client.get()?, self.url.clone(), &self.secret, parcel).await
    }
}

/// Sends to webhooks: HTTPS only, and not into networks of the hub's own.
pub(super) struct Webhook {
    internal: Internal,
    client: LazyClient,
}

impl Webhook {
    pub(super) fn new(internal: Internal, certificates: Vec<u8>) -> Self {
        Self { client: LazyClient::new(certificates, Some(internal.clone())), internal }
    }
}

#[async_trait]
impl Carrier for Webhook {
    async fn send(&self, parcel: &Parcel) -> Result<Option<String>, SendError> {
        // An address written as numbers is never looked up: it is checked here.
        let url = self.internal.check_url(&parcel.address).map_err(SendError::last)?;
        let Some(secret) = &parcel.secret else {
            return Err(SendError::last("the webhook was removed"));
        };
        post(self.client.get()?, url, secret, parcel).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_rfc_4231() {
        // Test case 2 of RFC 4231 §4.3, its data split at our dot's place by hand.
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"Jefe");
        let tag = hmac::sign(&key, b"what do ya want for nothing?");
        assert_eq!(hex::encode(tag), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let whole = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"s"), b"1700000000.{}");
        assert_eq!(signature("s", "1700000000", b"{}"), format!("v1={}", hex::encode(whole)));
    }

    #[test]
    fn the_gateway_is_reached_encrypted_or_on_this_machine() {
        for (url, good) in [
            ("https://gateway.example.org/messages", true),
            ("http://127.0.0.1:8098/messages", true),
            ("http://[::1]:8098/messages", true),
            ("http://localhost:8098/messages", true),
            ("http://10.0.0.1/messages", false),
            ("http://gateway.example.org/messages", false),
            ("ftp://127.0.0.1/", false),
            ("nonsense", false),
        ] {
            let config = GatewayConfig { url: url.into(), secret: Secret::new("0123456789abcdef") };
            assert_eq!(Gateway::new(config, Vec::new()).is_ok(), good, "{url}");
        }
        let config = GatewayConfig { url: "https://a.b/".into(), secret: Secret::new("short") };
        assert!(Gateway::new(config, Vec::new()).is_err());
    }
}
