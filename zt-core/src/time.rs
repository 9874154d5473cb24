//! Time as an argument.
//!
//! Nothing in this workspace asks what time it is while it verifies or decides: a [`Timestamp`] is
//! passed in. At the edge, where a request arrives, a [`Clock`] is read once. One source of time
//! per process keeps token expiry, certificate expiry and records consistent, and makes tests of
//! all of them exact.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};

const MICROS_PER_SEC: i64 = 1_000_000;
const SECS_PER_DAY: i64 = 86_400;

/// A moment: microseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
///
/// The range is more than ±292,000 years, which holds every X.509 date and every `NumericDate`
/// that a token may carry. Conversions into it saturate, so that order is kept.
///
/// ```
/// use std::time::Duration;
/// use zt_core::time::Timestamp;
///
/// let noon = Timestamp::from_civil(2026, 11, 21, 12, 0, 0).unwrap();
/// assert_eq!(noon.to_string(), "2026-11-21T12:00:00Z");
/// assert_eq!(noon.saturating_add(Duration::from_secs(90)).since(noon).as_secs(), 90);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);
    /// Later than, or equal to, every other timestamp.
    pub const MAX: Self = Self(i64::MAX);

    /// Seconds since the epoch, saturating at the ends of the range.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(MICROS_PER_SEC))
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// A date and time of the proleptic Gregorian calendar in UTC, or `None` when there is no such
    /// date. Second 60 is refused, as RFC 5280 and RFC 7519 have no use for it.
    #[must_use]
    pub fn from_civil(
        year: u16,
        month: u8,
        day: u8,
        hour: u8,
        minute: u8,
        second: u8,
    ) -> Option<Self> {
        let valid = (1..=12).contains(&month)
            && (1..=days_in_month(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        if !valid {
            return None;
        }
        let secs = days_from_civil(i64::from(year), i64::from(month), i64::from(day))
            .checked_mul(SECS_PER_DAY)?
            .checked_add(i64::from(hour).checked_mul(3600)?)?
            .checked_add(i64::from(minute).checked_mul(60)?)?
            .checked_add(i64::from(second))?;
        Some(Self::from_secs(secs))
    }

    /// Whole seconds since the epoch, rounded towards the past.
    #[must_use]
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(MICROS_PER_SEC)
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// This moment moved into the future, stopping at [`Timestamp::MAX`].
    #[must_use]
    pub fn saturating_add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(micros(by)))
    }

    /// This moment moved into the past, stopping at the beginning of the range.
    #[must_use]
    pub fn saturating_sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(micros(by)))
    }

    /// How long ago `earlier` was at this moment; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let micros = self.0.saturating_sub(earlier.0);
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self::EPOCH.saturating_add(after),
            Err(before) => Self::EPOCH.saturating_sub(before.duration()),
        }
    }
}

/// RFC 3339 in UTC, with six digits of fraction where there is one.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_text(|text| f.write_str(text))
    }
}

impl Timestamp {
    /// What it is shown as. Every record has one, so it is put together without the machinery that
    /// pads numbers in general.
    fn as_text<T>(self, use_text: impl FnOnce(&str) -> T) -> T {
        let secs = self.as_secs();
        let (year, month, day) = civil_from_days(secs.div_euclid(SECS_PER_DAY));
        let second_of_day = secs.rem_euclid(SECS_PER_DAY);
        let (hour, minute, second) =
            (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
        let fraction = self.0.rem_euclid(MICROS_PER_SEC);
        // From the last digit to the first: whatever is no digit begins the field before it.
        let mut fields = [fraction, second, minute, hour, day, month, year].into_iter();
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        let mut left = 0;
        for byte in text.iter_mut().rev() {
            if byte.is_ascii_digit() {
                *byte = u8::try_from(left % 10).unwrap_or_default().wrapping_add(b'0');
                left /= 10;
            } else {
                left = fields.next().unwrap_or_default();
            }
        }
        match str::from_utf8(&text) {
            Ok(text) if (0..10_000).contains(&year) => match text.split_once('.') {
                Some((whole, _)) if fraction == 0 => use_text(&[whole, "Z"].concat()),
                _ => use_text(text),
            },
            // Of another length.
            _ => {
                let date = format!("{year:04}-{month:02}-{day:02}");
                let time = format!("{hour:02}:{minute:02}:{second:02}");
                let point = if fraction == 0 { String::new() } else { format!(".{fraction:06}") };
                use_text(&format!("{date}T{time}{point}Z"))
            }
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_text(|text| serializer.serialize_str(text))
    }
}

/// The period in which a document counts: both ends belong to it (RFC 5280 §4.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Validity {
    // INVARIANT: not_before <= not_after.
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Validity {
    /// The period from `not_before` to `not_after`.
    ///
    /// # Errors
    ///
    /// [`EmptyValidity`] when the period ends before it begins.
    pub fn new(not_before: Timestamp, not_after: Timestamp) -> Result<Self, EmptyValidity> {
        if not_after < not_before {
            return Err(EmptyValidity { not_before, not_after });
        }
        Ok(Self { not_before, not_after })
    }

    /// The first moment of the period.
    #[must_use]
    pub const fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// The last moment of the period.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Whether `now` lies in the period.
    ///
    /// # Errors
    ///
    /// [`OutsideValidity`] says on which side `now` lies.
    pub fn check(&self, now: Timestamp) -> Result<(), OutsideValidity> {
        if now < self.not_before {
            return Err(OutsideValidity::NotYet { now, not_before: self.not_before });
        }
        if now > self.not_after {
            return Err(OutsideValidity::Expired { now, not_after: self.not_after });
        }
        Ok(())
    }

    /// The time left at `now`; zero once expired.
    #[must_use]
    pub fn remaining(&self, now: Timestamp) -> Duration {
        self.not_after.since(now)
    }
}

/// A period that ends before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("validity ends at {not_after}, before it begins at {not_before}")]
#[non_exhaustive]
pub struct EmptyValidity {
    /// The first moment claimed.
    pub not_before: Timestamp,
    /// The last moment claimed.
    pub not_after: Timestamp,
}

/// Why a [`Validity`] does not cover a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutsideValidity {
    /// The period has not begun.
    #[error("not valid before {not_before}, and it is {now}")]
    NotYet {
        /// The moment asked about.
        now: Timestamp,
        /// When the period begins.
        not_before: Timestamp,
    },
    /// The period is over.
    #[error("expired at {not_after}, and it is {now}")]
    Expired {
        /// The moment asked about.
        now: Timestamp,
        /// When the period ended.
        not_after: Timestamp,
    },
}

/// Where the edge of a program takes its time from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The current time.
    fn now(&self) -> Timestamp;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

/// The clock of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    fn now(&self) -> Timestamp {
        Timestamp::from(SystemTime::now())
    }
}

