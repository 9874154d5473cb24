//! From policies and entities to a [`Program`].
//!
//! Policies are compiled when none is a template and none is nested more than [`MAX_DEPTH`] deep.
//! What is constant is evaluated here, unless that errs: then it errs when it is asked.

mod hoist;
mod post;

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::quality::RandomState;
use zt_core::fault::Fault;

use self::hoist::{Choice, Paths};
use self::post::{kind_choices, post, scope_choices};
use crate::entity::Entities;
use crate::evaluate::default::{DefaultEffect, Side};
use crate::expr::{Expr, Function, Literal, MAX_DEPTH, Var};
use crate::index::Index;
use crate::name::EntityUid;
use crate::policy::{ActionScope, ConditionKind, Policy, Scope, Target};
use crate::program::{
    ActionTest, Code, Node, NodeNo, Program, Rule, ScopeTest, Selection, Tables, Vocabulary,
};
use crate::symbol::{
    Capacity, EntityNo, Facts, Full, Kind, Layer, Span, Store, Symbol, Term, Workbench, at, number,
    trim,
};
use crate::term::call;

/// The most entities that one entity may be in, directly or not.
///
/// A request asks the index for each of them. Where there are more, an answer that depends on them
/// is an error.
pub const MAX_ANCESTORS: usize = 4_096;

/// The most that all entities together may be in: 256 MiB of numbers.
const MAX_ALL_ANCESTORS: usize = 64 * 1024 * 1024;

/// A program takes what 32 bits can count.
const UNBOUNDED: Capacity = Capacity { things: usize::MAX, bytes: usize::MAX, items: usize::MAX };

impl Program {
    /// Compiles policies over the entities that every request sees.
    ///
    /// # Errors
    ///
    /// [`CompileError`] where a policy is not fit for it, or there is too much of something.
    ///
    /// ```
    /// use zt_policy::cedar::text;
    /// use zt_policy::entity::Entities;
    /// use zt_policy::program::Program;
    ///
    /// let policies = text::policies("all", "permit (principal, action, resource);")?;
    /// let program = Program::compile(&policies, &Entities::new())?;
    /// assert_eq!(program.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn compile(policies: &[Policy], entities: &Entities) -> Result<Self, CompileError> {
        Self::compile_with_default(policies, entities, DefaultEffect::Deny)
    }

    /// As [`compile`](Self::compile), with another answer where no policy applies.
    ///
    /// # Errors
    ///
    /// As [`compile`](Self::compile).
    pub fn compile_with_default(
        policies: &[Policy],
        entities: &Entities,
        default_effect: DefaultEffect,
    ) -> Result<Self, CompileError> {
        for policy in policies {
            check(policy)?;
        }
        let mut layer = Layer::default();
        let (base, hasher) = (Layer::default(), RandomState::default());
        let store = Store::new(&base, &mut layer, &hasher, UNBOUNDED);
        let mut compiler = Compiler {
            store,
            bench: Workbench::default(),
            code: Code::default(),
            paths: Paths::default(),
            choices: Vec::new(),
        };
        compiler.store.record(&mut [])?;
        let vocabulary = Vocabulary::new(|word| compiler.store.symbol(word))?;
        let mut rules = Vec::with_capacity(policies.len());
        for policy in policies {
            rules.push(compiler.rule(policy)?);
        }
        let known = compiler.entities(entities)?;
        let Compiler { mut code, paths, choices, .. } = compiler;
        code.shrink();
        let (facts, above, ancestors) = close(&layer, known)?;
        let count = layer.entities().count();
        let index = Index::new(post(&rules, &choices, &code), paths.all, count)?;
        let kinds = kinds(&layer, &rules, &code);
        layer.shrink()?;
        let selection = selection(default_effect, &rules, &code);
        let tables = Tables {
            hasher,
            layer,
            vocabulary,
            kinds,
            rules,
            code,
            facts,
            above,
            ancestors,
            index,
            selection,
        };
        Ok(Self(Arc::new(tables)))
    }
}

fn selection(default_effect: DefaultEffect, rules: &[Rule], code: &Code) -> Option<Selection> {
    let DefaultEffect::AllowUnselected(side) = default_effect else { return None };
    let scopes = rules.iter().map(|rule| match side {
        Side::Principal => rule.principal(code),
        Side::Resource => rule.resource(code),
    });
    Some(Selection::of(side, scopes))
}

