//! Where a provider keeps a claim that no specification has a place for.

use std::fmt;

use crate::json::{Object, Value};

/// Where in the claims a value stands: a name, or a way of names through nested objects.
///
/// ```
/// use zt_identity::oidc::claim_path::ClaimPath;
///
/// let flat = ClaimPath::from("https://example.com/roles"); // one name, dots and all
/// let nested = ClaimPath::from(["realm_access", "roles"]); // as Keycloak does
/// assert_ne!(flat, nested);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath(Vec<String>);

impl ClaimPath {
    pub(super) fn find<'c, 'a>(&self, claims: &'c Object<'a>) -> Option<&'c Value<'a>> {
        let (first, rest) = self.0.split_first()?;
        let value = claims.get(first)?;
        rest.iter().try_fold(value, |value, name| value.as_object()?.get(name))
    }

    /// Whether every name on the way has at least one letter.
    pub(super) fn is_named(&self) -> bool {
        !self.0.is_empty() && !self.0.iter().any(String::is_empty)
    }
}

/// The names, with periods between them.
impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

impl From<Vec<String>> for ClaimPath {
    fn from(names: Vec<String>) -> Self {
        Self(names)
    }
}

impl From<&str> for ClaimPath {
    fn from(name: &str) -> Self {
        Self(vec![name.to_owned()])
    }
}

impl<const N: usize> From<[&str; N]> for ClaimPath {
    fn from(names: [&str; N]) -> Self {
        Self(names.map(str::to_owned).into())
    }
}
