//! Access tokens of an issuer as the credential of a route.
//!
//! How a token belongs to its sender is stated by the constructor, for every route: there is no
//! default, and no token that is judged one way falls back to the other (T-16, T-30).

use zt_core::peer::Peer;
use zt_core::principal::User;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;
use zt_identity::oidc::access_token::AccessTokenVerifier;
use zt_identity::possession::binding::Binding;

use crate::demand::VerifyToken;
use crate::denial::{Denial, Refusal};

/// The access tokens of one issuer, with the binding that a route demands of them.
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
    /// Believes a token from whoever sends it. A token that is bound to a key or certificate is
    /// refused: it is not a bearer token.
    #[must_use]
    pub const fn bearer(verifier: AccessTokenVerifier) -> Self {
        Self { verifier, possession: Possession::Bearer }
    }

    /// Demands tokens that are bound to the certificate of this very connection (RFC 8705 §3). A
    /// token that is bound to nothing is refused.
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
