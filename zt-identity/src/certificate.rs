//! A certificate, read strictly in one pass without allocation.
//!
//! [`Certificate::parse`] accepts bytes when, in this order:
//!
//! 1. they are at most [`MAX_CERTIFICATE_LEN`] long and one DER element, with nothing behind it;
//! 2. it is an X.509 certificate of version 3 (RFC 5280 §4.1.2.1) whose two names of its
//!    signature algorithm agree (§4.1.1.2);
//! 3. its serial number has at most 20 octets (§4.1.2.2) and its validity does not end before it
//!    begins (§4.1.2.5);
//! 4. it has no unique identifiers (§4.1.2.8), at most [`MAX_EXTENSIONS`] extensions, and none of
//!    them twice (§4.2);
//! 5. basic constraints, key usage, extended key usage and alternative names are well-formed. Of
//!    the names there are 1 to [`MAX_NAMES`]; each is of a known kind in its one encoding
//!    (§4.2.1.6), and a URI has at most [`MAX_URI_LEN`] bytes.
//!
//! A `FALSE` that is written out, which DER would leave out and common issuers write, is read as
//! what it says. What the values mean is decided in [`profile`](crate::profile); nothing here
//! checks a signature.

use rustls_pki_types::CertificateDer;
use zt_core::fault::Fault;
use zt_core::spiffe::MAX_URI_LEN;
use zt_core::time::{EmptyValidity, Validity};

use crate::der::{self, Budget, DerError, Element, Reader, tag};

/// The longest certificate that is read, in bytes: as much as a whole chain may have.
pub const MAX_CERTIFICATE_LEN: usize = 16 * 1024;
/// How many extensions a certificate may have. RFC 5280 defines 17.
pub const MAX_EXTENSIONS: usize = 32;
/// How many alternative names a certificate may have: one URI, and room for DNS names.
pub const MAX_NAMES: u8 = 16;

/// Elements that a certificate may be made of, where they are looked at: 12 for the frame, 4 for
/// each extension, and the rest for what is in five of them.
const BUDGET: u16 = 400;

/// The OIDs of extensions that are read here or by path validation, below `id-ce` (2.5.29).
mod id_ce {
    pub(super) const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
    pub(super) const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 17];
    pub(super) const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
    pub(super) const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 30];
    pub(super) const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];
}

const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
const ANY_EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37, 0];

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
    /// What is in its `AlgorithmIdentifier`.
    pub algorithm: &'a [u8],
    /// The bytes of the key.
    pub key: &'a [u8],
}

#[derive(Clone, Debug, Default)]
struct Extensions<'a> {
    basic_constraints: Option<BasicConstraints>,
    key_usage: Option<KeyUsage>,
    extended_key_usage: Option<ExtendedKeyUsage>,
    alternative_names: Option<AlternativeNames<'a>>,
    unknown_critical: Option<&'a [u8]>,
}

/// Basic constraints (RFC 5280 §4.2.1.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BasicConstraints {
    /// `cA`
    pub ca: bool,
    /// Whether there is a `pathLenConstraint`; path validation enforces it.
    pub path_len: bool,
}

/// A key usage (RFC 5280 §4.2.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyUsage {
    // Bit 0 of the extension is the highest.
    bits: u16,
    /// Whether it is marked critical.
    pub critical: bool,
}

impl KeyUsage {
    /// `digitalSignature`
    #[must_use]
    pub const fn digital_signature(self) -> bool {
        self.bits & 0x8000 != 0
    }

    /// `keyCertSign`
    #[must_use]
    pub const fn key_cert_sign(self) -> bool {
        self.bits & 0x0400 != 0
    }

    /// `cRLSign`
    #[must_use]
    pub const fn crl_sign(self) -> bool {
        self.bits & 0x0200 != 0
    }
}

/// An extended key usage (RFC 5280 §4.2.1.12).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExtendedKeyUsage {
    /// `id-kp-serverAuth`
    pub server_auth: bool,
    /// `id-kp-clientAuth`
    pub client_auth: bool,
    /// `anyExtendedKeyUsage`
    pub any: bool,
}

/// Alternative names of a subject (RFC 5280 §4.2.1.6): all were looked at, URIs are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AlternativeNames<'a> {
    /// Whether the extension is marked critical.
    pub critical: bool,
    /// How many names are URIs, of whatever scheme.
    pub uris: u8,
    /// The first of the URIs.
    pub first_uri: Option<&'a [u8]>,
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
        let named = tbs.expect(tag::SEQUENCE).map_err(in_part("signature algorithm"))?;
        if named.contents != signature.algorithm {
            return Err(CertificateError::SignatureAlgorithms);
        }
        let issuer = tbs.expect(tag::SEQUENCE).map_err(in_part("issuer"))?;
        let validity = validity(&mut tbs)?;
        let subject = tbs.expect(tag::SEQUENCE).map_err(in_part("subject"))?;
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
            issuer: issuer.contents,
            validity,
            subject: subject.contents,
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
        let algorithm = parts.expect(tag::SEQUENCE)?.contents;
        let key = der::octet_aligned_bits(parts.expect(tag::BIT_STRING)?.contents)?;
        parts.finish()?;
        Ok(Self { info: info.whole, algorithm, key })
    }
}

