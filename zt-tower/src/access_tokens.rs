//! OIDC access tokens as the tokens of a demand.

use std::sync::Arc;

use zt_core::time::Timestamp;
use zt_core::verified::Verified;
use zt_identity::algorithm::NoRandomness;
use zt_identity::oidc::access_token::{AccessToken, AccessTokenError};
use zt_identity::oidc::issuers::Issuers;
use zt_identity::oidc::verdict_cache::CachedAccessTokenVerifier;
use zt_identity::possession::binding::Binding;
use zt_identity::possession::eventual::Eventual;
use zt_identity::possession::revocations::{Revocations, TokenNames, TokenStanding};

use crate::demand::{Finding, Found, Presented, VerifyToken};
use crate::denial::{Denial, Refusal};
use crate::dpop::DpopProofs;

/// The access tokens of an issuer, or of several, and how they have to belong to who sends them
/// (T-16). A clone shares the issuers' keys.
#[derive(Clone, Debug)]
pub struct AccessTokens {
    verifier: Verifier,
    possession: Possession,
    revocations: Option<Arc<dyn Revocations>>,
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

#[derive(Clone, Debug)]
enum Possession {
    Bearer,
    Certificate,
    Dpop(DpopProofs),
}

impl AccessTokens {
    /// Whoever holds a token is its user; one that is bound to anything is refused.
    #[must_use]
    pub fn bearer(issuers: impl Into<Issuers>) -> Self {
        Self::new(issuers.into(), Possession::Bearer)
    }

    /// Only the workload whose certificate a token names is its user (RFC 8705 §3); one that is
    /// bound to nothing is refused.
    #[must_use]
    pub fn certificate_bound(issuers: impl Into<Issuers>) -> Self {
        Self::new(issuers.into(), Possession::Certificate)
    }

    /// Only who proves with each request to have the key that a token names is its user (RFC 9449
    /// §7); one that is bound to nothing, or sent as bearer, is refused.
    ///
    /// ```
    /// use zt_identity::oidc::access_token::AccessTokenVerifier;
    /// use zt_identity::possession::{replay::Replay, target::PublicBase};
    /// use zt_tower::{AccessTokens, dpop::DpopProofs};
    ///
    /// fn tokens(verifier: AccessTokenVerifier) -> Result<AccessTokens, Box<dyn std::error::Error>> {
    ///     let base = PublicBase::parse("https://api.example.com")?;
    ///     let proofs = DpopProofs::new(base, Replay::in_memory(100_000));
    ///     Ok(AccessTokens::dpop_bound(verifier, proofs).cached(10_000)?)
    /// }
    /// ```
    #[must_use]
    pub fn dpop_bound(issuers: impl Into<Issuers>, proofs: DpopProofs) -> Self {
        Self::new(issuers.into(), Possession::Dpop(proofs))
    }

    const fn new(issuers: Issuers, possession: Possession) -> Self {
        Self { verifier: Verifier::EachTime(issuers), possession, revocations: None }
    }

    /// The same tokens, of which those that these have revoked count no more. That is asked with
    /// each request, whatever is remembered of the token, and a handler finds a [`TokenStanding`] in the
    /// request's extensions, for what goes on after the request.
    ///
    /// A token that does not say when it was issued is refused, and one that was issued longer ago
    /// than revocations are remembered; see
    /// [`revocations`](zt_identity::possession::revocations).
    #[must_use]
    pub fn revoked_by(self, revocations: impl Revocations + 'static) -> Self {
        Self { revocations: Some(Arc::new(revocations)), ..self }
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

    fn verified(&self, token: &str, now: Timestamp) -> Result<Verified<AccessToken>, Refusal> {
        let token = self
            .verifier
            .verify(token, now)
            .map_err(|error| Refusal::new(Denial::of_token(error.fault()), error.reason()))?;
        self.check_revocations(&token, now)?;
        Ok(token)
    }

    fn check_revocations(&self, token: &AccessToken, now: Timestamp) -> Result<(), Refusal> {
        if let Some(revocations) = &self.revocations {
            revocations
                .check(&TokenNames::from(token), now)
                .map_err(|error| Refusal::new(Denial::of_token(error.fault()), error.reason()))?;
        }
        Ok(())
    }

    fn with_binding(
        &self,
        token: Result<&str, Refusal>,
        binding: &Binding,
        now: Timestamp,
    ) -> Result<Found, Refusal> {
        found(binding, self.verified(token?, now)?, self.revocations.as_ref())
    }

    /// A proof that is good is awaited where its store has to be asked.
    fn with_proof(
        &self,
        proofs: &DpopProofs,
        presented: &Presented<'_>,
        now: Timestamp,
    ) -> Result<Finding, Refusal> {
        let text = presented.dpop()?;
        let token = self.verified(text, now)?;
        let proof = proofs.verify(presented.request(), text, token.confirmation(), now)?;
        let (proofs, peer) = (proofs.clone(), presented.peer().clone());
        let revocations = self.revocations.clone();
        Ok(proofs.replay().clone().admit(proof, now).map(move |proof| {
            let proof = proof.map_err(|error| proofs.not_admitted(&error, now))?;
            let found = found(&Binding::dpop(&proof).over(&peer), token, revocations.as_ref())?;
            Ok(match proofs.next_nonce(&proof, now) {
                Some(nonce) => found.with_dpop_nonce(nonce),
                None => found,
            })
        }))
    }
}

fn found(
    binding: &Binding,
    token: Verified<AccessToken>,
    revocations: Option<&Arc<dyn Revocations>>,
) -> Result<Found, Refusal> {
    let user = binding
        .user(&token)
        .map_err(|error| Refusal::new(Denial::of_token(error.fault()), error.reason()))?;
    let found = Found::from(user).until(token.expires());
    Ok(match revocations {
        Some(revocations) => {
            found.with_standing(TokenStanding::new(token, Arc::clone(revocations)))
        }
        None => found,
    })
}

impl VerifyToken for AccessTokens {
    /// A verdict that is remembered. A proof is new with every request, so nothing is known of it.
    fn known(&self, presented: &Presented<'_>, now: Timestamp) -> Option<Result<Found, Refusal>> {
        let binding = match &self.possession {
            Possession::Bearer => Binding::bearer(),
            Possession::Certificate => Binding::certificate(presented.peer()),
            Possession::Dpop(_) => return None,
        };
        let Verifier::Cached(verifier) = &self.verifier else { return None };
        let token = verifier.remembered(presented.bearer().ok()?, now)?;
        let checked = self.check_revocations(&token, now);
        Some(checked.and_then(|()| found(&binding, token, self.revocations.as_ref())))
    }

    fn user(&self, presented: &Presented<'_>, now: Timestamp) -> Finding {
        let at_once = |binding: Binding| {
            Eventual::ready(self.with_binding(presented.bearer(), &binding, now))
        };
        match &self.possession {
            Possession::Bearer => at_once(Binding::bearer()),
            Possession::Certificate => at_once(Binding::certificate(presented.peer())),
            Possession::Dpop(proofs) => self
                .with_proof(proofs, presented, now)
                .unwrap_or_else(|refusal| Eventual::ready(Err(refusal))),
        }
    }

    fn challenge(&self, refusal: Refusal, now: Timestamp) -> Refusal {
        match &self.possession {
            Possession::Bearer | Possession::Certificate => refusal,
            Possession::Dpop(proofs) => proofs.challenge(refusal, now),
        }
    }
}
