//! The limits of what is read, and why something is not.

use zt_core::fault::Fault;
use zt_core::spiffe::MAX_URI_LEN;
use zt_core::time::EmptyValidity;

use crate::der::DerError;

/// The longest certificate that is read, in bytes: as much as a whole chain may have.
pub const MAX_CERTIFICATE_LEN: usize = 16 * 1024;
/// How many extensions a certificate may have. RFC 5280 defines 17.
pub const MAX_EXTENSIONS: usize = 32;
/// How many alternative names a certificate may have: one URI, and room for DNS names.
pub const MAX_NAMES: u8 = 16;

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

pub(super) fn in_part(part: &'static str) -> impl FnOnce(DerError) -> CertificateError {
    move |source| CertificateError::Der { part, source }
}
