//! The meaning of policies: every policy is asked, one after the other.
//!
//! This is the definition that everything faster is measured against. For one request:
//!
//! 1. a policy *applies* when principal, action and resource are in its scope, every `when` is
//!    true and every `unless` is false; it *errs* when a condition that is reached errs;
//! 2. a forbid that applies denies;
//! 3. a forbid that errs denies too, unless [`OnForbidError::Skip`] says otherwise;
//! 4. else a permit that applies allows;
//! 5. else it is denied, as nothing permits it. A permit that errs permits nothing.
//!
//! Expressions mean what Cedar says they mean. What is easily missed: `&&`, `||` and `if`
//! evaluate no more than they have to, and everything else all of its parts; what `&&` and `||`
//! do evaluate has to be a bool; `==` never errs; an entity that is not known has no attributes
//! and no tags, which `has` may ask and `.` may not; `is T in e` does not look at `e` where the
//! type differs.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use zt_core::fault::Fault;

use crate::entity::{Entities, Entity, Request};
use crate::expr::{BinaryOp, Expr, Function, Literal, Var};
use crate::extension::Malformed;
use crate::extension::datetime::DateTime;
use crate::extension::decimal::Decimal;
use crate::extension::duration::Duration;
use crate::extension::ip::IpNet;
use crate::name::{EntityType, EntityUid};
use crate::policy::{ActionScope, ConditionKind, Effect, Policy, Scope, Slot, Target};
use crate::value::{Record, Value};

/// What a forbid does whose condition errs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnForbidError {
    /// It denies: a typo in a forbid does not open a door.
    #[default]
    Deny,
    /// It is skipped, as in upstream Cedar: for its corpus, and for those who ask for it.
    Skip,
}

/// What policies answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Yes, by this permit and perhaps others.
    Allow {
        /// The first permit that applies.
        policy: Arc<str>,
    },
    /// No: a forbid applies.
    Forbidden {
        /// The first forbid that applies.
        policy: Arc<str>,
    },
    /// No: a forbid could not be evaluated.
    Error {
        /// The first forbid that erred.
        policy: Arc<str>,
    },
    /// No: no permit applies.
    NotPermitted,
}

/// Which policies apply to one request, and which err, in the order in which they were asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// The permits that apply.
    pub permits: Vec<Arc<str>>,
    /// The forbids that apply.
    pub forbids: Vec<Arc<str>>,
    /// The policies that erred, and why.
    pub errors: Vec<PolicyError>,
}

/// A policy could not be evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PolicyError {
    /// Which policy.
    pub policy: Arc<str>,
    /// What it would have done.
    pub effect: Effect,
    /// Why it could not.
    pub error: EvaluationError,
}

impl Response {
    /// The answer.
    #[must_use]
    pub fn outcome(&self, on_forbid_error: OnForbidError) -> Outcome {
        let erred = self.errors.iter().find(|error| error.effect == Effect::Forbid);
        match (self.forbids.first(), erred, on_forbid_error, self.permits.first()) {
            (Some(forbid), ..) => Outcome::Forbidden { policy: forbid.clone() },
            (None, Some(error), OnForbidError::Deny, _) => {
                Outcome::Error { policy: error.policy.clone() }
            }
            (None, _, _, Some(permit)) => Outcome::Allow { policy: permit.clone() },
            (None, _, _, None) => Outcome::NotPermitted,
        }
    }

    /// The policies that determine the answer as upstream Cedar reports it: the forbids that
    /// apply, and where there are none, the permits.
    #[must_use]
    pub fn reasons(&self) -> &[Arc<str>] {
        if self.forbids.is_empty() { &self.permits } else { &self.forbids }
    }
}

/// Asks every policy.
#[must_use]
pub fn authorize<'p>(
    policies: impl IntoIterator<Item = &'p Policy>,
    request: &Request,
    entities: &Entities,
) -> Response {
    let mut response = Response::default();
    for policy in policies {
        let id = policy.id.clone();
        match (applies(policy, request, entities), policy.effect) {
            (Ok(true), Effect::Permit) => response.permits.push(id),
            (Ok(true), Effect::Forbid) => response.forbids.push(id),
            (Ok(false), _) => {}
            (Err(error), effect) => {
                response.errors.push(PolicyError { policy: id, effect, error });
            }
        }
    }
    response
}

