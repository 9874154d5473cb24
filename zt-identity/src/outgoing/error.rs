//! Why a request has no token.

use zt_core::fault::Fault;
use zt_core::time::Timestamp;

use super::actor::ActorTokenError;
use super::answer::TokenAnswerError;
use crate::algorithm::NoRandomness;
use crate::oidc::fetch::FetchError;

/// Why a request of ours has nothing to show, and is not to be sent.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutgoingError {
    /// The request goes to an origin that was not named.
    #[error("no token goes to the host {host:?} in this way: it is no destination that was named")]
    NotADestination {
        /// Its host, cut; empty where it has none.
        host: String,
    },
    /// The destination is one of the user, and the request is for none.
    #[error("the destination is called on behalf of a user, and there is none")]
    NoUser,
    /// The user's token is over.
    #[error("the user's token expired at {expires}, and it is {now}")]
    UserTokenOver {
        /// The moment asked about.
        now: Timestamp,
        /// When it ended.
        expires: Timestamp,
    },
    /// This service has no token to act for the user by.
    #[error(transparent)]
    Actor(#[from] ActorTokenError),
    /// There is no tokio runtime to ask in.
    #[error("tokens are asked for in a tokio runtime, and there is none here")]
    NoRuntime,
    /// The operating system gives out no randomness to sign with.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// Too many tokens are asked for already.
    #[error("too many tokens are asked for at a time")]
    TooMany,
    /// Whoever asked is gone: the runtime is shutting down.
    #[error("the token was not waited for")]
    GivenUp,
    /// The token endpoint has not answered, or not as one does.
    #[error("the token endpoint has not answered")]
    Unanswered(#[from] FetchError),
    /// The token endpoint says no.
    #[error("the token endpoint says {error:?}")]
    Refused {
        /// The error code (RFC 6749 §5.2), cut.
        error: String,
    },
    /// The answer of the token endpoint is not what was asked for.
    #[error(transparent)]
    Answer(#[from] TokenAnswerError),
}

impl OutgoingError {
    /// Whose fault it is: the peer's where the user's token is not good for this, the embedding
    /// program's where it asks for what was not named or its client is refused, else the
    /// authority's.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::UserTokenOver { .. } => Fault::Peer,
            Self::Refused { error } if error == "invalid_grant" => Fault::Peer,
            Self::Refused { .. }
            | Self::NotADestination { .. }
            | Self::NoUser
            | Self::NoRuntime
            | Self::NoRandomness(_) => Fault::Caller,
            Self::Actor(error) => error.fault(),
            Self::TooMany | Self::GivenUp | Self::Unanswered(_) | Self::Answer(_) => {
                Fault::Authority
            }
        }
    }

    /// What it is called in records and metrics: a name out of a fixed set, with nothing of a token
    /// in it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotADestination { .. } => "outgoing_not_a_destination",
            Self::NoUser => "outgoing_without_user",
            Self::UserTokenOver { .. } => "token_expired",
            Self::Actor(_) => "outgoing_without_actor",
            Self::Refused { .. } => "outgoing_token_refused",
            Self::Answer(_) => "outgoing_token_malformed",
            Self::NoRuntime
            | Self::NoRandomness(_)
            | Self::TooMany
            | Self::GivenUp
            | Self::Unanswered(_) => "outgoing_token_unavailable",
        }
    }
}
