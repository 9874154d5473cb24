//! Trust bundles: the authorities of each trust domain, never of several at once.
//!
//! [`X509Bundle::from_der_certs`] takes certificates as the roots of a trust domain when, for each:
//!
//! 1. it has the form of an authority's certificate of this trust domain
//!    ([`Issuer`]);
//! 2. the key is of an algorithm that signatures can be checked with;
//! 3. if it names itself as its issuer, its own key has signed it.
//!
//! One that breaks a rule refuses the whole bundle, as a bundle with a hole in it is nobody's
//! intention. Age is different, since roots overlap when they rotate: a root that has expired is
//! left out, one that is not valid yet is kept for its time, and a bundle of which nothing remains
//! is refused. When a chain is verified, the validity of its root is looked at again.
//!
//! A [`SpiffeBundle`] is the same as JSON, as trust domains publish it, and a [`BundleMap`] several of
//! them. There each root stands for itself: one that cannot be a root is left out, as to go on with
//! yesterday's bundle would be to believe a root that was withdrawn since.
//!
//! A [`BundleEndpoint`] serves our own bundle to others.
//!
//! A [`BundleSet`] answers for one trust domain at a time, so that no authority vouches for a name
//! of another (SPIFFE-ID §2.1; Trust Domain and Bundle §5.2). It has no way to pool them. With the
//! bundles it holds what their authorities have taken back, so that whoever is handed the one cannot
//! forget the other: [`revocation`](crate::revocation) says how lists are obeyed.

mod endpoint;
mod map;
mod publish;
mod spiffe;

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls_pki_types::{CertificateDer, TrustAnchor};
use zt_core::fault::Fault;
use zt_core::spiffe::{TrustDomain, TrustDomainRef};
use zt_core::time::{OutsideValidity, Timestamp, Validity};

pub use self::endpoint::{BundleAnswer, BundleEndpoint, SequenceError};
pub use self::map::{BundleMap, BundleMapError};
pub use self::spiffe::{
    DEFAULT_REFRESH_HINT, IgnoredKey, IgnoredKeyReason, MAX_BUNDLE_LEN, MAX_REFRESH_HINT,
    MEDIA_TYPE, MIN_REFRESH_HINT, SpiffeBundle, SpiffeBundleError,
};
use crate::certificate::{self, Certificate, CertificateError};
use crate::pem::{self, PemError};
use crate::profile::{Issuer, IssuerError};
use crate::revocation::{RevocationList, RevocationLists};
use crate::signature;

/// The authorities that vouch for the workloads of one trust domain. A clone shares them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct X509Bundle {
    trust_domain: TrustDomain,
    // INVARIANT: of one length; the root at an index has the anchor and the validity there.
    anchors: Arc<[TrustAnchor<'static>]>,
    roots: Arc<[Root]>,
}

/// The certificate of an authority in a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    certificate: CertificateDer<'static>,
    validity: Validity,
    path_len: Option<u8>,
}

impl Root {
    /// The certificate.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// When it counts.
    #[must_use]
    pub const fn validity(&self) -> Validity {
        self.validity
    }

    /// How many authorities may follow below it, where it says so (RFC 5280 §4.2.1.9).
    #[must_use]
    pub const fn path_len(&self) -> Option<u8> {
        self.path_len
    }
}

impl X509Bundle {
    /// A bundle that vouches for nobody: every SVID of the trust domain is refused.
    #[must_use]
    pub fn empty(trust_domain: TrustDomain) -> Self {
        Self { trust_domain, anchors: Arc::new([]), roots: Arc::new([]) }
    }

    /// Reads the roots of `trust_domain` from PEM that holds certificates and nothing else.
    ///
    /// # Errors
    ///
    /// [`BundleError`] names what is wrong, and with which certificate, counted from 0.
    pub fn from_pem(
        trust_domain: TrustDomain,
        pem: &[u8],
        now: Timestamp,
    ) -> Result<Self, BundleError> {
        Self::from_der_certs(trust_domain, pem::certificates(pem)?, now)
    }

