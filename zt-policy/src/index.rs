//! Which policies a request can concern.
//!
//! Every policy is posted once, under its *anchor*: the entity that its scope names for the
//! principal or for the resource, whichever has fewer policies, or nothing where the scope names
//! neither. Each posting is divided by the actions that its policies name. A decision looks under
//! the principal and all that it is in, under the resource and all that it is in, and under
//! nothing, each for the action, all that it is in, and policies of any action. What it finds
//! there it asks; every other policy's scope rules the request out, which never errs.

use crate::symbol::{EntityNo, Full, Span};

/// The place of a policy in its set.
pub(crate) type RuleNo = u32;

/// Policies by anchor and action.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// By the entity that the scope of the principal names.
    principals: Vec<Span>,
    /// By the entity that the scope of the resource names.
    resources: Vec<Span>,
    /// Those without an anchor.
    everywhere: Span,
    entries: Vec<Entry>,
    rules: Vec<RuleNo>,
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
}

/// A policy under its anchor, and an action that it names, if it names any.
pub(crate) type Posting = (Anchor, Option<EntityNo>, RuleNo);

impl Index {
    /// The index of these postings.
    ///
    /// # Errors
    ///
    /// [`Full`] beyond 32 bits.
    pub(crate) fn new(mut postings: Vec<Posting>, entities: usize) -> Result<Self, Full> {
        postings.sort_unstable();
        postings.dedup();
        let mut index = Self {
            principals: vec![Span::default(); entities],
            resources: vec![Span::default(); entities],
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
            let place = match anchor {
                Anchor::Everywhere => Some(&mut index.everywhere),
                Anchor::Principal(entity) => index.principals.get_mut(entity.at()),
                Anchor::Resource(entity) => index.resources.get_mut(entity.at()),
            };
            *place.ok_or(Full)? = entries;
        }
        Ok(index)
    }

    /// Shows every policy that these entities, each with all that it is in, do not rule out. One
    /// that names several actions may be shown more than once.
    ///
    /// # Errors
    ///
    /// What `show` says.
    pub(crate) fn each<E>(
        &self,
        principal: &[EntityNo],
        action: &[EntityNo],
        resource: &[EntityNo],
        mut show: impl FnMut(RuleNo) -> Result<(), E>,
    ) -> Result<(), E> {
        self.list(self.everywhere, action, &mut show)?;
        for (entities, anchors) in [(principal, &self.principals), (resource, &self.resources)] {
            for entity in entities {
                let list = anchors.get(entity.at()).copied().unwrap_or_default();
                self.list(list, action, &mut show)?;
            }
        }
        Ok(())
    }

    fn list<E>(
        &self,
        list: Span,
        actions: &[EntityNo],
        show: &mut impl FnMut(RuleNo) -> Result<(), E>,
    ) -> Result<(), E> {
        if list.is_empty() {
            return Ok(());
        }
        let entries = list.of(&self.entries);
        for action in std::iter::once(None).chain(actions.iter().copied().map(Some)) {
            let Ok(place) = entries.binary_search_by_key(&action, |entry| entry.action) else {
                continue;
            };
            let rules = entries.get(place).map_or(Span::default(), |entry| entry.rules);
            rules.of(&self.rules).iter().try_for_each(|rule| show(*rule))?;
        }
        Ok(())
    }
}
