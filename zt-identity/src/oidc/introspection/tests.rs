//! Each rule of an answer, and answers beside signed tokens that say the same.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use proptest::prelude::*;
use serde_json::{Value, json};
use zt_core::fault::Fault;

use super::*;
use crate::jwk::JwkSet;
use crate::minted;
use crate::oidc::access_token::AccessTokenVerifier;
use crate::oidc::fetch::{ClientAnswer, HttpClient};
use crate::oidc::keys::IssuerKeys;
use crate::oidc::transport::Transport;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const ISSUER: &str = "https://issuer.example";

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(NOW.as_secs().saturating_add(secs))
}

/// Answers by the token that it is asked about.
#[derive(Clone, Debug, Default)]
struct Server(Arc<State>);

#[derive(Debug, Default)]
struct State {
    answers: Mutex<std::collections::HashMap<String, (u16, String)>>,
    asked: AtomicUsize,
}

impl HttpClient for Server {
    fn send(&self, request: Request<Bytes>) -> ClientAnswer<'_> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        let form = String::from_utf8(request.body().to_vec()).unwrap();
        let token = form.strip_prefix("token=").unwrap().split('&').next().unwrap().to_owned();
        Box::pin(async move {
            tokio::task::yield_now().await;
            let body = self.0.answers.lock().unwrap().get(&token).cloned();
            let (status, body) = body.unwrap_or((200, r#"{"active":false}"#.to_owned()));
            let answer = Response::builder().status(status);
            let answer = answer.header("Content-Type", "application/json");
            Ok(answer.body(body.into()).unwrap())
        })
    }
}

impl Server {
    fn set(&self, token: &str, answer: impl ToString) {
        self.answer(token, 200, answer);
    }

    fn answer(&self, token: &str, status: u16, answer: impl ToString) {
        let answer = (status, answer.to_string());
        self.0.answers.lock().unwrap().insert(token.to_owned(), answer);
    }

    fn asked(&self) -> usize {
        self.0.asked.load(Ordering::SeqCst)
    }

    fn builder(&self) -> IntrospectionVerifierBuilder {
        let secret = Secret::new("secret".to_owned());
        IntrospectionVerifier::builder(ISSUER)
            .unwrap()
            .endpoint("https://issuer.example/introspect")
            .client(ClientAuthentication::client_secret_basic("orders", secret).unwrap())
            .audience("orders")
            .transport(Transport::default().client(self.clone()))
    }
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": ["orders"], "sub": "alice", "client_id": "shop", "scope": "read write",
        "iat": at(-10).as_secs(), "exp": at(600).as_secs(),
    })
}

fn answer() -> Value {
    let mut answer = claims();
    answer["active"] = json!(true);
    answer["token_type"] = json!("Bearer");
    answer
}

fn with(name: &str, value: Value) -> Value {
    let mut answer = answer();
    answer[name] = value;
    answer
}

fn without(name: &str) -> Value {
    let mut answer = answer();
    answer.as_object_mut().unwrap().remove(name);
    answer
}

async fn verdict_by(
    builder: impl Fn(IntrospectionVerifierBuilder) -> IntrospectionVerifierBuilder,
    answer: impl ToString,
) -> Outcome {
    let server = Server::default();
    server.set("t", answer);
    builder(server.builder()).build().unwrap().verify("t", NOW).await
}

async fn verdict(answer: impl ToString) -> Outcome {
    verdict_by(|builder| builder, answer).await
}

async fn refusal(answer: impl ToString) -> (&'static str, Fault) {
    let refused = verdict(answer).await.unwrap_err();
    (refused.reason(), refused.fault())
}

#[tokio::test]
async fn a_token_that_its_issuer_vouches_for_is_what_the_issuer_says() {
    let token = verdict(answer()).await.unwrap();
    assert_eq!((token.issuer(), token.subject()), (ISSUER, "alice"));
    assert_eq!(token.client_id(), Some("shop"));
    assert_eq!(token.scopes().len(), 2);
    assert_eq!(token.expires(), at(600));
    assert_eq!(token.confirmation(), None);
    let all: std::collections::BTreeMap<String, Value> = token.claims().unwrap();
    assert_eq!(all["active"], json!(true));
}

