//! Each rule of several issuers, and the mapping that keeps their names apart.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use zt_core::attribute::Value;
use zt_core::fault::Fault;

use super::*;
use crate::algorithm::Algorithm;
use crate::jwk::JwkSet;
use crate::jws::JwsError;
use crate::minted;
use crate::oidc::access_token::{AccessTokenVerifierBuilder, VerifierError};
use crate::oidc::claim_mapping::{ClaimMapping, MappingError, UserField};
use crate::oidc::keys::{IssuerKeys, KeysUnavailable};

const STAFF: &str = "https://staff.example.com";
const PARTNERS: &str = "https://partners.example.com";

fn now() -> Timestamp {
    Timestamp::from_secs(1_800_000_000)
}

fn keys(issuer: &minted::Issuer) -> IssuerKeys {
    IssuerKeys::fixed(JwkSet::parse(issuer.jwks().as_bytes()).unwrap())
}

/// Staff sign with Ed25519, for `orders`.
fn staff() -> AccessTokenVerifierBuilder {
    AccessTokenVerifier::builder(STAFF)
        .unwrap()
        .audience("orders")
        .keys(keys(&minted::Issuer::new()))
        .mapping(ClaimMapping::subject_only().roles("roles", "staff:").groups("groups", "staff:"))
}

/// Partners sign with P-256, for `partner-api`, and the key has the same name.
fn partners() -> AccessTokenVerifierBuilder {
    AccessTokenVerifier::builder(PARTNERS)
        .unwrap()
        .audience("partner-api")
        .algorithms([Algorithm::Es256])
        .keys(keys(&minted::Issuer::p256()))
        .mapping(
            ClaimMapping::subject_only()
                .username("email", "partner:")
                .roles("roles", "partner:")
                .groups("groups", "partner:"),
        )
}

fn issuers() -> Issuers {
    Issuers::new([staff().build().unwrap(), partners().build().unwrap()]).unwrap()
}

fn claims(issuer: &str, aud: &str) -> Json {
    json!({
        "iss": issuer, "aud": aud, "sub": "alice", "exp": 1_800_000_600, "groups": ["admins"],
        "roles": ["clerk"], "email": "alice@example.com", "email_verified": true,
    })
}

fn eddsa(claims: &Json) -> String {
    let header = r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k1"}"#;
    minted::Issuer::new().sign(header, claims.to_string())
}

fn es256(claims: &Json) -> String {
    let header = r#"{"alg":"ES256","typ":"at+jwt","kid":"k1"}"#;
    minted::Issuer::p256().sign(header, claims.to_string())
}

fn refused(token: &str) -> AccessTokenError {
    issuers().verify(token, now()).unwrap_err()
}

#[test]
fn the_issuer_that_a_token_names_chooses_the_rules_it_is_held_to() {
    let token = issuers().verify(&eddsa(&claims(STAFF, "orders")), now()).unwrap();
    assert_eq!((token.issuer(), token.subject()), (STAFF, "alice"));
    let token = issuers().verify(&es256(&claims(PARTNERS, "partner-api")), now()).unwrap();
    assert_eq!((token.issuer(), token.subject()), (PARTNERS, "partner:alice@example.com"));
    assert_eq!(token.claims::<Json>().unwrap(), claims(PARTNERS, "partner-api"));
}

#[test]
fn a_token_that_one_issuer_signed_is_never_one_of_another() {
    let wrong_key = refused(&eddsa(&claims(PARTNERS, "partner-api")));
    assert_eq!(wrong_key.reason(), "token_algorithm");
    let wrong_key = refused(&es256(&claims(STAFF, "orders")));
    assert_eq!(wrong_key.reason(), "token_bad_signature");
    for (token, reason) in [
        (eddsa(&claims(STAFF, "partner-api")), "token_of_another_audience"),
        (es256(&claims(PARTNERS, "orders")), "token_of_another_audience"),
        (eddsa(&claims("https://evil.example.com", "orders")), "token_of_another_issuer"),
        (eddsa(&claims("https://staff.example.com/", "orders")), "token_of_another_issuer"),
    ] {
        assert_eq!(refused(&token).reason(), reason);
    }
}

