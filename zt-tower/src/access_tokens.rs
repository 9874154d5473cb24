//! OIDC access tokens as the tokens of a demand.

use std::sync::Arc;

use http::request::Parts;
use zt_core::fault::Fault;
use zt_core::peer::Peer;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;
use zt_identity::algorithm::NoRandomness;
use zt_identity::oidc::access_token::AccessToken;
#[cfg(feature = "http")]
use zt_identity::outgoing::UserToken;
use zt_identity::possession::binding::Binding;
use zt_identity::possession::eventual::Eventual;
use zt_identity::possession::revocations::{Revocations, TokenNames, TokenStanding};
use zt_identity::token_verifier::{TokenVerifier, TokenVerifierError};

use crate::demand::{Finding, Found, Presented, VerifyToken};
use crate::denial::{Denial, Refusal};
use crate::dpop::DpopProofs;

/// The access tokens of an issuer, or of several, signed or such as their issuer has to be asked about,
/// and how they have to belong to who sends them (T-16). A clone shares keys and what is remembered.
#[derive(Clone, Debug)]
pub struct AccessTokens {
    verifier: TokenVerifier,
    possession: Possession,
    revocations: Option<Arc<dyn Revocations>>,
    #[cfg(feature = "http")]
    passed_on: bool,
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
            passed_on: false,
        }
    }

    /// The same tokens, each of which a handler finds as a
    /// [`UserToken`](zt_identity::outgoing::UserToken) in the request's extensions, to be exchanged
    /// for another when it [calls](crate::outgoing) on behalf of the user. Without this, no handler
    /// sees a token but in the headers.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn passed_on(self) -> Self {
        Self { passed_on: true, ..self }
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
        Ok(Self { verifier: self.verifier.cached(capacity)?, ..self })
    }

    fn text<'r>(&self, presented: &Presented<'r>) -> Result<&'r str, Refusal> {
        match &self.possession {
            Possession::Bearer | Possession::Certificate => presented.bearer(),
            Possession::Dpop(_) => presented.dpop(),
        }
    }

    /// The user of a token that verifies, where it belongs to its sender. A proof that is good is
    /// awaited where its store has to be asked.
    fn possessed(
        &self,
        token: Result<Verified<AccessToken>, TokenVerifierError>,
        sent: &Sent<'_>,
        now: Timestamp,
    ) -> Result<Finding, Refusal> {
        let token = token.map_err(|error| refused(error.fault(), error.reason()))?;
        if let Some(revocations) = &self.revocations {
            revocations
                .check(&TokenNames::from(&*token), now)
                .map_err(|error| refused(error.fault(), error.reason()))?;
        }
        let found = self.found(&token, sent.text);
        Ok(match &self.possession {
            Possession::Bearer => Eventual::ready(found(&Binding::bearer())),
            Possession::Certificate => Eventual::ready(found(&Binding::certificate(sent.peer))),
            Possession::Dpop(proofs) => {
                let proof = proofs.verify(sent.request, sent.text, token.confirmation(), now)?;
                let (proofs, peer) = (proofs.clone(), sent.peer.clone());
                proofs.replay().clone().admit(proof, now).map(move |proof| {
                    let proof = proof.map_err(|error| proofs.not_admitted(&error, now))?;
                    let found = found(&Binding::dpop(&proof).over(&peer))?;
                    Ok(match proofs.next_nonce(&proof, now) {
                        Some(nonce) => found.with_dpop_nonce(nonce),
                        None => found,
                    })
                })
            }
        })
    }

    /// What goes with the user of a token that is bound so.
    fn found(
        &self,
        token: &Verified<AccessToken>,
        text: &str,
    ) -> impl FnOnce(&Binding) -> Result<Found, Refusal> + Send + use<> {
        let (token, revocations) = (token.clone(), self.revocations.clone());
        #[cfg(feature = "http")]
        let passed_on = self.passed_on.then(|| UserToken::new(text, token.clone()));
        let _ = text;
        move |binding| {
            let user = binding.user(&token);
            let user = user.map_err(|error| refused(error.fault(), error.reason()))?;
            let found = Found::from(user).until(token.expires());
            #[cfg(feature = "http")]
            let found = Found { passed_on, ..found };
            Ok(match revocations {
                Some(revocations) => found.with_standing(TokenStanding::new(token, revocations)),
                None => found,
            })
        }
    }
}

/// A token, with whom and with what it was sent.
struct Sent<'r> {
    text: &'r str,
    peer: &'r Verified<Peer>,
    request: &'r Parts,
}

fn refused(fault: Fault, reason: &'static str) -> Refusal {
    Refusal::new(Denial::of_token(fault), reason)
}

fn at_once(finding: Result<Finding, Refusal>) -> Finding {
    finding.unwrap_or_else(|refusal| Eventual::ready(Err(refusal)))
}

impl VerifyToken for AccessTokens {
    /// A verdict that is remembered. A proof is new with every request, so nothing is known of it.
    fn known(&self, presented: &Presented<'_>, now: Timestamp) -> Option<Result<Found, Refusal>> {
        if matches!(self.possession, Possession::Dpop(_)) {
            return None;
        }
        let text = self.text(presented).ok()?;
        let token = self.verifier.remembered(text, now)?;
        let sent = Sent { text, peer: presented.peer(), request: presented.request() };
        at_once(self.possessed(token, &sent, now)).into_ready().ok()
    }

    fn user(&self, presented: &Presented<'_>, now: Timestamp) -> Finding {
        let text = match self.text(presented) {
            Ok(text) => text,
            Err(refusal) => return Eventual::ready(Err(refusal)),
        };
        let (peer, request) = (presented.peer(), presented.request());
        match self.verifier.verify(text, now).into_ready() {
            Ok(token) => at_once(self.possessed(token, &Sent { text, peer, request }, now)),
            Err(asked) => {
                let (this, text) = (self.clone(), text.to_owned());
                let (peer, request) = (peer.clone(), request.clone());
                asked.then(move |token| {
                    let sent = Sent { text: &text, peer: &peer, request: &request };
                    at_once(this.possessed(token, &sent, now))
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
