//! Keys kept fresh in the background, at a pace that harms neither the issuer nor its users.
//!
//! 1. Discovery comes first, on every fetch: its `issuer` is byte-equal to the configured one, and
//!    its `jwks_uri` is `https`, or on this machine when the issuer is (OpenID Connect Discovery
//!    §4.3, T-20).
//! 2. Keys are fetched again when between seven and eight tenths of their time have passed, at random
//!    so that replicas do not ask all at once. Their time is 10 minutes, or less where
//!    `Cache-Control` says so, but no less than 30 s (T-21).
//! 3. A token that names an unknown key asks for a fetch, which begins no sooner than 30 s after
//!    the last one began, however many ask (T-22). A bad signature asks for nothing.
//! 4. After a failure the next attempt waits 1 s, then 2, 4, and up to 30 s, and up to a quarter of
//!    that longer, at random; nobody shortens that (T-22).
//! 5. Keys that cannot be refreshed count for another hour, then no longer (T-23). A set without a
//!    usable key replaces the one before like any other: it vouches for nobody.
//!
//! Discovery is where the issuer says, or at a URL of one's own
//! ([`RefreshOptions::discovery_url`]). Through a proxy it goes by a client of one's own
//! ([`RefreshOptions::client`]). Keys that come by any other way are published by
//! [`IssuerKeys::pushed`](crate::oidc::keys::IssuerKeys::pushed).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use zt_core::fault::Fault;
use zt_core::time::{Clock, SystemClock, Timestamp};

use crate::algorithm::random_u16;
use crate::backoff::{a_little_longer, ahead_of};
use crate::excerpt::excerpt;
use crate::jwk::JwkSet;
use crate::oidc::discovery::keys_url;
use crate::oidc::fetch::{FetchError, Fetcher, HttpClient};
use crate::oidc::issuer::Issuer;
use crate::oidc::published::Published;
use crate::oidc::transport::{TlsError, Transport};

/// RFC 7517 §8.5.2, and what most issuers say instead.
const KEY_SET_TYPES: &[&str] = &["application/jwk-set+json", "application/json"];

const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// An issuer that allows no caching at all is still not asked more often than this.
const MIN_TIME_TO_LIVE: Duration = Duration::from_secs(30);
/// No option makes anything faster than this.
const MIN_INTERVAL: Duration = Duration::from_millis(50);

/// How keys are fetched; the default is what the [module](self) says.
#[must_use]
#[derive(Clone, Debug)]
pub struct RefreshOptions {
    clock: Arc<dyn Clock>,
    transport: Transport,
    discovery_url: Option<Arc<str>>,
    time_to_live: Duration,
    stale_if_error: Duration,
    unknown_key_interval: Duration,
}

impl Default for RefreshOptions {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            transport: Transport::default(),
            discovery_url: None,
            time_to_live: Duration::from_secs(600),
            stale_if_error: Duration::from_secs(3600),
            unknown_key_interval: Duration::from_secs(30),
        }
    }
}

impl RefreshOptions {
    /// The clock that keys grow old by: the one whose time verifiers are given.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// How the server is authenticated, instead of by the root certificates of this machine, or by
    /// nobody for an issuer [on it](Issuer::loopback).
    pub fn tls(mut self, config: ClientConfig) -> Self {
        self.transport = self.transport.tls(config);
        self
    }

    /// Authenticates the server by these roots, and by no others.
    ///
    /// # Errors
    ///
    /// [`DiscoverError::Tls`] when there is none, or one that cannot be a root.
    pub fn roots<'r>(
        self,
        roots: impl IntoIterator<Item = CertificateDer<'r>>,
    ) -> Result<Self, DiscoverError> {
        let transport = self.transport.roots(roots)?;
        Ok(Self { transport, ..self })
    }

    /// Fetches by this client, instead of by one of our own; how it authenticates the server is
    /// its own affair then.
    pub fn client(mut self, client: impl HttpClient + 'static) -> Self {
        self.transport = self.transport.client(client);
        self
    }

    /// Where the discovery document is, when it is not where the issuer says. What is in it still
    /// has to be that of the issuer.
    pub fn discovery_url(mut self, url: &str) -> Self {
        self.discovery_url = Some(url.into());
        self
    }

    /// How long one document may take, 5 s unless stated otherwise.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.transport = self.transport.timeout(timeout);
        self
    }

    /// How long keys are fresh, 10 minutes unless stated otherwise; `Cache-Control` may shorten it.
    pub fn time_to_live(mut self, time: Duration) -> Self {
        self.time_to_live = time.max(MIN_INTERVAL);
        self
    }

    /// How long keys count beyond that while they cannot be refreshed, 1 h unless stated otherwise.
    pub fn stale_if_error(mut self, time: Duration) -> Self {
        self.stale_if_error = time;
        self
    }

    /// How far two fetches for unknown keys are apart, 30 s unless stated otherwise.
    pub fn unknown_key_interval(mut self, interval: Duration) -> Self {
        self.unknown_key_interval = interval.max(MIN_INTERVAL);
        self
    }

    /// Where the discovery document of this issuer is.
    pub(super) fn discovery_url_of(&self, issuer: &Issuer) -> Result<String, DiscoverError> {
        match &self.discovery_url {
            None => Ok(issuer.discovery_url()),
            Some(url) if issuer.admits_keys_at(url) => Ok(url.as_ref().into()),
            Some(url) => Err(DiscoverError::DiscoveryUrl { found: excerpt(url) }),
        }
    }

    /// What fetches the documents of this issuer.
    pub(super) fn fetcher(&self, issuer: &Issuer) -> Result<Fetcher, DiscoverError> {
        Ok(self.transport.fetcher(issuer.is_loopback())?)
    }

    /// How long one document may take.
    #[cfg(feature = "login")]
    pub(super) const fn patience(&self) -> Duration {
        self.transport.patience()
    }

    /// How long keys are fresh that their server calls fresh for this long.
    fn fresh_for(&self, said: Option<Duration>) -> Duration {
        let at_least = MIN_TIME_TO_LIVE.min(self.time_to_live);
        said.map_or(self.time_to_live, |said| said.clamp(at_least, self.time_to_live))
    }
}

