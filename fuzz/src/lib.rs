//! An issuer for targets that begin behind a signature: its key is that of RFC 7515, appendix A.3.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use bytes::Bytes;
use http::{Request, Response};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use zt_core::secret::Secret;
use zt_core::time::{ManualClock, Timestamp};
use zt_core::verified::Verified;
use zt_identity::algorithm::sha256;
use zt_identity::claims::Audience;
use zt_identity::jwk::JwkSet;
use zt_identity::oidc::access_token::{AccessToken, AccessTokenVerifier};
use zt_identity::oidc::client_authentication::ClientAuthentication;
use zt_identity::oidc::fetch::{ClientAnswer, HttpClient};
use zt_identity::oidc::issuer::Issuer;
use zt_identity::oidc::keys::IssuerKeys;
use zt_identity::oidc::logout_token::LogoutTokenVerifier;
use zt_identity::oidc::security_event_token::SecurityEventTokenVerifier;
use zt_identity::oidc::transport::Transport;
use zt_identity::possession::replay::Replay;
use zt_identity::possession::revocations::MemoryRevocations;
use zt_tower::events::{BackChannelLogout, EventDelivery};

/// d, x, y.
const KEY: [&str; 3] = [
    "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
    "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
];

/// Its public key, named `k`.
pub fn keys() -> IssuerKeys {
    IssuerKeys::fixed(JwkSet::parse(key_set().as_bytes()).expect("keys"))
}

/// The same as JSON.
pub fn key_set() -> String {
    let [_, x, y] = KEY;
    format!(r#"{{"keys":[{{"kty":"EC","crv":"P-256","kid":"k","x":"{x}","y":"{y}"}}]}}"#)
}

/// A token of this type with these claims, whatever they are.
pub fn sign(typ: &str, claims: &[u8]) -> String {
    sign_under(&format!(r#"{{"alg":"ES256","kid":"k","typ":"{typ}"}}"#), claims)
}

fn sign_under(header: &str, claims: &[u8]) -> String {
    let [d, x, y] = KEY.map(|text| BASE64URL.decode(text).expect("a key"));
    let (scheme, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
    let point = [&[4][..], &x, &y].concat();
    let pair =
        EcdsaKeyPair::from_private_key_and_public_key(scheme, &d, &point, &random).expect("a key");
    let signed = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims));
    let signature = pair.sign(&random, signed.as_bytes()).expect("a signature");
    format!("{signed}.{}", BASE64URL.encode(signature))
}

fn jwk() -> String {
    let [_, x, y] = KEY;
    format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
}

/// A DPoP proof by that key with these claims, whatever they are.
pub fn proof(claims: &[u8]) -> String {
    sign_under(&format!(r#"{{"alg":"ES256","typ":"dpop+jwt","jwk":{}}}"#, jwk()), claims)
}

/// A token that is bound to that key.
pub fn confirmation_token() -> Verified<AccessToken> {
    let thumbprint = BASE64URL.encode(sha256(jwk().as_bytes()));
    let claims = format!(
        r#"{{"iss":"https://i.test","aud":"c","sub":"s","exp":60,"cnf":{{"jkt":"{thumbprint}"}}}}"#
    );
    let tokens = AccessTokenVerifier::builder("https://i.test").expect("an issuer");
    let tokens = tokens.audience("c").keys(keys()).build().expect("a verifier");
    tokens.verify(&sign("at+jwt", claims.as_bytes()), Timestamp::EPOCH).expect("a token")
}

/// Where logout tokens and security event tokens are delivered.
pub struct EventEndpoints {
    logout: BackChannelLogout,
    events: EventDelivery,
}

impl EventEndpoints {
    /// Endpoints that nothing was delivered to.
    #[expect(clippy::new_without_default, reason = "it signs nothing by default")]
    pub fn new() -> Self {
        let issuer = || Issuer::parse("https://i.test").expect("an issuer");
        let (replay, revocations) = (Replay::in_memory(8), Arc::new(MemoryRevocations::new(8)));
        let clock = ManualClock::at(Timestamp::from_secs(1_800_000_000));
        let logouts = LogoutTokenVerifier::new(issuer(), "c", keys()).expect("a verifier");
        let audience = Audience::any(["c"]).expect("an audience");
        let events = SecurityEventTokenVerifier::new(issuer(), audience, keys());
        let events = events.expect("a verifier");
        let logout = BackChannelLogout::new(logouts, replay.clone(), revocations.clone());
        let events = EventDelivery::new(events, "https://i.test", replay, revocations);
        Self { logout: logout.clock(clock.clone()), events: events.clock(clock) }
    }

    /// Delivers a form.
    pub fn log_out(&self, form: &[u8]) {
        let head = head("application/x-www-form-urlencoded");
        let answer = at_once(self.logout.answer::<String>(&head, form));
        assert!(matches!(answer.status().as_u16(), 200 | 400));
    }

    /// Delivers an event.
    pub fn deliver(&self, body: &[u8]) {
        let head = head("application/secevent+jwt");
        let answer = at_once(self.events.answer::<String>(&head, body));
        assert!(matches!(answer.status().as_u16(), 202 | 400));
    }
}

fn head(content_type: &str) -> http::request::Parts {
    let request = http::Request::post("/").header("content-type", content_type);
    request.body(()).expect("a request").into_parts().0
}

/// What waits for nothing.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("nobody is to be waited for"),
    }
}

/// A server that answers every question with this, as JSON.
#[derive(Clone, Debug)]
struct Says(Bytes);

impl HttpClient for Says {
    fn send(&self, _: Request<Bytes>) -> ClientAnswer<'_> {
        let answer = Response::builder().header("content-type", "application/json");
        let answer = answer.body(self.0.clone()).expect("an answer");
        Box::pin(std::future::ready(Ok(answer)))
    }
}

/// Reaches a server that answers every question with this.
pub fn says(answer: &[u8]) -> Transport {
    Transport::default().client(Says(Bytes::copy_from_slice(answer)))
}

/// A client of such a server.
pub fn client() -> ClientAuthentication {
    let secret = Secret::new("secret".to_owned());
    ClientAuthentication::client_secret_basic("c", secret).expect("a client")
}

/// What comes of it, in a runtime of its own.
pub fn waited<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(future)
}
