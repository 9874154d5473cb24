//! Tokens of an issuer that this project did not write.

use std::process::Command;

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use zt_core::spiffe::TrustDomain;
use zt_core::time::Timestamp;
use zt_identity::algorithm::SignatureError;
use zt_identity::claims::Audience;
use zt_identity::jwk::JwkSet;
use zt_identity::jws::JwsError;
use zt_identity::jwt_bundle::{JwtBundle, JwtBundleSet};
use zt_identity::jwt_svid::{JwtSvidError, JwtSvidVerifier};
use zt_identity::oidc::access_token::{AccessTokenError, AccessTokenVerifier};
use zt_identity::oidc::id_token::{IdTokenVerifier, Login};
use zt_identity::oidc::issuer::Issuer;
use zt_identity::oidc::keys::IssuerKeys;
use zt_tests::issuer::{AUDIENCE, SigningKey, claims, jwks};
use zt_tests::oidc_provider;
use zt_tests::peers::run;

const ISSUER: &str = "https://login.example.com";
const NOW: i64 = 1_800_000_000;
const HASH_256: &str = "PEaenWxYddN6Q_NT1PiOYQ";
const HASH_384: &str = "Cm6hANx1qgPTYYSWu3KFaieklEAsPkh3";
const HASH_512: &str = "ImXaughy_DrvFp0Hk2XlkPDLyO1GwqeYTIpkKAPP2Ww";

fn verifier(jwks: &str) -> AccessTokenVerifier {
    AccessTokenVerifier::builder(ISSUER)
        .unwrap()
        .audience(AUDIENCE)
        .keys(IssuerKeys::fixed(JwkSet::parse(jwks.as_bytes()).unwrap()))
        .build()
        .unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_secs(NOW)
}

#[test]
fn tokens_of_every_algorithm_verify() {
    let keys = all_keys();
    let verifier = verifier(&jwks(&keys.iter().collect::<Vec<_>>()));
    for key in &keys {
        let token = verifier.verify(&key.sign(&claims(ISSUER, NOW + 60)), now());
        assert_eq!(token.unwrap().subject(), "alice", "{}", key.kid);
    }
}

fn all_keys() -> Vec<SigningKey> {
    let rsa = [
        Algorithm::RS256,
        Algorithm::RS384,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::PS384,
        Algorithm::PS512,
    ];
    let mut keys: Vec<_> =
        rsa.into_iter().map(|alg| SigningKey::rsa(&format!("{alg:?}"), alg)).collect();
    keys.extend([SigningKey::es256("p256"), SigningKey::es384("p384"), SigningKey::eddsa("ed")]);
    keys
}

#[test]
fn jwt_svids_of_every_algorithm_verify_but_eddsa_which_is_none_of_theirs() {
    let keys = all_keys();
    let trust_domain = TrustDomain::from_name("example.org").unwrap();
    let document = jwks(&keys.iter().collect::<Vec<_>>());
    let bundle = JwtBundle::from_jwks(trust_domain, document.as_bytes()).unwrap();
    let bundles = JwtBundleSet::new().with(bundle);
    let verifier = JwtSvidVerifier::new(Audience::any([AUDIENCE]).unwrap());
    let claims = json!({
        "sub": "spiffe://example.org/ns/shop/sa/cart", "aud": [AUDIENCE], "exp": NOW + 300,
    });
    for key in &keys {
        for typ in [None, Some("JWT"), Some("JOSE")] {
            let svid = verifier.verify(&key.sign_as(typ, &claims), &bundles, now());
            if key.kid == "ed" {
                let refused = svid.unwrap_err();
                assert!(matches!(refused, JwtSvidError::Jws(JwsError::Algorithm(_))));
            } else {
                assert_eq!(svid.unwrap().id().path(), "/ns/shop/sa/cart", "{}", key.kid);
            }
        }
    }
}

