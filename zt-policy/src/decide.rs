//! What a [`Program`] answers.
//!
//! The answer is that of [`evaluate`](crate::evaluate), found in another order:
//!
//! 1. the request and what it knows of its entities is numbered;
//! 2. the index shows the policies that it does not rule out;
//! 3. of these, each whose answer could still matter is asked: its scope, then its conditions;
//! 4. the first forbid that applies denies, then the first that errs, then the first permit that
//!    applies allows.
//!
//! All of it happens in a [`Scratch`], whose memory the next decision uses again: once it has grown
//! to what requests need, nothing is allocated.
//!
//! # Limits
//!
//! What a request brings is limited to [`MAX_TEXT`] bytes of texts, [`MAX_ITEMS`] members of sets
//! and as many fields of records, those included that the evaluation of one policy makes, to [`MAX_OVERLAY`]
//! entities, and each of its entities to [`MAX_ANCESTORS`] that it is in. Beyond, the answer is
//! [`Outcome::OverLimit`], which denies.

use std::sync::Arc;

use crate::compile::MAX_ANCESTORS;
use crate::entity::{Entities, Entity, Request};
use crate::evaluate::default::Side;
use crate::evaluate::{OnForbidError, Outcome};
use crate::expr::{BinaryOp, Function, Var};
use crate::index::{Path, RuleNo};
use crate::policy::Effect;
use crate::program::{ActionTest, Node, NodeNo, Program, Rule, ScopeTest, Tables};
use crate::symbol::{
    Capacity, EntityNo, Facts, Layer, Mark, RecordNo, Span, Store, Symbol, Term, Workbench, at,
};
use crate::term::{self, Stop, boolean, entity, long, text};

/// The most bytes that all texts of one request may have together.
pub const MAX_TEXT: usize = 1024 * 1024;

/// The most members that all sets of one request may have together, and the most fields that all
/// records may.
pub const MAX_ITEMS: usize = 64 * 1024;

/// The most entities that one request may know something about.
pub const MAX_OVERLAY: usize = 64;

/// As [`MAX_ANCESTORS`], before those that are reached on several ways are counted once.
const MAX_ALL_CLIMBED: usize = 4 * MAX_ANCESTORS;

const CAPACITY: Capacity = Capacity { things: MAX_ITEMS, bytes: MAX_TEXT, items: MAX_ITEMS };

/// The memory of decisions, used again by the next.
#[derive(Debug, Default)]
pub struct Scratch {
    layer: Layer,
    bench: Workbench,
    overlay: Vec<Overlaid>,
    parents: Vec<EntityNo>,
    above: [Vec<EntityNo>; 3],
    climb: Vec<EntityNo>,
    joined: String,
    found: Vec<Span>,
    asked: usize,
}

/// What a request knows of an entity besides the program.
#[derive(Clone, Copy, Debug)]
struct Overlaid {
    entity: EntityNo,
    facts: Facts,
    /// Places in [`Scratch::parents`].
    parents: Span,
}

impl Scratch {
    /// With no memory yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many policies the last answer has asked: those that the index could not rule out, but
    /// for those whose answer could change nothing any more.
    #[must_use]
    pub const fn asked(&self) -> usize {
        self.asked
    }
}

/// How much a [`Run`] knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    overlaid: usize,
    parents: usize,
    made: Mark,
}

/// What is asked, as numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) principal: EntityNo,
    pub(crate) action: EntityNo,
    pub(crate) resource: EntityNo,
    pub(crate) context: RecordNo,
}

/// Which policies apply to one request, and which err, in the order of the set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counted {
    /// The permits that apply.
    pub permits: Vec<Arc<str>>,
    /// The forbids that apply.
    pub forbids: Vec<Arc<str>>,
    /// The policies that err.
    pub errors: Vec<Arc<str>>,
}

