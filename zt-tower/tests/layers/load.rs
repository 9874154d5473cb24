//! More garbage than good traffic, and who is served meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::header::AUTHORIZATION;
use http::request::Builder;
use serde_json::json;
use zt_core::record::RecordQueue;
use zt_core::spiffe::SpiffeId;
use zt_core::time::Timestamp;
use zt_identity::matcher::Authorizer;
use zt_identity::possession::eventual::Eventual;
use zt_tower::AccessTokens;
use zt_tower::demand::{Finding, Presented, VerifyToken};
use zt_tower::forwarded::Forwarded;
use zt_tower::limits::Limits;
use zt_tower::zero_trust::ZeroTrust;

use crate::access_tokens::{Issuer, claims};
use crate::support::{BATCH, CART, Inner, Policy, Sink, Tokens, clock, from, send, told};

fn bearing(id: &str, token: &str) -> Builder {
    from(id).header(AUTHORIZATION, format!("Bearer {token}"))
}

fn layer(tokens: impl VerifyToken + 'static, limits: Limits) -> ZeroTrust {
    let builder = ZeroTrust::builder().tokens(tokens).policy(Policy::default());
    builder.without_records().clock(clock()).limits(limits).build()
}

#[tokio::test]
async fn a_source_that_is_too_fast_is_503_and_a_token_that_is_remembered_is_not() {
    let issuer = Issuer::new(1);
    let tokens = AccessTokens::bearer(issuer.verifier()).cached(100).unwrap();
    let layer = layer(tokens, Limits::default().rate(1, 3));
    let inner = Inner::default();
    let known = issuer.sign(&claims(&json!({})));
    assert_eq!(send(&layer, &inner, bearing(CART, &known)).await.status(), 200);
    for status in [401, 401, 503, 503] {
        assert_eq!(send(&layer, &inner, bearing(CART, "a.b.c")).await.status(), status);
    }
    for _ in 0..10 {
        assert_eq!(send(&layer, &inner, bearing(CART, &known)).await.status(), 200);
    }
    let new = issuer.sign(&claims(&json!({ "jti": "2" })));
    let refused = send(&layer, &inner, bearing(CART, &new)).await;
    assert_eq!(
        (told(&refused), &refused.headers()["retry-after"]),
        ((503, None), &"5".parse().unwrap())
    );
    let other = send(&layer, &inner, bearing(BATCH, &new)).await;
    assert_eq!(other.status(), 403, "another peer has a rate of its own, and is judged by policy");
}

#[tokio::test]
async fn a_client_of_a_gateway_uses_up_its_own_rate_and_not_that_of_the_others() {
    const GATEWAY: &str = "spiffe://example.org/gateway";
    let gateway = || Authorizer::id(SpiffeId::parse(GATEWAY).unwrap());
    let both = Forwarded::nobody().clients_from(gateway()).addresses_from(gateway());
    for (forwarded, ids, addresses) in [
        (both, [CART; 2], ["203.0.113.9", "203.0.113.10"]),
        (Forwarded::nobody().clients_from(gateway()), [BATCH, CART], ["203.0.113.9"; 2]),
    ] {
        let builder = ZeroTrust::builder().tokens(Tokens).policy(Policy::default());
        let builder = builder.without_records().clock(clock()).forwarded(forwarded);
        let layer = builder.limits(Limits::default().rate(1, 2)).build();
        let ask = async |n: usize, token: &str| {
            let client = format!("By={GATEWAY};URI={}", ids[n]);
            let request = bearing(GATEWAY, token).header("x-forwarded-client-cert", client);
            let request = request.header("x-forwarded-for", addresses[n]);
            send(&layer, &Inner::default(), request).await.status().as_u16()
        };
        for status in [401, 401, 503, 503] {
            assert_eq!(ask(0, "a.b.c").await, status);
        }
        assert_eq!(ask(1, "alice").await, 200, "another client of the same gateway");
    }
}

