//! JSON as a peer may send it: one object, read in one way only.
//!
//! [`Object::parse`] accepts bytes when (T-03, RFC 8725 §3.3, RFC 7515 §4):
//!
//! 1. they are UTF-8;
//! 2. they are one JSON object of RFC 8259, with nothing but whitespace around it;
//! 3. nothing lies deeper than [`MAX_DEPTH`], and there are at most [`MAX_VALUES`] values, or
//!    [`MAX_TOKEN_VALUES`] in a part of a token;
//! 4. every escape names a character: there is no lone surrogate (RFC 8259 §8.2);
//! 5. no object has two members of one name, once escapes are resolved.
//!
//! Names are case-sensitive. Text without escapes is borrowed. How long the bytes may be is for
//! the caller to say, who knows what they are.

use std::borrow::Cow;
use std::fmt::{self, Write};

use crate::excerpt::excerpt;

/// The deepest nesting that is read; no claim or key of any standard goes beyond 5.
pub const MAX_DEPTH: usize = 32;
/// The most values that one document may hold: ten members for each of the 800 keys that fit into
/// a key set of the largest size.
pub const MAX_VALUES: usize = 8192;
/// The most values that the header or the payload of a token may hold, members and items together.
/// The longest token has room for 315 groups that are UUIDs, and providers cut lists of groups at
/// 200 or before. Reading this many costs no more than the cheapest signature: what nobody has signed
/// is cheap to refuse also where it has to be read first.
pub const MAX_TOKEN_VALUES: usize = 512;

/// Up to this many members, comparing all pairs is faster than sorting.
const COMPARED_IN_PAIRS: usize = 16;

/// A value, borrowing from the text that it was read from.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as it was written: RFC 8259 gives it no range.
    Number(&'a str),
    /// Text, its escapes resolved.
    String(Cow<'a, str>),
    /// Values in order.
    Array(Vec<Value<'a>>),
    /// Named values.
    Object(Object<'a>),
}

impl<'a> Value<'a> {
    /// The text, when it is text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The boolean, when it is one.
    #[must_use]
    pub const fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    /// The number as it was written, when it is one.
    #[must_use]
    pub const fn as_number(&self) -> Option<&'a str> {
        if let Self::Number(text) = self { Some(text) } else { None }
    }

    /// The values, when it is an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Value<'a>]> {
        if let Self::Array(values) = self { Some(values) } else { None }
    }

    /// The members, when it is an object.
    #[must_use]
    pub const fn as_object(&self) -> Option<&Object<'a>> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }

    /// The texts, when it is an array of nothing but text.
    #[must_use]
    pub fn as_strings(&self) -> Option<Vec<&str>> {
        self.as_array()?.iter().map(Value::as_str).collect()
    }
}

/// Named values, each name once.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Object<'a> {
    // INVARIANT: no two members have one name.
    members: Vec<(Cow<'a, str>, Value<'a>)>,
}

impl<'a> Object<'a> {
    /// Reads one object.
    ///
    /// # Errors
    ///
    /// [`JsonError`] names the first rule that is broken, and where.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, JsonError> {
        Self::parse_within(bytes, MAX_VALUES)
    }

    /// Reads the header or the payload of a token: one object of at most [`MAX_TOKEN_VALUES`].
    ///
    /// # Errors
    ///
    /// As [`Object::parse`].
    pub fn parse_token(bytes: &'a [u8]) -> Result<Self, JsonError> {
        Self::parse_within(bytes, MAX_TOKEN_VALUES)
    }

    fn parse_within(bytes: &'a [u8], max_values: usize) -> Result<Self, JsonError> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| JsonError::NotUtf8 { at: error.valid_up_to() })?;
        let mut reader = Reader { text, at: 0, max_values, values_left: max_values };
        reader.skip_whitespace();
        if reader.peek() != Some(b'{') {
            return Err(JsonError::NotAnObject);
        }
        let object = reader.object(MAX_DEPTH)?;
        reader.skip_whitespace();
        match reader.peek() {
            None => Ok(object),
            Some(_) => Err(JsonError::Trailing { at: reader.at }),
        }
    }

    /// The value with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.members.iter().find(|(member, _)| member == name).map(|(_, value)| value)
    }

    /// With this text, where there is nothing of this name.
    #[cfg(feature = "http")]
    pub(crate) fn with_absent(mut self, name: &'static str, text: String) -> Self {
        if self.get(name).is_none() {
            self.members.push((Cow::Borrowed(name), Value::String(Cow::Owned(text))));
        }
        self
    }

    /// All members, as they were written.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value<'a>)> {
        self.members.iter().map(|(name, value)| (name.as_ref(), value))
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

