//! What the policies of a program select: the scopes of one side, to be asked at once.

use std::collections::HashSet;

use super::ScopeTest;
use crate::evaluate::default::Side;
use crate::index::Above;
use crate::symbol::{EntityNo, Symbol};

/// The scopes of all policies for one side of a request.
#[derive(Debug)]
pub(crate) struct Selection {
    pub(crate) side: Side,
    all: bool,
    kinds: HashSet<Symbol>,
    equal: HashSet<EntityNo>,
    within: HashSet<EntityNo>,
    kinds_within: HashSet<(Symbol, EntityNo)>,
}

impl Selection {
    /// What these scopes select.
    pub(crate) fn of(side: Side, scopes: impl IntoIterator<Item = ScopeTest>) -> Self {
        let mut selection = Self {
            side,
            all: false,
            kinds: HashSet::new(),
            equal: HashSet::new(),
            within: HashSet::new(),
            kinds_within: HashSet::new(),
        };
        for scope in scopes {
            selection.add(scope);
        }
        selection
    }

    fn add(&mut self, scope: ScopeTest) {
        match scope {
            ScopeTest::Any => self.all = true,
            ScopeTest::Is(kind) => drop(self.kinds.insert(kind)),
            ScopeTest::Eq(entity) => drop(self.equal.insert(entity)),
            ScopeTest::In(ancestor) => drop(self.within.insert(ancestor)),
            ScopeTest::IsIn(kind, ancestor) => drop(self.kinds_within.insert((kind, ancestor))),
        }
    }

    /// Whether an entity of this type is selected. One whose type is not known is.
    pub(crate) fn selects(&self, kind: Option<Symbol>, above: Above<'_>) -> bool {
        let Some(kind) = kind else { return true };
        self.all
            || self.kinds.contains(&kind)
            || self.equal.contains(&above.entity)
            || above.iter().any(|ancestor| {
                self.within.contains(&ancestor) || self.kinds_within.contains(&(kind, ancestor))
            })
    }
}
