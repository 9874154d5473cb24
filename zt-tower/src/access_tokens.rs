//! OIDC access tokens as the tokens of a demand.

use zt_core::peer::Peer;
use zt_core::principal::User;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;
use zt_identity::claims::ClaimsError;
use zt_identity::jws::JwsError;
use zt_identity::oidc::access_token::{AccessTokenError, AccessTokenVerifier};
use zt_identity::possession::binding::{Binding, BindingError};

use crate::demand::VerifyToken;
use crate::denial::{Denial, Refusal};

/// The access tokens of one issuer, and how they have to belong to who sends them (T-16). A clone
/// shares the issuer's keys.
#[derive(Clone, Debug)]
pub struct AccessTokens {
    verifier: AccessTokenVerifier,
    possession: Possession,
}

#[derive(Clone, Copy, Debug)]
enum Possession {
    Bearer,
    Certificate,
}

impl AccessTokens {
    /// Whoever holds a token is its user; one that is bound to anything is refused.
    #[must_use]
    pub const fn bearer(verifier: AccessTokenVerifier) -> Self {
        Self { verifier, possession: Possession::Bearer }
    }

    /// Only the workload whose certificate a token names is its user (RFC 8705 §3); one that is
    /// bound to nothing is refused.
    #[must_use]
    pub const fn certificate_bound(verifier: AccessTokenVerifier) -> Self {
        Self { verifier, possession: Possession::Certificate }
    }
}

impl VerifyToken for AccessTokens {
    fn user(
        &self,
        token: &str,
        peer: &Verified<Peer>,
        now: Timestamp,
    ) -> Result<Verified<User>, Refusal> {
        let token = self.verifier.verify(token, now).map_err(|error| of_token(&error))?;
        let binding = match self.possession {
            Possession::Bearer => Binding::bearer(),
            Possession::Certificate => Binding::certificate(peer),
        };
        binding.user(&token).map_err(|error| of_binding(&error))
    }
}

fn of_token(error: &AccessTokenError) -> Refusal {
    let reason = match error {
        AccessTokenError::Keys(_) => "keys_unavailable",
        AccessTokenError::Jws(JwsError::NotSigned(_)) => "token_bad_signature",
        AccessTokenError::Jws(_) => "token_malformed",
        AccessTokenError::NoKid | AccessTokenError::UnknownKey { .. } => "token_key_unknown",
        AccessTokenError::Payload(_) => "token_not_json",
        AccessTokenError::Claims(ClaimsError::Expired { .. }) => "token_expired",
        AccessTokenError::Claims(ClaimsError::Audience) => "token_of_another_audience",
        AccessTokenError::Claims(ClaimsError::Issuer { .. }) => "token_of_another_issuer",
        AccessTokenError::Claims(_) => "token_claims",
        AccessTokenError::ForeignClaim { .. } => "token_of_another_kind",
        _ => "token_refused",
    };
    Refusal::new(Denial::of_token(error.fault()), reason)
}

fn of_binding(error: &BindingError) -> Refusal {
    let reason = match error {
        BindingError::Bound => "token_bound",
        BindingError::Unbound => "token_unbound",
        BindingError::UnsupportedConfirmation { .. } => "token_confirmation_unsupported",
        BindingError::OtherCertificate => "token_of_another_connection",
        _ => "token_refused",
    };
    Refusal::new(Denial::of_token(error.fault()), reason)
}
