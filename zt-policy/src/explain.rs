//! Why a request is answered as it is.
//!
//! A decision names the first policy that determined it and is quick. An [`Explanation`] is made
//! afterwards, from the policies as they were written: it asks every policy, lists those that
//! apply and those that err, and where nothing permits, shows the permit that came nearest and the
//! clause at which it failed.
//!
//! The nearest permit is the one that holds in the most clauses before the first that fails, in
//! this order: principal, action, resource, each condition, and within a `when` each operand of its
//! `&&`. Of several it is the first of the set. Each clause of a scope counts, also behind one that
//! failed.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::entity::{Entities, Request};
use crate::evaluate::error::EvaluationError;
use crate::evaluate::expression::evaluate;
use crate::evaluate::operation::boolean;
use crate::evaluate::{OnForbidError, Outcome, PolicyError, authorize, in_action_scope, in_scope};
use crate::expr::Expr;
use crate::policy::{ConditionKind, Effect, Policy, Slot};

/// Why one question is answered as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The answer.
    pub outcome: Outcome,
    /// The permits that apply, in the order of the set.
    pub permits: Vec<Arc<str>>,
    /// The forbids that apply, in the order of the set.
    pub forbids: Vec<Arc<str>>,
    /// The policies that err, in the order of the set, and why.
    pub errors: Vec<PolicyError>,
    /// The permit that came nearest, where none applies.
    pub nearest: Option<NearMiss>,
}

/// A permit that does not apply.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NearMiss {
    /// Its name.
    pub policy: Arc<str>,
    /// The first clause that does not hold.
    pub failed: Clause,
}

/// A part of a policy that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Clause {
    /// The scope of the principal.
    Principal,
    /// The scope of the action.
    Action,
    /// The scope of the resource.
    Resource,
    /// A condition.
    Condition {
        /// Whether it had to be true or false.
        kind: ConditionKind,
        /// Its text: of a `when` that is an `&&`, the operand that failed.
        text: String,
        /// Why it has no value, if it has none.
        error: Option<EvaluationError>,
    },
}

impl Explanation {
    /// Asks all of these policies about one request.
    #[must_use]
    pub fn of(
        policies: &[Policy],
        request: &Request,
        entities: &Entities,
        on_forbid_error: OnForbidError,
    ) -> Self {
        let response = authorize(policies, request, entities);
        let nearest =
            if response.permits.is_empty() { nearest(policies, request, entities) } else { None };
        Self {
            outcome: response.outcome(on_forbid_error),
            permits: response.permits,
            forbids: response.forbids,
            errors: response.errors,
            nearest,
        }
    }
}

fn nearest(policies: &[Policy], request: &Request, entities: &Entities) -> Option<NearMiss> {
    let permits = policies.iter().filter(|policy| policy.effect == Effect::Permit);
    let mut nearest: Option<(usize, NearMiss)> = None;
    for policy in permits {
        let Some((held, failed)) = first_failure(policy, request, entities) else { continue };
        if nearest.as_ref().is_none_or(|(most, _)| held > *most) {
            nearest = Some((held, NearMiss { policy: policy.id.clone(), failed }));
        }
    }
    nearest.map(|(_, miss)| miss)
}

/// The first clause that does not hold, and how many do before it; of the scope all that do.
fn first_failure(
    policy: &Policy,
    request: &Request,
    entities: &Entities,
) -> Option<(usize, Clause)> {
    let principal = in_scope(&policy.principal, Slot::Principal, &request.principal, entities);
    let resource = in_scope(&policy.resource, Slot::Resource, &request.resource, entities);
    let scope = [
        (principal == Ok(true), Clause::Principal),
        (in_action_scope(&policy.action, &request.action, entities), Clause::Action),
        (resource == Ok(true), Clause::Resource),
    ];
    let mut held = scope.iter().filter(|(holds, _)| *holds).count();
    if let Some((_, failed)) = scope.into_iter().find(|(holds, _)| !holds) {
        return Some((held, failed));
    }
    for condition in &policy.conditions {
        let whole = std::slice::from_ref(&condition.body);
        let operands = match (&condition.body, condition.kind) {
            (Expr::And(operands), ConditionKind::When) => &**operands,
            (_, ConditionKind::When | ConditionKind::Unless) => whole,
        };
        for operand in operands {
            let value = evaluate(operand, request, entities).and_then(|value| boolean(&value));
            if value == Ok(condition.kind == ConditionKind::When) {
                held = held.saturating_add(1);
                continue;
            }
            let (kind, text) = (condition.kind, operand.to_string());
            return Some((held, Clause::Condition { kind, text, error: value.err() }));
        }
    }
    None
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Principal => f.write_str("the principal is not in its scope"),
            Self::Action => f.write_str("the action is not in its scope"),
            Self::Resource => f.write_str("the resource is not in its scope"),
            Self::Condition { kind, text, error: None } => {
                let value = *kind == ConditionKind::Unless;
                write!(f, "{kind} {{ {text} }} is {value}")
            }
            Self::Condition { kind, text, error: Some(error) } => {
                write!(f, "{kind} {{ {text} }} errs: {error}")
            }
        }
    }
}

/// A line for the answer, and one for each policy that has to do with it.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(effect(&self.outcome))?;
        for (policies, does) in [(&self.forbids, "forbids"), (&self.permits, "permits")] {
            for policy in policies {
                write!(f, "\n{policy:?} {does} it")?;
            }
        }
        for PolicyError { policy, effect, error } in &self.errors {
            write!(f, "\n{policy:?}, a {effect}, errs: {error}")?;
        }
        match &self.nearest {
            Some(NearMiss { policy, failed }) => {
                write!(f, "\n{policy:?} came nearest to permitting it: {failed}")
            }
            None => Ok(()),
        }
    }
}

