//! hyper-util's client, without connections that have ended.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use http_body::Body;
use hyper_util::client::legacy::connect::{CaptureConnection, Connect, capture_connection};
use hyper_util::client::legacy::{Client, ResponseFuture};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::connection::Pooled;

/// Takes connections whose lease has ended out of the pool of the client that it wraps, so that the
/// next request of HTTP/1.1 has another one and does not fail.
#[derive(Clone, Debug)]
pub struct Leased<S> {
    inner: S,
}

impl<S> Leased<S> {
    /// Wraps a client of hyper-util whose connector is a [`PeerConnector`](super::PeerConnector).
    #[must_use]
    pub const fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<C, B> Leased<Client<C, B>>
where
    C: Connect + Clone + Send + Sync + 'static,
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Sends a request, on a connection that is kept or on a new one.
    pub fn request(&self, mut request: Request<B>) -> LeasedFuture<ResponseFuture> {
        let captured = capture_connection(&mut request);
        LeasedFuture { asked: self.inner.request(request), captured }
    }
}

impl<S, B, R> Service<Request<B>> for Leased<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = LeasedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let captured = capture_connection(&mut request);
        LeasedFuture { asked: self.inner.call(request), captured }
    }
}

pin_project! {
    /// The answer of [`Leased`].
    #[derive(Debug)]
    #[must_use = "a future does nothing unless it is awaited"]
    pub struct LeasedFuture<F> {
        #[pin]
        asked: F,
        captured: CaptureConnection,
    }
}

impl<F, R, E> Future for LeasedFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let answer = ready!(this.asked.poll(cx))?;
        if let Some(pooled) = answer.extensions().get::<Pooled>() {
            pooled.by(this.captured.clone());
        }
        Poll::Ready(Ok(answer))
    }
}
