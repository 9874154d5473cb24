//! Each rule of ID tokens.

use serde_json::{Value as Json, json};

use super::*;
use crate::jwk::JwkSet;
use crate::minted;

const PROVIDER: &str = "https://login.example.com";
const LOGIN: Login<'_> = Login::with_nonce("n1");

fn now() -> Timestamp {
    Timestamp::from_secs(1_800_000_000)
}

fn verifier() -> IdTokenVerifier {
    let keys = JwkSet::parse(minted::Issuer::p256().jwks().as_bytes()).unwrap();
    let issuer = Issuer::parse(PROVIDER).unwrap();
    IdTokenVerifier::new(issuer, "shop", IssuerKeys::fixed(keys)).unwrap()
}

fn with(changes: Json) -> Json {
    let mut claims = json!({
        "iss": PROVIDER, "aud": "shop", "sub": "alice", "nonce": "n1", "sid": "s1",
        "iat": 1_800_000_000, "exp": 1_800_000_600, "auth_time": 1_799_999_900, "acr": "mfa",
        "email": "alice@example.com", "email_verified": true,
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn verify(changes: Json, login: &Login<'_>) -> Result<Verified<IdToken>, IdTokenError> {
    let header = r#"{"alg":"ES256","typ":"JWT","kid":"k1"}"#;
    let token = minted::Issuer::p256().sign(header, with(changes).to_string());
    verifier().verify(&token, login, now())
}

fn refused(changes: Json, login: &Login<'_>) -> IdTokenError {
    verify(changes, login).unwrap_err()
}

#[test]
fn a_token_of_the_provider_says_who_logged_in() {
    let token = verify(json!({}), &LOGIN).unwrap();
    assert_eq!((token.issuer(), token.subject()), (PROVIDER, "alice"));
    assert_eq!((token.session(), token.email()), (Some("s1"), Some("alice@example.com")));
    assert_eq!(token.authentication().acr.as_deref(), Some("mfa"));
    let unverified = verify(json!({"email_verified": "true"}), &LOGIN).unwrap();
    assert_eq!(unverified.email(), None);
}

#[test]
fn tokens_of_other_kinds_are_refused() {
    for typ in ["at+jwt", "logout+jwt", "secevent+jwt", "wit+jwt", "dpop+jwt"] {
        let header = format!(r#"{{"alg":"ES256","typ":"{typ}","kid":"k1"}}"#);
        let token = minted::Issuer::p256().sign(&header, with(json!({})).to_string());
        let refused = verifier().verify(&token, &LOGIN, now()).unwrap_err();
        assert_eq!(refused.reason(), "token_of_another_kind", "{typ}");
    }
    let events = refused(json!({"events": {}}), &LOGIN);
    assert_eq!(events, IdTokenError::ForeignClaim { claim: "events" });
}

#[test]
fn the_registered_claims_are_there() {
    for claim in ["iss", "aud", "sub", "exp", "iat"] {
        let missing = refused(json!({claim: null}), &LOGIN);
        assert_eq!(missing, ClaimsError::Missing { claim }.into(), "{claim}");
    }
}

#[test]
fn of_several_audiences_this_client_is_the_authorized_party() {
    let several = json!(["shop", "orders"]);
    assert_eq!(
        refused(json!({"aud": several}), &LOGIN),
        ClaimsError::Missing { claim: "azp" }.into()
    );
    assert!(verify(json!({"aud": several, "azp": "shop"}), &LOGIN).is_ok());
    assert_eq!(
        refused(json!({"aud": several, "azp": "orders"}), &LOGIN),
        IdTokenError::AuthorizedParty
    );
    assert_eq!(refused(json!({"azp": "orders"}), &LOGIN), IdTokenError::AuthorizedParty);
    assert_eq!(refused(json!({"aud": "orders"}), &LOGIN), ClaimsError::Audience.into());
}

#[test]
fn the_nonce_is_that_of_the_login() {
    assert_eq!(refused(json!({"nonce": "n2"}), &LOGIN), IdTokenError::Nonce);
    assert_eq!(refused(json!({"nonce": null}), &LOGIN), IdTokenError::Nonce);
    assert_eq!(refused(json!({}), &Login::without_nonce()), IdTokenError::Nonce);
    assert!(verify(json!({"nonce": null}), &Login::without_nonce()).is_ok());
    assert_eq!(refused(json!({"nonce": ""}), &Login::with_nonce("")), IdTokenError::Nonce);
}

/// The example of OpenID Connect Core, appendix A.3 and A.6, whose `alg` uses SHA-256 too.
#[test]
fn the_hashes_are_those_of_what_came_with_the_token() {
    let access = LOGIN.access_token("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y");
    let code = LOGIN.code("Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk");
    let good = json!({"at_hash": "77QmUPtjPfzWtF2AnpK9RQ", "c_hash": "LDktKdoQak3Pk0cnXxCltA"});
    assert!(verify(good.clone(), &access).is_ok());
    assert!(verify(good.clone(), &code).is_ok());
    let other = LOGIN.access_token("other").code("other");
    assert_eq!(refused(good, &other), IdTokenError::Hash { claim: "at_hash" });
    let bad = json!({"c_hash": "77QmUPtjPfzWtF2AnpK9RQ"});
    assert_eq!(refused(bad, &code), IdTokenError::Hash { claim: "c_hash" });

    assert!(verify(json!({}), &access).is_ok());
    for (login, claim) in [(access, "at_hash"), (code, "c_hash")] {
        let missing = refused(json!({}), &login.require_hashes());
        assert_eq!(missing, ClaimsError::Missing { claim }.into());
    }
}

#[test]
fn a_refresh_has_the_nonce_of_its_login_or_none() {
    let refreshed = Login::refreshed(Some("n1"));
    assert!(verify(json!({}), &refreshed).is_ok());
    assert!(verify(json!({"nonce": null}), &refreshed).is_ok());
    assert_eq!(refused(json!({"nonce": "n2"}), &refreshed), IdTokenError::Nonce);
    assert_eq!(refused(json!({}), &Login::refreshed(None)), IdTokenError::Nonce);
    assert_eq!(refused(json!({"nonce": null}), &LOGIN), IdTokenError::Nonce);
}

#[test]
fn the_user_authenticated_no_longer_ago_than_was_asked_for() {
    let within = |secs| LOGIN.max_age(Duration::from_secs(secs));
    assert!(verify(json!({}), &within(100)).is_ok());
    assert!(verify(json!({}), &within(40)).is_ok());
    assert_eq!(refused(json!({}), &within(39)).reason(), "authentication_too_old");
    let future = json!({"auth_time": 1_800_000_061});
    assert_eq!(refused(future, &within(100)).reason(), "authentication_too_old");
    let missing = refused(json!({"auth_time": null}), &within(100));
    assert_eq!(missing, ClaimsError::Missing { claim: "auth_time" }.into());
}

#[test]
fn a_client_has_a_name_and_keys_of_its_provider() {
    let issuer = Issuer::parse(PROVIDER).unwrap();
    let keys = IssuerKeys::fixed(JwkSet::default());
    let refused = IdTokenVerifier::new(issuer, "", keys).unwrap_err();
    assert_eq!(refused, IdTokenVerifierError::Client(EmptyAudience));
}

#[test]
fn the_claims_of_an_id_token_can_be_read_into_a_type_of_ones_own() {
    #[derive(serde::Deserialize)]
    struct Profile<'t> {
        name: &'t str,
    }
    let token = verify(json!({"name": "Alice"}), &LOGIN).unwrap();
    assert_eq!(token.claims::<Profile<'_>>().unwrap().name, "Alice");
    assert!(verify(json!({}), &LOGIN).unwrap().claims::<Profile<'_>>().is_err());
    assert!(!format!("{token:?}").contains("Alice"));
}
