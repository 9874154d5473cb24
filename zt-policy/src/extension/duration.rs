//! `duration`: a span of time in milliseconds.
//!
//! [`Duration::parse`] accepts `-?` and then at least one of `<n>d`, `<n>h`, `<n>m`, `<n>s`,
//! `<n>ms`, each at most once and in this order, that add up to 64 bits of milliseconds.

use std::fmt;

use super::{Malformed, digits};

/// The units in the order in which they have to come, each with its milliseconds.
const UNITS: [(&str, i128); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A span of time, in milliseconds; negative towards the past.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Duration(i64);

impl Duration {
    /// The span of so many milliseconds.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Parses a duration.
    ///
    /// # Errors
    ///
    /// [`Malformed`] says which part of the form is missed.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        Self::read(text).map_err(|why| Malformed::new("duration", why, text))
    }

    /// As [`Duration::parse`], or which part of the form is missed, without an allocation.
    pub(crate) fn read(text: &str) -> Result<Self, &'static str> {
        let (sign, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text),
        };
        if rest.is_empty() {
            return Err("it has no unit");
        }
        let mut units = UNITS.iter();
        let mut total: i128 = 0;
        while !rest.is_empty() {
            let count_end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (count, after) = rest.split_at_checked(count_end).unwrap_or((rest, ""));
            let unit_end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            let (unit, after) = after.split_at_checked(unit_end).unwrap_or((after, ""));
            // Taking from one iterator holds the order and lets a unit occur once.
            let (_, millis) = units
                .find(|(name, _)| *name == unit)
                .ok_or("the units are d, h, m, s, ms, in this order")?;
            if count.is_empty() {
                return Err("a unit has no number");
            }
            total = digits(count)
                .and_then(|count| i128::from(count).checked_mul(*millis))
                .and_then(|part| total.checked_add(part))
                .ok_or("it is out of range")?;
            rest = after;
        }
        total
            .checked_mul(sign)
            .and_then(|total| i64::try_from(total).ok())
            .map(Self)
            .ok_or("it is out of range")
    }

    /// Milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds, rounded towards zero.
    #[must_use]
    pub const fn as_secs(self) -> i64 {
        self.0 / 1_000
    }

    /// Whole minutes, rounded towards zero.
    #[must_use]
    pub const fn as_minutes(self) -> i64 {
        self.0 / 60_000
    }

    /// Whole hours, rounded towards zero.
    #[must_use]
    pub const fn as_hours(self) -> i64 {
        self.0 / 3_600_000
    }

    /// Whole days, rounded towards zero.
    #[must_use]
    pub const fn as_days(self) -> i64 {
        self.0 / 86_400_000
    }
}

/// In milliseconds, as [`Duration::parse`] reads it.
impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

impl fmt::Debug for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_units_come_in_order_and_each_once() {
        for (text, millis) in [
            ("1d", 86_400_000),
            ("1h30m", 5_400_000),
            ("-1500ms", -1_500),
            ("1d2h3m4s5ms", 93_784_005),
            ("1m5ms", 60_005),
            ("-0ms", 0),
            ("9223372036854775807ms", i64::MAX),
            ("-9223372036854775808ms", i64::MIN),
        ] {
            assert_eq!(Duration::parse(text).unwrap().as_millis(), millis, "{text}");
        }
        for bad in [
            "",
            "-",
            "1",
            "d",
            "1m1h",
            "1h1h",
            "1ms1s",
            "1.5h",
            "1 h",
            "+1h",
            "--1h",
            "1H",
            "1hh",
            "1h ",
            "9223372036854775808ms",
            "106751991168d",
            "99999999999999999999ms",
            "1ｈ",
        ] {
            assert!(Duration::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn whole_units_are_rounded_towards_zero() {
        let duration = Duration::parse("-36h").unwrap();
        assert_eq!((duration.as_days(), duration.as_hours()), (-1, -36));
    }

    proptest! {
        #[test]
        fn a_duration_is_read_back_as_it_is_shown(millis: i64) {
            let duration = Duration(millis);
            prop_assert_eq!(Duration::parse(&duration.to_string()), Ok(duration));
        }

        #[test]
        fn any_text_is_a_duration_or_an_error(text: String) {
            let _ = Duration::parse(&text);
        }
    }
}
