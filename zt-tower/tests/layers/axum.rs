//! One layer on axum's router, and what its handlers find.
#![cfg(feature = "axum")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::{any, get};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;
use zt_core::record::RecordQueue;
use zt_core::request::{Action, Resource};
use zt_tower::authorize::{CallLease, Guard, NotPermitted, Permitted, RouteTargets};
use zt_tower::caller::Caller;
use zt_tower::extract::{CallingUser, CallingWorkload};
use zt_tower::zero_trust::ZeroTrust;

use crate::support::{BATCH, CART, Policy, Sink, Tokens, Untouched, clock, from};

fn zero_trust(queue: &RecordQueue) -> ZeroTrust {
    ZeroTrust::builder()
        .tokens(Tokens)
        .policy(Policy::default())
        .records(queue.clone())
        .targets(RouteTargets)
        .clock(clock())
        .build()
}

async fn show(
    CallingWorkload(workload): CallingWorkload,
    CallingUser(user): CallingUser,
    caller: Caller,
    permit: Permitted,
) -> String {
    assert_eq!(caller.workload(), &workload);
    assert_eq!(caller.user(), Some(&user));
    let (id, subject) = (workload.id(), user.subject());
    format!("{id} for {subject} {} {}", permit.action(), permit.resource())
}

fn request(id: &str, user: &str, path: &str) -> Request<Body> {
    let request = from(id).header(AUTHORIZATION, format!("Bearer {user}")).uri(path);
    request.body(Body::new(Untouched)).unwrap()
}

