//! A connection from accept to CONNACK, and its last words: what is not the session itself.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;

use super::handshake::shake;
use super::link::Link;
use super::session::Session;
use super::stream::Stream;
use crate::broker::{Mailbox, Parting};
use crate::server::Shared;

/// How long a goodbye may take to be written, and how long its reader may take to close.
const GOODBYE: Duration = Duration::from_secs(5);
const LAST_READ: Duration = Duration::from_secs(1);
const LAST_READ_BYTES: u64 = 1 << 20;

/// Serves one connection until it is over.
pub(crate) async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    // Acknowledgements are small and awaited: without this they wait for the client's own ACK.
    let _ = stream.set_nodelay(true);
    let latest = Instant::now() + shared.config.connect_timeout;
    converse(Stream::Plain(stream), shared, latest).await;
}

/// Serves one connection over TLS; its handshake and CONNECT share their time.
pub(crate) async fn serve_tls(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let latest = Instant::now() + shared.config.connect_timeout;
    let accepted = tokio::select! {
        accepted = tokio::time::timeout_at(latest, acceptor.accept(stream)) => accepted,
        () = shared.stopping.cancelled() => return,
    };
    match accepted {
        Ok(Ok(stream)) => converse(Stream::Tls(Box::new(stream)), shared, latest).await,
        Ok(Err(error)) => {
            shared.meters.refused("tls");
            tracing::debug!(%error, "no tls");
        }
        Err(_) => shared.meters.refused("connect-timeout"),
    }
}

async fn converse(mut stream: Stream, shared: Arc<Shared>, latest: Instant) {
    let mut input = BytesMut::new();
    let mut seat = None;
    let shaken = {
        let mut take = |mailbox: &Arc<Mailbox>, link: &Arc<Link>| {
            seat = Some(Seat::take(&shared, mailbox, link));
        };
        // Boxed: CONNECT is read once, and its state shall not be part of every idle session.
        let shaking = Box::pin(shake(&mut stream, &mut input, &shared, &mut take));
        tokio::select! {
            shaken = tokio::time::timeout_at(latest, shaking) => shaken,
            () = shared.stopping.cancelled() => return,
        }
    };
    match (shaken, seat) {
        (Ok(Ok(welcome)), Some(seat)) => Session::new(shared, welcome, input).run(&mut stream, seat).await,
        (Ok(Ok(_)), None) => {}
        (Ok(Err(refusal)), seat) => {
            drop(seat);
            shared.meters.refused(refusal.why);
            tracing::debug!(why = refusal.why, "connection refused");
            if !refusal.answer.is_empty() {
                Box::pin(goodbye(&mut stream, &refusal.answer)).await;
            }
        }
        (Err(_), _) => shared.meters.refused("connect-timeout"),
    }
}

/// A place in register and broker, given back however the session ends.
pub(super) struct Seat {
    shared: Arc<Shared>,
    mailbox: Arc<Mailbox>,
    link: Arc<Link>,
    pub(super) parting: Parting,
}

impl Seat {
    fn take(shared: &Arc<Shared>, mailbox: &Arc<Mailbox>, link: &Arc<Link>) -> Self {
        shared.register.enter(link);
        shared.meters.connections.increment(1);
        let (shared, mailbox, link) = (shared.clone(), mailbox.clone(), link.clone());
        Self { shared, mailbox, link, parting: Parting::default() }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.register.leave(&self.link);
        self.shared.meters.connections.decrement(1);
        // Dropped with the whole gateway: nobody was lost.
        self.parting.stopping |= self.shared.stopping.is_cancelled();
        self.shared.broker.detach(&self.mailbox, &self.link, self.parting);
    }
}

/// Writes the last bytes and lets the client read them: closing a socket with unread input resets
/// the connection, and the reset overtakes what was written.
pub(super) async fn goodbye(stream: &mut Stream, last: &[u8]) {
    let said = async {
        stream.write_all(last).await?;
        stream.shutdown().await
    };
    if matches!(timeout(GOODBYE, said).await, Ok(Ok(()))) {
        let mut rest = stream.take(LAST_READ_BYTES);
        let _ = timeout(LAST_READ, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
    }
}
