use proptest::prelude::*;
use serde_json::{Value as Json, json};
use zt_core::verified::Verified;

use super::*;
use crate::claims::Audience;
use crate::jwk::JwkSet;
use crate::minted;
use crate::oidc::access_token::AccessTokenVerifier;
use crate::oidc::issuer::Issuer;
use crate::oidc::keys::IssuerKeys;
use crate::oidc::logout_token::{EVENT, LogoutTokenVerifier};
use crate::oidc::security_event_token::SecurityEventTokenVerifier;

const ISSUER: &str = "https://login.example.com";
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs.saturating_add(1_800_000_000))
}

fn token(issued_at: i64) -> TokenNames<'static> {
    TokenNames {
        session: Some("s1"),
        id: Some("t1"),
        issued_at: Some(at(issued_at)),
        ..TokenNames::new(ISSUER, "alice")
    }
}

fn revoke(revocations: &MemoryRevocations, revoked: &[Revocation], now: Timestamp) {
    revocations.revoke(revoked, now).into_ready().unwrap().unwrap();
}

fn after(revocation: Revocation) -> MemoryRevocations {
    let revocations = MemoryRevocations::new(1_000);
    revoke(&revocations, &[revocation], NOW);
    revocations
}

fn revokes(revocation: Revocation, token: TokenNames<'_>) -> bool {
    match after(revocation).check(&token, NOW) {
        Ok(()) => false,
        Err(error) => {
            assert_eq!(error, RevokedError::Revoked);
            true
        }
    }
}

#[test]
fn a_session_and_a_token_are_revoked_whenever_they_were_issued() {
    for issued_at in [-100, 0, 50] {
        assert!(revokes(Revocation::of_session(ISSUER, "s1"), token(issued_at)));
        assert!(revokes(Revocation::of_token(ISSUER, "t1"), token(issued_at)));
    }
}

#[test]
fn a_subject_and_an_issuer_are_revoked_up_to_a_second_and_not_beyond() {
    for revocation in
        [Revocation::of_subject(ISSUER, "alice", NOW), Revocation::of_issuer(ISSUER, NOW)]
    {
        assert!(revokes(revocation, token(-1)));
        assert!(revokes(revocation, token(0)));
        assert!(!revokes(revocation, token(1)));
    }
}

#[test]
fn nobody_else_is_revoked() {
    let other = "https://other.example.com";
    for revocation in [
        Revocation::of_session(ISSUER, "s2"),
        Revocation::of_session(ISSUER, "t1"),
        Revocation::of_session(ISSUER, "alice"),
        Revocation::of_token(ISSUER, "s1"),
        Revocation::of_subject(ISSUER, "bob", NOW),
        Revocation::of_subject(ISSUER, "s1", NOW),
        Revocation::of_session(other, "s1"),
        Revocation::of_token(other, "t1"),
        Revocation::of_subject(other, "alice", NOW),
        Revocation::of_issuer(other, NOW),
    ] {
        assert!(!revokes(revocation, token(0)), "{revocation:?}");
    }
}

#[test]
fn a_token_without_session_and_name_is_revoked_by_its_subject_and_issuer() {
    let bare = TokenNames { issued_at: Some(NOW), ..TokenNames::new(ISSUER, "alice") };
    assert!(revokes(Revocation::of_subject(ISSUER, "alice", NOW), bare));
    assert!(revokes(Revocation::of_issuer(ISSUER, NOW), bare));
    assert!(!revokes(Revocation::of_session(ISSUER, ""), bare));
}

#[test]
fn a_token_that_does_not_say_when_it_was_issued_is_refused() {
    let undated = TokenNames { issued_at: None, ..token(0) };
    let error = MemoryRevocations::new(1).check(&undated, NOW).unwrap_err();
    assert_eq!((error, error.fault()), (RevokedError::Undated, Fault::Peer));
}

#[test]
fn a_token_that_is_older_than_revocations_are_remembered_is_refused() {
    let retention = Duration::from_secs(600);
    let revocations = MemoryRevocations::new(1).with_retention(retention);
    assert_eq!(revocations.check(&token(-600), NOW), Ok(()));
    let (now, issued_at) = (NOW, at(-601));
    let error = RevokedError::TooOldToTell { now, issued_at, retention };
    assert_eq!(revocations.check(&token(-601), NOW), Err(error));
}

