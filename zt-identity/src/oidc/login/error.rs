//! Why nobody is signed in.

use zt_core::fault::Fault;
use zt_core::time::Timestamp;

use super::answer::TokenEndpointError;
use super::metadata::ProviderError;
use super::response::ResponseError;
use crate::algorithm::NoRandomness;
use crate::oidc::id_token::IdTokenError;
use crate::oidc::keys::KeysUnavailable;

/// Why a login does not begin or does not end well.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// There are no secrets to begin with.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// There is no provider to sign in at.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// There are no keys to verify an ID token with.
    #[error(transparent)]
    Keys(#[from] KeysUnavailable),
    /// What the browser brings back cannot be read.
    #[error(transparent)]
    Response(#[from] ResponseError),
    /// The login was begun by another client, or at another provider.
    #[error("the login was begun somewhere else")]
    AnotherClient,
    /// The login was begun too long ago.
    #[error("the login was to end by {until}, and it is {now}")]
    TooLate {
        /// The moment asked about.
        now: Timestamp,
        /// The last moment of the login.
        until: Timestamp,
    },
    /// The response belongs to another login than the one that this browser began.
    #[error("the response belongs to another login")]
    State,
    /// The response comes from another provider, or does not say from which where it should.
    #[error("the response is of the issuer {found:?}")]
    Issuer {
        /// What it says, cut; empty when it says nothing.
        found: String,
    },
    /// The provider, or the user there, says no.
    #[error("the provider says {error:?}")]
    Refused {
        /// The error code (RFC 6749 §4.1.2.1), cut.
        error: String,
    },
    /// The token endpoint gave out no tokens.
    #[error(transparent)]
    TokenEndpoint(#[from] TokenEndpointError),
    /// The ID token is refused.
    #[error(transparent)]
    IdToken(#[from] IdTokenError),
    /// The user has not authenticated as was demanded.
    #[error("the user has not authenticated as was demanded")]
    StepUpNotMet,
    /// Somebody else has signed in than was demanded, or than the session belongs to.
    #[error("another user has signed in")]
    AnotherUser,
    /// The session has no refresh token.
    #[error("there is no refresh token")]
    NoRefreshToken,
    /// The provider has no place to sign out at.
    #[error("the provider has no end_session_endpoint")]
    NoEndSession,
}

impl LoginError {
    /// Whose fault it is: the authority's when the provider is not there or not well, the embedding
    /// program's when the provider does not know it, else that of whoever sent the browser.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Provider(error) => error.fault(),
            Self::Keys(error) => error.fault(),
            Self::TokenEndpoint(error) => error.fault(),
            Self::IdToken(error) => error.fault(),
            Self::Randomness(_) | Self::NoEndSession => Fault::Authority,
            Self::NoRefreshToken => Fault::Caller,
            // RFC 6749 §4.1.2.1.
            Self::Refused { error }
                if matches!(&**error, "server_error" | "temporarily_unavailable") =>
            {
                Fault::Authority
            }
            Self::Response(_)
            | Self::AnotherClient
            | Self::TooLate { .. }
            | Self::State
            | Self::Issuer { .. }
            | Self::Refused { .. }
            | Self::StepUpNotMet
            | Self::AnotherUser => Fault::Peer,
        }
    }

    /// What it is called in records and metrics: a name out of a fixed set, with nothing of the
    /// peer in it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Randomness(_) => "no_randomness",
            Self::Provider(_) => "provider_unavailable",
            Self::Keys(_) => "keys_unavailable",
            Self::Response(_) => "response_malformed",
            Self::AnotherClient | Self::State => "response_of_another_login",
            Self::TooLate { .. } => "login_expired",
            Self::Issuer { .. } => "response_of_another_issuer",
            Self::Refused { .. } => "login_refused",
            Self::TokenEndpoint(_) => "no_tokens",
            Self::IdToken(error) => error.reason(),
            Self::StepUpNotMet => "step_up_not_met",
            Self::AnotherUser => "another_user",
            Self::NoRefreshToken => "no_refresh_token",
            Self::NoEndSession => "no_end_session",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_that_is_not_well_is_not_the_fault_of_its_users() {
        let fault = |error: &str| LoginError::Refused { error: error.into() }.fault();
        assert_eq!(fault("access_denied"), Fault::Peer);
        assert_eq!(fault("server_error"), Fault::Authority);
        assert_eq!(fault("temporarily_unavailable"), Fault::Authority);
    }
}
