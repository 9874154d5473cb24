//! How a bundle endpoint proves who it is: by one of two profiles, which is stated and never guessed.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, UnixTime};
use zt_core::fault::Fault;
use zt_core::spiffe::{SpiffeId, TrustDomain};
use zt_core::time::Clock;
use zt_identity::bundle::{BundleSet, X509Bundle};

use crate::verifier::EndpointVerifier;

/// The profile of a bundle endpoint, with all that it takes (SPIFFE Federation §5.2).
///
/// ```
/// use zt_core::spiffe::{SpiffeId, TrustDomain};
/// use zt_identity::bundle::SpiffeBundle;
/// # use zt_core::time::Timestamp;
/// # let now = Timestamp::EPOCH;
/// use zt_tls::federation::Profile;
///
/// let partner = TrustDomain::from_name("partner.test")?;
/// let endpoint = SpiffeId::parse("spiffe://partner.test/spire/server")?;
/// # let read = |_| Ok::<_, std::io::Error>(r#"{"keys":[]}"#);
/// let bundle = SpiffeBundle::from_json(read("partner.json")?.as_bytes())?;
/// let (bundle, _left_out) = bundle.x509_bundle(partner, now);
/// assert_eq!(Profile::https_spiffe(endpoint, bundle)?.name(), "https_spiffe");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Profile(Kind);

#[derive(Clone)]
enum Kind {
    Web(Arc<RootCertStore>),
    Spiffe { endpoint: SpiffeId, by: Option<X509Bundle> },
}

impl Profile {
    /// `https_web`: the server has a certificate for the host of the URL (RFC 6125), by the root
    /// certificates of this machine as they are now.
    ///
    /// # Errors
    ///
    /// [`ProfileError::NoRoots`] when there are none.
    pub fn https_web() -> Result<Self, ProfileError> {
        let mut store = RootCertStore::empty();
        // One that cannot be a root vouches for nobody.
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Self::web(store)
    }

    /// `https_web` by these root certificates, and by no others.
    ///
    /// # Errors
    ///
    /// [`ProfileError`] when there are none, or one that cannot be a root.
    pub fn https_web_with_roots<'r>(
        roots: impl IntoIterator<Item = CertificateDer<'r>>,
    ) -> Result<Self, ProfileError> {
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(root.into_owned()).map_err(ProfileError::Root)?;
        }
        Self::web(store)
    }

    fn web(store: RootCertStore) -> Result<Self, ProfileError> {
        if store.is_empty() {
            Err(ProfileError::NoRoots)
        } else {
            Ok(Self(Kind::Web(store.into())))
        }
    }

    /// `https_spiffe`: the server has a valid X509-SVID with exactly this SPIFFE ID, by this bundle of
    /// its trust domain.
    ///
    /// Where that is the trust domain whose bundle is fetched, the endpoint serves itself: this bundle
    /// is for the first fetch, and each later one is by the latest that was fetched. Else it is this
    /// bundle that counts, always.
    ///
    /// # Errors
    ///
    /// [`ProfileError`] when no X509-SVID has this ID, or the bundle is of another trust domain.
    pub fn https_spiffe(endpoint: SpiffeId, bundle: X509Bundle) -> Result<Self, ProfileError> {
        if endpoint.trust_domain() != bundle.trust_domain().borrowed() {
            let bundle = bundle.trust_domain().clone();
            return Err(ProfileError::OtherTrustDomain { endpoint, bundle });
        }
        Self::spiffe(endpoint, Some(bundle))
    }

    /// `https_spiffe` for an endpoint of another trust domain than it serves, by the bundle that our
    /// own source has of that trust domain when a fetch begins: our own, or that of another federation.
    ///
    /// # Errors
    ///
    /// [`ProfileError::NoWorkload`] when no X509-SVID has this ID.
    pub fn https_spiffe_by_source(endpoint: SpiffeId) -> Result<Self, ProfileError> {
        Self::spiffe(endpoint, None)
    }

    fn spiffe(endpoint: SpiffeId, by: Option<X509Bundle>) -> Result<Self, ProfileError> {
        if endpoint.path().is_empty() {
            return Err(ProfileError::NoWorkload { endpoint });
        }
        Ok(Self(Kind::Spiffe { endpoint, by }))
    }

    /// Its name in the standard: `https_web` or `https_spiffe`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self.0 {
            Kind::Web(_) => "https_web",
            Kind::Spiffe { .. } => "https_spiffe",
        }
    }

    /// The SPIFFE ID that the endpoint has to have, with `https_spiffe`.
    #[must_use]
    pub const fn endpoint(&self) -> Option<&SpiffeId> {
        match &self.0 {
            Kind::Web(_) => None,
            Kind::Spiffe { endpoint, .. } => Some(endpoint),
        }
    }

    /// Whether the endpoint is of the trust domain that it serves the bundle of.
    pub(super) fn is_self_serving(&self, trust_domain: &TrustDomain) -> bool {
        let endpoint = self.endpoint().map(SpiffeId::trust_domain);
        endpoint == Some(trust_domain.borrowed())
    }

    /// The bundle that came with it.
    pub(super) const fn bundle(&self) -> Option<&X509Bundle> {
        match &self.0 {
            Kind::Web(_) => None,
            Kind::Spiffe { by, .. } => by.as_ref(),
        }
    }
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        self.endpoint().map_or(Ok(()), |endpoint| write!(f, "({endpoint})"))
    }
}

