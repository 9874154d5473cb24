//! Which policies a request can concern.
//!
//! Every policy is posted under its *anchors*, so that a request which none of them fits does not
//! concern it:
//!
//! - the entity that its scope names for the principal, or
//! - the entity that its scope names for the resource, or
//! - the type that its scope names for either of them, or
//! - the values that one of its conditions compares a path with (`compile::hoist` says which can
//!   be used),
//!
//! whichever is shared with the fewest other policies; or under nothing, where it has none of
//! these. Each posting is divided by the actions that its policies name; and where the policies of
//! one anchor and action are many, these by a second anchor of theirs (`compile::post`).
//!
//! A decision finds what is *present* in its request: the principal and all that it is in, the
//! resource and all that it is in, their types, and the values of the paths. It looks under each of
//! these and under nothing; each for the action, all that it is in, and policies of any action.
//! What it finds there it asks.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use crate::expr::Var;
use crate::symbol::{EntityNo, Full, Mix, Span, Symbol, Term, at, number, trim};

/// The place of a policy in its set.
pub(crate) type RuleNo = u32;

/// The place of a path in its index.
pub(crate) type PathNo = u32;

/// A part of a request, or an attribute below it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Path {
    pub(crate) root: Var,
    pub(crate) names: Box<[Symbol]>,
}

/// Where a policy is posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Anchor {
    Everywhere,
    Principal(EntityNo),
    Resource(EntityNo),
    PrincipalKind(Symbol),
    ResourceKind(Symbol),
    Equal(PathNo, Term),
    Within(PathNo, EntityNo),
    Absent(PathNo),
    NotAnEntity(PathNo),
}

impl Anchor {
    const fn path(self) -> Option<PathNo> {
        match self {
            Self::Equal(path, _)
            | Self::Within(path, _)
            | Self::Absent(path)
            | Self::NotAnEntity(path) => Some(path),
            Self::Everywhere
            | Self::Principal(_)
            | Self::Resource(_)
            | Self::PrincipalKind(_)
            | Self::ResourceKind(_) => None,
        }
    }
}

/// A policy under an anchor, an action that it names, if it names any, and a second anchor, where
/// the others of the first are many.
pub(crate) type Posting = (Anchor, Option<EntityNo>, Option<Anchor>, RuleNo);

/// An entity and all that it is in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Above<'f> {
    pub(crate) entity: EntityNo,
    /// Sorted.
    pub(crate) above: &'f [EntityNo],
}

impl Above<'_> {
    /// Whether the entity is this one or in it.
    pub(crate) fn has(self, ancestor: EntityNo) -> bool {
        self.entity == ancestor || self.above.binary_search(&ancestor).is_ok()
    }

    /// The entity, then what it is in.
    pub(crate) fn iter(self) -> impl Iterator<Item = EntityNo> {
        std::iter::once(self.entity).chain(self.above.iter().copied())
    }
}

/// How many actions of an anchor are looked through, not searched.
const FEW: usize = 8;

/// What is posted under an entity: nothing, one policy, whose scope says the rest, or the place of
/// a list. In 32 bits, as there are many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place(u32);

/// What a [`Place`] says.
enum Posted {
    Nothing,
    One(RuleNo),
    List(usize),
}

impl Place {
    fn one(rule: RuleNo) -> Result<Self, Full> {
        Ok(Self(rule.checked_mul(2).ok_or(Full)? | 1))
    }

    fn list(place: usize) -> Result<Self, Full> {
        let after = number(place)?.checked_add(1).ok_or(Full)?;
        Ok(Self(after.checked_mul(2).ok_or(Full)?))
    }

    fn posted(self) -> Posted {
        match (self.0 & 1, (self.0 >> 1).checked_sub(1)) {
            (1, _) => Posted::One(self.0 >> 1),
            (_, Some(list)) => Posted::List(at(list)),
            (_, None) => Posted::Nothing,
        }
    }
}

