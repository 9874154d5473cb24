//! What is decided, recorded, answered and passed on.

use std::convert::Infallible;
use std::future::{Future, Ready, poll_fn};
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::support::{
    BATCH, CART, Inner, Policy, SOON, Sink, Tokens, Untouched, allow, clock, from, send, told,
};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Builder;
use http::{Method, Response};
use tower::{Layer, Service, ServiceExt, service_fn};
use zt_core::decision::{Decide, Decision, PolicyVersion};
use zt_core::principal::Principal;
use zt_core::record::{BackPressure, RecordQueue};
use zt_core::request::{Action, Request, Resource};
use zt_core::time::Timestamp;
use zt_core::verified::Verified;
use zt_tower::authorize::{AuthorizeLayer, MAX_METHOD, Permitted, Target, Targets};
use zt_tower::demand::{Finding, Presented, VerifyToken};
use zt_tower::denial::{Denial, GrpcStatus, Refusal};
use zt_tower::path::NormalPath;
use zt_tower::record::Recording;
use zt_tower::zero_trust::ZeroTrust;

fn zero_trust(policy: &Policy) -> ZeroTrust {
    ZeroTrust::builder()
        .tokens(Tokens)
        .policy(policy.clone())
        .without_records()
        .clock(clock())
        .build()
}

fn recorded(queue: &RecordQueue) -> ZeroTrust {
    ZeroTrust::builder()
        .policy(Policy::default())
        .records(queue.clone())
        .tokens(Tokens)
        .clock(clock())
        .build()
}

fn with_user(id: &str, user: &str) -> Builder {
    from(id).header(AUTHORIZATION, format!("Bearer {user}"))
}

async fn refused(request: Builder) -> Response<String> {
    let inner = Inner::default();
    let response = send(&zero_trust(&Policy::default()), &inner, request).await;
    assert_eq!(inner.calls(), 0);
    response
}

#[tokio::test]
async fn an_allowed_request_reaches_the_service_with_its_permit() {
    let inner = Inner::default();
    let response = send(&zero_trust(&Policy::default()), &inner, with_user(CART, "alice")).await;
    assert_eq!((response.status().as_u16(), response.body().as_str()), (200, "served"));
    let parts = inner.last();
    let permit = Permitted::of(&parts.extensions).expect("a permit");
    let get = Action::new("GET");
    assert_eq!(permit.covers(&get, &Resource::new("Route", "/orders/42")), Ok(()));
    assert!(permit.covers(&get, &Resource::new("Route", "/orders/43")).is_err());
    assert_eq!(permit.version(), PolicyVersion::new(7, [0xab; 32]));
}

#[tokio::test]
async fn the_right_user_with_the_wrong_workload_is_403_and_so_is_the_reverse() {
    let body = r#"{"type":"about:blank","title":"Forbidden","status":403}"#;
    for (workload, user) in [(BATCH, "alice"), (CART, "bob"), (BATCH, "bob")] {
        let response = refused(with_user(workload, user)).await;
        assert_eq!(told(&response), (403, None));
        assert_eq!(response.body(), body);
        assert!(!format!("{response:?}").contains("rule"));
    }
}

#[tokio::test]
async fn a_policy_that_fails_is_403_and_one_that_is_not_there_is_503() {
    assert_eq!(told(&refused(with_user(CART, "alice").uri("/error")).await), (403, None));
    let response = refused(with_user(CART, "alice").uri("/stale")).await;
    assert_eq!(told(&response), (503, None));
    assert_eq!(response.headers()["retry-after"], "5");
}

#[tokio::test]
async fn a_path_that_can_be_read_in_two_ways_is_400_and_is_not_decided() {
    let policy = Policy::default();
    let inner = Inner::default();
    for path in [
        "/orders/../admin",
        "/orders/%2e%2e/admin",
        "/orders%2F42",
        "/orders%5c42",
        "//orders/42",
        "/orders//42",
        "/%6frders/42",
        "/orders/%252e",
        "/orders/%c0%af",
        "/orders/%zz",
        "/orders/..;/admin",
        "/orders/./42",
        "/orders/%00",
        "/{id}",
        "/a|b",
        "*",
    ] {
        let request = with_user(CART, "alice").uri(path);
        let response = send(&zero_trust(&policy), &inner, request).await;
        assert_eq!(told(&response), (400, None), "{path}");
    }
    assert_eq!((inner.calls(), policy.asked.load(Ordering::SeqCst)), (0, 0));
}

