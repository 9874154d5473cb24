//! A certificate before it is signed, with every extension that the profiles look at spelled out,
//! so that each can be spelled wrongly.

use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer,
    KeyPair, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use zt_core::time::Timestamp;

use super::error::AuthorityError;
use crate::der::tag;

pub(super) const DIGITAL_SIGNATURE: u8 = 0x80;
pub(super) const KEY_ENCIPHERMENT: u8 = 0x20;
pub(super) const KEY_CERT_SIGN: u8 = 0x04;
pub(super) const CRL_SIGN: u8 = 0x02;

/// The tag of a URI among alternative names.
pub(super) const URI: u8 = tag::context(6);
/// The tag of a DNS name among alternative names.
pub(super) const DNS: u8 = tag::context(2);

#[derive(Clone)]
pub(super) struct Template {
    pub(super) subject: String,
    pub(super) names: Vec<(u8, Vec<u8>)>,
    pub(super) names_critical: bool,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    pub(super) ca: bool,
    pub(super) path_len: Option<u8>,
    pub(super) key_usage: u8,
    pub(super) key_usage_critical: bool,
    pub(super) purposes: Vec<ExtendedKeyUsagePurpose>,
    pub(super) unknown_critical: bool,
    /// Derived from the key where there is none.
    pub(super) serial: Option<Vec<u8>>,
}

impl Template {
    pub(super) fn self_signed(
        &self,
        key: &KeyPair,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        Ok(self.params(key)?.self_signed(key)?.into())
    }

    pub(super) fn signed_by(
        &self,
        key: &KeyPair,
        issuer: &Self,
        issuer_key: &KeyPair,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        let issuer = issuer.params(issuer_key)?;
        let mut params = self.params(key)?;
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(key, &Issuer::from_params(&issuer, issuer_key))?.into())
    }

    fn params(&self, key: &KeyPair) -> Result<CertificateParams, AuthorityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if !self.subject.is_empty() {
            params.distinguished_name.push(DnType::CommonName, self.subject.as_str());
        }
        params.serial_number = self.serial.clone().map(SerialNumber::from);
        params.not_before = date(self.not_before)?;
        params.not_after = date(self.not_after)?;
        params.extended_key_usages.clone_from(&self.purposes);
        params.custom_extensions = self.extensions();
        if self.ca {
            // RFC 5280 §4.2.1.2: OpenSSL's strict mode, which is Python's default, looks for it.
            let identifier = tlv(tag::OCTET_STRING, &params.key_identifier(key));
            params.custom_extensions.push(extension(14, false, identifier));
        }
        Ok(params)
    }

    fn extensions(&self) -> Vec<CustomExtension> {
        let mut extensions = vec![extension(19, true, self.basic_constraints())];
        if self.key_usage != 0 {
            let unused = self.key_usage.trailing_zeros().to_be_bytes()[3];
            let bits = tlv(tag::BIT_STRING, &[unused, self.key_usage]);
            extensions.push(extension(15, self.key_usage_critical, bits));
        }
        if !self.names.is_empty() {
            let names: Vec<u8> =
                self.names.iter().flat_map(|(tag, name)| tlv(*tag, name)).collect();
            extensions.push(extension(17, self.names_critical, tlv(tag::SEQUENCE, &names)));
        }
        if self.unknown_critical {
            extensions.push(extension(99, true, tlv(tag::OCTET_STRING, b"?")));
        }
        extensions
    }

    fn basic_constraints(&self) -> Vec<u8> {
        let mut contents = Vec::new();
        if self.ca {
            contents.extend(tlv(tag::BOOLEAN, &[0xff]));
        }
        if let Some(path_len) = self.path_len {
            contents.extend(tlv(tag::INTEGER, &[path_len]));
        }
        tlv(tag::SEQUENCE, &contents)
    }
}

/// An extension below `id-ce`.
fn extension(number: u64, critical: bool, value: Vec<u8>) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, number], value);
    extension.set_criticality(critical);
    extension
}

/// One element of DER. What this authority writes fits into the three bytes of its length.
pub(super) fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
    let [.., high, middle, low] = contents.len().to_be_bytes();
    let length = match (high, middle, low) {
        (0, 0, 0..=0x7f) => vec![low],
        (0, 0, _) => vec![0x81, low],
        (0, _, _) => vec![0x82, middle, low],
        _ => vec![0x83, high, middle, low],
    };
    [&[tag], &*length, contents].concat()
}

fn date(time: Timestamp) -> Result<OffsetDateTime, AuthorityError> {
    OffsetDateTime::from_unix_timestamp(time.as_secs()).map_err(|_| AuthorityError::Date { time })
}
