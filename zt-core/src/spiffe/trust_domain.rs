//! The name of a trust domain (SPIFFE-ID §2.1).

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{MAX_TRUST_DOMAIN_LEN, SpiffeId, SpiffeIdError, SpiffeIdRef, char_at};

/// The name of a trust domain that borrows its text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomainRef<'a>(
    // INVARIANT: passed `TrustDomainRef::from_name`.
    pub(super) &'a str,
);

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
        SpiffeId::of_trust_domain(self.borrowed())
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

const fn is_trust_domain_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_')
}
