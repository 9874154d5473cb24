//! Words, numbers, strings and marks of Cedar text.

use super::refusal::{Problem, quoted};
use crate::pattern::Element;

/// One token. White space and `//` comments stand between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token<'t> {
    /// An identifier or a reserved word.
    Word(&'t str),
    /// Digits.
    Number(&'t str),
    /// What stands between the quotes of a string, escapes and all.
    Text(&'t str),
    /// `?name`, with the question mark.
    Slot(&'t str),
    /// An operator or a bracket.
    Mark(&'static str),
    /// Nothing that Cedar has.
    Bad(Problem),
    /// The end of the text.
    End,
}

impl Token<'_> {
    /// How a message shows it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Word(text) | Self::Number(text) | Self::Slot(text) => quoted(text),
            Self::Text(text) => format!("the string {}", quoted(text)),
            Self::Mark(mark) => format!("`{mark}`"),
            Self::Bad(problem) => problem.to_string(),
            Self::End => String::from("the end"),
        }
    }
}

/// Longer ones first.
const MARKS: [&str; 25] = [
    "::", "==", "!=", "<=", ">=", "&&", "||", "(", ")", "[", "]", "{", "}", ",", ";", ":", ".",
    "@", "<", ">", "!", "+", "-", "*", "/",
];

#[derive(Debug)]
pub(super) struct Lexer<'t> {
    text: &'t str,
    // INVARIANT: a char boundary of `text`.
    at: usize,
}

impl<'t> Lexer<'t> {
    pub(super) const fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    /// The next token and the byte at which it begins.
    pub(super) fn next(&mut self) -> (usize, Token<'t>) {
        self.skip_space();
        let at = self.at;
        (at, self.token())
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_space(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.take(rest.len().saturating_sub(trimmed.len()));
            if !trimmed.starts_with("//") {
                return;
            }
            self.take(trimmed.find(['\n', '\r']).unwrap_or(trimmed.len()));
        }
    }

    /// The next `len` bytes.
    fn take(&mut self, len: usize) -> &'t str {
        let (taken, _) = self.rest().split_at_checked(len).unwrap_or((self.rest(), ""));
        self.at = self.at.saturating_add(taken.len());
        taken
    }

    fn take_while(&mut self, belongs: fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        self.take(rest.find(|c: char| !belongs(c)).unwrap_or(rest.len()))
    }

    fn token(&mut self) -> Token<'t> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Token::End;
        };
        match first {
            '"' => self.string(),
            '0'..='9' => Token::Number(self.take_while(|c| c.is_ascii_digit())),
            '?' => {
                let name = rest.get(1..).unwrap_or_default();
                let len = name.find(|c: char| !is_word_char(c)).unwrap_or(name.len());
                Token::Slot(self.take(len.saturating_add(1)))
            }
            c if is_word_char(c) => Token::Word(self.take_while(is_word_char)),
            other => match MARKS.iter().find(|mark| rest.starts_with(**mark)) {
                Some(mark) => {
                    self.take(mark.len());
                    Token::Mark(mark)
                }
                None => {
                    self.take(other.len_utf8());
                    Token::Bad(no_mark(other))
                }
            },
        }
    }

    fn string(&mut self) -> Token<'t> {
        self.take(1);
        let rest = self.rest();
        let mut escaped = false;
        for (at, c) in rest.char_indices() {
            match c {
                '\n' if escaped => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => {
                    let text = self.take(at);
                    self.take(1);
                    return Token::Text(text);
                }
                _ => {}
            }
        }
        self.take(rest.len());
        Token::Bad(Problem::UnendedString)
    }
}

const fn is_word_char(c: char) -> bool {
    c == '_' || c.is_ascii_alphanumeric()
}

fn no_mark(c: char) -> Problem {
    match c {
        '=' => Problem::expected("`==`", "`=`"),
        '&' => Problem::expected("`&&`", "`&`"),
        '|' => Problem::expected("`||`", "`|`"),
        '%' => Problem::Unsupported { node: String::from("`%`") },
        other => Problem::Unsupported { node: format!("the character {other:?}") },
    }
}

/// The text of a string.
pub(super) fn unescape(raw: &str) -> Result<String, Problem> {
    let mut text = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        text.push(if c == '\\' { escape(&mut chars)? } else { unescaped(c)? });
    }
    Ok(text)
}

