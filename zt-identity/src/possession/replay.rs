//! What was sent before (T-31, T-32).
//!
//! Whatever counts once is verified into an [`Unadmitted`], and [`Replay::admit`] makes it count:
//!
//! 1. its name is inserted into a [`ReplayStore`] in one step that also says whether it was absent:
//!    of any number at the same time, one gets `true`;
//! 2. the name stays there until the thing would be refused anyway;
//! 3. a store that is full refuses what is new, and never forgets what still counts;
//! 4. a store that cannot be asked, or does not answer in time, admits nothing;
//! 5. in memory, the holder of a key, who makes names at will, has fewer of them there the less room
//!    is left, and the last room is for those who have none: one key fills three eighths of a store, and
//!    fifty that take what they can leave room for others.
//!
//! [`MemoryReplayStore`] is for one process; how many keys somebody gets tokens for is up to the
//! issuer. Where several replicas serve one URL they have to
//! share a store, or each of them admits the same thing once: feature `redis`.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use zt_core::fault::Fault;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;

use crate::possession::eventual::Eventual;
use crate::unadmitted::{ReplayId, Replayed, Unadmitted};

/// Remembers names of things that count once.
pub trait ReplayStore: Send + Sync + fmt::Debug {
    /// Inserts a name that is to be remembered until then, that moment included, and says whether
    /// it was absent. Of several calls for one name at the same time, one is told `true`.
    fn insert_if_absent(
        &self,
        id: &ReplayId,
        until: Timestamp,
        now: Timestamp,
    ) -> Eventual<Result<bool, ReplayStoreError>>;

    /// Whether a name is remembered at `now`.
    fn contains(&self, id: &ReplayId, now: Timestamp) -> Eventual<Result<bool, ReplayStoreError>>;

    /// Forgets a name, because what it is the name of could not be acted on: it may come again.
    fn remove(&self, id: &ReplayId) -> Eventual<Result<(), ReplayStoreError>>;
}

/// Why a store cannot tell whether a name is new.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayStoreError {
    /// There is no room, and what is there still counts.
    #[error("the replay store is full")]
    Full,
    /// There is room, and none for more of the one who made this: others get in.
    #[error("the replay store has no more room for names of one holder")]
    ShareFull,
    /// The store cannot be reached, or does not answer in time.
    #[error("the replay store is not available: {reason}")]
    Unavailable {
        /// What went wrong, as the client of the store says.
        reason: String,
    },
}

impl ReplayStoreError {
    /// Whose fault it is: that of the store, or of whoever sized it.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Authority
    }

    /// What it is called in records and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Full => "replay_store_full",
            Self::ShareFull => "replay_share_full",
            Self::Unavailable { .. } => "replay_store_unavailable",
        }
    }
}

/// Admits things that count once. A clone shares the store.
///
/// ```
/// use zt_core::time::Timestamp;
/// use zt_core::verified::Verified;
/// use zt_identity::oidc::logout_token::LogoutToken;
/// use zt_identity::possession::replay::{AdmitError, Replay};
/// use zt_identity::unadmitted::Unadmitted;
///
/// async fn admit(
///     token: Unadmitted<LogoutToken>,
///     replay: &Replay,
///     now: Timestamp,
/// ) -> Result<Verified<LogoutToken>, AdmitError> {
///     replay.admit(token, now).await
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Replay(Arc<dyn ReplayStore>);

impl Replay {
    /// Remembers in this store.
    #[must_use]
    pub fn new(store: impl ReplayStore + 'static) -> Self {
        Self(Arc::new(store))
    }

    /// Remembers up to about as many names as this in the memory of this process, three eighths of
    /// them of one key at most. A proof of DPoP is remembered for a
    /// [window](crate::possession::dpop::DEFAULT_WINDOW) after it was made: make it three times as
    /// many as there are proofs in that time, where one client may send most of them.
    #[must_use]
    pub fn in_memory(capacity: usize) -> Self {
        Self::new(MemoryReplayStore::new(capacity))
    }