/// For each text what there is of it as a type.
fn kinds(layer: &Layer, rules: &[Rule], code: &Code) -> Vec<Kind> {
    let mut kinds = layer.kinds();
    let scopes = rules.iter().flat_map(|rule| [rule.principal(code), rule.resource(code)]);
    for kind in scopes.map(ScopeTest::kind) {
        if let Some(kind) = kind.and_then(|kind| kinds.get_mut(kind.at())) {
            kind.is_named = true;
        }
    }
    trim(&mut kinds);
    kinds
}

fn check(policy: &Policy) -> Result<(), CompileError> {
    if policy.is_template() {
        return Err(CompileError::Template { policy: policy.id.clone() });
    }
    if policy.conditions.iter().any(|condition| condition.body.is_deeper_than(MAX_DEPTH)) {
        return Err(CompileError::TooDeep { policy: policy.id.clone() });
    }
    Ok(())
}

/// Why policies are not compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// A template is not linked.
    #[error("{policy:?} is a template, which has no effect until it is linked")]
    Template {
        /// The template.
        policy: Arc<str>,
    },
    /// An expression is nested too deeply.
    #[error("policy {policy:?} is nested more than {MAX_DEPTH} deep")]
    TooDeep {
        /// The policy.
        policy: Arc<str>,
    },
    /// There is more than a program can hold.
    #[error("policies and entities are more than a program can hold")]
    TooMuch,
}

impl CompileError {
    /// Whose fault it is: whoever wrote the policies.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

impl From<Full> for CompileError {
    fn from(_: Full) -> Self {
        Self::TooMuch
    }
}

/// What the base says of one entity.
type Known = (EntityNo, Facts, Vec<EntityNo>);

struct Compiler<'a> {
    store: Store<'a>,
    bench: Workbench,
    code: Code,
    paths: Paths,
    /// For each policy where it could be posted.
    choices: Vec<Vec<Choice>>,
}

