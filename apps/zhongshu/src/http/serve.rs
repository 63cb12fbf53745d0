//! Connections: how many, how long a request's head may take, and an end in order.
//!
//! axum's own `serve` has neither bound, and a script that opens sockets and says nothing would
//! take the open files that devices and databases need.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use tower::{ServiceExt as _, service_fn};

/// How many connections are open at once.
const CONNECTIONS: usize = 8192;
/// How long the head of a request may take; an idle connection is closed after it.
const HEAD: Duration = Duration::from_secs(20);
/// How long requests under way may take to finish when the hub stops.
const GRACE: Duration = Duration::from_secs(10);

/// Serves until `stop`, then lets requests under way finish within a bound.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    application: Router,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let tls = tls.map(TlsAcceptor::from);
    loop {
        // No place, no accept: the kernel's own queue waits, and then refuses.
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = places.clone().acquire_owned() => match place {
                Ok(place) => place,
                Err(_) => break,
            },
        };
        let (socket, peer) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(e) => {
                    tracing::warn!(error = %e, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let service = TowerToHyperService::new(connection_service(application.clone(), peer));
        let (tls, watcher) = (tls.clone(), graceful.watcher());
        tokio::spawn(async move {
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
            builder.http2().timer(TokioTimer::new()).keep_alive_interval(HEAD);
            let ended = match tls {
                None => {
                    let connection = builder.serve_connection(TokioIo::new(socket), service);
                    watcher.watch(connection.into_owned()).await
                }
                Some(tls) => match tokio::time::timeout(HEAD, tls.accept(socket)).await {
                    Ok(Ok(socket)) => {
                        let connection = builder.serve_connection(TokioIo::new(socket), service);
                        watcher.watch(connection.into_owned()).await
                    }
                    Ok(Err(e)) => Err(e.into()),
                    Err(_) => Err("the handshake took too long".into()),
                },
            };
            // A peer that breaks off is its own business.
            if let Err(e) = ended {
                tracing::debug!(error = %e, %peer, "a connection ended badly");
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests under way were cut off after {} s", GRACE.as_secs());
    }
}

/// The application as one connection sees it: with its peer's address on every request.
fn connection_service(
    application: Router,
    peer: SocketAddr,
) -> impl tower::Service<
    hyper::Request<Incoming>,
    Response = axum::response::Response,
    Error = std::convert::Infallible,
    Future: Send,
> + Clone
+ Send
+ 'static {
    service_fn(move |request: hyper::Request<Incoming>| {
        let application = application.clone();
        async move {
            let mut request: Request = request.map(axum::body::Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            application.oneshot(request).await
        }
    })
}
