//! Numbers for texts, entities, sets and records, so that equal things have equal numbers and
//! nothing is compared twice.
//!
//! Numbers are given out in two layers: a program's own, which never change, and behind them those
//! of one request, which live in memory that the next request uses again. What both know has the
//! program's number. A request can be given a limited amount only.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};

use foldhash::quality::RandomState;

use crate::entity::Entity;
use crate::extension::datetime::DateTime;
use crate::extension::decimal::Decimal;
use crate::extension::duration::Duration;
use crate::extension::ip::IpNet;
use crate::name::EntityUid;
use crate::value::{Record, Value};

/// The number of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Symbol(u32);

/// The number of an entity, known or only named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EntityNo(u32);

/// The number of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SetNo(u32);

/// The number of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RecordNo(u32);

impl RecordNo {
    /// The record without fields, which every layer's program holds first.
    pub(crate) const EMPTY: Self = Self(0);
}

macro_rules! indexed {
    ($($name:ident),*) => {
        $(impl $name {
            /// As an index.
            pub(crate) fn at(self) -> usize {
                at(self.0)
            }
        })*
    };
}

indexed! { Symbol, EntityNo }

/// A value whose parts are numbers. Two are equal where the values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Term {
    Bool(bool),
    Long(i64),
    Text(Symbol),
    Entity(EntityNo),
    Set(SetNo),
    Record(RecordNo),
    Decimal(Decimal),
    Ip(IpNet),
    DateTime(DateTime),
    Duration(Duration),
}

/// A named value.
pub(crate) type Field = (Symbol, Term);

/// A part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// From here to there.
    ///
    /// # Errors
    ///
    /// [`Full`] beyond 32 bits.
    pub(crate) fn new(start: usize, end: usize) -> Result<Self, Full> {
        Ok(Self { start: number(start)?, end: number(end)? })
    }

    /// What lies there.
    pub(crate) fn of<T>(self, all: &[T]) -> &[T] {
        all.get(at(self.start)..at(self.end)).unwrap_or_default()
    }

    /// Whether nothing lies there.
    pub(crate) const fn is_empty(self) -> bool {
        self.start >= self.end
    }
}

/// There is no room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// How much a layer takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    /// Texts, entities, sets and records, each.
    pub(crate) things: usize,
    /// Bytes of all texts.
    pub(crate) bytes: usize,
    /// Members of all sets, and fields of all records, each.
    pub(crate) items: usize,
}

/// As an index.
pub(crate) fn at(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// An index as a number.
///
/// # Errors
///
/// [`Full`] beyond 32 bits.
pub(crate) fn number(index: usize) -> Result<u32, Full> {
    u32::try_from(index).map_err(|_| Full)
}

/// Where the things of one hash are found.
#[derive(Clone, Debug, Default)]
struct Table {
    // The place last added under a hash; the one added before it stands in `before`.
    last: HashMap<u64, u32, BuildHasherDefault<Mix>>,
    before: Vec<u32>,
    hashes: Vec<u64>,
}

const NONE: u32 = u32::MAX;

impl Table {
    fn clear(&mut self) {
        if !self.before.is_empty() {
            self.last.clear();
            self.before.clear();
            self.hashes.clear();
        }
    }

    fn find(&self, hash: u64, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut place = *self.last.get(&hash)?;
        while !is(place) {
            place = *self.before.get(at(place))?;
        }
        Some(place)
    }

    /// Adds the next place, counted from 0.
    fn add(&mut self, hash: u64, place: u32) {
        let before = self.last.insert(hash, place).unwrap_or(NONE);
        self.before.push(before);
        self.hashes.push(hash);
    }

    /// Forgets all but the first places.
    fn truncate(&mut self, len: usize) {
        while self.before.len() > len {
            match (self.before.pop(), self.hashes.pop()) {
                (Some(NONE), Some(hash)) => drop(self.last.remove(&hash)),
                (Some(before), Some(hash)) => drop(self.last.insert(hash, before)),
                (None, _) | (_, None) => return,
            }
        }
    }
}

/// A quick hasher for numbers, and for hashes already made; not for what a peer chooses, except to
/// look it up in a table that the peer cannot change.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        let mixed = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }

    fn write_i64(&mut self, value: i64) {
        self.write_u64(value.cast_unsigned());
    }

    fn write_isize(&mut self, value: isize) {
        self.write_u64(u64::try_from(value).unwrap_or(u64::MAX));
    }
}

/// Texts, each once.
#[derive(Clone, Debug, Default)]
struct Texts {
    first: u32,
    text: String,
    spans: Vec<Span>,
    table: Table,
}