impl Compiler<'_> {
    fn rule(&mut self, policy: &Policy) -> Result<Rule, Full> {
        let (principal, resource) = (self.scope(&policy.principal)?, self.scope(&policy.resource)?);
        let action = self.action(&policy.action)?;
        let mut choices = scope_choices(principal, resource);
        choices.extend(self.choices(policy.effect, &policy.conditions)?);
        choices.extend(kind_choices(principal, resource));
        self.choices.push(choices);
        let mut conditions = Vec::with_capacity(policy.conditions.len());
        for condition in &policy.conditions {
            let node = self.node(&condition.body)?;
            conditions.push((node, condition.kind == ConditionKind::When));
        }
        let is_conditional = !conditions.is_empty();
        let conditions = append(&mut self.code.conditions, conditions)?;
        // Nowhere, where there are none, so that it can be trimmed.
        self.code.conditions_of.push(if is_conditional { conditions } else { Span::default() });
        let scopes = (principal, action, resource);
        let rule = Rule::new(policy.id.clone(), policy.effect, scopes, &mut self.code)?;
        let rule = if is_conditional { rule.conditional() } else { rule };
        let is_named = policy.annotations.len() == 1
            && policy.annotations.get("id").is_some_and(|id| id.as_ref() == Some(&policy.id));
        Ok(if is_named { rule.named() } else { rule })
    }

    fn scope(&mut self, scope: &Scope) -> Result<ScopeTest, Full> {
        Ok(match scope {
            Scope::Any => ScopeTest::Any,
            Scope::Eq(target) => ScopeTest::Eq(self.target(target)?),
            Scope::In(target) => ScopeTest::In(self.target(target)?),
            Scope::Is(kind) => ScopeTest::Is(self.store.symbol(kind.as_str())?),
            Scope::IsIn(kind, target) => {
                ScopeTest::IsIn(self.store.symbol(kind.as_str())?, self.target(target)?)
            }
        })
    }

    fn target(&mut self, target: &Target) -> Result<EntityNo, Full> {
        match target {
            Target::Entity(uid) => self.store.uid(uid),
            // `check` has refused templates.
            Target::Slot => Err(Full),
        }
    }

    fn action(&mut self, scope: &ActionScope) -> Result<ActionTest, Full> {
        let groups = match scope {
            ActionScope::Any => return Ok(ActionTest::Any),
            ActionScope::Eq(action) => return Ok(ActionTest::Eq(self.store.uid(action)?)),
            ActionScope::In(group) => std::slice::from_ref(group),
            ActionScope::InAny(groups) => groups,
        };
        let groups = self.uids(groups)?;
        Ok(ActionTest::InAny(append(&mut self.code.entities, groups)?))
    }

    fn uids<'u>(
        &mut self,
        uids: impl IntoIterator<Item = &'u EntityUid>,
    ) -> Result<Vec<EntityNo>, Full> {
        uids.into_iter().map(|uid| self.store.uid(uid)).collect()
    }

    fn add(&mut self, node: Node) -> Result<NodeNo, Full> {
        let place = number(self.code.nodes.len())?;
        self.code.nodes.push(node);
        Ok(place)
    }

    /// It recurses as deep as the expression is nested, which `check` has bounded.
    fn node(&mut self, expr: &Expr) -> Result<NodeNo, Full> {
        let node = match expr {
            Expr::Literal(literal) => Node::Constant(self.literal(literal)?),
            Expr::Var(var) => self.var(*var),
            Expr::Not(operand) => Node::Not(self.node(operand)?),
            Expr::Neg(operand) => Node::Neg(self.node(operand)?),
            Expr::And(operands) => Node::And(self.nodes(operands)?),
            Expr::Or(operands) => Node::Or(self.nodes(operands)?),
            Expr::If { test, then, otherwise } => Node::If {
                test: self.node(test)?,
                then: self.node(then)?,
                otherwise: self.node(otherwise)?,
            },
            Expr::Binary(op, left, right) => Node::Binary(*op, self.node(left)?, self.node(right)?),
            Expr::IsEmpty(members) => Node::IsEmpty(self.node(members)?),
            Expr::Attribute { of, name } => {
                Node::Attribute(self.attributed(of)?, self.attribute(name)?)
            }
            Expr::Has { of, path } => {
                let of = self.attributed(of)?;
                let names = path.names().iter().map(|name| self.attribute(name));
                let names = names.collect::<Result<Vec<_>, Full>>()?;
                Node::Has(of, append(&mut self.code.names, names)?)
            }
            Expr::Like { text, pattern } => {
                let place = number(self.code.patterns.len())?;
                self.code.patterns.push(pattern.clone());
                Node::Like(self.node(text)?, place)
            }
            Expr::Is { entity, kind, within } => {
                let within = within.as_deref().map(|within| self.node(within)).transpose()?;
                Node::Is(self.node(entity)?, self.store.symbol(kind.as_str())?, within)
            }
            Expr::Set(members) => self.set(members)?,
            Expr::Record(fields) => {
                let mut nodes = Vec::with_capacity(fields.len());
                for (name, value) in fields {
                    nodes.push((self.store.symbol(name)?, self.node(value)?));
                }
                self.record(nodes)?
            }
            Expr::Call(function, arguments) => self.call(*function, arguments)?,
        };
        self.add(node)
    }

    fn nodes(&mut self, exprs: &[Expr]) -> Result<Span, Full> {
        let nodes = exprs.iter().map(|expr| self.node(expr)).collect::<Result<Vec<_>, _>>()?;
        append(&mut self.code.children, nodes)
    }

    fn literal(&mut self, literal: &Literal) -> Result<Term, Full> {
        Ok(match literal {
            Literal::Bool(value) => Term::Bool(*value),
            Literal::Long(value) => Term::Long(*value),
            Literal::String(value) => Term::Text(self.store.symbol(value)?),
            Literal::Entity(value) => Term::Entity(self.store.uid(value)?),
        })
    }

    fn var(&mut self, var: Var) -> Node {
        match var {
            Var::Principal => Node::Principal,
            Var::Action => Node::Action,
            Var::Resource => Node::Resource,
            Var::Context => {
                self.code.reads_whole_context = true;
                Node::Context
            }
        }
    }

    /// What an attribute is asked of: of the context it is one attribute, not all of it.
    fn attributed(&mut self, of: &Expr) -> Result<NodeNo, Full> {
        if *of == Expr::Var(Var::Context) { self.add(Node::Context) } else { self.node(of) }
    }

    fn attribute(&mut self, name: &str) -> Result<Symbol, Full> {
        let name = self.store.symbol(name)?;
        if self.code.read.len() <= name.at() {
            self.code.read.resize(name.at().saturating_add(1), false);
        }
        if let Some(read) = self.code.read.get_mut(name.at()) {
            *read = true;
        }
        Ok(name)
    }

    fn constant(&self, node: NodeNo) -> Option<Term> {
        let Node::Constant(term) = self.code.nodes.get(at(node))? else { return None };
        Some(*term)
    }

    fn set(&mut self, members: &[Expr]) -> Result<Node, Full> {
        let nodes = self.nodes(members)?;
        let constants: Option<Vec<Term>> =
            nodes.of(&self.code.children).iter().map(|node| self.constant(*node)).collect();
        Ok(match constants {
            Some(mut members) => Node::Constant(Term::Set(self.store.set(&mut members)?)),
            None => Node::Set(nodes),
        })
    }

    fn record(&mut self, nodes: Vec<(Symbol, NodeNo)>) -> Result<Node, Full> {
        let constant = |(name, node): &(Symbol, NodeNo)| Some((*name, self.constant(*node)?));
        let constants: Option<Vec<_>> = nodes.iter().map(constant).collect();
        Ok(match constants {
            Some(mut fields) => Node::Constant(Term::Record(self.store.record(&mut fields)?)),
            None => Node::Record(append(&mut self.code.fields, nodes)?),
        })
    }

    fn call(&mut self, function: Function, arguments: &[Expr]) -> Result<Node, Full> {
        let nodes = self.nodes(arguments)?;
        let constants: Option<Vec<Term>> =
            nodes.of(&self.code.children).iter().map(|node| self.constant(*node)).collect();
        let value = constants.and_then(|constants| call(function, &constants, &self.store).ok());
        Ok(value.map_or(Node::Call(function, nodes), Node::Constant))
    }

    /// After the policies, as only attributes that these read are kept.
    fn entities(&mut self, entities: &Entities) -> Result<Vec<Known>, Full> {
        let mut known = Vec::new();
        for entity in entities.iter() {
            let number = self.store.uid(&entity.uid)?;
            let parents = self.uids(&entity.parents)?;
            let code = &self.code;
            let read = |name| code.reads(name);
            let facts = Facts::of(entity, &mut self.bench, &mut self.store, read)?;
            known.push((number, facts, parents));
        }
        Ok(known)
    }
}

