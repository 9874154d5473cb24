//! Cedar text.
//!
//! [`policies`] reads a text when, in this order:
//!
//! 1. it is at most [`MAX_LEN`] bytes long;
//! 2. it is a sequence of policies in the grammar of Cedar, whose expressions are nested at most
//!    [`MAX_DEPTH`](crate::expr::MAX_DEPTH) deep, parentheses counted;
//! 3. no name that has to be there once is there twice: an annotation of a policy, a key of a
//!    record.
//!
//! A policy with a problem does not hide the problems of those behind it.

#![expect(clippy::wildcard_enum_match_arm, reason = "a token that no arm names is unexpected")]

use std::collections::BTreeMap;
use std::sync::Arc;

use super::MAX_LEN;
use super::lexer::Token;
use super::parser::{Parsed, Parser, duplicate};
use super::refusal::{Found, MAX_REFUSALS, NotCedar, Problem, not_cedar};
use crate::expr::{Expr, Var};
use crate::name::EntityUid;
use crate::policy::{ActionScope, Condition, ConditionKind, Effect, Policy, Scope, Slot, Target};

/// Reads policies and templates. A policy is named by its annotation `@id("…")`, else
/// `<source>:policy<n>`, counted from 0.
///
/// # Errors
///
/// [`NotCedar`] with the problems of all policies.
///
/// ```
/// let text = r#"permit (principal, action == Action::"read", resource) when { context.mfa };"#;
/// let policies = zt_policy::cedar::text::policies("orders.cedar", text)?;
/// assert_eq!(&*policies[0].id, "orders.cedar:policy0");
///
/// let refused = zt_policy::cedar::text::policies("orders.cedar", "permit (principal);").unwrap_err();
/// assert_eq!(refused.to_string(), "orders.cedar:1:18: expected `,`, found `)`");
/// # Ok::<(), zt_policy::cedar::refusal::NotCedar>(())
/// ```
pub fn policies(source: &str, text: &str) -> Result<Vec<Policy>, NotCedar> {
    check_len(source, text)?;
    let mut parser = Parser::new(text);
    let (mut policies, mut found) = (Vec::new(), Vec::new());
    while parser.token != Token::End && found.len() < MAX_REFUSALS {
        let fallback = || format!("{source}:policy{}", policies.len());
        match parser.policy(fallback) {
            Ok(policy) => policies.push(policy),
            Err(problem) => {
                found.push(problem);
                parser.skip_policy();
            }
        }
    }
    if found.is_empty() { Ok(policies) } else { Err(not_cedar(source, text, found)) }
}

/// Reads one expression.
///
/// # Errors
///
/// [`NotCedar`] with the first problem.
pub fn expression(text: &str) -> Result<Expr, NotCedar> {
    check_len("expression", text)?;
    let mut parser = Parser::new(text);
    let parsed = parser.expr().and_then(|node| match parser.token {
        Token::End => Ok(node.expr),
        _ => Err(parser.unexpected("an operator or the end")),
    });
    parsed.map_err(|found| not_cedar("expression", text, vec![found]))
}

fn check_len(source: &str, text: &str) -> Result<(), NotCedar> {
    if text.len() <= MAX_LEN {
        return Ok(());
    }
    let problem = Problem::TooLong { len: text.len(), limit: MAX_LEN };
    Err(not_cedar(source, text, vec![Found::new(0, problem)]))
}

