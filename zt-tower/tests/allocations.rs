//! What the layers allocate for a request with a token whose verdict is remembered.
#![expect(clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use allocation_counter::measure;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Extensions, Request, Response};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;
use tower::{Layer, Service};
use zt_core::danger;
use zt_core::decision::{Decide, Decision, PolicyVersion};
use zt_core::lease::{Lease, Leases};
use zt_core::peer::Peer;
use zt_core::record::{Record, RecordQueue, RecordSink};
use zt_core::request::Request as Question;
use zt_core::spiffe::SpiffeId;
use zt_core::time::{ManualClock, Timestamp, Validity};
use zt_core::verified::Verified;
use zt_identity::jwk::JwkSet;
use zt_identity::oidc::access_token::AccessTokenVerifier;
use zt_identity::oidc::keys::IssuerKeys;
use zt_tower::{AccessTokens, ZeroTrust};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
/// What ours come to: the caller in its box, and the permit with what it takes to ask further. With
/// feature `metrics`, the keys of what is counted besides: three rows of labels and a status.
const OURS: u64 = if cfg!(feature = "metrics") { 6 } else { 2 };

struct Everyone(std::sync::Arc<str>);

impl Decide for Everyone {
    #[expect(clippy::disallowed_methods, reason = "stands for a policy")]
    fn decide(&self, request: &Question<'_>) -> Decision {
        Decision::of(request, PolicyVersion::default(), |_| {
            danger::allow(std::sync::Arc::clone(&self.0))
        })
    }
}

struct Nowhere;

impl RecordSink for Nowhere {
    fn append(&mut self, _: &[Record]) -> std::io::Result<()> {
        Ok(())
    }
}

#[derive(Clone)]
struct Served;

impl Service<Request<()>> for Served {
    type Response = Response<&'static str>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        // What is in it is given back outside of the count.
        std::mem::forget(request);
        ready(Ok(Response::new("served")))
    }
}

#[expect(clippy::disallowed_methods, reason = "stands for a handshake that has finished")]
fn peer() -> Verified<Peer> {
    let validity = Validity::new(Timestamp::EPOCH, Timestamp::MAX).unwrap();
    let id = SpiffeId::parse("spiffe://example.org/cart").unwrap();
    danger::verified(Peer::new(id, validity, b"certificate", 1))
}

fn tokens() -> (AccessTokens, String) {
    let key = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
    let x = URL_SAFE_NO_PAD.encode(key.public_key());
    let set = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x }] });
    let verifier = AccessTokenVerifier::builder("https://login.example.com")
        .unwrap()
        .audience("orders")
        .keys(IssuerKeys::fixed(JwkSet::parse(set.to_string().as_bytes()).unwrap()))
        .build()
        .unwrap();
    let header = json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": "k" });
    let claims = json!({
        "iss": "https://login.example.com", "sub": "alice", "aud": "orders", "client_id": "shop",
        "jti": "1", "iat": NOW.as_secs(), "exp": NOW.saturating_add(Duration::from_secs(300)).as_secs(),
    });
    let part = |json: &serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()));
    (AccessTokens::bearer(verifier).cached(16).unwrap(), format!("{signed}.{signature}"))
}

/// A request as the connection layer hands it over.
fn request(token: &str, lease: &Lease) -> Request<()> {
    let remote: SocketAddr = "10.0.0.7:40000".parse().unwrap();
    let request = Request::get("/orders/42").header("authorization", format!("Bearer {token}"));
    // As many headers as fill the room that there is for them.
    let others = ["accept", "host", "user-agent", "traceparent", "te"];
    let request = others.iter().fold(request, |request, name| request.header(*name, "x"));
    let mut request = request.body(()).unwrap();
    request.extensions_mut().insert(peer());
    request.extensions_mut().insert(remote);
    request.extensions_mut().insert(lease.clone());
    request
}

/// What it takes `http` to hold one more extension, beside its box.
fn table(mut extensions: Extensions) -> u64 {
    let counted = measure(|| {
        extensions.insert(1_u64);
    });
    std::mem::forget(extensions);
    counted.count_total.saturating_sub(1)
}

#[test]
fn a_request_with_a_token_that_is_remembered_costs_two_allocations() {
    let (tokens, token) = tokens();
    let clock = ManualClock::at(NOW);
    let leases = Leases::new(clock.clone(), Duration::from_secs(3_600));
    let lease = leases.grant(|_: Timestamp| Ok(())).unwrap();
    let layer = ZeroTrust::builder()
        .tokens(tokens)
        .policy(Everyone("everyone".into()))
        .records(RecordQueue::builder().start(Nowhere).unwrap())
        .clock(clock)
        .build();
    let mut service = layer.layer(Served);
    let mut counts: Vec<u64> = Vec::new();
    for _ in 0..200 {
        let request = request(&token, &lease);
        let counted = measure(|| {
            let mut answer = pin!(service.call(request));
            let polled = answer.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            let Poll::Ready(Ok(response)) = polled else { panic!("the request waited") };
            assert_eq!(response.status(), 200);
        });
        counts.push(counted.count_total);
    }
    // The queue grows now and then, which is its own matter.
    let least = *counts.iter().min().unwrap();
    let ours = least.saturating_sub(table(request(&token, &lease).extensions().clone()));
    assert!(ours <= OURS, "{ours} allocations, {least} with those of http");
    let usual = counts.iter().skip(100).filter(|count| **count == least).count();
    assert!(usual >= 90, "{counts:?}");
}

/// The head of a request as a handler of axum finds it, with the route that was matched.
#[cfg(feature = "axum")]
fn matched() -> http::request::Parts {
    use std::sync::{Arc, Mutex};

    use axum::{Router, body::Body, extract::Request, routing::get};
    use tower::ServiceExt;

    let found = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&found);
    let keeping = move |request: Request| async move {
        *keep.lock().unwrap() = Some(request.into_parts().0);
    };
    let app = Router::new().route("/orders/{id}", get(keeping));
    let request = http::Request::get("/orders/42").body(Body::empty()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(app.oneshot(request)).unwrap();
    let parts = found.lock().unwrap().take();
    parts.unwrap()
}

/// The path as an attribute, its text and what holds it; a path alone only where it has more than 23
/// bytes.
#[cfg(feature = "axum")]
#[test]
fn to_judge_the_matched_route_costs_two_allocations_for_the_path_beside_it() {
    use zt_tower::authorize::{PathTargets, RouteTargets, Targets};
    use zt_tower::path::NormalPath;

    let parts = matched();
    let count = |targets: &dyn Targets, path: &str| {
        let path = NormalPath::parse(path).unwrap();
        let mut target = None;
        let counted = measure(|| target = Some(targets.target(&parts, &path).unwrap()));
        assert!(format!("{target:?}").contains("Route"));
        counted.count_total
    };
    for (path, alone) in [("/orders/42", 0), ("/orders/4242424242424242", 1)] {
        assert_eq!((count(&PathTargets, path), count(&RouteTargets, path)), (alone, 2), "{path}");
    }
}
