//! What operators and functions make of the values of their operands.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::error::EvaluationError;
use crate::expr::Function;
use crate::extension::datetime::DateTime;
use crate::extension::decimal::Decimal;
use crate::extension::duration::Duration;
use crate::extension::ip::IpNet;
use crate::name::EntityUid;
use crate::value::Value;

pub(super) type Evaluated = Result<Value, EvaluationError>;

/// The functions and methods of the extensions.
pub(crate) fn call(function: Function, arguments: &[Value]) -> Evaluated {
    let overflow = EvaluationError::Overflow { operation: function.name() };
    match (function, arguments) {
        (Function::Decimal, [text]) => Ok(Decimal::parse(string(text)?)?.into()),
        (Function::LessThan, [a, b]) => Ok((decimal(a)? < decimal(b)?).into()),
        (Function::LessThanOrEqual, [a, b]) => Ok((decimal(a)? <= decimal(b)?).into()),
        (Function::GreaterThan, [a, b]) => Ok((decimal(a)? > decimal(b)?).into()),
        (Function::GreaterThanOrEqual, [a, b]) => Ok((decimal(a)? >= decimal(b)?).into()),

        (Function::Ip, [text]) => Ok(IpNet::parse(string(text)?)?.into()),
        (Function::IsIpv4, [net]) => Ok(ip(net)?.is_ipv4().into()),
        (Function::IsIpv6, [net]) => Ok(ip(net)?.is_ipv6().into()),
        (Function::IsLoopback, [net]) => Ok(ip(net)?.is_loopback().into()),
        (Function::IsMulticast, [net]) => Ok(ip(net)?.is_multicast().into()),
        (Function::IsInRange, [net, range]) => Ok(ip(net)?.is_in_range(ip(range)?).into()),

        (Function::DateTime, [text]) => Ok(DateTime::parse(string(text)?)?.into()),
        (Function::Offset, [time, by]) => {
            datetime(time)?.offset(duration(by)?).map(Value::from).ok_or(overflow)
        }
        (Function::DurationSince, [time, earlier]) => {
            datetime(time)?.duration_since(datetime(earlier)?).map(Value::from).ok_or(overflow)
        }
        (Function::ToDate, [time]) => datetime(time)?.to_date().map(Value::from).ok_or(overflow),
        (Function::ToTime, [time]) => Ok(datetime(time)?.to_time().into()),

        (Function::Duration, [text]) => Ok(Duration::parse(string(text)?)?.into()),
        (Function::ToMilliseconds, [span]) => Ok(duration(span)?.as_millis().into()),
        (Function::ToSeconds, [span]) => Ok(duration(span)?.as_secs().into()),
        (Function::ToMinutes, [span]) => Ok(duration(span)?.as_minutes().into()),
        (Function::ToHours, [span]) => Ok(duration(span)?.as_hours().into()),
        (Function::ToDays, [span]) => Ok(duration(span)?.as_days().into()),

        _ => Err(EvaluationError::Arity {
            function: function.name(),
            expected: function.arity(),
            found: arguments.len(),
        }),
    }
}

/// Only numbers, datetimes and durations have an order, each among their own type.
pub(super) fn compare(left: &Value, right: &Value) -> Result<Ordering, EvaluationError> {
    if let Value::Long(left) = left {
        return Ok(left.cmp(&long(right)?));
    }
    if let Value::DateTime(left) = left {
        return Ok(left.cmp(&datetime(right)?));
    }
    if let Value::Duration(left) = left {
        return Ok(left.cmp(&duration(right)?));
    }
    Err(type_error("long, datetime or duration", left))
}

pub(super) fn arithmetic(
    operation: &'static str,
    operate: fn(i64, i64) -> Option<i64>,
    left: &Value,
    right: &Value,
) -> Evaluated {
    operate(long(left)?, long(right)?)
        .map(Value::Long)
        .ok_or(EvaluationError::Overflow { operation })
}

macro_rules! expect_type {
    ($($name:ident: $variant:ident $type:ty = $what:literal, $take:expr;)*) => {
        $(pub(crate) fn $name(value: &Value) -> Result<$type, EvaluationError> {
            let Value::$variant(inner) = value else {
                return Err(type_error($what, value));
            };
            let take: fn(_) -> _ = $take;
            Ok(take(inner))
        })*
    };
}

expect_type! {
    boolean: Bool bool = "bool", |value: &bool| *value;
    long: Long i64 = "long", |value: &i64| *value;
    string: String &Arc<str> = "string", |value| value;
    entity: Entity &EntityUid = "entity", |value| value;
    set: Set &BTreeSet<Value> = "set", |value: &Arc<_>| value;
    decimal: Decimal Decimal = "decimal", |value: &Decimal| *value;
    ip: Ip IpNet = "ipaddr", |value: &IpNet| *value;
    datetime: DateTime DateTime = "datetime", |value: &DateTime| *value;
    duration: Duration Duration = "duration", |value: &Duration| *value;
}

/// The entity that an attribute is asked of, where it is not a record.
pub(super) fn attributed(value: &Value) -> Result<&EntityUid, EvaluationError> {
    entity(value).map_err(|_| type_error("entity or record", value))
}

pub(super) fn type_error(expected: &'static str, found: &Value) -> EvaluationError {
    EvaluationError::Type { expected, found: found.type_name() }
}
