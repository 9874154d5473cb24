//! One document, fetched from an authority that may be slow, broken or hostile.
//!
//! A document is taken when (T-20):
//!
//! 1. the answer is complete within the timeout, name lookup and TLS included;
//! 2. its status is 200, or 201 where something was posted: a redirect is not followed, to the same
//!    host or another;
//! 3. its content type is the expected one;
//! 4. its body has at most [`MAX_LEN`] bytes.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AGE, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use zt_core::fault::Fault;

use crate::excerpt::excerpt;
use crate::json::JsonError;
use crate::jwk::{JwkSetError, MAX_SET_LEN};
use crate::oidc::discovery::DiscoveryError;

/// The largest document that is read, in bytes (T-20).
pub const MAX_LEN: usize = MAX_SET_LEN;

const JSON: &str = "application/json";
const AGENT: &str = concat!("zt-identity/", env!("CARGO_PKG_VERSION"));

/// What an [`HttpClient`] answers with.
pub type ClientAnswer<'c> =
    Pin<Box<dyn Future<Output = Result<Response<Bytes>, ClientError>> + Send + 'c>>;
/// Why an [`HttpClient`] has no answer.
pub type ClientError = Box<dyn StdError + Send + Sync>;

/// A client of one's own that documents are fetched with: through a proxy, say.
///
/// It says what the server answered, and follows no redirect. How long it takes, and what of the
/// answer is taken, is judged here; how much of it is read is for the client to bound.
pub trait HttpClient: fmt::Debug + Send + Sync {
    /// Makes this request, and collects the answer.
    fn send(&self, request: Request<Bytes>) -> ClientAnswer<'_>;
}

/// Fetches documents over new connections: there are too few of them to keep one open.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    client: AnyClient,
    timeout: Duration,
}

#[derive(Clone, Debug)]
enum AnyClient {
    Ours(Box<Client<HttpsConnector<HttpConnector>, Full<Bytes>>>),
    Theirs(Arc<dyn HttpClient>),
}

/// A document as it arrived, and how long its server calls it fresh.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) body: Bytes,
    pub(super) fresh_for: Option<Duration>,
}

impl From<Response<Bytes>> for Document {
    fn from(answer: Response<Bytes>) -> Self {
        let fresh_for = fresh_for(answer.headers());
        Self { body: answer.into_body(), fresh_for }
    }
}

impl Fetcher {
    pub(crate) fn new(mut tls: ClientConfig, timeout: Duration) -> Self {
        // The connector sets it to what it speaks, and insists on doing so.
        tls.alpn_protocols.clear();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        let client =
            Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Self { client: AnyClient::Ours(Box::new(client)), timeout }
    }

    pub(super) fn with_client(client: Arc<dyn HttpClient>, timeout: Duration) -> Self {
        Self { client: AnyClient::Theirs(client), timeout }
    }

    /// Gets a document. Whether `url` may be asked at all is for the caller to know.
    pub(super) async fn get(&self, url: &str, types: &[&str]) -> Result<Document, FetchError> {
        let request = Request::get(url).body(Bytes::new());
        let request = request.map_err(|_| FetchError::Url { found: excerpt(url) })?;
        Ok(self.send(request, &[StatusCode::OK], types).await?.into())
    }

    /// Posts JSON, and gets what is answered. Whether `url` may be told the credential is for the
    /// caller to know.
    pub(crate) async fn post_json(
        &self,
        url: &str,
        authorization: HeaderValue,
        json: String,
    ) -> Result<Document, FetchError> {
        let request = Request::post(url)
            .header(AUTHORIZATION, authorization)
            .header(CONTENT_TYPE, JSON)
            .body(json.into());
        let request = request.map_err(|_| FetchError::Url { found: excerpt(url) })?;
        Ok(self.send(request, &[StatusCode::OK, StatusCode::CREATED], &[JSON]).await?.into())
    }

    /// Posts a form with these headers, and takes an answer in JSON that has one of these statuses.
    /// Whether `url` may be told what is in it is for the caller to know.
    pub(crate) async fn post_form(
        &self,
        url: &str,
        headers: HeaderMap,
        form: String,
        statuses: &[StatusCode],
    ) -> Result<Response<Bytes>, FetchError> {
        let mut request = Request::post(url)
            .body(form.into())
            .map_err(|_| FetchError::Url { found: excerpt(url) })?;
        *request.headers_mut() = headers;
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(CONTENT_TYPE, form);
        self.send(request, statuses, &[JSON]).await
    }

    /// Sends a request, and takes an answer that has one of these statuses and types.
    pub(crate) async fn send(
        &self,
        mut request: Request<Bytes>,
        statuses: &[StatusCode],
        types: &[&str],
    ) -> Result<Response<Bytes>, FetchError> {
        let accept = HeaderValue::try_from(types.join(", ")).map_err(unreachable)?;
        request.headers_mut().insert(ACCEPT, accept);
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let sent = tokio::time::timeout(self.timeout, self.client.send(request, statuses, types));
        sent.await.unwrap_or(Err(FetchError::Timeout { after: self.timeout }))
    }
}

impl AnyClient {
    async fn send(
        &self,
        request: Request<Bytes>,
        statuses: &[StatusCode],
        types: &[&str],
    ) -> Result<Response<Bytes>, FetchError> {
        match self {
            Self::Ours(client) => {
                let answer = client.request(request.map(Full::new)).await.map_err(unreachable)?;
                check(&answer, statuses, types)?;
                let (head, body) = answer.into_parts();
                let body = Limited::new(body, MAX_LEN).collect().await.map_err(interrupted)?;
                Ok(Response::from_parts(head, body.to_bytes()))
            }
            Self::Theirs(client) => {
                let answer = client.send(request).await.map_err(interrupted)?;
                check(&answer, statuses, types)?;
                if answer.body().len() > MAX_LEN { Err(FetchError::TooLong) } else { Ok(answer) }
            }
        }
    }
}

