//! A connection as a stream, with its peer and its lease.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::CommonState;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};
use zt_core::lease::{Ended, Ending, Lease};
use zt_core::peer::Peer;
use zt_core::verified::Verified;

use super::settings::Client;
use super::standing::{Open, Watched};

/// A connection that a peer opened, with that peer.
pub type ServerStream<IO, P = Verified<Peer>> = Stream<tokio_rustls::server::TlsStream<IO>, P>;

/// A connection that we opened, with the server at its other end.
pub type ClientStream<IO> = Stream<tokio_rustls::client::TlsStream<IO>, Verified<Peer>>;

/// A TLS stream `T` with a peer. It breaks for whoever holds it when its lease has ended and the
/// grace after that is over.
pub struct Stream<T, P> {
    tls: T,
    peer: P,
    lease: Lease,
    retires: std::time::Instant,
    // One for each direction, as two tasks may wait for them.
    reads: Break,
    writes: Break,
    _open: Open,
}

impl<T, P> Stream<T, P> {
    pub(super) fn new(tls: T, peer: P, watched: Watched) -> Self {
        let Watched { lease, retires, grace, _open } = watched;
        let (reads, writes) = (Break::new(&lease, grace), Break::new(&lease, grace));
        Self { tls, peer, lease, retires, reads, writes, _open }
    }

    /// The other end, as its handshake proved it.
    pub const fn peer(&self) -> &P {
        &self.peer
    }

    /// Whether the connection is supported still. Whoever answers requests on it asks before each.
    #[must_use]
    pub const fn lease(&self) -> &Lease {
        &self.lease
    }

    /// When to begin to take leave of the peer, so that none of its requests meets the end of the
    /// lease by age: as long before that as the grace, at most half of the lease. `serve` tells
    /// HTTP/2 peers to go away then, and closes connections of HTTP/1.1 after the request under way.
    #[must_use]
    pub const fn retires(&self) -> std::time::Instant {
        self.retires
    }
}

impl<T: Tls, P> Stream<T, P> {
    /// The protocol that both ends agreed on (ALPN).
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.tls.state().alpn_protocol()
    }

    /// The version of TLS that is spoken.
    #[must_use]
    pub fn version(&self) -> Option<rustls::ProtocolVersion> {
        self.tls.state().protocol_version()
    }

    /// What binds a credential to this connection and to no other: `tls-exporter` (RFC 9266).
    ///
    /// # Errors
    ///
    /// When TLS cannot derive it, which for a finished handshake does not happen.
    pub fn channel_binding(&self) -> Result<ChannelBinding, rustls::Error> {
        self.tls.exporter(b"EXPORTER-Channel-Binding", &[]).map(ChannelBinding)
    }
}

/// What both ends of one connection know, and nobody else does (RFC 9266 §2).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ChannelBinding([u8; 32]);

impl ChannelBinding {
    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for ChannelBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelBinding").finish_non_exhaustive()
    }
}

/// The TLS stream of a server or of a client.
pub trait Tls {
    /// What both ends agreed on.
    fn state(&self) -> &CommonState;

    /// Key material that only the two ends of this connection can derive (RFC 8446 §7.5).
    ///
    /// # Errors
    ///
    /// When TLS cannot derive it, as before the handshake is done.
    fn exporter(&self, label: &[u8], context: &[u8]) -> Result<[u8; 32], rustls::Error>;
}

macro_rules! tls {
    ($($end:ident)+) => {$(
        impl<IO> Tls for tokio_rustls::$end::TlsStream<IO> {
            fn state(&self) -> &CommonState {
                self.get_ref().1
            }

            fn exporter(&self, label: &[u8], context: &[u8]) -> Result<[u8; 32], rustls::Error> {
                self.get_ref().1.export_keying_material([0; 32], label, Some(context))
            }
        }
    )+};
}

tls! { server client }

/// Breaks one direction of a stream.
struct Break {
    ending: Ending,
    grace: Duration,
    dying: Option<Pin<Box<Sleep>>>,
    over: bool,
}

impl Break {
    fn new(lease: &Lease, grace: Duration) -> Self {
        Self { ending: lease.ended(), grace, dying: None, over: false }
    }

    fn check(&mut self, lease: &Lease, cx: &mut Context<'_>) -> io::Result<()> {
        if !self.over {
            if self.dying.is_none() {
                let Poll::Ready(why) = Pin::new(&mut self.ending).poll(cx) else { return Ok(()) };
                self.dying = self.rest(why, lease).map(|until| Box::pin(sleep_until(until)));
            }
            if self.dying.as_mut().is_some_and(|dying| dying.as_mut().poll(cx).is_pending()) {
                return Ok(());
            }
            (self.over, self.dying) = (true, None);
        }
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    /// When the grace is over, if there is any.
    fn rest(&self, why: Ended, lease: &Lease) -> Option<Instant> {
        if why == Ended::Closed || self.grace.is_zero() {
            return None;
        }
        let ended = lease.ended_at().map_or_else(Instant::now, Instant::from_std);
        ended.checked_add(self.grace)
    }
}

impl<T: AsyncRead + Unpin, P: Unpin> AsyncRead for Stream<T, P> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.reads.check(&this.lease, cx)?;
        Pin::new(&mut this.tls).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin, P: Unpin> AsyncWrite for Stream<T, P> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.writes.check(&this.lease, cx)?;
        Pin::new(&mut this.tls).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.writes.check(&this.lease, cx)?;
        Pin::new(&mut this.tls).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.writes.check(&this.lease, cx)?;
        Pin::new(&mut this.tls).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.writes.check(&this.lease, cx)?;
        Pin::new(&mut this.tls).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }
}

impl<T, P: Client> fmt::Debug for Stream<T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("peer", &self.peer.proven().map(|peer| peer.id()))
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}
