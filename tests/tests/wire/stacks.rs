//! Layers in the wrong place, twice, or inside of each other.

use std::sync::OnceLock;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::routing::get;
use http::Uri;
use zt_tower::caller::Caller;

use crate::frames::{Http2, Told};
use crate::world::{SERVERS, World, routes, statuses};

async fn ask(world: &World, server: &str, user: &str, path: &str) -> u16 {
    let authorization = match user {
        "" => String::new(),
        user => format!("authorization: Bearer {}\r\n", world.token(user)),
    };
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: orders\r\n{authorization}connection: close\r\n\r\n");
    statuses(&world.says(server, request).await)[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_layers_each_judges_and_records_and_both_have_to_allow() {
    let world = World::with(|layer, calls| routes(calls).layer(layer.clone()).layer(layer)).await;
    for server in SERVERS {
        assert_eq!(ask(&world, server, "alice", "/who").await, 200);
        assert_eq!(ask(&world, server, "mallory", "/who").await, 403);
        assert_eq!(ask(&world, server, "", "/who").await, 401);
        assert_eq!(
            ask(&world, server, "alice", "/no/such").await,
            200,
            "the fallback, allowed twice"
        );
    }
    assert_eq!(world.calls.all().len(), 4);
    let records = world.records();
    let allowed = records.iter().filter(|record| record["effect"] == "allow").count();
    assert_eq!((records.len(), allowed), (12, 8));
}

/// Routes inside of routes, and what none of them matches: everything is judged by the whole of its
/// path.
#[tokio::test(flavor = "multi_thread")]
async fn routers_in_routers_are_judged_by_the_whole_path_or_route() {
    let world = World::with(|layer, calls| {
        let inside = || routes(calls.clone());
        Router::new()
            .nest("/api", inside())
            .nest("/admin", inside())
            .nest("/v1", Router::new().nest("/admin", inside()))
            .nest_service("/service", inside())
            .route_service("/exact", inside().into_service::<Body>())
            .merge(Router::new().route("/merged", get(|| async { "merged, and says nothing" })))
            .fallback_service(inside())
            .layer(layer)
    })
    .await;
    let judged = [
        ("/api/who", 200, "/api/who"),
        ("/api/admin", 200, "/api/admin"),
        ("/api/no/such", 200, "/api/no/such"),
        ("/admin/who", 403, "/admin/who"),
        ("/admin/no/such", 403, "/admin/no/such"),
        ("/admin/", 403, "/admin/"),
        ("/v1/admin/who", 200, "/v1/admin/who"),
        ("/service/who", 200, "/service/who"),
        ("/exact", 200, "/exact"),
        ("/merged", 200, "/merged"),
        ("/admin", 403, "/admin"),
        ("/who", 200, "/who"),
        ("/nothing", 200, "/nothing"),
    ];
    for (path, status, _) in judged {
        assert_eq!(ask(&world, SERVERS[0], "alice", path).await, status, "{path}");
        assert_eq!(ask(&world, SERVERS[0], "mallory", path).await, 403, "{path}");
        assert_eq!(ask(&world, SERVERS[0], "", path).await, 401, "{path}");
    }
    let records = world.records();
    for (nth, (path, _, resource)) in judged.into_iter().enumerate() {
        let record = &records[nth * 3];
        let id = record["resource"]["id"].as_str().unwrap();
        let whole = record["resource"]["attributes"]["path"].as_str().unwrap_or(id);
        assert_eq!(
            (whole, id.trim_end_matches("/{*__private__axum_nest_tail_param}")),
            (path, resource)
        );
    }
}

/// axum covers the routes that were there when the layer came. Around the whole application nothing
/// can be added later: then there is no matched route yet, and paths are judged.
#[tokio::test(flavor = "multi_thread")]
async fn a_layer_around_the_whole_application_covers_what_is_added_last() {
    let late = World::with(|layer, calls| {
        routes(calls).layer(layer).route("/late", get(|| async { "open to everybody" }))
    })
    .await;
    let around = World::with(|layer, calls| {
        let app = routes(calls).route("/late", get(|| async { "after a decision" }));
        Router::new().fallback_service(tower::Layer::layer(&layer, app))
    })
    .await;
    for server in SERVERS {
        assert_eq!(ask(&late, server, "", "/late").await, 200, "not covered");
        assert_eq!(ask(&around, server, "", "/late").await, 401);
        assert_eq!(ask(&around, server, "mallory", "/late").await, 403);
        assert_eq!(ask(&around, server, "alice", "/late").await, 200);
        assert_eq!(ask(&around, server, "alice", "/admin").await, 403);
    }
    assert!(late.records().is_empty());
    assert_eq!(around.records().len(), 8);
}

/// What rewrites stands outside: what policy judges is then what is served.
#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_outside_of_the_layer_is_judged_as_what_it_makes() {
    async fn rewrite(mut request: Request<Body>, next: Next) -> axum::response::Response {
        if request.uri().path() == "/old" {
            *request.uri_mut() = Uri::from_static("/admin");
        }
        next.run(request).await
    }
    let world = World::with(|layer, calls| {
        let app = routes(calls).layer(layer);
        Router::new().fallback_service(tower::Layer::layer(&from_fn(rewrite), app))
    })
    .await;
    for server in SERVERS {
        assert_eq!(ask(&world, server, "alice", "/old").await, 403);
        assert_eq!(ask(&world, server, "alice", "/who").await, 200);
    }
    let records = world.records();
    assert_eq!(records[0]["resource"]["id"], "/admin", "{}", records[0]);
}

/// The requests of one connection are those of many users, where a proxy is the peer.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_panics_is_500_and_recorded_and_its_connection_goes_on() {
    let world = World::start().await;
    let bearer = format!("Bearer {}", world.token("alice"));
    for server in SERVERS {
        let mut http2 = Http2::connect(&world, server).await;
        for (stream, path, block) in [(1, "/broken", 500), (3, "/broken", 0), (5, "/who", 0)] {
            let fields: [(&[u8], &[u8]); 5] = [
                (b":method", b"GET"),
                (b":scheme", b"https"),
                (b":authority", b"orders"),
                (b":path", path.as_bytes()),
                (b"authorization", bearer.as_bytes()),
            ];
            let answer = http2.ask(stream, &fields).await;
            assert!(matches!(answer, Told::Status(_)), "{server} {path}: {answer:?}");
            assert!(block == 0 || answer == Told::Status(block));
        }
        assert_eq!(ask(&world, server, "alice", "/broken").await, 500);
    }
    assert_eq!(world.calls.all().len(), 2);
    let broken = "decision_panicked";
    assert_eq!(world.reasons(), [broken, broken, "-", broken, broken, broken, "-", broken]);
}

