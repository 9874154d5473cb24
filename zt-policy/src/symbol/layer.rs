//! Texts, entities, sets and records, each once.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::RandomState;

use super::table::{Table, tag};
use super::{Capacity, EntityNo, Field, Full, Mix, Span, Symbol, Term, at, number};

/// Texts, each once.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts {
    first: u32,
    text: String,
    /// Where each begins; it ends where the next begins.
    starts: Vec<u32>,
    table: Table,
}

impl Texts {
    fn begin(&mut self, first: u32) {
        self.first = first;
        self.text.clear();
        self.starts.clear();
        self.table.truncate(0);
    }

    pub(super) fn get(&self, symbol: Symbol) -> Option<&str> {
        let (start, end) = self.bounds(at(symbol.0.checked_sub(self.first)?))?;
        self.text.get(start..end)
    }

    fn bounds(&self, place: usize) -> Option<(usize, usize)> {
        let start = at(*self.starts.get(place)?);
        let next = self.starts.get(place.wrapping_add(1));
        Some((start, next.map_or(self.text.len(), |next| at(*next))))
    }

    fn is_at(&self, place: usize, text: &str) -> bool {
        let bounds = self.bounds(place);
        let held = bounds.and_then(|(start, end)| self.text.as_bytes().get(start..end));
        held == Some(text.as_bytes())
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, text: &str) -> Option<Symbol> {
        let is = |place: usize| self.is_at(place, text);
        Some(Symbol(place_after(self.first, self.table.find(hash, is)?)?))
    }

    /// Half of the hash of a text.
    pub(super) fn tag(&self, symbol: Symbol) -> Option<u32> {
        self.table.tag(at(symbol.0.checked_sub(self.first)?))
    }

    fn is(&self, symbol: Symbol, text: &str) -> bool {
        symbol.0.checked_sub(self.first).is_some_and(|place| self.is_at(at(place), text))
    }

    pub(super) fn add(
        &mut self,
        hash: u64,
        text: &str,
        capacity: Capacity,
    ) -> Result<Symbol, Full> {
        let symbol = place_after(self.first, self.starts.len()).ok_or(Full)?;
        let start = self.text.len();
        let end = start.checked_add(text.len()).ok_or(Full)?;
        if self.starts.len() >= capacity.things || end > capacity.bytes {
            return Err(Full);
        }
        let span = Span::new(start, end)?;
        self.table.add(hash)?;
        self.starts.push(span.start);
        self.text.push_str(text);
        Ok(Symbol(symbol))
    }
}

/// Entities, each once, as their types and IDs.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    first: u32,
    names: Vec<[Symbol; 2]>,
    table: Table,
}

impl Names {
    fn begin(&mut self, first: u32) {
        self.first = first;
        self.names.clear();
        self.table.truncate(0);
    }

    pub(super) fn get(&self, entity: EntityNo) -> Option<[Symbol; 2]> {
        self.names.get(at(entity.0.checked_sub(self.first)?)).copied()
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, is: impl Fn([Symbol; 2]) -> bool) -> Option<EntityNo> {
        let is = |place: usize| self.names.get(place).is_some_and(|name| is(*name));
        let place = self.table.find(hash, is)?;
        Some(EntityNo(place_after(self.first, place)?))
    }

    pub(super) fn add(
        &mut self,
        hash: u64,
        name: [Symbol; 2],
        capacity: Capacity,
    ) -> Result<EntityNo, Full> {
        let entity = place_after(self.first, self.names.len()).ok_or(Full)?;
        if self.names.len() >= capacity.things {
            return Err(Full);
        }
        self.table.add(hash)?;
        self.names.push(name);
        Ok(EntityNo(entity))
    }
}

/// Lists of items, each once, or for one owner.
#[derive(Clone, Debug)]
pub(super) struct Lists<T> {
    first: u32,
    items: Vec<T>,
    spans: Vec<Span>,
    table: Table,
}

impl<T> Default for Lists<T> {
    fn default() -> Self {
        Self { first: 0, items: Vec::new(), spans: Vec::new(), table: Table::default() }
    }
}

impl<T: Copy + Eq> Lists<T> {
    fn begin(&mut self, first: u32) {
        self.first = first;
        self.items.clear();
        self.spans.clear();
        self.table.truncate(0);
    }

    /// Forgets all but the first lists.
    fn truncate(&mut self, len: usize) {
        if self.spans.len() > len {
            self.spans.truncate(len);
            self.items.truncate(self.spans.last().map_or(0, |span| at(span.end)));
            self.table.truncate(len);
        }
    }

    pub(super) fn get(&self, list: u32) -> Option<&[T]> {
        let span = self.spans.get(at(list.checked_sub(self.first)?))?;
        Some(span.of(&self.items))
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, items: &[T]) -> Option<u32> {
        let is =
            |place: usize| self.spans.get(place).map(|span| span.of(&self.items)) == Some(items);
        place_after(self.first, self.table.find(hash, is)?)
    }

    /// Adds a list; without a hash it is never found.
    pub(super) fn add(
        &mut self,
        hash: Option<u64>,
        items: &[T],
        capacity: Capacity,
    ) -> Result<u32, Full> {
        let list = place_after(self.first, self.spans.len()).ok_or(Full)?;
        let start = self.items.len();
        let end = start.checked_add(items.len()).ok_or(Full)?;
        if self.spans.len() >= capacity.things || end > capacity.items {
            return Err(Full);
        }
        let span = Span::new(start, end)?;
        match hash {
            Some(hash) => self.table.add(hash)?,
            None => self.table.add_hidden()?,
        }
        self.spans.push(span);
        self.items.extend_from_slice(items);
        Ok(list)
    }
}

