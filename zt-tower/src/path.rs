//! Paths that mean one thing to everyone who reads them (H-08).
//!
//! Routers match the path as it is written; policies, proxies and file systems decode it, once or
//! twice, and resolve dots. A path on which they could differ is refused rather than repaired. It
//! is normal when, in this order:
//!
//! 1. it has at most [`MAX_PATH`] bytes;
//! 2. it begins with `/`;
//! 3. it is made of the characters of RFC 3986 §3.3, so without `\`, `{` or anything not ASCII;
//! 4. every `%` begins an escape of two hexadecimal digits (§2.1);
//! 5. no escape stands for a character that needs none (§2.3), which is every letter, digit and
//!    the dot; nor for a slash, a backslash or a control character; nor for a `%` that would begin
//!    another escape;
//! 6. what the escapes stand for is UTF-8, in its shortest form (RFC 3629 §3);
//! 7. no segment but the last is empty: there is no `//`;
//! 8. no segment is `.` or `..` (§3.3), nor is one that ends at a `;`, where some servers end it.
//!
//! Then all that is left to normalise is the case of the digits of escapes (§6.2.2.1).

use std::borrow::Cow;
use std::fmt;

use zt_core::fault::Fault;

use crate::denial::{Denial, Refusal};

/// The longest path that is judged: at least 8,000 bytes are to be supported (RFC 9110 §4.1).
pub const MAX_PATH: usize = 8 * 1024;

/// A path that is normal, its escapes in upper case: see the [module](self).
///
/// ```
/// use zt_tower::path::NormalPath;
///
/// assert_eq!(NormalPath::parse("/files/a%c3%a4")?.as_str(), "/files/a%C3%A4");
/// for confusing in ["/public/../admin", "/public/%2e%2e/admin", "//admin", "/%61dmin"] {
///     assert!(NormalPath::parse(confusing).is_err());
/// }
/// # Ok::<(), zt_tower::path::PathError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NormalPath<'a>(Cow<'a, str>);

impl<'a> NormalPath<'a> {
    /// Takes a path as it stands in a request, without its query.
    ///
    /// # Errors
    ///
    /// [`PathError`] says which rule it breaks.
    pub fn parse(path: &'a str) -> Result<Self, PathError> {
        if path.len() > MAX_PATH {
            return Err(PathError::TooLong { len: path.len() });
        }
        let segments = path.strip_prefix('/').ok_or(PathError::NotAbsolute)?;
        if is_plain(path) {
            return Ok(Self(Cow::Borrowed(path)));
        }
        check_characters(path)?;
        check_escapes(path)?;
        check_segments(segments)?;
        Ok(Self(in_upper_case(path)))
    }

    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NormalPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a path is normal at a glance, as most are: nothing that is reserved or escaped, and no
/// segment that is empty, unless it is the last, or begins with a dot.
fn is_plain(path: &str) -> bool {
    let mut after_slash = false;
    path.bytes().all(|byte| {
        let begins_badly = after_slash && matches!(byte, b'/' | b'.');
        after_slash = byte == b'/';
        !begins_badly && (after_slash || is_unreserved(byte))
    })
}

/// Rule 3: `pchar`, `/` and `%`.
fn check_characters(path: &str) -> Result<(), PathError> {
    let allowed = |c: char| {
        u8::try_from(c).is_ok_and(|byte| {
            is_unreserved(byte)
                || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+')
                || matches!(byte, b',' | b';' | b'=' | b':' | b'@' | b'/' | b'%')
        })
    };
    path.chars().find(|c| !allowed(*c)).map_or(Ok(()), |c| Err(PathError::Character { c }))
}

/// Rules 4 to 6.
fn check_escapes(path: &str) -> Result<(), PathError> {
    let mut rest = path.as_bytes();
    let mut run = Vec::new();
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'%' {
            let (escaped, after) = escape(after).ok_or(PathError::Escape)?;
            check_escaped(escaped, after)?;
            run.push(escaped);
            rest = after;
            continue;
        }
        check_utf8(&mut run)?;
        rest = after;
    }
    check_utf8(&mut run)
}

