//! The clauses of one policy, and what was seen in them.

use std::fmt;

use serde::Serialize;

use super::redaction::{REDACTED, Redaction};
use crate::entity::{Entities, Request};
use crate::evaluate::error::EvaluationError;
use crate::evaluate::expression::evaluate;
use crate::evaluate::operation::boolean;
use crate::evaluate::{in_action_scope, in_scope};
use crate::expr::{BinaryOp, Expr, HasPath, Literal, Var};
use crate::name::EntityUid;
use crate::policy::{ActionScope, ConditionKind, Policy, Scope, Slot, Target};

/// The most values that are shown of one clause.
pub const MAX_SEEN: usize = 16;

/// What is shown where there is no value.
const ABSENT: &str = "absent";

/// A part of a policy, and what was seen in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Clause {
    /// Which part.
    pub part: Part,
    /// Its text: of a `when` that is an `&&`, one operand.
    pub text: String,
    /// Why it has no value, if it has none.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    pub error: Option<EvaluationError>,
    /// The parts of the request that it names, with their values.
    pub seen: Vec<Seen>,
}

/// A part of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Part {
    /// The scope of the principal.
    Principal,
    /// The scope of the action.
    Action,
    /// The scope of the resource.
    Resource,
    /// A condition that has to be true.
    When,
    /// A condition that has to be false.
    Unless,
}

/// A part of the request and its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Seen {
    /// As a policy names it: `resource.owner`.
    pub path: String,
    /// Its value as Cedar writes it, `absent`, or `[redacted]`.
    pub value: String,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", self.path, self.value)
    }
}

fn as_text<S: serde::Serializer>(
    error: &Option<EvaluationError>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match error {
        Some(error) => serializer.collect_str(error),
        None => serializer.serialize_none(),
    }
}

/// The text, as it stands in the policy.
impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            Part::Principal | Part::Action | Part::Resource => f.write_str(&self.text),
            Part::When => write!(f, "when {{ {} }}", self.text),
            Part::Unless => write!(f, "unless {{ {} }}", self.text),
        }
    }
}

/// How far a request comes in a policy.
#[derive(Debug)]
pub(super) struct Walk {
    /// The clauses that hold, up to the first that does not; of the scope all.
    pub(super) held: Vec<Clause>,
    /// How many clauses hold, those included that ask nothing.
    pub(super) count: usize,
    /// The first that does not hold.
    pub(super) failed: Option<Clause>,
}

/// Asks a policy clause by clause.
pub(super) struct Walker<'a> {
    pub(super) request: &'a Request,
    pub(super) entities: &'a Entities,
    pub(super) redaction: &'a Redaction,
}

