//! What a user has to have let a client do before a route is open, and how a challenge asks for it
//! and for a step-up.

use std::fmt;
use std::sync::Arc;

use zt_core::principal::User;
use zt_identity::oidc::step_up::StepUp;

/// A step-up as parameters of a challenge (RFC 9470 §3).
pub(super) struct StepUpChallenge<'a>(pub(super) &'a StepUp);

impl fmt::Display for StepUpChallenge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("error=\"insufficient_user_authentication\"")?;
        for (n, acr) in self.0.acr_values().iter().enumerate() {
            write!(f, "{}{acr}", if n == 0 { ", acr_values=\"" } else { " " })?;
        }
        if !self.0.acr_values().is_empty() {
            f.write_str("\"")?;
        }
        match self.0.max_age() {
            Some(max_age) => write!(f, ", max_age=\"{}\"", max_age.as_secs()),
            None => Ok(()),
        }
    }
}

/// What a user has to have let the client do: every one of these (RFC 6749 §3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope(Words);

impl Scope {
    /// Demands all of these scope tokens.
    ///
    /// # Errors
    ///
    /// [`ChallengeError`] when there is none, or one is not a scope token.
    pub fn new<'a>(tokens: impl IntoIterator<Item = &'a str>) -> Result<Self, ChallengeError> {
        let words = Words::new(tokens)?;
        if words.0.is_empty() {
            return Err(ChallengeError::Empty);
        }
        Ok(Self(words))
    }

    /// Whether `user` has all of them.
    #[must_use]
    pub fn is_met(&self, user: &User) -> bool {
        self.0.0.iter().all(|token| user.scopes().contains(token))
    }
}

/// As parameters of a challenge (RFC 6750 §3.1).
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error=\"insufficient_scope\", scope=\"{}\"", self.0)
    }
}

/// Words that stand in a quoted string, with a space between two, as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Words(Arc<[Arc<str>]>);

impl Words {
    fn new<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, ChallengeError> {
        words
            .into_iter()
            .map(|word| {
                if word.is_empty() || word.contains(' ') {
                    return Err(ChallengeError::unquotable(word));
                }
                check_quotable(word).map(Arc::from)
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(n, word)| {
            let space = if n == 0 { "" } else { " " };
            write!(f, "{space}{word}")
        })
    }
}

/// The characters that need no escape in a quoted string: NQSCHAR (RFC 6749 appendix A).
pub(super) fn check_quotable(text: &str) -> Result<&str, ChallengeError> {
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) { Ok(text) } else { Err(ChallengeError::unquotable(text)) }
}

/// A demand that no challenge could state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChallengeError {
    /// Nothing is demanded.
    #[error("nothing is demanded")]
    Empty,
    /// A value is empty, or has a character that cannot stand in a challenge.
    #[error("{text:?} cannot stand in a challenge")]
    Unquotable {
        /// The value, cut to 64 characters.
        text: String,
    },
}

impl ChallengeError {
    fn unquotable(text: &str) -> Self {
        Self::Unquotable { text: text.chars().take(64).collect() }
    }

    /// Whose fault it is: the program's.
    #[must_use]
    pub const fn fault(&self) -> zt_core::fault::Fault {
        zt_core::fault::Fault::Caller
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_step_up_is_asked_for_by_what_it_demands() {
        let age = Some(Duration::from_secs(300));
        for (step_up, more) in [
            (StepUp::new(["a"], None), ", acr_values=\"a\""),
            (StepUp::new(["a", "b"], age), ", acr_values=\"a b\", max_age=\"300\""),
            (StepUp::new([], age), ", max_age=\"300\""),
        ] {
            let challenge = StepUpChallenge(&step_up.unwrap()).to_string();
            assert_eq!(challenge, format!("error=\"insufficient_user_authentication\"{more}"));
        }
    }

    #[test]
    fn every_scope_token_is_needed() {
        let scope = Scope::new(["orders.read", "orders.refund"]).unwrap();
        let user = User::new("https://issuer", "alice");
        assert!(!scope.is_met(&user.clone().with_scopes(["orders.read"])));
        assert!(scope.is_met(&user.with_scopes(["orders.refund", "orders.read", "more"])));
    }

    #[test]
    fn a_demand_that_no_challenge_could_state_cannot_be_made() {
        assert_eq!(Scope::new([]), Err(ChallengeError::Empty));
        for bad in ["", "a b", "a\"b", "a\\b", "a\r\nb", "ä"] {
            assert!(Scope::new([bad]).is_err(), "{bad:?}");
        }
    }
}
