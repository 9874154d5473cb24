//! One test for each rule, and for each way to get around it.

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use zt_core::verified::Verified;

use super::*;
use crate::algorithm::{AlgorithmError, SignatureError};
use crate::jwk::JwkError;
use crate::minted::{self, base64url};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const TOKEN: &str = "header.claims.signature";

fn key(issuer: &minted::Issuer) -> Json {
    let mut jwk: Json = serde_json::from_str(&issuer.jwk("k")).unwrap();
    jwk.as_object_mut().unwrap().remove("kid");
    jwk
}

fn confirmation(jwk: &Json) -> Option<Confirmation> {
    let jwk = jwk.to_string();
    let thumbprint = jwk::thumbprint(&Object::parse(jwk.as_bytes()).unwrap()).unwrap();
    let claims = json!({"cnf": {"jkt": base64url(thumbprint)}}).to_string();
    Confirmation::read(&Object::parse(claims.as_bytes()).unwrap()).unwrap()
}

fn header(changes: Json) -> Json {
    let key = key(&minted::Issuer::p256());
    with(json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": key}), changes)
}

fn claims(changes: Json) -> Json {
    let claims = json!({
        "jti": "e1j3V_bKic8-LAEB", "htm": "GET", "htu": "https://api.example.com/orders",
        "iat": 1_800_000_000, "ath": base64url(sha256(TOKEN.as_bytes())),
    });
    with(claims, changes)
}

fn with(mut json: Json, changes: Json) -> Json {
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            json.as_object_mut().unwrap().remove(name);
        } else {
            json[name] = value.clone();
        }
    }
    json
}

fn sign(header: &Json, claims: &Json) -> String {
    minted::Issuer::p256().sign(&header.to_string(), claims.to_string())
}

fn proof(changes: Json) -> String {
    sign(&header(json!({})), &claims(changes))
}

fn verify_with(verifier: &DpopVerifier, proof: &str) -> Result<Unadmitted<DpopProof>, DpopError> {
    let base = PublicBase::parse("https://api.example.com").unwrap();
    let bound = confirmation(&key(&minted::Issuer::p256()));
    let request = ProvenRequest::new("GET", &base, "/orders").with_token(TOKEN, bound.as_ref());
    verifier.verify(proof, &request, NOW)
}

fn verify(proof: &str) -> Result<Unadmitted<DpopProof>, DpopError> {
    verify_with(&DpopVerifier::default(), proof)
}

fn refused(changes: Json) -> DpopError {
    verify(&proof(changes)).unwrap_err()
}

fn refused_header(changes: Json) -> DpopError {
    verify(&sign(&header(changes), &claims(json!({})))).unwrap_err()
}

fn admitted(proof: Unadmitted<DpopProof>) -> Verified<DpopProof> {
    proof.admit(|_, _| true).unwrap()
}

#[test]
fn the_holder_of_the_tokens_key_is_known_once_the_proof_is_admitted() {
    let proof = verify(&proof(json!({}))).unwrap();
    assert_eq!(proof.until(), Timestamp::from_secs(1_800_000_060));
    let bound = confirmation(&key(&minted::Issuer::p256())).unwrap();
    let proof = admitted(proof);
    assert_eq!(Some(proof.key_thumbprint()), bound.key_thumbprint());
    assert_eq!(proof.token_sha256(), &sha256(TOKEN.as_bytes()));
    assert_eq!(proof.nonce_age(), None);
}

#[test]
fn the_proof_of_the_standards_example_is_one() {
    // RFC 9449 §7.1.
    const PROOF: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6\
        Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRs\
        Y3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwi\
        aHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlh\
        dCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9\
        RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
    const TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
    let claims = br#"{"cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}"#;
    let bound = Confirmation::read(&Object::parse(claims).unwrap()).unwrap();
    let base = PublicBase::parse("https://resource.example.org").unwrap();
    let request = ProvenRequest::new("GET", &base, "/protectedresource");
    let request = request.with_token(TOKEN, bound.as_ref());
    let verifier = DpopVerifier::default();
    assert!(verifier.verify(PROOF, &request, Timestamp::from_secs(1_562_262_618)).is_ok());
}

