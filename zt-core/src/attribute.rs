//! Facts about principals, resources and requests, in the shape that policy reads.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use smol_str::SmolStr;

use crate::time::Timestamp;

/// The value of one attribute. A clone shares what is behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// A 64-bit integer; policy has no fractions.
    Long(i64),
    /// Text.
    String(Arc<str>),
    /// An IP address.
    Ip(IpAddr),
    /// A moment.
    Time(Timestamp),
    /// A set: order and repetition have no meaning.
    Set(Arc<[Value]>),
    /// Named values.
    Record(Attributes),
}

impl Value {
    /// A set of strings.
    pub fn strings<S: Into<Arc<str>>>(items: impl IntoIterator<Item = S>) -> Self {
        Self::Set(items.into_iter().map(|item| Self::String(item.into())).collect())
    }
}

macro_rules! value_from {
    ($($from:ty => $variant:ident),*) => {
        $(impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$variant(value.into())
            }
        })*
    };
}

value_from! {
    bool => Bool, i64 => Long, i32 => Long, u32 => Long, &str => String, String => String,
    Arc<str> => String, IpAddr => Ip, Timestamp => Time, Vec<Value> => Set, Attributes => Record
}

/// A few named values, each name once. A clone shares them.
///
/// ```
/// use zt_core::attribute::{Attributes, Value};
///
/// let posture = Attributes::new().with("managed", true).with("os", "linux");
/// assert_eq!(posture.get("managed"), Some(&Value::Bool(true)));
/// assert_eq!(posture.get("jailbroken"), None);
/// ```
#[derive(Clone, Eq, Default)]
pub struct Attributes(
    // INVARIANT: in the order of their names, each of which is there once.
    Option<Arc<[Attribute]>>,
);

type Attribute = (SmolStr, Value);

impl Attributes {
    /// No attributes; allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(None)
    }

    /// These attributes and one more; a value that had the name before is replaced. All are put
    /// together anew, so it takes longer the more there are.
    #[must_use]
    pub fn with(self, name: impl AsRef<str>, value: impl Into<Value>) -> Self {
        let (name, all) = (SmolStr::new(name), self.all());
        if all.is_empty() {
            return Self(Some(Arc::new([(name, value.into())])));
        }
        let place = all.partition_point(|(other, _)| *other < name);
        let (before, after) = all.split_at_checked(place).unwrap_or((all, &[]));
        let after = match after {
            [(other, _), rest @ ..] if *other == name => rest,
            _ => after,
        };
        let one = std::iter::once((name, value.into()));
        let all = before.iter().cloned().chain(one).chain(after.iter().cloned());
        Self(Some(all.collect()))
    }

    fn all(&self) -> &[Attribute] {
        self.0.as_deref().unwrap_or_default()
    }

    /// The value with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        let all = self.all();
        let place = all.binary_search_by(|(other, _)| other.as_str().cmp(name)).ok()?;
        all.get(place).map(|(_, value)| value)
    }

    /// All names and values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.all().iter().map(|(name, value)| (name.as_str(), value))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl PartialEq for Attributes {
    fn eq(&self, other: &Self) -> bool {
        // A request is compared with what it was itself a moment ago.
        let (all, others) = (self.all(), other.all());
        std::ptr::eq(all, others) || all == others
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_change_leaves_the_clone_it_was_made_from_alone() {
        let before = Attributes::new().with("risk", 1);
        let after = before.clone().with("risk", 2);
        assert_eq!(before.get("risk"), Some(&Value::Long(1)));
        assert_eq!(after.get("risk"), Some(&Value::Long(2)));
    }

    #[test]
    fn values_serialize_plainly() {
        let attributes = Attributes::new()
            .with("at", Timestamp::from_secs(0))
            .with("from", IpAddr::from([10, 0, 0, 1]))
            .with("roles", Value::strings(["clerk"]))
            .with("nested", Attributes::new().with("n", 1));
        assert_eq!(
            serde_json::to_string(&attributes).unwrap(),
            r#"{"at":"1970-01-01T00:00:00Z","from":"10.0.0.1","nested":{"n":1},"roles":["clerk"]}"#
        );
    }

    proptest! {
        #[test]
        fn attributes_are_a_map(
            given in prop::collection::vec(("[abc]{0,2}", 0_i64..9), 0..12), asked in "[abc]{0,2}",
        ) {
            let map: BTreeMap<&str, Value> =
                given.iter().map(|(name, value)| (&**name, (*value).into())).collect();
            let attributes = given
                .iter()
                .fold(Attributes::new(), |all, (name, value)| all.with(name.as_str(), *value));
            prop_assert!(attributes.iter().eq(map.iter().map(|(name, value)| (*name, value))));
            prop_assert_eq!(attributes.len(), map.len());
            prop_assert_eq!(attributes.is_empty(), map.is_empty());
            prop_assert_eq!(attributes.get(&asked), map.get(&*asked));
        }
    }
}
