//! Which policies a request can concern.
//!
//! Every policy is posted under its *anchors*, so that a request which none of them fits does not
//! concern it:
//!
//! - the entity that its scope names for the principal, or
//! - the entity that its scope names for the resource, or
//! - the values that one of its conditions compares a path with (`compile::hoist` says which can
//!   be used),
//!
//! whichever is shared with the fewest other policies; or under nothing, where it has none of
//! these. Each posting is divided by the actions that its policies name.
//!
//! A decision looks under the principal and all that it is in, under the resource and all that it
//! is in, under the values of the paths, and under nothing; each for the action, all that it is in,
//! and policies of any action. What it finds there it asks.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use crate::expr::Var;
use crate::symbol::{EntityNo, Full, Mix, Span, Symbol, Term, at};

/// The place of a policy in its set.
pub(crate) type RuleNo = u32;

/// The place of a path in its index.
type PathNo = u32;

/// A part of a request, or an attribute below it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Path {
    pub(crate) root: Var,
    pub(crate) names: Box<[Symbol]>,
}

/// Policies by anchor and action.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// By the entity that the scope of the principal names.
    principals: Vec<Span>,
    /// By the entity that the scope of the resource names.
    resources: Vec<Span>,
    /// By the value of a path.
    pub(crate) paths: Vec<PathIndex>,
    /// Those without an anchor.
    everywhere: Span,
    entries: Vec<Entry>,
    rules: Vec<RuleNo>,
}

/// Policies by the value of one path.
#[derive(Debug)]
pub(crate) struct PathIndex {
    pub(crate) path: Path,
    /// By what it is.
    equal: HashMap<Term, Span, BuildHasherDefault<Mix>>,
    /// By what it is in.
    within: HashMap<EntityNo, Span, BuildHasherDefault<Mix>>,
    /// Those that err where it has no value.
    absent: Span,
    /// Those that err where it is not an entity.
    not_an_entity: Span,
}

/// The policies of one anchor that name one action, or none.
#[derive(Clone, Copy, Debug)]
struct Entry {
    action: Option<EntityNo>,
    rules: Span,
}

/// Where a policy is posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Anchor {
    Everywhere,
    Principal(EntityNo),
    Resource(EntityNo),
    Equal(PathNo, Term),
    Within(PathNo, EntityNo),
    Absent(PathNo),
    NotAnEntity(PathNo),
}

/// A policy under an anchor, and an action that it names, if it names any.
pub(crate) type Posting = (Anchor, Option<EntityNo>, RuleNo);

impl Index {
    /// The index of these postings.
    ///
    /// # Errors
    ///
    /// [`Full`] beyond 32 bits.
    pub(crate) fn new(
        mut postings: Vec<Posting>,
        paths: Vec<Path>,
        entities: usize,
    ) -> Result<Self, Full> {
        postings.sort_unstable();
        postings.dedup();
        let mut index = Self {
            principals: vec![Span::default(); entities],
            resources: vec![Span::default(); entities],
            paths: paths.into_iter().map(PathIndex::new).collect(),
            ..Self::default()
        };
        for group in postings.chunk_by(|a, b| a.0 == b.0) {
            let start = index.entries.len();
            for list in group.chunk_by(|a, b| a.1 == b.1) {
                let from = index.rules.len();
                index.rules.extend(list.iter().map(|(.., rule)| *rule));
                let rules = Span::new(from, index.rules.len())?;
                let action = list.first().and_then(|(_, action, _)| *action);
                index.entries.push(Entry { action, rules });
            }
            let entries = Span::new(start, index.entries.len())?;
            let anchor = group.first().map_or(Anchor::Everywhere, |(anchor, ..)| *anchor);
            *index.place(anchor).ok_or(Full)? = entries;
        }
        Ok(index)
    }

    fn place(&mut self, anchor: Anchor) -> Option<&mut Span> {
        match anchor {
            Anchor::Everywhere => Some(&mut self.everywhere),
            Anchor::Principal(entity) => self.principals.get_mut(entity.at()),
            Anchor::Resource(entity) => self.resources.get_mut(entity.at()),
            Anchor::Equal(path, value) => {
                Some(self.paths.get_mut(at(path))?.equal.entry(value).or_default())
            }
            Anchor::Within(path, entity) => {
                Some(self.paths.get_mut(at(path))?.within.entry(entity).or_default())
            }
            Anchor::Absent(path) => Some(&mut self.paths.get_mut(at(path))?.absent),
            Anchor::NotAnEntity(path) => Some(&mut self.paths.get_mut(at(path))?.not_an_entity),
        }
    }

    /// Adds the lists of the policies that these entities, each with all that it is in, do not rule
    /// out, but for those that are found by a path.
    pub(crate) fn find(
        &self,
        principal: &[EntityNo],
        action: &[EntityNo],
        resource: &[EntityNo],
        found: &mut Vec<Span>,
    ) {
        self.narrow(self.everywhere, action, found);
        for (entities, anchors) in [(principal, &self.principals), (resource, &self.resources)] {
            for entity in entities {
                let list = anchors.get(entity.at()).copied().unwrap_or_default();
                self.narrow(list, action, found);
            }
        }
    }

    /// Adds the lists of those policies of an anchor that name one of these actions or none. One
    /// that names several actions may be found more than once.
    pub(crate) fn narrow(&self, list: Span, actions: &[EntityNo], found: &mut Vec<Span>) {
        if list.is_empty() {
            return;
        }
        let entries = list.of(&self.entries);
        for action in std::iter::once(None).chain(actions.iter().copied().map(Some)) {
            let place = entries.binary_search_by_key(&action, |entry| entry.action).ok();
            found.extend(place.and_then(|place| entries.get(place)).map(|entry| entry.rules));
        }
    }

    /// The policies of a list that was found.
    pub(crate) fn rules(&self, list: Span) -> &[RuleNo] {
        list.of(&self.rules)
    }
}

impl PathIndex {
    fn new(path: Path) -> Self {
        Self {
            path,
            equal: HashMap::default(),
            within: HashMap::default(),
            absent: Span::default(),
            not_an_entity: Span::default(),
        }
    }

    /// Whether it is of use what the value of the path is in.
    pub(crate) fn has_within(&self) -> bool {
        !self.within.is_empty() || !self.not_an_entity.is_empty()
    }

    /// The anchor of a value, or of none.
    pub(crate) fn equal(&self, value: Option<Term>) -> Span {
        value.map_or(self.absent, |value| self.equal.get(&value).copied().unwrap_or_default())
    }

    /// The anchor of what the value is in.
    pub(crate) fn within(&self, ancestor: EntityNo) -> Span {
        self.within.get(&ancestor).copied().unwrap_or_default()
    }

    /// The anchor of a value that is not an entity, or of none.
    pub(crate) const fn not_an_entity(&self) -> Span {
        self.not_an_entity
    }
}
