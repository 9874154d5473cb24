//! A certificate, read strictly in one pass without allocation.
//!
//! [`Certificate::parse`] accepts bytes when, in this order:
//!
//! 1. they are at most [`MAX_CERTIFICATE_LEN`] long and one DER element, with nothing behind it;
//! 2. it is an X.509 certificate of version 3 (RFC 5280 §4.1.2.1) whose two names of its
//!    signature algorithm agree, and are well-formed as that of its key is (§4.1.1.2);
//! 3. its serial number has at most 20 octets (§4.1.2.2), its two names are rows of sets of
//!    attributes (§4.1.2.4), and its validity does not end before it begins (§4.1.2.5);
//! 4. it has no unique identifiers (§4.1.2.8), at most [`MAX_EXTENSIONS`] extensions, and none of
//!    them twice (§4.2);
//! 5. basic constraints, key usage, extended key usage and alternative names are well-formed. Of
//!    the names there are 1 to [`MAX_NAMES`]; each is of a known kind in its one encoding
//!    (§4.2.1.6), and a URI has at most [`MAX_URI_LEN`](zt_core::spiffe::MAX_URI_LEN) bytes.
//!
//! A `FALSE` that is written out, which DER would leave out and common issuers write, is read as
//! what it says. What the values mean is decided in [`profile`](crate::profile); nothing here
//! checks a signature.

mod error;
mod extension;

use rustls_pki_types::CertificateDer;
use zt_core::time::Validity;

use self::error::in_part;
pub use self::error::{CertificateError, MAX_CERTIFICATE_LEN, MAX_EXTENSIONS, MAX_NAMES};
pub(crate) use self::extension::Extension;
use self::extension::Extensions;
pub use self::extension::{AlternativeNames, BasicConstraints, ExtendedKeyUsage, KeyUsage};
use crate::der::{self, Budget, DerError, Reader, tag};

/// Elements that a certificate may be made of, where they are looked at: 16 for the frame, 4 for
/// each extension and each attribute of a name, and the rest for what is in five extensions.
const BUDGET: u32 = 400;

/// What there is to know about a certificate before it is believed.
///
/// ```
/// use zt_identity::certificate::{Certificate, CertificateError};
///
/// let refused = Certificate::parse(b"-----BEGIN CERTIFICATE-----").unwrap_err();
/// assert!(matches!(refused, CertificateError::Der { .. }));
/// ```
#[derive(Clone, Debug)]
pub struct Certificate<'a> {
    der: &'a [u8],
    signed: &'a [u8],
    signature_algorithm: &'a [u8],
    signature: &'a [u8],
    serial: &'a [u8],
    issuer: &'a [u8],
    validity: Validity,
    subject: &'a [u8],
    public_key: PublicKey<'a>,
    extensions: Extensions<'a>,
}

