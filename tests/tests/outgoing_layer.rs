//! The layer of our own requests, from the user's token that came in to what goes out.
#![expect(clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use http::header::AUTHORIZATION;
use http::request::{Builder, Parts};
use http::{Request, Response};
use tokio::net::TcpListener;
use tower::{Layer, Service, ServiceExt, service_fn};
use zt_core::danger;
use zt_core::decision::{Decide, Decision, PolicyVersion};
use zt_core::peer::Peer;
use zt_core::request::Request as Question;
use zt_core::secret::Secret;
use zt_core::spiffe::SpiffeId;
use zt_core::time::{Clock, SystemClock, Validity};
use zt_core::verified::Verified;
use zt_identity::authority;
use zt_identity::oidc::access_token::AccessTokenVerifier;
use zt_identity::oidc::client_authentication::ClientAuthentication;
use zt_identity::oidc::issuer::Issuer;
use zt_identity::outgoing::{Destination, OutgoingError, OutgoingTokens};
use zt_tower::outgoing::{CallError, OutgoingLayer, UserToken};
use zt_tower::{AccessTokens, ZeroTrust};

/// What a token endpoint was asked, and what another service was sent.
#[derive(Clone, Default)]
struct Seen {
    asked: Arc<Mutex<Vec<String>>>,
    sent: Arc<Mutex<Vec<Parts>>>,
}

impl Seen {
    fn sent(&self) -> usize {
        self.sent.lock().unwrap().len()
    }

    fn header(&self, name: &str) -> Option<String> {
        let sent = self.sent.lock().unwrap();
        let value = sent.last().unwrap().headers.get(name)?;
        Some(value.to_str().unwrap().to_owned())
    }

    /// The other service, which demands a nonce in proofs.
    fn service(
        &self,
    ) -> impl Service<
        Request<&'static str>,
        Response = Response<()>,
        Error = Infallible,
        Future: Send,
    >
    + Clone
    + Send
    + 'static
    + use<> {
        let this = self.clone();
        service_fn(move |request: Request<&'static str>| {
            let (parts, _) = request.into_parts();
            let answer = match parts.headers.get("dpop") {
                None => Response::new(()),
                Some(proof) => nonced(proof.to_str().unwrap()),
            };
            this.sent.lock().unwrap().push(parts);
            async move { Ok(answer) }
        })
    }
}

/// 401 for a proof whose claims have no nonce.
fn nonced(proof: &str) -> Response<()> {
    let claims = proof.split('.').nth(1).unwrap();
    // In base64url, `"nonce":"n1"` begins at any of three places.
    let has = ["Im5vbmNlIjoibjEi", "Jub25jZSI6Im4xI", "ibm9uY2UiOiJuMS"];
    if has.iter().any(|text| claims.contains(text)) {
        return Response::new(());
    }
    let answer = Response::builder().status(401).header("dpop-nonce", "n1");
    answer.header("www-authenticate", "DPoP error=\"use_dpop_nonce\"").body(()).unwrap()
}

/// Gives out a token for what it is asked for.
async fn token_endpoint(seen: Seen, token_type: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = move |body: String| async move {
        let exchanged = body.contains("token-exchange");
        seen.asked.lock().unwrap().push(body);
        let text = if exchanged { "of-user" } else { "of-service" };
        let json = format!(
            r#"{{"access_token": "{text}", "token_type": "{token_type}", "expires_in": 300,
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}}"#
        );
        ([("content-type", "application/json")], json)
    };
    let app = Router::new().route("/token", post(answer));
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

async fn tokens(seen: &Seen, token_type: &'static str, destination: Destination) -> OutgoingTokens {
    let address = token_endpoint(seen.clone(), token_type).await;
    let issuer = Issuer::loopback(&format!("http://{address}")).unwrap();
    let secret = Secret::new(String::from("s3cret"));
    OutgoingTokens::for_issuer(issuer)
        .token_endpoint(&format!("http://{address}/token"))
        .client(ClientAuthentication::client_secret_basic("orders", secret).unwrap())
        .destination(destination)
        .build()
        .unwrap()
}

fn of_service() -> Destination {
    Destination::of_service("https://stock.example.com").unwrap().audience("stock")
}

fn of_user() -> Destination {
    Destination::of_user("https://billing.example.com").unwrap().audience("billing")
}

fn get(url: &str) -> Builder {
    Request::get(url)
}

#[tokio::test]
async fn a_token_goes_to_the_destination_that_was_named_and_nothing_goes_elsewhere() {
    let seen = Seen::default();
    let layer = OutgoingLayer::new(tokens(&seen, "Bearer", of_service()).await);
    let client = layer.layer(seen.service());
    for _ in 0..3 {
        let request = get("https://stock.example.com/items/7").body("").unwrap();
        assert_eq!(client.clone().oneshot(request).await.unwrap().status(), 200);
        assert_eq!(seen.header("authorization").as_deref(), Some("Bearer of-service"));
    }
    assert_eq!((seen.sent(), seen.asked.lock().unwrap().len()), (3, 1));
    let shown = format!("{:?}", seen.sent.lock().unwrap());
    assert!(!shown.contains("of-service"), "the header is sensitive");
    for elsewhere in [
        "https://evil.example.com/items/7",
        "http://stock.example.com/items/7",
        "https://stock.example.com:8443/items/7",
        "https://stock.example.com.evil.example/",
        "/items/7",
    ] {
        let refused = client.clone().oneshot(get(elsewhere).body("").unwrap()).await.unwrap_err();
        let nowhere = matches!(refused, CallError::Token(OutgoingError::NotADestination { .. }));
        assert!(nowhere, "{elsewhere}: {refused:?}");
    }
    let twice = get("https://stock.example.com/").header(AUTHORIZATION, "Basic YTpi");
    let refused = client.clone().oneshot(twice.body("").unwrap()).await.unwrap_err();
    assert!(matches!(refused, CallError::TwoCredentials), "{refused:?}");
    assert_eq!(seen.sent(), 3);
}

