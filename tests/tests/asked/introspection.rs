//! Tokens that an issuer is asked about.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use zt_core::fault::Fault;
use zt_core::lease::{Ended, Support};
use zt_core::secret::Secret;
use zt_core::time::Timestamp;
use zt_identity::oidc::client_authentication::ClientAuthentication;
use zt_identity::oidc::fetch::{FetchError, MAX_LEN};
use zt_identity::oidc::introspection::{
    IntrospectionError, IntrospectionVerifier, IntrospectionVerifierBuilder,
};
use zt_identity::possession::binding::{Binding, BindingError};
use zt_identity::possession::revocations::{
    MemoryRevocations, Revocation, Revocations, Revoke, TokenNames, TokenStanding,
};
use zt_identity::signing_key::SigningKey;

use crate::server::{NOW, Reply, SHORT, Server, at, bytes, json, reply, run};

const ISSUER: &str = "https://login.example.com";

fn secret() -> ClientAuthentication {
    let secret = Secret::new("s3cret/+".to_owned());
    ClientAuthentication::client_secret_basic("orders", secret).unwrap()
}

fn builder(server: &Server) -> IntrospectionVerifierBuilder {
    IntrospectionVerifier::builder(ISSUER)
        .unwrap()
        .endpoint(&format!("{}/introspect", server.url))
        .client(secret())
        .audience("orders")
        .transport(server.transport())
}

fn active(subject: &str) -> Value {
    json!({
        "active": true, "token_type": "Bearer", "iss": ISSUER, "aud": "orders", "sub": subject,
        "client_id": "shop", "jti": subject, "iat": NOW.as_secs(), "exp": NOW.as_secs() + 600,
    })
}

/// Vouches for tokens that are the names of users.
async fn users() -> Server {
    Server::start(|asked| match asked.field("token").unwrap() {
        name @ ("alice" | "bob" | "carol") => json(active(name)),
        _ => json(json!({ "active": false })),
    })
    .await
}

async fn refusal(server: &Server) -> IntrospectionError {
    let transport = server.transport().timeout(SHORT);
    let tokens = builder(server).transport(transport).build().unwrap();
    tokens.verify("alice", NOW).await.unwrap_err()
}

#[test]
fn the_endpoint_is_asked_as_the_standard_says_by_a_client_that_it_knows() {
    run(async {
        let server = users().await;
        let token = builder(&server).build().unwrap().verify("alice", NOW).await.unwrap();
        assert_eq!(token.subject(), "alice");
        let [asked] = server.asked().try_into().unwrap();
        assert!(asked.head.starts_with("POST /introspect HTTP/1.1\r\n"), "{}", asked.head);
        assert_eq!(asked.field("token_type_hint"), Some("access_token"));
        assert_eq!(asked.header("accept"), Some("application/json"));
        // `orders:s3cret%2F%2B`
        assert_eq!(asked.header("authorization"), Some("Basic b3JkZXJzOnMzY3JldCUyRiUyQg=="));

        let key = SigningKey::generate().unwrap();
        let client = ClientAuthentication::private_key_jwt("orders", key, Some("k1")).unwrap();
        let tokens = builder(&server).client(client).build().unwrap();
        assert!(tokens.verify("bob", NOW).await.is_ok());
        let asked = server.asked().pop().unwrap();
        assert_eq!(asked.header("authorization"), None);
        assert_eq!(asked.field("client_id"), Some("orders"));
        assert_eq!(asked.field("client_assertion").unwrap().split('.').count(), 3);
    });
}

