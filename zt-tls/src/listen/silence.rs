//! A stream that does not wait for ever for its peer to say something.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Breaks when the peer says nothing at first for too long. It keeps an `H` for as long as it is
/// there, in whose hands it may be by then.
pub(crate) struct Silence<IO, H> {
    io: IO,
    // How long the peer may take to say anything; nothing once it did.
    silence: Option<Pin<Box<Sleep>>>,
    _held: H,
}

impl<IO, H> Silence<IO, H> {
    pub(crate) fn new(io: IO, held: H, silence: Duration) -> Self {
        Self { io, silence: Some(Box::pin(sleep(silence))), _held: held }
    }

    pub(crate) const fn inner(&self) -> &IO {
        &self.io
    }
}

impl<IO: AsyncRead + Unpin, H: Unpin> AsyncRead for Silence<IO, H> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if Pin::new(&mut self.io).poll_read(cx, buf)?.is_ready() {
            self.silence = None;
            return Poll::Ready(Ok(()));
        }
        match self.silence.as_mut().map(|silence| silence.as_mut().poll(cx)) {
            Some(Poll::Ready(())) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Some(Poll::Pending) | None => Poll::Pending,
        }
    }
}

impl<IO: AsyncWrite + Unpin, H: Unpin> AsyncWrite for Silence<IO, H> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
