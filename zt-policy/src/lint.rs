//! What a set says that its author may not have meant.
//!
//! A warning changes no answer. [`PolicySet::warnings`] tells of
//!
//! 1. a [default](crate::evaluate::default) that allows;
//! 2. forbids that are skipped where they cannot be evaluated;
//! 3. a permit for everyone to do everything to everything;
//! 4. a policy that applies to nothing: its list of actions is empty, or a condition is a constant
//!    that does not hold.

use std::fmt;
use std::sync::Arc;

use crate::evaluate::OnForbidError;
use crate::evaluate::default::{DefaultEffect, Side};
use crate::expr::{Expr, Literal};
use crate::policy::{ActionScope, Condition, ConditionKind, Effect, Policy, Scope};
use crate::set::PolicySet;

/// Something that its author may not have meant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// The default allows.
    AllowsByDefault {
        /// What no policy selects by this side.
        side: Side,
    },
    /// A typo in a forbid opens a door.
    SkipsForbidsThatErr,
    /// A permit says nothing but yes.
    PermitsEverything {
        /// The permit.
        policy: Arc<str>,
    },
    /// A policy has no effect.
    NeverApplies {
        /// The policy.
        policy: Arc<str>,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllowsByDefault { side } => {
                write!(f, "a request whose {side} no policy selects is allowed")
            }
            Self::SkipsForbidsThatErr => {
                f.write_str("a forbid that cannot be evaluated is skipped")
            }
            Self::PermitsEverything { policy } => {
                write!(f, "{policy:?} permits everyone to do everything to everything")
            }
            Self::NeverApplies { policy } => write!(f, "{policy:?} applies to nothing"),
        }
    }
}

impl PolicySet {
    /// What its author may not have meant: first of the set, then of its policies in their order.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        if let DefaultEffect::AllowUnselected(side) = self.default_effect() {
            warnings.push(Warning::AllowsByDefault { side });
        }
        if self.forbid_error() == OnForbidError::Skip {
            warnings.push(Warning::SkipsForbidsThatErr);
        }
        warnings.extend(self.policies().filter_map(|policy| of_policy(&policy)));
        warnings
    }
}

fn of_policy(policy: &Policy) -> Option<Warning> {
    if policy.action == ActionScope::InAny(Vec::new()) || policy.conditions.iter().any(never_holds)
    {
        return Some(Warning::NeverApplies { policy: policy.id.clone() });
    }
    let is_open = policy.principal == Scope::Any
        && policy.action == ActionScope::Any
        && policy.resource == Scope::Any
        && policy.conditions.iter().all(always_holds);
    (is_open && policy.effect == Effect::Permit)
        .then(|| Warning::PermitsEverything { policy: policy.id.clone() })
}

fn always_holds(condition: &Condition) -> bool {
    condition.body == Expr::Literal(Literal::Bool(condition.kind == ConditionKind::When))
}

fn never_holds(condition: &Condition) -> bool {
    condition.body == Expr::Literal(Literal::Bool(condition.kind == ConditionKind::Unless))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(set: &PolicySet) -> Vec<String> {
        set.warnings().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_set_that_says_what_it_means_has_no_warnings() {
        let text = r#"permit (principal is User, action, resource);
            forbid (principal, action, resource);
            permit (principal, action, resource) when { context.mfa };"#;
        assert!(warnings(&PolicySet::parse("p", text).unwrap()).is_empty());
    }

    #[test]
    fn what_opens_a_whole_set_is_told() {
        let set = PolicySet::parse("p", "permit (principal is User, action, resource);").unwrap();
        let set = set
            .with_default(DefaultEffect::AllowUnselected(Side::Principal))
            .on_forbid_error(OnForbidError::Skip);
        assert_eq!(
            warnings(&set),
            [
                "a request whose principal no policy selects is allowed",
                "a forbid that cannot be evaluated is skipped",
            ]
        );
    }

    #[test]
    fn policies_for_everything_and_for_nothing_are_told() {
        let text = r#"@id("a") permit (principal, action, resource);
            @id("b") permit (principal, action, resource) when { true } unless { false };
            @id("c") permit (principal, action in [], resource);
            @id("d") forbid (principal, action, resource) when { context.x } when { false };
            @id("e") forbid (principal, action, resource) unless { true };"#;
        let expected = [
            r#""a" permits everyone to do everything to everything"#,
            r#""b" permits everyone to do everything to everything"#,
            r#""c" applies to nothing"#,
            r#""d" applies to nothing"#,
            r#""e" applies to nothing"#,
        ];
        assert_eq!(warnings(&PolicySet::parse("p", text).unwrap()), expected);
    }
}
