//! What issuers tell, over HTTP.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{Method, Request, Response};
use serde_json::{Value, json};
use zt_core::time::Timestamp;
use zt_identity::claims::Audience;
use zt_identity::oidc::logout_token::{EVENT, LogoutTokenVerifier};
use zt_identity::oidc::security_event_token::SecurityEventTokenVerifier;
use zt_identity::possession::eventual::Eventual;
use zt_identity::possession::replay::Replay;
use zt_identity::possession::revocations::{
    DEVICE_COMPLIANCE_CHANGE, MemoryRevocations, Revocation, Revocations, Revoke, RevokeError,
    RevokedError, SESSION_REVOKED, TokenNames,
};
use zt_tower::events::{BackChannelLogout, EventDelivery, MAX_BODY};

use crate::access_tokens::{ISSUER, Issuer};
use crate::support::{NOW, clock};

const FORM: &str = "application/x-www-form-urlencoded";
const SET: &str = "application/secevent+jwt";

struct Endpoints {
    revocations: Arc<MemoryRevocations>,
    logout: BackChannelLogout,
    events: EventDelivery,
}

fn endpoints(replay: usize) -> Endpoints {
    let revocations = Arc::new(MemoryRevocations::new(100));
    let (logout, events) = feeding(Arc::clone(&revocations), Replay::in_memory(replay));
    Endpoints { revocations, logout, events }
}

fn feeding(
    revocations: impl Revoke + Clone + 'static,
    replay: Replay,
) -> (BackChannelLogout, EventDelivery) {
    let issuer = || zt_identity::oidc::issuer::Issuer::parse(ISSUER).unwrap();
    let keys = || Issuer::new(1).verifier().keys().clone();
    let logouts = LogoutTokenVerifier::new(issuer(), "shop", keys()).unwrap();
    let audience = Audience::any(["shop"]).unwrap();
    let events = SecurityEventTokenVerifier::new(issuer(), audience, keys()).unwrap();
    (
        BackChannelLogout::new(logouts, replay.clone(), revocations.clone()).clock(clock()),
        EventDelivery::new(events, ISSUER, replay, revocations).clock(clock()),
    )
}

fn token(typ: &str, more: Value) -> String {
    let mut claims = json!({
        "iss": ISSUER, "aud": "shop", "sub": "alice", "jti": "1", "iat": NOW.as_secs(),
    });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Issuer::new(1).sign_as(typ, &claims)
}

fn logout_token(more: Value) -> String {
    let mut claims = json!({ "exp": NOW.as_secs().saturating_add(60), "events": { EVENT: {} } });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    token("logout+jwt", claims)
}

fn head(method: Method, content_type: &str) -> http::request::Parts {
    let request = Request::builder().method(method).header(CONTENT_TYPE, content_type);
    request.body(()).unwrap().into_parts().0
}

async fn log_out(to: &BackChannelLogout, body: &str) -> (u16, String) {
    told(&to.answer(&head(Method::POST, FORM), body.as_bytes()).await)
}

async fn deliver(to: &EventDelivery, body: &str) -> (u16, String) {
    told(&to.answer(&head(Method::POST, SET), body.as_bytes()).await)
}

fn told(response: &Response<String>) -> (u16, String) {
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    let is_json = response.headers().get(CONTENT_TYPE).is_some_and(|it| it == "application/json");
    assert_eq!(is_json, !response.body().is_empty());
    (response.status().as_u16(), response.body().clone())
}

fn alice(endpoints: &Endpoints, session: &str) -> Result<(), RevokedError> {
    let mut token = TokenNames::new(ISSUER, "alice");
    (token.session, token.issued_at) = (Some(session), Some(NOW));
    endpoints.revocations.check(&token, NOW)
}