/// What an escape stands for, given what follows its `%`, and what follows the escape.
fn escape(after: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, rest) = after.split_first_chunk::<2>()?;
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    let value = high?.checked_mul(16)?.checked_add(low?)?;
    Some((u8::try_from(value).ok()?, rest))
}

/// Rule 5.
fn check_escaped(byte: u8, after: &[u8]) -> Result<(), PathError> {
    let twice = byte == b'%' && escape(after).is_some();
    if is_unreserved(byte) || matches!(byte, b'/' | b'\\') || byte.is_ascii_control() || twice {
        return Err(PathError::Escaped { byte });
    }
    Ok(())
}

/// Rule 6, for escapes that stand side by side: an unescaped character is ASCII and ends a run.
fn check_utf8(run: &mut Vec<u8>) -> Result<(), PathError> {
    str::from_utf8(run).map_err(|_| PathError::Utf8)?;
    run.clear();
    Ok(())
}

/// Rules 7 and 8, on what follows the first slash.
fn check_segments(segments: &str) -> Result<(), PathError> {
    let mut segments = segments.split('/').peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() && segments.peek().is_some() {
            return Err(PathError::EmptySegment);
        }
        let name = segment.split(';').next().unwrap_or_default();
        if matches!(name, "." | "..") {
            return Err(PathError::DotSegment);
        }
    }
    Ok(())
}

/// Every `%` begins an escape by now.
fn in_upper_case(path: &str) -> Cow<'_, str> {
    let mut pieces = path.split('%');
    let plain = pieces.next().unwrap_or_default();
    if !pieces.clone().any(|piece| piece.bytes().take(2).any(|digit| digit.is_ascii_lowercase())) {
        return Cow::Borrowed(path);
    }
    let escaped = pieces.map(|piece| {
        let (digits, rest) = piece.split_at_checked(2).unwrap_or((piece, ""));
        format!("%{}{rest}", digits.to_ascii_uppercase())
    });
    Cow::Owned(std::iter::once(plain.to_owned()).chain(escaped).collect())
}

/// RFC 3986 §2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Why a path is not normal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// It is longer than [`MAX_PATH`].
    #[error("path has {len} bytes, and at most {MAX_PATH} are judged")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// It does not begin with a slash.
    #[error("path does not begin with a slash")]
    NotAbsolute,
    /// It has a character that no path has.
    #[error("path has {c:?}, which no path has unescaped")]
    Character {
        /// The character.
        c: char,
    },
    /// A `%` does not begin an escape.
    #[error("path has a percent sign that begins no escape")]
    Escape,
    /// A byte is escaped that needs no escape, or that would divide or end the path.
    #[error("path has the escape %{byte:02X}")]
    Escaped {
        /// What the escape stands for.
        byte: u8,
    },
    /// The escapes are not UTF-8.
    #[error("path has escapes that are not utf-8")]
    Utf8,
    /// Two slashes stand side by side.
    #[error("path has an empty segment")]
    EmptySegment,
    /// A segment is `.` or `..`.
    #[error("path has a dot segment")]
    DotSegment,
}

impl PathError {
    /// Whose fault it is: the peer's.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Peer
    }
}

