//! A key of our own on P-256, for what we sign ourselves: who our client is (RFC 7523), and that a
//! token is ours to use (RFC 9449).
//!
//! The private key stays inside `ring`, which does not wipe it. Nothing shows it.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use zt_core::fault::Fault;

use crate::algorithm::{NoRandomness, sha256};

/// A key pair on P-256 that signs by ES256. A clone is the same key.
///
/// ```
/// use zt_identity::signing_key::SigningKey;
///
/// let key = SigningKey::generate()?;
/// assert!(key.jwk().starts_with(r#"{"kty":"EC","crv":"P-256","#));
/// assert_eq!(format!("{key:?}"), format!("SigningKey({})", key.thumbprint()));
/// # Ok::<(), zt_identity::signing_key::SigningKeyError>(())
/// ```
#[derive(Clone)]
pub struct SigningKey(Arc<Pair>);

struct Pair {
    pair: EcdsaKeyPair,
    x: String,
    y: String,
}

impl SigningKey {
    /// A new key, which this process alone has and which ends with it.
    ///
    /// # Errors
    ///
    /// [`SigningKeyError::NoRandomness`] when there is none.
    pub fn generate() -> Result<Self, SigningKeyError> {
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .map_err(|ring::error::Unspecified| NoRandomness)?;
        Self::from_pkcs8(pkcs8.as_ref())
    }

    /// The key in this document (PKCS #8, in DER), with its public key in it (RFC 5915 §3).
    ///
    /// # Errors
    ///
    /// [`SigningKeyError::Rejected`] when it is no key on P-256.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, SigningKeyError> {
        let signing = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::from_pkcs8(signing, der, &SystemRandom::new())
            .map_err(|rejected| SigningKeyError::Rejected { reason: rejected.to_string() })?;
        // 0x04, x, y.
        let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
        let (x, y) = point.split_at_checked(32).unwrap_or_default();
        let (x, y) = (base64url(x), base64url(y));
        Ok(Self(Arc::new(Pair { pair, x, y })))
    }

    /// The public key as a JWK with nothing but its four members, in the order `kty`, `crv`, `x`,
    /// `y` (RFC 7518 §6.2.1).
    #[must_use]
    pub fn jwk(&self) -> String {
        let Pair { x, y, .. } = &*self.0;
        format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#)
    }

    /// The RFC 7638 thumbprint of the key in base64url: the `jkt` of tokens that are bound to it.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        let Pair { x, y, .. } = &*self.0;
        base64url(sha256(format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#).as_bytes()))
    }

    /// A compact JWS of these two JSON objects. The header has to name ES256.
    pub(crate) fn sign(&self, header: &str, claims: &str) -> Result<String, NoRandomness> {
        let input = format!("{}.{}", base64url(header), base64url(claims));
        let signature = self.0.pair.sign(&SystemRandom::new(), input.as_bytes());
        let signature = signature.map_err(|ring::error::Unspecified| NoRandomness)?;
        Ok(format!("{input}.{}", base64url(signature)))
    }
}

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Its public name alone.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.thumbprint())
    }
}

/// Why there is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SigningKeyError {
    /// The operating system gives out no randomness.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The document is no key on P-256.
    #[error("the document is no key on P-256: {reason}")]
    Rejected {
        /// What `ring` says.
        reason: String,
    },
}

impl SigningKeyError {
    /// Whose fault it is: that of the embedding program, or of where it runs.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::Algorithm;
    use crate::json::Object;
    use crate::jwk::{self, Jwk};
    use crate::jws::{Jws, Profile};

    #[test]
    fn what_a_key_signs_verifies_with_the_key_that_it_publishes() {
        let key = SigningKey::generate().unwrap();
        let token = key.sign(r#"{"alg":"ES256","typ":"JWT"}"#, r#"{"a":1}"#).unwrap();
        let published = key.jwk();
        let published = Object::parse(published.as_bytes()).unwrap();
        let jwk = Jwk::for_one_signature(&published).unwrap();
        let jws = Jws::parse(&token, &Profile::new(&[Algorithm::Es256], &["JWT"])).unwrap();
        assert_eq!(jws.verify(&jwk).unwrap(), br#"{"a":1}"#);
        let thumbprint = jwk::thumbprint_of_sound(&published).unwrap();
        assert_eq!(key.thumbprint(), base64url(thumbprint));
        let other = SigningKey::generate().unwrap();
        assert_ne!(key.thumbprint(), other.thumbprint());
    }

    #[test]
    fn what_is_no_key_on_p256_is_refused() {
        for der in [&b""[..], b"\x30\x03\x02\x01\x00"] {
            let refused = SigningKey::from_pkcs8(der).unwrap_err();
            assert!(matches!(refused, SigningKeyError::Rejected { .. }));
        }
    }
}
