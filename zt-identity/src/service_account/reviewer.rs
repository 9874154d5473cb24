//! The API server, asked about one token.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use rustls::crypto::ring;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use zt_core::danger;
use zt_core::fault::Fault;
use zt_core::secret::Secret;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;

use super::review::{API_VERSION, KIND, TokenReview, TokenReviewAnswerError};
use super::{PROFILE, Rules, ServiceAccountError, ServiceAccountToken};
use crate::claims::{Audience, LeewayTooLong};
use crate::file;
use crate::json::Value;
use crate::jws::Jws;
use crate::oidc::fetch::{FetchError, Fetcher};
use crate::oidc::issuer::{Issuer, IssuerError};
use crate::oidc::signed::SignedTokenError;
use crate::pem::{self, PemError};

/// How long a review may take in all, unless stated otherwise.
pub const DEFAULT_REVIEW_TIMEOUT: Duration = Duration::from_secs(5);
/// How many reviews go on at a time, unless stated otherwise; more of them wait.
pub const DEFAULT_REVIEWS_AT_ONCE: usize = 16;

const PATH: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const IN_CLUSTER: &str = "https://kubernetes.default.svc";
/// Where Kubernetes puts what a pod needs to talk to the API server.
const POD_FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The longest file that is read, in bytes: far more than a token or the roots of a cluster have.
const MAX_FILE_LEN: u64 = 256 * 1024;

/// Asks the API server about each token, which knows whether its pod, node and account are still
/// there. A clone shares its limits.
///
/// [`TokenReviewer::review`] accepts a token when, in this order:
///
/// 1. it keeps all rules of a [`ServiceAccountVerifier`](super::ServiceAccountVerifier) but the
///    signature: what nobody would accept is not asked about;
/// 2. the API server, which proves its name by a certificate of the cluster's own authority over
///    TLS 1.3, answers in time, with status 200 or 201 and JSON of at most
///    [`MAX_LEN`](crate::oidc::fetch::MAX_LEN) bytes;
/// 3. it authenticates the token, for an audience of this service, as the very account and pod that
///    the token names ([`TokenReview`]).
///
/// Whatever fails refuses the token. Certificate and credential are read from their files at each
/// review, so that what the kubelet renews counts at once.
///
/// The service's own account needs the role `system:auth-delegator`. Each review is a connection of
/// its own and is remembered nowhere: an account, a pod or a node that is deleted counts no more from
/// the next request on, at the price of a round trip for each.
///
/// ```no_run
/// use zt_core::time::Timestamp;
/// use zt_identity::claims::Audience;
/// use zt_identity::oidc::issuer::Issuer;
/// use zt_identity::possession::binding::Binding;
/// use zt_identity::service_account::TokenReviewer;
///
/// # async fn request(token: &str, now: Timestamp) -> Result<(), Box<dyn std::error::Error>> {
/// let issuer = Issuer::parse("https://kubernetes.default.svc.cluster.local")?;
/// let reviewer = TokenReviewer::in_cluster(issuer, Audience::any(["orders"])?);
///
/// let account = reviewer.review(token, now).await?;
/// let caller = Binding::bearer().service_account(&account)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TokenReviewer {
    issuer: Issuer,
    rules: Rules,
    server: Server,
    timeout: Duration,
    room: Arc<Semaphore>,
}

impl TokenReviewer {
    /// A reviewer in a pod, with the files and the name of the API server that every pod has.
    /// `issuer` is who issues the cluster's tokens, their `iss`.
    #[must_use]
    pub fn in_cluster(issuer: Issuer, audience: Audience) -> Self {
        let folder = Path::new(POD_FOLDER);
        let server = Server::new(IN_CLUSTER, folder.join("ca.crt"), folder.join("token"));
        Self::of(server, issuer, audience)
    }

    /// A reviewer by the API server at this URL, which proves its name by a certificate of the
    /// authorities in the PEM file `ca`, and is told the token in the file `credential`.
    ///
    /// # Errors
    ///
    /// [`IssuerError`] when the URL is not `https`, with a host and without user, query or fragment.
    pub fn new(
        url: &str,
        ca: impl Into<PathBuf>,
        credential: impl Into<PathBuf>,
        issuer: Issuer,
        audience: Audience,
    ) -> Result<Self, IssuerError> {
        let url = Issuer::parse(url)?;
        let server = Server::new(url.as_str(), ca.into(), credential.into());
        Ok(Self::of(server, issuer, audience))
    }

