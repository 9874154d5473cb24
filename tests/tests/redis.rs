//! What replicas share, in the memory of one process and in a real redis-server.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use zt_core::fault::Fault;
use zt_core::time::{Clock, SystemClock, Timestamp};
use zt_identity::authority::Issuer;
use zt_identity::oidc::logout_token::{LogoutToken, LogoutTokenVerifier};
use zt_identity::possession::redis::{
    Redis, RedisError, RedisReplayStore, RedisRevocations, RevocationOptions,
};
use zt_identity::possession::replay::{AdmitError, MemoryReplayStore, Replay, ReplayStore};
use zt_identity::possession::revocations::{
    Revocation, Revocations, Revoke, RevokedError, TokenNames,
};
use zt_identity::unadmitted::{ReplayId, Unadmitted};
use zt_tests::peers::{RedisServer, present};

const ISSUER: &str = "https://login.example.com";
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
const TIMEOUT: Duration = Duration::from_millis(250);
/// What a busy machine may add to a time limit.
const SLACK: Duration = Duration::from_millis(750);

fn now() -> Timestamp {
    SystemClock.now()
}

fn is_present() -> bool {
    present(&[&["redis-server", "--version"]])
}

fn redis(server: &RedisServer) -> Redis {
    Redis::open(&server.url()).unwrap().with_timeout(TIMEOUT)
}

/// Logout tokens, each of which counts once.
struct Logouts {
    issuer: Issuer,
    verifier: LogoutTokenVerifier,
}

impl Logouts {
    fn new() -> Self {
        let issuer = Issuer::new(ISSUER, now()).unwrap();
        let keys = issuer.keys().unwrap();
        let verifier = LogoutTokenVerifier::new(issuer.url().clone(), "shop", keys).unwrap();
        Self { issuer, verifier }
    }

    fn token(&self, jti: &str) -> Unadmitted<LogoutToken> {
        let claims = json!({"aud": "shop", "sid": "s1", "jti": jti, "events": {EVENT: {}}});
        let token = self.issuer.mint_as("logout+jwt", claims.to_string()).unwrap();
        self.verifier.verify(&token, now()).unwrap()
    }

    fn id(&self, jti: &str) -> ReplayId {
        *self.token(jti).id()
    }
}

