//! Policies in JSON: Cedar's "EST".
//!
//! A policy is read when, in this order:
//!
//! 1. the text is at most [`MAX_LEN`](super::MAX_LEN) bytes of JSON in which no key is repeated;
//! 2. every object has the fields that its place gives it, all of them and no others;
//! 3. every expression is one that is known, nested at most [`MAX_DEPTH`] deep. A chain of `&&` or
//!    `||` that leans to the left counts once, and is limited by the depth of the JSON: about 500
//!    links.
//!
//! Upstream drops some fields that it does not know, takes an `__entity` or `__extn` that it cannot
//! follow for a record, and reads a method without a receiver, which always errs and which no text
//! can say. Here these are problems.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::data::{document, entity_type, escaped_call, escaped_uid, uid};
use super::json::{Json, Kind, Object};
use super::refusal::{Found, MAX_REFUSALS, NotCedar, Problem, not_cedar, quoted};
use super::text::check_action;
use crate::expr::{BinaryOp, CallStyle, Expr, Function, HasPath, Literal, MAX_DEPTH, Var};
use crate::name::{EntityUid, is_identifier, is_word};
use crate::pattern::{Element, Pattern};
use crate::policy::{ActionScope, Condition, ConditionKind, Effect, Policy, Scope, Slot, Target};

/// Reads one policy or template, which gets this name.
///
/// # Errors
///
/// [`NotCedar`] with the first problem.
pub fn policy(name: &str, text: &str) -> Result<Policy, NotCedar> {
    document(name, text, |json| policy_of(name, json))
}

/// Reads one expression.
///
/// # Errors
///
/// [`NotCedar`] with the first problem.
pub fn expression(text: &str) -> Result<Expr, NotCedar> {
    document("expression", text, |json| expr(json, MAX_DEPTH))
}

/// Reads a policy set: `{"staticPolicies": {…}, "templates": {…}, "templateLinks": […]}`. The
/// policies have the names that they have there; templates become policies by their links.
///
/// # Errors
///
/// [`NotCedar`] with the problems of all policies.
pub fn policy_set(source: &str, text: &str) -> Result<Vec<Policy>, NotCedar> {
    let (mut policies, mut found) = (Vec::new(), Vec::new());
    let mut read_all = |json: Json| {
        let mut set = json.object("a policy set")?;
        let statics = set.need("staticPolicies")?.object("policies by their names")?;
        let templates = set.need("templates")?.object("templates by their names")?;
        let links = set.need("templateLinks")?.list("a list of links")?;
        set.done()?;
        let mut by_name = BTreeMap::new();
        for (_, name, json) in statics.rest() {
            policy_of(&name, json).map_or_else(|f| found.push(f), |policy| policies.push(policy));
        }
        for (_, name, json) in templates.rest() {
            match policy_of(&name, json) {
                Ok(template) => drop(by_name.insert(name, template)),
                Err(problem) => found.push(problem),
            }
        }
        for json in links {
            link(json, &by_name).map_or_else(|f| found.push(f), |policy| policies.push(policy));
        }
        Ok(())
    };
    document(source, text, &mut read_all)?;
    found.truncate(MAX_REFUSALS);
    if found.is_empty() { Ok(policies) } else { Err(not_cedar(source, text, found)) }
}

fn link(json: Json, templates: &BTreeMap<String, Policy>) -> Result<Policy, Found> {
    let at = json.at;
    let mut link = json.object("a link")?;
    let template = link.need("templateId")?;
    let template_at = template.at;
    let template = template.text("the name of a template, a string")?;
    let name = link.need("newId")?.text("the name of the policy, a string")?;
    let mut values = link.need("values")?.object("entities by their slots")?;
    link.done()?;
    let mut value = |slot: Slot| values.take(&slot.to_string()).map(uid).transpose();
    let (principal, resource) = (value(Slot::Principal)?, value(Slot::Resource)?);
    values.done()?;
    let unknown =
        || Found::new(template_at, Problem::expected("the name of a template", &template));
    let template = templates.get(&template).ok_or_else(unknown)?;
    template.link(name, principal, resource).map_err(|problem| Found::new(at, problem))
}

