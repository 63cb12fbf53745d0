//! `/healthz`, `/readyz`, `/metrics`, `/api/v1/version`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use platform::http::{Access, Api, Json, Problem};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::plain;
use crate::hub::Rooms;

pub(super) fn routes(rooms: Arc<Rooms>) -> Api<()> {
    Api::new()
        .add(Access::Public, routes!(healthz))
        .add(Access::Public, routes!(readyz))
        .add(Access::Public, routes!(metrics))
        .add(Access::Public, routes!(version))
        .with_state(rooms)
}

/// Whether the process runs.
#[utoipa::path(get, path = "/healthz", tag = "operations", responses((status = 200, body = String)))]
async fn healthz() -> Response {
    plain(StatusCode::OK, "ok\n")
}

/// Whether the hub takes work: its store answers and it is not stopping.
#[utoipa::path(get, path = "/readyz", tag = "operations",
    responses((status = 200, body = String), (status = 503, body = String)))]
async fn readyz(State(rooms): State<Arc<Rooms>>) -> Response {
    if rooms.stop.is_cancelled() {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    if !rooms.store.is_ready().await {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n");
    }
    plain(StatusCode::OK, "ready\n")
}

/// Metrics for Prometheus; to callers on this machine alone, and not through a proxy.
#[utoipa::path(get, path = "/metrics", tag = "operations",
    responses((status = 200, body = String), (status = 403, body = Problem)))]
async fn metrics(State(rooms): State<Arc<Rooms>>, request: Request) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let here = peer.is_some_and(|ConnectInfo(a)| a.ip().is_loopback());
    let headers = request.headers();
    if !here || headers.contains_key("x-forwarded-for") || headers.contains_key("forwarded") {
        return Problem::forbidden("metrics are read on the hub's own machine; scrape 127.0.0.1")
            .into_response();
    }
    plain(StatusCode::OK, rooms.metrics.render())
}

/// What runs here.
#[derive(Serialize, ToSchema)]
struct Version {
    /// The hub's version.
    version: String,
    /// Whether demo accounts can log in.
    demo: bool,
    /// The city's time zone (IANA).
    time_zone: String,
    /// By how much durations in processes are sped up; 1 in production.
    process_speed: f64,
}

/// What runs here.
#[utoipa::path(get, path = "/api/v1/version", tag = "operations", responses((status = 200, body = Version)))]
async fn version(State(rooms): State<Arc<Rooms>>) -> Json<Version> {
    Json(Version {
        version: env!("CARGO_PKG_VERSION").into(),
        demo: rooms.demo,
        time_zone: rooms.config.time_zone.clone(),
        process_speed: rooms.config.process_speed,
    })
}
