//! The service of orders: axum behind mTLS, tokens and policies.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use zt_core::decision::{Decide, Decision};
use zt_core::record::{RecordQueue, RecordSink};
use zt_core::request::Request;
use zt_core::spiffe::TrustDomain;
use zt_identity::matcher::Authorizer;
use zt_identity::oidc::access_token::AccessTokenVerifier;
use zt_identity::oidc::issuer::Issuer;
use zt_identity::oidc::keys::IssuerKeys;
use zt_identity::oidc::refresh::RefreshOptions;
use zt_identity::oidc::step_up::StepUp;
use zt_identity::source::X509Source;
use zt_policy::live::LivePolicies;
use zt_tls::Acceptor;
use zt_tls::serve::{ConnectionRefused, Server};
use zt_tower::access_tokens::AccessTokens;
use zt_tower::authorize::RouteTargets;
use zt_tower::demand::{Demand, UserDemand};
use zt_tower::extract::{CallingUser, CallingWorkload};
use zt_tower::zero_trust::ZeroTrust;

use crate::Outcome;

/// The authentication that a refund demands.
pub const MFA: &str = "mfa";

/// Everything that the service is made from.
pub struct Parts {
    pub source: X509Source,
    pub domain: TrustDomain,
    pub tokens: AccessTokenVerifier,
    pub policies: LivePolicies,
    pub listener: TcpListener,
}

/// The access tokens of an issuer, on this machine or over https.
pub async fn tokens(
    url: &str,
    audience: &str,
    options: RefreshOptions,
) -> Outcome<AccessTokenVerifier> {
    let issuer = Issuer::loopback(url).or_else(|_| Issuer::parse(url))?;
    let keys = IssuerKeys::discover(issuer.clone(), options)?;
    if let Err(unavailable) = keys.ready(Duration::from_secs(10)).await {
        let why = keys.last_failure().map_or_else(String::new, |why| format!(" ({why})"));
        return Err(format!("issuer {url}: {unavailable}{why}").into());
    }
    Ok(AccessTokenVerifier::for_issuer(issuer).audience(audience).keys(keys).build()?)
}

/// The policies of a folder, looked at this often.
pub fn policies(folder: &Path, every: Duration) -> Outcome<LivePolicies> {
    Ok(LivePolicies::builder(folder)
        .every(every)
        .max_staleness(Duration::from_secs(3600))
        .open()?)
}

/// Starts the service, and tells `on_refused` of the connections that it refuses.
pub fn start(
    parts: Parts,
    sink: impl RecordSink + 'static,
    on_refused: impl Fn(SocketAddr, &ConnectionRefused) + Send + Sync + 'static,
) -> Outcome<DecidingTime> {
    let Parts { source, domain, tokens, policies, listener } = parts;
    let time = DecidingTime::default();
    let policy = Arc::new(Timed { policies, time: time.clone() });
    let tokens = AccessTokens::bearer(tokens);
    let mfa = UserDemand::new(tokens.clone()).step_up(StepUp::new([MFA], None)?);

    let layer = ZeroTrust::builder()
        .policy(policy)
        .records(RecordQueue::builder().start(sink)?)
        .targets(RouteTargets);
    let reading = layer.clone().tokens(tokens).build();
    let refunding = layer.demand(Demand::WorkloadAndUser(mfa)).build();
    let app = Router::new()
        .route("/orders/{id}", get(order).layer(reading))
        .route("/orders/{id}/refund", post(refund).layer(refunding));

    let acceptor = Acceptor::new(source, Authorizer::member_of(domain))?;
    let server = Server::new(acceptor).on_refused(on_refused);
    tokio::spawn(async move { server.serve(listener, app, std::future::pending()).await });
    Ok(time)
}

async fn order(
    CallingWorkload(service): CallingWorkload,
    CallingUser(user): CallingUser,
) -> String {
    format!("{} reads an order through {}\n", user.subject(), service.id())
}

async fn refund(
    CallingWorkload(service): CallingWorkload,
    CallingUser(user): CallingUser,
) -> String {
    format!("{} refunds an order through {}\n", user.subject(), service.id())
}

/// How long the last decision took. A clone is the same one.
#[derive(Clone, Default)]
pub struct DecidingTime(Arc<AtomicU64>);

impl DecidingTime {
    /// Takes the time, once.
    pub fn take(&self) -> Duration {
        Duration::from_nanos(self.0.swap(0, Ordering::SeqCst))
    }
}

/// Policies that are timed.
struct Timed {
    policies: LivePolicies,
    time: DecidingTime,
}

impl Decide for Timed {
    fn decide(&self, request: &Request<'_>) -> Decision {
        let begun = Instant::now();
        let decision = self.policies.decide(request);
        let nanos = begun.elapsed().as_nanos().try_into().unwrap_or(u64::MAX);
        self.time.0.store(nanos, Ordering::SeqCst);
        decision
    }
}