/// The value as JSON without whitespace: what is read from it is the same value.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(text) => f.write_str(text),
            Self::String(text) => write_text(f, text),
            Self::Array(values) => {
                f.write_str("[")?;
                for (n, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if n == 0 { "" } else { "," })?;
                }
                f.write_str("]")
            }
            Self::Object(object) => fmt::Display::fmt(object, f),
        }
    }
}

/// The object as JSON, as [`Value`] is written.
impl fmt::Display for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (n, (name, value)) in self.members.iter().enumerate() {
            f.write_str(if n == 0 { "" } else { "," })?;
            write_text(f, name)?;
            write!(f, ":{value}")?;
        }
        f.write_str("}")
    }
}

/// RFC 8259 §7: quotes, backslashes and control characters are escaped.
fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for character in text.chars() {
        match character {
            '"' | '\\' => write!(f, "\\{character}")?,
            '\0'..='\x1f' => write!(f, "\\u{:04x}", u32::from(character))?,
            other => f.write_char(other)?,
        }
    }
    f.write_str("\"")
}

/// Why bytes are not JSON that is accepted. Places are offsets in bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// The bytes are not UTF-8.
    #[error("not UTF-8 at byte {at}")]
    NotUtf8 {
        /// Where.
        at: usize,
    },
    /// The document is something else than an object.
    #[error("not an object")]
    NotAnObject,
    /// The grammar of RFC 8259 allows something else here.
    #[error("unexpected input at byte {at}")]
    Unexpected {
        /// Where.
        at: usize,
    },
    /// An escape sequence does not name a character.
    #[error("an escape at byte {at} names no character")]
    Escape {
        /// Where.
        at: usize,
    },
    /// An object has two members of one name.
    #[error("the name {name:?} occurs twice in an object")]
    Duplicate {
        /// The name, cut.
        name: String,
    },
    /// The document is nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels at byte {at}")]
    TooDeep {
        /// Where.
        at: usize,
    },
    /// The document holds more values than one of its kind may.
    #[error("more than {most} values at byte {at}")]
    TooManyValues {
        /// Where.
        at: usize,
        /// [`MAX_VALUES`], or [`MAX_TOKEN_VALUES`] of a token.
        most: usize,
    },
    /// Something follows the object.
    #[error("something follows the object at byte {at}")]
    Trailing {
        /// Where.
        at: usize,
    },
}

