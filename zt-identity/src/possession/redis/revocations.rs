//! Revocations that replicas tell each other: a stream that each of them reads in the background.
//!
//! 1. Who revokes adds an entry to the stream, after its own memory: the call succeeds once the
//!    server has it. An entry holds digests and times, and no name.
//! 2. Every replica reads on from where it was, each [`interval`](RevocationOptions::interval), and
//!    from the beginning of the stream when it starts.
//! 3. Requests ask the memory alone. What it knows is as old as the last reading that was complete,
//!    counted from the moment when that began; beyond the [`bound`](RevocationOptions::bound)
//!    everyone is denied. So a revocation bites everywhere within the bound, whatever fails.
//! 4. Entries older than revocations are remembered are taken off the stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::task::AbortHandle;
use zt_core::time::{Clock, Timestamp};

use super::{Redis, RedisError};
use crate::possession::eventual::Eventual;
use crate::possession::revocations::{
    DEFAULT_RETENTION, MemoryRevocations, Revocation, Revocations, Revoke, RevokeError,
    RevokedError, TokenNames,
};

/// Within what time a revocation bites everywhere unless stated otherwise: 5 s.
pub const DEFAULT_BOUND: Duration = Duration::from_secs(5);

/// How many entries are read at once.
const PAGE: usize = 4096;
/// How much longer entries stay in the stream than they are needed: clocks of replicas are apart.
const MARGIN: Duration = Duration::from_secs(300);

/// How revocations are read and remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RevocationOptions {
    /// How often they are read: 500 ms.
    pub interval: Duration,
    /// How old what is known may be: [`DEFAULT_BOUND`].
    pub bound: Duration,
    /// How long they are remembered, the same in all replicas: [`DEFAULT_RETENTION`].
    pub retention: Duration,
    /// How many are remembered one by one: a million.
    pub capacity: usize,
}

impl Default for RevocationOptions {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(500),
            bound: DEFAULT_BOUND,
            retention: DEFAULT_RETENTION,
            capacity: 1_000_000,
        }
    }
}

/// Revocations of all replicas. A clone shares them; reading ends with the last one.
///
/// Before the first reading is complete, everyone is denied.
///
/// ```no_run
/// use zt_core::time::SystemClock;
/// use zt_identity::possession::redis::{Redis, RedisRevocations, RevocationOptions};
///
/// # async fn start() -> Result<(), zt_identity::possession::redis::RedisError> {
/// let redis = Redis::open("redis://127.0.0.1:6379")?;
/// let revocations = RedisRevocations::start(redis, RevocationOptions::default(), SystemClock);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RedisRevocations(Arc<Reading>);

#[derive(Debug)]
struct Reading {
    shared: Arc<Shared>,
    task: AbortHandle,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug)]
struct Shared {
    redis: Redis,
    known: MemoryRevocations,
    // Microseconds: up to when everything is known.
    known_until: AtomicI64,
    options: RevocationOptions,
}

impl RedisRevocations {
    /// Begins to read, on the current tokio runtime, by the time of this clock.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn start(redis: Redis, options: RevocationOptions, clock: impl Clock + 'static) -> Self {
        let known = MemoryRevocations::new(options.capacity).with_retention(options.retention);
        let known_until = AtomicI64::new(i64::MIN);
        let shared = Arc::new(Shared { redis, known, known_until, options });
        let task = tokio::spawn(read(Arc::clone(&shared), clock)).abort_handle();
        Self(Arc::new(Reading { shared, task }))
    }

    /// Up to when everything is known that was revoked anywhere.
    #[must_use]
    pub fn known_until(&self) -> Timestamp {
        self.0.shared.known_until()
    }
}

impl Shared {
    fn known_until(&self) -> Timestamp {
        Timestamp::from_micros(self.known_until.load(Ordering::Acquire))
    }

    fn stream(&self) -> String {
        self.redis.key("revocations")
    }

