//! One request against one program: what it brings, as numbers.

use super::query::{Name, Query};
use super::{CAPACITY, MAX_CLIMBED, MAX_ITEMS, MAX_OVERLAY, MAX_WORK, Scratch};
use crate::compile::MAX_ANCESTORS;
use crate::entity::Entity;
use crate::index::{Above, Anchor};
use crate::program::Tables;
use crate::symbol::{EntityNo, Facts, Mark, RecordNo, Span, Store, Symbol, Workbench, number};
use crate::term::Stop;

/// What a request knows of an entity besides the program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Overlaid {
    pub(super) entity: EntityNo,
    pub(super) facts: Facts,
    /// Places in [`Memory::parents`].
    parents: Span,
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

/// What a [`Run`] remembers of its request, and where it puts what it finds.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) overlay: Vec<Overlaid>,
    parents: Vec<EntityNo>,
    /// What the entity last looked at is in, where the request adds to it.
    pub(super) climb: Vec<EntityNo>,
    joined: String,
    pub(super) present: Vec<Anchor>,
}

pub(super) type Climbs = [Vec<EntityNo>; 3];

/// One request against one program.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(super) tables: &'a Tables,
    pub(crate) store: Store<'a>,
    pub(crate) bench: &'a mut Workbench,
    pub(super) memory: &'a mut Memory,
    /// What principal, action and resource are in, where the request adds to it. Lent to the
    /// frame.
    pub(super) climbs: Option<&'a mut Climbs>,
    pub(super) asked: &'a mut usize,
    /// What is left of [`MAX_WORK`].
    work: u32,
}

impl<'a> Run<'a> {
    /// Forgets what the scratch holds.
    ///
    /// # Errors
    ///
    /// [`Stop::Full`] where the program leaves no numbers.
    pub(crate) fn begin(tables: &'a Tables, scratch: &'a mut Scratch) -> Result<Self, Stop> {
        scratch.layer.begin(&tables.layer)?;
        scratch.bench.clear();
        scratch.memory.overlay.clear();
        scratch.memory.parents.clear();
        Ok(Self::resume(tables, scratch))
    }