/// The hash of a text.
pub(crate) fn hash(hasher: &RandomState, text: &str) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// The hash of an entity, by those of the texts of its type and its ID.
pub(super) fn pair(kind: u32, id: u32) -> u64 {
    let mut mix = Mix::default();
    mix.write_u32(kind);
    mix.write_u32(id);
    mix.finish()
}

fn place_after(first: u32, place: usize) -> Option<u32> {
    first.checked_add(u32::try_from(place).ok()?)
}

/// One layer of numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layer {
    pub(super) texts: Texts,
    pub(super) entities: Names,
    pub(super) sets: Lists<Term>,
    pub(super) records: Lists<Field>,
}

/// What a layer knows of a text.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    /// Its number.
    Known(Symbol),
    /// Nothing: its hash.
    New(u64),
}

/// What a program knows of a type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kind {
    /// Whether it is the type of an entity, or named as one.
    pub(crate) is_named: bool,
    /// The lengths of the IDs of its entities, a bit for each, those that differ by 64 in one: most
    /// names that a request brings and no policy has are known not to be there by that.
    lengths: u64,
}

impl Kind {
    fn length(id: &str) -> u64 {
        1 << (id.len() % 64)
    }

    /// Whether there may be an entity of this ID.
    pub(crate) fn may_have(self, id: &str) -> bool {
        self.lengths & Self::length(id) != 0
    }
}

/// How many sets and records a layer had.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    sets: usize,
    records: usize,
}

impl Layer {
    /// Forgets all, to continue behind `base`.
    ///
    /// # Errors
    ///
    /// [`Full`] where `base` leaves no number.
    pub(crate) fn begin(&mut self, base: &Self) -> Result<(), Full> {
        let after = |first, len| place_after(first, len).ok_or(Full);
        self.texts.begin(after(base.texts.first, base.texts.starts.len())?);
        self.entities.begin(after(base.entities.first, base.entities.names.len())?);
        self.sets.begin(after(base.sets.first, base.sets.spans.len())?);
        self.records.begin(after(base.records.first, base.records.spans.len())?);
        Ok(())
    }

    /// What it knows of a text.
    #[inline]
    pub(crate) fn part(&self, hash: u64, text: &str) -> Part {
        self.texts.find(hash, text).map_or(Part::New(hash), Part::Known)
    }

    /// The entity of this type and ID, by their hashes and texts.
    #[inline]
    pub(crate) fn named(&self, [kind, id]: [(u64, &str); 2]) -> Option<EntityNo> {
        let is = |[its_kind, its_id]: [Symbol; 2]| {
            self.texts.is(its_id, id.1) && self.texts.is(its_kind, kind.1)
        };
        self.entities.find(pair(tag(kind.0), tag(id.0)), is)
    }

    /// The entity of this hash and type, by the text of its ID.
    #[inline]
    pub(super) fn of_kind(&self, hash: u64, kind: Symbol, id: &str) -> Option<EntityNo> {
        self.entities.find(hash, |[its_kind, its_id]| its_kind == kind && self.texts.is(its_id, id))
    }

    /// Where its sets and records end.
    pub(crate) const fn mark(&self) -> Mark {
        Mark { sets: self.sets.spans.len(), records: self.records.spans.len() }
    }

    /// Forgets the sets and records that were made since. Nothing may hold their numbers.
    pub(crate) fn rewind(&mut self, mark: Mark) {
        self.sets.truncate(mark.sets);
        self.records.truncate(mark.records);
    }

    /// For each text of the first layer what there is of it as a type.
    pub(crate) fn kinds(&self) -> Vec<Kind> {
        let mut kinds = vec![Kind::default(); self.texts.starts.len()];
        for [kind, id] in &self.entities.names {
            if let (Some(kind), Some(id)) = (kinds.get_mut(kind.at()), self.texts.get(*id)) {
                kind.is_named = true;
                kind.lengths |= Kind::length(id);
            }
        }
        kinds
    }

    /// All of its entities, in their order; it has to be the first layer.
    pub(crate) fn entities(&self) -> impl Iterator<Item = EntityNo> {
        (0..number(self.entities.names.len()).unwrap_or(u32::MAX)).map(EntityNo)
    }

    /// A text of this layer.
    pub(crate) fn text(&self, symbol: Symbol) -> Option<&str> {
        self.texts.get(symbol)
    }

    /// The type and the ID of an entity of this layer.
    pub(crate) fn name(&self, entity: EntityNo) -> Option<[Symbol; 2]> {
        self.entities.get(entity)
    }

    /// Gives back memory that no more is put into.
    ///
    /// # Errors
    ///
    /// [`Full`] never, where it was put together.
    pub(crate) fn shrink(&mut self) -> Result<(), Full> {
        self.texts.text.shrink_to_fit();
        self.texts.starts.shrink_to_fit();
        // The hash of an entity is made of the tags of its texts.
        self.texts.table.shrink()?;
        self.entities.names.shrink_to_fit();
        self.entities.table.shrink_untagged()?;
        self.sets.shrink()?;
        self.records.shrink()
    }
}

impl<T> Lists<T> {
    fn shrink(&mut self) -> Result<(), Full> {
        self.items.shrink_to_fit();
        self.spans.shrink_to_fit();
        self.table.shrink_untagged()
    }
}
