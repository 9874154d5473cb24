//! What a certificate has to be: the leaf that names a workload, or an authority that signs.
//!
//! [`Leaf::read`] accepts a certificate that [`Certificate::parse`] reads when, in this order:
//!
//! 1. it has exactly one URI among its alternative names, of whatever scheme (X509-SVID §2, §5.2);
//! 2. the URI is a SPIFFE ID (§2);
//! 3. its path is not empty: a trust domain is nobody's name (§3.1, §5.2);
//! 4. it is not a certificate authority (§4.1, §5.2);
//! 5. it has a key usage (§4.3),
//! 6. which is marked critical, unless [`KeyUsageCriticality::Tolerate`] (§4.3),
//! 7. which does not contain `keyCertSign` (§4.3, §5.2)
//! 8. nor `cRLSign` (§4.3, §5.2),
//! 9. and contains `digitalSignature` (§4.3);
//! 10. an extended key usage, if there is one, has both `serverAuth` and `clientAuth` (§4.4);
//! 11. the alternative names are critical when the subject is empty (RFC 5280 §4.2.1.6);
//! 12. no critical extension is unknown (RFC 5280 §4.2).
//!
//! [`Issuer::read`] accepts a certificate as an authority's when, in this order:
//!
//! 1. it is a certificate authority (X509-SVID §4.1);
//! 2. its key usage contains `keyCertSign` (§4.3);
//! 3. it has at most one URI, and if that is a SPIFFE ID, one without a path (§3.2);
//! 4. that ID is of the trust domain that it signs for (§3.2, a SHOULD there);
//! 5. an extended key usage, if there is one, has `serverAuth` and `clientAuth`, or `any`: what it
//!    signs serves at both ends (X509-SVID §4.4);
//! 6. its subject is not empty (RFC 5280 §4.1.2.6);
//! 7. no critical extension is unknown (RFC 5280 §4.2).
//!
//! Length and name constraints are the path's. The criticality of an authority's key usage is not
//! looked at: the extension is obeyed either way.

use zt_core::fault::Fault;
use zt_core::spiffe::{SpiffeIdError, SpiffeIdRef, TrustDomain, TrustDomainRef};
use zt_core::time::Validity;

use crate::certificate::{Certificate, CertificateError};

/// Whether a leaf's key usage has to be marked critical, as X509-SVID §4.3 demands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyUsageCriticality {
    /// It has to be.
    #[default]
    Require,
    /// It may be either: for certificates of Istio and of older versions of SPIRE.
    Tolerate,
}

/// A certificate that has the form of a workload's: nothing is proven about who issued it.
#[derive(Clone, Debug)]
pub struct Leaf<'a> {
    certificate: Certificate<'a>,
    id: SpiffeIdRef<'a>,
}

impl<'a> Leaf<'a> {
    /// Reads a workload's certificate.
    ///
    /// # Errors
    ///
    /// [`LeafError`] names the first rule that is broken.
    pub fn read(der: &'a [u8], criticality: KeyUsageCriticality) -> Result<Self, LeafError> {
        let certificate = Certificate::parse(der)?;
        let uri = one_uri(&certificate)?;
        let id = SpiffeIdRef::from_bytes(uri)?;
        names_a_workload(id)?;
        is_no_authority(&certificate)?;
        usage_fits_a_leaf(&certificate, criticality)?;
        serves_both_ends(&certificate)?;
        is_named_by_subject_or_critical_name(&certificate)?;
        understands_critical_extensions(&certificate).map_err(LeafError::UnknownCritical)?;
        Ok(Self { certificate, id })
    }

    /// The SPIFFE ID that it claims.
    #[must_use]
    pub const fn id(&self) -> SpiffeIdRef<'a> {
        self.id
    }

    /// When it counts.
    #[must_use]
    pub const fn validity(&self) -> Validity {
        self.certificate.validity()
    }

    /// The certificate.
    #[must_use]
    pub const fn certificate(&self) -> &Certificate<'a> {
        &self.certificate
    }
}

/// X-01, M-03: exactly one URI, counted over raw bytes.
fn one_uri<'a>(certificate: &Certificate<'a>) -> Result<&'a [u8], LeafError> {
    let names = certificate.alternative_names().ok_or(LeafError::NoUri)?;
    match (names.uris, names.first_uri) {
        (1, Some(uri)) => Ok(uri),
        (0, _) | (_, None) => Err(LeafError::NoUri),
        (uris, Some(_)) => Err(LeafError::SeveralUris { uris }),
    }
}

///
fn names_a_workload(id: SpiffeIdRef<'_>) -> Result<(), LeafError> {
    if id.path().is_empty() { Err(LeafError::NoPath) } else { Ok(()) }
}

/// absent basic constraints say that it is none.
fn is_no_authority(certificate: &Certificate<'_>) -> Result<(), LeafError> {
    match certificate.basic_constraints() {
        Some(constraints) if constraints.ca => Err(LeafError::IsCa),
        Some(_) | None => Ok(()),
    }
}

