//! Access tokens: what an issuer lets a client do for a user (RFC 9068).
//!
//! [`AccessTokenVerifier::verify`] accepts a token when, in this order:
//!
//! 1. it is a compact JWS with an allowed `alg`, and `typ` is `at+jwt` or `application/at+jwt`
//!    (RFC 9068 §4, T-07);
//! 2. its `kid` names a key of the issuer, and that key verifies the signature (T-04, T-06);
//! 3. the payload is one strict JSON object (T-03);
//! 4. `iss` is the issuer, `aud` names this service, `sub` is there (RFC 9068 §4, T-10);
//! 5. `exp`, `nbf` and `iat` fit the time (T-11);
//! 6. no claim belongs to another kind of token, where the type does not say so (RFC 8725 §3.12);
//! 7. every other claim that is used has the type that its specification gives it, and the user
//!    that it describes breaks no rule of the [mapping](crate::oidc::claim_mapping).
//!
//! A missing key set is an error of its own: then nobody can tell whether the token is good.
//!
//! # A token is not a caller
//!
//! The result has a user's name in it and still no principal: whoever copied the token could send
//! it. A [`Binding`](crate::possession::binding::Binding) turns it into a user (T-16).
//!
//! # Providers that predate RFC 9068
//!
//! Many call their access tokens `JWT`. [`AccessTokenVerifierBuilder::admit_jwt_type`] admits
//! those, and with them the danger that an ID token is taken for an access token. Under this
//! switch a token with a claim that belongs to an ID token or a logout token is refused, and the
//! audience has to be a name of this service that is no `client_id` of the issuer.

mod builder;
pub(super) mod rules;
mod token;

use std::sync::Arc;

use zt_core::danger;
use zt_core::fault::Fault;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;

use crate::algorithm::Algorithm;
use crate::claims::ClaimsError;
use crate::json::{JsonError, Object};
use crate::jws::{Jws, JwsError, Profile};
use crate::oidc::claim_mapping::ClaimMapping;
use crate::oidc::issuer::{Issuer, IssuerError};
use crate::oidc::keys::{IssuerKeys, KeysUnavailable};
use crate::oidc::signed::{Signed, SignedTokenError, Signer};

pub use self::builder::{AccessTokenVerifierBuilder, VerifierError};
use self::rules::Rules;
pub use self::token::AccessToken;
pub(super) use self::token::Facts;

const TYPES: &[&str] = &["at+jwt", "application/at+jwt"];
const TYPES_AND_JWT: &[&str] = &["at+jwt", "application/at+jwt", "JWT"];

/// Claims of ID tokens (OpenID Connect Core §2, §3.3.2.11) and logout tokens (Back-Channel Logout
/// §2.4) that no access token has.
const FOREIGN_CLAIMS: [&str; 4] = ["nonce", "at_hash", "c_hash", "events"];

/// Verifies the access tokens of one issuer. A clone shares its keys.
///
/// ```
/// use zt_core::time::Timestamp;
/// use zt_identity::jwk::JwkSet;
/// use zt_identity::oidc::access_token::AccessTokenVerifier;
/// use zt_identity::oidc::keys::IssuerKeys;
///
/// let keys = IssuerKeys::fixed(JwkSet::parse(br#"{"keys":[
///     {"kty":"OKP","crv":"Ed25519","kid":"2026-11",
///      "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#)?);
/// let tokens = AccessTokenVerifier::builder("https://login.example.com")?
///     .audience("orders")
///     .keys(keys)
///     .build()?;
/// assert!(tokens.verify("not.a.token", Timestamp::from_secs(1_800_000_000)).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct AccessTokenVerifier {
    signer: Signer,
    rules: Rules,
    types: &'static [&'static str],
    algorithms: Arc<[Algorithm]>,
}

impl AccessTokenVerifier {
    /// Begins a verifier for the tokens of the issuer with this `https` URL.
    ///
    /// # Errors
    ///
    /// [`IssuerError`] when the URL cannot name an issuer.
    pub fn builder(issuer: &str) -> Result<AccessTokenVerifierBuilder, IssuerError> {
        Issuer::parse(issuer).map(Self::for_issuer)
    }