#[test]
fn id_tokens_of_every_algorithm_verify_with_a_hash_of_its_own_size() {
    let keys = all_keys();
    let document = jwks(&keys.iter().collect::<Vec<_>>());
    let keys_of_issuer = IssuerKeys::fixed(JwkSet::parse(document.as_bytes()).unwrap());
    let issuer = Issuer::parse(ISSUER).unwrap();
    let verifier = IdTokenVerifier::new(issuer, "shop", keys_of_issuer).unwrap();
    let login = Login::with_nonce("n1").access_token("token").require_hashes();
    for key in &keys {
        // The left half of SHA-256, SHA-384 and SHA-512 of "token".
        let hash = match key.kid.as_str() {
            "RS256" | "PS256" | "p256" => HASH_256,
            "RS384" | "PS384" | "p384" => HASH_384,
            _ => HASH_512,
        };
        let claims = json!({
            "iss": ISSUER, "aud": "shop", "sub": "alice", "nonce": "n1", "iat": NOW,
            "exp": NOW + 300, "at_hash": hash,
        });
        let token = verifier.verify(&key.sign_as(Some("JWT"), &claims), &login, now());
        assert_eq!(token.unwrap().subject(), "alice", "{}", key.kid);
    }
}

#[test]
fn a_signature_of_another_key_of_the_same_name_is_refused() {
    let (ours, theirs) = (SigningKey::es256("k"), SigningKey::es256("k"));
    let error = verifier(&jwks(&[&ours])).verify(&theirs.sign(&claims(ISSUER, NOW + 60)), now());
    assert_eq!(
        error.unwrap_err(),
        AccessTokenError::Jws(JwsError::NotSigned(SignatureError::Invalid))
    );
}

#[test]
fn a_key_for_one_algorithm_verifies_no_other() {
    let key = SigningKey::rsa("k", Algorithm::RS256);
    let set = json!({"keys": [key.jwk(json!({"alg": "PS256"}))]}).to_string();
    let error = verifier(&set).verify(&key.sign(&claims(ISSUER, NOW + 60)), now()).unwrap_err();
    assert!(matches!(
        error,
        AccessTokenError::Jws(JwsError::NotSigned(SignatureError::WrongAlgorithm { .. }))
    ));
}

#[test]
fn tokens_of_jose_verify_and_its_bad_ones_are_refused() {
    if !oidc_provider::is_present() {
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/jose.mjs");
    let claims = claims(ISSUER, NOW + 60).to_string();
    let minted = run(Command::new("node").arg(script), &claims);
    let minted: Value = serde_json::from_slice(&minted).unwrap();
    let verifier = verifier(&minted["jwks"].to_string());

    let good = minted["good"].as_object().unwrap();
    for (alg, token) in good {
        let token = verifier.verify(token.as_str().unwrap(), now());
        assert_eq!(token.unwrap().subject(), "alice", "{alg}");
    }
    let bad = minted["bad"].as_object().unwrap();
    for (name, token) in bad {
        let reason = verifier.verify(token.as_str().unwrap(), now()).unwrap_err().reason();
        assert_eq!(reason, reason_for(name), "{name}");
    }
    assert_eq!((good.len(), bad.len()), (10, 16));
}

fn reason_for(bad: &str) -> &'static str {
    match bad {
        "signed by a stranger" | "of another key ID" | "with its algorithm exchanged" | "cut" => {
            "token_bad_signature"
        }
        "signed with the public key as a secret" | "not signed" => "token_algorithm",
        "without a key ID" | "of an unknown key ID" => "token_key_unknown",
        "of another type" => "token_of_another_kind",
        "for another audience" => "token_of_another_audience",
        "of another issuer" => "token_of_another_issuer",
        "without a subject" => "token_claims",
        "expired" => "token_expired",
        "not yet valid" => "token_not_yet_valid",
        "with a member twice" | "with a payload that is not JSON" => "token_not_json",
        other => panic!("what is expected of a token {other}?"),
    }
}
