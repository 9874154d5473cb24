//! JSON with positions, read strictly (RFC 8259).
//!
//! Besides the grammar, it refuses: a key that is there twice, a number with a fraction or an
//! exponent or of more than 64 bits, an escaped half of a surrogate pair, and nesting of more than
//! [`MAX_JSON_DEPTH`]. It does not recurse.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::refusal::{Found, Problem, quoted};

/// How deep JSON may be nested. A chain of `&&` is as deep as it is long, two levels a link, so
/// this bounds the chain; what nests otherwise is bounded by the depth of expressions and values.
pub(super) const MAX_JSON_DEPTH: usize = 1024;

/// A value and the byte at which it begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Json {
    pub(super) at: usize,
    pub(super) kind: Kind,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Number(i64),
    Text(String),
    List(Vec<Json>),
    Object(Members),
}

/// The members of an object, each with the byte at which its key begins.
pub(super) type Members = BTreeMap<String, (usize, Json)>;

impl Json {
    /// How a message shows it.
    pub(super) fn shown(&self) -> String {
        match &self.kind {
            Kind::Null => String::from("null"),
            Kind::Bool(value) => value.to_string(),
            Kind::Number(value) => value.to_string(),
            Kind::Text(text) => format!("the string {}", quoted(text)),
            Kind::List(_) => String::from("a list"),
            Kind::Object(_) => String::from("an object"),
        }
    }

    pub(super) fn unexpected(&self, expected: &str) -> Found {
        Found::new(self.at, Problem::expected(expected, &self.shown()))
    }

    pub(super) fn text(self, expected: &str) -> Result<String, Found> {
        if let Kind::Text(text) = self.kind { Ok(text) } else { Err(self.unexpected(expected)) }
    }

    pub(super) fn list(self, expected: &str) -> Result<Vec<Self>, Found> {
        if let Kind::List(items) = self.kind { Ok(items) } else { Err(self.unexpected(expected)) }
    }

    pub(super) fn object(self, expected: &'static str) -> Result<Object, Found> {
        let Kind::Object(members) = self.kind else {
            return Err(self.unexpected(expected));
        };
        Ok(Object { at: self.at, members })
    }

    /// The only key of an object that has one, without taking it.
    pub(super) fn only_key(&self) -> Option<&str> {
        let Kind::Object(members) = &self.kind else {
            return None;
        };
        let mut keys = members.keys();
        keys.next().filter(|_| keys.next().is_none()).map(String::as_str)
    }

    /// The key and the value of an object that has one.
    pub(super) fn only_member(self, expected: &'static str) -> Result<(String, Self), Found> {
        if self.only_key().is_none() {
            return Err(self.unexpected(expected));
        }
        let mut object = self.object(expected)?;
        let missing = || Found::new(object.at, Problem::expected(expected, "an object"));
        let (key, (_, value)) = object.members.pop_first().ok_or_else(missing)?;
        Ok((key, value))
    }
}

/// An object of which every member has to be asked for.
pub(super) struct Object {
    pub(super) at: usize,
    members: Members,
}

impl Object {
    pub(super) fn take(&mut self, key: &str) -> Option<Json> {
        self.members.remove(key).map(|(_, value)| value)
    }

    /// As [`take`](Self::take), where `null` says that there is none.
    pub(super) fn take_some(&mut self, key: &str) -> Option<Json> {
        self.take(key).filter(|json| json.kind != Kind::Null)
    }

    pub(super) fn need(&mut self, key: &'static str) -> Result<Json, Found> {
        self.take(key).ok_or_else(|| Found::new(self.at, Problem::MissingField { field: key }))
    }

    /// Refuses what nobody asked for.
    pub(super) fn done(self) -> Result<(), Found> {
        match self.members.into_iter().next() {
            Some((field, (at, _))) => Err(Found::new(at, Problem::UnknownField { field })),
            None => Ok(()),
        }
    }

    /// All that is left: the place of the key, the key, the value.
    pub(super) fn rest(self) -> impl Iterator<Item = (usize, String, Json)> {
        self.members.into_iter().map(|(key, (at, value))| (at, key, value))
    }
}

/// Reads the one value that a text is.
pub(super) fn read(text: &str) -> Result<Json, Found> {
    let mut reader = Reader { text, at: 0 };
    let mut open: Vec<Open> = Vec::new();
    loop {
        let mut value = match reader.begin()? {
            Begun::Value(value) => value,
            Begun::Open(new) => {
                if open.len() >= MAX_JSON_DEPTH {
                    return Err(Found::new(reader.at, Problem::TooDeep { limit: MAX_JSON_DEPTH }));
                }
                open.push(new);
                continue;
            }
        };
        // The value belongs to what is open, and may be the last that was missing there.
        loop {
            let Some(around) = open.pop() else {
                return reader.end().map(|()| value);
            };
            match reader.close(around, value)? {
                Begun::Value(closed) => value = closed,
                Begun::Open(still) => {
                    open.push(still);
                    break;
                }
            }
        }
    }
}