/// A subject's public key, in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublicKey<'a> {
    /// The whole `SubjectPublicKeyInfo`.
    pub info: &'a [u8],
    /// What is in it.
    pub contents: &'a [u8],
    /// What is in its `AlgorithmIdentifier`.
    pub algorithm: &'a [u8],
    /// The bytes of the key.
    pub key: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Reads a certificate.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] names the first rule that is broken.
    pub fn parse(der: &'a [u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_CERTIFICATE_LEN {
            return Err(CertificateError::TooLong { len: der.len() });
        }
        let budget = Budget::new(BUDGET);
        let mut outer = Reader::new(der, &budget);
        let mut certificate = outer.enter(tag::SEQUENCE).map_err(in_part("frame"))?;
        outer.finish().map_err(in_part("frame"))?;
        let tbs = certificate.expect(tag::SEQUENCE).map_err(in_part("frame"))?;
        let algorithm = certificate.expect(tag::SEQUENCE).map_err(in_part("signature"))?;
        let signature = certificate.expect(tag::BIT_STRING).map_err(in_part("signature"))?;
        certificate.clone().finish().map_err(in_part("frame"))?;
        let signature = Signature {
            signed: tbs.whole,
            algorithm: algorithm.contents,
            bits: der::octet_aligned_bits(signature.contents).map_err(in_part("signature"))?,
        };
        let tbs = certificate.within(&tbs).map_err(in_part("frame"))?;
        Self::parse_signed(der, &signature, tbs)
    }

    fn parse_signed(
        der: &'a [u8],
        signature: &Signature<'a>,
        mut tbs: Reader<'a, '_>,
    ) -> Result<Self, CertificateError> {
        version(&mut tbs)?;
        let serial = serial(&mut tbs).map_err(in_part("serial number"))?;
        let named = algorithm_identifier(&mut tbs).map_err(in_part("signature algorithm"))?;
        if named != signature.algorithm {
            return Err(CertificateError::SignatureAlgorithms);
        }
        let issuer = name(&mut tbs).map_err(in_part("issuer"))?;
        let validity = validity(&mut tbs)?;
        let subject = name(&mut tbs).map_err(in_part("subject"))?;
        let public_key = PublicKey::read(&mut tbs).map_err(in_part("public key"))?;
        let mut extensions = Extensions::default();
        if let Some(list) =
            tbs.optional(tag::context_constructed(3)).map_err(in_part("extensions"))?
        {
            extensions.read(tbs.within(&list).map_err(in_part("extensions"))?)?;
        }
        tbs.finish().map_err(in_part("frame"))?;
        Ok(Self {
            der,
            signed: signature.signed,
            signature_algorithm: signature.algorithm,
            signature: signature.bits,
            serial,
            issuer,
            validity,
            subject,
            public_key,
            extensions,
        })
    }

    /// The whole certificate in DER.
    #[must_use]
    pub const fn der(&self) -> &'a [u8] {
        self.der
    }

    /// What is signed: `tbsCertificate`.
    #[must_use]
    pub const fn signed(&self) -> &'a [u8] {
        self.signed
    }

    /// What is in the `AlgorithmIdentifier` of the signature.
    #[must_use]
    pub const fn signature_algorithm(&self) -> &'a [u8] {
        self.signature_algorithm
    }

    /// The signature.
    #[must_use]
    pub const fn signature(&self) -> &'a [u8] {
        self.signature
    }

    /// The serial number: a big-endian integer with its sign.
    #[must_use]
    pub const fn serial(&self) -> &'a [u8] {
        self.serial
    }

    /// What is in the issuer's `Name`; empty when it has no parts.
    #[must_use]
    pub const fn issuer(&self) -> &'a [u8] {
        self.issuer
    }

    /// What is in the subject's `Name`; empty when it has no parts.
    #[must_use]
    pub const fn subject(&self) -> &'a [u8] {
        self.subject
    }

    /// When it counts.
    #[must_use]
    pub const fn validity(&self) -> Validity {
        self.validity
    }

    /// The subject's public key.
    #[must_use]
    pub const fn public_key(&self) -> PublicKey<'a> {
        self.public_key
    }

    /// The basic constraints, where there are any.
    #[must_use]
    pub const fn basic_constraints(&self) -> Option<BasicConstraints> {
        self.extensions.basic_constraints
    }

    /// The key usage, where there is one.
    #[must_use]
    pub const fn key_usage(&self) -> Option<KeyUsage> {
        self.extensions.key_usage
    }

    /// The extended key usage, where there is one.
    #[must_use]
    pub const fn extended_key_usage(&self) -> Option<ExtendedKeyUsage> {
        self.extensions.extended_key_usage
    }

    /// The alternative names, where there are any.
    #[must_use]
    pub const fn alternative_names(&self) -> Option<AlternativeNames<'a>> {
        self.extensions.alternative_names
    }

    /// The OID of the first critical extension that nobody here understands.
    #[must_use]
    pub const fn unknown_critical_extension(&self) -> Option<&'a [u8]> {
        self.extensions.unknown_critical
    }
}

struct Signature<'a> {
    signed: &'a [u8],
    algorithm: &'a [u8],
    bits: &'a [u8],
}

/// RFC 5280 §4.1.2.1: only version 3 has extensions.
fn version(tbs: &mut Reader<'_, '_>) -> Result<(), CertificateError> {
    let Some(version) = tbs.optional(tag::context_constructed(0)).map_err(in_part("version"))?
    else {
        return Err(CertificateError::Version);
    };
    match version.contents {
        [tag::INTEGER, 1, 2] => Ok(()),
        _ => Err(CertificateError::Version),
    }
}