#[test]
fn many_requests_with_few_tokens_are_one_question_about_each() {
    run(async {
        let server = Server::start(|asked| {
            let name = asked.field("token").unwrap();
            let body = if name == "mallory" { json!({ "active": false }) } else { active(name) };
            let head = "Content-Type: application/json\r\n";
            // The later ones are answered first.
            let delay = if name == "alice" { 300 } else { 20 };
            Reply::Late(Duration::from_millis(delay), bytes("200 OK", head, &body.to_string()))
        })
        .await;
        let tokens = builder(&server).build().unwrap();
        let names = ["alice", "bob", "carol", "mallory"];
        let asked: Vec<_> = (0..100)
            .map(|n| {
                let (tokens, name) = (tokens.clone(), names[n % 4]);
                tokio::spawn(async move { (name, tokens.verify(name, NOW).await) })
            })
            .collect();
        for asked in asked {
            match asked.await.unwrap() {
                (name, Ok(token)) => assert_eq!((token.subject(), token.id()), (name, Some(name))),
                (name, Err(error)) => {
                    assert_eq!((name, error.reason()), ("mallory", "token_not_active"));
                }
            }
        }
        assert_eq!(server.asked().len(), 4);
    });
}

#[test]
fn who_hangs_up_leaves_the_answer_to_the_others() {
    run(async {
        let server = Server::start(|_| {
            let body = active("alice").to_string();
            let head = "Content-Type: application/json\r\n";
            Reply::Late(Duration::from_millis(200), bytes("200 OK", head, &body))
        })
        .await;
        let tokens = builder(&server).build().unwrap();
        let first = tokio::spawn({
            let tokens = tokens.clone();
            async move { tokens.verify("alice", NOW).await }
        });
        while server.asked().is_empty() {
            tokio::task::yield_now().await;
        }
        first.abort();
        assert_eq!(tokens.verify("alice", NOW).await.unwrap().subject(), "alice");
        assert_eq!(server.asked().len(), 1);
    });
}

