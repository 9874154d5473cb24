//! A strict reader of DER that allocates nothing.
//!
//! [`Reader`] takes one element after the other from a slice, when, in this order:
//!
//! 1. the budget of elements is not spent: each one costs, so that work is bounded before size is
//!    trusted;
//! 2. its tag has one byte (X.509 has no other);
//! 3. its length is definite, in the shortest form, and at most 65,535, or [`MAX_LONG_LEN`] in a
//!    reader of long documents (X.690 §10.1);
//! 4. its contents lie within what is there.
//!
//! [`Reader::finish`] refuses whatever is left over. Going into an element costs one of
//! [`MAX_DEPTH`] levels. The values of X.509 that are read at all (booleans, integers, object
//! identifiers, bit strings, times) are held to their one DER form.

use std::cell::Cell;

use zt_core::time::Timestamp;

/// How many elements may lie within each other. The deepest that a certificate needs is 10, for an
/// `otherName` in its alternative names.
pub const MAX_DEPTH: u8 = 16;
/// How long an element is at most that [`Reader::of_long`] reads, in bytes.
pub const MAX_LONG_LEN: usize = 0xff_ffff;

const MAX_LEN: usize = 0xffff;

/// Tags of X.509, each with its class and its constructed bit.
pub mod tag {
    /// `BOOLEAN`
    pub const BOOLEAN: u8 = 0x01;
    /// `INTEGER`
    pub const INTEGER: u8 = 0x02;
    /// `BIT STRING`
    pub const BIT_STRING: u8 = 0x03;
    /// `OCTET STRING`
    pub const OCTET_STRING: u8 = 0x04;
    /// `OBJECT IDENTIFIER`
    pub const OID: u8 = 0x06;
    /// `UTCTime`
    pub const UTC_TIME: u8 = 0x17;
    /// `GeneralizedTime`
    pub const GENERALIZED_TIME: u8 = 0x18;
    /// `SEQUENCE`
    pub const SEQUENCE: u8 = 0x30;
    /// `SET`
    pub const SET: u8 = 0x31;

    /// `[number]`, primitive.
    #[must_use]
    pub const fn context(number: u8) -> u8 {
        0x80 | number
    }

    /// `[number]`, constructed.
    #[must_use]
    pub const fn context_constructed(number: u8) -> u8 {
        0xa0 | number
    }
}

/// How many more elements may be read.
#[derive(Debug)]
pub struct Budget(Cell<u32>);

impl Budget {
    /// A budget of this many elements.
    #[must_use]
    pub const fn new(elements: u32) -> Self {
        Self(Cell::new(elements))
    }

    fn spend(&self) -> Result<(), DerError> {
        self.0.set(self.0.get().checked_sub(1).ok_or(DerError::BudgetSpent)?);
        Ok(())
    }
}

/// One element: its tag, its contents, and all of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Element<'a> {
    /// The tag byte.
    pub tag: u8,
    /// What follows the length.
    pub contents: &'a [u8],
    /// The element with its tag and length.
    pub whole: &'a [u8],
}

impl Element<'_> {
    /// Whether it is made of elements (X.690 §8.1.2.5).
    #[must_use]
    pub const fn is_constructed(&self) -> bool {
        self.tag & 0x20 != 0
    }
}

/// Takes elements from a slice.
///
/// ```
/// use zt_identity::der::{Budget, Reader, tag};
///
/// let budget = Budget::new(8);
/// let mut outer = Reader::new(&[0x30, 0x03, 0x02, 0x01, 0x05], &budget);
/// let mut sequence = outer.enter(tag::SEQUENCE)?;
/// assert_eq!(sequence.expect(tag::INTEGER)?.contents, [5]);
/// sequence.finish()?;
/// outer.finish()?;
/// # Ok::<(), zt_identity::der::DerError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Reader<'a, 'b> {
    rest: &'a [u8],
    depth: u8,
    max_len: usize,
    budget: &'b Budget,
}

impl<'a, 'b> Reader<'a, 'b> {
    /// A reader of `der`, which spends `budget`.
    #[must_use]
    pub const fn new(der: &'a [u8], budget: &'b Budget) -> Self {
        Self { rest: der, depth: 0, max_len: MAX_LEN, budget }
    }

    /// A reader of `der` whose elements may have up to [`MAX_LONG_LEN`] bytes, as revocation lists
    /// do.
    #[must_use]
    pub const fn of_long(der: &'a [u8], budget: &'b Budget) -> Self {
        Self { rest: der, depth: 0, max_len: MAX_LONG_LEN, budget }
    }

