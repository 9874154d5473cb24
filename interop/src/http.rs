//! A small client over a stream that is there already, and a service that says who called.

use std::convert::Infallible;
use std::future::ready;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use zt_core::peer::Peer;
use zt_core::verified::Verified;

/// How long the path `/slow` takes to answer.
pub const SLOW: Duration = Duration::from_millis(1_500);

/// One connection of a client. A clone of one that speaks HTTP/2 shares it.
#[derive(Debug)]
pub enum Connection {
    /// HTTP/1.1: one request after the other.
    One(http1::SendRequest<Empty<Bytes>>),
    /// HTTP/2.
    Two(http2::SendRequest<Empty<Bytes>>),
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub text: String,
}

impl Connection {
    /// Begins to speak HTTP/1.1.
    ///
    /// # Errors
    ///
    /// When the stream breaks.
    pub async fn http1<IO>(stream: IO) -> hyper::Result<Self>
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self::One(sender))
    }

    /// Begins to speak HTTP/2.
    ///
    /// # Errors
    ///
    /// When the stream breaks.
    pub async fn http2<IO>(stream: IO) -> hyper::Result<Self>
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = handshake.await?;
        tokio::spawn(connection);
        Ok(Self::Two(sender))
    }

    /// Asks for a path.
    ///
    /// # Errors
    ///
    /// When no whole answer comes.
    pub async fn get(&mut self, path: &str) -> hyper::Result<Answer> {
        let request = Request::get(path).header("host", "localhost");
        let request = request.body(Empty::new()).expect("a path");
        let response = match self {
            Self::One(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Self::Two(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer { status: parts.status, headers: parts.headers, text })
    }

    /// Another handle on a connection that speaks HTTP/2.
    #[must_use]
    pub fn share(&self) -> Option<Self> {
        match self {
            Self::One(_) => None,
            Self::Two(sender) => Some(Self::Two(sender.clone())),
        }
    }

    /// Whether the other end has said that it takes nothing more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        match self {
            Self::One(sender) => sender.is_closed(),
            Self::Two(sender) => sender.is_closed(),
        }
    }
}

/// Answers with the SPIFFE ID of the caller, at `/slow` after [`SLOW`].
///
/// # Errors
///
/// None.
pub async fn who_calls(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let peer = request.extensions().get::<Verified<Peer>>();
    let text = peer.map_or_else(String::new, |peer| peer.id().to_string());
    if request.uri().path() == "/slow" {
        tokio::time::sleep(SLOW).await;
    }
    ready(Ok(Response::new(Full::from(text)))).await
}
