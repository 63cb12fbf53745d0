//! A small HTTP door on loopback: start a fault now, report a repair, look at the state.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /state` | [`crate::fleet::FleetState`] |
//! | `POST /faults` with a [`Fault`], `{"kind": "burst", "target": "riser-03-1"}` | 202; 404 for an unknown target |
//! | `POST /mains/{main}/repaired` | `{"repaired": true}`, `false` when it was not broken; 404 |

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::faults::Fault;
use crate::fleet::{FaultError, FleetState, Handle};

/// Opens the door; port 0 takes a free one.
///
/// # Errors
/// When the address is not loopback (anybody could break the city) or is taken.
pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
    if !address.ip().is_loopback() {
        bail!("{address} is not loopback: the control door has no lock, use 127.0.0.1");
    }
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// Serves until dropped.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, fleet: Handle) -> std::io::Result<()> {
    axum::serve(listener, router(fleet)).await
}

fn router(fleet: Handle) -> Router {
    Router::new()
        .route("/state", get(state))
        .route("/faults", post(start))
        .route("/mains/{main}/repaired", post(repaired))
        .with_state(fleet)
}

async fn state(State(fleet): State<Handle>) -> Json<FleetState> {
    Json(fleet.state())
}

async fn start(
    State(fleet): State<Handle>,
    Json(fault): Json<Fault>,
) -> Result<(StatusCode, Json<Value>), (StatusCode, Json<Value>)> {
    fleet.inject(&fault).map_err(|error| refusal(&error))?;
    tracing::info!(?fault, "a fault by the control door");
    Ok((StatusCode::ACCEPTED, Json(json!({"started": fault}))))
}

async fn repaired(
    State(fleet): State<Handle>,
    Path(main): Path<String>,
) -> Result<Json<Value>, (StatusCode, Json<Value>)> {
    let repaired = fleet.repaired(&main).map_err(|error| refusal(&error))?;
    Ok(Json(json!({"repaired": repaired})))
}

fn refusal(error: &FaultError) -> (StatusCode, Json<Value>) {
    (StatusCode::NOT_FOUND, Json(json!({"error": error.to_string()})))
}
