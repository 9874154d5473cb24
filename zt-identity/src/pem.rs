//! PEM files, with nothing in them that would be passed over.
//!
//! A section with another label than those that belong into the file is an error instead of being
//! ignored: an encrypted key, or a private key that got into a bundle. Text outside of the sections
//! is a comment (RFC 7468 §5.2).

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use zt_core::secret::Secret;

const CERTIFICATE: &str = "CERTIFICATE";
const REVOCATION_LIST: &str = "X509 CRL";
const KEYS: [&str; 3] = ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"];
// `openssl ecparam -genkey` writes the curve in front of the key, which names it too.
const CURVE: &str = "EC PARAMETERS";

/// The certificates of a file that holds nothing else.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    only(pem, |label| label == CERTIFICATE)?;
    all_certificates(pem)
}

/// The certificates of a file that may hold their key as well.
pub(crate) fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    only(pem, belongs_to_identity)?;
    all_certificates(pem)
}

/// The revocation lists of a file that holds nothing else.
pub(crate) fn revocation_lists(
    pem: &[u8],
) -> Result<Vec<CertificateRevocationListDer<'static>>, PemError> {
    only(pem, |label| label == REVOCATION_LIST)?;
    let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| PemError::Malformed)?;
    if lists.is_empty() { Err(PemError::NoRevocationList) } else { Ok(lists) }
}

/// The key of a file that may hold its certificates as well.
pub(crate) fn private_key(pem: &[u8]) -> Result<Secret<PrivateKeyDer<'static>>, PemError> {
    only(pem, belongs_to_identity)?;
    let mut keys = PrivateKeyDer::pem_slice_iter(pem).map(|key| key.map(Secret::new));
    let key = keys.next().ok_or(PemError::NoKey)?.map_err(|_| PemError::Malformed)?;
    if keys.next().is_some() { Err(PemError::SeveralKeys) } else { Ok(key) }
}

fn all_certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| PemError::Malformed)?;
    if certificates.is_empty() { Err(PemError::NoCertificate) } else { Ok(certificates) }
}

fn belongs_to_identity(label: &str) -> bool {
    label == CERTIFICATE || label == CURVE || KEYS.contains(&label)
}

fn only(pem: &[u8], belongs: impl Fn(&str) -> bool) -> Result<(), PemError> {
    for line in pem.split(|byte| *byte == b'\n') {
        let Some(rest) = line.trim_ascii().strip_prefix(b"-----BEGIN ") else { continue };
        let label = rest.strip_suffix(b"-----").ok_or(PemError::Malformed)?;
        let label = String::from_utf8_lossy(label);
        if !belongs(&label) {
            return Err(PemError::UnexpectedSection { label: label.chars().take(40).collect() });
        }
    }
    Ok(())
}

/// Why a file is not the PEM that was expected. No error holds any of its contents but a label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PemError {
    /// A section cannot be decoded or has no end.
    #[error("a section of the PEM cannot be decoded")]
    Malformed,
    /// A section that does not belong into the file.
    #[error("the PEM has a section {label:?}, which does not belong into it")]
    UnexpectedSection {
        /// What it is labelled, cut after 40 characters.
        label: String,
    },
    /// No section is a certificate.
    #[error("the PEM has no certificate")]
    NoCertificate,
    /// No section is a revocation list.
    #[error("the PEM has no revocation list")]
    NoRevocationList,
    /// No section is a private key that is not encrypted.
    #[error("the PEM has no private key")]
    NoKey,
    /// More than one private key.
    #[error("the PEM has more than one private key")]
    SeveralKeys,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(label: &str) -> String {
        format!("-----BEGIN {label}-----\nMAA=\n-----END {label}-----\n")
    }

    #[test]
    fn a_key_in_a_bundle_is_refused() {
        let pem = section("CERTIFICATE") + &section("PRIVATE KEY");
        assert_eq!(
            certificates(pem.as_bytes()),
            Err(PemError::UnexpectedSection { label: "PRIVATE KEY".into() })
        );
        assert_eq!(chain(pem.as_bytes()).unwrap().len(), 1);
        assert!(private_key(pem.as_bytes()).is_ok());
    }

    #[test]
    fn an_encrypted_key_is_refused_by_its_label() {
        assert_eq!(
            private_key(section("ENCRYPTED PRIVATE KEY").as_bytes()).unwrap_err(),
            PemError::UnexpectedSection { label: "ENCRYPTED PRIVATE KEY".into() }
        );
    }

    #[test]
    fn a_file_without_what_it_is_for_is_refused() {
        assert_eq!(certificates(b"not PEM"), Err(PemError::NoCertificate));
        assert_eq!(private_key(section("CERTIFICATE").as_bytes()).unwrap_err(), PemError::NoKey);
        let two = section("PRIVATE KEY").repeat(2);
        assert_eq!(private_key(two.as_bytes()).unwrap_err(), PemError::SeveralKeys);
        let cut = "-----BEGIN CERTIFICATE-----\nMAA=\n";
        assert_eq!(certificates(cut.as_bytes()), Err(PemError::Malformed));
        let bad = "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n";
        assert_eq!(certificates(bad.as_bytes()), Err(PemError::Malformed));
    }
}
