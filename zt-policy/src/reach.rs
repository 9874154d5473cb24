//! What a caller could be let do something to, before there are candidates.
//!
//! For a caller, an action and a context, [`PolicySet::reach`] collects which resources the scopes
//! of policies name:
//!
//! 1. policies whose scope of principal or action does not hold are left out: they apply to no
//!    resource;
//! 2. so is a permit with a condition that does not hold whatever the resource is, and a forbid
//!    with such a condition, if all before it hold;
//! 3. of what is left, the scope of the resource is told, and whether it is all that is still
//!    asked.
//!
//! So, unless a [default](crate::evaluate::default) allows what no policy selects, a resource that
//! is allowed lies in the scope of one of the permits, of the workload and, where
//! there is one, of the user; and one that lies in the scope of an unconditional permit, for all
//! who are asked, and in that of no forbid, is allowed. A list can be asked for what lies in these
//! scopes, instead of for everything; what it finds is then decided, with
//! [`search`](PolicySet::search).
//!
//! It takes as long as there are policies, and no policy is asked for a resource.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use zt_core::decision::{Answer, Decision};
use zt_core::principal::Principal;
use zt_core::request::{Action, Context, Request, Resource, SubjectKind};
use zt_core::verified::Verified;

use crate::evaluate::default::DefaultEffect;
use crate::evaluate::expression::evaluate;
use crate::expr::{BinaryOp, Expr, Var};
use crate::model::{self, Asked, OWN_TYPES, Unaskable};
use crate::name::EntityUid;
use crate::policy::{ActionScope, ConditionKind, Effect, Policy, Scope, Target};
use crate::set::PolicySet;
use crate::value::Value;

/// Which resources a caller could do one action to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reach {
    /// By the question about the workload.
    pub workload: Extent,
    /// By the question about the user, where there is one.
    pub user: Option<Extent>,
}

/// Which resources one question could be answered with yes about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Extent {
    /// The permits that could apply, in the order of the set.
    pub permits: Vec<Named>,
    /// The forbids that could apply or err, in the order of the set.
    pub forbids: Vec<Named>,
    /// Whether what no policy selects is allowed too, by the default of the set.
    pub by_default: bool,
}

/// The resources that one policy names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Named {
    /// The policy.
    pub policy: Arc<str>,
    /// Which resources.
    pub resource: Scope,
    /// Whether more is asked of them than to lie in this scope.
    pub is_conditional: bool,
}

impl PolicySet {
    /// Which resources this caller could do `action` to.
    ///
    /// # Errors
    ///
    /// [`Unaskable`] when the caller or the context cannot be put to Cedar: then everything is
    /// denied.
    ///
    /// ```
    /// # use zt_core::danger;
    /// use zt_core::principal::{Principal, Workload};
    /// use zt_core::request::{Action, Context};
    /// use zt_core::spiffe::SpiffeId;
    /// use zt_core::time::Timestamp;
    /// use zt_policy::set::PolicySet;
    ///
    /// let policies = PolicySet::parse(
    ///     "orders",
    ///     r#"permit (principal, action, resource == Order::"1");
    ///     permit (principal, action, resource == Order::"7") when { context.time < datetime("2026-01-01") };
    ///     permit (principal == Workload::"spiffe://example.org/other", action, resource);"#,
    /// )?;
    /// # let cart = Workload::new(SpiffeId::parse("spiffe://example.org/cart")?);
    /// # let caller = danger::verified(Principal::new(cart));
    /// let context = Context::at(Timestamp::from_secs(1_800_000_000));
    /// let reach = policies.reach(&caller, &Action::new("read"), &context)?;
    /// let named: Vec<String> = reach.named().unwrap().iter().map(ToString::to_string).collect();
    /// assert_eq!(named, [r#"Order::"1""#]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reach(
        &self,
        caller: &Verified<Principal>,
        action: &Action,
        context: &Context,
    ) -> Result<Reach, Unaskable> {
        // No condition that is evaluated looks at it.
        let nothing = Resource::new("Nothing", "");
        let (mut workload, mut user) = (Err(Unaskable::UnknownSubject), None);
        let request = Request::new(caller, action, &nothing, context);
        let decision = Decision::of(&request, self.version(), |question| {
            let extent = model::ask(question, self.entities())
                .map(|asked| extent(self.policies(), &asked, self.default_effect()));
            match question.subject().kind() {
                SubjectKind::Workload => workload = extent,
                SubjectKind::User => user = Some(extent),
                _ => {}
            }
            Answer::not_permitted()
        });
        drop(decision);
        Ok(Reach { workload: workload?, user: user.transpose()? })
    }
}

