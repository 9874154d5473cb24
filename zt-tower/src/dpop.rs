//! DPoP proofs as a route demands them (RFC 9449 §7).
//!
//! What the proof of a request has to be for is known from three places, and from no header but
//! its own:
//!
//! 1. the URL is the configured [`PublicBase`] with the path of the request, whatever `Host`,
//!    `Forwarded` and their like say; behind axum's `nest` (feature `axum`) it is the whole path,
//!    as the request had it before the prefix was taken off;
//! 2. the token is the one in the `Authorization` header, which was verified before;
//! 3. the time and the nonce are those of this service.
//!
//! A proof that holds is admitted by the [`Replay`], once. A store that is down or full answers 503,
//! and so does one that has no room for more of this key.

use std::borrow::Cow;
use std::sync::Arc;

use http::HeaderValue;
use http::request::Parts;
use zt_core::time::Timestamp;
use zt_identity::confirmation::Confirmation;
use zt_identity::possession::dpop::{
    DpopError, DpopProof, DpopVerifier, ProvenRequest, the_one_proof,
};
use zt_identity::possession::nonce::NonceAge;
use zt_identity::possession::replay::{AdmitError, Replay};
use zt_identity::possession::target::PublicBase;
use zt_identity::unadmitted::Unadmitted;

use crate::denial::{Denial, DpopCause, DpopDenial, Refusal};

/// Where clients find a service, how their proofs are verified, and what remembers them. A clone
/// shares what is remembered.
///
/// ```
/// use zt_identity::possession::dpop::DpopVerifier;
/// use zt_identity::possession::nonce::DpopNonces;
/// use zt_identity::possession::replay::Replay;
/// use zt_identity::possession::target::PublicBase;
/// use zt_tower::dpop::DpopProofs;
///
/// let base = PublicBase::parse("https://api.example.com")?;
/// let proofs = DpopProofs::new(base, Replay::in_memory(100_000))
///     .verified_by(DpopVerifier::default().with_nonces(DpopNonces::random()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct DpopProofs {
    base: PublicBase,
    replay: Replay,
    verifier: Arc<DpopVerifier>,
}

impl DpopProofs {
    /// Proofs for URLs under this base, remembered by this; no nonces are demanded.
    #[must_use]
    pub fn new(base: PublicBase, replay: Replay) -> Self {
        Self { base, replay, verifier: Arc::default() }
    }

    /// Verified by this.
    #[must_use]
    pub fn verified_by(self, verifier: DpopVerifier) -> Self {
        Self { verifier: Arc::new(verifier), ..self }
    }

    pub(crate) const fn replay(&self) -> &Replay {
        &self.replay
    }

    /// The proof that came with this request and its token.
    pub(crate) fn verify(
        &self,
        shown: &Shown<'_>,
        token: &str,
        confirmation: Option<&Confirmation>,
        now: Timestamp,
    ) -> Result<Unadmitted<DpopProof>, Refusal> {
        let proven = ProvenRequest::new(&shown.method, &self.base, &shown.path)
            .with_token(token, confirmation);
        shown
            .proof()
            .and_then(|proof| self.verifier.verify(proof, &proven, now))
            .map_err(|error| self.refusal(&error, now))
    }

    fn refusal(&self, error: &DpopError, now: Timestamp) -> Refusal {
        let cause = if error.wants_nonce() {
            DpopCause::UseNonce
        } else if error.is_of_token() {
            DpopCause::InvalidToken
        } else {
            DpopCause::InvalidProof
        };
        Refusal::new(self.denial(cause, now), error.reason())
    }

    /// The answer to a proof that was not admitted.
    pub(crate) fn not_admitted(&self, error: &AdmitError, now: Timestamp) -> Refusal {
        match error {
            AdmitError::Replayed(_) => {
                Refusal::new(self.denial(DpopCause::InvalidProof, now), "proof_replayed")
            }
            error @ (AdmitError::Store(_) | _) => {
                Refusal::new(Denial::of_token(error.fault()), error.reason())
            }
        }
    }

    /// The refusal with the challenge of this route.
    pub(crate) fn challenge(&self, refusal: Refusal, now: Timestamp) -> Refusal {
        match DpopCause::of(refusal.denial()) {
            Some(cause) => Refusal::new(self.denial(cause, now), refusal.reason()),
            None => refusal,
        }
    }

    fn denial(&self, cause: DpopCause, now: Timestamp) -> Denial {
        let denial = DpopDenial::new(cause, self.verifier.algorithms());
        Denial::Dpop(match self.nonce(now) {
            Some(nonce) => denial.with_nonce(nonce),
            None => denial,
        })
    }

    fn nonce(&self, now: Timestamp) -> Option<HeaderValue> {
        HeaderValue::try_from(self.verifier.nonces()?.current(now)).ok()
    }

    /// The nonce to hand out beside an answer to this proof: one in time, before its own is over.
    pub(crate) fn next_nonce(&self, proof: &DpopProof, now: Timestamp) -> Option<HeaderValue> {
        match proof.nonce_age() {
            Some(NonceAge::Previous) => self.nonce(now),
            _ => None,
        }
    }
}

/// What of a request its proof is judged by.
#[derive(Clone, Debug)]
pub(crate) struct Shown<'r> {
    method: Cow<'r, str>,
    path: Cow<'r, str>,
    // One more than there may be.
    proofs: [Option<Cow<'r, [u8]>>; 2],
}

impl<'r> Shown<'r> {
    pub(crate) fn by(request: &'r Parts) -> Self {
        let mut proofs = request.headers.get_all("dpop").iter().map(HeaderValue::as_bytes);
        let mut next = || proofs.next().map(Cow::Borrowed);
        Self {
            method: request.method.as_str().into(),
            path: path(request).into(),
            proofs: [next(), next()],
        }
    }

    /// The same, for as long as it takes.
    pub(crate) fn into_owned(self) -> Shown<'static> {
        Shown {
            method: self.method.into_owned().into(),
            path: self.path.into_owned().into(),
            proofs: self.proofs.map(|proof| proof.map(|proof| proof.into_owned().into())),
        }
    }

    fn proof(&self) -> Result<&str, DpopError> {
        the_one_proof(self.proofs.iter().flatten().map(|proof| &**proof))
    }
}

#[cfg(feature = "axum")]
fn path(request: &Parts) -> &str {
    let original = request.extensions.get::<axum::extract::OriginalUri>();
    original.map_or(request.uri.path(), |original| original.path())
}

#[cfg(not(feature = "axum"))]
fn path(request: &Parts) -> &str {
    request.uri.path()
}
