//! The value of one expression.

use std::sync::Arc;

use super::error::EvaluationError;
use super::operation::{
    Evaluated, arithmetic, attributed, boolean, call, compare, entity, long, set, string,
    type_error,
};
use crate::entity::{Entities, Entity, Request};
use crate::expr::{BinaryOp, Expr, Literal, Var};
use crate::name::{EntityType, EntityUid};
use crate::value::{Record, Value};

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

// These tests write their expressions as text, whose reader is further down the list of modules.
#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cedar::{data, text};
    use crate::expr::{Function, MAX_DEPTH};

    const WORLD: &str = r#"[
        {"uid": {"type": "User", "id": "alice"}, "parents": [{"type": "Group", "id": "eng"}],
         "attrs": {"age": 30, "name": "alice", "boss": {"__entity": {"type": "User", "id": "nobody"}}},
         "tags": {"team": "blue"}},
        {"uid": {"type": "Group", "id": "eng"}, "parents": [{"type": "Group", "id": "all"}], "attrs": {}}
    ]"#;

    fn value_of(source: &str) -> Evaluated {
        let uid = |kind: &str, id| EntityUid::new(EntityType::parse(kind).unwrap(), id);
        let request = Request {
            principal: uid("User", "alice"),
            action: uid("Action", "read"),
            resource: uid("Doc", "d"),
            context: data::context("context", r#"{"mfa": true, "deep": {"n": 1}}"#).unwrap().into(),
        };
        let entities = data::entities("world", WORLD).unwrap();
        evaluate(&text::expression(source).unwrap(), &request, &entities)
    }

    fn all_are(expected: bool, sources: &[&str]) {
        for source in sources {
            assert_eq!(value_of(source), Ok(Value::Bool(expected)), "{source}");
        }
    }

    fn all_err(sources: &[&str]) {
        for source in sources {
            assert!(value_of(source).is_err(), "{source}");
        }
    }

    #[test]
    fn and_or_and_if_evaluate_no_more_than_they_have_to() {
        all_are(false, &["false && principal.nope", "false && 1", "true && true && false && 1"]);
        all_are(true, &["true || principal.nope", "false || true || 1"]);
        all_are(true, &["if true then true else principal.nope"]);
        all_err(&["true && 1", "false || 1", "1 && true", "1 || true", "if 1 then true else true"]);
    }

    #[test]
    fn all_else_evaluates_all_of_its_parts() {
        all_err(&[
            "[1, principal.nope].contains(1)",
            "{a: 1, b: principal.nope} has a",
            "principal in [User::\"alice\", 1]",
            "principal.nope == principal.nope",
        ]);
    }

    #[test]
    fn equality_never_errs_and_order_is_for_three_types() {
        all_are(false, &["1 == \"1\"", "principal == \"alice\"", "{a: 1} == {a: 1, b: 1}"]);
        all_are(true, &["[1, 1, 2] == [2, 1]", "ip(\"10.0.0.0/8\") != ip(\"10.0.0.1/8\")"]);
        all_are(true, &["datetime(\"2024-01-01\") < datetime(\"2024-01-02\")", "1 <= 1"]);
        all_err(&["1 < \"2\"", "true < false", "\"a\" < \"b\"", "duration(\"1h\") > 1"]);
        all_err(&["decimal(\"1.0\") < decimal(\"2.0\")"]);
    }

    #[test]
    fn an_unknown_entity_has_nothing_and_must_not_be_read() {
        all_are(
            false,
            &[
                "principal.boss has age",
                "principal has boss.age",
                "principal.boss.hasTag(\"t\")",
                "principal.boss in Group::\"all\"",
                "resource has x",
            ],
        );
        all_are(true, &["principal.boss in principal.boss", "principal.boss is User"]);
        all_err(&["principal.boss.age", "principal.boss.getTag(\"t\")", "resource.x"]);
    }

    #[test]
    fn tags_are_not_attributes() {
        all_are(true, &["principal.hasTag(\"team\") && principal.getTag(\"team\") == \"blue\""]);
        all_are(false, &["principal.hasTag(\"age\")", "principal has team"]);
        all_err(&["principal.getTag(\"age\")", "principal.team", "context.hasTag(\"mfa\")"]);
    }

    #[test]
    fn has_follows_a_path_to_the_first_that_is_missing() {
        all_are(true, &["context has deep.n", "principal has age"]);
        all_are(false, &["context has deep.x.y", "context has x.y.z"]);
        all_err(&["context has deep.n.x", "principal has name.x", "\"s\" has x"]);
    }

    #[test]
    fn is_in_does_not_look_at_the_ancestor_of_another_type() {
        all_are(false, &["principal is Group in 1", "principal is Group"]);
        all_are(true, &["principal is User in Group::\"all\"", "principal in [Group::\"all\"]"]);
        all_err(&["principal is User in 1", "1 is User", "1 in principal", "principal in 1"]);
    }

    #[test]
    fn numbers_that_do_not_fit_err() {
        all_err(&[
            "9223372036854775807 + 1",
            "-9223372036854775808 - 1",
            "3037000500 * 3037000500",
            "-(-9223372036854775808)",
            "datetime(\"2024-01-01\").offset(duration(\"9223372036854775807ms\"))",
        ]);
    }

    #[test]
    fn every_function_is_evaluated_with_its_arity_and_with_no_other() {
        for function in Function::ALL {
            let arguments = vec![Value::Bool(true); function.arity()];
            let error = call(function, &arguments).unwrap_err();
            assert!(matches!(error, EvaluationError::Type { .. }), "{function:?}: {error}");
            for arity in [0, function.arity() + 1] {
                let error = call(function, &vec![Value::Bool(true); arity]).unwrap_err();
                assert!(matches!(error, EvaluationError::Arity { .. }), "{function:?}: {error}");
            }
        }
    }

    #[test]
    fn the_deepest_expression_fits_into_the_stack_of_a_thread_of_a_debug_build() {
        let deepest = [
            format!("{}true", "if true then ".repeat(MAX_DEPTH - 1))
                + &" else true".repeat(MAX_DEPTH - 1),
            format!("{}1{}", "[".repeat(MAX_DEPTH - 1), "]".repeat(MAX_DEPTH - 1)),
            format!("{}1{}", "{a: ".repeat(MAX_DEPTH - 1), "}".repeat(MAX_DEPTH - 1)),
            format!("1{}", " + 1".repeat(MAX_DEPTH - 1)),
            format!("context{}", ".a".repeat(MAX_DEPTH - 1)),
        ];
        let run = move || {
            for source in deepest {
                let expr = text::expression(&source).unwrap();
                assert!(expr.is_deeper_than(MAX_DEPTH - 1) && expr == expr.clone());
                let both = [value_of(&source), value_of(&source)];
                let set: BTreeSet<_> = both.iter().flatten().collect();
                assert!(set.len() <= 1, "{source}");
            }
        };
        std::thread::Builder::new().stack_size(1536 * 1024).spawn(run).unwrap().join().unwrap();
    }
}
