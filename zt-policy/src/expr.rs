//! Expressions, as the JSON form of Cedar (its "EST") has them.
//!
//! Two chains are kept flat, because people write them long: `a && b && c` is one [`Expr::And`]
//! of three, and so is `||`. Only chains that lean to the left are flattened, so that each form
//! stands for exactly one JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::name::{EntityType, EntityUid};
use crate::pattern::Pattern;

/// How deep an expression may be nested; a deeper one is refused when it is loaded.
///
/// Reading, evaluating, comparing and dropping an expression recurse as deep as it is nested, so
/// this bounds the stack. The corpus of Cedar nests 12 deep at most.
pub const MAX_DEPTH: usize = 100;

/// An expression.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expr {
    /// A constant.
    Literal(Literal),
    /// A part of the request.
    Var(Var),
    /// `!`
    Not(Box<Expr>),
    /// `-`
    Neg(Box<Expr>),
    /// `&&` of two or more; made by [`Expr::and`].
    And(Vec<Expr>),
    /// `||` of two or more; made by [`Expr::or`].
    Or(Vec<Expr>),
    /// `if … then … else …`
    If {
        /// What is asked.
        test: Box<Expr>,
        /// The value when it is true.
        then: Box<Expr>,
        /// The value when it is false.
        otherwise: Box<Expr>,
    },
    /// An operator or method with two operands.
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// `.isEmpty()`
    IsEmpty(Box<Expr>),
    /// `.name` or `["name"]`
    Attribute {
        /// An entity or a record.
        of: Box<Expr>,
        /// Which attribute.
        name: Arc<str>,
    },
    /// `has`
    Has {
        /// An entity or a record.
        of: Box<Expr>,
        /// Which attribute.
        path: HasPath,
    },
    /// `like`
    Like {
        /// A string.
        text: Box<Expr>,
        /// What it is compared with.
        pattern: Pattern,
    },
    /// `is`, `is … in`
    Is {
        /// An entity.
        entity: Box<Expr>,
        /// The type that it has to be of.
        kind: EntityType,
        /// What it has to be in.
        within: Option<Box<Expr>>,
    },
    /// `[…]`
    Set(Vec<Expr>),
    /// `{…}`
    Record(BTreeMap<Arc<str>, Expr>),
    /// A function or method of an extension.
    Call(Function, Vec<Expr>),
}

impl Expr {
    /// `left && right`, flat where `left` is itself an `&&`.
    #[must_use]
    pub fn and(left: Self, right: Self) -> Self {
        let mut all = if let Self::And(all) = left { all } else { vec![left] };
        all.push(right);
        Self::And(all)
    }

    /// `left || right`, flat where `left` is itself an `||`.
    #[must_use]
    pub fn or(left: Self, right: Self) -> Self {
        let mut any = if let Self::Or(any) = left { any } else { vec![left] };
        any.push(right);
        Self::Or(any)
    }

    /// Its direct parts.
    pub fn parts(&self) -> impl Iterator<Item = &Self> {
        let (some, many): (Vec<&Self>, &[Self]) = match self {
            Self::Literal(_) | Self::Var(_) => (vec![], &[]),
            Self::Not(one) | Self::Neg(one) | Self::IsEmpty(one) => (vec![&**one], &[]),
            Self::Attribute { of, .. } | Self::Has { of, .. } => (vec![&**of], &[]),
            Self::Like { text, .. } => (vec![&**text], &[]),
            Self::Binary(_, left, right) => (vec![&**left, &**right], &[]),
            Self::If { test, then, otherwise } => (vec![&**test, &**then, &**otherwise], &[]),
            Self::Is { entity, within, .. } => {
                (std::iter::once(&**entity).chain(within.as_deref()).collect(), &[])
            }
            Self::Record(fields) => (fields.values().collect(), &[]),
            Self::And(all) | Self::Or(all) | Self::Set(all) | Self::Call(_, all) => (vec![], all),
        };
        some.into_iter().chain(many)
    }

    /// Whether it is nested more than `limit` deep. A constant is one deep.
    #[must_use]
    pub fn is_deeper_than(&self, limit: usize) -> bool {
        match limit.checked_sub(1) {
            None => true,
            Some(limit) => self.parts().any(|part| part.is_deeper_than(limit)),
        }
    }
}

/// A constant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Literal {
    /// True or false.
    Bool(bool),
    /// A number.
    Long(i64),
    /// Text.
    String(Arc<str>),
    /// An entity.
    Entity(EntityUid),
}

/// A part of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Var {
    /// Who asks.
    Principal,
    /// What is to be done.
    Action,
    /// To what.
    Resource,
    /// What else is known, a record.
    Context,
}

impl Var {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Principal, Self::Action, Self::Resource, Self::Context];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Principal => "principal",
            Self::Action => "action",
            Self::Resource => "resource",
            Self::Context => "context",
        }
    }

    /// The variable of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|var| var.name() == name)
    }
}

/// An operator or method with two operands, both of which are always evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BinaryOp {
    /// `==`
    Eq,
    /// `!=`
    NotEq,
    /// `<`
    Less,
    /// `<=`
    LessEq,
    /// `>`
    Greater,
    /// `>=`
    GreaterEq,
    /// `in`
    In,
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `.contains(…)`
    Contains,
    /// `.containsAll(…)`
    ContainsAll,
    /// `.containsAny(…)`
    ContainsAny,
    /// `.getTag(…)`
    GetTag,
    /// `.hasTag(…)`
    HasTag,
}

