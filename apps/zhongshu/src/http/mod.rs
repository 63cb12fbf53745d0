//! The HTTP face of the hub: every room's routes, the event stream, the pages.

mod events;
mod health;
mod pages;
mod query;
mod serve;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use platform::http::{Api, Problem, RouteAccess, identify};
use tokio::sync::Semaphore;
use tower_http::compression::CompressionLayer;

pub use events::{Streams, Tail};
pub use serve::serve;

pub use platform::http::Access;

use crate::hub::Rooms;

/// How many requests are worked on at once; more are told to come again, not kept waiting.
const AT_ONCE: usize = 1024;
/// How long a request may take; event streams and arriving files are not held to it.
const BOUND: Duration = Duration::from_secs(60);

/// Every route of the hub with its access, and the OpenAPI document.
#[must_use]
pub fn api(rooms: &Arc<Rooms>) -> Api<()> {
    Api::new()
        .merge(platform::http::routes(rooms.platform.clone()))
        .merge(watch::http::routes(rooms.watch.clone()))
        .merge(watch::http::import_routes(rooms.bulk.clone()))
        .merge(watch::http::sweep_routes(rooms.sweeps.clone()))
        .merge(work::http::routes(rooms.work.clone()))
        .merge(query::routes(rooms.clone()))
        .merge(events::routes(rooms.clone()))
        .merge(health::routes(rooms.clone()))
}

/// The whole application, and the access of its routes.
pub fn application(rooms: &Arc<Rooms>) -> (Router, Vec<RouteAccess>) {
    let (router, mut document, routes) = api(rooms).split();
    document.info.title = "Zhongshu 中枢".into();
    document.info.description =
        Some("The operations hub of a city. Errors are RFC 9457 problem documents.".into());
    document.info.version = env!("CARGO_PKG_VERSION").into();
    let document: Arc<str> = document.to_json().unwrap_or_default().into();
    let router = router
        .route(
            "/api/v1/openapi.json",
            axum::routing::get(move || {
                let document = document.clone();
                async move { ([(header::CONTENT_TYPE, "application/json")], document.to_string()) }
            }),
        )
        .fallback(pages::serve)
        .layer(from_fn_with_state(rooms.platform.clone(), identify))
        .layer(DefaultBodyLimit::max(1 << 20))
        .layer(CompressionLayer::new())
        .layer(from_fn_with_state(Arc::new(Semaphore::new(AT_ONCE)), observe))
        .layer(from_fn(secure));
    (router, routes)
}

/// Times and counts a request, and bounds it and their number. Whether the hub lives is always
/// answered.
async fn observe(State(places): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    // A label must have few values: a client may invent methods.
    let method = match request.method().as_str() {
        known @ ("GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "HEAD" | "OPTIONS") => known.to_owned(),
        _ => "other".to_owned(),
    };
    let path = request.uri().path();
    let health = matches!(path, "/healthz" | "/readyz");
    // A file of gigabytes takes its time; its door has bounds of its own.
    let streaming = path == "/api/v1/events" || path == "/api/v1/imports";
    let place = places.try_acquire();
    let response = if place.is_err() && !health {
        Problem::unavailable("the hub has as many requests as it works on at once; try again in a moment")
            .into_response()
    } else if streaming {
        next.run(request).await
    } else {
        match tokio::time::timeout(BOUND, next.run(request)).await {
            Ok(response) => response,
            Err(_) => {
                Problem::unavailable("the request took longer than a minute and was given up").into_response()
            }
        }
    };
    drop(place);
    let status = response.status().as_u16();
    metrics::histogram!("zhongshu_http_request_seconds", "method" => method, "status" => status.to_string())
        .record(started.elapsed().as_secs_f64());
    response
}

/// Headers that every answer carries: what a page may load, and that nobody frames it.
async fn secure(request: Request, next: Next) -> Response {
    let is_api = request.uri().path().starts_with("/api/");
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; style-src 'self'; worker-src 'self'; img-src 'self' data: blob:; \
         object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    );
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "same-origin");
    set(HeaderName::from_static("permissions-policy"), "camera=(self), geolocation=(self), microphone=()");
    if is_api {
        set(header::CACHE_CONTROL, "no-store");
    }
    response
}

/// A plain answer with a status, for the few routes that are not JSON.
fn plain(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
