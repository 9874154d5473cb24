//! Tokens of an issuer that this project did not write.

use jsonwebtoken::Algorithm;
use serde_json::json;
use zt_core::time::Timestamp;
use zt_identity::algorithm::SignatureError;
use zt_identity::jwk::JwkSet;
use zt_identity::jws::JwsError;
use zt_identity::oidc::access_token::{AccessTokenError, AccessTokenVerifier};
use zt_identity::oidc::keys::IssuerKeys;
use zt_tests::issuer::{AUDIENCE, SigningKey, claims, jwks};

const ISSUER: &str = "https://login.example.com";
const NOW: i64 = 1_800_000_000;

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
    let verifier = verifier(&jwks(&keys.iter().collect::<Vec<_>>()));
    for key in &keys {
        let token = verifier.verify(&key.sign(&claims(ISSUER, NOW + 60)), now());
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
