//! Workloads that prove themselves by a token, on the routes that say so.

use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::request::Builder;
use zt_core::snapshot::Snapshot;
use zt_core::spiffe::{SpiffeId, TrustDomain};
use zt_identity::authority::{Authority, Issuer};
use zt_identity::claims::Audience;
use zt_identity::jwt_bundle::JwtBundleSet;
use zt_identity::jwt_svid::JwtSvidVerifier;
use zt_identity::matcher::Authorizer;
use zt_identity::possession::eventual::Eventual;
use zt_identity::service_account::ServiceAccountVerifier;
use zt_identity::source::JwtBundleSource;
use zt_tower::caller::Caller;
use zt_tower::demand::Demand;
use zt_tower::denial::Refusal;
use zt_tower::record::Recording;
use zt_tower::workload_tokens::{
    FoundWorkload, JwtSvids, ServiceAccounts, VerifyWorkload, WorkloadDemand,
};
use zt_tower::zero_trust::ZeroTrust;
use zt_tower::{AccessTokens, authenticate::AuthenticateLayer};

use crate::access_tokens::{self, claims};
use crate::support::{BATCH, CART, Inner, NOW, Policy, Sink, clock, from, send, told, unproven};

const CHALLENGE: &str = "Bearer realm=\"zero-trust\"";
const INVALID: &str = "Bearer realm=\"zero-trust\", error=\"invalid_token\"";

fn audience() -> Audience {
    Audience::any(["orders"]).unwrap()
}

fn example_org() -> Authority {
    Authority::new(TrustDomain::from_name("example.org").unwrap(), NOW).unwrap()
}

fn svids(of: &Authority) -> (JwtSvids, Arc<Snapshot<JwtBundleSet>>) {
    let bundles = Arc::new(Snapshot::new(JwtBundleSet::new().with(of.jwt_bundle())));
    (JwtSvids::new(JwtSvidVerifier::new(audience()), Arc::clone(&bundles)), bundles)
}

fn cluster() -> Issuer {
    Issuer::new("https://kubernetes.default.svc", NOW).unwrap()
}

fn accounts(of: &Issuer) -> ServiceAccounts {
    let verifier =
        ServiceAccountVerifier::new(of.url().clone(), audience(), of.keys().unwrap()).unwrap();
    ServiceAccounts::verified(verifier)
}

fn account_token(cluster: &Issuer, audience: &str) -> String {
    let claims = format!(
        r#"{{"aud": ["{audience}"], "sub": "system:serviceaccount:shop:cart", "kubernetes.io": {{
            "namespace": "shop", "serviceaccount": {{"name": "cart", "uid": "14ee3fa4"}},
            "pod": {{"name": "cart-0", "uid": "5e0bd49b"}}}}}}"#
    );
    cluster.mint_as("JWT", &claims).unwrap()
}

fn layer(demand: WorkloadDemand) -> AuthenticateLayer {
    AuthenticateLayer::new(Demand::WorkloadToken(demand), Recording::Off).clock(clock())
}

fn bearing(request: Builder, token: &str) -> Builder {
    request.header(AUTHORIZATION, format!("Bearer {token}"))
}

async fn name(layer: &AuthenticateLayer, request: Builder) -> Result<String, u16> {
    let inner = Inner::default();
    let response = send(layer, &inner, request).await;
    match inner.calls() {
        0 => Err(response.status().as_u16()),
        _ => Ok(inner.last().extensions.get::<Caller>().unwrap().workload().id().to_string()),
    }
}

#[tokio::test]
async fn bundles_that_an_agent_keeps_current_count_until_it_was_silent_for_too_long() {
    let authority = example_org();
    let token = authority.jwt_svid("/cart", "orders").unwrap();
    let bundles = JwtBundleSet::new().with(authority.jwt_bundle());
    let source = JwtBundleSource::new(authority.trust_domain().clone(), bundles.clone());
    let verifier = JwtSvidVerifier::new(audience());
    let svids = layer(WorkloadDemand::new(JwtSvids::of_source(verifier, source.clone())));
    let asked = || name(&svids, bearing(unproven(), &token));
    assert_eq!(asked().await.as_deref(), Ok(CART));

    let an_hour_ago = NOW.saturating_sub(Duration::from_secs(3601));
    source.missed(an_hour_ago, Duration::from_secs(3600));
    assert_eq!(asked().await, Err(503), "a good token, and nobody can tell");
    source.replace(bundles);
    assert_eq!(asked().await.as_deref(), Ok(CART));
    source.replace(JwtBundleSet::new());
    assert_eq!(asked().await, Err(401), "its trust domain is gone");
}

