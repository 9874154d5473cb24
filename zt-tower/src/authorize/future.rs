use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;
use zt_core::record::Append;

use super::Permitted;
use crate::denial::{Denial, Respond};
use crate::record::{Answering, poll_append};

pin_project! {
    /// The response of [`Authorize`](super::Authorize).
    ///
    /// Dropping it while the record of an allowed request waits for room takes the record back, and
    /// the service within is not called.
    pub struct ResponseFuture<S, B, R>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, S::Future, B, R>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, F, B, R> {
        // Few wait or are denied, and all are moved: what only those few need is elsewhere.
        Recording {
            waiting: Box<Waiting<S, B, R>>,
        },
        Allowed {
            #[pin]
            future: F,
            served: Served<R>,
        },
        Denied {
            answering: Box<Answering<R>>,
        },
    }
}

/// A request whose record waits for room.
struct Waiting<S, B, R> {
    append: Option<Append>,
    // Taken when it is recorded.
    next: Option<(S, Request<B>, Served<R>)>,
}

/// What is left of a request that is being served, for an answer when that panics.
pub(super) struct Served<R> {
    pub(super) permitted: Permitted,
    // By both of which a request of gRPC is known.
    pub(super) method: Method,
    pub(super) content_type: Option<HeaderValue>,
    pub(super) respond: Arc<R>,
}

impl<R> Served<R> {
    pub(super) fn answering(&self, append: Option<Append>, denial: Denial) -> Answering<R> {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = self.method.clone();
        if let Some(content_type) = &self.content_type {
            parts.headers.insert(CONTENT_TYPE, content_type.clone());
        }
        Answering::after(append, denial, parts, Arc::clone(&self.respond))
    }

    fn panicked(&self) -> Answering<R> {
        self.answering(self.permitted.panicked(), Denial::Wiring)
    }
}

impl<S, B, R> ResponseFuture<S, B, R>
where
    S: Service<Request<B>>,
{
    pub(super) fn recording(
        append: Option<Append>,
        service: S,
        request: Request<B>,
        served: Served<R>,
    ) -> Self {
        let next = Some((service, request, served));
        Self { state: State::Recording { waiting: Box::new(Waiting { append, next }) } }
    }

    pub(super) fn allowed(service: &mut S, request: Request<B>, served: Served<R>) -> Self {
        Self { state: serve(service, request, served) }
    }

    pub(super) fn denied(answering: Answering<R>) -> Self {
        Self { state: denied(answering) }
    }
}

impl<S, B, R, ResBody> Future for ResponseFuture<S, B, R>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    R: Respond<ResBody>,
{
    type Output = Result<Response<ResBody>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Allowed { future, served } => {
                    // What a panic leaves behind is dropped below.
                    match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
                        Ok(polled) => return polled,
                        Err(_panic) => denied(served.panicked()),
                    }
                }
                StateProj::Denied { answering } => return answering.poll(cx).map(Ok),
                StateProj::Recording { waiting } => {
                    let Waiting { append, next } = &mut **waiting;
                    let recorded = ready!(poll_append(append, cx));
                    // It is there: this state is left below as soon as it is taken.
                    let Some((mut service, request, served)) = next.take() else {
                        return Poll::Pending;
                    };
                    match recorded {
                        Ok(()) => serve(&mut service, request, served),
                        Err(_) => denied(served.answering(None, Denial::Unavailable)),
                    }
                }
            };
            state.set(next);
        }
    }
}

fn serve<S, B, R>(
    service: &mut S,
    request: Request<B>,
    served: Served<R>,
) -> State<S, S::Future, B, R>
where
    S: Service<Request<B>>,
{
    match catch_unwind(AssertUnwindSafe(|| service.call(request))) {
        Ok(future) => State::Allowed { future, served },
        Err(_panic) => denied(served.panicked()),
    }
}

fn denied<S, F, B, R>(answering: Answering<R>) -> State<S, F, B, R> {
    State::Denied { answering: Box::new(answering) }
}

impl<S, B, R> fmt::Debug for ResponseFuture<S, B, R>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