#[tokio::test]
async fn a_token_is_active_only_where_that_is_true_and_nothing_like_it() {
    assert_eq!(refusal(r#"{"active":false}"#).await, ("token_not_active", Fault::Peer));
    for like in [json!("true"), json!(1), json!(null), json!([true]), json!({}), json!("false")] {
        assert_eq!(
            refusal(with("active", like)).await,
            ("introspection_malformed", Fault::Authority)
        );
    }
    assert_eq!(refusal(without("active")).await, ("introspection_malformed", Fault::Authority));
}

#[tokio::test]
async fn an_error_about_the_token_refuses_it_and_every_other_is_none_of_its_senders() {
    let error = |name: &str| json!({ "error": name, "active": true }).to_string();
    let refused = ("token_type_not_introspected", Fault::Peer, 1);
    let unavailable = ("introspection_unavailable", Fault::Authority, 2);
    for (status, body, expected) in [
        (400, error("unsupported_token_type"), refused),
        (401, error("unsupported_token_type"), unavailable),
        (403, error("unsupported_token_type"), unavailable),
        (503, error("unsupported_token_type"), unavailable),
        (400, error("Unsupported_token_type"), unavailable),
        (400, error("invalid_request"), unavailable),
        (400, error("invalid_client"), unavailable),
        (401, error("invalid_client"), unavailable),
        (401, error("invalid_token"), unavailable),
        (400, error("invalid_token"), unavailable),
        (400, error("unauthorized_client"), unavailable),
        (403, error("access_denied"), unavailable),
        (404, error("not_found"), unavailable),
        (400, answer().to_string(), unavailable),
        (400, r#"{"active":false}"#.to_owned(), unavailable),
        (400, r#"{"error":["unsupported_token_type"]}"#.to_owned(), unavailable),
        (400, r#"{"error":"x","error":"unsupported_token_type"}"#.to_owned(), unavailable),
        (400, String::new(), unavailable),
    ] {
        let server = Server::default();
        server.answer("t", status, &body);
        let tokens = server.builder().build().unwrap();
        let told = tokens.verify("t", NOW).await.unwrap_err();
        assert!(tokens.verify("t", NOW).await.is_err());
        assert_eq!((told.reason(), told.fault(), server.asked()), expected, "{status} {body}");
    }
}

#[tokio::test]
async fn an_answer_that_can_be_read_in_two_ways_is_none() {
    let twice = answer().to_string();
    let members = twice.strip_prefix('{').unwrap();
    for other in [
        format!(r#"{{"active":false,{members}"#),
        format!(r#"{{"activ\u0065":true,{members}"#),
        format!(r#"{{"sub":"mallory",{members}"#),
        format!("{twice}{twice}"),
        format!("[{twice}]"),
        String::new(),
        "true".to_owned(),
    ] {
        assert_eq!(refusal(&other).await, ("introspection_malformed", Fault::Authority), "{other}");
    }
    let long = with("padding", json!("a".repeat(MAX_ANSWER_LEN)));
    assert_eq!(refusal(long).await, ("introspection_malformed", Fault::Authority));
}

#[tokio::test]
async fn a_token_of_another_issuer_or_for_another_service_is_refused() {
    for (answer, reason) in [
        (with("iss", json!("https://issuer.example/")), "token_of_another_issuer"),
        (with("iss", json!([ISSUER])), "token_claims"),
        (without("iss"), "token_claims"),
        (with("aud", json!("bills")), "token_of_another_audience"),
        (with("aud", json!(["bills", "payments"])), "token_of_another_audience"),
        (with("aud", json!([])), "token_of_another_audience"),
        (without("aud"), "token_claims"),
        (without("sub"), "token_claims"),
        (with("sub", json!("")), "token_claims"),
    ] {
        let (found, fault) = refusal(&answer).await;
        assert_eq!((found, fault), (reason, Fault::Peer), "{answer}");
    }
}

#[tokio::test]
async fn a_token_counts_in_its_time_whatever_active_says() {
    let now = NOW.as_secs();
    for (answer, reason) in [
        (with("exp", json!(now - 60)), "token_expired"),
        (without("exp"), "token_claims"),
        (with("exp", json!(format!("{}", now + 60))), "token_claims"),
        (with("nbf", json!(now + 61)), "token_not_yet_valid"),
        (with("iat", json!(now + 61)), "token_not_yet_valid"),
    ] {
        let (found, fault) = refusal(&answer).await;
        assert_eq!((found, fault), (reason, Fault::Peer), "{answer}");
    }
}

#[tokio::test]
async fn a_token_of_another_kind_opens_nothing() {
    let another = ("token_of_another_kind", Fault::Peer);
    assert_eq!(refusal(without("token_type")).await, another);
    assert_eq!(refusal(with("token_type", json!("N_A"))).await, another);
    assert_eq!(refusal(with("token_use", json!("refresh_token"))).await, another);
    assert_eq!(refusal(with("nonce", json!("n"))).await, another);
    assert_eq!(refusal(with("events", json!({}))).await, another);
    assert!(verdict(with("token_type", json!("bearer"))).await.is_ok());
    assert!(verdict(with("token_use", json!("access_token"))).await.is_ok());
    let untyped = IntrospectionVerifierBuilder::admit_untyped;
    assert!(verdict_by(untyped, without("token_type")).await.is_ok());
    let refresh = with("token_use", json!("refresh_token"));
    assert!(verdict_by(untyped, refresh).await.is_err());
}

#[tokio::test]
async fn a_token_keeps_what_it_is_bound_to() {
    let thumbprint = minted::base64url([7; 32]);
    for (name, kind) in [("jkt", "DPoP"), ("x5t#S256", "Bearer"), ("jkt", "Bearer")] {
        let mut answer = with("token_type", json!(kind));
        answer["cnf"] = json!({ name: thumbprint });
        let token = verdict(answer).await.unwrap();
        let bound = token.confirmation().unwrap();
        let found = bound.key_thumbprint().or(bound.certificate_sha256());
        assert_eq!(found, Some(&[7; 32]));
    }
    let mut unknown = answer();
    unknown["cnf"] = json!({ "future": 1 });
    let token = verdict(unknown).await.unwrap();
    assert_eq!(token.confirmation().unwrap().unsupported(), Some("future"));
    for bad in [json!({}), json!(null), json!("x"), json!({ "jkt": "short" })] {
        assert_eq!(refusal(with("cnf", bad)).await.0, "token_claims");
    }
    // A type that says that it is bound, and nothing that it is bound to.
    assert_eq!(refusal(with("token_type", json!("DPoP"))).await.0, "token_claims");
}

#[tokio::test]
async fn a_client_is_its_own_subject_only_where_that_is_said_and_under_a_name_of_its_own() {
    let own = |builder: IntrospectionVerifierBuilder| builder.clients_as_subjects("client:");
    let token = verdict_by(own, without("sub")).await.unwrap();
    assert_eq!((token.subject(), token.client_id()), ("client:shop", Some("shop")));
    let token = verdict_by(own, answer()).await.unwrap();
    assert_eq!(token.subject(), "alice");
    let mut nobody = without("sub");
    nobody.as_object_mut().unwrap().remove("client_id");
    assert!(verdict_by(own, nobody).await.is_err());
    assert!(verdict_by(own, with("sub", json!(null))).await.is_err());
}

#[tokio::test]
async fn a_verdict_is_remembered_for_its_time_and_no_longer_than_the_token_lives() {
    let server = Server::default();
    server.set("t", with("exp", json!(NOW.as_secs() + 40)));
    server.set("u", answer());
    let tokens = server.builder().max_age(Duration::from_secs(60)).build().unwrap();
    for (token, secs, asked) in
        [("t", 0, 1), ("t", 39, 1), ("u", 0, 2), ("u", 59, 2), ("u", 60, 3), ("u", 59, 4)]
    {
        assert!(tokens.verify(token, at(secs)).await.is_ok());
        assert_eq!(server.asked(), asked, "{token} {secs}");
    }
    // Within the leeway it is asked about each time.
    assert!(tokens.verify("t", at(41)).await.is_ok());
    assert!(tokens.verify("t", at(41)).await.is_ok());
    assert_eq!(server.asked(), 6);
    let refused = tokens.verify("t", at(100)).await.unwrap_err();
    assert_eq!(refused.reason(), "token_expired");

    let forgetful = server.builder().max_age(Duration::ZERO).build().unwrap();
    let before = server.asked();
    for _ in 0..3 {
        assert!(forgetful.verify("u", NOW).await.is_ok());
    }
    assert_eq!(server.asked() - before, 3);
}

#[tokio::test]
async fn a_refusal_is_remembered_for_a_short_while_and_takes_no_room_from_good_tokens() {
    let server = Server::default();
    server.set("good", answer());
    let tokens = server.builder().capacity(4).build().unwrap();
    assert!(tokens.verify("good", NOW).await.is_ok());
    for number in 0..50 {
        assert!(tokens.verify(&format!("made-up-{number}"), NOW).await.is_err());
    }
    let asked = server.asked();
    assert!(tokens.verify("good", NOW).await.is_ok());
    assert!(tokens.verify("made-up-49", at(4)).await.is_err());
    assert_eq!(server.asked(), asked);
    server.set("made-up-49", answer());
    assert!(tokens.verify("made-up-49", at(4)).await.is_err());
    assert!(tokens.verify("made-up-49", at(5)).await.is_ok());
}

#[tokio::test]
async fn what_is_the_authoritys_fault_is_not_remembered() {
    let server = Server::default();
    let tokens = server.builder().build().unwrap();
    server.set("t", "<html>");
    assert_eq!(tokens.verify("t", NOW).await.unwrap_err().fault(), Fault::Authority);
    server.set("t", answer());
    assert!(tokens.verify("t", NOW).await.is_ok());
}

#[tokio::test]
async fn many_requests_with_few_tokens_ask_once_about_each_and_get_its_own_answer() {
    let server = Server::default();
    for name in ["alice", "bob", "carol"] {
        server.set(name, with("sub", json!(name)));
    }
    let tokens = server.builder().build().unwrap();
    let asked: Vec<_> = (0..90)
        .map(|n| {
            let (tokens, name) = (tokens.clone(), ["alice", "bob", "carol", "mallory"][n % 4]);
            tokio::spawn(async move { (name, tokens.verify(name, NOW).await) })
        })
        .collect();
    for asked in asked {
        let (name, outcome) = asked.await.unwrap();
        match outcome {
            Ok(token) => assert_eq!(token.subject(), name),
            Err(error) => assert_eq!((name, error.reason()), ("mallory", "token_not_active")),
        }
    }
    assert_eq!(server.asked(), 4);
}

#[tokio::test]
async fn who_joins_a_question_is_judged_at_its_own_time() {
    let server = Server::default();
    server.set("t", with("exp", json!(NOW.as_secs() + 10)));
    let tokens = server.builder().build().unwrap();
    let (Begun::Asked(early), Begun::Asked(late)) =
        (tokens.begin("t", NOW), tokens.begin("t", at(70)))
    else {
        panic!("nothing is known yet");
    };
    assert!(early.answered().await.is_ok());
    assert_eq!(late.answered().await.unwrap_err().reason(), "token_expired");
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn a_token_that_is_too_long_is_not_asked_about() {
    let server = Server::default();
    let tokens = server.builder().build().unwrap();
    let refused = tokens.verify(&"a".repeat(MAX_LEN + 1), NOW).await.unwrap_err();
    assert_eq!((refused.reason(), refused.fault()), ("token_malformed", Fault::Peer));
    assert_eq!(server.asked(), 0);
}

#[test]
fn without_a_runtime_nobody_is_asked_and_nobody_let_in() {
    let tokens = Server::default().builder().build().unwrap();
    let Begun::Known(Err(error)) = tokens.begin("t", NOW) else { panic!("asked") };
    assert_eq!((error.reason(), error.fault()), ("introspection_unavailable", Fault::Caller));
}

#[test]
fn a_verifier_has_an_endpoint_a_client_and_an_audience() {
    let server = Server::default();
    let built = |change: &dyn Fn(IntrospectionVerifierBuilder) -> IntrospectionVerifierBuilder| {
        change(server.builder()).build()
    };
    for url in [
        "",
        "http://issuer.example/introspect",
        "http://127.0.0.1/introspect",
        "https://",
        "https://u@issuer.example/",
        "https://issuer.example/#f",
        "https://issuer.example/ x",
        "ftp://issuer.example/",
    ] {
        let refused = built(&|builder| builder.endpoint(url)).unwrap_err();
        assert!(matches!(refused, IntrospectionVerifierError::Endpoint { .. }), "{url}");
    }
    let refused = IntrospectionVerifier::builder(ISSUER)
        .unwrap()
        .endpoint("https://issuer.example/")
        .audience("orders")
        .build();
    assert!(matches!(refused, Err(IntrospectionVerifierError::NoClient)));
    let secret = Secret::new("secret".to_owned());
    let refused = IntrospectionVerifier::builder(ISSUER)
        .unwrap()
        .endpoint("https://issuer.example/")
        .client(ClientAuthentication::client_secret_basic("orders", secret).unwrap())
        .build();
    assert!(matches!(refused, Err(IntrospectionVerifierError::Rules(_))));
    let refused = built(&|builder| builder.max_age(Duration::from_secs(601)));
    assert!(matches!(refused, Err(IntrospectionVerifierError::Age { .. })));
    let refused = built(&|builder| builder.refusal_age(Duration::from_secs(61)));
    assert!(matches!(refused, Err(IntrospectionVerifierError::Age { .. })));
    let shown = format!("{:?}", built(&|builder| builder).unwrap());
    assert!(!shown.contains("secret\""), "{shown}");
}

fn any_claim() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!(ISSUER)),
        Just(json!("orders")),
        Just(json!(["orders", "bills"])),
        Just(json!("alice")),
        Just(json!("")),
        Just(json!({ "jkt": minted::base64url([7; 32]) })),
        (-700..700i64).prop_map(|by| json!(at(by).as_secs())),
        any::<bool>().prop_map(Value::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// A token that is asked about is worth what a signed one with the same claims is.
    #[test]
    fn what_an_issuer_answers_counts_as_what_it_signs(
        changes in prop::collection::vec((prop::sample::select(vec![
            "iss", "aud", "sub", "client_id", "scope", "iat", "nbf", "exp", "cnf", "roles", "groups",
            "acr", "amr", "auth_time", "jti", "sid", "nonce", "email", "email_verified",
        ]), any_claim()), 0..3),
    ) {
        let mut claims = claims();
        for (name, value) in changes {
            claims[name] = value;
        }
        let issuer = minted::Issuer::new();
        let signed = AccessTokenVerifier::builder(ISSUER).unwrap().audience("orders")
            .admit_jwt_type()
            .keys(IssuerKeys::fixed(JwkSet::parse(issuer.jwks().as_bytes()).unwrap()))
            .build().unwrap()
            .verify(&issuer.sign(r#"{"alg":"EdDSA","typ":"JWT","kid":"k1"}"#, claims.to_string()), NOW);
        claims["active"] = json!(true);
        claims["token_type"] = json!("Bearer");
        let tokens = Server::default().builder().build().unwrap();
        let answered = tokens.0.rules.judge(tokens.issuer(), "t", claims.to_string().as_bytes(), NOW);
        match (signed, answered) {
            (Ok(signed), Ok(facts)) => {
                let answered = verified(facts, Vec::new());
                prop_assert_eq!(signed.user(), answered.user());
                prop_assert_eq!(signed.confirmation(), answered.confirmation());
                prop_assert_eq!(
                    (signed.expires(), signed.issued_at(), signed.id(), signed.session()),
                    (answered.expires(), answered.issued_at(), answered.id(), answered.session())
                );
            }
            (Err(signed), Err(answered)) => prop_assert_eq!(signed.reason(), answered.reason()),
            (signed, answered) => prop_assert!(false, "{signed:?} {answered:?}"),
        }
    }
}
