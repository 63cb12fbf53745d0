//! `/api/v1/files`: photos in, photos out.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use model::{AreaPath, Id};
use sha2::{Digest as _, Sha256};
use utoipa_axum::router::UtoipaMethodRouterExt as _;
use utoipa_axum::routes;

use super::caller::Caller;
use super::problem::{FieldError, HttpResult, Problem};
use super::shape::Created;
use super::{Access, Api};
use crate::Platform;
use crate::file::{self, FileError, FileRef, LARGEST};

pub(super) fn routes() -> Api<Arc<Platform>> {
    Api::new()
        .add(Access::Permission("file:write"), routes!(send).layer(DefaultBodyLimit::max(LARGEST + 1)))
        .add(Access::Permission("file:read"), routes!(get))
}

/// Send a photo: the body is its bytes.
#[utoipa::path(post, path = "/api/v1/files", tag = "files",
    request_body(content = Vec<u8>, content_type = "image/jpeg"),
    responses((status = 201, body = FileRef), (status = 413, body = Problem), (status = 415, body = Problem), (status = 422, body = Problem)))]
async fn send(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> HttpResult<Created<FileRef>> {
    let body = body.map_err(|e| match e.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(format!("a file is at most {LARGEST} bytes")),
        _ => Problem::bad_request(e.body_text()),
    })?;
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let name = percent_decoded(text("x-file-name"));
    let mut context = caller.context;
    // The same key with other bytes is another file: a photo must never be taken for another.
    if let Some(key) = &mut context.idempotency_key {
        key.push_str(&format!(":{}", hex::encode(Sha256::digest(&body))));
    }
    let taken = platform.files().take(platform.store(), &context, &name, text("content-type"), body).await;
    taken.map(Created).map_err(|e| match e {
        FileError::Kind(_) => Problem::unsupported(e.to_string()),
        FileError::Size(n) if n > LARGEST => Problem::too_large(e.to_string()),
        FileError::NotThat(_) | FileError::Size(_) => Problem::invalid(vec![FieldError {
            path: String::new(),
            message: model::Text::new(
                "文件不是有效的图片，请重新拍摄",
                "the file is not a readable image; take it again",
            ),
        }]),
        FileError::Disk(reason) => {
            tracing::error!(reason, "a file was not written");
            Problem::unavailable("the hub could not write the file; try again in a moment")
        }
        FileError::Store(e) => e.into(),
    })
}

/// Header values are ASCII: a Chinese file name comes percent-encoded.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail
            .get(..2)
            .and_then(|h| std::str::from_utf8(h).ok())
            .and_then(|h| u8::from_str_radix(h, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).replace('\0', "")
}

/// The bytes of a photo.
#[utoipa::path(get, path = "/api/v1/files/{id}", tag = "files", params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "image/jpeg"), (status = 404, body = Problem)))]
async fn get(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path(id): Path<Id>,
) -> HttpResult<Response> {
    let row = file::find(platform.store(), id).await?.ok_or_else(|| Problem::not_found("file"))?;
    let seen = match row.area.as_deref().map(AreaPath::parse) {
        Some(Ok(area)) => caller.sees(&area),
        Some(Err(_)) => false,
        None => row.person == caller.person,
    };
    if !seen {
        return Err(Problem::not_found("file"));
    }
    let bytes = platform.files().read(&row).await.map_err(|e| {
        tracing::error!(error = %e, file = %id, "a file that the database names is not on disk");
        Problem::unavailable("the file cannot be read now; the operator has been told")
    })?;
    let headers = [
        (header::CONTENT_TYPE, row.media_type),
        (header::CACHE_CONTROL, "private, max-age=86400, immutable".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::CONTENT_DISPOSITION, "inline".to_owned()),
    ];
    Ok((headers, bytes).into_response())
}