    fn of(server: Server, issuer: Issuer, audience: Audience) -> Self {
        Self {
            issuer,
            rules: Rules::new(audience),
            server,
            timeout: DEFAULT_REVIEW_TIMEOUT,
            room: Arc::new(Semaphore::new(DEFAULT_REVIEWS_AT_ONCE)),
        }
    }

    /// The same reviewer, which waits this long for an answer,
    /// [`DEFAULT_REVIEW_TIMEOUT`] unless stated otherwise.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The same reviewer, which has this many reviews go on at a time, at least one, and
    /// [`DEFAULT_REVIEWS_AT_ONCE`] unless stated otherwise. Waiting counts as time of the review.
    #[must_use]
    pub fn with_reviews_at_once(self, count: usize) -> Self {
        let room = Arc::new(Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS)));
        Self { room, ..self }
    }

    /// The same reviewer with another leeway than
    /// [`DEFAULT_LEEWAY`](crate::claims::DEFAULT_LEEWAY).
    ///
    /// # Errors
    ///
    /// [`LeewayTooLong`] beyond [`MAX_LEEWAY`](crate::claims::MAX_LEEWAY).
    pub fn with_leeway(self, leeway: Duration) -> Result<Self, LeewayTooLong> {
        Ok(Self { rules: self.rules.with_leeway(leeway)?, ..self })
    }

    /// The same reviewer, which refuses tokens that are issued for longer than this.
    #[must_use]
    pub fn with_max_lifetime(self, max: Duration) -> Self {
        Self { rules: self.rules.with_max_lifetime(max), ..self }
    }

    /// Has the API server review a token, whose dates count at `now`.
    ///
    /// # Errors
    ///
    /// [`TokenReviewError`] names the first rule that is broken; its
    /// [`fault`](TokenReviewError::fault) is the authority's when nobody can tell.
    pub async fn review(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Verified<ServiceAccountToken>, TokenReviewError> {
        Handle::try_current().map_err(|_| TokenReviewError::NoRuntime)?;
        let account = self.account(token, now)?;
        let asked = tokio::time::timeout(self.timeout, self.ask(token)).await;
        let answer = asked.unwrap_or(Err(FetchError::Timeout { after: self.timeout }.into()))?;
        answer.check(&account, &self.rules.audience)?;
        #[expect(
            clippy::disallowed_methods,
            reason = "the API server vouches for this token, as the account that it names, and \
                      every rule of this module holds"
        )]
        let verified = danger::verified(account);
        Ok(verified)
    }

    /// What anyone may have written: whom to ask about, and nothing else before there is an answer.
    fn account(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<ServiceAccountToken, ServiceAccountError> {
        let jws = Jws::parse(token, &PROFILE).map_err(SignedTokenError::from)?;
        let payload = jws.unverified_payload().map_err(SignedTokenError::from)?;
        self.rules.read(&self.issuer, &payload, now)
    }

    async fn ask(&self, token: &str) -> Result<TokenReview, TokenReviewError> {
        // It is never closed.
        let _room = self.room.acquire().await.map_err(|_| TokenReviewError::NoRuntime)?;
        let question = question(token, self.rules.audience.names());
        let answer = self.server.post(question, self.timeout).await?;
        Ok(TokenReview::from_json(&answer)?)
    }
}

/// The API server, and what it takes to talk to it.
#[derive(Clone, Debug)]
struct Server {
    url: Arc<str>,
    ca: Arc<Path>,
    credential: Arc<Path>,
    trusted: Arc<Mutex<Option<Trusted>>>,
}

/// A client that trusts the authorities of this file.
#[derive(Debug)]
struct Trusted {
    ca: Vec<u8>,
    timeout: Duration,
    client: Fetcher,
}

impl Server {
    fn new(url: &str, ca: PathBuf, credential: PathBuf) -> Self {
        let url = format!("{}{PATH}", url.trim_end_matches('/')).into();
        Self { url, ca: ca.into(), credential: credential.into(), trusted: Arc::default() }
    }

    async fn post(&self, question: String, timeout: Duration) -> Result<Bytes, TokenReviewError> {
        let server = self.clone();
        // A disk may be slow, and nobody else is to wait for it.
        let read = tokio::task::spawn_blocking(move || {
            Ok((server.client(timeout)?, server.authorization()?))
        });
        let (client, authorization) = read.await.unwrap_or(Err(TokenReviewError::NoRuntime))?;
        Ok(client.post_json(&self.url, authorization, question).await?.body)
    }

