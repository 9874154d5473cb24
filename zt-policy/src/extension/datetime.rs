//! `datetime`: a moment in milliseconds since 1970-01-01T00:00:00Z.
//!
//! [`DateTime::parse`] accepts `YYYY-MM-DD`, alone or followed by `Thh:mm:ss`, an optional `.SSS`,
//! and `Z` or an offset `+hhmm` / `-hhmm` of less than a day. The date has to exist; hour 24 and
//! second 60 do not.

use std::fmt;

use zt_core::time::Timestamp;

use super::duration::Duration;
use super::{Malformed, digits};

const MILLIS_PER_DAY: i64 = 86_400_000;

/// A moment, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DateTime(i64);

impl DateTime {
    /// The moment so many milliseconds after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Parses a datetime.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when the text has another form, or there is no such date, time or offset.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        Self::read(text).ok_or_else(|| {
            let why = "expected YYYY-MM-DD, or YYYY-MM-DDThh:mm:ss with .SSS or without, \
                       then Z or +hhmm or -hhmm";
            Malformed::new("datetime", why, text)
        })
    }

    /// As [`DateTime::parse`], without an allocation.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut fields = Fields(text);
        let year = fields.number(4)?;
        fields.skip("-")?;
        let month = fields.number(2)?;
        fields.skip("-")?;
        let day = fields.number(2)?;
        if fields.is_done() {
            return Self::civil(year, month, day, [0, 0, 0], 0, 0);
        }
        fields.skip("T")?;
        let hour = fields.number(2)?;
        fields.skip(":")?;
        let minute = fields.number(2)?;
        fields.skip(":")?;
        let second = fields.number(2)?;
        let millis = if fields.skip(".").is_some() { fields.number(3)? } else { 0 };
        let offset = fields.offset()?;
        if !fields.is_done() {
            return None;
        }
        Self::civil(year, month, day, [hour, minute, second], millis, offset)
    }

    fn civil(
        year: u16,
        month: u16,
        day: u16,
        time: [u16; 3],
        millis: u16,
        offset_minutes: i64,
    ) -> Option<Self> {
        let byte = |number: u16| u8::try_from(number).ok();
        let [hour, minute, second] = time.map(byte);
        Timestamp::from_civil(year, byte(month)?, byte(day)?, hour?, minute?, second?)?
            .as_secs()
            .checked_mul(1_000)?
            .checked_add(i64::from(millis))?
            .checked_sub(offset_minutes.checked_mul(60_000)?)
            .map(Self)
    }

    /// This moment moved by a duration; `None` when that is out of range.
    #[must_use]
    pub const fn offset(self, by: Duration) -> Option<Self> {
        match self.0.checked_add(by.as_millis()) {
            Some(millis) => Some(Self(millis)),
            None => None,
        }
    }

    /// How long ago `earlier` was at this moment; `None` when that is out of range.
    #[must_use]
    pub const fn duration_since(self, earlier: Self) -> Option<Duration> {
        match self.0.checked_sub(earlier.0) {
            Some(millis) => Some(Duration::from_millis(millis)),
            None => None,
        }
    }

    /// The beginning of this day in UTC; `None` when that is out of range.
    #[must_use]
    pub const fn to_date(self) -> Option<Self> {
        match self.0.checked_sub(self.0.rem_euclid(MILLIS_PER_DAY)) {
            Some(millis) => Some(Self(millis)),
            None => None,
        }
    }

    /// The time since the beginning of this day in UTC.
    #[must_use]
    pub const fn to_time(self) -> Duration {
        Duration::from_millis(self.0.rem_euclid(MILLIS_PER_DAY))
    }
}

/// The millisecond that the moment lies in.
impl From<Timestamp> for DateTime {
    fn from(time: Timestamp) -> Self {
        Self(time.as_micros().div_euclid(1_000))
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms since 1970-01-01", self.0)
    }
}

impl fmt::Debug for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is left of the text.
struct Fields<'a>(&'a str);

impl Fields<'_> {
    fn number(&mut self, len: usize) -> Option<u16> {
        let (number, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        digits(number).and_then(|number| u16::try_from(number).ok())
    }

    fn skip(&mut self, mark: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(mark)?;
        Some(())
    }

    fn is_done(&self) -> bool {
        self.0.is_empty()
    }

    /// The offset from UTC in minutes.
    fn offset(&mut self) -> Option<i64> {
        if self.skip("Z").is_some() {
            return Some(0);
        }
        let sign = if self.skip("+").is_some() { 1 } else { self.skip("-").map(|()| -1)? };
        let (hours, minutes) = (self.number(2)?, self.number(2)?);
        if hours > 23 || minutes > 59 {
            return None;
        }
        i64::from(hours).checked_mul(60)?.checked_add(i64::from(minutes))?.checked_mul(sign)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> i64 {
        DateTime::parse(text).unwrap().as_millis()
    }

    #[test]
    fn a_datetime_has_one_of_five_forms() {
        assert_eq!(at("1970-01-02"), MILLIS_PER_DAY);
        assert_eq!(at("1970-01-01T00:00:01Z"), 1_000);
        assert_eq!(at("1970-01-01T00:00:01.234Z"), 1_234);
        assert_eq!(at("1970-01-01T01:00:00+0100"), 0);
        assert_eq!(at("1970-01-01T00:00:00.007-0130"), 5_400_007);
        assert!(at("0000-01-01") < at("0001-01-01"));
        for bad in [
            "",
            "1970",
            "1970-1-01",
            "1970-01-01T",
            "1970-01-01 00:00:00Z",
            "1970-01-01T00:00:00",
            "1970-01-01T00:00Z",
            "1970-01-01T00:00:00.1Z",
            "1970-01-01T00:00:00.1234Z",
            "1970-01-01T00:00:00+01:00",
            "1970-01-01T00:00:00+2400",
            "1970-01-01T00:00:00+0060",
            "1970-01-01t00:00:00z",
            "10000-01-01",
            "+970-01-01",
            "-970-01-01",
            "1970-01-01Z",
            "1970-01-01T00:00:00ZZ",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:00:60Z",
            "2023-02-29",
            "1970-00-01",
            "1970-01-0é",
        ] {
            assert!(DateTime::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_day_begins_at_midnight_also_before_1970() {
        let eve = DateTime::parse("1969-12-31T23:00:00Z").unwrap();
        assert_eq!(eve.to_date(), DateTime::parse("1969-12-31").ok());
        assert_eq!(eve.to_time().as_hours(), 23);
        assert_eq!(DateTime::from_millis(i64::MIN).to_date(), None);
    }

    #[test]
    fn a_timestamp_falls_into_its_millisecond() {
        assert_eq!(DateTime::from(Timestamp::from_micros(-1)).as_millis(), -1);
        assert_eq!(DateTime::from(Timestamp::from_micros(1_999)).as_millis(), 1);
    }

    proptest! {
        #[test]
        fn any_text_is_a_datetime_or_an_error(text: String) {
            let _ = DateTime::parse(&text);
        }
    }
}
