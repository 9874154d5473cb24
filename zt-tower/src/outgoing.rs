//! A layer for the requests that a service makes itself (feature `http`).
//!
//! [`Outgoing`] goes around an HTTP client and shows the other service who asks, and for whom: it
//! attaches the headers of [`OutgoingTokens`] to a request when, in this order:
//!
//! 1. the request has no `Authorization` and no `DPoP` header yet: two credentials are none (T-42);
//! 2. it goes to an origin that was named as a destination;
//! 3. for a destination of the user, the [`UserToken`] of the request that is being served is in its
//!    extensions: [`AccessTokens::kept_for_requests`](crate::access_tokens::AccessTokens::kept_for_requests) puts it
//!    into those of the incoming one;
//! 4. there is a token, from the token endpoint or remembered.
//!
//! Else there is an error, and no request: never one without what it should carry. A server that
//! demands a nonce in proofs gets the request once more where its body can be
//! [repeated](OutgoingLayer::repeating); the nonce is remembered in any case.

use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::AUTHORIZATION;
use http::{HeaderName, Request, Response};
use tower_layer::Layer;
use tower_service::Service;
use zt_core::fault::Fault;
use zt_core::time::{Clock, SystemClock};
pub use zt_identity::outgoing::UserToken;
use zt_identity::outgoing::{Answered, OutgoingError, OutgoingRequest, OutgoingTokens};

const DPOP: HeaderName = HeaderName::from_static("dpop");

/// Whether a request can be sent twice.
pub trait Repeat<B>: Clone {
    /// The same body once more, or `None` where there is but one.
    fn repeat(&self, body: &B) -> Option<B>;
}

/// Nothing is sent twice.
#[derive(Clone, Copy, Debug, Default)]
pub struct Once;

impl<B> Repeat<B> for Once {
    fn repeat(&self, _: &B) -> Option<B> {
        None
    }
}

/// A body is sent twice as its clone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cloned;

impl<B: Clone> Repeat<B> for Cloned {
    fn repeat(&self, body: &B) -> Option<B> {
        Some(body.clone())
    }
}

/// Wraps a client in [`Outgoing`].
///
/// ```
/// use tower::Layer;
/// use zt_identity::outgoing::OutgoingTokens;
/// use zt_tower::outgoing::{Outgoing, OutgoingLayer};
///
/// fn client<C>(http: C, tokens: OutgoingTokens) -> Outgoing<C> {
///     OutgoingLayer::new(tokens).layer(http)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct OutgoingLayer<R = Once> {
    tokens: OutgoingTokens,
    clock: Arc<dyn Clock>,
    repeat: R,
}

impl OutgoingLayer {
    /// Attaches these tokens, and sends no request twice.
    #[must_use]
    pub fn new(tokens: OutgoingTokens) -> Self {
        Self { tokens, clock: Arc::new(SystemClock), repeat: Once }
    }

    /// The same for clients whose bodies can be cloned: where a server demands a nonce in proofs, a
    /// request is sent once more.
    #[must_use]
    pub fn repeating(self) -> OutgoingLayer<Cloned> {
        let Self { tokens, clock, .. } = self;
        OutgoingLayer { tokens, clock, repeat: Cloned }
    }
}

impl<R> OutgoingLayer<R> {
    /// Takes the time from `clock`; from the operating system by default.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Rules 1 to 4.
    async fn attach<B>(
        &self,
        request: &mut Request<B>,
        user: Option<&UserToken>,
    ) -> Result<(), OutgoingError> {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let asked = outgoing(&method, &uri, user);
        let headers = self.tokens.headers(&asked, self.clock.now()).await?;
        request.headers_mut().extend(headers);
        Ok(())
    }
}

fn outgoing<'r>(
    method: &'r http::Method,
    uri: &'r http::Uri,
    user: Option<&'r UserToken>,
) -> OutgoingRequest<'r> {
    let request = OutgoingRequest::new(method, uri);
    match user {
        Some(user) => request.for_user(user),
        None => request,
    }
}

impl<S, R: Clone> Layer<S> for OutgoingLayer<R> {
    type Service = Outgoing<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Outgoing { inner, layer: self.clone() }
    }
}

/// Shows those it calls who calls: see the [module](self).
#[derive(Clone, Debug)]
pub struct Outgoing<S, R = Once> {
    inner: S,
    layer: OutgoingLayer<R>,
}

impl<S, R, B, T> Service<Request<B>> for Outgoing<S, R>
where
    S: Service<Request<B>, Response = Response<T>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    R: Repeat<B> + Send + Sync + 'static,
    B: Send + 'static,
    T: Send + 'static,
{
    type Response = Response<T>;
    type Error = CallError<S::Error>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(CallError::Client)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The service that is ready is the one to call; its clone is not ready yet.
        let clone = self.inner.clone();
        let ready = mem::replace(&mut self.inner, clone);
        Box::pin(send(self.layer.clone(), ready, request))
    }
}

async fn send<S, R, B, T>(
    layer: OutgoingLayer<R>,
    mut client: S,
    mut request: Request<B>,
) -> Result<Response<T>, CallError<S::Error>>
where
    S: Service<Request<B>, Response = Response<T>>,
    R: Repeat<B>,
{
    if [AUTHORIZATION, DPOP].iter().any(|name| request.headers().contains_key(name)) {
        return Err(CallError::TwoCredentials);
    }
    let user = request.extensions().get::<UserToken>().cloned();
    let again = layer.repeat.repeat(request.body()).map(|body| same(&request, body));
    let (method, uri) = (request.method().clone(), request.uri().clone());
    layer.attach(&mut request, user.as_ref()).await?;
    let response = client.call(request).await.map_err(CallError::Client)?;
    let asked = outgoing(&method, &uri, user.as_ref());
    match (layer.tokens.answered(&asked, response.status(), response.headers()), again) {
        (Answered::Again, Some(mut request)) => {
            layer.attach(&mut request, user.as_ref()).await?;
            poll_fn(|cx| client.poll_ready(cx)).await.map_err(CallError::Client)?;
            let response = client.call(request).await.map_err(CallError::Client)?;
            // The next proof needs what this answer says; there is no third attempt.
            let _ = layer.tokens.answered(&asked, response.status(), response.headers());
            Ok(response)
        }
        _ => Ok(response),
    }
}

/// The same request with this body.
fn same<B>(request: &Request<B>, body: B) -> Request<B> {
    let mut again = Request::new(body);
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.version_mut() = request.version();
    again.headers_mut().clone_from(request.headers());
    again.extensions_mut().clone_from(request.extensions());
    again
}

/// Why a call was not made, or came to nothing.
#[derive(Debug)]
#[non_exhaustive]
pub enum CallError<E> {
    /// There is nothing to show: the request was not sent.
    Token(OutgoingError),
    /// The request had a credential already: it was not sent.
    TwoCredentials,
    /// The client failed.
    Client(E),
}

impl<E> CallError<E> {
    /// Whose fault it is, where the request was not sent; `None` where the client failed.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Token(error) => Some(error.fault()),
            Self::TwoCredentials => Some(Fault::Caller),
            Self::Client(_) => None,
        }
    }
}

impl<E> From<OutgoingError> for CallError<E> {
    fn from(error: OutgoingError) -> Self {
        Self::Token(error)
    }
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(error) => error.fmt(f),
            Self::TwoCredentials => f.write_str("the request has a credential already"),
            Self::Client(error) => error.fmt(f),
        }
    }
}

impl<E: Error + 'static> Error for CallError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Token(error) => error.source(),
            Self::TwoCredentials => None,
            Self::Client(error) => error.source(),
        }
    }
}