    /// Whether everything was taken.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes the next element.
    ///
    /// # Errors
    ///
    /// [`DerError`] names the rule that the bytes break.
    pub fn element(&mut self) -> Result<Element<'a>, DerError> {
        self.budget.spend()?;
        let (&tag, after_tag) = self.rest.split_first().ok_or(DerError::Truncated)?;
        if tag & 0x1f == 0x1f {
            return Err(DerError::LongTag);
        }
        let (length, after_length) = length(after_tag)?;
        if length > self.max_len {
            return Err(DerError::TooLong);
        }
        let (contents, rest) = after_length.split_at_checked(length).ok_or(DerError::Truncated)?;
        let taken = self.rest.len().saturating_sub(rest.len());
        let whole = self.rest.get(..taken).ok_or(DerError::Truncated)?;
        self.rest = rest;
        Ok(Element { tag, contents, whole })
    }

    /// Takes the next element, which has this tag.
    ///
    /// # Errors
    ///
    /// As [`Reader::element`], and [`DerError::UnexpectedTag`].
    pub fn expect(&mut self, tag: u8) -> Result<Element<'a>, DerError> {
        let element = self.element()?;
        if element.tag == tag {
            Ok(element)
        } else {
            Err(DerError::UnexpectedTag { expected: tag, found: element.tag })
        }
    }

    /// Takes the next element when it has this tag, and nothing when it has another or is not
    /// there.
    ///
    /// # Errors
    ///
    /// As [`Reader::element`].
    pub fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>, DerError> {
        if self.rest.first() == Some(&tag) { self.element().map(Some) } else { Ok(None) }
    }

    /// A reader of what is in `element`, one level deeper.
    ///
    /// # Errors
    ///
    /// [`DerError::TooDeep`].
    pub fn within(&self, element: &Element<'a>) -> Result<Self, DerError> {
        let depth = self.depth.saturating_add(1);
        if depth > MAX_DEPTH {
            return Err(DerError::TooDeep);
        }
        Ok(Self { rest: element.contents, depth, ..*self })
    }

    /// Takes the next element, which has this tag, and goes into it.
    ///
    /// # Errors
    ///
    /// As [`Reader::expect`] and [`Reader::within`].
    pub fn enter(&mut self, tag: u8) -> Result<Self, DerError> {
        let element = self.expect(tag)?;
        self.within(&element)
    }

    /// Ends reading.
    ///
    /// # Errors
    ///
    /// [`DerError::TrailingBytes`] when something is left.
    pub const fn finish(self) -> Result<(), DerError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DerError::TrailingBytes) }
    }

    /// Walks through all that is left, into every constructed element, and keeps nothing.
    ///
    /// # Errors
    ///
    /// [`DerError`] for the first element that is not DER.
    pub fn walk(mut self) -> Result<(), DerError> {
        while !self.is_empty() {
            let element = self.element()?;
            if element.is_constructed() {
                self.within(&element)?.walk()?;
            }
        }
        Ok(())
    }
}

/// X.690 §8.1.3, §10.1: definite, in the shortest form.
fn length(bytes: &[u8]) -> Result<(usize, &[u8]), DerError> {
    let (&first, rest) = bytes.split_first().ok_or(DerError::Truncated)?;
    match first {
        0..=0x7f => Ok((usize::from(first), rest)),
        0x80 => Err(DerError::IndefiniteLength),
        0x81 => {
            let (&length, rest) = rest.split_first().ok_or(DerError::Truncated)?;
            if length < 0x80 {
                return Err(DerError::LongLength);
            }
            Ok((usize::from(length), rest))
        }
        0x82 => {
            let (&[high, low], rest) = rest.split_first_chunk().ok_or(DerError::Truncated)?;
            if high == 0 {
                return Err(DerError::LongLength);
            }
            Ok((usize::from(u16::from_be_bytes([high, low])), rest))
        }
        0x83 => {
            let (&[high, middle, low], rest) =
                rest.split_first_chunk().ok_or(DerError::Truncated)?;
            if high == 0 {
                return Err(DerError::LongLength);
            }
            let length = u32::from_be_bytes([0, high, middle, low]);
            Ok((usize::try_from(length).map_err(|_| DerError::TooLong)?, rest))
        }
        0x84.. => Err(DerError::TooLong),
    }
}

/// The value of a `BOOLEAN` (X.690 §11.1).
///
/// # Errors
///
/// [`DerError::BadValue`] when it is neither 0x00 nor 0xff.
pub const fn boolean(contents: &[u8]) -> Result<bool, DerError> {
    match contents {
        [0xff] => Ok(true),
        [0x00] => Ok(false),
        _ => Err(DerError::BadValue),
    }
}