fn policy_of(name: &str, json: Json) -> Result<Policy, Found> {
    let mut object = json.object("a policy")?;
    let effect = word(object.need("effect")?, [Effect::Permit, Effect::Forbid])?;
    let principal = scope(object.need("principal")?, Slot::Principal)?;
    let action = action_scope(object.need("action")?)?;
    let resource = scope(object.need("resource")?, Slot::Resource)?;
    let conditions = object.need("conditions")?.list("a list of conditions")?;
    let conditions = conditions.into_iter().map(condition).collect::<Result<_, _>>()?;
    let annotations = object.take("annotations").map(annotations).transpose()?.unwrap_or_default();
    object.done()?;
    Ok(Policy { id: name.into(), effect, annotations, principal, action, resource, conditions })
}

/// One of several words.
fn word<T: ToString, const N: usize>(json: Json, words: [T; N]) -> Result<T, Found> {
    let Kind::Text(found) = &json.kind else {
        return Err(json.unexpected("a string"));
    };
    let expected = words.iter().map(|word| format!("{:?}", word.to_string())).collect::<Vec<_>>();
    let chosen = words.into_iter().find(|word| word.to_string() == *found);
    chosen.ok_or_else(|| json.unexpected(&expected.join(" or ")))
}

fn annotations(json: Json) -> Result<BTreeMap<Arc<str>, Option<Arc<str>>>, Found> {
    let annotation = |(at, name, value): (usize, String, Json)| {
        if !is_word(&name) {
            return Err(Found::new(at, Problem::expected("an identifier", &format!("{name:?}"))));
        }
        let value = if value.kind == Kind::Null {
            None
        } else {
            Some(value.text("the value of the annotation, a string")?.into())
        };
        Ok((name.into(), value))
    };
    json.object("annotations by their names")?.rest().map(annotation).collect()
}

fn scope(json: Json, slot: Slot) -> Result<Scope, Found> {
    let mut object = json.object("a scope")?;
    let op = object.need("op")?;
    let op_at = op.at;
    let scope = match op.text("an operator, a string")?.as_str() {
        "All" => Scope::Any,
        "==" => Scope::Eq(target(&mut object, slot)?),
        "in" => Scope::In(target(&mut object, slot)?),
        "is" => {
            let kind = entity_type(object.need("entity_type")?)?;
            match object.take_some("in") {
                None => Scope::Is(kind),
                Some(within) => {
                    let mut within = within.object("an object with `entity` or `slot`")?;
                    let target = target(&mut within, slot)?;
                    within.done()?;
                    Scope::IsIn(kind, target)
                }
            }
        }
        other => return Err(unsupported(op_at, other)),
    };
    object.done()?;
    Ok(scope)
}

fn target(object: &mut Object, slot: Slot) -> Result<Target, Found> {
    if let Some(entity) = object.take("entity") {
        return uid(entity).map(Target::Entity);
    }
    let Some(found) = object.take("slot") else {
        return Err(Found::new(object.at, Problem::MissingField { field: "entity" }));
    };
    let at = found.at;
    let found = found.text("a slot, a string")?;
    if found == slot.to_string() {
        return Ok(Target::Slot);
    }
    Err(Found::new(at, Problem::MisplacedSlot { slot: found }))
}

fn action_scope(json: Json) -> Result<ActionScope, Found> {
    let mut object = json.object("a scope")?;
    let op = object.need("op")?;
    let op_at = op.at;
    let scope = match op.text("an operator, a string")?.as_str() {
        "All" => ActionScope::Any,
        "==" => ActionScope::Eq(action(object.need("entity")?)?),
        "in" => match object.take("entity") {
            Some(entity) => ActionScope::In(action(entity)?),
            None => {
                let entities = object.need("entities")?.list("a list of actions")?;
                ActionScope::in_any(entities.into_iter().map(action).collect::<Result<_, _>>()?)
            }
        },
        other => return Err(unsupported(op_at, other)),
    };
    object.done()?;
    Ok(scope)
}

fn action(json: Json) -> Result<EntityUid, Found> {
    let at = json.at;
    let entity = uid(json)?;
    check_action(&entity).map_err(|problem| Found::new(at, problem))?;
    Ok(entity)
}

fn condition(json: Json) -> Result<Condition, Found> {
    let mut object = json.object("a condition")?;
    let kind = word(object.need("kind")?, [ConditionKind::When, ConditionKind::Unless])?;
    let body = expr(object.need("body")?, MAX_DEPTH)?;
    object.done()?;
    Ok(Condition { kind, body })
}

