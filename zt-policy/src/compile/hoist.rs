//! Which conditions can find their policy in an index.
//!
//! A policy applies only where each operand of the `&&` of each of its `when`s is true. An operand
//! of one of these forms is true for a few values only, under which the policy can be posted:
//!
//! 1. `path == literal`, either way round, and `[literals].contains(path)`: these values;
//! 2. `path in entity`, `path in [entities]`: what is in these entities,
//!
//! where a path is `principal`, `action`, `resource` or `context`, and attributes of it. For a
//! permit any such operand will do, as a permit that errs is like one that does not apply. A forbid
//! that errs denies, so it must be found then too:
//!
//! 3. everything that is evaluated before the operand has to be *total*: it errs for no request;
//! 4. the forbid is posted also under the path being absent, unless `has` was asked before, and,
//!    where the operand is an `in`, under the path not being an entity.

use std::collections::HashMap;

use crate::expr::{BinaryOp, Expr, HasPath, Literal, Var};
use crate::index::{Anchor, Path};
use crate::policy::{Condition, ConditionKind, Effect};
use crate::symbol::{EntityNo, Full, Symbol, Term, number};

use super::Compiler;

/// Anchors under all of which a policy has to be posted to be found.
pub(super) type Choice = Vec<Anchor>;

/// The paths of a program, each with its place.
#[derive(Debug, Default)]
pub(super) struct Paths {
    places: HashMap<Path, u32>,
    pub(super) all: Vec<Path>,
}

impl Paths {
    fn place(&mut self, path: Path) -> Result<u32, Full> {
        if let Some(place) = self.places.get(&path) {
            return Ok(*place);
        }
        let place = number(self.all.len())?;
        self.all.push(path.clone());
        self.places.insert(path, place);
        Ok(place)
    }
}

/// What an operand compares.
enum Compared {
    Equal(Path, Vec<Term>),
    Within(Path, Vec<EntityNo>),
}

