//! The pages, embedded in the binary.

use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use platform::http::Problem;
use rust_embed::RustEmbed;

use super::plain;

#[derive(RustEmbed)]
#[folder = "../../web/dist"]
#[allow_missing = true]
struct Pages;

/// A file of the pages; a path without one is a page of the single-page application. What looks
/// like a file of ours and is not there must be 404, or a map's worker would be fed a page.
pub(super) async fn serve(uri: Uri) -> Response {
    let path = uri.path().trim_start_matches('/');
    if path.starts_with("api/") {
        return Problem::not_found("route").into_response();
    }
    if let Some(file) = Pages::get(path).filter(|_| !path.is_empty() && path != "index.html") {
        let cache =
            if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
        let kind = file.metadata.mimetype().to_owned();
        return ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache.to_owned())], file.data)
            .into_response();
    }
    let looks_like_a_file = path.rsplit('/').next().is_some_and(|last| last.contains('.'));
    if path.starts_with("assets/") || looks_like_a_file {
        return plain(StatusCode::NOT_FOUND, "not found");
    }
    match Pages::get("index.html") {
        Some(index) => {
            let headers =
                [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
            (headers, index.data).into_response()
        }
        None => plain(
            StatusCode::NOT_FOUND,
            "this binary was built without its pages: run `make web`, then build again; the API is at /api/v1",
        ),
    }
}
