//! One document, fetched from an endpoint that may be slow, broken or hostile.
//!
//! What `zt-identity` fetches of issuers is of another size and type, and follows no redirect. And a
//! fetch by an X509-SVID is one handshake under one bundle: no connection is kept, or shared with a
//! fetch that began under another.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST, LOCATION, USER_AGENT};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use zt_identity::bundle::{MAX_BUNDLE_LEN, MEDIA_TYPE};

use super::error::FetchError;
use super::url::EndpointUrl;

/// How many redirects are followed in one fetch.
pub const MAX_REDIRECTS: usize = 5;

/// How much of an answer comes before its body, in bytes.
const MAX_HEAD_LEN: usize = 16 * 1024;
const AGENT: &str = concat!("zt-tls/", env!("CARGO_PKG_VERSION"));

/// What a server answered.
enum Answer {
    Document(Bytes),
    Elsewhere(EndpointUrl),
}

/// The document at this URL, complete within `limit`, redirects included.
pub(super) async fn fetch(
    config: Arc<ClientConfig>,
    url: &EndpointUrl,
    limit: Duration,
) -> Result<Bytes, FetchError> {
    let fetched = tokio::time::timeout(limit, follow(config, url));
    fetched.await.unwrap_or(Err(FetchError::Timeout { after: limit }))
}

async fn follow(config: Arc<ClientConfig>, url: &EndpointUrl) -> Result<Bytes, FetchError> {
    let mut at = url.clone();
    for _ in 0..=MAX_REDIRECTS {
        match get(Arc::clone(&config), &at).await? {
            Answer::Document(document) => return Ok(document),
            Answer::Elsewhere(next) => at = next,
        }
    }
    Err(FetchError::TooManyRedirects)
}

async fn get(config: Arc<ClientConfig>, url: &EndpointUrl) -> Result<Answer, FetchError> {
    let name = url.server_name().map_err(|error| FetchError::redirect(url.as_str(), error))?;
    let stream = TcpStream::connect((url.host(), url.port())).await.map_err(unreachable)?;
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(tls)?;
    let handshake =
        http1::Builder::new().max_buf_size(MAX_HEAD_LEN).handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(http)?;
    // Ends with this fetch.
    let mut connections = JoinSet::new();
    connections.spawn(connection);
    let answer = sender.send_request(request(url)?).await.map_err(http)?;
    read(url, answer).await
}

/// F-08.
fn request(url: &EndpointUrl) -> Result<Request<Empty<Bytes>>, FetchError> {
    Request::get(url.path_and_query())
        .header(HOST, url.authority())
        .header(ACCEPT, MEDIA_TYPE)
        .header(USER_AGENT, AGENT)
        .body(Empty::new())
        .map_err(|error| FetchError::Http(Arc::new(error)))
}

async fn read(url: &EndpointUrl, answer: Response<Incoming>) -> Result<Answer, FetchError> {
    match answer.status() {
        StatusCode::OK => {
            let body = Limited::new(answer.into_body(), MAX_BUNDLE_LEN).collect();
            Ok(Answer::Document(body.await.map_err(interrupted)?.to_bytes()))
        }
        StatusCode::MOVED_PERMANENTLY
        | StatusCode::FOUND
        | StatusCode::SEE_OTHER
        | StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT => location(url, answer.headers()).map(Answer::Elsewhere),
        other => Err(FetchError::Status { status: other.as_u16() }),
    }
}

/// F-09: one place, which is one that an endpoint may be at.
fn location(url: &EndpointUrl, headers: &HeaderMap) -> Result<EndpointUrl, FetchError> {
    let mut locations = headers.get_all(LOCATION).iter();
    let (Some(location), None) = (locations.next(), locations.next()) else {
        return Err(FetchError::NoLocation);
    };
    let location = location.to_str().map_err(|_| FetchError::NoLocation)?;
    url.redirect(location).map_err(|error| FetchError::redirect(location, error))
}

fn unreachable(error: io::Error) -> FetchError {
    FetchError::Unreachable(Arc::new(error))
}

fn tls(error: io::Error) -> FetchError {
    FetchError::Tls(Arc::new(error))
}

fn http(error: hyper::Error) -> FetchError {
    FetchError::Http(Arc::new(error))
}

fn interrupted(error: Box<dyn std::error::Error + Send + Sync>) -> FetchError {
    if error.is::<LengthLimitError>() {
        FetchError::TooLong
    } else {
        FetchError::Http(error.into())
    }
}
