//! Which policies apply to a request.

use super::run::{Asked, Climbs, Memory, Run};
use super::value::Frame;
use super::{Counted, Ruling};
use crate::evaluate::default::Side;
use crate::evaluate::{OnForbidError, Outcome};
use crate::expr::Var;
use crate::index::{Above, Anchor, Path, PathIndex, RuleNo};
use crate::policy::Effect;
use crate::program::{ActionTest, Rule, ScopeTest, Tables};
use crate::symbol::{Term, at};
use crate::term::{Stop, boolean};

impl Run<'_> {
    /// The answer, with a name of its own.
    ///
    /// # Errors
    ///
    /// [`Stop::Full`] beyond a limit.
    pub(crate) fn outcome(
        &mut self,
        asked: Asked,
        on_forbid_error: OnForbidError,
    ) -> Result<Outcome, Stop> {
        let first = self.first(asked, on_forbid_error)?;
        Ok(first.ruling(self.tables, on_forbid_error).into())
    }

    /// The policies that make the answer.
    ///
    /// # Errors
    ///
    /// [`Stop::Full`] beyond a limit.
    pub(super) fn first(
        &mut self,
        asked: Asked,
        on_forbid_error: OnForbidError,
    ) -> Result<First, Stop> {
        self.framed(asked, |run, frame| run.ask_all(frame, on_forbid_error))
    }

    /// Asks every policy.
    ///
    /// # Errors
    ///
    /// [`Stop::Full`] beyond a limit.
    pub(super) fn count(&mut self, asked: Asked) -> Result<Counted, Stop> {
        self.framed(asked, |run, frame| run.count_all(frame))
    }

    /// Finds all that principal, action and resource are in.
    fn framed<T>(
        &mut self,
        asked: Asked,
        evaluate: impl FnOnce(&mut Self, &Frame<'_>) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        self.begin_work();
        let climbs = self.climbs.take().ok_or(Stop::Full)?;
        let frame = frame(self.memory, self.tables, asked, climbs);
        let evaluated = frame.and_then(|frame| evaluate(self, &frame));
        self.climbs = Some(climbs);
        evaluated
    }

    fn ask_all(
        &mut self,
        frame: &Frame<'_>,
        on_forbid_error: OnForbidError,
    ) -> Result<First, Stop> {
        let index = &self.tables.index;
        self.memory.present.clear();
        if index.needs_present() {
            self.find_present(frame)?;
        }
        let present = std::mem::take(&mut self.memory.present);
        let mut first = First::default();
        *self.asked = 0;
        let above = [frame.principal, frame.action, frame.resource];
        let asked = index.find(above, &present, |rules| {
            self.spend_on(rules.len())?;
            rules.iter().try_for_each(|no| self.ask(*no, frame, on_forbid_error, &mut first))
        });
        self.memory.present = present;
        asked?;
        first.is_open = first.is_undecided(on_forbid_error) && self.is_unselected(frame);
        Ok(first)
    }

    /// Whether it is allowed where no policy applies.
    fn is_unselected(&self, frame: &Frame<'_>) -> bool {
        let Some(selection) = &self.tables.selection else { return false };
        let above = match selection.side {
            Side::Principal => frame.principal,
            Side::Resource => frame.resource,
        };
        !selection.selects(self.store.kind(above.entity), above)
    }

    fn ask(
        &mut self,
        no: RuleNo,
        frame: &Frame<'_>,
        on_forbid_error: OnForbidError,
        first: &mut First,
    ) -> Result<(), Stop> {
        let Some(rule) = self.tables.rules.get(at(no)) else { return Ok(()) };
        if !first.could_change(rule.effect(), no, on_forbid_error) {
            return Ok(());
        }
        *self.asked = self.asked.saturating_add(1);
        match self.applies(no, rule, frame) {
            Ok(true) => first.applies(rule.effect(), no),
            Ok(false) => {}
            Err(Stop::Error) => first.errs(rule.effect(), no),
            Err(Stop::Full) => return Err(Stop::Full),
        }
        Ok(())
    }

    fn find_present(&mut self, frame: &Frame<'_>) -> Result<(), Stop> {
        let (index, asked) = (&self.tables.index, frame.asked);
        if index.has_kinds {
            let principal = self.store.kind(asked.principal).map(Anchor::PrincipalKind);
            let resource = self.store.kind(asked.resource).map(Anchor::ResourceKind);
            self.memory.present.extend(principal.into_iter().chain(resource));
        }
        for path in &index.paths {
            self.find_value(path, frame)?;
        }
        if index.is_split() {
            let present = &mut self.memory.present;
            present.extend(frame.principal.iter().map(Anchor::Principal));
            present.extend(frame.resource.iter().map(Anchor::Resource));
        }
        Ok(())
    }

    fn find_value(&mut self, path: &PathIndex, frame: &Frame<'_>) -> Result<(), Stop> {
        let value = self.follow(&path.path, frame.asked);
        let equal = value.map_or(Anchor::Absent(path.no), |value| Anchor::Equal(path.no, value));
        self.memory.present.push(equal);
        if !path.has_within {
            return Ok(());
        }
        let Some(Term::Entity(entity)) = value else {
            self.memory.present.push(Anchor::NotAnEntity(path.no));
            return Ok(());
        };
        let mut climb = std::mem::take(&mut self.memory.climb);
        let above = self.above(entity, frame, &mut climb).map(|above| {
            let within = above.iter().map(|ancestor| Anchor::Within(path.no, ancestor));
            self.memory.present.extend(within);
        });
        self.memory.climb = climb;
        above
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

    fn count_all(&mut self, frame: &Frame<'_>) -> Result<Counted, Stop> {
        let tables = self.tables;
        let mut counted = Counted::default();
        for (rule, no) in tables.rules.iter().zip(0..) {
            let id = rule.id.clone();
            // No limit of all together: nobody waits for it.
            self.begin_work();
            match (self.applies(no, rule, frame), rule.effect()) {
                (Ok(true), Effect::Permit) => counted.permits.push(id),
                (Ok(true), Effect::Forbid) => counted.forbids.push(id),
                (Ok(false), _) => {}
                (Err(Stop::Error), _) => counted.errors.push(id),
                (Err(Stop::Full), _) => return Err(Stop::Full),
            }
        }
        Ok(counted)
    }

    /// Whether a policy applies. The sets and records that it has made are gone afterwards, so
    /// that the next has as much room.
    fn applies(&mut self, no: RuleNo, rule: &Rule, frame: &Frame<'_>) -> Result<bool, Stop> {
        if !self.is_in_scope(rule, frame) {
            return Ok(false);
        }
        if !rule.is_conditional() {
            return Ok(true);
        }
        let mark = self.store.mark();
        let holds = self.holds(no, frame);
        self.store.rewind(mark);
        holds
    }

    fn is_in_scope(&self, rule: &Rule, frame: &Frame<'_>) -> bool {
        let code = &self.tables.code;
        self.fits(rule.principal(code), frame.principal)
            && self.is_action(rule.action(code), frame.action)
            && self.fits(rule.resource(code), frame.resource)
    }

    fn holds(&mut self, no: RuleNo, frame: &Frame<'_>) -> Result<bool, Stop> {
        let code = &self.tables.code;
        // Every policy that has conditions has its place: `trim` takes away only those of others.
        let conditions = code.conditions_of.get(at(no)).ok_or(Stop::Full)?;
        for (node, wanted) in conditions.of(&code.conditions) {
            let holds = self.value(*node, frame);
            // What a condition leaves behind when it errs is of no use to the next.
            self.bench.clear();
            if boolean(holds?)? != *wanted {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn fits(&self, test: ScopeTest, above: Above<'_>) -> bool {
        let is = |kind| self.store.kind(above.entity) == Some(kind);
        match test {
            ScopeTest::Any => true,
            ScopeTest::Eq(wanted) => above.entity == wanted,
            ScopeTest::In(ancestor) => above.has(ancestor),
            ScopeTest::Is(kind) => is(kind),
            ScopeTest::IsIn(kind, ancestor) => is(kind) && above.has(ancestor),
        }
    }

    fn is_action(&self, test: ActionTest, above: Above<'_>) -> bool {
        match test {
            ActionTest::Any => true,
            ActionTest::Eq(wanted) => above.entity == wanted,
            ActionTest::InAny(groups) => {
                groups.of(&self.tables.code.entities).iter().any(|group| above.has(*group))
            }
        }
    }
}

fn frame<'f>(
    memory: &Memory,
    tables: &'f Tables,
    asked: Asked,
    climbs: &'f mut Climbs,
) -> Result<Frame<'f>, Stop> {
    let [principals, actions, resources] = climbs;
    Ok(Frame {
        asked,
        principal: memory.above(asked.principal, tables, principals)?,
        action: memory.above(asked.action, tables, actions)?,
        resource: memory.above(asked.resource, tables, resources)?,
    })
}

/// The first policies that count.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct First {
    forbid: Option<RuleNo>,
    error: Option<RuleNo>,
    permit: Option<RuleNo>,
    /// Whether it is allowed where there is none.
    is_open: bool,
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

    /// Whether no policy makes the answer.
    fn is_undecided(self, on_forbid_error: OnForbidError) -> bool {
        let errs = self.error.is_some() && on_forbid_error == OnForbidError::Deny;
        self.forbid.is_none() && self.permit.is_none() && !errs
    }

    /// The answer.
    pub(super) fn ruling(self, tables: &Tables, on_forbid_error: OnForbidError) -> Ruling<'_> {
        let name = |no: RuleNo| tables.rules.get(at(no)).map(|rule| &rule.id);
        let denies = |_: &RuleNo| on_forbid_error == OnForbidError::Deny;
        let ruling = match (self.forbid, self.error.filter(denies), self.permit) {
            (Some(no), ..) => name(no).map(|policy| Ruling::Forbidden { policy }),
            (None, Some(no), _) => name(no).map(|policy| Ruling::Error { policy }),
            (None, None, Some(no)) => name(no).map(|policy| Ruling::Allow { policy }),
            (None, None, None) if self.is_open => Some(Ruling::AllowByDefault),
            (None, None, None) => None,
        };
        ruling.unwrap_or(Ruling::NotPermitted)
    }
}
