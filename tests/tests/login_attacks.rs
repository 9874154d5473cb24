//! What a provider, or somebody in its place, might answer to a login, and what comes of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use zt_core::fault::Fault;
use zt_core::time::{Clock, SystemClock, Timestamp};
use zt_identity::oidc::issuer::Issuer;
use zt_identity::oidc::login::pending::PendingLogin;
use zt_identity::oidc::login::session::SignedIn;
use zt_identity::oidc::login::{LoginError, LoginRequest, RelyingParty};
use zt_identity::oidc::refresh::RefreshOptions;
use zt_tests::issuer::{SigningKey, base64url, jwks};

/// What the endpoints answer.
struct Answers {
    discovery: Value,
    jwks: String,
    token: (StatusCode, &'static str, String),
}

/// A provider that answers what it is told to, and takes any code with any verifier.
struct Fake {
    runtime: Runtime,
    url: String,
    key: SigningKey,
    answers: Arc<Mutex<Answers>>,
    party: RelyingParty,
}

fn now() -> Timestamp {
    SystemClock.now()
}

type Shared = State<Arc<Mutex<Answers>>>;

async fn discovery(State(answers): Shared) -> Response {
    let document = answers.lock().unwrap().discovery.to_string();
    ([(CONTENT_TYPE, "application/json")], document).into_response()
}

async fn keys(State(answers): Shared) -> Response {
    let document = answers.lock().unwrap().jwks.clone();
    ([(CONTENT_TYPE, "application/json")], document).into_response()
}

async fn token(State(answers): Shared) -> Response {
    let (status, content_type, body) = answers.lock().unwrap().token.clone();
    (status, [(CONTENT_TYPE, content_type), (LOCATION, "/elsewhere")], body).into_response()
}

impl Fake {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let key = SigningKey::es256("k1");
        let answers = Arc::new(Mutex::new(Answers {
            discovery: json!({
                "issuer": url, "jwks_uri": format!("{url}/keys"),
                "authorization_endpoint": format!("{url}/auth"),
                "token_endpoint": format!("{url}/token"),
            }),
            jwks: jwks(&[&key]),
            token: (StatusCode::OK, "application/json", String::new()),
        }));
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .with_state(Arc::clone(&answers));
        runtime.spawn(async move { axum::serve(listener, app).await });
        let party = runtime.block_on(async {
            RelyingParty::for_issuer(Issuer::loopback(&url).unwrap(), "shop")
                .redirect_uri("http://127.0.0.1:8080/signed-in")
                .fetch(RefreshOptions::default().timeout(Duration::from_secs(2)))
                .build()
                .unwrap()
        });
        Self { runtime, url, key, answers, party }
    }

    /// Begins a login whose code is answered with what `answer` makes of its nonce.
    fn login(&self, answer: impl FnOnce(&str) -> Value) -> Result<SignedIn, LoginError> {
        let (pending, query) = self.begin();
        let stored: Value = serde_json::from_str(pending.to_text().expose()).unwrap();
        let body = answer(stored["nonce"].as_str().unwrap()).to_string();
        self.answers.lock().unwrap().token = (StatusCode::OK, "application/json", body);
        self.finish(pending, &query)
    }

    fn begin(&self) -> (PendingLogin, String) {
        let begun = self.runtime.block_on(self.party.begin(&LoginRequest::new(), now())).unwrap();
        let stored: Value = serde_json::from_str(begun.pending.to_text().expose()).unwrap();
        (begun.pending, format!("code=c0de&state={}", stored["state"].as_str().unwrap()))
    }

    fn finish(&self, pending: PendingLogin, query: &str) -> Result<SignedIn, LoginError> {
        self.runtime.block_on(self.party.finish(pending, query, now()))
    }

    fn claims(&self, nonce: &str) -> Value {
        let now = now().as_secs();
        json!({
            "iss": self.url, "aud": "shop", "sub": "alice", "nonce": nonce, "iat": now,
            "exp": now + 300,
        })
    }