/// What every store does. The second handle is that of another replica.
async fn remembers_what_was_sent(one: Arc<dyn ReplayStore>, other: Arc<dyn ReplayStore>) {
    let logouts = Logouts::new();
    let soon = || now().saturating_add(Duration::from_secs(60));
    let insert = |store: &Arc<dyn ReplayStore>, jti: &str| {
        let (store, id) = (Arc::clone(store), logouts.id(jti));
        async move { store.insert_if_absent(&id, soon(), now()).await.unwrap() }
    };

    assert!(insert(&one, "a").await);
    assert!(!insert(&one, "a").await, "a second time");
    assert!(!insert(&other, "a").await, "by another replica");
    assert!(insert(&other, "b").await, "another name");
    for (jti, expected) in [("a", true), ("b", true), ("c", false)] {
        for store in [&one, &other] {
            assert_eq!(store.contains(&logouts.id(jti), now()).await, Ok(expected), "{jti}");
        }
    }
    one.remove(&logouts.id("a")).await.unwrap();
    assert_eq!(other.contains(&logouts.id("a"), now()).await, Ok(false));
    assert!(insert(&other, "a").await, "after it was forgotten");

    let brief = logouts.id("brief");
    let end = now().saturating_add(Duration::from_millis(100));
    assert!(one.insert_if_absent(&brief, end, now()).await.unwrap());
    assert!(!one.insert_if_absent(&brief, end, end).await.unwrap(), "at its last moment");
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(one.insert_if_absent(&brief, soon(), now()).await.unwrap(), "after its end");

    for round in 0..8 {
        let id = logouts.id(&format!("race {round}"));
        let racers: Vec<_> = (0..64)
            .map(|n| {
                let store = Arc::clone(if n % 2 == 0 { &one } else { &other });
                tokio::spawn(async move { store.insert_if_absent(&id, soon(), now()).await })
            })
            .collect();
        let mut winners = 0;
        for racer in racers {
            winners += u32::from(racer.await.unwrap().unwrap());
        }
        assert_eq!(winners, 1, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_remembers_what_was_sent() {
    let store = Arc::new(MemoryReplayStore::new(1_000));
    remembers_what_was_sent(store.clone(), store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_remembers_what_was_sent() {
    if !is_present() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = RedisServer::start(folder.path(), &[]);
    let replica = || {
        let redis = redis(&server).with_timeout(Duration::from_secs(5));
        Arc::new(RedisReplayStore::new(redis))
    };
    remembers_what_was_sent(replica(), replica()).await;
}

/// How long it took to be refused, which a store that is not available has to do.
async fn refused_after(replay: &Replay, logouts: &Logouts, jti: &str) -> Duration {
    let (thing, began) = (logouts.token(jti), Instant::now());
    let error = replay.admit(thing, now()).await.unwrap_err();
    assert!(matches!(error, AdmitError::Store(_)), "{error:?}");
    assert_eq!((error.fault(), error.reason()), (Fault::Authority, "replay_store_unavailable"));
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_slow_or_down_admits_nothing_within_the_timeout() {
    if !is_present() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = RedisServer::start(folder.path(), &[]);
    let logouts = Logouts::new();
    let replay = Replay::new(RedisReplayStore::new(redis(&server)));
    assert!(replay.admit(logouts.token("1"), now()).await.is_ok());

    server.freeze();
    for jti in ["2", "3"] {
        let took = refused_after(&replay, &logouts, jti).await;
        assert!(took >= TIMEOUT && took < TIMEOUT + SLACK, "{took:?}");
    }
    let unconnected = Replay::new(RedisReplayStore::new(redis(&server)));
    let took = refused_after(&unconnected, &logouts, "4").await;
    assert!(took < TIMEOUT + SLACK, "{took:?}");

    server.thaw();
    let began = Instant::now();
    while replay.admit(logouts.token("5"), now()).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(10), "it is there again");
    }
    let replayed = replay.admit(logouts.token("1"), now()).await.unwrap_err();
    assert_eq!(replayed.reason(), "token_replayed");

    drop(server);
    let took = refused_after(&replay, &logouts, "6").await;
    assert!(took < TIMEOUT + SLACK, "{took:?}");
}

#[tokio::test]
async fn a_redis_that_is_full_or_forgets_admits_nothing() {
    if !is_present() {
        return;
    }
    let logouts = Logouts::new();
    for arguments in [
        &["--maxmemory", "1", "--maxmemory-policy", "noeviction"][..],
        &["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"],
        &["--maxmemory", "100mb", "--maxmemory-policy", "volatile-ttl"],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let server = RedisServer::start(folder.path(), arguments);
        let replay = Replay::new(RedisReplayStore::new(redis(&server)));
        refused_after(&replay, &logouts, "1").await;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = RedisServer::start(folder.path(), &["--maxmemory", "100mb"]);
    let replay = Replay::new(RedisReplayStore::new(redis(&server)));
    assert!(replay.admit(logouts.token("1"), now()).await.is_ok());
}

#[test]
fn a_url_that_asks_for_tls_or_is_none_is_refused() {
    for url in ["rediss://127.0.0.1", "", "127.0.0.1", "https://127.0.0.1"] {
        assert_eq!(Redis::open(url).unwrap_err(), RedisError::Url, "{url}");
    }
}

#[test]
fn nothing_shows_the_password_of_a_server() {
    let redis = Redis::open("redis://:hunter2@127.0.0.1:1").unwrap();
    assert!(!format!("{redis:?}").contains("hunter2"));
    let error = Redis::open("redis://:hunter2@127.0.0.1:port").unwrap_err();
    assert!(!format!("{error:?} {error}").contains("hunter2"));
}

fn options() -> RevocationOptions {
    let mut options = RevocationOptions::default();
    options.interval = Duration::from_millis(100);
    options.bound = Duration::from_secs(2);
    options
}

fn revocations(server: &RedisServer) -> RedisRevocations {
    RedisRevocations::start(redis(server), options(), SystemClock)
}

fn check(revocations: &RedisRevocations, subject: &str) -> Result<(), RevokedError> {
    let mut token = TokenNames::new(ISSUER, subject);
    token.issued_at = Some(now().saturating_sub(Duration::from_secs(60)));
    revocations.check(&token, now())
}

/// Asks until the answer is this, and says how long that took.
async fn until(
    revocations: &RedisRevocations,
    subject: &str,
    answer: impl Fn(&Result<(), RevokedError>) -> bool,
) -> Duration {
    let began = Instant::now();
    while !answer(&check(revocations, subject)) {
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", check(revocations, subject));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    began.elapsed()
}

fn is_stale(answer: &Result<(), RevokedError>) -> bool {
    matches!(answer, Err(RevokedError::Stale { .. }))
}

fn is_revoked(answer: &Result<(), RevokedError>) -> bool {
    *answer == Err(RevokedError::Revoked)
}

/// Run by the test below in a process of its own; alone it has nothing to do.
#[tokio::test]
async fn another_process_revokes_alice() {
    let Ok(url) = std::env::var("ZT_TEST_REDIS") else { return };
    let redis = Redis::open(&url).unwrap().with_timeout(Duration::from_secs(5));
    let revocations = RedisRevocations::start(redis, options(), SystemClock);
    let alice = Revocation::of_subject(ISSUER, "alice", now());
    revocations.revoke(&[alice], now()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_of_one_process_bites_in_another_within_the_bound() {
    if !is_present() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = RedisServer::start(folder.path(), &[]);
    let here = revocations(&server);
    until(&here, "alice", Result::is_ok).await;

    let there = Command::new(std::env::current_exe().unwrap())
        .args(["another_process_revokes_alice", "--exact"])
        .env("ZT_TEST_REDIS", server.url())
        .output()
        .unwrap();
    assert!(there.status.success(), "{}", String::from_utf8_lossy(&there.stdout));
    let took = until(&here, "alice", is_revoked).await;
    assert!(took < options().bound, "{took:?}");
    assert_eq!(check(&here, "bob"), Ok(()));

    let later = revocations(&server);
    until(&later, "bob", Result::is_ok).await;
    assert_eq!(check(&later, "alice"), Err(RevokedError::Revoked), "a replica that starts later");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_no_more_within_the_bound_denies_everyone() {
    if !is_present() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = RedisServer::start(folder.path(), &[]);
    let (one, other) = (revocations(&server), revocations(&server));
    assert!(is_stale(&check(&one, "alice")), "before the first reading");
    until(&one, "alice", Result::is_ok).await;
    until(&other, "alice", Result::is_ok).await;

    server.freeze();
    let took = until(&one, "alice", is_stale).await;
    assert!(took < options().bound + SLACK, "{took:?}");
    let stale = check(&one, "alice").unwrap_err();
    assert_eq!((stale.fault(), stale.reason()), (Fault::Authority, "revocations_stale"));
    let bob = [Revocation::of_subject(ISSUER, "bob", now())];
    assert!(one.revoke(&bob, now()).await.is_err(), "it cannot be passed on");

    server.thaw();
    until(&one, "alice", Result::is_ok).await;
    assert!(is_revoked(&check(&one, "bob")), "it counts here nevertheless");
    one.revoke(&bob, now()).await.unwrap();
    until(&other, "bob", is_revoked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_revocations_than_are_read_at_once_are_all_read() {
    if !is_present() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = RedisServer::start(folder.path(), &[]);
    let (one, subjects) = (revocations(&server), 5_000);
    let name = |n: u32| format!("user {n}");
    let all: Vec<_> =
        (0..subjects).map(|n| Revocation::of_subject(ISSUER, &name(n), now())).collect();
    one.revoke(&all, now()).await.unwrap();
    let other = revocations(&server);
    until(&other, "nobody", Result::is_ok).await;
    assert!((0..subjects).all(|n| is_revoked(&check(&other, &name(n)))));
}
