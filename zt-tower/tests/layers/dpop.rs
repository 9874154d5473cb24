//! Tokens that are bound to a key, through the whole layer.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Response;
use http::header::AUTHORIZATION;
use http::request::Builder;
use ring::digest::{SHA256, digest};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use zt_core::principal::User;
use zt_core::time::{ManualClock, Timestamp};
use zt_identity::algorithm::Algorithm;
use zt_identity::possession::dpop::DpopVerifier;
use zt_identity::possession::eventual::Eventual;
use zt_identity::possession::nonce::{DEFAULT_WINDOW, DpopNonces};
use zt_identity::possession::replay::{MemoryReplayStore, Replay, ReplayStore, ReplayStoreError};
use zt_identity::possession::target::PublicBase;
use zt_identity::unadmitted::ReplayId;
use zt_tower::AccessTokens;
use zt_tower::caller::Caller;
use zt_tower::dpop::DpopProofs;
use zt_tower::zero_trust::ZeroTrust;

use crate::access_tokens::{Issuer, claims};
use crate::support::{CART, Inner, NOW, Policy, Sink, clock, from, peer, send, told};

const ALGS: &str = "algs=\"RS256 EdDSA Ed25519\"";

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn sha256(text: &str) -> String {
    base64url(digest(&SHA256, text.as_bytes()))
}

/// A client with a key of its own.
pub(crate) struct Client(Ed25519KeyPair);

impl Client {
    pub(crate) fn new(seed: u8) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    fn x(&self) -> String {
        base64url(self.0.public_key())
    }