impl Reach {
    /// The resources that could be allowed, where there is a question whose permits all name theirs
    /// with `==`; `None` where there is none, and so any resource could be.
    #[must_use]
    pub fn named(&self) -> Option<BTreeSet<&EntityUid>> {
        let user = self.user.as_ref().map(Extent::named);
        match (self.workload.named(), user) {
            (Some(workload), Some(Some(user))) => {
                Some(workload.intersection(&user).copied().collect())
            }
            (named, None | Some(None)) | (None, Some(named)) => named,
        }
    }

    /// Whether nothing is allowed, whatever the resource.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let user = self.user.as_ref();
        self.workload.is_empty() || user.is_some_and(Extent::is_empty)
    }
}

impl Extent {
    const fn is_empty(&self) -> bool {
        self.permits.is_empty() && !self.by_default
    }

    fn named(&self) -> Option<BTreeSet<&EntityUid>> {
        if self.by_default {
            return None;
        }
        let mut all = BTreeSet::new();
        for permit in &self.permits {
            let Scope::Eq(Target::Entity(uid)) = &permit.resource else { return None };
            all.insert(uid);
        }
        Some(all)
    }
}

fn extent(
    policies: impl Iterator<Item = Policy>,
    asked: &Asked,
    default_effect: DefaultEffect,
) -> Extent {
    let caller = Caller::of(asked);
    let by_default = default_effect != DefaultEffect::Deny;
    let mut extent = Extent { by_default, ..Extent::default() };
    for policy in policies {
        let Some(is_conditional) = caller.is_concerned(&policy) else { continue };
        let named = match policy.effect {
            Effect::Permit => &mut extent.permits,
            Effect::Forbid => &mut extent.forbids,
        };
        let Policy { id: policy, resource, .. } = policy;
        named.push(Named { policy, resource, is_conditional });
    }
    extent
}

/// What is known before there is a resource.
struct Caller<'a> {
    asked: &'a Asked,
    principals: HashSet<&'a EntityUid>,
    actions: HashSet<&'a EntityUid>,
    /// Whether someone is in something that could be the resource, and so, by what the request
    /// says of the resource, in more than is known here.
    is_below_resources: bool,
}

impl<'a> Caller<'a> {
    fn of(asked: &'a Asked) -> Self {
        let request = &asked.request;
        let (principals, actions) =
            (above(asked, &request.principal), above(asked, &request.action));
        let callers = CALLERS.into_iter().filter_map(|name| {
            let Some(Value::Entity(caller)) = request.context.get(name) else { return None };
            Some(above(asked, caller))
        });
        let all = [principals.clone(), actions.clone()].into_iter().chain(callers);
        let is_below_resources =
            all.flatten().any(|ancestor| !OWN_TYPES.contains(&ancestor.kind().as_str()));
        Self { asked, principals, actions, is_below_resources }
    }

    /// Whether a policy could apply or err, and if so, whether by more than the resource's scope.
    fn is_concerned(&self, policy: &Policy) -> Option<bool> {
        let scopes = [self.holds(&policy.principal), self.action_holds(&policy.action)];
        if scopes.contains(&Some(false)) {
            return None;
        }
        let mut is_conditional = scopes.contains(&None);
        for (operand, kind) in operands(policy) {
            if !self.is_independent(operand) {
                is_conditional = true;
                // A forbid that errs there denies, whatever comes after it.
                if policy.effect == Effect::Forbid {
                    break;
                }
                continue;
            }
            let value = evaluate(operand, &self.asked.request, &self.asked.entities);
            match (value, policy.effect) {
                (Ok(Value::Bool(value)), _) if value == (kind == ConditionKind::When) => {}
                (Ok(Value::Bool(_)), _) | (_, Effect::Permit) => return None,
                (_, Effect::Forbid) => return Some(is_conditional),
            }
        }
        Some(is_conditional)
    }