impl<'a> Extensions<'a> {
    fn read(&mut self, mut tagged: Reader<'a, '_>) -> Result<(), CertificateError> {
        let mut list = tagged.enter(tag::SEQUENCE).map_err(in_part("extensions"))?;
        tagged.finish().map_err(in_part("extensions"))?;
        let mut seen: [&[u8]; MAX_EXTENSIONS] = [&[]; MAX_EXTENSIONS];
        let mut places = seen.iter_mut();
        let mut count = 0usize;
        while !list.is_empty() {
            let extension = Extension::read(&mut list).map_err(in_part("extensions"))?;
            *places.next().ok_or(CertificateError::TooManyExtensions)? = extension.oid;
            count = count.saturating_add(1);
            self.set(&list, &extension)?;
        }
        no_extension_twice(seen.get(..count).unwrap_or_default())
    }

    fn set(
        &mut self,
        list: &Reader<'a, '_>,
        extension: &Extension<'a>,
    ) -> Result<(), CertificateError> {
        let value = || list.within(&extension.value);
        let critical = extension.critical;
        match extension.oid {
            id_ce::BASIC_CONSTRAINTS => {
                let read = value().and_then(BasicConstraints::read);
                self.basic_constraints = Some(read.map_err(in_part("basic constraints"))?);
            }
            id_ce::KEY_USAGE => {
                let read = value().and_then(|value| KeyUsage::read(value, critical));
                self.key_usage = Some(read.map_err(in_part("key usage"))?);
            }
            id_ce::EXTENDED_KEY_USAGE => {
                let read = value().and_then(ExtendedKeyUsage::read);
                self.extended_key_usage = Some(read.map_err(in_part("extended key usage"))?);
            }
            id_ce::SUBJECT_ALT_NAME => {
                let value = value().map_err(in_part("alternative names"))?;
                self.alternative_names = Some(AlternativeNames::read(value, critical)?);
            }
            // Path validation enforces them.
            id_ce::NAME_CONSTRAINTS => {}
            unknown if critical && self.unknown_critical.is_none() => {
                self.unknown_critical = Some(unknown);
            }
            _ => {}
        }
        Ok(())
    }
}

struct Extension<'a> {
    oid: &'a [u8],
    critical: bool,
    value: Element<'a>,
}

impl<'a> Extension<'a> {
    fn read(list: &mut Reader<'a, '_>) -> Result<Self, DerError> {
        let mut parts = list.enter(tag::SEQUENCE)?;
        let oid = der::oid(parts.expect(tag::OID)?.contents)?;
        let critical = optional_boolean(&mut parts)?;
        let value = parts.expect(tag::OCTET_STRING)?;
        parts.finish()?;
        Ok(Self { oid, critical, value })
    }
}

/// RFC 5280 §4.2: at most [`MAX_EXTENSIONS`]² comparisons of a few bytes.
fn no_extension_twice(mut oids: &[&[u8]]) -> Result<(), CertificateError> {
    while let Some((first, rest)) = oids.split_first() {
        if rest.contains(first) {
            return Err(CertificateError::DuplicateExtension);
        }
        oids = rest;
    }
    Ok(())
}

fn optional_boolean(parts: &mut Reader<'_, '_>) -> Result<bool, DerError> {
    match parts.optional(tag::BOOLEAN)? {
        Some(boolean) => der::boolean(boolean.contents),
        None => Ok(false),
    }
}

impl BasicConstraints {
    fn read(mut value: Reader<'_, '_>) -> Result<Self, DerError> {
        let mut parts = value.enter(tag::SEQUENCE)?;
        value.finish()?;
        let ca = optional_boolean(&mut parts)?;
        let path_len = parts.optional(tag::INTEGER)?;
        parts.finish()?;
        if let Some(path_len) = path_len {
            let negative = der::integer(path_len.contents)?.first().is_some_and(|b| *b >= 0x80);
            if negative {
                return Err(DerError::BadValue);
            }
        }
        Ok(Self { ca, path_len: path_len.is_some() })
    }
}

impl KeyUsage {
    fn read(mut value: Reader<'_, '_>, critical: bool) -> Result<Self, DerError> {
        let bits = der::named_bits(value.expect(tag::BIT_STRING)?.contents)?;
        value.finish()?;
        Ok(Self { bits, critical })
    }
}

