use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, Response};
use tower_service::Service;

use super::future::Served;
use super::layer::Decision;
use super::{AuthorizeLayer, ResponseFuture};
use crate::denial::{Denial, Problem, Refusal, Respond};
use crate::forwarded::{reads_as, remove_all};
use crate::record::{Answering, context, poll_at_once};

/// Headers by which a client asks for another method or path than that of its request line.
const OVERRIDES: [&str; 5] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
];

/// Calls the service within for requests that policy allows only: see the [module](super).
#[derive(Clone, Debug)]
pub struct Authorize<S, R = Problem> {
    inner: S,
    layer: Arc<AuthorizeLayer<R>>,
}

impl<S, R> Authorize<S, R> {
    pub(super) const fn new(inner: S, layer: Arc<AuthorizeLayer<R>>) -> Self {
        Self { inner, layer }
    }
}

impl<S, R, ReqBody, ResBody> Service<Request<ReqBody>> for Authorize<S, R>
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
        let AuthorizeLayer { authority, respond, .. } = &*self.layer;
        let recording = &authority.recording;
        let context = context(&parts, authority.clock.now());
        // One that panics here would end every request of an HTTP/2 connection.
        let decide = || self.layer.decide(&parts, context.clone());
        let decided = catch_unwind(AssertUnwindSafe(decide))
            .unwrap_or(Err(Refusal::new(Denial::Wiring, "decision_panicked")));
        let Decision { mut append, permitted } = match decided {
            Ok(decided) => decided,
            Err(refusal) => {
                let refused = recording.refuse_caller(refusal, parts, &context, respond);
                return ResponseFuture::denied(refused);
            }
        };
        let permitted = match permitted {
            Ok(permitted) => permitted,
            Err(denial) => {
                let answering = Answering::after(append, denial, parts, Arc::clone(respond));
                return ResponseFuture::denied(answering);
            }
        };
        let served = Served {
            permitted: permitted.clone(),
            method: parts.method.clone(),
            content_type: parts.headers.get(CONTENT_TYPE).cloned(),
            respond: Arc::clone(respond),
        };
        if permitted.put(&mut parts.extensions).is_err() {
            return ResponseFuture::denied(served.answering(append, Denial::Wiring));
        }
        take_out_overrides(&mut parts.headers);
        let request = Request::from_parts(parts, body);
        match poll_at_once(&mut append) {
            Poll::Ready(Ok(())) => ResponseFuture::allowed(&mut self.inner, request, served),
            Poll::Ready(Err(_)) => {
                ResponseFuture::denied(served.answering(None, Denial::Unavailable))
            }
            Poll::Pending => {
                // The service that is ready is the one to call; its clone is not ready yet.
                let clone = self.inner.clone();
                let ready = mem::replace(&mut self.inner, clone);
                ResponseFuture::recording(append, ready, request, served)
            }
        }
    }
}

fn take_out_overrides(headers: &mut HeaderMap) {
    remove_all(headers, |name| OVERRIDES.iter().any(|known| reads_as(name, known)));
}
