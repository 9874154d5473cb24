//! Tokens that were verified a moment ago.
//!
//! A client sends one token with many requests. A verifier that is *cached* verifies it once and
//! remembers the verdict (T-24):
//!
//! 1. a token is known by all of its bytes: by what was signed, which is kept, and by the HMAC-SHA256 of
//!    its signature under a random key of this cache. The signature is not kept, so that nothing in the
//!    memory of a cache can be sent as a token. Each cache has its own key and belongs to one verifier:
//!    no verdict of another one, for another audience, say, is ever found in it;
//! 2. a verdict counts from the moment it was made on, until the token's `exp` (without leeway) or
//!    a maximum age, whichever is sooner: what is left of the leeway is for the verifier to grant;
//! 3. it counts only for the keys that it was made with: when the keys of the issuer or the bundle of
//!    the trust domain are replaced, taken away or too old, the token is verified again;
//! 4. a refusal is not remembered, so nobody can fill the cache with tokens that are bad, and what
//!    was refused for want of a key is accepted as soon as there is one.
//!
//! So a cached verifier answers exactly as the verifier itself would, and sooner. There is one of
//! [access tokens](crate::oidc::verdict_cache), one of
//! [JWT-SVIDs](crate::jwt_svid::CachedJwtSvidVerifier) and one of
//! [service accounts](crate::service_account::CachedServiceAccountVerifier).
//!
//! # Bounds
//!
//! There is room for as many verdicts as were asked for, in sets of [`WAYS`]; a token can be in one
//! set only, and where that is full, the token that expires first makes room. A verdict
//! on a token of 900 bytes takes 2.6 KB. Readers take no lock and never wait, neither for each other nor
//! for a writer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use zt_core::time::Timestamp;

use crate::algorithm::{MacKey, NoRandomness};
use crate::jws::MAX_LEN;

/// How long a verdict is remembered unless stated otherwise: 5 minutes.
pub const DEFAULT_MAX_AGE: Duration = Duration::from_secs(300);
/// How many verdicts a cache has room for at most: about a million.
pub const MAX_CAPACITY: usize = 1 << 20;
/// How many places there are for one token.
pub const WAYS: usize = 4;

/// The good verdicts of one verifier, on signed tokens. A clone shares them.
#[derive(Clone, Debug)]
pub(crate) struct Verdicts<V> {
    cache: Arc<VerdictCache<Known<V>>>,
    max_age: Duration,
}

/// What is known of a token whose signature has the name that it is found by.
pub(crate) struct Known<V> {
    signed: Box<[u8]>,
    value: V,
}

/// What was signed, and the signature: what is behind the last dot.
fn signed_and_signature(token: &[u8]) -> (&[u8], &[u8]) {
    let dot = token.iter().rposition(|byte| *byte == b'.').unwrap_or_default();
    token.split_at_checked(dot).unwrap_or_default()
}

impl<V: Clone> Verdicts<V> {
    pub(crate) fn new(capacity: usize) -> Result<Self, NoRandomness> {
        Ok(Self { cache: VerdictCache::new(capacity)?.into(), max_age: DEFAULT_MAX_AGE })
    }

    /// The same verdicts, believed for this long, whoever of the clones made them.
    pub(crate) fn with_max_age(self, max_age: Duration) -> Self {
        Self { max_age, ..self }
    }

    #[cfg(test)]
    pub(crate) fn cache(&self) -> &VerdictCache<Known<V>> {
        &self.cache
    }

    /// The verdict on a token, where there is one that counts at `now`, by its keys too.
    pub(crate) fn remembered(
        &self,
        token: &[u8],
        now: Timestamp,
        keys_count: impl FnOnce(&V) -> bool,
    ) -> Option<V> {
        if token.len() > MAX_LEN {
            return None;
        }
        let (signed, signature) = signed_and_signature(token);
        self.known(signed, &self.cache.name(signature), now).filter(keys_count)
    }

    /// The same, or what `verify` says, with the end of its time.
    pub(crate) fn verify<E>(
        &self,
        token: &str,
        now: Timestamp,
        keys_count: impl FnOnce(&V) -> bool,
        verify: impl FnOnce() -> Result<(V, Timestamp), E>,
    ) -> Result<V, E> {
        if token.len() > MAX_LEN {
            return verify().map(|(value, _)| value);
        }
        let (signed, signature) = signed_and_signature(token.as_bytes());
        let name = self.cache.name(signature);
        if let Some(known) = self.known(signed, &name, now).filter(keys_count) {
            return Ok(known);
        }
        let (value, until) = verify()?;
        let known = Known { signed: signed.into(), value: value.clone() };
        self.cache.insert(Verdict { name, value: known, since: now, until });
        Ok(value)
    }

    fn known(&self, signed: &[u8], name: &Name, now: Timestamp) -> Option<V> {
        let at = Moment { now, max_age: self.max_age };
        let same = |known: &Known<V>| (*known.signed == *signed).then(|| known.value.clone());
        self.cache.find(name, &at, same)
    }
}

pub(crate) type Name = [u8; 32];

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

impl<V> VerdictCache<V> {
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

    /// How many verdicts there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.sets.iter().flatten().filter(|slot| slot.load().is_some()).count()
    }

    /// How many there is room for.
    pub(crate) fn capacity(&self) -> usize {
        self.sets.len().saturating_mul(WAYS)
    }

    /// The name of a token, or of what of it nobody may learn.
    pub(crate) fn name(&self, secret: &[u8]) -> Name {
        self.key.mac(secret)
    }

    /// The one set that a verdict of this name can be in. Names are random, so sets fill evenly.
    fn set(&self, name: &Name) -> Option<&Set<V>> {
        let number = name.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))?;
        let count = u64::try_from(self.sets.len()).ok()?;
        self.sets.get(usize::try_from(number.checked_rem(count)?).ok()?)
    }

    /// What is read of the verdict of this name, where it counts.
    pub(crate) fn find<W>(
        &self,
        name: &Name,
        at: &Moment,
        read: impl Fn(&V) -> Option<W>,
    ) -> Option<W> {
        self.set(name)?.iter().find_map(|slot| {
            let slot = slot.load();
            let verdict = slot.as_ref().filter(|verdict| verdict.name == *name)?;
            verdict.counts(at).then(|| read(&verdict.value)).flatten()
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
        f.debug_struct("VerdictCache").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}
