//! Requests to destinations that were named, and to others, with a token endpoint of any kind.

use std::collections::BTreeMap;
use std::sync::Mutex;

use bytes::Bytes;
use http::{Method, Request, Response, Uri};
use serde_json::{Value, json};
use zt_core::fault::Fault;
use zt_core::secret::Secret;
use zt_core::verified::Verified;

use super::*;
use crate::jwk::JwkSet;
use crate::minted;
use crate::oidc::access_token::{AccessToken, AccessTokenVerifier};
use crate::oidc::client_authentication::ClientAuthentication;
use crate::oidc::fetch::{ClientAnswer, HttpClient};
use crate::oidc::keys::IssuerKeys;
use crate::oidc::transport::Transport;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const ISSUER: &str = "https://login.example.com";
const STOCK: &str = "https://stock.example.com";
const BILLING: &str = "https://billing.example.com";

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(NOW.as_secs().saturating_add(secs))
}

type Form = BTreeMap<String, Vec<String>>;
type Respond = dyn Fn(usize, &Request<Bytes>, &Form) -> Response<Bytes> + Send + Sync;

/// A token endpoint that answers as it is told, and remembers what it was asked.
#[derive(Clone)]
struct Endpoint {
    respond: Arc<Respond>,
    asked: Arc<Mutex<Vec<(Form, HeaderMap)>>>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Endpoint")
    }
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            other => other,
        });
    }
    String::from_utf8(bytes).unwrap()
}

fn form(body: &[u8]) -> Form {
    let mut form = Form::new();
    for field in str::from_utf8(body).unwrap().split('&') {
        let (name, value) = field.split_once('=').unwrap();
        form.entry(unescape(name)).or_default().push(unescape(value));
    }
    form
}

impl HttpClient for Endpoint {
    fn send(&self, request: Request<Bytes>) -> ClientAnswer<'_> {
        assert_eq!(request.uri(), "https://login.example.com/token");
        assert_eq!(request.method(), Method::POST);
        let form = form(request.body());
        let number = {
            let mut asked = self.asked.lock().unwrap();
            asked.push((form.clone(), request.headers().clone()));
            asked.len()
        };
        Box::pin(async move {
            tokio::task::yield_now().await;
            Ok((self.respond)(number, &request, &form))
        })
    }
}

fn answer(status: u16, body: impl ToString) -> Response<Bytes> {
    let answer = Response::builder().status(status).header("content-type", "application/json");
    answer.body(body.to_string().into()).unwrap()
}

fn granted(token: &str) -> Value {
    json!({
        "access_token": token, "token_type": "Bearer", "expires_in": 600,
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
    })
}

impl Endpoint {
    fn new(
        respond: impl Fn(usize, &Request<Bytes>, &Form) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        Self { respond: Arc::new(respond), asked: Arc::default() }
    }