impl Walker<'_> {
    pub(super) fn walk(&self, policy: &Policy) -> Walk {
        let mut walk = Walk { held: Vec::new(), count: 0, failed: None };
        self.scopes(policy, &mut walk);
        if walk.failed.is_some() {
            return walk;
        }
        for condition in &policy.conditions {
            let whole = std::slice::from_ref(&condition.body);
            let operands = match (&condition.body, condition.kind) {
                (Expr::And(operands), ConditionKind::When) => &**operands,
                (_, ConditionKind::When | ConditionKind::Unless) => whole,
            };
            for operand in operands {
                let (holds, clause) = self.operand(operand, condition.kind);
                if !holds {
                    walk.failed = Some(clause);
                    return walk;
                }
                walk.count = walk.count.saturating_add(1);
                walk.held.push(clause);
            }
        }
        walk
    }

    fn scopes(&self, policy: &Policy, walk: &mut Walk) {
        let Self { request, entities, .. } = *self;
        let side = |scope, slot, entity| in_scope(scope, slot, entity, entities) == Ok(true);
        let principal = side(&policy.principal, Slot::Principal, &request.principal);
        let resource = side(&policy.resource, Slot::Resource, &request.resource);
        let action = in_action_scope(&policy.action, &request.action, entities);
        let actions = policy.action == ActionScope::Any;
        for (part, holds, asks_nothing, text, entity) in [
            (
                Part::Principal,
                principal,
                policy.principal == Scope::Any,
                scope_text(Var::Principal, &policy.principal),
                &request.principal,
            ),
            (Part::Action, action, actions, action_text(&policy.action), &request.action),
            (
                Part::Resource,
                resource,
                policy.resource == Scope::Any,
                scope_text(Var::Resource, &policy.resource),
                &request.resource,
            ),
        ] {
            let seen = || vec![seen_entity(part, entity)];
            if !holds {
                let failed = || Clause { part, text, error: None, seen: seen() };
                walk.failed.get_or_insert_with(failed);
                continue;
            }
            walk.count = walk.count.saturating_add(1);
            if !asks_nothing {
                walk.held.push(Clause { part, text, error: None, seen: seen() });
            }
        }
    }

    fn operand(&self, operand: &Expr, kind: ConditionKind) -> (bool, Clause) {
        let value = evaluate(operand, self.request, self.entities).and_then(|it| boolean(&it));
        let holds = value == Ok(kind == ConditionKind::When);
        let is_secret = self.redaction.is_in(operand);
        let part = match kind {
            ConditionKind::When => Part::When,
            ConditionKind::Unless => Part::Unless,
        };
        let text = if is_secret { REDACTED.into() } else { operand.to_string() };
        let error = value.err().map(|it| if is_secret { Redaction::error(it) } else { it });
        (holds, Clause { part, text, error, seen: self.seen(operand) })
    }

    fn seen(&self, operand: &Expr) -> Vec<Seen> {
        let mut paths = Vec::new();
        collect(operand, &mut paths);
        let mut all: Vec<Seen> = Vec::new();
        for path in paths {
            let text = path.to_string();
            if all.len() < MAX_SEEN && all.iter().all(|seen| seen.path != text) {
                all.push(Seen { value: self.value(&path), path: text });
            }
        }
        all
    }

    fn value(&self, path: &Expr) -> String {
        if self.redaction.is_in(path) {
            return REDACTED.into();
        }
        let value = evaluate(path, self.request, self.entities);
        value.map_or_else(|_| ABSENT.into(), |value| self.redaction.shown(&value))
    }
}

fn seen_entity(part: Part, entity: &EntityUid) -> Seen {
    let path = match part {
        Part::Principal => Var::Principal,
        Part::Action => Var::Action,
        Part::Resource | Part::When | Part::Unless => Var::Resource,
    };
    Seen { path: path.name().into(), value: entity.to_string() }
}

/// The longest ways from the request to a value that an expression takes. It recurses as deep as
/// the expression is nested.
fn collect(expr: &Expr, paths: &mut Vec<Expr>) {
    if is_path(expr) {
        paths.push(expr.clone());
    } else if let Expr::Has { of, path } = expr
        && is_path(of)
    {
        let attribute = |of: Expr, name: &std::sync::Arc<str>| Expr::Attribute {
            of: Box::new(of),
            name: name.clone(),
        };
        paths.push(HasPath::names(path).iter().fold((**of).clone(), attribute));
    } else if let Expr::Binary(BinaryOp::GetTag | BinaryOp::HasTag, of, tag) = expr
        && is_path(of)
        && matches!(**tag, Expr::Literal(Literal::String(_)))
    {
        paths.push(Expr::Binary(BinaryOp::GetTag, of.clone(), tag.clone()));
    } else {
        expr.parts().for_each(|part| collect(part, paths));
    }
}

fn is_path(expr: &Expr) -> bool {
    if let Expr::Attribute { of, .. } = expr { is_path(of) } else { matches!(expr, Expr::Var(_)) }
}

fn scope_text(var: Var, scope: &Scope) -> String {
    let var = var.name();
    let target = |target: &Target| match target {
        Target::Entity(entity) => entity.to_string(),
        Target::Slot => format!("?{var}"),
    };
    match scope {
        Scope::Any => var.into(),
        Scope::Eq(entity) => format!("{var} == {}", target(entity)),
        Scope::In(entity) => format!("{var} in {}", target(entity)),
        Scope::Is(kind) => format!("{var} is {kind}"),
        Scope::IsIn(kind, entity) => format!("{var} is {kind} in {}", target(entity)),
    }
}

fn action_text(scope: &ActionScope) -> String {
    match scope {
        ActionScope::Any => "action".into(),
        ActionScope::Eq(action) => format!("action == {action}"),
        ActionScope::In(group) => format!("action in {group}"),
        ActionScope::InAny(groups) => {
            let groups: Vec<String> = groups.iter().map(EntityUid::to_string).collect();
            format!("action in [{}]", groups.join(", "))
        }
    }
}
