//! Revocation lists, sound ones and ones with a defect.

use std::fmt;
use std::time::Duration;

use rcgen::{KeyPair, SigningKey};
use zt_core::time::Timestamp;

use super::BACKDATED;
use super::error::AuthorityError;
use super::folder;
use super::template::tlv;
use crate::certificate::Certificate;
use crate::der::tag;
use crate::revocation::RevocationList;
use crate::x509_identity::X509IdentityError;

/// How long a revocation list is current unless it is asked for otherwise: 1 day.
pub const CRL_LIFETIME: Duration = Duration::from_secs(24 * 3600);

const HOUR: Duration = Duration::from_secs(3600);
/// 1.2.840.10045.4.3.2: what rcgen signs with when it is not told otherwise.
const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
/// 1.2.840.10045.4.3.3.
const ECDSA_WITH_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3];

/// One thing that is wrong with a revocation list that is issued for a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CrlDefect {
    /// The next list was to be issued an hour ago.
    Stale,
    /// It is to be issued in an hour.
    NotYetCurrent,
    /// It is signed by a key that is not its issuer's.
    WrongSigner,
    /// A byte follows it.
    TrailingByte,
    /// It is of version 1.
    Version1,
    /// It names another signature algorithm than the one it is signed with.
    SignatureAlgorithms,
    /// Its issuer has no name.
    NoIssuer,
    /// It does not say when the next one will be issued.
    NoNextUpdate,
    /// The next list was to be issued before it.
    Backwards,
    /// An entry is a certificate of another issuer.
    EntryOfOtherIssuer,
    /// It is a delta.
    Delta,
    /// It tells of leaves only.
    Scoped,
    /// It may have entries of other issuers.
    Indirect,
    /// It has a critical extension that nobody knows.
    UnknownCritical,
    /// It has its number twice.
    DuplicateExtension,
    /// It has no number.
    NoNumber,
    /// Its number is critical.
    NumberCritical,
    /// Its number is negative.
    NumberNegative,
}

/// A revocation list that an authority is asked for.
#[must_use]
pub struct CrlRequest<'a> {
    issuer: &'a [u8],
    key: &'a KeyPair,
    now: Timestamp,
    lifetime: Duration,
    number: u64,
    serials: Vec<Vec<u8>>,
    defect: Option<CrlDefect>,
}

impl<'a> CrlRequest<'a> {
    pub(super) const fn new(issuer: &'a [u8], key: &'a KeyPair, now: Timestamp) -> Self {
        Self {
            issuer,
            key,
            now,
            lifetime: CRL_LIFETIME,
            number: 1,
            serials: Vec::new(),
            defect: None,
        }
    }

    /// With this certificate on it.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`] when it is no certificate.
    pub fn revoking(mut self, certificate: &[u8]) -> Result<Self, AuthorityError> {
        let certificate = Certificate::parse(certificate).map_err(X509IdentityError::from)?;
        self.serials.push(certificate.serial().to_vec());
        Ok(self)
    }

    /// With these serial numbers on it: big-endian integers with their sign, in their shortest form.
    pub fn revoking_serials(mut self, serials: impl IntoIterator<Item = Vec<u8>>) -> Self {
        self.serials.extend(serials);
        self
    }

    /// With another number than 1.
    pub const fn numbered(mut self, number: u64) -> Self {
        self.number = number;
        self
    }

    /// Issued at another time.
    pub const fn at(mut self, now: Timestamp) -> Self {
        self.now = now;
        self
    }

