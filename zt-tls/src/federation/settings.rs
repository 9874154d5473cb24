//! What all relationships of a federation have in common.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;
use zt_core::time::{Clock, SystemClock};
use zt_identity::bundle::DEFAULT_REFRESH_HINT;
use zt_identity::source::{JwtBundleSource, X509Source};

use super::Federation;
use super::error::FederationError;
use super::profile::Tls;
use super::store::BundleStore;
use crate::events::{Event, Observe};
use crate::jitter::Jitter;
use crate::provider;

/// How long one fetch may take, redirects included.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a bundle counts after the endpoint was heard last: seven times the longest refresh hint.
pub const DEFAULT_MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// No option makes a loop without a pause.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

pub(super) struct Settings {
    pub(super) source: X509Source,
    pub(super) tokens: Option<JwtBundleSource>,
    pub(super) tls: Tls,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) store: Option<Arc<dyn BundleStore>>,
    pub(super) timeout: Duration,
    pub(super) first_interval: Duration,
    pub(super) max_age: Duration,
    pub(super) jitter: Jitter,
    observer: Option<Arc<dyn Observe>>,
}

impl Settings {
    pub(super) fn tell(&self, event: &Event<'_>) {
        if let Some(observer) = &self.observer {
            observer.observe(event);
        }
    }
}

/// Makes a [`Federation`].
#[must_use]
pub struct FederationBuilder {
    source: X509Source,
    tokens: Option<JwtBundleSource>,
    provider: Option<Arc<CryptoProvider>>,
    versions: &'static [&'static SupportedProtocolVersion],
    clock: Arc<dyn Clock>,
    store: Option<Arc<dyn BundleStore>>,
    timeout: Duration,
    first_interval: Duration,
    max_age: Duration,
    observer: Option<Arc<dyn Observe>>,
}

impl FederationBuilder {
    pub(super) fn new(source: X509Source) -> Self {
        Self {
            source,
            tokens: None,
            provider: provider::preferred(),
            versions: provider::TLS13_ALONE,
            clock: Arc::new(SystemClock),
            store: None,
            timeout: DEFAULT_TIMEOUT,
            first_interval: DEFAULT_REFRESH_HINT,
            max_age: DEFAULT_MAX_AGE,
            observer: None,
        }
    }

    /// Puts the keys for JWT-SVIDs there, as the roots for X509-SVIDs are put into the source.
    pub fn tokens(mut self, tokens: JwtBundleSource) -> Self {
        self.tokens = Some(tokens);
        self
    }

    /// Takes the time from here; from the operating system by default.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Uses this cryptography; `ring` by default.
    pub fn provider(mut self, provider: Arc<CryptoProvider>) -> Self {
        self.provider = Some(provider);
        self
    }

    /// Speaks TLS 1.2 too, with endpoints that cannot do better.
    #[cfg(feature = "tls12")]
    pub fn tls12(mut self) -> Self {
        self.versions = provider::BOTH;
        self
    }

    /// Keeps the latest bundles there, so that a restart does without the endpoints; nowhere by
    /// default.
    pub fn store(mut self, store: impl BundleStore + 'static) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Tells `observer` of every fetch, and of every bundle that counts no more.
    pub fn observe(mut self, observer: impl Observe + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// How long one fetch may take, redirects included; [`DEFAULT_TIMEOUT`] unless stated otherwise.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long to wait between fetches until a first one has succeeded; 5 minutes unless stated
    /// otherwise. From then on the bundle says how long.
    pub fn first_interval(mut self, interval: Duration) -> Self {
        self.first_interval = interval.max(MIN_INTERVAL);
        self
    }

    /// How long a bundle counts after the endpoint was heard last; [`DEFAULT_MAX_AGE`] unless stated
    /// otherwise.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// The federation, with nobody yet.
    ///
    /// # Errors
    ///
    /// [`FederationError::NoProvider`].
    pub fn build(self) -> Result<Federation, FederationError> {
        let provider = self.provider.ok_or(FederationError::NoProvider)?;
        let tls = Tls { provider, clock: Arc::clone(&self.clock), versions: self.versions };
        Ok(Federation::with(Settings {
            source: self.source,
            tokens: self.tokens,
            tls,
            clock: self.clock,
            store: self.store,
            timeout: self.timeout,
            first_interval: self.first_interval,
            max_age: self.max_age,
            jitter: Jitter::default(),
            observer: self.observer,
        }))
    }
}

impl fmt::Debug for FederationBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FederationBuilder")
            .field("source", &self.source)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use zt_core::spiffe::TrustDomain;
    use zt_core::time::Timestamp;
    use zt_identity::authority::Authority;

    use super::*;

    #[test]
    fn without_a_provider_nothing_is_built() {
        let domain = TrustDomain::from_name("example.org").unwrap();
        let authority = Authority::new(domain, Timestamp::from_secs(1_800_000_000)).unwrap();
        let mut builder = FederationBuilder::new(authority.source("/orders").unwrap());
        // As where neither `ring` nor `aws-lc-rs` is on.
        builder.provider = None;
        assert!(matches!(builder.build(), Err(FederationError::NoProvider)));
    }
}