impl From<PathError> for Refusal {
    fn from(_: PathError) -> Self {
        Self::new(Denial::NotNormal, "path_not_normal")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normal(path: &str) -> Result<String, PathError> {
        NormalPath::parse(path).map(|normal| normal.to_string())
    }

    #[test]
    fn normal_paths_are_themselves() {
        for path in [
            "/",
            "/orders",
            "/orders/",
            "/orders/42",
            "/a.b/..c/d..",
            "/...",
            "/a;v=1/b",
            "/100%25",
            "/shop.Orders/Cancel",
            "/~me/a-b_c",
            "/:id/@x/a,b=c&d+e!$'()*",
            "/%20a",
            "/%3F%23%3B",
            "/%7Bid%7D",
            "/%C3%A4%F0%9F%92%A9",
        ] {
            assert_eq!(normal(path).as_deref(), Ok(path));
        }
    }

    #[test]
    fn the_digits_of_escapes_are_put_in_upper_case_and_nothing_else_is() {
        assert_eq!(normal("/ab%c3%a4cd%3b").as_deref(), Ok("/ab%C3%A4cd%3B"));
    }

    #[test]
    fn dot_segments_are_refused() {
        for path in ["/.", "/..", "/a/./b", "/a/../b", "/a/..", "/../", "/..;/admin", "/a/.;x=y"] {
            assert_eq!(normal(path), Err(PathError::DotSegment), "{path}");
        }
    }

    #[test]
    fn doubled_slashes_are_refused() {
        for path in ["//", "//admin", "/a//b", "/a//"] {
            assert_eq!(normal(path), Err(PathError::EmptySegment), "{path}");
        }
    }

    #[test]
    fn escaped_slashes_dots_and_controls_are_refused() {
        for (path, byte) in [
            ("/a%2fb", b'/'),
            ("/a%2Fb", b'/'),
            ("/%2e%2e/admin", b'.'),
            ("/a/.%2E/b", b'.'),
            ("/a.%2etxt", b'.'),
            ("/a%5c..%5cb", b'\\'),
            ("/a%00.png", 0),
            ("/a%0d%0aX:", b'\r'),
            ("/a%7f", 0x7f),
        ] {
            assert_eq!(normal(path), Err(PathError::Escaped { byte }), "{path}");
        }
    }

    #[test]
    fn an_escape_that_is_not_needed_is_refused_as_the_router_would_not_undo_it() {
        for (path, byte) in
            [("/%61dmin", b'a'), ("/adm%49n", b'I'), ("/%7Eme", b'~'), ("/%30", b'0')]
        {
            assert_eq!(normal(path), Err(PathError::Escaped { byte }), "{path}");
        }
    }

    #[test]
    fn an_escape_of_an_escape_is_refused() {
        for path in ["/%252e%252e/admin", "/a%252fb", "/%2525", "/%25%32%65"] {
            assert!(matches!(normal(path), Err(PathError::Escaped { .. })), "{path}");
        }
        assert_eq!(normal("/%25zz").as_deref(), Ok("/%25zz"));
    }

    #[test]
    fn invalid_escapes_are_refused() {
        for path in ["/%", "/%2", "/a%zz", "/%u002e", "/%%32%65", "/%+1", "/a%2/b"] {
            assert_eq!(normal(path), Err(PathError::Escape), "{path}");
        }
    }

    #[test]
    fn overlong_and_broken_utf8_is_refused() {
        for path in ["/%C0%AF", "/%c0%ae%c0%ae/", "/%E0%80%AF", "/%FF", "/%C3a", "/%ED%A0%80"] {
            assert_eq!(normal(path), Err(PathError::Utf8), "{path}");
        }
    }

    #[test]
    fn characters_that_no_path_has_are_refused() {
        for (path, c) in [
            ("/a\\..\\b", '\\'),
            ("/{id}", '{'),
            ("/a|b", '|'),
            ("/ä", 'ä'),
            ("/a b", ' '),
            ("/a?b", '?'),
        ] {
            assert_eq!(normal(path), Err(PathError::Character { c }), "{path}");
        }
    }

    #[test]
    fn a_path_begins_with_a_slash_and_has_a_cap() {
        for path in ["", "*", "orders", "example.com:443"] {
            assert_eq!(normal(path), Err(PathError::NotAbsolute), "{path}");
        }
        let longest = format!("/{}", "a".repeat(MAX_PATH - 1));
        assert!(normal(&longest).is_ok());
        assert_eq!(normal(&format!("{longest}a")), Err(PathError::TooLong { len: MAX_PATH + 1 }));
    }

    /// Decodes every escape that there is, and leaves the rest.
    fn decode(mut bytes: &[u8]) -> Vec<u8> {
        let mut decoded = Vec::new();
        while let [first, rest @ ..] = bytes {
            let escape = rest.get(..2).and_then(|digits| str::from_utf8(digits).ok());
            let escape = escape.filter(|digits| digits.bytes().all(|d| d.is_ascii_hexdigit()));
            match escape.filter(|_| *first == b'%') {
                Some(digits) => {
                    decoded.push(u8::from_str_radix(digits, 16).unwrap());
                    bytes = &rest[2..];
                }
                None => {
                    decoded.push(*first);
                    bytes = rest;
                }
            }
        }
        decoded
    }

    /// What RFC 3986 §5.2.4 makes of the segments.
    fn without_dots(path: &str) -> String {
        let mut kept: Vec<&str> = Vec::new();
        let mut segments = path.split('/').skip(1).peekable();
        while let Some(segment) = segments.next() {
            let last = segments.peek().is_none();
            match segment {
                "." if last => kept.push(""),
                "." => {}
                ".." => {
                    kept.pop();
                    if last {
                        kept.push("");
                    }
                }
                other => kept.push(other),
            }
        }
        format!("/{}", kept.join("/"))
    }

    /// A path is normal if reading it in every way there is gives the same.
    fn naive(path: &str) -> bool {
        const PLAIN: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
        let raw = path.as_bytes();
        let once = decode(raw);
        let escapes = raw
            .windows(3)
            .filter(|w| w[0] == b'%' && w[1].is_ascii_hexdigit() && w[2].is_ascii_hexdigit());
        let needless = escapes.clone().any(|w| PLAIN.as_bytes().contains(&decode(w)[0]));
        let Ok(text) = String::from_utf8(once.clone()) else { return false };
        let count = |bytes: &[u8], wanted: u8| bytes.iter().filter(|byte| **byte == wanted).count();
        let cut = |path: &str| -> Vec<String> {
            path.split('/').map(|s| s.split(';').next().unwrap().to_owned()).collect()
        };
        path.starts_with('/')
            && path.len() <= MAX_PATH
            && path.chars().all(|c| format!("{PLAIN}!$&'()*+,;=:@/%").contains(c))
            && escapes.count() == count(raw, b'%')
            && decode(&once) == once
            && !needless
            && !text.chars().any(|c| c.is_ascii_control() || c == '\\')
            && count(&once, b'/') == count(raw, b'/')
            && !path.contains("//")
            && without_dots(path) == path
            && !cut(path).iter().any(|segment| segment == "." || segment == "..")
    }

    fn paths() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "/", "/", ".", "..", "a", "Z", "9", "-", "~", ";", ":", "%", "%2", "%2e", "%2F", "%5c",
            "%25", "%C3", "%a4", "%c0", "%af", "%20", "%00", "%61", "%7B", "{", "\\", "ä", "?",
        ]);
        prop::collection::vec(piece, 0..9).prop_map(|pieces| format!("/{}", pieces.concat()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_096))]

        #[test]
        fn a_path_is_normal_if_and_only_if_every_reading_of_it_agrees(path in paths()) {
            prop_assert_eq!(NormalPath::parse(&path).is_ok(), naive(&path), "{}", path);
        }

        #[test]
        fn normalising_is_idempotent_and_changes_no_meaning(path in paths()) {
            if let Ok(normal) = NormalPath::parse(&path) {
                let again = NormalPath::parse(normal.as_str()).map(|again| again.to_string());
                prop_assert_eq!(again, Ok(normal.to_string()));
                prop_assert_eq!(decode(normal.as_str().as_bytes()), decode(path.as_bytes()));
                prop_assert!(normal.as_str().eq_ignore_ascii_case(&path));
            }
        }

        #[test]
        fn any_text_is_judged(path: String) {
            prop_assert_eq!(NormalPath::parse(&path).is_ok(), naive(&path));
        }
    }
}
