//! What a user has to have done before a route is open, and how a challenge asks for it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use zt_core::principal::User;
use zt_core::time::Timestamp;

/// How far the clock of an issuer may run ahead of ours, as in every check of a token's times.
const SKEW: Duration = Duration::from_secs(60);

/// How, or how recently, a user has to have authenticated (RFC 9470).
///
/// ```
/// use std::time::Duration;
/// use zt_tower::denial::StepUp;
///
/// let step_up = StepUp::new(["urn:example:mfa"], Some(Duration::from_secs(300)))?;
/// # Ok::<(), zt_tower::denial::ChallengeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepUp {
    // INVARIANT: there is an acr value or a maximum age.
    acr_values: Words,
    max_age: Option<Duration>,
}

impl StepUp {
    /// Demands one of these authentication contexts, where there are any, and an authentication
    /// that is at most `max_age` old, where one is given. Whole seconds count.
    ///
    /// # Errors
    ///
    /// [`ChallengeError`] when nothing is demanded, or a value cannot stand in a challenge.
    pub fn new<'a>(
        acr_values: impl IntoIterator<Item = &'a str>,
        max_age: Option<Duration>,
    ) -> Result<Self, ChallengeError> {
        let acr_values = Words::new(acr_values)?;
        if acr_values.0.is_empty() && max_age.is_none() {
            return Err(ChallengeError::Empty);
        }
        let max_age = max_age.map(|age| Duration::from_secs(age.as_secs()));
        Ok(Self { acr_values, max_age })
    }

    /// Whether `user` has done so at `now`. What the token does not say is not done.
    #[must_use]
    pub fn is_met(&self, user: &User, now: Timestamp) -> bool {
        let authentication = user.authentication();
        let context = self.acr_values.0.is_empty()
            || authentication.acr.as_ref().is_some_and(|acr| self.acr_values.0.contains(acr));
        let recent = self.max_age.is_none_or(|max_age| {
            authentication
                .auth_time
                .is_some_and(|at| now.since(at) <= max_age && at.since(now) <= SKEW)
        });
        context && recent
    }
}

/// As parameters of a challenge (RFC 9470 §3).
impl fmt::Display for StepUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("error=\"insufficient_user_authentication\"")?;
        if !self.acr_values.0.is_empty() {
            write!(f, ", acr_values=\"{}\"", self.acr_values)?;
        }
        match self.max_age {
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
    use zt_core::principal::Authentication;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn user(acr: Option<&str>, auth_time: Option<Timestamp>) -> User {
        let mut authentication = Authentication::default();
        authentication.acr = acr.map(Arc::from);
        authentication.auth_time = auth_time;
        User::new("https://issuer", "alice").with_authentication(authentication)
    }

    const FIVE_MINUTES: Duration = Duration::from_secs(300);

    #[test]
    fn one_of_the_contexts_is_enough_and_none_is_not() {
        let step_up = StepUp::new(["silver", "gold"], None).unwrap();
        assert!(step_up.is_met(&user(Some("gold"), None), NOW));
        assert!(!step_up.is_met(&user(Some("GOLD"), None), NOW));
        assert!(!step_up.is_met(&user(None, Some(NOW)), NOW));
    }

    #[test]
    fn an_authentication_is_too_old_the_moment_after_its_maximum_age() {
        let step_up = StepUp::new([], Some(FIVE_MINUTES)).unwrap();
        let at = |time| step_up.is_met(&user(None, Some(time)), NOW);
        assert!(at(NOW.saturating_sub(FIVE_MINUTES)));
        assert!(!at(NOW.saturating_sub(FIVE_MINUTES).saturating_sub(Duration::from_micros(1))));
        assert!(!step_up.is_met(&user(Some("gold"), None), NOW));
    }

    #[test]
    fn an_authentication_in_the_future_is_believed_for_the_skew_of_clocks_only() {
        let step_up = StepUp::new([], Some(FIVE_MINUTES)).unwrap();
        assert!(step_up.is_met(&user(None, Some(NOW.saturating_add(SKEW))), NOW));
        assert!(!step_up.is_met(&user(None, Some(NOW.saturating_add(FIVE_MINUTES))), NOW));
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
        assert_eq!(StepUp::new([], None), Err(ChallengeError::Empty));
        assert_eq!(Scope::new([]), Err(ChallengeError::Empty));
        for bad in ["", "a b", "a\"b", "a\\b", "a\r\nb", "ä"] {
            assert!(Scope::new([bad]).is_err(), "{bad:?}");
            assert!(StepUp::new([bad], None).is_err(), "{bad:?}");
        }
    }
}
