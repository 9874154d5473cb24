//! What is set before an acceptor or a connector is built.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::{KeyLog, SupportedProtocolVersion};
use zt_core::lease;
use zt_core::peer::Peer;
use zt_core::time::{Clock, SystemClock};
use zt_core::verified::Verified;
use zt_identity::revocation::Revocation;

use super::error::BuildError;
use crate::events::Observe;
use crate::provider;

/// How old a connection may get: what an SVID has, as a rule.
const MAX_AGE: Duration = Duration::from_secs(3_600);
/// How long requests have that are under way when a connection ends.
const GRACE: Duration = Duration::from_secs(10);

/// What a connection knows of its client: a `Verified<Peer>` where one is demanded, else an
/// `Option` of one.
pub trait Client: Clone + fmt::Debug + Send + Sync + Unpin + Sized + 'static {
    /// What is known of a client that has proven who it is, or of one that did not try; nothing
    /// where that is not enough.
    fn of(proven: Option<Verified<Peer>>) -> Option<Self>;

    /// Who is there, if that is known.
    fn proven(&self) -> Option<&Verified<Peer>>;
}

impl Client for Verified<Peer> {
    fn of(proven: Option<Self>) -> Option<Self> {
        proven
    }

    fn proven(&self) -> Option<&Self> {
        Some(self)
    }
}

impl Client for Option<Verified<Peer>> {
    fn of(proven: Self) -> Option<Self> {
        Some(proven)
    }

    fn proven(&self) -> Option<&Verified<Peer>> {
        self.as_ref()
    }
}

/// What both ends have in common.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) provider: Option<Arc<CryptoProvider>>,
    pub(super) alpn: Vec<Vec<u8>>,
    pub(super) revocation: Revocation,
    #[cfg(feature = "tls12")]
    pub(super) tls12: bool,
    pub(super) fips: bool,
    pub(super) key_log: Option<Arc<dyn KeyLog>>,
    pub(super) observer: Option<Arc<dyn Observe>>,
    pub(super) lasting: Lasting,
}

/// How long connections last, and how they are looked after.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lasting {
    pub(super) max_age: Duration,
    pub(super) recheck: Duration,
    pub(super) grace: Duration,
}

impl Settings {
    pub(super) fn new() -> Self {
        let lasting = Lasting { max_age: MAX_AGE, recheck: lease::DEFAULT_INTERVAL, grace: GRACE };
        Self {
            clock: Arc::new(SystemClock),
            provider: provider::preferred(),
            alpn: Vec::new(),
            revocation: Revocation::default(),
            #[cfg(feature = "tls12")]
            tls12: false,
            fips: false,
            key_log: None,
            observer: None,
            lasting,
        }
    }

    pub(super) fn provider(&self) -> Result<Arc<CryptoProvider>, BuildError> {
        self.provider.clone().ok_or(BuildError::NoProvider)
    }

    pub(super) fn versions(&self) -> &'static [&'static SupportedProtocolVersion] {
        #[cfg(feature = "tls12")]
        if self.tls12 {
            return provider::BOTH;
        }
        provider::TLS13_ALONE
    }
}

/// What both builders have: `AcceptorBuilder` and `ConnectorBuilder`.
macro_rules! settings {
    (impl $builder:ident $(< $client:ident >)?) => {
        impl $(< $client: crate::connection::Client >)? $builder $(< $client >)? {
            /// Takes the time from here; from the operating system by default.
            #[must_use]
            pub fn clock(mut self, clock: impl zt_core::time::Clock + 'static) -> Self {
                self.settings.clock = std::sync::Arc::new(clock);
                self
            }

            /// Uses this cryptography; `ring` by default.
            #[must_use]
            pub fn provider(
                mut self,
                provider: std::sync::Arc<rustls::crypto::CryptoProvider>,
            ) -> Self {
                self.settings.provider = Some(provider);
                self
            }

            /// Asks this of the revocation lists that the source holds; by default those that
            /// there are count.
            #[must_use]
            pub const fn revocation(
                mut self,
                revocation: zt_identity::revocation::Revocation,
            ) -> Self {
                self.settings.revocation = revocation;
                self
            }

            /// Offers these protocols (ALPN, RFC 7301), the preferred one first; none by default.
            #[must_use]
            pub fn alpn<N: Into<Vec<u8>>>(
                mut self,
                protocols: impl IntoIterator<Item = N>,
            ) -> Self {
                self.settings.alpn = protocols.into_iter().map(Into::into).collect();
                self
            }

            /// Speaks TLS 1.2 too, with peers that cannot do 1.3. Certificates are then sent in the
            /// clear. The extended master secret (RFC 7627) is demanded; nothing is resumed.
            #[cfg(feature = "tls12")]
            #[must_use]
            pub const fn tls12(mut self) -> Self {
                self.settings.tls12 = true;
                self
            }

            /// Refuses to be built unless rustls says of the finished config that all of its
            /// cryptography is validated for FIPS 140-3.
            ///
            /// That is the cryptography of TLS, the chain of the peer included. What is checked when
            /// it is loaded is checked on `ring`, which is not validated, whatever is required here:
            /// that a root has signed itself, that a private key is its leaf's, and, once for each
            /// key, who has signed a revocation list.
            #[must_use]
            pub const fn require_fips(mut self) -> Self {
                self.settings.fips = true;
                self
            }

            /// Writes the secrets of every connection to `log`: whoever reads it reads the traffic.
            /// It is for debugging. The environment variable `SSLKEYLOGFILE` does nothing by itself.
            #[must_use]
            pub fn key_log(mut self, log: std::sync::Arc<dyn rustls::KeyLog>) -> Self {
                self.settings.key_log = Some(log);
                self
            }

            /// Tells `observer` of every connection that is admitted, refused or ended.
            #[must_use]
            pub fn observe(mut self, observer: impl crate::events::Observe + 'static) -> Self {
                self.settings.observer = Some(std::sync::Arc::new(observer));
                self
            }

            /// Ends a connection at this age at the latest, and when the peer's certificate expires
            /// at the latest; an hour by default.
            #[must_use]
            pub const fn max_age(mut self, age: std::time::Duration) -> Self {
                self.settings.lasting.max_age = age;
                self
            }

            /// Looks this often whether what is trusted has changed, and if so, whether the peers of
            /// open connections are still part of it; once a second by default.
            #[must_use]
            pub const fn recheck_every(mut self, interval: std::time::Duration) -> Self {
                self.settings.lasting.recheck = interval;
                self
            }

            /// Breaks the stream of a connection that has ended after so long; 10 seconds by
            /// default.
            #[must_use]
            pub const fn grace(mut self, grace: std::time::Duration) -> Self {
                self.settings.lasting.grace = grace;
                self
            }
        }
    };
}

pub(super) use settings;
