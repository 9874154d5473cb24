//! Entities and contexts in JSON.
//!
//! A value is a boolean, a whole number of 64 bits, a string, a list, or an object: a record,
//! unless it escapes to something that JSON cannot say.
//!
//! - `{"__entity": {"type": "User", "id": "alice"}}` is an entity;
//! - `{"__extn": {"fn": "ip", "arg": "10.0.0.1"}}` is what that function makes of its argument, or
//!   of all of `"args"`.
//!
//! Without a schema nothing else can be meant: a string is never an entity or a decimal. What is
//! refused: unknown, missing and repeated fields, `null`, fractions, an entity that is there twice
//! or lies below itself, an action below something that is not one, an escape beside other fields,
//! and values nested more than [`MAX_VALUE_DEPTH`] deep.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::MAX_LEN;
use super::json::{Json, Kind, Object, read};
use super::refusal::{Found, NotCedar, Problem, not_cedar};
use super::text::check_action;
use crate::entity::{Entities, Entity};
use crate::evaluate::operation::call;
use crate::expr::Function;
use crate::name::{EntityType, EntityUid};
use crate::value::{MAX_VALUE_DEPTH, Record, Value};

/// Reads a list of entities: `{"uid": …, "attrs": {…}, "parents": […], "tags": {…}}`, of which
/// tags may be absent.
///
/// # Errors
///
/// [`NotCedar`] with the first problem.
///
/// ```
/// let roles = r#"[{
///     "uid": {"type": "Role", "id": "admin"},
///     "attrs": {},
///     "parents": [{"type": "Role", "id": "clerk"}]
/// }]"#;
/// zt_policy::cedar::data::entities("roles.json", roles)?;
/// # Ok::<(), zt_policy::cedar::refusal::NotCedar>(())
/// ```
pub fn entities(source: &str, text: &str) -> Result<Entities, NotCedar> {
    document(source, text, |json| {
        let at = json.at;
        let mut seen = HashSet::new();
        let mut entities = Entities::new();
        for item in json.list("a list of entities")? {
            let at = item.at;
            let entity = entity(item)?;
            if !seen.insert(entity.uid.clone()) {
                let name = entity.uid.to_string();
                return Err(Found::new(at, Problem::Duplicate { what: "entity", name }));
            }
            entities.insert(entity);
        }
        match entities.circular() {
            Some(entity) => Err(Found::new(at, Problem::Circular { entity: entity.to_string() })),
            None => Ok(entities),
        }
    })
}

/// Reads the context of a request, an object.
///
/// # Errors
///
/// [`NotCedar`] with the first problem.
pub fn context(source: &str, text: &str) -> Result<Record, NotCedar> {
    document(source, text, |json| record(json.object("a record")?, MAX_VALUE_DEPTH))
}

/// Reads a text of which one thing is to be made.
pub(super) fn document<T>(
    source: &str,
    text: &str,
    make: impl FnOnce(Json) -> Result<T, Found>,
) -> Result<T, NotCedar> {
    let made = if text.len() > MAX_LEN {
        Err(Found::new(0, Problem::TooLong { len: text.len(), limit: MAX_LEN }))
    } else {
        read(text).and_then(make)
    };
    made.map_err(|found| not_cedar(source, text, vec![found]))
}

fn entity(json: Json) -> Result<Entity, Found> {
    let mut object = json.object("an entity")?;
    let mut entity = Entity::new(uid(object.need("uid")?)?);
    entity.attributes = record(object.need("attrs")?.object("the attributes")?, MAX_VALUE_DEPTH)?;
    let parents = object.need("parents")?.list("the parents")?;
    let parent = |json| parent(json, &entity.uid);
    entity.parents = parents.into_iter().map(parent).collect::<Result<BTreeSet<_>, _>>()?;
    if let Some(tags) = object.take("tags") {
        entity.tags = record(tags.object("the tags")?, MAX_VALUE_DEPTH)?;
    }
    object.done()?;
    Ok(entity)
}

