use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{AUTHORIZATION, Entry};
use http::{Request, Response};
use tower_service::Service;

use super::{AuthenticateLayer, ResponseFuture};
use crate::denial::{Problem, Respond};
use crate::record::context;

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
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    R: Respond<ResBody>,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        if let Entry::Occupied(mut authorizations) = parts.headers.entry(AUTHORIZATION) {
            // Whatever prints the headers from here on does not print a token.
            authorizations.iter_mut().for_each(|value| value.set_sensitive(true));
        }
        let now = self.layer.now();
        match self.layer.caller(&parts, now) {
            Ok(caller) => {
                parts.extensions.insert(caller);
                ResponseFuture::passed(self.inner.call(Request::from_parts(parts, body)))
            }
            Err(refusal) => {
                let context = context(&parts, now);
                let respond = &self.layer.respond;
                ResponseFuture::refused(
                    self.layer.recording.refuse(refusal, parts, &context, respond),
                )
            }
        }
    }
}