    /// Admits a thing that was not sent before.
    ///
    /// # Errors
    ///
    /// [`AdmitError`] when it was, and when nobody can tell.
    pub fn admit<T: Send + 'static>(
        &self,
        thing: Unadmitted<T>,
        now: Timestamp,
    ) -> Eventual<Result<Verified<T>, AdmitError>> {
        let inserted = self.0.insert_if_absent(thing.id(), thing.until(), now);
        inserted.map(|absent| {
            let absent = absent?;
            Ok(thing.admit(|_, _| absent)?)
        })
    }

    /// Admits a thing that was not sent before, and remembers it once `work` is done with it: until
    /// then it is [unfinished](AdmitError::Unfinished) for everyone else who sends it, and so it is
    /// [for a while](UNFINISHED_FOR) where `work` was given up in the middle, by a crash, say. What
    /// `work` could not do may be sent again at once.
    ///
    /// Work that takes longer than that may be begun a second time, and so may work that was done and
    /// could not be remembered: it has to be such that this does no harm.
    ///
    /// # Errors
    ///
    /// Those of `work`, and [`AdmitError`] when the thing was sent before, when it is unfinished, and
    /// when nobody can tell.
    pub async fn finish<T, W, R, E>(
        &self,
        thing: Unadmitted<T>,
        now: Timestamp,
        work: impl FnOnce(Verified<T>) -> W,
    ) -> Result<R, E>
    where
        W: Future<Output = Result<R, E>>,
        E: From<AdmitError>,
    {
        let (id, until) = (*thing.id(), thing.until());
        let begun = ReplayId::of_parts(&[b"begun", id.as_bytes()]);
        let thing = self.begin(thing, &begun, now).await?;
        let done = work(thing).await;
        let remembered = match done {
            Ok(_) => self.0.insert_if_absent(&id, until, now).await.map(|_| ()),
            Err(_) => Ok(()),
        };
        if done.is_err() || remembered.is_err() {
            // Where that fails too, it is unfinished for a while.
            let _ = self.0.remove(&begun).await;
        }
        remembered.map_err(AdmitError::from)?;
        done
    }

    /// Whoever gets it is the only one for a while.
    async fn begin<T>(
        &self,
        thing: Unadmitted<T>,
        begun: &ReplayId,
        now: Timestamp,
    ) -> Result<Verified<T>, AdmitError> {
        if self.0.contains(thing.id(), now).await? {
            return Err(Replayed.into());
        }
        let for_a_while = now.saturating_add(UNFINISHED_FOR);
        if self.0.insert_if_absent(begun, for_a_while, now).await? {
            return Ok(thing.admit(|_, _| true)?);
        }
        // Whoever began may have finished since.
        match self.0.contains(thing.id(), now).await? {
            true => Err(Replayed.into()),
            false => Err(AdmitError::Unfinished),
        }
    }
}

/// How long a thing is unfinished of which nobody says any more what became of it: 1 minute.
pub const UNFINISHED_FOR: Duration = Duration::from_secs(60);

/// Why a thing that counts once is not admitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdmitError {
    /// It was sent before.
    #[error(transparent)]
    Replayed(#[from] Replayed),
    /// Nobody can tell whether it was.
    #[error(transparent)]
    Store(#[from] ReplayStoreError),
    /// It was sent before, and what is to be done with it is not done yet.
    #[error("the token was sent before, and is not acted on yet")]
    Unfinished,
}

impl AdmitError {
    /// Whose fault it is: the sender's, or the store's.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Replayed(replayed) => replayed.fault(),
            Self::Store(error) => error.fault(),
            Self::Unfinished => Fault::Authority,
        }
    }

    /// What it is called in records and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Replayed(replayed) => replayed.reason(),
            Self::Store(error) => error.reason(),
            Self::Unfinished => "token_unfinished",
        }
    }
}

