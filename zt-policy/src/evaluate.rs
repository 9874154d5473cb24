//! The meaning of policies: every policy is asked, one after the other.
//!
//! This is the definition that everything faster is measured against. For one request:
//!
//! 1. a policy *applies* when principal, action and resource are in its scope, every `when` is
//!    true and every `unless` is false; it *errs* when a condition that is reached errs;
//! 2. a forbid that applies denies;
//! 3. a forbid that errs denies too, unless [`OnForbidError::Skip`] says otherwise;
//! 4. else a permit that applies allows;
//! 5. else it is denied, as nothing permits it, unless a [`DefaultEffect`](default::DefaultEffect)
//!    says otherwise. A permit that errs permits nothing.
//!
//! Expressions mean what Cedar says they mean. What is easily missed: `&&`, `||` and `if`
//! evaluate no more than they have to, and everything else all of its parts; what `&&` and `||`
//! do evaluate has to be a bool; `==` never errs; an entity that is not known has no attributes
//! and no tags, which `has` may ask and `.` may not; `is T in e` does not look at `e` where the
//! type differs.

pub mod error;
pub(crate) mod operation;
pub mod expression;
pub mod default;

use std::sync::Arc;

use self::error::EvaluationError;
use self::expression::evaluate;
use self::operation::boolean;
use crate::entity::{Entities, Request};
use crate::name::EntityUid;
use crate::policy::{ActionScope, ConditionKind, Effect, Policy, Scope, Slot, Target};

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
    /// Yes, as no policy selects it: see [`DefaultEffect`](default::DefaultEffect).
    AllowByDefault,
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
    /// No: the request is more than a decision takes.
    OverLimit,
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

pub(crate) fn in_scope<'a>(
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

pub(crate) fn in_action_scope(
    scope: &ActionScope,
    action: &EntityUid,
    entities: &Entities,
) -> bool {
    match scope {
        ActionScope::Any => true,
        ActionScope::Eq(wanted) => action == wanted,
        ActionScope::In(group) => entities.is_in(action, group),
        ActionScope::InAny(groups) => groups.iter().any(|group| entities.is_in(action, group)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cedar::text;
    use crate::name::EntityType;

    fn asked(policies: &str) -> Response {
        let uid = |kind: &str| EntityUid::new(EntityType::parse(kind).unwrap(), "x");
        let request = Request {
            principal: uid("User"),
            action: uid("Action"),
            resource: uid("Doc"),
            context: Arc::default(),
        };
        authorize(&text::policies("p", policies).unwrap(), &request, &Entities::new())
    }

    fn policies(all: &[(&str, &str)]) -> String {
        let policy = |(id, rest): &(&str, &str)| {
            let (effect, condition) = rest.split_once(' ').unwrap_or((rest, ""));
            format!("@id(\"{id}\") {effect} (principal, action, resource) {condition};")
        };
        all.iter().map(policy).collect()
    }

    const PERMIT: (&str, &str) = ("yes", "permit");
    const FORBID: (&str, &str) = ("no", "forbid");
    const TYPO: (&str, &str) = ("typo", "forbid when { resource.ownr == 1 }");
    const BAD_PERMIT: (&str, &str) = ("bad", "permit when { resource.ownr == 1 }");

    fn outcomes(all: &[(&str, &str)]) -> (Outcome, Outcome) {
        let response = asked(&policies(all));
        (response.outcome(OnForbidError::Deny), response.outcome(OnForbidError::Skip))
    }

    #[test]
    fn a_forbid_that_applies_denies_whatever_else_applies_or_errs() {
        let forbidden = Outcome::Forbidden { policy: "no".into() };
        for all in [&[PERMIT, FORBID][..], &[TYPO, FORBID, PERMIT], &[FORBID]] {
            assert_eq!(outcomes(all), (forbidden.clone(), forbidden.clone()));
        }
    }

    #[test]
    fn a_forbid_that_errs_denies_unless_it_is_skipped() {
        let error = Outcome::Error { policy: "typo".into() };
        let allow = Outcome::Allow { policy: "yes".into() };
        assert_eq!(outcomes(&[PERMIT, TYPO]), (error.clone(), allow));
        assert_eq!(outcomes(&[TYPO]), (error, Outcome::NotPermitted));
    }

    #[test]
    fn a_permit_that_errs_permits_nothing_and_hides_no_other() {
        let allow = Outcome::Allow { policy: "yes".into() };
        assert_eq!(outcomes(&[BAD_PERMIT]), (Outcome::NotPermitted, Outcome::NotPermitted));
        assert_eq!(outcomes(&[BAD_PERMIT, PERMIT]), (allow.clone(), allow));
        let response = asked(&policies(&[BAD_PERMIT, PERMIT]));
        assert_eq!(&*response.errors[0].policy, "bad");
        assert_eq!(response.reasons(), [Arc::from("yes")]);
    }

    #[test]
    fn conditions_are_asked_in_order_up_to_the_first_that_fails() {
        let stops = ("stops", "permit when { false } when { resource.ownr }");
        assert_eq!(asked(&policies(&[stops])), Response::default());
        let unless = ("unless", "permit unless { false } when { true }");
        assert_eq!(asked(&policies(&[unless])).permits.len(), 1);
        let number = ("number", "permit when { 1 }");
        assert_eq!(asked(&policies(&[number])).errors.len(), 1);
    }

    #[test]
    fn what_is_out_of_scope_is_not_evaluated() {
        for scope in [
            "principal == User::\"y\", action, resource",
            "principal is Group, action, resource",
            "principal is User in Group::\"g\", action, resource",
            "principal, action in [Action::\"y\", Action::\"z\"], resource",
            "principal, action in [], resource",
            "principal, action, resource in Doc::\"y\"",
        ] {
            let policy = format!("forbid ({scope}) when {{ resource.ownr == 1 }};");
            assert_eq!(asked(&policy), Response::default(), "{scope}");
        }
    }

    #[test]
    fn a_template_that_is_asked_errs() {
        let response = asked("permit (principal == ?principal, action, resource);");
        assert_eq!(response.errors[0].error, EvaluationError::Unlinked { slot: Slot::Principal });
    }
}