impl Parser<'_> {
    fn policy(&mut self, fallback_id: impl FnOnce() -> String) -> Parsed<Policy> {
        let annotations = self.annotations()?;
        let effect = self.effect()?;
        self.expect("(")?;
        let principal = self.scope(Var::Principal, Slot::Principal)?;
        self.expect(",")?;
        let action = self.action_scope()?;
        self.expect(",")?;
        let resource = self.scope(Var::Resource, Slot::Resource)?;
        self.eat(",");
        self.expect(")")?;
        let mut conditions = Vec::new();
        while !self.eat(";") {
            conditions.push(self.condition()?);
        }
        let named = annotations.get("id").cloned().flatten();
        let id = named.unwrap_or_else(|| fallback_id().into());
        Ok(Policy { id, effect, annotations, principal, action, resource, conditions })
    }

    fn annotations(&mut self) -> Parsed<BTreeMap<Arc<str>, Option<Arc<str>>>> {
        let mut annotations = BTreeMap::new();
        while self.eat("@") {
            let at = self.at;
            let name = self.word("the name of an annotation")?;
            let value = if self.eat("(") {
                let value = self.string("the value of the annotation, a string")?;
                self.expect(")")?;
                Some(value)
            } else {
                None
            };
            if annotations.insert(Arc::from(name), value).is_some() {
                return Err(Found::new(at, duplicate("annotation", name)));
            }
        }
        Ok(annotations)
    }

    fn effect(&mut self) -> Parsed<Effect> {
        for effect in [Effect::Permit, Effect::Forbid] {
            if self.eat_word(&effect.to_string()) {
                return Ok(effect);
            }
        }
        Err(self.unexpected("`permit`, `forbid` or an annotation"))
    }

    fn scope(&mut self, var: Var, slot: Slot) -> Parsed<Scope> {
        self.expect_word(var.name())?;
        if self.eat("==") {
            return self.target(slot).map(Scope::Eq);
        }
        if self.eat_word("in") {
            return self.target(slot).map(Scope::In);
        }
        if self.eat_word("is") {
            let kind = self.entity_type()?;
            return Ok(if self.eat_word("in") {
                Scope::IsIn(kind, self.target(slot)?)
            } else {
                Scope::Is(kind)
            });
        }
        self.no_type_constraint()?;
        Ok(Scope::Any)
    }

    fn no_type_constraint(&self) -> Parsed<()> {
        if !self.is(":") {
            return Ok(());
        }
        let node = String::from("a type constraint with `:`; write `is`");
        Err(Found::new(self.at, Problem::Unsupported { node }))
    }

    fn target(&mut self, slot: Slot) -> Parsed<Target> {
        self.in_parentheses(|parser| match parser.token {
            Token::Slot(found) if found == slot.to_string() => {
                parser.advance();
                Ok(Target::Slot)
            }
            _ => parser.entity().map(Target::Entity),
        })
    }

    fn action_scope(&mut self) -> Parsed<ActionScope> {
        self.expect_word(Var::Action.name())?;
        if self.eat("==") {
            return self.in_parentheses(Self::action).map(ActionScope::Eq);
        }
        if self.eat_word("in") {
            return self.in_parentheses(|parser| {
                if !parser.eat("[") {
                    return parser.action().map(ActionScope::In);
                }
                let item = |parser: &mut Self| parser.in_parentheses(Self::action);
                parser.list("]", item).map(ActionScope::in_any)
            });
        }
        if self.is_word("is") {
            let node = String::from("`is` for actions");
            return Err(Found::new(self.at, Problem::Unsupported { node }));
        }
        self.no_type_constraint()?;
        Ok(ActionScope::Any)
    }

    fn action(&mut self) -> Parsed<EntityUid> {
        let at = self.at;
        let entity = self.entity()?;
        check_action(&entity).map_err(|problem| Found::new(at, problem))?;
        Ok(entity)
    }

    fn condition(&mut self) -> Parsed<Condition> {
        let kind = if self.eat_word("when") {
            ConditionKind::When
        } else if self.eat_word("unless") {
            ConditionKind::Unless
        } else {
            return Err(self.unexpected("`when`, `unless` or `;`"));
        };
        self.expect("{")?;
        let body = self.expr()?.expr;
        self.expect("}")?;
        Ok(Condition { kind, body })
    }
}

