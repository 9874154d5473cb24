//! SPIFFE IDs by the shape of their paths.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use zt_core::fault::Fault;
use zt_core::spiffe::{MAX_URI_LEN, SpiffeIdError, SpiffeIdRef, TrustDomainRef, check_segment};

use crate::excerpt::excerpt;

const SCHEME: &str = "spiffe://";
const ONE: &str = "*";
const MORE: &str = "**";

/// A SPIFFE ID in which whole segments of the path are left open.
///
/// [`IdPattern::parse`] accepts text of at most [`MAX_URI_LEN`] bytes when, in this order:
///
/// 1. it begins with `spiffe://` and a trust domain, which is never left open;
/// 2. each segment of its path is one that SPIFFE IDs have, which stands for itself, or `*`, which
///    stands for any one segment;
/// 3. the last segment may be `**` instead, which stands for one segment or more.
///
/// A `*` within a segment is refused: `*` never stands for a part of a segment or for a slash.
///
/// ```
/// use zt_core::spiffe::SpiffeIdRef;
/// use zt_identity::matcher::IdPattern;
///
/// let carts: IdPattern = "spiffe://example.org/ns/*/sa/cart".parse()?;
/// assert!(carts.matches(SpiffeIdRef::parse("spiffe://example.org/ns/shop/sa/cart")?));
/// assert!(!carts.matches(SpiffeIdRef::parse("spiffe://example.org/ns/shop/eu/sa/cart")?));
/// assert!("spiffe://example.org/ns/shop-*/sa/cart".parse::<IdPattern>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdPattern {
    // INVARIANT: parsed by `IdPattern::parse`; the trust domain ends at `path_at`.
    text: Arc<str>,
    path_at: usize,
}

impl IdPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// [`IdPatternError`] names the first rule that is broken.
    pub fn parse(text: &str) -> Result<Self, IdPatternError> {
        if text.len() > MAX_URI_LEN {
            return Err(SpiffeIdError::TooLong { len: text.len() }.into());
        }
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeIdError::WrongScheme)?;
        let (name, path) = rest.split_once('/').map_or((rest, None), |(n, path)| (n, Some(path)));
        TrustDomainRef::from_name(name)?;
        if let Some(path) = path {
            check_path(path)?;
        }
        let path_at = SCHEME.len().saturating_add(name.len());
        Ok(Self { text: text.into(), path_at })
    }

    /// Whether an ID has this shape. Asking allocates nothing.
    #[must_use]
    pub fn matches(&self, id: SpiffeIdRef<'_>) -> bool {
        let (Some(domain), Some(path)) = (self.domain(), self.text.get(self.path_at..)) else {
            return false;
        };
        domain == id.trust_domain().as_str() && path_matches(path, id.path())
    }

    fn domain(&self) -> Option<&str> {
        self.text.get(SCHEME.len()..self.path_at)
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Both empty, or segments that each follow a slash.
fn path_matches(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('/').skip(1), path.split('/').skip(1));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) | (Some(MORE), Some(_)) => return true,
            (Some(ONE), Some(_)) => {}
            (Some(expected), Some(found)) if expected == found => {}
            (Some(_) | None, Some(_) | None) => return false,
        }
    }
}

fn check_path(path: &str) -> Result<(), IdPatternError> {
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "" if is_last => return Err(SpiffeIdError::TrailingSlash.into()),
            ONE => {}
            MORE if is_last => {}
            MORE => return Err(IdPatternError::MoreInside),
            part if part.contains('*') => {
                return Err(IdPatternError::PartOfSegment { segment: excerpt(part) });
            }
            literal => check_segment(literal)?,
        }
    }
    Ok(())
}

impl FromStr for IdPattern {
    type Err = IdPatternError;

    fn from_str(text: &str) -> Result<Self, IdPatternError> {
        Self::parse(text)
    }
}

impl fmt::Display for IdPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for IdPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.text, f)
    }
}

/// Why text is not a pattern of SPIFFE IDs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdPatternError {
    /// What is not left open is not that of a SPIFFE ID.
    #[error(transparent)]
    Id(#[from] SpiffeIdError),
    /// A `*` stands for a part of a segment.
    #[error("\"*\" stands for a whole segment, and {segment:?} has it in a part of one")]
    PartOfSegment {
        /// The segment, cut.
        segment: String,
    },
    /// A `**` has something behind it.
    #[error("\"**\" stands at the end of a pattern")]
    MoreInside,
}

