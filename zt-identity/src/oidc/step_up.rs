//! What a user has to have done before a page is shown or a route is open.

use std::sync::Arc;
use std::time::Duration;

use zt_core::fault::Fault;
use zt_core::principal::Authentication;
use zt_core::time::Timestamp;

use crate::claims::DEFAULT_LEEWAY;

/// How, or how recently, a user has to have authenticated (RFC 9470, OpenID Connect Core §3.1.2.1).
///
/// ```
/// use std::time::Duration;
/// use zt_identity::oidc::step_up::StepUp;
///
/// let step_up = StepUp::new(["urn:example:mfa"], Some(Duration::from_secs(300)))?;
/// # Ok::<(), zt_identity::oidc::step_up::StepUpError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepUp {
    // INVARIANT: there is an acr value or a maximum age; values stand in a quoted string as they are,
    // with a space between two; the age is of whole seconds.
    acr_values: Vec<Arc<str>>,
    max_age: Option<Duration>,
}

impl StepUp {
    /// Demands one of these authentication contexts, where there are any, and an authentication
    /// that is at most `max_age` old, where one is given. Whole seconds count.
    ///
    /// # Errors
    ///
    /// [`StepUpError`] when nothing is demanded, or a value cannot be asked for.
    pub fn new<'a>(
        acr_values: impl IntoIterator<Item = &'a str>,
        max_age: Option<Duration>,
    ) -> Result<Self, StepUpError> {
        let acr_values: Vec<Arc<str>> = acr_values.into_iter().map(Arc::from).collect();
        if acr_values.is_empty() && max_age.is_none() {
            return Err(StepUpError::Empty);
        }
        if !acr_values.iter().all(|acr| is_word(acr)) {
            return Err(StepUpError::AcrValue);
        }
        let max_age = max_age.map(|age| Duration::from_secs(age.as_secs()));
        Ok(Self { acr_values, max_age })
    }

    /// The contexts of which one is demanded; none when any will do.
    #[must_use]
    pub fn acr_values(&self) -> &[Arc<str>] {
        &self.acr_values
    }

    /// How long ago the user may have authenticated.
    #[must_use]
    pub const fn max_age(&self) -> Option<Duration> {
        self.max_age
    }

    /// Whether this has been done at `now`. What a provider does not say is not done.
    #[must_use]
    pub fn is_met(&self, authentication: &Authentication, now: Timestamp) -> bool {
        let recent = self.max_age.is_none_or(|max_age| {
            authentication
                .auth_time
                .is_some_and(|at| now.since(at) <= max_age && at.since(now) <= DEFAULT_LEEWAY)
        });
        self.has_context(authentication) && recent
    }

    pub(crate) fn has_context(&self, authentication: &Authentication) -> bool {
        self.acr_values.is_empty()
            || authentication.acr.as_ref().is_some_and(|acr| self.acr_values.contains(acr))
    }
}

/// The characters that need no escape in a quoted string, but for the space: NQCHAR (RFC 6749
/// appendix A).
fn is_word(text: &str) -> bool {
    let plain = |byte: u8| matches!(byte, b'!'..=b'~') && byte != b'"' && byte != b'\\';
    !text.is_empty() && text.bytes().all(plain)
}

/// Why nothing can be demanded like that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StepUpError {
    /// Neither a context nor an age is demanded.
    #[error("a step-up demands an authentication context or an age")]
    Empty,
    /// A context is empty, or has a character that no challenge could state.
    #[error("an authentication context is not empty, and has no space, quote or control character")]
    AcrValue,
}

impl StepUpError {
    /// Whose fault it is: that of the embedding program.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn authentication(acr: Option<&str>, auth_time: Option<i64>) -> Authentication {
        let mut authentication = Authentication::default();
        authentication.acr = acr.map(Arc::from);
        authentication.auth_time = auth_time.map(Timestamp::from_secs);
        authentication
    }

    #[test]
    fn one_of_the_contexts_is_demanded_as_it_is_written() {
        let step_up = StepUp::new(["silver", "gold"], None).unwrap();
        assert!(step_up.is_met(&authentication(Some("gold"), None), NOW));
        for acr in [None, Some("GOLD"), Some("silver gold"), Some("")] {
            assert!(!step_up.is_met(&authentication(acr, None), NOW), "{acr:?}");
        }
    }

    #[test]
    fn an_authentication_is_recent_and_not_in_the_future() {
        let step_up = StepUp::new([], Some(Duration::from_millis(300_900))).unwrap();
        let met = |auth_time| step_up.is_met(&authentication(None, auth_time), NOW);
        let now = NOW.as_secs();
        assert!(met(Some(now)) && met(Some(now - 300)) && met(Some(now + 60)));
        assert!(!met(None) && !met(Some(now - 301)) && !met(Some(now + 61)));
    }

    #[test]
    fn something_is_demanded() {
        assert_eq!(StepUp::new([], None), Err(StepUpError::Empty));
        for bad in ["", "a b", "a\"b", "a\\b", "a\r\nb", "ä"] {
            assert_eq!(StepUp::new([bad], None), Err(StepUpError::AcrValue), "{bad:?}");
        }
    }
}