    /// Numbers its tokens.
    fn numbered() -> Self {
        Self::new(|number, _, _| answer(200, granted(&format!("token-{number}"))))
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn form(&self, number: usize) -> Form {
        self.asked.lock().unwrap()[number].0.clone()
    }

    fn builder(&self) -> OutgoingTokensBuilder {
        let secret = Secret::new("s3cret".to_owned());
        OutgoingTokens::builder(ISSUER)
            .unwrap()
            .token_endpoint("https://login.example.com/token")
            .client(ClientAuthentication::client_secret_basic("orders", secret).unwrap())
            .transport(Transport::default().client(self.clone()))
    }

    fn tokens(&self) -> OutgoingTokens {
        self.builder().destination(stock()).destination(billing()).build().unwrap()
    }
}

fn stock() -> Destination {
    Destination::of_service(STOCK).unwrap().audience("stock").scope("stock:read")
}

fn billing() -> Destination {
    Destination::of_user(BILLING)
        .unwrap()
        .audience("billing")
        .resource("https://billing.example.com")
}

/// A user whose token counts for so many seconds.
fn user(name: &str, secs: i64) -> UserToken {
    let issuer = minted::Issuer::new();
    let claims = json!({ "iss": ISSUER, "aud": "orders", "sub": name, "exp": at(secs).as_secs() });
    let text = issuer.sign(r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k1"}"#, claims.to_string());
    let token: Verified<AccessToken> = AccessTokenVerifier::builder(ISSUER)
        .unwrap()
        .audience("orders")
        .keys(IssuerKeys::fixed(JwkSet::parse(issuer.jwks().as_bytes()).unwrap()))
        .build()
        .unwrap()
        .verify(&text, NOW)
        .unwrap();
    UserToken::new(&text, token)
}

async fn get_at(
    tokens: &OutgoingTokens,
    url: &str,
    user: Option<&UserToken>,
    now: Timestamp,
) -> Result<String, OutgoingError> {
    let (method, uri) = (Method::GET, url.parse::<Uri>().unwrap());
    let request = OutgoingRequest::new(&method, &uri);
    let request = user.map_or(request, |user| request.for_user(user));
    let headers = tokens.headers(&request, now).await?;
    let (name, value) = &headers[0];
    assert_eq!(name, "authorization");
    assert!(value.is_sensitive());
    assert_eq!(headers.len(), 1);
    Ok(value.to_str().unwrap().to_owned())
}

async fn get(
    tokens: &OutgoingTokens,
    url: &str,
    user: Option<&UserToken>,
) -> Result<String, OutgoingError> {
    get_at(tokens, url, user, NOW).await
}

#[tokio::test]
async fn a_request_of_this_service_has_its_own_token_which_is_asked_for_once() {
    let endpoint = Endpoint::numbered();
    let tokens = endpoint.tokens();
    for path in ["/items/7?q=1", "/", ""] {
        let url = format!("{STOCK}{path}");
        assert_eq!(get(&tokens, &url, None).await.unwrap(), "Bearer token-1");
    }
    let spelled = "https://STOCK.example.com:443/items";
    assert_eq!(get(&tokens, spelled, None).await.unwrap(), "Bearer token-1");
    assert_eq!(endpoint.asked(), 1);
    let form = endpoint.form(0);
    let expected =
        [("audience", "stock"), ("grant_type", "client_credentials"), ("scope", "stock:read")];
    let expected = expected.map(|(name, value)| (name.to_owned(), vec![value.to_owned()]));
    assert_eq!(form, Form::from(expected));
}

#[tokio::test]
async fn the_token_of_a_user_never_goes_where_only_this_service_is_named() {
    let endpoint = Endpoint::numbered();
    let tokens = endpoint.tokens();
    let alice = user("alice", 600);
    let sent = get(&tokens, STOCK, Some(&alice)).await.unwrap();
    assert_eq!(sent, "Bearer token-1");
    assert_eq!(endpoint.form(0)["grant_type"], ["client_credentials"]);
    assert!(!endpoint.form(0).contains_key("subject_token"));
    assert_eq!(get(&tokens, STOCK, None).await.unwrap(), "Bearer token-1");
}

#[tokio::test]
async fn no_token_goes_to_an_origin_that_was_not_named() {
    let endpoint = Endpoint::numbered();
    let tokens = endpoint.tokens();
    let alice = user("alice", 600);
    for url in [
        "https://evil.example.com/",
        "http://stock.example.com/",
        "https://stock.example.com:8443/",
        "https://stock.example.com./",
        "https://stock.example.com.evil.example/",
        "https://xstock.example.com/",
        "https://stock.example.com@evil.example/",
        "https://user@stock.example.com/",
        "https://stock.example.com%2eevil.example/",
        "https://billing.example.com:444/",
        "http://billing.example.com:443/",
        "/items",
        "stock.example.com:443",
    ] {
        let Ok(uri) = url.parse::<Uri>() else { continue };
        for user in [None, Some(&alice)] {
            let request = OutgoingRequest::new(&Method::GET, &uri);
            let request = user.map_or(request, |user| request.for_user(user));
            let refused = tokens.headers(&request, NOW).await.unwrap_err();
            assert!(matches!(refused, OutgoingError::NotADestination { .. }), "{url}");
            assert_eq!(refused.fault(), Fault::Caller);
        }
    }
    assert_eq!(endpoint.asked(), 0);
}

#[tokio::test]
async fn the_token_of_a_user_is_exchanged_for_one_of_the_audience_that_was_named() {
    let endpoint = Endpoint::numbered();
    let tokens = endpoint.tokens();
    let (alice, bob) = (user("alice", 600), user("bob", 600));
    let url = format!("{BILLING}/invoices");
    assert_eq!(get(&tokens, &url, Some(&alice)).await.unwrap(), "Bearer token-1");
    assert_eq!(get(&tokens, &url, Some(&bob)).await.unwrap(), "Bearer token-2");
    assert_eq!(get(&tokens, &url, Some(&alice)).await.unwrap(), "Bearer token-1");
    assert_eq!(endpoint.asked(), 2);
    let access_token = "urn:ietf:params:oauth:token-type:access_token";
    let form = endpoint.form(0);
    let expected = [
        ("audience", "billing"),
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("requested_token_type", access_token),
        ("resource", "https://billing.example.com"),
        ("subject_token", alice.text()),
        ("subject_token_type", access_token),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), vec![value.to_owned()]));
    assert_eq!(form, Form::from(expected));
    assert_eq!(endpoint.form(1)["subject_token"], [bob.text()]);

