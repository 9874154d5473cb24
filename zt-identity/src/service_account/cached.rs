//! Tokens of service accounts that were verified a moment ago.

use std::time::Duration;

use zt_core::time::Timestamp;
use zt_core::verified::Verified;

use super::{ServiceAccountError, ServiceAccountToken, ServiceAccountVerifier};
use crate::algorithm::NoRandomness;
use crate::verdicts::Verdicts;

/// Verifies the tokens of service accounts and remembers for a while those that were good, by the
/// rules of [`verdicts`](crate::verdicts). A clone shares what is remembered.
#[derive(Clone, Debug)]
pub struct CachedServiceAccountVerifier {
    verifier: ServiceAccountVerifier,
    // INVARIANT: every one of them is of this verifier.
    verdicts: Verdicts<Known>,
}

#[derive(Clone, Debug)]
struct Known {
    token: Verified<ServiceAccountToken>,
    key_generation: u64,
}

impl ServiceAccountVerifier {
    /// This verifier, remembering as many good tokens as this; the number is rounded up to a multiple
    /// of [`WAYS`](crate::verdicts::WAYS), and down to
    /// [`MAX_CAPACITY`](crate::verdicts::MAX_CAPACITY).
    ///
    /// # Errors
    ///
    /// [`NoRandomness`] when there is none for a key.
    pub fn cached(self, capacity: usize) -> Result<CachedServiceAccountVerifier, NoRandomness> {
        Ok(CachedServiceAccountVerifier { verifier: self, verdicts: Verdicts::new(capacity)? })
    }
}

impl CachedServiceAccountVerifier {
    /// The same verifier, which believes a verdict for this long, whoever of its clones made it;
    /// [`DEFAULT_MAX_AGE`](crate::verdicts::DEFAULT_MAX_AGE) by default.
    #[must_use]
    pub fn with_max_age(self, max_age: Duration) -> Self {
        Self { verdicts: self.verdicts.with_max_age(max_age), ..self }
    }

    /// The token, where it is remembered that it was good and that counts at `now` still. Nothing is
    /// verified.
    #[must_use]
    pub fn remembered(
        &self,
        token: impl AsRef<[u8]>,
        now: Timestamp,
    ) -> Option<Verified<ServiceAccountToken>> {
        let token = token.as_ref();
        let known = self.verdicts.remembered(token, now, |known| self.keys_count(known, now));
        known.map(|known| known.token)
    }

    /// Verifies a token at `now`, or remembers that it was good.
    ///
    /// # Errors
    ///
    /// As [`ServiceAccountVerifier::verify`].
    pub fn verify(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Verified<ServiceAccountToken>, ServiceAccountError> {
        let counts = |known: &Known| self.keys_count(known, now);
        let known = self.verdicts.verify(token, now, counts, || {
            let (token, key_generation) = self.verifier.judge(token, now)?;
            let until = token.expires();
            Ok((Known { token, key_generation }, until))
        });
        known.map(|known| known.token)
    }

    /// Keys that nobody can verify with vouch for nothing.
    fn keys_count(&self, known: &Known, now: Timestamp) -> bool {
        let keys = self.verifier.cluster.keys().current(now);
        keys.is_ok_and(|keys| keys.generation() == known.key_generation)
    }
}
