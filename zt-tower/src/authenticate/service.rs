use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, Request, Response};
use tower_service::Service;
use zt_identity::possession::eventual::Eventual;

use super::future::Next;
use super::{AuthenticateLayer, ResponseFuture};
use crate::denial::{Denial, Problem, Refusal, Respond};
use crate::telemetry::RequestSpan;

const DPOP: HeaderName = HeaderName::from_static("dpop");

/// Calls the service within for requests of proven callers only: see the [module](super).
#[derive(Clone, Debug)]
pub struct Authenticate<S, R = Problem> {
    inner: S,
    layer: Arc<AuthenticateLayer<R>>,
}

impl<S, R> Authenticate<S, R> {
    pub(super) const fn new(inner: S, layer: Arc<AuthenticateLayer<R>>) -> Self {
        Self { inner, layer }
    }
}

impl<S, R, ReqBody, ResBody> Service<Request<ReqBody>> for Authenticate<S, R>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    R: Respond<ResBody>,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqBody, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        hide(&mut parts.headers);
        let now = self.layer.now();
        let span = RequestSpan::begin(&parts);
        // One that panics here would end every request of an HTTP/2 connection.
        let caller = catch_unwind(AssertUnwindSafe(|| self.layer.caller(&parts, now)))
            .unwrap_or_else(|_| {
                Eventual::ready(Err(Refusal::new(Denial::Wiring, "authentication_panicked")))
            });
        match caller.into_ready() {
            Ok(Ok(authenticated)) => {
                self.layer.strip(&mut parts);
                let request = Request::from_parts(parts, body);
                ResponseFuture::passed(&mut self.inner, request, authenticated, span)
            }
            Ok(Err(refusal)) => ResponseFuture::refused(&self.layer, refusal, parts, now, span),
            Err(authentication) => {
                // The service that is ready is the one to call; its clone is not ready yet.
                let clone = self.inner.clone();
                let ready = mem::replace(&mut self.inner, clone);
                self.layer.strip(&mut parts);
                let request = Request::from_parts(parts, body);
                let layer = Arc::clone(&self.layer);
                let next = Next { service: ready, request, layer, now };
                ResponseFuture::waiting(authentication, next, span)
            }
        }
    }
}

/// Whatever prints the headers from here on prints no token and no proof. To look one of them up for
/// a change would make room for it.
fn hide(headers: &mut HeaderMap) {
    for (name, value) in headers.iter_mut() {
        if name == AUTHORIZATION || name == DPOP {
            value.set_sensitive(true);
        }
    }
}
