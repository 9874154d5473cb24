//! What is answered where no policy applies.
//!
//! Cedar denies. Other languages, such as those of Istio and of Kubernetes' network policies, allow
//! what no policy selects, and deny what is selected and not permitted. A set says so with
//! [`DefaultEffect::AllowUnselected`], never by leaving something out:
//!
//! 1. what policies answer comes first: a default changes only [`Outcome::NotPermitted`];
//! 2. a policy *selects* a request when the principal, or the resource, lies in its scope for it,
//!    whatever the rest of the policy says. A policy that constrains it to nothing selects all;
//! 3. what is selected by no policy is allowed, by [`ALLOWED_BY_DEFAULT`].

use std::fmt;

use super::{Outcome, in_scope};
use crate::entity::{Entities, Request};
use crate::policy::{Policy, Slot};

/// What stands for a policy in an answer that no policy gave. No policy may have this name.
pub const ALLOWED_BY_DEFAULT: &str = "(allowed by default)";

/// What is answered where no policy applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DefaultEffect {
    /// No.
    #[default]
    Deny,
    /// Yes, unless a policy selects this side of the request.
    AllowUnselected(Side),
}

/// By which side of a request policies select it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Side {
    /// By who asks.
    Principal,
    /// By what it is to be done to.
    Resource,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Principal => "principal",
            Self::Resource => "resource",
        })
    }
}

impl DefaultEffect {
    /// The answer to a request that these policies have answered with `outcome`.
    #[must_use]
    pub fn apply<'p>(
        self,
        outcome: Outcome,
        policies: impl IntoIterator<Item = &'p Policy>,
        request: &Request,
        entities: &Entities,
    ) -> Outcome {
        let Self::AllowUnselected(side) = self else { return outcome };
        let selects = |policy: &Policy| side.is_selected_by(policy, request, entities);
        if outcome == Outcome::NotPermitted && !policies.into_iter().any(selects) {
            return Outcome::AllowByDefault;
        }
        outcome
    }
}

impl Side {
    /// Rule 2. A template selects all: it must not open what it would select once it is linked.
    fn is_selected_by(self, policy: &Policy, request: &Request, entities: &Entities) -> bool {
        let (scope, slot, entity) = match self {
            Self::Principal => (&policy.principal, Slot::Principal, &request.principal),
            Self::Resource => (&policy.resource, Slot::Resource, &request.resource),
        };
        in_scope(scope, slot, entity, entities) != Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cedar::text;
    use crate::evaluate::{OnForbidError, authorize};
    use crate::name::{EntityType, EntityUid};

    const BY_RESOURCE: DefaultEffect = DefaultEffect::AllowUnselected(Side::Resource);
    const BY_PRINCIPAL: DefaultEffect = DefaultEffect::AllowUnselected(Side::Principal);

    fn outcome(policies: &str, default: DefaultEffect) -> Outcome {
        let uid = |kind: &str| EntityUid::new(EntityType::parse(kind).unwrap(), "x");
        let request = Request {
            principal: uid("User"),
            action: uid("Action"),
            resource: uid("Doc"),
            context: Arc::default(),
        };
        let (policies, entities) = (text::policies("p", policies).unwrap(), Entities::new());
        let outcome = authorize(&policies, &request, &entities).outcome(OnForbidError::Deny);
        default.apply(outcome, &policies, &request, &entities)
    }

    #[test]
    fn the_default_is_to_deny() {
        assert_eq!(DefaultEffect::default(), DefaultEffect::Deny);
        let elsewhere = r#"permit (principal, action, resource == Doc::"y");"#;
        assert_eq!(outcome(elsewhere, DefaultEffect::Deny), Outcome::NotPermitted);
    }

    #[test]
    fn what_no_policy_selects_is_allowed_only_where_that_is_said() {
        let elsewhere = r#"permit (principal == User::"y", action, resource == Doc::"y");"#;
        assert_eq!(outcome(elsewhere, BY_RESOURCE), Outcome::AllowByDefault);
        assert_eq!(outcome(elsewhere, BY_PRINCIPAL), Outcome::AllowByDefault);
    }

    #[test]
    fn a_policy_selects_whatever_its_action_and_conditions_say() {
        for selects in [
            r#"permit (principal == User::"y", action, resource == Doc::"x");"#,
            r#"permit (principal, action == Action::"y", resource is Doc);"#,
            r#"forbid (principal, action, resource is Doc in Doc::"x") when { false };"#,
            r#"permit (principal == User::"y", action, resource);"#,
        ] {
            assert_eq!(outcome(selects, BY_RESOURCE), Outcome::NotPermitted, "{selects}");
        }
        let by_principal = r#"permit (principal == User::"x", action, resource == Doc::"y");"#;
        assert_eq!(outcome(by_principal, BY_PRINCIPAL), Outcome::NotPermitted);
        assert_eq!(outcome(by_principal, BY_RESOURCE), Outcome::AllowByDefault);
    }

    #[test]
    fn what_policies_answer_comes_first() {
        let forbid = r#"@id("no") forbid (principal == User::"x", action, resource == Doc::"x");"#;
        assert_eq!(outcome(forbid, BY_RESOURCE), Outcome::Forbidden { policy: "no".into() });
        let typo = r#"@id("typo") forbid (principal, action, resource) when { context.y };"#;
        assert_eq!(outcome(typo, BY_RESOURCE), Outcome::Error { policy: "typo".into() });
        let permit = r#"@id("yes") permit (principal, action, resource);"#;
        assert_eq!(outcome(permit, BY_RESOURCE), Outcome::Allow { policy: "yes".into() });
    }
}
