//! `decimal`: a number with four digits after the point.
//!
//! [`Decimal::parse`] accepts `-?[0-9]+\.[0-9]{1,4}` whose value times 10,000 fits into 64 bits.

use std::fmt;

use super::{Malformed, digits};

const SCALE: i128 = 10_000;

/// A decimal number, exact to four digits after the point.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Decimal(
    // In units of 1/10,000.
    i64,
);

impl Decimal {
    /// Parses a decimal.
    ///
    /// # Errors
    ///
    /// [`Malformed`] says which part of the form is missed.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        Self::read(text).map_err(|why| Malformed::new("decimal", why, text))
    }

    /// As [`Decimal::parse`], or which part of the form is missed, without an allocation.
    pub(crate) fn read(text: &str) -> Result<Self, &'static str> {
        let (sign, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text),
        };
        let (whole, fraction) = unsigned.split_once('.').ok_or("it has no point")?;
        if fraction.len() > 4 {
            return Err("it has more than 4 digits after the point");
        }
        let number = |text: &str| if text.is_empty() { None } else { digits(text) };
        let not_digits = "digits are expected on both sides of the point";
        let units = number(fraction).ok_or(not_digits)?;
        let whole = number(whole).ok_or(not_digits)?;
        // `.5` counts 5,000 units.
        let unit = [10_000, 1_000, 100, 10].get(fraction.len()).copied().unwrap_or(1);
        i128::from(units)
            .checked_mul(unit)
            .zip(i128::from(whole).checked_mul(SCALE))
            .and_then(|(units, whole)| whole.checked_add(units))
            .and_then(|value| value.checked_mul(sign))
            .and_then(|value| i64::try_from(value).ok())
            .map(Self)
            .ok_or("it is out of range")
    }
}

/// In the shortest form that [`Decimal::parse`] reads.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, fraction) = (self.0.unsigned_abs() / 10_000, self.0.unsigned_abs() % 10_000);
        let digits = format!("{fraction:04}");
        let trimmed = digits.trim_end_matches('0');
        write!(f, "{sign}{whole}.{}", if trimmed.is_empty() { "0" } else { trimmed })
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_decimal_has_a_point_and_at_most_four_digits_behind_it() {
        for (text, units) in [
            ("1.5", 15_000),
            ("1.2345", 12_345),
            ("-0.5", -5_000),
            ("-0.0", 0),
            ("007.10", 71_000),
            ("922337203685477.5807", i64::MAX),
            ("-922337203685477.5808", i64::MIN),
        ] {
            assert_eq!(Decimal::parse(text).unwrap().0, units, "{text}");
        }
        for bad in [
            "",
            "1",
            "1.",
            ".5",
            "-.5",
            "-",
            ".",
            "1.23456",
            "1.00000",
            "+1.0",
            "--1.0",
            "1.-5",
            "1.0e1",
            " 1.0",
            "1.0 ",
            "1.2.3",
            "a.b",
            "١.0",
            "1.+5",
            "1.é",
            "922337203685477.5808",
            "-922337203685477.5809",
            "99999999999999999999.0",
        ] {
            assert!(Decimal::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_decimal_is_read_back_as_it_is_shown(units: i64) {
            let decimal = Decimal(units);
            prop_assert_eq!(Decimal::parse(&decimal.to_string()), Ok(decimal));
        }

        #[test]
        fn any_text_is_a_decimal_or_an_error(text: String) {
            let _ = Decimal::parse(&text);
        }
    }
}