/// An action in a scope has the type `Action`, in any namespace.
pub(super) fn check_action(entity: &EntityUid) -> Result<(), Problem> {
    if entity.kind().basename() == "Action" {
        return Ok(());
    }
    Err(Problem::NotAnAction { entity: entity.to_string() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(text: &str) -> String {
        policies("p", text).unwrap_err().to_string()
    }

    #[test]
    fn a_policy_is_named_by_its_annotation_or_its_place() {
        let text = r#"
            permit (principal, action, resource);
            @id("second") @note forbid (principal, action, resource);
            permit (principal, action, resource,);
        "#;
        let read = policies("a.cedar", text).unwrap();
        let ids: Vec<&str> = read.iter().map(|policy| &*policy.id).collect();
        assert_eq!(ids, ["a.cedar:policy0", "second", "a.cedar:policy2"]);
        assert_eq!(read[1].annotations["note"], None);
    }

    #[test]
    fn every_scope_is_read() {
        let text = r#"forbid (
            principal is Shop::User in ?principal,
            action in [Action::"a", (Shop::Action::"b"),],
            resource == (Shop::Order::"1")
        ) when { true } unless { false };"#;
        let read = policies("p", text).unwrap().remove(0);
        assert!(
            matches!(&read.principal, Scope::IsIn(kind, Target::Slot) if kind.as_str() == "Shop::User")
        );
        assert!(matches!(&read.action, ActionScope::InAny(actions) if actions.len() == 2));
        assert!(matches!(&read.resource, Scope::Eq(Target::Entity(uid)) if uid.id() == "1"));
        assert_eq!(read.conditions.len(), 2);
        assert!(read.is_template());
    }

    #[test]
    fn every_problem_is_reported_with_its_place() {
        let text = "permit (principal);\n\npermit (principal, action, resource);\n\
                    forbid (principal, action, resource) when { principl.x };\n  allow ();";
        assert_eq!(
            refused(text),
            "p:1:18: expected `,`, found `)`\n\
             p:4:45: there is no variable \"principl\"; a type is followed by `::\"id\"`\n\
             p:5:3: expected `permit`, `forbid` or an annotation, found \"allow\""
        );
    }

    #[test]
    fn a_policy_has_its_parts_in_order() {
        for (text, expected) in [
            (
                "permit (action, principal, resource);",
                "p:1:9: expected `principal`, found \"action\"",
            ),
            (
                "permit (principal, action, resource)",
                "p:1:37: expected `when`, `unless` or `;`, found the end",
            ),
            (
                "permit (principal, action, resource) where { true };",
                "p:1:38: expected `when`, `unless` or `;`, found \"where\"",
            ),
            (
                "permit (principal, action, resource) when { };",
                "p:1:45: expected an expression, found `}`",
            ),
            (
                "permit (principal : User, action, resource);",
                "p:1:19: a type constraint with `:`; write `is` is not supported",
            ),
            (
                "permit (principal, action is Action, resource);",
                "p:1:27: `is` for actions is not supported",
            ),
            (
                "permit (principal in [User::\"a\"], action, resource);",
                "p:1:22: expected an entity, found `[`",
            ),
            (
                "permit (principal, action == User::\"a\", resource);",
                "p:1:30: User::\"a\" is not an action: its type has to be `Action`, in any namespace",
            ),
            (
                "permit (principal == ?resource, action, resource);",
                "p:1:22: ?resource cannot stand here",
            ),
            (
                "permit (principal, action == ?action, resource);",
                "p:1:30: ?action cannot stand here",
            ),
            (
                "permit (principal, action, resource) when { principal == ?principal };",
                "p:1:58: ?principal cannot stand here",
            ),
            (
                "@id(\"a\") @id(\"b\") permit (principal, action, resource);",
                "p:1:11: annotation \"id\" is there twice",
            ),
            (
                "permit (principal == User, action, resource);",
                "p:1:26: expected `::` and the ID of an entity, found `,`",
            ),
        ] {
            assert_eq!(refused(text), expected, "{text}");
        }
    }

    #[test]
    fn a_text_beyond_the_limit_is_refused() {
        let text = " ".repeat(MAX_LEN + 1);
        assert_eq!(
            refused(&text),
            "p:1:1: it has 33554433 bytes, and 33554432 are the most that are read"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = policies("p", &text);
            let _ = expression(&text);
        }

        #[test]
        fn any_tokens_are_read_or_refused(
            tokens in proptest::collection::vec(
                proptest::sample::select(vec![
                    "permit", "forbid", "(", ")", "principal", "action", "resource", ",", ";", "when",
                    "unless", "{", "}", "[", "]", "==", "in", "is", "has", "like", "&&", "||", "!", "-",
                    "+", "*", "<", "::", ":", ".", "\"a\"", "\"*\\*\"", "User", "1", "if", "then", "else",
                    "?principal", "@", "contains", "ip", "true", "context",
                ]),
                0..60,
            ),
        ) {
            let text = tokens.join(" ");
            let _ = policies("p", &text);
            let _ = expression(&text);
        }
    }
}
