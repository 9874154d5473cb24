//! What an introspection endpoint answers.

use std::sync::Arc;
use std::time::Duration;

use zt_core::danger;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;

use super::error::IntrospectionAnswerError;
use crate::claims::{self, ClaimsError};
use crate::confirmation::Confirmation;
use crate::excerpt::excerpt;
use crate::json::Object;
use crate::oidc::access_token::rules::Rules;
use crate::oidc::access_token::{AccessToken, AccessTokenError, Facts};
use crate::oidc::issuer::Issuer;

/// The longest answer that is read, in bytes: as long as a token that says the same by itself.
pub const MAX_ANSWER_LEN: usize = crate::jws::MAX_LEN;

/// Rules 3 to 5 of the [module](super).
#[derive(Clone, Debug)]
pub(super) struct AnswerRules {
    pub(super) rules: Rules,
    /// Also takes a token of which the issuer does not say how it is to be used.
    pub(super) untyped: bool,
    /// What stands before the name of a client that is its own subject.
    pub(super) client_prefix: Option<Arc<str>>,
}

impl AnswerRules {
    pub(super) const fn leeway(&self) -> Duration {
        self.rules.leeway()
    }

    /// What counts of an answer that lets this token count at `now`.
    pub(super) fn judge(
        &self,
        issuer: &Issuer,
        token: &str,
        answer: &[u8],
        now: Timestamp,
    ) -> Result<Facts, IntrospectionAnswerError> {
        if answer.len() > MAX_ANSWER_LEN {
            return Err(IntrospectionAnswerError::TooLong { len: answer.len() });
        }
        let answer = Object::parse_token(answer)?;
        check_active(&answer)?;
        self.check_type(&answer)?;
        let answer = self.with_subject(answer)?;
        Ok(self.rules.judge(issuer, token, &answer, 0, now)?)
    }

    /// Rule 4.
    fn check_type(&self, answer: &Object<'_>) -> Result<(), IntrospectionAnswerError> {
        let text = |name| claims::text(answer, name).map_err(AccessTokenError::from);
        if let Some(other) = text("token_use")?.filter(|found| *found != "access_token") {
            return Err(IntrospectionAnswerError::TokenType { found: excerpt(other) });
        }
        match text("token_type")? {
            Some(found) if found.eq_ignore_ascii_case("Bearer") => Ok(()),
            Some(found) if found.eq_ignore_ascii_case("DPoP") => check_bound_to_key(answer),
            None if self.untyped => Ok(()),
            found => {
                let found = excerpt(found.unwrap_or_default());
                Err(IntrospectionAnswerError::TokenType { found })
            }
        }
    }

    /// A client that asks for itself may have no `sub` (RFC 9068 §2.2).
    fn with_subject<'a>(&self, answer: Object<'a>) -> Result<Object<'a>, AccessTokenError> {
        let Some(prefix) = &self.client_prefix else { return Ok(answer) };
        let subject = match claims::text(&answer, "client_id")? {
            Some(client) if !client.is_empty() => format!("{prefix}{client}"),
            Some(_) | None => return Ok(answer),
        };
        Ok(answer.with_absent("sub", subject))
    }
}

/// Rule 3: JSON's `true`, and nothing that reads like it.
fn check_active(answer: &Object<'_>) -> Result<(), IntrospectionAnswerError> {
    match answer.get("active").and_then(|active| active.as_bool()) {
        Some(true) => Ok(()),
        Some(false) => Err(IntrospectionAnswerError::NotActive),
        None => Err(IntrospectionAnswerError::Active),
    }
}

fn check_bound_to_key(answer: &Object<'_>) -> Result<(), IntrospectionAnswerError> {
    let confirmation = Confirmation::read(answer).map_err(AccessTokenError::from)?;
    match confirmation.as_ref().and_then(Confirmation::key_thumbprint) {
        Some(_) => Ok(()),
        None => Err(AccessTokenError::from(ClaimsError::Missing { claim: "cnf" }).into()),
    }
}

/// What was judged of this answer.
pub(super) fn verified(facts: Facts, answer: Vec<u8>) -> Verified<AccessToken> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the issuer was asked and says that this token is active, and every rule of this \
                  module holds"
    )]
    let verified = danger::verified(AccessToken::new(facts, answer));
    verified
}
