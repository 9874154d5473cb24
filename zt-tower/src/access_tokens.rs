//! OIDC access tokens as the tokens of a demand.

use zt_core::peer::Peer;
use zt_core::principal::User;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;
use zt_identity::algorithm::NoRandomness;
use zt_identity::oidc::access_token::{AccessToken, AccessTokenError};
use zt_identity::oidc::issuers::Issuers;
use zt_identity::oidc::verdict_cache::CachedAccessTokenVerifier;
use zt_identity::possession::binding::Binding;

use crate::demand::VerifyToken;
use crate::denial::{Denial, Refusal};

/// The access tokens of an issuer, or of several, and how they have to belong to who sends them
/// (T-16). A clone shares the issuers' keys.
#[derive(Clone, Debug)]
pub struct AccessTokens {
    verifier: Verifier,
    possession: Possession,
}

#[derive(Clone, Debug)]
enum Verifier {
    EachTime(Issuers),
    Cached(CachedAccessTokenVerifier),
}

impl Verifier {
    fn verify(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Verified<AccessToken>, AccessTokenError> {
        match self {
            Self::EachTime(issuers) => issuers.verify(token, now),
            Self::Cached(verifier) => verifier.verify(token, now),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Possession {
    Bearer,
    Certificate,
}

impl AccessTokens {
    /// Whoever holds a token is its user; one that is bound to anything is refused.
    #[must_use]
    pub fn bearer(issuers: impl Into<Issuers>) -> Self {
        Self { verifier: Verifier::EachTime(issuers.into()), possession: Possession::Bearer }
    }

    /// Only the workload whose certificate a token names is its user (RFC 8705 §3); one that is
    /// bound to nothing is refused.
    #[must_use]
    pub fn certificate_bound(issuers: impl Into<Issuers>) -> Self {
        Self { verifier: Verifier::EachTime(issuers.into()), possession: Possession::Certificate }
    }

    /// The same tokens, of which so many that were good are remembered for a while instead of
    /// verified again: see [`verdict_cache`](zt_identity::oidc::verdict_cache). How a token has to
    /// belong to its sender is asked each time.
    ///
    /// # Errors
    ///
    /// [`NoRandomness`] when there is none for the key of the cache.
    pub fn cached(self, capacity: usize) -> Result<Self, NoRandomness> {
        let issuers = match self.verifier {
            Verifier::EachTime(issuers) => issuers,
            Verifier::Cached(cached) => cached.issuers().clone(),
        };
        Ok(Self { verifier: Verifier::Cached(issuers.cached(capacity)?), ..self })
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
