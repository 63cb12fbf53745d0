//! Accepts connections and owns their tasks.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::serve;
use crate::server::Shared;

/// After a failed accept (no file descriptors, mostly) the next try waits for some to close.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A listening socket that speaks TLS.
pub(crate) type Secure = (TcpListener, TlsAcceptor);

async fn accept(
    plain: &TcpListener,
    secure: Option<&Secure>,
) -> io::Result<(TcpStream, SocketAddr, Option<TlsAcceptor>)> {
    let over_tls = async {
        match secure {
            None => std::future::pending().await,
            Some((listener, acceptor)) => (listener.accept().await, acceptor.clone()),
        }
    };
    tokio::select! {
        accepted = plain.accept() => accepted.map(|(stream, peer)| (stream, peer, None)),
        (accepted, acceptor) = over_tls => accepted.map(|(stream, peer)| (stream, peer, Some(acceptor))),
    }
}

pub(crate) async fn run(plain: TcpListener, secure: Option<Secure>, shared: Arc<Shared>) {
    let room = Arc::new(Semaphore::new(shared.config.max_connections));
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            () = shared.stopping.cancelled() => break,
            Some(ended) = sessions.join_next() => note(ended),
            accepted = accept(&plain, secure.as_ref()) => match accepted {
                Ok((stream, peer, tls)) => match room.clone().try_acquire_owned() {
                    Ok(place) => {
                        let shared = shared.clone();
                        match tls {
                            None => drop(sessions.spawn(async move {
                                serve::serve(stream, shared).await;
                                drop(place);
                            })),
                            Some(acceptor) => drop(sessions.spawn(async move {
                                serve::serve_tls(stream, acceptor, shared).await;
                                drop(place);
                            })),
                        }
                    }
                    // Closed unanswered: reading its CONNECT to refuse it politely would let the
                    // connections beyond the limit take what the limit protects.
                    Err(_) => {
                        shared.meters.refused("connections-full");
                        tracing::warn!(%peer, limit = shared.config.max_connections, "connection refused, no room");
                    }
                },
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop((plain, secure));
    shared.register.stop();
    let all = async {
        while let Some(ended) = sessions.join_next().await {
            note(ended);
        }
    };
    if tokio::time::timeout(shared.config.stop_timeout, all).await.is_err() {
        tracing::warn!(left = sessions.len(), "connections cut off at stop");
        sessions.shutdown().await;
    }
}

fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a session broke; the others go on");
    }
}
