//! Tells the client of an HTTP/2 connection that it ends, in the name of its server.
//!
//! A server that owns its loop says GOAWAY by itself. Where the loop is somebody else's, and at the
//! client's own end, it is put between two frames of the server: the client opens no more streams
//! and finishes those that it has. Nothing else about the connection changes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

#[cfg(feature = "serve")]
use tokio::io::AsyncWrite;
#[cfg(feature = "client")]
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::time::{Sleep, sleep_until};
use zt_core::lease::{Ending, Lease};

use super::frames::{Frames, GO_AWAY};

/// When to take leave of a peer: when the lease has ended, or its end by age is near.
pub(crate) struct Leave {
    ending: Ending,
    retires: Pin<Box<Sleep>>,
    due: bool,
}

impl Leave {
    pub(crate) fn new(lease: &Lease, retires: Instant) -> Self {
        let retires = Box::pin(sleep_until(retires.into()));
        Self { ending: lease.ended(), retires, due: false }
    }

    pub(crate) fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        self.due = self.due
            || Pin::new(&mut self.ending).poll(cx).is_ready()
            || self.retires.as_mut().poll(cx).is_ready();
        self.due
    }
}

/// Watches what a server sends, and says goodbye when it is time to leave.
pub(crate) struct Farewell {
    leave: Leave,
    frames: Frames,
    said: bool,
    // What is left to be said.
    rest: &'static [u8],
    #[cfg(feature = "serve")]
    unflushed: bool,
}

impl Farewell {
    pub(crate) fn new(lease: &Lease, retires: Instant) -> Self {
        let (frames, leave) = (Frames::default(), Leave::new(lease, retires));
        Self {
            leave,
            frames,
            said: false,
            rest: &[],
            #[cfg(feature = "serve")]
            unflushed: false,
        }
    }

    /// How many bytes may pass until the goodbye; none when it is to be said now, and nothing where
    /// it need not be.
    fn until(&mut self, cx: &mut Context<'_>) -> Option<usize> {
        if !self.leave.is_due(cx) || self.frames.have_said_goodbye() && !self.said {
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

#[cfg(all(feature = "client", feature = "serve"))]
#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::task::noop_waker_ref;
    use proptest::prelude::*;
    use zt_core::lease::{Ended, Leases};
    use zt_core::time::SystemClock;

    use super::*;

    /// A frame, by its kind and flags.
    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut bytes = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        bytes.extend(std::iter::repeat_n(7, length.into()));
        bytes
    }

    /// Settings, and then answers in field blocks of several frames, and data.
    fn frames() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let block = prop::collection::vec(0_u8..40, 1..4).prop_map(|lengths| {
            let last = lengths.len().saturating_sub(1);
            let parts = lengths.iter().enumerate();
            parts
                .map(|(n, length)| {
                    frame(if n == 0 { 1 } else { 9 }, if n == last { 4 } else { 0 }, *length)
                })
                .collect::<Vec<_>>()
        });
        let data = (0_u8..200).prop_map(|length| vec![frame(0, 0, length)]);
        let rest = prop::collection::vec(prop_oneof![block, data], 0..8);
        rest.prop_map(|rest| std::iter::once(frame(4, 0, 6)).chain(rest.concat()).collect())
    }

    /// The frames of what was said, and whether a goodbye stands where none may.
    fn read(mut said: &[u8]) -> (Vec<Vec<u8>>, usize, bool) {
        let (mut frames, mut goodbyes) = (Vec::new(), 0_usize);
        let (mut open, mut misplaced) = (false, false);
        while let Some(header) = said.get(..9) {
            let (frame, rest) = said.split_at(usize::from(header[2]).saturating_add(9));
            said = rest;
            if frame == GO_AWAY {
                goodbyes = goodbyes.saturating_add(1);
                misplaced |= open || frames.is_empty();
                continue;
            }
            if matches!(header[3], 1 | 9) {
                open = header[4] & 4 == 0;
            }
            frames.push(frame.to_vec());
        }
        assert!(said.is_empty(), "a frame is cut off");
        (frames, goodbyes, misplaced)
    }

    fn lease() -> Lease {
        let leases = Leases::new(SystemClock, Duration::from_secs(3_600));
        leases.grant(|_now| Ok(())).unwrap()
    }

    fn farewell(lease: &Lease) -> Farewell {
        let later = Instant::now().checked_add(Duration::from_secs(3_600));
        Farewell::new(lease, later.unwrap())
    }

