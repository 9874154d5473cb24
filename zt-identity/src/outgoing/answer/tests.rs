//! Each rule of an answer.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn service() -> Destination {
    Destination::of_service("https://a.test").unwrap().audience("a").scope("read").scope("write")
}

fn of_user() -> Destination {
    Destination::of_user("https://a.test").unwrap().audience("a")
}

fn answer() -> Value {
    json!({
        "access_token": "t0k3n.-_~+/==", "token_type": "Bearer", "expires_in": 600,
        "issued_token_type": ACCESS_TOKEN, "scope": "write read more", "refresh_token": "r",
    })
}

fn with(name: &str, value: Value) -> String {
    let mut answer = answer();
    answer[name] = value;
    answer.to_string()
}

fn without(name: &str) -> String {
    let mut answer = answer();
    answer.as_object_mut().unwrap().remove(name);
    answer.to_string()
}

fn read_as(answer: &str, destination: &Destination) -> Result<TokenAnswer, TokenAnswerError> {
    granted(answer.as_bytes(), destination)
}

fn refusal(answer: &str) -> TokenAnswerError {
    let refused = read_as(answer, &of_user()).unwrap_err();
    assert_eq!(refused.fault(), Fault::Authority);
    refused
}

#[test]
fn a_token_is_what_was_asked_for() {
    for destination in [service(), of_user()] {
        let token = read_as(&answer().to_string(), &destination).unwrap();
        assert_eq!(token.text.expose(), "t0k3n.-_~+/==");
        assert_eq!((token.kind, token.lifetime), (Kind::Bearer, Duration::from_secs(600)));
        assert!(!format!("{token:?}").contains("t0k3n"));
    }
}

#[test]
fn a_token_that_was_to_be_bound_and_is_not_is_refused_unless_that_is_said() {
    let (bearer, dpop) = (with("token_type", json!("bearer")), with("token_type", json!("DPoP")));
    let kind = |answer: &str, destination: Destination| {
        read_as(answer, &destination).map(|token| token.kind).ok()
    };
    assert_eq!(kind(&bearer, of_user()), Some(Kind::Bearer));
    assert_eq!(kind(&dpop, of_user()), None);
    assert_eq!(kind(&bearer, of_user().dpop()), None);
    assert_eq!(kind(&dpop, of_user().dpop()), Some(Kind::Dpop));
    assert_eq!(kind(&bearer, of_user().dpop_or_bearer()), Some(Kind::Bearer));
    assert_eq!(kind(&dpop, of_user().dpop_or_bearer()), Some(Kind::Dpop));
    for other in
        [with("token_type", json!("mac")), with("token_type", json!("N_A")), without("token_type")]
    {
        assert_eq!(kind(&other, of_user().dpop_or_bearer()), None, "{other}");
    }
    let text = refusal(&with("token_type", json!(["Bearer"])));
    assert_eq!(text, TokenAnswerError::Malformed { member: "token_type" });
}

#[test]
fn what_was_exchanged_is_an_access_token() {
    assert!(read_as(&with("issued_token_type", json!(JWT)), &of_user()).is_ok());
    for other in [
        with("issued_token_type", json!("urn:ietf:params:oauth:token-type:refresh_token")),
        with("issued_token_type", json!("urn:ietf:params:oauth:token-type:id_token")),
        without("issued_token_type"),
    ] {
        assert!(matches!(refusal(&other), TokenAnswerError::IssuedType { .. }), "{other}");
    }
    assert!(read_as(&without("issued_token_type"), &service()).is_ok());
}

#[test]
fn a_token_fits_into_a_header() {
    for other in [
        json!(""),
        json!("="),
        json!("a b"),
        json!("a\r\nX-Evil: 1"),
        json!("a,b"),
        json!("ä"),
        json!("a".repeat(MAX_TOKEN_LEN + 1)),
    ] {
        assert_eq!(refusal(&with("access_token", other)), TokenAnswerError::Token);
    }
    assert_eq!(refusal(&without("access_token")), TokenAnswerError::Token);
    let malformed = TokenAnswerError::Malformed { member: "access_token" };
    assert_eq!(refusal(&with("access_token", json!(7))), malformed);
}

#[test]
fn a_token_counts_for_a_whole_number_of_seconds_and_a_day_at_most() {
    let lifetime = |answer: &str| read_as(answer, &of_user()).map(|token| token.lifetime);
    assert_eq!(lifetime(&without("expires_in")), Ok(UNSTATED_LIFETIME));
    assert_eq!(lifetime(&with("expires_in", json!(1))), Ok(Duration::from_secs(1)));
    assert_eq!(lifetime(&with("expires_in", json!(u64::MAX))), Ok(MAX_LIFETIME));
    for other in [json!(0), json!(-1), json!(1.5), json!("600"), json!(null), json!(1e30)] {
        let malformed = TokenAnswerError::Malformed { member: "expires_in" };
        assert_eq!(lifetime(&with("expires_in", other.clone())), Err(malformed), "{other}");
    }
}

#[test]
fn no_scope_that_was_asked_for_is_missing() {
    assert!(read_as(&without("scope"), &service()).is_ok());
    for less in ["read", "", "readwrite", "read,write"] {
        let refused = read_as(&with("scope", json!(less)), &service()).unwrap_err();
        assert!(matches!(refused, TokenAnswerError::Scope { .. }), "{less}");
    }
    assert!(read_as(&with("scope", json!(["read", "write"])), &service()).is_err());
}

#[test]
fn an_answer_that_can_be_read_in_two_ways_is_none() {
    let answer = answer().to_string();
    let members = answer.strip_prefix('{').unwrap();
    for other in [
        format!(r#"{{"access_token":"other",{members}"#),
        format!(r#"{{"token_typ\u0065":"DPoP",{members}"#),
        format!("{answer}{answer}"),
        format!("[{answer}]"),
        String::new(),
    ] {
        assert!(matches!(refusal(&other), TokenAnswerError::Json(_)), "{other}");
    }
    let long = with("padding", json!("a".repeat(MAX_ANSWER_LEN)));
    assert!(matches!(refusal(&long), TokenAnswerError::TooLong { .. }));
}

proptest! {
    #[test]
    fn no_answer_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = granted(&bytes, &service());
        let _ = super::refused(&bytes);
    }
}