impl IdPatternError {
    /// Whose fault it is: that of the embedding program.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, id: &str) -> bool {
        IdPattern::parse(pattern).unwrap().matches(SpiffeIdRef::parse(id).unwrap())
    }

    #[test]
    fn a_star_stands_for_one_whole_segment() {
        let pattern = "spiffe://td/ns/*/sa/cart";
        assert!(matches(pattern, "spiffe://td/ns/shop/sa/cart"));
        assert!(matches(pattern, "spiffe://td/ns/.../sa/cart"));
        for other in [
            "spiffe://td",
            "spiffe://td/ns/sa/cart",
            "spiffe://td/ns/shop/eu/sa/cart",
            "spiffe://td/ns/shop/sa/cart2",
            "spiffe://td/ns/shop/sa",
            "spiffe://td/ns/shop/sa/cart/x",
            "spiffe://td/NS/shop/sa/cart",
            "spiffe://td2/ns/shop/sa/cart",
        ] {
            assert!(!matches(pattern, other), "{other}");
        }
    }

    #[test]
    fn two_stars_stand_for_one_segment_or_more_and_never_for_none() {
        for below in ["spiffe://td/ns/shop/a", "spiffe://td/ns/shop/a/b/c"] {
            assert!(matches("spiffe://td/ns/shop/**", below), "{below}");
        }
        for other in ["spiffe://td/ns/shop", "spiffe://td/ns/shopping/a", "spiffe://td"] {
            assert!(!matches("spiffe://td/ns/shop/**", other), "{other}");
        }
        assert!(matches("spiffe://td/**", "spiffe://td/a"));
        assert!(!matches("spiffe://td/**", "spiffe://td"));
        assert!(!matches("spiffe://td/**", "spiffe://td.evil/a"));
    }

    #[test]
    fn a_pattern_without_stars_is_one_id() {
        for id in ["spiffe://td", "spiffe://td/a/b"] {
            assert!(matches(id, id));
            assert!(!matches(id, "spiffe://td/a"));
        }
    }

    #[test]
    fn what_could_mean_more_than_it_says_is_refused() {
        let part = |segment: &str| IdPatternError::PartOfSegment { segment: segment.into() };
        let id = IdPatternError::Id;
        for (bad, error) in [
            ("", id(SpiffeIdError::WrongScheme)),
            ("*", id(SpiffeIdError::WrongScheme)),
            ("SPIFFE://td/*", id(SpiffeIdError::WrongScheme)),
            ("spiffe://", id(SpiffeIdError::MissingTrustDomain)),
            ("spiffe:///*", id(SpiffeIdError::MissingTrustDomain)),
            ("spiffe://*/a", id(SpiffeIdError::BadTrustDomainChar { found: '*', at: 0 })),
            ("spiffe://*.td/a", id(SpiffeIdError::BadTrustDomainChar { found: '*', at: 0 })),
            ("spiffe://td/", id(SpiffeIdError::TrailingSlash)),
            ("spiffe://td/*/", id(SpiffeIdError::TrailingSlash)),
            ("spiffe://td//*", id(SpiffeIdError::EmptySegment { at: 0 })),
            ("spiffe://td/../*", id(SpiffeIdError::DotSegment { at: 0 })),
            ("spiffe://td/a%/*", id(SpiffeIdError::BadPathSegmentChar { found: '%', at: 1 })),
            ("spiffe://td/?", id(SpiffeIdError::BadPathSegmentChar { found: '?', at: 0 })),
            ("spiffe://td/shop-*", part("shop-*")),
            ("spiffe://td/*-shop", part("*-shop")),
            ("spiffe://td/***", part("***")),
            ("spiffe://td/**/a", IdPatternError::MoreInside),
            ("spiffe://td/**/**", IdPatternError::MoreInside),
        ] {
            assert_eq!(IdPattern::parse(bad), Err(error), "{bad:?}");
        }
        let long = format!("spiffe://td/{}", "*/".repeat(1_020));
        assert!(matches!(
            IdPattern::parse(&format!("{long}abcd")),
            Err(IdPatternError::Id(SpiffeIdError::TooLong { .. }))
        ));
    }
}