#[tokio::test]
async fn a_workload_without_a_certificate_is_named_by_its_token() {
    let (authority, cluster) = (example_org(), cluster());
    let svid = authority.jwt_svid("/cart", "orders").unwrap();
    let svids = layer(WorkloadDemand::new(svids(&authority).0));
    assert_eq!(name(&svids, bearing(unproven(), &svid)).await.as_deref(), Ok(CART));
    let accounts = layer(WorkloadDemand::new(accounts(&cluster)));
    let token = account_token(&cluster, "orders");
    let cart = "system:serviceaccount:shop:cart";
    assert_eq!(name(&accounts, bearing(unproven(), &token)).await.as_deref(), Ok(cart));

    // Neither takes the other's, nor one for another service, nor none.
    for (layer, token) in [
        (&svids, &token),
        (&accounts, &svid),
        (&svids, &authority.jwt_svid("/cart", "payments").unwrap()),
        (&accounts, &account_token(&cluster, "payments")),
    ] {
        assert_eq!(name(layer, bearing(unproven(), token)).await, Err(401));
    }
    let inner = Inner::default();
    assert_eq!(told(&send(&svids, &inner, unproven()).await), (401, Some(CHALLENGE)));
    let forged = bearing(unproven(), "a.b.c");
    assert_eq!(told(&send(&svids, &inner, forged).await), (401, Some(INVALID)));
    let twice = bearing(bearing(unproven(), &svid), &svid);
    assert_eq!(send(&svids, &inner, twice).await.status(), 400);
    let around = bearing(http::Request::builder(), &svid);
    assert_eq!(send(&svids, &inner, around).await.status(), 500);
    assert_eq!(inner.calls(), 0);
}

#[tokio::test]
async fn a_token_of_a_workload_opens_no_route_that_does_not_say_so() {
    let authority = example_org();
    let svid = authority.jwt_svid("/cart", "orders").unwrap();
    let access = AccessTokens::bearer(access_tokens::Issuer::new(1).verifier());
    let build = |builder: zt_tower::zero_trust::Builder<Demand>| {
        builder.policy(Policy::default()).without_records().clock(clock()).build()
    };
    let inner = Inner::default();
    let users = build(ZeroTrust::builder().tokens(access));
    let workloads = build(ZeroTrust::builder().workloads_only());
    for layer in [&users, &workloads] {
        let response = send(layer, &inner, bearing(unproven(), &svid)).await;
        assert_eq!(response.status(), 401);
    }
    assert_eq!(send(&users, &inner, bearing(from(CART), &svid)).await.status(), 401);
    // Nor does an access token open the route of workloads.
    let tokens = build(ZeroTrust::builder().workload_tokens(svids(&authority).0));
    let alice = access_tokens::Issuer::new(1).sign(&claims(&serde_json::json!({})));
    assert_eq!(send(&tokens, &inner, bearing(unproven(), &alice)).await.status(), 401);
    assert_eq!(inner.calls(), 0);
    assert_eq!(send(&tokens, &inner, bearing(unproven(), &svid)).await.status(), 200);
}

#[tokio::test]
async fn a_workload_with_a_name_of_its_own_does_not_use_that_of_another() {
    let authority = example_org();
    let svid = authority.jwt_svid("/cart", "orders").unwrap();
    let (tokens, _) = svids(&authority);
    let plain = layer(WorkloadDemand::new(tokens.clone()));
    assert_eq!(name(&plain, bearing(from(CART), &svid)).await.as_deref(), Ok(CART));
    assert_eq!(name(&plain, bearing(from(BATCH), &svid)).await, Err(401));
    let proxy = Authorizer::id(SpiffeId::parse(BATCH).unwrap());
    let over = layer(WorkloadDemand::new(tokens).over(proxy));
    assert_eq!(name(&over, bearing(from(BATCH), &svid)).await.as_deref(), Ok(CART));
    let other = from("spiffe://example.org/other");
    assert_eq!(name(&over, bearing(other, &svid)).await, Err(401));
}

#[tokio::test]
async fn a_bundle_that_is_taken_away_takes_its_workloads_with_it() {
    let authority = example_org();
    let svid = authority.jwt_svid("/cart", "orders").unwrap();
    let (tokens, bundles) = svids(&authority);
    let layer = layer(WorkloadDemand::new(tokens));
    assert!(name(&layer, bearing(unproven(), &svid)).await.is_ok());
    bundles.replace(JwtBundleSet::new());
    assert_eq!(name(&layer, bearing(unproven(), &svid)).await, Err(401));
}

