//! Tokens that say nothing by themselves, through the whole layer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use serde_json::{Value, json};
use zt_core::secret::Secret;
use zt_core::time::ManualClock;
use zt_identity::oidc::client_authentication::ClientAuthentication;
use zt_identity::oidc::fetch::{ClientAnswer, HttpClient};
use zt_identity::oidc::introspection::IntrospectionVerifier;
use zt_identity::oidc::transport::Transport;
use zt_identity::outgoing::UserToken;
use zt_identity::possession::replay::Replay;
use zt_identity::possession::revocations::{MemoryRevocations, Revocation, Revoke};
use zt_tower::AccessTokens;
use zt_tower::zero_trust::ZeroTrust;

use crate::access_tokens::{ISSUER, bound, bound_to_another, claims};
use crate::dpop::{self, Client};
use crate::support::{CART, Inner, NOW, Policy, Sink, clock, from, send, told};

/// An issuer that knows these tokens, and whatever else it is told to be.
#[derive(Clone, Debug, Default)]
struct Server {
    answers: Arc<Mutex<HashMap<String, Value>>>,
    status: Arc<Mutex<Option<u16>>>,
    asked: Arc<AtomicUsize>,
}

impl HttpClient for Server {
    fn send(&self, request: Request<Bytes>) -> ClientAnswer<'_> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let form = String::from_utf8(request.body().to_vec()).unwrap();
        let token = form.strip_prefix("token=").unwrap().split('&').next().unwrap().to_owned();
        Box::pin(async move {
            tokio::task::yield_now().await;
            let status = self.status.lock().unwrap().unwrap_or(200);
            let answer = self.answers.lock().unwrap().get(&token).cloned();
            let answer = answer.unwrap_or_else(|| json!({ "active": false }));
            let response = Response::builder().status(status);
            let response = response.header("content-type", "application/json");
            Ok(response.body(answer.to_string().into()).unwrap())
        })
    }
}

impl Server {
    fn with(self, token: &str, claims: &Value) -> Self {
        let mut answer = claims.clone();
        answer["active"] = json!(true);
        answer["token_type"] = json!("Bearer");
        self.answers.lock().unwrap().insert(token.to_owned(), answer);
        self
    }

