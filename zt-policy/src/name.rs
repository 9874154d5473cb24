//! Names: identifiers, entity types, entities.
//!
//! An identifier is `[_a-zA-Z][_a-zA-Z0-9]*` and none of the reserved words; an entity type is one
//! or more identifiers joined by `::`, without spaces; an entity is a type and any text as its ID.

use std::fmt;
use std::sync::Arc;

use zt_core::fault::Fault;

/// The words that no identifier may be (Cedar grammar, `RESERVED`).
const RESERVED: [&str; 10] =
    ["true", "false", "if", "then", "else", "in", "is", "like", "has", "__cedar"];

/// The longest entity type that is accepted, in bytes; far beyond any that people write.
pub const MAX_TYPE_LEN: usize = 1024;

/// Whether `text` has the letters of an identifier; reserved words have them too.
pub(crate) fn is_word(text: &str) -> bool {
    text.bytes().next().is_some_and(|first| first == b'_' || first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
}

/// Whether `word` is reserved.
pub(crate) fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&word)
}

/// Whether `text` is an identifier.
pub(crate) fn is_identifier(text: &str) -> bool {
    is_word(text) && !is_reserved(text)
}

/// Whether `text` is the name of an entity type.
pub(crate) fn is_entity_type(text: &str) -> bool {
    // Most have one part.
    if !text.bytes().any(|byte| byte == b':') {
        return text.len() <= MAX_TYPE_LEN && is_identifier(text);
    }
    text.len() <= MAX_TYPE_LEN && text.split("::").all(is_identifier)
}

/// The type of an entity, such as `User` or `Shop::Order`. A clone shares the text.
///
/// ```
/// use zt_policy::name::EntityType;
///
/// let order = EntityType::parse("Shop::Order")?;
/// assert_eq!(order.basename(), "Order");
/// assert!(EntityType::parse("Shop::").is_err());
/// assert!(EntityType::parse("Shop::if").is_err());
/// # Ok::<(), zt_policy::name::NotAnEntityType>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityType(
    // INVARIANT: identifiers joined by `::`.
    Arc<str>,
);

impl EntityType {
    /// Parses a type name as it stands in JSON: without spaces around `::`.
    ///
    /// # Errors
    ///
    /// [`NotAnEntityType`] when a part is not an identifier or the whole is too long.
    pub fn parse(text: &str) -> Result<Self, NotAnEntityType> {
        if is_entity_type(text) {
            return Ok(Self(text.into()));
        }
        Err(NotAnEntityType { text: text.chars().take(64).collect() })
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last identifier.
    #[must_use]
    pub fn basename(&self) -> &str {
        self.0.rsplit("::").next().unwrap_or_default()
    }
}

impl fmt::Display for EntityType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EntityType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text is not the name of an entity type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the name of an entity type")]
#[non_exhaustive]
pub struct NotAnEntityType {
    /// The text, cut to 64 characters.
    pub text: String,
}

impl NotAnEntityType {
    /// Whose fault it is: whoever wrote the name.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

/// The name of an entity: its type and its ID. A clone shares both.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityUid {
    kind: EntityType,
    id: Arc<str>,
}

impl EntityUid {
    /// The entity of this type and ID; any text is an ID.
    #[must_use]
    pub fn new(kind: EntityType, id: impl Into<Arc<str>>) -> Self {
        Self { kind, id: id.into() }
    }

    /// Its type.
    #[must_use]
    pub const fn kind(&self) -> &EntityType {
        &self.kind
    }

    /// Its ID.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// As Cedar writes it: `Shop::Order::"42"`.
impl fmt::Display for EntityUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{:?}", self.kind, self.id)
    }
}

impl fmt::Debug for EntityUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_identifiers_joined_by_two_colons() {
        for good in ["User", "Shop::Order", "_", "a1::_b", "principal"] {
            assert_eq!(EntityType::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "", "::", "User::", "::User", "1User", "Us er", "A :: B", "A:B", "Ünder", "in", "A::is",
        ] {
            assert!(EntityType::parse(bad).is_err(), "{bad}");
        }
        assert!(EntityType::parse("__cedar::Long").is_err());
        assert!(EntityType::parse(&"a".repeat(MAX_TYPE_LEN + 1)).is_err());
    }

    #[test]
    fn an_entity_is_shown_as_cedar_writes_it() {
        let uid = EntityUid::new(EntityType::parse("User").unwrap(), "a\"b\n");
        assert_eq!(uid.to_string(), r#"User::"a\"b\n""#);
    }
}
