//! What one request may take: headers, and the time that its credential is verified in.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::request::Builder;
use zt_core::record::RecordQueue;
use zt_core::time::Timestamp;
use zt_identity::possession::eventual::Eventual;
use zt_tower::demand::{Demand, Finding, Presented, VerifyToken};
use zt_tower::denial::Refusal;
use zt_tower::limits::Limits;
use zt_tower::workload_tokens::{FoundWorkload, VerifyWorkload, WorkloadDemand};
use zt_tower::zero_trust::ZeroTrust;

use crate::support::{CART, Inner, Policy, SOON, Sink, Tokens, clock, from, send, told};

fn layer(records: RecordQueue, limits: Limits) -> ZeroTrust {
    let builder = ZeroTrust::builder().tokens(Tokens).policy(Policy::default());
    builder.records(records).clock(clock()).limits(limits).build()
}

fn alice() -> Builder {
    from(CART).header(AUTHORIZATION, "Bearer alice")
}

/// Alice's request with so many headers more, of so many bytes each.
fn with_headers(count: usize, value: usize) -> Builder {
    let value = "v".repeat(value);
    (0..count).fold(alice(), |request, n| request.header(format!("x-{}", n % 7), &value))
}

/// Of `authorization: Bearer alice`.
const CREDENTIAL: usize = 13 + 12;

#[tokio::test]
async fn more_headers_than_a_request_may_have_are_431_and_recorded() {
    let sink = Sink::default();
    let queue = sink.queue();
    let layer = layer(queue.clone(), Limits::default().headers(10, 500));
    let inner = Inner::default();
    let largest = 500 - CREDENTIAL - "x-0".len();
    for (request, status) in [
        (with_headers(9, 1), 200),
        (with_headers(10, 1), 431),
        (with_headers(1, largest), 200),
        (with_headers(1, largest + 1), 431),
        (alice().header("x".repeat(500 - CREDENTIAL), ""), 200),
        (alice().header("x".repeat(501 - CREDENTIAL), ""), 431),
        (from(CART).header(AUTHORIZATION, format!("Bearer {}", "a".repeat(500))), 431),
    ] {
        assert_eq!(told(&send(&layer, &inner, request).await), (status, None));
    }
    assert_eq!(inner.calls(), 3);
    let records = sink.records(&queue);
    let reasons: Vec<_> = records.iter().filter_map(|record| record["reason"].as_str()).collect();
    let large = "headers_too_large";
    assert_eq!(reasons, ["headers_too_many", large, large, large], "{records:?}");
}

#[tokio::test]
async fn a_call_with_more_headers_than_it_may_have_is_told_so_by_grpc() {
    let layer = layer(Sink::default().queue(), Limits::default());
    let inner = Inner::default();
    let call = with_headers(100, 1).method("POST").header(CONTENT_TYPE, "application/grpc");
    let response = send(&layer, &inner, call).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["grpc-status"]),
        (200, &"8".parse().unwrap())
    );
    assert_eq!(inner.calls(), 0);
}

#[tokio::test]
async fn what_is_usual_is_within_the_limits_that_nobody_stated() {
    let layer = layer(Sink::default().queue(), Limits::default());
    let inner = Inner::default();
    for (request, status) in [
        (with_headers(99, 200), 200),
        (with_headers(100, 1), 431),
        (with_headers(1, 32 * 1024), 431),
    ] {
        assert_eq!(send(&layer, &inner, request).await.status(), status);
    }
}

/// Never says whose `slow` is, and counts when it is asked for no more.
#[derive(Clone, Default)]
struct Slow(Arc<AtomicUsize>);

struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Slow {
    fn never<T: Send + 'static>(&self) -> Eventual<T> {
        let dropped = Dropped(Arc::clone(&self.0));
        Eventual::pending(async move {
            let _dropped = dropped;
            pending().await
        })
    }
}

impl VerifyToken for Slow {
    fn user(&self, presented: &Presented<'_>, now: Timestamp) -> Finding {
        if presented.bearer() == Ok("slow") { self.never() } else { Tokens.user(presented, now) }
    }
}

impl VerifyWorkload for Slow {
    fn workload(&self, _: &str, _: Timestamp) -> Eventual<Result<FoundWorkload, Refusal>> {
        self.never()
    }
}

#[tokio::test]
async fn a_verification_that_takes_too_long_is_503_and_leaves_its_place_to_others() {
    const TIME: Duration = Duration::from_millis(50);
    let limits = Limits::default().time(TIME).verifications(1);
    let slow = Slow::default();
    let demands = [
        Demand::WorkloadToken(WorkloadDemand::new(slow.clone())),
        Demand::WorkloadAndUser(zt_tower::demand::UserDemand::new(slow.clone())),
    ];
    let inner = Inner::default();
    for (demand, dropped) in demands.into_iter().zip(1..) {
        let sink = Sink::default();
        let queue = sink.queue();
        let builder = ZeroTrust::builder().demand(demand).policy(Policy::default());
        let layer = builder.records(queue.clone()).clock(clock()).limits(limits).build();
        let began = Instant::now();
        let request = from(CART).header(AUTHORIZATION, "Bearer slow");
        let answered = tokio::time::timeout(SOON, send(&layer, &inner, request)).await.unwrap();
        assert!(began.elapsed() >= TIME, "{:?}", began.elapsed());
        assert_eq!(told(&answered), (503, None));
        assert_eq!(answered.headers()[RETRY_AFTER], "5");
        assert_eq!((slow.0.load(Ordering::SeqCst), inner.calls()), (dropped, 0));
        if dropped == 2 {
            // The only place is free again.
            assert_eq!(send(&layer, &inner, alice()).await.status(), 200);
        }
        let records = sink.records(&queue);
        assert_eq!(records[0]["reason"], "verification_timeout", "{records:?}");
    }
}

#[tokio::test]
async fn what_waits_and_comes_in_time_is_served() {
    /// Answers after more than one look at those who wait.
    struct Later;
    impl VerifyToken for Later {
        fn user(&self, presented: &Presented<'_>, now: Timestamp) -> Finding {
            let found = Tokens.user(presented, now);
            Eventual::pending(async move {
                tokio::time::sleep(Duration::from_millis(400)).await;
                found.await
            })
        }
    }
    let builder = ZeroTrust::builder().tokens(Later).policy(Policy::default());
    let layer = builder.without_records().clock(clock()).build();
    assert_eq!(send(&layer, &Inner::default(), alice()).await.status(), 200);
}
