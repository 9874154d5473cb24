//! What comes together does not leave together.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How much earlier something may happen, at most.
const MAX_JITTER: Duration = Duration::from_secs(300);

/// Draws a part of a time, another one each time.
#[derive(Default)]
pub(crate) struct Jitter {
    random: RandomState,
    counter: AtomicU64,
}

impl Jitter {
    /// Up to a tenth of a time, and up to five minutes.
    pub(crate) fn of(&self, time: Duration) -> Duration {
        let draw = self.random.hash_one(self.counter.fetch_add(1, Ordering::Relaxed));
        let part = u32::try_from(draw >> 32).unwrap_or(0);
        let most = time.checked_div(10).unwrap_or(time).min(MAX_JITTER);
        most.saturating_mul(part).checked_div(u32::MAX).unwrap_or(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_time_is_the_most_that_is_taken_and_it_is_spread() {
        let (jitter, hour) = (Jitter::default(), Duration::from_secs(3_600));
        let drawn: Vec<_> = (0..1_000).map(|_| jitter.of(hour)).collect();
        assert!(drawn.iter().all(|taken| *taken <= MAX_JITTER));
        assert!(drawn.iter().filter(|taken| **taken < MAX_JITTER / 2).count() > 300);
        assert!(drawn.iter().filter(|taken| **taken > MAX_JITTER / 2).count() > 300);
        assert!(jitter.of(Duration::from_secs(10)) <= Duration::from_secs(1));
        assert_eq!(jitter.of(Duration::ZERO), Duration::ZERO);
    }
}
