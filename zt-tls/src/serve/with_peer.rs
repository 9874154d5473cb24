//! Equips the requests of one connection.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Request;
use pin_project_lite::pin_project;
use tower_service::Service;
use zt_core::lease::Ended;

use super::BoxError;
use crate::listen::Connected;

/// Puts peer, address and lease into every request of one connection, and refuses requests once the
/// lease has ended.
#[derive(Clone, Debug)]
pub(super) struct WithPeer<S> {
    pub(super) inner: S,
    pub(super) connected: Connected,
}

impl<S, B> Service<Request<B>> for WithPeer<S>
where
    S: Service<Request<B>>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Answer<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.connected.equip(&mut request) {
            Ok(()) => Answer::Asked { future: self.inner.call(request) },
            Err(ended) => Answer::Refused { ended },
        }
    }
}

pin_project! {
    #[project = AnswerProj]
    pub(super) enum Answer<F> {
        Asked {
            #[pin]
            future: F,
        },
        Refused {
            ended: Ended,
        },
    }
}

impl<F, T, E> Future for Answer<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            AnswerProj::Asked { future } => future.poll(cx).map_err(Into::into),
            AnswerProj::Refused { ended } => Poll::Ready(Err((*ended).into())),
        }
    }
}
