//! What replicas share, kept in Redis or Valkey (feature `redis`).
//!
//! [`RedisReplayStore`] remembers what was sent before, [`RedisRevocations`] passes on what was
//! revoked. For both:
//!
//! - A question is answered within the timeout ([`DEFAULT_TIMEOUT`] unless stated otherwise), the
//!   time to connect included, or it is an error, and whoever asks denies.
//! - After an error the next question connects anew.
//! - The server is version 6.2 or later and must not evict: one that has a `maxmemory` and a policy
//!   other than `noeviction` is refused, for it would forget what still counts.
//!
//! # Deployment caveat
//!
//! What the server loses is lost: with neither persistence nor replication, a restart within the
//! window of a proof lets that proof in once more, and a replica that starts after the restart knows
//! nothing of earlier revocations. A failover loses what was not replicated yet. Connections are
//! not encrypted (`rediss` is refused): use a loopback address, a Unix socket or a network of its
//! own. A URL may hold a password, and is never shown.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue};
use zt_core::fault::Fault;

mod replay;
mod revocations;

pub use replay::RedisReplayStore;
pub use revocations::{DEFAULT_BOUND, RedisRevocations, RevocationOptions};

/// How long a question may take unless stated otherwise: 250 ms.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_millis(250);

/// A server, and the one connection to it that all who share a clone use.
///
/// ```
/// use zt_identity::possession::redis::{Redis, RedisReplayStore};
/// use zt_identity::possession::replay::Replay;
///
/// let redis = Redis::open("redis://127.0.0.1:6379")?.with_prefix("shop:");
/// let replay = Replay::new(RedisReplayStore::new(redis));
/// # Ok::<(), zt_identity::possession::redis::RedisError>(())
/// ```
#[derive(Clone)]
pub struct Redis {
    client: Client,
    live: Arc<Mutex<Option<MultiplexedConnection>>>,
    prefix: Arc<str>,
    timeout: Duration,
}

impl Redis {
    /// The server with this URL: `redis://[user:password@]host[:port][/database]`, or
    /// `redis+unix:///path/to/socket`. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// [`RedisError::Url`] when it is none, or asks for TLS.
    pub fn open(url: &str) -> Result<Self, RedisError> {
        let client = Client::open(url).map_err(|_| RedisError::Url)?;
        Ok(Self {
            client,
            live: Arc::default(),
            prefix: Arc::from("zt:"),
            timeout: DEFAULT_TIMEOUT,
        })
    }

    /// With this at the beginning of every key; `zt:` unless stated otherwise.
    #[must_use]
    pub fn with_prefix(self, prefix: impl Into<Arc<str>>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// With this long for each question.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Asks one question, within the timeout.
    async fn ask<T: FromRedisValue>(&self, question: &Cmd) -> Result<T, RedisError> {
        let answer = tokio::time::timeout(self.timeout, async {
            let mut connection = self.connection().await?;
            let answer: Result<T, _> = question.query_async(&mut connection).await;
            answer.map_err(RedisError::from)
        });
        let answer = answer.await.unwrap_or(Err(RedisError::Timeout { after: self.timeout }));
        if answer.is_err() {
            *self.live.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        answer
    }

    async fn connection(&self) -> Result<MultiplexedConnection, RedisError> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(connection) = live {
            return Ok(connection);
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        let mut connection =
            self.client.get_multiplexed_async_connection_with_config(&config).await?;
        check_eviction(&mut connection).await?;
        let live = connection.clone();
        *self.live.lock().unwrap_or_else(PoisonError::into_inner) = Some(live);
        Ok(connection)
    }
}

/// T-32: what still counts is not evicted.
async fn check_eviction(connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
    let mut question = ::redis::cmd("INFO");
    let memory: String = question.arg("memory").query_async(connection).await?;
    let says = |line: &str| memory.lines().any(|other| other == line);
    if says("maxmemory:0") || says("maxmemory_policy:noeviction") {
        Ok(())
    } else {
        Err(RedisError::Evicts)
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Why a server does not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedisError {
    /// The URL names no server, or asks for TLS.
    #[error("not the url of a redis server without tls")]
    Url,
    /// There was no answer in time.
    #[error("no answer within {after:?}")]
    Timeout {
        /// How long was waited.
        after: Duration,
    },
    /// The server forgets what still counts when its memory is full.
    #[error("the server evicts keys: set maxmemory-policy to noeviction")]
    Evicts,
    /// The connection failed, or the server refused.
    #[error("the server failed: {kind}")]
    Failed {
        /// What kind of failure it was.
        kind: String,
    },
}

impl RedisError {
    /// Whose fault it is: that of the server, and for a URL that of the embedding program.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Url => Fault::Caller,
            Self::Timeout { .. } | Self::Evicts | Self::Failed { .. } => Fault::Authority,
        }
    }
}

impl From<::redis::RedisError> for RedisError {
    /// The kind alone: what a server says may repeat what it was sent.
    fn from(error: ::redis::RedisError) -> Self {
        Self::Failed { kind: error.category().to_owned() }
    }
}
