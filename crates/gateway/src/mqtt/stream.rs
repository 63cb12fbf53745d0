//! The socket under a session, in the clear or over TLS, and the buffers it is read into.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::io::poll_read_buf;

/// Bytes that a read may bring.
const READ: usize = 4096;

/// Below so much room a buffer grows before a read.
const READ_LOW: usize = 1024;

/// Spare buffers of a worker thread, and the largest that is spared.
const SPARES: usize = 32;
const SPARE_BYTES: usize = 16 * 1024;

thread_local! {
    static SPARE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// Gives back an empty buffer: ten thousand idle connections shall not hold ten thousand of them,
/// and a busy one shall not allocate for every read.
pub(crate) fn spare(buffer: &mut BytesMut) {
    let mut buffer = std::mem::take(buffer);
    if buffer.capacity() == 0 || buffer.capacity() > SPARE_BYTES {
        return;
    }
    buffer.clear();
    SPARE.with_borrow_mut(|spares| {
        if spares.len() < SPARES {
            spares.push(buffer);
        }
    });
}

/// Sees to it that there is room for a read.
fn make_room(buffer: &mut BytesMut) {
    if buffer.capacity() == 0
        && let Some(spared) = SPARE.with_borrow_mut(Vec::pop)
    {
        *buffer = spared;
    }
    if buffer.capacity() - buffer.len() < READ_LOW {
        buffer.reserve(READ);
    }
}

/// A connection.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Reads what is there and adds it to `input`; 0 is the end. No buffer is held while there is
    /// nothing.
    pub(crate) fn poll_read_some(
        &mut self,
        context: &mut Context<'_>,
        input: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        // A buffer is at hand for each look and given back after one that found nothing: asking for
        // readiness first and reading then would cost a second read that finds nothing, because only
        // `poll_read` knows from a short read that the socket is empty.
        make_room(input);
        let polled = match self {
            Self::Plain(stream) => poll_read_buf(Pin::new(stream), context, input),
            Self::Tls(stream) => poll_read_buf(Pin::new(stream.as_mut()), context, input),
        };
        if polled.is_pending() && input.is_empty() {
            spare(input);
        }
        polled
    }

    /// Writes from the front of `output` until it is empty and has left.
    pub(crate) fn poll_write_all(
        &mut self,
        context: &mut Context<'_>,
        output: &mut BytesMut,
    ) -> Poll<io::Result<()>> {
        while !output.is_empty() {
            let n = match self {
                Self::Plain(stream) => ready!(Pin::new(stream).poll_write(context, output))?,
                Self::Tls(stream) => ready!(Pin::new(stream.as_mut()).poll_write(context, output))?,
            };
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            output.advance(n);
        }
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    /// Reads what is there, for the handshake.
    pub(crate) async fn read_some(&mut self, input: &mut BytesMut) -> io::Result<usize> {
        std::future::poll_fn(|context| self.poll_read_some(context, input)).await
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }
}