/// A list or object that is not ended.
enum Open {
    List { at: usize, items: Vec<Json> },
    Object { at: usize, members: Members, key_at: usize, key: String },
}

enum Begun {
    Value(Json),
    Open(Open),
}

struct Reader<'t> {
    text: &'t str,
    // INVARIANT: a char boundary of `text`.
    at: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip(&mut self, len: usize) {
        self.at = self.at.saturating_add(len);
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        self.skip(rest.len().saturating_sub(trimmed.len()));
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip_space();
        let eats = self.rest().starts_with(token);
        if eats {
            self.skip(token.len());
        }
        eats
    }

    fn unexpected(&mut self, expected: &str) -> Found {
        self.skip_space();
        let next = self.rest().chars().next();
        let found =
            next.map_or_else(|| String::from("the end"), |c| quoted(c.encode_utf8(&mut [0; 4])));
        Found::new(self.at, Problem::expected(expected, &found))
    }

    fn end(&mut self) -> Result<(), Found> {
        self.skip_space();
        if self.rest().is_empty() { Ok(()) } else { Err(self.unexpected("the end")) }
    }

    /// A value, or the beginning of one that holds others.
    fn begin(&mut self) -> Result<Begun, Found> {
        self.skip_space();
        let at = self.at;
        let value = |kind| Ok(Begun::Value(Json { at, kind }));
        for (word, kind) in
            [("null", Kind::Null), ("true", Kind::Bool(true)), ("false", Kind::Bool(false))]
        {
            if self.eat(word) {
                return value(kind);
            }
        }
        if self.eat("[") {
            if self.eat("]") {
                return value(Kind::List(Vec::new()));
            }
            return Ok(Begun::Open(Open::List { at, items: Vec::new() }));
        }
        if self.eat("{") {
            if self.eat("}") {
                return value(Kind::Object(Members::new()));
            }
            let (key_at, key) = self.key()?;
            return Ok(Begun::Open(Open::Object { at, members: Members::new(), key_at, key }));
        }
        if self.rest().starts_with('"') {
            return value(Kind::Text(self.string()?));
        }
        if self.rest().starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
            return value(Kind::Number(self.number()?));
        }
        Err(self.unexpected("a value"))
    }

    /// Puts a value into what is open around it, which may be complete with it.
    fn close(&mut self, around: Open, value: Json) -> Result<Begun, Found> {
        match around {
            Open::List { at, mut items } => {
                items.push(value);
                if self.eat(",") {
                    return Ok(Begun::Open(Open::List { at, items }));
                }
                if self.eat("]") {
                    return Ok(Begun::Value(Json { at, kind: Kind::List(items) }));
                }
                Err(self.unexpected("`,` or `]`"))
            }
            Open::Object { at, mut members, key_at, key } => {
                match members.entry(key) {
                    Entry::Occupied(twice) => {
                        let name = twice.key().clone();
                        return Err(Found::new(key_at, Problem::Duplicate { what: "key", name }));
                    }
                    Entry::Vacant(free) => free.insert((key_at, value)),
                };
                if self.eat(",") {
                    let (key_at, key) = self.key()?;
                    return Ok(Begun::Open(Open::Object { at, members, key_at, key }));
                }
                if self.eat("}") {
                    return Ok(Begun::Value(Json { at, kind: Kind::Object(members) }));
                }
                Err(self.unexpected("`,` or `}`"))
            }
        }
    }

    fn key(&mut self) -> Result<(usize, String), Found> {
        self.skip_space();
        let at = self.at;
        if !self.rest().starts_with('"') {
            return Err(self.unexpected("a key, a string"));
        }
        let key = self.string()?;
        if self.eat(":") { Ok((at, key)) } else { Err(self.unexpected("`:`")) }
    }

    fn number(&mut self) -> Result<i64, Found> {
        let (at, rest) = (self.at, self.rest());
        let belongs = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.');
        let len = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        let number = rest.get(..len).unwrap_or_default();
        self.skip(len);
        let digits = number.strip_prefix('-').unwrap_or(number);
        let shaped = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !shaped || (digits.len() > 1 && digits.starts_with('0')) {
            return Err(Found::new(at, Problem::expected("a whole number", &quoted(number))));
        }
        let too_large = || Problem::NumberTooLarge { number: number.chars().take(40).collect() };
        number.parse().map_err(|_| Found::new(at, too_large()))
    }

    fn string(&mut self) -> Result<String, Found> {
        let start = self.at;
        self.skip(1);
        let mut text = String::new();
        loop {
            let rest = self.rest();
            let plain = rest.find(|c| c == '"' || c == '\\' || c < ' ').unwrap_or(rest.len());
            text.push_str(rest.get(..plain).unwrap_or_default());
            self.skip(plain);
            if self.rest().starts_with('"') {
                self.skip(1);
                return Ok(text);
            }
            if !self.rest().starts_with('\\') {
                return Err(match self.rest().chars().next() {
                    Some(_) => self.unexpected("an escape instead of a control character"),
                    None => Found::new(start, Problem::UnendedString),
                });
            }
            text.push(self.escape()?);
        }
    }

    fn escape(&mut self) -> Result<char, Found> {
        let (at, rest) = (self.at, self.rest());
        let bad = || Problem::Escape { escape: rest.chars().take(12).collect() };
        let simple = match rest.chars().nth(1) {
            Some(same @ ('"' | '\\' | '/')) => Some(same),
            Some('b') => Some('\u{8}'),
            Some('f') => Some('\u{c}'),
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('t') => Some('\t'),
            _ => None,
        };
        if let Some(c) = simple {
            self.skip(2);
            return Ok(c);
        }
        let first = code_unit(rest).ok_or_else(|| Found::new(at, bad()))?;
        self.skip(6);
        let mut units = vec![first];
        if (0xd800..0xdc00).contains(&first) {
            units.extend(code_unit(self.rest()));
            self.skip(6);
        }
        let decoded = String::from_utf16(&units).ok();
        let only = decoded.as_deref().and_then(|decoded| decoded.chars().next());
        only.ok_or_else(|| Found::new(at, bad()))
    }
}

