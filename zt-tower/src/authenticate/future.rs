use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;
use pin_project_lite::pin_project;

use crate::denial::Respond;
use crate::record::Answering;

pin_project! {
    /// The response of [`Authenticate`](super::Authenticate).
    pub struct ResponseFuture<F, R> {
        #[pin]
        state: State<F, R>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, R> {
        Passed {
            #[pin]
            future: F,
        },
        Refused {
            answering: Answering<R>,
        },
    }
}

impl<F, R> ResponseFuture<F, R> {
    pub(super) const fn passed(future: F) -> Self {
        Self { state: State::Passed { future } }
    }

    pub(super) const fn refused(answering: Answering<R>) -> Self {
        Self { state: State::Refused { answering } }
    }
}

impl<F, R, B, E> Future for ResponseFuture<F, R>
where
    F: Future<Output = Result<Response<B>, E>>,
    R: Respond<B>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Passed { future } => future.poll(cx),
            StateProj::Refused { answering } => answering.poll(cx).map(Ok),
        }
    }
}

impl<F, R> fmt::Debug for ResponseFuture<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