#[test]
fn a_revocation_bites_until_the_token_is_too_old_anyway() {
    let retention = Duration::from_secs(600);
    let revocations = MemoryRevocations::new(64).with_retention(retention);
    for n in 0..10_000_i64 {
        let (now, session) = (at(n), format!("s{n}"));
        revoke(&revocations, &[Revocation::of_session(ISSUER, &session)], now);
        let mut mine = token(n.saturating_sub(600));
        mine.session = Some(&session);
        assert_eq!(revocations.check(&mine, now), Err(RevokedError::Revoked));
    }
}

#[test]
fn what_there_is_no_room_for_revokes_everything_of_its_issuer() {
    let revocations = MemoryRevocations::new(0);
    revoke(&revocations, &[Revocation::of_session(ISSUER, "someone else's")], NOW);
    assert_eq!(revocations.check(&token(0), NOW), Err(RevokedError::Revoked));
    assert_eq!(revocations.check(&token(1), at(1)), Ok(()));
    let other = TokenNames { issuer: "https://other.example.com", ..token(0) };
    assert_eq!(revocations.check(&other, NOW), Ok(()));
}

fn keys() -> IssuerKeys {
    IssuerKeys::fixed(JwkSet::parse(minted::Issuer::new().jwks().as_bytes()).unwrap())
}

