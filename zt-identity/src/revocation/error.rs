//! The limits of a list, why one is not taken, and why one stands in the way of a path.

use zt_core::fault::Fault;
use zt_core::time::{EmptyValidity, OutsideValidity};

use crate::der::DerError;
use crate::pem::PemError;

/// The longest list that is read, in bytes: [`MAX_ENTRIES`] of 40 bytes, as they are with a serial
/// number of 16 octets and a reason.
pub const MAX_LIST_LEN: usize = 8 * 1024 * 1024;
/// How many entries a list may have.
pub const MAX_ENTRIES: usize = 200_000;

/// Why bytes are not a revocation list that is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationListError {
    /// The text is not PEM of lists and nothing else.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// Longer than [`MAX_LIST_LEN`].
    #[error("a revocation list of {len} bytes is longer than {MAX_LIST_LEN}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// Not DER, or not the DER of a list.
    #[error("the {part} of the revocation list cannot be read")]
    Der {
        /// Which part.
        part: &'static str,
        /// What is wrong with it.
        source: DerError,
    },
    /// RFC 5280 §5.1.2.1: not version 2.
    #[error("the revocation list is not of version 2")]
    Version,
    /// The signature's algorithm is named twice, differently.
    #[error("the revocation list names two signature algorithms")]
    SignatureAlgorithms,
    /// RFC 5280 §5.1.2.3: its issuer has no name.
    #[error("the revocation list has no issuer")]
    NoIssuer,
    /// RFC 5280 §5.1.2.5: it does not say when the next one will be issued.
    #[error("the revocation list has no nextUpdate")]
    NoNextUpdate,
    /// The next one was to be issued before it.
    #[error(transparent)]
    Validity(#[from] EmptyValidity),
    /// More than [`MAX_ENTRIES`].
    #[error("the revocation list has more than {MAX_ENTRIES} entries")]
    TooManyEntries,
    /// RFC 5280 §5.3: an entry has a critical extension, such as another issuer.
    #[error("an entry of the revocation list has a critical extension (OID {oid:02x?})")]
    CriticalInEntry {
        /// The extension's OID, its bytes.
        oid: Box<[u8]>,
    },
    /// An extension occurs twice.
    #[error("an extension of the revocation list occurs twice")]
    DuplicateExtension,
    /// RFC 5280 §5.2.4: it is a delta, and says nothing by itself.
    #[error("the revocation list is a delta, which is not supported")]
    Delta,
    /// RFC 5280 §5.2.5: it has entries of other issuers.
    #[error("the revocation list is indirect, which is not supported")]
    Indirect,
    /// RFC 5280 §5.2.5: it tells of some of its issuer's certificates only.
    #[error("the revocation list is scoped to a distribution point, which is not supported")]
    Scoped,
    /// RFC 5280 §5.2: a critical extension is unknown.
    #[error("the revocation list has a critical extension that is unknown (OID {oid:02x?})")]
    UnknownCritical {
        /// The extension's OID, its bytes.
        oid: Box<[u8]>,
    },
    /// RFC 5280 §5.2.3: it has no number.
    #[error("the revocation list has no number")]
    NoNumber,
    /// RFC 5280 §5.2.3: its number is critical.
    #[error("the number of the revocation list is critical")]
    NumberCritical,
}

impl RevocationListError {
    /// Whose fault it is: that of whoever provides the list.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Authority
    }
}

pub(super) fn in_part(part: &'static str) -> impl FnOnce(DerError) -> RevocationListError {
    move |source| RevocationListError::Der { part, source }
}

/// Why a path is refused by what revocation lists say, or do not say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationError {
    /// The issuer has taken a certificate back.
    #[error("certificate {position} of the path is revoked")]
    Revoked {
        /// Where it stands on the path; the leaf has 0.
        position: usize,
    },
    /// The newest list of the issuer of a certificate is not current.
    #[error("the revocation list for certificate {position} of the path is not current: {source}")]
    Stale {
        /// Where the certificate stands on the path; the leaf has 0.
        position: usize,
        /// When the list would be current.
        source: OutsideValidity,
    },
    /// There is no list of the issuer, and there has to be; or there is one that it may not sign.
    #[error("no revocation list tells of certificate {position} of the path")]
    Unknown {
        /// Where the certificate stands on the path; the leaf has 0.
        position: usize,
    },
}

impl RevocationError {
    /// Whose fault it is: the peer's, unless a list is missing or stale.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Revoked { .. } => Fault::Peer,
            Self::Stale { .. } | Self::Unknown { .. } => Fault::Authority,
        }
    }
}
