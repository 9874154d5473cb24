//! Access tokens that were verified a moment ago.
//!
//! A client sends one token with many requests. [`AccessTokenVerifier::cached`] verifies it once and
//! remembers the verdict, by the rules and within the bounds of [`verdicts`](crate::verdicts).

use std::time::Duration;

use zt_core::time::Timestamp;
use zt_core::verified::Verified;

use crate::algorithm::NoRandomness;
use crate::oidc::access_token::{AccessToken, AccessTokenError, AccessTokenVerifier};
use crate::oidc::issuers::Issuers;
use crate::verdicts::Verdicts;

/// Verifies access tokens and remembers for a while those that were good. A clone shares what is
/// remembered.
///
/// ```
/// # #[cfg(feature = "authority")] {
/// use zt_core::time::Timestamp;
/// use zt_identity::authority::Issuer;
/// use zt_identity::oidc::access_token::AccessTokenVerifier;
///
/// # let now = Timestamp::from_secs(1_800_000_000);
/// let issuer = Issuer::new("https://login.example.com", now)?;
/// let token = issuer.mint(r#"{"sub": "alice", "aud": "orders"}"#)?;
///
/// let tokens = AccessTokenVerifier::for_issuer(issuer.url().clone())
///     .audience("orders")
///     .keys(issuer.keys()?)
///     .build()?
///     .cached(10_000)?;
/// assert_eq!(tokens.verify(&token, now)?, tokens.verify(&token, now)?);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct CachedAccessTokenVerifier {
    issuers: Issuers,
    // INVARIANT: every one of them is of a verifier of these issuers.
    verdicts: Verdicts<Verified<AccessToken>>,
}

impl AccessTokenVerifier {
    /// This verifier, remembering as many good tokens as this; see
    /// [`verdicts`](crate::verdicts). The number is rounded up to a multiple of
    /// [`WAYS`](crate::verdicts::WAYS), and down to [`MAX_CAPACITY`](crate::verdicts::MAX_CAPACITY).
    ///
    /// # Errors
    ///
    /// [`NoRandomness`] when there is none for a key.
    pub fn cached(self, capacity: usize) -> Result<CachedAccessTokenVerifier, NoRandomness> {
        Issuers::from(self).cached(capacity)
    }
}

impl Issuers {
    /// These issuers, remembering as many good tokens as this among them, as
    /// [`AccessTokenVerifier::cached`] does.
    ///
    /// # Errors
    ///
    /// [`NoRandomness`] when there is none for a key.
    pub fn cached(self, capacity: usize) -> Result<CachedAccessTokenVerifier, NoRandomness> {
        Ok(CachedAccessTokenVerifier { issuers: self, verdicts: Verdicts::new(capacity)? })
    }
}

impl CachedAccessTokenVerifier {
    /// The same verifier, which believes a verdict for this long, whoever of its clones made it.
    #[must_use]
    pub fn with_max_age(self, max_age: Duration) -> Self {
        Self { verdicts: self.verdicts.with_max_age(max_age), ..self }
    }

    /// The issuers behind it.
    #[must_use]
    pub const fn issuers(&self) -> &Issuers {
        &self.issuers
    }

    /// The token, where it is remembered that it was good and that counts at `now` still. Nothing is
    /// verified.
    #[must_use]
    pub fn remembered(
        &self,
        token: impl AsRef<[u8]>,
        now: Timestamp,
    ) -> Option<Verified<AccessToken>> {
        self.verdicts.remembered(token.as_ref(), now, |known| self.keys_count(known, now))
    }

    /// Verifies a token at `now`, or remembers that it was good.
    ///
    /// # Errors
    ///
    /// As [`AccessTokenVerifier::verify`].
    pub fn verify(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Verified<AccessToken>, AccessTokenError> {
        let keys_count = |known: &Verified<AccessToken>| self.keys_count(known, now);
        self.verdicts.verify(token, now, keys_count, || {
            let verified = self.issuers.verify(token, now)?;
            let until = verified.expires();
            Ok((verified, until))
        })
    }

    /// Keys that nobody can verify with vouch for nothing.
    fn keys_count(&self, token: &AccessToken, now: Timestamp) -> bool {
        let keys =
            self.issuers.verifier(token.issuer()).map(|verifier| verifier.keys().current(now));
        matches!(keys, Some(Ok(keys)) if keys.generation() == token.key_generation())
    }
}

#[cfg(test)]
mod tests;