/// An expression that is at most `depth` deep: an object whose one key says which.
fn expr(json: Json, depth: usize) -> Result<Expr, Found> {
    let at = json.at;
    let too_deep = Problem::TooDeep { limit: MAX_DEPTH };
    let depth = depth.checked_sub(1).ok_or(Found { at, problem: too_deep })?;
    let (op, body) = json.only_member("an expression, an object with one key")?;
    match op.as_str() {
        "Value" => value(body, depth),
        "Var" => var(body).map(Expr::Var),
        "!" => argument(body, depth).map(Expr::Not),
        "neg" => argument(body, depth).map(Expr::Neg),
        "isEmpty" => argument(body, depth).map(Expr::IsEmpty),
        "&&" => chain("&&", body, depth).map(Expr::And),
        "||" => chain("||", body, depth).map(Expr::Or),
        "if-then-else" => if_expr(body, depth),
        "." => attribute(body, depth),
        "has" => has(body, depth),
        "like" => like(body, depth),
        "is" => is(body, depth),
        "Set" => {
            let members = body.list("a list of expressions")?;
            members
                .into_iter()
                .map(|member| expr(member, depth))
                .collect::<Result<_, _>>()
                .map(Expr::Set)
        }
        "Record" => {
            let fields = body.object("expressions by their keys")?.rest();
            let field = |(_, key, body)| Ok((Arc::from(key), expr(body, depth)?));
            fields.map(field).collect::<Result<_, _>>().map(Expr::Record)
        }
        name => {
            if let Some(op) = BinaryOp::from_name(name) {
                let (left, right) = operands(body)?;
                let [left, right] = [expr(left, depth)?, expr(right, depth)?].map(Box::new);
                return Ok(Expr::Binary(op, left, right));
            }
            let function = Function::from_name(name).ok_or_else(|| unsupported(at, name))?;
            let arguments = body.list("a list of arguments")?;
            if arguments.is_empty() && function.style() == CallStyle::Method {
                return Err(Found::new(at, no_receiver(function)));
            }
            let arguments = arguments.into_iter().map(|argument| expr(argument, depth));
            arguments.collect::<Result<_, _>>().map(|all| Expr::Call(function, all))
        }
    }
}

/// Text could not write it.
fn no_receiver(method: Function) -> Problem {
    Problem::Arity { name: method.name(), expected: method.arity(), found: 0 }
}

fn unsupported(at: usize, node: &str) -> Found {
    let node = quoted(node);
    Found::new(at, Problem::Unsupported { node })
}

fn var(json: Json) -> Result<Var, Found> {
    let at = json.at;
    let name = json.text("the name of a variable, a string")?;
    Var::from_name(&name).ok_or_else(|| Found::new(at, Problem::UnknownVariable { name }))
}

fn argument(body: Json, depth: usize) -> Result<Box<Expr>, Found> {
    let mut body = body.object("an object with `arg`")?;
    let argument = expr(body.need("arg")?, depth)?;
    body.done()?;
    Ok(Box::new(argument))
}

fn operands(body: Json) -> Result<(Json, Json), Found> {
    let mut body = body.object("an object with `left` and `right`")?;
    let operands = (body.need("left")?, body.need("right")?);
    body.done()?;
    Ok(operands)
}

/// The operands of `(a op b) op c`, however many: the left side is followed without recursion.
fn chain(op: &str, body: Json, depth: usize) -> Result<Vec<Expr>, Found> {
    let (mut left, right) = operands(body)?;
    let mut reversed = vec![right];
    while left.only_key() == Some(op) {
        let (next, right) = operands(left.only_member("an expression")?.1)?;
        reversed.push(right);
        left = next;
    }
    reversed.push(left);
    reversed.into_iter().rev().map(|operand| expr(operand, depth)).collect()
}

fn if_expr(body: Json, depth: usize) -> Result<Expr, Found> {
    let mut body = body.object("an object with `if`, `then` and `else`")?;
    let test = Box::new(expr(body.need("if")?, depth)?);
    let then = Box::new(expr(body.need("then")?, depth)?);
    let otherwise = Box::new(expr(body.need("else")?, depth)?);
    body.done()?;
    Ok(Expr::If { test, then, otherwise })
}

