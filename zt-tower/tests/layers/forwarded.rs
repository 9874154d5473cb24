//! What proxies say about their clients, and who is believed.

use http::header::AUTHORIZATION;
use http::request::Builder;
use serde_json::{Value, json};
use zt_core::spiffe::SpiffeId;
use zt_identity::matcher::Authorizer;
use zt_tower::caller::Caller;
use zt_tower::forwarded::Forwarded;
use zt_tower::zero_trust::ZeroTrust;

use crate::support::{BATCH, CART, Inner, Policy, Sink, Tokens, clock, from, send};

const GATEWAY: &str = "spiffe://example.org/gateway";
const XFCC: &str = "x-forwarded-client-cert";
const XFF: &str = "x-forwarded-for";

fn gateway() -> Authorizer {
    Authorizer::id(SpiffeId::parse(GATEWAY).unwrap())
}

struct Outcome {
    status: u16,
    caller: Option<Caller>,
    headers: http::HeaderMap,
    record: Value,
}

/// Sends one request through the layers, which let cart in, and alice.
async fn outcome(forwarded: Forwarded, users: bool, request: Builder) -> Outcome {
    let (sink, inner) = (Sink::default(), Inner::default());
    let queue = sink.queue();
    let builder = ZeroTrust::builder().policy(Policy::default()).records(queue.clone());
    let builder = builder.clock(clock()).forwarded(forwarded);
    let layer =
        if users { builder.tokens(Tokens).build() } else { builder.workloads_only().build() };
    let status = send(&layer, &inner, request).await.status().as_u16();
    let last = inner.last.lock().unwrap().take();
    let record = sink.records(&queue).remove(0);
    let (caller, headers) = match last {
        Some(parts) => (parts.extensions.get().cloned(), parts.headers),
        None => Default::default(),
    };
    Outcome { status, caller, headers, record }
}

fn cart_by(by: &str) -> String {
    format!("By={by};URI={CART}")
}

#[tokio::test]
async fn a_client_that_a_named_proxy_speaks_for_is_the_caller() {
    let request = from(GATEWAY).header(XFCC, cart_by(GATEWAY)).header(XFF, "203.0.113.9");
    let both = Forwarded::nobody().clients_from(gateway()).addresses_from(gateway());
    let outcome = outcome(both, false, request).await;
    assert_eq!(outcome.status, 200);
    let caller = outcome.caller.unwrap();
    assert_eq!(caller.workload().id().to_string(), CART);
    assert_eq!(caller.workload().attributes().get("forwarded_by"), Some(&GATEWAY.into()));
    assert_eq!(caller.forwarded_from(), Some([203, 0, 113, 9].into()));
    assert_eq!(outcome.record["principal"]["workload"]["id"]["spiffe"], CART);
    assert_eq!(outcome.record["context"]["source"], "203.0.113.9");
    assert!(!outcome.headers.contains_key(XFCC));
    assert_eq!(outcome.headers[XFF], "203.0.113.9");
}

#[tokio::test]
async fn a_user_calls_through_the_client_that_is_spoken_for() {
    let request = from(GATEWAY).header(XFCC, cart_by(GATEWAY));
    let request = request.header(AUTHORIZATION, "Bearer alice");
    let outcome = outcome(Forwarded::nobody().clients_from(gateway()), true, request).await;
    let caller = outcome.caller.unwrap();
    assert_eq!(caller.workload().id().to_string(), CART);
    assert_eq!(caller.user().map(zt_core::principal::User::subject), Some("alice"));
}

#[tokio::test]
async fn forged_identities_of_peers_that_nobody_named_are_not_looked_at() {
    for forwarded in
        [Forwarded::nobody(), Forwarded::nobody().clients_from(gateway()).addresses_from(gateway())]
    {
        let forged = from(BATCH).header(XFCC, cart_by(BATCH)).header(XFF, "127.0.0.1");
        let outcome = outcome(forwarded, false, forged).await;
        assert_eq!(outcome.status, 403, "batch may not, whatever it calls itself");
        assert_eq!(outcome.record["principal"]["workload"]["id"], json!({ "spiffe": BATCH }));
        assert_eq!(outcome.record["context"]["source"], "10.0.0.7");
    }
    let named_for_addresses = Forwarded::nobody().addresses_from(gateway());
    let forged = from(GATEWAY).header(XFCC, cart_by(GATEWAY)).header(XFF, "203.0.113.9");
    let outcome = outcome(named_for_addresses, false, forged).await;
    assert_eq!(outcome.record["principal"]["workload"]["id"], json!({ "spiffe": GATEWAY }));
}

#[tokio::test]
async fn what_a_proxy_forwards_that_can_be_read_in_two_ways_is_400() {
    let cases: [(&[(&str, &str)], &str); 8] = [
        (&[], "forwarded_client"),
        (&[(XFCC, "")], "forwarded_client"),
        (
            &[(XFCC, "URI=spiffe://example.org/cart"), (XFCC, "URI=spiffe://example.org/admin")],
            "forwarded_client",
        ),
        (
            &[(XFCC, "URI=spiffe://example.org/cart,URI=spiffe://example.org/admin")],
            "forwarded_client",
        ),
        (
            &[(XFCC, "By=spiffe://example.org/batch;URI=spiffe://example.org/cart")],
            "forwarded_by_another",
        ),
        (&[(XFCC, "URI=spiffe://example.org/cart")], "forwarded_address"),
        (&[(XFCC, "URI=spiffe://example.org/cart"), (XFF, "unknown")], "forwarded_address"),
        (&[(XFCC, "URI=spiffe://example.org/cart"), (XFF, "203.0.113.9, ")], "forwarded_address"),
    ];
    for (headers, reason) in cases {
        let mut request = from(GATEWAY);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let both = Forwarded::nobody().clients_from(gateway()).addresses_from(gateway());
        let outcome = outcome(both, false, request).await;
        assert_eq!(
            (outcome.status, &outcome.record["reason"]),
            (400, &json!(reason)),
            "{headers:?}"
        );
    }
}

#[tokio::test]
async fn of_several_addresses_that_counts_which_the_proxy_itself_has_seen() {
    for lines in [&["127.0.0.1, 203.0.113.9"][..], &["127.0.0.1", "10.0.0.1,203.0.113.9"]] {
        let mut request = from(GATEWAY).header(XFCC, cart_by(GATEWAY));
        for line in lines {
            request = request.header(XFF, *line);
        }
        let both = Forwarded::nobody().clients_from(gateway()).addresses_from(gateway());
        let outcome = outcome(both, false, request).await;
        assert_eq!(outcome.record["context"]["source"], "203.0.113.9");
        assert_eq!(outcome.headers.get_all(XFF).iter().collect::<Vec<_>>(), ["203.0.113.9"]);
    }
}