#[tokio::test]
async fn a_logout_token_ends_its_session_and_is_not_taken_twice() {
    let all = endpoints(10);
    let form = format!("logout_token={}", logout_token(json!({ "sid": "s1" })));
    assert_eq!(log_out(&all.logout, &form).await, (200, String::new()));
    assert_eq!(alice(&all, "s1"), Err(RevokedError::Revoked));
    assert_eq!(alice(&all, "s2"), Ok(()));
    let refused = (400, r#"{"error":"invalid_request"}"#.to_owned());
    assert_eq!(log_out(&all.logout, &form).await, refused);
}

#[tokio::test]
async fn what_delivers_no_logout_token_is_400_and_ends_nothing() {
    let all = endpoints(10);
    let good = logout_token(json!({}));
    let refused = (400, r#"{"error":"invalid_request"}"#.to_owned());
    for body in [
        String::new(),
        good.clone(),
        format!("token={good}"),
        format!("logout_token={good}&logout_token={good}"),
        format!("logout_token={good}x"),
        format!("logout_token={}", logout_token(json!({ "aud": "other" }))),
        format!("logout_token={}", token("secevent+jwt", json!({ "events": { EVENT: {} } }))),
        format!("logout_token={good}&more={}", "a".repeat(MAX_BODY)),
    ] {
        assert_eq!(log_out(&all.logout, &body).await, refused);
    }
    let form = format!("logout_token={good}");
    for (method, content_type) in
        [(Method::GET, FORM), (Method::POST, "application/json"), (Method::POST, "")]
    {
        let response = all.logout.answer(&head(method, content_type), form.as_bytes()).await;
        assert_eq!(told(&response), refused);
    }
    assert_eq!(alice(&all, "s1"), Ok(()));
    let typed = head(Method::POST, "Application/X-WWW-Form-URLEncoded; charset=utf-8");
    assert_eq!(told(&all.logout.answer(&typed, form.as_bytes()).await).0, 200);
}

#[tokio::test]
async fn an_event_revokes_and_is_acknowledged_as_often_as_it_comes() {
    let all = endpoints(10);
    let subject = json!({ "format": "iss_sub", "iss": ISSUER, "sub": "alice" });
    let event =
        token("secevent+jwt", json!({ "sub_id": subject, "events": { SESSION_REVOKED: {} } }));
    assert_eq!(deliver(&all.events, &event).await, (202, String::new()));
    assert_eq!(alice(&all, "s1"), Err(RevokedError::Revoked));
    assert_eq!(deliver(&all.events, &event).await, (202, String::new()));
    let compliant = json!({ DEVICE_COMPLIANCE_CHANGE: { "current_status": "compliant" } });
    let event = token("secevent+jwt", json!({ "jti": "2", "events": compliant }));
    assert_eq!(deliver(&all.events, &event).await, (202, String::new()));
}

#[tokio::test]
async fn an_event_that_is_refused_is_told_why_in_the_words_of_the_standard() {
    let all = endpoints(10);
    let event = |more: Value| {
        let mut claims = json!({ "events": { SESSION_REVOKED: {} } });
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        token("secevent+jwt", claims)
    };
    let (signed, _) =
        event(json!({})).rsplit_once('.').map(|(a, b)| (a.to_owned(), b.len())).unwrap();
    for (body, err) in [
        ("x".to_owned(), "invalid_request"),
        (event(json!({ "iss": "https://evil.example.com" })), "invalid_issuer"),
        (event(json!({ "aud": "other" })), "invalid_audience"),
        (format!("{signed}.{}", "A".repeat(86)), "invalid_key"),
        (event(json!({ "sub_id": { "format": "email", "email": "a@b" } })), "invalid_request"),
    ] {
        let (status, body) = deliver(&all.events, &body).await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, body["err"].as_str()), (400, Some(err)));
        assert!(body["description"].is_string());
    }
    assert_eq!(deliver(&all.events, &event(json!({}))).await.0, 202, "its name was not used up");
}

