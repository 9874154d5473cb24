//! OIDC access tokens as the tokens of a demand.

use std::sync::Arc;

use zt_core::peer::Peer;
use zt_core::secret::Secret;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;
use zt_identity::algorithm::NoRandomness;
use zt_identity::oidc::access_token::AccessToken;
use zt_identity::possession::binding::Binding;
use zt_identity::possession::eventual::Eventual;
use zt_identity::possession::revocations::{Revocations, TokenNames, TokenStanding};
use zt_identity::token_verifier::{TokenVerifier, TokenVerifierError};

use crate::demand::{Finding, Found, Presented, VerifyToken};
use crate::denial::{Denial, Refusal};
use crate::dpop::{DpopProofs, Shown};

#[cfg(feature = "http")]
use zt_identity::outgoing::UserToken;

/// The access tokens of an issuer, or of several, and how they have to belong to who sends them
/// (T-16). A clone shares the issuers' keys, and what is remembered.
///
/// Tokens that say nothing by themselves are those of an `IntrospectionVerifier` (feature `http` of
/// `zt-identity`): a request waits while its issuer is asked, and is answered 503 where that fails.
#[derive(Clone, Debug)]
pub struct AccessTokens {
    verifier: TokenVerifier,
    possession: Possession,
    revocations: Option<Arc<dyn Revocations>>,
    #[cfg(feature = "http")]
    kept: bool,
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
    pub fn bearer(verifier: impl Into<TokenVerifier>) -> Self {
        Self::new(verifier.into(), Possession::Bearer)
    }

    /// Only the workload whose certificate a token names is its user (RFC 8705 §3); one that is
    /// bound to nothing is refused.
    #[must_use]
    pub fn certificate_bound(verifier: impl Into<TokenVerifier>) -> Self {
        Self::new(verifier.into(), Possession::Certificate)
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
    pub fn dpop_bound(verifier: impl Into<TokenVerifier>, proofs: DpopProofs) -> Self {
        Self::new(verifier.into(), Possession::Dpop(proofs))
    }

    const fn new(verifier: TokenVerifier, possession: Possession) -> Self {
        Self {
            verifier,
            possession,
            revocations: None,
            #[cfg(feature = "http")]
            kept: false,
        }
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

    /// The same tokens, each of which a handler finds in the request's extensions as a [`UserToken`]:
    /// for requests of our own on behalf of its user (feature `http`). Nobody keeps a token unless
    /// that is said.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn kept_for_requests(self) -> Self {
        Self { kept: true, ..self }
    }

    /// The same tokens, of which so many that were good are remembered for a while instead of
    /// verified again: see [`verdicts`](zt_identity::verdicts). How a token has to
    /// belong to its sender is asked each time. Tokens that an issuer is asked about are remembered
    /// anyway, as many as its verifier was built for.
    ///
    /// # Errors
    ///
    /// [`NoRandomness`] when there is none for the key of the cache.
    pub fn cached(self, capacity: usize) -> Result<Self, NoRandomness> {
        Ok(Self { verifier: self.verifier.cached(capacity)?, ..self })
    }

    fn check_revocations(&self, token: &AccessToken, now: Timestamp) -> Result<(), Refusal> {
        if let Some(revocations) = &self.revocations {
            revocations
                .check(&TokenNames::from(token), now)
                .map_err(|error| Refusal::new(Denial::of_token(error.fault()), error.reason()))?;
        }
        Ok(())
    }

    /// The user of a token that was verified, or why it was not.
    fn judged(
        &self,
        verified: Result<Verified<AccessToken>, TokenVerifierError>,
        sent: &Sent<'_>,
        now: Timestamp,
    ) -> Finding {
        let token = verified
            .map_err(|error| Refusal::new(Denial::of_token(error.fault()), error.reason()))
            .and_then(|token| self.check_revocations(&token, now).map(|()| token));
        let token = match token {
            Ok(token) => token,
            Err(refusal) => return Eventual::ready(Err(refusal)),
        };
        let binding = match &self.possession {
            Possession::Bearer => Binding::bearer(),
            Possession::Certificate => Binding::certificate(sent.peer),
            Possession::Dpop(proofs) => {
                return self
                    .with_proof(proofs, token, sent, now)
                    .unwrap_or_else(|refusal| Eventual::ready(Err(refusal)));
            }
        };
        Eventual::ready(self.beside(&token, sent.text.as_bytes()).found(&binding, &token))
    }

    /// A proof that is good is awaited where its store has to be asked.
    fn with_proof(
        &self,
        proofs: &DpopProofs,
        token: Verified<AccessToken>,
        sent: &Sent<'_>,
        now: Timestamp,
    ) -> Result<Finding, Refusal> {
        let proof = proofs.verify(sent.shown, sent.text, token.confirmation(), now)?;
        let (proofs, peer) = (proofs.clone(), sent.peer.clone());
        let beside = self.beside(&token, sent.text.as_bytes());
        Ok(proofs.replay().clone().admit(proof, now).map(move |proof| {
            let proof = proof.map_err(|error| proofs.not_admitted(&error, now))?;
            let found = beside.found(&Binding::dpop(&proof).over(&peer), &token)?;
            Ok(match proofs.next_nonce(&proof, now) {
                Some(nonce) => found.with_dpop_nonce(nonce),
                None => found,
            })
        }))
    }

    /// What a handler finds beside the user of this token.
    fn beside(&self, token: &Verified<AccessToken>, text: &[u8]) -> Beside {
        let standing = |revocations| TokenStanding::new(token.clone(), Arc::clone(revocations));
        #[cfg(not(feature = "http"))]
        let _ = text;
        Beside {
            standing: self.revocations.as_ref().map(standing),
            #[cfg(feature = "http")]
            kept: self
                .kept
                .then(|| str::from_utf8(text).ok())
                .flatten()
                .map(|text| UserToken::new(text, token.clone())),
        }
    }
}

/// What was sent with a token.
struct Sent<'r> {
    text: &'r str,
    peer: &'r Verified<Peer>,
    shown: &'r Shown<'r>,
}