    /// Current for another time than [`CRL_LIFETIME`].
    pub const fn lasting(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// With one defect.
    pub const fn with_defect(mut self, defect: CrlDefect) -> Self {
        self.defect = Some(defect);
        self
    }

    /// Issues it as a list, which is refused with most defects.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::RevocationList`] for a defect, else as [`CrlRequest::der`].
    pub fn list(self) -> Result<RevocationList, AuthorityError> {
        Ok(RevocationList::from_der(&self.der()?)?)
    }

    /// Issues it as PEM.
    ///
    /// # Errors
    ///
    /// As [`CrlRequest::der`].
    pub fn pem(self) -> Result<String, AuthorityError> {
        Ok(folder::pem("X509 CRL", &self.der()?))
    }

    /// Issues it as it is, in DER.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`] when there is no randomness for a signature.
    pub fn der(self) -> Result<Vec<u8>, AuthorityError> {
        let tbs = tlv(tag::SEQUENCE, &self.tbs()?);
        let signature = if self.is(CrlDefect::WrongSigner) {
            KeyPair::generate()?.sign(&tbs)?
        } else {
            self.key.sign(&tbs)?
        };
        let bits = tlv(tag::BIT_STRING, &[&[0], &*signature].concat());
        let mut list =
            tlv(tag::SEQUENCE, &[&*tbs, &*algorithm(ECDSA_WITH_SHA256), &*bits].concat());
        if self.is(CrlDefect::TrailingByte) {
            list.push(0);
        }
        Ok(list)
    }

    fn is(&self, defect: CrlDefect) -> bool {
        self.defect == Some(defect)
    }

    fn tbs(&self) -> Result<Vec<u8>, AuthorityError> {
        let issuer = Certificate::parse(self.issuer).map_err(X509IdentityError::from)?;
        let named = match self.defect {
            Some(CrlDefect::SignatureAlgorithms) => ECDSA_WITH_SHA384,
            Some(_) | None => ECDSA_WITH_SHA256,
        };
        let name = if self.is(CrlDefect::NoIssuer) { &[] } else { issuer.subject() };
        let mut tbs = Vec::new();
        if !self.is(CrlDefect::Version1) {
            tbs.extend(tlv(tag::INTEGER, &[1]));
        }
        tbs.extend(algorithm(named));
        tbs.extend(tlv(tag::SEQUENCE, name));
        tbs.extend(self.updates());
        if !self.serials.is_empty() || self.is(CrlDefect::EntryOfOtherIssuer) {
            tbs.extend(tlv(tag::SEQUENCE, &self.entries()));
        }
        let extensions = tlv(tag::SEQUENCE, &self.extensions());
        tbs.extend(tlv(tag::context_constructed(0), &extensions));
        Ok(tbs)
    }

    fn updates(&self) -> Vec<u8> {
        let now = self.now;
        let current = (now.saturating_sub(BACKDATED), now.saturating_add(self.lifetime));
        let (this, next) = match self.defect {
            Some(CrlDefect::Stale) => {
                (now.saturating_sub(HOUR.saturating_mul(2)), now.saturating_sub(HOUR))
            }
            Some(CrlDefect::NotYetCurrent) => (now.saturating_add(HOUR), current.1),
            Some(CrlDefect::Backwards) => (current.1, current.0),
            Some(_) | None => current,
        };
        let next = if self.is(CrlDefect::NoNextUpdate) { Vec::new() } else { date(next) };
        [date(this), next].concat()
    }

    fn entries(&self) -> Vec<u8> {
        let date = date(self.now.saturating_sub(BACKDATED));
        let mut entries = Vec::new();
        for serial in &self.serials {
            entries.extend(tlv(tag::SEQUENCE, &[&*tlv(tag::INTEGER, serial), &*date].concat()));
        }
        if self.is(CrlDefect::EntryOfOtherIssuer) {
            let name = tlv(tag::context_constructed(4), &tlv(tag::SEQUENCE, &[]));
            let issuer = extension(29, true, &tlv(tag::SEQUENCE, &name));
            let parts = [tlv(tag::INTEGER, &[1]), date, tlv(tag::SEQUENCE, &issuer)];
            entries.extend(tlv(tag::SEQUENCE, &parts.concat()));
        }
        entries
    }

    fn extensions(&self) -> Vec<u8> {
        let number = extension(20, self.is(CrlDefect::NumberCritical), &self.number());
        let more = match self.defect {
            Some(CrlDefect::NoNumber) => return extension(35, false, &tlv(tag::SEQUENCE, &[])),
            Some(CrlDefect::DuplicateExtension) => number.clone(),
            Some(CrlDefect::Delta) => extension(27, true, &tlv(tag::INTEGER, &[1])),
            Some(CrlDefect::Scoped) => distribution_point(tag::context(1)),
            Some(CrlDefect::Indirect) => distribution_point(tag::context(4)),
            Some(CrlDefect::UnknownCritical) => extension(99, true, &tlv(tag::OCTET_STRING, b"?")),
            Some(_) | None => Vec::new(),
        };
        [number, more].concat()
    }

    fn number(&self) -> Vec<u8> {
        if self.is(CrlDefect::NumberNegative) {
            return tlv(tag::INTEGER, &[0x80]);
        }
        let octets = self.number.to_be_bytes();
        let zeros = octets.iter().take_while(|octet| **octet == 0).count();
        let mut integer = octets.get(zeros..).unwrap_or_default().to_vec();
        if integer.first().is_none_or(|first| *first >= 0x80) {
            integer.insert(0, 0);
        }
        tlv(tag::INTEGER, &integer)
    }
}

impl fmt::Debug for CrlRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrlRequest")
            .field("now", &self.now)
            .field("number", &self.number)
            .field("serials", &self.serials.len())
            .field("defect", &self.defect)
            .finish_non_exhaustive()
    }
}

fn algorithm(oid: &[u8]) -> Vec<u8> {
    tlv(tag::SEQUENCE, &tlv(tag::OID, oid))
}

/// An extension below `id-ce`.
fn extension(number: u8, critical: bool, value: &[u8]) -> Vec<u8> {
    let oid = tlv(tag::OID, &[0x55, 0x1d, number]);
    let critical = if critical { tlv(tag::BOOLEAN, &[0xff]) } else { Vec::new() };
    tlv(tag::SEQUENCE, &[oid, critical, tlv(tag::OCTET_STRING, value)].concat())
}

/// One whose flag with this tag is set.
fn distribution_point(flag: u8) -> Vec<u8> {
    extension(28, true, &tlv(tag::SEQUENCE, &tlv(flag, &[0xff])))
}

/// RFC 5280 §5.1.2.4: two digits of the year until 2049, four from then on.
fn date(time: Timestamp) -> Vec<u8> {
    let text = Timestamp::from_secs(time.as_secs()).to_string();
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_digit).collect();
    let (tag, digits) = match digits.strip_prefix(b"20") {
        Some(short @ [b'0'..=b'4', ..]) => (tag::UTC_TIME, short),
        Some(_) | None => (tag::GENERALIZED_TIME, &*digits),
    };
    tlv(tag, &[digits, b"Z"].concat())
}
