//! The other end of one connection.

use std::sync::{Arc, OnceLock};

use crate::principal::{Principal, Workload};
use crate::spiffe::SpiffeId;
use crate::time::{Timestamp, Validity};
use crate::verified::Verified;

/// Which end of a connection a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum End {
    /// It opened the connection.
    Client,
    /// We opened the connection to it.
    Server,
}

/// The workload at the other end of a connection, as its X.509-SVID names it.
///
/// Presenting a certificate proves nothing, as certificates are public. A `Verified<Peer>` is
/// minted when a handshake has finished, in which the peer signed with the key of the certificate.
/// A clone shares everything.
///
/// A certificate alone has no principal:
///
/// ```compile_fail,E0599
/// fn principal(peer: zt_core::peer::Peer) {
///     peer.principal();
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer(Arc<Facts>);

#[derive(Debug, PartialEq, Eq)]
struct Facts {
    id: SpiffeId,
    principal: Principal,
    validity: Validity,
    leaf: Box<[u8]>,
    leaf_sha256: Computed,
    generation: u64,
    end: End,
}

/// What is computed of the other facts once it is asked for, and makes no difference between two peers.
#[derive(Debug, Default)]
struct Computed(OnceLock<[u8; 32]>);

impl PartialEq for Computed {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Computed {}

impl Peer {
    /// Describes a client: its ID, the period its certificate counts, the leaf certificate in DER,
    /// and the generation of the trust bundles that it was verified under.
    #[must_use]
    pub fn new(id: SpiffeId, validity: Validity, leaf: &[u8], generation: u64) -> Self {
        Self::at(End::Client, id, validity, leaf, generation)
    }

    /// Describes a peer at this end of a connection, else as [`Peer::new`].
    #[must_use]
    pub fn at(end: End, id: SpiffeId, validity: Validity, leaf: &[u8], generation: u64) -> Self {
        let principal = Principal::new(Workload::new(id.clone()));
        let (leaf, leaf_sha256) = (leaf.into(), Computed::default());
        Self(Arc::new(Facts { id, principal, validity, leaf, leaf_sha256, generation, end }))
    }

    /// Which end of the connection it is.
    #[must_use]
    pub fn end(&self) -> End {
        self.0.end
    }

    /// Its SPIFFE ID.
    #[must_use]
    pub fn id(&self) -> &SpiffeId {
        &self.0.id
    }

    /// The last moment at which its certificate counts.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.0.validity.not_after()
    }

    /// The period in which its certificate counts.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.0.validity
    }

    /// The leaf certificate that it presented, in DER.
    #[must_use]
    pub fn leaf(&self) -> &[u8] {
        &self.0.leaf
    }

    pub(crate) fn leaf_sha256(&self, sha256: impl FnOnce(&[u8]) -> [u8; 32]) -> &[u8; 32] {
        self.0.leaf_sha256.0.get_or_init(|| sha256(self.leaf()))
    }

    /// The generation of the trust bundles that it was verified under.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.generation
    }
}

impl Verified<Peer> {
    /// The peer as a caller: its workload, on its own behalf.
    pub fn principal(&self) -> Verified<Principal> {
        Verified::mint(self.0.principal.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_a_certificate_is_computed_once_for_all_clones_and_makes_no_other_peer() {
        let id = SpiffeId::parse("spiffe://example.org/cart").unwrap();
        let validity = Validity::new(Timestamp::EPOCH, Timestamp::MAX).unwrap();
        let peer = Peer::new(id.clone(), validity, b"leaf", 1);
        let first = *peer.leaf_sha256(|leaf| {
            assert_eq!(leaf, b"leaf");
            [1; 32]
        });
        let again = *peer.clone().leaf_sha256(|_| panic!("it is known"));
        assert_eq!((first, again), ([1; 32], [1; 32]));
        let other = Peer::new(id, validity, b"leaf", 1);
        assert_eq!(peer, other, "whether it was asked for makes no difference");
        assert_eq!(*other.leaf_sha256(|_| [2; 32]), [2; 32], "another connection has its own");
    }
}
