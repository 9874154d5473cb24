//! Access tokens that were verified a moment ago.
//!
//! A client sends one token with many requests. [`AccessTokenVerifier::cached`] verifies it once
//! and remembers the verdict (T-24):
//!
//! 1. a token is known by its HMAC-SHA256 under a random key of this cache, so the token itself is
//!    not kept. Each cache has its own key and belongs to one verifier: no verdict of another one
//!    is ever found in it;
//! 2. a verdict counts from the moment it was made on, until the token's `exp` (without leeway) or
//!    a maximum age, whichever is sooner: what is left of the leeway is for the verifier to grant;
//! 3. it counts only for the key set that it was made with: when keys change, or are too old, the
//!    token is verified again;
//! 4. a refusal is not remembered, so nobody can fill the cache with tokens that are bad, and what
//!    was refused for want of a key is accepted as soon as there is one.
//!
//! So a cached verifier answers exactly as the verifier itself would, and sooner.
//!
//! # Bounds
//!
//! There is room for as many verdicts as were asked for, in sets of [`WAYS`]; a token can be in one
//! set only, and where that is full, the token that expires first makes room. Readers take no
//! lock and never wait, neither for each other nor for a writer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;

use crate::algorithm::{MacKey, NoRandomness};
use crate::jws::MAX_LEN;
use crate::oidc::access_token::{AccessToken, AccessTokenError, AccessTokenVerifier};
use crate::oidc::issuers::Issuers;

/// How long a verdict is remembered unless stated otherwise: 5 minutes.
pub const DEFAULT_MAX_AGE: Duration = Duration::from_secs(300);
/// How many verdicts a cache has room for at most: about a million.
pub const MAX_CAPACITY: usize = 1 << 20;
/// How many places there are for one token.
pub const WAYS: usize = 4;

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
    // INVARIANT: every verdict in it is one of a verifier of these issuers.
    cache: Arc<VerdictCache<Verified<AccessToken>>>,
    max_age: Duration,
}

impl AccessTokenVerifier {
    /// This verifier, remembering as many good tokens as this; see
    /// [`verdict_cache`](crate::oidc::verdict_cache). The number is rounded up to a multiple of
    /// [`WAYS`], and down to [`MAX_CAPACITY`].
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
        let cache = VerdictCache::new(capacity)?.into();
        Ok(CachedAccessTokenVerifier { issuers: self, cache, max_age: DEFAULT_MAX_AGE })
    }
}

impl CachedAccessTokenVerifier {
    /// The same verifier, which believes a verdict for this long, whoever of its clones made it.
    #[must_use]
    pub fn with_max_age(self, max_age: Duration) -> Self {
        Self { max_age, ..self }
    }

    /// The issuers behind it.
    #[must_use]
    pub const fn issuers(&self) -> &Issuers {
        &self.issuers
    }

    /// The token, where it is remembered that it was good and that counts at `now` still. Nothing is
    /// verified.
    #[must_use]
    pub fn remembered(&self, token: &str, now: Timestamp) -> Option<Verified<AccessToken>> {
        if token.len() > MAX_LEN { None } else { self.known(&self.cache.name(token), now) }
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
        if token.len() > MAX_LEN {
            return self.issuers.verify(token, now);
        }
        let name = self.cache.name(token);
        if let Some(known) = self.known(&name, now) {
            return Ok(known);
        }
        let verified = self.issuers.verify(token, now)?;
        let until = verified.expires();
        self.cache.insert(Verdict { name, value: verified.clone(), since: now, until });
        Ok(verified)
    }

    /// A verdict that still counts. Keys that nobody can verify with vouch for nothing.
    fn known(&self, name: &Name, now: Timestamp) -> Option<Verified<AccessToken>> {
        let token = self.cache.get(name, &Moment { now, max_age: self.max_age })?;
        let keys = self.issuers.verifier(token.issuer())?.keys().current(now).ok()?;
        (token.key_generation() == keys.generation()).then_some(token)
    }
}

type Name = [u8; 32];

/// What is known of a token.
pub(crate) struct Verdict<V> {
    pub(crate) name: Name,
    pub(crate) value: V,
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
}

/// What a verdict is judged by.
pub(crate) struct Moment {
    pub(crate) now: Timestamp,
    pub(crate) max_age: Duration,
}

impl<V> Verdict<V> {
    fn counts(&self, at: &Moment) -> bool {
        let until = self.until.min(self.since.saturating_add(at.max_age));
        self.since <= at.now && at.now < until
    }
}

type Set<V> = [ArcSwapOption<Verdict<V>>; WAYS];

pub(crate) struct VerdictCache<V> {
    key: MacKey,
    // INVARIANT: not empty.
    sets: Box<[Set<V>]>,
}

impl<V: Clone> VerdictCache<V> {
    pub(crate) fn new(capacity: usize) -> Result<Self, NoRandomness> {
        let count = capacity.clamp(1, MAX_CAPACITY).div_ceil(WAYS);
        let sets = (0..count).map(|_| Set::default()).collect();
        Ok(Self { key: MacKey::random()?, sets })
    }

    /// Another cache of the same size, in which a token has the same name.
    #[cfg(feature = "http")]
    pub(crate) fn with_the_same_names<W>(&self) -> VerdictCache<W> {
        let sets = self.sets.iter().map(|_| Set::default()).collect();
        VerdictCache { key: self.key.clone(), sets }
    }

    pub(crate) fn name(&self, token: &str) -> Name {
        self.key.mac(token.as_bytes())
    }

    /// The one set that a verdict of this name can be in. Names are random, so sets fill evenly.
    fn set(&self, name: &Name) -> Option<&Set<V>> {
        let number = name.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))?;
        let count = u64::try_from(self.sets.len()).ok()?;
        self.sets.get(usize::try_from(number.checked_rem(count)?).ok()?)
    }

    pub(crate) fn get(&self, name: &Name, at: &Moment) -> Option<V> {
        self.set(name)?.iter().find_map(|slot| {
            let slot = slot.load();
            let verdict = slot.as_ref().filter(|verdict| verdict.name == *name)?;
            verdict.counts(at).then(|| verdict.value.clone())
        })
    }

    /// Takes the place of a verdict on the same token, or an empty place, or that of the token that
    /// expires first. Of two at the same moment one may be lost, and is made again.
    pub(crate) fn insert(&self, verdict: Verdict<V>) {
        let Some(set) = self.set(&verdict.name) else { return };
        let place = set.iter().min_by_key(|slot| {
            slot.load().as_ref().map(|other| (other.name != verdict.name, other.until)).map_or(
                (1, Timestamp::EPOCH),
                |(other, until)| if other { (2, until) } else { (0, until) },
            )
        });
        if let Some(place) = place {
            place.store(Some(Arc::new(verdict)));
        }
    }
}

impl<V> fmt::Debug for VerdictCache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let capacity = self.sets.len().saturating_mul(WAYS);
        f.debug_struct("VerdictCache").field("capacity", &capacity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