    /// Reads the roots of `trust_domain` from DER certificates that stand one behind the other.
    ///
    /// # Errors
    ///
    /// [`BundleError`], as [`X509Bundle::from_pem`].
    pub fn from_der(
        trust_domain: TrustDomain,
        row: &[u8],
        now: Timestamp,
    ) -> Result<Self, BundleError> {
        let certificates = certificate::separate(row)?;
        Self::from_der_certs(
            trust_domain,
            certificates.into_iter().map(CertificateDer::into_owned),
            now,
        )
    }

    /// Takes these certificates as the roots of `trust_domain`.
    ///
    /// # Errors
    ///
    /// [`BundleError`], as [`X509Bundle::from_pem`].
    pub fn from_der_certs(
        trust_domain: TrustDomain,
        certificates: impl IntoIterator<Item = CertificateDer<'static>>,
        now: Timestamp,
    ) -> Result<Self, BundleError> {
        let (mut anchors, mut roots, mut expired) = (Vec::new(), Vec::new(), 0usize);
        for (position, certificate) in certificates.into_iter().enumerate() {
            let (anchor, root) = check_root(certificate, trust_domain.borrowed())
                .map_err(|source| BundleError::Root { position, source })?;
            if let Err(OutsideValidity::Expired { .. }) = root.validity.check(now) {
                expired = expired.saturating_add(1);
                continue;
            }
            anchors.push(anchor);
            roots.push(root);
        }
        if roots.is_empty() {
            return Err(BundleError::NoRoots { expired });
        }
        Ok(Self { trust_domain, anchors: anchors.into(), roots: roots.into() })
    }

    /// Takes those of these certificates that can be roots of `trust_domain` now or later, and says
    /// why the others, counted from 0, cannot. There may be none.
    #[must_use]
    pub fn from_usable_certs(
        trust_domain: TrustDomain,
        certificates: impl IntoIterator<Item = CertificateDer<'static>>,
        now: Timestamp,
    ) -> (Self, Vec<(usize, BundleError)>) {
        let (mut anchors, mut roots, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
        for (position, certificate) in certificates.into_iter().enumerate() {
            match Self::from_der_certs(trust_domain.clone(), [certificate], now) {
                Ok(one) => {
                    anchors.extend_from_slice(&one.anchors);
                    roots.extend_from_slice(&one.roots);
                }
                Err(BundleError::Root { source, .. }) => {
                    left_out.push((position, BundleError::Root { position, source }));
                }
                Err(error) => left_out.push((position, error)),
            }
        }
        (Self { trust_domain, anchors: anchors.into(), roots: roots.into() }, left_out)
    }

    /// The trust domain that it vouches for.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Its roots.
    #[must_use]
    pub fn roots(&self) -> &[Root] {
        &self.roots
    }

    pub(crate) fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }

    /// The roots with this name, key and constraints: one authority may have several certificates.
    pub(crate) fn roots_of(&self, anchor: &TrustAnchor<'_>) -> impl Iterator<Item = &Root> {
        let both = self.anchors.iter().zip(self.roots.iter());
        both.filter(move |(known, _)| *known == anchor).map(|(_, root)| root)
    }
}

fn check_root(
    certificate: CertificateDer<'static>,
    trust_domain: TrustDomainRef<'_>,
) -> Result<(TrustAnchor<'static>, Root), RootError> {
    let issuer = Issuer::read(&certificate, trust_domain)?;
    let anchor = webpki::anchor_from_trusted_cert(&certificate)
        .map_err(|_| RootError::Unreadable)?
        .to_owned();
    let root = issuer.certificate();
    if !signature::key_is_supported(root) {
        return Err(RootError::UnsupportedKey);
    }
    // One that names itself and was signed by another key is not what it seems.
    if root.issuer() == root.subject() && !signature::is_self_signed(root) {
        return Err(RootError::NotSelfSigned);
    }
    let path_len = root.basic_constraints().and_then(|constraints| constraints.path_len);
    let validity = issuer.validity();
    Ok((anchor, Root { certificate, validity, path_len }))
}

