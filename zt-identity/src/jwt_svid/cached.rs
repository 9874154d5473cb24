//! JWT-SVIDs that were verified a moment ago.

use std::time::Duration;

use zt_core::time::Timestamp;
use zt_core::verified::Verified;

use super::{JwtSvid, JwtSvidError, JwtSvidVerifier};
use crate::algorithm::NoRandomness;
use crate::jwt_bundle::{Edition, JwtBundleSet};
use crate::verdicts::Verdicts;

/// Verifies JWT-SVIDs and remembers for a while those that were good, by the rules of
/// [`verdicts`](crate::verdicts). A clone shares what is remembered.
///
/// A verdict counts as long as the bundle of its trust domain is the very one that vouched for it: one
/// that was read anew, put in its place or taken away ends it, also where its keys are the same.
///
/// ```
/// # #[cfg(feature = "authority")] {
/// # use zt_core::spiffe::TrustDomain;
/// # use zt_core::time::Timestamp;
/// # use zt_identity::authority::Authority;
/// # use zt_identity::claims::Audience;
/// # use zt_identity::jwt_bundle::JwtBundleSet;
/// # use zt_identity::jwt_svid::JwtSvidVerifier;
/// # let now = Timestamp::from_secs(1_800_000_000);
/// # let authority = Authority::new(TrustDomain::from_name("example.org")?, now)?;
/// # let token = authority.jwt_svid("/cart", "orders")?;
/// let bundles = JwtBundleSet::new().with(authority.jwt_bundle());
/// let verifier = JwtSvidVerifier::new(Audience::any(["orders"])?).cached(10_000)?;
/// assert!(verifier.remembered(&token, &bundles, now).is_none());
/// let svid = verifier.verify(&token, &bundles, now)?;
/// assert_eq!(verifier.remembered(&token, &bundles, now), Some(svid));
/// assert!(verifier.remembered(&token, &JwtBundleSet::new(), now).is_none());
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct CachedJwtSvidVerifier {
    verifier: JwtSvidVerifier,
    // INVARIANT: every one of them is of this verifier.
    verdicts: Verdicts<Known>,
}

#[derive(Clone, Debug)]
struct Known {
    svid: Verified<JwtSvid>,
    keys: Edition,
}

impl Known {
    fn is_vouched_for_by(&self, bundles: &JwtBundleSet) -> bool {
        let bundle = bundles.get(self.svid.id().trust_domain());
        bundle.is_some_and(|bundle| self.keys.is_of(bundle))
    }
}

impl JwtSvidVerifier {
    /// This verifier, remembering as many good tokens as this; the number is rounded up to a multiple
    /// of [`WAYS`](crate::verdicts::WAYS), and down to
    /// [`MAX_CAPACITY`](crate::verdicts::MAX_CAPACITY).
    ///
    /// # Errors
    ///
    /// [`NoRandomness`] when there is none for a key.
    pub fn cached(self, capacity: usize) -> Result<CachedJwtSvidVerifier, NoRandomness> {
        Ok(CachedJwtSvidVerifier { verifier: self, verdicts: Verdicts::new(capacity)? })
    }
}

impl CachedJwtSvidVerifier {
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
        bundles: &JwtBundleSet,
        now: Timestamp,
    ) -> Option<Verified<JwtSvid>> {
        let token = token.as_ref();
        let known = self.verdicts.remembered(token, now, |known| known.is_vouched_for_by(bundles));
        known.map(|known| known.svid)
    }

    /// Verifies a token with the bundle of its own trust domain, or remembers that it was good.
    ///
    /// # Errors
    ///
    /// As [`JwtSvidVerifier::verify`].
    pub fn verify(
        &self,
        token: &str,
        bundles: &JwtBundleSet,
        now: Timestamp,
    ) -> Result<Verified<JwtSvid>, JwtSvidError> {
        let counts = |known: &Known| known.is_vouched_for_by(bundles);
        let known = self.verdicts.verify(token, now, counts, || {
            let (svid, bundle) = self.verifier.judge(token, bundles, now)?;
            let until = svid.expires();
            Ok((Known { svid, keys: bundle.edition() }, until))
        });
        known.map(|known| known.svid)
    }
}