///
fn usage_fits_a_leaf(
    certificate: &Certificate<'_>,
    criticality: KeyUsageCriticality,
) -> Result<(), LeafError> {
    let usage = certificate.key_usage().ok_or(LeafError::NoKeyUsage)?;
    if !usage.critical && criticality == KeyUsageCriticality::Require {
        return Err(LeafError::KeyUsageNotCritical);
    }
    if usage.key_cert_sign() {
        return Err(LeafError::KeyCertSign);
    }
    if usage.crl_sign() {
        return Err(LeafError::CrlSign);
    }
    if usage.digital_signature() { Ok(()) } else { Err(LeafError::NoDigitalSignature) }
}

///
fn serves_both_ends(certificate: &Certificate<'_>) -> Result<(), LeafError> {
    match certificate.extended_key_usage() {
        Some(usage) if !(usage.server_auth && usage.client_auth) => {
            Err(LeafError::ExtendedKeyUsage {
                server_auth: usage.server_auth,
                client_auth: usage.client_auth,
            })
        }
        Some(_) | None => Ok(()),
    }
}

///
fn is_named_by_subject_or_critical_name(certificate: &Certificate<'_>) -> Result<(), LeafError> {
    let critical = certificate.alternative_names().is_some_and(|names| names.critical);
    if certificate.subject().is_empty() && !critical {
        return Err(LeafError::NamesNotCritical);
    }
    Ok(())
}

/// the evidence is the OID's bytes.
fn understands_critical_extensions(certificate: &Certificate<'_>) -> Result<(), Box<[u8]>> {
    match certificate.unknown_critical_extension() {
        Some(oid) => Err(oid.into()),
        None => Ok(()),
    }
}

/// A certificate that has the form of an authority's: nothing is proven about who issued it.
#[derive(Clone, Debug)]
pub struct Issuer<'a> {
    certificate: Certificate<'a>,
}

impl<'a> Issuer<'a> {
    /// Reads the certificate of an authority that signs for `trust_domain`.
    ///
    /// # Errors
    ///
    /// [`IssuerError`] names the first rule that is broken.
    pub fn read(der: &'a [u8], trust_domain: TrustDomainRef<'_>) -> Result<Self, IssuerError> {
        let certificate = Certificate::parse(der)?;
        is_authority(&certificate)?;
        may_sign_certificates(&certificate)?;
        if let Some(id) = at_most_one_id(&certificate)? {
            has_no_path(id)?;
            is_of_trust_domain(id, trust_domain)?;
        }
        signs_for_both_ends(&certificate)?;
        has_subject(&certificate)?;
        understands_critical_extensions(&certificate).map_err(IssuerError::UnknownCritical)?;
        Ok(Self { certificate })
    }

    /// When it counts.
    #[must_use]
    pub const fn validity(&self) -> Validity {
        self.certificate.validity()
    }

    /// The certificate.
    #[must_use]
    pub const fn certificate(&self) -> &Certificate<'a> {
        &self.certificate
    }
}

/// X-09, M-04: `cA`.
fn is_authority(certificate: &Certificate<'_>) -> Result<(), IssuerError> {
    match certificate.basic_constraints() {
        Some(constraints) if constraints.ca => Ok(()),
        Some(_) | None => Err(IssuerError::NotCa),
    }
}

/// X-09, M-04: `keyCertSign`. X-06: the extension is there.
fn may_sign_certificates(certificate: &Certificate<'_>) -> Result<(), IssuerError> {
    let usage = certificate.key_usage().ok_or(IssuerError::NoKeyUsage)?;
    if usage.key_cert_sign() { Ok(()) } else { Err(IssuerError::NoKeyCertSign) }
}

/// no URI, or one. One that does not claim to be a SPIFFE ID is not one.
fn at_most_one_id<'a>(
    certificate: &Certificate<'a>,
) -> Result<Option<SpiffeIdRef<'a>>, IssuerError> {
    let names = certificate.alternative_names().unwrap_or_default();
    match names.first_uri {
        Some(_) if names.uris > 1 => Err(IssuerError::SeveralUris { uris: names.uris }),
        Some(uri) if claims_spiffe(uri) => Ok(Some(SpiffeIdRef::from_bytes(uri)?)),
        Some(_) | None => Ok(None),
    }
}

/// ID-01: the scheme is compared without case here, so that no spelling of it escapes the rules.
fn claims_spiffe(uri: &[u8]) -> bool {
    uri.split(|byte| *byte == b':').next().is_some_and(|s| s.eq_ignore_ascii_case(b"spiffe"))
}

///
fn has_no_path(id: SpiffeIdRef<'_>) -> Result<(), IssuerError> {
    if id.path().is_empty() { Ok(()) } else { Err(IssuerError::HasPath) }
}

/// X-10, M-02.
fn is_of_trust_domain(
    id: SpiffeIdRef<'_>,
    trust_domain: TrustDomainRef<'_>,
) -> Result<(), IssuerError> {
    if id.trust_domain() == trust_domain {
        return Ok(());
    }
    Err(IssuerError::OtherTrustDomain {
        found: id.trust_domain().to_owned(),
        expected: trust_domain.to_owned(),
    })
}

