//! Tokens as a test writes them down: any header over any payload, signed by the key of any
//! algorithm that ring knows, or AWS-LC with the feature `aws-lc-rs`.

use ring::rand::SystemRandom;
use ring::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair,
};
use serde_json::{Value, json};

use crate::issuer::base64url;

/// A key that signs with one algorithm.
#[derive(Debug)]
pub struct RawKey {
    pair: Pair,
    public: Value,
}

#[derive(Debug)]
enum Pair {
    Ec(EcdsaKeyPair),
    Rsa(Box<RsaKeyPair>, &'static str),
    Ed25519(Ed25519KeyPair),
    #[cfg(feature = "aws-lc-rs")]
    P521(aws_lc_rs::signature::EcdsaKeyPair),
    None,
}

impl RawKey {
    /// A key for this algorithm. Where ring has none it signs with zeros, and there is a key of
    /// RSA beside it.
    pub fn for_algorithm(alg: &str) -> Self {
        match alg {
            "ES256" => Self::ec("P-256", &ECDSA_P256_SHA256_FIXED_SIGNING),
            "ES384" => Self::ec("P-384", &ECDSA_P384_SHA384_FIXED_SIGNING),
            "EdDSA" => {
                let pair = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
                let x = base64url(pair.public_key().as_ref());
                let public = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
                Self { pair: Pair::Ed25519(pair), public }
            }
            #[cfg(feature = "aws-lc-rs")]
            "ES512" => Self::p521(),
            alg => Self::rsa(
                ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]
                    .into_iter()
                    .find(|name| *name == alg),
            ),
        }
    }

    fn ec(crv: &str, signing: &'static EcdsaSigningAlgorithm) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(signing, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(signing, pkcs8.as_ref(), &random).unwrap();
        let point = &pair.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        let public = json!({"kty": "EC", "crv": crv, "x": base64url(x), "y": base64url(y)});
        Self { pair: Pair::Ec(pair), public }
    }

    #[cfg(feature = "aws-lc-rs")]
    fn p521() -> Self {
        use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
        let pair = EcdsaKeyPair::generate(&ECDSA_P521_SHA512_FIXED_SIGNING).unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(66);
        let public = json!({"kty": "EC", "crv": "P-521", "x": base64url(x), "y": base64url(y)});
        Self { pair: Pair::P521(pair), public }
    }

    fn rsa(alg: Option<&'static str>) -> Self {
        let pair = RsaKeyPair::from_der(include_bytes!("../fixtures/rsa2048.der")).unwrap();
        let public = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        let public = json!({"kty": "RSA", "n": base64url(&public.n), "e": base64url(&public.e)});
        Self { pair: alg.map_or(Pair::None, |alg| Pair::Rsa(Box::new(pair), alg)), public }
    }

    /// The public key with these members besides.
    pub fn jwk(&self, extra: Value) -> Value {
        let mut jwk = self.public.clone();
        for (name, value) in extra.as_object().unwrap() {
            jwk[name] = value.clone();
        }
        jwk
    }

    /// A token with this header and payload, to the letter.
    pub fn sign(&self, header: &str, payload: &str) -> String {
        let input = format!("{}.{}", base64url(header.as_bytes()), base64url(payload.as_bytes()));
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Ec(pair) => pair.sign(&random, input.as_bytes()).unwrap().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(input.as_bytes()).as_ref().to_vec(),
            Pair::Rsa(pair, alg) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(padding(alg), &random, input.as_bytes(), &mut signature).unwrap();
                signature
            }
            #[cfg(feature = "aws-lc-rs")]
            Pair::P521(pair) => {
                let random = aws_lc_rs::rand::SystemRandom::new();
                pair.sign(&random, input.as_bytes()).unwrap().as_ref().to_vec()
            }
            Pair::None => vec![0; 132],
        };
        format!("{input}.{}", base64url(&signature))
    }
}

fn padding(alg: &str) -> &'static dyn RsaEncoding {
    match alg {
        "RS256" => &signature::RSA_PKCS1_SHA256,
        "RS384" => &signature::RSA_PKCS1_SHA384,
        "RS512" => &signature::RSA_PKCS1_SHA512,
        "PS256" => &signature::RSA_PSS_SHA256,
        "PS384" => &signature::RSA_PSS_SHA384,
        "PS512" => &signature::RSA_PSS_SHA512,
        other => panic!("{other} is not of RSA"),
    }
}

/// The claims of a case, in which times are written as `now`, `now+60` or `now-60`.
pub fn dated(claims: &Value, now: i64) -> Value {
    let mut claims = claims.clone();
    for value in claims.as_object_mut().unwrap().values_mut() {
        if let Some(offset) = value.as_str().and_then(|text| text.strip_prefix("now")) {
            let offset = if offset.is_empty() { 0 } else { offset.parse::<i64>().unwrap() };
            *value = (now + offset).into();
        }
    }
    claims
}
