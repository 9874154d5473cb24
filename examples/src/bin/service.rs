//! The README's first screen: an axum service in which every request proves itself.

use axum::{Router, routing::get};
use zt_core::record::{JsonLines, RecordQueue};
use zt_core::spiffe::TrustDomain;
use zt_core::time::{Clock, SystemClock};
use zt_identity::{AccessTokenVerifier, Authorizer, X509Source};
use zt_policy::LivePolicies;
use zt_tls::{Acceptor, serve::serve};
use zt_tower::extract::{CallingUser, CallingWorkload};
use zt_tower::{AccessTokens, RouteTargets, ZeroTrust};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let domain = TrustDomain::from_name("example.org")?;
    let now = SystemClock.now();
    let (svid, key, bundle) = ("svid.pem", "key.pem", "bundle.pem");
    let identity = X509Source::from_pem_files(domain.clone(), svid, key, bundle, now)?;
    let _watch = identity.watch(SystemClock, |outcome| eprintln!("identity: {outcome:?}"))?;
    let acceptor = Acceptor::new(identity, Authorizer::member_of(domain))?;

    let tokens = AccessTokenVerifier::builder("https://login.example.com")?
        .audience("orders")
        .discover()?
        .build()?;
    let zero_trust = ZeroTrust::builder()
        .tokens(AccessTokens::bearer(tokens).cached(10_000)?)
        .policy(LivePolicies::open("policies")?)
        .records(RecordQueue::builder().start(JsonLines::append_to("records.jsonl")?)?)
        .targets(RouteTargets)
        .build();

    let app = Router::new().route("/orders/{id}", get(order)).layer(zero_trust);
    let listener = tokio::net::TcpListener::bind("0.0.0.0:8443").await?;
    Ok(serve(listener, acceptor, app).await?)
}

async fn order(CallingWorkload(by): CallingWorkload, CallingUser(user): CallingUser) -> String {
    format!("{} reads an order through {}\n", user.subject(), by.id())
}
