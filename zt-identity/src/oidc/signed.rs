//! What all tokens of an issuer have in common: a signature by one of its keys.
//!
//! A token is signed when, in this order:
//!
//! 1. it is compact JWS with the header that its kind demands ([`jws`](crate::jws));
//! 2. its `kid` names a key of the issuer, and that key verifies the signature (T-04, T-06);
//! 3. the payload is one strict JSON object (T-03), which is for the caller to read.
//!
//! A missing key set is an error of its own: then nobody can tell whether the token is good.

use zt_core::fault::Fault;
use zt_core::time::Timestamp;

use crate::algorithm::Algorithm;
use crate::excerpt::excerpt;
use crate::json::JsonError;
use crate::jws::{Jws, JwsError, Profile};
use crate::oidc::issuer::Issuer;
use crate::oidc::keys::{IssuerKeys, KeysUnavailable};

/// Whose tokens, and what they are verified with.
#[derive(Clone, Debug)]
pub(crate) struct Signer {
    // INVARIANT: where the keys know their issuer, it is this one.
    issuer: Issuer,
    keys: IssuerKeys,
}

impl Signer {
    pub(crate) fn new(issuer: Issuer, keys: IssuerKeys) -> Result<Self, KeysOfAnother> {
        match keys.issuer().filter(|other| **other != issuer) {
            Some(other) => Err(KeysOfAnother { issuer: other.clone() }),
            None => Ok(Self { issuer, keys }),
        }
    }

    pub(crate) const fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// The keys that its tokens are verified with.
    pub(crate) const fn keys(&self) -> &IssuerKeys {
        &self.keys
    }

    /// What is in a token of this kind that a key of the issuer has signed.
    pub(crate) fn signed(
        &self,
        token: &str,
        profile: &Profile<'_>,
        now: Timestamp,
    ) -> Result<Signed, SignedTokenError> {
        let jws = Jws::parse(token, profile)?;
        let key_generation = self.check(&jws, now)?;
        let payload = jws.unverified_payload()?;
        Ok(Signed { payload, algorithm: jws.algorithm(), key_generation })
    }

    /// A key of the issuer has signed this token. Returns the generation of the keys.
    pub(crate) fn check(&self, jws: &Jws<'_>, now: Timestamp) -> Result<u64, SignedTokenError> {
        let kid = jws.kid().ok_or(SignedTokenError::NoKid)?;
        let keys = self.keys.current(now)?;
        let Some(key) = keys.key(kid) else {
            self.keys.report_unknown();
            return Err(SignedTokenError::UnknownKey { kid: excerpt(kid) });
        };
        jws.check_signature(key)?;
        Ok(keys.generation())
    }
}

/// What an issuer has signed.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) payload: Vec<u8>,
    pub(crate) algorithm: Algorithm,
    pub(crate) key_generation: u64,
}

/// Keys of another issuer than the one whose tokens are to be verified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the keys are those of {issuer}")]
#[non_exhaustive]
pub struct KeysOfAnother {
    /// Whose keys they are.
    pub issuer: Issuer,
}

impl KeysOfAnother {
    /// Whose fault it is: that of the embedding program.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

/// Why a token is not one that an issuer has signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignedTokenError {
    /// The token is not a signed token of the expected kind, or its signature does not verify.
    #[error(transparent)]
    Jws(#[from] JwsError),
    /// The token names no key, and keys are never tried in turn.
    #[error("the token names no key")]
    NoKid,
    /// The token names a key that the issuer does not have.
    #[error("the issuer has no key {kid:?}")]
    UnknownKey {
        /// The name, cut.
        kid: String,
    },
    /// There are no keys to judge the token by.
    #[error(transparent)]
    Keys(#[from] KeysUnavailable),
    /// The payload is not JSON that is accepted.
    #[error("the payload is not JSON that is accepted")]
    Payload(#[from] JsonError),
}

impl SignedTokenError {
    /// Whose fault it is: the authority's when there are no keys to judge by, else the sender's.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Keys(unavailable) => unavailable.fault(),
            Self::Jws(_) | Self::NoKid | Self::UnknownKey { .. } | Self::Payload(_) => Fault::Peer,
        }
    }

    /// What it is called in records and metrics: a name out of a fixed set, with nothing of the
    /// token in it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Jws(error) => error.reason(),
            Self::NoKid | Self::UnknownKey { .. } => "token_key_unknown",
            Self::Keys(_) => "keys_unavailable",
            Self::Payload(_) => "token_not_json",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::SignatureError;
    use crate::jwk::JwkSet;
    use crate::minted;

    const PROFILE: Profile<'_> = Profile::new(Algorithm::ALL, &["JWT"]);

    fn signed(header: &str, keys: &str) -> Result<(), SignedTokenError> {
        let keys = IssuerKeys::fixed(JwkSet::parse(keys.as_bytes()).unwrap());
        let signer = Signer::new(Issuer::parse("https://issuer.example").unwrap(), keys).unwrap();
        let token = minted::Issuer::new().sign(header, "{}");
        signer.signed(&token, &PROFILE, Timestamp::EPOCH).map(|_| ())
    }

    #[test]
    fn a_token_names_a_key_of_its_issuer() {
        let jwks = minted::Issuer::new().jwks();
        assert_eq!(signed(r#"{"alg":"EdDSA","typ":"JWT","kid":"k1"}"#, &jwks), Ok(()));
        let nameless = signed(r#"{"alg":"EdDSA","typ":"JWT"}"#, &jwks);
        assert_eq!(nameless, Err(SignedTokenError::NoKid));
        let unknown = signed(r#"{"alg":"EdDSA","typ":"JWT","kid":"k2"}"#, &jwks);
        assert_eq!(unknown, Err(SignedTokenError::UnknownKey { kid: "k2".into() }));
    }

    #[test]
    fn a_key_of_another_type_verifies_nothing() {
        let refused =
            signed(r#"{"alg":"EdDSA","typ":"JWT","kid":"k1"}"#, &minted::Issuer::p256().jwks());
        assert!(matches!(
            refused,
            Err(SignedTokenError::Jws(JwsError::NotSigned(SignatureError::WrongKeyType { .. })))
        ));
    }

    #[test]
    fn a_token_that_nobody_can_judge_is_the_authoritys_fault() {
        let refused = signed(r#"{"alg":"EdDSA","typ":"JWT","kid":"k1"}"#, r#"{"keys":[]}"#);
        assert_eq!(refused, Err(KeysUnavailable::NoUsableKey.into()));
        assert_eq!(refused.unwrap_err().fault(), Fault::Authority);
    }
}
