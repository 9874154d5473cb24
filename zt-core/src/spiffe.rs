//! SPIFFE IDs and trust domains, spelled in exactly one way.
//!
//! [`SpiffeIdRef::parse`] accepts a string when, in this order:
//!
//! 1. it is not empty and at most [`MAX_URI_LEN`] bytes long (SPIFFE-ID §2.3);
//! 2. it begins with `spiffe://`, in lower case (§2.1; see below);
//! 3. a trust domain follows: 1 to [`MAX_TRUST_DOMAIN_LEN`] bytes of `a`–`z`, `0`–`9`, `.`, `-`
//!    and `_`, hence no port, no user, no percent-encoding (§2.1, §2.3);
//! 4. then nothing, or a path of segments that are neither empty nor `.` nor `..`, made of
//!    letters, digits, `.`, `-` and `_`, without a slash at its end (§2.2). Query and fragment
//!    fall to the same rule.
//!
//! The standard calls scheme and trust domain case-insensitive (§2.4) and demands lower case of
//! whoever writes them (§2.1). Upper case is refused here, as go-spiffe does, so equality of IDs
//! is equality of bytes and no two spellings name one workload.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::fault::Fault;

/// The longest SPIFFE ID that is accepted, in bytes (SPIFFE-ID §2.3).
pub const MAX_URI_LEN: usize = 2048;
/// The longest trust domain that is accepted, in bytes (SPIFFE-ID §2.3).
pub const MAX_TRUST_DOMAIN_LEN: usize = 255;

const SCHEME: &str = "spiffe://";

/// A SPIFFE ID that borrows its text: parsed without allocation.
///
/// ```
/// use zt_core::spiffe::SpiffeIdRef;
///
/// let id = SpiffeIdRef::parse("spiffe://example.org/ns/shop/sa/cart")?;
/// assert_eq!(id.trust_domain().as_str(), "example.org");
/// assert_eq!(id.path(), "/ns/shop/sa/cart");
/// assert_eq!(id.segments().last(), Some("cart"));
/// # Ok::<(), zt_core::spiffe::SpiffeIdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeIdRef<'a> {
    // INVARIANT: `uri` passed the rules above; its path begins at `path_at`, a char boundary with
    // SCHEME.len() < path_at <= uri.len().
    uri: &'a str,
    path_at: usize,
}

impl<'a> SpiffeIdRef<'a> {
    /// Parses a SPIFFE ID.
    ///
    /// # Errors
    ///
    /// [`SpiffeIdError`] names the first rule that is broken, and where.
    pub fn parse(uri: &'a str) -> Result<Self, SpiffeIdError> {
        if uri.is_empty() {
            return Err(SpiffeIdError::Empty);
        }
        if uri.len() > MAX_URI_LEN {
            return Err(SpiffeIdError::TooLong { len: uri.len() });
        }
        let rest = uri.strip_prefix(SCHEME).ok_or(SpiffeIdError::WrongScheme)?;
        let slash = rest.bytes().position(|byte| byte == b'/').unwrap_or(rest.len());
        let (name, path) = rest.split_at_checked(slash).unwrap_or((rest, ""));
        let trust_domain = TrustDomainRef::from_name(name)?;
        check_path(path)?;
        Ok(Self { uri, path_at: path_at(trust_domain) })
    }

    /// Parses the bytes of a URI, as they stand in a certificate.
    ///
    /// # Errors
    ///
    /// [`SpiffeIdError`], as [`SpiffeIdRef::parse`]; bytes that are not UTF-8 are characters that
    /// no SPIFFE ID has.
    pub fn from_bytes(uri: &'a [u8]) -> Result<Self, SpiffeIdError> {
        if uri.len() > MAX_URI_LEN {
            return Err(SpiffeIdError::TooLong { len: uri.len() });
        }
        match std::str::from_utf8(uri) {
            Ok(text) => Self::parse(text),
            Err(error) => Err(SpiffeIdError::NotUtf8 { at: error.valid_up_to() }),
        }
    }

