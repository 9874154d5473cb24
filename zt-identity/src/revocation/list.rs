//! One list: read strictly in one pass, its serial numbers in a set.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, OnceLock};

use zt_core::snapshot::Snapshot;
use zt_core::time::{Timestamp, Validity};

use super::error::{MAX_ENTRIES, MAX_LIST_LEN, RevocationListError, in_part};
use crate::certificate::{Certificate, Extension, PublicKey};
use crate::der::{self, Budget, DerError, Reader, tag};
use crate::signature::Signed;

/// Elements that a list may be made of, where they are looked at: 100 for the frame and its
/// extensions, and for each entry itself, its number, its date, its extensions' frame, and two
/// extensions of four.
const BUDGET: u32 = 100 + 12 * 200_000;
/// How many extensions a list may have. RFC 5280 defines 7.
const MAX_EXTENSIONS: usize = 16;
/// How many keys that did not sign a list are remembered: intermediates that share a name.
const MAX_STRANGERS: usize = 64;
/// RFC 5280 §4.1.2.2, §5.2.3: of serial numbers and of the numbers of lists.
const MAX_NUMBER_LEN: usize = 20;

/// The OIDs of extensions that are read here, below `id-ce` (2.5.29).
mod id_ce {
    pub(super) const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 20];
    pub(super) const DELTA_CRL_INDICATOR: &[u8] = &[0x55, 0x1d, 27];
    pub(super) const ISSUING_DISTRIBUTION_POINT: &[u8] = &[0x55, 0x1d, 28];
    pub(super) const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 35];
}

/// `indirectCRL` of an issuing distribution point.
const INDIRECT_CRL: u8 = tag::context(4);

/// A complete list of the certificates that one authority has revoked. A clone shares it.
///
/// Nothing is proven by reading one: it counts for an authority whose key has signed it.
///
/// ```
/// use zt_identity::revocation::{RevocationList, RevocationListError};
///
/// let refused = RevocationList::from_der(b"-----BEGIN X509 CRL-----").unwrap_err();
/// assert!(matches!(refused, RevocationListError::Der { .. }));
/// ```
#[derive(Clone)]
pub struct RevocationList(Arc<Parts>);

struct Parts {
    signed: Box<[u8]>,
    algorithm: Box<[u8]>,
    signature: Box<[u8]>,
    issuer: Box<[u8]>,
    validity: Validity,
    number: Number,
    revoked: HashSet<Number>,
    // The key that has signed it, once it was found: what is in its `SubjectPublicKeyInfo`.
    signer: OnceLock<Box<[u8]>>,
    // Keys of its issuer's name that have not signed it.
    strangers: Snapshot<Vec<Box<[u8]>>>,
}

impl RevocationList {
    /// Reads a list.
    ///
    /// # Errors
    ///
    /// [`RevocationListError`] names the first rule that is broken.
    pub fn from_der(der: &[u8]) -> Result<Self, RevocationListError> {
        if der.len() > MAX_LIST_LEN {
            return Err(RevocationListError::TooLong { len: der.len() });
        }
        let budget = Budget::new(BUDGET);
        let mut outer = Reader::of_long(der, &budget);
        let mut list = outer.enter(tag::SEQUENCE).map_err(in_part("frame"))?;
        outer.finish().map_err(in_part("frame"))?;
        let tbs = list.expect(tag::SEQUENCE).map_err(in_part("frame"))?;
        let algorithm = list.expect(tag::SEQUENCE).map_err(in_part("signature"))?.contents;
        let signature = list.expect(tag::BIT_STRING).map_err(in_part("signature"))?;
        list.clone().finish().map_err(in_part("frame"))?;
        let signature =
            der::octet_aligned_bits(signature.contents).map_err(in_part("signature"))?;
        let read = CertList::read(list.within(&tbs).map_err(in_part("frame"))?, algorithm)?;
        Ok(Self(Arc::new(Parts {
            signed: tbs.whole.into(),
            algorithm: algorithm.into(),
            signature: signature.into(),
            issuer: read.issuer.into(),
            validity: read.validity,
            number: read.number,
            revoked: read.revoked,
            signer: OnceLock::new(),
            strangers: Snapshot::new(Vec::new()),
        })))
    }

