//! The path from a leaf to a root (RFC 5280 §6): signatures, periods, authorities, constraints.
//!
//! [`verify_path`] accepts a leaf when rustls-webpki finds a path over the intermediates to a root
//! of the bundle on which, in the order that it decides:
//!
//! 1. every certificate counts now and is what its place demands: `cA`, `pathLenConstraint`
//!    (§6.1.4);
//! 2. every certificate is signed by the next (§6.1.3), with ECDSA on P-256 or P-384, Ed25519, or
//!    RSA of at least 2,048 bits, as far as the [`SignatureAlgorithms`] at hand have them;
//! 3. no name constraint is violated (§4.2.1.10), where one on URIs counts as violated;
//! 4. the root counts now and admits as many authorities below it (§4.2.1.9), which webpki leaves to
//!    us;
//! 5. for [`verify_unrevoked_path`], no certificate on the path is revoked, as
//!    [`revocation`](crate::revocation) asks: each is held against the list of the very key that has
//!    signed it on this path.
//!
//! A path that breaks 4 or 5 does not end the search: another may lead to a root as well.
//!
//! What the certificates may be used for is for [`profile`](crate::profile) to say, the same at
//! both ends of a connection.
//!
//! There is no SPIFFE in it: a path proves no identity, and gives none.
//! [`X509SvidVerifier`](crate::x509_svid::X509SvidVerifier) does.
//!
//! # Work
//!
//! A chain in which every name is the same can be put together in many ways. As many signatures are
//! checked as the longest path takes when the chain stands in its order and only the last root has
//! the key, which for `n` intermediates and `r` roots is `(n + 1) * r + n`. Junk that needs more
//! has no path. webpki's own budget, 100 signatures, stands behind it.

use std::cell::Cell;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, VerifiedPath};
use zt_core::fault::Fault;
use zt_core::time::{OutsideValidity, Timestamp};

use crate::bundle::X509Bundle;
use crate::certificate::Certificate;
use crate::revocation::{Revocation, RevocationError, RevocationLists};
use crate::signature::{Counted, SignatureAlgorithms, SignatureBudget};

/// Verifies that some root of `bundle` vouches for `leaf` now, by way of `intermediates`. The
/// signatures are checked by `ring`, and no revocation list is asked.
///
/// # Errors
///
/// [`PathError`], the most telling one when several paths were tried.
pub fn verify_path(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    bundle: &X509Bundle,
    now: Timestamp,
) -> Result<(), PathError> {
    let (lists, off) = (RevocationLists::new(), Revocation::Off);
    let ring = SignatureAlgorithms::ring();
    verify_unrevoked_path(leaf, intermediates, bundle, &ring, &lists, off, now)
}

/// Verifies as [`verify_path`] by these algorithms, on a path of which `lists` revoke nothing.
///
/// # Errors
///
/// [`PathError`], the most telling one when several paths were tried.
pub fn verify_unrevoked_path(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    bundle: &X509Bundle,
    algorithms: &SignatureAlgorithms,
    lists: &RevocationLists,
    revocation: Revocation,
    now: Timestamp,
) -> Result<(), PathError> {
    let refused = Refused::default();
    let counts = |path: &VerifiedPath<'_>| {
        root_counts(path, bundle, now)
            .and_then(|()| nothing_is_revoked(path, bundle, lists, revocation, now))
            .map_err(|error| refused.remember(error))
    };
    let budget = SignatureBudget::new(signatures(intermediates.len(), bundle.anchors().len()));
    let counted = budget.counting(algorithms);
    let counted = counted.each_ref().map(Counted::as_algorithm);
    let outcome = EndEntityCert::try_from(leaf).and_then(|leaf| {
        leaf.verify_for_usage(
            counted.get(..algorithms.len()).unwrap_or(&[]),
            bundle.anchors(),
            intermediates,
            unix_time(now),
            Readable,
            None,
            Some(&counts),
        )
        .map(drop)
    });
    outcome.map_err(|error| match refused.0.take() {
        Some(refused) => refused,
        None if budget.is_overdrawn() => PathError::TooComplex,
        None => error.into(),
    })
}

/// Why the first path that webpki found was refused by us: its own errors have no place for it.
#[derive(Default)]
struct Refused(Cell<Option<PathError>>);

impl Refused {
    fn remember(&self, error: PathError) -> webpki::Error {
        let first = self.0.take();
        self.0.set(Some(first.unwrap_or(error)));
        webpki::Error::UnknownIssuer
    }
}

/// M-04: of several certificates of one authority, one that counts now and admits as many others as
/// are on the path is enough.
fn root_counts(
    path: &VerifiedPath<'_>,
    bundle: &X509Bundle,
    now: Timestamp,
) -> Result<(), PathError> {
    let others = path.intermediate_certificates().count();
    let mut outcome = Err(PathError::UnknownIssuer);
    for root in bundle.roots_of(path.anchor()) {
        outcome = match (root.validity().check(now), root.path_len()) {
            (Err(outside), _) => Err(PathError::Root(outside)),
            (Ok(()), Some(most)) if others > usize::from(most) => Err(PathError::PathLength),
            (Ok(()), _) => return Ok(()),
        };
    }
    outcome
}

