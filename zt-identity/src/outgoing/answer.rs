//! What a token endpoint answers (RFC 6749 §5, RFC 8693 §2.2, RFC 9449 §5).

use std::time::Duration;

use zt_core::fault::Fault;
use zt_core::secret::Secret;

use super::destination::{Destination, TokenBinding};
use super::error::OutgoingError;
use crate::excerpt::excerpt;
use crate::json::{JsonError, Object};

/// The longest answer that is read, in bytes: a token of the greatest length, a refresh token like
/// it, and what goes with them.
pub const MAX_ANSWER_LEN: usize = 64 * 1024;
/// How long a token is used at most, whatever its issuer says: 1 day.
pub const MAX_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// How long a token is used of which its issuer does not say how long it counts: 1 minute.
pub const UNSTATED_LIFETIME: Duration = Duration::from_secs(60);

const MAX_TOKEN_LEN: usize = crate::jws::MAX_LEN;
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// How a token is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bearer,
    Dpop,
}

impl Kind {
    /// The scheme that it goes under.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::Dpop => "DPoP",
        }
    }
}

/// A token that was given out.
#[derive(Debug)]
pub(super) struct TokenAnswer {
    pub(super) text: Secret<String>,
    pub(super) kind: Kind,
    pub(super) lifetime: Duration,
}

/// The token of an answer with status 200.
pub(super) fn granted(
    answer: &[u8],
    destination: &Destination,
) -> Result<TokenAnswer, TokenAnswerError> {
    let answer = read(answer)?;
    let kind = kind(&answer, destination.binding())?;
    check_issued_type(&answer, destination)?;
    check_scopes(&answer, destination)?;
    Ok(TokenAnswer { text: token(&answer)?, kind, lifetime: lifetime(&answer)? })
}

/// Why there is none, in an answer with status 400 or 401 (RFC 6749 §5.2).
pub(super) fn refused(answer: &[u8]) -> OutgoingError {
    let error = read(answer).and_then(|answer| match text(&answer, "error")? {
        Some(error) if is_error_code(error) => Ok(excerpt(error)),
        Some(_) | None => Err(TokenAnswerError::Malformed { member: "error" }),
    });
    match error {
        Ok(error) => OutgoingError::Refused { error },
        Err(error) => error.into(),
    }
}

fn read(answer: &[u8]) -> Result<Object<'_>, TokenAnswerError> {
    if answer.len() > MAX_ANSWER_LEN {
        return Err(TokenAnswerError::TooLong { len: answer.len() });
    }
    Ok(Object::parse(answer)?)
}

fn text<'o>(
    answer: &'o Object<'_>,
    member: &'static str,
) -> Result<Option<&'o str>, TokenAnswerError> {
    let Some(value) = answer.get(member) else { return Ok(None) };
    value.as_str().map(Some).ok_or(TokenAnswerError::Malformed { member })
}

/// Visible characters without quotes, as no secret would have to be (RFC 6749 §5.2).
fn is_error_code(error: &str) -> bool {
    !error.is_empty() && error.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// A token that fits into `Authorization` (RFC 6750 §2.1, RFC 9449 §7.1).
fn token(answer: &Object<'_>) -> Result<Secret<String>, TokenAnswerError> {
    let token = text(answer, "access_token")?.unwrap_or_default();
    let symbols = token.trim_end_matches('=');
    let symbol = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/')
    };
    if symbols.is_empty() || token.len() > MAX_TOKEN_LEN || !symbols.bytes().all(symbol) {
        return Err(TokenAnswerError::Token);
    }
    Ok(Secret::new(token.to_owned()))
}

/// The type that was asked for (RFC 6749 §7.1, RFC 9449 §5).
fn kind(answer: &Object<'_>, asked: TokenBinding) -> Result<Kind, TokenAnswerError> {
    let found = text(answer, "token_type")?.unwrap_or_default();
    let kind =
        [Kind::Bearer, Kind::Dpop].into_iter().find(|kind| found.eq_ignore_ascii_case(kind.name()));
    match (kind, asked) {
        (Some(Kind::Bearer), TokenBinding::Bearer | TokenBinding::DpopOrBearer) => Ok(Kind::Bearer),
        (Some(Kind::Dpop), TokenBinding::Dpop | TokenBinding::DpopOrBearer) => Ok(Kind::Dpop),
        (Some(Kind::Bearer), TokenBinding::Dpop)
        | (Some(Kind::Dpop), TokenBinding::Bearer)
        | (None, _) => Err(TokenAnswerError::TokenType { found: excerpt(found) }),
    }
}

/// What was exchanged is something that opens a service (RFC 8693 §2.2.1).
fn check_issued_type(
    answer: &Object<'_>,
    destination: &Destination,
) -> Result<(), TokenAnswerError> {
    let found = text(answer, "issued_token_type")?;
    let fits = match found {
        Some(found) => found == ACCESS_TOKEN || found == JWT,
        None => !destination.is_of_user(),
    };
    if fits {
        return Ok(());
    }
    Err(TokenAnswerError::IssuedType { found: excerpt(found.unwrap_or_default()) })
}

/// Where the answer says which scopes there are, none that was asked for is missing (RFC 6749
/// §3.3).
fn check_scopes(answer: &Object<'_>, destination: &Destination) -> Result<(), TokenAnswerError> {
    let Some(granted) = text(answer, "scope")? else { return Ok(()) };
    let has = |scope: &str| granted.split(' ').any(|granted| granted == scope);
    match destination.scopes().iter().find(|scope| !has(scope)) {
        None => Ok(()),
        Some(scope) => Err(TokenAnswerError::Scope { scope: excerpt(scope) }),
    }
}

/// A whole number of seconds, and more than none.
fn lifetime(answer: &Object<'_>) -> Result<Duration, TokenAnswerError> {
    let Some(value) = answer.get("expires_in") else { return Ok(UNSTATED_LIFETIME) };
    let secs = value.as_number().and_then(|number| number.parse::<u64>().ok());
    match secs.map(Duration::from_secs) {
        Some(lifetime) if !lifetime.is_zero() => Ok(lifetime.min(MAX_LIFETIME)),
        Some(_) | None => Err(TokenAnswerError::Malformed { member: "expires_in" }),
    }
}

/// Why an answer of a token endpoint is not what was asked for. Nothing in it shows a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenAnswerError {
    /// The answer is longer than [`MAX_ANSWER_LEN`].
    #[error("an answer of {len} bytes, and at most {MAX_ANSWER_LEN} are read")]
    TooLong {
        /// Its length, in bytes.
        len: usize,
    },
    /// The answer is not JSON that is accepted.
    #[error("the answer is not JSON that is accepted")]
    Json(#[from] JsonError),
    /// A member is missing, of the wrong type or out of range.
    #[error("the member {member:?} is malformed")]
    Malformed {
        /// Which.
        member: &'static str,
    },
    /// There is no token, or none that fits into a header.
    #[error("the answer has no token that can be sent")]
    Token,
    /// The token is of another type than was asked for.
    #[error("the token is of the type {found:?}, which was not asked for")]
    TokenType {
        /// The type, cut; empty when the answer names none.
        found: String,
    },
    /// What was exchanged is no access token.
    #[error("what was issued is of the type {found:?}, which is no access token")]
    IssuedType {
        /// The type, cut; empty when the answer names none.
        found: String,
    },
    /// A scope that was asked for is missing.
    #[error("the scope {scope:?} was not granted")]
    Scope {
        /// Which, cut.
        scope: String,
    },
}

impl TokenAnswerError {
    /// Whose fault it is: that of the authority.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Authority
    }
}

#[cfg(test)]
mod tests;
