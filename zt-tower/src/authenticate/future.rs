use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::CACHE_CONTROL;
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;
use zt_core::time::Timestamp;
#[cfg(feature = "http")]
use zt_identity::outgoing::UserToken;
use zt_identity::possession::revocations::TokenStanding;

use super::AuthenticateLayer;
use super::layer::{Authenticated, Authentication};
use crate::denial::{Refusal, Respond};
use crate::record::{Answering, context};
use crate::telemetry::RequestSpan;

pin_project! {
    /// The response of [`Authenticate`](super::Authenticate).
    ///
    /// Dropping it while a replay store is asked leaves the request unserved, and the proof that
    /// came with it used up.
    pub struct ResponseFuture<S, B, R>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, S::Future, B, R>,
        span: RequestSpan,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, F, B, R> {
        // Few wait or are refused, and all are moved: what only those few need is elsewhere.
        Waiting {
            waiting: Box<Waiting<S, B, R>>,
        },
        Passed {
            #[pin]
            future: F,
            dpop_nonce: Option<HeaderValue>,
        },
        Refused {
            answering: Box<Answering<R>>,
        },
    }
}

/// A request whose sender is not known yet.
struct Waiting<S, B, R> {
    authentication: Authentication,
    // Taken when it is there.
    next: Option<Next<S, B, R>>,
}

/// What goes on once the sender of a request is known.
pub(super) struct Next<S, B, R> {
    pub(super) service: S,
    pub(super) request: Request<B>,
    pub(super) layer: Arc<AuthenticateLayer<R>>,
    pub(super) now: Timestamp,
}

impl<S, B, R> ResponseFuture<S, B, R>
where
    S: Service<Request<B>>,
{
    pub(super) fn waiting(
        authentication: Authentication,
        next: Next<S, B, R>,
        span: RequestSpan,
    ) -> Self {
        let waiting = Box::new(Waiting { authentication, next: Some(next) });
        Self { state: State::Waiting { waiting }, span }
    }

    pub(super) fn passed(
        service: &mut S,
        request: Request<B>,
        authenticated: Authenticated,
        span: RequestSpan,
    ) -> Self {
        span.caller(authenticated.caller.principal());
        Self { state: span.within(|| pass(service, request, authenticated)), span }
    }

    pub(super) fn refused(
        layer: &AuthenticateLayer<R>,
        refusal: Refusal,
        parts: Parts,
        now: Timestamp,
        span: RequestSpan,
    ) -> Self {
        Self { state: span.within(|| refuse(layer, refusal, parts, now)), span }
    }
}

fn pass<S, B, R>(
    service: &mut S,
    mut request: Request<B>,
    authenticated: Authenticated,
) -> State<S, S::Future, B, R>
where
    S: Service<Request<B>>,
{
    let Authenticated { caller, dpop_nonce, standing, extensions: more } = authenticated;
    let extensions = request.extensions_mut();
    extensions.insert(caller);
    match standing {
        Some(standing) => extensions.insert(standing),
        // One that somebody else has put there is not of this caller.
        None => extensions.remove::<TokenStanding>(),
    };
    #[cfg(feature = "http")]
    extensions.remove::<UserToken>();
    extensions.extend(more);
    State::Passed { future: service.call(request), dpop_nonce }
}

fn refuse<S, F, B, R>(
    layer: &AuthenticateLayer<R>,
    refusal: Refusal,
    parts: Parts,
    now: Timestamp,
) -> State<S, F, B, R> {
    let context = context(&parts, now);
    let answering = layer.recording.refuse(refusal, parts, &context, &layer.respond);
    State::Refused { answering: Box::new(answering) }
}

impl<S, B, R, ResBody> Future for ResponseFuture<S, B, R>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    R: Respond<ResBody>,
{
    type Output = Result<Response<ResBody>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.span.within(|| this.state.poll(cx, this.span)));
        if let Ok(response) = &response {
            this.span.end(response.status());
        }
        Poll::Ready(response)
    }
}

impl<S, B, R, ResBody> State<S, S::Future, B, R>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    R: Respond<ResBody>,
{
    fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        span: &RequestSpan,
    ) -> Poll<Result<Response<ResBody>, S::Error>> {
        let mut state = self;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Passed { future, dpop_nonce } => {
                    let response = ready!(future.poll(cx));
                    let nonce = dpop_nonce.take();
                    return Poll::Ready(response.map(|response| with_nonce(response, nonce)));
                }
                StateProj::Refused { answering } => return answering.poll(cx).map(Ok),
                StateProj::Waiting { waiting } => {
                    let Waiting { authentication, next } = &mut **waiting;
                    let outcome = ready!(Pin::new(authentication).poll(cx));
                    // It is there: this state is left below as soon as it is taken.
                    let Some(next) = next.take() else { return Poll::Pending };
                    if let Ok(authenticated) = &outcome {
                        span.caller(authenticated.caller.principal());
                    }
                    next.after(outcome)
                }
            };
            state.set(next);
        }
    }
}

impl<S, B, R> Next<S, B, R> {
    fn after(mut self, outcome: Result<Authenticated, Refusal>) -> State<S, S::Future, B, R>
    where
        S: Service<Request<B>>,
    {
        match outcome {
            Ok(authenticated) => pass(&mut self.service, self.request, authenticated),
            Err(refusal) => refuse(&self.layer, refusal, self.request.into_parts().0, self.now),
        }
    }
}

/// RFC 9449 §8.2: a response that holds a nonce is not to be kept.
fn with_nonce<B>(mut response: Response<B>, nonce: Option<HeaderValue>) -> Response<B> {
    if let Some(nonce) = nonce {
        let headers = response.headers_mut();
        headers.insert("dpop-nonce", nonce);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

impl<S, B, R> fmt::Debug for ResponseFuture<S, B, R>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
