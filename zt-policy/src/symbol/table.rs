//! Where the things of one hash are found.
//!
//! A few are looked through. More of them have slots: open addressing with 64 bits each, so that
//! one that is not there mostly costs one look at memory. The newest is removed first: then nothing
//! that was added before it was moved by it.

use super::{Full, at};

/// Places by hash. Places are counted from 0, in the order in which they are added.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    // INVARIANT: their number is 0 or a power of two, and more than the places; they are empty
    // where there are no more than FEW places.
    slots: Vec<u64>,
    // By place.
    tags: Vec<u32>,
}

const EMPTY: u64 = u64::MAX;

/// The tag of a place that is in no slot.
const HIDDEN: u32 = u32::MAX;

/// How many places have no slots. What a request knows is seldom more.
const FEW: usize = 8;

const FEWEST_SLOTS: usize = 128;

/// The slots of a small table: 32 KiB.
const SMALL: usize = 4096;

impl Table {
    /// The place of this hash that `is` the right one.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut is: impl FnMut(usize) -> bool) -> Option<usize> {
        let tag = tag(hash);
        if self.tags.len() <= FEW {
            let mut tags = self.tags.iter().enumerate();
            return tags.find(|(place, held)| **held == tag && is(*place)).map(|(place, _)| place);
        }
        let mask = self.slots.len().checked_sub(1)?;
        let mut slot = at(tag) & mask;
        loop {
            let held = *self.slots.get(slot)?;
            if held == EMPTY {
                return None;
            }
            let place = place(held);
            if tag == self::tag(held.rotate_left(32)) && is(place) {
                return Some(place);
            }
            slot = slot.wrapping_add(1) & mask;
        }
    }

    /// Half of the hash of a place.
    pub(super) fn tag(&self, place: usize) -> Option<u32> {
        self.tags.get(place).copied()
    }

    /// Adds the next place.
    ///
    /// # Errors
    ///
    /// [`Full`] beyond 32 bits.
    pub(super) fn add(&mut self, hash: u64) -> Result<(), Full> {
        let (next, tag) = (self.tags.len(), tag(hash));
        self.tags.push(tag);
        if next >= FEW { self.give_slot(next, tag) } else { Ok(()) }
    }

    /// Adds the next place, which is never looked for.
    ///
    /// # Errors
    ///
    /// [`Full`] beyond 32 bits.
    pub(super) fn add_hidden(&mut self) -> Result<(), Full> {
        let next = self.tags.len();
        self.tags.push(HIDDEN);
        if next == FEW { self.give_slot(next, HIDDEN) } else { Ok(()) }
    }

    /// Gives a slot to the last place, and to all others where they have none or there are too few.
    fn give_slot(&mut self, last: usize, tag: u32) -> Result<(), Full> {
        // Not more than half are taken, and of a small table not more than an eighth.
        let slots = self.slots.len();
        let is_tight = last >= if slots < SMALL { slots / 8 } else { slots / 2 };
        if is_tight {
            let size = self.slots.len().checked_mul(2).ok_or(Full)?.max(FEWEST_SLOTS);
            self.slots.clear();
            self.slots.resize(size, EMPTY);
        }
        if is_tight || last == FEW {
            for place in 0..last {
                let tag = self.tags.get(place).copied().unwrap_or(HIDDEN);
                self.put(place, tag)?;
            }
        }
        self.put(last, tag)
    }

    fn put(&mut self, place: usize, tag: u32) -> Result<(), Full> {
        if tag != HIDDEN {
            self.exchange(EMPTY, pack(place, tag)?, tag);
        }
        Ok(())
    }

    /// Puts `new` into the first slot of a tag that holds `old`.
    fn exchange(&mut self, old: u64, new: u64, tag: u32) {
        let mask = self.slots.len().saturating_sub(1);
        for step in 0..self.slots.len() {
            let slot = at(tag).wrapping_add(step) & mask;
            if let Some(held) = self.slots.get_mut(slot).filter(|held| **held == old) {
                *held = new;
                return;
            }
        }
    }

    /// Forgets all but the first places.
    pub(super) fn truncate(&mut self, len: usize) {
        if self.tags.len() <= FEW {
            self.tags.truncate(len);
        } else if len <= FEW {
            self.slots.fill(EMPTY);
            self.tags.truncate(len);
        }
        while self.tags.len() > len {
            let last = self.tags.len().saturating_sub(1);
            let Some(tag) = self.tags.pop() else { return };
            if tag != HIDDEN
                && let Ok(packed) = pack(last, tag)
            {
                self.exchange(packed, EMPTY, tag);
            }
        }
    }
}

/// The half of a hash that a slot keeps. It also says where the slot is.
pub(super) fn tag(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or_default().min(HIDDEN - 1)
}

fn pack(place: usize, tag: u32) -> Result<u64, Full> {
    let place = u32::try_from(place).map_err(|_| Full)?;
    // The last place would make a slot look empty.
    if place == u32::MAX {
        return Err(Full);
    }
    Ok(u64::from(place) << 32 | u64::from(tag))
}

fn place(held: u64) -> usize {
    usize::try_from(held >> 32).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes that share a few slots, so that places get into each other's way.
    fn hash(n: usize) -> u64 {
        (u64::try_from(n % 5).unwrap() << 32) | u64::try_from(n / 5 % 2).unwrap() << 40
    }

    fn table(len: usize) -> Table {
        let mut table = Table::default();
        (0..len).for_each(|n| table.add(hash(n)).unwrap());
        table
    }

    #[test]
    fn every_place_is_found_by_its_hash_however_many_share_it() {
        let table = table(500);
        for n in 0..500 {
            assert_eq!(table.find(hash(n), |place| place == n), Some(n));
            assert_eq!(table.find(hash(n.wrapping_add(1)), |place| place == n), None);
        }
        assert_eq!(table.find(7 << 32, |_| true), None);
    }

    #[test]
    fn what_is_forgotten_is_gone_and_the_rest_is_found() {
        for (len, kept) in [
            (30, 29),
            (30, 9),
            (30, 8),
            (30, 1),
            (30, 0),
            (9, 8),
            (8, 3),
            (1, 0),
            (500, 77),
            (500, 0),
        ] {
            let mut table = table(len);
            table.truncate(kept);
            assert_eq!(table.tags.len(), kept);
            for n in 0..len {
                let found = table.find(hash(n), |place| place == n);
                assert_eq!(found, (n < kept).then_some(n), "{n} of {len}, {kept} kept");
            }
            (kept..len).for_each(|n| table.add(hash(n)).unwrap());
            let all = (0..len).all(|n| table.find(hash(n), |place| place == n) == Some(n));
            assert!(all, "{len} after {kept} were kept");
        }
    }

    #[test]
    fn a_hidden_place_is_counted_and_never_found() {
        let mut table = Table::default();
        for n in 0..300 {
            if n % 3 == 0 { table.add_hidden().unwrap() } else { table.add(hash(n)).unwrap() }
        }
        table.add(u64::MAX).unwrap();
        for n in 0..300 {
            let found = table.find(hash(n), |place| place == n);
            assert_eq!(found, (n % 3 != 0).then_some(n));
        }
        assert_eq!(table.find(u64::MAX, |place| place == 300), Some(300));
        table.truncate(200);
        assert_eq!(
            (table.tags.len(), table.find(hash(199), |place| place == 199)),
            (200, Some(199))
        );
    }

    #[test]
    fn a_table_without_places_finds_nothing() {
        assert_eq!(Table::default().find(0, |_| true), None);
        let mut table = Table::default();
        table.truncate(0);
        assert_eq!(table.tags.len(), 0);
    }
}