/// Policies by anchor and action.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// By the entity that the scope of the principal names.
    principals: Vec<Place>,
    /// By the entity that the scope of the resource names.
    resources: Vec<Place>,
    /// What several policies of one entity have in `entries`.
    lists: Vec<Span>,
    /// By the type that a scope names, or the value of a path.
    others: HashMap<Anchor, Span, BuildHasherDefault<Mix>>,
    pub(crate) paths: Vec<PathIndex>,
    /// Whether policies are posted under types.
    pub(crate) has_kinds: bool,
    /// Those without an anchor.
    everywhere: Span,
    entries: Vec<Entry>,
    /// By the place of an entry and a second anchor.
    seconds: HashMap<(u32, Anchor), Span, BuildHasherDefault<Mix>>,
    rules: Vec<RuleNo>,
}

/// A path under whose values policies are posted.
#[derive(Debug)]
pub(crate) struct PathIndex {
    pub(crate) no: PathNo,
    pub(crate) path: Path,
    /// Whether it is of use what the value of the path is in.
    pub(crate) has_within: bool,
}

/// The policies of one anchor that name one action, or none.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// None comes first.
    action: Option<EntityNo>,
    /// Those without a second anchor.
    rules: Span,
    /// Whether there are others.
    is_split: bool,
}

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
            principals: vec![Place::default(); entities],
            resources: vec![Place::default(); entities],
            paths: used(&postings, paths)?,
            ..Self::default()
        };
        for group in postings.chunk_by(|a, b| a.0 == b.0) {
            if let [(anchor, _, None, rule)] = group
                && let Some(place) = index.place(*anchor)
            {
                *place = Place::one(*rule)?;
                continue;
            }
            let start = index.entries.len();
            for entry in group.chunk_by(|a, b| a.1 == b.1) {
                index.enter(entry)?;
            }
            let entries = Span::new(start, index.entries.len())?;
            let anchor = group.first().map_or(Anchor::Everywhere, |(anchor, ..)| *anchor);
            index.list(anchor, entries)?;
        }
        let is_kind =
            |anchor: &Anchor| matches!(anchor, Anchor::PrincipalKind(_) | Anchor::ResourceKind(_));
        index.has_kinds = index.others.keys().any(is_kind)
            || index.seconds.keys().any(|(_, second)| is_kind(second));
        trim(&mut index.principals);
        trim(&mut index.resources);
        index.lists.shrink_to_fit();
        index.rules.shrink_to_fit();
        index.entries.shrink_to_fit();
        index.others.shrink_to_fit();
        index.seconds.shrink_to_fit();
        Ok(index)
    }

    /// Adds the policies of one anchor and action.
    fn enter(&mut self, postings: &[Posting]) -> Result<(), Full> {
        let no = number(self.entries.len())?;
        let action = postings.first().and_then(|(_, action, ..)| *action);
        let mut entry = Entry { action, rules: Span::default(), is_split: false };
        for list in postings.chunk_by(|a, b| a.2 == b.2) {
            let from = self.rules.len();
            self.rules.extend(list.iter().map(|(.., rule)| *rule));
            let rules = Span::new(from, self.rules.len())?;
            match list.first().and_then(|(_, _, second, _)| *second) {
                None => entry.rules = rules,
                Some(second) => {
                    entry.is_split = true;
                    self.seconds.insert((no, second), rules);
                }
            }
        }
        self.entries.push(entry);
        Ok(())
    }

    /// Where the policies of an anchor are, if it is an entity.
    fn place(&mut self, anchor: Anchor) -> Option<&mut Place> {
        match anchor {
            Anchor::Principal(entity) => self.principals.get_mut(entity.at()),
            Anchor::Resource(entity) => self.resources.get_mut(entity.at()),
            Anchor::Everywhere
            | Anchor::PrincipalKind(_)
            | Anchor::ResourceKind(_)
            | Anchor::Equal(..)
            | Anchor::Within(..)
            | Anchor::Absent(_)
            | Anchor::NotAnEntity(_) => None,
        }
    }

    fn list(&mut self, anchor: Anchor, entries: Span) -> Result<(), Full> {
        match anchor {
            Anchor::Everywhere => self.everywhere = entries,
            Anchor::Principal(_) | Anchor::Resource(_) => {
                let list = Place::list(self.lists.len())?;
                *self.place(anchor).ok_or(Full)? = list;
                self.lists.push(entries);
            }
            Anchor::PrincipalKind(_)
            | Anchor::ResourceKind(_)
            | Anchor::Equal(..)
            | Anchor::Within(..)
            | Anchor::Absent(_)
            | Anchor::NotAnEntity(_) => drop(self.others.insert(anchor, entries)),
        }
        Ok(())
    }

    /// Whether what is present has to be known to [`find`](Self::find) beyond the entities.
    pub(crate) fn needs_present(&self) -> bool {
        !self.others.is_empty() || !self.seconds.is_empty()
    }

    /// Whether policies are posted under second anchors.
    pub(crate) fn is_split(&self) -> bool {
        !self.seconds.is_empty()
    }

    /// Shows the lists of the policies that a request does not rule out. `present` holds the types
    /// and the values of the paths, and where the index [is split](Self::is_split), the entities
    /// too. A policy can be shown more than once.
    ///
    /// # Errors
    ///
    /// The first of `show`.
    #[inline]
    pub(crate) fn find<E>(
        &self,
        [principal, action, resource]: [Above<'_>; 3],
        present: &[Anchor],
        mut show: impl FnMut(&[RuleNo]) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.everywhere.is_empty() {
            self.narrow(self.everywhere, action, present, &mut show)?;
        }
        let mut look = |posted: Posted| match posted {
            Posted::Nothing => Ok(()),
            Posted::One(rule) => show(&[rule]),
            Posted::List(list) => {
                let list = self.lists.get(list).copied().unwrap_or_default();
                self.narrow(list, action, present, &mut show)
            }
        };
        let at_place = |places: &[Place], entity: EntityNo| {
            places.get(entity.at()).copied().unwrap_or_default().posted()
        };
        principal.iter().try_for_each(|entity| look(at_place(&self.principals, entity)))?;
        resource.iter().try_for_each(|entity| look(at_place(&self.resources, entity)))?;
        if !self.others.is_empty() {
            let mut lists = present.iter().filter_map(|anchor| self.others.get(anchor));
            lists.try_for_each(|list| self.narrow(*list, action, present, &mut show))?;
        }
        Ok(())
    }

    /// Shows the lists of those policies of an anchor that name one of these actions or none.
    fn narrow<E>(
        &self,
        list: Span,
        action: Above<'_>,
        present: &[Anchor],
        show: &mut impl FnMut(&[RuleNo]) -> Result<(), E>,
    ) -> Result<(), E> {
        let entries = list.of(&self.entries);
        let mut enter = |place: usize, entry: &Entry| {
            if !entry.rules.is_empty() {
                show(entry.rules.of(&self.rules))?;
            }
            if entry.is_split
                && let Ok(no) = number(list.start().saturating_add(place))
            {
                let seconds = present.iter().filter_map(|second| self.seconds.get(&(no, *second)));
                seconds.map(|list| list.of(&self.rules)).try_for_each(&mut *show)?;
            }
            Ok(())
        };
        if entries.len() <= FEW {
            let mut named = entries.iter().enumerate();
            return named.try_for_each(|(place, entry)| {
                let is_named = entry.action.is_none_or(|named| action.has(named));
                if is_named { enter(place, entry) } else { Ok(()) }
            });
        }
        std::iter::once(None).chain(action.iter().map(Some)).try_for_each(|action| {
            let place = entries.binary_search_by_key(&action, |entry| entry.action).ok();
            let entry = place.and_then(|place| Some((place, entries.get(place)?)));
            entry.map_or(Ok(()), |(place, entry)| enter(place, entry))
        })
    }
}

/// The paths that are of use.
fn used(postings: &[Posting], paths: Vec<Path>) -> Result<Vec<PathIndex>, Full> {
    let mut uses = vec![None; paths.len()];
    for (first, _, second, _) in postings {
        for anchor in std::iter::once(*first).chain(*second) {
            let within = matches!(anchor, Anchor::Within(..) | Anchor::NotAnEntity(_));
            if let Some(used) = anchor.path().and_then(|path| uses.get_mut(at(path))) {
                *used = Some(used.unwrap_or(false) || within);
            }
        }
    }
    let mut kept = Vec::new();
    for (no, (path, used)) in paths.into_iter().zip(uses).enumerate() {
        if let Some(has_within) = used {
            kept.push(PathIndex { no: number(no)?, path, has_within });
        }
    }
    Ok(kept)
}
