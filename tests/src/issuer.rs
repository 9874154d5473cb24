//! An issuer that this project did not write: `jsonwebtoken` signs what it is given.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use serde_json::{Value, json};

pub const AUDIENCE: &str = "orders";

/// One key of an issuer: it signs tokens and publishes its public half.
#[derive(Debug)]
pub struct SigningKey {
    pub kid: String,
    algorithm: Algorithm,
    private: EncodingKey,
    public: Value,
}

impl SigningKey {
    pub fn es256(kid: &str) -> Self {
        Self::ec(kid, Algorithm::ES256, "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING)
    }

    pub fn es384(kid: &str) -> Self {
        Self::ec(kid, Algorithm::ES384, "P-384", &ECDSA_P384_SHA384_FIXED_SIGNING)
    }

    fn ec(
        kid: &str,
        algorithm: Algorithm,
        crv: &str,
        signing: &'static EcdsaSigningAlgorithm,
    ) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(signing, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(signing, pkcs8.as_ref(), &random).unwrap();
        let point = &pair.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        let public = json!({"kty": "EC", "crv": crv, "x": base64url(x), "y": base64url(y)});
        Self {
            kid: kid.into(),
            algorithm,
            private: EncodingKey::from_ec_der(pkcs8.as_ref()),
            public,
        }
    }

    pub fn eddsa(kid: &str) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let x = base64url(pair.public_key().as_ref());
        Self {
            kid: kid.into(),
            algorithm: Algorithm::EdDSA,
            private: EncodingKey::from_ed_der(pkcs8.as_ref()),
            public: json!({"kty": "OKP", "crv": "Ed25519", "x": x}),
        }
    }

    /// The one RSA key of all tests: a new one takes too long.
    pub fn rsa(kid: &str, algorithm: Algorithm) -> Self {
        let der = include_bytes!("../fixtures/rsa2048.der");
        let pair = RsaKeyPair::from_der(der).unwrap();
        let public = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        Self {
            kid: kid.into(),
            algorithm,
            private: EncodingKey::from_rsa_der(der),
            public: json!({"kty": "RSA", "n": base64url(&public.n), "e": base64url(&public.e)}),
        }
    }

    /// The public key; `extra` members are added.
    pub fn jwk(&self, extra: Value) -> Value {
        let mut jwk = self.public.clone();
        jwk["kid"] = self.kid.clone().into();
        jwk["use"] = "sig".into();
        for (name, value) in extra.as_object().unwrap() {
            jwk[name] = value.clone();
        }
        jwk
    }

    /// An access token with these claims.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(Some("at+jwt"), claims)
    }

    /// A token of another type, or of none, with these claims.
    pub fn sign_as(&self, typ: Option<&str>, claims: &Value) -> String {
        let header = Header {
            typ: typ.map(Into::into),
            kid: Some(self.kid.clone()),
            ..Header::new(self.algorithm)
        };
        jsonwebtoken::encode(&header, claims, &self.private).unwrap()
    }
}

pub fn jwks(keys: &[&SigningKey]) -> String {
    json!({"keys": keys.iter().map(|key| key.jwk(json!({}))).collect::<Vec<_>>()}).to_string()
}

pub fn claims(issuer: &str, exp: i64) -> Value {
    json!({
        "iss": issuer, "aud": AUDIENCE, "sub": "alice", "client_id": "shop",
        "iat": exp - 600, "exp": exp, "jti": "1", "scope": "read",
    })
}

/// RFC 7515, appendix C.
pub fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    bytes
        .chunks(3)
        .flat_map(|chunk| {
            let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
            let bits = bits << (8 * (3 - chunk.len()));
            (0..=chunk.len()).map(move |n| ALPHABET[(bits >> (18 - 6 * n) & 63) as usize] as char)
        })
        .collect()
}
