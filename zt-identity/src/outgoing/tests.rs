//! Requests to destinations that were named, and to others, with a token endpoint of any kind.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

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