#[tokio::test]
async fn a_store_that_is_full_takes_no_event() {
    let all = endpoints(0);
    let event = token("secevent+jwt", json!({ "events": { SESSION_REVOKED: {} } }));
    assert_eq!(deliver(&all.events, &event).await, (503, String::new()));
    let form = format!("logout_token={}", logout_token(json!({})));
    let unavailable = (400, r#"{"error":"temporarily_unavailable"}"#.to_owned());
    assert_eq!(log_out(&all.logout, &form).await, unavailable);
    assert_eq!(alice(&all, "s1"), Ok(()));
}

/// Cannot pass anything on, the first time.
#[derive(Clone, Debug)]
struct Flaky(Arc<std::sync::atomic::AtomicBool>);

impl Revoke for Flaky {
    fn revoke(&self, _: &[Revocation], _: Timestamp) -> Eventual<Result<(), RevokeError>> {
        let is_up = self.0.swap(true, std::sync::atomic::Ordering::SeqCst);
        let revocations = MemoryRevocations::new(1);
        Eventual::pending(async move {
            if is_up { revocations.revoke(&[], NOW).await } else { Err(down()) }
        })
    }
}

fn down() -> RevokeError {
    RevokeError::new("down")
}

#[tokio::test]
async fn what_could_not_be_passed_on_may_be_sent_again() {
    let feed = || feeding(Flaky(Arc::default()), Replay::in_memory(10));
    let form = format!("logout_token={}", logout_token(json!({})));
    let (logout, _) = feed();
    assert_eq!(log_out(&logout, &form).await.0, 400);
    assert_eq!(log_out(&logout, &form).await.0, 200);
    let event = token("secevent+jwt", json!({ "events": { SESSION_REVOKED: {} } }));
    let (_, events) = feed();
    assert_eq!(deliver(&events, &event).await.0, 503);
    assert_eq!(deliver(&events, &event).await.0, 202);
}

/// Passes nothing on before it is told to, and then fails, or does not.
#[derive(Clone, Debug)]
struct Held(Arc<tokio::sync::Semaphore>, Arc<std::sync::Mutex<Vec<Result<(), RevokeError>>>>);

impl Revoke for Held {
    fn revoke(&self, _: &[Revocation], _: Timestamp) -> Eventual<Result<(), RevokeError>> {
        let (gate, outcomes) = (Arc::clone(&self.0), Arc::clone(&self.1));
        Eventual::pending(async move {
            gate.acquire().await.unwrap().forget();
            outcomes.lock().unwrap().pop().unwrap()
        })
    }
}

#[tokio::test]
async fn a_token_that_comes_again_while_it_is_passed_on_is_not_acknowledged() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    // The last comes first.
    let outcomes = Arc::new(std::sync::Mutex::new(vec![Ok(()), Err(down())]));
    let (logout, events) =
        feeding(Held(Arc::clone(&gate), outcomes.clone()), Replay::in_memory(10));
    let event = token("secevent+jwt", json!({ "events": { SESSION_REVOKED: {} } }));
    for status in [503, 202] {
        let first = tokio::spawn({
            let (events, event) = (events.clone(), event.clone());
            async move { deliver(&events, &event).await.0 }
        });
        tokio::task::yield_now().await;
        assert_eq!(deliver(&events, &event).await, (503, String::new()));
        gate.add_permits(1);
        assert_eq!(first.await.unwrap(), status);
    }
    assert_eq!(deliver(&events, &event).await.0, 202, "it was passed on");

    outcomes.lock().unwrap().push(Ok(()));
    let form = format!("logout_token={}", logout_token(json!({ "sid": "s1", "jti": "2" })));
    let first = tokio::spawn({
        let (logout, form) = (logout.clone(), form.clone());
        async move { log_out(&logout, &form).await.0 }
    });
    tokio::task::yield_now().await;
    let unavailable = (400, r#"{"error":"temporarily_unavailable"}"#.to_owned());
    assert_eq!(log_out(&logout, &form).await, unavailable);
    gate.add_permits(1);
    assert_eq!(first.await.unwrap(), 200);
    assert_eq!(log_out(&logout, &form).await.1, r#"{"error":"invalid_request"}"#);
}