/// What an action is in is an action.
fn parent(json: Json, child: &EntityUid) -> Result<EntityUid, Found> {
    let at = json.at;
    let parent = uid(json)?;
    if check_action(child).is_ok() {
        check_action(&parent).map_err(|problem| Found::new(at, problem))?;
    }
    Ok(parent)
}

/// `{"type": …, "id": …}`, as it is or behind `__entity`.
pub(super) fn uid(json: Json) -> Result<EntityUid, Found> {
    let mut object = json.object(ENTITY)?;
    let Some(escaped) = object.take("__entity") else {
        return uid_of(object);
    };
    object.done()?;
    escaped_uid(escaped)
}

/// What stands behind `__entity`, which nothing escapes again.
pub(super) fn escaped_uid(json: Json) -> Result<EntityUid, Found> {
    uid_of(json.object(ENTITY)?)
}

const ENTITY: &str = "an entity, an object with `type` and `id`";

fn uid_of(mut object: Object) -> Result<EntityUid, Found> {
    let kind = entity_type(object.need("type")?)?;
    let id = object.need("id")?.text("the ID of an entity, a string")?;
    object.done()?;
    Ok(EntityUid::new(kind, id))
}

pub(super) fn entity_type(json: Json) -> Result<EntityType, Found> {
    let at = json.at;
    let name = json.text("the name of an entity type, a string")?;
    EntityType::parse(&name).map_err(|problem| Found::new(at, problem))
}

fn record(object: Object, depth: usize) -> Result<Record, Found> {
    object.rest().map(|(_, key, json)| Ok((Arc::from(key), value(json, depth)?))).collect()
}

fn value(json: Json, depth: usize) -> Result<Value, Found> {
    let at = json.at;
    let too_deep = Problem::TooDeep { limit: MAX_VALUE_DEPTH };
    let depth = depth.checked_sub(1).ok_or(Found { at, problem: too_deep })?;
    match json.kind {
        Kind::Null => Err(json.unexpected("a value")),
        Kind::Bool(value) => Ok(Value::Bool(value)),
        Kind::Number(value) => Ok(Value::Long(value)),
        Kind::Text(value) => Ok(value.into()),
        Kind::List(items) => items.into_iter().map(|item| value(item, depth)).collect(),
        Kind::Object(_) => object_value(json.object("a record")?, depth),
    }
}

fn object_value(mut object: Object, depth: usize) -> Result<Value, Found> {
    let at = object.at;
    if let Some(entity) = object.take("__entity") {
        object.done()?;
        return escaped_uid(entity).map(Value::from);
    }
    if let Some(extension) = object.take("__extn") {
        object.done()?;
        let (function, arguments) = escaped_call(extension)?;
        let arguments =
            arguments.into_iter().map(|json| value(json, depth)).collect::<Result<Vec<_>, _>>()?;
        let made = call(function, &arguments);
        let not_a_value = |error: crate::evaluate::error::EvaluationError| {
            Found::new(at, Problem::NotAValue { why: error.to_string() })
        };
        return made.map_err(not_a_value);
    }
    if object.take("__expr").is_some() {
        return Err(Found::new(at, Problem::Unsupported { node: String::from("`__expr`") }));
    }
    record(object, depth).map(Value::from)
}

