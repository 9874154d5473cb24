//! One policy, in the least room: there can be many.

use std::sync::Arc;

use super::{ActionTest, Code, ScopeTest};
use crate::policy::Effect;
use crate::symbol::{EntityNo, Full, Symbol, at, number};

/// One policy; its conditions are in [`Code::conditions_of`].
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: Arc<str>,
    // What each of these is, its shape says.
    principal: u32,
    action: u32,
    resource: u32,
    principal_shape: Shape,
    action_shape: ActionShape,
    resource_shape: Shape,
    /// Its effect; [`IS_NAMED`].
    traits: u8,
}

const IS_FORBID: u8 = 1;
/// Whether its only annotation is `@id` with its name.
const IS_NAMED: u8 = 2;
const IS_CONDITIONAL: u8 = 4;

#[derive(Clone, Copy, Debug)]
enum Shape {
    Any,
    Eq,
    In,
    Is,
    /// A place in [`Code::kinds_within`].
    IsIn,
}

#[derive(Clone, Copy, Debug)]
enum ActionShape {
    Any,
    Eq,
    /// A place in [`Code::groups`].
    InAny,
}

/// What a policy asks in its scope, in this order: of the principal, the action, the resource.
pub(crate) type Scopes = (ScopeTest, ActionTest, ScopeTest);

impl Rule {
    /// A policy.
    ///
    /// # Errors
    ///
    /// [`Full`] beyond 32 bits.
    pub(crate) fn new(
        id: Arc<str>,
        effect: Effect,
        (principal, action, resource): Scopes,
        code: &mut Code,
    ) -> Result<Self, Full> {
        let (principal, principal_shape) = pack(principal, code)?;
        let (resource, resource_shape) = pack(resource, code)?;
        let (action, action_shape) = match action {
            ActionTest::Any => (0, ActionShape::Any),
            ActionTest::Eq(action) => (action.bare(), ActionShape::Eq),
            ActionTest::InAny(groups) => (place_of(groups, &mut code.groups)?, ActionShape::InAny),
        };
        let traits = if effect == Effect::Forbid { IS_FORBID } else { 0 };
        Ok(Self {
            id,
            principal,
            action,
            resource,
            principal_shape,
            action_shape,
            resource_shape,
            traits,
        })
    }

    /// With an `@id` of this name, and no other annotation.
    pub(crate) const fn named(mut self) -> Self {
        self.traits |= IS_NAMED;
        self
    }

    /// With conditions.
    pub(crate) const fn conditional(mut self) -> Self {
        self.traits |= IS_CONDITIONAL;
        self
    }

    /// What it does when it applies.
    pub(crate) const fn effect(&self) -> Effect {
        if self.traits & IS_FORBID == 0 { Effect::Permit } else { Effect::Forbid }
    }

    /// Whether its only annotation is `@id` with its name.
    pub(crate) const fn is_named(&self) -> bool {
        self.traits & IS_NAMED != 0
    }

    /// Whether it has conditions.
    pub(crate) const fn is_conditional(&self) -> bool {
        self.traits & IS_CONDITIONAL != 0
    }

    /// What it asks of the principal.
    #[inline]
    pub(crate) fn principal(&self, code: &Code) -> ScopeTest {
        unpack(self.principal_shape, self.principal, code)
    }

    /// What it asks of the resource.
    #[inline]
    pub(crate) fn resource(&self, code: &Code) -> ScopeTest {
        unpack(self.resource_shape, self.resource, code)
    }

    /// What it asks of the action.
    #[inline]
    pub(crate) fn action(&self, code: &Code) -> ActionTest {
        match self.action_shape {
            ActionShape::Any => ActionTest::Any,
            ActionShape::Eq => ActionTest::Eq(EntityNo::of_bare(self.action)),
            ActionShape::InAny => {
                let groups = code.groups.get(at(self.action));
                ActionTest::InAny(groups.copied().unwrap_or_default())
            }
        }
    }
}

fn pack(test: ScopeTest, code: &mut Code) -> Result<(u32, Shape), Full> {
    Ok(match test {
        ScopeTest::Any => (0, Shape::Any),
        ScopeTest::Eq(entity) => (entity.bare(), Shape::Eq),
        ScopeTest::In(entity) => (entity.bare(), Shape::In),
        ScopeTest::Is(kind) => (kind.bare(), Shape::Is),
        ScopeTest::IsIn(kind, entity) => {
            (place_of((kind, entity), &mut code.kinds_within)?, Shape::IsIn)
        }
    })
}

#[inline]
fn unpack(shape: Shape, operand: u32, code: &Code) -> ScopeTest {
    let entity = EntityNo::of_bare(operand);
    match shape {
        Shape::Any => ScopeTest::Any,
        Shape::Eq => ScopeTest::Eq(entity),
        Shape::In => ScopeTest::In(entity),
        Shape::Is => ScopeTest::Is(Symbol::of_bare(operand)),
        Shape::IsIn => match code.kinds_within.get(at(operand)) {
            Some((kind, entity)) => ScopeTest::IsIn(*kind, *entity),
            // There is none: `pack` has put it there. Nothing has this number, so nothing is in it.
            None => ScopeTest::Eq(EntityNo::of_bare(u32::MAX)),
        },
    }
}

fn place_of<T>(item: T, list: &mut Vec<T>) -> Result<u32, Full> {
    let place = number(list.len())?;
    list.push(item);
    Ok(place)
}
