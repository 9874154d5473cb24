//! A connection for a server that has a loop of its own.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use zt_core::lease::Lease;

use super::door::Arrival;
use super::facts::Connected;
use super::silence::Silence;
use crate::connection::{Client, Farewell, ServerStream};

/// A stream with its peer, as a [`Listener`](super::Listener) yields it.
///
/// When its lease ends, or is about to by age, an HTTP/2 client is told to go away. After the grace of the acceptor it
/// breaks, in whose hands it is by then.
pub struct Connection<P> {
    io: Silence<ServerStream<TcpStream, P>, OwnedSemaphorePermit>,
    connected: Connected,
    farewell: Option<Farewell>,
}

impl<P: Client> Connection<P> {
    pub(super) fn new(arrival: Arrival<P>, silence: std::time::Duration) -> Self {
        let Arrival { stream, connected, permit } = arrival;
        let is_http2 = stream.alpn() == Some(b"h2");
        let farewell = is_http2.then(|| Farewell::new(stream.lease(), stream.retires()));
        Self { io: Silence::new(stream, permit, silence), connected, farewell }
    }

    /// The other end, as its handshake proved it.
    pub const fn peer(&self) -> &P {
        self.io.inner().peer()
    }

    /// Whether the connection is supported still.
    #[must_use]
    pub const fn lease(&self) -> &Lease {
        self.io.inner().lease()
    }

    /// The protocol that both ends agreed on (ALPN).
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.io.inner().alpn()
    }
}

impl<P> Connection<P> {
    /// What its requests are to know.
    #[must_use]
    pub const fn connected(&self) -> &Connected {
        &self.connected
    }

    /// Where it comes from.
    #[must_use]
    pub fn from(&self) -> SocketAddr {
        self.connected.from()
    }
}

impl<P: Unpin> AsyncRead for Connection<P> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(farewell) = &mut this.farewell
            && let Poll::Ready(Err(error)) = farewell.poll_idle(&mut this.io, cx)
        {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut this.io).poll_read(cx, buf)
    }
}

// Not vectored: the frames of HTTP/2 are looked at one after the other.
impl<P: Unpin> AsyncWrite for Connection<P> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match &mut this.farewell {
            Some(farewell) => farewell.poll_write(&mut this.io, cx, buf),
            None => Pin::new(&mut this.io).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

impl<P> fmt::Debug for Connection<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("connected", &self.connected).finish_non_exhaustive()
    }
}
