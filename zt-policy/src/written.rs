//! Policies as they were written, without keeping them twice.
//!
//! A program says all of a policy but for its conditions and for annotations other than its name:
//! a policy is made again of its rule when someone asks for it, and of its conditions, which are
//! kept. One with other annotations is kept as a whole. Which one it is is not guessed: what is not
//! made again equal to what it was, is kept.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use crate::index::RuleNo;
use crate::name::{EntityType, EntityUid};
use crate::policy::{ActionScope, Condition, Policy, Scope, Target};
use crate::program::{ActionTest, Program, Rule, ScopeTest, Tables};
use crate::symbol::{EntityNo, Mix, Symbol};

/// Policies as they were written.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    // INVARIANT: the policy of each rule of the program is kept, in their order, or is what
    // `Restorer` makes of the rule and of the conditions that are kept.
    program: Program,
    kept: Arc<[(RuleNo, Kept)]>,
}

/// What a rule does not say.
#[derive(Debug)]
enum Kept {
    Conditions(Box<[Condition]>),
    All(Box<Policy>),
}

impl Written {
    /// The policies of which `program` was compiled.
    pub(crate) fn new(policies: Vec<Policy>, program: Program) -> Self {
        let mut restorer = Restorer::of(&program);
        let mut kept = Vec::new();
        for ((policy, rule), no) in policies.into_iter().zip(&program.0.rules).zip(0..) {
            let restored = restorer.policy(rule, &policy.conditions);
            if restored.as_ref() != Some(&policy) {
                kept.push((no, Kept::All(Box::new(policy))));
            } else if !policy.conditions.is_empty() {
                kept.push((no, Kept::Conditions(policy.conditions.into())));
            }
        }
        let kept = kept.into();
        Self { program, kept }
    }

    /// The same policies, of which `program` was compiled too.
    pub(crate) fn with_program(&mut self, program: Program) {
        self.program = program;
    }

    /// All of them, in their order.
    pub(crate) fn policies(&self) -> impl Iterator<Item = Policy> {
        let mut restorer = Restorer::of(&self.program);
        let mut kept = self.kept.iter().peekable();
        self.program.0.rules.iter().zip(0..).filter_map(move |(rule, no)| {
            match kept.next_if(|(next, _)| *next == no) {
                Some((_, Kept::All(policy))) => Some(Policy::clone(policy)),
                // Never `None`: see the invariant.
                Some((_, Kept::Conditions(conditions))) => restorer.policy(rule, conditions),
                None => restorer.policy(rule, &[]),
            }
        })
    }
}

/// Makes policies of rules.
struct Restorer<'p> {
    tables: &'p Tables,
    /// Those that were made, as many entities share them.
    kinds: HashMap<Symbol, EntityType, BuildHasherDefault<Mix>>,
}

impl<'p> Restorer<'p> {
    fn of(program: &'p Program) -> Self {
        Self { tables: &program.0, kinds: HashMap::default() }
    }

    /// The policy of a rule with these conditions, as far as the rule says it.
    fn policy(&mut self, rule: &Rule, conditions: &[Condition]) -> Option<Policy> {
        let code = &self.tables.code;
        let id = rule.is_named().then(|| ("id".into(), Some(rule.id.clone())));
        Some(Policy {
            id: rule.id.clone(),
            effect: rule.effect(),
            annotations: id.into_iter().collect(),
            principal: self.scope(rule.principal(code))?,
            action: self.action(rule.action(code))?,
            resource: self.scope(rule.resource(code))?,
            conditions: conditions.to_vec(),
        })
    }

    fn scope(&mut self, test: ScopeTest) -> Option<Scope> {
        Some(match test {
            ScopeTest::Any => Scope::Any,
            ScopeTest::Eq(entity) => Scope::Eq(self.target(entity)?),
            ScopeTest::In(entity) => Scope::In(self.target(entity)?),
            ScopeTest::Is(kind) => Scope::Is(self.kind(kind)?),
            ScopeTest::IsIn(kind, entity) => Scope::IsIn(self.kind(kind)?, self.target(entity)?),
        })
    }

    fn action(&mut self, test: ActionTest) -> Option<ActionScope> {
        Some(match test {
            ActionTest::Any => ActionScope::Any,
            ActionTest::Eq(action) => ActionScope::Eq(self.entity(action)?),
            ActionTest::InAny(groups) => {
                let groups = groups.of(&self.tables.code.entities).iter();
                ActionScope::in_any(groups.map(|group| self.entity(*group)).collect::<Option<_>>()?)
            }
        })
    }

    fn target(&mut self, entity: EntityNo) -> Option<Target> {
        self.entity(entity).map(Target::Entity)
    }

    fn entity(&mut self, entity: EntityNo) -> Option<EntityUid> {
        let [kind, id] = self.tables.layer.name(entity)?;
        Some(EntityUid::new(self.kind(kind)?, self.tables.layer.text(id)?))
    }

    fn kind(&mut self, kind: Symbol) -> Option<EntityType> {
        Some(match self.kinds.entry(kind) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(place) => {
                let text = self.tables.layer.text(kind)?;
                place.insert(EntityType::parse(text).ok()?).clone()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cedar::text;
    use crate::entity::Entities;

    const POLICIES: &str = r#"
        permit (principal, action, resource);
        @id("a") permit (principal == User::"1", action == Action::"read", resource == Doc::"2");
        forbid (principal in A::Group::"1", action in Action::"any", resource in Folder::"\"");
        @id("b") @why("c") permit (principal, action, resource);
        @id("c") permit (principal is User, action in [], resource is A::B in Doc::"2");
        @why("d") permit (principal is User in Group::"", action in [Action::"x", Action::"y"], resource);
        @id("e") permit (principal, action, resource) when { true };
        @id("f") permit (principal, action in [Action::"x"], resource);
        permit (principal, action, resource) unless { resource.x == [1, "2", User::"3"] };
        @note permit (principal, action, resource);
        forbid (principal, action, resource is Doc);
    "#;

    fn written(policies: &[Policy]) -> Written {
        let program = Program::compile(policies, &Entities::new()).unwrap();
        Written::new(policies.to_vec(), program)
    }

    #[test]
    fn policies_are_what_they_were_and_only_those_are_kept_that_no_rule_says() {
        let policies = text::policies("p", POLICIES).unwrap();
        let written = written(&policies);
        assert_eq!(written.policies().collect::<Vec<_>>(), policies);
        let is_whole = |kept: &Kept| matches!(kept, Kept::All(_));
        let kept: Vec<_> = written.kept.iter().map(|(no, kept)| (*no, is_whole(kept))).collect();
        assert_eq!(kept, [(3, true), (5, true), (6, false), (8, false), (9, true)]);
    }

    #[test]
    fn a_policy_that_a_rule_says_in_other_words_is_kept() {
        let mut policies = text::policies("p", POLICIES).unwrap();
        let ActionScope::In(group) = policies[7].action.clone() else { panic!("one group") };
        policies[7].action = ActionScope::InAny(vec![group]);
        policies[1].annotations.insert("id".into(), Some("another".into()));
        policies[10].annotations.insert("id".into(), None);
        let written = written(&policies);
        assert_eq!(written.policies().collect::<Vec<_>>(), policies);
        assert_eq!(written.kept.len(), 8);
    }
}
