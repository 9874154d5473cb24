use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderValue;
use http::request::Parts;
use tower_layer::Layer;
use zt_core::lease::Lease;
use zt_core::peer::Peer;
use zt_core::principal::User;
use zt_core::time::{Clock, SystemClock, Timestamp};
use zt_core::verified::Verified;

use super::Authenticate;
use crate::caller::Caller;
use crate::credential::{authorization, bearer};
use crate::demand::{Demand, UserDemand};
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

    /// Rules 1 to 6.
    pub(super) fn caller(&self, parts: &Parts, now: Timestamp) -> Result<Caller, Refusal> {
        let peer = current_peer(parts, now)?;
        let authorization = authorization(&parts.headers)?;
        let caller = peer.principal();
        match &self.demand {
            Demand::Workload => Ok(caller.into()),
            Demand::WorkloadAndUser(demand) => {
                Ok(caller.on_behalf_of(user(demand, authorization, peer, now)?).into())
            }
        }
    }
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

/// Rules 5 and 6.
fn user(
    demand: &UserDemand,
    authorization: Option<&HeaderValue>,
    peer: &Verified<Peer>,
    now: Timestamp,
) -> Result<Verified<User>, Refusal> {
    let authorization = authorization.ok_or(Refusal::new(Denial::NoCredential, "no_credential"))?;
    let user = demand.tokens().user(bearer(authorization)?, peer, now)?;
    if let Some(step_up) = demand.demanded_step_up()
        && !step_up.is_met(&user, now)
    {
        return Err(Refusal::new(Denial::StepUp(step_up.clone()), "step_up_needed"));
    }
    if let Some(scope) = demand.demanded_scope()
        && !scope.is_met(&user)
    {
        return Err(Refusal::new(Denial::InsufficientScope(scope.clone()), "insufficient_scope"));
    }
    Ok(user)
}
