//! One policy: an effect, a scope, conditions.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::expr::Expr;
use crate::name::{EntityType, EntityUid};

/// A policy, or a template of policies where its scope has a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its name, unique in its set.
    pub id: Arc<str>,
    /// What it does when it applies.
    pub effect: Effect,
    /// `@name("value")`, or `@name` alone. They have no meaning, except that `@id` names the
    /// policy.
    pub annotations: BTreeMap<Arc<str>, Option<Arc<str>>>,
    /// Of whom it speaks.
    pub principal: Scope,
    /// Of what it speaks.
    pub action: ActionScope,
    /// To what it applies.
    pub resource: Scope,
    /// What else has to hold, all of it.
    pub conditions: Vec<Condition>,
}

impl Policy {
    /// Whether it has a slot, and so has no effect of its own.
    #[must_use]
    pub const fn is_template(&self) -> bool {
        self.principal.has_slot() || self.resource.has_slot()
    }

    /// The policy that this template becomes when its slots are filled.
    ///
    /// # Errors
    ///
    /// [`CannotLink`] when a slot is left empty, or a value has no slot to fill.
    pub fn link(
        &self,
        id: impl Into<Arc<str>>,
        principal: Option<EntityUid>,
        resource: Option<EntityUid>,
    ) -> Result<Self, CannotLink> {
        if !self.is_template() {
            return Err(CannotLink::NotATemplate { template: self.id.clone() });
        }
        let mut linked = self.clone();
        linked.id = id.into();
        for (slot, scope, value) in [
            (Slot::Principal, &mut linked.principal, principal),
            (Slot::Resource, &mut linked.resource, resource),
        ] {
            match (scope.has_slot(), value) {
                (true, Some(entity)) => scope.fill(&entity),
                (false, None) => {}
                (true, None) => {
                    return Err(CannotLink::Missing { template: self.id.clone(), slot });
                }
                (false, Some(_)) => {
                    return Err(CannotLink::Surplus { template: self.id.clone(), slot });
                }
            }
        }
        Ok(linked)
    }
}

/// What a policy does when it applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Effect {
    /// It allows, unless another forbids.
    Permit,
    /// It denies, whatever others permit.
    Forbid,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Permit => "permit",
            Self::Forbid => "forbid",
        })
    }
}

/// Which principals or resources a policy speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// All.
    Any,
    /// `==`
    Eq(Target),
    /// `in`
    In(Target),
    /// `is`
    Is(EntityType),
    /// `is … in`
    IsIn(EntityType, Target),
}

impl Scope {
    const fn has_slot(&self) -> bool {
        matches!(
            self,
            Self::Eq(Target::Slot) | Self::In(Target::Slot) | Self::IsIn(_, Target::Slot)
        )
    }

    fn fill(&mut self, entity: &EntityUid) {
        match self {
            Self::Eq(target) | Self::In(target) | Self::IsIn(_, target) => {
                *target = Target::Entity(entity.clone());
            }
            Self::Any | Self::Is(_) => {}
        }
    }
}

/// What a scope compares with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// This entity.
    Entity(EntityUid),
    /// `?principal` or `?resource`, whichever part of the scope it stands in.
    Slot,
}

/// Which actions a policy speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ActionScope {
    /// All.
    Any,
    /// `==`
    Eq(EntityUid),
    /// `in`
    In(EntityUid),
    /// `in [ … ]` of none or several; made by [`ActionScope::in_any`].
    InAny(Vec<EntityUid>),
}

impl ActionScope {
    /// The scope of actions that are in any of these groups. A list of one is that one.
    #[must_use]
    pub fn in_any(groups: Vec<EntityUid>) -> Self {
        match <[EntityUid; 1]>::try_from(groups) {
            Ok([only]) => Self::In(only),
            Err(groups) => Self::InAny(groups),
        }
    }
}

/// What has to hold besides the scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Whether it has to be true or false.
    pub kind: ConditionKind,
    /// What has to be.
    pub body: Expr,
}

/// Whether a condition has to be true or false.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConditionKind {
    /// The policy applies where it is true.
    When,
    /// The policy applies where it is false.
    Unless,
}

impl fmt::Display for ConditionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::When => "when",
            Self::Unless => "unless",
        })
    }
}

/// A place of a template that linking fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Slot {
    /// `?principal`
    Principal,
    /// `?resource`
    Resource,
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Principal => "?principal",
            Self::Resource => "?resource",
        })
    }
}

/// Why a template does not become a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CannotLink {
    /// It has no slot.
    #[error("{template:?} has no slots and is not a template")]
    NotATemplate {
        /// The policy.
        template: Arc<str>,
    },
    /// A slot would stay empty.
    #[error("template {template:?} needs a value for {slot}")]
    Missing {
        /// The template.
        template: Arc<str>,
        /// The slot.
        slot: Slot,
    },
    /// A value has no slot.
    #[error("template {template:?} has no {slot}")]
    Surplus {
        /// The template.
        template: Arc<str>,
        /// The slot that it does not have.
        slot: Slot,
    },
}

impl CannotLink {
    /// Whose fault it is: whoever wrote the link.
    #[must_use]
    pub const fn fault(&self) -> zt_core::fault::Fault {
        zt_core::fault::Fault::Caller
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str) -> EntityUid {
        EntityUid::new(EntityType::parse("User").unwrap(), id)
    }

    fn policy(principal: Scope) -> Policy {
        Policy {
            id: "t".into(),
            effect: Effect::Permit,
            annotations: BTreeMap::new(),
            principal,
            action: ActionScope::Any,
            resource: Scope::Any,
            conditions: Vec::new(),
        }
    }

    #[test]
    fn linking_fills_exactly_the_slots_that_a_template_has() {
        let template = policy(Scope::In(Target::Slot));
        let linked = template.link("l", Some(user("alice")), None).unwrap();
        assert_eq!(linked.principal, Scope::In(Target::Entity(user("alice"))));
        assert!(!linked.is_template());
        assert_eq!(
            template.link("l", None, None).unwrap_err().to_string(),
            r#"template "t" needs a value for ?principal"#
        );
        assert_eq!(
            template.link("l", Some(user("a")), Some(user("b"))).unwrap_err().to_string(),
            r#"template "t" has no ?resource"#
        );
        let plain = policy(Scope::Any).link("l", None, None);
        assert!(matches!(plain, Err(CannotLink::NotATemplate { .. })));
    }
}
