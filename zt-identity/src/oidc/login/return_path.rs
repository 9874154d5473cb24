//! Where a browser goes when it comes back: somewhere in this application, whoever asks.
//!
//! A text is such a place when:
//!
//! 1. it has at most [`MAX_LEN`] bytes of visible ASCII without a backslash: browsers drop tabs and
//!    line ends from a URL, and take a backslash for a slash (WHATWG URL §4.4);
//! 2. it begins with one slash, and not with two, which would begin the name of a host
//!    (RFC 3986 §4.2).

use std::fmt;

use zt_core::fault::Fault;

/// The longest place, in bytes.
pub const MAX_LEN: usize = 2048;

/// A path of this application with its query, which may come from anyone: a redirect to it does not
/// leave the application.
///
/// ```
/// use zt_identity::oidc::login::return_path::ReturnPath;
///
/// assert_eq!(ReturnPath::parse("/orders/42?tab=items")?.as_str(), "/orders/42?tab=items");
/// assert!(ReturnPath::parse("https://evil.example").is_err());
/// assert!(ReturnPath::parse("//evil.example").is_err());
/// assert!(ReturnPath::parse("/\\evil.example").is_err());
/// # Ok::<(), zt_identity::oidc::login::return_path::ReturnPathError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnPath(String);

impl ReturnPath {
    /// Reads a place that somebody named.
    ///
    /// # Errors
    ///
    /// [`ReturnPathError`] names the first rule that is broken.
    pub fn parse(path: &str) -> Result<Self, ReturnPathError> {
        if path.len() > MAX_LEN {
            return Err(ReturnPathError::TooLong);
        }
        if path.contains(|c: char| !c.is_ascii_graphic() || c == '\\') {
            return Err(ReturnPathError::Character);
        }
        if !path.starts_with('/') || path.starts_with("//") {
            return Err(ReturnPathError::Elsewhere);
        }
        Ok(Self(path.to_owned()))
    }

    /// The path with its query.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The beginning of the application: `/`.
impl Default for ReturnPath {
    fn default() -> Self {
        Self("/".to_owned())
    }
}

impl fmt::Display for ReturnPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no place in this application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReturnPathError {
    /// It is longer than [`MAX_LEN`].
    #[error("the path is longer than {MAX_LEN} bytes")]
    TooLong,
    /// It has a character that browsers drop or take for another one.
    #[error("the path has a backslash or something else than visible ASCII")]
    Character,
    /// It leads out of the application.
    #[error("the path does not begin with a single slash")]
    Elsewhere,
}

impl ReturnPathError {
    /// Whose fault it is: that of whoever named the place.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Peer
    }
}

#[cfg(test)]
mod tests {
    use openidconnect::url::Url;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_stays_in_the_application() {
        for good in ["/", "/a", "/a//b?c=//d#e", "/.//evil.example", "/%5cevil.example", "/a:b@c"] {
            assert_eq!(ReturnPath::parse(good).map(|path| path.to_string()), Ok(good.to_owned()));
        }
        for (bad, error) in [
            ("", ReturnPathError::Elsewhere),
            ("a", ReturnPathError::Elsewhere),
            ("//evil.example", ReturnPathError::Elsewhere),
            ("///evil.example", ReturnPathError::Elsewhere),
            ("https://evil.example", ReturnPathError::Elsewhere),
            ("javascript:alert(1)", ReturnPathError::Elsewhere),
            ("/\\evil.example", ReturnPathError::Character),
            ("\\\\evil.example", ReturnPathError::Character),
            ("/\t/evil.example", ReturnPathError::Character),
            ("/\n/evil.example", ReturnPathError::Character),
            (" //evil.example", ReturnPathError::Character),
            ("/\u{0}", ReturnPathError::Character),
            ("/é", ReturnPathError::Character),
        ] {
            assert_eq!(ReturnPath::parse(bad), Err(error), "{bad:?}");
        }
        let long = "/".to_owned() + &"a".repeat(MAX_LEN);
        assert_eq!(ReturnPath::parse(&long), Err(ReturnPathError::TooLong));
    }

    proptest! {
        /// As a browser resolves it, whatever it looks like.
        #[test]
        fn no_path_leads_to_another_host(path in "[/\\\\]{0,3}[ -~\t\n]{0,20}") {
            if let Ok(path) = ReturnPath::parse(&path) {
                let here = Url::parse("https://app.example/signed-in?code=1").unwrap();
                let there = here.join(path.as_str()).unwrap();
                prop_assert_eq!(there.origin(), here.origin());
                prop_assert!(there.username().is_empty());
            }
        }
    }
}