/// Shards of a store of any size to speak of: two threads rarely want the same one.
const SHARDS: usize = 64;
/// Names that are over and make room at each insertion, at most: two for one, so that they go
/// sooner than they come, and nobody holds a lock for long.
const FORGOTTEN_AT_ONCE: usize = 2;

/// Remembers names in the memory of this process.
///
/// It is divided into shards with a lock each. A name has one shard, by its bits, which are those
/// of a digest; where that is full of names that still count, what is new is refused. So is a name of
/// a [holder](ReplayId::holder) whose part of the shard is the square of the part that is left.
pub struct MemoryReplayStore {
    // INVARIANT: not empty.
    shards: Box<[Mutex<Shard>]>,
    shard_capacity: usize,
}

#[derive(Default)]
struct Shard {
    // INVARIANT: the names in the heap are those in the set, each once, but for those that were
    // removed from the set by name.
    names: HashSet<[u8; 32]>,
    by_end: BinaryHeap<Reverse<End>>,
    // INVARIANT: of each holder in the heap, how many names of theirs are there.
    held: HashMap<Holder, usize>,
}

/// The first bytes of a thumbprint: two that share them share their room.
type Holder = [u8; 8];

fn holder(id: &ReplayId) -> Option<Holder> {
    id.holder()?.first_chunk().copied()
}

/// Ordered by time first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct End {
    until: Timestamp,
    name: [u8; 32],
    holder: Option<Holder>,
}

impl MemoryReplayStore {
    /// With room for about as many names as this: where it is more than a few thousand, it is
    /// divided, and the first shard is full a few per cent before the last.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let count = if capacity < SHARDS.saturating_mul(SHARDS) { 1 } else { SHARDS };
        let shards = (0..count).map(|_| Mutex::default()).collect();
        Self { shards, shard_capacity: capacity.div_ceil(count) }
    }

    /// How many names are remembered, those among them that are over and not yet gone.
    #[must_use]
    pub fn len(&self) -> usize {
        let len = |shard: &Mutex<Shard>| lock(shard).names.len();
        self.shards.iter().map(len).fold(0, usize::saturating_add)
    }

    /// Whether no name is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, id: &ReplayId) -> Option<&Mutex<Shard>> {
        let bits = usize::from(id.as_bytes().first().copied().unwrap_or_default());
        self.shards.get(bits.checked_rem(self.shards.len())?)
    }

    fn insert(
        &self,
        id: &ReplayId,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<bool, ReplayStoreError> {
        let shard = self.shard(id).ok_or(ReplayStoreError::Full)?;
        lock(shard).insert(id, until, now, self.shard_capacity)
    }
}

/// A shard is whole between any two of its statements, so a panic elsewhere says nothing about it.
fn lock(shard: &Mutex<Shard>) -> std::sync::MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    fn insert(
        &mut self,
        id: &ReplayId,
        until: Timestamp,
        now: Timestamp,
        capacity: usize,
    ) -> Result<bool, ReplayStoreError> {
        self.forget_what_is_over(now);
        let name = *id.as_bytes();
        if self.names.contains(&name) {
            return Ok(false);
        }
        let room = capacity.saturating_sub(self.names.len());
        if room == 0 {
            return Err(ReplayStoreError::Full);
        }
        let holder = holder(id);
        if let Some(holder) = holder {
            let held = self.held.entry(holder).or_default();
            // Greedy holders, one after the other, leave 1/2, 1/4, 1/8 where each may have as much as is
            // left, and about 1/2, 1/3, 1/4 where it is the square.
            if held.saturating_mul(capacity) >= room.saturating_mul(room) {
                return Err(ReplayStoreError::ShareFull);
            }
            *held = held.saturating_add(1);
        }
        self.names.insert(name);
        self.by_end.push(Reverse(End { until, name, holder }));
        Ok(true)
    }

    fn contains(&mut self, id: &ReplayId, now: Timestamp) -> bool {
        self.forget_what_is_over(now);
        self.names.contains(id.as_bytes())
    }

    fn forget_what_is_over(&mut self, now: Timestamp) {
        for _ in 0..FORGOTTEN_AT_ONCE {
            let Some(Reverse(first)) = self.by_end.peek() else { return };
            if now <= first.until {
                return;
            }
            let (name, holder) = (first.name, first.holder);
            self.by_end.pop();
            self.names.remove(&name);
            self.let_go(holder);
        }
    }

    /// One name of theirs is gone.
    fn let_go(&mut self, holder: Option<Holder>) {
        let Some(Entry::Occupied(mut held)) = holder.map(|holder| self.held.entry(holder)) else {
            return;
        };
        *held.get_mut() = held.get().saturating_sub(1);
        if *held.get() == 0 {
            held.remove();
        }
    }

    fn remove(&mut self, id: &ReplayId) {
        if !self.names.remove(id.as_bytes()) {
            return;
        }
        let mut holder = None;
        self.by_end.retain(|Reverse(end)| {
            let stays = end.name != *id.as_bytes();
            if !stays {
                holder = end.holder;
            }
            stays
        });
        self.let_go(holder);
    }
}

