//! Tokens that are asked for, for requests of our own.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use tokio::time::Instant;
use zt_core::fault::Fault;
use zt_core::secret::Secret;
use zt_identity::authority::Issuer;
use zt_identity::json::Object;
use zt_identity::jwk;
use zt_identity::oidc::access_token::AccessTokenVerifier;
use zt_identity::oidc::client_authentication::ClientAuthentication;
use zt_identity::outgoing::{
    Answered, Destination, OutgoingError, OutgoingRequest, OutgoingTokens, OutgoingTokensBuilder,
    UserToken,
};
use zt_identity::possession::binding::Binding;
use zt_identity::possession::dpop::{DpopVerifier, ProvenRequest};
use zt_identity::possession::nonce::DpopNonces;
use zt_identity::possession::replay::Replay;
use zt_identity::possession::target::PublicBase;
use zt_tests::issuer::base64url;

use crate::server::{Asked, NOW, Reply, SHORT, Server, at, bytes, json, reply, run};

const ISSUER: &str = "https://login.example.com";
const STOCK: &str = "https://stock.example.com";
const BILLING: &str = "https://billing.example.com";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

fn builder(server: &Server) -> OutgoingTokensBuilder {
    let secret = Secret::new("s3cret".to_owned());
    OutgoingTokens::builder(ISSUER)
        .unwrap()
        .token_endpoint(&format!("{}/token", server.url))
        .client(ClientAuthentication::client_secret_basic("orders", secret).unwrap())
        .transport(server.transport())
}

fn stock() -> Destination {
    Destination::of_service(STOCK).unwrap().audience("stock")
}

fn billing() -> Destination {
    Destination::of_user(BILLING).unwrap().audience("billing")
}

fn granted(token: &str, kind: &str) -> Value {
    json!({
        "access_token": token, "token_type": kind, "expires_in": 600,
        "issued_token_type": ACCESS_TOKEN,
    })
}

fn user(issuer: &Issuer, name: &str) -> UserToken {
    let text = issuer.mint(json!({ "sub": name, "aud": "orders" })).unwrap();
    let verifier = AccessTokenVerifier::for_issuer(issuer.url().clone())
        .audience("orders")
        .keys(issuer.keys().unwrap())
        .build()
        .unwrap();
    UserToken::new(&text, verifier.verify(&text, NOW).unwrap())
}

type Headers = Vec<(HeaderName, HeaderValue)>;

async fn headers(
    tokens: &OutgoingTokens,
    url: &str,
    user: Option<&UserToken>,
) -> Result<Headers, OutgoingError> {
    let (method, uri) = (Method::POST, url.parse::<Uri>().unwrap());
    let request = OutgoingRequest::new(&method, &uri);
    tokens.headers(&user.map_or(request, |user| request.for_user(user)), NOW).await
}

fn value<'h>(headers: &'h Headers, name: &str) -> &'h str {
    let (_, value) = headers.iter().find(|(found, _)| found == name).unwrap();
    assert!(value.is_sensitive());
    value.to_str().unwrap()
}

async fn refusal(server: &Server, destination: Destination) -> OutgoingError {
    let transport = server.transport().timeout(SHORT);
    let tokens = builder(server).transport(transport).destination(destination).build().unwrap();
    headers(&tokens, STOCK, None).await.unwrap_err()
}

#[test]
fn a_service_gets_a_token_by_its_own_credentials() {
    run(async {
        let server = Server::start(|_| json(granted("t1", "Bearer"))).await;
        let tokens = builder(&server).destination(stock()).build().unwrap();
        let sent = headers(&tokens, &format!("{STOCK}/items"), None).await.unwrap();
        assert_eq!(value(&sent, "authorization"), "Bearer t1");
        assert_eq!(sent.len(), 1);
        let [asked] = server.asked().try_into().unwrap();
        assert!(asked.head.starts_with("POST /token HTTP/1.1\r\n"), "{}", asked.head);
        // `orders:s3cret`
        assert_eq!(asked.header("authorization"), Some("Basic b3JkZXJzOnMzY3JldA=="));
        assert_eq!(asked.header("dpop"), None);
        assert_eq!(asked.field("grant_type"), Some("client_credentials"));
        assert_eq!(asked.field("audience"), Some("stock"));
    });
}

