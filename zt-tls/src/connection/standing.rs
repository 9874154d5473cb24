//! What the lease of a connection rests on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls_pki_types::CertificateDer;
use zt_core::lease::{Ended, Lease, Leases, Support};
use zt_core::peer::Peer;
use zt_core::time::{Clock, Timestamp};
use zt_core::verified::Verified;

use super::error::HandshakeError;
use super::settings::Lasting;
use crate::events::Counts;
use crate::jitter::Jitter;
use crate::verifier::{PeerVerifier, Refused, Standing};

/// How long a verdict lasts while nothing changes but the time: roots, intermediates and lists
/// expire within it.
const VERDICT_AGE: Duration = Duration::from_secs(60);

/// The open connections of one acceptor or connector.
#[derive(Clone)]
pub(super) struct Connections {
    leases: Leases,
    clock: Arc<dyn Clock>,
    lasting: Lasting,
    counts: Arc<Counts>,
    jitter: Arc<Jitter>,
}

/// What a stream holds of its connection.
pub(super) struct Watched {
    pub(super) lease: Lease,
    pub(super) retires: Instant,
    pub(super) grace: Duration,
    pub(super) _open: Open,
}

/// Counted as open while it is there.
pub(super) struct Open(Arc<Counts>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.closed();
    }
}

impl Connections {
    pub(super) fn new(clock: Arc<dyn Clock>, lasting: Lasting, counts: Arc<Counts>) -> Self {
        let leases = Leases::new(Arc::clone(&clock), lasting.recheck);
        Self { leases, clock, lasting, counts, jitter: Arc::default() }
    }

    pub(super) const fn grace(&self) -> Duration {
        self.lasting.grace
    }

    #[cfg(feature = "serve")]
    pub(super) const fn with_grace(mut self, grace: Duration) -> Self {
        self.lasting.grace = grace;
        self
    }

    /// Takes a connection in whose handshake has just finished.
    pub(super) fn register(
        &self,
        proof: Option<(Arc<PeerVerifier>, Verified<Peer>, Standing)>,
        chain: &[CertificateDer<'_>],
    ) -> Result<Watched, HandshakeError> {
        let now = self.clock.now();
        let expires = proof.as_ref().map(|(_, peer, _)| peer.validity().remaining(now));
        let (lasts, over) = match expires {
            Some(expires) if expires < self.lasting.max_age => (expires, Ended::Expired),
            Some(_) | None => (self.lasting.max_age, Ended::MaxAge),
        };
        let lasts = lasts.saturating_sub(self.jitter.of(lasts));
        let began = Instant::now();
        let lead = lasts.checked_div(2).unwrap_or(lasts).min(self.lasting.grace);
        let retires = began.checked_add(lasts.saturating_sub(lead)).unwrap_or(began);
        let peer = proof.as_ref().map(|(_, peer, _)| peer.clone());
        // The peer has the leaf.
        let intermediates = chain.iter().skip(1).map(|der| der.clone().into_owned()).collect();
        let support = Connection {
            until: now.saturating_add(lasts),
            began,
            lasts,
            over,
            proof: proof.map(|(verifier, peer, standing)| Proof {
                verifier,
                peer,
                intermediates,
                verdict: Mutex::new((standing, Instant::now())),
            }),
            counts: Arc::clone(&self.counts),
            told: AtomicBool::new(false),
        };
        let lease = self.leases.grant(support).map_err(HandshakeError::Unwatched)?;
        self.counts.admitted(peer.as_ref());
        let open = Open(Arc::clone(&self.counts));
        Ok(Watched { lease, retires, grace: self.lasting.grace, _open: open })
    }
}

/// One open connection.
struct Connection {
    until: Timestamp,
    // Time that nobody sets, for the same end.
    began: Instant,
    lasts: Duration,
    over: Ended,
    proof: Option<Proof>,
    counts: Arc<Counts>,
    told: AtomicBool,
}

struct Proof {
    verifier: Arc<PeerVerifier>,
    peer: Verified<Peer>,
    intermediates: Box<[CertificateDer<'static>]>,
    verdict: Mutex<(Standing, Instant)>,
}

impl Support for Connection {
    fn check(&self, now: Timestamp) -> Result<(), Ended> {
        let instant = Instant::now();
        if now >= self.until || instant.saturating_duration_since(self.began) >= self.lasts {
            return Err(self.end(self.over, None));
        }
        let Some(proof) = &self.proof else { return Ok(()) };
        proof.check(instant).map_err(|refused| self.end(Ended::Identity, Some(&refused)))
    }
}

impl Connection {
    /// Tells of the end, once, though several may find it at the same time.
    fn end(&self, why: Ended, refused: Option<&Refused>) -> Ended {
        if !self.told.swap(true, Ordering::Relaxed) {
            self.counts.ended(self.proof.as_ref().map(|proof| &proof.peer), why, refused);
        }
        why
    }
}

impl Proof {
    fn check(&self, instant: Instant) -> Result<(), Refused> {
        let mut verdict = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        let (standing, at) = *verdict;
        let anew = instant.saturating_duration_since(at) >= VERDICT_AGE;
        let (leaf, intermediates) = (self.peer.leaf(), &self.intermediates);
        let (now, judged) = self.verifier.still(leaf, intermediates, standing, anew)?;
        // A new identity of ours is no new verdict on the peer.
        *verdict = (now, if judged { instant } else { at });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use zt_core::peer::End;
    use zt_core::spiffe::TrustDomain;
    use zt_core::time::ManualClock;
    use zt_identity::authority::Authority;
    use zt_identity::matcher::Authorizer;
    use zt_identity::revocation::Revocation;

    use super::*;
    use crate::admission::Admission;

    #[test]
    fn a_verdict_lasts_no_longer_because_our_own_identity_is_renewed() {
        let now = Timestamp::from_secs(1_800_000_000);
        let domain = TrustDomain::from_name("example.org").unwrap();
        let authority = Authority::new(domain.clone(), now).unwrap();
        let source = authority.source("/orders").unwrap();
        let verifier = PeerVerifier::new(
            source.clone(),
            Admission::new(Authorizer::member_of(domain)),
            Arc::new(ManualClock::at(now)),
            crate::provider::preferred().unwrap(),
            Revocation::default(),
        );
        let chain = authority.svid("/cart").unwrap().chain().to_vec();
        let (peer, standing) = verifier.peer(End::Client, &chain, verifier.under()).unwrap();
        let judged = Instant::now();
        let proof = Proof {
            verifier: Arc::new(verifier),
            peer,
            intermediates: Box::default(),
            verdict: Mutex::new((standing, judged)),
        };
        let at = |proof: &Proof| proof.verdict.lock().unwrap().1;
        let almost = judged + VERDICT_AGE - Duration::from_millis(1);
        for _ in 0..3 {
            let bundles = source.load().bundles().clone();
            source.replace(authority.svid("/orders").unwrap(), bundles);
            proof.check(almost).unwrap();
            assert_eq!(at(&proof), judged);
            let standing = proof.verdict.lock().unwrap().0;
            let again = proof.verifier.still(proof.peer.leaf(), &[], standing, false).unwrap();
            assert_eq!(again, (standing, false));
        }
        proof.check(judged + VERDICT_AGE).unwrap();
        assert_eq!(at(&proof), judged + VERDICT_AGE);
    }
}