/// Checks that an `INTEGER` is in the shortest form (X.690 §8.3.2), and returns its bytes.
///
/// # Errors
///
/// [`DerError::BadValue`].
pub const fn integer(contents: &[u8]) -> Result<&[u8], DerError> {
    match contents {
        [] | [0x00, 0x00..=0x7f, ..] | [0xff, 0x80..=0xff, ..] => Err(DerError::BadValue),
        _ => Ok(contents),
    }
}

/// Checks that every arc of an `OBJECT IDENTIFIER` is in the shortest form and complete
/// (X.690 §8.19.2), and returns its bytes.
///
/// # Errors
///
/// [`DerError::BadValue`].
pub fn oid(contents: &[u8]) -> Result<&[u8], DerError> {
    let mut begins = true;
    for byte in contents {
        if begins && *byte == 0x80 {
            return Err(DerError::BadValue);
        }
        begins = byte & 0x80 == 0;
    }
    if begins && !contents.is_empty() { Ok(contents) } else { Err(DerError::BadValue) }
}

/// The bytes of a `BIT STRING` of whole bytes, as keys and signatures are.
///
/// # Errors
///
/// [`DerError::BadValue`].
pub const fn octet_aligned_bits(contents: &[u8]) -> Result<&[u8], DerError> {
    match contents {
        [0, bits @ ..] => Ok(bits),
        _ => Err(DerError::BadValue),
    }
}

/// Up to nine named bits, bit 0 highest: the form of a key usage (X.690 §11.2).
///
/// # Errors
///
/// [`DerError::BadValue`] when unused bits are not zero, when the string ends with a bit that is
/// not set, or when it has more than nine.
pub fn named_bits(contents: &[u8]) -> Result<u16, DerError> {
    let (unused, last, value) = match *contents {
        [0] => return Ok(0),
        [unused, first] => (unused, first, u16::from_be_bytes([first, 0])),
        [7, first, second] => (7, second, u16::from_be_bytes([first, second])),
        _ => return Err(DerError::BadValue),
    };
    let set = last != 0 && u32::from(unused) == last.trailing_zeros();
    if set { Ok(value) } else { Err(DerError::BadValue) }
}

/// A `UTCTime` or `GeneralizedTime` in the form of RFC 5280 §4.1.2.5: to the second, in `Z`.
///
/// A `GeneralizedTime` before 2050, which RFC 5280 asks issuers not to write, says what it says.
///
/// # Errors
///
/// [`DerError::BadValue`] when there is no such date or it is in another form, and
/// [`DerError::UnexpectedTag`].
pub fn time(element: &Element<'_>) -> Result<Timestamp, DerError> {
    let (year, rest) = match element.tag {
        tag::UTC_TIME => {
            let (year, rest) = two_digits(element.contents)?;
            // RFC 5280 §4.1.2.5.1: 50 to 99 are of the twentieth century.
            (u16::from(year).saturating_add(if year >= 50 { 1900 } else { 2000 }), rest)
        }
        tag::GENERALIZED_TIME => {
            let (century, rest) = two_digits(element.contents)?;
            let (year, rest) = two_digits(rest)?;
            (u16::from(century).saturating_mul(100).saturating_add(u16::from(year)), rest)
        }
        found => return Err(DerError::UnexpectedTag { expected: tag::UTC_TIME, found }),
    };
    let (month, rest) = two_digits(rest)?;
    let (day, rest) = two_digits(rest)?;
    let (hour, rest) = two_digits(rest)?;
    let (minute, rest) = two_digits(rest)?;
    let (second, rest) = two_digits(rest)?;
    if rest != b"Z" {
        return Err(DerError::BadValue);
    }
    Timestamp::from_civil(year, month, day, hour, minute, second).ok_or(DerError::BadValue)
}

fn two_digits(text: &[u8]) -> Result<(u8, &[u8]), DerError> {
    match text {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9', rest @ ..] => {
            let tens = tens.saturating_sub(b'0').saturating_mul(10);
            Ok((tens.saturating_add(ones.saturating_sub(b'0')), rest))
        }
        _ => Err(DerError::BadValue),
    }
}