#[test]
fn a_token_names_its_issuer_once_and_as_a_text() {
    let with_issuer = |issuer: Json| {
        let mut claims = claims(STAFF, "orders");
        claims["iss"] = issuer;
        refused(&eddsa(&claims))
    };
    for issuer in [json!(null), json!([STAFF]), json!({}), json!(1)] {
        assert_eq!(with_issuer(issuer), ClaimsError::Malformed { claim: "iss" }.into());
    }
    let mut nobodys = claims(STAFF, "orders");
    nobodys.as_object_mut().unwrap().remove("iss");
    assert_eq!(refused(&eddsa(&nobodys)), ClaimsError::Missing { claim: "iss" }.into());
    let twice =
        claims(STAFF, "orders").to_string().replacen('{', &format!(r#"{{"iss":"{PARTNERS}","#), 1);
    let twice = minted::Issuer::new().sign(r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k1"}"#, twice);
    assert_eq!(refused(&twice).reason(), "token_not_json");
}

#[test]
fn what_is_no_token_is_refused_before_any_issuer_is_asked() {
    for (token, error) in [
        ("", JwsError::Parts),
        ("a.b", JwsError::Parts),
        ("a.b.c.d", JwsError::Parts),
        ("a.b=.c", JwsError::Payload),
        (&"a".repeat(16 * 1024 + 1), JwsError::TooLong { len: 16 * 1024 + 1 }),
    ] {
        assert_eq!(refused(token), error.into());
    }
    assert_eq!(refused("e30.W10.").reason(), "token_not_json");
}

#[test]
fn an_issuer_without_keys_takes_nobody_with_it() {
    let none = IssuerKeys::fixed(JwkSet::parse(br#"{"keys":[]}"#).unwrap());
    let issuers =
        Issuers::new([staff().build().unwrap(), partners().keys(none).build().unwrap()]).unwrap();
    assert!(issuers.verify(&eddsa(&claims(STAFF, "orders")), now()).is_ok());
    let error = issuers.verify(&es256(&claims(PARTNERS, "partner-api")), now()).unwrap_err();
    assert_eq!(error, KeysUnavailable::NoUsableKey.into());
    assert_eq!(error.fault(), Fault::Authority);
}

#[test]
fn one_name_at_two_issuers_is_two_names() {
    let of = |token: &str| issuers().verify(token, now()).unwrap();
    let (staff, partner) =
        (of(&eddsa(&claims(STAFF, "orders"))), of(&es256(&claims(PARTNERS, "partner-api"))));
    assert_eq!(
        (staff.groups(), staff.roles()),
        (&["staff:admins".into()][..], &["staff:clerk".into()][..])
    );
    assert_eq!(partner.groups(), ["partner:admins"].map(Arc::<str>::from));
    assert_eq!(partner.roles(), ["partner:clerk"].map(Arc::<str>::from));
}

#[test]
fn issuers_whose_names_could_meet_are_refused_together() {
    let with = |first: ClaimMapping, second: ClaimMapping| {
        Issuers::new([
            staff().mapping(first).build().unwrap(),
            partners().mapping(second).build().unwrap(),
        ])
    };
    let groups = |prefix: &str| ClaimMapping::subject_only().groups("groups", prefix);
    for (a, b) in [("", ""), ("", "p:"), ("p:", ""), ("p", "p:"), ("p:", "p")] {
        let error = with(groups(a), groups(b)).unwrap_err();
        assert!(matches!(error, IssuersError::NamesMeet { names: "groups", .. }), "{a:?} {b:?}");
    }
    let roles = with(ClaimMapping::default(), ClaimMapping::subject_only().roles("r", "x"));
    assert!(matches!(roles, Err(IssuersError::NamesMeet { names: "roles", .. })));
    for (a, b) in [("a:", "b:"), ("corp:", "corp:")] {
        assert!(with(groups(a), groups(b)).is_ok(), "{a:?} {b:?}");
    }
    assert!(with(groups(""), ClaimMapping::subject_only()).is_ok());
}

#[test]
fn there_is_an_issuer_each_is_there_once_and_they_are_not_too_many() {
    assert_eq!(Issuers::new([]).unwrap_err(), IssuersError::None);
    let one = staff().build().unwrap();
    let twice = IssuersError::Twice { issuer: one.issuer().clone() };
    assert_eq!(Issuers::new([one.clone(), one.clone()]).unwrap_err(), twice);
    let many = (0..=MAX_ISSUERS).map(|n| {
        AccessTokenVerifier::builder(&format!("https://{n}.example"))
            .unwrap()
            .audience("orders")
            .keys(keys(&minted::Issuer::new()))
            .mapping(ClaimMapping::subject_only())
            .build()
            .unwrap()
    });
    assert_eq!(Issuers::new(many).unwrap_err(), IssuersError::TooMany);
}

#[test]
fn verdicts_of_several_issuers_are_remembered_apart() {
    let issuers = issuers();
    let cached = issuers.clone().cached(16).unwrap();
    let tokens = [eddsa(&claims(STAFF, "orders")), es256(&claims(PARTNERS, "partner-api"))];
    for token in tokens.iter().chain(&tokens) {
        assert_eq!(cached.verify(token, now()).unwrap(), issuers.verify(token, now()).unwrap());
    }
    let other = JwkSet::parse(br#"{"keys":[]}"#).unwrap();
    issuers.verifier(STAFF).unwrap().keys().replace(other, Timestamp::MAX);
    let [of_staff, of_partners] = &tokens;
    assert_eq!(cached.verify(of_staff, now()).unwrap_err(), KeysUnavailable::NoUsableKey.into());
    assert!(cached.verify(of_partners, now()).is_ok());
}

fn mapped(mapping: ClaimMapping, claims: &Json) -> Result<Verified<AccessToken>, AccessTokenError> {
    staff().mapping(mapping).build().unwrap().verify(&eddsa(claims), now())
}

fn with(changes: Json) -> Json {
    let mut claims = claims(STAFF, "orders");
    claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    claims
}

#[test]
fn an_email_is_a_username_only_when_it_is_verified() {
    let mapping = || ClaimMapping::subject_only().username("email", "");
    assert_eq!(mapped(mapping(), &with(json!({}))).unwrap().subject(), "alice@example.com");
    for unverified in [json!(false), json!("true"), json!(null)] {
        let refused = mapped(mapping(), &with(json!({"email_verified": unverified}))).unwrap_err();
        assert_eq!(refused, ClaimsError::Missing { claim: "username" }.into());
    }
}

#[test]
fn a_username_is_a_text_that_is_not_empty() {
    let mapping = || ClaimMapping::subject_only().username(["person", "login"], "x:");
    let login = |login: Json| mapped(mapping(), &with(json!({"person": {"login": login}})));
    assert_eq!(login(json!("al")).unwrap().subject(), "x:al");
    for malformed in [json!(""), json!(1), json!(null), json!(["al"])] {
        let refused = login(malformed).unwrap_err();
        assert_eq!(refused, ClaimsError::Malformed { claim: "username" }.into());
    }
    let nobody = mapped(mapping(), &with(json!({}))).unwrap_err();
    assert_eq!(nobody, ClaimsError::Missing { claim: "username" }.into());
}

#[test]
fn what_is_not_mapped_is_not_there() {
    let token = mapped(ClaimMapping::subject_only(), &with(json!({"scope": "read"}))).unwrap();
    assert!(token.groups().is_empty() && token.roles().is_empty());
    assert_eq!(token.scopes(), ["read"].map(Arc::<str>::from));
}

#[test]
fn scopes_may_stand_in_another_claim_as_text_or_as_an_array() {
    let mapping = || ClaimMapping::subject_only().scopes("scp");
    for scp in [json!("read write"), json!(["read", "write"])] {
        let token = mapped(mapping(), &with(json!({"scp": scp, "scope": "admin"}))).unwrap();
        assert_eq!(token.scopes(), ["read", "write"].map(Arc::<str>::from));
    }
    let refused = mapped(mapping(), &with(json!({"scp": [1]}))).unwrap_err();
    assert_eq!(refused, ClaimsError::Malformed { claim: "scope" }.into());
}

#[test]
fn extra_claims_become_attributes_of_the_user() {
    let mapping = || {
        ClaimMapping::subject_only()
            .uid("oid")
            .extra("tenant", "tid")
            .extra("level", "level")
            .extra("trial", "trial")
            .extra("regions", "regions")
            .extra("absent", "absent")
    };
    let said = json!({"oid": "u-1", "tid": "acme", "level": 3, "trial": true, "regions": ["eu"]});
    let token = mapped(mapping(), &with(said)).unwrap();
    let attributes = token.user().attributes();
    assert_eq!(attributes.get("uid"), Some(&"u-1".into()));
    assert_eq!(attributes.get("tenant"), Some(&"acme".into()));
    assert_eq!(attributes.get("level"), Some(&3.into()));
    assert_eq!(attributes.get("trial"), Some(&true.into()));
    assert_eq!(attributes.get("regions"), Some(&Value::strings(["eu"])));
    assert_eq!(attributes.get("absent"), None);
    let nobody = mapped(mapping(), &with(json!({}))).unwrap_err();
    assert_eq!(nobody, ClaimsError::Missing { claim: "uid" }.into());
    for level in [json!(1.5), json!(null), json!({}), json!([1])] {
        let refused = mapped(mapping(), &with(json!({"oid": "u-1", "level": level}))).unwrap_err();
        assert_eq!(refused, ClaimsError::Malformed { claim: "extra" }.into());
    }
}

#[test]
fn an_extra_attribute_hides_nothing_that_a_user_has_by_itself() {
    let build = |name: &str| {
        staff().mapping(ClaimMapping::subject_only().extra(name, "x")).build().map(|_| ())
    };
    for name in ["", "issuer", "subject", "roles", "acr", "email", "uid"] {
        let error = MappingError::Attribute { name: name.into() };
        assert_eq!(build(name), Err(VerifierError::Mapping(error)));
    }
    let twice = ClaimMapping::subject_only().extra("a", "x").extra("a", "y");
    assert!(staff().mapping(twice).build().is_err());
    assert_eq!(build("https://example.com/tenant"), Ok(()));
}

#[test]
fn a_demanded_claim_is_there_and_exactly_that_text() {
    let mapping = || ClaimMapping::subject_only().require_claim("hd", "example.com");
    assert!(mapped(mapping(), &with(json!({"hd": "example.com"}))).is_ok());
    for other in [json!({}), json!({"hd": "Example.com"}), json!({"hd": ["example.com"]})] {
        let refused = mapped(mapping(), &with(other)).unwrap_err();
        assert_eq!(refused, ClaimsError::Rule { claim: "hd".into() }.into());
        assert_eq!((refused.fault(), refused.reason()), (Fault::Peer, "token_claim_rule"));
    }
}

#[test]
fn a_user_that_breaks_a_rule_is_refused() {
    let begin = || ClaimMapping::subject_only().groups("groups", "g:").uid("sub");
    for (mapping, field) in [
        (begin().refuse_user(UserField::Username, "al"), "username"),
        (begin().refuse_user(UserField::Groups, "g:adm"), "groups"),
        (begin().refuse_user(UserField::Uid, "alice"), "uid"),
        (begin().require_user(UserField::Groups, "admins"), "groups"),
        (begin().require_user(UserField::Roles, "clerk"), "roles"),
    ] {
        let refused = mapped(mapping, &with(json!({}))).unwrap_err();
        assert_eq!(refused, ClaimsError::UserRule { field }.into());
        assert_eq!(refused.reason(), "token_user_rule");
    }
    let kept = begin()
        .refuse_user(UserField::Username, "system:")
        .require_user(UserField::Groups, "g:admins");
    assert!(mapped(kept, &with(json!({}))).is_ok());
}

#[test]
fn a_token_with_any_one_byte_changed_is_refused_by_every_issuer() {
    let issuers = issuers();
    for token in [eddsa(&claims(STAFF, "orders")), es256(&claims(PARTNERS, "partner-api"))] {
        assert!(issuers.verify(&token, now()).is_ok());
        for at in 0..token.len() {
            let (before, rest) = token.split_at(at);
            let (byte, after) = rest.split_at(1);
            for other in ["A", "B", "_", ".", "=", "\u{e9}"] {
                let changed = [before, other, after].concat();
                assert!(other == byte || issuers.verify(&changed, now()).is_err(), "{changed}");
            }
        }
    }
}

proptest! {
    #[test]
    fn no_token_panics(token in "\\PC*", payload in "\\PC{0,100}", json in "[{}\\[\\]\":,a-z0-9]{0,60}") {
        for payload in [payload, json] {
            let part = minted::base64url(&payload);
            let unsigned = [&*part, &part, &part].join(".");
            prop_assert!(issuers().verify(&unsigned, now()).is_err());
            let header = r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k1"}"#;
            prop_assert!(issuers().verify(&minted::Issuer::new().sign(header, &payload), now()).is_err());
        }
        prop_assert!(issuers().verify(&token, now()).is_err());
    }
}
