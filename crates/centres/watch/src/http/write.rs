//! The write endpoints of InfluxDB 1.x (`/write`) and 2.x (`/api/v2/write`), so that Telegraf and
//! the clients of either write to the hub unchanged.
//!
//! A body is answered after the commit of its last sample. Points that cannot be stored are
//! dropped and told in a partial-write error, and the others are stored. `db`, `rp`, `org` and
//! `bucket` are taken and mean nothing: the token says where its holder may write.

use std::io::Read as _;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use model::observation::{BATCH_CAP, Columns, Ingest as _, IngestError};
use platform::http::{Access, Api, ErrorShape, Json, Query, TokenCaller};
use platform::token::TokenRight;
use protocols::line_protocol::Precision;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, SemaphorePermit};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::Watch;
use crate::series::{Dropped, Points, SeriesCache};

/// The longest body as it is sent; InfluxDB's own default.
const LONGEST_BODY: usize = 25 << 20;
/// The longest body once it is unpacked.
const LONGEST_UNPACKED: usize = 64 << 20;
/// Packed bodies above this size are unpacked on a thread that may block.
const UNPACKED_HERE: usize = 64 << 10;
/// How many bytes, in KiB, the bodies of all requests may take; more wait at their sockets.
const ROOM_KIB: usize = 512 << 10;
/// By how much a packed body is assumed to grow.
const GROWTH: usize = 16;
/// A batch is handed in once it holds so many samples: one more line rarely makes it too large.
const FULL: usize = BATCH_CAP - 256;
/// When a client is asked to come again, in seconds.
const COME_AGAIN: u64 = 2;

/// What the handlers work on.
pub(super) struct WriteDoor {
    watch: Arc<Watch>,
    series: SeriesCache,
    room: Semaphore,
}

pub(super) fn routes(watch: Arc<Watch>) -> Api<()> {
    let door = WriteDoor { watch, series: SeriesCache::default(), room: Semaphore::new(ROOM_KIB) };
    Api::new()
        .add(Access::Token(TokenRight::Write, ErrorShape::InfluxV1), routes!(write_v1))
        .add(Access::Token(TokenRight::Write, ErrorShape::InfluxV2), routes!(write_v2))
        .add(Access::Public, routes!(ping))
        .add(Access::Public, routes!(health))
        .with_state(Arc::new(door))
}

/// What the query of either endpoint may hold.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// What timestamps count: ns (when absent), us, ms, s, m or h.
    precision: Option<String>,
}

/// Write points as InfluxDB 1.x takes them.
#[utoipa::path(post, path = "/write", tag = "write", params(Asked),
    request_body(content = String, content_type = "text/plain"),
    responses((status = 204), (status = 400, body = Object), (status = 401, body = Object), (status = 413, body = Object), (status = 503, body = Object)))]
async fn write_v1(
    State(door): State<Arc<WriteDoor>>,
    caller: TokenCaller,
    Query(asked): Query<Asked>,
    request: Request,
) -> Response {
    door.take(ErrorShape::InfluxV1, &caller, &asked, request).await
}

/// Write points as InfluxDB 2.x takes them.
#[utoipa::path(post, path = "/api/v2/write", tag = "write", params(Asked),
    request_body(content = String, content_type = "text/plain"),
    responses((status = 204), (status = 400, body = Object), (status = 401, body = Object), (status = 413, body = Object), (status = 503, body = Object)))]
async fn write_v2(
    State(door): State<Arc<WriteDoor>>,
    caller: TokenCaller,
    Query(asked): Query<Asked>,
    request: Request,
) -> Response {
    door.take(ErrorShape::InfluxV2, &caller, &asked, request).await
}

/// Whether somebody is there.
#[utoipa::path(get, path = "/ping", tag = "write", responses((status = 204)))]
async fn ping() -> Response {
    // Clients of 1.x look for the version of the API in a header.
    let version = concat!("1.8-zhongshu-", env!("CARGO_PKG_VERSION"));
    (StatusCode::NO_CONTENT, [(HeaderName::from_static("x-influxdb-version"), version)]).into_response()
}

/// What 2.x's clients ask before they write.
#[derive(Serialize, ToSchema)]
struct WriteHealth {
    name: &'static str,
    message: &'static str,
    status: &'static str,
    version: &'static str,
}