impl ReplayStore for MemoryReplayStore {
    fn insert_if_absent(
        &self,
        id: &ReplayId,
        until: Timestamp,
        now: Timestamp,
    ) -> Eventual<Result<bool, ReplayStoreError>> {
        Eventual::ready(self.insert(id, until, now))
    }

    fn contains(&self, id: &ReplayId, now: Timestamp) -> Eventual<Result<bool, ReplayStoreError>> {
        let contains = self.shard(id).is_some_and(|shard| lock(shard).contains(id, now));
        Eventual::ready(Ok(contains))
    }

    fn remove(&self, id: &ReplayId) -> Eventual<Result<(), ReplayStoreError>> {
        if let Some(shard) = self.shard(id) {
            lock(shard).remove(id);
        }
        Eventual::ready(Ok(()))
    }
}

impl fmt::Debug for MemoryReplayStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let capacity = self.shard_capacity.saturating_mul(self.shards.len());
        f.debug_struct("MemoryReplayStore").field("capacity", &capacity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn id(n: u32) -> ReplayId {
        ReplayId::of("test", "issuer", &n.to_string())
    }

    fn after(secs: u64) -> Timestamp {
        NOW.saturating_add(Duration::from_secs(secs))
    }

    #[test]
    fn a_full_store_refuses_what_is_new_and_remembers_what_it_has() {
        let store = MemoryReplayStore::new(2);
        assert_eq!(store.insert(&id(1), after(10), NOW), Ok(true));
        assert_eq!(store.insert(&id(2), after(20), NOW), Ok(true));
        assert_eq!(store.insert(&id(3), after(90), NOW), Err(ReplayStoreError::Full));
        assert_eq!(store.insert(&id(1), after(10), NOW), Ok(false));
        assert_eq!(store.insert(&id(3), after(90), after(10)), Err(ReplayStoreError::Full));
        assert_eq!(store.insert(&id(3), after(90), after(11)), Ok(true));
        assert_eq!(store.insert(&id(2), after(20), after(11)), Ok(false));
    }

    fn of(holder: u8, n: u32) -> ReplayId {
        ReplayId::of("test", &holder.to_string(), &n.to_string()).made_by([holder; 32])
    }

    /// Sends until no more is taken, and says how much was.
    fn fill(store: &MemoryReplayStore, holder: u8) -> u32 {
        let refused = (0..).find(|n| store.insert(&of(holder, *n), after(60), NOW) != Ok(true));
        let n = refused.unwrap();
        let answer = store.insert(&of(holder, n), after(60), NOW);
        assert_eq!(answer, Err(ReplayStoreError::ShareFull));
        n
    }

    #[test]
    fn one_key_cannot_lock_the_others_out() {
        for capacity in [1_000, 100_000] {
            let store = MemoryReplayStore::new(capacity);
            let all = u32::try_from(capacity).unwrap();
            let first = fill(&store, 1);
            assert!(first <= all * 39 / 100 && first > all * 30 / 100, "{first}");
            // What it has sent counts once still.
            assert_eq!(store.insert(&of(1, 0), after(60), NOW), Ok(false));
            let second = fill(&store, 2);
            assert!(second > all * 12 / 100, "{second}");
            // An issuer is not held to a share.
            assert_eq!(store.insert(&id(1), after(60), NOW), Ok(true));
            let others: u32 = (3..=50).map(|holder| fill(&store, holder)).sum();
            assert!(first + second + others < all);
            assert_eq!(store.insert(&of(99, 0), after(60), NOW), Ok(true));
        }
    }

    #[test]
    fn a_share_is_free_again_when_its_names_are_over_or_forgotten() {
        let store = MemoryReplayStore::new(100);
        let first = fill(&store, 1);
        store.remove(&of(1, 0)).into_ready().unwrap().unwrap();
        assert_eq!(store.insert(&of(1, first), after(60), NOW), Ok(true));
        let later = |n: u32| store.insert(&of(1, first + n), after(200), after(61));
        assert!((1..=30).all(|n| later(n) == Ok(true)));
    }

    #[test]
    fn a_store_without_room_admits_nothing() {
        let store = MemoryReplayStore::new(0);
        assert_eq!(store.insert(&id(1), after(10), NOW), Err(ReplayStoreError::Full));
    }

    #[test]
    fn a_large_store_takes_nearly_all_it_has_room_for() {
        let store = MemoryReplayStore::new(50_000);
        let refused = (0..50_000).find(|n| store.insert(&id(*n), after(10), NOW).is_err());
        assert!(refused.is_none_or(|n| n > 45_000), "{refused:?}");
    }

    #[test]
    fn what_is_over_goes_as_the_new_comes() {
        let store = MemoryReplayStore::new(1_000);
        for n in 0..100_000 {
            let now = after(u64::from(n));
            assert_eq!(
                store.insert(&id(n), now.saturating_add(Duration::from_secs(60)), now),
                Ok(true)
            );
        }
        assert!(store.len() <= 62, "{}", store.len());
    }

    #[test]
    fn a_thing_is_admitted_once_and_again_when_it_is_forgotten() {
        let replay = Replay::in_memory(10);
        let admit = || {
            let thing = Unadmitted::new("thing", id(1), after(10));
            replay.admit(thing, NOW).into_ready().unwrap()
        };
        assert_eq!(*admit().unwrap(), "thing");
        assert_eq!(admit(), Err(AdmitError::Replayed(Replayed)));
        replay.0.remove(&id(1)).into_ready().unwrap().unwrap();
        assert!(admit().is_ok());
        let full = Replay::in_memory(0).admit(Unadmitted::new((), id(1), after(10)), NOW);
        let error = full.into_ready().unwrap().unwrap_err();
        assert_eq!((error.fault(), error.reason()), (Fault::Authority, "replay_store_full"));
    }

    proptest! {
        /// Against a list of what counts: nobody who has nothing there is refused for what others
        /// have, as long as there is room, and nobody has as much as half.
        #[test]
        fn a_holder_is_refused_for_what_they_have_alone(
            steps in proptest::collection::vec((0u8..4, 0u32..40, 0u64..2), 1..200),
        ) {
            const CAPACITY: usize = 12;
            let store = MemoryReplayStore::new(CAPACITY);
            let mut known: Vec<(u8, u32, Timestamp)> = Vec::new();
            let mut now = NOW;
            for (holder, n, pause) in steps {
                now = now.saturating_add(Duration::from_secs(pause));
                let until = now.saturating_add(Duration::from_secs(20));
                let has = known.iter().filter(|(one, ..)| *one == holder).count();
                let counts = known.iter().any(|(a, b, end)| (*a, *b) == (holder, n) && now <= *end);
                match store.insert(&of(holder, n), until, now) {
                    Ok(true) => {
                        prop_assert!(!counts);
                        known.retain(|(a, b, _)| (*a, *b) != (holder, n));
                        known.push((holder, n, until));
                    }
                    Ok(false) => prop_assert!(counts || has > 0),
                    Err(ReplayStoreError::ShareFull) => prop_assert!(!counts && has > 0),
                    Err(error) => {
                        prop_assert_eq!(error, ReplayStoreError::Full);
                        prop_assert_eq!(store.len(), CAPACITY);
                    }
                }
                let held = lock(&store.shards[0]).held.clone();
                prop_assert!(held.values().all(|held| (1..CAPACITY / 2).contains(held)));
                prop_assert_eq!(held.values().sum::<usize>(), store.len());
            }
        }

        /// Against a list of everything that was ever inserted.
        #[test]
        fn no_name_is_admitted_twice_while_it_counts(
            steps in proptest::collection::vec((0u32..8, 0u64..40, 0u64..3), 1..200),
        ) {
            let store = MemoryReplayStore::new(6);
            let mut known: Vec<(u32, Timestamp)> = Vec::new();
            let mut now = NOW;
            for (name, life, pause) in steps {
                now = now.saturating_add(Duration::from_secs(pause));
                let until = now.saturating_add(Duration::from_secs(life));
                let counts = known.iter().any(|(other, end)| *other == name && now <= *end);
                let answer = store.insert(&id(name), until, now);
                prop_assert!(!(counts && answer == Ok(true)));
                if answer == Ok(true) {
                    known.push((name, until));
                }
                prop_assert!(store.len() <= 6);
            }
        }
    }

    fn thing() -> Unadmitted<&'static str> {
        Unadmitted::new("thing", id(1), after(600))
    }

    async fn done(replay: &Replay, now: Timestamp) -> Result<(), AdmitError> {
        replay.finish(thing(), now, async |_| Ok(())).await
    }

    #[tokio::test]
    async fn what_is_being_done_is_neither_done_nor_done_again() {
        let replay = Replay::in_memory(10);
        let outcome: Result<(), AdmitError> = replay
            .finish(thing(), NOW, async |thing| {
                assert_eq!(*thing, "thing");
                assert_eq!(done(&replay, NOW).await, Err(AdmitError::Unfinished));
                Err(AdmitError::Store(ReplayStoreError::Full))
            })
            .await;
        assert_eq!(outcome, Err(ReplayStoreError::Full.into()));
        // What failed may come again, and what was done may not.
        assert_eq!(done(&replay, NOW).await, Ok(()));
        for now in [NOW, after(61), after(600)] {
            assert_eq!(done(&replay, now).await, Err(Replayed.into()));
        }
    }

    #[tokio::test]
    async fn what_was_given_up_in_the_middle_is_unfinished_for_a_while_and_then_done() {
        let replay = Replay::in_memory(10);
        let never = replay.finish(thing(), NOW, async |_| {
            std::future::pending::<()>().await;
            Ok::<_, AdmitError>(())
        });
        let given_up = tokio::time::timeout(Duration::from_millis(1), never).await;
        assert!(given_up.is_err());
        let at_last = NOW.saturating_add(UNFINISHED_FOR);
        assert_eq!(done(&replay, at_last).await, Err(AdmitError::Unfinished));
        assert_eq!(AdmitError::Unfinished.fault(), Fault::Authority);
        assert_eq!(done(&replay, at_last.saturating_add(Duration::from_secs(1))).await, Ok(()));
    }

    #[tokio::test]
    async fn what_cannot_be_remembered_is_not_done() {
        assert_eq!(done(&Replay::in_memory(0), NOW).await, Err(ReplayStoreError::Full.into()));
        // There is room for the beginning alone.
        let replay = Replay::in_memory(1);
        assert_eq!(done(&replay, NOW).await, Err(ReplayStoreError::Full.into()));
        assert!(replay.admit(thing(), NOW).await.is_ok());
    }
}