/// The function and arguments of an `__extn`.
pub(super) fn escaped_call(json: Json) -> Result<(Function, Vec<Json>), Found> {
    let mut object = json.object("a call, an object with `fn` and `arg`")?;
    let name = object.need("fn")?;
    let at = name.at;
    let name = name.text("the name of a function, a string")?;
    let unknown = || Problem::UnknownFunction { style: "function", name: name.clone() };
    let function = Function::from_name(&name).ok_or_else(|| Found::new(at, unknown()))?;
    let arguments = match object.take("args") {
        Some(arguments) => arguments.list("a list of arguments")?,
        None => vec![object.need("arg")?],
    };
    object.done()?;
    Ok((function, arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        context("c", text).unwrap_err().to_string()
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let record = context(
            "c",
            r#"{
                "b": true, "n": -5, "s": "x", "l": [1, 1],
                "e": {"__entity": {"type": "User", "id": "a"}},
                "i": {"__extn": {"fn": "ip", "arg": "10.0.0.1"}},
                "o": {"__extn": {"fn": "offset", "args": [
                    {"__extn": {"fn": "datetime", "arg": "1970-01-01"}},
                    {"__extn": {"fn": "duration", "arg": "5ms"}}
                ]}},
                "r": {"type": "User", "id": "a"}
            }"#,
        )
        .unwrap();
        let types: Vec<&str> = record.values().map(Value::type_name).collect();
        assert_eq!(
            types,
            ["bool", "entity", "ipaddr", "set", "long", "datetime", "record", "string"]
        );
    }

    #[test]
    fn what_is_not_a_value_is_refused() {
        for (text, expected) in [
            ("[]", "c:1:1: expected a record, found a list"),
            (r#"{"a": null}"#, "c:1:7: expected a value, found null"),
            (r#"{"a": 1.5}"#, "c:1:7: expected a whole number, found \"1.5\""),
            (
                r#"{"a": {"__entity": {"type": "U", "id": "a"}, "x": 1}}"#,
                "c:1:46: \"x\" is not a field that is known here",
            ),
            (r#"{"a": {"__entity": {"type": "U"}}}"#, "c:1:20: the field \"id\" is missing"),
            (
                r#"{"a": {"__entity": {"__entity": {"type": "U", "id": "a"}}}}"#,
                "c:1:20: the field \"type\" is missing",
            ),
            (
                r#"{"a": {"__entity": {"type": "U V", "id": "a"}}}"#,
                "c:1:29: \"U V\" is not the name of an entity type",
            ),
            (r#"{"a": {"__extn": {"fn": "f", "arg": "a"}}}"#, "c:1:25: there is no function \"f\""),
            (
                r#"{"a": {"__extn": {"fn": "ip", "arg": 5}}}"#,
                "c:1:7: not a value: expected string, found long",
            ),
            (r#"{"a": {"__expr": "1"}}"#, "c:1:7: `__expr` is not supported"),
        ] {
            assert_eq!(refused(text), expected);
        }
    }

    #[test]
    fn an_entity_has_a_name_attributes_and_parents_and_is_there_once() {
        let one = r#"{"uid": {"type": "U", "id": "a"}, "attrs": {"x": 1}, "parents": [{"type": "G", "id": "g"}], "tags": {"t": 1}}"#;
        let read = entities("e", &format!("[{one}]")).unwrap();
        let uid = EntityUid::new(EntityType::parse("U").unwrap(), "a");
        let entity = read.get(&uid).unwrap();
        assert_eq!((entity.attributes.len(), entity.parents.len(), entity.tags.len()), (1, 1, 1));
        for (text, expected) in [
            (format!("[{one},{one}]"), "is there twice"),
            (
                r#"[{"uid": {"type": "U", "id": "a"}, "attrs": {}}]"#.into(),
                "\"parents\" is missing",
            ),
            (
                r#"[{"uid": {"type": "U", "id": "a"}, "attrs": {}, "parents": [], "x": 1}]"#.into(),
                "\"x\" is not a field",
            ),
            (r#"[{"uid": "U::\"a\"", "attrs": {}, "parents": []}]"#.into(), "expected an entity"),
            (
                r#"[{"uid": {"type": "N::Action", "id": "a"}, "attrs": {}, "parents": [{"type": "G", "id": "g"}]}]"#.into(),
                "G::\"g\" is not an action",
            ),
        ] {
            let refused = entities("e", &text).unwrap_err().to_string();
            assert!(refused.contains(expected), "{refused}");
        }
    }

    #[test]
    fn values_are_refused_beyond_the_limit_and_not_below() {
        let nested = |n| format!(r#"{{"a": {}1{}}}"#, "[".repeat(n), "]".repeat(n));
        context("c", &nested(MAX_VALUE_DEPTH - 1)).unwrap();
        assert!(refused(&nested(MAX_VALUE_DEPTH)).contains("nested more than 32 deep"));
    }
}