/// The UTF-16 code unit of `\uXXXX`.
fn code_unit(rest: &str) -> Option<u16> {
    let digits = rest.strip_prefix("\\u")?.get(..4)?;
    let shaped = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u16::from_str_radix(digits, 16).ok().filter(|_| shaped)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(text: &str) -> (usize, Problem) {
        let Found { at, problem } = read(text).unwrap_err();
        (at, problem)
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            "{",
            "[",
            "[1",
            "[1,",
            "[1,]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "1 2",
            "nul",
            "tru",
            "01",
            "-",
            "+1",
            "1.0",
            "1e3",
            "-01",
            "\"",
            "\"\n\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\\udc00\"",
            "'a'",
            "[1]]",
            "// c\n1",
            "NaN",
            "9223372036854775808",
            "\u{feff}1",
            "\u{a0}1",
            "1a",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_key_that_is_there_twice_is_refused_where_it_is_repeated() {
        let problem = Problem::Duplicate { what: "key", name: "a".into() };
        assert_eq!(refused(r#"{"a": 1, "\u0061": 2}"#), (9, problem));
    }

    #[test]
    fn strings_are_unescaped() {
        let text = read(r#""\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é""#).unwrap();
        assert_eq!(text.kind, Kind::Text("\"\\/\u{8}\u{c}\n\r\té😀é".into()));
    }

    #[test]
    fn nesting_is_refused_beyond_the_limit_and_not_below() {
        let nested = |n| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(read(&nested(MAX_JSON_DEPTH)).is_ok());
        let limit = Problem::TooDeep { limit: MAX_JSON_DEPTH };
        assert_eq!(refused(&format!("[{}]", nested(MAX_JSON_DEPTH + 1))).1, limit);
        assert_eq!(refused(&"{\"a\":".repeat(1_000_000)).1, limit);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = read(&text);
        }

        #[test]
        fn any_marks_are_read_or_refused(text in r#"[\[\]{}:,"\\u0-9a-e. -]{0,40}"#) {
            let _ = read(&text);
        }

        #[test]
        fn any_string_is_read_as_it_was_written(text: String) {
            let json = format!("{{{:?}: null}}", "k").replace("null", &json_string(&text));
            let mut object = read(&json).unwrap().object("an object").unwrap();
            prop_assert_eq!(object.take("k").unwrap().text("a string").unwrap(), text);
        }
    }

    fn json_string(text: &str) -> String {
        let escaped: String = text
            .chars()
            .map(|c| match c {
                '"' | '\\' => format!("\\{c}"),
                c if c < ' ' => format!("\\u{:04x}", u32::from(c)),
                c => c.into(),
            })
            .collect();
        format!("\"{escaped}\"")
    }
}