    /// Whether the scope of the principal holds; `None` where that depends on the resource.
    fn holds(&self, scope: &Scope) -> Option<bool> {
        let principal = &self.asked.request.principal;
        let is_in = |target: &Target| match target {
            Target::Entity(uid) => self.is_among(&self.principals, uid),
            Target::Slot => Some(false),
        };
        match scope {
            Scope::Any => Some(true),
            Scope::Eq(target) => Some(*target == Target::Entity(principal.clone())),
            Scope::Is(kind) => Some(principal.kind() == kind),
            Scope::In(target) => is_in(target),
            Scope::IsIn(kind, _) if principal.kind() != kind => Some(false),
            Scope::IsIn(_, target) => is_in(target),
        }
    }

    fn action_holds(&self, scope: &ActionScope) -> Option<bool> {
        let groups = match scope {
            ActionScope::Any => return Some(true),
            ActionScope::Eq(action) => return Some(*action == self.asked.request.action),
            ActionScope::In(group) => std::slice::from_ref(group),
            ActionScope::InAny(groups) => groups,
        };
        let holds = |group| self.is_among(&self.actions, group);
        groups.iter().map(holds).max_by_key(|holds| match holds {
            Some(true) => 2,
            None => 1,
            Some(false) => 0,
        })?
    }

    fn is_among(&self, above: &HashSet<&EntityUid>, ancestor: &EntityUid) -> Option<bool> {
        let is_known = above.contains(ancestor);
        (is_known || !self.is_below_resources).then_some(is_known)
    }

    /// Whether an expression has one value, or errs, whatever the resource is and whatever the
    /// request says of it.
    fn is_independent(&self, expr: &Expr) -> bool {
        if *expr == Expr::Var(Var::Resource) {
            return false;
        }
        let reads_other = if let Expr::Attribute { of, .. }
        | Expr::Binary(BinaryOp::GetTag | BinaryOp::HasTag, of, _) = expr
        {
            !is_of_caller(of)
        } else if let Expr::Has { of, path } = expr {
            !is_of_caller(of) || path.names().len() > 1
        } else if let Expr::Binary(BinaryOp::In, of, _)
        | Expr::Is { entity: of, within: Some(_), .. } = expr
        {
            self.is_below_resources || !is_caller(of)
        } else {
            false
        };
        !reads_other && expr.parts().all(|part| self.is_independent(part))
    }
}

/// An entity and all that it is in.
fn above<'a>(asked: &'a Asked, entity: &'a EntityUid) -> HashSet<&'a EntityUid> {
    let (mut above, mut open) = (HashSet::new(), vec![entity]);
    while let Some(next) = open.pop() {
        if above.insert(next) {
            open.extend(asked.entities.get(next).iter().flat_map(|known| &known.parents));
        }
    }
    above
}

/// What has to be true or false, one after the other.
fn operands(policy: &Policy) -> impl Iterator<Item = (&Expr, ConditionKind)> {
    policy.conditions.iter().flat_map(|condition| {
        let operands = match (&condition.body, condition.kind) {
            (Expr::And(operands), ConditionKind::When) => &**operands,
            (whole, ConditionKind::When | ConditionKind::Unless) => std::slice::from_ref(whole),
        };
        operands.iter().map(|operand| (operand, condition.kind))
    })
}

/// Whether an expression is the principal, the action, or a caller in the context.
fn is_caller(expr: &Expr) -> bool {
    if let Expr::Attribute { of, name } = expr {
        return **of == Expr::Var(Var::Context) && CALLERS.contains(&&**name);
    }
    matches!(expr, Expr::Var(Var::Principal | Var::Action))
}

/// Whether an expression is a caller or the context, or a record of the context, in which no
/// attribute but the callers is an entity.
fn is_of_caller(expr: &Expr) -> bool {
    if let Expr::Attribute { of, .. } = expr {
        return !is_caller(of) && is_of_context(of);
    }
    matches!(expr, Expr::Var(Var::Principal | Var::Action | Var::Context))
}

fn is_of_context(expr: &Expr) -> bool {
    if let Expr::Attribute { of, .. } = expr {
        return !is_caller(expr) && is_of_context(of);
    }
    *expr == Expr::Var(Var::Context)
}

const CALLERS: [&str; 2] = ["workload", "user"];

#[cfg(test)]
mod tests;