impl Texts {
    fn begin(&mut self, first: u32) {
        self.first = first;
        self.text.clear();
        self.spans.clear();
        self.table.clear();
    }

    fn next(&self) -> Result<u32, Full> {
        self.first.checked_add(number(self.spans.len())?).ok_or(Full)
    }

    fn get(&self, symbol: Symbol) -> Option<&str> {
        let span = self.spans.get(at(symbol.0.checked_sub(self.first)?))?;
        self.text.get(at(span.start)..at(span.end))
    }

    fn find(&self, hash: u64, text: &str) -> Option<Symbol> {
        let symbol = |place: u32| Symbol(place.saturating_add(self.first));
        self.table.find(hash, |place| self.get(symbol(place)) == Some(text)).map(symbol)
    }

    fn add(&mut self, hash: u64, text: &str, capacity: Capacity) -> Result<Symbol, Full> {
        let (symbol, place) = (Symbol(self.next()?), number(self.spans.len())?);
        let start = self.text.len();
        let end = start.checked_add(text.len()).ok_or(Full)?;
        if self.spans.len() >= capacity.things || end > capacity.bytes {
            return Err(Full);
        }
        self.spans.push(Span::new(start, end)?);
        self.text.push_str(text);
        self.table.add(hash, place);
        Ok(symbol)
    }
}

/// Lists of items, each once, or for one owner.
#[derive(Clone, Debug)]
struct Lists<T> {
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
        self.table.clear();
    }

    /// Forgets all but the first lists.
    fn truncate(&mut self, len: usize) {
        if self.spans.len() > len {
            self.spans.truncate(len);
            self.items.truncate(self.spans.last().map_or(0, |span| at(span.end)));
            self.table.truncate(len);
        }
    }

    fn next(&self) -> Result<u32, Full> {
        self.first.checked_add(number(self.spans.len())?).ok_or(Full)
    }

    fn get(&self, list: u32) -> Option<&[T]> {
        let span = self.spans.get(at(list.checked_sub(self.first)?))?;
        Some(span.of(&self.items))
    }

    fn find(&self, hash: u64, items: &[T]) -> Option<u32> {
        let list = |place: u32| place.saturating_add(self.first);
        self.table.find(hash, |place| self.get(list(place)) == Some(items)).map(list)
    }

    fn add(&mut self, hash: u64, items: &[T], capacity: Capacity) -> Result<u32, Full> {
        let (list, place) = (self.next()?, number(self.spans.len())?);
        let start = self.items.len();
        let end = start.checked_add(items.len()).ok_or(Full)?;
        if self.spans.len() >= capacity.things || end > capacity.items {
            return Err(Full);
        }
        self.spans.push(Span::new(start, end)?);
        self.items.extend_from_slice(items);
        self.table.add(hash, place);
        Ok(list)
    }
}

/// One layer of numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layer {
    texts: Texts,
    entities: Lists<Symbol>,
    sets: Lists<Term>,
    records: Lists<Field>,
}

impl Layer {
    /// Forgets all, to continue behind `base`.
    ///
    /// # Errors
    ///
    /// [`Full`] where `base` leaves no number.
    pub(crate) fn begin(&mut self, base: &Self) -> Result<(), Full> {
        self.texts.begin(base.texts.next()?);
        self.entities.begin(base.entities.next()?);
        self.sets.begin(base.sets.next()?);
        self.records.begin(base.records.next()?);
        Ok(())
    }

    /// For each text of the first layer whether it is the type of an entity.
    pub(crate) fn kinds(&self) -> Vec<bool> {
        let mut kinds = vec![false; self.texts.spans.len()];
        for [kind, _] in self.entities.items.as_chunks().0 {
            if let Some(is_kind) = kinds.get_mut(kind.at()) {
                *is_kind = true;
            }
        }
        kinds
    }

    /// All of its entities, in their order; it has to be the first layer.
    pub(crate) fn entities(&self) -> impl Iterator<Item = EntityNo> {
        (0..u32::try_from(self.entities.spans.len()).unwrap_or(NONE)).map(EntityNo)
    }
}

/// How many sets and records a layer had.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    sets: usize,
    records: usize,
}

/// Numbers of a program, and behind them those of a request.
#[derive(Debug)]
pub(crate) struct Store<'a> {
    base: &'a Layer,
    local: &'a mut Layer,
    hasher: &'a RandomState,
    capacity: Capacity,
}

