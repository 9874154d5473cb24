//! An issuer for unit tests, which signs whatever it is told to.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};

pub(crate) const KID: &str = "k1";

/// The key of RFC 7515, appendix A.3.
const P256: [&str; 3] = [
    "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
    "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
];

pub(crate) enum Issuer {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl Issuer {
    pub(crate) fn new() -> Self {
        Self::Ed25519(Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap())
    }

    pub(crate) fn p256() -> Self {
        let [private, x, y] = P256.map(|text| URL_SAFE_NO_PAD.decode(text).unwrap());
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &private,
            &[&[4][..], &x, &y].concat(),
            &SystemRandom::new(),
        );
        Self::P256(pair.unwrap())
    }

    pub(crate) fn jwk(&self, kid: &str) -> String {
        match self {
            Self::Ed25519(pair) => {
                let x = base64url(pair.public_key().as_ref());
                format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{x}"}}"#)
            }
            Self::P256(_) => {
                let [_, x, y] = P256;
                format!(r#"{{"kty":"EC","crv":"P-256","kid":"{kid}","x":"{x}","y":"{y}"}}"#)
            }
        }
    }

    pub(crate) fn jwks(&self) -> String {
        format!(r#"{{"keys":[{}]}}"#, self.jwk(KID))
    }

    /// Signs these very bytes.
    pub(crate) fn sign(&self, header: &str, payload: impl AsRef<[u8]>) -> String {
        self.sign_parts(&base64url(header), &base64url(payload))
    }

    pub(crate) fn sign_parts(&self, header: &str, payload: &str) -> String {
        let input = format!("{header}.{payload}");
        let signature = match self {
            Self::Ed25519(pair) => base64url(pair.sign(input.as_bytes())),
            Self::P256(pair) => {
                base64url(pair.sign(&SystemRandom::new(), input.as_bytes()).unwrap())
            }
        };
        format!("{input}.{signature}")
    }
}

pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