/// an authority for one of the ends would contradict what every leaf has to be.
fn signs_for_both_ends(certificate: &Certificate<'_>) -> Result<(), IssuerError> {
    match certificate.extended_key_usage() {
        Some(usage) if !(usage.any || usage.server_auth && usage.client_auth) => {
            Err(IssuerError::ExtendedKeyUsage {
                server_auth: usage.server_auth,
                client_auth: usage.client_auth,
            })
        }
        Some(_) | None => Ok(()),
    }
}

/// RFC 5280 §4.1.2.6: what it signs could not name its issuer otherwise.
fn has_subject(certificate: &Certificate<'_>) -> Result<(), IssuerError> {
    if certificate.subject().is_empty() { Err(IssuerError::NoSubject) } else { Ok(()) }
}

/// Why a certificate cannot name a workload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeafError {
    /// It cannot be read.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// it has no URI.
    #[error("the leaf certificate has no URI among its alternative names")]
    NoUri,
    /// it has more than one URI.
    #[error("the leaf certificate has {uris} URIs, and an X.509-SVID has one")]
    SeveralUris {
        /// How many.
        uris: u8,
    },
    /// the URI is not a SPIFFE ID.
    #[error(transparent)]
    SpiffeId(#[from] SpiffeIdError),
    /// the SPIFFE ID names a trust domain and no workload.
    #[error("the SPIFFE ID of the leaf certificate has no path")]
    NoPath,
    /// it is a certificate authority.
    #[error("the leaf certificate is a certificate authority")]
    IsCa,
    /// it has no key usage.
    #[error("the leaf certificate has no key usage")]
    NoKeyUsage,
    /// its key usage is not critical.
    #[error("the key usage of the leaf certificate is not critical")]
    KeyUsageNotCritical,
    /// it may sign certificates.
    #[error("the key usage of the leaf certificate has keyCertSign")]
    KeyCertSign,
    /// it may sign revocation lists.
    #[error("the key usage of the leaf certificate has cRLSign")]
    CrlSign,
    /// it may not sign a handshake.
    #[error("the key usage of the leaf certificate lacks digitalSignature")]
    NoDigitalSignature,
    /// it may be one end of a connection and not the other.
    #[error(
        "the extended key usage of the leaf certificate needs serverAuth and clientAuth \
         (has them: {server_auth}, {client_auth})"
    )]
    ExtendedKeyUsage {
        /// Whether it has `serverAuth`.
        server_auth: bool,
        /// Whether it has `clientAuth`.
        client_auth: bool,
    },
    /// neither subject nor critical alternative names.
    #[error("the leaf certificate has no subject, and its alternative names are not critical")]
    NamesNotCritical,
    /// a critical extension is unknown.
    #[error("the leaf certificate has a critical extension that is unknown (OID {0:02x?})")]
    UnknownCritical(Box<[u8]>),
}

impl LeafError {
    /// Whose fault it is: that of whoever presents the certificate.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Peer
    }
}

/// Why a certificate cannot be an authority's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssuerError {
    /// It cannot be read.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// it is not a certificate authority.
    #[error("the issuing certificate is not a certificate authority")]
    NotCa,
    /// it has no key usage.
    #[error("the issuing certificate has no key usage")]
    NoKeyUsage,
    /// it may not sign certificates.
    #[error("the key usage of the issuing certificate lacks keyCertSign")]
    NoKeyCertSign,
    /// it has more than one URI.
    #[error("the issuing certificate has {uris} URIs, and may have one")]
    SeveralUris {
        /// How many.
        uris: u8,
    },
    /// its URI claims to be a SPIFFE ID and is not.
    #[error(transparent)]
    SpiffeId(#[from] SpiffeIdError),
    /// its SPIFFE ID names a workload.
    #[error("the SPIFFE ID of the issuing certificate has a path")]
    HasPath,
    /// its SPIFFE ID is of another trust domain than the one that it is to sign for.
    #[error("the issuing certificate is of trust domain {found:?} and not of {expected:?}")]
    OtherTrustDomain {
        /// The trust domain that it names.
        found: TrustDomain,
        /// The one that it is to sign for.
        expected: TrustDomain,
    },
    /// it may sign for one end of a connection and not for the other.
    #[error(
        "the extended key usage of the issuing certificate needs serverAuth and clientAuth \
         (has them: {server_auth}, {client_auth})"
    )]
    ExtendedKeyUsage {
        /// Whether it has `serverAuth`.
        server_auth: bool,
        /// Whether it has `clientAuth`.
        client_auth: bool,
    },
    /// RFC 5280 §4.1.2.6: its subject is empty.
    #[error("the issuing certificate has no subject")]
    NoSubject,
    /// a critical extension is unknown.
    #[error("the issuing certificate has a critical extension that is unknown (OID {0:02x?})")]
    UnknownCritical(Box<[u8]>),
}

impl IssuerError {
    /// Whose fault it is: that of whoever presents the certificate.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Peer
    }
}
