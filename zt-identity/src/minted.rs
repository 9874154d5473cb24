//! An issuer for unit tests, which signs whatever it is told to.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};

pub(crate) const KID: &str = "k1";

pub(crate) struct Issuer(Ed25519KeyPair);

impl Issuer {
    pub(crate) fn new() -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap())
    }

    pub(crate) fn jwk(&self, kid: &str) -> String {
        let x = base64url(self.0.public_key().as_ref());
        format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{x}"}}"#)
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
        let signature = self.0.sign(input.as_bytes());
        format!("{input}.{}", base64url(signature.as_ref()))
    }
}

pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
