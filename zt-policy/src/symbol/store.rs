//! The numbers of a program, continued by those of one request.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;

use super::layer::{Layer, Mark, Part, hash, pair};
use super::table::tag;
use super::{Capacity, EntityNo, Field, Full, RecordNo, SetNo, Symbol, Term};
use crate::name::EntityUid;

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
        self.local.mark()
    }

    /// Forgets the sets and records that were made since. Nothing may hold their numbers.
    pub(crate) fn rewind(&mut self, mark: Mark) {
        self.local.rewind(mark);
    }

    /// The number of a text.
    ///
    /// # Errors
    ///
    /// [`Full`] where there is no room.
    pub(crate) fn symbol(&mut self, text: &str) -> Result<Symbol, Full> {
        let hash = hash(self.hasher, text);
        self.part(self.base.part(hash, text), text)
    }

    /// As [`symbol`](Self::symbol), of which it is known what the program knows.
    ///
    /// # Errors
    ///
    /// [`Full`] where there is no room.
    pub(crate) fn part(&mut self, part: Part, text: &str) -> Result<Symbol, Full> {
        match part {
            Part::Known(symbol) => Ok(symbol),
            Part::New(hash) => match self.local.texts.find(hash, text) {
                Some(symbol) => Ok(symbol),
                None => self.local.texts.add(hash, text, self.capacity),
            },
        }
    }

    /// The number of a text that the program has.
    pub(crate) fn known_symbol(&self, text: &str) -> Option<Symbol> {
        match self.base.part(hash(self.hasher, text), text) {
            Part::Known(symbol) => Some(symbol),
            Part::New(_) => None,
        }
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
        let hash = self.pair(kind, id)?;
        match self.base.entities.find(hash, |name| name == [kind, id]) {
            Some(entity) => Ok(entity),
            None => self.new_entity(hash, [kind, id]),
        }
    }

    fn new_entity(&mut self, hash: u64, name: [Symbol; 2]) -> Result<EntityNo, Full> {
        match self.local.entities.find(hash, |it| it == name) {
            Some(entity) => Ok(entity),
            None => self.local.entities.add(hash, name, self.capacity),
        }
    }

    fn pair(&self, kind: Symbol, id: Symbol) -> Result<u64, Full> {
        Ok(pair(self.tag(kind)?, self.tag(id)?))
    }

    fn tag(&self, symbol: Symbol) -> Result<u32, Full> {
        let (base, local) = (&self.base.texts, &self.local.texts);
        base.tag(symbol).or_else(|| local.tag(symbol)).ok_or(Full)
    }

    /// The number of the entity of this type, by the text of its ID.
    ///
    /// # Errors
    ///
    /// [`Full`] where there is no room.
    pub(crate) fn of_kind(&mut self, kind: Symbol, id: &str) -> Result<EntityNo, Full> {
        let id_hash = hash(self.hasher, id);
        let hash = pair(self.tag(kind)?, tag(id_hash));
        if let Some(entity) = self.base.of_kind(hash, kind, id) {
            return Ok(entity);
        }
        let id = self.part(self.base.part(id_hash, id), id)?;
        self.new_entity(hash, [kind, id])
    }

    /// As [`of_kind`](Self::of_kind), if the program has it.
    pub(crate) fn known_of_kind(&self, kind: Symbol, id: &str) -> Option<EntityNo> {
        let hash = pair(self.tag(kind).ok()?, tag(hash(self.hasher, id)));
        self.base.of_kind(hash, kind, id)
    }

    /// The number of an entity, by the texts of its type and its ID.
    ///
    /// # Errors
    ///
    /// [`Full`] where there is no room.
    pub(crate) fn named(&mut self, kind: &str, id: &str) -> Result<EntityNo, Full> {
        let hashes = [hash(self.hasher, kind), hash(self.hasher, id)];
        let [kind_hash, id_hash] = hashes;
        match self.base.named([(kind_hash, kind), (id_hash, id)]) {
            Some(entity) => Ok(entity),
            None => self.new_named(
                [self.base.part(kind_hash, kind), self.base.part(id_hash, id)],
                [kind, id],
                hashes,
            ),
        }
    }

    /// The number of an entity that the program does not have, of whose texts it is known what the
    /// program knows.
    ///
    /// # Errors
    ///
    /// [`Full`] where there is no room.
    pub(crate) fn new_named(
        &mut self,
        [kind_part, id_part]: [Part; 2],
        [kind, id]: [&str; 2],
        [kind_hash, id_hash]: [u64; 2],
    ) -> Result<EntityNo, Full> {
        let name = [self.part(kind_part, kind)?, self.part(id_part, id)?];
        self.new_entity(pair(tag(kind_hash), tag(id_hash)), name)
    }

    /// The number of an entity that the program has.
    pub(crate) fn known_entity(&self, kind: Symbol, id: Symbol) -> Option<EntityNo> {
        let hash = self.pair(kind, id).ok()?;
        self.base.entities.find(hash, |name| name == [kind, id])
    }

    /// The type of an entity.
    pub(crate) fn kind(&self, entity: EntityNo) -> Option<Symbol> {
        let name = self.base.entities.get(entity).or_else(|| self.local.entities.get(entity));
        name.map(|[kind, _]| kind)
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
            None => self.local.sets.add(Some(hash), members, self.capacity).map(SetNo),
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
            None => self.local.records.add(Some(hash), fields, self.capacity).map(RecordNo),
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
        self.local.records.add(None, fields, self.capacity).map(RecordNo)
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
        self.named(uid.kind().as_str(), uid.id())
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