    /// What is in its issuer's `Name`.
    #[must_use]
    pub fn issuer(&self) -> &[u8] {
        &self.0.issuer
    }

    /// When it is current: from `thisUpdate` to `nextUpdate`.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.0.validity
    }

    /// Its number: a big-endian integer without leading zeros.
    #[must_use]
    pub fn number(&self) -> &[u8] {
        self.0.number.significant()
    }

    /// How many certificates are on it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.revoked.len()
    }

    /// Whether no certificate is on it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.revoked.is_empty()
    }

    /// Whether this serial number, as a certificate has it, is on it.
    #[must_use]
    pub fn revokes(&self, serial: &[u8]) -> bool {
        Number::new(serial).is_some_and(|serial| self.0.revoked.contains(&serial))
    }

    /// Whether the authority of this certificate has signed it. The signature is checked once for
    /// each key.
    #[must_use]
    pub fn is_signed_by(&self, authority: &Certificate<'_>) -> bool {
        authority.subject() == self.issuer() && self.is_signed_with(authority.public_key())
    }

    /// Whether the authority that has signed it was found.
    pub(super) fn is_claimed(&self) -> bool {
        self.0.signer.get().is_some()
    }

    pub(super) fn is_newer_than(&self, other: &Self) -> bool {
        let age = |list: &Self| (list.0.number, list.0.validity.not_before());
        age(self) > age(other)
    }

    fn is_signed_with(&self, key: PublicKey<'_>) -> bool {
        let parts = &*self.0;
        if let Some(signer) = parts.signer.get() {
            return **signer == *key.contents;
        }
        if parts.strangers.load().iter().any(|stranger| **stranger == *key.contents) {
            return false;
        }
        let signed = Signed {
            algorithm: &parts.algorithm,
            bytes: &parts.signed,
            signature: &parts.signature,
        };
        let is_by = signed.is_by(key);
        if is_by {
            // Whoever was first has found the same.
            let _ = parts.signer.set(key.contents.into());
        } else {
            parts.remember_stranger(key.contents);
        }
        is_by
    }
}

impl Parts {
    /// Two that are found at once may forget one another: it costs a signature more.
    fn remember_stranger(&self, key: &[u8]) {
        let mut strangers = self.strangers.load().clone();
        if strangers.len() >= MAX_STRANGERS {
            strangers.clear();
        }
        strangers.push(key.into());
        self.strangers.replace(strangers);
    }
}

impl PartialEq for RevocationList {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || self.0.signed == other.0.signed && self.0.signature == other.0.signature
    }
}

impl Eq for RevocationList {}

impl fmt::Debug for RevocationList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationList")
            .field("number", &self.0.number)
            .field("validity", &self.0.validity)
            .field("revoked", &self.0.revoked.len())
            .field("claimed", &self.is_claimed())
            .finish_non_exhaustive()
    }
}

/// A serial number, or the number of a list.
// Filled with its sign from the left, so that numbers that are not negative are in their order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Number([u8; MAX_NUMBER_LEN]);

impl Number {
    /// Of an `INTEGER` in the shortest form; `None` when it is longer than numbers may be.
    fn new(integer: &[u8]) -> Option<Self> {
        let negative = integer.first().is_some_and(|first| *first >= 0x80);
        let mut octets = [if negative { 0xff } else { 0 }; MAX_NUMBER_LEN];
        let start = MAX_NUMBER_LEN.checked_sub(integer.len())?;
        octets.get_mut(start..)?.copy_from_slice(integer);
        Some(Self(octets))
    }

    fn read(integer: &[u8]) -> Result<Self, DerError> {
        Self::new(der::integer(integer)?).ok_or(DerError::BadValue)
    }

    const fn is_negative(self) -> bool {
        self.0[0] >= 0x80
    }

    fn significant(&self) -> &[u8] {
        let zeros = self.0.iter().take_while(|octet| **octet == 0).count();
        self.0.get(zeros..).unwrap_or_default()
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x?}", self.significant())
    }
}

/// What is in a `TBSCertList`.
struct CertList<'a> {
    issuer: &'a [u8],
    validity: Validity,
    number: Number,
    revoked: HashSet<Number>,
}

