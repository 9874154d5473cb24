use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderValue};
use tower_layer::Layer;
use zt_core::lease::Lease;
use zt_core::peer::Peer;
use zt_core::principal::Principal;
use zt_core::spiffe::SpiffeId;
use zt_core::time::{Clock, SystemClock, Timestamp};
use zt_core::verified::Verified;
use zt_identity::possession::eventual::Eventual;
use zt_identity::possession::revocations::TokenStanding;

use super::Authenticate;
use crate::caller::Caller;
use crate::credential::{self, Scheme, authorization};
use crate::demand::{Demand, Found, Presented, UserDemand};
use crate::denial::{Denial, Problem, Refusal};
use crate::forwarded::{Forwarded, strip};
use crate::limits::{Limiter, Limits, Verification};
use crate::record::Recording;
use crate::telemetry;
use crate::workload_tokens::{FoundWorkload, WorkloadDemand};

/// Wraps a service in [`Authenticate`].
#[derive(Clone, Debug)]
pub struct AuthenticateLayer<R = Problem> {
    demand: Demand,
    clock: Arc<dyn Clock>,
    forwarded: Forwarded,
    limiter: Limiter,
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
            forwarded: Forwarded::nobody(),
            limiter: Limiter::new(Limits::default()),
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

    /// Believes these peers what they say of the clients behind them; nobody by default.
    #[must_use]
    pub fn forwarded(mut self, forwarded: Forwarded) -> Self {
        self.forwarded = forwarded;
        self
    }

    /// Takes no more than this of a request, and verifies no more at once, for each source and for
    /// each verification's time; [`Limits::default`] by default.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limiter = Limiter::new(limits);
        self
    }

    /// Takes out what names who calls, as far as nobody vouches for it.
    pub(super) fn strip(&self, parts: &mut Parts) {
        let keeps_addresses = self.forwarded.keeps_addresses(parts.extensions.get());
        strip(&mut parts.headers, keeps_addresses);
    }

    /// Answers refusals so; with [`Problem`] by default.
    #[must_use]
    pub fn respond<Q>(self, respond: Q) -> AuthenticateLayer<Q> {
        let Self { demand, clock, forwarded, limiter, recording, .. } = self;
        let respond = Arc::new(respond);
        AuthenticateLayer { demand, clock, forwarded, limiter, recording, respond }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Rules 1 to 7, or rules 1 to 5 and what has to be awaited for the sixth.
    pub(super) fn caller(&self, parts: &Parts, now: Timestamp) -> Authentication {
        let found = self.limiter.check_headers(&parts.headers);
        let found = found.map(|()| self.found(parts, now));
        match found.unwrap_or_else(|refusal| Eventual::ready(Err(refusal))).into_ready() {
            Ok(found) => Eventual::ready(found),
            Err(waiting) => self.limiter.in_time(waiting),
        }
    }

    fn found(&self, parts: &Parts, now: Timestamp) -> Authentication {
        let authentication = match &self.demand {
            Demand::Workload => self.workload(parts, now),
            Demand::WorkloadAndUser(demand) => self
                .user(demand, parts, now)
                .map_err(|refusal| demand.tokens().challenge(refusal, now)),
            Demand::WorkloadToken(demand) => self.workload_token(demand, parts, now),
        };
        authentication.unwrap_or_else(|refusal| Eventual::ready(Err(refusal)))
    }

    fn workload(&self, parts: &Parts, now: Timestamp) -> Result<Authentication, Refusal> {
        let peer = demanded_peer(parts, now)?;
        authorization(&parts.headers)?;
        let caller = self.client(peer, parts)?.caller(peer);
        Ok(Eventual::ready(Ok(Authenticated::from(caller))))
    }

    fn user(
        &self,
        demand: &UserDemand,
        parts: &Parts,
        now: Timestamp,
    ) -> Result<Authentication, Refusal> {
        let peer = demanded_peer(parts, now)?;
        let authorization = demanded_authorization(&parts.headers)?;
        let client = self.client(peer, parts)?;
        let presented = Presented::new(authorization, peer, parts);
        if let Some(found) = demand.tokens().known(&presented, now) {
            telemetry::token("remembered");
            return Ok(Eventual::ready(with_user(demand, peer, client, found, now)));
        }
        let workload = client.principal.workload().id().spiffe();
        let verification = self.begin(workload, client.source, parts, now)?;
        telemetry::token("verified");
        Ok(match demand.tokens().user(&presented, now).into_ready() {
            Ok(found) => Eventual::ready(with_user(demand, peer, client, found, now)),
            Err(finding) => {
                let (demand, peer) = (demand.clone(), peer.clone());
                finding.map(move |found| {
                    drop(verification);
                    with_user(&demand, &peer, client, found, now)
                })
            }
        })
    }

    fn workload_token(
        &self,
        demand: &WorkloadDemand,
        parts: &Parts,
        now: Timestamp,
    ) -> Result<Authentication, Refusal> {
        let peer = current_peer(parts, now)?;
        let authorization = demanded_authorization(&parts.headers)?;
        let token = credential::token(authorization, Scheme::Bearer)?;
        let source = match peer {
            Some(peer) => self.forwarded.address(peer, &parts.headers)?,
            None => None,
        };
        if let Some(found) = demand.known(token, now) {
            telemetry::token("remembered");
            return Ok(Eventual::ready(with_workload(demand, peer, source, found)));
        }
        let (demand, peer) = (demand.clone(), peer.cloned());
        let workload = peer.as_ref().map(|peer| peer.id());
        let verification = self.begin(workload, source, parts, now)?;
        telemetry::token("verified");
        Ok(demand.workload(token, now).map(move |found| {
            drop(verification);
            with_workload(&demand, peer.as_ref(), source, found)
        }))
    }

    /// Counts for the client of a proxy that forwards where it calls from, or else for the workload, or
    /// for the address of the connection.
    fn begin(
        &self,
        workload: Option<&SpiffeId>,
        forwarded: Option<IpAddr>,
        parts: &Parts,
        now: Timestamp,
    ) -> Result<Verification, Refusal> {
        let remote = parts.extensions.get::<SocketAddr>().map(SocketAddr::ip);
        let workload = workload.filter(|_| forwarded.is_none());
        self.limiter.begin(workload, forwarded.or(remote), now)
    }

    /// Rule 5.
    fn client(&self, peer: &Verified<Peer>, parts: &Parts) -> Result<Client, Refusal> {
        let principal = self.forwarded.client(peer, &parts.headers)?;
        Ok(Client { principal, source: self.forwarded.address(peer, &parts.headers)? })
    }
}

