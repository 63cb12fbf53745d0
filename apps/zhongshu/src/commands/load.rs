//! `zhongshu load FILE …`: files of observations into a running hub, with progress.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use futures::TryStreamExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use url::Url;

/// How much is read from a file at once.
const CHUNK: usize = 256 << 10;
/// How often the hub is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// How long the hub may be away while it reads: it takes an import up again after a restart.
const AWAY: Duration = Duration::from_secs(120);
/// What `--map` may name.
const FIELDS: [&str; 6] = ["thing", "datastream", "time", "value", "quality", "unit"];

/// Files to load.
#[derive(Args, Debug)]
pub struct Load {
    /// CSV (with a header) or Parquet files.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Where the hub is.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub url: Url,
    /// A token that may write, from `zhongshu token create`.
    #[arg(long, required_unless_present = "token_file")]
    pub token: Option<String>,
    /// A file that holds the token, so that it stands in no list of processes.
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub token_file: Option<PathBuf>,
    /// A column by another name: thing, datastream, time, value, quality or unit = COLUMN; may be
    /// given several times.
    #[arg(long = "map", value_name = "FIELD=COLUMN")]
    pub map: Vec<String>,
    /// What times count that are integers: s, ms, us or ns; without it they are RFC 3339.
    #[arg(long, value_name = "UNIT")]
    pub time_unit: Option<String>,
}

/// Loads the files one after the other; a line for each.
///
/// # Errors
/// The first file that could not be sent or read to its end.
pub async fn load(load: &Load) -> anyhow::Result<Vec<String>> {
    let token = match (&load.token, &load.token_file) {
        (Some(token), _) => token.clone(),
        (None, Some(file)) => std::fs::read_to_string(file)
            .with_context(|| format!("failed to read {}", file.display()))?
            .trim()
            .to_owned(),
        (None, None) => bail!("give --token or --token-file"),
    };
    let mut columns = Vec::new();
    for pair in &load.map {
        match pair.split_once('=') {
            Some((field, column)) if FIELDS.contains(&field) && !column.is_empty() => {
                columns.push((field.to_owned(), column.to_owned()));
            }
            _ => bail!("--map {pair:?} is not FIELD=COLUMN with a field of {}", FIELDS.join(", ")),
        }
    }
    columns.extend(load.time_unit.iter().map(|unit| ("time_unit".to_owned(), unit.clone())));
    let hub = Remote { http: reqwest::Client::builder().build()?, url: load.url.clone(), token };
    let mut lines = Vec::new();
    for file in &load.files {
        let line = hub.load(file, &columns).await;
        lines.push(line.with_context(|| format!("failed to load {}", file.display()))?);
    }
    Ok(lines)
}

struct Remote {
    http: reqwest::Client,
    url: Url,
    token: String,
}

impl Remote {
    async fn load(&self, file: &Path, columns: &[(String, String)]) -> anyhow::Result<String> {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let id = self.send(file, &name, columns).await?;
        let import = self.follow(&id, &name).await?;
        let number = |field: &str| import[field].as_i64().unwrap_or_default();
        let mut line = format!("{name}: {} samples, {} wrong rows", number("samples"), number("wrong"));
        for row in import["wrong_rows"].as_array().into_iter().flatten() {
            line.push_str(&format!("\n  {name}:{}: {}", row["line"], text(&row["reason"])));
        }
        match text(&import["state"]) {
            "done" => Ok(line),
            state => bail!("{state}: {} ({line})", text(&import["reason"])),
        }
    }

    async fn send(&self, file: &Path, name: &str, columns: &[(String, String)]) -> anyhow::Result<String> {
        let opened = tokio::fs::File::open(file).await?;
        let size = opened.metadata().await?.len();
        let bar = bar(size, &format!("sending {name}"));
        let sent = bar.clone();
        let body = futures::stream::try_unfold(opened, |mut file| async move {
            let mut chunk = vec![0; CHUNK];
            let read = file.read(&mut chunk).await?;
            chunk.truncate(read);
            Ok::<_, std::io::Error>((read > 0).then_some((chunk, file)))
        });
        let body = body.inspect_ok(move |chunk| sent.inc(chunk.len() as u64));
        let mut url = self.url.join("/api/v1/imports")?;
        url.query_pairs_mut().append_pair("name", name).extend_pairs(columns);
        let request = self
            .http
            .post(url)
            .header("authorization", format!("Token {}", self.token))
            .body(reqwest::Body::wrap_stream(body));
        let response = request.send().await?;
        bar.finish_and_clear();
        let (status, answer) = (response.status(), response.text().await?);
        let answer: Value = serde_json::from_str(&answer).unwrap_or(Value::String(answer));
        if !status.is_success() {
            bail!("the hub refused it: {status} {}", text(answer.get("detail").unwrap_or(&answer)));
        }
        Ok(answer["id"].as_str().context("the hub's answer has no id")?.to_owned())
    }

    /// Asks until the import has ended.
    async fn follow(&self, id: &str, name: &str) -> anyhow::Result<Value> {
        let url = self.url.join(&format!("/api/v1/imports/{id}"))?;
        let bar = bar(0, &format!("reading {name}"));
        let mut heard = Instant::now();
        loop {
            match self.ask(url.clone()).await {
                Ok(import) => {
                    heard = Instant::now();
                    bar.set_length(import["bytes"].as_u64().unwrap_or_default());
                    bar.set_position(import["bytes_read"].as_u64().unwrap_or_default());
                    if !import["finished_at"].is_null() {
                        bar.finish_and_clear();
                        return Ok(import);
                    }
                }
                Err(e) if heard.elapsed() > AWAY => return Err(e.context("the hub does not answer")),
                Err(_) => {}
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    async fn ask(&self, url: Url) -> anyhow::Result<Value> {
        let request = self.http.get(url).header("authorization", format!("Token {}", self.token));
        let text = request.send().await?.error_for_status()?.text().await?;
        Ok(serde_json::from_str(&text)?)
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A bar of bytes; invisible where standard error is no terminal.
fn bar(size: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(size).with_message(what.to_owned());
    if let Ok(style) =
        ProgressStyle::with_template("{msg} {bar:30} {bytes} of {total_bytes} ({bytes_per_sec}, {eta})")
    {
        bar.set_style(style);
    }
    bar
}