#[test]
fn a_thumbprint_is_that_of_the_standards_example() {
    // RFC 7638 §3.1.
    let jwk = br#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;
    let thumbprint = jwk::thumbprint(&Object::parse(jwk).unwrap()).unwrap();
    assert_eq!(base64url(thumbprint), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

#[test]
fn there_is_exactly_one_header() {
    let one: &[u8] = b"a.b.c";
    assert_eq!(the_one_proof([one]), Ok("a.b.c"));
    assert_eq!(the_one_proof([]), Err(DpopError::Missing));
    assert_eq!(the_one_proof([one, one]), Err(DpopError::Several));
    assert_eq!(the_one_proof([&b"\xff"[..]]), Err(DpopError::NotText));
    let proof = proof(json!({}));
    let list = verify(&format!("{proof}, {proof}")).unwrap_err();
    assert_eq!(list, DpopError::Jws(JwsError::Parts));
}

#[test]
fn a_proof_for_a_token_that_is_bound_to_no_key_proves_nothing() {
    let base = PublicBase::parse("https://api.example.com").unwrap();
    let claims = json!({"cnf": {"x5t#S256": base64url([7; 32])}}).to_string();
    let certificate = Confirmation::read(&Object::parse(claims.as_bytes()).unwrap()).unwrap();
    for bound in [None, certificate.as_ref()] {
        let request = ProvenRequest::new("GET", &base, "/orders").with_token(TOKEN, bound);
        let refused = DpopVerifier::default().verify(&proof(json!({})), &request, NOW);
        assert_eq!(refused.unwrap_err(), DpopError::TokenUnbound);
    }
}

#[test]
fn the_type_is_that_of_proofs_letter_for_letter() {
    for typ in [json!("JWT"), json!("at+jwt"), json!("DPoP+JWT"), json!("application/dpop+jwt")] {
        assert_eq!(refused_header(json!({"typ": typ})).reason(), "proof_of_another_kind");
    }
    assert_eq!(refused_header(json!({"typ": null})).reason(), "proof_of_another_kind");
}

#[test]
fn symmetric_algorithms_and_none_are_refused() {
    for alg in ["none", "HS256", "HS512", "ES256K", "dir"] {
        let error = DpopError::Jws(JwsError::Algorithm(AlgorithmError { name: alg.into() }));
        assert_eq!(refused_header(json!({"alg": alg})), error);
    }
    let eddsa = DpopVerifier::default().with_algorithms(&[Algorithm::EdDsa]);
    assert_eq!(verify_with(&eddsa, &proof(json!({}))).unwrap_err().reason(), "proof_algorithm");
}

#[test]
fn an_algorithm_needs_a_key_of_its_type() {
    let refused = refused_header(json!({"alg": "ES384"}));
    assert!(matches!(
        refused,
        DpopError::Jws(JwsError::NotSigned(SignatureError::WrongKeyType { .. }))
    ));
}

#[test]
fn a_proof_brings_its_key_along() {
    for jwk in [json!(null), json!("k"), json!([]), json!(1)] {
        assert_eq!(refused_header(json!({"jwk": jwk})), DpopError::NoKey);
    }
    let empty = refused_header(json!({"jwk": {}}));
    assert_eq!(empty, DpopError::Key(JwkError::Member { member: "kty" }));
}

#[test]
fn a_key_with_a_private_member_is_refused_though_it_is_the_right_one() {
    for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        for value in [json!("AA"), json!("")] {
            let jwk = with(key(&minted::Issuer::p256()), json!({member: value}));
            let error = DpopError::Key(JwkError::Private { member });
            assert_eq!(refused_header(json!({"jwk": jwk})), error);
        }
    }
    let symmetric = refused_header(json!({"jwk": {"kty": "oct", "k": "AA"}}));
    assert_eq!(symmetric.reason(), "proof_key");
}

#[test]
fn a_key_that_is_too_large_is_refused_before_it_is_read() {
    let huge = json!({"jwk": {"kty": "RSA", "e": "AQAB", "n": "A".repeat(MAX_LEN)}});
    let refused = refused_header(huge);
    assert!(matches!(refused, DpopError::TooLong { len } if len > MAX_LEN));
    let rsa = json!({"jwk": {"kty": "RSA", "e": "AQAB", "n": base64url(vec![0xff; 1025])}});
    assert_eq!(refused_header(rsa).reason(), "proof_key");
}

#[test]
fn a_proof_of_another_key_is_refused_before_its_signature_is_looked_at() {
    let other = minted::Issuer::new();
    let header = json!({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": key(&other)}).to_string();
    let proof = other.sign(&header, claims(json!({})).to_string());
    assert_eq!(verify(&proof).unwrap_err(), DpopError::OtherKey);
    let unsigned = format!("{}AAAA", proof.rsplit_once('.').unwrap().0.to_owned() + ".");
    assert_eq!(verify(&unsigned).unwrap_err(), DpopError::OtherKey);
}

#[test]
fn the_key_of_the_token_has_signed_the_proof() {
    let thief = minted::Issuer::new();
    let stolen = header(json!({})).to_string();
    let (signed, _) =
        proof(json!({})).rsplit_once('.').map(|(a, b)| (a.to_owned(), b.len())).unwrap();
    let forged = thief.sign(&stolen, claims(json!({})).to_string());
    for bad in [forged, format!("{signed}.{}", "A".repeat(86))] {
        assert_eq!(verify(&bad).unwrap_err().reason(), "proof_bad_signature");
    }
}

#[test]
fn other_members_of_the_key_do_not_make_it_another() {
    let more = with(key(&minted::Issuer::p256()), json!({"kid": "x", "use": "sig", "x5u": "y"}));
    assert!(verify(&sign(&header(json!({"jwk": more})), &claims(json!({})))).is_ok());
    let encryption = with(key(&minted::Issuer::p256()), json!({"use": "enc"}));
    assert_eq!(refused_header(json!({"jwk": encryption})).reason(), "proof_key");
}

#[test]
fn the_claims_are_strict_json() {
    let issuer = minted::Issuer::p256();
    for claims in ["", "[]", "null", r#"{"htm":"GET","htm":"POST"}"#] {
        let proof = issuer.sign(&header(json!({})).to_string(), claims);
        assert!(matches!(verify(&proof).unwrap_err(), DpopError::Json(_)), "{claims}");
    }
}

#[test]
fn every_claim_is_there_and_of_its_type() {
    for claim in ["htm", "htu", "iat", "ath", "jti"] {
        assert_eq!(refused(json!({claim: null})), ClaimsError::Missing { claim }.into());
        for value in [json!(true), json!(["GET"]), json!({})] {
            assert_eq!(refused(json!({claim: value})), ClaimsError::Malformed { claim }.into());
        }
    }
    assert_eq!(refused(json!({"nonce": 1})), ClaimsError::Malformed { claim: "nonce" }.into());
}

#[test]
fn a_proof_is_for_one_method() {
    for method in ["POST", "get", "GET ", ""] {
        assert_eq!(refused(json!({"htm": method})), DpopError::OtherMethod);
    }
}

#[test]
fn a_proof_is_for_one_url_however_it_is_spelled() {
    for url in [
        "HTTPS://API.example.com:443/orders",
        "https://api.example.com/x/../orders",
        "https://api.example.com/%6frders",
        "https://api.example.com/orders?page=2#top",
    ] {
        assert!(verify(&proof(json!({"htu": url}))).is_ok(), "{url}");
    }
    for url in [
        "https://api.example.com/orders/",
        "https://api.example.com/Orders",
        "https://api.example.com/orders%2F42",
        "http://api.example.com/orders",
        "https://api.example.com:8443/orders",
        "https://evil.example.com/orders",
        "/orders",
        "",
    ] {
        assert_eq!(refused(json!({"htu": url})), DpopError::OtherUrl, "{url}");
    }
}

#[test]
fn a_proof_is_good_within_its_window_and_not_a_moment_longer() {
    for iat in [json!(1_799_999_940), json!(1_800_000_060), json!(1_799_999_999.5)] {
        assert!(verify(&proof(json!({"iat": iat}))).is_ok(), "{iat}");
    }
    for iat in [json!(1_799_999_939), json!(0), json!(1_799_999_939.999)] {
        assert!(matches!(refused(json!({"iat": iat})), DpopError::TooOld { .. }), "{iat}");
    }
    for iat in [json!(1_800_000_061), json!(253_402_300_799_i64)] {
        assert!(matches!(refused(json!({"iat": iat})), DpopError::TooNew { .. }), "{iat}");
    }
    for iat in [json!(-1), json!(1_800_000_000_000_i64)] {
        assert_eq!(refused(json!({"iat": iat})).reason(), "proof_claims", "{iat}");
    }
    let patient = DpopVerifier::default().with_window(Duration::MAX);
    assert!(verify_with(&patient, &proof(json!({"iat": 1_799_999_700}))).is_ok());
    assert!(verify_with(&patient, &proof(json!({"iat": 1_799_999_699}))).is_err());
}

#[test]
fn a_proof_is_for_one_token() {
    let other = json!({"ath": base64url(sha256(b"other"))});
    assert_eq!(refused(other), DpopError::OtherToken);
    assert_eq!(refused(json!({"ath": ""})), DpopError::OtherToken);
    let padded = json!({"ath": format!("{}=", base64url(sha256(TOKEN.as_bytes())))});
    assert_eq!(refused(padded).reason(), "proof_claims");
}

#[test]
fn where_nonces_are_demanded_a_proof_has_a_good_one() {
    let nonces = DpopNonces::random().unwrap();
    let verifier = DpopVerifier::default().with_nonces(nonces.clone());
    let with_nonce = |nonce: Json| verify_with(&verifier, &proof(json!({"nonce": nonce})));
    assert_eq!(with_nonce(json!(null)).unwrap_err(), DpopError::NoNonce);
    let old = nonces.current(NOW.saturating_sub(Duration::from_secs(300)));
    for stale in [json!("guessed"), json!(""), json!(old)] {
        assert_eq!(with_nonce(stale).unwrap_err(), DpopError::StaleNonce);
    }
    let previous = nonces.current(NOW.saturating_sub(crate::possession::nonce::DEFAULT_WINDOW));
    let age = |nonce: String| admitted(with_nonce(json!(nonce)).unwrap()).nonce_age();
    assert_eq!(age(nonces.current(NOW)), Some(NonceAge::Current));
    assert_eq!(age(previous), Some(NonceAge::Previous));
}

#[test]
fn a_jti_has_a_length() {
    assert_eq!(refused(json!({"jti": ""})), ClaimsError::Malformed { claim: "jti" }.into());
    assert!(verify(&proof(json!({"jti": "a".repeat(MAX_JTI_LEN)}))).is_ok());
    let len = MAX_JTI_LEN + 1;
    assert_eq!(refused(json!({"jti": "a".repeat(len)})), DpopError::JtiTooLong { len });
    let huge = refused(json!({"jti": "a".repeat(MAX_LEN)}));
    assert!(matches!(huge, DpopError::TooLong { .. }));
}

#[test]
fn two_proofs_of_one_jti_are_one_and_those_of_two_keys_are_two() {
    let id = |changes| *verify(&proof(changes)).unwrap().id();
    let bound = confirmation(&key(&minted::Issuer::p256())).unwrap();
    assert_eq!(id(json!({})).holder(), bound.key_thumbprint());
    assert_eq!(id(json!({})), id(json!({"iat": 1_800_000_001})));
    assert_ne!(id(json!({})), id(json!({"jti": "another"})));
    let ids = [[7u8; 32], [8; 32]].map(|key| ReplayId::of_parts(&[TYPE.as_bytes(), &key, b"1"]));
    assert_ne!(ids[0], ids[1]);
}

/// One header of a request, and whether it is a proof: that, text, or bytes of any kind.
fn any_header() -> impl Strategy<Value = (Vec<u8>, bool)> {
    prop_oneof![
        Just(()).prop_map(|()| (proof(json!({})).into_bytes(), true)),
        "[ -~]{0,40}".prop_map(|text| (text.into_bytes(), false)),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| (bytes, false)),
    ]
}

proptest! {
    /// Against what is said of them: one, and it is text.
    #[test]
    fn of_any_headers_one_alone_is_the_proof(
        headers in proptest::collection::vec(any_header(), 0..4),
    ) {
        let answer = the_one_proof(headers.iter().map(|(bytes, _)| bytes.as_slice()));
        match &headers[..] {
            [] => prop_assert_eq!(&answer, &Err(DpopError::Missing)),
            [(one, _)] => match str::from_utf8(one) {
                Ok(text) => prop_assert_eq!(&answer, &Ok(text)),
                Err(_) => prop_assert_eq!(&answer, &Err(DpopError::NotText)),
            },
            _ => prop_assert_eq!(&answer, &Err(DpopError::Several)),
        }
        let is_one_proof = matches!(headers[..], [(_, true)]);
        prop_assert_eq!(answer.and_then(verify).is_ok(), is_one_proof);
    }

    #[test]
    fn any_text_is_refused(text in ".{0,200}") {
        prop_assert!(verify(&text).is_err());
    }

    #[test]
    fn a_proof_with_any_byte_changed_is_refused(at in 0usize..400, flip in 1u8..64) {
        let proof = proof(json!({}));
        let mut bytes = proof.clone().into_bytes();
        let at = at.min(bytes.len().saturating_sub(1));
        bytes[at] ^= flip;
        if let Ok(changed) = String::from_utf8(bytes) {
            prop_assert!(verify(&changed).is_err());
        }
    }

    #[test]
    fn any_header_and_claims_are_judged(
        header in r#"\{("(typ|alg|jwk|crit)":("dpop\+jwt"|"ES256"|\{"kty":"EC"\}|null|1),?){0,4}\}"#,
        claims in r#"\{("(htm|htu|iat|ath|jti|nonce)":("GET"|1e999|-1|\[\]|null),?){0,4}\}"#,
    ) {
        prop_assert!(verify(&minted::Issuer::p256().sign(&header, claims)).is_err());
    }
}
