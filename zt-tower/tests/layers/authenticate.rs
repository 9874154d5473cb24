//! Who is let through to be decided about.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{BATCH, CART, Inner, Sink, Tokens, clock, from, peer, send, told, unproven};
use http::Response;
use http::header::AUTHORIZATION;
use http::request::{Builder, Parts};
use zt_core::lease::{Ended, Leases};
use zt_core::principal::User;
use zt_core::time::Timestamp;
use zt_identity::oidc::step_up::StepUp;
use zt_tower::authenticate::AuthenticateLayer;
use zt_tower::caller::Caller;
use zt_tower::demand::{Demand, UserDemand};
use zt_tower::denial::{Denial, Respond, Scope};
use zt_tower::record::Recording;

const CHALLENGE: &str = "Bearer realm=\"zero-trust\"";
const INVALID: &str = "Bearer realm=\"zero-trust\", error=\"invalid_token\"";

fn layer(demand: Demand) -> AuthenticateLayer {
    AuthenticateLayer::new(demand, Recording::Off).clock(clock())
}

fn users() -> AuthenticateLayer {
    layer(Demand::WorkloadAndUser(UserDemand::new(Tokens)))
}

fn workloads() -> AuthenticateLayer {
    layer(Demand::Workload)
}

/// The response to a request that must not reach the service.
async fn refused(layer: &AuthenticateLayer, request: Builder) -> Response<String> {
    let inner = Inner::default();
    let response = send(layer, &inner, request).await;
    assert_eq!(inner.calls(), 0);
    response
}

/// The caller of a request that must reach the service.
async fn caller(layer: &AuthenticateLayer, request: Builder) -> Caller {
    let inner = Inner::default();
    let response = send(layer, &inner, request).await;
    assert_eq!((response.status().as_u16(), inner.calls()), (200, 1));
    inner.last().extensions.get::<Caller>().expect("a caller").clone()
}

fn named(caller: &Caller) -> (String, Option<&str>) {
    (caller.workload().id().to_string(), caller.user().map(User::subject))
}

#[tokio::test]
async fn the_caller_is_the_workload_and_the_user_with_the_token() {
    for authorization in ["Bearer alice", "bearer alice", "BEARER  alice"] {
        let caller = caller(&users(), from(CART).header(AUTHORIZATION, authorization)).await;
        assert_eq!(named(&caller), (CART.into(), Some("alice")));
    }
}

#[tokio::test]
async fn where_no_user_is_demanded_the_caller_is_the_workload_whatever_token_it_sends() {
    let with_token = from(CART).header(AUTHORIZATION, "Bearer alice");
    for request in [from(CART), with_token] {
        assert_eq!(named(&caller(&workloads(), request).await), (CART.into(), None));
    }
}

#[tokio::test]
async fn a_request_without_a_credential_is_told_no_error_code() {
    assert_eq!(told(&refused(&users(), from(CART)).await), (401, Some(CHALLENGE)));
    let unknown = from(CART).header(AUTHORIZATION, "Basic YWxpY2U6aHVudGVyMg==");
    assert_eq!(told(&refused(&users(), unknown).await), (401, Some(CHALLENGE)));
    let dpop = from(CART).header(AUTHORIZATION, "DPoP alice");
    assert_eq!(told(&refused(&users(), dpop).await), (401, Some(CHALLENGE)));
}

#[tokio::test]
async fn a_client_without_a_certificate_is_401_also_with_a_good_token() {
    for layer in [users(), workloads()] {
        let request = unproven().header(AUTHORIZATION, "Bearer alice");
        assert_eq!(told(&refused(&layer, request).await), (401, Some(CHALLENGE)));
    }
}

#[tokio::test]
async fn a_request_that_came_around_the_connection_layer_is_500() {
    for layer in [users(), workloads()] {
        let request = http::Request::builder().header(AUTHORIZATION, "Bearer alice");
        assert_eq!(told(&refused(&layer, request).await), (500, None));
    }
}

#[tokio::test]
async fn a_certificate_that_expired_on_an_open_connection_counts_no_more() {
    let clock = clock();
    let layer = workloads().clock(clock.clone());
    clock.set(peer(CART).not_after());
    let last = caller(&layer, from(CART)).await;
    assert!(last.until() > peer(CART).not_after(), "what it is let in for goes on");
    clock.advance(Duration::from_micros(1));
    assert_eq!(told(&refused(&layer, from(CART)).await), (401, Some(CHALLENGE)));
}