impl<'a> Store<'a> {
    /// Continues `base` in `local`, which has begun there.
    pub(crate) const fn new(
        base: &'a Layer,
        local: &'a mut Layer,
        hasher: &'a RandomState,
        capacity: Capacity,
    ) -> Self {
        Self { base, local, hasher, capacity }
    }

    /// Where the sets and records of the request end.
    pub(crate) const fn mark(&self) -> Mark {
        Mark { sets: self.local.sets.spans.len(), records: self.local.records.spans.len() }
    }

    /// Forgets the sets and records that were made since. Nothing may hold their numbers.
    pub(crate) fn rewind(&mut self, mark: Mark) {
        self.local.sets.truncate(mark.sets);
        self.local.records.truncate(mark.records);
    }

    /// The number of a text.
    ///
    /// # Errors
    ///
    /// [`Full`] where there is no room.
    pub(crate) fn symbol(&mut self, text: &str) -> Result<Symbol, Full> {
        let hash = self.hasher.hash_one(text);
        let found = self.base.texts.find(hash, text).or_else(|| self.local.texts.find(hash, text));
        match found {
            Some(symbol) => Ok(symbol),
            None => self.local.texts.add(hash, text, self.capacity),
        }
    }

    /// The number of a text that the program has.
    pub(crate) fn known_symbol(&self, text: &str) -> Option<Symbol> {
        self.base.texts.find(self.hasher.hash_one(text), text)
    }

    /// The text.
    pub(crate) fn text(&self, symbol: Symbol) -> &str {
        self.base.texts.get(symbol).or_else(|| self.local.texts.get(symbol)).unwrap_or_default()
    }

    /// The number of an entity.
    ///
    /// # Errors
    ///
    /// [`Full`] where there is no room.
    pub(crate) fn entity(&mut self, kind: Symbol, id: Symbol) -> Result<EntityNo, Full> {
        let (hash, name) = (pair(kind, id), [kind, id]);
        let found =
            self.base.entities.find(hash, &name).or_else(|| self.local.entities.find(hash, &name));
        match found {
            Some(entity) => Ok(EntityNo(entity)),
            None => self.local.entities.add(hash, &name, self.capacity).map(EntityNo),
        }
    }

    /// The number of an entity that the program has.
    pub(crate) fn known_entity(&self, kind: Symbol, id: Symbol) -> Option<EntityNo> {
        self.base.entities.find(pair(kind, id), &[kind, id]).map(EntityNo)
    }

    /// The type of an entity.
    pub(crate) fn kind(&self, entity: EntityNo) -> Option<Symbol> {
        let name = self.base.entities.get(entity.0).or_else(|| self.local.entities.get(entity.0));
        name?.first().copied()
    }

    /// The number of the set of these members, which are sorted for it.
    ///
    /// # Errors
    ///
    /// [`Full`] where there is no room.
    pub(crate) fn set(&mut self, members: &mut [Term]) -> Result<SetNo, Full> {
        members.sort_unstable();
        let mut kept = 0_usize;
        for next in 0..members.len() {
            let repeats =
                kept.checked_sub(1).is_some_and(|last| members.get(last) == members.get(next));
            if !repeats {
                members.swap(kept, next);
                kept = kept.saturating_add(1);
            }
        }
        let members = members.get(..kept).unwrap_or_default();
        let hash = self.hasher.hash_one(members);
        let found =
            self.base.sets.find(hash, members).or_else(|| self.local.sets.find(hash, members));
        match found {
            Some(set) => Ok(SetNo(set)),
            None => self.local.sets.add(hash, members, self.capacity).map(SetNo),
        }
    }

    /// The members of a set, sorted.
    pub(crate) fn members(&self, set: SetNo) -> &[Term] {
        self.base.sets.get(set.0).or_else(|| self.local.sets.get(set.0)).unwrap_or_default()
    }

    /// The number of the record of these fields, whose names differ and which are sorted for it.
    ///
    /// # Errors
    ///
    /// [`Full`] where there is no room.
    pub(crate) fn record(&mut self, fields: &mut [Field]) -> Result<RecordNo, Full> {
        fields.sort_unstable_by_key(|(name, _)| *name);
        let fields = &*fields;
        let hash = self.hasher.hash_one(fields);
        let found =
            self.base.records.find(hash, fields).or_else(|| self.local.records.find(hash, fields));
        match found {
            Some(record) => Ok(RecordNo(record)),
            None => self.local.records.add(hash, fields, self.capacity).map(RecordNo),
        }
    }

