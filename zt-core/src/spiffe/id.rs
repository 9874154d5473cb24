//! Whole SPIFFE IDs, borrowed and owned.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::path::{check_path, segments_to_path};
use super::{MAX_URI_LEN, SCHEME, SpiffeIdError, TrustDomainRef};

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

    pub(super) fn of_trust_domain(domain: TrustDomainRef<'_>) -> Self {
        Self { uri: format!("{SCHEME}{domain}").into(), path_at: path_at(domain) }
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

fn path_at(trust_domain: TrustDomainRef<'_>) -> usize {
    SCHEME.len().saturating_add(trust_domain.as_str().len())
}