    pub(crate) fn cnf(&self) -> Value {
        let x = self.x();
        json!({ "jkt": sha256(&format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)) })
    }

    pub(crate) fn proof(&self, token: &str, changes: Value) -> String {
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": self.x() });
        let header = json!({ "typ": "dpop+jwt", "alg": "EdDSA", "jwk": jwk });
        let mut claims = json!({
            "jti": "1", "htm": "GET", "htu": "https://api.example.com/orders/42",
            "iat": NOW.as_secs(), "ath": sha256(token),
        });
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let part = |json: &Value| base64url(json.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = base64url(self.0.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

fn token(cnf: &Value) -> String {
    Issuer::new(1).sign(&claims(&json!({ "cnf": cnf })))
}

pub(crate) fn proofs(replay: Replay) -> DpopProofs {
    DpopProofs::new(PublicBase::parse("https://api.example.com").unwrap(), replay)
        .verified_by(DpopVerifier::default().with_algorithms(&[Algorithm::Rs256, Algorithm::EdDsa]))
}

fn route(proofs: DpopProofs, clock: &ManualClock) -> ZeroTrust {
    let tokens = AccessTokens::dpop_bound(Issuer::new(1).verifier(), proofs);
    ZeroTrust::builder()
        .tokens(tokens.cached(16).unwrap())
        .policy(Policy::default())
        .without_records()
        .clock(clock.clone())
        .build()
}

pub(crate) fn with(token: &str, proof: &str) -> Builder {
    from(CART).header(AUTHORIZATION, format!("DPoP {token}")).header("DPoP", proof)
}

fn challenge(error: &str) -> Option<String> {
    let error = if error.is_empty() { String::new() } else { format!(", error=\"{error}\"") };
    Some(format!("DPoP realm=\"zero-trust\", {ALGS}{error}"))
}

fn answer(response: &Response<String>) -> (u16, Option<String>) {
    let (status, challenge) = told(response);
    (status, challenge.map(str::to_owned))
}

#[tokio::test]
async fn the_holder_of_the_key_gets_in_once_with_each_proof() {
    let (client, inner) = (Client::new(7), Inner::default());
    let layer = route(proofs(Replay::in_memory(100)), &clock());
    let token = token(&client.cnf());
    let first = client.proof(&token, json!({}));
    assert_eq!(send(&layer, &inner, with(&token, &first)).await.status(), 200);
    let parts = inner.last();
    let caller = parts.extensions.get::<Caller>().unwrap();
    assert_eq!(caller.user().map(User::subject), Some("alice"));
    assert!(parts.headers["dpop"].is_sensitive());

    let replayed = send(&layer, &inner, with(&token, &first)).await;
    assert_eq!(answer(&replayed), (401, challenge("invalid_dpop_proof")));
    let next = client.proof(&token, json!({ "jti": "2" }));
    assert_eq!(send(&layer, &inner, with(&token, &next)).await.status(), 200);
    assert_eq!(inner.calls(), 2);
}

#[tokio::test]
async fn what_a_thief_of_the_token_could_send_is_refused_and_recorded() {
    let (client, thief, inner) = (Client::new(7), Client::new(8), Inner::default());
    let (sink, token) = (Sink::default(), token(&client.cnf()));
    let queue = sink.queue();
    let tokens =
        AccessTokens::dpop_bound(Issuer::new(1).verifier(), proofs(Replay::in_memory(100)));
    let layer = ZeroTrust::builder()
        .tokens(tokens)
        .policy(Policy::default())
        .records(queue.clone())
        .clock(clock())
        .build();
    let proof = |changes| client.proof(&token, changes);
    let requests = [
        (with(&token, &thief.proof(&token, json!({}))), "invalid_token", "proof_of_another_key"),
        (
            with(&token, &proof(json!({"htu": "https://api.example.com/orders/43"}))),
            "invalid_dpop_proof",
            "proof_of_another_url",
        ),
        (
            with(&token, &proof(json!({"htm": "POST"}))),
            "invalid_dpop_proof",
            "proof_of_another_method",
        ),
        (
            with(&token, &proof(json!({"iat": NOW.as_secs() - 61}))),
            "invalid_dpop_proof",
            "proof_too_old",
        ),
        (
            with(&token, &client.proof("another", json!({}))),
            "invalid_dpop_proof",
            "proof_of_another_token",
        ),
        (
            with(&token, &proof(json!({}))).header("DPoP", proof(json!({"jti": "2"}))),
            "invalid_dpop_proof",
            "two_proofs",
        ),
        (
            from(CART).header(AUTHORIZATION, format!("DPoP {token}")),
            "invalid_dpop_proof",
            "proof_missing",
        ),
        (with(&token, "a.b.c"), "invalid_dpop_proof", "proof_malformed"),
        (with("garbage", &proof(json!({}))), "invalid_token", "token_malformed"),
    ];
    let mut expected = Vec::new();
    for (request, error, reason) in requests {
        let response = send(&layer, &inner, request).await;
        assert_eq!(answer(&response), (401, challenge(error)), "{reason}");
        expected.push(reason);
    }
    assert_eq!(inner.calls(), 0);
    let reasons = sink.records(&queue);
    let reasons: Vec<_> = reasons.iter().map(|record| record["reason"].as_str()).collect();
    assert_eq!(reasons, expected.into_iter().map(Some).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_client_that_floods_the_store_locks_itself_out_and_nobody_else() {
    let (flooder, other, inner) = (Client::new(7), Client::new(8), Inner::default());
    let layer = route(proofs(Replay::in_memory(100)), &clock());
    let bound = token(&flooder.cnf());
    let mut served = 0;
    loop {
        let proof = flooder.proof(&bound, json!({ "jti": served.to_string() }));
        let response = send(&layer, &inner, with(&bound, &proof)).await;
        if response.status() != 200 {
            assert_eq!(answer(&response), (503, None));
            assert_eq!(response.headers()["retry-after"], "5");
            break;
        }
        served += 1;
    }
    assert!((30..50).contains(&served), "{served}");
    let bound = token(&other.cnf());
    let proof = other.proof(&bound, json!({}));
    assert_eq!(send(&layer, &inner, with(&bound, &proof)).await.status(), 200);
    assert_eq!(inner.calls(), served + 1);
}

#[tokio::test]
async fn a_bound_token_is_no_bearer_and_a_bearer_token_needs_no_proof_but_its_own_route() {
    let (client, inner) = (Client::new(7), Inner::default());
    let (bound, unbound) = (token(&client.cnf()), Issuer::new(1).sign(&claims(&json!({}))));
    let dpop = route(proofs(Replay::in_memory(100)), &clock());
    let proof = client.proof(&bound, json!({}));
    let as_bearer = |token: &str| from(CART).header(AUTHORIZATION, format!("Bearer {token}"));

    for request in
        [as_bearer(&bound), as_bearer(&bound).header("DPoP", &proof), as_bearer(&unbound)]
    {
        let response = send(&dpop, &inner, request).await;
        assert_eq!(answer(&response), (401, challenge("")));
    }
    let response = send(&dpop, &inner, from(CART)).await;
    assert_eq!(answer(&response), (401, challenge("")));
    let without_key = with(&unbound, &client.proof(&unbound, json!({})));
    let response = send(&dpop, &inner, without_key).await;
    assert_eq!(answer(&response), (401, challenge("invalid_token")));

    let bearer = ZeroTrust::builder()
        .tokens(AccessTokens::bearer(Issuer::new(1).verifier()))
        .policy(Policy::default())
        .without_records()
        .clock(clock())
        .build();
    let bearer_challenge = |error: &str| Some(format!("Bearer realm=\"zero-trust\"{error}"));
    let response = send(&bearer, &inner, as_bearer(&bound).header("DPoP", &proof)).await;
    assert_eq!(answer(&response), (401, bearer_challenge(", error=\"invalid_token\"")));
    let response = send(&bearer, &inner, with(&bound, &proof)).await;
    assert_eq!(answer(&response), (401, bearer_challenge("")));
    assert_eq!(inner.calls(), 0);
}

#[tokio::test]
async fn two_credentials_are_told_so_under_the_scheme_of_the_route() {
    let (client, inner) = (Client::new(7), Inner::default());
    let layer = route(proofs(Replay::in_memory(100)), &clock());
    let token = token(&client.cnf());
    let request = with(&token, &client.proof(&token, json!({})));
    let response = send(&layer, &inner, request.header(AUTHORIZATION, "Bearer x")).await;
    assert_eq!(answer(&response), (400, challenge("invalid_request")));
}

#[tokio::test]
async fn a_token_that_names_a_certificate_too_needs_both() {
    let (client, inner) = (Client::new(7), Inner::default());
    let layer = route(proofs(Replay::in_memory(100)), &clock());
    for (certificate, status) in [(peer(CART).leaf().to_vec(), 200), (b"another".to_vec(), 401)] {
        let mut cnf = client.cnf();
        cnf["x5t#S256"] = base64url(digest(&SHA256, &certificate)).into();
        let token = token(&cnf);
        let proof = client.proof(&token, json!({ "jti": status.to_string() }));
        assert_eq!(send(&layer, &inner, with(&token, &proof)).await.status(), status);
    }
}

#[tokio::test]
async fn the_url_is_the_configured_one_whatever_headers_say() {
    let (client, inner) = (Client::new(7), Inner::default());
    let layer = route(proofs(Replay::in_memory(100)), &clock());
    let token = token(&client.cnf());
    let evil = client.proof(&token, json!({ "htu": "https://evil.example.com/orders/42" }));
    let request = with(&token, &evil)
        .header("Host", "evil.example.com")
        .header("X-Forwarded-Host", "evil.example.com")
        .header("Forwarded", "host=evil.example.com;proto=https");
    let response = send(&layer, &inner, request).await;
    assert_eq!(answer(&response), (401, challenge("invalid_dpop_proof")));
    let good =
        client.proof(&token, json!({ "htu": "HTTPS://API.example.com:443/./orders/%34%32" }));
    let request = with(&token, &good).header("X-Forwarded-Host", "evil.example.com");
    assert_eq!(send(&layer, &inner, request).await.status(), 200);
}

#[tokio::test]
async fn a_nonce_is_asked_for_and_rotates_without_a_round_trip() {
    let (client, inner, clock) = (Client::new(7), Inner::default(), clock());
    let nonces = DpopNonces::random().unwrap();
    let verifier = DpopVerifier::default()
        .with_algorithms(&[Algorithm::Rs256, Algorithm::EdDsa])
        .with_window(Duration::from_secs(300))
        .with_nonces(nonces);
    let layer = route(proofs(Replay::in_memory(100)).verified_by(verifier), &clock);
    let token = token(&client.cnf());
    let proof = |changes| with(&token, &client.proof(&token, changes));

    let response = send(&layer, &inner, proof(json!({ "jti": "1" }))).await;
    assert_eq!(answer(&response), (401, challenge("use_dpop_nonce")));
    assert_eq!(response.headers()["cache-control"], "no-store");
    let nonce = response.headers()["dpop-nonce"].to_str().unwrap().to_owned();

    let response = send(&layer, &inner, proof(json!({ "jti": "2", "nonce": nonce }))).await;
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("dpop-nonce"));

    clock.advance(DEFAULT_WINDOW);
    let response = send(&layer, &inner, proof(json!({ "jti": "3", "nonce": nonce }))).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["cache-control"], "no-store");
    let next = response.headers()["dpop-nonce"].to_str().unwrap().to_owned();
    assert_ne!(next, nonce);

    clock.advance(DEFAULT_WINDOW);
    let response = send(&layer, &inner, proof(json!({ "jti": "4", "nonce": nonce }))).await;
    assert_eq!(answer(&response), (401, challenge("use_dpop_nonce")));
    let response = send(&layer, &inner, proof(json!({ "jti": "5", "nonce": next }))).await;
    assert_eq!(response.status(), 200);
}

/// A store that is asked over something: it answers late, or not at all.
#[derive(Debug)]
struct Remote {
    store: Arc<MemoryReplayStore>,
    is_down: bool,
}

impl ReplayStore for Remote {
    fn insert_if_absent(
        &self,
        id: &ReplayId,
        until: Timestamp,
        now: Timestamp,
    ) -> Eventual<Result<bool, ReplayStoreError>> {
        let (store, id, is_down) = (Arc::clone(&self.store), *id, self.is_down);
        Eventual::pending(async move {
            tokio::task::yield_now().await;
            if is_down {
                return Err(ReplayStoreError::Unavailable { reason: "down".into() });
            }
            store.insert_if_absent(&id, until, now).await
        })
    }

    fn contains(&self, id: &ReplayId, now: Timestamp) -> Eventual<Result<bool, ReplayStoreError>> {
        self.store.contains(id, now)
    }

    fn remove(&self, id: &ReplayId) -> Eventual<Result<(), ReplayStoreError>> {
        self.store.remove(id)
    }
}

#[tokio::test]
async fn a_store_behind_a_network_is_awaited_and_the_answer_is_the_same() {
    let (client, inner) = (Client::new(7), Inner::default());
    let remote =
        |is_down| Replay::new(Remote { store: Arc::new(MemoryReplayStore::new(100)), is_down });
    let token = token(&client.cnf());
    let proof = client.proof(&token, json!({}));

    let layer = route(proofs(remote(false)), &clock());
    let response = send(&layer, &inner, with(&token, &proof)).await;
    assert_eq!((response.status().as_u16(), response.body().as_str()), (200, "served"));
    let replayed = send(&layer, &inner, with(&token, &proof)).await;
    assert_eq!(answer(&replayed), (401, challenge("invalid_dpop_proof")));

    let down = route(proofs(remote(true)), &clock());
    let response = send(&down, &inner, with(&token, &proof)).await;
    assert_eq!(answer(&response), (503, None));
    assert_eq!(response.headers()["retry-after"], "5");
    let full = route(proofs(Replay::in_memory(0)), &clock());
    assert_eq!(send(&full, &inner, with(&token, &proof)).await.status(), 503);
    assert_eq!(inner.calls(), 1);
}

#[tokio::test]
async fn behind_a_nest_of_axum_the_url_is_the_whole_one() {
    use axum::{Router, body::Body, routing::get};
    use tower::ServiceExt;
    let client = Client::new(7);
    let layer = route(proofs(Replay::in_memory(100)), &clock());
    let inner = Router::new().route("/42", get(|| async { "served" })).layer(layer);
    let app = Router::new().nest("/orders", inner);
    let token = token(&client.cnf());
    for (url, status) in
        [("https://api.example.com/orders/42", 200), ("https://api.example.com/42", 401)]
    {
        let proof = client.proof(&token, json!({ "htu": url, "jti": url }));
        let request = with(&token, &proof).body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{url}");
    }
}