/// The workload that calls over a connection: its peer, or one that the peer speaks for.
struct Client {
    principal: Verified<Principal>,
    source: Option<IpAddr>,
}

impl Client {
    fn caller(self, peer: &Peer) -> Caller {
        // The last moment of a certificate belongs to it.
        let until = peer.not_after().saturating_add(Duration::from_micros(1));
        Caller::from(self.principal).ends(until).forwarded(self.source)
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
    pub(super) extensions: Extensions,
}

impl From<Caller> for Authenticated {
    fn from(caller: Caller) -> Self {
        Self { caller, dpop_nonce: None, standing: None, extensions: Extensions::new() }
    }
}

/// Rule 7.
fn with_user(
    demand: &UserDemand,
    peer: &Peer,
    client: Client,
    found: Result<Found, Refusal>,
    now: Timestamp,
) -> Result<Authenticated, Refusal> {
    let found = found.and_then(|found| {
        demand.check(&found.user, now)?;
        Ok(found)
    });
    let Found { user, dpop_nonce, standing, until, extensions } =
        found.map_err(|refusal| demand.tokens().challenge(refusal, now))?;
    let Client { principal, source } = client;
    let client = Client { principal: principal.on_behalf_of(user), source };
    let caller = client.caller(peer).ends(until);
    Ok(Authenticated { caller, dpop_nonce, standing, extensions })
}

/// Rule 3 of [`workload_tokens`](crate::workload_tokens), asked with each request.
fn with_workload(
    demand: &WorkloadDemand,
    peer: Option<&Verified<Peer>>,
    source: Option<IpAddr>,
    found: Result<FoundWorkload, Refusal>,
) -> Result<Authenticated, Refusal> {
    let found = found?;
    demand.check(&found, peer)?;
    let caller = Caller::from(found.principal).ends(found.until).forwarded(source);
    Ok(Authenticated::from(caller))
}

impl<S, R: Clone> Layer<S> for AuthenticateLayer<R> {
    type Service = Authenticate<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Authenticate::new(inner, Arc::new(self.clone()))
    }
}

/// Rules 1 and 3: of a peer that there may be.
fn current_peer(parts: &Parts, now: Timestamp) -> Result<Option<&Verified<Peer>>, Refusal> {
    let Some(peer) = parts.extensions.get::<Verified<Peer>>() else {
        let wired = parts.extensions.get::<SocketAddr>().is_some();
        let not_wired = Refusal::new(Denial::Wiring, "no_connection_layer");
        return if wired { Ok(None) } else { Err(not_wired) };
    };
    if now > peer.not_after() {
        return Err(Refusal::new(Denial::NoCredential, "peer_expired"));
    }
    if parts.extensions.get::<Lease>().is_some_and(|lease| lease.check(now).is_err()) {
        return Err(Refusal::new(Denial::NoCredential, "peer_not_supported"));
    }
    Ok(Some(peer))
}

/// Rules 1 to 3.
fn demanded_peer(parts: &Parts, now: Timestamp) -> Result<&Verified<Peer>, Refusal> {
    current_peer(parts, now)?.ok_or(Refusal::new(Denial::NoCredential, "no_peer"))
}

/// Rule 4, and that there is one.
fn demanded_authorization(headers: &HeaderMap) -> Result<&HeaderValue, Refusal> {
    authorization(headers)?.ok_or(Refusal::new(Denial::NoCredential, "no_credential"))
}