#[tokio::test]
async fn a_token_is_proven_until_it_expires_and_refusals_are_recorded() {
    let authority = example_org();
    let svid = authority.jwt_svid("/cart", "orders").unwrap();
    let (sink, inner) = (Sink::default(), Inner::default());
    let queue = sink.queue();
    let clock = clock();
    let layer = AuthenticateLayer::new(
        Demand::WorkloadToken(WorkloadDemand::new(svids(&authority).0)),
        queue.clone(),
    )
    .clock(clock.clone());
    send(&layer, &inner, bearing(unproven(), &svid)).await;
    let until = inner.last().extensions.get::<Caller>().unwrap().until();
    assert!(until > NOW && until < NOW.saturating_add(Duration::from_secs(7 * 24 * 3_600)));
    clock.set(until.saturating_add(Duration::from_secs(3_600)));
    send(&layer, &inner, bearing(unproven(), &svid)).await;
    send(&layer, &inner, bearing(from(BATCH), &svid)).await;
    let records = sink.records(&queue);
    let reasons: Vec<_> = records.iter().map(|record| record["reason"].clone()).collect();
    assert_eq!(reasons, ["token_expired", "peer_expired"]);
}

#[tokio::test]
async fn an_api_server_is_waited_for() {
    /// Says what the tokens say, later.
    struct Later(Arc<ServiceAccounts>);
    impl VerifyWorkload for Later {
        fn workload(
            &self,
            token: &str,
            now: zt_core::time::Timestamp,
        ) -> Eventual<Result<FoundWorkload, Refusal>> {
            let (accounts, token) = (Arc::clone(&self.0), token.to_owned());
            Eventual::pending(async move {
                tokio::task::yield_now().await;
                accounts.workload(&token, now).await
            })
        }
    }
    let cluster = cluster();
    let layer = layer(WorkloadDemand::new(Later(Arc::new(accounts(&cluster)))));
    let good = account_token(&cluster, "orders");
    let cart = "system:serviceaccount:shop:cart";
    assert_eq!(name(&layer, bearing(unproven(), &good)).await.as_deref(), Ok(cart));
    let bad = account_token(&cluster, "payments");
    assert_eq!(name(&layer, bearing(unproven(), &bad)).await, Err(401));
    assert_eq!(name(&layer, bearing(from(BATCH), &good)).await, Err(401));
}

#[tokio::test]
async fn a_token_that_is_remembered_is_not_limited_and_ends_with_its_bundle() {
    let authority = example_org();
    let (svids, bundles) = svids(&authority);
    let limits = zt_tower::limits::Limits::default().rate(1, 1);
    let clock = clock();
    let layer = layer(WorkloadDemand::new(svids.cached(16).unwrap()));
    let layer = layer.limits(limits).clock(clock.clone());
    let svid = authority.jwt_svid("/cart", "orders").unwrap();
    for _ in 0..10 {
        assert_eq!(name(&layer, bearing(unproven(), &svid)).await.as_deref(), Ok(CART));
    }
    assert_eq!(name(&layer, bearing(unproven(), "a.b.c")).await, Err(503));
    // What the connection proves is compared each time.
    assert_eq!(name(&layer, bearing(from(CART), &svid)).await.as_deref(), Ok(CART));
    assert_eq!(name(&layer, bearing(from(BATCH), &svid)).await, Err(401));

    bundles.replace(JwtBundleSet::new());
    clock.advance(Duration::from_secs(2));
    assert_eq!(name(&layer, bearing(unproven(), &svid)).await, Err(401));
    bundles.replace(JwtBundleSet::new().with(authority.jwt_bundle()));
    clock.advance(Duration::from_secs(2));
    assert_eq!(name(&layer, bearing(unproven(), &svid)).await.as_deref(), Ok(CART));
    clock.advance(Duration::from_secs(24 * 3600));
    assert_eq!(name(&layer, bearing(unproven(), &svid)).await, Err(401));
}

#[tokio::test]
async fn a_service_account_that_is_remembered_is_not_limited() {
    let cluster = cluster();
    let limits = zt_tower::limits::Limits::default().rate(1, 1);
    let layer = layer(WorkloadDemand::new(accounts(&cluster).cached(16).unwrap())).limits(limits);
    let token = account_token(&cluster, "orders");
    for _ in 0..10 {
        let cart = "system:serviceaccount:shop:cart";
        assert_eq!(name(&layer, bearing(unproven(), &token)).await.as_deref(), Ok(cart));
    }
    let other = account_token(&cluster, "payments");
    assert_eq!(name(&layer, bearing(unproven(), &other)).await, Err(503));
}