/// RFC 5280 §4.1.2.2: at most 20 octets. Zero and negative numbers are to be handled gracefully.
fn serial<'a>(tbs: &mut Reader<'a, '_>) -> Result<&'a [u8], DerError> {
    let serial = der::integer(tbs.expect(tag::INTEGER)?.contents)?;
    if serial.len() > 20 { Err(DerError::BadValue) } else { Ok(serial) }
}

/// RFC 5280 §4.1.2.4, §4.1.2.6: sets of attributes, none of them empty. Yields what is in the name,
/// which is compared byte for byte.
fn name<'a>(tbs: &mut Reader<'a, '_>) -> Result<&'a [u8], DerError> {
    let name = tbs.expect(tag::SEQUENCE)?;
    let mut sets = tbs.within(&name)?;
    while !sets.is_empty() {
        let mut attributes = sets.enter(tag::SET)?;
        // SET SIZE (1..MAX): an empty set fails at its first element.
        loop {
            attribute(&mut attributes)?;
            if attributes.is_empty() {
                break;
            }
        }
    }
    Ok(name.contents)
}

/// A type, and a value of whatever kind.
fn attribute(attributes: &mut Reader<'_, '_>) -> Result<(), DerError> {
    let mut parts = attributes.enter(tag::SEQUENCE)?;
    der::oid(parts.expect(tag::OID)?.contents)?;
    any(&mut parts)?;
    parts.finish()
}

/// RFC 5280 §4.1.1.2: a name, and parameters where it has some. Yields what is in it.
fn algorithm_identifier<'a>(parent: &mut Reader<'a, '_>) -> Result<&'a [u8], DerError> {
    let identifier = parent.expect(tag::SEQUENCE)?;
    let mut parts = parent.within(&identifier)?;
    der::oid(parts.expect(tag::OID)?.contents)?;
    if !parts.is_empty() {
        any(&mut parts)?;
    }
    parts.finish()?;
    Ok(identifier.contents)
}

/// An element of whatever kind, and what is in it.
fn any(parts: &mut Reader<'_, '_>) -> Result<(), DerError> {
    let value = parts.element()?;
    if value.is_constructed() { parts.within(&value)?.walk() } else { Ok(()) }
}

/// RFC 5280 §4.1.2.5.
fn validity(tbs: &mut Reader<'_, '_>) -> Result<Validity, CertificateError> {
    let read = |tbs: &mut Reader<'_, '_>| {
        let mut period = tbs.enter(tag::SEQUENCE)?;
        let not_before = der::time(&period.element()?)?;
        let not_after = der::time(&period.element()?)?;
        period.finish()?;
        Ok((not_before, not_after))
    };
    let (not_before, not_after) = read(tbs).map_err(in_part("validity"))?;
    Ok(Validity::new(not_before, not_after)?)
}

impl<'a> PublicKey<'a> {
    fn read(tbs: &mut Reader<'a, '_>) -> Result<Self, DerError> {
        let info = tbs.expect(tag::SEQUENCE)?;
        let mut parts = tbs.within(&info)?;
        let algorithm = algorithm_identifier(&mut parts)?;
        let key = der::octet_aligned_bits(parts.expect(tag::BIT_STRING)?.contents)?;
        parts.finish()?;
        Ok(Self { info: info.whole, contents: info.contents, algorithm, key })
    }
}

/// Separates certificates that stand one behind the other, as the Workload API delivers a chain.
///
/// # Errors
///
/// [`CertificateError`] when the bytes are not a row of DER elements. Whether those are
/// certificates is not looked at.
pub fn separate(row: &[u8]) -> Result<Vec<CertificateDer<'_>>, CertificateError> {
    let budget = Budget::new(BUDGET);
    let mut reader = Reader::new(row, &budget);
    let mut certificates = Vec::new();
    while !reader.is_empty() {
        let certificate = reader.expect(tag::SEQUENCE).map_err(in_part("frame"))?;
        certificates.push(CertificateDer::from(certificate.whole));
    }
    Ok(certificates)
}