impl ExtendedKeyUsage {
    fn read(mut value: Reader<'_, '_>) -> Result<Self, DerError> {
        let mut purposes = value.enter(tag::SEQUENCE)?;
        value.finish()?;
        let mut usage = Self::default();
        // SEQUENCE SIZE (1..MAX): an empty list fails at its first element.
        loop {
            match der::oid(purposes.expect(tag::OID)?.contents)? {
                SERVER_AUTH => usage.server_auth = true,
                CLIENT_AUTH => usage.client_auth = true,
                ANY_EXTENDED_KEY_USAGE => usage.any = true,
                _ => {}
            }
            if purposes.is_empty() {
                return Ok(usage);
            }
        }
    }
}

impl<'a> AlternativeNames<'a> {
    fn read(mut value: Reader<'a, '_>, critical: bool) -> Result<Self, CertificateError> {
        let mut names = value.enter(tag::SEQUENCE).map_err(in_part("alternative names"))?;
        value.finish().map_err(in_part("alternative names"))?;
        let mut read = Self { critical, ..Self::default() };
        let mut left = MAX_NAMES;
        // SEQUENCE SIZE (1..MAX): an empty list fails at its first element.
        loop {
            let name = names.element().map_err(in_part("alternative names"))?;
            left = left.checked_sub(1).ok_or(CertificateError::TooManyNames)?;
            read.add(&names, &name)?;
            if names.is_empty() {
                return Ok(read);
            }
        }
    }

    fn add(&mut self, names: &Reader<'a, '_>, name: &Element<'a>) -> Result<(), CertificateError> {
        general_name(names, name).map_err(in_part("alternative names"))?;
        if name.tag == URI {
            if name.contents.len() > MAX_URI_LEN {
                return Err(CertificateError::UriTooLong { len: name.contents.len() });
            }
            self.uris = self.uris.saturating_add(1);
            self.first_uri = self.first_uri.or(Some(name.contents));
        }
        Ok(())
    }
}

const OTHER_NAME: u8 = tag::context_constructed(0);
const EMAIL: u8 = tag::context(1);
const DNS: u8 = tag::context(2);
const X400_ADDRESS: u8 = tag::context_constructed(3);
const DIRECTORY_NAME: u8 = tag::context_constructed(4);
const EDI_PARTY_NAME: u8 = tag::context_constructed(5);
const URI: u8 = tag::context(6);
const IP_ADDRESS: u8 = tag::context(7);
const REGISTERED_ID: u8 = tag::context(8);

/// RFC 5280 §4.2.1.6: one of nine kinds, each in its one encoding. A URI with the constructed bit
/// is none of them, so no second URI passes unseen.
fn general_name(names: &Reader<'_, '_>, name: &Element<'_>) -> Result<(), DerError> {
    let well_formed = match name.tag {
        EMAIL | DNS | URI => name.contents.is_ascii(),
        IP_ADDRESS => matches!(name.contents.len(), 4 | 16),
        REGISTERED_ID => der::oid(name.contents).is_ok(),
        OTHER_NAME | X400_ADDRESS | DIRECTORY_NAME | EDI_PARTY_NAME => {
            return names.within(name)?.walk();
        }
        found => return Err(DerError::UnexpectedTag { expected: URI, found }),
    };
    if well_formed { Ok(()) } else { Err(DerError::BadValue) }
}

fn in_part(part: &'static str) -> impl FnOnce(DerError) -> CertificateError {
    move |source| CertificateError::Der { part, source }
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

/// Why bytes are not a certificate that can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Longer than [`MAX_CERTIFICATE_LEN`].
    #[error("a certificate of {len} bytes is longer than {MAX_CERTIFICATE_LEN}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// Not DER, or not the DER of a certificate.
    #[error("the {part} of the certificate cannot be read")]
    Der {
        /// Which part.
        part: &'static str,
        /// What is wrong with it.
        source: DerError,
    },
    /// Not version 3.
    #[error("the certificate is not of version 3")]
    Version,
    /// The signature's algorithm is named twice, differently.
    #[error("the certificate names two signature algorithms")]
    SignatureAlgorithms,
    /// It ends before it begins.
    #[error(transparent)]
    Validity(#[from] EmptyValidity),
    /// An extension occurs twice.
    #[error("an extension occurs twice")]
    DuplicateExtension,
    /// More than [`MAX_EXTENSIONS`].
    #[error("there are more than {MAX_EXTENSIONS} extensions")]
    TooManyExtensions,
    /// More than [`MAX_NAMES`].
    #[error("there are more than {MAX_NAMES} alternative names")]
    TooManyNames,
    /// A URI above [`MAX_URI_LEN`].
    #[error("a URI of {len} bytes is longer than {MAX_URI_LEN}")]
    UriTooLong {
        /// Its length in bytes.
        len: usize,
    },
}

impl CertificateError {
    /// Whose fault it is: that of whoever presents the certificate.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Peer
    }
}