    /// Begins a verifier for the tokens of this issuer.
    pub fn for_issuer(issuer: Issuer) -> AccessTokenVerifierBuilder {
        AccessTokenVerifierBuilder::new(issuer)
    }

    /// Whose tokens it verifies.
    #[must_use]
    pub fn issuer(&self) -> &Issuer {
        self.signer.issuer()
    }

    /// The keys it verifies them with.
    #[must_use]
    pub fn keys(&self) -> &IssuerKeys {
        self.signer.keys()
    }

    /// How claims become a user.
    pub fn mapping(&self) -> &ClaimMapping {
        self.rules.mapping()
    }

    /// Verifies a token at `now`.
    ///
    /// # Errors
    ///
    /// [`AccessTokenError`] names the first rule that is broken; its
    /// [`fault`](AccessTokenError::fault) is the authority's when there are no keys to judge by.
    pub fn verify(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Verified<AccessToken>, AccessTokenError> {
        let Signed { payload, key_generation, .. } =
            self.signer.signed(token, &self.profile(), now)?;
        let facts = self.judge(token, &Object::parse_token(&payload)?, key_generation, now)?;
        Ok(Self::verified(facts, payload))
    }

    /// As [`AccessTokenVerifier::verify`], where the claims of the token were read before its
    /// signature was looked at.
    pub(super) fn verify_read(
        &self,
        token: &str,
        claims: &Object<'_>,
        now: Timestamp,
    ) -> Result<Facts, AccessTokenError> {
        let jws = Jws::parse(token, &self.profile())?;
        let key_generation = self.signer.check(&jws, now)?;
        self.judge(token, claims, key_generation, now)
    }

    /// What [`AccessTokenVerifier::judge`] has accepted of this payload.
    pub(super) fn verified(facts: Facts, payload: Vec<u8>) -> Verified<AccessToken> {
        #[expect(
            clippy::disallowed_methods,
            reason = "a key of the issuer signed these claims, and every rule of this module holds"
        )]
        let verified = danger::verified(AccessToken::new(facts, payload));
        verified
    }

    /// Rule 1.
    fn profile(&self) -> Profile<'_> {
        Profile::new(&self.algorithms, self.types)
    }

    /// Rules 4 to 7.
    fn judge(
        &self,
        token: &str,
        claims: &Object<'_>,
        key_generation: u64,
        now: Timestamp,
    ) -> Result<Facts, AccessTokenError> {
        self.rules.judge(self.issuer(), token, claims, key_generation, now)
    }
}

/// Why an access token is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccessTokenError {
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
    /// The claims are refused.
    #[error(transparent)]
    Claims(#[from] ClaimsError),
    /// The token has a claim that belongs to another kind of token.
    #[error("the claim {claim:?} does not belong into an access token")]
    ForeignClaim {
        /// The claim.
        claim: &'static str,
    },
}

impl From<SignedTokenError> for AccessTokenError {
    fn from(error: SignedTokenError) -> Self {
        match error {
            SignedTokenError::Jws(error) => Self::Jws(error),
            SignedTokenError::NoKid => Self::NoKid,
            SignedTokenError::UnknownKey { kid } => Self::UnknownKey { kid },
            SignedTokenError::Keys(error) => Self::Keys(error),
            SignedTokenError::Payload(error) => Self::Payload(error),
        }
    }
}

impl AccessTokenError {
    /// Whose fault it is: the authority's when there are no keys to judge by, else the sender's.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Keys(unavailable) => unavailable.fault(),
            Self::Jws(_)
            | Self::NoKid
            | Self::UnknownKey { .. }
            | Self::Payload(_)
            | Self::Claims(_)
            | Self::ForeignClaim { .. } => Fault::Peer,
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
            Self::Claims(error) => error.reason(),
            Self::ForeignClaim { .. } => "token_of_another_kind",
        }
    }
}

#[cfg(test)]
mod tests;