impl Program {
    /// The answer to one request, of which `overlay` knows more than the program: entities of its
    /// [own](Entities::own), whose attributes and parents are added to those of the program.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use zt_policy::cedar::text;
    /// use zt_policy::decide::Scratch;
    /// use zt_policy::entity::{Entities, Request};
    /// use zt_policy::evaluate::{OnForbidError, Outcome};
    /// use zt_policy::name::{EntityType, EntityUid};
    /// use zt_policy::program::Program;
    ///
    /// let policies = text::policies("p", r#"@id("all") permit (principal, action, resource);"#)?;
    /// let program = Program::compile(&policies, &Entities::new())?;
    /// let uid = |kind, id| Ok::<_, Box<dyn std::error::Error>>(EntityUid::new(EntityType::parse(kind)?, id));
    /// let request = Request {
    ///     principal: uid("User", "alice")?,
    ///     action: uid("Action", "read")?,
    ///     resource: uid("Doc", "d")?,
    ///     context: Arc::default(),
    /// };
    /// let mut scratch = Scratch::new();
    /// let outcome = program.decide(&mut scratch, &request, &Entities::new(), OnForbidError::Deny);
    /// assert_eq!(outcome, Outcome::Allow { policy: "all".into() });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn decide(
        &self,
        scratch: &mut Scratch,
        request: &Request,
        overlay: &Entities,
        on_forbid_error: OnForbidError,
    ) -> Outcome {
        let mut answer = || {
            let mut run = Run::begin(&self.0, scratch)?;
            let asked = run.load(request, overlay)?;
            run.outcome(asked, on_forbid_error)
        };
        answer().unwrap_or(Outcome::OverLimit)
    }

    /// Asks every policy, without an index: for explaining and for tests. `None` beyond a
    /// [limit](self#limits).
    #[must_use]
    pub fn count(
        &self,
        scratch: &mut Scratch,
        request: &Request,
        overlay: &Entities,
    ) -> Option<Counted> {
        let mut count = || {
            let mut run = Run::begin(&self.0, scratch)?;
            let asked = run.load(request, overlay)?;
            run.count(asked)
        };
        count().ok()
    }
}

/// One request against one program.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    tables: &'a Tables,
    pub(crate) store: Store<'a>,
    pub(crate) bench: &'a mut Workbench,
    overlay: &'a mut Vec<Overlaid>,
    parents: &'a mut Vec<EntityNo>,
    above: &'a mut [Vec<EntityNo>; 3],
    climb: &'a mut Vec<EntityNo>,
    joined: &'a mut String,
    found: &'a mut Vec<Span>,
    asked: &'a mut usize,
}

impl<'a> Run<'a> {
    /// Forgets what the scratch holds.
    ///
    /// # Errors
    ///
    /// [`Stop::Full`] where the program leaves no numbers.
    pub(crate) fn begin(tables: &'a Tables, scratch: &'a mut Scratch) -> Result<Self, Stop> {
        let Scratch { layer, bench, overlay, parents, above, climb, joined, found, asked } =
            scratch;
        layer.begin(&tables.layer)?;
        bench.clear();
        overlay.clear();
        parents.clear();
        let store = Store::new(&tables.layer, layer, &tables.hasher, CAPACITY);
        Ok(Self { tables, store, bench, overlay, parents, above, climb, joined, found, asked })
    }