    /// One that trusts what the file holds now, made anew when that has changed.
    fn client(&self, timeout: Duration) -> Result<Fetcher, TokenReviewError> {
        let ca = read_file(&self.ca)?;
        let mut trusted = self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = trusted.as_ref().filter(|old| old.ca == ca && old.timeout == timeout) {
            return Ok(same.client.clone());
        }
        let client = Fetcher::new(trusting(&ca)?, timeout);
        *trusted = Some(Trusted { ca, timeout, client: client.clone() });
        Ok(client)
    }

    fn authorization(&self) -> Result<HeaderValue, TokenReviewError> {
        let file = Secret::new(read_file(&self.credential)?);
        let token = file.expose().trim_ascii();
        let path = || self.credential.to_path_buf();
        if token.is_empty() {
            return Err(TokenReviewError::Credential { path: path() });
        }
        let mut value = HeaderValue::from_bytes(&[b"Bearer ", token].concat())
            .map_err(|_| TokenReviewError::Credential { path: path() })?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// TLS 1.3, the authorities of this file, and no others.
fn trusting(ca: &[u8]) -> Result<ClientConfig, TokenReviewError> {
    let mut roots = RootCertStore::empty();
    for certificate in pem::certificates(ca)? {
        roots.add(certificate).map_err(TokenReviewError::Tls)?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(TokenReviewError::Tls)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn read_file(path: &Path) -> Result<Vec<u8>, TokenReviewError> {
    let read = file::read(path, MAX_FILE_LEN)
        .map_err(|source| TokenReviewError::File { path: path.into(), source })?;
    read.ok_or_else(|| TokenReviewError::FileTooLong { path: path.into() })
}

fn question<'a>(token: &str, audiences: impl Iterator<Item = &'a str>) -> String {
    let text = |text: &str| Value::String(text.into()).to_string();
    let audiences: Vec<_> = audiences.map(text).collect();
    format!(
        r#"{{"apiVersion":"{API_VERSION}","kind":"{KIND}","spec":{{"token":{},"audiences":[{}]}}}}"#,
        text(token),
        audiences.join(","),
    )
}

/// Why a token is refused that the API server was to review.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenReviewError {
    /// There is no tokio runtime to ask in, or it is shutting down.
    #[error("a token is reviewed in a tokio runtime, and there is none here")]
    NoRuntime,
    /// The token keeps not even the rules that need no API server, and it was not asked.
    #[error(transparent)]
    Token(#[from] ServiceAccountError),
    /// A file cannot be read.
    #[error("cannot read {path:?}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is longer than it can be.
    #[error("{path:?} is longer than {MAX_FILE_LEN} bytes")]
    FileTooLong {
        /// Which.
        path: PathBuf,
    },
    /// The file of our own credential holds none.
    #[error("{path:?} holds no token")]
    Credential {
        /// Which.
        path: PathBuf,
    },
    /// The file of the authorities is no PEM of certificates.
    #[error("the authorities of the API server cannot be read")]
    Ca(#[from] PemError),
    /// The authorities cannot be trusted by anyone.
    #[error("the authorities of the API server cannot be used")]
    Tls(#[source] rustls::Error),
    /// The API server has not answered.
    #[error("the API server has not reviewed the token")]
    Unanswered(#[from] FetchError),
    /// The answer does not let the token count.
    #[error(transparent)]
    Answer(#[from] TokenReviewAnswerError),
}

impl TokenReviewError {
    /// Whose fault it is: the sender's when the token is refused, and the authority's when nobody
    /// can tell.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Token(error) => error.fault(),
            Self::Answer(error) => error.fault(),
            Self::NoRuntime => Fault::Caller,
            Self::File { .. }
            | Self::FileTooLong { .. }
            | Self::Credential { .. }
            | Self::Ca(_)
            | Self::Tls(_)
            | Self::Unanswered(_) => Fault::Authority,
        }
    }

    /// What it is called in records and metrics: a name out of a fixed set, with nothing of the
    /// token in it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Token(error) => error.reason(),
            Self::Answer(error) => error.reason(),
            Self::NoRuntime
            | Self::File { .. }
            | Self::FileTooLong { .. }
            | Self::Credential { .. }
            | Self::Ca(_)
            | Self::Tls(_)
            | Self::Unanswered(_) => "review_unavailable",
        }
    }
}
