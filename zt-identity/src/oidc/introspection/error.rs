//! Why a token is refused that its issuer was asked about.

use zt_core::fault::Fault;

use crate::algorithm::NoRandomness;
use crate::json::JsonError;
use crate::jws::MAX_LEN;
use crate::oidc::access_token::AccessTokenError;
use crate::oidc::fetch::FetchError;

use super::answer::MAX_ANSWER_LEN;

/// Why a token is refused that its issuer was to vouch for.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IntrospectionError {
    /// There is no tokio runtime to ask in.
    #[error("an issuer is asked in a tokio runtime, and there is none here")]
    NoRuntime,
    /// The operating system gives out no randomness to sign with.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The token is longer than any that is asked about.
    #[error("a token of {len} bytes, and at most {MAX_LEN} are accepted")]
    TooLong {
        /// Its length, in bytes.
        len: usize,
    },
    /// Too many tokens are asked about already.
    #[error("too many tokens are asked about at a time")]
    TooMany,
    /// Whoever asked is gone: the runtime is shutting down.
    #[error("the question was given up")]
    GivenUp,
    /// The endpoint has not answered, or not as one does.
    #[error("the introspection endpoint has not answered")]
    Unanswered(#[from] FetchError),
    /// The answer does not let the token count.
    #[error(transparent)]
    Answer(#[from] IntrospectionAnswerError),
}

impl IntrospectionError {
    /// Whose fault it is: the sender's when the token is refused, and the authority's when nobody
    /// can tell.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Answer(error) => error.fault(),
            Self::TooLong { .. } => Fault::Peer,
            Self::NoRuntime | Self::NoRandomness(_) => Fault::Caller,
            Self::TooMany | Self::GivenUp | Self::Unanswered(_) => Fault::Authority,
        }
    }

    /// What it is called in records and metrics: a name out of a fixed set, with nothing of the
    /// token in it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Answer(error) => error.reason(),
            Self::TooLong { .. } => "token_malformed",
            Self::TooMany => "introspection_busy",
            Self::NoRuntime | Self::NoRandomness(_) | Self::GivenUp | Self::Unanswered(_) => {
                "introspection_unavailable"
            }
        }
    }

    /// Whether the next answer about the token would be the same.
    pub(super) fn is_about_token(&self) -> bool {
        matches!(self, Self::Answer(_)) && self.fault() == Fault::Peer
    }
}

/// Why an answer does not let a token count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IntrospectionAnswerError {
    /// The answer is longer than [`MAX_ANSWER_LEN`].
    #[error("an answer of {len} bytes, and at most {MAX_ANSWER_LEN} are read")]
    TooLong {
        /// Its length, in bytes.
        len: usize,
    },
    /// The answer is not JSON that is accepted.
    #[error("the answer is not JSON that is accepted")]
    Json(#[from] JsonError),
    /// The answer does not say by a boolean whether the token is active.
    #[error("the answer does not say whether the token is active")]
    Active,
    /// The token is not active: it was revoked, is over, or never was one.
    #[error("the token is not active")]
    NotActive,
    /// The issuer answers for no token of this type: it gives such tokens a signature to be judged by,
    /// say.
    #[error("the issuer answers for no token of this type")]
    Unsupported,
    /// It is no access token, or one that has to be used in another way.
    #[error("the token is of the type {found:?}")]
    TokenType {
        /// The type, cut; empty when the answer names none.
        found: String,
    },
    /// What the issuer says of the token is refused.
    #[error(transparent)]
    Token(AccessTokenError),
}

impl IntrospectionAnswerError {
    /// Whose fault it is: the authority's when the answer is none, else the sender's.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::TooLong { .. } | Self::Json(_) | Self::Active => Fault::Authority,
            Self::NotActive | Self::Unsupported | Self::TokenType { .. } => Fault::Peer,
            Self::Token(error) => error.fault(),
        }
    }

    /// What it is called in records and metrics: a name out of a fixed set, with nothing of the
    /// token in it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TooLong { .. } | Self::Json(_) | Self::Active => "introspection_malformed",
            Self::NotActive => "token_not_active",
            Self::Unsupported => "token_type_not_introspected",
            Self::TokenType { .. } => "token_of_another_kind",
            Self::Token(error) => error.reason(),
        }
    }
}
