//! What operators and functions make of terms: as [`evaluate`](crate::evaluate) has it, without
//! the reason of an error.

use std::cmp::Ordering;

use crate::expr::{BinaryOp, Function};
use crate::extension::datetime::DateTime;
use crate::extension::decimal::Decimal;
use crate::extension::duration::Duration;
use crate::extension::ip::IpNet;
use crate::symbol::{EntityNo, Full, SetNo, Store, Symbol, Term};

/// Why there is no term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The expression errs.
    Error,
    /// There is no room to evaluate it.
    Full,
}

impl From<Full> for Stop {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

macro_rules! expect_type {
    ($($name:ident: $variant:ident $type:ty;)*) => {
        $(pub(crate) const fn $name(term: Term) -> Result<$type, Stop> {
            match term {
                Term::$variant(inner) => Ok(inner),
                _ => Err(Stop::Error),
            }
        })*
    };
}

expect_type! {
    boolean: Bool bool;
    long: Long i64;
    text: Text Symbol;
    entity: Entity EntityNo;
    set: Set SetNo;
    decimal: Decimal Decimal;
    ip: Ip IpNet;
    datetime: DateTime DateTime;
    duration: Duration Duration;
}

/// The functions and methods of the extensions.
pub(crate) fn call(
    function: Function,
    arguments: &[Term],
    store: &Store<'_>,
) -> Result<Term, Stop> {
    let read = |term: Term| Ok::<_, Stop>(store.text(text(term)?));
    Ok(match (function, arguments) {
        (Function::Decimal, [it]) => Term::Decimal(or_error(Decimal::read(read(*it)?).ok())?),
        (Function::LessThan, [a, b]) => Term::Bool(decimal(*a)? < decimal(*b)?),
        (Function::LessThanOrEqual, [a, b]) => Term::Bool(decimal(*a)? <= decimal(*b)?),
        (Function::GreaterThan, [a, b]) => Term::Bool(decimal(*a)? > decimal(*b)?),
        (Function::GreaterThanOrEqual, [a, b]) => Term::Bool(decimal(*a)? >= decimal(*b)?),

        (Function::Ip, [it]) => Term::Ip(or_error(IpNet::read(read(*it)?).ok())?),
        (Function::IsIpv4, [net]) => Term::Bool(ip(*net)?.is_ipv4()),
        (Function::IsIpv6, [net]) => Term::Bool(ip(*net)?.is_ipv6()),
        (Function::IsLoopback, [net]) => Term::Bool(ip(*net)?.is_loopback()),
        (Function::IsMulticast, [net]) => Term::Bool(ip(*net)?.is_multicast()),
        (Function::IsInRange, [net, range]) => Term::Bool(ip(*net)?.is_in_range(ip(*range)?)),

        (Function::DateTime, [it]) => Term::DateTime(or_error(DateTime::read(read(*it)?))?),
        (Function::Offset, [time, by]) => {
            Term::DateTime(or_error(datetime(*time)?.offset(duration(*by)?))?)
        }
        (Function::DurationSince, [time, earlier]) => {
            Term::Duration(or_error(datetime(*time)?.duration_since(datetime(*earlier)?))?)
        }
        (Function::ToDate, [time]) => Term::DateTime(or_error(datetime(*time)?.to_date())?),
        (Function::ToTime, [time]) => Term::Duration(datetime(*time)?.to_time()),

        (Function::Duration, [it]) => Term::Duration(or_error(Duration::read(read(*it)?).ok())?),
        (Function::ToMilliseconds, [span]) => Term::Long(duration(*span)?.as_millis()),
        (Function::ToSeconds, [span]) => Term::Long(duration(*span)?.as_secs()),
        (Function::ToMinutes, [span]) => Term::Long(duration(*span)?.as_minutes()),
        (Function::ToHours, [span]) => Term::Long(duration(*span)?.as_hours()),
        (Function::ToDays, [span]) => Term::Long(duration(*span)?.as_days()),

        _ => return Err(Stop::Error),
    })
}

fn or_error<T>(value: Option<T>) -> Result<T, Stop> {
    value.ok_or(Stop::Error)
}

/// Only numbers, datetimes and durations have an order, each among their own type.
pub(crate) fn compare(left: Term, right: Term) -> Result<Ordering, Stop> {
    match (left, right) {
        (Term::Long(left), Term::Long(right)) => Ok(left.cmp(&right)),
        (Term::DateTime(left), Term::DateTime(right)) => Ok(left.cmp(&right)),
        (Term::Duration(left), Term::Duration(right)) => Ok(left.cmp(&right)),
        _ => Err(Stop::Error),
    }
}

/// The operators that need no entity.
pub(crate) fn binary(
    op: BinaryOp,
    left: Term,
    right: Term,
    store: &Store<'_>,
) -> Result<Term, Stop> {
    let members = |term| Ok::<_, Stop>(store.members(set(term)?));
    let arithmetic = |operate: fn(i64, i64) -> Option<i64>| {
        or_error(operate(long(left)?, long(right)?)).map(Term::Long)
    };
    Ok(Term::Bool(match op {
        BinaryOp::Eq => left == right,
        BinaryOp::NotEq => left != right,
        BinaryOp::Less => compare(left, right)?.is_lt(),
        BinaryOp::LessEq => compare(left, right)?.is_le(),
        BinaryOp::Greater => compare(left, right)?.is_gt(),
        BinaryOp::GreaterEq => compare(left, right)?.is_ge(),
        BinaryOp::Add => return arithmetic(i64::checked_add),
        BinaryOp::Sub => return arithmetic(i64::checked_sub),
        BinaryOp::Mul => return arithmetic(i64::checked_mul),
        BinaryOp::Contains => members(left)?.binary_search(&right).is_ok(),
        BinaryOp::ContainsAll => {
            let (left, right) = (members(left)?, members(right)?);
            right.iter().all(|member| left.binary_search(member).is_ok())
        }
        BinaryOp::ContainsAny => {
            let (left, right) = (members(left)?, members(right)?);
            right.iter().any(|member| left.binary_search(member).is_ok())
        }
        BinaryOp::In | BinaryOp::GetTag | BinaryOp::HasTag => return Err(Stop::Error),
    }))
}