/// The elements of the pattern that a string stands for: `\*` is a star, and any other star, an
/// escaped `\u{2a}` too, is a wildcard.
pub(super) fn unescape_pattern(raw: &str) -> Result<Vec<Element>, Problem> {
    let mut elements = Vec::new();
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        let after = chars.as_str();
        if c == '\\' && after.starts_with('*') {
            chars.next();
            elements.push(Element::Char('*'));
            continue;
        }
        elements.push(match if c == '\\' { escape(&mut chars)? } else { unescaped(c)? } {
            '*' => Element::Wildcard,
            other => Element::Char(other),
        });
    }
    Ok(elements)
}

fn unescaped(c: char) -> Result<char, Problem> {
    if c == '\r' { Err(Problem::Escape { escape: c.into() }) } else { Ok(c) }
}

/// What stands behind a backslash, as in Rust: `\n \r \t \0 \\ \' \" \x7f \u{10ffff}`.
fn escape(chars: &mut std::str::Chars<'_>) -> Result<char, Problem> {
    let start = chars.as_str();
    let found = match chars.next() {
        Some('n') => Some('\n'),
        Some('r') => Some('\r'),
        Some('t') => Some('\t'),
        Some('0') => Some('\0'),
        Some(same @ ('\\' | '\'' | '"')) => Some(same),
        Some('x') => ascii_escape(chars),
        Some('u') => unicode_escape(chars),
        _ => None,
    };
    found.ok_or_else(|| {
        let shown = start.chars().take(10);
        Problem::Escape { escape: std::iter::once('\\').chain(shown).collect() }
    })
}

fn ascii_escape(chars: &mut std::str::Chars<'_>) -> Option<char> {
    let (high, low) = (chars.next()?.to_digit(16)?, chars.next()?.to_digit(16)?);
    let code = high.checked_mul(16)?.checked_add(low)?;
    u8::try_from(code).ok().filter(u8::is_ascii).map(char::from)
}

fn unicode_escape(chars: &mut std::str::Chars<'_>) -> Option<char> {
    let (digits, rest) = chars.as_str().strip_prefix('{')?.split_once('}')?;
    *chars = rest.chars();
    if digits.starts_with('_') {
        return None;
    }
    let digits: String = digits.chars().filter(|c| *c != '_').collect();
    let shaped = (1..=6).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_hexdigit());
    if !shaped {
        return None;
    }
    char::from_u32(u32::from_str_radix(&digits, 16).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<Token<'_>> {
        let mut lexer = Lexer::new(text);
        std::iter::from_fn(|| Some(lexer.next().1).filter(|token| *token != Token::End)).collect()
    }

    #[test]
    fn a_comment_ends_with_its_line() {
        assert_eq!(tokens("a // b \" c\n d// e"), [Token::Word("a"), Token::Word("d")]);
        // A carriage return alone ends it too: what stands behind one is never hidden.
        assert_eq!(tokens("a // b\rd"), [Token::Word("a"), Token::Word("d")]);
        assert_eq!(tokens("a // b\u{85}\u{2028}d"), [Token::Word("a")]);
    }

    #[test]
    fn the_longest_mark_is_taken() {
        let marks = ["::", ":", "<=", "<", "!=", "!"].map(Token::Mark);
        assert_eq!(tokens(":::<=<!=!"), marks);
    }

    #[test]
    fn a_string_ends_at_the_first_quote_that_is_not_escaped() {
        assert_eq!(tokens(r#""a\"b" c"#), [Token::Text(r#"a\"b"#), Token::Word("c")]);
        assert_eq!(tokens("\"a\nb\""), [Token::Text("a\nb")]);
        assert_eq!(tokens(r#""a\""#), [Token::Bad(Problem::UnendedString)]);
        assert_eq!(tokens("\"a\\\nb\""), [Token::Bad(Problem::UnendedString)]);
    }

    #[test]
    fn escapes_are_those_of_rust() {
        assert_eq!(unescape(r#"\n\r\t\0\\\'\"\x41\u{1F600}\u{4_1}"#).unwrap(), "\n\r\t\0\\'\"A😀A");
        for bad in [
            r"\*",
            r"\q",
            r"\x80",
            r"\x4",
            r"\u{}",
            r"\u{110000}",
            r"\u{d800}",
            r"\u{_41}",
            r"\u41",
            r"\u{0000041}",
            r"\u{+41}",
            "\r",
            r"\xé",
        ] {
            assert!(unescape(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_an_escaped_star_is_a_star() {
        let [star, any] = [Element::Char('*'), Element::Wildcard];
        assert_eq!(unescape_pattern(r"\**\u{2a}\x2a").unwrap(), [star, any, any, any]);
        assert!(unescape_pattern(r"\q").is_err());
    }
}