#[tokio::test]
async fn a_method_that_is_too_long_is_400_and_is_not_decided() {
    let (sink, policy) = (Sink::default(), Policy::default());
    let queue = sink.queue();
    let layer = ZeroTrust::builder()
        .tokens(Tokens)
        .policy(policy.clone())
        .records(queue.clone())
        .clock(clock())
        .build();
    for (len, status) in [(MAX_METHOD, 200), (MAX_METHOD + 1, 400)] {
        let request = with_user(CART, "alice").method(&*"M".repeat(len));
        assert_eq!(send(&layer, &Inner::default(), request).await.status(), status);
    }
    assert_eq!(policy.asked.load(Ordering::SeqCst), 1);
    let refused = &sink.records(&queue)[1];
    assert_eq!((&refused["reason"], refused.get("action")), (&"method_too_long".into(), None));
}

#[tokio::test]
async fn who_panics_while_a_request_is_judged_is_500_and_recorded() {
    struct Panics;
    impl Decide for Panics {
        fn decide(&self, _: &Request<'_>) -> Decision {
            panic!("a policy that has a defect")
        }
    }
    impl VerifyToken for Panics {
        fn user(&self, _: &Presented<'_>, _: Timestamp) -> Finding {
            panic!("a verifier that has a defect")
        }
    }
    let (sink, inner) = (Sink::default(), Inner::default());
    let queue = sink.queue();
    let builder = || ZeroTrust::builder().records(queue.clone()).clock(clock());
    let policy = builder().tokens(Tokens).policy(Panics).build();
    let tokens = builder().tokens(Panics).policy(Policy::default()).build();
    for layer in [policy, tokens] {
        let response = send(&layer, &inner, with_user(CART, "alice")).await;
        assert_eq!(told(&response), (500, None));
        assert!(!format!("{response:?}").contains("defect"));
    }
    assert_eq!(inner.calls(), 0);
    let records = sink.records(&queue);
    let reasons: Vec<_> = records.iter().map(|record| &record["reason"]).collect();
    assert_eq!(reasons, ["decision_panicked", "authentication_panicked"]);
}

#[tokio::test]
async fn a_service_that_panics_is_500_and_recorded_when_it_is_called_and_when_it_is_polled() {
    type Served = Result<Response<String>, Infallible>;
    let sink = Sink::default();
    let queue = sink.queue();
    let request = |content| {
        let request = with_user(CART, "alice").method(Method::POST).header(CONTENT_TYPE, content);
        request.body(Untouched).unwrap()
    };
    let called = service_fn(|_: http::Request<Untouched>| -> Ready<Served> {
        panic!("a handler that has a defect")
    });
    let response = recorded(&queue).layer(called).oneshot(request("a/b")).await.unwrap();
    assert_eq!(told(&response), (500, None));
    let polled = service_fn(|_: http::Request<Untouched>| {
        poll_fn(|_| -> Poll<Served> { panic!("a handler that has a defect") })
    });
    let response = recorded(&queue).layer(polled).oneshot(request("application/grpc")).await;
    let response = response.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["grpc-status"], "13");
    let records = sink.records(&queue);
    let effects: Vec<_> = records.iter().map(|record| &record["effect"]).collect();
    assert_eq!(effects, ["allow", "deny", "allow", "deny"]);
    for panicked in [&records[1], &records[3]] {
        assert_eq!(panicked["reason"], "handler_panicked");
        assert_eq!(panicked["principal"], records[0]["principal"]);
        assert_eq!(panicked["resource"], records[0]["resource"]);
    }
}

#[tokio::test]
async fn an_odd_path_tells_nothing_to_a_caller_that_is_not_proven() {
    assert_eq!(refused(from(CART).uri("//admin")).await.status(), 401);
}

