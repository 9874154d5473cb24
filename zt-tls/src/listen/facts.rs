//! What every request of one connection carries.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use http::{Extensions, Request};
use zt_core::lease::{Ended, Lease};
use zt_core::peer::Peer;
use zt_core::time::Clock;
use zt_core::verified::Verified;

use crate::connection::ChannelBinding;
use crate::events::Counts;

/// A connection, as its requests know it: who is at its other end, where that is, and whether it is
/// supported still. Only a [`Listener`](super::Listener) makes one. Clones share it.
#[derive(Clone, Debug)]
pub struct Connected(Arc<Facts>);

#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) peer: Option<Verified<Peer>>,
    pub(crate) from: SocketAddr,
    pub(crate) lease: Lease,
    pub(crate) retires: Instant,
    pub(crate) binding: Option<ChannelBinding>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counts: Arc<Counts>,
}

impl Connected {
    pub(crate) fn new(facts: Facts) -> Self {
        Self(Arc::new(facts))
    }

    /// Who is there; nothing where clients may leave their certificate out and this one did.
    #[must_use]
    pub fn peer(&self) -> Option<&Verified<Peer>> {
        self.0.peer.as_ref()
    }

    /// Where the connection comes from.
    #[must_use]
    pub fn from(&self) -> SocketAddr {
        self.0.from
    }

    /// The connection's lease.
    #[must_use]
    pub fn lease(&self) -> &Lease {
        &self.0.lease
    }

    /// Whether no further request is to begin on it.
    pub(crate) fn is_leaving(&self) -> bool {
        self.0.lease.has_ended().is_some() || Instant::now() >= self.0.retires
    }

    /// Puts peer, address and lease into a request, unless the lease has ended.
    pub(crate) fn equip<B>(&self, request: &mut Request<B>) -> Result<(), Ended> {
        let Facts { peer, from, lease, binding, clock, counts, .. } = &*self.0;
        lease
            .check(clock.now())
            .inspect_err(|ended| counts.refused_request(peer.as_ref(), *ended))?;
        let extensions: &mut Extensions = request.extensions_mut();
        if let Some(peer) = peer {
            extensions.insert(peer.clone());
        }
        extensions.insert(*from);
        extensions.insert(lease.clone());
        if let Some(binding) = binding {
            extensions.insert(*binding);
        }
        Ok(())
    }
}