/// The bundles of several trust domains, each for itself.
///
/// ```
/// use zt_core::spiffe::TrustDomain;
/// use zt_identity::bundle::{BundleSet, X509Bundle};
///
/// let ours = TrustDomain::from_name("example.org")?;
/// let bundles = BundleSet::new().with(X509Bundle::empty(ours.clone()));
/// assert!(bundles.get(ours.borrowed()).is_some());
/// assert!(bundles.get(TrustDomain::from_name("example.com")?.borrowed()).is_none());
/// # Ok::<(), zt_core::spiffe::SpiffeIdError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BundleSet {
    bundles: BTreeMap<TrustDomain, X509Bundle>,
    revocation_lists: RevocationLists,
}

impl BundleSet {
    /// No bundles: nobody is believed.
    #[must_use]
    pub const fn new() -> Self {
        Self { bundles: BTreeMap::new(), revocation_lists: RevocationLists::new() }
    }

    /// These bundles and one more, which takes the place of an earlier one of its trust domain.
    #[must_use]
    pub fn with(mut self, bundle: X509Bundle) -> Self {
        self.claim_lists(&bundle);
        self.bundles.insert(bundle.trust_domain.clone(), bundle);
        self
    }

    /// These bundles without the one of this trust domain.
    #[must_use]
    pub fn without(mut self, trust_domain: TrustDomainRef<'_>) -> Self {
        self.bundles.remove(trust_domain.as_str());
        self
    }

    /// These bundles and one revocation list more, of whatever authority.
    #[must_use]
    pub fn with_revocation_list(self, list: RevocationList) -> Self {
        let lists = self.revocation_lists.clone().with(list);
        self.with_revocation_lists(lists)
    }

    /// These bundles with these revocation lists in the place of all earlier ones.
    #[must_use]
    pub fn with_revocation_lists(mut self, lists: RevocationLists) -> Self {
        self.revocation_lists = lists;
        self.bundles.values().for_each(|bundle| self.claim_lists(bundle));
        self
    }

    /// M-06: the signature of a root's list is checked now, and not in somebody's handshake.
    fn claim_lists(&self, bundle: &X509Bundle) {
        if self.revocation_lists.is_empty() {
            return;
        }
        for root in bundle.roots() {
            if let Ok(root) = Certificate::parse(&root.certificate) {
                self.revocation_lists.claim(&root);
            }
        }
    }

    /// The bundle of this trust domain.
    #[must_use]
    pub fn get(&self, trust_domain: TrustDomainRef<'_>) -> Option<&X509Bundle> {
        self.bundles.get(trust_domain.as_str())
    }

    /// The revocation lists.
    #[must_use]
    pub const fn revocation_lists(&self) -> &RevocationLists {
        &self.revocation_lists
    }

    /// All bundles, in the order of their trust domains.
    pub fn iter(&self) -> impl Iterator<Item = &X509Bundle> {
        self.bundles.values()
    }
}

impl FromIterator<X509Bundle> for BundleSet {
    fn from_iter<I: IntoIterator<Item = X509Bundle>>(bundles: I) -> Self {
        bundles.into_iter().fold(Self::new(), Self::with)
    }
}

/// Why a bundle cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The text is not PEM of certificates and nothing else.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// The bytes are not certificates one behind the other.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A certificate cannot be a root.
    #[error("certificate {position} of the bundle cannot be a root")]
    Root {
        /// Where it stands, counted from 0.
        position: usize,
        /// Why it cannot.
        source: RootError,
    },
    /// No root remains.
    #[error("the bundle has no roots ({expired} have expired)")]
    NoRoots {
        /// How many there would be if they had not expired.
        expired: usize,
    },
}

impl BundleError {
    /// Whose fault it is: that of whoever provides the bundle.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Authority
    }
}

/// Why a certificate cannot be a root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RootError {
    /// It has not the form of an authority's certificate.
    #[error(transparent)]
    Profile(#[from] IssuerError),
    /// Path validation cannot read it.
    #[error("path validation cannot read the certificate")]
    Unreadable,
    /// Its key is of an algorithm that is not supported.
    #[error("the key of the certificate is of an algorithm that is not supported")]
    UnsupportedKey,
    /// It names itself as its issuer, and its key has not signed it.
    #[error("the certificate names itself as its issuer and is not signed by its own key")]
    NotSelfSigned,
}
