//! Where the things of one hash are found.
//!
//! A few are looked through. More of them have slots: open addressing with 32 bits each, those that
//! the place leaves for a part of the hash, so that one that is not there mostly costs one look at
//! memory. The newest is removed first: then nothing
//! that was added before it was moved by it.

use super::{Full, at, number};

/// Places by hash. Places are counted from 0, in the order in which they are added.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    // INVARIANT: there are more of them than places; all are empty where there are no more than FEW
    // places.
    slots: Vec<u32>,
    /// How many bits of a slot are the place; the rest are the lowest of the tag.
    width: u32,
    /// How many places there are.
    len: usize,
    // By place; none where the table was `shrink`ed without them.
    tags: Vec<u32>,
}

/// No slot holds it, as there are more slots than places.
const EMPTY: u32 = u32::MAX;

/// The tag of a place that is in no slot.
const HIDDEN: u32 = u32::MAX;

/// How many places have no slots. What a request knows is seldom more.
const FEW: usize = 8;

const FEWEST_SLOTS: usize = 128;

/// The slots of a small table: 16 KiB.
const SMALL: usize = 4096;

/// A bit of each slot is left for the tag.
const MOST_SLOTS: usize = 1 << 31;

impl Table {
    /// The place of this hash that `is` the right one.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut is: impl FnMut(usize) -> bool) -> Option<usize> {
        let tag = tag(hash);
        if self.len <= FEW {
            let mut tags = self.tags.iter().enumerate();
            return tags.find(|(place, held)| **held == tag && is(*place)).map(|(place, _)| place);
        }
        let (wanted, mask) = (tag.wrapping_shl(self.width), self.mask());
        let mut slot = self.first(tag);
        loop {
            let held = *self.slots.get(slot)?;
            if held == EMPTY {
                return None;
            }
            let place = at(held & mask);
            if held & !mask == wanted && is(place) {
                return Some(place);
            }
            slot = self.after(slot);
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
        let (next, tag) = (self.len, tag(hash));
        self.push(tag);
        if next >= FEW { self.give_slot(next, tag) } else { Ok(()) }
    }

    /// Adds the next place, which is never looked for.
    ///
    /// # Errors
    ///
    /// [`Full`] beyond 32 bits.
    pub(super) fn add_hidden(&mut self) -> Result<(), Full> {
        let next = self.len;
        self.push(HIDDEN);
        if next == FEW { self.give_slot(next, HIDDEN) } else { Ok(()) }
    }

    fn push(&mut self, tag: u32) {
        self.tags.push(tag);
        self.len = self.len.saturating_add(1);
    }

    /// Gives a slot to the last place, and to all others where they have none or there are too few.
    fn give_slot(&mut self, last: usize, tag: u32) -> Result<(), Full> {
        // Not more than half are taken, and of a small table not more than an eighth.
        let slots = self.slots.len();
        let is_tight = last >= if slots < SMALL { slots / 8 } else { slots / 2 };
        if is_tight {
            let size = self.slots.len().checked_mul(2).ok_or(Full)?.max(FEWEST_SLOTS);
            self.resize(size)?;
        }
        if is_tight || last == FEW {
            for place in 0..last {
                let tag = self.tags.get(place).copied().unwrap_or(HIDDEN);
                self.put(place, tag)?;
            }
        }
        self.put(last, tag)
    }

    /// As many slots, all empty.
    fn resize(&mut self, size: usize) -> Result<(), Full> {
        if size > MOST_SLOTS {
            return Err(Full);
        }
        self.slots.clear();
        self.slots.resize(size, EMPTY);
        self.width = size.next_power_of_two().trailing_zeros();
        Ok(())
    }

    /// The bits of a slot that are the place.
    const fn mask(&self) -> u32 {
        1_u32.wrapping_shl(self.width).wrapping_sub(1)
    }

