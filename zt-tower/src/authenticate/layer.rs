use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderValue;
use http::request::Parts;
use tower_layer::Layer;
use zt_core::lease::Lease;
use zt_core::peer::Peer;
use zt_core::time::{Clock, SystemClock, Timestamp};
use zt_core::verified::Verified;
use zt_identity::possession::eventual::Eventual;
use zt_identity::possession::revocations::TokenStanding;

use super::Authenticate;
use crate::caller::Caller;
use crate::credential::authorization;
use crate::demand::{Demand, Found, Presented, UserDemand};
use crate::denial::{Denial, Problem, Refusal};
use crate::record::Recording;

/// Wraps a service in [`Authenticate`].
#[derive(Clone, Debug)]
pub struct AuthenticateLayer<R = Problem> {
    demand: Demand,
    clock: Arc<dyn Clock>,
    pub(super) recording: Recording,
    pub(super) respond: Arc<R>,
}

impl AuthenticateLayer {
    /// Demands this of callers and records whom it refuses.
    #[must_use]
    pub fn new(demand: Demand, recording: impl Into<Recording>) -> Self {
        Self {
            demand,
            clock: Arc::new(SystemClock),
            recording: recording.into(),
            respond: Arc::default(),
        }
    }
}

impl<R> AuthenticateLayer<R> {
    /// Takes the time from `clock`; from the operating system by default.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Answers refusals so; with [`Problem`] by default.
    #[must_use]
    pub fn respond<Q>(self, respond: Q) -> AuthenticateLayer<Q> {
        let Self { demand, clock, recording, .. } = self;
        AuthenticateLayer { demand, clock, recording, respond: Arc::new(respond) }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Rules 1 to 6, or rules 1 to 4 and what has to be awaited for the fifth.
    pub(super) fn caller(&self, parts: &Parts, now: Timestamp) -> Authentication {
        let demand = match &self.demand {
            Demand::Workload => None,
            Demand::WorkloadAndUser(demand) => Some(demand),
        };
        let refused = |refusal| {
            Eventual::ready(Err(match demand {
                None => refusal,
                Some(demand) => demand.tokens().challenge(refusal, now),
            }))
        };
        let (peer, authorization) = match peer_and_authorization(parts, now) {
            Ok(both) => both,
            Err(refusal) => return refused(refusal),
        };
        let Some(demand) = demand else {
            return Eventual::ready(Ok(Authenticated::workload(peer)));
        };
        let Some(authorization) = authorization else {
            return refused(Refusal::new(Denial::NoCredential, "no_credential"));
        };
        let finding = demand.tokens().user(&Presented::new(authorization, peer, parts), now);
        match finding.into_ready() {
            Ok(found) => Eventual::ready(authenticated(demand, peer, found, now)),
            Err(finding) => {
                let (demand, peer) = (demand.clone(), peer.clone());
                finding.map(move |found| authenticated(&demand, &peer, found, now))
            }
        }
    }
}

/// What is known of the sender of a request, or will be.
pub(super) type Authentication = Eventual<Result<Authenticated, Refusal>>;

/// The caller of a request, and what goes with the answer to it.
#[derive(Debug)]
pub(super) struct Authenticated {
    pub(super) caller: Caller,
    pub(super) dpop_nonce: Option<HeaderValue>,
    pub(super) standing: Option<TokenStanding>,
}

impl Authenticated {
    fn workload(peer: &Verified<Peer>) -> Self {
        let caller = Caller::from(peer.principal()).ends(peer.not_after());
        Self { caller, dpop_nonce: None, standing: None }
    }
}

/// Rule 6.
fn authenticated(
    demand: &UserDemand,
    peer: &Verified<Peer>,
    found: Result<Found, Refusal>,
    now: Timestamp,
) -> Result<Authenticated, Refusal> {
    let found = found.and_then(|found| {
        demand.check(&found.user, now)?;
        Ok(found)
    });
    let Found { user, dpop_nonce, standing, until } =
        found.map_err(|refusal| demand.tokens().challenge(refusal, now))?;
    let caller = Caller::from(peer.principal().on_behalf_of(user));
    let caller = caller.ends(peer.not_after()).ends(until);
    Ok(Authenticated { caller, dpop_nonce, standing })
}

impl<S, R: Clone> Layer<S> for AuthenticateLayer<R> {
    type Service = Authenticate<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Authenticate::new(inner, Arc::new(self.clone()))
    }
}

/// Rules 1 to 3.
fn current_peer(parts: &Parts, now: Timestamp) -> Result<&Verified<Peer>, Refusal> {
    let Some(peer) = parts.extensions.get::<Verified<Peer>>() else {
        return Err(if parts.extensions.get::<SocketAddr>().is_some() {
            Refusal::new(Denial::NoCredential, "no_peer")
        } else {
            Refusal::new(Denial::Wiring, "no_connection_layer")
        });
    };
    if now > peer.not_after() {
        return Err(Refusal::new(Denial::NoCredential, "peer_expired"));
    }
    if parts.extensions.get::<Lease>().is_some_and(|lease| lease.check(now).is_err()) {
        return Err(Refusal::new(Denial::NoCredential, "peer_not_supported"));
    }
    Ok(peer)
}

/// Rules 1 to 4.
fn peer_and_authorization(
    parts: &Parts,
    now: Timestamp,
) -> Result<(&Verified<Peer>, Option<&HeaderValue>), Refusal> {
    Ok((current_peer(parts, now)?, authorization(&parts.headers)?))
}
