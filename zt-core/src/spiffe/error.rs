//! What can be wrong with a SPIFFE ID, a trust domain or a path.

use super::{MAX_TRUST_DOMAIN_LEN, MAX_URI_LEN};
use crate::fault::Fault;

/// Why a string is not a SPIFFE ID, a trust domain or a part of one. Offsets count bytes from the
/// beginning of the part that is named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpiffeIdError {
    /// The string is empty.
    #[error("a SPIFFE ID cannot be empty")]
    Empty,
    /// The ID is longer than [`MAX_URI_LEN`].
    #[error("a SPIFFE ID of {len} bytes is longer than {MAX_URI_LEN}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// The bytes are not UTF-8.
    #[error("byte {at} of the URI is not UTF-8")]
    NotUtf8 {
        /// The first byte that is not.
        at: usize,
    },
    /// The ID does not begin with `spiffe://`.
    #[error("a SPIFFE ID begins with `spiffe://`")]
    WrongScheme,
    /// The trust domain is empty.
    #[error("the trust domain is missing")]
    MissingTrustDomain,
    /// The trust domain is longer than [`MAX_TRUST_DOMAIN_LEN`].
    #[error("a trust domain of {len} bytes is longer than {MAX_TRUST_DOMAIN_LEN}")]
    TrustDomainTooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// The trust domain has a character other than `a`–`z`, `0`–`9`, `.`, `-` and `_`.
    #[error("{found:?} at byte {at} of the trust domain is not one of a-z, 0-9, '.', '-', '_'")]
    BadTrustDomainChar {
        /// The character.
        found: char,
        /// Where it stands.
        at: usize,
    },
    /// A path that is not empty does not begin with a slash.
    #[error("a path begins with a slash")]
    NoLeadingSlash,
    /// A segment has a character other than letters, digits, `.`, `-` and `_`.
    #[error("{found:?} at byte {at} of the path is not one of A-Z, a-z, 0-9, '.', '-', '_'")]
    BadPathSegmentChar {
        /// The character.
        found: char,
        /// Where it stands.
        at: usize,
    },
    /// A segment is empty.
    #[error("the path segment at byte {at} is empty")]
    EmptySegment {
        /// Where it stands.
        at: usize,
    },
    /// A segment is `.` or `..`.
    #[error("the path segment at byte {at} is '.' or '..'")]
    DotSegment {
        /// Where it begins.
        at: usize,
    },
    /// The path ends with a slash.
    #[error("the path ends with a slash")]
    TrailingSlash,
}

impl SpiffeIdError {
    /// Whose fault it is: that of whoever wrote the ID.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Peer
    }
}