    /// The first slot of a tag, which its highest bits say.
    fn first(&self, tag: u32) -> usize {
        let slots = u64::try_from(self.slots.len()).unwrap_or(u64::MAX);
        usize::try_from(u64::from(tag).wrapping_mul(slots) >> 32).unwrap_or(usize::MAX)
    }

    const fn after(&self, slot: usize) -> usize {
        let next = slot.wrapping_add(1);
        if next < self.slots.len() { next } else { 0 }
    }

    /// A place as a slot of a tag holds it.
    fn pack(&self, place: usize, tag: u32) -> Result<u32, Full> {
        Ok(number(place)? | tag.wrapping_shl(self.width))
    }

    fn put(&mut self, place: usize, tag: u32) -> Result<(), Full> {
        if tag != HIDDEN {
            self.exchange(EMPTY, self.pack(place, tag)?, tag);
        }
        Ok(())
    }

    /// Puts `new` into the first slot of a tag that holds `old`.
    fn exchange(&mut self, old: u32, new: u32, tag: u32) {
        let mut slot = self.first(tag);
        for _ in 0..self.slots.len() {
            if let Some(held) = self.slots.get_mut(slot).filter(|held| **held == old) {
                *held = new;
                return;
            }
            slot = self.after(slot);
        }
    }

    /// Gives back memory that no more places need.
    ///
    /// # Errors
    ///
    /// [`Full`] never, where the places had slots.
    pub(super) fn shrink(&mut self) -> Result<(), Full> {
        // Smaller ones are not worth it.
        if self.slots.len() >= SMALL {
            // Three fifths are taken.
            self.resize((self.len.saturating_mul(5) / 3).max(FEWEST_SLOTS))?;
            for place in 0..self.len {
                let tag = self.tags.get(place).copied().unwrap_or(HIDDEN);
                self.put(place, tag)?;
            }
        }
        self.slots.shrink_to_fit();
        self.tags.shrink_to_fit();
        Ok(())
    }

    /// As [`shrink`](Self::shrink), where nobody asks for a [`tag`](Self::tag) any more.
    ///
    /// # Errors
    ///
    /// As [`shrink`](Self::shrink).
    pub(super) fn shrink_untagged(&mut self) -> Result<(), Full> {
        self.shrink()?;
        if self.len > FEW {
            self.tags = Vec::new();
        }
        Ok(())
    }

    /// Forgets all but the first places.
    pub(super) fn truncate(&mut self, len: usize) {
        if self.len <= FEW {
            self.tags.truncate(len);
        } else if len <= FEW {
            self.slots.fill(EMPTY);
            self.tags.truncate(len);
        }
        while self.tags.len() > len {
            let last = self.tags.len().saturating_sub(1);
            let Some(tag) = self.tags.pop() else { break };
            if tag != HIDDEN
                && let Ok(packed) = self.pack(last, tag)
            {
                self.exchange(packed, EMPTY, tag);
            }
        }
        self.len = self.len.min(len);
    }
}

/// The half of a hash that a slot keeps. It also says where the slot is.
pub(super) fn tag(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or_default().min(HIDDEN - 1)
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
    fn a_table_that_gave_memory_back_finds_what_it_found() {
        let spread = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for len in [0, 5, 9, 600, 5_000, 70_000] {
            let mut table = Table::default();
            (0..len).for_each(|n| table.add(spread(n)).unwrap());
            table.shrink_untagged().unwrap();
            for n in 0..len {
                let wanted = usize::try_from(n).unwrap();
                assert_eq!(table.find(spread(n), |place| place == wanted), Some(wanted));
            }
            assert_eq!(table.find(spread(len), |_| false), None);
        }
    }

    #[test]
    fn a_table_without_places_finds_nothing() {
        assert_eq!(Table::default().find(0, |_| true), None);
        let mut table = Table::default();
        table.truncate(0);
        assert_eq!(table.tags.len(), 0);
    }
}
