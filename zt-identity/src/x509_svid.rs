//! X.509-SVIDs: a workload's name in a certificate.
//!
//! [`X509SvidVerifier::verify`] accepts a chain, leaf first, when, in this order:
//!
//! 1. it is not empty, has at most [`MAX_CHAIN_CERTIFICATES`] certificates and at most
//!    [`MAX_CHAIN_LEN`] bytes, which is asked before a byte of it is read;
//! 2. its first certificate has the form of a workload's ([`Leaf`], X509-SVID §5.2);
//! 3. that certificate counts now (RFC 5280 §6.1.3);
//! 4. there is a bundle of the trust domain that its SPIFFE ID names; no other bundle is looked
//!    at (SPIFFE-ID §2.1, X509-SVID §5.1);
//! 5. every other certificate of the chain has the form of an authority's of that trust domain
//!    ([`Issuer`], X509-SVID §3.2, §4);
//! 6. a path leads to a root of the bundle ([`path`](crate::path), RFC 5280 §6), on which no
//!    certificate is revoked by the lists beside the bundles ([`Revocation`], RFC 5280 §6.3).
//!
//! # A certificate is not a caller
//!
//! Certificates are public: anyone can present one. What comes out is a proven document, and only
//! a handshake in which the peer signs with its key makes a caller of it.
//!
//! # Revocation
//!
//! Nothing here fetches a list, and an authority that publishes none, as SPIRE does not, withdraws
//! an SVID by nothing but its expiry, or by leaving a root out of the bundle. Keep lifetimes short.

use rustls_pki_types::CertificateDer;
use zt_core::danger;
use zt_core::fault::Fault;
use zt_core::spiffe::{SpiffeIdRef, TrustDomain};
use zt_core::time::{OutsideValidity, Timestamp, Validity};
use zt_core::verified::Verified;

use crate::bundle::BundleSet;
use crate::path::{PathError, verify_unrevoked_path};
use crate::profile::{Issuer, IssuerError, KeyUsageCriticality, Leaf, LeafError};
use crate::revocation::{Revocation, RevocationError};
use crate::signature::SignatureAlgorithms;

/// How many certificates a chain may have: a leaf and four authorities. Nested SPIRE needs two or
/// three; 64 KB of junk would cost up to 53 ms of signature checks.
pub const MAX_CHAIN_CERTIFICATES: usize = 5;
/// How many bytes of DER a chain may have. A certificate with an RSA key of 4,096 bits has 1.5 KB.
pub const MAX_CHAIN_LEN: usize = 16 * 1024;

/// A workload's certificate: its name, its period, its bytes.
///
/// It borrows from the chain that it was read from. It is a document, and no caller:
///
/// ```compile_fail,E0599
/// # use zt_core::verified::Verified;
/// # use zt_identity::x509_svid::X509Svid;
/// fn principal(svid: Verified<X509Svid<'_>>) {
///     svid.principal();
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct X509Svid<'a> {
    id: SpiffeIdRef<'a>,
    validity: Validity,
    leaf: &'a [u8],
}

impl<'a> X509Svid<'a> {
    /// The SPIFFE ID of the workload.
    #[must_use]
    pub const fn id(&self) -> SpiffeIdRef<'a> {
        self.id
    }

    /// When the leaf counts.
    #[must_use]
    pub const fn validity(&self) -> Validity {
        self.validity
    }

    /// The leaf certificate in DER.
    #[must_use]
    pub const fn leaf(&self) -> &'a [u8] {
        self.leaf
    }
}

/// Verifies X.509-SVIDs.
#[derive(Clone, Copy, Debug, Default)]
pub struct X509SvidVerifier {
    criticality: KeyUsageCriticality,
    revocation: Revocation,
    algorithms: SignatureAlgorithms,
}

