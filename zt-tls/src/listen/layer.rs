//! Makes of what a server hands on what requests are to carry.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::facts::Connected;

/// gRPC's UNAVAILABLE: to be tried again, on another connection.
const UNAVAILABLE: HeaderValue = HeaderValue::from_static("14");
/// gRPC's INTERNAL.
const INTERNAL: HeaderValue = HeaderValue::from_static("13");
const GRPC: &str = "application/grpc";
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// Puts the peer, the address and the lease of its connection into each request, and refuses
/// requests once the lease has ended.
///
/// It is the outermost layer. A request on a connection that has ended is answered 421, or in gRPC
/// UNAVAILABLE: whoever is still believed gets through on a new connection. A request that comes
/// without a [`Connected`] is answered 500, or in gRPC INTERNAL, as then the server is not wired to a
/// [`Listener`](super::Listener). Nothing that a client sends has any part in it.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectedLayer {}

impl ConnectedLayer {
    /// The layer.
    #[must_use]
    pub const fn new() -> Self {
        Self {}
    }
}

impl<S> Layer<S> for ConnectedLayer {
    type Service = ConnectedService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ConnectedService { inner }
    }
}

/// The service of [`ConnectedLayer`].
#[derive(Clone, Copy, Debug)]
pub struct ConnectedService<S> {
    inner: S,
}

impl<S, B, R> Service<Request<B>> for ConnectedService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ConnectedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let is_http1 = request.version() <= Version::HTTP_11;
        let is_grpc = is_grpc(request.method(), request.headers());
        let refusal = Refusal { is_grpc, is_http1, is_wired: true };
        let Some(connected) = handed_on(&request) else {
            return ConnectedFuture::refused(Refusal { is_wired: false, ..refusal });
        };
        match connected.equip(&mut request) {
            Ok(()) => ConnectedFuture {
                asked: Some(self.inner.call(request)),
                connected: is_http1.then_some(connected),
                refusal,
            },
            Err(_ended) => ConnectedFuture::refused(refusal),
        }
    }
}

fn handed_on<B>(request: &Request<B>) -> Option<Connected> {
    #[cfg(feature = "axum")]
    if let Some(axum::extract::ConnectInfo(connected)) = request.extensions().get() {
        return Some(Connected::clone(connected));
    }
    request.extensions().get().cloned()
}

/// `POST`, `Content-Type: application/grpc [("+proto" / "+json" / …)]` (gRPC over HTTP/2): not what
/// gRPC-Web says, whose clients read HTTP.
fn is_grpc(method: &Method, headers: &HeaderMap) -> bool {
    let content = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    method == Method::POST
        && content.split_at_checked(GRPC.len()).is_some_and(|(start, rest)| {
            start.eq_ignore_ascii_case(GRPC.as_bytes())
                && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
        })
}

/// How a request is refused.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    is_grpc: bool,
    is_http1: bool,
    is_wired: bool,
}

impl Refusal {
    fn answer<R: Default>(self) -> Response<R> {
        let mut answer = Response::new(R::default());
        if self.is_grpc {
            let code = if self.is_wired { UNAVAILABLE } else { INTERNAL };
            answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(GRPC));
            answer.headers_mut().insert("grpc-status", code);
        } else if self.is_wired {
            *answer.status_mut() = StatusCode::MISDIRECTED_REQUEST;
        } else {
            *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
        if self.is_http1 {
            answer.headers_mut().insert(CONNECTION, CLOSE);
        }
        answer
    }
}

pin_project! {
    /// The answer of [`ConnectedService`].
    #[derive(Debug)]
    #[must_use = "a future does nothing unless it is awaited"]
    pub struct ConnectedFuture<F> {
        #[pin]
        asked: Option<F>,
        // Of HTTP/1.1 alone: HTTP/2 clients are told by GOAWAY.
        connected: Option<Connected>,
        refusal: Refusal,
    }
}

impl<F> ConnectedFuture<F> {
    const fn refused(refusal: Refusal) -> Self {
        Self { asked: None, connected: None, refusal }
    }
}

impl<F, R, E> Future for ConnectedFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Default,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let Some(asked) = this.asked.as_pin_mut() else {
            return Poll::Ready(Ok(this.refusal.answer()));
        };
        let mut answer = ready!(asked.poll(cx))?;
        if this.connected.as_ref().is_some_and(Connected::is_leaving) {
            answer.headers_mut().insert(CONNECTION, CLOSE);
        }
        Poll::Ready(Ok(answer))
    }
}
