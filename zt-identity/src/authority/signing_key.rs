//! A key on P-256 that signs tokens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

use super::error::AuthorityError;
use crate::algorithm::sha256;
use crate::json::Object;

pub(super) struct SigningKey {
    pair: EcdsaKeyPair,
    kid: String,
}

impl SigningKey {
    pub(super) fn generate() -> Result<Self, AuthorityError> {
        let random = SystemRandom::new();
        let signing = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(signing, &random)?;
        let pair = EcdsaKeyPair::from_pkcs8(signing, pkcs8.as_ref(), &random)
            .map_err(|rejected| AuthorityError::Issue(rejected.to_string()))?;
        let mut kid = base64url(sha256(pair.public_key().as_ref()));
        kid.truncate(16);
        Ok(Self { pair, kid })
    }

    /// The public key as the JWK that it is published as, for this use.
    pub(super) fn jwk(&self, key_use: &str) -> String {
        // 0x04, x, y.
        let point = self.pair.public_key().as_ref().get(1..).unwrap_or_default();
        let (x, y) = point.split_at(point.len() / 2);
        let (x, y, kid) = (base64url(x), base64url(y), &self.kid);
        format!(
            r#"{{"kty":"EC","crv":"P-256","alg":"ES256","use":"{key_use}","kid":"{kid}","x":"{x}","y":"{y}"}}"#
        )
    }

    /// A token of this type with these claims, once they are known to be a JSON object.
    pub(super) fn sign(&self, typ: &str, claims: &str) -> Result<String, AuthorityError> {
        Object::parse(claims.as_bytes())?;
        let header = format!(r#"{{"alg":"ES256","typ":{},"kid":"{}"}}"#, quoted(typ), self.kid);
        let input = format!("{}.{}", base64url(header), base64url(claims));
        let signature = self.pair.sign(&SystemRandom::new(), input.as_bytes())?;
        Ok(format!("{input}.{}", base64url(signature)))
    }
}

/// A JSON string.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn quoted_text_is_read_back_as_it_was(text in any::<String>()) {
            let document = format!(r#"{{"a":{}}}"#, quoted(&text));
            let object = Object::parse(document.as_bytes()).unwrap();
            prop_assert_eq!(object.get("a").unwrap().as_str(), Some(text.as_str()));
        }
    }
}
