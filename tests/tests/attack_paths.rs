//! What a hostile client writes on the wire, against what policy judges and axum serves.
#![expect(clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use axum::routing::{any, get};
use axum::{Extension, Router};
use zt_core::danger;
use zt_core::decision::{Answer, Decide, Decision, PolicyVersion};
use zt_core::peer::Peer;
use zt_core::request::Request;
use zt_core::spiffe::SpiffeId;
use zt_core::time::{Clock, SystemClock, Validity};
use zt_core::verified::Verified;
use zt_tower::authorize::{PathTargets, RouteTargets, Targets};
use zt_tower::zero_trust::ZeroTrust;

/// Lets everyone GET what is public, and nobody do anything else.
struct PublicOnly(&'static [&'static str]);

impl Decide for PublicOnly {
    #[expect(clippy::disallowed_methods, reason = "stands for a policy")]
    fn decide(&self, request: &Request<'_>) -> Decision {
        Decision::of(request, PolicyVersion::default(), |question| {
            let asked = question.request();
            let public = self.0.contains(&asked.resource().id());
            if public && asked.action().name() == "GET" {
                danger::allow("public")
            } else {
                Answer::not_permitted()
            }
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "stands for a handshake that has finished")]
fn peer() -> Verified<Peer> {
    let now = SystemClock.now();
    let validity = Validity::new(now, now.saturating_add(Duration::from_secs(3_600))).unwrap();
    let id = SpiffeId::parse("spiffe://example.org/cart").unwrap();
    danger::verified(Peer::new(id, validity, b"certificate", 1))
}

fn routes() -> Router {
    let inside = Router::new()
        .route("/orders/{id}", any(|| async { "public" }))
        .route("/admin", any(|| async { "secret" }))
        .fallback(|| async { "secret" });
    Router::new()
        .route("/public", any(|| async { "public" }))
        .route("/admin", get(|| async { "secret" }))
        .route("/admin/{*rest}", any(|| async { "secret" }))
        .nest("/api", inside.clone())
        .nest_service("/service", inside)
        .fallback(|| async { "secret" })
}

fn zero_trust(targets: impl Targets + 'static, public: &'static [&'static str]) -> ZeroTrust {
    let builder = ZeroTrust::builder().workloads_only().policy(PublicOnly(public));
    builder.without_records().targets(targets).build()
}

async fn served(app: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app.layer(Extension(peer()))).await });
    address
}

fn answer(address: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let request = format!("{head}\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

const METHODS: [&str; 9] =
    ["GET", "HEAD", "OPTIONS", "POST", "CONNECT", "TRACE", "PUBLIC", "get", "GET,POST"];

const TARGETS: [&str; 47] = [
    "/public",
    "/public/",
    "/public?/../admin",
    "/public#/admin",
    "/public;/../admin",
    "/public;x",
    "/public/../admin",
    "/public/%2e%2e/admin",
    "/public/..;/admin",
    "/public%2f..%2fadmin",
    "/public\\..\\admin",
    "//public",
    "//admin",
    "/admin",
    "/admin/",
    "/admin//",
    "/./admin",
    "/ADMIN",
    "/%61dmin",
    "/%2561dmin",
    "/admin%00",
    "/admin%20",
    "/admin%ff",
    "/admin?",
    "*",
    "admin",
    "public",
    "x:443",
    "http://x/admin",
    "http://x/public",
    "http://x",
    "HTTP://X//admin",
    "http://x/public/../admin",
    "http://public@admin/admin",
    "http://x?/public",
    "ftp://x/admin",
    "/api/orders/1",
    "/api/orders/1/",
    "/api/orders//",
    "/api/orders/../admin",
    "/api/admin",
    "/api/orders/%2e%2e",
    "/api/nothing",
    "/api",
    "/api/",
    "/service/admin",
    "/service/orders/1",
];

async fn only_what_is_public_is_served(app: Router, at_least: usize) {
    let address = served(app).await;
    let served = tokio::task::spawn_blocking(move || {
        let mut served = 0_usize;
        for method in METHODS {
            for target in TARGETS {
                let answer = answer(address, &format!("{method} {target} HTTP/1.1"));
                assert!(!answer.contains("secret"), "{method} {target}: {answer}");
                if answer.starts_with("HTTP/1.1 200") {
                    assert_eq!(method, "GET", "{target}: {answer}");
                    assert!(answer.ends_with("public"), "{target}: {answer}");
                    served = served.saturating_add(1);
                }
            }
        }
        served
    });
    let served = served.await.unwrap();
    assert!(served >= at_least, "{served}");
}

const ROUTES: &[&str] = &["/public", "/api/orders/{id}", "/service/orders/{id}"];

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_around_the_routes_lets_nothing_past_policy() {
    let app = routes().layer(zero_trust(RouteTargets, ROUTES));
    only_what_is_public_is_served(app, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_judges_paths_lets_nothing_past_policy() {
    let paths = &["/public", "/api/orders/1"];
    let app = routes().layer(zero_trust(PathTargets, paths));
    only_what_is_public_is_served(app, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_around_a_whole_router_lets_nothing_past_policy() {
    let inside = routes().layer(zero_trust(RouteTargets, ROUTES));
    let app = Router::new().fallback_service(inside);
    only_what_is_public_is_served(app, 3).await;
}