/// Whether one policy applies.
///
/// # Errors
///
/// [`EvaluationError`] when a condition cannot be evaluated.
pub fn applies(
    policy: &Policy,
    request: &Request,
    entities: &Entities,
) -> Result<bool, EvaluationError> {
    let in_scope = in_scope(&policy.principal, Slot::Principal, &request.principal, entities)?
        && in_action_scope(&policy.action, &request.action, entities)
        && in_scope(&policy.resource, Slot::Resource, &request.resource, entities)?;
    if !in_scope {
        return Ok(false);
    }
    for condition in &policy.conditions {
        let holds = boolean(&evaluate(&condition.body, request, entities)?)?;
        if holds != (condition.kind == ConditionKind::When) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn in_scope<'a>(
    scope: &'a Scope,
    slot: Slot,
    entity: &EntityUid,
    entities: &Entities,
) -> Result<bool, EvaluationError> {
    let uid_of = |target: &'a Target| match target {
        Target::Entity(uid) => Ok(uid),
        Target::Slot => Err(EvaluationError::Unlinked { slot }),
    };
    Ok(match scope {
        Scope::Any => true,
        Scope::Eq(target) => entity == uid_of(target)?,
        Scope::In(target) => entities.is_in(entity, uid_of(target)?),
        Scope::Is(kind) => entity.kind() == kind,
        Scope::IsIn(kind, target) => {
            entity.kind() == kind && entities.is_in(entity, uid_of(target)?)
        }
    })
}

fn in_action_scope(scope: &ActionScope, action: &EntityUid, entities: &Entities) -> bool {
    match scope {
        ActionScope::Any => true,
        ActionScope::Eq(wanted) => action == wanted,
        ActionScope::In(group) => entities.is_in(action, group),
        ActionScope::InAny(groups) => groups.iter().any(|group| entities.is_in(action, group)),
    }
}

/// The value of an expression.
///
/// It recurses as deep as the expression is nested. Whatever a reader of this crate has read is
/// nested [`MAX_DEPTH`](crate::expr::MAX_DEPTH) deep at most.
///
/// # Errors
///
/// [`EvaluationError`] names the first thing that has no value.
pub fn evaluate(
    expr: &Expr,
    request: &Request,
    entities: &Entities,
) -> Result<Value, EvaluationError> {
    Evaluation { request, entities }.value(expr)
}

#[derive(Clone, Copy)]
struct Evaluation<'a> {
    request: &'a Request,
    entities: &'a Entities,
}

type Evaluated = Result<Value, EvaluationError>;

