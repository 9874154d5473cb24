use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;
use zt_core::record::Append;

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
        Recording {
            append: Option<Append>,
            // Taken when it is recorded.
            next: Option<(S, Request<B>, Arc<R>)>,
        },
        Allowed {
            #[pin]
            future: F,
        },
        Denied {
            answering: Answering<R>,
        },
    }
}

impl<S, B, R> ResponseFuture<S, B, R>
where
    S: Service<Request<B>>,
{
    pub(super) const fn recording(
        append: Append,
        service: S,
        request: Request<B>,
        respond: Arc<R>,
    ) -> Self {
        let next = Some((service, request, respond));
        Self { state: State::Recording { append: Some(append), next } }
    }

    pub(super) const fn allowed(future: S::Future) -> Self {
        Self { state: State::Allowed { future } }
    }

    pub(super) const fn denied(answering: Answering<R>) -> Self {
        Self { state: State::Denied { answering } }
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
                StateProj::Allowed { future } => return future.poll(cx),
                StateProj::Denied { answering } => return answering.poll(cx).map(Ok),
                StateProj::Recording { append, next } => {
                    let recorded = ready!(poll_append(append, cx));
                    // It is there: this state is left below as soon as it is taken.
                    let Some((service, request, respond)) = next.take() else {
                        return Poll::Pending;
                    };
                    after_recording(recorded.is_ok(), service, request, respond)
                }
            };
            state.set(next);
        }
    }
}

fn after_recording<S, B, R>(
    recorded: bool,
    mut service: S,
    request: Request<B>,
    respond: Arc<R>,
) -> State<S, S::Future, B, R>
where
    S: Service<Request<B>>,
{
    if recorded {
        return State::Allowed { future: service.call(request) };
    }
    let (parts, _) = request.into_parts();
    State::Denied { answering: Answering::after(None, Denial::Unavailable, parts, respond) }
}

impl<S, B, R> fmt::Debug for ResponseFuture<S, B, R>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