    /// The trust domain.
    #[must_use]
    pub fn trust_domain(self) -> TrustDomainRef<'a> {
        TrustDomainRef(self.uri.get(SCHEME.len()..self.path_at).unwrap_or_default())
    }

    /// The path: empty for the trust domain itself, else it begins with a slash.
    #[must_use]
    pub fn path(self) -> &'a str {
        self.uri.get(self.path_at..).unwrap_or_default()
    }

    /// The segments of the path, none for the trust domain itself.
    pub fn segments(self) -> impl Iterator<Item = &'a str> {
        self.path().split('/').skip(1)
    }

    /// The whole ID.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.uri
    }

    /// Whether this ID is `prefix` or lies below it, by whole segments: `/ns/shop` covers
    /// `/ns/shop/sa/cart` and not `/ns/shopping`.
    #[must_use]
    pub fn is_within(self, prefix: SpiffeIdRef<'_>) -> bool {
        self.uri
            .strip_prefix(prefix.uri)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// A copy that owns its text.
    #[must_use]
    pub fn to_owned(self) -> SpiffeId {
        SpiffeId { uri: Arc::from(self.uri), path_at: self.path_at }
    }
}

fn path_at(trust_domain: TrustDomainRef<'_>) -> usize {
    SCHEME.len().saturating_add(trust_domain.as_str().len())
}

impl fmt::Display for SpiffeIdRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.uri)
    }
}

impl fmt::Debug for SpiffeIdRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.uri, f)
    }
}

/// A SPIFFE ID that owns its text; a clone shares it.
///
/// ```
/// use zt_core::spiffe::{SpiffeId, TrustDomain};
///
/// let shop = TrustDomain::from_name("example.org")?.id();
/// let cart = shop.append_segments(["ns", "shop", "sa", "cart"])?;
/// assert_eq!(cart.as_str(), "spiffe://example.org/ns/shop/sa/cart");
/// assert_eq!(cart, "spiffe://example.org/ns/shop/sa/cart".parse::<SpiffeId>()?);
/// # Ok::<(), zt_core::spiffe::SpiffeIdError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    // INVARIANT: `uri` passed `SpiffeIdRef::parse`; SCHEME.len() < path_at <= uri.len(), and the
    // path begins at `path_at`, a char boundary.
    uri: Arc<str>,
    path_at: usize,
}

impl SpiffeId {
    /// Parses a SPIFFE ID.
    ///
    /// # Errors
    ///
    /// [`SpiffeIdError`] names the first rule that is broken, and where.
    pub fn parse(uri: &str) -> Result<Self, SpiffeIdError> {
        SpiffeIdRef::parse(uri).map(SpiffeIdRef::to_owned)
    }

    /// The ID with this path, which is empty or begins with a slash.
    ///
    /// # Errors
    ///
    /// [`SpiffeIdError`] when the path breaks a rule or the ID grows too long.
    pub fn from_path(trust_domain: TrustDomainRef<'_>, path: &str) -> Result<Self, SpiffeIdError> {
        check_path(path)?;
        Self::join(trust_domain, path, "")
    }

    /// The ID with these segments as its path.
    ///
    /// # Errors
    ///
    /// [`SpiffeIdError`] when a segment breaks a rule or the ID grows too long.
    pub fn from_segments<'s>(
        trust_domain: TrustDomainRef<'_>,
        segments: impl IntoIterator<Item = &'s str>,
    ) -> Result<Self, SpiffeIdError> {
        Self::join(trust_domain, "", &segments_to_path(segments)?)
    }

    /// This ID with another path.
    ///
    /// # Errors
    ///
    /// As [`SpiffeId::from_path`].
    pub fn replace_path(&self, path: &str) -> Result<Self, SpiffeIdError> {
        Self::from_path(self.trust_domain(), path)
    }

    /// This ID with another path, given by its segments.
    ///
    /// # Errors
    ///
    /// As [`SpiffeId::from_segments`].
    pub fn replace_segments<'s>(
        &self,
        segments: impl IntoIterator<Item = &'s str>,
    ) -> Result<Self, SpiffeIdError> {
        Self::from_segments(self.trust_domain(), segments)
    }

    /// This ID with a path, which is empty or begins with a slash, added to its own.
    ///
    /// # Errors
    ///
    /// As [`SpiffeId::from_path`].
    pub fn append_path(&self, path: &str) -> Result<Self, SpiffeIdError> {
        check_path(path)?;
        Self::join(self.trust_domain(), self.path(), path)
    }

    /// This ID with segments added to its path.
    ///
    /// # Errors
    ///
    /// As [`SpiffeId::from_segments`].
    pub fn append_segments<'s>(
        &self,
        segments: impl IntoIterator<Item = &'s str>,
    ) -> Result<Self, SpiffeIdError> {
        Self::join(self.trust_domain(), self.path(), &segments_to_path(segments)?)
    }

    /// The same ID, borrowed.
    #[must_use]
    pub fn borrowed(&self) -> SpiffeIdRef<'_> {
        SpiffeIdRef { uri: &self.uri, path_at: self.path_at }
    }

    /// The trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> TrustDomainRef<'_> {
        self.borrowed().trust_domain()
    }

    /// The path: empty for the trust domain itself, else it begins with a slash.
    #[must_use]
    pub fn path(&self) -> &str {
        self.borrowed().path()
    }

    /// The whole ID.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.uri
    }

    /// The whole ID, shared instead of copied.
    #[must_use]
    pub fn as_shared(&self) -> &Arc<str> {
        &self.uri
    }

    // Both parts passed `check_path`.
    fn join(domain: TrustDomainRef<'_>, base: &str, more: &str) -> Result<Self, SpiffeIdError> {
        let uri = format!("{SCHEME}{domain}{base}{more}");
        if uri.len() > MAX_URI_LEN {
            return Err(SpiffeIdError::TooLong { len: uri.len() });
        }
        Ok(Self { uri: uri.into(), path_at: path_at(domain) })
    }
}