fn attribute(body: Json, depth: usize) -> Result<Expr, Found> {
    let mut body = body.object("an object with `left` and `attr`")?;
    let of = Box::new(expr(body.need("left")?, depth)?);
    let name = body.need("attr")?.text("the name of an attribute, a string")?.into();
    body.done()?;
    Ok(Expr::Attribute { of, name })
}

fn has(body: Json, depth: usize) -> Result<Expr, Found> {
    let mut body = body.object("an object with `left` and `attr`")?;
    let of = Box::new(expr(body.need("left")?, depth)?);
    let attr = body.need("attr")?;
    body.done()?;
    Ok(Expr::Has { of, path: has_path(attr)? })
}

fn has_path(attr: Json) -> Result<HasPath, Found> {
    let at = attr.at;
    if let Kind::Text(name) = attr.kind {
        return Ok(HasPath::Name(name.into()));
    }
    let identifier = |name: Json| {
        let at = name.at;
        let name = name.text("an identifier, a string")?;
        if is_identifier(&name) {
            return Ok(Arc::from(name));
        }
        Err(Found::new(at, Problem::expected("an identifier", &quoted(&name))))
    };
    let names = attr.list("an attribute, a string or a list of identifiers")?;
    let names = names.into_iter().map(identifier).collect::<Result<Vec<Arc<str>>, _>>()?;
    match names.as_slice() {
        [] => Err(Found::new(at, Problem::expected("an identifier", "an empty list"))),
        [only] => Ok(HasPath::Name(Arc::clone(only))),
        _ => Ok(HasPath::Chain(names)),
    }
}

fn like(body: Json, depth: usize) -> Result<Expr, Found> {
    let mut body = body.object("an object with `left` and `pattern`")?;
    let text = Box::new(expr(body.need("left")?, depth)?);
    let pattern = body.need("pattern")?.list("a pattern, a list")?;
    body.done()?;
    let mut elements = Vec::new();
    for element in pattern {
        if element.kind == Kind::Text(String::from("Wildcard")) {
            elements.push(Element::Wildcard);
            continue;
        }
        let mut element = element.object("\"Wildcard\" or an object with `Literal`")?;
        let literal = element.need("Literal")?.text("a string")?;
        element.done()?;
        elements.extend(literal.chars().map(Element::Char));
    }
    Ok(Expr::Like { text, pattern: Pattern::new(elements) })
}

fn is(body: Json, depth: usize) -> Result<Expr, Found> {
    let mut body = body.object("an object with `left` and `entity_type`")?;
    let entity = Box::new(expr(body.need("left")?, depth)?);
    let kind = entity_type(body.need("entity_type")?)?;
    let within = body.take_some("in").map(|within| expr(within, depth)).transpose()?.map(Box::new);
    body.done()?;
    Ok(Expr::Is { entity, kind, within })
}