    /// Goes on with what the scratch holds, which has begun with this program.
    pub(super) fn resume(tables: &'a Tables, scratch: &'a mut Scratch) -> Self {
        let Scratch { layer, bench, memory, climbs, asked } = scratch;
        let store = Store::new(&tables.layer, layer, &tables.hasher, CAPACITY);
        Self { tables, store, bench, memory, climbs: Some(climbs), asked, work: MAX_WORK }
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
    pub(super) fn load(&mut self, query: &Query<'_>) -> Result<Asked, Stop> {
        for entity in query.overlay.into_iter().flat_map(|overlay| overlay.own()) {
            self.know(entity)?;
        }
        if let Some(context) = query.context {
            let code = &self.tables.code;
            let wanted = |name| code.reads_whole_context || code.reads(name);
            self.bench.fields(context, &mut self.store, wanted)?;
        }
        Ok(Asked {
            principal: self.name(query.principal)?,
            action: self.name(query.action)?,
            resource: self.name(query.resource)?,
            context: self.context()?,
        })
    }

    fn name(&mut self, name: Name<'_>) -> Result<EntityNo, Stop> {
        Ok(match name {
            Name::Text { kind, id } => self.store.named(kind, id)?,
            Name::Uid(uid) => self.store.uid(uid)?,
            Name::Handle(handle) => handle.number(self.tables, &mut self.store)?,
        })
    }

    fn know(&mut self, entity: &Entity) -> Result<(), Stop> {
        let code = &self.tables.code;
        let facts = Facts::of(entity, self.bench, &mut self.store, |name| code.reads(name))?;
        let number = self.store.uid(&entity.uid)?;
        let start = self.memory.parents.len();
        if start.saturating_add(entity.parents.len()) > MAX_ITEMS {
            return Err(Stop::Full);
        }
        for parent in &entity.parents {
            let parent = self.store.uid(parent)?;
            self.memory.parents.push(parent);
        }
        self.overlay(number, facts, start)
    }

    /// Adds a parent of the entity that is next overlaid.
    pub(crate) fn parent(&mut self, parent: EntityNo) {
        self.memory.parents.push(parent);
    }

    /// How many parents there are.
    pub(crate) const fn parents(&self) -> usize {
        self.memory.parents.len()
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
        let end = self.memory.parents.len();
        // An entity that is known and has nothing reads like one that is not known.
        let has_facts = [facts.attributes, facts.tags] != [RecordNo::EMPTY; 2];
        if !has_facts && parents == end {
            return Ok(());
        }
        if self.memory.overlay.len() >= MAX_OVERLAY || end > MAX_ITEMS {
            return Err(Stop::Full);
        }
        let parents = Span::new(parents, end)?;
        self.memory.overlay.push(Overlaid { entity, facts, parents });
        Ok(())
    }

    /// How much is known, so that what is known later can be forgotten.
    pub(crate) const fn mark(&self) -> Known {
        let Memory { overlay, parents, .. } = &*self.memory;
        Known { overlaid: overlay.len(), parents: parents.len(), made: self.store.mark() }
    }

    /// Forgets what was known since, but for the numbers of texts and entities.
    pub(crate) fn forget(&mut self, since: Known) {
        self.bench.clear();
        self.memory.overlay.truncate(since.overlaid);
        self.memory.parents.truncate(since.parents);
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
        self.memory.joined.clear();
        parts.iter().for_each(|part| self.memory.joined.push_str(part));
        Ok(self.store.symbol(&self.memory.joined)?)
    }

    /// Begins the work of one answer.
    pub(super) const fn begin_work(&mut self) {
        self.work = MAX_WORK;
    }

    /// Counts work.
    ///
    /// # Errors
    ///
    /// [`Stop::Full`] beyond [`MAX_WORK`].
    pub(super) fn spend(&mut self, work: u32) -> Result<(), Stop> {
        self.work = self.work.checked_sub(work).ok_or(Stop::Full)?;
        Ok(())
    }

    /// As [`spend`](Self::spend), as much as there are items.
    pub(super) fn spend_on(&mut self, items: usize) -> Result<(), Stop> {
        self.spend(number(items)?)
    }
}

impl Memory {
    /// An entity and all that it is in: as the program knows it, or climbed to in `into`.
    ///
    /// # Errors
    ///
    /// [`Stop::Full`] where these are too many.
    pub(super) fn above<'m>(
        &self,
        entity: EntityNo,
        tables: &'m Tables,
        into: &'m mut Vec<EntityNo>,
    ) -> Result<Above<'m>, Stop> {
        let known = Above { entity, above: tables.above(entity) };
        if !self.parents.is_empty() && self.adds_to(known) {
            self.climb(known, tables, into)?;
            return Ok(Above { entity, above: into });
        }
        // The entity counts too.
        if known.above.len() < MAX_ANCESTORS { Ok(known) } else { Err(Stop::Full) }
    }

    /// Whether the request knows parents of an entity or of what it is in.
    fn adds_to(&self, known: Above<'_>) -> bool {
        let mut overlay = self.overlay.iter();
        overlay.any(|overlaid| !overlaid.parents.is_empty() && known.has(overlaid.entity))
    }

    /// Follows the parents that the request knows, until they lead nowhere new; sorted, without the
    /// entity itself.
    fn climb(
        &self,
        known: Above<'_>,
        tables: &Tables,
        into: &mut Vec<EntityNo>,
    ) -> Result<(), Stop> {
        into.clear();
        into.extend(known.iter());
        // One bit for each of at most MAX_OVERLAY.
        let mut followed = 0_u64;
        loop {
            into.sort_unstable();
            into.dedup();
            if into.len() > MAX_ANCESTORS {
                return Err(Stop::Full);
            }
            let reached = into.len();
            let bits = std::iter::successors(Some(1_u64), |bit| bit.checked_shl(1));
            for (bit, overlaid) in bits.zip(&self.overlay) {
                let is_new = followed & bit == 0 && !overlaid.parents.is_empty();
                let is_reached =
                    |sorted: &[EntityNo]| sorted.binary_search(&overlaid.entity).is_ok();
                if is_new && into.get(..reached).is_some_and(is_reached) {
                    followed |= bit;
                    for parent in overlaid.parents.of(&self.parents) {
                        into.push(*parent);
                        into.extend_from_slice(tables.above(*parent));
                        if into.len() > MAX_CLIMBED {
                            return Err(Stop::Full);
                        }
                    }
                }
            }
            if into.len() == reached {
                into.retain(|reached| *reached != known.entity);
                return Ok(());
            }
        }
    }
}
