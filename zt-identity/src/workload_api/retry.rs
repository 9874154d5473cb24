//! When to come back.
//!
//! A stream that was cut is opened again at once (SPIFFE Workload API §4.1, A-02), though not more
//! often than once in [`AT_ONCE`]. After anything else, and when that does not help, the time between
//! two attempts doubles from [`FIRST`] to [`LONGEST`], each up to a quarter longer.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::error::WorkloadApiError;
use crate::backoff::a_little_longer;

pub(super) const FIRST: Duration = Duration::from_millis(250);
pub(super) const LONGEST: Duration = Duration::from_secs(30);
pub(super) const AT_ONCE: Duration = Duration::from_secs(1);

pub(super) type Random = Arc<dyn Fn() -> u16 + Send + Sync>;

pub(super) struct Retry {
    random: Random,
    next: Duration,
    // Whether something good was heard since the last attempt.
    heard: bool,
    at_once: Option<Instant>,
}

impl Retry {
    pub(super) fn new(random: Random) -> Self {
        Self { random, next: FIRST, heard: false, at_once: None }
    }

    /// Something good was heard.
    pub(super) fn heard(&mut self) {
        self.heard = true;
        self.next = FIRST;
    }

    /// How long to wait before the next attempt, now that this has ended the last one.
    pub(super) fn after(&mut self, error: &WorkloadApiError) -> Duration {
        let heard = std::mem::take(&mut self.heard);
        let now = Instant::now();
        let lately = self.at_once.is_some_and(|at| now.saturating_duration_since(at) < AT_ONCE);
        if heard && error.is_cut() && !lately {
            self.at_once = Some(now);
            return Duration::ZERO;
        }
        self.pause()
    }

    /// The next of the times that double.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = a_little_longer(self.next, (self.random)());
        self.next = self.next.saturating_mul(2).min(LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(random: u16) -> Retry {
        Retry::new(Arc::new(move || random))
    }

    fn millis(duration: Duration) -> u128 {
        duration.as_millis()
    }

    #[tokio::test]
    async fn the_time_between_attempts_doubles_up_to_a_bound() {
        let mut retry = retry(0);
        let pauses: Vec<_> =
            (0..9).map(|_| millis(retry.after(&WorkloadApiError::Silent))).collect();
        assert_eq!(pauses, [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    }

    #[tokio::test]
    async fn nobody_comes_back_sooner_and_each_at_another_time() {
        assert_eq!(millis(retry(1 << 15).after(&WorkloadApiError::Silent)), 281);
        let latest = retry(u16::MAX).after(&WorkloadApiError::Silent);
        assert!((FIRST..FIRST * 5 / 4).contains(&latest), "{latest:?}");
    }

    #[tokio::test]
    async fn a_stream_that_was_cut_is_opened_at_once_and_not_without_pause() {
        let mut retry = retry(0);
        retry.heard();
        assert_eq!(retry.after(&WorkloadApiError::Ended), Duration::ZERO);
        assert_eq!(millis(retry.after(&WorkloadApiError::Ended)), 250);
        retry.heard();
        assert_eq!(millis(retry.after(&WorkloadApiError::Ended)), 250);
        retry.at_once = Instant::now().checked_sub(AT_ONCE);
        retry.heard();
        assert_eq!(retry.after(&WorkloadApiError::Ended), Duration::ZERO);
    }

    #[tokio::test]
    async fn what_the_agent_denies_is_not_asked_for_at_once() {
        let mut retry = retry(0);
        retry.heard();
        let denied = WorkloadApiError::NotRegistered { message: String::new() };
        assert_eq!(millis(retry.after(&denied)), 250);
    }
}
