//! Tests of the platform through its public face, on SQLite and PostgreSQL.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod accounts;
mod audit;
mod carriers;
mod import;
mod notices;
mod notifications;
mod personal;
mod schema;
mod second_factor;
mod sessions;
mod tokens;

use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use platform::{Platform, PlatformConfig};
use store::Store;
use tower::ServiceExt as _;

pub async fn open(store: &Store, folder: &Path) -> Arc<Platform> {
    let config = PlatformConfig { files: folder.to_owned(), ..PlatformConfig::default() };
    Platform::open(store.clone(), &[], config).await.unwrap()
}

pub async fn send(router: &axum::Router, request: Request<Body>) -> Response {
    router.clone().oneshot(request).await.unwrap()
}

pub async fn get(router: &axum::Router, path: &str) -> (StatusCode, serde_json::Value) {
    read(send(router, Request::get(path).body(Body::empty()).unwrap()).await).await
}

pub async fn read(response: Response) -> (StatusCode, serde_json::Value) {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE).cloned();
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    if !status.is_success() {
        assert_eq!(kind.unwrap(), "application/problem+json", "{status}");
    }
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}