    let refused = get(&tokens, &url, None).await.unwrap_err();
    assert!(matches!(refused, OutgoingError::NoUser));
}

#[tokio::test]
async fn who_acts_for_a_user_says_so_beside_the_token_of_the_user_alone() {
    let endpoint = Endpoint::numbered();
    let half = Timestamp::from_secs(NOW.as_secs().saturating_add(50));
    let actor =
        ActorToken::jwt_from(move |now| (now < half).then(|| Secret::new("a.b.c".to_owned())));
    let tokens = endpoint.builder().destination(stock()).destination(billing()).actor(actor);
    let tokens = tokens.build().unwrap();
    assert!(get(&tokens, STOCK, None).await.is_ok());
    assert!(!endpoint.form(0).contains_key("actor_token"));
    assert!(get(&tokens, BILLING, Some(&user("alice", 600))).await.is_ok());
    let form = endpoint.form(1);
    assert_eq!(form["actor_token"], ["a.b.c"]);
    assert_eq!(form["actor_token_type"], ["urn:ietf:params:oauth:token-type:jwt"]);
    // Without it there is no exchange, rather than one that does not say who acts.
    let refused = get_at(&tokens, BILLING, Some(&user("bob", 600)), half).await.unwrap_err();
    assert_eq!((refused.reason(), refused.fault()), ("outgoing_without_actor", Fault::Authority));
    assert_eq!(endpoint.asked(), 2);
}

#[tokio::test]
async fn what_was_exchanged_ends_with_the_token_of_the_user() {
    let endpoint = Endpoint::numbered();
    let tokens = endpoint.tokens();
    let alice = user("alice", 100);
    assert!(get(&tokens, BILLING, Some(&alice)).await.is_ok());
    assert!(get_at(&tokens, BILLING, Some(&alice), at(69)).await.is_ok());
    assert_eq!(endpoint.asked(), 1);
    let over = get_at(&tokens, BILLING, Some(&alice), at(100)).await.unwrap_err();
    assert_eq!((over.reason(), over.fault()), ("token_expired", Fault::Peer));
}