#[tokio::test]
async fn what_is_waited_for_is_counted_until_it_is_there_or_given_up() {
    /// Takes as long as nobody says otherwise.
    struct Slow(Arc<tokio::sync::Semaphore>);
    impl VerifyToken for Slow {
        fn user(&self, presented: &Presented<'_>, now: Timestamp) -> Finding {
            let (gate, found) = (Arc::clone(&self.0), Tokens.user(presented, now));
            Eventual::pending(async move {
                gate.acquire().await.unwrap().forget();
                found.await
            })
        }
    }
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let layer = layer(Slow(Arc::clone(&gate)), Limits::default().verifications(2));
    let inner = Inner::default();
    let start = || {
        let (layer, inner) = (layer.clone(), inner.clone());
        tokio::spawn(
            async move { send(&layer, &inner, bearing(CART, "alice")).await.status().as_u16() },
        )
    };
    let (one, two) = (start(), start());
    tokio::task::yield_now().await;
    assert_eq!(start().await.unwrap(), 503);
    two.abort();
    assert!(two.await.unwrap_err().is_cancelled());
    let three = start();
    tokio::task::yield_now().await;
    assert_eq!(start().await.unwrap(), 503);
    gate.add_permits(2);
    assert_eq!((one.await.unwrap(), three.await.unwrap()), (200, 200));
    gate.add_permits(1);
    assert_eq!(start().await.unwrap(), 200);
}

/// Ten times as much garbage as good traffic, each token with a signature to be verified.
async fn flood(by: &'static str) {
    const GOOD: usize = 2_000;
    let issuer = Issuer::new(1);
    let tokens = AccessTokens::bearer(issuer.verifier()).cached(100).unwrap();
    // Each of them leaves a record, and nobody says when these are written.
    let queue = RecordQueue::builder().start(Sink::default()).unwrap();
    let layer = ZeroTrust::builder()
        .tokens(tokens)
        .policy(Policy::default())
        .records(queue)
        .limits(Limits::default().rate(100, 100))
        .clock(clock())
        .build();
    let inner = Inner::default();
    let known = issuer.sign(&claims(&json!({})));
    assert_eq!(send(&layer, &inner, bearing(CART, &known)).await.status(), 200);

    let forged = Issuer::new(2).sign(&claims(&json!({})));
    let (served, verified, refused) =
        <(Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..22 {
        let (layer, inner) = (layer.clone(), inner.clone());
        let (served, verified) = (Arc::clone(&served), Arc::clone(&verified));
        let (known, forged, refused) = (known.clone(), forged.clone(), Arc::clone(&refused));
        tasks.spawn(async move {
            for n in 0..GOOD / 2 {
                let is_good = task < 2;
                let request = if is_good { bearing(CART, &known) } else { bearing(by, &forged) };
                let count = match send(&layer, &inner, request).await.status().as_u16() {
                    200 if is_good => &served,
                    401 if !is_good => &verified,
                    503 => &refused,
                    status => panic!("{status}"),
                };
                count.fetch_add(1, Ordering::Relaxed);
                if n % 16 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let (served, verified) = (served.load(Ordering::Relaxed), verified.load(Ordering::Relaxed));
    assert!(
        served.saturating_mul(100) >= GOOD * 99,
        "{served} of {GOOD} were served in {:?}",
        began.elapsed()
    );
    assert!(verified <= 100, "{verified} of {} were verified", GOOD * 10);
    let all = [served, verified, refused.load(Ordering::Relaxed)];
    assert_eq!(all.iter().sum::<usize>(), GOOD * 11);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_times_as_much_garbage_of_another_peer_keeps_no_known_caller_out() {
    tokio::time::timeout(Duration::from_secs(120), flood(BATCH)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_times_as_much_garbage_of_the_same_peer_keeps_no_known_caller_out() {
    tokio::time::timeout(Duration::from_secs(120), flood(CART)).await.unwrap();
}