impl PartialEq<SpiffeIdRef<'_>> for SpiffeId {
    fn eq(&self, other: &SpiffeIdRef<'_>) -> bool {
        *self.uri == *other.uri
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeIdError;

    fn from_str(uri: &str) -> Result<Self, SpiffeIdError> {
        Self::parse(uri)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.uri, f)
    }
}

impl Serialize for SpiffeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.uri)
    }
}

impl<'de> Deserialize<'de> for SpiffeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

/// The name of a trust domain that borrows its text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomainRef<'a>(&'a str);

impl<'a> TrustDomainRef<'a> {
    /// Parses the bare name of a trust domain, such as `example.org`.
    ///
    /// # Errors
    ///
    /// [`SpiffeIdError`] names the rule that is broken, and where.
    pub fn from_name(name: &'a str) -> Result<Self, SpiffeIdError> {
        if name.is_empty() {
            return Err(SpiffeIdError::MissingTrustDomain);
        }
        if let Some(at) = name.bytes().position(|byte| !is_trust_domain_byte(byte)) {
            return Err(SpiffeIdError::BadTrustDomainChar { found: char_at(name, at), at });
        }
        if name.len() > MAX_TRUST_DOMAIN_LEN {
            return Err(SpiffeIdError::TrustDomainTooLong { len: name.len() });
        }
        Ok(Self(name))
    }

    /// The bare name.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// A copy that owns its text.
    #[must_use]
    pub fn to_owned(self) -> TrustDomain {
        TrustDomain(Arc::from(self.0))
    }
}

impl fmt::Display for TrustDomainRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for TrustDomainRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

/// The name of a trust domain that owns its text; a clone shares it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(
    // INVARIANT: passed `TrustDomainRef::from_name`.
    Arc<str>,
);

impl TrustDomain {
    /// Parses the bare name of a trust domain, such as `example.org`.
    ///
    /// # Errors
    ///
    /// [`SpiffeIdError`] names the rule that is broken, and where.
    pub fn from_name(name: &str) -> Result<Self, SpiffeIdError> {
        TrustDomainRef::from_name(name).map(TrustDomainRef::to_owned)
    }

    /// Parses the bare name of a trust domain, or takes it from a whole SPIFFE ID, whose path has
    /// to be valid too.
    ///
    /// ```
    /// use zt_core::spiffe::TrustDomain;
    ///
    /// let name = TrustDomain::parse("example.org")?;
    /// assert_eq!(TrustDomain::parse("spiffe://example.org/ns/shop")?, name);
    /// assert!(TrustDomain::parse("https://example.org").is_err());
    /// # Ok::<(), zt_core::spiffe::SpiffeIdError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SpiffeIdError`] names the rule that is broken, and where.
    pub fn parse(name_or_id: &str) -> Result<Self, SpiffeIdError> {
        if name_or_id.contains(":/") {
            SpiffeIdRef::parse(name_or_id).map(|id| id.trust_domain().to_owned())
        } else {
            Self::from_name(name_or_id)
        }
    }