/// What TLS to an endpoint is made of.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) versions: &'static [&'static SupportedProtocolVersion],
}

impl Tls {
    /// A config for one fetch. `bundles` is what an endpoint of `https_spiffe` is judged by. Nothing
    /// is presented to the server (F-07).
    pub(super) fn config(
        &self,
        profile: &Profile,
        bundles: BundleSet,
    ) -> Result<ClientConfig, rustls::Error> {
        let provider = || Arc::clone(&self.provider);
        let time = Arc::new(Time(Arc::clone(&self.clock)));
        let builder = ClientConfig::builder_with_details(provider(), time)
            .with_protocol_versions(self.versions)?;
        let builder = match &profile.0 {
            Kind::Web(roots) => {
                let verifier =
                    WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), provider());
                builder.with_webpki_verifier(verifier.build().map_err(|_| no_roots())?)
            }
            Kind::Spiffe { endpoint, .. } => {
                let (endpoint, clock) = (endpoint.clone(), Arc::clone(&self.clock));
                let verifier = EndpointVerifier::new(endpoint, bundles, clock, provider());
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
            }
        };
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // M-01: a connection that is resumed asks no verifier.
        config.resumption = rustls::client::Resumption::disabled();
        config.enable_early_data = false;
        Ok(config)
    }
}

fn no_roots() -> rustls::Error {
    rustls::Error::General("no root certificates".into())
}

/// The clock of a federation, for certificates of the Web PKI.
#[derive(Debug)]
struct Time(Arc<dyn Clock>);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().as_secs()).ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
    }
}

/// Why a profile cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// There are no root certificates.
    #[error("there are no root certificates")]
    NoRoots,
    /// A root certificate cannot be used.
    #[error("a root certificate cannot be used")]
    Root(#[source] rustls::Error),
    /// The bundle is not of the endpoint's trust domain.
    #[error("{endpoint} is judged by the bundle of {bundle:?}, which cannot vouch for it")]
    OtherTrustDomain {
        /// The endpoint.
        endpoint: SpiffeId,
        /// Whose bundle it is.
        bundle: TrustDomain,
    },
    /// The ID is that of a trust domain, which no X509-SVID of a server has.
    #[error("{endpoint} is no workload")]
    NoWorkload {
        /// The ID.
        endpoint: SpiffeId,
    },
}

impl ProfileError {
    /// Whose fault it is: that of the embedding program.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}