/// A task that refreshes keys until this is dropped.
#[derive(Debug)]
pub(super) struct Refresh {
    clock: Arc<dyn Clock>,
    task: AbortHandle,
}

impl Refresh {
    pub(super) fn start(
        issuer: Issuer,
        published: Arc<Published>,
        options: RefreshOptions,
    ) -> Result<Self, DiscoverError> {
        let runtime = Handle::try_current().map_err(|_| DiscoverError::NoRuntime)?;
        let discovery_url = options.discovery_url_of(&issuer)?;
        let fetcher = options.fetcher(&issuer)?;
        let clock = Arc::clone(&options.clock);
        let refresher =
            Refresher { issuer, discovery_url, published, options, fetcher, body: Bytes::new() };
        Ok(Self { clock, task: runtime.spawn(refresher.run()).abort_handle() })
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl Drop for Refresh {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Refresher {
    issuer: Issuer,
    discovery_url: String,
    published: Arc<Published>,
    options: RefreshOptions,
    fetcher: Fetcher,
    /// The key set as it was published last.
    body: Bytes,
}

impl Refresher {
    async fn run(mut self) {
        let mut backoff = FIRST_BACKOFF;
        loop {
            let begun = Instant::now();
            match self.fetch().await {
                Ok(fresh_for) => {
                    self.published.set_failure(None);
                    self.published.answered();
                    backoff = FIRST_BACKOFF;
                    self.rest(begun, fresh_for).await;
                }
                Err(failure) => {
                    self.published.set_failure(Some(failure));
                    sleep(a_little_longer(backoff, random_u16())).await;
                    backoff = backoff.saturating_mul(2).min(MAX_BACKOFF);
                }
            }
        }
    }

    /// Until most of the time has passed, or a key is wanted that is not there.
    async fn rest(&self, begun: Instant, fresh_for: Duration) {
        let wanted = async {
            self.published.wanted().await;
            if let Some(soonest) = begun.checked_add(self.options.unknown_key_interval) {
                sleep_until(soonest).await;
            }
        };
        let _ = timeout(ahead_of(fresh_for, random_u16()), wanted).await;
    }

    /// Fetches and publishes the keys, and says how long they are fresh.
    async fn fetch(&mut self) -> Result<Duration, FetchError> {
        let now = self.options.clock.now();
        let url = self.keys_url().await?;
        let keys = self.fetcher.get(&url, KEY_SET_TYPES).await?;
        let fresh_for = self.options.fresh_for(keys.fresh_for);
        let usable_until =
            now.saturating_add(fresh_for).saturating_add(self.options.stale_if_error);
        if self.body == keys.body {
            self.published.extend(usable_until);
        } else {
            self.published.replace(JwkSet::parse(&keys.body)?, usable_until);
            self.body = keys.body;
        }
        Ok(fresh_for)
    }

    async fn keys_url(&self) -> Result<String, FetchError> {
        let document = self.fetcher.get(&self.discovery_url, &["application/json"]).await?;
        Ok(keys_url(&self.issuer, &document.body)?)
    }
}

/// Why the keys of an issuer cannot be kept fresh at all.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoverError {
    /// There is no tokio runtime to refresh keys in.
    #[error("keys are refreshed in a tokio runtime, and there is none here")]
    NoRuntime,
    /// The discovery document may not be asked for there.
    #[error("the discovery document may not be asked for at {found:?}")]
    DiscoveryUrl {
        /// The URL, cut.
        found: String,
    },
    /// The root certificates, given ones or those of this machine, cannot be used.
    #[error("the root certificates cannot be used")]
    Tls(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

impl From<TlsError> for DiscoverError {
    fn from(error: TlsError) -> Self {
        Self::Tls(error.0)
    }
}

impl DiscoverError {
    /// Whose fault it is: that of the embedding program.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_control_shortens_the_life_of_keys_within_limits() {
        let options = RefreshOptions::default();
        let fresh_for = |said: u64| options.fresh_for(Some(Duration::from_secs(said))).as_secs();
        assert_eq!(options.fresh_for(None).as_secs(), 600);
        assert_eq!(fresh_for(3600), 600);
        assert_eq!(fresh_for(300), 300);
        assert_eq!(fresh_for(0), 30);
    }

    #[test]
    fn no_option_makes_a_busy_loop() {
        let zero = RefreshOptions::default()
            .time_to_live(Duration::ZERO)
            .unknown_key_interval(Duration::ZERO);
        assert!(zero.time_to_live >= MIN_INTERVAL && zero.unknown_key_interval >= MIN_INTERVAL);
    }
}
