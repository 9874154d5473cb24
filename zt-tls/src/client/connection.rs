//! A connection to a server, for a client that keeps it for further requests.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use hyper_util::client::legacy::connect::{self, CaptureConnection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use zt_core::lease::Lease;
use zt_core::peer::Peer;
use zt_core::time::Clock;
use zt_core::verified::Verified;

use crate::connection::{ClientStream, Farewell, Leave};

/// A stream to a server that is the one that was meant.
///
/// When its lease ends, or is about to by age, an HTTP/2 client is told that the server goes away,
/// and opens another connection for the next request; one of HTTP/1.1 is taken out of the pool of
/// [`Leased`](super::Leased). Once it has ended, a request of HTTP/1.1 is refused before its first
/// byte, and after the grace of the connector the stream breaks.
pub struct Connection<IO> {
    stream: ClientStream<IO>,
    clock: Arc<dyn Clock>,
    farewell: Option<Farewell>,
    // The rest is of HTTP/1.1, where a request begins with what is written after an answer.
    answered: bool,
    leave: Option<Leave>,
    pooled: Pooled,
}

/// Where a pool's handle on a connection is put, to take the connection out of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Pooled(Arc<OnceLock<CaptureConnection>>);

impl Pooled {
    /// Takes the handle, if it is the first.
    pub(super) fn by(&self, captured: CaptureConnection) {
        let _ = self.0.set(captured);
    }

    /// Takes the connection out of the pool, if that has shown itself.
    fn retire(&self) -> bool {
        let Some(captured) = self.0.get() else { return false };
        captured.connection_metadata().as_ref().inspect(|connected| connected.poison()).is_some()
    }
}

impl<IO> Connection<IO> {
    pub(super) fn new(stream: ClientStream<IO>, clock: Arc<dyn Clock>, is_http2: bool) -> Self {
        let (lease, retires) = (stream.lease(), stream.retires());
        let farewell = is_http2.then(|| Farewell::new(lease, retires));
        let leave = (!is_http2).then(|| Leave::new(lease, retires));
        Self { stream, clock, farewell, answered: true, leave, pooled: Pooled::default() }
    }

    /// The server.
    pub const fn peer(&self) -> &Verified<Peer> {
        self.stream.peer()
    }

    /// Whether the connection is supported still.
    #[must_use]
    pub const fn lease(&self) -> &Lease {
        self.stream.lease()
    }

    fn may_ask(&mut self) -> io::Result<()> {
        if self.farewell.is_none() && std::mem::take(&mut self.answered) {
            let asked = self.stream.lease().check(self.clock.now());
            asked.map_err(|ended| io::Error::new(io::ErrorKind::ConnectionAborted, ended))?;
        }
        Ok(())
    }
}

/// Answers carry the server's [`Verified<Peer>`](Peer) and the [`Lease`] of the connection.
impl<IO> connect::Connection for Connection<IO> {
    fn connected(&self) -> connect::Connected {
        let connected = connect::Connected::new()
            .extra(self.peer().clone())
            .extra(self.lease().clone())
            .extra(self.pooled.clone());
        if self.farewell.is_some() { connected.negotiated_h2() } else { connected }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Connection<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(farewell) = &mut this.farewell {
            return farewell.poll_read(&mut this.stream, cx, buf);
        }
        if this.leave.as_mut().is_some_and(|leave| leave.is_due(cx)) && this.pooled.retire() {
            this.leave = None;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        this.answered |= buf.filled().len() > before;
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Connection<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.may_ask()?;
        Pin::new(&mut this.stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.may_ask()?;
        Pin::new(&mut this.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl<IO> fmt::Debug for Connection<IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("stream", &self.stream).finish_non_exhaustive()
    }
}
