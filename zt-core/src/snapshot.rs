//! One immutable value that readers see whole and writers replace at once.
//!
//! Identities, bundles, key sets and policies all rotate under load. Each lives in a [`Snapshot`]:
//! a reader takes the current value without a lock and keeps it for as long as it likes; a writer
//! swaps in a new one atomically. A reader never waits, and never sees half of a change.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

/// A value with the number of the replacement that brought it, counted from 1.
#[derive(Debug)]
pub struct Versioned<T> {
    generation: u64,
    value: T,
}

impl<T> Versioned<T> {
    /// The number of the replacement that brought this value; the first value has 1.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

impl<T> Deref for Versioned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A value that is read without waiting and replaced atomically.
///
/// ```
/// use zt_core::snapshot::Snapshot;
///
/// let keys = Snapshot::new(vec!["k1"]);
/// let before = keys.load();
/// keys.replace(vec!["k2"]);
/// assert_eq!(*before[0], *"k1"); // what was read stays as it was
/// assert_eq!(keys.load()[0], "k2");
/// assert_eq!((before.generation(), keys.load().generation()), (1, 2));
/// ```
pub struct Snapshot<T> {
    current: ArcSwap<Versioned<T>>,
    // INVARIANT: never more than that of the current value, and behind it only while it is replaced.
    generation: AtomicU64,
    // Held by writers only, so that generations are given out in the order they become visible.
    writer: Mutex<()>,
}

impl<T> Snapshot<T> {
    /// A snapshot of generation 1.
    pub fn new(value: T) -> Self {
        Self {
            current: ArcSwap::from_pointee(Versioned { generation: 1, value }),
            generation: AtomicU64::new(1),
            writer: Mutex::new(()),
        }
    }

    /// The current value, for a short use: no lock and, as a rule, no reference count.
    ///
    /// Keep the guard for the length of a call, not across an `.await` or in a struct: there,
    /// [`Snapshot::load_full`] is cheaper for everyone.
    pub fn load(&self) -> Guard<T> {
        Guard { versioned: self.current.load() }
    }

    /// The current value, to keep.
    pub fn load_full(&self) -> Arc<Versioned<T>> {
        self.current.load_full()
    }

    /// The generation of the current value: what is loaded after it is of this one or a later. It is the
    /// cheapest way to know that nothing has changed.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Replaces the value and returns its generation. Readers see the old value or the new one.
    pub fn replace(&self, value: T) -> u64 {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = self.current.load().generation.saturating_add(1);
        let before = self.current.swap(Arc::new(Versioned { generation, value }));
        self.generation.store(generation, Ordering::Release);
        drop(writer);
        drop(before); // which may take a while
        generation
    }
}

impl<T: fmt::Debug> fmt::Debug for Snapshot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Snapshot").field(&*self.load()).finish()
    }
}

/// A short look at the value of a [`Snapshot`].
pub struct Guard<T> {
    versioned: arc_swap::Guard<Arc<Versioned<T>>>,
}

impl<T> Deref for Guard<T> {
    type Target = Versioned<T>;

    fn deref(&self) -> &Versioned<T> {
        &self.versioned
    }
}

impl<T: fmt::Debug> fmt::Debug for Guard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self.versioned, f)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn readers_never_see_half_a_replacement_or_time_running_backwards() {
        let snapshot = Arc::new(Snapshot::new((0u64, 0u64)));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let snapshot = Arc::clone(&snapshot);
                thread::spawn(move || {
                    let mut last = 0;
                    while last < 2_001 {
                        let before = snapshot.generation();
                        let seen = snapshot.load();
                        assert_eq!(seen.0, seen.1);
                        assert!(seen.generation() >= before.max(last));
                        last = seen.generation();
                    }
                })
            })
            .collect();
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let snapshot = Arc::clone(&snapshot);
                thread::spawn(move || {
                    for n in 0..1_000 {
                        snapshot.replace((n, n));
                    }
                })
            })
            .collect();
        for thread in writers.into_iter().chain(readers) {
            thread.join().unwrap();
        }
        assert_eq!(snapshot.generation(), 2_001);
    }
}