    /// The program.
    pub(crate) const fn tables(&self) -> &'a Tables {
        self.tables
    }

    /// Numbers a request and what it knows.
    ///
    /// # Errors
    ///
    /// [`Stop::Full`] beyond a limit.
    pub(crate) fn load(&mut self, request: &Request, overlay: &Entities) -> Result<Asked, Stop> {
        for entity in overlay.own() {
            self.know(entity)?;
        }
        let code = &self.tables.code;
        let wanted = |name| code.reads_whole_context || code.reads(name);
        self.bench.fields(&request.context, &mut self.store, wanted)?;
        Ok(Asked {
            principal: self.store.uid(&request.principal)?,
            action: self.store.uid(&request.action)?,
            resource: self.store.uid(&request.resource)?,
            context: self.context()?,
        })
    }

    fn know(&mut self, entity: &Entity) -> Result<(), Stop> {
        let code = &self.tables.code;
        let facts = Facts::of(entity, self.bench, &mut self.store, |name| code.reads(name))?;
        let number = self.store.uid(&entity.uid)?;
        let start = self.parents.len();
        for parent in &entity.parents {
            let parent = self.store.uid(parent)?;
            self.parents.push(parent);
        }
        self.overlay(number, facts, start)
    }

    /// Adds a parent of the entity that is next overlaid.
    pub(crate) fn parent(&mut self, parent: EntityNo) {
        self.parents.push(parent);
    }

    /// How many parents there are.
    pub(crate) const fn parents(&self) -> usize {
        self.parents.len()
    }

    /// Knows more of an entity: facts, and the parents added since there were `parents`.
    ///
    /// # Errors
    ///
    /// [`Stop::Full`] beyond a limit.
    pub(crate) fn overlay(
        &mut self,
        entity: EntityNo,
        facts: Facts,
        parents: usize,
    ) -> Result<(), Stop> {
        // An entity that is known and has nothing reads like one that is not known.
        let has_facts = [facts.attributes, facts.tags] != [RecordNo::EMPTY; 2];
        if !has_facts && parents == self.parents.len() {
            return Ok(());
        }
        if self.overlay.len() >= MAX_OVERLAY {
            return Err(Stop::Full);
        }
        let parents = Span::new(parents, self.parents.len())?;
        self.overlay.push(Overlaid { entity, facts, parents });
        Ok(())
    }

    /// How much is known, so that what is known later can be forgotten.
    pub(crate) const fn mark(&self) -> Known {
        Known { overlaid: self.overlay.len(), parents: self.parents.len(), made: self.store.mark() }
    }

    /// Forgets what was known since, but for the numbers of texts and entities.
    pub(crate) fn forget(&mut self, since: Known) {
        self.bench.clear();
        self.overlay.truncate(since.overlaid);
        self.parents.truncate(since.parents);
        self.store.rewind(since.made);
    }

    /// The context of the fields that lie on the bench.
    ///
    /// # Errors
    ///
    /// [`Stop::Full`] beyond a limit.
    pub(crate) fn context(&mut self) -> Result<RecordNo, Stop> {
        let context = if self.tables.code.reads_whole_context {
            self.bench.record(0, &mut self.store)?
        } else {
            self.bench.own_record(0, &mut self.store)?
        };
        Ok(context)
    }

    /// The symbol of a text in parts.
    ///
    /// # Errors
    ///
    /// [`Stop::Full`] beyond a limit.
    pub(crate) fn joined(&mut self, parts: &[&str]) -> Result<Symbol, Stop> {
        self.joined.clear();
        parts.iter().for_each(|part| self.joined.push_str(part));
        Ok(self.store.symbol(self.joined)?)
    }

    /// The answer.
    ///
    /// # Errors
    ///
    /// [`Stop::Full`] beyond a limit.
    pub(crate) fn outcome(
        &mut self,
        asked: Asked,
        on_forbid_error: OnForbidError,
    ) -> Result<Outcome, Stop> {
        self.climb_all(asked)?;
        let above = std::mem::take(self.above);
        let first = self.first(asked, &above, on_forbid_error);
        let outcome = first.map(|first| {
            let outcome = first.outcome(self.tables, on_forbid_error);
            let is_open = outcome == Outcome::NotPermitted && self.is_unselected(asked, &above);
            if is_open { Outcome::AllowByDefault } else { outcome }
        });
        *self.above = above;
        outcome
    }

    /// Whether it is allowed where no policy applies.
    fn is_unselected(&self, asked: Asked, [principals, _, resources]: &[Vec<EntityNo>; 3]) -> bool {
        let Some(selection) = &self.tables.selection else { return false };
        let (entity, above) = match selection.side {
            Side::Principal => (asked.principal, principals),
            Side::Resource => (asked.resource, resources),
        };
        !selection.selects(entity, self.store.kind(entity), above)
    }

    fn first(
        &mut self,
        asked: Asked,
        above: &[Vec<EntityNo>; 3],
        on_forbid_error: OnForbidError,
    ) -> Result<First, Stop> {
        let tables = self.tables;
        let frame = Frame { asked, above };
        self.find(&frame)?;
        let mut first = First::default();
        *self.asked = 0;
        for place in 0..self.found.len() {
            let list = self.found.get(place).copied().unwrap_or_default();
            for no in tables.index.rules(list) {
                let Some(rule) = tables.rules.get(at(*no)) else { continue };
                if !first.could_change(rule.effect, *no, on_forbid_error) {
                    continue;
                }
                *self.asked = self.asked.saturating_add(1);
                match self.applies(rule, &frame) {
                    Ok(true) => first.applies(rule.effect, *no),
                    Ok(false) => {}
                    Err(Stop::Error) => first.errs(rule.effect, *no),
                    Err(Stop::Full) => return Err(Stop::Full),
                }
            }
        }
        Ok(first)
    }

    /// Finds the lists of the policies that the index does not rule out.
    fn find(&mut self, frame: &Frame<'_>) -> Result<(), Stop> {
        let index = &self.tables.index;
        let [principals, actions, resources] = frame.above;
        self.found.clear();
        index.find(principals, actions, resources, self.found);
        for path in &index.paths {
            let value = self.follow(&path.path, frame.asked);
            index.narrow(path.equal(value), actions, self.found);
            if !path.has_within() {
                continue;
            }
            let Some(Term::Entity(entity)) = value else {
                index.narrow(path.not_an_entity(), actions, self.found);
                continue;
            };
            self.above_of(entity, frame)?;
            for place in 0..self.known_above(entity, frame).len() {
                let ancestor = self.known_above(entity, frame).get(place).copied();
                let list = ancestor.map_or(Span::default(), |ancestor| path.within(ancestor));
                index.narrow(list, actions, self.found);
            }
        }
        Ok(())
    }

    /// The value of a path, unless reading it errs.
    fn follow(&self, path: &Path, asked: Asked) -> Option<Term> {
        let root = match path.root {
            Var::Principal => Term::Entity(asked.principal),
            Var::Action => Term::Entity(asked.action),
            Var::Resource => Term::Entity(asked.resource),
            Var::Context => Term::Record(asked.context),
        };
        path.names.iter().try_fold(root, |at, name| self.attribute_of(at, *name).ok().flatten())
    }

    fn count(&mut self, asked: Asked) -> Result<Counted, Stop> {
        self.climb_all(asked)?;
        let tables = self.tables;
        let above = std::mem::take(self.above);
        let mut counted = Counted::default();
        for rule in &tables.rules {
            let id = rule.id.clone();
            match (self.applies(rule, &Frame { asked, above: &above }), rule.effect) {
                (Ok(true), Effect::Permit) => counted.permits.push(id),
                (Ok(true), Effect::Forbid) => counted.forbids.push(id),
                (Ok(false), _) => {}
                (Err(Stop::Error), _) => counted.errors.push(id),
                (Err(Stop::Full), _) => return Err(Stop::Full),
            }
        }
        *self.above = above;
        Ok(counted)
    }

    /// Finds all that principal, action and resource are in.
    fn climb_all(&mut self, asked: Asked) -> Result<(), Stop> {
        for (place, entity) in
            [asked.principal, asked.action, asked.resource].into_iter().enumerate()
        {
            self.climb(entity)?;
            if let Some(above) = self.above.get_mut(place) {
                std::mem::swap(above, self.climb);
            }
        }
        Ok(())
    }

    /// Finds an entity and all that it is in, sorted, in `climb`.
    fn climb(&mut self, entity: EntityNo) -> Result<(), Stop> {
        self.climb.clear();
        self.climb.push(entity);
        self.climb.extend_from_slice(self.tables.above(entity));
        let mut followed = 0_u64;
        while let Some(parents) = self.next_overlaid(&mut followed) {
            for parent in parents.of(self.parents) {
                if !self.climb.contains(parent) {
                    self.climb.push(*parent);
                    self.climb.extend_from_slice(self.tables.above(*parent));
                }
                if self.climb.len() > MAX_ALL_CLIMBED {
                    return Err(Stop::Full);
                }
            }
        }
        self.climb.sort_unstable();
        self.climb.dedup();
        if self.climb.len() > MAX_ANCESTORS { Err(Stop::Full) } else { Ok(()) }
    }

    /// The parents of an overlaid entity that was climbed to and is not followed yet.
    fn next_overlaid(&self, followed: &mut u64) -> Option<Span> {
        // One bit for each of at most MAX_OVERLAY.
        let bits = std::iter::successors(Some(1_u64), |bit| bit.checked_shl(1));
        let (bit, overlaid) = bits.zip(self.overlay.iter()).find(|(bit, overlaid)| {
            *followed & bit == 0
                && !overlaid.parents.is_empty()
                && self.climb.contains(&overlaid.entity)
        })?;
        *followed |= bit;
        Some(overlaid.parents)
    }

    /// Whether a policy applies. The sets and records that it has made are gone afterwards, so
    /// that the next has as much room.
    fn applies(&mut self, rule: &Rule, frame: &Frame<'_>) -> Result<bool, Stop> {
        let mark = self.store.mark();
        let applies = self.holds(rule, frame);
        self.store.rewind(mark);
        applies
    }

    fn holds(&mut self, rule: &Rule, frame: &Frame<'_>) -> Result<bool, Stop> {
        let ([principals, actions, resources], asked) = (frame.above, frame.asked);
        let in_scope = self.in_scope(rule.principal, asked.principal, principals)
            && self.in_action_scope(rule.action, asked.action, actions)
            && self.in_scope(rule.resource, asked.resource, resources);
        if !in_scope {
            return Ok(false);
        }
        for (node, wanted) in rule.conditions.of(&self.tables.code.conditions) {
            let holds = self.value(*node, frame);
            // What a condition leaves behind when it errs is of no use to the next.
            self.bench.clear();
            if boolean(holds?)? != *wanted {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn in_scope(&self, test: ScopeTest, entity: EntityNo, above: &[EntityNo]) -> bool {
        let is_in = |ancestor| above.binary_search(&ancestor).is_ok();
        let is = |kind| self.store.kind(entity) == Some(kind);
        match test {
            ScopeTest::Any => true,
            ScopeTest::Eq(wanted) => entity == wanted,
            ScopeTest::In(ancestor) => is_in(ancestor),
            ScopeTest::Is(kind) => is(kind),
            ScopeTest::IsIn(kind, ancestor) => is(kind) && is_in(ancestor),
        }
    }

    fn in_action_scope(&self, test: ActionTest, action: EntityNo, above: &[EntityNo]) -> bool {
        match test {
            ActionTest::Any => true,
            ActionTest::Eq(wanted) => action == wanted,
            ActionTest::InAny(groups) => {
                let groups = groups.of(&self.tables.code.entities);
                groups.iter().any(|group| above.binary_search(group).is_ok())
            }
        }
    }
}

/// The first policies that count.
#[derive(Debug, Default)]
struct First {
    forbid: Option<RuleNo>,
    error: Option<RuleNo>,
    permit: Option<RuleNo>,
}

impl First {
    fn could_change(&self, effect: Effect, no: RuleNo, on_forbid_error: OnForbidError) -> bool {
        let before = |first: Option<RuleNo>| first.is_none_or(|first| no < first);
        match effect {
            Effect::Forbid => before(self.forbid),
            Effect::Permit => {
                let denied = self.forbid.is_some()
                    || (self.error.is_some() && on_forbid_error == OnForbidError::Deny);
                !denied && before(self.permit)
            }
        }
    }

    fn applies(&mut self, effect: Effect, no: RuleNo) {
        let first = match effect {
            Effect::Forbid => &mut self.forbid,
            Effect::Permit => &mut self.permit,
        };
        *first = Some(first.map_or(no, |first| first.min(no)));
    }

    fn errs(&mut self, effect: Effect, no: RuleNo) {
        // A permit that errs permits nothing, as if it did not apply.
        if effect == Effect::Forbid {
            self.error = Some(self.error.map_or(no, |first| first.min(no)));
        }
    }

    fn outcome(&self, tables: &Tables, on_forbid_error: OnForbidError) -> Outcome {
        let name = |no: RuleNo| tables.rules.get(at(no)).map(|rule| rule.id.clone());
        let forbid = self.forbid.and_then(name);
        let error = self.error.filter(|_| on_forbid_error == OnForbidError::Deny).and_then(name);
        match (forbid, error, self.permit.and_then(name)) {
            (Some(policy), ..) => Outcome::Forbidden { policy },
            (None, Some(policy), _) => Outcome::Error { policy },
            (None, None, Some(policy)) => Outcome::Allow { policy },
            (None, None, None) => Outcome::NotPermitted,
        }
    }
}

/// What stays the same while one request is evaluated.
#[derive(Debug)]
struct Frame<'f> {
    asked: Asked,
    /// What principal, action and resource are in.
    above: &'f [Vec<EntityNo>; 3],
}

type Evaluated = Result<Term, Stop>;

impl Run<'_> {
    /// It recurses as deep as the policy is nested, which was bounded when it was compiled.
    fn value(&mut self, node: NodeNo, frame: &Frame<'_>) -> Evaluated {
        let code = &self.tables.code;
        let node = *code.nodes.get(at(node)).ok_or(Stop::Full)?;
        match node {
            Node::Constant(term) => Ok(term),
            Node::Principal => Ok(Term::Entity(frame.asked.principal)),
            Node::Action => Ok(Term::Entity(frame.asked.action)),
            Node::Resource => Ok(Term::Entity(frame.asked.resource)),
            Node::Context => Ok(Term::Record(frame.asked.context)),
            Node::Not(operand) => Ok(Term::Bool(!self.bool(operand, frame)?)),
            Node::Neg(operand) => {
                let number = long(self.value(operand, frame)?)?;
                number.checked_neg().map(Term::Long).ok_or(Stop::Error)
            }
            Node::And(operands) => self.until(operands, false, frame),
            Node::Or(operands) => self.until(operands, true, frame),
            Node::If { test, then, otherwise } => {
                let chosen = if self.bool(test, frame)? { then } else { otherwise };
                self.value(chosen, frame)
            }
            Node::Binary(op, left, right) => {
                let (left, right) = (self.value(left, frame)?, self.value(right, frame)?);
                self.binary(op, left, right, frame)
            }
            Node::IsEmpty(members) => {
                let set = term::set(self.value(members, frame)?)?;
                Ok(Term::Bool(self.store.members(set).is_empty()))
            }
            Node::Attribute(of, name) => {
                let of = self.value(of, frame)?;
                self.attribute(of, name)
            }
            Node::Has(of, path) => {
                let of = self.value(of, frame)?;
                self.has(of, path.of(&code.names))
            }
            Node::Like(of, pattern) => {
                let of = text(self.value(of, frame)?)?;
                let pattern = code.patterns.get(at(pattern)).ok_or(Stop::Full)?;
                Ok(Term::Bool(pattern.matches(self.store.text(of))))
            }
            Node::Is(of, kind, within) => {
                let of = self.value(of, frame)?;
                self.is(of, kind, within, frame)
            }
            Node::Set(members) => self.set(members, frame),
            Node::Record(fields) => self.record(fields, frame),
            Node::Call(function, arguments) => self.call(function, arguments, frame),
        }
    }

    fn bool(&mut self, node: NodeNo, frame: &Frame<'_>) -> Result<bool, Stop> {
        boolean(self.value(node, frame)?)
    }

    /// The operands of `&&` or `||`, no further than the first that decides.
    fn until(&mut self, operands: Span, decides: bool, frame: &Frame<'_>) -> Evaluated {
        for operand in operands.of(&self.tables.code.children) {
            if self.bool(*operand, frame)? == decides {
                return Ok(Term::Bool(decides));
            }
        }
        Ok(Term::Bool(!decides))
    }

    fn binary(&mut self, op: BinaryOp, left: Term, right: Term, frame: &Frame<'_>) -> Evaluated {
        if op == BinaryOp::In {
            return self.is_in(left, right, frame).map(Term::Bool);
        }
        if op == BinaryOp::GetTag || op == BinaryOp::HasTag {
            let found = self.tag(entity(left)?, text(right)?);
            let tag =
                if op == BinaryOp::HasTag { Some(Term::Bool(found.is_some())) } else { found };
            return tag.ok_or(Stop::Error);
        }
        term::binary(op, left, right, &self.store)
    }

    fn is_in(&mut self, left: Term, right: Term, frame: &Frame<'_>) -> Result<bool, Stop> {
        let left = entity(left)?;
        if let Term::Set(set) = right {
            // All types come first: a match does not hide a member that is not an entity.
            if self.store.members(set).iter().any(|member| entity(*member).is_err()) {
                return Err(Stop::Error);
            }
            self.above_of(left, frame)?;
            let above = self.known_above(left, frame);
            return Ok(self.store.members(set).iter().any(|member| is_among(*member, above)));
        }
        let ancestor = Term::Entity(entity(right)?);
        self.above_of(left, frame)?;
        Ok(is_among(ancestor, self.known_above(left, frame)))
    }

    /// Climbs from an entity, unless the frame knows what it is in.
    fn above_of(&mut self, left: EntityNo, frame: &Frame<'_>) -> Result<(), Stop> {
        let asked = frame.asked;
        if left == asked.principal || left == asked.action || left == asked.resource {
            return Ok(());
        }
        self.climb(left)
    }

    /// What `above_of` has found.
    fn known_above<'s>(&'s self, left: EntityNo, frame: &'s Frame<'_>) -> &'s [EntityNo] {
        let [principals, actions, resources] = frame.above;
        match left {
            left if left == frame.asked.principal => principals,
            left if left == frame.asked.action => actions,
            left if left == frame.asked.resource => resources,
            _ => self.climb,
        }
    }

    fn is(
        &mut self,
        of: Term,
        kind: Symbol,
        within: Option<NodeNo>,
        frame: &Frame<'_>,
    ) -> Evaluated {
        if self.store.kind(entity(of)?) != Some(kind) {
            return Ok(Term::Bool(false));
        }
        let Some(within) = within else { return Ok(Term::Bool(true)) };
        let ancestor = self.value(within, frame)?;
        self.is_in(of, ancestor, frame).map(Term::Bool)
    }

    /// The attribute of a record or an entity; `None` where it is not there.
    fn attribute_of(&self, of: Term, name: Symbol) -> Result<Option<Term>, Stop> {
        if let Term::Record(record) = of {
            return Ok(self.store.field(record, name));
        }
        let entity = entity(of)?;
        let attribute = |facts: &Facts| self.store.field(facts.attributes, name);
        Ok(self.facts(entity).find_map(attribute))
    }

    /// What is known of an entity: by the request, then by the program.
    fn facts(&self, entity: EntityNo) -> impl Iterator<Item = &Facts> {
        let own = self.overlay.iter().filter(move |overlaid| overlaid.entity == entity);
        let base = self.tables.facts.get(entity.at()).and_then(Option::as_ref);
        own.map(|overlaid| &overlaid.facts).chain(base)
    }

    fn attribute(&self, of: Term, name: Symbol) -> Evaluated {
        self.attribute_of(of, name)?.ok_or(Stop::Error)
    }

    fn has(&self, of: Term, path: &[Symbol]) -> Evaluated {
        let mut at = of;
        for name in path {
            match self.attribute_of(at, *name)? {
                Some(value) => at = value,
                None => return Ok(Term::Bool(false)),
            }
        }
        Ok(Term::Bool(true))
    }

    fn tag(&self, entity: EntityNo, tag: Symbol) -> Option<Term> {
        self.facts(entity).find_map(|facts| self.store.field(facts.tags, tag))
    }

    fn set(&mut self, members: Span, frame: &Frame<'_>) -> Evaluated {
        let start = self.bench.terms.len();
        for member in members.of(&self.tables.code.children) {
            let member = self.value(*member, frame)?;
            self.bench.terms.push(member);
        }
        Ok(self.bench.set(start, &mut self.store)?)
    }

    fn record(&mut self, fields: Span, frame: &Frame<'_>) -> Evaluated {
        let start = self.bench.fields.len();
        for (name, value) in fields.of(&self.tables.code.fields) {
            let value = self.value(*value, frame)?;
            self.bench.fields.push((*name, value));
        }
        Ok(Term::Record(self.bench.record(start, &mut self.store)?))
    }

    fn call(&mut self, function: Function, arguments: Span, frame: &Frame<'_>) -> Evaluated {
        let start = self.bench.terms.len();
        for argument in arguments.of(&self.tables.code.children) {
            let argument = self.value(*argument, frame)?;
            self.bench.terms.push(argument);
        }
        let arguments = self.bench.terms.get(start..).unwrap_or_default();
        let value = term::call(function, arguments, &self.store);
        self.bench.terms.truncate(start);
        value
    }
}

fn is_among(member: Term, above: &[EntityNo]) -> bool {
    matches!(member, Term::Entity(entity) if above.binary_search(&entity).is_ok())
}