    /// Reads what came since, and says where it ended.
    async fn catch_up(&self, mut last: String, clock: &impl Clock) -> Result<String, RedisError> {
        let began = clock.now();
        loop {
            let mut question = ::redis::cmd("XRANGE");
            question.arg(self.stream()).arg(&last).arg("+").arg("COUNT").arg(PAGE);
            let page: Vec<(String, Vec<Vec<u8>>)> = self.redis.ask(&question).await?;
            for (id, fields) in &page {
                // Somebody else's entry is not one of ours, and says nothing.
                if let Some((revocation, at)) = fields.get(1).and_then(|entry| decode(entry)) {
                    self.known.add(&revocation, at, began);
                }
                last = format!("({id}");
            }
            if page.len() < PAGE {
                self.known_until.store(began.as_micros(), Ordering::Release);
                return Ok(last);
            }
        }
    }
}

async fn read(shared: Arc<Shared>, clock: impl Clock) {
    let mut last = String::from("-");
    loop {
        // An error is known by its effect: what is known grows old.
        if let Ok(reached) = shared.catch_up(last.clone(), &clock).await {
            last = reached;
        }
        tokio::time::sleep(shared.options.interval).await;
    }
}

impl Revocations for RedisRevocations {
    fn check(&self, token: &TokenNames<'_>, now: Timestamp) -> Result<(), RevokedError> {
        let shared = &self.0.shared;
        let (known_until, bound) = (shared.known_until(), shared.options.bound);
        if now.since(known_until) > bound {
            return Err(RevokedError::Stale { now, known_until, bound });
        }
        shared.known.check(token, now)
    }
}

impl Revoke for RedisRevocations {
    fn revoke(
        &self,
        revocations: &[Revocation],
        now: Timestamp,
    ) -> Eventual<Result<(), RevokeError>> {
        let shared = Arc::clone(&self.0.shared);
        revocations.iter().for_each(|revocation| shared.known.add(revocation, now, now));
        let entries: Vec<_> = revocations.iter().map(|revoked| encode(revoked, now)).collect();
        let kept = shared.options.retention.saturating_add(MARGIN);
        let oldest = now.saturating_sub(kept).as_micros().max(0).div_euclid(1_000);
        Eventual::pending(async move {
            for entry in entries {
                let mut question = ::redis::cmd("XADD");
                question.arg(shared.stream()).arg("MINID").arg("~").arg(oldest);
                question.arg("*").arg("r").arg(entry);
                let added: Result<String, _> = shared.redis.ask(&question).await;
                added.map_err(|error| RevokeError { reason: error.to_string() })?;
            }
            Ok(())
        })
    }
}

/// The version of the form below.
const VERSION: u8 = 1;
const LEN: usize = 81;

fn encode(revocation: &Revocation, at: Timestamp) -> Vec<u8> {
    let (name, issuer, issued_until) = revocation.parts();
    let times = [issued_until, at].map(|time| time.as_micros().to_be_bytes());
    [&[VERSION], &name[..], &issuer[..], &times.concat()].concat()
}

fn decode(entry: &[u8]) -> Option<(Revocation, Timestamp)> {
    let (version, rest) = entry.split_first()?;
    if *version != VERSION || entry.len() != LEN {
        return None;
    }
    let (name, rest) = rest.split_first_chunk::<32>()?;
    let (issuer, rest) = rest.split_first_chunk::<32>()?;
    let (issued_until, at) = rest.split_first_chunk::<8>()?;
    let time = |bytes: &[u8; 8]| Timestamp::from_micros(i64::from_be_bytes(*bytes));
    let at = time(at.first_chunk::<8>()?);
    Some((Revocation::from_parts(*name, *issuer, time(issued_until)), at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_written_and_another_is_not_read() {
        let revocation = Revocation::of_subject("https://issuer", "alice", Timestamp::from_secs(5));
        let at = Timestamp::from_secs(7);
        let entry = encode(&revocation, at);
        assert_eq!(entry.len(), LEN);
        assert_eq!(decode(&entry), Some((revocation, at)));
        let mut newer = entry.clone();
        newer[0] = 2;
        for other in [&newer[..], b"", &entry[..80], &[&entry[..], b"x"].concat()] {
            assert_eq!(decode(other), None);
        }
    }
}