#[tokio::test]
async fn a_nonce_that_is_demanded_is_proven_where_a_body_can_be_repeated() {
    let request = || get("https://stock.example.com/items/7").body("body").unwrap();
    let seen = Seen::default();
    let layer = OutgoingLayer::new(tokens(&seen, "DPoP", of_service().dpop()).await);
    let once = layer.clone().layer(seen.service());
    let answer = once.clone().oneshot(request()).await.unwrap();
    assert_eq!((answer.status().as_u16(), seen.sent()), (401, 1), "it is not sent twice");
    let answer = once.oneshot(request()).await.unwrap();
    assert_eq!((answer.status().as_u16(), seen.sent()), (200, 2), "the nonce is remembered");

    let seen = Seen::default();
    let layer = OutgoingLayer::new(tokens(&seen, "DPoP", of_service().dpop()).await);
    let answer = layer.repeating().layer(seen.service()).oneshot(request()).await.unwrap();
    assert_eq!((answer.status().as_u16(), seen.sent()), (200, 2));
    assert_eq!(seen.header("authorization").as_deref(), Some("DPoP of-service"));
    let sent = seen.sent.lock().unwrap();
    assert_ne!(sent[0].headers["dpop"], sent[1].headers["dpop"], "each attempt has its own proof");
}

struct Everyone;

impl Decide for Everyone {
    #[expect(clippy::disallowed_methods, reason = "stands for a policy")]
    fn decide(&self, request: &Question<'_>) -> Decision {
        Decision::of(request, PolicyVersion::default(), |_| danger::allow("everyone"))
    }
}

#[expect(clippy::disallowed_methods, reason = "stands for a handshake that has finished")]
fn peer() -> Verified<Peer> {
    let now = SystemClock.now();
    let validity = Validity::new(now, now.saturating_add(Duration::from_secs(3_600))).unwrap();
    let id = SpiffeId::parse("spiffe://example.org/cart").unwrap();
    danger::verified(Peer::new(id, validity, b"certificate", 1))
}

/// What the handler of a request of alice finds to pass on.
async fn found(kept: bool) -> (Option<UserToken>, String) {
    let issuer = authority::Issuer::new("https://login.example.com", SystemClock.now()).unwrap();
    let verifier = AccessTokenVerifier::for_issuer(issuer.url().clone())
        .audience("orders")
        .keys(issuer.keys().unwrap())
        .build()
        .unwrap();
    let tokens = AccessTokens::bearer(verifier).cached(10).unwrap();
    let tokens = if kept { tokens.kept_for_requests() } else { tokens };
    let layer = ZeroTrust::builder().tokens(tokens).policy(Everyone).without_records().build();
    let found = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&found);
    let handler = service_fn(move |request: Request<()>| {
        *keep.lock().unwrap() = request.extensions().get::<UserToken>().cloned();
        async { Ok::<_, Infallible>(Response::new("served")) }
    });
    let text = issuer.mint(r#"{"sub": "alice", "aud": "orders"}"#).unwrap();
    for _ in 0..2 {
        let request = Request::get("/").extension(peer());
        let request = request.header(AUTHORIZATION, format!("Bearer {text}")).body(()).unwrap();
        assert_eq!(layer.layer(handler.clone()).oneshot(request).await.unwrap().status(), 200);
    }
    let found = found.lock().unwrap().clone();
    (found, text)
}

#[tokio::test]
async fn a_call_for_a_user_carries_what_the_users_token_was_exchanged_for() {
    let seen = Seen::default();
    let layer = OutgoingLayer::new(tokens(&seen, "Bearer", of_user()).await);
    let client = layer.layer(seen.service());
    let request = || get("https://billing.example.com/invoices");
    let refused = client.clone().oneshot(request().body("").unwrap()).await.unwrap_err();
    assert!(matches!(refused, CallError::Token(OutgoingError::NoUser)), "{refused:?}");
    assert_eq!(seen.sent(), 0);

    assert!(found(false).await.0.is_none(), "no handler sees a token that did not ask for it");
    let (token, text) = found(true).await;
    let request = request().extension(token.unwrap()).body("").unwrap();
    assert_eq!(client.oneshot(request).await.unwrap().status(), 200);
    assert_eq!(seen.header("authorization").as_deref(), Some("Bearer of-user"));
    let asked = seen.asked.lock().unwrap();
    assert!(asked.len() == 1 && asked[0].contains(&text), "it went to the token endpoint");
}