#[tokio::test]
async fn many_requests_ask_once_for_each_token_and_get_their_own() {
    let endpoint = Endpoint::new(|_, _, form| {
        let of = form.get("subject_token").map_or("service", |token| token[0].as_str());
        let of = if of == "service" { "service".to_owned() } else { minted::base64url(of) };
        answer(200, granted(&of))
    });
    let tokens = endpoint.tokens();
    let users = ["alice", "bob", "carol"].map(|name| user(name, 600));
    let asked: Vec<_> = (0..80)
        .map(|n| {
            let (tokens, user) = (tokens.clone(), users.get(n % 4).cloned());
            tokio::spawn(async move {
                let url = if user.is_some() { BILLING } else { STOCK };
                let sent = get(&tokens, url, user.as_ref()).await.unwrap();
                let own = user.map_or("service".to_owned(), |u| minted::base64url(u.text()));
                assert_eq!(sent, format!("Bearer {own}"));
            })
        })
        .collect();
    for asked in asked {
        asked.await.unwrap();
    }
    assert_eq!(endpoint.asked(), 4);
}

/// Lets what goes on in the background come to its end.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_token_is_renewed_in_the_background_while_the_old_one_is_used() {
    let endpoint = Endpoint::numbered();
    let tokens = endpoint.tokens();
    for (secs, token, asked) in
        [(0, 1, 1), (419, 1, 1), (480, 1, 2), (481, 2, 2), (899, 2, 2), (961, 2, 3), (962, 3, 3)]
    {
        let sent = get_at(&tokens, STOCK, None, at(secs)).await.unwrap();
        assert_eq!(sent, format!("Bearer token-{token}"), "{secs}");
        settle().await;
        assert_eq!(endpoint.asked(), asked, "{secs}");
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_renewed_counts_to_its_end_and_no_longer() {
    let endpoint = Endpoint::new(|number, _, _| match number {
        1 => answer(200, granted("token-1")),
        _ => answer(400, r#"{"error":"invalid_client"}"#),
    });
    let tokens = endpoint.tokens();
    for (secs, asked) in [(0, 1), (480, 2), (484, 2), (485, 3), (589, 4)] {
        assert_eq!(get_at(&tokens, STOCK, None, at(secs)).await.unwrap(), "Bearer token-1");
        settle().await;
        assert_eq!(endpoint.asked(), asked, "{secs}");
    }
    let refused = get_at(&tokens, STOCK, None, at(590)).await.unwrap_err();
    assert!(matches!(&refused, OutgoingError::Refused { error } if error == "invalid_client"));
    assert_eq!(refused.fault(), Fault::Caller);
}

#[tokio::test]
async fn there_is_room_for_so_many_users_and_the_service_keeps_its_own() {
    let endpoint = Endpoint::numbered();
    let tokens = endpoint.builder().destination(stock()).destination(billing()).capacity(4);
    let tokens = tokens.build().unwrap();
    assert_eq!(get(&tokens, STOCK, None).await.unwrap(), "Bearer token-1");
    for number in 0..20 {
        let user = user(&format!("user-{number}"), 600);
        assert!(get(&tokens, BILLING, Some(&user)).await.is_ok());
    }
    assert_eq!(endpoint.asked(), 21);
    assert_eq!(get(&tokens, STOCK, None).await.unwrap(), "Bearer token-1");
    assert!(get(&tokens, BILLING, Some(&user("user-0", 600))).await.is_ok());
    assert_eq!(endpoint.asked(), 22);
}

#[tokio::test]
async fn a_refusal_says_whose_fault_it_is_and_is_not_remembered() {
    let endpoint = Endpoint::new(|number, _, _| match number {
        1 => answer(400, r#"{"error":"invalid_grant","error_description":"s3cret"}"#),
        2 => answer(401, r#"{"error":"invalid_client"}"#),
        3 => answer(400, "<html>s3cret"),
        4 => answer(400, r#"{"error":"s3cret \u0000"}"#),
        5 => answer(500, r#"{"error":"server_error"}"#),
        _ => answer(200, granted("token")),
    });
    let tokens = endpoint.tokens();
    let alice = user("alice", 600);
    for fault in [Fault::Peer, Fault::Caller, Fault::Authority, Fault::Authority, Fault::Authority]
    {
        let refused = get(&tokens, BILLING, Some(&alice)).await.unwrap_err();
        assert_eq!(refused.fault(), fault, "{refused}");
        assert!(!format!("{refused:?} {refused}").contains("s3cret"), "{refused:?}");
    }
    assert_eq!(get(&tokens, BILLING, Some(&alice)).await.unwrap(), "Bearer token");
}

#[tokio::test]
async fn nothing_shows_a_token_or_a_secret() {
    let endpoint = Endpoint::new(|_, _, _| answer(200, granted("t0ken")));
    let tokens = endpoint.tokens();
    let alice = user("alice", 600);
    get(&tokens, BILLING, Some(&alice)).await.unwrap();
    let (method, uri) = (Method::GET, Uri::from_static(BILLING));
    let request = OutgoingRequest::new(&method, &uri).for_user(&alice);
    let headers = tokens.headers(&request, NOW).await.unwrap();
    let shown = format!("{tokens:?} {request:?} {headers:?} {:?}", endpoint.builder());
    for secret in ["s3cret", "t0ken", alice.text()] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn without_a_runtime_there_is_no_token() {
    let tokens = Endpoint::numbered().tokens();
    let uri = Uri::from_static(STOCK);
    let request = OutgoingRequest::new(&Method::GET, &uri);
    let mut asked = std::pin::pin!(tokens.headers(&request, NOW));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(refused) = asked.as_mut().poll(&mut context) else {
        panic!("it waits")
    };
    assert!(matches!(refused, Err(OutgoingError::NoRuntime)));
}

#[test]
fn destinations_are_origins_of_https_or_of_this_machine_by_name() {
    for origin in ["https://a.test", "https://A.test:443/", "https://[::1]:8443"] {
        assert!(Destination::of_user(origin).is_ok(), "{origin}");
    }
    for other in [
        "",
        "a.test",
        "http://a.test",
        "http://127.0.0.1",
        "https://",
        "https://u@a.test",
        "https://a.test/b",
        "https://a.test?b",
        "https://a.test#b",
        "https://*.a.test",
    ] {
        assert!(Destination::of_user(other).is_err(), "{other}");
        assert!(Destination::of_service(other).is_err(), "{other}");
    }
    assert!(Destination::of_service_on_loopback("http://127.0.0.1:80").is_ok());
    for other in ["http://a.test", "https://127.0.0.1", "http://127.0.0.2", "http://localhost.a"] {
        assert!(Destination::of_user_on_loopback(other).is_err(), "{other}");
    }
}

#[test]
fn tokens_have_an_endpoint_a_client_and_destinations_that_say_what_they_are_for() {
    let endpoint = Endpoint::numbered();
    let built = |destinations: &[Destination]| {
        destinations
            .iter()
            .fold(endpoint.builder(), |builder, one| builder.destination(one.clone()))
            .build()
    };
    assert!(matches!(built(&[]), Err(OutgoingTokensError::NoDestination)));
    let again = Destination::of_user("https://STOCK.example.com:443").unwrap().audience("a");
    assert!(matches!(built(&[stock(), again]), Err(OutgoingTokensError::Twice { .. })));
    let service = Destination::of_service(STOCK).unwrap();
    let of_user = Destination::of_user(STOCK).unwrap();
    assert!(built(&[service.clone().scope("a")]).is_ok());
    for unnamed in [
        service.clone(),
        service.clone().audience(""),
        service.clone().scope("a b"),
        service.scope("a\"b"),
        of_user.clone(),
        of_user.clone().scope("a"),
        of_user.resource(""),
    ] {
        assert!(matches!(built(&[unnamed]), Err(OutgoingTokensError::Unnamed { .. })));
    }
    for url in ["", "http://login.example.com/token", "https://u@login.example.com/", "https://a#b"]
    {
        let refused = endpoint.builder().destination(stock()).token_endpoint(url).build();
        assert!(matches!(refused, Err(OutgoingTokensError::TokenEndpoint { .. })), "{url}");
    }
    let nobody = OutgoingTokens::builder(ISSUER).unwrap().token_endpoint("https://a.test/token");
    let nobody = nobody.destination(stock()).build();
    assert!(matches!(nobody, Err(OutgoingTokensError::NoClient)));
}