async fn send(app: &Router, request: Request<Body>) -> (StatusCode, String) {
    let (parts, body) = app.clone().oneshot(request).await.unwrap().into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (parts.status, String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn a_handler_finds_the_caller_and_the_permit_for_the_matched_route() {
    let sink = Sink::default();
    let queue = sink.queue();
    let app = Router::new().route("/orders/{id}", get(show)).layer(zero_trust(&queue));
    let (status, body) = send(&app, request(CART, "alice", "/orders/42")).await;
    assert_eq!(status, 200);
    assert_eq!(body, r#"spiffe://example.org/cart for alice GET Route::"/orders/{id}""#);
    let (status, body) = send(&app, request(BATCH, "alice", "/orders/42")).await;
    assert_eq!(status, 403);
    assert_eq!(body, r#"{"type":"about:blank","title":"Forbidden","status":403}"#);
    let records = sink.records(&queue);
    assert_eq!(records[0]["resource"]["id"], "/orders/{id}");
    assert_eq!((&records[0]["effect"], &records[1]["effect"]), (&"allow".into(), &"deny".into()));
}

#[tokio::test]
async fn inside_of_nest_the_whole_route_is_judged() {
    let sink = Sink::default();
    let queue = sink.queue();
    let inside = Router::new().route("/orders/{id}", get(show)).layer(zero_trust(&queue));
    let app = Router::new().nest("/shops/{shop}", inside);
    let (_, body) = send(&app, request(CART, "alice", "/shops/7/orders/42")).await;
    assert!(body.ends_with(r#"GET Route::"/shops/{shop}/orders/{id}""#), "{body}");
    let (status, _) = send(&app, request(CART, "alice", "/shops/%2e%2e/orders/42")).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn in_a_fallback_the_whole_path_is_judged_and_never_taken_for_a_route() {
    let sink = Sink::default();
    let queue = sink.queue();
    let inside = Router::new().route("/orders", get(show)).fallback(show);
    let app = Router::new().nest("/v1", inside.layer(zero_trust(&queue)));
    let (_, body) = send(&app, request(CART, "alice", "/v1/no/such")).await;
    assert!(body.ends_with(r#"GET Route::"/v1/no/such""#), "{body}");
    assert_eq!(send(&app, request(CART, "alice", "/v1/{id}")).await.0, 400);
    let (_, body) = send(&app, request(CART, "alice", "/v1/%7Bid%7D")).await;
    assert!(body.ends_with(r#"GET Route::"/v1/%7Bid%7D""#), "{body}");
}

#[tokio::test]
async fn layer_covers_the_fallback_and_route_layer_does_not() {
    let sink = Sink::default();
    let queue = sink.queue();
    let routes = || Router::new().route("/orders", get(show));
    let stranger = || Request::builder().uri("/no/such").body(Body::empty()).unwrap();
    let layer = routes().layer(zero_trust(&queue));
    assert_eq!(send(&layer, stranger()).await.0, 500);
    let no_user = || from(CART).uri("/no/such").body(Body::empty()).unwrap();
    assert_eq!(send(&layer, no_user()).await.0, 401);
    let route_layer = routes().route_layer(zero_trust(&queue));
    assert_eq!(send(&route_layer, stranger()).await.0, 404);
    assert_eq!(
        send(&route_layer, from(CART).uri("/orders").body(Body::empty()).unwrap()).await.0,
        401
    );
}

#[tokio::test]
async fn a_route_that_is_added_after_the_layer_is_not_covered() {
    let sink = Sink::default();
    let queue = sink.queue();
    let app = Router::new().layer(zero_trust(&queue)).route("/open", get(|| async { "open" }));
    let stranger = Request::builder().uri("/open").body(Body::empty()).unwrap();
    assert_eq!(send(&app, stranger).await, (StatusCode::OK, "open".into()));
}

#[tokio::test]
async fn a_caller_that_a_handler_kept_brings_no_leave_into_another_request() {
    type Kept = Arc<Mutex<Option<Caller>>>;
    async fn keep(State(kept): State<Kept>, caller: Caller, guard: Guard) -> StatusCode {
        let _ = guard;
        *kept.lock().unwrap() = Some(caller);
        StatusCode::OK
    }
    async fn permit(_: Permitted) {}
    async fn guard(_: Guard) {}
    async fn name(caller: Caller) -> String {
        caller.workload().id().to_string()
    }
    let kept = Kept::default();
    let judged = Router::new().route("/orders/{id}", get(keep)).with_state(Arc::clone(&kept));
    let app = judged.layer(zero_trust(&Sink::default().queue()));
    assert_eq!(send(&app, request(CART, "alice", "/orders/42")).await.0, StatusCode::OK);
    let caller = kept.lock().unwrap().take().unwrap();
    let bare = Router::new()
        .route("/permit", get(permit))
        .route("/guard", get(guard))
        .route("/name", get(name))
        .layer(axum::Extension(caller));
    for (path, status) in [("/permit", 500), ("/guard", 500), ("/name", 200)] {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        assert_eq!(send(&bare, request).await.0.as_u16(), status, "{path}");
    }
}

#[tokio::test]
async fn an_extractor_without_its_layer_is_500_and_never_nobody() {
    async fn caller(_: Caller) {}
    async fn workload(_: CallingWorkload) {}
    async fn user(_: CallingUser) {}
    async fn permit(_: Permitted) {}
    async fn guard(_: Guard) {}
    async fn lease(_: CallLease) {}
    let app = Router::new()
        .route("/caller", get(caller))
        .route("/workload", get(workload))
        .route("/user", get(user))
        .route("/permit", get(permit))
        .route("/guard", get(guard))
        .route("/lease", get(lease));
    for path in ["/caller", "/workload", "/user", "/permit", "/guard", "/lease"] {
        let bare = from(CART).uri(path).header("x-user", "root").body(Body::empty()).unwrap();
        let (status, body) = send(&app, bare).await;
        assert_eq!(status, 500, "{path}");
        assert_eq!(body, r#"{"type":"about:blank","title":"Internal Server Error","status":500}"#);
    }
}

#[tokio::test]
async fn a_handler_that_may_not_answers_as_the_layer_does() {
    async fn edit(guard: Guard) -> Result<&'static str, NotPermitted> {
        let edit = Action::from_static("edit");
        let _permit = guard.require(&edit, &Resource::new("Order", "/error")).await?;
        Ok("edited")
    }
    let sink = Sink::default();
    let queue = sink.queue();
    let app = Router::new().route("/edit", get(edit)).layer(zero_trust(&queue));
    let (status, body) = send(&app, request(CART, "alice", "/edit")).await;
    assert_eq!(status, 403);
    assert_eq!(body, r#"{"type":"about:blank","title":"Forbidden","status":403}"#);
    assert_eq!(sink.records(&queue).len(), 2);
}

#[tokio::test]
async fn a_handler_that_wants_a_user_where_none_is_demanded_is_500() {
    let sink = Sink::default();
    let layer = ZeroTrust::builder()
        .workloads_only()
        .policy(Policy::default())
        .records(sink.queue())
        .clock(clock())
        .build();
    let app = Router::new().route("/orders", any(show)).layer(layer);
    assert_eq!(send(&app, request(CART, "alice", "/orders")).await.0, 500);
    let grpc = from(CART).method("POST").uri("/orders").header(CONTENT_TYPE, "application/grpc");
    assert_eq!(
        send(&app, grpc.body(Body::empty()).unwrap()).await,
        (StatusCode::OK, String::new())
    );
}

#[tokio::test]
async fn handlers_run_for_allowed_requests_alone() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let sink = Sink::default();
    let app = Router::new()
        .fallback(move || async move { counted.fetch_add(1, Ordering::SeqCst).to_string() })
        .layer(zero_trust(&sink.queue()));
    for (id, user, path) in
        [(BATCH, "alice", "/"), (CART, "bob", "/"), (CART, "mallory", "/"), (CART, "alice", "//")]
    {
        assert!(send(&app, request(id, user, path)).await.0.is_client_error());
    }
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    assert_eq!(send(&app, request(CART, "alice", "/")).await.0, 200);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}
