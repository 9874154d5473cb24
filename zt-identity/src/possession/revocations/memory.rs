//! Revocations in the memory of this process.

use std::collections::HashMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use zt_core::time::Timestamp;

use super::{
    DEFAULT_RETENTION, Name, Revocation, Revocations, Revoke, RevokeError, RevokedError, SESSION,
    SUBJECT, TOKEN, TokenNames, issuer_name, name_of,
};
use crate::possession::eventual::Eventual;

/// Shards, each with a lock of its own: a writer keeps few readers waiting, and not for long.
const SHARDS: usize = 64;

/// Knows what was revoked in this process, and nothing of others: what is fed to it bites at once.
///
/// ```
/// use zt_core::time::Timestamp;
/// use zt_identity::possession::revocations::{
///     MemoryRevocations, Revocation, Revocations, Revoke, RevokedError, TokenNames,
/// };
///
/// let (now, issuer) = (Timestamp::from_secs(1_800_000_000), "https://login.example.com");
/// let revocations = MemoryRevocations::new(100_000);
/// let mut token = TokenNames::new(issuer, "alice");
/// token.issued_at = Some(now);
/// assert_eq!(revocations.check(&token, now), Ok(()));
/// let _ = revocations.revoke(&[Revocation::of_subject(issuer, "alice", now)], now);
/// assert_eq!(revocations.check(&token, now), Err(RevokedError::Revoked));
/// ```
pub struct MemoryRevocations {
    // INVARIANT: not empty.
    shards: Box<[Shard]>,
    shard_capacity: usize,
    retention: Duration,
}

type Shard = RwLock<HashMap<Name, Entry>>;

#[derive(Clone, Copy)]
struct Entry {
    issued_until: Timestamp,
    remembered_until: Timestamp,
}

impl MemoryRevocations {
    /// With room for about as many revocations as this; what there is no room for is remembered
    /// for everything of its issuer.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Shard::default()).collect();
        Self { shards, shard_capacity: capacity.div_ceil(SHARDS), retention: DEFAULT_RETENTION }
    }

    /// Remembers revocations for this long, and believes no token that is older.
    #[must_use]
    pub fn with_retention(self, retention: Duration) -> Self {
        Self { retention, ..self }
    }

    /// How long revocations are remembered.
    #[must_use]
    pub const fn retention(&self) -> Duration {
        self.retention
    }

    /// How many revocations are remembered, those among them that are over and not yet gone.
    #[must_use]
    pub fn len(&self) -> usize {
        let len = |shard: &Shard| shard.read().unwrap_or_else(PoisonError::into_inner).len();
        self.shards.iter().map(len).fold(0, usize::saturating_add)
    }

    /// Whether nothing is revoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, name: &Name) -> Option<&Shard> {
        let bits = usize::from(name.first().copied().unwrap_or_default());
        self.shards.get(bits.checked_rem(self.shards.len())?)
    }

    /// Takes in what was revoked at `at`, here or elsewhere.
    pub(crate) fn add(&self, revocation: &Revocation, at: Timestamp, now: Timestamp) {
        let remembered_until = at.saturating_add(self.retention);
        let Revocation { name, issuer, issued_until } = *revocation;
        let entry = Entry { issued_until, remembered_until };
        let capacity = if name == issuer { usize::MAX } else { self.shard_capacity };
        if !self.insert(name, entry, capacity, now) {
            let entry = Entry { issued_until: at.min(issued_until), remembered_until };
            self.insert(issuer, entry, usize::MAX, now);
        }
    }

    /// Whether there was room.
    fn insert(&self, name: Name, entry: Entry, capacity: usize, now: Timestamp) -> bool {
        let Some(shard) = self.shard(&name) else { return false };
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = shard.get_mut(&name) {
            known.issued_until = known.issued_until.max(entry.issued_until);
            known.remembered_until = known.remembered_until.max(entry.remembered_until);
            return true;
        }
        if shard.len() >= capacity {
            shard.retain(|_, entry| now <= entry.remembered_until);
        }
        let has_room = shard.len() < capacity;
        if has_room {
            shard.insert(name, entry);
        }
        has_room
    }

    /// Rules 3 and 4.
    fn is_revoked(&self, name: &Name, issued_at: Timestamp) -> bool {
        self.shard(name).is_none_or(|shard| {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            shard.get(name).is_some_and(|entry| issued_at <= entry.issued_until)
        })
    }
}

impl Revocations for MemoryRevocations {
    fn check(&self, token: &TokenNames<'_>, now: Timestamp) -> Result<(), RevokedError> {
        let issued_at = token.issued_at.ok_or(RevokedError::Undated)?;
        let retention = self.retention;
        if now.since(issued_at) > retention {
            return Err(RevokedError::TooOldToTell { now, issued_at, retention });
        }
        let named = |kind, name| name_of(kind, token.issuer, name);
        let is_revoked = self.is_revoked(&issuer_name(token.issuer), issued_at)
            || self.is_revoked(&named(SUBJECT, token.subject), issued_at)
            || token.id.is_some_and(|id| self.is_revoked(&named(TOKEN, id), issued_at))
            || token.session.is_some_and(|sid| self.is_revoked(&named(SESSION, sid), issued_at));
        if is_revoked { Err(RevokedError::Revoked) } else { Ok(()) }
    }
}

impl Revoke for MemoryRevocations {
    fn revoke(
        &self,
        revocations: &[Revocation],
        now: Timestamp,
    ) -> Eventual<Result<(), RevokeError>> {
        revocations.iter().for_each(|revocation| self.add(revocation, now, now));
        Eventual::ready(Ok(()))
    }
}

impl fmt::Debug for MemoryRevocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRevocations")
            .field("retention", &self.retention)
            .finish_non_exhaustive()
    }
}