impl<'a> CertList<'a> {
    fn read(mut tbs: Reader<'a, '_>, algorithm: &[u8]) -> Result<Self, RevocationListError> {
        version(&mut tbs)?;
        let named = tbs.expect(tag::SEQUENCE).map_err(in_part("signature algorithm"))?;
        if named.contents != algorithm {
            return Err(RevocationListError::SignatureAlgorithms);
        }
        let issuer = tbs.expect(tag::SEQUENCE).map_err(in_part("issuer"))?.contents;
        if issuer.is_empty() {
            return Err(RevocationListError::NoIssuer);
        }
        let validity = validity(&mut tbs)?;
        let revoked = entries(&mut tbs)?;
        let number = extensions(&mut tbs)?;
        tbs.finish().map_err(in_part("frame"))?;
        Ok(Self { issuer, validity, number, revoked })
    }
}

/// RFC 5280 §5.1.2.1: only version 2 has extensions.
fn version(tbs: &mut Reader<'_, '_>) -> Result<(), RevocationListError> {
    match tbs.optional(tag::INTEGER).map_err(in_part("version"))? {
        Some(version) if version.contents == [1] => Ok(()),
        Some(_) | None => Err(RevocationListError::Version),
    }
}

/// RFC 5280 §5.1.2.4, §5.1.2.5.
fn validity(tbs: &mut Reader<'_, '_>) -> Result<Validity, RevocationListError> {
    let this_update = tbs.element().and_then(|time| der::time(&time));
    let this_update = this_update.map_err(in_part("thisUpdate"))?;
    let next_update = next_update(tbs).map_err(in_part("nextUpdate"))?;
    Ok(Validity::new(this_update, next_update.ok_or(RevocationListError::NoNextUpdate)?)?)
}

fn next_update(tbs: &mut Reader<'_, '_>) -> Result<Option<Timestamp>, DerError> {
    let time = match tbs.optional(tag::UTC_TIME)? {
        Some(time) => Some(time),
        None => tbs.optional(tag::GENERALIZED_TIME)?,
    };
    time.map(|time| der::time(&time)).transpose()
}

/// RFC 5280 §5.1.2.6.
fn entries(tbs: &mut Reader<'_, '_>) -> Result<HashSet<Number>, RevocationListError> {
    let mut revoked = HashSet::new();
    let Some(list) = tbs.optional(tag::SEQUENCE).map_err(in_part("entries"))? else {
        return Ok(revoked);
    };
    let mut list = tbs.within(&list).map_err(in_part("entries"))?;
    let mut left = MAX_ENTRIES;
    while !list.is_empty() {
        left = left.checked_sub(1).ok_or(RevocationListError::TooManyEntries)?;
        let mut entry = list.enter(tag::SEQUENCE).map_err(in_part("entries"))?;
        revoked.insert(serial(&mut entry).map_err(in_part("entries"))?);
        entry_extensions(entry)?;
    }
    Ok(revoked)
}

fn serial(entry: &mut Reader<'_, '_>) -> Result<Number, DerError> {
    let serial = Number::read(entry.expect(tag::INTEGER)?.contents)?;
    der::time(&entry.element()?)?;
    Ok(serial)
}

/// RFC 5280 §5.3: one that is critical changes what the entry says.
fn entry_extensions(mut entry: Reader<'_, '_>) -> Result<(), RevocationListError> {
    let Some(list) = entry.optional(tag::SEQUENCE).map_err(in_part("entries"))? else {
        return entry.finish().map_err(in_part("entries"));
    };
    let mut list = entry.within(&list).map_err(in_part("entries"))?;
    entry.finish().map_err(in_part("entries"))?;
    // SEQUENCE SIZE (1..MAX): an empty list fails at its first element.
    loop {
        let extension = Extension::read(&mut list).map_err(in_part("entries"))?;
        if extension.critical {
            return Err(RevocationListError::CriticalInEntry { oid: extension.oid.into() });
        }
        if list.is_empty() {
            return Ok(());
        }
    }
}