    /// Why a login with this ID token is refused; `change` makes it from good claims.
    fn refused(&self, change: impl FnOnce(Value) -> String) -> LoginError {
        let refused = self.login(|nonce| answer(&change(self.claims(nonce))));
        refused.map(|signed_in| signed_in.session).unwrap_err()
    }

    /// Why a login with other claims is refused.
    fn refused_claims(&self, changes: Value) -> &'static str {
        let refused = self.refused(|claims| self.key.sign_as(Some("JWT"), &with(claims, &changes)));
        assert_eq!(refused.fault(), Fault::Peer);
        refused.reason()
    }
}

fn with(mut claims: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn answer(id_token: &str) -> Value {
    json!({"access_token": "t0ken", "token_type": "Bearer", "expires_in": 60, "id_token": id_token})
}

#[test]
fn an_id_token_belongs_to_this_login_at_this_client() {
    let fake = Fake::new();
    let good = fake.login(|nonce| answer(&fake.key.sign_as(Some("JWT"), &fake.claims(nonce))));
    assert_eq!(good.unwrap().session.subject(), "alice");

    let now = now().as_secs();
    for (changes, reason) in [
        (json!({"nonce": "of another login"}), "token_of_another_login"),
        (json!({"nonce": ""}), "token_of_another_login"),
        (json!({"iss": "https://evil.example"}), "token_of_another_issuer"),
        (json!({"aud": "other"}), "token_of_another_audience"),
        (json!({"aud": ["shop", "other"]}), "token_claims"),
        (json!({"aud": ["shop", "other"], "azp": "other"}), "token_of_another_audience"),
        (json!({"azp": "other"}), "token_of_another_audience"),
        (json!({"sub": ""}), "token_claims"),
        (json!({"exp": now - 61}), "token_expired"),
        (json!({"iat": now + 120}), "token_not_yet_valid"),
        (json!({"at_hash": "77QmUPtjPfzWtF2AnpK9RQ"}), "token_of_another_login"),
        (json!({"c_hash": "77QmUPtjPfzWtF2AnpK9RQ"}), "token_of_another_login"),
        (json!({"events": {}}), "token_of_another_kind"),
    ] {
        assert_eq!(fake.refused_claims(changes.clone()), reason, "{changes}");
    }
    let nonceless = fake.login(|_| {
        let mut claims = fake.claims("");
        claims.as_object_mut().unwrap().remove("nonce");
        answer(&fake.key.sign_as(Some("JWT"), &claims))
    });
    assert_eq!(nonceless.unwrap_err().reason(), "token_of_another_login");
}

#[test]
fn an_id_token_is_signed_by_a_key_of_the_provider() {
    let fake = Fake::new();
    let forged = |header: Value, claims: &Value| {
        format!(
            "{}.{}.",
            base64url(header.to_string().as_bytes()),
            base64url(claims.to_string().as_bytes())
        )
    };
    let unsigned = fake.refused(|claims| forged(json!({"alg": "none", "kid": "k1"}), &claims));
    assert_eq!(unsigned.reason(), "token_algorithm");
    let confused = fake.refused(|claims| {
        use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
        let secret = jwks(&[&fake.key]);
        let header = Header { kid: Some("k1".into()), ..Header::new(Algorithm::HS256) };
        encode(&header, &claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
    });
    assert_eq!(confused.reason(), "token_algorithm");
    let stranger = SigningKey::es256("k1");
    let refused = fake.refused(|claims| stranger.sign_as(Some("JWT"), &claims));
    assert_eq!(refused.reason(), "token_bad_signature");
    let other_type = fake.refused(|claims| fake.key.sign(&claims));
    assert_eq!(other_type.reason(), "token_of_another_kind");
    let unknown = SigningKey::es256("k2");
    let refused = fake.refused(|claims| unknown.sign_as(Some("JWT"), &claims));
    assert_eq!(refused.reason(), "token_key_unknown");
}

#[test]
fn a_provider_that_does_not_look_at_verifiers_gives_nobody_the_code_of_another() {
    let fake = Fake::new();
    let mut nonces = Vec::new();
    let _ = fake.login(|nonce| {
        nonces.push(nonce.to_owned());
        json!({})
    });
    // The answer to a code is the ID token of the login that the code comes from.
    let injected = fake.login(|_| answer(&fake.key.sign_as(Some("JWT"), &fake.claims(&nonces[0]))));
    assert_eq!(injected.unwrap_err().reason(), "token_of_another_login");
}

#[test]
fn what_a_token_endpoint_answers_is_tokens_or_an_error() {
    let fake = Fake::new();
    let good = |nonce: &str| answer(&fake.key.sign_as(Some("JWT"), &fake.claims(nonce)));
    let told = |answer: &dyn Fn(&str) -> Value| {
        let error = fake.login(answer).unwrap_err();
        assert_eq!(error.fault(), Fault::Authority);
        error.to_string()
    };
    let dpop = told(&|nonce| with(good(nonce), &json!({"token_type": "DPoP"})));
    assert_eq!(dpop, r#"the access token is of the type "DPoP""#);
    let nothing = told(&|nonce| with(good(nonce), &json!({"id_token": null})));
    assert_eq!(nothing, "the token endpoint gave out no ID token");
    for bad in [json!([]), json!({}), json!({"access_token": "t0ken"})] {
        let told = told(&|_| bad.clone());
        assert_eq!(told, "the answer of the token endpoint is malformed");
    }

    let answers = |status: StatusCode, content_type, body: &str| {
        let (pending, query) = fake.begin();
        fake.answers.lock().unwrap().token = (status, content_type, body.to_owned());
        fake.finish(pending, &query).unwrap_err()
    };
    let invalid = r#"{"error":"invalid_client"}"#;
    let refused = answers(StatusCode::UNAUTHORIZED, "application/json", invalid);
    assert_eq!(refused.fault(), Fault::Caller);
    for (status, content_type, body) in [
        (StatusCode::TEMPORARY_REDIRECT, "application/json", ""),
        (StatusCode::INTERNAL_SERVER_ERROR, "application/json", invalid),
        (StatusCode::OK, "text/html", "<h1>Welcome</h1>"),
        (StatusCode::OK, "application/json", &" ".repeat(256 * 1024 + 1)),
    ] {
        let refused = answers(status, content_type, body);
        assert_eq!(refused.to_string(), "the token endpoint does not answer", "{status}");
        assert_eq!(refused.fault(), Fault::Authority);
    }
}

#[test]
fn a_provider_without_s256_or_of_another_name_is_not_asked() {
    for (changes, reason) in [
        (json!({"code_challenge_methods_supported": ["plain"]}), "provider_unavailable"),
        (json!({"issuer": "https://evil.example"}), "provider_unavailable"),
        (json!({"token_endpoint": "http://evil.example/token"}), "provider_unavailable"),
    ] {
        let fake = Fake::new();
        {
            let mut answers = fake.answers.lock().unwrap();
            answers.discovery = with(answers.discovery.clone(), &changes);
        }
        let refused = fake.runtime.block_on(fake.party.begin(&LoginRequest::new(), now()));
        assert_eq!(refused.unwrap_err().reason(), reason, "{changes}");
    }
}

#[test]
fn errors_hold_no_secret_of_a_login() {
    let fake = Fake::new();
    let (pending, query) = fake.begin();
    let text = pending.to_text();
    let stored: Value = serde_json::from_str(text.expose()).unwrap();
    let bad = r#"{"access_token":"t0ken","token_type":7,"id_token":"t0ken"}"#;
    fake.answers.lock().unwrap().token = (StatusCode::OK, "application/json", bad.into());
    let shown = format!("{:?}", fake.finish(pending, &query).unwrap_err());
    let login =
        fake.refused(|claims| fake.key.sign_as(Some("JWT"), &with(claims, &json!({"aud": "x"}))));
    let shown = format!("{shown} {login:?} {:?}", fake.party);
    for secret in [&stored["state"], &stored["nonce"], &stored["verifier"]] {
        assert!(!shown.contains(secret.as_str().unwrap()), "{shown}");
    }
    assert!(!shown.contains("t0ken") && !shown.contains("c0de"), "{shown}");
}