    /// The bare name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same name, borrowed.
    #[must_use]
    pub fn borrowed(&self) -> TrustDomainRef<'_> {
        TrustDomainRef(&self.0)
    }

    /// The SPIFFE ID of the trust domain itself, which has no path.
    #[must_use]
    pub fn id(&self) -> SpiffeId {
        SpiffeId { uri: format!("{SCHEME}{}", self.0).into(), path_at: path_at(self.borrowed()) }
    }
}

/// By the bare name, so that a map keyed by trust domains is looked up with a borrowed one.
impl Borrow<str> for TrustDomain {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<TrustDomain> for TrustDomainRef<'_> {
    fn eq(&self, other: &TrustDomain) -> bool {
        *self.0 == *other.0
    }
}

impl FromStr for TrustDomain {
    type Err = SpiffeIdError;

    fn from_str(name_or_id: &str) -> Result<Self, SpiffeIdError> {
        Self::parse(name_or_id)
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Serialize for TrustDomain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TrustDomain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::from_name(&text).map_err(D::Error::custom)
    }
}

/// Checks one segment of a path.
///
/// # Errors
///
/// [`SpiffeIdError`] names the rule that is broken, and where in the segment.
pub fn check_segment(segment: &str) -> Result<(), SpiffeIdError> {
    check_segment_at(segment, 0)
}

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

fn segments_to_path<'s>(
    segments: impl IntoIterator<Item = &'s str>,
) -> Result<String, SpiffeIdError> {
    let mut path = String::new();
    for segment in segments {
        path.push('/');
        check_segment_at(segment, path.len())?;
        path.push_str(segment);
    }
    Ok(path)
}

/// ID-07, ID-08: empty, or segments that each follow a slash.
fn check_path(path: &str) -> Result<(), SpiffeIdError> {
    let Some(mut rest) = path.strip_prefix('/') else {
        return if path.is_empty() { Ok(()) } else { Err(SpiffeIdError::NoLeadingSlash) };
    };
    let mut at = 1usize;
    while let Some((segment, more)) = split_at_slash(rest) {
        check_segment_at(segment, at)?;
        at = at.saturating_add(segment.len()).saturating_add(1);
        rest = more;
    }
    if rest.is_empty() {
        return Err(SpiffeIdError::TrailingSlash);
    }
    check_segment_at(rest, at)
}

fn split_at_slash(rest: &str) -> Option<(&str, &str)> {
    let at = rest.bytes().position(|byte| byte == b'/')?;
    Some((rest.get(..at)?, rest.get(at.saturating_add(1)..)?))
}

fn check_segment_at(segment: &str, at: usize) -> Result<(), SpiffeIdError> {
    match segment {
        "" => return Err(SpiffeIdError::EmptySegment { at }),
        "." | ".." => return Err(SpiffeIdError::DotSegment { at }),
        _ => {}
    }
    match segment.bytes().position(|byte| !is_segment_byte(byte)) {
        None => Ok(()),
        Some(offset) => Err(SpiffeIdError::BadPathSegmentChar {
            found: char_at(segment, offset),
            at: at.saturating_add(offset),
        }),
    }
}

const fn is_trust_domain_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_')
}

const fn is_segment_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_')
}

