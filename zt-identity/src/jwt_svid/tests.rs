//! Each rule of JWT-SVIDs.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::algorithm::{AlgorithmError, SignatureError};
use crate::jwt_bundle::JwtBundle;
use crate::minted;

const HEADER: &str = r#"{"alg":"ES256","typ":"JWT","kid":"k1"}"#;
const ID: &str = "spiffe://example.org/ns/shop/sa/cart";

fn now() -> Timestamp {
    Timestamp::from_secs(1_800_000_000)
}

fn claims() -> Json {
    json!({"sub": ID, "aud": ["orders"], "exp": 1_800_000_300, "iat": 1_800_000_000})
}

/// The usual claims with this one instead; `null` takes it away.
fn with(name: &str, value: Json) -> Json {
    let mut claims = claims();
    if value.is_null() {
        claims.as_object_mut().unwrap().remove(name);
    } else {
        claims[name] = value;
    }
    claims
}

fn bundle(trust_domain: &str, issuer: &minted::Issuer) -> JwtBundle {
    let trust_domain = TrustDomain::from_name(trust_domain).unwrap();
    JwtBundle::from_jwks(trust_domain, issuer.jwks().as_bytes()).unwrap()
}

fn verify_token(token: &str) -> Result<Verified<JwtSvid>, JwtSvidError> {
    let bundles = JwtBundleSet::new().with(bundle("example.org", &minted::Issuer::p256()));
    JwtSvidVerifier::new(Audience::any(["orders"]).unwrap()).verify(token, &bundles, now())
}

fn verify(claims: &Json) -> Result<Verified<JwtSvid>, JwtSvidError> {
    verify_token(&minted::Issuer::p256().sign(HEADER, claims.to_string()))
}

fn with_header(header: &str) -> Result<Verified<JwtSvid>, JwtSvidError> {
    verify_token(&minted::Issuer::p256().sign(header, claims().to_string()))
}

#[test]
fn a_token_of_the_trust_domain_names_its_workload() {
    let svid = verify(&claims()).unwrap();
    assert_eq!(svid.id().as_str(), ID);
    assert_eq!(svid.expires(), Timestamp::from_secs(1_800_000_300));
    assert_eq!(svid.issued_at(), Some(now()));
    assert_eq!(svid.confirmation(), None);
}

#[test]
fn a_token_is_compact() {
    for bad in ["", "a.b", "a.b.c.d", r#"{"payload":"e30","signatures":[]}"#] {
        assert_eq!(verify_token(bad).unwrap_err(), JwtSvidError::Jws(JwsError::Parts));
    }
}