    /// Timers are of a runtime.
    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
    }

    /// Takes a few bytes at a time.
    #[derive(Default)]
    struct Sip {
        most: usize,
        taken: Vec<u8>,
    }

    impl AsyncWrite for Sip {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let now = bytes.len().min(self.most);
            self.taken.extend(&bytes[..now]);
            Poll::Ready(Ok(now))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    proptest! {
        #[test]
        fn a_server_says_goodbye_once_and_between_two_frames(
            frames in frames(), most in 1_usize..64, ends_at in 0_usize..400,
        ) {
            let (lease, all) = (lease(), frames.concat());
            let runtime = runtime();
            let _in = runtime.enter();
            let mut farewell = farewell(&lease);
            let mut sip = Sip { most, ..Sip::default() };
            let mut cx = Context::from_waker(noop_waker_ref());
            let mut done = 0;
            while done < all.len() {
                if done >= ends_at {
                    lease.end(Ended::Closed);
                }
                let Poll::Ready(Ok(n)) = farewell.poll_write(&mut sip, &mut cx, &all[done..]) else {
                    panic!("it always takes something");
                };
                done = done.saturating_add(n);
            }
            lease.end(Ended::Closed);
            prop_assert!(farewell.poll_idle(&mut sip, &mut cx).is_ready());
            let (passed, goodbyes, misplaced) = read(&sip.taken);
            prop_assert_eq!((passed, goodbyes, misplaced), (frames, 1, false));
        }

        #[test]
        fn a_client_hears_a_goodbye_once_and_between_two_frames(
            frames in frames(), most in 1_usize..64, ends_at in 0_usize..400,
        ) {
            let (lease, all) = (lease(), frames.concat());
            let runtime = runtime();
            let _in = runtime.enter();
            let mut farewell = farewell(&lease);
            let (mut heard, mut from) = (Vec::new(), &all[..]);
            let mut cx = Context::from_waker(noop_waker_ref());
            loop {
                if heard.len() >= ends_at || from.is_empty() {
                    lease.end(Ended::Closed);
                }
                let mut bytes = vec![0; most];
                let mut buf = ReadBuf::new(&mut bytes);
                prop_assert!(farewell.poll_read(&mut from, &mut cx, &mut buf).is_ready());
                if buf.filled().is_empty() {
                    break;
                }
                heard.extend(buf.filled());
            }
            let (passed, goodbyes, misplaced) = read(&heard);
            prop_assert_eq!((passed, goodbyes, misplaced), (frames, 1, false));
        }

        #[test]
        fn whatever_a_server_sends_is_handed_on_as_it_is(bytes in any::<Vec<u8>>(), most in 1_usize..64) {
            // While the lease lasts.
            let lease = lease();
            let runtime = runtime();
            let _in = runtime.enter();
            let mut farewell = farewell(&lease);
            let (mut heard, mut from) = (Vec::<u8>::new(), &bytes[..]);
            let mut cx = Context::from_waker(noop_waker_ref());
            while !from.is_empty() {
                let mut part = vec![0; most];
                let mut buf = ReadBuf::new(&mut part);
                prop_assert!(farewell.poll_read(&mut from, &mut cx, &mut buf).is_ready());
                heard.extend(buf.filled());
            }
            // And with an end after it, at most a goodbye follows.
            lease.end(Ended::Closed);
            let mut part = [0; 64];
            let mut buf = ReadBuf::new(&mut part);
            prop_assert!(farewell.poll_read(&mut from, &mut cx, &mut buf).is_ready());
            prop_assert!(buf.filled().is_empty() || buf.filled() == GO_AWAY);
            prop_assert_eq!(heard, bytes);
        }
    }

    #[test]
    fn a_server_that_has_said_goodbye_by_itself_says_no_other() {
        let lease = lease();
        let runtime = runtime();
        let _in = runtime.enter();
        let mut farewell = farewell(&lease);
        let mut sip = Sip { most: 1_000, ..Sip::default() };
        let mut cx = Context::from_waker(noop_waker_ref());
        let said = [frame(4, 0, 0), frame(7, 0, 8)].concat();
        assert!(farewell.poll_write(&mut sip, &mut cx, &said).is_ready());
        lease.end(Ended::Closed);
        assert!(farewell.poll_idle(&mut sip, &mut cx).is_ready());
        assert_eq!(sip.taken, said);
    }
}