    /// A record that nothing is ever compared with.
    ///
    /// # Errors
    ///
    /// [`Full`] where there is no room.
    pub(crate) fn own_record(&mut self, fields: &mut [Field]) -> Result<RecordNo, Full> {
        if fields.is_empty() {
            return Ok(RecordNo::EMPTY);
        }
        fields.sort_unstable_by_key(|(name, _)| *name);
        self.local.records.add(0, fields, self.capacity).map(RecordNo)
    }

    /// One field of a record.
    pub(crate) fn field(&self, record: RecordNo, name: Symbol) -> Option<Term> {
        let records = &self.base.records;
        let fields = records.get(record.0).or_else(|| self.local.records.get(record.0))?;
        let place = fields.binary_search_by_key(&name, |(name, _)| *name).ok()?;
        fields.get(place).map(|(_, value)| *value)
    }

    /// The number of an entity, by its name.
    ///
    /// # Errors
    ///
    /// [`Full`] where there is no room.
    pub(crate) fn uid(&mut self, uid: &EntityUid) -> Result<EntityNo, Full> {
        let (kind, id) = (self.symbol(uid.kind().as_str())?, self.symbol(uid.id())?);
        self.entity(kind, id)
    }
}

fn pair(kind: Symbol, id: Symbol) -> u64 {
    let mut mix = Mix::default();
    (kind, id).hash(&mut mix);
    mix.finish()
}

/// Where values are put together before they get their number.
#[derive(Debug, Default)]
pub(crate) struct Workbench {
    pub(crate) terms: Vec<Term>,
    pub(crate) fields: Vec<Field>,
}

impl Workbench {
    /// Forgets what lies there.
    pub(crate) fn clear(&mut self) {
        self.terms.clear();
        self.fields.clear();
    }

    /// The set of what lies on the bench from `start` on, which it takes away.
    ///
    /// # Errors
    ///
    /// [`Full`] where there is no room.
    pub(crate) fn set(&mut self, start: usize, store: &mut Store<'_>) -> Result<Term, Full> {
        let set = store.set(self.terms.get_mut(start..).unwrap_or_default())?;
        self.terms.truncate(start);
        Ok(Term::Set(set))
    }

    /// The record of what lies on the bench from `start` on, which it takes away.
    ///
    /// # Errors
    ///
    /// [`Full`] where there is no room.
    pub(crate) fn record(&mut self, start: usize, store: &mut Store<'_>) -> Result<RecordNo, Full> {
        let record = store.record(self.fields.get_mut(start..).unwrap_or_default())?;
        self.fields.truncate(start);
        Ok(record)
    }

    /// As [`Workbench::record`], of a record that nothing is ever compared with.
    ///
    /// # Errors
    ///
    /// [`Full`] where there is no room.
    pub(crate) fn own_record(
        &mut self,
        start: usize,
        store: &mut Store<'_>,
    ) -> Result<RecordNo, Full> {
        let record = store.own_record(self.fields.get_mut(start..).unwrap_or_default())?;
        self.fields.truncate(start);
        Ok(record)
    }

    /// A value as a term. It recurses as deep as the value is nested, which is bounded where
    /// values come in.
    ///
    /// # Errors
    ///
    /// [`Full`] where there is no room.
    pub(crate) fn term(&mut self, value: &Value, store: &mut Store<'_>) -> Result<Term, Full> {
        Ok(match value {
            Value::Bool(value) => Term::Bool(*value),
            Value::Long(value) => Term::Long(*value),
            Value::String(value) => Term::Text(store.symbol(value)?),
            Value::Entity(value) => Term::Entity(store.uid(value)?),
            Value::Decimal(value) => Term::Decimal(*value),
            Value::Ip(value) => Term::Ip(*value),
            Value::DateTime(value) => Term::DateTime(*value),
            Value::Duration(value) => Term::Duration(*value),
            Value::Set(members) => {
                let start = self.terms.len();
                for member in &**members {
                    let member = self.term(member, store)?;
                    self.terms.push(member);
                }
                self.set(start, store)?
            }
            Value::Record(fields) => {
                let start = self.fields.len();
                self.fields(fields, store, |_| true)?;
                Term::Record(self.record(start, store)?)
            }
        })
    }

    /// Puts fields on the bench, those whose names are asked for.
    ///
    /// # Errors
    ///
    /// [`Full`] where there is no room.
    pub(crate) fn fields(
        &mut self,
        fields: &Record,
        store: &mut Store<'_>,
        wanted: impl Fn(Symbol) -> bool,
    ) -> Result<(), Full> {
        for (name, value) in fields {
            let name = store.symbol(name)?;
            if wanted(name) {
                let value = self.term(value, store)?;
                self.fields.push((name, value));
            }
        }
        Ok(())
    }
}

