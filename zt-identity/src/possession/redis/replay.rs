//! What was sent before, shared by replicas: `SET key 1 NX PX ttl`.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zt_core::time::Timestamp;

use super::{Redis, RedisError};
use crate::possession::eventual::Eventual;
use crate::possession::replay::{ReplayStore, ReplayStoreError};
use crate::unadmitted::ReplayId;

/// Remembers names in Redis: the server decides who was first, and forgets each in its time.
#[derive(Clone, Debug)]
pub struct RedisReplayStore(Redis);

impl RedisReplayStore {
    /// Remembers there.
    #[must_use]
    pub const fn new(redis: Redis) -> Self {
        Self(redis)
    }

    fn key(&self, id: &ReplayId) -> String {
        let id = URL_SAFE_NO_PAD.encode(id.as_bytes());
        self.0.key(&format!("replay:{id}"))
    }
}

/// In whole milliseconds, and not a moment less: that of the end belongs to the life of a name.
fn life(until: Timestamp, now: Timestamp) -> u64 {
    let life = until.since(now).saturating_add(Duration::from_millis(1));
    u64::try_from(life.as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

impl ReplayStore for RedisReplayStore {
    fn insert_if_absent(
        &self,
        id: &ReplayId,
        until: Timestamp,
        now: Timestamp,
    ) -> Eventual<Result<bool, ReplayStoreError>> {
        let mut question = ::redis::cmd("SET");
        question.arg(self.key(id)).arg("1").arg("NX").arg("PX").arg(life(until, now));
        let redis = self.0.clone();
        // The answer is OK, or nothing where the name was there.
        Eventual::pending(async move {
            let answer: Option<String> = redis.ask(&question).await?;
            Ok(answer.is_some())
        })
    }

    fn contains(&self, id: &ReplayId, _: Timestamp) -> Eventual<Result<bool, ReplayStoreError>> {
        let mut question = ::redis::cmd("EXISTS");
        question.arg(self.key(id));
        let redis = self.0.clone();
        Eventual::pending(async move {
            let found: i64 = redis.ask(&question).await?;
            Ok(found == 1)
        })
    }

    fn remove(&self, id: &ReplayId) -> Eventual<Result<(), ReplayStoreError>> {
        let mut question = ::redis::cmd("DEL");
        question.arg(self.key(id));
        let redis = self.0.clone();
        Eventual::pending(async move {
            let _: i64 = redis.ask(&question).await?;
            Ok(())
        })
    }
}

impl From<RedisError> for ReplayStoreError {
    fn from(error: RedisError) -> Self {
        Self::Unavailable { reason: error.to_string() }
    }
}
