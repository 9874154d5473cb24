//! Access tokens, beside the signature alone and beside `jsonwebtoken`.

use std::hint::black_box;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::{Value, json};
use zt_benches::Scenario;
use zt_core::time::{Clock, SystemClock, Timestamp};
use zt_identity::jwk::JwkSet;
use zt_identity::oidc::access_token::AccessTokenVerifier;
use zt_identity::oidc::keys::IssuerKeys;
use zt_tests::issuer::{AUDIENCE, SigningKey, claims, jwks};

pub const ISSUER: &str = "https://login.example.com";

/// What a service reads of a token.
#[derive(Deserialize)]
#[expect(dead_code, reason = "what is read costs, used or not")]
pub struct Claims {
    pub iss: String,
    pub sub: String,
    pub client_id: String,
    pub iat: i64,
    pub exp: i64,
    pub jti: String,
    pub scope: String,
    pub roles: Vec<String>,
    pub groups: Vec<String>,
}

/// A token, and all that it takes to verify it.
pub struct Case {
    pub token: String,
    pub verifier: AccessTokenVerifier,
    pub now: Timestamp,
    pub decoding: DecodingKey,
    pub validation: Validation,
    jwk: Value,
}

impl Case {
    pub fn new(algorithm: Algorithm) -> Self {
        let key = match algorithm {
            Algorithm::RS256 => SigningKey::rsa("2026-11", algorithm),
            Algorithm::EdDSA => SigningKey::eddsa("2026-11"),
            _ => SigningKey::es256("2026-11"),
        };
        let now = SystemClock.now();
        // A day: the peer looks at the clock of the machine.
        let mut claims = claims(ISSUER, now.as_secs() + 86_400);
        claims["iat"] = now.as_secs().into();
        claims["roles"] = json!(["clerk", "auditor"]);
        claims["groups"] = json!(["eu", "night-shift", "warehouse"]);
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let jwk = key.jwk(json!({}));
        let case = Self {
            token: key.sign(&claims),
            verifier: AccessTokenVerifier::builder(ISSUER)
                .unwrap()
                .audience(AUDIENCE)
                .keys(IssuerKeys::fixed(JwkSet::parse(jwks(&[&key]).as_bytes()).unwrap()))
                .build()
                .unwrap(),
            now,
            decoding: DecodingKey::from_jwk(&serde_json::from_value(jwk.clone()).unwrap()).unwrap(),
            validation,
            jwk,
        };
        assert!(case.verifier.verify(&case.token, now).is_ok());
        assert!(decode::<Claims>(&case.token, &case.decoding, &case.validation).is_ok());
        case
    }

    fn member(&self, name: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(self.jwk[name].as_str().unwrap()).unwrap()
    }

    /// What is signed, and the signature, decoded.
    fn signed(&self) -> (Vec<u8>, Vec<u8>) {
        let (signed, signature) = self.token.rsplit_once('.').unwrap();
        (signed.into(), URL_SAFE_NO_PAD.decode(signature).unwrap())
    }
}

pub fn scenarios() -> Vec<Scenario> {
    vec![
        scenario("token/es256", Algorithm::ES256),
        scenario("token/rs256", Algorithm::RS256),
        scenario("token/eddsa", Algorithm::EdDSA),
        cached(),
    ]
}

fn cached() -> Scenario {
    let case = Case::new(Algorithm::RS256);
    let tokens = case.verifier.clone().cached(1_000).unwrap();
    Scenario::new("token/cached", move || tokens.verify(black_box(&case.token), case.now).is_ok())
        .peer_cannot("jsonwebtoken", "remembers nothing")
}

fn scenario(name: &'static str, algorithm: Algorithm) -> Scenario {
    let (ours, theirs) = (Case::new(algorithm), Case::new(algorithm));
    let raw = raw(algorithm, &ours);
    Scenario::new(name, move || ours.verifier.verify(black_box(&ours.token), ours.now).is_ok())
        .peer("ring", raw)
        .peer("jsonwebtoken", move || {
            decode::<Claims>(black_box(&theirs.token), &theirs.decoding, &theirs.validation).is_ok()
        })
}

/// The signature alone: what no verifier can be faster than.
fn raw(algorithm: Algorithm, case: &Case) -> Box<dyn FnMut() -> bool> {
    let (signed, signature) = case.signed();
    match algorithm {
        Algorithm::RS256 => {
            let key = RsaPublicKeyComponents { n: case.member("n"), e: case.member("e") };
            Box::new(move || key.verify(&RSA_PKCS1_2048_8192_SHA256, &signed, &signature).is_ok())
        }
        Algorithm::EdDSA => {
            let key = UnparsedPublicKey::new(&ED25519, case.member("x"));
            Box::new(move || key.verify(&signed, &signature).is_ok())
        }
        _ => {
            let point = [vec![4], case.member("x"), case.member("y")].concat();
            let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
            Box::new(move || key.verify(&signed, &signature).is_ok())
        }
    }
}