impl Evaluation<'_> {
    fn value(self, expr: &Expr) -> Evaluated {
        match expr {
            Expr::Literal(literal) => Ok(self.literal(literal)),
            Expr::Var(var) => Ok(self.var(*var)),
            Expr::Not(operand) => Ok(Value::Bool(!self.bool(operand)?)),
            Expr::Neg(operand) => self.negate(operand),
            Expr::And(operands) => self.until(operands, false),
            Expr::Or(operands) => self.until(operands, true),
            Expr::If { test, then, otherwise } => {
                let chosen = if self.bool(test)? { then } else { otherwise };
                self.value(chosen)
            }
            Expr::Binary(op, left, right) => {
                self.binary(*op, &self.value(left)?, &self.value(right)?)
            }
            Expr::IsEmpty(members) => Ok(Value::Bool(set(&self.value(members)?)?.is_empty())),
            Expr::Attribute { of, name } => self.attribute(&self.value(of)?, name),
            Expr::Has { of, path } => self.has(self.value(of)?, path.names()),
            Expr::Like { text, pattern } => {
                Ok(Value::Bool(pattern.matches(string(&self.value(text)?)?)))
            }
            Expr::Is { entity, kind, within } => {
                self.is(&self.value(entity)?, kind, within.as_deref())
            }
            Expr::Set(members) => members.iter().map(|member| self.value(member)).collect(),
            Expr::Record(fields) => {
                let field = |(name, value): (&Arc<str>, &Expr)| {
                    self.value(value).map(|value| (name.clone(), value))
                };
                fields.iter().map(field).collect::<Result<Record, _>>().map(Value::from)
            }
            Expr::Call(function, arguments) => {
                let values: Vec<Value> = arguments
                    .iter()
                    .map(|argument| self.value(argument))
                    .collect::<Result<_, _>>()?;
                call(*function, &values)
            }
        }
    }

    fn literal(self, literal: &Literal) -> Value {
        match literal {
            Literal::Bool(value) => Value::Bool(*value),
            Literal::Long(value) => Value::Long(*value),
            Literal::String(value) => Value::String(value.clone()),
            Literal::Entity(value) => Value::Entity(value.clone()),
        }
    }

    fn var(self, var: Var) -> Value {
        match var {
            Var::Principal => Value::Entity(self.request.principal.clone()),
            Var::Action => Value::Entity(self.request.action.clone()),
            Var::Resource => Value::Entity(self.request.resource.clone()),
            Var::Context => Value::Record(self.request.context.clone()),
        }
    }

    fn bool(self, expr: &Expr) -> Result<bool, EvaluationError> {
        boolean(&self.value(expr)?)
    }

    fn negate(self, operand: &Expr) -> Evaluated {
        let number = long(&self.value(operand)?)?;
        number.checked_neg().map(Value::Long).ok_or(EvaluationError::Overflow { operation: "-" })
    }

    /// The operands of `&&` or `||`, no further than the first that decides.
    fn until(self, operands: &[Expr], decides: bool) -> Evaluated {
        for operand in operands {
            if self.bool(operand)? == decides {
                return Ok(Value::Bool(decides));
            }
        }
        Ok(Value::Bool(!decides))
    }

    fn binary(self, op: BinaryOp, left: &Value, right: &Value) -> Evaluated {
        let bool = |value: Result<bool, EvaluationError>| value.map(Value::Bool);
        match op {
            BinaryOp::Eq => Ok(Value::Bool(left == right)),
            BinaryOp::NotEq => Ok(Value::Bool(left != right)),
            BinaryOp::Less => bool(compare(left, right).map(|order| order.is_lt())),
            BinaryOp::LessEq => bool(compare(left, right).map(|order| order.is_le())),
            BinaryOp::Greater => bool(compare(left, right).map(|order| order.is_gt())),
            BinaryOp::GreaterEq => bool(compare(left, right).map(|order| order.is_ge())),
            BinaryOp::In => bool(self.is_in(left, right)),
            BinaryOp::Add => arithmetic("+", i64::checked_add, left, right),
            BinaryOp::Sub => arithmetic("-", i64::checked_sub, left, right),
            BinaryOp::Mul => arithmetic("*", i64::checked_mul, left, right),
            BinaryOp::Contains => Ok(Value::Bool(set(left)?.contains(right))),
            BinaryOp::ContainsAll => {
                let (left, right) = (set(left)?, set(right)?);
                Ok(Value::Bool(right.is_subset(left)))
            }
            BinaryOp::ContainsAny => {
                let (left, right) = (set(left)?, set(right)?);
                Ok(Value::Bool(!right.is_disjoint(left)))
            }
            BinaryOp::GetTag => self.tag(entity(left)?, string(right)?),
            BinaryOp::HasTag => {
                let (entity, tag) = (entity(left)?, string(right)?);
                let known = self.entities.get(entity);
                Ok(Value::Bool(known.is_some_and(|known| known.tags.contains_key(tag))))
            }
        }
    }

    fn is_in(self, left: &Value, right: &Value) -> Result<bool, EvaluationError> {
        let left = entity(left)?;
        if let Value::Set(members) = right {
            // All types come first: a match does not hide a member that is not an entity.
            let ancestors = members.iter().map(entity).collect::<Result<Vec<_>, _>>()?;
            return Ok(ancestors.into_iter().any(|ancestor| self.entities.is_in(left, ancestor)));
        }
        let Value::Entity(ancestor) = right else {
            return Err(type_error("entity or set", right));
        };
        Ok(self.entities.is_in(left, ancestor))
    }

    fn is(self, value: &Value, kind: &EntityType, within: Option<&Expr>) -> Evaluated {
        if entity(value)?.kind() != kind {
            return Ok(Value::Bool(false));
        }
        match within {
            Some(ancestor) => self.is_in(value, &self.value(ancestor)?).map(Value::Bool),
            None => Ok(Value::Bool(true)),
        }
    }

    fn attribute(self, of: &Value, name: &Arc<str>) -> Evaluated {
        let found = if let Value::Record(fields) = of {
            fields.get(name)
        } else {
            self.known(attributed(of)?)?.attributes.get(name)
        };
        found.cloned().ok_or_else(|| EvaluationError::NoSuchAttribute {
            of: entity(of).map_or_else(|_| String::from("the record"), EntityUid::to_string),
            name: name.clone(),
        })
    }

    fn has(self, of: Value, path: &[Arc<str>]) -> Evaluated {
        let mut at = of;
        for name in path {
            let found = if let Value::Record(fields) = &at {
                fields.get(name)
            } else {
                let known = self.entities.get(attributed(&at)?);
                known.and_then(|known| known.attributes.get(name))
            };
            match found.cloned() {
                Some(value) => at = value,
                None => return Ok(Value::Bool(false)),
            }
        }
        Ok(Value::Bool(true))
    }

    fn tag(self, uid: &EntityUid, tag: &Arc<str>) -> Evaluated {
        let found = self.known(uid)?.tags.get(tag).cloned();
        found.ok_or_else(|| EvaluationError::NoSuchTag { entity: uid.clone(), tag: tag.clone() })
    }

    fn known(&self, uid: &EntityUid) -> Result<&Entity, EvaluationError> {
        let unknown = || EvaluationError::NoSuchEntity { entity: uid.clone() };
        self.entities.get(uid).ok_or_else(unknown)
    }
}

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
fn compare(left: &Value, right: &Value) -> Result<Ordering, EvaluationError> {
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

fn arithmetic(
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
        $(fn $name(value: &Value) -> Result<$type, EvaluationError> {
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
fn attributed(value: &Value) -> Result<&EntityUid, EvaluationError> {
    entity(value).map_err(|_| type_error("entity or record", value))
}

fn type_error(expected: &'static str, found: &Value) -> EvaluationError {
    EvaluationError::Type { expected, found: found.type_name() }
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluationError {
    /// An operand has the wrong type.
    #[error("expected {expected}, found {found}")]
    Type {
        /// What the operator takes.
        expected: &'static str,
        /// What it was given.
        found: &'static str,
    },
    /// An attribute or tag was read of an entity that is not known.
    #[error("entity {entity} is not known")]
    NoSuchEntity {
        /// The entity.
        entity: EntityUid,
    },
    /// An attribute was read that is not there.
    #[error("{of} has no attribute {name:?}")]
    NoSuchAttribute {
        /// The entity, or `record`.
        of: String,
        /// The attribute.
        name: Arc<str>,
    },
    /// A tag was read that is not there.
    #[error("{entity} has no tag {tag:?}")]
    NoSuchTag {
        /// The entity.
        entity: EntityUid,
        /// The tag.
        tag: Arc<str>,
    },
    /// The result does not fit into 64 bits.
    #[error("{operation:?} is out of range")]
    Overflow {
        /// The operator or function.
        operation: &'static str,
    },
    /// The constructor of an extension type was given something else.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A function of an extension has the wrong number of arguments.
    #[error("{function} takes {expected} arguments, found {found}")]
    Arity {
        /// The function.
        function: &'static str,
        /// How many it takes, the receiver of a method counted.
        expected: usize,
        /// How many it was given.
        found: usize,
    },
    /// A template was asked as if it were a policy.
    #[error("the slot {slot} is not linked")]
    Unlinked {
        /// The slot.
        slot: Slot,
    },
}

impl EvaluationError {
    /// Whose fault it is: that of whoever wrote the policy or left out the fact that it reads. The
    /// peer learns of a denial and of nothing else.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}