impl BinaryOp {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Eq,
        Self::NotEq,
        Self::Less,
        Self::LessEq,
        Self::Greater,
        Self::GreaterEq,
        Self::In,
        Self::Add,
        Self::Sub,
        Self::Mul,
        Self::Contains,
        Self::ContainsAll,
        Self::ContainsAny,
        Self::GetTag,
        Self::HasTag,
    ];

    /// Its name, in text and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Eq => "==",
            Self::NotEq => "!=",
            Self::Less => "<",
            Self::LessEq => "<=",
            Self::Greater => ">",
            Self::GreaterEq => ">=",
            Self::In => "in",
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Contains => "contains",
            Self::ContainsAll => "containsAll",
            Self::ContainsAny => "containsAny",
            Self::GetTag => "getTag",
            Self::HasTag => "hasTag",
        }
    }

    /// The operator or method of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.name() == name)
    }

    /// Whether text writes it as a method.
    #[must_use]
    pub const fn is_method(self) -> bool {
        match self {
            Self::Contains
            | Self::ContainsAll
            | Self::ContainsAny
            | Self::GetTag
            | Self::HasTag => true,
            Self::Eq
            | Self::NotEq
            | Self::Less
            | Self::LessEq
            | Self::Greater
            | Self::GreaterEq
            | Self::In
            | Self::Add
            | Self::Sub
            | Self::Mul => false,
        }
    }
}

/// What `has` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HasPath {
    /// One attribute, of any name.
    Name(Arc<str>),
    /// `a.b.c`: two or more identifiers. It is true where `e has a && e.a has b && e.a.b has c`
    /// is.
    Chain(Vec<Arc<str>>),
}

impl HasPath {
    /// The names in the order in which they are followed.
    #[must_use]
    pub fn names(&self) -> &[Arc<str>] {
        match self {
            Self::Name(name) => std::slice::from_ref(name),
            Self::Chain(names) => names,
        }
    }
}

macro_rules! functions {
    ($($variant:ident $name:literal $style:ident $arity:literal $doc:literal;)*) => {
        /// A function or method of an extension.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Function {
            $(#[doc = $doc] $variant,)*
        }

        impl Function {
            /// All of them.
            pub const ALL: [Self; 22] = [$(Self::$variant,)*];

            /// Its name, in text and in JSON.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Whether text writes it as a method or as a function.
            #[must_use]
            pub const fn style(self) -> CallStyle {
                match self {
                    $(Self::$variant => CallStyle::$style,)*
                }
            }

            /// How many arguments it takes, the receiver of a method counted.
            #[must_use]
            pub const fn arity(self) -> usize {
                match self {
                    $(Self::$variant => $arity,)*
                }
            }
        }
    };
}

functions! {
    Decimal "decimal" Function 1 "`decimal(\"1.0\")`";
    LessThan "lessThan" Method 2 "`.lessThan(…)` of decimals";
    LessThanOrEqual "lessThanOrEqual" Method 2 "`.lessThanOrEqual(…)` of decimals";
    GreaterThan "greaterThan" Method 2 "`.greaterThan(…)` of decimals";
    GreaterThanOrEqual "greaterThanOrEqual" Method 2 "`.greaterThanOrEqual(…)` of decimals";
    Ip "ip" Function 1 "`ip(\"10.0.0.0/8\")`";
    IsIpv4 "isIpv4" Method 1 "`.isIpv4()`";
    IsIpv6 "isIpv6" Method 1 "`.isIpv6()`";
    IsLoopback "isLoopback" Method 1 "`.isLoopback()`";
    IsMulticast "isMulticast" Method 1 "`.isMulticast()`";
    IsInRange "isInRange" Method 2 "`.isInRange(…)`";
    DateTime "datetime" Function 1 "`datetime(\"2026-11-21\")`";
    Offset "offset" Method 2 "`.offset(…)` of a datetime by a duration";
    DurationSince "durationSince" Method 2 "`.durationSince(…)` of datetimes";
    ToDate "toDate" Method 1 "`.toDate()` of a datetime";
    ToTime "toTime" Method 1 "`.toTime()` of a datetime";
    Duration "duration" Function 1 "`duration(\"1h30m\")`";
    ToMilliseconds "toMilliseconds" Method 1 "`.toMilliseconds()` of a duration";
    ToSeconds "toSeconds" Method 1 "`.toSeconds()` of a duration";
    ToMinutes "toMinutes" Method 1 "`.toMinutes()` of a duration";
    ToHours "toHours" Method 1 "`.toHours()` of a duration";
    ToDays "toDays" Method 1 "`.toDays()` of a duration";
}

impl Function {
    /// The function or method of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|function| function.name() == name)
    }
}

/// How text writes a [`Function`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallStyle {
    /// `f(x)`
    Function,
    /// `x.f()`
    Method,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(n: i64) -> Expr {
        Expr::Literal(Literal::Long(n))
    }

    #[test]
    fn a_chain_that_leans_to_the_left_is_flat_and_another_is_not() {
        let left = Expr::and(Expr::and(number(1), number(2)), number(3));
        assert_eq!(left, Expr::And(vec![number(1), number(2), number(3)]));
        assert!(!left.is_deeper_than(2));
        let right = Expr::and(number(1), Expr::and(number(2), number(3)));
        assert!(right.is_deeper_than(2) && !right.is_deeper_than(3));
    }

    #[test]
    fn names_are_found_again() {
        for op in BinaryOp::ALL {
            assert_eq!(BinaryOp::from_name(op.name()), Some(op));
        }
        for function in Function::ALL {
            assert_eq!(Function::from_name(function.name()), Some(function));
        }
        for var in Var::ALL {
            assert_eq!(Var::from_name(var.name()), Some(var));
        }
    }
}