impl Compiler<'_> {
    /// The choices that the conditions of a policy offer.
    pub(super) fn choices(
        &mut self,
        effect: Effect,
        conditions: &[Condition],
    ) -> Result<Vec<Choice>, Full> {
        let mut choices = Vec::new();
        let mut before: Vec<&Expr> = Vec::new();
        for condition in conditions {
            let whole = std::slice::from_ref(&condition.body);
            let operands = match (&condition.body, condition.kind) {
                (Expr::And(operands), ConditionKind::When) => &**operands,
                (_, ConditionKind::When | ConditionKind::Unless) => whole,
            };
            for operand in operands {
                if effect == Effect::Forbid && !before.iter().all(|before| is_total(before)) {
                    return Ok(choices);
                }
                if condition.kind == ConditionKind::When
                    && let Some(compared) = self.compared(operand)?
                {
                    choices.push(self.choice(effect, compared, &before)?);
                }
                before.push(operand);
            }
        }
        Ok(choices)
    }

    fn choice(
        &mut self,
        effect: Effect,
        compared: Compared,
        before: &[&Expr],
    ) -> Result<Choice, Full> {
        let forbids = effect == Effect::Forbid;
        Ok(match compared {
            Compared::Equal(path, values) => {
                let absent = forbids && !self.is_guarded(&path, before)?;
                let place = self.paths.place(path)?;
                let values = values.into_iter().map(|value| Anchor::Equal(place, value));
                values.chain(absent.then_some(Anchor::Absent(place))).collect()
            }
            Compared::Within(path, entities) => {
                let place = self.paths.place(path)?;
                let entities = entities.into_iter().map(|entity| Anchor::Within(place, entity));
                entities.chain(forbids.then_some(Anchor::NotAnEntity(place))).collect()
            }
        })
    }

    /// Whether `has` was asked for the path, which is one attribute of a part of the request.
    fn is_guarded(&mut self, path: &Path, before: &[&Expr]) -> Result<bool, Full> {
        let [name] = *path.names else { return Ok(path.names.is_empty()) };
        for before in before {
            if let Expr::Has { of, path: HasPath::Name(asked) } = before
                && **of == Expr::Var(path.root)
                && self.store.symbol(asked)? == name
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn compared(&mut self, operand: &Expr) -> Result<Option<Compared>, Full> {
        let Expr::Binary(op, left, right) = operand else { return Ok(None) };
        if *op == BinaryOp::Eq {
            let (path, literal) = match (&**left, &**right) {
                (path, Expr::Literal(literal)) | (Expr::Literal(literal), path) => (path, literal),
                _ => return Ok(None),
            };
            let value = self.literal(literal)?;
            return Ok(self.path(path)?.map(|path| Compared::Equal(path, vec![value])));
        }
        if *op == BinaryOp::Contains {
            let (values, path) = (self.literals(left)?, self.path(right)?);
            return Ok(values.zip(path).map(|(values, path)| Compared::Equal(path, values)));
        }
        if *op == BinaryOp::In {
            let one = std::slice::from_ref(&**right);
            let members = if let Expr::Set(members) = &**right { &**members } else { one };
            let (path, entities) = (self.path(left)?, self.entity_literals(members)?);
            return Ok(path.zip(entities).map(|(path, entities)| Compared::Within(path, entities)));
        }
        Ok(None)
    }

    fn path(&mut self, expr: &Expr) -> Result<Option<Path>, Full> {
        let (mut at, mut names) = (expr, Vec::<Symbol>::new());
        while let Expr::Attribute { of, name } = at {
            names.push(self.store.symbol(name)?);
            at = of;
        }
        names.reverse();
        let Expr::Var(root) = at else { return Ok(None) };
        // All of the context is a record, which no literal is.
        let is_record = *root == Var::Context && names.is_empty();
        Ok((!is_record).then(|| Path { root: *root, names: names.into() }))
    }

    fn literals(&mut self, expr: &Expr) -> Result<Option<Vec<Term>>, Full> {
        let Expr::Set(members) = expr else { return Ok(None) };
        let mut values = Vec::with_capacity(members.len());
        for member in members {
            let Expr::Literal(literal) = member else { return Ok(None) };
            values.push(self.literal(literal)?);
        }
        Ok(Some(values))
    }

    fn entity_literals(&mut self, members: &[Expr]) -> Result<Option<Vec<EntityNo>>, Full> {
        let mut entities = Vec::with_capacity(members.len());
        for member in members {
            let Expr::Literal(Literal::Entity(uid)) = member else { return Ok(None) };
            entities.push(self.store.uid(uid)?);
        }
        Ok(Some(entities))
    }
}

/// Whether an expression is true or false for every request.
fn is_total(expr: &Expr) -> bool {
    if let Expr::Is { entity, within, .. } = expr {
        return is_entity(entity) && within.as_deref().is_none_or(is_entity);
    }
    if let Expr::Has { of, path: HasPath::Name(_) } = expr {
        return matches!(**of, Expr::Var(_));
    }
    if let Expr::Binary(op, left, right) = expr {
        let has_value = |expr: &Expr| matches!(expr, Expr::Literal(_) | Expr::Var(_));
        let are_equal = matches!(op, BinaryOp::Eq | BinaryOp::NotEq);
        return are_equal && has_value(left) && has_value(right)
            || *op == BinaryOp::In && is_entity(left) && is_entity(right);
    }
    if let Expr::And(operands) | Expr::Or(operands) = expr {
        return operands.iter().all(is_total);
    }
    if let Expr::Not(operand) = expr {
        return is_total(operand);
    }
    matches!(expr, Expr::Literal(Literal::Bool(_)))
}

fn is_entity(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::Literal(Literal::Entity(_)) | Expr::Var(Var::Principal | Var::Action | Var::Resource)
    )
}