/// The expression that makes a value: a set of literals for a list, and so on.
fn value(json: Json, depth: usize) -> Result<Expr, Found> {
    let at = json.at;
    let inner = |json| {
        let too_deep = Problem::TooDeep { limit: MAX_DEPTH };
        value(json, depth.checked_sub(1).ok_or(Found { at, problem: too_deep })?)
    };
    match json.kind {
        Kind::Null => Err(json.unexpected("a value")),
        Kind::Bool(value) => Ok(Expr::Literal(Literal::Bool(value))),
        Kind::Number(value) => Ok(Expr::Literal(Literal::Long(value))),
        Kind::Text(value) => Ok(Expr::Literal(Literal::String(value.into()))),
        Kind::List(items) => items.into_iter().map(inner).collect::<Result<_, _>>().map(Expr::Set),
        Kind::Object(_) => {
            let mut object = json.object("a value")?;
            if let Some(entity) = object.take("__entity") {
                object.done()?;
                return escaped_uid(entity).map(|uid| Expr::Literal(Literal::Entity(uid)));
            }
            if let Some(extension) = object.take("__extn") {
                object.done()?;
                let (function, arguments) = escaped_call(extension)?;
                if arguments.is_empty() && function.style() == CallStyle::Method {
                    return Err(Found::new(at, no_receiver(function)));
                }
                let arguments = arguments.into_iter().map(inner).collect::<Result<_, _>>()?;
                return Ok(Expr::Call(function, arguments));
            }
            let field = |(_, key, json)| Ok((Arc::from(key), inner(json)?));
            object.rest().map(field).collect::<Result<_, _>>().map(Expr::Record)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::text;
    use super::*;

    fn policy_json(changes: &[(&str, &str)]) -> String {
        let mut fields = BTreeMap::from([
            ("effect", r#""permit""#),
            ("principal", r#"{"op": "All"}"#),
            ("action", r#"{"op": "All"}"#),
            ("resource", r#"{"op": "All"}"#),
            ("conditions", "[]"),
        ]);
        fields.extend(changes.iter().copied());
        let fields: Vec<String> =
            fields.iter().filter(|f| !f.1.is_empty()).map(|(k, v)| format!("{k:?}: {v}")).collect();
        format!("{{{}}}", fields.join(", "))
    }

    fn refused(text: &str) -> String {
        expression(text).unwrap_err().to_string()
    }

    #[test]
    fn json_and_text_are_one_form() {
        for (json, written) in [
            (
                r#"{"Value": [1, {"a": {"__extn": {"fn": "ip", "arg": "::1"}}}]}"#,
                r#"[1, {a: ip("::1")}]"#,
            ),
            (r#"{"has": {"left": {"Var": "context"}, "attr": ["a"]}}"#, "context has a"),
            (r#"{"has": {"left": {"Var": "context"}, "attr": ["a", "b"]}}"#, "context has a.b"),
            (
                r#"{"like": {"left": {"Value": ""}, "pattern": [{"Literal": "a*"}, "Wildcard"]}}"#,
                r#""" like "a\**""#,
            ),
            (
                r#"{"&&": {"left": {"&&": {"left": {"Value": 1}, "right": {"Value": 2}}}, "right": {"Value": 3}}}"#,
                "1 && 2 && 3",
            ),
            (
                r#"{"&&": {"left": {"Value": 1}, "right": {"&&": {"left": {"Value": 2}, "right": {"Value": 3}}}}}"#,
                "1 && (2 && 3)",
            ),
            (r#"{"isInRange": [{"ip": []}, {"Value": 1}]}"#, "ip().isInRange(1)"),
            (
                r#"{"is": {"left": {"Var": "action"}, "entity_type": "A", "in": null}}"#,
                "action is A",
            ),
        ] {
            assert_eq!(expression(json), text::expression(written), "{written}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused_with_its_place() {
        for (json, expected) in [
            ("{}", "1:1: expected an expression, an object with one key, found an object"),
            (
                r#"{"Var": "context", "Value": 1}"#,
                "1:1: expected an expression, an object with one key",
            ),
            (r#"{"Var": "who"}"#, "1:9: there is no variable \"who\""),
            (r#"{"Slot": "?principal"}"#, "1:1: \"Slot\" is not supported"),
            (r#"{"Unknown": {"name": "x"}}"#, "1:1: \"Unknown\" is not supported"),
            (r#"{"!": {"arg": {"Value": 1}, "x": 1}}"#, "1:29: \"x\" is not a field"),
            (r#"{"==": {"left": {"Value": 1}}}"#, "1:8: the field \"right\" is missing"),
            (r#"{"Value": null}"#, "1:11: expected a value, found null"),
            (r#"{"Value": 1.0}"#, "1:11: expected a whole number"),
            (
                r#"{"has": {"left": {"Var": "context"}, "attr": []}}"#,
                "1:46: expected an identifier",
            ),
            (
                r#"{"has": {"left": {"Var": "context"}, "attr": ["a", "b c"]}}"#,
                "1:52: expected an identifier",
            ),
            (
                r#"{"like": {"left": {"Value": ""}, "pattern": ["Any"]}}"#,
                "1:46: expected \"Wildcard\"",
            ),
            (
                r#"{"Value": {"__entity": {"__entity": {"type": "U", "id": "a"}}}}"#,
                "1:24: the field \"type\" is missing",
            ),
            (r#"{"isIpv4": []}"#, "1:1: isIpv4 takes 1 arguments, found 0"),
            (
                r#"{"is": {"left": {"Var": "action"}, "entity_type": "a b"}}"#,
                "1:51: \"a b\" is not the name",
            ),
        ] {
            let refused = refused(json);
            assert!(refused.starts_with(&format!("expression:{expected}")), "{refused}");
        }
    }

    #[test]
    fn every_field_of_a_policy_is_there_and_known() {
        let read = |changes: &[(&str, &str)]| policy("p", &policy_json(changes));
        read(&[("annotations", r#"{"if": null, "id": "x"}"#)]).unwrap();
        read(&[("principal", r#"{"op": "is", "entity_type": "A", "in": null}"#)]).unwrap();
        for field in ["effect", "principal", "action", "resource", "conditions"] {
            let refused = read(&[(field, "")]).unwrap_err().to_string();
            assert!(refused.contains(&format!("the field {field:?} is missing")), "{refused}");
        }
        for (field, json, expected) in [
            ("effect", r#""allow""#, "expected \"permit\" or \"forbid\""),
            ("extra", "1", "\"extra\" is not a field"),
            ("principal", r#"{"op": "!="}"#, "\"!=\" is not supported"),
            ("principal", r#"{"op": "=="}"#, "the field \"entity\" is missing"),
            ("principal", r#"{"op": "All", "entity": 1}"#, "\"entity\" is not a field"),
            ("principal", r#"{"op": "==", "slot": "?resource"}"#, "?resource cannot stand here"),
            (
                "principal",
                r#"{"op": "==", "entity": {"type": "A", "id": ""}, "slot": "?principal"}"#,
                "\"slot\" is not a field",
            ),
            ("action", r#"{"op": "is", "entity_type": "Action"}"#, "\"is\" is not supported"),
            ("action", r#"{"op": "==", "entity": {"type": "A", "id": ""}}"#, "is not an action"),
            (
                "conditions",
                r#"[{"kind": "if", "body": {"Value": true}}]"#,
                "expected \"when\" or \"unless\"",
            ),
            ("annotations", r#"{"a b": "x"}"#, "expected an identifier"),
        ] {
            let refused = read(&[(field, json)]).unwrap_err().to_string();
            assert!(refused.contains(expected), "{refused}");
        }
    }

    #[test]
    fn templates_become_policies_by_their_links() {
        let template = policy_json(&[("principal", r#"{"op": "==", "slot": "?principal"}"#)]);
        let set = |links: &str| {
            let plain = policy_json(&[]);
            policy_set(
                "s",
                &format!(
                    r#"{{"staticPolicies": {{"a": {plain}}}, "templates": {{"t": {template}}}, "templateLinks": [{links}]}}"#
                ),
            )
        };
        let link = r#"{"templateId": "t", "newId": "l", "values": {"?principal": {"type": "U", "id": "x"}}}"#;
        let policies = set(link).unwrap();
        let names: Vec<&str> = policies.iter().map(|policy| &*policy.id).collect();
        assert_eq!(names, ["a", "l"]);
        assert!(!policies[1].is_template());
        assert_eq!(set("").unwrap().len(), 1);
        for (from, to, expected) in [
            ("\"templateId\": \"t\"", "\"templateId\": \"u\"", "expected the name of a template"),
            ("?principal", "?resource", "needs a value for ?principal"),
            ("?principal", "?action", "\"?action\" is not a field"),
        ] {
            let refused = set(&link.replace(from, to)).unwrap_err().to_string();
            assert!(refused.contains(expected), "{refused}");
        }
    }

    #[test]
    fn nesting_is_refused_beyond_the_limit_and_not_below() {
        let nots =
            |n| format!("{}{{\"Value\": true}}{}", "{\"!\": {\"arg\": ".repeat(n), "}}".repeat(n));
        expression(&nots(MAX_DEPTH - 1)).unwrap();
        assert!(refused(&nots(MAX_DEPTH)).contains("nested more than 100 deep"));
        let ands = |n| {
            let open = "{\"&&\": {\"left\": ".repeat(n);
            let close = ", \"right\": {\"Value\": true}}}".repeat(n);
            format!("{open}{{\"Value\": true}}{close}")
        };
        let Expr::And(all) = expression(&ands(500)).unwrap() else { panic!() };
        assert_eq!(all.len(), 501);
        assert!(refused(&ands(600)).contains("nested more than 1024 deep"));
    }
}
