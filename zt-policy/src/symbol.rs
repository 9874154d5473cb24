//! Numbers for texts, entities, sets and records, so that equal things have equal numbers and
//! nothing is compared twice.
//!
//! Numbers are given out in two layers: a program's own, which never change, and behind them those
//! of one request, which live in memory that the next request uses again. What both know has the
//! program's number. A request can be given a limited amount only.

mod layer;
mod store;
mod table;
mod workbench;

use std::hash::Hasher;

pub(crate) use self::layer::{Kind, Layer, Mark, Part, hash};
pub(crate) use self::store::Store;
pub(crate) use self::workbench::{Facts, Workbench};
use crate::extension::datetime::DateTime;
use crate::extension::decimal::Decimal;
use crate::extension::duration::Duration;
use crate::extension::ip::IpNet;

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

            /// As a number of no kind.
            pub(crate) const fn bare(self) -> u32 {
                self.0
            }

            /// What was [`bare`](Self::bare).
            pub(crate) const fn of_bare(number: u32) -> Self {
                Self(number)
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

    /// Where it begins.
    pub(crate) fn start(self) -> usize {
        at(self.start)
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

/// Takes away what is empty at the end of a list by number, which reads the same without it, and
/// gives back its memory.
pub(crate) fn trim<T: Default + PartialEq>(list: &mut Vec<T>) {
    let len = list.iter().rposition(|item| *item != T::default());
    list.truncate(len.map_or(0, |last| last.saturating_add(1)));
    list.shrink_to_fit();
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
