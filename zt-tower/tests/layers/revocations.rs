//! Tokens that were revoked, through the whole layer.

use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use serde_json::json;
use tower::{Layer, ServiceExt};
use zt_core::time::Clock;
use zt_core::time::Timestamp;
use zt_identity::possession::revocations::{
    MemoryRevocations, Revocation, Revocations, Revoke, RevokedError, StandingError, TokenNames,
    TokenStanding,
};
use zt_tower::AccessTokens;
use zt_tower::caller::Caller;
use zt_tower::zero_trust::ZeroTrust;

use crate::access_tokens::{ISSUER, Issuer, claims};
use crate::support::{CART, Inner, NOW, Policy, Sink, Untouched, clock, from, send};

fn layer(revocations: impl Revocations + 'static) -> ZeroTrust {
    let tokens = AccessTokens::bearer(Issuer::new(1).verifier()).cached(16).unwrap();
    ZeroTrust::builder()
        .tokens(tokens.revoked_by(revocations))
        .policy(Policy::default())
        .without_records()
        .clock(clock())
        .build()
}

async fn status(layer: &ZeroTrust, inner: &Inner, token: &str) -> u16 {
    let request = from(CART).header(AUTHORIZATION, format!("Bearer {token}"));
    send(layer, inner, request).await.status().as_u16()
}

fn revoke(revocations: &MemoryRevocations, revoked: Revocation) {
    revocations.revoke(&[revoked], NOW).into_ready().unwrap().unwrap();
}

#[tokio::test]
async fn a_verdict_that_is_remembered_does_not_outlive_a_revocation() {
    let revocations = Arc::new(MemoryRevocations::new(100));
    let (layer, inner) = (layer(Arc::clone(&revocations)), Inner::default());
    let token = Issuer::new(1).sign(&claims(&json!({ "sid": "s1" })));
    assert_eq!(status(&layer, &inner, &token).await, 200);
    assert_eq!(status(&layer, &inner, &token).await, 200);

    let lease = inner.last().extensions.get::<TokenStanding>().cloned().unwrap();
    assert_eq!(lease.check(clock().now()), Ok(()));
    revoke(&revocations, Revocation::of_session(ISSUER, "s1"));
    assert_eq!(status(&layer, &inner, &token).await, 401);
    let revoked = StandingError::Revoked(RevokedError::Revoked);
    assert_eq!(lease.check(clock().now()), Err(revoked));
    assert_eq!(inner.calls(), 2);
}

#[tokio::test]
async fn what_is_known_of_the_user_of_an_outer_layer_does_not_reach_one_that_demands_none() {
    let (revocations, inner) = (MemoryRevocations::new(100), Inner::default());
    let tokens = AccessTokens::bearer(Issuer::new(1).verifier()).revoked_by(revocations);
    #[cfg(feature = "http")]
    let tokens = tokens.kept_for_requests();
    let builder =
        || ZeroTrust::builder().policy(Policy::default()).without_records().clock(clock());
    let (outer, within) = (builder().tokens(tokens).build(), builder().workloads_only().build());
    let token = Issuer::new(1).sign(&claims(&json!({})));
    for (layer, is_there) in [(outer.clone(), true), (outer, false)] {
        let service = inner.service();
        let request = from(CART).header(AUTHORIZATION, format!("Bearer {token}"));
        let request = request.body(Untouched).unwrap();
        let response = if is_there {
            layer.layer(service).oneshot(request).await
        } else {
            layer.layer(within.layer(service)).oneshot(request).await
        };
        assert_eq!(response.unwrap().status(), 200);
        let extensions = inner.last().extensions;
        assert_eq!(extensions.get::<TokenStanding>().is_some(), is_there);
        #[cfg(feature = "http")]
        assert_eq!(extensions.get::<zt_identity::outgoing::UserToken>().is_some(), is_there);
        assert_eq!(extensions.get::<Caller>().unwrap().user().is_some(), is_there);
    }
}

#[tokio::test]
async fn every_way_to_revoke_ends_a_token() {
    for revoked in [
        Revocation::of_session(ISSUER, "s1"),
        Revocation::of_token(ISSUER, "1"),
        Revocation::of_subject(ISSUER, "alice", NOW),
        Revocation::of_issuer(ISSUER, NOW),
    ] {
        let revocations = Arc::new(MemoryRevocations::new(100));
        let (layer, inner) = (layer(Arc::clone(&revocations)), Inner::default());
        let token = Issuer::new(1).sign(&claims(&json!({ "sid": "s1" })));
        revoke(&revocations, revoked);
        assert_eq!(status(&layer, &inner, &token).await, 401);
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_judged_is_refused() {
    let (layer, inner) = (layer(MemoryRevocations::new(100)), Inner::default());
    let mut undated = claims(&json!({}));
    undated.as_object_mut().unwrap().remove("iat");
    let day_before = NOW.saturating_sub(Duration::from_secs(24 * 3600 + 1)).as_secs();
    let old = claims(&json!({ "iat": day_before }));
    for claims in [undated, old] {
        assert_eq!(status(&layer, &inner, &Issuer::new(1).sign(&claims)).await, 401);
    }
}

/// What nobody has heard anything of for long.
#[derive(Debug)]
struct Stale;

impl Revocations for Stale {
    fn check(&self, _: &TokenNames<'_>, now: Timestamp) -> Result<(), RevokedError> {
        let known_until = NOW.saturating_sub(Duration::from_secs(60));
        Err(RevokedError::Stale { now, known_until, bound: Duration::from_secs(5) })
    }
}

#[tokio::test]
async fn revocations_that_are_not_known_are_503_and_recorded() {
    let (sink, inner) = (Sink::default(), Inner::default());
    let queue = sink.queue();
    let layer = ZeroTrust::builder()
        .tokens(AccessTokens::bearer(Issuer::new(1).verifier()).revoked_by(Stale))
        .policy(Policy::default())
        .records(queue.clone())
        .clock(clock())
        .build();
    assert_eq!(status(&layer, &inner, &Issuer::new(1).sign(&claims(&json!({})))).await, 503);
    assert_eq!(sink.records(&queue)[0]["reason"], "revocations_stale");
}