/// M-06: from the root down, each certificate against the list of the one above it.
fn nothing_is_revoked(
    path: &VerifiedPath<'_>,
    bundle: &X509Bundle,
    lists: &RevocationLists,
    revocation: Revocation,
    now: Timestamp,
) -> Result<(), PathError> {
    let unasked = match revocation {
        Revocation::Off => true,
        Revocation::IfPresent => lists.is_empty(),
        Revocation::Required => false,
    };
    if unasked {
        return Ok(());
    }
    let root = bundle.roots_of(path.anchor()).next().ok_or(PathError::UnknownIssuer)?;
    let mut above = CertificateDer::from(root.certificate().as_ref());
    let mut position = path.intermediate_certificates().count();
    let leaf: &webpki::Cert<'_> = path.end_entity();
    for certificate in path.intermediate_certificates().rev().chain([leaf]) {
        let der = certificate.der();
        lists.check(revocation, &read(&der)?, position, &read(&above)?, now)?;
        position = position.saturating_sub(1);
        above = der;
    }
    Ok(())
}

fn read(der: &[u8]) -> Result<Certificate<'_>, PathError> {
    Certificate::parse(der).map_err(|error| PathError::Malformed(error.to_string()))
}

fn signatures(intermediates: usize, roots: usize) -> usize {
    intermediates.saturating_add(1).saturating_mul(roots).saturating_add(intermediates)
}

/// Certificates are dated in whole seconds. Before 1970 nothing is valid that is after it.
fn unix_time(now: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.as_secs()).unwrap_or(0)))
}

/// Demands of an extended key usage only that it can be read.
struct Readable;

impl ExtendedKeyUsageValidator for Readable {
    fn validate(&self, mut purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        purposes.try_for_each(|purpose| purpose.map(drop))
    }
}

/// Why there is no path from a leaf to a root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// No root of the bundle, and no intermediate, has the name of an issuer.
    #[error("the issuer of the certificate is not known")]
    UnknownIssuer,
    /// An issuer has the name and not the key.
    #[error("a signature on the path is not the issuer's")]
    BadSignature,
    /// A certificate on the path does not count now.
    #[error("a certificate on the path does not count: {0}")]
    Validity(OutsideValidity),
    /// A path leads to a root that does not count now.
    #[error("the root of the path does not count: {0}")]
    Root(OutsideValidity),
    /// A certificate on the path is revoked, or might be.
    #[error(transparent)]
    Revocation(#[from] RevocationError),
    /// A certificate that is no authority's stands where one belongs, or the other way round.
    #[error("a certificate on the path is no authority, or the leaf is one")]
    WrongRole,
    /// More authorities follow than one of them admits.
    #[error("the path is longer than a path length constraint admits")]
    PathLength,
    /// An issuer may not sign for one of the names.
    #[error("a name constraint on the path is violated")]
    NameConstraint,
    /// A signature or key on the path is of an algorithm that is not supported.
    #[error("an algorithm on the path is not supported")]
    UnsupportedAlgorithm,
    /// A certificate on the path has a critical extension that is unknown.
    #[error("a critical extension on the path is not known")]
    UnknownCritical,
    /// Trying all paths takes more work than one chain is worth.
    #[error("there are too many possible paths")]
    TooComplex,
    /// A certificate cannot be read; the text is webpki's name for it.
    #[error("a certificate on the path cannot be read ({0})")]
    Malformed(String),
}

impl PathError {
    /// Whose fault it is: the peer's, and for a stale root or list that of whoever provides it.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Root(_) => Fault::Authority,
            Self::Revocation(error) => error.fault(),
            Self::UnknownIssuer
            | Self::BadSignature
            | Self::Validity(_)
            | Self::WrongRole
            | Self::PathLength
            | Self::NameConstraint
            | Self::UnsupportedAlgorithm
            | Self::UnknownCritical
            | Self::TooComplex
            | Self::Malformed(_) => Fault::Peer,
        }
    }
}

impl From<webpki::Error> for PathError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "webpki's enum: the rest says unreadable")]
    fn from(error: webpki::Error) -> Self {
        use webpki::Error;
        match error {
            Error::UnknownIssuer => Self::UnknownIssuer,
            Error::InvalidSignatureForPublicKey => Self::BadSignature,
            Error::CertExpired { time, not_after } => Self::Validity(OutsideValidity::Expired {
                now: timestamp(time),
                not_after: timestamp(not_after),
            }),
            Error::CertNotValidYet { time, not_before } => {
                Self::Validity(OutsideValidity::NotYet {
                    now: timestamp(time),
                    not_before: timestamp(not_before),
                })
            }
            Error::CaUsedAsEndEntity | Error::EndEntityUsedAsCa => Self::WrongRole,
            Error::PathLenConstraintViolated => Self::PathLength,
            Error::NameConstraintViolation => Self::NameConstraint,
            Error::UnsupportedSignatureAlgorithmContext(_)
            | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
                Self::UnsupportedAlgorithm
            }
            Error::UnsupportedCriticalExtension => Self::UnknownCritical,
            Error::MaximumPathDepthExceeded
            | Error::MaximumPathBuildCallsExceeded
            | Error::MaximumSignatureChecksExceeded
            | Error::MaximumNameConstraintComparisonsExceeded => Self::TooComplex,
            other => Self::Malformed(other.to_string()),
        }
    }
}

fn timestamp(time: UnixTime) -> Timestamp {
    Timestamp::from_secs(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}
