//! The extensions that are looked at (RFC 5280 §4.2.1).

use zt_core::spiffe::MAX_URI_LEN;

use super::error::{CertificateError, MAX_EXTENSIONS, MAX_NAMES, in_part};
use crate::der::{self, DerError, Element, Reader, tag};

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

#[derive(Clone, Debug, Default)]
pub(super) struct Extensions<'a> {
    pub(super) basic_constraints: Option<BasicConstraints>,
    pub(super) key_usage: Option<KeyUsage>,
    pub(super) extended_key_usage: Option<ExtendedKeyUsage>,
    pub(super) alternative_names: Option<AlternativeNames<'a>>,
    pub(super) unknown_critical: Option<&'a [u8]>,
}

/// Basic constraints (RFC 5280 §4.2.1.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BasicConstraints {
    /// `cA`
    pub ca: bool,
    /// `pathLenConstraint`: how many authorities may follow on a path, where it says so. 255 stands
    /// for all that is beyond, which no chain has.
    pub path_len: Option<u8>,
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

impl<'a> Extensions<'a> {
    pub(super) fn read(&mut self, mut tagged: Reader<'a, '_>) -> Result<(), CertificateError> {
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

/// One extension, its value not looked into.
pub(crate) struct Extension<'a> {
    pub(crate) oid: &'a [u8],
    pub(crate) critical: bool,
    pub(crate) value: Element<'a>,
}

impl<'a> Extension<'a> {
    pub(crate) fn read(list: &mut Reader<'a, '_>) -> Result<Self, DerError> {
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
        let path_len = parts.optional(tag::INTEGER)?.map(|number| path_len(number.contents));
        parts.finish()?;
        Ok(Self { ca, path_len: path_len.transpose()? })
    }
}

/// An integer that is not negative.
fn path_len(contents: &[u8]) -> Result<u8, DerError> {
    match der::integer(contents)? {
        [0x80..=0xff, ..] => Err(DerError::BadValue),
        [len] => Ok(*len),
        _ => Ok(u8::MAX),
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
