//! OIDC access tokens as the tokens of a demand.

use zt_core::peer::Peer;
use zt_core::principal::User;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;
use zt_identity::oidc::access_token::AccessTokenVerifier;
use zt_identity::possession::binding::Binding;

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
        let token = self
            .verifier
            .verify(token, now)
            .map_err(|error| Refusal::new(Denial::of_token(error.fault()), error.reason()))?;
        let binding = match self.possession {
            Possession::Bearer => Binding::bearer(),
            Possession::Certificate => Binding::certificate(peer),
        };
        binding
            .user(&token)
            .map_err(|error| Refusal::new(Denial::of_token(error.fault()), error.reason()))
    }
}