#[tokio::test]
async fn a_peer_that_is_not_supported_any_more_is_401_on_a_connection_that_is_open() {
    let leases = Leases::new(clock(), Duration::from_secs(3_600));
    let revoked = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&revoked);
    let lease =
        leases.grant(
            move |_now: Timestamp| {
                if asked.load(Ordering::SeqCst) { Err(Ended::Identity) } else { Ok(()) }
            },
        );
    let lease = lease.unwrap();
    let request = || from(CART).extension(lease.clone());
    caller(&workloads(), request()).await;
    revoked.store(true, Ordering::SeqCst);
    assert_eq!(told(&refused(&workloads(), request()).await), (401, Some(CHALLENGE)));
}

#[tokio::test]
async fn a_bad_token_is_401_with_an_error_code() {
    let long = "a".repeat(16 * 1024 + 1);
    for token in ["mallory", "", "a b", "alice, Bearer alice", "alice,", "\"alice\"", &long] {
        let request = from(CART).header(AUTHORIZATION, format!("Bearer {token}"));
        assert_eq!(told(&refused(&users(), request).await), (401, Some(INVALID)), "{token:.20}");
    }
    let bare = from(CART).header(AUTHORIZATION, "Bearer");
    assert_eq!(told(&refused(&users(), bare).await), (401, Some(INVALID)));
}

#[tokio::test]
async fn a_token_that_is_bound_to_another_connection_is_401() {
    let bound = |id| from(id).header(AUTHORIZATION, "Bearer bound");
    assert_eq!(named(&caller(&users(), bound(CART)).await).1, Some("bound"));
    assert_eq!(told(&refused(&users(), bound(BATCH)).await), (401, Some(INVALID)));
}

#[tokio::test]
async fn keys_that_are_unavailable_are_503_and_never_401() {
    let response = refused(&users(), from(CART).header(AUTHORIZATION, "Bearer down")).await;
    assert_eq!(told(&response), (503, None));
    assert_eq!(response.headers()["retry-after"], "5");
    let response = refused(&users(), from(CART).header(AUTHORIZATION, "Bearer wired")).await;
    assert_eq!(told(&response), (500, None));
}

#[tokio::test]
async fn two_authorization_headers_are_400_whatever_they_hold_and_whoever_is_demanded() {
    for (one, two) in [("Bearer alice", "Bearer alice"), ("Bearer alice", "Basic YTpi"), ("", "")] {
        for layer in [users(), workloads()] {
            let request = from(CART).header(AUTHORIZATION, one).header(AUTHORIZATION, two);
            let error = "Bearer realm=\"zero-trust\", error=\"invalid_request\"";
            assert_eq!(told(&refused(&layer, request).await), (400, Some(error)));
        }
    }
}

#[tokio::test]
async fn whoever_answers_a_refusal_prints_no_token() {
    #[derive(Clone)]
    struct Prints;
    impl Respond<String> for Prints {
        fn respond(&self, _: &Denial, request: &Parts) -> Response<String> {
            Response::new(format!("{:?}", request.headers))
        }
    }
    let request =
        from(CART).header(AUTHORIZATION, "Bearer one").header(AUTHORIZATION, "Bearer two");
    let inner = Inner::default();
    let printed = send(&users().respond(Prints), &inner, request).await.into_body();
    assert!(!printed.contains("Bearer"), "{printed}");
}

#[tokio::test]
async fn a_step_up_is_asked_for_when_it_is_not_met() {
    let demanding = |acr: &'static str, age| {
        let step_up = StepUp::new([acr], Some(Duration::from_secs(age))).unwrap();
        layer(Demand::WorkloadAndUser(UserDemand::new(Tokens).step_up(step_up)))
    };
    let request = || from(CART).header(AUTHORIZATION, "Bearer alice");
    caller(&demanding("silver", 600), request()).await;
    for (acr, age) in [("gold", 600), ("silver", 599)] {
        let challenge = format!(
            "Bearer realm=\"zero-trust\", error=\"insufficient_user_authentication\", \
             acr_values=\"{acr}\", max_age=\"{age}\""
        );
        let response = refused(&demanding(acr, age), request()).await;
        assert_eq!(told(&response), (401, Some(challenge.as_str())));
    }
}

