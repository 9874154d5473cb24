//! Choices made from bytes: the same bytes, the same choices. When they run out, the first of
//! everything is chosen, which is always the simplest.

/// Bytes from which choices are made.
#[derive(Debug)]
pub struct Choices<'b> {
    bytes: std::slice::Iter<'b, u8>,
}

impl<'b> Choices<'b> {
    /// Choices from these bytes.
    #[must_use]
    pub fn new(bytes: &'b [u8]) -> Self {
        Self { bytes: bytes.iter() }
    }

    /// One of the numbers from 0 to `count`, which is not one of them.
    pub fn below(&mut self, count: usize) -> usize {
        let mut number = 0_usize;
        let mut range = 1_usize;
        while range < count {
            number = number * 256 + usize::from(self.bytes.next().copied().unwrap_or(0));
            range *= 256;
        }
        number % count.max(1)
    }

    /// True once in `count` times, unless the bytes have run out.
    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == count - 1
    }

    /// One of these.
    pub fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// Up to `most` of something.
    pub fn some<T>(&mut self, most: usize, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = self.below(most + 1);
        (0..count).map(|_| one(self)).collect()
    }
}
