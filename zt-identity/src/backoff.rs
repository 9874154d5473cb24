//! How long to wait before something is tried again, so that many who wait do not come back at once.

use std::time::Duration;

/// Between seven and eight tenths of a time.
#[cfg(feature = "http")]
pub(crate) fn ahead_of(time: Duration, random: u16) -> Duration {
    let tenth = time.checked_div(10).unwrap_or_default();
    time.saturating_sub(tenth.saturating_mul(2)).saturating_sub(part(tenth, random))
}

/// A time, or up to a quarter longer.
pub(crate) fn a_little_longer(time: Duration, random: u16) -> Duration {
    time.saturating_add(part(time.checked_div(4).unwrap_or_default(), random))
}

/// So many 65536ths of a time.
fn part(time: Duration, of: u16) -> Duration {
    time.saturating_mul(of.into()).checked_div(1 << 16).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "http")]
    #[test]
    fn something_is_done_when_between_seven_and_eight_tenths_of_its_time_have_passed() {
        let seconds = Duration::from_secs;
        assert_eq!(ahead_of(seconds(600), 0), seconds(480));
        assert_eq!(ahead_of(seconds(600), 1 << 15), seconds(450));
        assert!(ahead_of(seconds(600), u16::MAX) > seconds(420));
        assert_eq!(ahead_of(Duration::ZERO, 7), Duration::ZERO);
    }

    #[test]
    fn a_next_attempt_is_never_sooner_and_at_most_a_quarter_later() {
        let seconds = Duration::from_secs;
        assert_eq!(a_little_longer(seconds(4), 0), seconds(4));
        assert!((seconds(4)..seconds(5)).contains(&a_little_longer(seconds(4), u16::MAX)));
        assert_eq!(a_little_longer(Duration::MAX, u16::MAX), Duration::MAX);
    }
}