/// Exchanges the token of a user for one of its own, which says whose it is.
fn exchange(asked: &Asked) -> Reply {
    let subject = asked.field("subject_token").unwrap();
    let token =
        format!("for-{}-of-{}", asked.field("audience").unwrap(), base64url(subject.as_bytes()));
    let body = granted(&token, "Bearer").to_string();
    let head = "Content-Type: application/json\r\n";
    Reply::Late(Duration::from_millis(50), bytes("200 OK", head, &body))
}

#[test]
fn each_user_has_a_token_of_its_own_for_each_audience_and_each_is_asked_for_once() {
    run(async {
        let issuer = Issuer::new(ISSUER, NOW).unwrap();
        let server = Server::start(exchange).await;
        let ledger = Destination::of_user("https://ledger.example.com").unwrap().audience("ledger");
        let tokens = builder(&server).destination(billing()).destination(ledger).build().unwrap();
        let users = ["alice", "bob", "carol"].map(|name| user(&issuer, name));
        let texts: Vec<_> = users.iter().map(|user| user.token().subject().to_owned()).collect();
        assert_eq!(texts, ["alice", "bob", "carol"]);
        let asked: Vec<_> = (0..90)
            .map(|n| {
                let (tokens, user) = (tokens.clone(), users[n % 3].clone());
                let audience = if n % 2 == 0 { "billing" } else { "ledger" };
                tokio::spawn(async move {
                    let url = format!("https://{audience}.example.com/");
                    let sent = headers(&tokens, &url, Some(&user)).await.unwrap();
                    (n % 3, audience, value(&sent, "authorization").to_owned())
                })
            })
            .collect();
        let mut seen = std::collections::BTreeSet::new();
        for asked in asked {
            let (user, audience, sent) = asked.await.unwrap();
            assert!(sent.starts_with(&format!("Bearer for-{audience}-of-")), "{sent}");
            seen.insert((user, audience, sent));
        }
        // Three users, two audiences, and no token that two of them share.
        assert_eq!(seen.len(), 6);
        let different: std::collections::BTreeSet<_> = seen.iter().map(|(.., sent)| sent).collect();
        assert_eq!((different.len(), server.asked().len()), (6, 6));
    });
}

#[test]
fn no_token_goes_where_it_was_not_named_and_the_users_own_goes_to_the_endpoint_alone() {
    run(async {
        let issuer = Issuer::new(ISSUER, NOW).unwrap();
        let server = Server::start(exchange).await;
        let tokens = builder(&server).destination(billing()).build().unwrap();
        let alice = user(&issuer, "alice");
        for url in [STOCK, "https://billing.example.com:8443", "http://billing.example.com"] {
            let refused = headers(&tokens, url, Some(&alice)).await.unwrap_err();
            assert!(matches!(refused, OutgoingError::NotADestination { .. }), "{url}");
        }
        assert!(server.asked().is_empty());
        let sent = headers(&tokens, BILLING, Some(&alice)).await.unwrap();
        let subject = server.asked()[0].field("subject_token").unwrap().to_owned();
        assert!(!value(&sent, "authorization").contains(&subject));
    });
}

/// The claims of a proof, and the thumbprint of its key, as `jsonwebtoken` finds them.
fn proof(asked: &Asked) -> (Value, String) {
    let proof = asked.header("dpop").unwrap();
    let header = jsonwebtoken::decode_header(proof).unwrap();
    assert_eq!(header.typ.as_deref(), Some("dpop+jwt"));
    let key = header.jwk.unwrap();
    let mut validation = Validation::new(Algorithm::ES256);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    let claims = jsonwebtoken::decode(proof, &DecodingKey::from_jwk(&key).unwrap(), &validation);
    let key = serde_json::to_string(&key).unwrap();
    let thumbprint = jwk::thumbprint(&Object::parse(key.as_bytes()).unwrap()).unwrap();
    (claims.unwrap().claims, base64url(&thumbprint))
}