const fn effect(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Allow { .. } => "allowed",
        Outcome::AllowByDefault => "allowed by default: no policy selects it",
        Outcome::Forbidden { .. } => "denied: forbidden",
        Outcome::Error { .. } => "denied: a forbid could not be evaluated",
        Outcome::NotPermitted => "denied: not permitted",
        Outcome::OverLimit => "denied: the request is over a limit",
    }
}

/// As an object: `outcome`, `permits`, `forbids`, `errors`, `nearest`.
impl Serialize for Explanation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            outcome: &'static str,
            permits: &'a [Arc<str>],
            forbids: &'a [Arc<str>],
            errors: Vec<Erring<'a>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            nearest: Option<Near<'a>>,
        }
        #[derive(Serialize)]
        struct Erring<'a> {
            policy: &'a str,
            effect: String,
            error: String,
        }
        #[derive(Serialize)]
        struct Near<'a> {
            policy: &'a str,
            failed: String,
        }
        let erring = |PolicyError { policy, effect, error }: &'_ PolicyError| {
            (policy.clone(), effect.to_string(), error.to_string())
        };
        let errors: Vec<_> = self.errors.iter().map(erring).collect();
        let errors = errors.iter().map(|(policy, effect, error)| Erring {
            policy,
            effect: effect.clone(),
            error: error.clone(),
        });
        let near = |NearMiss { policy, failed }: &NearMiss| (policy.clone(), failed.to_string());
        let nearest = self.nearest.as_ref().map(near);
        Shown {
            outcome: effect(&self.outcome),
            permits: &self.permits,
            forbids: &self.forbids,
            errors: errors.collect(),
            nearest: nearest
                .as_ref()
                .map(|(policy, failed)| Near { policy, failed: failed.clone() }),
        }
        .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cedar::text;
    use crate::name::{EntityType, EntityUid};

    fn explained(policies: &str) -> Explanation {
        let uid = |kind: &str| EntityUid::new(EntityType::parse(kind).unwrap(), "x");
        let request = Request {
            principal: uid("User"),
            action: uid("Action"),
            resource: uid("Doc"),
            context: Arc::default(),
        };
        let policies = text::policies("p", policies).unwrap();
        Explanation::of(&policies, &request, &Entities::new(), OnForbidError::Deny)
    }

    #[test]
    fn every_policy_that_applies_or_errs_is_listed_in_its_order() {
        let all = explained(
            r#"@id("a") permit (principal, action, resource);
            @id("b") forbid (principal, action, resource) when { context.x };
            @id("c") permit (principal, action, resource) when { 1 };
            @id("d") forbid (principal, action, resource);
            @id("e") permit (principal == User::"y", action, resource);
            @id("f") permit (principal, action, resource);"#,
        );
        assert_eq!(all.permits, ["a".into(), "f".into()]);
        assert_eq!(all.forbids, ["d".into()]);
        let errors: Vec<_> = all.errors.iter().map(|error| &*error.policy).collect();
        assert_eq!(errors, ["b", "c"]);
        assert_eq!(all.outcome, Outcome::Forbidden { policy: "d".into() });
        assert_eq!(all.nearest, None);
    }

    #[test]
    fn the_nearest_permit_is_shown_with_the_clause_that_failed() {
        let near = |policies: &str| {
            let miss = explained(policies).nearest.unwrap();
            (miss.policy.to_string(), miss.failed.to_string())
        };
        let far = r#"@id("far") permit (principal == User::"y", action, resource == Doc::"y");"#;
        let expected = |failed: &str| (String::from("near"), String::from(failed));
        assert_eq!(
            near(&format!(
                r#"{far} @id("near") permit (principal, action == Action::"y", resource);"#
            )),
            expected("the action is not in its scope")
        );
        assert_eq!(
            near(&format!(
                r#"{far} @id("near") permit (principal, action, resource)
                when {{ principal is User && resource == Doc::"z" && context.y }};"#
            )),
            expected(r#"when { resource == Doc::"z" } is false"#)
        );
        assert_eq!(
            near(&format!(
                r#"{far} @id("near") permit (principal, action, resource) unless {{ principal is User }};"#
            )),
            expected("unless { principal is User } is true")
        );
        assert_eq!(
            near(r#"@id("near") permit (principal, action, resource) when { context.y };"#),
            expected(r#"when { context.y } errs: the record has no attribute "y""#)
        );
        assert_eq!(explained("forbid (principal, action, resource);").nearest, None);
    }

    #[test]
    fn an_explanation_is_text() {
        let text = explained(
            r#"@id("a") permit (principal == User::"y", action, resource);
            @id("b") permit (principal, action, resource) when { context.y };"#,
        )
        .to_string();
        assert_eq!(
            text,
            "denied: not permitted\n\
             \"b\", a permit, errs: the record has no attribute \"y\"\n\
             \"b\" came nearest to permitting it: when { context.y } errs: the record has no attribute \"y\""
        );
    }

    #[test]
    fn an_explanation_is_json() {
        let explained = explained(
            r#"@id("a") permit (principal == User::"y", action, resource);
            @id("b") forbid (principal, action, resource);"#,
        );
        assert_eq!(
            serde_json::to_string(&explained).unwrap(),
            concat!(
                r#"{"outcome":"denied: forbidden","permits":[],"forbids":["b"],"errors":[],"#,
                r#""nearest":{"policy":"a","failed":"the principal is not in its scope"}}"#
            )
        );
    }
}
