//! The hub as a person's client sees it: a session, JSON, the event stream.

use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

/// A logged-in client.
#[derive(Clone, Debug)]
pub struct Api {
    http: reqwest::Client,
    url: String,
    /// What unsafe requests repeat.
    csrf: String,
}

impl Api {
    /// Logs in at `url` (`http://…` without a slash at the end).
    pub async fn log_in(url: &str, login: &str, password: &str) -> Result<Self> {
        let http = reqwest::Client::builder().cookie_store(true).no_proxy().build()?;
        let body = json!({ "login": login, "password": password });
        let answer = http.post(format!("{url}/api/v1/session")).json(&body).send().await?;
        if !answer.status().is_success() {
            bail!("failed to log in as {login}: {} {}", answer.status(), answer.text().await?);
        }
        let session: Value = answer.json().await.context("the session is not JSON")?;
        let csrf = session.get("csrf").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(Self { http, url: url.to_owned(), csrf })
    }

    /// Reads something that must be there.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            bail!("GET {path} answers {status}: {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("GET {path} answers what is not JSON"))
    }

    /// Has something done that answers with JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let request = self.http.post(format!("{}{path}", self.url)).header("x-csrf-token", &self.csrf);
        let answer = request.json(body).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            bail!("POST {path} answers {status}: {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("POST {path} answers what is not JSON"))
    }

    /// Asks by SQL, for at most `limit` rows; the whole answer as an Arrow stream.
    pub async fn query(&self, sql: &str, limit: usize) -> Result<bytes::Bytes> {
        let request = self.http.post(format!("{}/api/v1/query", self.url));
        let request = request.header("accept", "application/vnd.apache.arrow.stream");
        let request = request.header("x-csrf-token", &self.csrf).json(&json!({ "sql": sql, "limit": limit }));
        let answer = request.send().await?;
        let status = answer.status();
        let body = answer.bytes().await.context("the answer to a query broke off")?;
        if !status.is_success() {
            bail!("the query was answered {status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(body)
    }

    /// Every item of a list, page by page.
    pub async fn list(&self, path: &str) -> Result<Vec<Value>> {
        let mut items = Vec::new();
        let mut after = String::new();
        loop {
            let mut page = self.get(&format!("{path}&limit=500{after}")).await?;
            if let Some(Value::Array(more)) = page.get_mut("items").map(Value::take) {
                items.extend(more);
            }
            match page.get("next").and_then(Value::as_str) {
                Some(next) => after = format!("&after={}", escaped(next)),
                None => return Ok(items),
            }
        }
    }

    /// Opens the event stream; it has begun when this returns.
    pub async fn events(&self) -> Result<Events> {
        let response = self.http.get(format!("{}/api/v1/events", self.url)).send().await?;
        if !response.status().is_success() {
            bail!("the event stream was refused: {}", response.status());
        }
        Ok(Events { response, decoder: Decoder::default() })
    }
}

/// A cursor as a query value (RFC 3986, 2.3: what need not be escaped).
fn escaped(text: &str) -> String {
    let keep = |b: &u8| b.is_ascii_alphanumeric() || b"-._~".contains(b);
    text.bytes().map(|b| if keep(&b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// An open event stream.
#[derive(Debug)]
pub struct Events {
    response: reqwest::Response,
    decoder: Decoder,
}

impl Events {
    /// The next event, and when it was read; `None` when the hub ended the stream. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<(Instant, Told)>> {
        loop {
            if let Some(told) = self.decoder.take() {
                return Ok(Some((Instant::now(), told)));
            }
            match self.response.chunk().await.context("the event stream broke")? {
                Some(chunk) => self.decoder.push(&chunk),
                None => return Ok(None),
            }
        }
    }
}

/// One server-sent event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// `task.opened` …
    pub event: String,
    /// Its data, as sent.
    pub data: String,
}

/// Server-sent events out of bytes, wherever the network cut them.
#[derive(Debug, Default)]
struct Decoder {
    bytes: Vec<u8>,
    /// Up to where no event ends.
    looked: usize,
}

impl Decoder {
    fn push(&mut self, chunk: &[u8]) {
        self.bytes.extend_from_slice(chunk);
    }

    fn take(&mut self) -> Option<Told> {
        let from = self.looked.saturating_sub(1);
        let Some(end) = self.bytes[from..].windows(2).position(|w| w == b"\n\n") else {
            self.looked = self.bytes.len();
            return None;
        };
        let block: Vec<u8> = self.bytes.drain(..from + end + 2).collect();
        self.looked = 0;
        // Whole events only: no character is cut here.
        let text = String::from_utf8_lossy(&block);
        let field = |name: &str| -> Vec<&str> {
            let values = text.lines().filter_map(|l| l.strip_prefix(name));
            values.map(|v| v.strip_prefix(' ').unwrap_or(v)).collect()
        };
        Some(Told { event: field("event:").concat(), data: field("data:").join("\n") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_wherever_the_bytes_were_cut() {
        let sent = "id: 7\nevent: task.opened\ndata: {\"name\":\"签收\"}\n\n:\n\nevent:values\ndata:1\ndata:2\n\nevent: x";
        let told = |event: &str, data: &str| Told { event: event.into(), data: data.into() };
        let expected = vec![told("task.opened", "{\"name\":\"签收\"}"), told("", ""), told("values", "1\n2")];
        for size in 1..=sent.len() {
            let mut decoder = Decoder::default();
            let mut got = Vec::new();
            for chunk in sent.as_bytes().chunks(size) {
                decoder.push(chunk);
                while let Some(told) = decoder.take() {
                    got.push(told);
                }
            }
            assert_eq!(got, expected, "cut every {size} bytes");
        }
    }

    #[test]
    fn cursors_are_escaped() {
        assert_eq!(escaped("a-Z_0.~+/= 汉"), "a-Z_0.~%2B%2F%3D%20%E6%B1%89");
    }
}