#[tokio::test]
async fn the_query_and_the_host_are_not_part_of_the_resource() {
    let inner = Inner::default();
    let request = with_user(CART, "alice").uri("https://shop.example.com/orders/42?x=/../y#z");
    send(&zero_trust(&Policy::default()), &inner, request).await;
    let parts = inner.last();
    let permit = Permitted::of(&parts.extensions).unwrap();
    assert_eq!(permit.resource().to_string(), r#"Route::"/orders/42""#);
}

#[tokio::test]
async fn headers_that_override_method_or_path_do_not_exist() {
    const NAMES: [&str; 5] = [
        "x-http-method-override",
        "X-HTTP-Method",
        "x-method-override",
        "x-original-url",
        "x-rewrite-url",
    ];
    let inner = Inner::default();
    let mut request = with_user(CART, "alice").method(Method::GET);
    for name in NAMES {
        request = request.header(name, "DELETE").header(name, "/admin");
    }
    send(&zero_trust(&Policy::default()), &inner, request).await;
    let parts = inner.last();
    assert_eq!(Permitted::of(&parts.extensions).unwrap().action().name(), "GET");
    assert!(NAMES.iter().all(|name| !parts.headers.contains_key(*name)));
}

#[tokio::test]
async fn a_request_that_nobody_authenticated_is_500_and_not_decided() {
    let policy = Policy::default();
    let layer = AuthorizeLayer::new(policy.clone(), Recording::Off).clock(clock());
    let inner = Inner::default();
    assert_eq!(told(&send(&layer, &inner, from(CART)).await), (500, None));
    assert_eq!((inner.calls(), policy.asked.load(Ordering::SeqCst)), (0, 0));
}

#[tokio::test]
async fn a_permit_for_something_else_is_500() {
    /// Decides about another resource than it was asked about.
    struct Elsewhere;
    impl Decide for Elsewhere {
        fn decide(&self, request: &Request<'_>) -> Decision {
            let other = Resource::new("Route", "/public");
            let principal = principal(request);
            let asked = Request::new(&principal, request.action(), &other, request.context());
            Decision::of(&asked, PolicyVersion::default(), |_| allow("public"))
        }
    }
    #[expect(clippy::disallowed_methods, reason = "the principal of a request was proven")]
    fn principal(request: &Request<'_>) -> Verified<Principal> {
        zt_core::danger::verified(request.principal().clone())
    }
    let layer = ZeroTrust::builder()
        .workloads_only()
        .policy(Elsewhere)
        .without_records()
        .clock(clock())
        .build();
    let inner = Inner::default();
    assert_eq!(told(&send(&layer, &inner, from(CART)).await), (500, None));
    assert_eq!(inner.calls(), 0);
}

#[tokio::test]
async fn the_decision_of_another_request_is_500_and_no_leave() {
    /// Decides about nobody but the first caller, twice, and gives the second one to the next.
    #[derive(Default)]
    struct Keeps(Mutex<Option<Decision>>);
    impl Decide for Keeps {
        fn decide(&self, request: &Request<'_>) -> Decision {
            let kept = self.0.lock().unwrap().replace(Policy::default().decide(request));
            kept.unwrap_or_else(|| Policy::default().decide(request))
        }
    }
    let layer = ZeroTrust::builder()
        .tokens(Tokens)
        .policy(Keeps::default())
        .without_records()
        .clock(clock())
        .build();
    let inner = Inner::default();
    let ask = async |id, user| send(&layer, &inner, with_user(id, user)).await.status().as_u16();
    assert_eq!(ask(CART, "alice").await, 200);
    assert_eq!(ask(CART, "bob").await, 500);
    assert_eq!(inner.calls(), 1);
}

#[tokio::test]
async fn targets_of_ones_own_name_the_resource_and_add_to_the_context() {
    struct Orders;
    impl Targets for Orders {
        fn target(
            &self,
            parts: &http::request::Parts,
            path: &NormalPath<'_>,
        ) -> Result<Target, Refusal> {
            let id = path.as_str().strip_prefix("/orders/");
            let id = id.ok_or(Refusal::new(Denial::Forbidden, "no_target"))?;
            let action = Action::new(parts.method.as_str());
            Ok(Target::new(action, Resource::new("Order", id)).with("channel", "http"))
        }
    }
    let (sink, inner) = (Sink::default(), Inner::default());
    let queue = sink.queue();
    let layer = ZeroTrust::builder()
        .tokens(Tokens)
        .policy(Policy::default())
        .records(queue.clone())
        .targets(Orders)
        .clock(clock())
        .build();
    assert_eq!(send(&layer, &inner, with_user(CART, "alice")).await.status(), 200);
    let none = send(&layer, &inner, with_user(CART, "alice").uri("/invoices/1")).await;
    assert_eq!(told(&none), (403, None));
    let records = sink.records(&queue);
    assert_eq!(records[0]["resource"], serde_json::json!({ "type": "Order", "id": "42" }));
    assert_eq!(records[0]["context"]["attributes"], serde_json::json!({ "channel": "http" }));
    assert_eq!(
        (&records[1]["event"], &records[1]["reason"]),
        (&"refusal".into(), &"no_target".into())
    );
}

#[tokio::test]
async fn a_grpc_request_is_denied_in_trailers_only() {
    let call =
        |method| with_user(BATCH, "alice").method(method).header(CONTENT_TYPE, "application/grpc");
    assert_eq!(told(&refused(call(Method::GET)).await), (403, None));
    let response = refused(call(Method::POST)).await;
    assert_eq!((response.status().as_u16(), response.body().as_str()), (200, ""));
    assert_eq!(response.headers()["grpc-status"], "7");
    let layer = zero_trust_answering_grpc();
    let response = send(&layer, &Inner::default(), with_user(BATCH, "alice")).await;
    assert_eq!(response.headers()["grpc-status"], "7");
}

fn zero_trust_answering_grpc() -> ZeroTrust<GrpcStatus> {
    ZeroTrust::builder()
        .tokens(Tokens)
        .policy(Policy::default())
        .without_records()
        .clock(clock())
        .respond(GrpcStatus::default())
        .build()
}

#[tokio::test]
async fn every_decision_is_recorded_with_both_answers_before_it_is_answered() {
    let (sink, inner) = (Sink::default(), Inner::default());
    let queue = sink.queue();
    let layer = recorded(&queue);
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    send(&layer, &inner, with_user(CART, "alice").header("traceparent", trace)).await;
    send(&layer, &inner, with_user(BATCH, "alice").method(Method::DELETE)).await;
    send(&layer, &inner, with_user(CART, "alice").uri("//")).await;
    assert_eq!(queue.stats().enqueued, 3);
    let records = sink.records(&queue);
    let user = serde_json::json!({
        "issuer": "https://login.example.com", "subject": "alice", "scopes": ["orders.read"],
        "authentication": { "acr": "silver", "auth_time": "2027-01-15T07:50:00Z" },
    });
    let policies = serde_json::json!({ "generation": 7, "digest": "ab".repeat(32) });
    let resource = serde_json::json!({ "type": "Route", "id": "/orders/42" });
    assert_eq!(
        records,
        [
            serde_json::json!({
                "event": "decision",
                "effect": "allow",
                "principal": { "workload": { "id": { "spiffe": CART } }, "user": user },
                "action": "GET",
                "resource": resource,
                "answers": {
                    "workload": { "effect": "allow", "policy": "cart-may" },
                    "user": { "effect": "allow", "policy": "alice-may" },
                },
                "policies": policies,
                "context": {
                    "time": "2027-01-15T08:00:00Z",
                    "source": "10.0.0.7",
                    "trace": "4bf92f3577b34da6a3ce929d0e0e4736",
                },
            }),
            serde_json::json!({
                "event": "decision",
                "effect": "deny",
                "principal": { "workload": { "id": { "spiffe": BATCH } }, "user": user },
                "action": "DELETE",
                "resource": resource,
                "answers": {
                    "workload": {
                        "effect": "deny", "reason": "forbidden", "policy": "secret-rule-17",
                    },
                    "user": { "effect": "allow", "policy": "alice-may" },
                },
                "policies": policies,
                "context": { "time": "2027-01-15T08:00:00Z", "source": "10.0.0.7" },
            }),
            serde_json::json!({
                "event": "refusal",
                "effect": "deny",
                "reason": "path_not_normal",
                "principal": { "workload": { "id": { "spiffe": CART } }, "user": user },
                "context": { "time": "2027-01-15T08:00:00Z", "source": "10.0.0.7" },
            }),
        ]
    );
}

#[tokio::test]
async fn what_cannot_be_recorded_is_503_whatever_it_would_have_been() {
    let (sink, inner) = (Sink::default(), Inner::default());
    let queue = sink.full_queue(BackPressure::Deny);
    let layer = recorded(&queue);
    for request in [with_user(CART, "alice"), with_user(BATCH, "alice"), from(CART)] {
        let response = send(&layer, &inner, request).await;
        assert_eq!(told(&response), (503, None));
        assert_eq!(response.headers()["retry-after"], "5");
    }
    assert_eq!((inner.calls(), queue.stats().refused), (0, 3));
    sink.open();
}

#[tokio::test]
async fn who_is_known_is_recorded_though_others_flood_the_queue_with_refusals() {
    for choice in [BackPressure::Deny, BackPressure::Drop] {
        let (sink, inner) = (Sink::default(), Inner::default());
        let queue = sink.flooded_queue(2, choice);
        let layer = recorded(&queue);
        let status = if choice == BackPressure::Deny { 503 } else { 401 };
        assert_eq!(send(&layer, &inner, from(CART)).await.status(), status);
        let odd = with_user(CART, "alice").uri("/orders/../admin");
        assert_eq!(send(&layer, &inner, odd).await.status(), 400);
        sink.open();
        let records = sink.records(&queue);
        assert_eq!(records.len(), 1, "{records:?}");
        assert_eq!(records[0]["principal"]["user"]["subject"], "alice");
    }
}

#[tokio::test]
async fn a_queue_that_was_closed_refuses_every_request() {
    let (sink, inner) = (Sink::default(), Inner::default());
    let queue = sink.queue();
    queue.close(SOON).unwrap();
    let response = send(&recorded(&queue), &inner, with_user(CART, "alice")).await;
    assert_eq!((response.status().as_u16(), inner.calls()), (503, 0));
}

#[tokio::test]
async fn a_queue_that_was_told_to_drop_lets_the_request_go_on() {
    let (sink, inner) = (Sink::default(), Inner::default());
    let queue = sink.full_queue(BackPressure::Drop);
    let response = send(&recorded(&queue), &inner, with_user(CART, "alice")).await;
    assert_eq!((response.status().as_u16(), inner.calls()), (200, 1));
    assert_eq!(queue.stats().dropped, 1);
    sink.open();
}

#[tokio::test]
async fn a_request_waits_for_its_record_before_the_service_is_called() {
    let (sink, inner) = (Sink::default(), Inner::default());
    let queue = sink.full_queue(BackPressure::Wait(SOON));
    let service = recorded(&queue).layer(inner.service());
    let request = with_user(CART, "alice").body(Untouched).unwrap();
    let waiting = tokio::spawn(service.oneshot(request));
    tokio::task::yield_now().await;
    assert_eq!(inner.calls(), 0);
    sink.open();
    assert_eq!(waiting.await.unwrap().unwrap().status(), 200);
    assert_eq!(inner.calls(), 1);
    assert_eq!(sink.records(&queue).len(), 1);
}

#[tokio::test]
async fn waiting_for_a_record_ends_in_503() {
    let (sink, inner) = (Sink::default(), Inner::default());
    let queue = sink.full_queue(BackPressure::Wait(Duration::from_millis(10)));
    let response = send(&recorded(&queue), &inner, with_user(CART, "alice")).await;
    assert_eq!((response.status().as_u16(), inner.calls()), (503, 0));
    sink.open();
}

#[tokio::test]
async fn a_request_that_is_cancelled_while_it_waits_is_neither_served_nor_recorded() {
    let (sink, inner) = (Sink::default(), Inner::default());
    let queue = sink.full_queue(BackPressure::Wait(SOON));
    let mut service = recorded(&queue).layer(inner.service());
    let request = with_user(CART, "alice").body(Untouched).unwrap();
    let mut waiting = Box::pin(service.ready().await.unwrap().call(request));
    assert!(pin!(&mut waiting).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(waiting);
    sink.open();
    assert!(sink.records(&queue).is_empty());
    assert_eq!(inner.calls(), 0);
}

#[tokio::test]
async fn the_service_that_was_ready_is_the_one_that_is_called() {
    /// Panics when called before it was ready, as a service may (`tower::Service::call`).
    #[derive(Default)]
    struct Strict(bool);
    impl Clone for Strict {
        fn clone(&self) -> Self {
            Self(false)
        }
    }
    impl Service<http::Request<Untouched>> for Strict {
        type Response = Response<String>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Response<String>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            self.0 = true;
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: http::Request<Untouched>) -> Self::Future {
            assert!(std::mem::take(&mut self.0), "called before it was ready");
            std::future::ready(Ok(Response::new(String::new())))
        }
    }

    let sink = Sink::default();
    let queue = sink.queue();
    let mut service = recorded(&queue).layer(Strict::default());
    for _ in 0..2 {
        let request = with_user(CART, "alice").body(Untouched).unwrap();
        let response = service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(response.status(), 200);
    }
    assert_eq!(queue.stats().enqueued, 2);
}
