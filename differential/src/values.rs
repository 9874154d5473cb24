//! The value of one expression.

use std::str::FromStr;

use cedar_policy as theirs;
use zt_policy::cedar::text;
use zt_policy::decide::Scratch;
use zt_policy::entity::Entities;
use zt_policy::evaluate::expression::evaluate;
use zt_policy::program::Program;
use zt_policy::value::Value;

use crate::choices::Choices;
use crate::decisions::{Sides, sides};
use crate::expression::{Type, expression};
use crate::world::{Asked, World};
use crate::{Agreed, same};

/// An expression made of these bytes, evaluated by both: its value, if it has one.
///
/// # Errors
///
/// Where the two disagree.
pub fn of_bytes(bytes: &[u8]) -> Agreed<Option<Value>> {
    let choices = &mut Choices::new(bytes);
    let of = choices.of(&[
        Type::Bool,
        Type::Long,
        Type::Set,
        Type::Record,
        Type::Decimal,
        Type::Ip,
        Type::DateTime,
        Type::Duration,
        Type::Entity,
        Type::Text,
    ]);
    let source = expression(choices, of, 5);
    let (asked, world) = (Asked::new(choices), World::new(choices));
    same_value(&source, &sides(&world, &asked)?).map_err(|error| format!("{source}\n{error}"))
}

/// The expression errs on both sides, or has the same value on both.
fn same_value(source: &str, sides: &Sides) -> Agreed<Option<Value>> {
    let Sides { request, entities, base, overlay, their_request, their_entities, .. } = sides;
    let ours = text::expression(source).map_err(|refused| refused.to_string())?;
    let their_value = |source: &str| {
        let expr =
            theirs::Expression::from_str(source).map_err(|refused| format!("{refused:?}"))?;
        Ok::<_, String>(theirs::eval_expression(their_request, their_entities, &expr).ok())
    };
    let is_true = Some(theirs::EvalResult::Bool(true));
    let theirs = their_value(source)?;
    let Ok(value) = evaluate(&ours, request, entities) else {
        same("that it errs", &None, &theirs)?;
        return compiled(source, base, overlay, sides, "error").map(|()| None);
    };
    let is_same = format!("({source}) == ({})", written(&value));
    if theirs.is_none() || their_value(&is_same)? != is_true {
        return Err(format!("ours {value:?}, theirs {theirs:?}"));
    }
    compiled(&is_same, base, overlay, sides, "applies").map(|()| Some(value))
}

/// As the condition of a policy it does in the compiled program what it does evaluated.
fn compiled(
    source: &str,
    base: &Entities,
    overlay: &Entities,
    sides: &Sides,
    expected: &str,
) -> Agreed {
    let policy = format!("permit (principal, action, resource) when {{ {source} }};");
    let policies = text::policies("p", &policy).map_err(|refused| refused.to_string())?;
    let program = Program::compile(&policies, base).map_err(|error| error.to_string())?;
    let counted =
        program.count(&mut Scratch::new(), &sides.request, overlay).ok_or("over a limit")?;
    let ours = match (counted.permits.len(), counted.errors.len()) {
        (1, 0) => "applies",
        (0, 1) => "error",
        _ => "does not apply",
    };
    same(&format!("the compiled policy {policy}"), &ours, &expected)
}

/// A value as an expression.
fn written(value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Long(value) => value.to_string(),
        Value::String(value) => format!("{value:?}"),
        Value::Entity(value) => value.to_string(),
        Value::Set(members) => {
            format!("[{}]", members.iter().map(written).collect::<Vec<_>>().join(", "))
        }
        Value::Record(fields) => {
            let field = |(name, value)| format!("{name:?}: {}", written(value));
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        Value::Decimal(value) => format!("decimal(\"{value}\")"),
        Value::Ip(value) => format!("ip(\"{value}\")"),
        Value::DateTime(value) => {
            format!("datetime(\"1970-01-01\").offset(duration(\"{}ms\"))", value.as_millis())
        }
        Value::Duration(value) => format!("duration(\"{}ms\")", value.as_millis()),
        other => format!("?{other:?}"),
    }
}