/// What a layer of a program knows of an entity of its base.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) attributes: RecordNo,
    pub(crate) tags: RecordNo,
}

impl Facts {
    /// The facts of an entity.
    ///
    /// # Errors
    ///
    /// [`Full`] where there is no room.
    pub(crate) fn of(
        entity: &Entity,
        bench: &mut Workbench,
        store: &mut Store<'_>,
        wanted: impl Fn(Symbol) -> bool,
    ) -> Result<Self, Full> {
        let start = bench.fields.len();
        bench.fields(&entity.attributes, store, wanted)?;
        let attributes = bench.own_record(start, store)?;
        bench.fields(&entity.tags, store, |_| true)?;
        let tags = bench.own_record(start, store)?;
        Ok(Self { attributes, tags })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Capacity = Capacity { things: 3, bytes: 8, items: 4 };

    fn with_store(test: impl FnOnce(&mut Store<'_>)) {
        let (empty, hasher) = (Layer::default(), RandomState::default());
        let (mut base, mut local) = (Layer::default(), Layer::default());
        let big = Capacity { things: 100, bytes: 100, items: 100 };
        let mut store = Store::new(&empty, &mut base, &hasher, big);
        store.record(&mut []).unwrap();
        store.symbol("known").unwrap();
        local.begin(&base).unwrap();
        test(&mut Store::new(&base, &mut local, &hasher, SMALL));
    }

    #[test]
    fn a_text_has_one_number_and_a_known_one_that_of_the_program() {
        with_store(|store| {
            let known = store.known_symbol("known").unwrap();
            assert_eq!(store.symbol("known"), Ok(known));
            let new = store.symbol("new").unwrap();
            assert_eq!((store.known_symbol("new"), store.symbol("new")), (None, Ok(new)));
            assert_eq!((store.text(known), store.text(new)), ("known", "new"));
        });
    }

    #[test]
    fn a_set_has_one_number_whatever_its_order_and_repetitions() {
        with_store(|store| {
            let mut set = |numbers: &[i64]| {
                let mut members: Vec<_> = numbers.iter().map(|n| Term::Long(*n)).collect();
                store.set(&mut members).unwrap()
            };
            assert_eq!(set(&[1, 2, 1, 1]), set(&[2, 1]));
            assert_ne!(set(&[1]), set(&[1, 2]));
        });
    }

    #[test]
    fn what_was_made_since_a_mark_is_forgotten_and_what_was_there_is_not() {
        with_store(|store| {
            let kept = store.set(&mut [Term::Long(1)]).unwrap();
            let mark = store.mark();
            for round in 0..5 {
                let made = store.set(&mut [Term::Long(2), Term::Long(round)]).unwrap();
                assert_eq!(store.set(&mut [Term::Long(round), Term::Long(2)]), Ok(made));
                assert_eq!(store.set(&mut [Term::Long(1)]), Ok(kept));
                store.rewind(mark);
            }
            assert_eq!(store.members(kept), [Term::Long(1)]);
        });
    }

    #[test]
    fn a_record_is_found_by_its_fields() {
        with_store(|store| {
            let (a, b) = (store.symbol("a").unwrap(), store.symbol("b").unwrap());
            let one = store.record(&mut [(a, Term::Long(1)), (b, Term::Long(2))]).unwrap();
            assert_eq!(store.record(&mut [(b, Term::Long(2)), (a, Term::Long(1))]), Ok(one));
            assert_eq!(store.field(one, b), Some(Term::Long(2)));
            assert_eq!(store.record(&mut []), Ok(RecordNo::EMPTY));
        });
    }

    #[test]
    fn there_is_no_room_beyond_a_capacity() {
        with_store(|store| {
            assert_eq!(store.symbol("123456789"), Err(Full));
            assert!(store.symbol("12345678").is_ok());
            assert_eq!(store.symbol("9"), Err(Full));
            assert!(store.symbol("known").is_ok());
            let terms = [1, 2, 3, 4, 5].map(Term::Long);
            assert_eq!(store.set(&mut terms.clone()), Err(Full));
            assert!(store.set(&mut terms.map(|_| Term::Long(1))).is_ok());
            let kind = store.symbol("known").unwrap();
            let entity = store.entity(kind, kind).unwrap();
            assert_eq!((store.entity(kind, kind), store.kind(entity)), (Ok(entity), Some(kind)));
        });
    }
}