    fn tokens(&self) -> IntrospectionVerifier {
        let secret = Secret::new("secret".to_owned());
        IntrospectionVerifier::builder(ISSUER)
            .unwrap()
            .endpoint("https://login.example.com/introspect")
            .client(ClientAuthentication::client_secret_basic("orders", secret).unwrap())
            .audience("orders")
            .transport(Transport::default().client(self.clone()))
            .build()
            .unwrap()
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn layer(tokens: AccessTokens, clock: &ManualClock) -> ZeroTrust {
    ZeroTrust::builder()
        .tokens(tokens)
        .policy(Policy::default())
        .without_records()
        .clock(clock.clone())
        .build()
}

async fn status(layer: &ZeroTrust, inner: &Inner, token: &str) -> u16 {
    let request = from(CART).header(AUTHORIZATION, format!("Bearer {token}"));
    send(layer, inner, request).await.status().as_u16()
}

#[tokio::test]
async fn who_sends_an_opaque_token_gets_in_and_its_issuer_is_asked_once() {
    let server = Server::default().with("alice", &claims(&json!({})));
    let (clock, inner) = (clock(), Inner::default());
    let layer = layer(AccessTokens::bearer(server.tokens()), &clock);
    for _ in 0..5 {
        assert_eq!(status(&layer, &inner, "alice").await, 200);
    }
    assert_eq!((inner.calls(), server.asked()), (5, 1));
    clock.advance(Duration::from_secs(60));
    assert_eq!(status(&layer, &inner, "alice").await, 200);
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn what_is_refused_is_401_and_what_nobody_can_tell_is_503() {
    let other = json!({ "aud": "bills" });
    let server = Server::default().with("alice", &claims(&json!({}))).with("bob", &claims(&other));
    let (sink, inner) = (Sink::default(), Inner::default());
    let queue = sink.queue();
    let layer = ZeroTrust::builder()
        .tokens(AccessTokens::bearer(server.tokens()))
        .policy(Policy::default())
        .records(queue.clone())
        .clock(clock())
        .build();
    let ask = async |token: &str| {
        let request = from(CART).header(AUTHORIZATION, format!("Bearer {token}"));
        let response = send(&layer, &inner, request).await;
        let (status, challenge) = told(&response);
        (status, challenge.is_some(), response.headers().contains_key("retry-after"))
    };
    assert_eq!(ask("mallory").await, (401, true, false));
    assert_eq!(ask("bob").await, (401, true, false));
    *server.status.lock().unwrap() = Some(500);
    assert_eq!(ask("alice").await, (503, false, true));
    *server.status.lock().unwrap() = Some(401);
    assert_eq!(ask("alice").await, (503, false, true));
    *server.status.lock().unwrap() = None;
    assert_eq!(ask("alice").await, (200, false, false));
    assert_eq!(inner.calls(), 1);
    let mut reasons = sink.records(&queue);
    reasons.retain(|record| record["event"] == "refusal");
    let reasons: Vec<_> = reasons.iter().map(|record| record["reason"].as_str()).collect();
    let unavailable = Some("introspection_unavailable");
    let expected =
        [Some("token_not_active"), Some("token_of_another_audience"), unavailable, unavailable];
    assert_eq!(reasons, expected);
}

#[tokio::test]
async fn an_opaque_token_that_is_bound_to_a_certificate_is_nobodys_over_another() {
    let server = Server::default()
        .with("bound", &bound())
        .with("other", &bound_to_another())
        .with("unbound", &claims(&json!({})));
    let (clock, inner) = (clock(), Inner::default());
    let demanded = layer(AccessTokens::certificate_bound(server.tokens()), &clock);
    let believed = layer(AccessTokens::bearer(server.tokens()), &clock);
    // Asked about, and remembered.
    for _ in 0..2 {
        assert_eq!(status(&demanded, &inner, "bound").await, 200);
        assert_eq!(status(&demanded, &inner, "other").await, 401);
        assert_eq!(status(&demanded, &inner, "unbound").await, 401);
        assert_eq!(status(&believed, &inner, "bound").await, 401);
        assert_eq!(status(&believed, &inner, "unbound").await, 200);
    }
}

#[tokio::test]
async fn an_opaque_token_that_is_bound_to_a_key_needs_a_proof_of_its_own_with_each_request() {
    let (client, thief) = (Client::new(7), Client::new(8));
    let claims = claims(&json!({ "cnf": client.cnf() }));
    let server = Server::default().with("opaque", &claims).with("another", &claims);
    let (clock, inner) = (clock(), Inner::default());
    let proofs = dpop::proofs(Replay::in_memory(100));
    let layer = layer(AccessTokens::dpop_bound(server.tokens(), proofs), &clock);
    let ask = async |token: &str, proof: &str| {
        send(&layer, &inner, dpop::with(token, proof)).await.status().as_u16()
    };
    let proof = client.proof("opaque", json!({ "jti": "a" }));
    // The first waits for the issuer, the second does not.
    assert_eq!(ask("opaque", &proof).await, 200);
    assert_eq!(ask("opaque", &proof).await, 401);
    assert_eq!(ask("opaque", &client.proof("opaque", json!({ "jti": "b" }))).await, 200);
    assert_eq!(ask("opaque", &thief.proof("opaque", json!({ "jti": "c" }))).await, 401);
    assert_eq!(ask("another", &client.proof("opaque", json!({ "jti": "d" }))).await, 401);
    let bearer = from(CART).header(AUTHORIZATION, "Bearer opaque");
    assert_eq!(send(&layer, &inner, bearer).await.status(), 401);
    let two = dpop::with("opaque", &client.proof("opaque", json!({ "jti": "e" })));
    let two = two.header("DPoP", client.proof("opaque", json!({ "jti": "f" })));
    assert_eq!(send(&layer, &inner, two).await.status(), 401);
    assert_eq!((inner.calls(), server.asked()), (2, 2));
}

#[tokio::test]
async fn what_is_remembered_of_an_opaque_token_does_not_outlive_a_revocation() {
    let server = Server::default().with("alice", &claims(&json!({})));
    let revocations = Arc::new(MemoryRevocations::new(100));
    let tokens = AccessTokens::bearer(server.tokens()).revoked_by(Arc::clone(&revocations));
    let (clock, inner) = (clock(), Inner::default());
    let layer = layer(tokens, &clock);
    assert_eq!(status(&layer, &inner, "alice").await, 200);
    revocations.revoke(&[Revocation::of_token(ISSUER, "1")], NOW).await.unwrap();
    assert_eq!(status(&layer, &inner, "alice").await, 401);
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn a_handler_finds_the_token_for_its_own_requests_only_where_that_is_said() {
    let server = Server::default().with("alice", &claims(&json!({})));
    let (clock, inner) = (clock(), Inner::default());
    let kept = layer(AccessTokens::bearer(server.tokens()).kept_for_requests(), &clock);
    // Asked about, and remembered.
    for _ in 0..2 {
        assert_eq!(status(&kept, &inner, "alice").await, 200);
        let user = inner.last().extensions.get::<UserToken>().cloned().unwrap();
        assert_eq!(user.token().subject(), "alice");
        assert!(!format!("{user:?}").contains("Bearer"));
        let forgotten = layer(AccessTokens::bearer(server.tokens()), &clock);
        let request = from(CART).header(AUTHORIZATION, "Bearer alice").extension(user);
        assert_eq!(send(&forgotten, &inner, request).await.status(), 200);
        assert!(inner.last().extensions.get::<UserToken>().is_none());
    }
}