/// Why bytes are not the DER that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DerError {
    /// The bytes end too early.
    #[error("the bytes end too early")]
    Truncated,
    /// A tag of more than one byte.
    #[error("a tag has more than one byte")]
    LongTag,
    /// A length that is not given (BER only).
    #[error("a length is indefinite")]
    IndefiniteLength,
    /// A length in more bytes than it needs (BER only).
    #[error("a length is not in its shortest form")]
    LongLength,
    /// A length above what the reader reads.
    #[error("an element is longer than may be read")]
    TooLong,
    /// Another element than expected.
    #[error("tag {found:#04x} where {expected:#04x} belongs")]
    UnexpectedTag {
        /// The tag that belongs there.
        expected: u8,
        /// The tag that is there.
        found: u8,
    },
    /// Bytes after the last element.
    #[error("bytes follow the last element")]
    TrailingBytes,
    /// More than [`MAX_DEPTH`] levels.
    #[error("more than {MAX_DEPTH} elements lie within each other")]
    TooDeep,
    /// More elements than the reader may look at.
    #[error("there are more elements than may be read")]
    BudgetSpent,
    /// A value that is not in its one DER form, or that there is not.
    #[error("a value is not in its DER form")]
    BadValue,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use x509_parser::asn1_rs::{Any, FromDer, GeneralizedTime, Oid, UtcTime};

    use super::*;

    fn first(bytes: &[u8]) -> Result<Element<'_>, DerError> {
        Reader::new(bytes, &Budget::new(9)).element()
    }

    #[test]
    fn lengths_have_one_form() {
        assert_eq!(first(&[4, 0x80, 0, 0]), Err(DerError::IndefiniteLength));
        assert_eq!(first(&[4, 0x81, 1, 7]), Err(DerError::LongLength));
        assert_eq!(first(&[4, 0x82, 0, 1, 7]), Err(DerError::LongLength));
        assert_eq!(first(&[4, 0x83, 1, 0, 0]), Err(DerError::TooLong));
        assert_eq!(first(&[4, 2, 7]), Err(DerError::Truncated));
        assert_eq!(first(&[0x1f, 0x81, 0x01, 0]), Err(DerError::LongTag));
        assert_eq!(first(&[]), Err(DerError::Truncated));
        assert_eq!(first(&[4, 0x83, 0, 1, 0]), Err(DerError::LongLength));
        let long = [&[4, 0x81, 0x80][..], &[0; 128]].concat();
        assert_eq!(first(&long).unwrap().contents.len(), 128);
    }

    #[test]
    fn only_a_reader_of_long_documents_reads_long_elements() {
        let long = [&[4, 0x83, 1, 0, 0][..], &[0; 0x1_0000]].concat();
        assert_eq!(first(&long), Err(DerError::TooLong));
        let budget = Budget::new(9);
        let element = Reader::of_long(&long, &budget).element().unwrap();
        assert_eq!(element.contents.len(), 0x1_0000);
        let longer = [4, 0x84, 1, 0, 0, 0];
        assert_eq!(Reader::of_long(&longer, &budget).element(), Err(DerError::TooLong));
    }

    #[test]
    fn what_is_left_over_is_refused() {
        let budget = Budget::new(9);
        let mut reader = Reader::new(&[5, 0, 5, 0], &budget);
        reader.element().unwrap();
        assert_eq!(reader.finish(), Err(DerError::TrailingBytes));
    }

    #[test]
    fn depth_is_bounded() {
        let mut nested = vec![0x30, 0];
        for _ in 0..MAX_DEPTH {
            let len = u8::try_from(nested.len()).unwrap();
            nested.splice(0..0, [0x30, len]);
        }
        assert_eq!(Reader::new(&nested, &Budget::new(99)).walk(), Err(DerError::TooDeep));
        assert_eq!(Reader::new(&nested[2..], &Budget::new(99)).walk(), Ok(()));
    }

    #[test]
    fn work_is_bounded() {
        let many = [5, 0].repeat(10);
        assert_eq!(Reader::new(&many, &Budget::new(9)).walk(), Err(DerError::BudgetSpent));
        assert_eq!(Reader::new(&many, &Budget::new(10)).walk(), Ok(()));
    }

    #[test]
    fn values_have_one_form() {
        assert_eq!(boolean(&[1]), Err(DerError::BadValue));
        assert_eq!(integer(&[0, 1]), Err(DerError::BadValue));
        assert_eq!(integer(&[0xff, 0xff]), Err(DerError::BadValue));
        assert_eq!(integer(&[]), Err(DerError::BadValue));
        assert!(integer(&[0, 0x80]).is_ok());
        assert_eq!(oid(&[0x55, 0x80, 0x1d]), Err(DerError::BadValue));
        assert_eq!(oid(&[0x55, 0x9d]), Err(DerError::BadValue));
        assert_eq!(oid(&[]), Err(DerError::BadValue));
        assert!(oid(&[0x55, 0x1d, 0x0f]).is_ok());
    }

    #[test]
    fn named_bits_end_with_a_bit_that_is_set() {
        assert_eq!(named_bits(&[7, 0x80]), Ok(0x8000));
        assert_eq!(named_bits(&[1, 0x06]), Ok(0x0600));
        assert_eq!(named_bits(&[7, 0x04, 0x80]), Ok(0x0480));
        assert_eq!(named_bits(&[0]), Ok(0));
        for bad in [
            &[][..],
            &[1],
            &[0, 0x80],
            &[6, 0x80],
            &[7, 0x81],
            &[8, 0x80],
            &[0, 0x00],
            &[8, 0x00],
            &[16, 0x00],
            &[6, 0x04, 0x40],
            &[7, 0x04, 0x00],
            &[0, 0x04, 0x80],
            &[7, 0x04, 0x80, 0x80],
        ] {
            assert_eq!(named_bits(bad), Err(DerError::BadValue), "{bad:x?}");
        }
    }

    fn time_of(tag: u8, text: &str) -> Result<Timestamp, DerError> {
        time(&Element { tag, contents: text.as_bytes(), whole: &[] })
    }

    #[test]
    fn times_are_to_the_second_and_in_z() {
        let shown = |text| time_of(tag::UTC_TIME, text).unwrap().to_string();
        assert_eq!(shown("491231235959Z"), "2049-12-31T23:59:59Z");
        assert_eq!(shown("500101000000Z"), "1950-01-01T00:00:00Z");
        for bad in [
            "4912312359Z",
            "491231235959",
            "491231235959+0000",
            "490230000000Z",
            "49123123595 Z",
            "491231235960Z",
        ] {
            assert_eq!(time_of(tag::UTC_TIME, bad), Err(DerError::BadValue), "{bad}");
        }
        assert!(time_of(tag::GENERALIZED_TIME, "99991231235959Z").is_ok());
        assert_eq!(time_of(tag::GENERALIZED_TIME, "20500101000000.5Z"), Err(DerError::BadValue));
    }

    /// Most of these exist, and some go one too far.
    const TIMES: &str =
        "[0-9]{2}(0[0-9]|1[0-3])([0-2][0-9]|3[0-2])([01][0-9]|2[0-4])[0-6][0-9][0-6][0-9]Z";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn what_is_taken_is_what_x509_parser_takes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(element) = first(&bytes) {
                let (rest, any) = Any::from_der(&bytes).unwrap();
                prop_assert_eq!(element.contents, any.data);
                prop_assert_eq!([element.whole, rest].concat(), bytes);
            }
        }

        #[test]
        fn what_x509_parser_takes_in_der_is_taken(tag in 0u8..0x1f, contents in proptest::collection::vec(any::<u8>(), 0..700)) {
            let length = match contents.len() {
                short @ 0..=0x7f => vec![u8::try_from(short).unwrap()],
                middle @ 0x80..=0xff => vec![0x81, u8::try_from(middle).unwrap()],
                long => [&[0x82], &u16::try_from(long).unwrap().to_be_bytes()[..]].concat(),
            };
            let bytes = [&[tag][..], &length, &contents].concat();
            prop_assert_eq!(first(&bytes).unwrap().contents, &contents[..]);
            prop_assert!(Any::from_der(&bytes).is_ok());
        }

        #[test]
        fn any_bytes_are_walked_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Reader::new(&bytes, &Budget::new(100)).walk();
            let _ = named_bits(&bytes);
            let _ = oid(&bytes);
            let _ = integer(&bytes);
        }

        #[test]
        fn times_agree_with_x509_parser(text in TIMES, century in "(19|20|21)") {
            let whole = |tag, text: &str| {
                [&[tag, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
            };
            let der = whole(tag::UTC_TIME, &text);
            let theirs = UtcTime::from_der(&der)
                .ok()
                .and_then(|(_, time)| time.utc_adjusted_datetime().ok())
                .map(|time| Timestamp::from_secs(time.unix_timestamp()));
            prop_assert_eq!(time_of(tag::UTC_TIME, &text).ok(), theirs);
            let text = century + &text;
            let der = whole(tag::GENERALIZED_TIME, &text);
            let theirs = GeneralizedTime::from_der(&der)
                .ok()
                .and_then(|(_, time)| time.utc_datetime().ok())
                .map(|time| Timestamp::from_secs(time.unix_timestamp()));
            prop_assert_eq!(time_of(tag::GENERALIZED_TIME, &text).ok(), theirs);
        }

        #[test]
        fn an_oid_that_we_take_is_one_that_x509_parser_shows(arcs in proptest::collection::vec(0u64..100_000, 1..6)) {
            let all = [&[2, 5][..], &arcs].concat();
            let theirs = Oid::from(&all).unwrap();
            prop_assert!(oid(theirs.as_bytes()).is_ok());
        }
    }
}