impl X509SvidVerifier {
    /// A verifier of everything that the standard demands, on `ring`.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            criticality: KeyUsageCriticality::Require,
            revocation: Revocation::IfPresent,
            algorithms: SignatureAlgorithms::ring(),
        }
    }

    /// The same verifier with another view of key usages that are not critical.
    #[must_use]
    pub const fn with_key_usage_criticality(self, criticality: KeyUsageCriticality) -> Self {
        Self { criticality, ..self }
    }

    /// The same verifier with another view of revocation lists, [`Revocation::IfPresent`] by
    /// default.
    #[must_use]
    pub const fn with_revocation(self, revocation: Revocation) -> Self {
        Self { revocation, ..self }
    }

    /// The same verifier, which checks the signatures of chains by these algorithms. Signatures of
    /// revocation lists are checked by `ring` all the same.
    #[must_use]
    pub const fn with_signature_algorithms(self, algorithms: SignatureAlgorithms) -> Self {
        Self { algorithms, ..self }
    }

    /// How it sees key usages that are not critical.
    #[must_use]
    pub const fn key_usage_criticality(&self) -> KeyUsageCriticality {
        self.criticality
    }

    /// Verifies a chain, leaf first, with the bundle of the leaf's own trust domain.
    ///
    /// # Errors
    ///
    /// [`X509SvidError`] names the first rule that is broken.
    pub fn verify<'a>(
        &self,
        chain: &'a [CertificateDer<'_>],
        bundles: &BundleSet,
        now: Timestamp,
    ) -> Result<Verified<X509Svid<'a>>, X509SvidError> {
        let (first, others) = within_limits(chain)?;
        let leaf = Leaf::read(first, self.criticality)?;
        leaf.validity().check(now)?;
        let trust_domain = leaf.id().trust_domain();
        let bundle = bundles
            .get(trust_domain)
            .ok_or_else(|| X509SvidError::NoBundle { trust_domain: trust_domain.to_owned() })?;
        for (certificate, position) in others.iter().zip(1..) {
            Issuer::read(certificate, trust_domain)
                .map_err(|source| X509SvidError::Intermediate { position, source })?;
        }
        let lists = bundles.revocation_lists();
        let (algorithms, revocation) = (&self.algorithms, self.revocation);
        verify_unrevoked_path(first, others, bundle, algorithms, lists, revocation, now)?;
        Ok(proven(&leaf))
    }
}

#[expect(clippy::disallowed_methods, reason = "rules 1 to 6 above hold: this is where they end")]
const fn proven<'a>(leaf: &Leaf<'a>) -> Verified<X509Svid<'a>> {
    danger::verified(X509Svid {
        id: leaf.id(),
        validity: leaf.validity(),
        leaf: leaf.certificate().der(),
    })
}

/// M-05: before anything is read.
pub(crate) fn within_limits<'a, 'c>(
    chain: &'a [CertificateDer<'c>],
) -> Result<(&'a CertificateDer<'c>, &'a [CertificateDer<'c>]), X509SvidError> {
    let (first, others) = chain.split_first().ok_or(X509SvidError::EmptyChain)?;
    if chain.len() > MAX_CHAIN_CERTIFICATES {
        return Err(X509SvidError::TooManyCertificates { count: chain.len() });
    }
    let len = chain.iter().fold(0usize, |sum, certificate| sum.saturating_add(certificate.len()));
    if len > MAX_CHAIN_LEN {
        return Err(X509SvidError::ChainTooLong { len });
    }
    Ok((first, others))
}

/// Why a chain is not an X.509-SVID that can be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum X509SvidError {
    /// There is no certificate.
    #[error("the chain is empty")]
    EmptyChain,
    /// More than [`MAX_CHAIN_CERTIFICATES`].
    #[error("a chain of {count} certificates is longer than {MAX_CHAIN_CERTIFICATES}")]
    TooManyCertificates {
        /// How many.
        count: usize,
    },
    /// More than [`MAX_CHAIN_LEN`].
    #[error("a chain of {len} bytes is longer than {MAX_CHAIN_LEN}")]
    ChainTooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// The first certificate is not a workload's.
    #[error(transparent)]
    Leaf(#[from] LeafError),
    /// The leaf does not count now.
    #[error("the leaf certificate does not count: {0}")]
    Validity(#[from] OutsideValidity),
    /// Nobody here knows the authorities of the trust domain.
    #[error("there is no bundle for trust domain {trust_domain:?}")]
    NoBundle {
        /// The trust domain that the leaf names.
        trust_domain: TrustDomain,
    },
    /// Another certificate of the chain is not an authority's of this trust domain.
    #[error("certificate {position} of the chain cannot be an issuer")]
    Intermediate {
        /// Where it stands; the leaf has 0.
        position: usize,
        /// Why it cannot.
        source: IssuerError,
    },
    /// No path leads to a root of the bundle.
    #[error(transparent)]
    Path(PathError),
    /// A path leads to a root, and a certificate on it is revoked, or might be.
    #[error(transparent)]
    Revocation(RevocationError),
}

impl From<PathError> for X509SvidError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "one kind of error stands for itself")]
    fn from(error: PathError) -> Self {
        match error {
            PathError::Revocation(error) => Self::Revocation(error),
            other => Self::Path(other),
        }
    }
}

impl X509SvidError {
    /// Whose fault it is: the peer's, unless a root or a list of ours is stale.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Path(error) => error.fault(),
            Self::Revocation(error) => error.fault(),
            Self::EmptyChain
            | Self::TooManyCertificates { .. }
            | Self::ChainTooLong { .. }
            | Self::Leaf(_)
            | Self::Validity(_)
            | Self::NoBundle { .. }
            | Self::Intermediate { .. } => Fault::Peer,
        }
    }
}
