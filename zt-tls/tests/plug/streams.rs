//! A call that goes on for long ends with whatever it rests on.
#![expect(clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::stream::unfold;
use tokio::time::timeout;
use tonic::{Code, Status};
use zt_core::lease::{DEFAULT_INTERVAL, Ended, Lease};
use zt_core::time::Timestamp;
use zt_identity::bundle::BundleSet;

use crate::support::{Behind, Host, SOON, Texts, World, call, watch as watching, world};

/// Says something now and then for as long as the connection, the token and the policy behind the
/// call are there, and why it ends.
pub(crate) fn watch(connection: &Lease, behind: Behind) -> Texts {
    let rests_on = |on: std::sync::Arc<AtomicBool>, why| {
        move |_now: Timestamp| if on.load(Ordering::SeqCst) { Ok(()) } else { Err(why) }
    };
    let lease = connection
        .and(rests_on(behind.token, Ended::Token))
        .and(rests_on(behind.policy, Ended::Policy));
    Box::pin(unfold(Some(lease), |lease| async {
        let lease = lease?;
        tokio::select! {
            biased;
            why = lease.ended() => Some((Err(Status::unauthenticated(why.name())), None)),
            () = tokio::time::sleep(Duration::from_millis(20)) => {
                Some((Ok("still there".to_owned()), Some(lease)))
            }
        }
    }))
}

/// What a stream ends with, once this has happened, and how long that took.
async fn ends_when(world: &World, happens: Happens) -> (Status, Duration) {
    let cart = world.cart();
    let channel = world.channel(cart);
    let mut stream = watching(&channel).await.unwrap();
    for _ in 0..3 {
        assert_eq!(stream.message().await.unwrap().unwrap(), "still there");
    }
    let began = Instant::now();
    happens(world);
    let end = async {
        loop {
            match stream.message().await {
                Ok(said) => assert_eq!(said.unwrap(), "still there"),
                Err(status) => break status,
            }
        }
    };
    (timeout(SOON, end).await.unwrap(), began.elapsed())
}

/// Something that happens to what a call rests on.
type Happens = fn(&World);

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_token_or_the_policy_or_the_identity_behind_it() {
    let goes: [(Ended, Happens); 3] = [
        (Ended::Token, |world| world.behind.token.store(false, Ordering::SeqCst)),
        (Ended::Policy, |world| world.behind.policy.store(false, Ordering::SeqCst)),
        (Ended::Identity, |world| {
            let own = world.source.current().identity().unwrap().clone();
            world.source.replace(own, BundleSet::new());
        }),
    ];
    for (why, goes) in goes {
        let world = world(Host::Tonic).await;
        let (status, took) = ends_when(&world, goes).await;
        assert_eq!((status.code(), status.message()), (Code::Unauthenticated, why.name()));
        // An interval, and what a loaded machine takes to get there.
        assert!(took < DEFAULT_INTERVAL + Duration::from_secs(4), "{took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_one_call_takes_no_other_along() {
    let world = world(Host::Tonic).await;
    let channel = world.channel(world.cart());
    let mut stream = watching(&channel).await.unwrap();
    world.behind.policy.store(false, Ordering::SeqCst);
    let end = async { while stream.message().await.is_ok() {} };
    timeout(SOON, end).await.unwrap();
    assert!(call(&channel, "").await.unwrap().starts_with("spiffe://example.org/cart"));
}
