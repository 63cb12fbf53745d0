//! A person's client: a session, JSON, and the event stream.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures::StreamExt as _;
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;

/// A logged-in client.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    csrf: String,
}

/// One server-sent event.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Its id, when it is a state event.
    pub id: Option<String>,
    /// `task.opened` …
    pub event: String,
    /// Its data.
    pub data: Value,
}

impl Client {
    /// A client that is nobody.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn nobody(url: &str) -> Result<Self> {
        let http = reqwest::Client::builder().cookie_store(true).no_proxy().build()?;
        Ok(Self { http, url: url.to_owned(), csrf: String::new() })
    }

    /// Logs in.
    ///
    /// # Errors
    /// When the hub refuses.
    pub async fn log_in(url: &str, login: &str, password: &str) -> Result<Self> {
        let mut client = Self::nobody(url)?;
        let body = serde_json::json!({ "login": login, "password": password });
        let response = client.http.post(format!("{url}/api/v1/session")).json(&body).send().await?;
        if !response.status().is_success() {
            bail!("failed to log in as {login}: {}", response.text().await?);
        }
        let session: Value = response.json().await?;
        client.csrf = session["csrf"].as_str().context("a session without csrf")?.to_owned();
        Ok(client)
    }

    /// Sends any request.
    ///
    /// # Errors
    /// When the hub does not answer.
    pub async fn send(&self, method: &str, path: &str, body: Option<Value>) -> Result<Response> {
        let method = Method::from_bytes(method.as_bytes())?;
        let mut request =
            self.http.request(method, format!("{}{path}", self.url)).header("x-csrf-token", &self.csrf);
        if let Some(body) = body {
            request = request.json(&body);
        }
        Ok(request.send().await?)
    }

    /// The status and JSON of an answer.
    ///
    /// # Errors
    /// When the hub does not answer with JSON.
    pub async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Result<(StatusCode, Value)> {
        let response = self.send(method, path, body).await?;
        let status = response.status();
        let text = response.text().await?;
        let json = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).with_context(|| text.clone())?
        };
        Ok((status, json))
    }

    /// Reads something that must be there.
    ///
    /// # Errors
    /// When it is not.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let (status, json) = self.call("GET", path, None).await?;
        if !status.is_success() {
            bail!("GET {path}: {status} {json}");
        }
        Ok(json)
    }

    /// Sends a photo; its id.
    ///
    /// # Errors
    /// When the hub refuses it.
    pub async fn send_photo(&self, bytes: Vec<u8>) -> Result<String> {
        let request = self
            .http
            .post(format!("{}/api/v1/files", self.url))
            .header("x-csrf-token", &self.csrf)
            .header("content-type", "image/png")
            .body(bytes);
        let response = request.send().await?;
        let status = response.status();
        let json: Value = response.json().await?;
        if status != StatusCode::CREATED {
            bail!("the photo was refused: {status} {json}");
        }
        Ok(json["id"].as_str().context("a file without id")?.to_owned())
    }

    /// Opens the event stream; it has begun when this returns.
    ///
    /// # Errors
    /// When the hub refuses.
    pub async fn events(&self, last_event_id: Option<&str>) -> Result<Stream> {
        let mut request = self.http.get(format!("{}/api/v1/events", self.url));
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await?;
        if !response.status().is_success() {
            bail!("the event stream was refused: {}", response.status());
        }
        Ok(Stream { bytes: response.bytes_stream().boxed(), buffer: Vec::new() })
    }
}

/// An open event stream.
pub struct Stream {
    bytes: futures::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    /// What came and is no whole event yet: bytes, since a chunk may end inside a Chinese character.
    buffer: Vec<u8>,
}

impl Stream {
    /// The next event; `None` when the hub ended the stream.
    ///
    /// # Errors
    /// When the stream breaks or is no event stream.
    pub async fn next(&mut self) -> Result<Option<Told>> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|w| w == b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
                let block = String::from_utf8(block)?;
                let field = |name: &str| {
                    block.lines().find_map(|l| l.strip_prefix(name)).map(|v| v.trim_start().to_owned())
                };
                let Some(event) = field("event:") else { continue };
                let data = serde_json::from_str(&field("data:").unwrap_or_default()).unwrap_or(Value::Null);
                return Ok(Some(Told { id: field("id:"), event, data }));
            }
            match self.bytes.next().await {
                None => return Ok(None),
                Some(chunk) => self.buffer.extend_from_slice(&chunk?),
            }
        }
    }

    /// The next event of one of these kinds, within `bound`.
    ///
    /// # Errors
    /// When none comes.
    pub async fn wait_for(&mut self, kind: &str, bound: Duration) -> Result<Told> {
        let wait = async {
            loop {
                match self.next().await? {
                    Some(told) if told.event == kind => return Ok(told),
                    Some(_) => {}
                    None => bail!("the stream ended before {kind}"),
                }
            }
        };
        tokio::time::timeout(bound, wait).await.with_context(|| format!("no {kind} within {bound:?}"))?
    }
}