fn sign(typ: &str, claims: &Json) -> String {
    let header = format!(r#"{{"alg":"EdDSA","kid":"k1","typ":"{typ}"}}"#);
    minted::Issuer::new().sign(&header, claims.to_string())
}

fn logout(more: Json) -> Vec<Revocation> {
    let mut claims = json!({
        "iss": ISSUER, "aud": "shop", "jti": "1", "iat": NOW.as_secs(), "exp": at(60).as_secs(),
        "events": {EVENT: {}},
    });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let tokens = LogoutTokenVerifier::new(Issuer::parse(ISSUER).unwrap(), "shop", keys()).unwrap();
    let token = tokens.verify(&sign("logout+jwt", &claims), NOW).unwrap();
    Revocation::of_logout(&token.admit(|_, _| true).unwrap())
}

fn event(claims: Json) -> Result<Vec<Revocation>, RevocationEventError> {
    let mut all = json!({"iss": ISSUER, "aud": "shop", "jti": "1", "iat": NOW.as_secs()});
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    let audience = Audience::any(["shop"]).unwrap();
    let issuer = Issuer::parse(ISSUER).unwrap();
    let tokens = SecurityEventTokenVerifier::new(issuer, audience, keys()).unwrap();
    let token = tokens.verify(&sign("secevent+jwt", &all), NOW).unwrap();
    Revocation::of_event(&token.admit(|_, _| true).unwrap(), ISSUER)
}

fn alice() -> Vec<Revocation> {
    vec![Revocation::of_subject(ISSUER, "alice", NOW)]
}

fn session() -> Vec<Revocation> {
    vec![Revocation::of_session(ISSUER, "s1")]
}

#[test]
fn a_logout_ends_the_session_it_names_or_else_all_of_its_subject() {
    assert_eq!(logout(json!({"sub": "alice"})), alice());
    assert_eq!(logout(json!({"sid": "s1"})), session());
    assert_eq!(logout(json!({"sub": "alice", "sid": "s1"})), session());
}

#[test]
fn a_revoked_session_ends_as_its_subject_says() {
    let iss_sub = json!({"format": "iss_sub", "iss": ISSUER, "sub": "alice"});
    let opaque = json!({"format": "opaque", "id": "s1"});
    let events = json!({SESSION_REVOKED: {"event_timestamp": 1}});
    let about = |subject: &Json| event(json!({"sub_id": subject, "events": events}));
    assert_eq!(about(&iss_sub), Ok(alice()));
    assert_eq!(about(&json!({"format": "opaque", "id": "alice"})), Ok(alice()));
    assert_eq!(about(&json!({"format": "complex", "user": iss_sub})), Ok(alice()));
    let both = json!({"format": "complex", "user": iss_sub, "session": opaque});
    assert_eq!(about(&both), Ok(session()));
    assert_eq!(event(json!({"sub": "alice", "events": events})), Ok(alice()));
    let inner = json!({SESSION_REVOKED: {"subject": both}});
    assert_eq!(event(json!({"events": inner})), Ok(session()));
}

#[test]
fn a_changed_credential_ends_everything_about_its_user() {
    let events =
        json!({CREDENTIAL_CHANGE: {"credential_type": "password", "change_type": "update"}});
    let user = json!({"format": "iss_sub", "iss": ISSUER, "sub": "alice"});
    let session = json!({"format": "opaque", "id": "s1"});
    let subject = json!({"format": "complex", "user": user, "session": session});
    assert_eq!(event(json!({"sub_id": subject, "events": events})), Ok(alice()));
}

#[test]
fn a_device_ends_everything_about_its_user_when_it_complies_no_more() {
    let change = |status: &str| {
        let events = json!({DEVICE_COMPLIANCE_CHANGE: {"current_status": status}});
        event(json!({"sub": "alice", "events": events}))
    };
    assert_eq!(change("not-compliant"), Ok(alice()));
    assert_eq!(change("compliant"), Ok(vec![]));
    assert_eq!(change("unknown"), Err(RevocationEventError::Malformed));
}

#[test]
fn an_event_that_names_nobody_a_token_names_is_refused() {
    let refused = |subject: Json| {
        event(json!({"sub_id": subject, "events": {CREDENTIAL_CHANGE: {}}})).unwrap_err()
    };
    let device = json!({"format": "opaque", "id": "laptop"});
    for subject in [
        json!({"format": "email", "email": "a@example.com"}),
        json!({"format": "complex", "device": device}),
        json!({"format": "complex", "session": device}),
    ] {
        assert_eq!(refused(subject), RevocationEventError::NoSubject);
    }
    for subject in [
        json!({}),
        json!("alice"),
        json!({"format": "iss_sub", "iss": ISSUER}),
        json!({"format": "iss_sub", "sub": "alice"}),
        json!({"format": "opaque", "id": ""}),
        json!({"format": "complex", "user": "alice"}),
    ] {
        assert_eq!(refused(subject), RevocationEventError::Malformed);
    }
    let nobody = event(json!({"events": {SESSION_REVOKED: {}}}));
    assert_eq!(nobody, Err(RevocationEventError::NoSubject));
}

#[test]
fn an_event_about_the_user_of_another_issuer_is_refused() {
    let subject = json!({"format": "iss_sub", "iss": "https://other.example.com", "sub": "alice"});
    let refused = event(json!({"sub_id": subject, "events": {SESSION_REVOKED: {}}}));
    assert_eq!(refused, Err(RevocationEventError::OtherIssuer));
}

#[test]
fn other_events_revoke_nothing() {
    let verification = "https://schemas.openid.net/secevent/ssf/event-type/verification";
    assert_eq!(event(json!({"events": {verification: {"state": "x"}}})), Ok(vec![]));
}

fn access_token(claims: Json) -> Verified<AccessToken> {
    let mut all = json!({"iss": ISSUER, "aud": "orders", "sub": "alice", "exp": at(60).as_secs()});
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    AccessTokenVerifier::builder(ISSUER)
        .unwrap()
        .audience("orders")
        .keys(keys())
        .build()
        .unwrap()
        .verify(&sign("at+jwt", &all), NOW)
        .unwrap()
}

#[test]
fn a_lease_lasts_until_its_token_ends_or_is_revoked() {
    let revocations = Arc::new(MemoryRevocations::new(100));
    let token = access_token(json!({"sid": "s1", "jti": "t1", "iat": NOW.as_secs()}));
    let lease = TokenStanding::new(token, revocations.clone());
    // As long as a request with it would be let in: 60 s after its `exp`.
    assert_eq!((lease.check(at(119)), lease.counts_until()), (Ok(()), at(120)));
    let (now, expires) = (at(120), at(60));
    assert_eq!(lease.check(now), Err(StandingError::Expired { now, expires }));
    revoke(&revocations, &session(), NOW);
    assert_eq!(lease.check(at(1)), Err(StandingError::Revoked(RevokedError::Revoked)));
}

proptest! {
    #[test]
    fn any_event_is_refused_or_revokes(
        events in r#"\{"https://schemas\.openid\.net/secevent/caep/event-type/(session-revoked|credential-change|device-compliance-change)":\{("(current_status|subject)":("compliant"|\{"format":"opaque","id":"x"\}|1|null)){0,1}\}\}"#,
        subject in r#"(null|1|"x"|\{\}|\{"format":"(iss_sub|opaque|complex|email)"(,"(iss|sub|id|user|session)":("x"|1|\{\}|\{"format":"opaque"\})){0,1}\})"#,
    ) {
        let events: Json = serde_json::from_str(&events).unwrap();
        let subject: Json = serde_json::from_str(&subject).unwrap();
        let _ = event(json!({"sub_id": subject, "events": events}));
    }
}