/// What goes with a user.
struct Beside {
    standing: Option<TokenStanding>,
    #[cfg(feature = "http")]
    kept: Option<UserToken>,
}

impl Beside {
    fn found(self, binding: &Binding, token: &Verified<AccessToken>) -> Result<Found, Refusal> {
        let user = binding
            .user(token)
            .map_err(|error| Refusal::new(Denial::of_token(error.fault()), error.reason()))?;
        let found = Found::from(user).until(token.counts_until());
        let found = match self.standing {
            Some(standing) => found.with_standing(standing),
            None => found,
        };
        #[cfg(feature = "http")]
        let found = match self.kept {
            Some(kept) => found.with_extension(kept),
            None => found,
        };
        Ok(found)
    }
}

impl VerifyToken for AccessTokens {
    /// A verdict that is remembered. A proof is new with every request, so nothing is known of it.
    fn known(&self, presented: &Presented<'_>, now: Timestamp) -> Option<Result<Found, Refusal>> {
        let binding = match &self.possession {
            Possession::Bearer => Binding::bearer(),
            Possession::Certificate => Binding::certificate(presented.peer()),
            Possession::Dpop(_) => return None,
        };
        // What is the same as a good token needs no other look.
        let text = presented.as_bearer().ok()?;
        let token = self.verifier.remembered(text, now)?;
        let checked = self.check_revocations(&token, now);
        Some(checked.and_then(|()| self.beside(&token, text).found(&binding, &token)))
    }

    fn user(&self, presented: &Presented<'_>, now: Timestamp) -> Finding {
        let text = match &self.possession {
            Possession::Bearer | Possession::Certificate => presented.bearer(),
            Possession::Dpop(_) => presented.dpop(),
        };
        let text = match text {
            Ok(text) => text,
            Err(refusal) => return Eventual::ready(Err(refusal)),
        };
        let (peer, shown) = (presented.peer(), Shown::by(presented.request()));
        match self.verifier.verify(text, now).into_ready() {
            Ok(token) => self.judged(token, &Sent { text, peer, shown: &shown }, now),
            Err(asked) => {
                let (this, text) = (self.clone(), Secret::new(text.to_owned()));
                let (peer, shown) = (peer.clone(), shown.into_owned());
                Eventual::pending(async move {
                    let token = asked.await;
                    let sent = Sent { text: text.expose(), peer: &peer, shown: &shown };
                    let judged = this.judged(token, &sent, now);
                    judged.await
                })
            }
        }
    }

    fn challenge(&self, refusal: Refusal, now: Timestamp) -> Refusal {
        match &self.possession {
            Possession::Bearer | Possession::Certificate => refusal,
            Possession::Dpop(proofs) => proofs.challenge(refusal, now),
        }
    }
}
