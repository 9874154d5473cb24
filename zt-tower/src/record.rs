//! Nothing is answered before it is recorded.
//!
//! Both layers append one [`Record`] for what they refuse, and [`Authorize`] one for every
//! decision, before the service behind them is called. Where a record cannot be enqueued the
//! request is answered with 503, whatever it would have been answered with, unless the queue was
//! told to drop.
//!
//! [`Authorize`]: crate::authorize::Authorize

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, Waker, ready};

use http::request::Parts;
use http::{HeaderName, Response};
use zt_core::peer::Peer;
use zt_core::record::{Append, AppendError, Record, RecordQueue};
use zt_core::request::{Context, TraceId};
use zt_core::time::Timestamp;
use zt_core::verified::Verified;

use crate::caller::Caller;
use crate::denial::{Denial, Refusal, Respond};
use crate::telemetry;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Where records go.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Recording {
    /// Into this queue.
    Queue(RecordQueue),
    /// Nowhere, by choice.
    Off,
}

impl From<RecordQueue> for Recording {
    fn from(queue: RecordQueue) -> Self {
        Self::Queue(queue)
    }
}

impl Recording {
    /// The enqueuing of `record`, unless recording is off.
    pub(crate) fn append(&self, record: Record) -> Option<Append> {
        match self {
            Self::Queue(queue) => Some(queue.append(record)),
            Self::Off => None,
        }
    }

    /// Records a refusal of whoever calls; what is awaited then yields its answer.
    pub(crate) fn refuse<R>(
        &self,
        refusal: Refusal,
        parts: Parts,
        context: &Context,
        respond: &Arc<R>,
    ) -> Answering<R> {
        let peer = parts.extensions.get::<Verified<Peer>>();
        let record = Record::refusal(context, peer, refusal.reason());
        self.refused(record, refusal, parts, respond)
    }

    /// As [`refuse`](Self::refuse), behind a layer that has proven who calls.
    pub(crate) fn refuse_caller<R>(
        &self,
        refusal: Refusal,
        parts: Parts,
        context: &Context,
        respond: &Arc<R>,
    ) -> Answering<R> {
        let Some(caller) = parts.extensions.get::<Caller>() else {
            return self.refuse(refusal, parts, context, respond);
        };
        let record = Record::refusal(context, None, refusal.reason()).by(caller.principal());
        self.refused(record, refusal, parts, respond)
    }

    fn refused<R>(
        &self,
        record: Record,
        refusal: Refusal,
        parts: Parts,
        respond: &Arc<R>,
    ) -> Answering<R> {
        telemetry::refused(refusal.reason());
        Answering::after(self.append(record), refusal.into_denial(), parts, Arc::clone(respond))
    }
}

/// What is known about a request before anyone was asked: the time, the address of the connection, or
/// the one that a trusted proxy forwards for, and the trace. Of these the client chose the trace alone, which correlates and proves nothing
/// (H-10).
pub(crate) fn context(parts: &Parts, now: Timestamp) -> Context {
    let mut context = Context::at(now);
    let remote = parts.extensions.get::<SocketAddr>().map(SocketAddr::ip);
    if let Some(remote) = parts.extensions.get().and_then(Caller::forwarded_from).or(remote) {
        // One host is one address, whether the listener takes IPv4 alone or both.
        context = context.from_source(remote.to_canonical());
    }
    let mut traceparents = parts.headers.get_all(TRACEPARENT).iter();
    if let (Some(one), None) = (traceparents.next(), traceparents.next())
        && let Some(trace) = one.to_str().ok().and_then(TraceId::from_traceparent)
    {
        context = context.in_trace(trace);
    }
    context
}

/// Polls an append that there may be.
pub(crate) fn poll_append(
    append: &mut Option<Append>,
    cx: &mut task::Context<'_>,
) -> Poll<Result<(), AppendError>> {
    let Some(pending) = append else { return Poll::Ready(Ok(())) };
    let outcome = ready!(Pin::new(pending).poll(cx));
    *append = None;
    Poll::Ready(outcome)
}

/// What comes of an append that does not have to wait: most do not, and what is known at once needs no
/// place to be kept in until it is.
pub(crate) fn poll_at_once(append: &mut Option<Append>) -> Poll<Result<(), AppendError>> {
    // Whoever awaits it asks again, and is woken.
    poll_append(append, &mut task::Context::from_waker(Waker::noop()))
}

/// A denial that waits for its record.
pub(crate) struct Answering<R> {
    append: Option<Append>,
    denial: Denial,
    parts: Parts,
    respond: Arc<R>,
}

impl<R> Answering<R> {
    pub(crate) const fn after(
        append: Option<Append>,
        denial: Denial,
        parts: Parts,
        respond: Arc<R>,
    ) -> Self {
        Self { append, denial, parts, respond }
    }

    pub(crate) fn poll<B>(&mut self, cx: &mut task::Context<'_>) -> Poll<Response<B>>
    where
        R: Respond<B>,
    {
        if ready!(poll_append(&mut self.append, cx)).is_err() {
            self.denial = Denial::Unavailable;
        }
        Poll::Ready(self.respond.respond(&self.denial, &self.parts))
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn parts(headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_source_is_the_connections_and_no_headers() {
        let mut parts = parts(&[("x-forwarded-for", "10.9.9.9"), ("forwarded", "for=10.9.9.9")]);
        assert_eq!(context(&parts, Timestamp::EPOCH).source(), None);
        parts.extensions.insert("[::ffff:10.0.0.7]:443".parse::<SocketAddr>().unwrap());
        let source = context(&parts, Timestamp::EPOCH).source();
        assert_eq!(source.map(|ip| ip.to_string()).as_deref(), Some("10.0.0.7"));
    }

    #[test]
    fn a_trace_is_taken_from_one_header_and_not_from_two() {
        assert!(context(&parts(&[("traceparent", TRACE)]), Timestamp::EPOCH).trace().is_some());
        let two = parts(&[("traceparent", TRACE), ("traceparent", TRACE)]);
        assert!(context(&two, Timestamp::EPOCH).trace().is_none());
        let none = parts(&[("traceparent", "none")]);
        assert!(context(&none, Timestamp::EPOCH).trace().is_none());
    }
}