fn append<T>(list: &mut Vec<T>, items: Vec<T>) -> Result<Span, Full> {
    let start = list.len();
    list.extend(items);
    Span::new(start, list.len())
}

type Closed = (Vec<Option<Facts>>, Vec<Span>, Vec<EntityNo>);

/// For each entity, what is known of it and all that it is in.
fn close(layer: &Layer, known: Vec<Known>) -> Result<Closed, Full> {
    let count = layer.entities().count();
    let (mut facts, mut above) = (vec![None; count], vec![Span::default(); count]);
    let mut parents = HashMap::with_capacity(known.len());
    for (entity, fact, direct) in known {
        if let Some(place) = facts.get_mut(entity.at()) {
            *place = Some(fact);
        }
        parents.insert(entity, direct);
    }
    let (mut ancestors, mut own) = (Vec::new(), Vec::new());
    // Who has seen an entity last, so that nothing has to be forgotten between two of them.
    let mut seen_by = vec![None; count];
    for (entity, place) in layer.entities().zip(&mut above) {
        own.clear();
        let mut open: Vec<EntityNo> = vec![entity];
        while let Some(next) = open.pop() {
            for parent in parents.get(&next).into_iter().flatten() {
                let seen = seen_by.get_mut(parent.at()).ok_or(Full)?;
                if seen.replace(entity) != Some(entity) {
                    own.push(*parent);
                    open.push(*parent);
                }
            }
        }
        own.sort_unstable();
        let start = ancestors.len();
        ancestors.extend_from_slice(&own);
        if ancestors.len() > MAX_ALL_ANCESTORS {
            return Err(Full);
        }
        // Nowhere, where there are none, so that it can be trimmed.
        if start < ancestors.len() {
            *place = Span::new(start, ancestors.len())?;
        }
    }
    trim(&mut facts);
    trim(&mut above);
    ancestors.shrink_to_fit();
    Ok((facts, above, ancestors))
}