/// A clock that stands still until it is told otherwise: for tests and replays.
///
/// Clones share one time.
///
/// ```
/// use std::time::Duration;
/// use zt_core::time::{Clock, ManualClock, Timestamp};
///
/// let clock = ManualClock::at(Timestamp::from_secs(1_000));
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now(), Timestamp::from_secs(1_060));
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(now.0)))
    }

    /// Shows `now` from here on, forwards or backwards.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.0, Ordering::SeqCst);
    }

    /// Moves the clock forwards.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().saturating_add(by));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

fn days_in_month(year: u16, month: u8) -> u8 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

// The two conversions count years from March, so that a leap day is the last of its year, and work
// in eras of 400 years = 146,097 days; 719,468 days lie between 0000-03-01 and 1970-01-01.

#[expect(clippy::arithmetic_side_effects, reason = "year < 65,536, month <= 12, day <= 31")]
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[expect(clippy::arithmetic_side_effects, reason = "|days| <= i64::MAX / 10^6 / 86,400 < 2^27")]
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn both_ends_belong_to_a_validity() {
        let validity = Validity::new(at(10), at(20)).unwrap();
        assert_eq!(validity.check(at(10)), Ok(()));
        assert_eq!(validity.check(at(20)), Ok(()));
        let late = Timestamp::from_micros(20_000_001);
        assert_eq!(
            validity.check(late),
            Err(OutsideValidity::Expired { now: late, not_after: at(20) })
        );
        assert_eq!(
            validity.check(at(9)),
            Err(OutsideValidity::NotYet { now: at(9), not_before: at(10) })
        );
        assert_eq!(validity.remaining(at(30)), Duration::ZERO);
    }

    #[test]
    fn a_validity_that_ends_before_it_begins_cannot_be_made() {
        assert!(Validity::new(at(2), at(1)).is_err());
    }

    #[test]
    fn conversions_saturate_and_keep_order() {
        assert!(at(i64::MAX) > at(253_402_300_799));
        assert_eq!(Timestamp::MAX.saturating_add(Duration::MAX), Timestamp::MAX);
        assert!(at(i64::MIN) < Timestamp::EPOCH);
    }

    #[test]
    fn dates_that_do_not_exist_are_refused() {
        for (y, mo, d, h, mi, s) in [
            (2026, 2, 29, 0, 0, 0),
            (1900, 2, 29, 0, 0, 0),
            (2026, 13, 1, 0, 0, 0),
            (2026, 0, 1, 0, 0, 0),
            (2026, 1, 0, 0, 0, 0),
            (2026, 4, 31, 0, 0, 0),
            (2026, 1, 1, 24, 0, 0),
            (2026, 1, 1, 0, 60, 0),
            (2026, 1, 1, 0, 0, 60),
        ] {
            assert_eq!(Timestamp::from_civil(y, mo, d, h, mi, s), None, "{y}-{mo}-{d}");
        }
        assert!(Timestamp::from_civil(2000, 2, 29, 23, 59, 59).is_some());
    }

    proptest! {
        #[test]
        fn civil_time_agrees_with_the_time_crate(secs in -62_167_219_200i64..253_402_300_799) {
            let oracle = time::OffsetDateTime::from_unix_timestamp(secs).unwrap();
            let ours = Timestamp::from_civil(
                u16::try_from(oracle.year()).unwrap(),
                u8::from(oracle.month()),
                oracle.day(),
                oracle.hour(),
                oracle.minute(),
                oracle.second(),
            );
            prop_assert_eq!(ours, Some(at(secs)));
            let text = format!(
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
                oracle.year(), u8::from(oracle.month()), oracle.day(),
                oracle.hour(), oracle.minute(), oracle.second(),
            );
            prop_assert_eq!(at(secs).to_string(), text);
        }

        #[test]
        fn any_timestamp_can_be_shown(micros: i64) {
            let _ = Timestamp::from_micros(micros).to_string();
        }
    }
}
