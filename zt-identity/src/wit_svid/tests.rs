//! Each rule of WIT-SVIDs.

use serde_json::{Value as Json, json};

use super::*;
use crate::claims::Audience;
use crate::jwt_bundle::{JwtBundle, JwtBundleSet};
use crate::jwt_svid::JwtSvidVerifier;
use crate::minted;

const HEADER: &str = r#"{"alg":"ES256","typ":"wit+jwt","kid":"k1"}"#;

fn now() -> Timestamp {
    Timestamp::from_secs(1_800_000_000)
}

fn domain() -> TrustDomain {
    TrustDomain::from_name("example.org").unwrap()
}

fn key() -> Json {
    let mut key: Json = serde_json::from_str(&minted::Issuer::p256().jwk("own")).unwrap();
    key["alg"] = "ES256".into();
    key
}

fn claims() -> Json {
    json!({"sub": "spiffe://example.org/cart", "exp": 1_800_000_300, "cnf": {"jwk": key()}})
}

fn with(name: &str, value: Json) -> Json {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn verify_with_header(header: &str, claims: &Json) -> Result<Verified<WitSvid>, WitSvidError> {
    let issuer = minted::Issuer::p256();
    let bundle = WitBundle::from_jwks(domain(), issuer.jwks().as_bytes()).unwrap();
    let token = issuer.sign(header, claims.to_string());
    WitSvidVerifier::new().verify(&token, &WitBundleSet::new().with(bundle), now())
}

fn verify(claims: &Json) -> Result<Verified<WitSvid>, WitSvidError> {
    verify_with_header(HEADER, claims)
}

#[test]
fn a_token_of_the_trust_domain_names_its_workload_and_its_key() {
    let svid = verify(&claims()).unwrap();
    assert_eq!(svid.id().as_str(), "spiffe://example.org/cart");
    assert_eq!(svid.cnf().kid(), Some("own"));
    assert_eq!(svid.expires(), Timestamp::from_secs(1_800_000_300));
}

#[test]
fn the_type_tells_it_from_a_jwt_svid_in_both_directions() {
    for header in [r#"{"alg":"ES256","kid":"k1"}"#, r#"{"alg":"ES256","kid":"k1","typ":"JWT"}"#] {
        let refused = verify_with_header(header, &claims()).unwrap_err();
        assert_eq!(refused.reason(), "token_of_another_kind");
    }
    let issuer = minted::Issuer::p256();
    let bundle = JwtBundle::from_jwks(domain(), issuer.jwks().as_bytes()).unwrap();
    let wit = issuer.sign(HEADER, with("aud", json!("orders")).to_string());
    let refused = JwtSvidVerifier::new(Audience::any(["orders"]).unwrap())
        .verify(&wit, &JwtBundleSet::new().with(bundle), now())
        .unwrap_err();
    assert_eq!(refused.reason(), "token_of_another_kind");
}

#[test]
fn unknown_headers_are_ignored_unless_they_are_critical() {
    let header = r#"{"alg":"ES256","typ":"wit+jwt","kid":"k1","future":1}"#;
    assert!(verify_with_header(header, &claims()).is_ok());
    let header = r#"{"alg":"ES256","typ":"wit+jwt","kid":"k1","future":1,"crit":["future"]}"#;
    let refused = verify_with_header(header, &claims()).unwrap_err();
    assert_eq!(refused, JwsError::Extension { name: "crit" }.into());
}

#[test]
fn a_token_names_its_key() {
    let refused = verify_with_header(r#"{"alg":"ES256","typ":"wit+jwt"}"#, &claims()).unwrap_err();
    assert_eq!(refused, WitSvidError::NoKid);
}

#[test]
fn a_token_is_for_no_audience() {
    for aud in [json!("orders"), json!([]), Json::Null] {
        assert_eq!(verify(&with("aud", aud)).unwrap_err(), WitSvidError::ForAnAudience);
    }
}

#[test]
fn the_key_of_the_workload_is_public_sound_and_names_an_allowed_algorithm() {
    let changed = |name: &str, value: Json| {
        let mut key = key();
        key[name] = value;
        verify(&with("cnf", json!({"jwk": key}))).unwrap_err()
    };
    assert_eq!(changed("d", json!("AA")), JwkError::Private { member: "d" }.into());
    assert!(matches!(changed("alg", json!("HS256")), WitSvidError::ConfirmationKey(_)));
    assert!(matches!(changed("alg", json!(1)), WitSvidError::ConfirmationKey(_)));
    assert!(matches!(changed("x", json!("AA")), WitSvidError::ConfirmationKey(_)));
    let mut nameless = key();
    nameless.as_object_mut().unwrap().remove("alg");
    let refused = verify(&with("cnf", json!({"jwk": nameless}))).unwrap_err();
    assert_eq!(refused, WitSvidError::ConfirmationAlgorithm);
    let mut eddsa: Json = serde_json::from_str(&minted::Issuer::new().jwk("own")).unwrap();
    eddsa["alg"] = "EdDSA".into();
    let refused = verify(&with("cnf", json!({"jwk": eddsa}))).unwrap_err();
    assert_eq!(refused, WitSvidError::ConfirmationAlgorithm);
    for cnf in [json!("x"), json!({}), json!({"jwk": "x"}), json!({"jkt": "x"})] {
        let refused = verify(&with("cnf", cnf)).unwrap_err();
        assert_eq!(refused, ClaimsError::Malformed { claim: "cnf" }.into());
    }
}

#[test]
fn a_token_expires_and_its_iat_limits_nothing() {
    assert_eq!(verify(&with("exp", json!(1_799_999_940))).unwrap_err().reason(), "token_expired");
    assert!(verify(&with("iat", json!(1_800_003_600))).is_ok());
    assert!(verify(&with("nbf", json!(1_800_003_600))).is_err());
}

#[test]
fn a_bundle_vouches_for_its_own_trust_domain_only() {
    let refused = verify(&with("sub", json!("spiffe://example.com/cart"))).unwrap_err();
    assert!(matches!(refused, WitSvidError::NoBundle { .. }));
}

#[test]
fn a_key_shares_its_name_with_no_other_of_the_bundle() {
    let entry = |key_use: &str, kid: &str| {
        let mut key: Json = serde_json::from_str(&minted::Issuer::p256().jwk(kid)).unwrap();
        key["use"] = key_use.into();
        key
    };
    let read = |keys: &[Json]| {
        let document = json!({"keys": keys}).to_string();
        WitBundle::from_spiffe_bundle(domain(), document.as_bytes()).unwrap()
    };
    let alone = read(&[entry("wit-svid", "k1"), entry("jwt-svid", "k2")]);
    assert!(alone.key("k1").is_some() && alone.key("k2").is_none());
    let shared = read(&[entry("wit-svid", "k1"), entry("jwt-svid", "k1")]);
    assert!(shared.key("k1").is_none());
}
