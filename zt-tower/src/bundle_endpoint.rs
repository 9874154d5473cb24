//! A service that serves our own bundle (SPIFFE Federation §5).
//!
//! It answers any path it is put at, and asks nobody who they are: what it serves is public. Put it
//! on a listener of its own that speaks `https` and demands no certificate, and not behind
//! [`ZeroTrust`](crate::zero_trust::ZeroTrust).

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::task::{Context, Poll};

use http::header::IF_NONE_MATCH;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use tower_service::Service;
use zt_identity::bundle::{BundleAnswer, BundleEndpoint};

/// Answers every request as a [`BundleEndpoint`] says, with a body of type `B`. A clone shares the
/// endpoint, so that what is published there is served at once.
///
/// ```
/// use axum::{Router, body::Body};
/// use zt_identity::bundle::{BundleEndpoint, SpiffeBundle};
/// use zt_tower::bundle_endpoint::ServeBundle;
///
/// fn federation(endpoint: BundleEndpoint) -> Router {
///     Router::new().route_service("/bundle", ServeBundle::<Body>::new(endpoint))
/// }
/// ```
pub struct ServeBundle<B> {
    endpoint: BundleEndpoint,
    body: PhantomData<fn() -> B>,
}

impl<B> ServeBundle<B> {
    /// A service for this endpoint.
    #[must_use]
    pub const fn new(endpoint: BundleEndpoint) -> Self {
        Self { endpoint, body: PhantomData }
    }
}

impl<B> Clone for ServeBundle<B> {
    fn clone(&self) -> Self {
        Self::new(self.endpoint.clone())
    }
}

impl<B> fmt::Debug for ServeBundle<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeBundle").field("endpoint", &self.endpoint).finish()
    }
}

impl<ReqBody, B: From<Vec<u8>>> Service<Request<ReqBody>> for ServeBundle<B> {
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Ready<Result<Response<B>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let known = request.headers().get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        ready(Ok(response(&self.endpoint.answer(request.method().as_str(), known))))
    }
}

fn response<B: From<Vec<u8>>>(answer: &BundleAnswer) -> Response<B> {
    let mut response = Response::new(B::from(answer.body().to_vec()));
    // Statuses and headers of an answer are sound; these would be for one that is not.
    *response.status_mut() =
        StatusCode::from_u16(answer.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in answer.headers() {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}
