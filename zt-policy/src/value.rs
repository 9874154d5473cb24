//! What an expression evaluates to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::extension::datetime::DateTime;
use crate::extension::decimal::Decimal;
use crate::extension::duration::Duration;
use crate::extension::ip::IpNet;
use crate::name::EntityUid;

/// How deep the value of an attribute may be nested; a deeper one is refused where it comes in.
///
/// Comparing and dropping values recurse as deep as they are nested. The corpus of Cedar nests 5
/// deep at most.
pub const MAX_VALUE_DEPTH: usize = 32;

/// Named values, each name once.
pub type Record = BTreeMap<Arc<str>, Value>;

/// A value of Cedar.
///
/// Equality never errs: values of different types are not equal, records are equal by structure,
/// and a set is equal to another with the same members, as order and repetition have no meaning.
/// The order of values exists so that sets can hold them; policies do not see it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// A 64-bit integer.
    Long(i64),
    /// Text.
    String(Arc<str>),
    /// The name of an entity, which need not exist.
    Entity(EntityUid),
    /// Values without order or repetition.
    Set(Arc<BTreeSet<Value>>),
    /// Named values.
    Record(Arc<Record>),
    /// A decimal number.
    Decimal(Decimal),
    /// An IP address or range.
    Ip(IpNet),
    /// A moment.
    DateTime(DateTime),
    /// A span of time.
    Duration(Duration),
}

impl Value {
    /// The name of the value's type.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Bool(_) => "bool",
            Self::Long(_) => "long",
            Self::String(_) => "string",
            Self::Entity(_) => "entity",
            Self::Set(_) => "set",
            Self::Record(_) => "record",
            Self::Decimal(_) => "decimal",
            Self::Ip(_) => "ipaddr",
            Self::DateTime(_) => "datetime",
            Self::Duration(_) => "duration",
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => fmt::Debug::fmt(value, f),
            Self::Long(value) => fmt::Debug::fmt(value, f),
            Self::String(value) => fmt::Debug::fmt(value, f),
            Self::Entity(value) => fmt::Debug::fmt(value, f),
            Self::Set(value) => fmt::Debug::fmt(value, f),
            Self::Record(value) => fmt::Debug::fmt(value, f),
            Self::Decimal(value) => fmt::Debug::fmt(value, f),
            Self::Ip(value) => fmt::Debug::fmt(value, f),
            Self::DateTime(value) => fmt::Debug::fmt(value, f),
            Self::Duration(value) => fmt::Debug::fmt(value, f),
        }
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
    bool => Bool, i64 => Long, &str => String, String => String, Arc<str> => String,
    EntityUid => Entity, BTreeSet<Value> => Set, Record => Record, Decimal => Decimal,
    IpNet => Ip, DateTime => DateTime, Duration => Duration
}

/// A set: order and repetition are lost.
impl FromIterator<Value> for Value {
    fn from_iter<I: IntoIterator<Item = Value>>(items: I) -> Self {
        Self::Set(Arc::new(items.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_have_neither_order_nor_repetition() {
        let set = |items: &[i64]| items.iter().map(|n| Value::Long(*n)).collect::<Value>();
        assert_eq!(set(&[1, 1, 2]), set(&[2, 1]));
        assert_ne!(set(&[1]), set(&[1, 2]));
    }

    #[test]
    fn values_of_different_types_are_not_equal() {
        assert_ne!(Value::from("1"), Value::from(1));
        assert_ne!(Value::from(Record::new()), Value::from(BTreeSet::new()));
    }
}
