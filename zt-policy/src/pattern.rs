//! The right side of `like`.

use std::str::Chars;

/// One element of a [`Pattern`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Element {
    /// `*`: any characters, also none.
    Wildcard,
    /// This character. Written in text, a literal `*` is `\*`.
    Char(char),
}

/// What `like` compares a string with, character by character.
///
/// ```
/// use zt_policy::pattern::{Element, Pattern};
///
/// let readme = Pattern::new([Element::Char('R'), Element::Wildcard]);
/// assert!(readme.matches("README"));
/// assert!(!readme.matches("readme"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(Vec<Element>);

impl Pattern {
    /// The pattern with these elements.
    pub fn new(elements: impl IntoIterator<Item = Element>) -> Self {
        Self(elements.into_iter().collect())
    }

    /// Its elements.
    #[must_use]
    pub fn elements(&self) -> &[Element] {
        &self.0
    }

    /// Whether the whole of `text` matches.
    ///
    /// It takes at most as many steps as the text has characters times the pattern has elements:
    /// only the last `*` is ever tried again, which is enough, because an earlier one could only
    /// leave less to match.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let mut pattern = self.0.as_slice();
        let mut text = text.chars();
        let mut last_wildcard: Option<(&[Element], Chars<'_>)> = None;
        loop {
            match pattern.split_first() {
                Some((Element::Wildcard, rest)) => {
                    last_wildcard = Some((rest, text.clone()));
                    pattern = rest;
                    continue;
                }
                Some((Element::Char(wanted), rest)) => {
                    let mut ahead = text.clone();
                    if ahead.next() == Some(*wanted) {
                        (pattern, text) = (rest, ahead);
                        continue;
                    }
                }
                None if text.as_str().is_empty() => return true,
                None => {}
            }
            let Some((after, from)) = &mut last_wildcard else {
                return false;
            };
            if from.next().is_none() {
                return false;
            }
            (pattern, text) = (after, from.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text.chars().map(|c| match c {
            '*' => Element::Wildcard,
            other => Element::Char(other),
        }))
    }

    fn slow(pattern: &[Element], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [Element::Wildcard, rest @ ..] => (0..=text.len()).any(|n| slow(rest, &text[n..])),
            [Element::Char(c), rest @ ..] => text.first() == Some(c) && slow(rest, &text[1..]),
        }
    }

    #[test]
    fn a_wildcard_stands_for_any_characters() {
        for (wanted, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("**", "hello", true),
            ("h*l*o", "hello", true),
            ("a*a*a*a", "aaa", false),
            ("*a*b*c*", "ab", false),
            ("日*本*語", "日本語", true),
            ("*ab", "aab", true),
        ] {
            assert_eq!(pattern(wanted).matches(text), expected, "{text} like {wanted}");
        }
    }

    #[test]
    fn many_wildcards_do_not_take_exponential_time() {
        let wanted = pattern(&"a*".repeat(2_000));
        assert!(!wanted.matches(&"a".repeat(1_999)));
        assert!(wanted.matches(&"a".repeat(2_000)));
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_obvious_algorithm(wanted in "[ab*]{0,8}", text in "[ab]{0,10}") {
            let wanted = pattern(&wanted);
            let chars: Vec<char> = text.chars().collect();
            prop_assert_eq!(wanted.matches(&text), slow(wanted.elements(), &chars));
        }
    }
}
