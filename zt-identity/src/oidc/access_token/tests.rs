//! Each rule of access tokens.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::claims::EmptyAudience;
use crate::jwk::JwkSet;
use crate::minted;
use crate::oidc::claim_mapping::MappingError;

const ISSUER: &str = "https://login.example.com";
const AT_JWT: &str = r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k1"}"#;
const JWT: &str = r#"{"alg":"EdDSA","typ":"JWT","kid":"k1"}"#;

fn now() -> Timestamp {
    Timestamp::from_secs(1_800_000_000)
}

fn keys() -> IssuerKeys {
    IssuerKeys::fixed(JwkSet::parse(minted::Issuer::new().jwks().as_bytes()).unwrap())
}

fn builder() -> AccessTokenVerifierBuilder {
    AccessTokenVerifier::builder(ISSUER).unwrap().audience("orders").keys(keys())
}

fn claims() -> Json {
    json!({
        "iss": ISSUER, "aud": "orders", "sub": "alice", "client_id": "shop", "jti": "t1",
        "iat": 1_799_999_900, "exp": 1_800_000_600, "scope": "read write",
        "roles": ["clerk"], "groups": ["emea"],
        "acr": "mfa", "amr": ["pwd", "otp"], "auth_time": 1_799_999_000,
        "email": "alice@example.com", "email_verified": true,
    })
}