/// Whether points may be written.
#[utoipa::path(get, path = "/health", tag = "write", responses((status = 200, body = WriteHealth)))]
async fn health() -> Json<WriteHealth> {
    Json(WriteHealth {
        name: "zhongshu",
        message: "ready for writes",
        status: "pass",
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// Why a body was not read.
enum BadBody {
    TooLong,
    Unreadable(String),
    NoRoom,
}

impl WriteDoor {
    async fn take(
        &self,
        shape: ErrorShape,
        caller: &TokenCaller,
        asked: &Asked,
        request: Request,
    ) -> Response {
        let precision = match Precision::parse(asked.precision.as_deref().unwrap_or_default()) {
            Ok(precision) => precision,
            Err(e) => return shape.answer(StatusCode::BAD_REQUEST, &e.to_string()),
        };
        let (body, _room) = match self.read(request).await {
            Ok(read) => read,
            Err(bad) => {
                count_body("refused");
                return match bad {
                    BadBody::TooLong => shape.answer(
                        StatusCode::PAYLOAD_TOO_LARGE,
                        "request entity too large: a body is at most 25 MiB, 64 MiB unpacked",
                    ),
                    BadBody::Unreadable(why) => shape.answer(StatusCode::BAD_REQUEST, &why),
                    BadBody::NoRoom => shape.come_again(COME_AGAIN, "too many large bodies at once"),
                };
            }
        };
        let (stored, points) = match self.store(caller, &body, precision).await {
            Ok(stored) => stored,
            Err(e) => {
                count_body("failed");
                tracing::warn!(error = %e, token = caller.token.integrator.name, "a body was not stored");
                return shape.come_again(COME_AGAIN, "the hub could not store the points; send them again");
            }
        };
        metrics::counter!("zhongshu_write_samples_total").increment(stored);
        let report = points.report;
        for why in Dropped::ALL {
            let count = report.count(why);
            if count > 0 {
                metrics::counter!("zhongshu_write_dropped_total", "reason" => why.as_str()).increment(count);
            }
        }
        let dropped = report.dropped();
        if dropped == 0 {
            count_body("stored");
            return StatusCode::NO_CONTENT.into_response();
        }
        count_body("partial");
        let text = report.text();
        // As InfluxDB does: when not one line read there is nothing partial about it.
        let message = if stored == 0 && report.only_lines() {
            text
        } else {
            format!("partial write: {text} dropped={dropped}")
        };
        shape.answer(StatusCode::BAD_REQUEST, &message)
    }

    /// Hands in everything that can be stored; how many samples, and what was dropped.
    async fn store<'a>(
        &'a self,
        caller: &'a TokenCaller,
        body: &'a [u8],
        precision: Precision,
    ) -> Result<(u64, Points<'a>), IngestError> {
        let received_at = store::now();
        let mut points = Points::new(&self.watch, &self.series, &caller.token, body, precision, received_at);
        // A line of one value and its time is seldom shorter.
        let expected = (body.len() / 40).min(BATCH_CAP);
        let mut columns = Columns::with_capacity(expected);
        let mut stored = 0;
        loop {
            let more = points.run(&mut columns, FULL);
            if !columns.is_empty() && (!more || columns.len() >= FULL) {
                stored += columns.len() as u64;
                self.hand_in(std::mem::take(&mut columns)).await?;
            }
            if !more {
                return Ok((stored, points));
            }
            tokio::task::yield_now().await;
        }
    }

    async fn hand_in(&self, columns: Columns) -> Result<(), IngestError> {
        if columns.len() <= BATCH_CAP {
            return self.watch.ingest(columns, Vec::new()).await;
        }
        // The last line had hundreds of fields.
        let mut rest = columns.iter().peekable();
        while rest.peek().is_some() {
            let batch: Columns = rest.by_ref().take(BATCH_CAP).collect();
            self.watch.ingest(batch, Vec::new()).await?;
        }
        Ok(())
    }

    /// The body, unpacked, with the room that it takes.
    async fn read(&self, request: Request) -> Result<(Bytes, SemaphorePermit<'_>), BadBody> {
        let packed = is_packed(request.headers())?;
        let length = request.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|v| v.to_str().ok()?.parse().ok()).unwrap_or(LONGEST_BODY);
        if length > LONGEST_BODY {
            return Err(BadBody::TooLong);
        }
        let assumed = if packed { (length * GROWTH).min(LONGEST_UNPACKED) } else { length };
        let mut room = self.room(assumed.max(1)).await?;
        let body = axum::body::to_bytes(request.into_body(), LONGEST_BODY).await.map_err(|e| {
            // The limit is the one error that has no other cause.
            match std::error::Error::source(&e).is_some_and(|e| e.to_string().contains("limit")) {
                true => BadBody::TooLong,
                false => BadBody::Unreadable(format!("the body did not arrive: {e}")),
            }
        })?;
        if !packed {
            return Ok((body, room));
        }
        if let Some(unpacked) = unpack(body.clone(), assumed).await? {
            return Ok((unpacked, room));
        }
        // Waiting for the rest while holding room could lock everybody up.
        let rest = u32::try_from((LONGEST_UNPACKED - assumed).div_ceil(1024)).unwrap_or(u32::MAX);
        room.merge(self.room.try_acquire_many(rest).map_err(|_| BadBody::NoRoom)?);
        match unpack(body, LONGEST_UNPACKED).await? {
            Some(unpacked) => Ok((unpacked, room)),
            None => Err(BadBody::TooLong),
        }
    }

    async fn room(&self, bytes: usize) -> Result<SemaphorePermit<'_>, BadBody> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        self.room.acquire_many(kib).await.map_err(|_| BadBody::NoRoom)
    }
}

fn count_body(outcome: &'static str) {
    metrics::counter!("zhongshu_write_bodies_total", "outcome" => outcome).increment(1);
}

fn is_packed(headers: &HeaderMap) -> Result<bool, BadBody> {
    match headers.get(header::CONTENT_ENCODING).map(|v| v.as_bytes()) {
        None | Some(b"" | b"identity") => Ok(false),
        Some(b"gzip") => Ok(true),
        Some(_) => Err(BadBody::Unreadable("Content-Encoding may be gzip or identity".into())),
    }
}

/// Unpacks a body (gzip, RFC 1952); `None` when it is longer than `most`.
async fn unpack(body: Bytes, most: usize) -> Result<Option<Bytes>, BadBody> {
    let work = move || {
        let mut unpacked = Vec::with_capacity((body.len() * 4).min(most));
        let mut reader = MultiGzDecoder::new(&body[..]).take(most as u64 + 1);
        match reader.read_to_end(&mut unpacked) {
            Ok(_) if unpacked.len() > most => Ok(None),
            Ok(_) => Ok(Some(Bytes::from(unpacked))),
            Err(e) => Err(BadBody::Unreadable(format!("the body is not gzip: {e}"))),
        }
    };
    if most <= UNPACKED_HERE * GROWTH {
        return work();
    }
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|e| Err(BadBody::Unreadable(format!("the body was not unpacked: {e}"))))
}
