//! Accepts connections and owns their tasks.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

use super::session;
use crate::server::Shared;

/// After a failed accept (no file descriptors, mostly) the next try waits for some to close.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub(crate) async fn run(listener: TcpListener, shared: Arc<Shared>) {
    let room = Arc::new(Semaphore::new(shared.config.max_connections));
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            () = shared.stopping.cancelled() => break,
            Some(ended) = sessions.join_next() => note(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => match room.clone().try_acquire_owned() {
                    Ok(place) => {
                        let shared = shared.clone();
                        sessions.spawn(async move {
                            session::serve(stream, shared).await;
                            drop(place);
                        });
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
    drop(listener);
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