/// Gives out tokens that are bound to the key of a proof, which has to have a nonce.
fn bound(issuer: Arc<Issuer>) -> impl Fn(&Asked) -> Reply + Send + Sync {
    move |asked| {
        let (claims, thumbprint) = proof(asked);
        assert_eq!(claims["htm"], "POST");
        assert!(claims["htu"].as_str().unwrap().ends_with("/token"));
        assert!(claims.get("ath").is_none());
        if claims.get("nonce").and_then(Value::as_str) != Some("n-1") {
            let body = r#"{"error":"use_dpop_nonce"}"#;
            return reply("400 Bad Request", "DPoP-Nonce: n-1\r\n", body);
        }
        let cnf = json!({ "jkt": thumbprint });
        let token = issuer.mint(json!({ "sub": "orders", "aud": "stock", "cnf": cnf })).unwrap();
        json(granted(&token, "DPoP"))
    }
}

#[test]
fn a_bound_token_and_its_proofs_open_a_service_that_demands_nonces() {
    run(async {
        let issuer = Arc::new(Issuer::new(ISSUER, NOW).unwrap());
        let server = Server::start(bound(Arc::clone(&issuer))).await;
        let tokens = builder(&server).destination(stock().dpop()).build().unwrap();
        let verifier = AccessTokenVerifier::for_issuer(issuer.url().clone())
            .audience("stock")
            .keys(issuer.keys().unwrap())
            .build()
            .unwrap();
        let (base, nonces) = (PublicBase::parse(STOCK).unwrap(), DpopNonces::random().unwrap());
        let proofs = DpopVerifier::default().with_nonces(nonces.clone());
        let replay = Replay::in_memory(100);

        let (method, uri) = (Method::POST, Uri::from_static("https://stock.example.com/items?a=b"));
        let request = OutgoingRequest::new(&method, &uri);
        let first = tokens.headers(&request, NOW).await.unwrap();
        assert_eq!(server.asked().len(), 2);
        let text = value(&first, "authorization").strip_prefix("DPoP ").unwrap().to_owned();
        let token = verifier.verify(&text, NOW).unwrap();
        let proven =
            ProvenRequest::new("POST", &base, "/items").with_token(&text, token.confirmation());
        let refused = proofs.verify(value(&first, "dpop"), &proven, NOW).unwrap_err();
        assert!(refused.wants_nonce());

        let mut challenge = HeaderMap::new();
        challenge.insert("dpop-nonce", nonces.current(NOW).parse().unwrap());
        challenge.insert("www-authenticate", r#"DPoP error="use_dpop_nonce""#.parse().unwrap());
        let unauthorized = StatusCode::UNAUTHORIZED;
        assert_eq!(tokens.answered(&request, unauthorized, &challenge), Answered::Again);
        let second = tokens.headers(&request, NOW).await.unwrap();
        assert_eq!(value(&second, "authorization"), format!("DPoP {text}"));
        let proof = proofs.verify(value(&second, "dpop"), &proven, NOW).unwrap();
        let proof = replay.admit(proof, NOW).await.unwrap();
        assert_eq!(Binding::dpop(&proof).user(&token).unwrap().subject(), "orders");
        // The same nonce again is worth no further attempt, and a good answer none at all.
        assert_eq!(tokens.answered(&request, unauthorized, &challenge), Answered::Done);
        challenge.insert("dpop-nonce", HeaderValue::from_static("other"));
        assert_eq!(tokens.answered(&request, StatusCode::OK, &challenge), Answered::Done);
        // Each request has a proof of its own; the nonce of the endpoint is known by now.
        let third = tokens.headers(&request, NOW).await.unwrap();
        assert_ne!(value(&second, "dpop"), value(&third, "dpop"));
        assert_eq!(server.asked().len(), 2);
    });
}

#[test]
fn an_endpoint_that_wants_ever_new_nonces_is_asked_twice() {
    run(async {
        let number = std::sync::atomic::AtomicUsize::new(0);
        let server = Server::start(move |_| {
            let number = number.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let nonce = format!("DPoP-Nonce: n-{number}\r\n");
            reply("400 Bad Request", &nonce, r#"{"error":"use_dpop_nonce"}"#)
        })
        .await;
        let refused = refusal(&server, stock().dpop()).await;
        assert!(matches!(&refused, OutgoingError::Refused { error } if error == "use_dpop_nonce"));
        assert_eq!(server.asked().len(), 2);
        // Who asks for no proof is told no nonce.
        let refused = refusal(&server, stock()).await;
        assert!(matches!(refused, OutgoingError::Refused { .. }));
        assert_eq!(server.asked().len(), 3);
    });
}

#[test]
fn a_token_for_bearers_is_no_answer_to_who_wants_a_bound_one_unless_that_is_said() {
    run(async {
        let server = Server::start(|_| json(granted("t1", "Bearer"))).await;
        let refused = refusal(&server, stock().dpop()).await;
        assert!(matches!(refused, OutgoingError::Answer(_)), "{refused:?}");
        assert_eq!(refused.fault(), Fault::Authority);
        let tokens = builder(&server).destination(stock().dpop_or_bearer()).build().unwrap();
        let sent = headers(&tokens, STOCK, None).await.unwrap();
        assert_eq!((value(&sent, "authorization"), sent.len()), ("Bearer t1", 1));
    });
}

#[test]
fn an_endpoint_that_does_not_answer_as_one_gives_out_nothing() {
    run(async {
        let good = granted("t1", "Bearer").to_string();
        let elsewhere = Server::start(|_| json(granted("stolen", "Bearer"))).await;
        let location = format!("Location: {}/token\r\n", elsewhere.url);
        let server = Server::start(|_| Reply::Silence).await;
        let html = bytes("200 OK", "Content-Type: text/html\r\n", &good);
        for (what, reply) in [
            ("silence", Reply::Silence),
            ("slow", Reply::Trickle(bytes("200 OK", "Content-Type: application/json\r\n", &good))),
            ("hangs up", Reply::Bytes(Vec::new())),
            ("error", reply("500 Oops", "", &good)),
            ("created", reply("201 Created", "", &good)),
            ("redirect", reply("302 Found", &location, "")),
            ("redirect that keeps the form", reply("307 Temporary Redirect", &location, "")),
            ("another type", Reply::Bytes(html)),
            ("long", json(format!(r#"{{"a":"{}"}}"#, "a".repeat(300_000)))),
            ("none", json("")),
            ("refused with a token", reply("400 Bad Request", "", &good)),
        ] {
            server.set(move |_| reply.clone());
            let begun = Instant::now();
            let refused = refusal(&server, stock()).await;
            assert_eq!(refused.fault(), Fault::Authority, "{what}: {refused:?}");
            assert!(begun.elapsed() < SHORT + Duration::from_secs(20), "{what}");
        }
        assert!(elsewhere.asked().is_empty());
    });
}

#[test]
fn nothing_is_told_to_a_token_endpoint_that_does_not_prove_its_name() {
    run(async {
        let server = Server::start(|_| json(granted("t1", "Bearer"))).await;
        let other = Server::start(|_| json(granted("t2", "Bearer"))).await;
        let tokens = builder(&server).transport(other.transport()).destination(stock());
        let refused = headers(&tokens.build().unwrap(), STOCK, None).await.unwrap_err();
        assert!(matches!(refused, OutgoingError::Unanswered(_)), "{refused:?}");
        assert!(server.asked().is_empty());
    });
}

#[test]
fn an_old_token_serves_while_its_successor_is_fetched() {
    run(async {
        let server = Server::start(|_| json(granted("t1", "Bearer"))).await;
        let tokens = builder(&server).destination(stock()).build().unwrap();
        let uri = Uri::from_static(STOCK);
        let request = OutgoingRequest::new(&Method::GET, &uri);
        let sent = tokens.headers(&request, NOW).await.unwrap();
        assert_eq!(value(&sent, "authorization"), "Bearer t1");
        // The endpoint takes its time, and nobody waits for it.
        server.set(|_| {
            let body = granted("t2", "Bearer").to_string();
            let head = "Content-Type: application/json\r\n";
            Reply::Late(Duration::from_millis(400), bytes("200 OK", head, &body))
        });
        let sent = tokens.headers(&request, at(500)).await.unwrap();
        assert_eq!(value(&sent, "authorization"), "Bearer t1");
        let begun = Instant::now();
        loop {
            let sent = tokens.headers(&request, at(501)).await.unwrap();
            if value(&sent, "authorization") == "Bearer t2" {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(30));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(server.asked().len(), 2);
    });
}