/// The usual claims with these instead; `null` takes one away.
fn with(changes: Json) -> Json {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn mint(claims: &Json) -> String {
    minted::Issuer::new().sign(AT_JWT, claims.to_string())
}

fn verify(claims: &Json) -> Result<Verified<AccessToken>, AccessTokenError> {
    builder().build().unwrap().verify(&mint(claims), now())
}

fn refused(changes: Json) -> AccessTokenError {
    verify(&with(changes)).unwrap_err()
}

fn malformed(claim: &'static str) -> AccessTokenError {
    ClaimsError::Malformed { claim }.into()
}

#[test]
fn a_good_token_says_what_it_was_issued_with() {
    let token = verify(&claims()).unwrap();
    assert_eq!((token.issuer(), token.subject()), (ISSUER, "alice"));
    assert_eq!((token.client_id(), token.id()), (Some("shop"), Some("t1")));
    assert_eq!(token.scopes(), [Arc::from("read"), Arc::from("write")]);
    assert_eq!(token.roles(), [Arc::from("clerk")]);
    assert_eq!(token.groups(), [Arc::from("emea")]);
    assert_eq!(token.authentication().acr.as_deref(), Some("mfa"));
    assert_eq!(token.authentication().amr.len(), 2);
    assert_eq!(token.authentication().auth_time, Some(Timestamp::from_secs(1_799_999_000)));
    assert_eq!(token.email(), Some("alice@example.com"));
    assert_eq!(token.expires(), Timestamp::from_secs(1_800_000_600));
    assert_eq!(token.issued_at(), Some(Timestamp::from_secs(1_799_999_900)));
    assert_eq!(token.confirmation(), None);
    assert_eq!(token.key_generation(), 2);
}

#[test]
fn a_token_with_too_many_members_or_items_is_refused() {
    let groups = |count: usize| with(json!({ "groups": vec!["g"; count] }));
    let members: serde_json::Map<_, _> = (0..512).map(|n| (n.to_string(), json!(0))).collect();
    // As many groups as a directory puts into one token.
    assert!(verify(&groups(200)).is_ok());
    for claims in [groups(512), with(json!({ "resources": members.clone() })), with(members.into())]
    {
        let refused = verify(&claims).unwrap_err();
        assert!(
            matches!(
                refused,
                AccessTokenError::Payload(JsonError::TooManyValues { most: 512, .. })
            ),
            "{refused}"
        );
        assert_eq!(refused.reason(), "token_not_json");
    }
    let mut header: Json = serde_json::from_str(AT_JWT).unwrap();
    header["more"] = json!(vec![0; 512]);
    let token = minted::Issuer::new().sign(&header.to_string(), claims().to_string());
    let refused = builder().build().unwrap().verify(&token, now()).unwrap_err();
    assert!(matches!(
        refused,
        AccessTokenError::Jws(JwsError::HeaderJson(JsonError::TooManyValues { .. }))
    ));
}

#[test]
fn a_token_of_another_type_is_refused() {
    let issuer = minted::Issuer::new();
    let verifier = builder().build().unwrap();
    let claims = claims().to_string();
    let header = |typ: &str| format!(r#"{{"alg":"EdDSA",{typ}"kid":"k1"}}"#);
    let verify = |typ| verifier.verify(&issuer.sign(&header(typ), &claims), now());
    assert!(verify(r#""typ":"application/at+jwt","#).is_ok());
    for typ in [
        "",
        r#""typ":"JWT","#,
        r#""typ":"AT+JWT","#,
        r#""typ":"dpop+jwt","#,
        r#""typ":"wit+jwt","#,
        r#""typ":"logout+jwt","#,
    ] {
        let error = verify(typ).unwrap_err();
        assert!(matches!(error, AccessTokenError::Jws(JwsError::Type { .. })), "{typ}");
    }
}

#[test]
fn the_type_jwt_is_admitted_by_its_switch_without_claims_of_an_id_token() {
    let issuer = minted::Issuer::new();
    let verifier = builder().admit_jwt_type().build().unwrap();
    let verify = |claims: Json| verifier.verify(&issuer.sign(JWT, claims.to_string()), now());
    assert!(verify(claims()).is_ok());
    for claim in FOREIGN_CLAIMS {
        let error = verify(with(json!({ claim: "x" }))).unwrap_err();
        assert_eq!(error, AccessTokenError::ForeignClaim { claim });
    }
}

#[test]
fn issuer_audience_and_subject_have_to_be_there_and_to_fit() {
    for (changes, error) in [
        (json!({"iss": null}), ClaimsError::Missing { claim: "iss" }),
        (json!({"iss": 1}), ClaimsError::Malformed { claim: "iss" }),
        (
            json!({"iss": "https://login.example.com/"}),
            ClaimsError::Issuer { found: "https://login.example.com/".into() },
        ),
        (json!({"aud": null}), ClaimsError::Missing { claim: "aud" }),
        (json!({"aud": 1}), ClaimsError::Malformed { claim: "aud" }),
        (json!({"aud": ["orders", 1]}), ClaimsError::Malformed { claim: "aud" }),
        (json!({"aud": {"orders": true}}), ClaimsError::Malformed { claim: "aud" }),
        (json!({"aud": []}), ClaimsError::Audience),
        (json!({"aud": "orders2"}), ClaimsError::Audience),
        (json!({"sub": null}), ClaimsError::Missing { claim: "sub" }),
        (json!({"sub": ""}), ClaimsError::Malformed { claim: "sub" }),
        (json!({"sub": ["alice"]}), ClaimsError::Malformed { claim: "sub" }),
        (json!({"exp": null}), ClaimsError::Missing { claim: "exp" }),
    ] {
        assert_eq!(refused(changes.clone()), error.into(), "{changes}");
    }
    assert!(verify(&with(json!({"aud": ["billing", "orders"]}))).is_ok());
}

#[test]
fn all_audiences_are_demanded_when_it_is_said() {
    let verifier = builder().audience("billing").require_all_audiences().build().unwrap();
    let verify = |aud: Json| verifier.verify(&mint(&with(json!({"aud": aud}))), now());
    assert!(verify(json!(["billing", "orders", "x"])).is_ok());
    assert_eq!(verify(json!(["orders"])).unwrap_err(), ClaimsError::Audience.into());
}

#[test]
fn claims_of_the_wrong_type_are_refused() {
    for (changes, claim) in [
        (json!({"scope": ["read"]}), "scope"),
        (json!({"roles": "clerk"}), "roles"),
        (json!({"roles": [1]}), "roles"),
        (json!({"groups": {"a": 1}}), "groups"),
        (json!({"client_id": 1}), "client_id"),
        (json!({"acr": 1}), "acr"),
        (json!({"amr": "pwd"}), "amr"),
        (json!({"auth_time": "now"}), "auth_time"),
        (json!({"jti": 1}), "jti"),
        (json!({"email": 1}), "email"),
    ] {
        assert_eq!(refused(changes), malformed(claim));
    }
}

#[test]
fn an_email_counts_only_when_it_is_verified_with_exactly_true() {
    for verified in [json!(false), json!("true"), json!(1), Json::Null] {
        let token = verify(&with(json!({"email_verified": verified}))).unwrap();
        assert_eq!(token.email(), None, "{verified}");
    }
}

#[test]
fn only_the_admitted_algorithms_verify() {
    let verifier = |algorithms: &[Algorithm]| {
        builder().algorithms(algorithms.iter().copied()).build().unwrap()
    };
    let token = mint(&claims());
    assert!(verifier(&[Algorithm::Rs256, Algorithm::EdDsa]).verify(&token, now()).is_ok());
    let refused = verifier(&[Algorithm::Rs256]).verify(&token, now()).unwrap_err();
    assert_eq!(refused.reason(), "token_algorithm");
}

#[test]
fn claims_can_be_read_into_a_type_of_ones_own() {
    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Own<'t> {
        sub: &'t str,
        limits: std::collections::BTreeMap<String, u64>,
        note: Option<String>,
    }
    let token = verify(&with(json!({"limits": {"orders": 3}, "note": "a\"b"}))).unwrap();
    let own: Own<'_> = token.claims().unwrap();
    let limits = [("orders".to_owned(), 3)].into();
    assert_eq!(own, Own { sub: "alice", limits, note: Some("a\"b".into()) });
    let unfit = verify(&with(json!({"limits": {"orders": "three"}}))).unwrap();
    let unfit = unfit.claims::<Own<'_>>().unwrap_err();
    assert!(unfit.problem.starts_with("invalid type"), "{unfit}");
    assert_eq!((unfit.fault(), unfit.reason()), (Fault::Peer, "token_claims"));
}

#[test]
fn what_a_strict_reader_refuses_never_reaches_a_type_of_ones_own() {
    let twice = claims().to_string().replacen('{', r#"{"limits":{"a":1,"\u0061":2},"#, 1);
    let token = minted::Issuer::new().sign(AT_JWT, twice);
    let refused = builder().build().unwrap().verify(&token, now()).unwrap_err();
    assert_eq!(refused, JsonError::Duplicate { name: "a".into() }.into());
}

#[test]
fn a_verified_token_shows_no_claims_that_nobody_asked_for() {
    let token = verify(&with(json!({"national_id": "9912"}))).unwrap();
    assert!(!format!("{token:?}").contains("9912"));
}

#[test]
fn roles_may_stand_in_a_nested_claim_or_under_a_name_with_dots() {
    let claims = with(json!({
        "roles": null, "realm_access": {"roles": ["a"]}, "https://example.com/groups": ["b"],
    }));
    let verifier = builder()
        .roles_claim(["realm_access", "roles"])
        .groups_claim("https://example.com/groups")
        .build()
        .unwrap();
    let token = verifier.verify(&mint(&claims), now()).unwrap();
    assert_eq!((token.roles(), token.groups()), (&[Arc::from("a")][..], &[Arc::from("b")][..]));
}

#[test]
fn a_confirmation_is_read_strictly() {
    let digest = minted::base64url([1; 32]);
    let token = verify(&with(json!({"cnf": {"x5t#S256": digest}}))).unwrap();
    assert_eq!(token.confirmation().unwrap().certificate_sha256(), Some(&[1; 32]));
    assert_eq!(token.confirmation().unwrap().unsupported(), None);
    let token = verify(&with(json!({"cnf": {"jkt": digest}}))).unwrap();
    assert_eq!(token.confirmation().unwrap().key_thumbprint(), Some(&[1; 32]));
    assert_eq!(token.confirmation().unwrap().unsupported(), None);
    let token = verify(&with(json!({"cnf": {"jwk": {}}}))).unwrap();
    assert_eq!(token.confirmation().unwrap().unsupported(), Some("jwk"));
    for cnf in [
        json!({}),
        json!([]),
        json!("x"),
        json!({"x5t#S256": 1}),
        json!({"x5t#S256": "AQ"}),
        json!({"jkt": "x"}),
        json!({"x5t#S256": format!("{digest}=")}),
    ] {
        assert_eq!(refused(json!({"cnf": cnf})), malformed("cnf"), "{cnf}");
    }
    let null = claims().to_string().replacen('{', r#"{"cnf":null,"#, 1);
    let null = minted::Issuer::new().sign(AT_JWT, null);
    assert_eq!(builder().build().unwrap().verify(&null, now()).unwrap_err(), malformed("cnf"));
}

#[test]
fn a_token_names_its_key_and_keys_are_not_tried_in_turn() {
    let issuer = minted::Issuer::new();
    let verifier = builder().build().unwrap();
    let verify = |header: &str| {
        verifier.verify(&issuer.sign(header, claims().to_string()), now()).unwrap_err()
    };
    assert_eq!(verify(r#"{"alg":"EdDSA","typ":"at+jwt"}"#), AccessTokenError::NoKid);
    let unknown = verify(r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k2"}"#);
    assert_eq!(unknown, AccessTokenError::UnknownKey { kid: "k2".into() });
    assert_eq!(unknown.fault(), Fault::Peer);
}

#[test]
fn missing_keys_are_the_fault_of_the_authority() {
    let none = IssuerKeys::fixed(JwkSet::parse(br#"{"keys":[]}"#).unwrap());
    let verifier = builder().keys(none).build().unwrap();
    let error = verifier.verify(&mint(&claims()), now()).unwrap_err();
    assert_eq!(error, KeysUnavailable::NoUsableKey.into());
    assert_eq!(error.fault(), Fault::Authority);
}

#[test]
fn a_verifier_without_audience_or_keys_cannot_be_built() {
    let begin = || AccessTokenVerifier::builder(ISSUER).unwrap();
    assert_eq!(begin().audience("a").build().unwrap_err(), VerifierError::NoKeys);
    let empty = VerifierError::Audience(EmptyAudience);
    assert_eq!(begin().keys(keys()).build().unwrap_err(), empty);
    assert_eq!(begin().keys(keys()).audience("").build().unwrap_err(), empty);
    let long = begin().keys(keys()).audience("a").leeway(Duration::from_secs(301)).build();
    assert!(matches!(long, Err(VerifierError::Leeway(_))));
    let unnamed = begin().keys(keys()).audience("a").roles_claim("").build();
    assert_eq!(unnamed.unwrap_err(), VerifierError::Mapping(MappingError::UnnamedClaim));
    let none = begin().keys(keys()).audience("a").algorithms([]).build();
    assert_eq!(none.unwrap_err(), VerifierError::NoAlgorithm);
    assert_eq!(AccessTokenVerifier::builder("http://x").unwrap_err(), IssuerError::NotHttps);
}

#[test]
fn a_lifetime_beyond_the_maximum_is_refused() {
    let verifier = builder().max_lifetime(Duration::from_secs(600)).build().unwrap();
    let error = verifier.verify(&mint(&claims()), now()).unwrap_err();
    assert!(matches!(error, AccessTokenError::Claims(ClaimsError::LivesTooLong { .. })));
}

#[test]
fn errors_and_debug_output_never_hold_the_token() {
    let token = mint(&with(json!({"aud": "x"})));
    let error = builder().build().unwrap().verify(&token, now()).unwrap_err();
    let parts: Vec<&str> = token.split('.').collect();
    for shown in [error.to_string(), format!("{error:?}")] {
        assert!(parts.iter().all(|part| !shown.contains(part)));
    }
}

proptest! {
    #[test]
    fn a_token_with_any_one_byte_changed_is_refused(
        at in any::<prop::sample::Index>(),
        to in prop_oneof!["[A-Za-z0-9_.-]", "[ -~]", "\\PC"],
    ) {
        let token = mint(&claims());
        let mut parts: Vec<String> = token.chars().map(String::from).collect();
        let at = at.index(parts.len());
        prop_assume!(parts[at] != to);
        parts[at] = to;
        let changed = parts.concat();
        prop_assert!(builder().build().unwrap().verify(&changed, now()).is_err());
    }

    #[test]
    fn no_input_panics(token in "\\PC*") {
        let _ = builder().build().unwrap().verify(&token, now());
    }

    #[test]
    fn no_signed_payload_panics(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        let token = minted::Issuer::new().sign(AT_JWT, payload);
        prop_assert!(builder().build().unwrap().verify(&token, now()).is_err());
    }
}
