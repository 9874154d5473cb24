//! What verdicts were reached under, and whether they stand.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use rustls_pki_types::CertificateDer;
use zt_core::peer::{End, Peer};
use zt_core::snapshot::Versioned;
use zt_core::verified::Verified;
use zt_identity::bundle::BundleSet;
use zt_identity::profile::Leaf;
use zt_identity::source::X509Material;

use super::{PeerVerifier, Refused, chain};

/// The number of bundles that were replaced before they were looked at.
const UNKNOWN: u64 = 0;

/// What was in force when a handshake began, or when a peer was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Under {
    source: u64,
    admission: u64,
}

/// What a peer that was believed was last judged under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    trust: u64,
    under: Under,
}

impl Standing {
    /// Whether nothing that a peer is judged by has changed in between.
    fn is_as(self, before: Self) -> bool {
        (self.trust, self.under.admission) == (before.trust, before.under.admission)
            && self.trust != UNKNOWN
    }
}

impl PeerVerifier {
    /// What a handshake that begins now is judged under, unless that changes before its end.
    pub(crate) fn under(&self) -> Under {
        Under { source: self.source.generation(), admission: self.admission.generation() }
    }

    /// The peer of a handshake that has just finished and that began under `began`.
    #[expect(
        clippy::disallowed_methods,
        reason = "the handshake is done: its peer signed with the key of a leaf that `verify` \
                  accepted, under the generations that are still the current ones or again just now"
    )]
    pub(crate) fn peer(
        &self,
        end: End,
        chain: &[CertificateDer<'_>],
        began: Under,
    ) -> Result<(Verified<Peer>, Standing), Refused> {
        let admission = self.admission.load();
        let material = self.source.load();
        let now = Under { source: material.generation(), admission: admission.generation() };
        let peer = if now == began {
            let leaf = chain.first().map_or(&[][..], |leaf| leaf.as_ref());
            let read = Leaf::read(leaf, self.svids.key_usage_criticality())
                .map_err(|error| Refused::svid(error.into()))?;
            Peer::at(end, read.id().to_owned(), read.validity(), leaf, now.source)
        } else {
            let svid = self.judge(chain, &material, &admission)?;
            Peer::at(end, svid.id().to_owned(), svid.validity(), svid.leaf(), now.source)
        };
        let standing = Standing { trust: self.trust.of(&material), under: now };
        Ok((zt_core::danger::verified(peer), standing))
    }

    /// Judges a chain that was believed before; cheap while nothing has changed since, unless it
    /// has to be done `anew`. With what it stands under now comes whether it was judged for that.
    pub(crate) fn still(
        &self,
        leaf: &[u8],
        intermediates: &[CertificateDer<'_>],
        standing: Standing,
        anew: bool,
    ) -> Result<(Standing, bool), Refused> {
        if !anew && standing.trust != UNKNOWN && standing.under == self.under() {
            return Ok((standing, false));
        }
        let admission = self.admission.load();
        let material = self.source.load();
        let under = Under { source: material.generation(), admission: admission.generation() };
        let now = Standing { trust: self.trust.of(&material), under };
        let judges = anew || !now.is_as(standing);
        if judges {
            let _svid = self.judge(&chain(leaf, intermediates), &material, &admission)?;
        }
        Ok((now, judges))
    }
}

/// Numbers bundles and lists: many generations of a source bring a new identity of ours and the same
/// trust.
#[derive(Default)]
pub(super) struct Trust {
    seen: ArcSwapOption<Seen>,
    looking: Mutex<()>,
}

/// Bundles and lists as they were last looked at.
struct Seen {
    generation: u64,
    trust: u64,
    bundles: BundleSet,
}

impl Trust {
    /// A number for bundles and lists that stays while they do.
    fn of(&self, material: &Versioned<X509Material>) -> u64 {
        let generation = material.generation();
        if let Some(seen) = &*self.seen.load()
            && seen.generation == generation
        {
            return seen.trust;
        }
        let _looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = self.seen.load_full();
        let (trust, bundles) = match &seen {
            // Somebody was faster; what is older than what was seen has no number of its own.
            Some(seen) if seen.generation == generation => return seen.trust,
            Some(seen) if seen.generation > generation => return UNKNOWN,
            Some(seen) if seen.bundles == *material.bundles() => (seen.trust, seen.bundles.clone()),
            Some(_) | None => (generation, material.bundles().clone()),
        };
        self.seen.store(Some(Arc::new(Seen { generation, trust, bundles })));
        trust
    }
}