fn char_at(text: &str, at: usize) -> char {
    text.get(at..).and_then(|rest| rest.chars().next()).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_trust_domain_alone_is_an_id_and_a_slash_behind_it_is_not() {
        assert_eq!(SpiffeId::parse("spiffe://td").unwrap().path(), "");
        assert_eq!(SpiffeId::parse("spiffe://td/"), Err(SpiffeIdError::TrailingSlash));
    }

    #[test]
    fn shapes_that_no_dns_name_has_are_legal() {
        for name in ["a..b", ".a", "a.", "-a", ".", "..", "_", "127.0.0.1"] {
            assert_eq!(TrustDomain::from_name(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn errors_say_what_and_where() {
        let shown = |uri: &str| SpiffeId::parse(uri).unwrap_err().to_string();
        assert_eq!(
            shown("spiffe://Example.org/a"),
            "'E' at byte 0 of the trust domain is not one of a-z, 0-9, '.', '-', '_'"
        );
        assert_eq!(
            shown("spiffe://td/a/%2e"),
            "'%' at byte 3 of the path is not one of A-Z, a-z, 0-9, '.', '-', '_'"
        );
        assert_eq!(shown("spiffe://td/a//b"), "the path segment at byte 3 is empty");
        assert_eq!(shown("spiffe://td/a/../b"), "the path segment at byte 3 is '.' or '..'");
    }

    #[test]
    fn lengths_are_capped() {
        let uri = format!("spiffe://td/{}", "a".repeat(MAX_URI_LEN - 12));
        assert!(SpiffeId::parse(&uri).is_ok());
        assert_eq!(
            SpiffeId::parse(&(uri.clone() + "a")),
            Err(SpiffeIdError::TooLong { len: 2049 })
        );
        assert_eq!(
            SpiffeId::parse(&uri).unwrap().append_segments(["a"]),
            Err(SpiffeIdError::TooLong { len: 2050 })
        );
        assert!(TrustDomain::from_name(&"a".repeat(255)).is_ok());
        assert_eq!(
            TrustDomain::from_name(&"a".repeat(256)),
            Err(SpiffeIdError::TrustDomainTooLong { len: 256 })
        );
    }

    #[test]
    fn within_is_by_whole_segments_and_by_trust_domain() {
        let id = |uri| SpiffeIdRef::parse(uri).unwrap();
        let prefix = id("spiffe://td/ns/shop");
        assert!(id("spiffe://td/ns/shop").is_within(prefix));
        assert!(id("spiffe://td/ns/shop/sa/cart").is_within(prefix));
        assert!(!id("spiffe://td/ns/shopping").is_within(prefix));
        assert!(!id("spiffe://td/ns").is_within(prefix));
        assert!(!id("spiffe://other/ns/shop").is_within(prefix));
        assert!(id("spiffe://td/a").is_within(id("spiffe://td")));
        assert!(!id("spiffe://td2/a").is_within(id("spiffe://td")));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused() {
        assert_eq!(
            SpiffeIdRef::from_bytes(b"spiffe://td/\xff"),
            Err(SpiffeIdError::NotUtf8 { at: 12 })
        );
    }

    /// The rules again, written for reading: the oracle of the property tests.
    fn is_spiffe_id(uri: &str) -> bool {
        let Some(rest) = uri.strip_prefix("spiffe://") else { return false };
        let mut parts = rest.split('/');
        let domain = parts.next().unwrap();
        let word = |s: &str, upper: bool| {
            !s.is_empty()
                && s.chars().all(|c| {
                    c.is_ascii_lowercase()
                        || c.is_ascii_digit()
                        || ".-_".contains(c)
                        || (upper && c.is_ascii_uppercase())
                })
        };
        uri.len() <= 2048
            && domain.len() <= 255
            && word(domain, false)
            && parts.all(|s| word(s, true) && s != "." && s != "..")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn parsing_agrees_with_the_rules(uri in r"(spiffe|SPIFFE|http)?:?//?[a-z0-9A._:@-]{0,6}(/[a-zA-Z0-9._%?#-]{0,4}){0,4}") {
            prop_assert_eq!(SpiffeIdRef::parse(&uri).is_ok(), is_spiffe_id(&uri));
        }

        #[test]
        fn anything_at_all_is_parsed_or_refused(uri in any::<String>(), bytes in any::<Vec<u8>>()) {
            prop_assert_eq!(SpiffeIdRef::parse(&uri).is_ok(), is_spiffe_id(&uri));
            let _ = SpiffeIdRef::from_bytes(&bytes);
        }

        #[test]
        fn what_is_parsed_comes_back_byte_for_byte(uri in r"spiffe://[a-z0-9._-]{1,8}(/[a-zA-Z0-9_-]{1,8}){0,4}") {
            let id = SpiffeId::parse(&uri).unwrap();
            prop_assert_eq!(id.as_str(), &uri);
            let again = SpiffeId::from_segments(id.trust_domain(), id.borrowed().segments()).unwrap();
            prop_assert_eq!(&again, &id);
            prop_assert_eq!(SpiffeId::from_path(id.trust_domain(), id.path()).unwrap(), id);
        }
    }
}