/// RFC 5280 §5.2: the list's number, which is all that is taken from them.
fn extensions(tbs: &mut Reader<'_, '_>) -> Result<Number, RevocationListError> {
    let tagged = tbs.optional(tag::context_constructed(0)).map_err(in_part("extensions"))?;
    let tagged = tagged.ok_or(RevocationListError::NoNumber)?;
    let mut tagged = tbs.within(&tagged).map_err(in_part("extensions"))?;
    let mut list = tagged.enter(tag::SEQUENCE).map_err(in_part("extensions"))?;
    tagged.finish().map_err(in_part("extensions"))?;
    let mut seen: [&[u8]; MAX_EXTENSIONS] = [&[]; MAX_EXTENSIONS];
    let mut number = None;
    for place in 0.. {
        if list.is_empty() {
            break;
        }
        let extension = Extension::read(&mut list).map_err(in_part("extensions"))?;
        if seen.contains(&extension.oid) {
            return Err(RevocationListError::DuplicateExtension);
        }
        let too_many = in_part("extensions")(DerError::BudgetSpent);
        *seen.get_mut(place).ok_or(too_many)? = extension.oid;
        match extension.oid {
            id_ce::CRL_NUMBER if extension.critical => {
                return Err(RevocationListError::NumberCritical);
            }
            id_ce::CRL_NUMBER => {
                let value = list.within(&extension.value).and_then(crl_number);
                number = Some(value.map_err(in_part("number"))?);
            }
            id_ce::DELTA_CRL_INDICATOR => return Err(RevocationListError::Delta),
            id_ce::ISSUING_DISTRIBUTION_POINT => {
                let indirect = list.within(&extension.value).and_then(is_indirect);
                return Err(match indirect.map_err(in_part("distribution point"))? {
                    true => RevocationListError::Indirect,
                    false => RevocationListError::Scoped,
                });
            }
            // It helps to find the issuer, and proves nothing.
            id_ce::AUTHORITY_KEY_IDENTIFIER => {}
            unknown if extension.critical => {
                return Err(RevocationListError::UnknownCritical { oid: unknown.into() });
            }
            _ => {}
        }
    }
    number.ok_or(RevocationListError::NoNumber)
}

/// RFC 5280 §5.2.3: at most 20 octets, and not negative.
fn crl_number(mut value: Reader<'_, '_>) -> Result<Number, DerError> {
    let number = Number::read(value.expect(tag::INTEGER)?.contents)?;
    value.finish()?;
    if number.is_negative() { Err(DerError::BadValue) } else { Ok(number) }
}

/// RFC 5280 §5.2.5.
fn is_indirect(mut value: Reader<'_, '_>) -> Result<bool, DerError> {
    let mut parts = value.enter(tag::SEQUENCE)?;
    value.finish()?;
    let mut indirect = false;
    while !parts.is_empty() {
        let part = parts.element()?;
        indirect |= part.tag == INDIRECT_CRL && der::boolean(part.contents)?;
    }
    Ok(indirect)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(integer: &[u8]) -> Number {
        Number::read(integer).unwrap()
    }

    #[test]
    fn numbers_are_in_their_order() {
        let ordered =
            [&[0][..], &[1], &[0x7f], &[0, 0x80], &[0, 0xff], &[1, 0], &[0x7f; MAX_NUMBER_LEN]];
        assert!(ordered.map(number).is_sorted());
        assert_eq!(number(&[0, 0x80]).significant(), [0x80]);
        assert!(number(&[0]).significant().is_empty());
    }

    #[test]
    fn a_number_and_its_negative_differ() {
        assert_ne!(number(&[0x80]), number(&[0, 0x80]));
        assert_ne!(number(&[0xff]), number(&[0, 0xff]));
        assert!(number(&[0x80]).is_negative() && !number(&[0, 0x80]).is_negative());
    }

    #[test]
    fn a_number_is_in_its_shortest_form_and_has_at_most_20_octets() {
        assert_eq!(Number::read(&[0, 1]), Err(DerError::BadValue));
        assert_eq!(Number::read(&[]), Err(DerError::BadValue));
        assert_eq!(Number::read(&[1; MAX_NUMBER_LEN + 1]), Err(DerError::BadValue));
    }

    #[test]
    fn the_budget_is_that_of_the_most_entries() {
        assert_eq!(usize::try_from(BUDGET - 100).unwrap(), 12 * MAX_ENTRIES);
    }
}