#[test]
fn an_endpoint_that_does_not_answer_as_one_lets_nobody_in_and_is_asked_again() {
    run(async {
        let good = active("alice").to_string();
        let server = Server::start(|_| Reply::Silence).await;
        let elsewhere = users().await;
        let long = format!(r#"{{"active":true,"padding":"{}"}}"#, "a".repeat(MAX_LEN));
        let html = bytes("200 OK", "Content-Type: text/html\r\n", &good);
        let location = format!("Location: {}/introspect\r\n", elsewhere.url);
        for (what, reply) in [
            ("silence", Reply::Silence),
            ("slow", Reply::Trickle(bytes("200 OK", "Content-Type: application/json\r\n", &good))),
            ("hangs up", Reply::Bytes(Vec::new())),
            ("half", Reply::Bytes(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{".to_vec())),
            ("client unknown", reply("401 Unauthorized", "WWW-Authenticate: Basic\r\n", &good)),
            ("error", reply("500 Oops", "", &good)),
            ("too many", reply("429 Too Many Requests", "", &good)),
            ("created", reply("201 Created", "", &good)),
            ("redirect", reply("302 Found", &location, "")),
            ("redirect that keeps the form", reply("307 Temporary Redirect", &location, "")),
            ("another type", Reply::Bytes(html)),
            ("long", json(&long)),
            ("none", json("")),
        ] {
            server.set(move |_| reply.clone());
            let begun = Instant::now();
            let refused = refusal(&server).await;
            assert_eq!(refused.fault(), Fault::Authority, "{what}: {refused:?}");
            assert!(refused.reason().starts_with("introspection_"), "{what}");
            assert!(begun.elapsed() < SHORT + Duration::from_secs(20), "{what}");
        }
        assert!(elsewhere.asked().is_empty());
        server.set(move |_| json(&good));
        let tokens = builder(&server).build().unwrap();
        assert!(tokens.verify("alice", NOW).await.is_ok());
    });
}

#[test]
fn nothing_is_told_to_an_endpoint_that_does_not_prove_its_name() {
    run(async {
        let (server, other) = (users().await, users().await);
        let tokens = builder(&server).transport(other.transport()).build().unwrap();
        let refused = tokens.verify("alice", NOW).await.unwrap_err();
        assert!(
            matches!(refused, IntrospectionError::Unanswered(FetchError::Unreachable(_))),
            "{refused:?}"
        );
        assert!(server.asked().is_empty());
    });
}

#[test]
fn while_the_endpoint_is_down_what_is_remembered_counts_for_its_time_and_nothing_else() {
    run(async {
        let server = users().await;
        let tokens = builder(&server)
            .transport(server.transport().timeout(SHORT))
            .max_age(Duration::from_secs(30))
            .build()
            .unwrap();
        assert!(tokens.verify("alice", NOW).await.is_ok());
        server.set(|_| reply("503 Service Unavailable", "", ""));
        assert!(tokens.verify("alice", at(29)).await.is_ok());
        assert_eq!(tokens.verify("bob", NOW).await.unwrap_err().fault(), Fault::Authority);
        assert_eq!(tokens.verify("alice", at(30)).await.unwrap_err().fault(), Fault::Authority);
        server.set(|_| json(json!({ "active": false })));
        assert_eq!(tokens.verify("alice", at(30)).await.unwrap_err().reason(), "token_not_active");
    });
}

#[test]
fn a_flood_of_tokens_that_nobody_gave_out_is_bounded_and_leaves_remembered_ones_alone() {
    run(async {
        let server = users().await;
        let tokens = builder(&server).transport(server.transport().timeout(SHORT)).build().unwrap();
        assert!(tokens.verify("alice", NOW).await.is_ok());
        server.set(|_| Reply::Silence);
        let begun = Instant::now();
        let flood: Vec<_> = (0..3000)
            .map(|n| {
                let tokens = tokens.clone();
                tokio::spawn(async move { tokens.verify(&format!("flood-{n}"), NOW).await })
            })
            .collect();
        let mut busy = 0;
        assert!(tokens.verify("alice", NOW).await.is_ok());
        for asked in flood {
            let refused = asked.await.unwrap().unwrap_err();
            assert_eq!(refused.fault(), Fault::Authority);
            busy += usize::from(refused.reason() == "introspection_busy");
        }
        assert!(busy > 0);
        assert!(begun.elapsed() < Duration::from_secs(30));
        assert!(server.asked().len() <= 40, "{}", server.asked().len());
        assert!(tokens.verify("alice", NOW).await.is_ok());
    });
}

#[test]
fn a_revocation_counts_at_once_however_long_the_verdict_is_remembered() {
    run(async {
        let server = users().await;
        let tokens = builder(&server).build().unwrap();
        let revocations = Arc::new(MemoryRevocations::new(100));
        let check = |token: &zt_identity::oidc::access_token::AccessToken, now: Timestamp| {
            revocations.check(&TokenNames::from(token), now)
        };
        let alice = tokens.verify("alice", NOW).await.unwrap();
        let bob = tokens.verify("bob", NOW).await.unwrap();
        assert!(check(&alice, NOW).is_ok());
        let standing = TokenStanding::new(alice, revocations.clone());
        assert!(standing.check(NOW).is_ok());

        revocations.revoke(&[Revocation::of_token(ISSUER, "alice")], NOW).await.unwrap();
        let remembered = tokens.verify("alice", at(1)).await.unwrap();
        assert_eq!(server.asked().len(), 2);
        assert!(check(&remembered, at(1)).is_err());
        assert_eq!(Support::check(&standing, at(1)), Err(Ended::Token));
        assert!(check(&bob, at(1)).is_ok());
    });
}

#[test]
fn a_bound_token_is_nobodys_without_what_it_is_bound_to() {
    run(async {
        let server = Server::start(|asked| {
            let mut answer = active("alice");
            let method = asked.field("token").unwrap();
            answer["cnf"] = json!({ method: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" });
            json(answer)
        })
        .await;
        let tokens = builder(&server).build().unwrap();
        for method in ["x5t#S256", "jkt"] {
            let token = tokens.verify(method, NOW).await.unwrap();
            assert_eq!(Binding::bearer().user(&token), Err(BindingError::Bound));
        }
    });
}

#[test]
fn no_error_shows_a_token_or_the_secret() {
    run(async {
        let server = Server::start(|asked| json(asked.field("token").unwrap())).await;
        let tokens = builder(&server).build().unwrap();
        let refused = tokens.verify("t0ken", NOW).await.unwrap_err();
        let shown = format!("{tokens:?} {refused:?} {refused}");
        assert!(!shown.contains("t0ken") && !shown.contains("s3cret"), "{shown}");
    });
}
