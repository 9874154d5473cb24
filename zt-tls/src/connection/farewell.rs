//! Tells the client of an HTTP/2 connection that it has ended, in the name of its server.
//!
//! A server that owns its loop says GOAWAY by itself. Where the loop is somebody else's, and at the
//! client's own end, it is put between two frames of the server: the client opens no more streams
//! and finishes those that it has. Nothing else about the connection changes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use zt_core::lease::{Ending, Lease};

use super::frames::{Frames, GO_AWAY};

/// Watches what a server sends, and says goodbye once a lease has ended.
pub(crate) struct Farewell {
    ending: Ending,
    frames: Frames,
    due: bool,
    said: bool,
    // What is left to be said.
    rest: &'static [u8],
    unflushed: bool,
}

impl Farewell {
    pub(crate) fn new(lease: &Lease) -> Self {
        let (frames, ending) = (Frames::default(), lease.ended());
        Self { ending, frames, due: false, said: false, rest: &[], unflushed: false }
    }

    /// How many bytes may pass until the goodbye; none when it is to be said now, and nothing where
    /// it need not be.
    fn until(&mut self, cx: &mut Context<'_>) -> Option<usize> {
        self.due = self.due || Pin::new(&mut self.ending).poll(cx).is_ready();
        if !self.due || self.frames.have_said_goodbye() && !self.said {
            return None;
        }
        if self.said {
            return (!self.rest.is_empty()).then_some(0);
        }
        let until = self.frames.until_next();
        if until == 0 {
            (self.said, self.rest) = (true, &GO_AWAY);
        }
        Some(until)
    }

    /// Writes to the client what `from` the server has to say, and the goodbye where it is due.
    #[cfg(feature = "serve")]
    pub(crate) fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        io: &mut W,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        let most = ready!(self.poll_say(io, cx))?;
        let from = from.get(..most).unwrap_or(from);
        let written = ready!(Pin::new(io).poll_write(cx, from))?;
        self.frames.pass(from.get(..written).unwrap_or_default());
        Poll::Ready(Ok(written))
    }

    /// Says goodbye if it is due, for a server that has nothing else to say.
    #[cfg(feature = "serve")]
    pub(crate) fn poll_idle<W: AsyncWrite + Unpin>(
        &mut self,
        io: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_say(io, cx))?;
        if self.unflushed {
            ready!(Pin::new(io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    #[cfg(feature = "serve")]
    fn poll_say<W: AsyncWrite + Unpin>(
        &mut self,
        io: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match self.until(cx) {
            None => return Poll::Ready(Ok(usize::MAX)),
            Some(0) => {}
            Some(most) => return Poll::Ready(Ok(most)),
        }
        while !self.rest.is_empty() {
            let written = ready!(Pin::new(&mut *io).poll_write(cx, self.rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.rest = self.rest.get(written..).unwrap_or_default();
            self.unflushed = true;
        }
        Poll::Ready(Ok(usize::MAX))
    }

    /// Reads what the server has said, and the goodbye where it is due.
    #[cfg(feature = "client")]
    pub(crate) fn poll_read<R: AsyncRead + Unpin>(
        &mut self,
        io: &mut R,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match self.until(cx) {
            Some(0) => {
                let (now, rest) = self.rest.split_at(self.rest.len().min(buf.remaining()));
                buf.put_slice(now);
                self.rest = rest;
                return Poll::Ready(Ok(()));
            }
            Some(most) => {
                let most = u64::try_from(most).unwrap_or(u64::MAX);
                ready!(Pin::new(&mut io.take(most)).poll_read(cx, buf))?;
            }
            None => ready!(Pin::new(io).poll_read(cx, buf))?,
        }
        self.frames.pass(buf.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}