#[test]
fn the_algorithm_is_one_of_the_standard() {
    for alg in ["none", "HS256", "EdDSA", "Ed25519", "ES521", "ES256K", "es256", ""] {
        let refused = with_header(&format!(r#"{{"alg":"{alg}","kid":"k1"}}"#)).unwrap_err();
        assert_eq!(refused, JwsError::from(AlgorithmError { name: alg.into() }).into());
    }
}

#[test]
fn eddsa_is_refused_even_where_a_bundle_has_such_a_key() {
    let issuer = minted::Issuer::new();
    let token = issuer.sign(r#"{"alg":"EdDSA","kid":"k1"}"#, claims().to_string());
    let bundles = JwtBundleSet::new().with(bundle("example.org", &issuer));
    let verifier = JwtSvidVerifier::new(Audience::any(["orders"]).unwrap());
    let refused = verifier.verify(&token, &bundles, now()).unwrap_err();
    assert_eq!(refused, JwsError::from(AlgorithmError { name: "EdDSA".into() }).into());
}

#[test]
fn the_header_has_three_parameters_and_no_other() {
    for name in ["jku", "jwk", "x5c", "x5u", "cty", "priv"] {
        let header = format!(r#"{{"alg":"ES256","kid":"k1","{name}":"x"}}"#);
        let error = JwsError::ForeignHeader { name: name.into() };
        assert_eq!(with_header(&header).unwrap_err(), error.into());
    }
    for name in ["crit", "b64", "zip"] {
        let header = format!(r#"{{"alg":"ES256","kid":"k1","{name}":"x"}}"#);
        assert_eq!(with_header(&header).unwrap_err(), JwsError::Extension { name }.into());
    }
}

#[test]
fn the_type_is_jwt_or_jose_or_absent() {
    assert!(with_header(r#"{"alg":"ES256","kid":"k1"}"#).is_ok());
    assert!(with_header(r#"{"alg":"ES256","kid":"k1","typ":"JOSE"}"#).is_ok());
    for typ in ["jwt", "at+jwt", "wit+jwt", "", "application/jwt"] {
        let header = format!(r#"{{"alg":"ES256","kid":"k1","typ":"{typ}"}}"#);
        let error = JwsError::Type { found: Some(typ.into()) };
        assert_eq!(with_header(&header).unwrap_err(), error.into());
    }
}

#[test]
fn a_token_names_its_key() {
    assert_eq!(with_header(r#"{"alg":"ES256"}"#).unwrap_err(), JwtSvidError::NoKid);
    let refused = with_header(r#"{"alg":"ES256","kid":"k2"}"#).unwrap_err();
    assert_eq!(refused, JwtSvidError::UnknownKey { kid: "k2".into() });
}

#[test]
fn the_subject_is_a_spiffe_id() {
    assert_eq!(
        verify(&with("sub", Json::Null)).unwrap_err(),
        ClaimsError::Missing { claim: "sub" }.into()
    );
    for sub in
        ["alice", "spiffe://Example.org/a", "spiffe://example.org/", "spiffe://example.org/a/../b"]
    {
        assert!(matches!(verify(&with("sub", json!(sub))), Err(JwtSvidError::Subject(_))), "{sub}");
    }
    let array = verify(&with("sub", json!([ID])));
    assert_eq!(array.unwrap_err(), ClaimsError::Malformed { claim: "sub" }.into());
    assert!(verify(&with("sub", json!("spiffe://example.org"))).is_ok());
}

#[test]
fn a_bundle_vouches_for_its_own_trust_domain_only() {
    let token = minted::Issuer::p256().sign(HEADER, claims().to_string());
    let verifier = JwtSvidVerifier::new(Audience::any(["orders"]).unwrap());
    let elsewhere = JwtBundleSet::new().with(bundle("example.com", &minted::Issuer::p256()));
    let ours = TrustDomain::from_name("example.org").unwrap();
    let refused = verifier.verify(&token, &elsewhere, now()).unwrap_err();
    assert_eq!(refused, JwtSvidError::NoBundle { trust_domain: ours.clone() });

    let emptied = elsewhere.with(JwtBundle::empty(ours));
    let refused = verifier.verify(&token, &emptied, now()).unwrap_err();
    assert_eq!(refused, JwtSvidError::UnknownKey { kid: "k1".into() });
}

#[test]
fn a_signature_of_someone_else_is_refused() {
    let token = minted::Issuer::p256().sign(HEADER, claims().to_string());
    let (_, signature) = token.rsplit_once('.').unwrap();
    let other = minted::Issuer::p256()
        .sign(HEADER, with("sub", json!("spiffe://example.org/x")).to_string());
    let (input, _) = other.rsplit_once('.').unwrap();
    let refused = verify_token(&format!("{input}.{signature}")).unwrap_err();
    assert_eq!(refused, JwsError::from(SignatureError::Invalid).into());
}

#[test]
fn a_key_that_is_for_another_algorithm_verifies_nothing() {
    let refused = with_header(r#"{"alg":"ES384","kid":"k1"}"#).unwrap_err();
    assert!(matches!(refused, JwtSvidError::Jws(JwsError::NotSigned(_))), "{refused}");
}

#[test]
fn the_audience_names_this_service() {
    assert!(verify(&with("aud", json!("orders"))).is_ok());
    assert!(verify(&with("aud", json!(["cart", "orders"]))).is_ok());
    for (aud, error) in [
        (Json::Null, ClaimsError::Missing { claim: "aud" }),
        (json!([]), ClaimsError::Audience),
        (json!(["cart"]), ClaimsError::Audience),
        (json!("order"), ClaimsError::Audience),
        (json!(5), ClaimsError::Malformed { claim: "aud" }),
        (json!(["orders", 5]), ClaimsError::Malformed { claim: "aud" }),
    ] {
        assert_eq!(verify(&with("aud", aud)).unwrap_err(), error.into());
    }
}

#[test]
fn a_token_for_more_audiences_than_are_read_is_refused() {
    let names = |count| json!(vec!["orders"; count]);
    assert!(verify(&with("aud", names(32))).is_ok());
    let refused = verify(&with("aud", names(33))).unwrap_err();
    assert_eq!(refused, JwtSvidError::TooManyAudiences { count: 33 });
}

#[test]
fn an_expected_audience_without_a_name_cannot_be_made() {
    assert!(Audience::any(Vec::<&str>::new()).is_err());
    assert!(Audience::any([""]).is_err());
}

#[test]
fn a_token_expires_and_the_leeway_is_what_was_asked_for() {
    let at = |secs| Timestamp::from_secs(secs);
    let expired = ClaimsError::Expired { now: now(), expires: at(1_799_999_940) };
    assert_eq!(verify(&with("exp", json!(1_799_999_940))).unwrap_err(), expired.into());
    assert!(verify(&with("exp", json!(1_799_999_941))).is_ok());
    assert!(verify(&with("exp", json!(1_800_000_000.5))).is_ok());
    for exp in [json!("soon"), json!(1e30), json!(-1)] {
        let refused = verify(&with("exp", exp)).unwrap_err();
        assert_eq!(refused, ClaimsError::Malformed { claim: "exp" }.into());
    }
    assert_eq!(
        verify(&with("exp", Json::Null)).unwrap_err(),
        ClaimsError::Missing { claim: "exp" }.into()
    );

    let exact = JwtSvidVerifier::new(Audience::any(["orders"]).unwrap());
    assert!(exact.clone().with_leeway(Duration::from_secs(301)).is_err());
    let exact = exact.with_leeway(Duration::ZERO).unwrap();
    let bundles = JwtBundleSet::new().with(bundle("example.org", &minted::Issuer::p256()));
    let token = minted::Issuer::p256().sign(HEADER, claims().to_string());
    assert!(exact.verify(&token, &bundles, at(1_800_000_299)).is_ok());
    assert!(exact.verify(&token, &bundles, at(1_800_000_300)).is_err());
}

#[test]
fn a_token_counts_from_its_nbf_on_and_its_iat_limits_nothing() {
    let not_before = Timestamp::from_secs(1_800_000_061);
    let refused = verify(&with("nbf", json!(1_800_000_061))).unwrap_err();
    assert_eq!(refused, ClaimsError::NotYetValid { now: now(), not_before }.into());
    assert!(verify(&with("nbf", json!(1_800_000_060))).is_ok());
    assert!(verify(&with("iat", json!(1_800_003_600))).is_ok());
}

#[test]
fn nothing_of_the_token_is_in_the_name_of_a_refusal() {
    for refused in [
        verify(&with("sub", json!("sk-secret"))).unwrap_err(),
        with_header(r#"{"alg":"ES256","kid":"sk-secret"}"#).unwrap_err(),
    ] {
        assert!(!refused.reason().contains("secret"));
        assert_eq!(refused.fault(), Fault::Peer);
    }
}

fn cached() -> CachedJwtSvidVerifier {
    JwtSvidVerifier::new(Audience::any(["orders"]).unwrap()).cached(16).unwrap()
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(now().as_secs().saturating_add(secs))
}

#[test]
fn a_token_that_is_remembered_ends_in_its_time() {
    let (cached, issuer) = (cached(), minted::Issuer::p256());
    let bundles = JwtBundleSet::new().with(bundle("example.org", &issuer));
    let token = issuer.sign(HEADER, claims().to_string());
    assert_eq!(cached.remembered(&token, &bundles, now()), None);
    let svid = cached.verify(&token, &bundles, now()).unwrap();
    assert_eq!(svid.counts_until(), at(360));
    assert_eq!(cached.remembered(&token, &bundles, at(299)), Some(svid));
    // Within the leeway it is verified again, and after that it is refused.
    assert_eq!(cached.remembered(&token, &bundles, at(300)), None);
    assert!(cached.verify(&token, &bundles, at(359)).is_ok());
    assert_eq!(cached.verify(&token, &bundles, at(360)).unwrap_err().reason(), "token_expired");
    let brief = cached.with_max_age(Duration::from_secs(30));
    assert!(brief.verify(&token, &bundles, now()).is_ok());
    assert_eq!(brief.remembered(&token, &bundles, at(30)), None);
}

#[test]
fn a_bundle_that_changes_ends_what_it_vouched_for() {
    let (cached, issuer) = (cached(), minted::Issuer::p256());
    let bundles = JwtBundleSet::new().with(bundle("example.org", &issuer));
    let token = issuer.sign(HEADER, claims().to_string());
    assert!(cached.verify(&token, &bundles, now()).is_ok());
    assert!(cached.remembered(&token, &bundles.clone(), now()).is_some());
    // Another trust domain that comes or goes is nothing to it.
    let with_another = bundles.clone().with(bundle("example.com", &issuer));
    assert!(cached.remembered(&token, &with_another, now()).is_some());

    let domain = || TrustDomain::from_name("example.org").unwrap();
    let others = format!(r#"{{"keys":[{}]}}"#, issuer.jwk("k2"));
    let rotated = JwtBundle::from_jwks(domain(), others.as_bytes()).unwrap();
    for (bundles, reason) in [
        (bundles.clone().with(rotated), "token_key_unknown"),
        (bundles.clone().with(JwtBundle::empty(domain())), "token_key_unknown"),
        (bundles.clone().without(domain().borrowed()), "trust_domain_unknown"),
        (JwtBundleSet::new().with(bundle("example.com", &issuer)), "trust_domain_unknown"),
    ] {
        assert_eq!(cached.remembered(&token, &bundles, now()), None, "{reason}");
        let refused = cached.verify(&token, &bundles, now()).unwrap_err();
        assert_eq!(refused.reason(), reason);
    }
    // The same keys, read anew, are asked anew.
    let again = JwtBundleSet::new().with(bundle("example.org", &issuer));
    assert_eq!(cached.remembered(&token, &again, now()), None);
    assert!(cached.verify(&token, &again, now()).is_ok());
    assert!(cached.remembered(&token, &again, now()).is_some());
}

#[test]
fn a_token_for_another_audience_is_not_remembered_here() {
    let issuer = minted::Issuer::p256();
    let bundles = JwtBundleSet::new().with(bundle("example.org", &issuer));
    let token = issuer.sign(HEADER, with("aud", json!(["bills"])).to_string());
    let bills = JwtSvidVerifier::new(Audience::any(["bills"]).unwrap()).cached(16).unwrap();
    assert!(bills.verify(&token, &bundles, now()).is_ok());
    let orders = cached();
    for _ in 0..2 {
        assert!(orders.verify(&token, &bundles, now()).is_err());
        assert_eq!(orders.remembered(&token, &bundles, now()), None);
    }
    let long = "a".repeat(crate::jws::MAX_LEN + 1);
    assert_eq!(orders.remembered(&long, &bundles, now()), None);
    assert!(orders.verify(&long, &bundles, now()).is_err());
}

proptest! {
    #[test]
    fn whatever_is_sent_is_refused_and_nothing_panics(token in ".{0,200}") {
        prop_assert!(verify_token(&token).is_err());
    }

    #[test]
    fn a_token_with_one_other_byte_is_refused(at in 0usize..300, byte in 0u8..128) {
        let token = minted::Issuer::p256().sign(HEADER, claims().to_string());
        let mut bytes = token.clone().into_bytes();
        let at = at.checked_rem(bytes.len()).unwrap();
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        let changed = String::from_utf8(bytes).unwrap();
        prop_assert!(verify_token(&changed).is_err(), "{changed}");
    }
}
