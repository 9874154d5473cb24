//! The values of Cedar's extensions: decimal, ipaddr, datetime, duration.

pub mod decimal;
pub mod ip;
pub mod duration;
pub mod datetime;

/// A text is not a value of an extension type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {kind}: {why}")]
#[non_exhaustive]
pub struct Malformed {
    /// The extension type.
    pub kind: &'static str,
    /// What is wrong with the text.
    pub why: &'static str,
    /// The text, cut to 64 characters.
    pub text: String,
}

impl Malformed {
    fn new(kind: &'static str, why: &'static str, text: &str) -> Self {
        Self { kind, why, text: text.chars().take(64).collect() }
    }

    /// Whose fault it is: whoever wrote the text.
    #[must_use]
    pub const fn fault(&self) -> zt_core::fault::Fault {
        zt_core::fault::Fault::Caller
    }
}

/// ASCII digits as a number; `None` when there is none, another character, or an overflow.
fn digits(text: &str) -> Option<u64> {
    // `str::parse` would take a sign.
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}