/// Reads forward only. `levels` is how much deeper a value may go; `values_left` is the budget.
struct Reader<'a> {
    text: &'a str,
    // INVARIANT: a char boundary of `text`, at most its length.
    at: usize,
    max_values: usize,
    values_left: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Steps over one ASCII byte, which `peek` has shown.
    const fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    const fn unexpected(&self) -> JsonError {
        JsonError::Unexpected { at: self.at }
    }

    fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.step();
        }
    }

    /// Steps over `byte` if it is next, and says whether it was.
    fn eat(&mut self, byte: u8) -> bool {
        let next = self.peek() == Some(byte);
        if next {
            self.step();
        }
        next
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.eat(byte) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn value(&mut self, levels: usize) -> Result<Value<'a>, JsonError> {
        let too_many = JsonError::TooManyValues { at: self.at, most: self.max_values };
        self.values_left = self.values_left.checked_sub(1).ok_or(too_many)?;
        match self.peek() {
            Some(b'"') => self.string().map(Value::String),
            Some(b'{') => self.object(levels).map(Value::Object),
            Some(b'[') => self.array(levels).map(Value::Array),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            _ => Err(self.unexpected()),
        }
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, JsonError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word) {
            return Err(self.unexpected());
        }
        self.at = self.at.saturating_add(word.len());
        Ok(value)
    }

    fn enter(&self, levels: usize) -> Result<usize, JsonError> {
        levels.checked_sub(1).ok_or(JsonError::TooDeep { at: self.at })
    }

    fn array(&mut self, levels: usize) -> Result<Vec<Value<'a>>, JsonError> {
        let levels = self.enter(levels)?;
        self.step();
        self.skip_whitespace();
        let mut values = Vec::new();
        if self.eat(b']') {
            return Ok(values);
        }
        loop {
            self.skip_whitespace();
            values.push(self.value(levels)?);
            self.skip_whitespace();
            if self.eat(b']') {
                return Ok(values);
            }
            self.expect(b',')?;
        }
    }

    fn object(&mut self, levels: usize) -> Result<Object<'a>, JsonError> {
        let levels = self.enter(levels)?;
        self.step();
        self.skip_whitespace();
        let mut members = Vec::new();
        if self.eat(b'}') {
            return Ok(Object { members });
        }
        loop {
            self.skip_whitespace();
            let name = self.string()?;
            self.skip_whitespace();
            self.expect(b':')?;
            self.skip_whitespace();
            members.push((name, self.value(levels)?));
            self.skip_whitespace();
            if self.eat(b'}') {
                check_names(&members)?;
                return Ok(Object { members });
            }
            self.expect(b',')?;
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.expect(b'"')?;
        let plain = self.plain();
        if self.eat(b'"') {
            return Ok(Cow::Borrowed(plain));
        }
        let mut resolved = plain.to_owned();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.step();
                    return Ok(Cow::Owned(resolved));
                }
                Some(b'\\') => resolved.push(self.escape()?),
                _ => return Err(self.unexpected()),
            }
            resolved.push_str(self.plain());
        }
    }

    /// Everything up to a quote, a backslash, a control character or the end.
    fn plain(&mut self) -> &'a str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let stops = |byte: u8| byte == b'"' || byte == b'\\' || byte < 0x20;
        let len = rest.bytes().position(stops).unwrap_or(rest.len());
        self.at = self.at.saturating_add(len);
        rest.get(..len).unwrap_or_default()
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let at = self.at;
        self.step();
        let escaped = self.peek().ok_or(JsonError::Escape { at })?;
        let character = match escaped {
            b'"' | b'\\' | b'/' => char::from(escaped),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape().ok_or(JsonError::Escape { at }),
            _ => return Err(JsonError::Escape { at }),
        };
        self.step();
        Ok(character)
    }

    /// `uXXXX`, or two of them for a character beyond the basic plane.
    fn unicode_escape(&mut self) -> Option<char> {
        let first = self.code_unit()?;
        if !(0xD800..=0xDFFF).contains(&first) {
            return char::from_u32(u32::from(first));
        }
        if !self.eat(b'\\') {
            return None;
        }
        let second = self.code_unit()?;
        char::decode_utf16([first, second]).next()?.ok()
    }

    fn code_unit(&mut self) -> Option<u16> {
        if !self.eat(b'u') {
            return None;
        }
        let end = self.at.saturating_add(4);
        let digits = self.text.get(self.at..end)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        self.at = end;
        u16::from_str_radix(digits, 16).ok()
    }

    /// `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`
    fn number(&mut self) -> Result<&'a str, JsonError> {
        let start = self.at;
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            if !self.eat(b'+') {
                self.eat(b'-');
            }
            self.digits()?;
        }
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return Err(self.unexpected());
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.step();
        }
        Ok(())
    }
}