#[tokio::test]
async fn a_scope_is_403_when_it_is_missing() {
    let demanding = |scope: &'static str| {
        let scope = Scope::new([scope]).unwrap();
        layer(Demand::WorkloadAndUser(UserDemand::new(Tokens).scope(scope)))
    };
    let request = || from(CART).header(AUTHORIZATION, "Bearer alice");
    caller(&demanding("orders.read"), request()).await;
    let challenge =
        "Bearer realm=\"zero-trust\", error=\"insufficient_scope\", scope=\"orders.refund\"";
    let response = refused(&demanding("orders.refund"), request()).await;
    assert_eq!(told(&response), (403, Some(challenge)));
}

#[tokio::test]
async fn forged_identities_in_headers_and_extensions_are_not_looked_at() {
    let forged = |mut request: Builder, as_caller: &Caller| {
        for (name, value) in [
            ("x-forwarded-client-cert", "URI=spiffe://example.org/admin"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-user", "root"),
            ("x-remote-user", "root"),
            ("x-spiffe-id", "spiffe://example.org/admin"),
            ("x-ssl-client-cert", "-----BEGIN CERTIFICATE-----"),
            ("forwarded", "for=127.0.0.1"),
            ("cookie", "access_token=alice"),
            ("proxy-authorization", "Bearer alice"),
            ("x-authorization", "Bearer alice"),
        ] {
            request = request.header(name, value);
        }
        request.uri("/orders?access_token=alice").extension(as_caller.clone())
    };
    let cart = caller(&users(), from(CART).header(AUTHORIZATION, "Bearer alice")).await;
    let inner = Inner::default();
    send(&workloads(), &inner, forged(from(BATCH), &cart)).await;
    let seen = inner.last();
    assert_eq!(named(seen.extensions.get().unwrap()), (BATCH.into(), None));
    let left = ["cookie", "proxy-authorization", "x-authorization"];
    assert_eq!(seen.headers.len(), left.len(), "nobody behind the layer sees them: {seen:?}");
    for request in [forged(from(BATCH), &cart), forged(unproven(), &cart)] {
        assert_eq!(told(&refused(&users(), request).await), (401, Some(CHALLENGE)));
    }
}

#[tokio::test]
async fn whatever_prints_the_headers_later_does_not_print_the_token() {
    let inner = Inner::default();
    send(&users(), &inner, from(CART).header(AUTHORIZATION, "Bearer alice")).await;
    let headers = inner.last().headers;
    assert!(!format!("{headers:?}").contains("alice"));
    assert_eq!(headers[AUTHORIZATION], "Bearer alice");
}

#[tokio::test]
async fn every_refusal_is_recorded_with_its_reason_and_without_the_token() {
    let (sink, inner) = (Sink::default(), Inner::default());
    let queue = sink.queue();
    let step_up = StepUp::new(["silver"], None).unwrap();
    let scope = Scope::new(["orders.refund"]).unwrap();
    let demand = UserDemand::new(Tokens).step_up(step_up).scope(scope);
    let layer =
        AuthenticateLayer::new(Demand::WorkloadAndUser(demand), queue.clone()).clock(clock());
    let bearer = |token| from(CART).header(AUTHORIZATION, format!("Bearer {token}"));
    for request in [
        http::Request::builder(),
        unproven(),
        from(CART),
        from(CART).header(AUTHORIZATION, "Basic YTpi"),
        bearer(""),
        bearer("mallory"),
        bearer("down"),
        bearer("alice"),
        bearer("alice").header(AUTHORIZATION, "Bearer alice"),
    ] {
        send(&layer, &inner, request).await;
    }
    assert_eq!(inner.calls(), 0);
    let records = sink.records(&queue);
    let reasons: Vec<_> = records.iter().map(|r| r["reason"].as_str().unwrap()).collect();
    assert_eq!(
        reasons,
        [
            "no_connection_layer",
            "no_peer",
            "no_credential",
            "unsupported_scheme",
            "token_malformed",
            "bad_signature",
            "keys_unavailable",
            "insufficient_scope",
            "two_credentials",
        ]
    );
    assert_eq!(
        records[5],
        serde_json::json!({
            "event": "refusal",
            "effect": "deny",
            "reason": "bad_signature",
            "principal": { "workload": { "id": { "spiffe": CART } } },
            "context": { "time": "2027-01-15T08:00:00Z", "source": "10.0.0.7" },
        })
    );
    assert!(records[1].get("principal").is_none());
    assert!(!records.iter().any(|record| record.to_string().contains("mallory")));
}
