//! What an introspection endpoint answers.

use std::sync::Arc;

use zt_core::danger;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;

use super::error::IntrospectionAnswerError;
use crate::claims::{self, ClaimsError};
use crate::confirmation::Confirmation;
use crate::excerpt::excerpt;
use crate::json::{Object, Value};
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

/// What an answer with status 400 says of the token: that the issuer answers for none of its type
/// (RFC 7009 §2.2.1). Nothing for every other error: those are about the question.
pub(super) fn unsupported(answer: &[u8]) -> Option<IntrospectionAnswerError> {
    if answer.len() > MAX_ANSWER_LEN {
        return None;
    }
    let answer = Object::parse(answer).ok()?;
    let error = answer.get("error").and_then(Value::as_str)?;
    (error == "unsupported_token_type").then_some(IntrospectionAnswerError::Unsupported)
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
