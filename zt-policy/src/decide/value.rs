//! What expressions are worth in one request.

use super::run::{Asked, Run};
use crate::expr::{BinaryOp, Function};
use crate::index::Above;
use crate::program::{Node, NodeNo};
use crate::symbol::{EntityNo, Facts, Span, Symbol, Term, at};
use crate::term::{self, Stop, boolean, entity, long, text};

/// How many characters are compared for the work of one node.
const STEPS: usize = 16;

type Evaluated = Result<Term, Stop>;

/// What stays the same while one request is evaluated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'f> {
    pub(super) asked: Asked,
    /// And all that they are in.
    pub(super) principal: Above<'f>,
    pub(super) action: Above<'f>,
    pub(super) resource: Above<'f>,
}

impl<'a> Run<'a> {
    /// It recurses as deep as the policy is nested, which was bounded when it was compiled.
    pub(super) fn value(&mut self, node: NodeNo, frame: &Frame<'_>) -> Evaluated {
        self.spend(1)?;
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
                // A pattern is tried at every place of the text.
                let steps = self.store.text(of).len().saturating_mul(pattern.elements().len());
                self.spend_on(steps / STEPS)?;
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
        if let (BinaryOp::ContainsAll | BinaryOp::ContainsAny, Term::Set(members)) = (op, right) {
            self.spend_on(self.store.members(members).len())?;
        }
        term::binary(op, left, right, &self.store)
    }

    fn is_in(&mut self, left: Term, right: Term, frame: &Frame<'_>) -> Result<bool, Stop> {
        let left = entity(left)?;
        let mut climb = std::mem::take(&mut self.memory.climb);
        let is_in = self.is_in_any(left, right, frame, &mut climb);
        self.memory.climb = climb;
        is_in
    }

    fn is_in_any(
        &mut self,
        left: EntityNo,
        right: Term,
        frame: &Frame<'_>,
        climb: &mut Vec<EntityNo>,
    ) -> Result<bool, Stop> {
        let Term::Set(set) = right else {
            let ancestor = entity(right)?;
            return Ok(self.above(left, frame, climb)?.has(ancestor));
        };
        self.spend_on(self.store.members(set).len())?;
        // All types come first: a match does not hide a member that is not an entity.
        if self.store.members(set).iter().any(|member| entity(*member).is_err()) {
            return Err(Stop::Error);
        }
        let above = self.above(left, frame, climb)?;
        let is_among = |member: &Term| entity(*member).is_ok_and(|entity| above.has(entity));
        Ok(self.store.members(set).iter().any(is_among))
    }

    /// What an entity is in, unless the frame knows it, climbed to in `climb`.
    pub(super) fn above<'f>(
        &mut self,
        entity: EntityNo,
        frame: &Frame<'f>,
        climb: &'f mut Vec<EntityNo>,
    ) -> Result<Above<'f>, Stop>
    where
        'a: 'f,
    {
        let known = [frame.principal, frame.action, frame.resource];
        if let Some(known) = known.into_iter().find(|known| known.entity == entity) {
            return Ok(known);
        }
        climb.clear();
        let above = self.memory.above(entity, self.tables, climb)?;
        self.spend_on(above.above.len())?;
        Ok(above)
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
    pub(super) fn attribute_of(&self, of: Term, name: Symbol) -> Result<Option<Term>, Stop> {
        if let Term::Record(record) = of {
            return Ok(self.store.field(record, name));
        }
        let entity = entity(of)?;
        let attribute = |facts: &Facts| self.store.field(facts.attributes, name);
        Ok(self.facts(entity).find_map(attribute))
    }

    /// What is known of an entity: by the request, then by the program.
    fn facts(&self, entity: EntityNo) -> impl Iterator<Item = &Facts> {
        let own = self.memory.overlay.iter().filter(move |overlaid| overlaid.entity == entity);
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