/// Rules 2 and 3.
fn check<B>(
    answer: &Response<B>,
    statuses: &[StatusCode],
    types: &[&str],
) -> Result<(), FetchError> {
    if !statuses.contains(&answer.status()) {
        return Err(FetchError::Status { status: answer.status().as_u16() });
    }
    check_content_type(answer.headers(), types)
}

fn unreachable(error: impl StdError + Send + Sync + 'static) -> FetchError {
    FetchError::Unreachable(Arc::new(error))
}

fn interrupted(error: Box<dyn StdError + Send + Sync>) -> FetchError {
    if error.is::<LengthLimitError>() {
        return FetchError::TooLong;
    }
    FetchError::Unreachable(error.into())
}

fn text<'h>(headers: &'h HeaderMap, name: &http::HeaderName) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The media type, whatever its parameters say (RFC 9110 §8.3.1).
fn check_content_type(headers: &HeaderMap, types: &[&str]) -> Result<(), FetchError> {
    let found = text(headers, &CONTENT_TYPE);
    let media_type = found.split(';').next().unwrap_or_default().trim();
    if types.iter().any(|expected| expected.eq_ignore_ascii_case(media_type)) {
        Ok(())
    } else {
        Err(FetchError::ContentType { found: excerpt(found) })
    }
}

/// What `Cache-Control` leaves of a document's freshness (RFC 9111 §4.2.1, §4.2.3); `None` when it
/// does not say. Between several answers the shortest counts.
fn fresh_for(headers: &HeaderMap) -> Option<Duration> {
    let directives = headers
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let max_age = directives.filter_map(|directive| max_age(directive.trim())).min()?;
    let age = text(headers, &AGE).trim().parse().map_or(Duration::ZERO, Duration::from_secs);
    Some(max_age.saturating_sub(age))
}

fn max_age(directive: &str) -> Option<Duration> {
    let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
    match name.to_ascii_lowercase().as_str() {
        "no-store" | "no-cache" => Some(Duration::ZERO),
        "max-age" => value.trim_matches('"').parse().ok().map(Duration::from_secs),
        _ => None,
    }
}

/// Why the keys of an issuer could not be fetched.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The URL of the document is not one.
    #[error("{found:?} is not a URL")]
    Url {
        /// The URL, cut.
        found: String,
    },
    /// There was no answer, or it broke off.
    #[error("the server cannot be reached")]
    Unreachable(#[source] Arc<dyn StdError + Send + Sync>),
    /// The answer took too long.
    #[error("no complete answer within {after:?}")]
    Timeout {
        /// How long was waited.
        after: Duration,
    },
    /// The answer has another status than was expected; redirects are not followed.
    #[error("the server answered with status {status}")]
    Status {
        /// The status.
        status: u16,
    },
    /// The answer is of another type.
    #[error("the document is of the type {found:?}")]
    ContentType {
        /// Its content type, cut.
        found: String,
    },
    /// The answer is longer than [`MAX_LEN`].
    #[error("the document is longer than {MAX_LEN} bytes")]
    TooLong,
    /// The discovery document is not JSON that is accepted.
    #[error("the discovery document is not JSON that is accepted")]
    Discovery(#[source] JsonError),
    /// The discovery document is that of another issuer.
    #[error("the discovery document is that of the issuer {found:?}")]
    OtherIssuer {
        /// Its issuer, cut; empty when it names none.
        found: String,
    },
    /// The discovery document names no place for keys that may be asked.
    #[error("the discovery document has no jwks_uri that may be asked: {found:?}")]
    KeysUrl {
        /// What it names, cut; empty when it names nothing.
        found: String,
    },
    /// The key set is not one.
    #[error("the key set is not one")]
    Keys(#[from] JwkSetError),
}

impl From<DiscoveryError> for FetchError {
    fn from(error: DiscoveryError) -> Self {
        match error {
            DiscoveryError::TooLong { .. } => Self::TooLong,
            DiscoveryError::Json(error) => Self::Discovery(error),
            DiscoveryError::OtherIssuer { found } => Self::OtherIssuer { found },
            DiscoveryError::KeysUrl { found } => Self::KeysUrl { found },
        }
    }
}

impl FetchError {
    /// Whose fault it is: that of the authority.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Authority
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn cache_control_says_how_long_a_document_is_fresh() {
        for (cache_control, age, expected) in [
            (&[][..], "", None),
            (&["public"], "", None),
            (&["max-age=x"], "", None),
            (&["public, max-age=300, must-revalidate"], "", Some(300)),
            (&["Max-Age=\"300\""], "", Some(300)),
            (&["max-age=300", "max-age=60"], "", Some(60)),
            (&["max-age=300, no-cache"], "", Some(0)),
            (&["no-store"], "", Some(0)),
            (&["max-age=300"], "100", Some(200)),
            (&["max-age=300"], "400", Some(0)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(AGE, HeaderValue::from_static(age));
            for value in cache_control {
                headers.append(CACHE_CONTROL, HeaderValue::from_static(value));
            }
            assert_eq!(fresh_for(&headers), expected.map(Duration::from_secs), "{cache_control:?}");
        }
    }
}