/// Whatever another layer believes, this one puts whom it proved in its place.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_another_layer_puts_there_is_replaced() {
    /// The caller of the first request, as a cache of sessions keeps it.
    static KEPT: OnceLock<Caller> = OnceLock::new();
    async fn keep(request: Request<Body>, next: Next) -> axum::response::Response {
        KEPT.get_or_init(|| request.extensions().get::<Caller>().unwrap().clone());
        next.run(request).await
    }
    async fn put(mut request: Request<Body>, next: Next) -> axum::response::Response {
        if let Some(kept) = KEPT.get() {
            request.extensions_mut().insert(kept.clone());
        }
        next.run(request).await
    }
    let world = World::with(|layer, calls| {
        routes(calls).layer(from_fn(keep)).layer(layer).layer(from_fn(put))
    })
    .await;
    for server in SERVERS {
        assert_eq!(ask(&world, server, "alice", "/who").await, 200);
        assert_eq!(ask(&world, server, "", "/who").await, 401);
        assert_eq!(ask(&world, server, "mallory", "/who").await, 403);
        assert_eq!(ask(&world, server, "carol", "/who").await, 200);
    }
    let users: Vec<_> = world.calls.all().into_iter().map(|call| call.user).collect();
    assert_eq!(users, ["alice", "carol", "alice", "carol"]);
    world.records();
}