/// No name twice (RFC 7515 §4, RFC 7519 §4), in O(n log n).
fn check_names(members: &[(Cow<'_, str>, Value<'_>)]) -> Result<(), JsonError> {
    let duplicate = if members.len() <= COMPARED_IN_PAIRS {
        let mut rest = members.iter();
        std::iter::from_fn(|| rest.next().map(|(name, _)| (name, rest.as_slice())))
            .find(|(name, others)| others.iter().any(|(other, _)| other == *name))
            .map(|(name, _)| name.as_ref())
    } else {
        let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_ref()).collect();
        names.sort_unstable();
        names
            .windows(2)
            .find(|pair| pair.first() == pair.last())
            .and_then(|pair| pair.first().copied())
    };
    match duplicate {
        None => Ok(()),
        Some(name) => Err(JsonError::Duplicate { name: excerpt(name) }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value as Oracle;

    use super::*;

    fn parse(text: &str) -> Result<Object<'_>, JsonError> {
        Object::parse(text.as_bytes())
    }

    /// An object of so many arrays in each other.
    fn nested(arrays: usize) -> String {
        format!(r#"{{"a":{}{}}}"#, "[".repeat(arrays), "]".repeat(arrays))
    }

    #[test]
    fn one_object_with_whitespace_around_it_is_read() {
        let text =
            " \t\r\n{ \"a\" : [ 1 , -0.5e+3 , true , false , null , { } , [ ] ] , \"b\":\"\"} \n";
        let object = parse(text).unwrap();
        assert_eq!(object.len(), 2);
        assert_eq!(object.get("a").unwrap().as_array().unwrap()[1].as_number(), Some("-0.5e+3"));
        assert_eq!(object.get("b").unwrap().as_str(), Some(""));
        assert_eq!(object.get("A"), None);
    }

    #[test]
    fn what_is_written_reads_as_the_same_value() {
        let text = r#"{"a":[1,-0.5e+3,true,null,{},[]],"\"\\\u0000é":"\/\n\ud83d\ude00"}"#;
        let object = parse(text).unwrap();
        let written = object.to_string();
        assert_eq!(parse(&written).unwrap(), object);
        assert_eq!(written, r#"{"a":[1,-0.5e+3,true,null,{},[]],"\"\\\u0000é":"/\u000a😀"}"#);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["", " ", "[]", "\"a\"", "1", "null", "\u{feff}{}"] {
            assert_eq!(parse(text), Err(JsonError::NotAnObject), "{text:?}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused() {
        assert_eq!(Object::parse(b"{\"a\xff\":1}"), Err(JsonError::NotUtf8 { at: 3 }));
        assert!(Object::parse(b"{\"a\":\"\xed\xa0\x80\"}").is_err());
    }

    #[test]
    fn what_rfc_8259_does_not_allow_is_refused() {
        for text in [
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,",
            "{\"a\":1,}",
            "{,}",
            "{a:1}",
            "{'a':1}",
            "{\"a\" 1}",
            "{\"a\":1 \"b\":2}",
            "{\"a\":[1,]}",
            "{\"a\":[,1]}",
            "{\"a\":[1 2]}",
            "{\"a\":tru}",
            "{\"a\":True}",
            "{\"a\":nul}",
            "{\"a\":NaN}",
            "{\"a\":Infinity}",
            "{\"a\":01}",
            "{\"a\":+1}",
            "{\"a\":.5}",
            "{\"a\":1.}",
            "{\"a\":1e}",
            "{\"a\":1e+}",
            "{\"a\":-}",
            "{\"a\":0x1}",
            "{\"a\":\"\n\"}",
            "{\"a\":\"\u{0}\"}",
            "{\"a\":\"}",
            "{\"a\":1}/**/",
            "{\"a\":/**/1}",
            "{\"a\":1}\u{a0}",
            "{\"a\":1}\u{b}",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn escapes_are_resolved_and_name_a_character() {
        let object = parse(r#"{"a":"\"\\\/\b\f\n\r\t\u00E9\ud834\uDD1E é"}"#).unwrap();
        let text = object.get("a").unwrap().as_str();
        assert_eq!(text, Some("\"\\/\u{8}\u{c}\n\r\té\u{1d11e} é"));
        for escape in [
            r"\",
            r"\x",
            r"\u",
            r"\u12",
            r"\u12g4",
            r"\u+123",
            r"\ud834",
            r"\ud834x",
            r"\ud834\n",
            r"\ud834\u0041",
            r"\ud834\ud834",
            r"\udd1e",
            r"\udd1e\ud834",
            r"\U0041",
        ] {
            let text = format!(r#"{{"a":"{escape}"}}"#);
            assert!(
                matches!(
                    parse(&text),
                    Err(JsonError::Escape { .. } | JsonError::Unexpected { .. })
                ),
                "{text}"
            );
        }
    }

    #[test]
    fn a_name_occurs_once_at_every_depth_however_it_is_written() {
        let duplicate = |name: &str| Err(JsonError::Duplicate { name: name.into() });
        assert_eq!(parse(r#"{"a":1,"a":1}"#), duplicate("a"));
        assert_eq!(parse(r#"{"a":1,"\u0061":2}"#), duplicate("a"));
        assert_eq!(parse(r#"{"x":[{"y":{"":1,"b":2,"":3}}]}"#), duplicate(""));
        assert!(parse(r#"{"a":{"a":{"a":1}},"A":1}"#).is_ok());
    }

    #[test]
    fn a_name_occurs_once_among_many() {
        for many in [COMPARED_IN_PAIRS, COMPARED_IN_PAIRS + 1, 500] {
            let members: Vec<_> = (0..many).map(|n| format!(r#""{n}":0"#)).collect();
            assert!(parse(&format!("{{{}}}", members.join(","))).is_ok());
            let twice = parse_owned(&format!("{{{},\"7\":1}}", members.join(",")));
            assert_eq!(twice, Err(JsonError::Duplicate { name: "7".into() }));
        }
    }

    fn parse_owned(text: &str) -> Result<usize, JsonError> {
        parse(text).map(|object| object.len())
    }

    #[test]
    fn nesting_has_a_limit() {
        assert!(parse(&nested(MAX_DEPTH - 1)).is_ok());
        assert!(matches!(parse(&nested(MAX_DEPTH)), Err(JsonError::TooDeep { .. })));
        assert!(matches!(parse(&nested(100_000)), Err(JsonError::TooDeep { .. })));
    }

    #[test]
    fn the_number_of_values_has_a_limit() {
        let with = |n: usize| format!(r#"{{"a":[{}]}}"#, vec!["0"; n].join(","));
        assert_eq!(parse_owned(&with(MAX_VALUES - 1)), Ok(1));
        assert!(matches!(parse_owned(&with(MAX_VALUES)), Err(JsonError::TooManyValues { .. })));
    }

    #[test]
    fn a_token_has_fewer_values_whether_members_or_items() {
        let members = |n: usize| {
            let members: Vec<_> = (0..n).map(|n| format!(r#""{n:x}":0"#)).collect();
            format!("{{{}}}", members.join(","))
        };
        let items = |n: usize| format!(r#"{{"a":[{}]}}"#, vec!["0"; n - 1].join(","));
        let nested = |n: usize| format!(r#"{{"a":{}}}"#, members(n - 1));
        let documents: [&dyn Fn(usize) -> String; 3] = [&members, &items, &nested];
        for document in documents {
            let (most, more) = (document(MAX_TOKEN_VALUES), document(MAX_TOKEN_VALUES + 1));
            assert!(Object::parse_token(most.as_bytes()).is_ok());
            let refused = Object::parse_token(more.as_bytes()).unwrap_err();
            assert!(
                matches!(refused, JsonError::TooManyValues { most: MAX_TOKEN_VALUES, .. }),
                "{refused}"
            );
            assert!(parse(&more).is_ok());
        }
    }

    #[test]
    fn nothing_follows_the_object() {
        assert_eq!(parse("{}{}"), Err(JsonError::Trailing { at: 2 }));
        assert_eq!(parse("{} x"), Err(JsonError::Trailing { at: 3 }));
        assert_eq!(parse("{}\0"), Err(JsonError::Trailing { at: 2 }));
    }

    /// What `serde_json` makes of the same text, numbers aside: it keeps their value, not their
    /// spelling.
    fn same(ours: &Value<'_>, oracle: &Oracle) -> bool {
        match (ours, oracle) {
            (Value::Null, Oracle::Null) => true,
            (Value::Bool(ours), Oracle::Bool(oracle)) => ours == oracle,
            (Value::Number(ours), Oracle::Number(_)) => {
                serde_json::from_str::<Oracle>(ours).is_ok_and(|ours| ours == *oracle)
            }
            (Value::String(ours), Oracle::String(oracle)) => ours == oracle,
            (Value::Array(ours), Oracle::Array(oracle)) => {
                ours.len() == oracle.len() && ours.iter().zip(oracle).all(|(a, b)| same(a, b))
            }
            (Value::Object(ours), oracle) => same_object(ours, oracle),
            _ => false,
        }
    }

    fn same_object(ours: &Object<'_>, oracle: &Oracle) -> bool {
        let Oracle::Object(oracle) = oracle else { return false };
        ours.len() == oracle.len()
            && ours.iter().all(|(name, value)| oracle.get(name).is_some_and(|o| same(value, o)))
    }

    fn any_json() -> impl Strategy<Value = Oracle> {
        let leaf = prop_oneof![
            Just(Oracle::Null),
            any::<bool>().prop_map(Oracle::from),
            any::<i64>().prop_map(Oracle::from),
            any::<f64>().prop_map(Oracle::from),
            any::<String>().prop_map(Oracle::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Oracle::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| Oracle::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_serde_json_writes_is_read_as_it_was_meant(value in any_json(), pretty in any::<bool>()) {
            let document = serde_json::json!({ "value": value });
            let text = if pretty {
                serde_json::to_string_pretty(&document).unwrap()
            } else {
                document.to_string()
            };
            let oracle = serde_json::from_str(&text).unwrap();
            prop_assert!(same_object(&parse(&text).unwrap(), &oracle));
        }

        #[test]
        fn what_is_accepted_is_what_serde_json_reads(
            text in r#"\{("[ab\\u0061]{0,7}":([0-9.eE+-]{1,6}|"[a\\"nud8340]{0,14}"|true|null|\[[1, ]{0,5}\]|\{\}),?){0,3}\} ?"#
        ) {
            match (parse(&text), serde_json::from_str::<Oracle>(&text)) {
                (Ok(ours), Ok(oracle)) => prop_assert!(same_object(&ours, &oracle), "{text}"),
                (Ok(_), Err(error)) => prop_assert!(
                    // A number that no double holds is a number still.
                    error.to_string().contains("number out of range"), "{text}: {error}"
                ),
                (Err(JsonError::Duplicate { .. }), Ok(_)) => {}
                (Err(error), Ok(_)) => prop_assert!(false, "{text}: {error}"),
                (Err(_), Err(_)) => {}
            }
        }

        #[test]
        fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Object::parse(&bytes);
        }
    }
}
