//! What a reviewer tries first, over mutual TLS and real sockets: several users on one connection,
//! handlers that panic, requests that are given up, upgrades, and headers that lie.
#![expect(clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{any, get};
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::request::Builder;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use zt_core::danger;
use zt_core::decision::{Answer, Decide, Decision, PolicyVersion};
use zt_core::record::{JsonLines, RecordQueue};
use zt_core::request::{Request as Question, Subject};
use zt_core::spiffe::TrustDomain;
use zt_core::time::{Clock, SystemClock};
use zt_identity::authority::{Authority, Issuer};
use zt_identity::matcher::Authorizer;
use zt_identity::oidc::access_token::AccessTokenVerifier;
use zt_tls::connection::ClientStream;
use zt_tls::serve::serve;
use zt_tls::{Acceptor, Connector};
use zt_tower::AccessTokens;
use zt_tower::authorize::CallLease;
use zt_tower::extract::{CallingUser, CallingWorkload};
use zt_tower::zero_trust::ZeroTrust;

const SOON: Duration = Duration::from_secs(30);
const ISSUER: &str = "https://login.example.com";

/// Lets cart in, on behalf of alice and carol, to what is not `/admin`; shut, it lets nobody.
#[derive(Clone, Default)]
struct Policy(Arc<AtomicBool>);

impl Decide for Policy {
    #[expect(clippy::disallowed_methods, reason = "stands for a policy")]
    fn decide(&self, request: &Question<'_>) -> Decision {
        let shut = self.0.load(Ordering::SeqCst) || request.resource().id() == "/admin";
        let attributes = request.context().attributes().len();
        Decision::of(request, PolicyVersion::default(), |question| match question.subject() {
            _ if shut || attributes != 0 => Answer::not_permitted(),
            Subject::User(user) if !["alice", "carol"].contains(&user.subject()) => {
                Answer::forbidden("no-such-user")
            }
            _ => danger::allow("shop"),
        })
    }
}

struct World {
    authority: Authority,
    issuer: Issuer,
    address: std::net::SocketAddr,
    policy: Policy,
    records: RecordQueue,
    folder: tempfile::TempDir,
    slow: Arc<Notify>,
    /// Said by a handler when it is dropped before its end.
    dropped: Arc<AtomicBool>,
}

struct Says(Arc<AtomicBool>);

impl Drop for Says {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

async fn who(CallingWorkload(by): CallingWorkload, CallingUser(user): CallingUser) -> String {
    format!("{} through {}", user.subject(), by.id())
}

async fn panics() -> String {
    std::hint::black_box(None::<String>).unwrap()
}

/// Gives back what it is sent, until its lease ends.
async fn echo(lease: CallLease, request: Request<Body>) -> Response<Body> {
    tokio::spawn(async move {
        let upgraded = hyper::upgrade::on(request).await.unwrap();
        let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
        tokio::select! {
            _ = tokio::io::copy(&mut read, &mut write) => {}
            _why = lease.ended() => {}
        }
    });
    let answer = Response::builder().status(101).header("connection", "upgrade");
    answer.header("upgrade", "websocket").body(Body::empty()).unwrap()
}

impl World {
    async fn start() -> Self {
        let now = SystemClock.now();
        let domain = TrustDomain::from_name("example.org").unwrap();
        let authority = Authority::new(domain.clone(), now).unwrap();
        let issuer = Issuer::new(ISSUER, now).unwrap();
        let tokens = AccessTokenVerifier::for_issuer(issuer.url().clone())
            .audience("orders")
            .keys(issuer.keys().unwrap())
            .build()
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let sink = JsonLines::append_to(folder.path().join("records.jsonl")).unwrap();
        let (records, policy) = (RecordQueue::builder().start(sink).unwrap(), Policy::default());
        let layer = ZeroTrust::builder()
            .tokens(AccessTokens::bearer(tokens).cached(100).unwrap())
            .policy(policy.clone())
            .records(records.clone())
            .build();
        let (slow, dropped) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        let (entered, gone) = (Arc::clone(&slow), Arc::clone(&dropped));
        let wait = move || {
            let (entered, says) = (Arc::clone(&entered), Says(Arc::clone(&gone)));
            async move {
                entered.notify_one();
                let _says = says;
                std::future::pending::<()>().await;
            }
        };
        let app = Router::new()
            .route("/who", any(who))
            .route("/admin", any(who))
            .route("/panic", get(panics))
            .route("/slow", get(wait))
            .route("/socket", get(echo))
            .layer(layer);
        let members = Authorizer::member_of(domain);
        let acceptor = Acceptor::new(authority.source("/orders").unwrap(), members).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, acceptor, app));
        Self { authority, issuer, address, policy, records, folder, slow, dropped }
    }

    async fn connect(&self, protocol: &str) -> TokioIo<ClientStream<TcpStream>> {
        let members = Authorizer::member_of(TrustDomain::from_name("example.org").unwrap());
        let connector = Connector::builder(self.authority.source("/cart").unwrap(), members);
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("orders").unwrap();
        let connector = connector.alpn([protocol]).build().unwrap();
        TokioIo::new(connector.connect(name, stream).await.unwrap())
    }

    async fn http1(&self) -> http1::SendRequest<Empty<Bytes>> {
        let (send, connection) = http1::handshake(self.connect("http/1.1").await).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        send
    }

    async fn http2(&self) -> http2::SendRequest<Empty<Bytes>> {
        let io = self.connect("h2").await;
        let (send, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        send
    }

    fn bearing(&self, user: &str, request: Builder) -> Request<Empty<Bytes>> {
        let claims = format!(r#"{{"sub": "{user}", "aud": "orders"}}"#);
        let token = self.issuer.mint(&claims).unwrap();
        let request = request.header("host", "orders");
        request.header(AUTHORIZATION, format!("Bearer {token}")).body(Empty::new()).unwrap()
    }

    /// Gives a request to `/slow` up once its handler has it, and waits for that to end.
    async fn is_given_up<T>(&self, answer: JoinHandle<T>) {
        timeout(SOON, self.slow.notified()).await.unwrap();
        assert!(!self.dropped.load(Ordering::SeqCst));
        answer.abort();
        timeout(SOON, async {
            while !self.dropped.swap(false, Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .unwrap();
    }

    fn records(&self) -> Vec<Value> {
        self.records.close(SOON).unwrap();
        let text = std::fs::read_to_string(self.folder.path().join("records.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

async fn told(
    response: impl Future<Output = Result<Response<Incoming>, hyper::Error>>,
) -> (u16, String) {
    let (parts, body) = timeout(SOON, response).await.unwrap().unwrap().into_parts();
    let bytes = timeout(SOON, body.collect()).await.unwrap().unwrap().to_bytes();
    (parts.status.as_u16(), String::from_utf8(bytes.to_vec()).unwrap())
}

fn by(user: &str) -> (u16, String) {
    (200, format!("{user} through spiffe://example.org/cart"))
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_one_connection_are_those_of_their_own_users() {
    let world = World::start().await;
    let mut kept_alive = world.http1().await;
    for (user, status) in [("alice", 200), ("mallory", 403), ("carol", 200), ("alice", 200)] {
        let request = world.bearing(user, Request::get("/who"));
        let (told, said) = told(kept_alive.send_request(request)).await;
        assert_eq!(told, status);
        assert_eq!(said.starts_with(user), status == 200, "{said}");
        kept_alive.ready().await.unwrap();
    }
    let bare = Request::get("/who").header("host", "orders").body(Empty::new()).unwrap();
    assert_eq!(told(kept_alive.send_request(bare)).await.0, 401, "nobody is remembered");

    let streams = world.http2().await;
    let answers = (0..60).map(|n| {
        let user = ["alice", "mallory", "carol"][n % 3];
        let request = world.bearing(user, Request::get("https://orders/who"));
        let mut stream = streams.clone();
        tokio::spawn(async move { (user, told(stream.send_request(request)).await) })
    });
    for answer in answers.collect::<Vec<_>>() {
        let (user, answer) = answer.await.unwrap();
        if user == "mallory" {
            assert_eq!(answer.0, 403);
        } else {
            assert_eq!(answer, by(user));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_panics_is_500_and_recorded_and_its_connection_goes_on() {
    let world = World::start().await;
    let mut http1 = world.http1().await;
    let panics = world.bearing("alice", Request::get("/panic"));
    let problem = r#"{"type":"about:blank","title":"Internal Server Error","status":500}"#;
    assert_eq!(told(http1.send_request(panics)).await, (500, problem.into()));
    http1.ready().await.unwrap();
    let next = world.bearing("carol", Request::get("/who"));
    assert_eq!(told(http1.send_request(next)).await, by("carol"));

    let mut http2 = world.http2().await;
    let panics = world.bearing("alice", Request::get("https://orders/panic"));
    assert_eq!(told(http2.send_request(panics)).await.0, 500);
    let next = world.bearing("alice", Request::get("https://orders/who"));
    assert_eq!(told(http2.send_request(next)).await, by("alice"));

    let records = world.records();
    assert_eq!(records.len(), 6);
    assert_eq!(
        (&records[0]["event"], &records[0]["effect"]),
        (&json!("decision"), &json!("allow"))
    );
    assert_eq!(records[1]["reason"], "handler_panicked");
    assert_eq!(records[1]["principal"]["user"]["subject"], "alice");
    assert_eq!(records[1]["resource"]["id"], "/panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_given_up_is_recorded_and_its_handler_ends() {
    let world = World::start().await;
    let mut streams = world.http2().await;
    let request = world.bearing("alice", Request::get("https://orders/slow"));
    let answer = tokio::spawn(streams.send_request(request));
    world.is_given_up(answer).await;
    let next = world.bearing("alice", Request::get("https://orders/who"));
    assert_eq!(told(streams.send_request(next)).await, by("alice"));

    let mut connection = world.http1().await;
    let request = world.bearing("carol", Request::get("/slow"));
    let answer = tokio::spawn(async move { connection.send_request(request).await });
    world.is_given_up(answer).await;

    let records = world.records();
    let seen: Vec<_> = records
        .iter()
        .map(|record| (&record["resource"]["id"], &record["principal"]["user"]["subject"]))
        .collect();
    let expected = [("/slow", "alice"), ("/who", "alice"), ("/slow", "carol")];
    let expected = expected.map(|(path, user)| (json!(path), json!(user)));
    assert_eq!(seen, expected.iter().map(|(path, user)| (path, user)).collect::<Vec<_>>());
    assert!(records.iter().all(|record| record["effect"] == "allow"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_is_judged_as_any_request_and_ends_when_policy_does_not_allow_it() {
    let world = World::start().await;
    let upgrade = |user| {
        let request = Request::get("/socket").header("connection", "upgrade");
        world.bearing(user, request.header("upgrade", "websocket"))
    };
    let mut refused = world.http1().await;
    assert_eq!(told(refused.send_request(upgrade("mallory"))).await.0, 403);

    let mut send = world.http1().await;
    let answer = timeout(SOON, send.send_request(upgrade("alice"))).await.unwrap().unwrap();
    assert_eq!(answer.status(), 101);
    let mut socket = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
    socket.write_all(b"hi").await.unwrap();
    let mut said = [0; 2];
    timeout(SOON, socket.read_exact(&mut said)).await.unwrap().unwrap();
    assert_eq!(&said, b"hi");
    world.policy.0.store(true, Ordering::SeqCst);
    let end = timeout(SOON, socket.read(&mut said)).await.unwrap();
    assert!(!end.is_ok_and(|read| read > 0), "the socket is closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_lie_change_nothing() {
    let world = World::start().await;
    let mut send = world.http1().await;
    for (name, value) in [
        ("x-http-method-override", "DELETE"),
        ("x-original-url", "/who"),
        ("x-rewrite-url", "/who"),
        ("x-forwarded-client-cert", "URI=spiffe://example.org/admin"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-user", "root"),
        ("x-attributes", "risk=0"),
        ("forwarded", "for=127.0.0.1;host=admin"),
    ] {
        let request =
            world.bearing("alice", Request::get("/admin?risk=0&user=root").header(name, value));
        assert_eq!(told(send.send_request(request)).await.0, 403, "{name}");
        send.ready().await.unwrap();
        let request = world.bearing("alice", Request::get("/who?risk=0").header(name, value));
        assert_eq!(told(send.send_request(request)).await, by("alice"), "{name}");
        send.ready().await.unwrap();
    }
    for (path, status) in
        [("/WHO", 404), ("/who%2f..%2fadmin", 400), ("/who/../admin", 400), ("/Admin", 404)]
    {
        let request = world.bearing("alice", Request::get(path));
        assert_eq!(told(send.send_request(request)).await.0, status, "{path}");
        send.ready().await.unwrap();
    }
    for record in world.records() {
        assert_eq!(record["context"]["source"], "127.0.0.1");
        assert_eq!(record["context"].get("attributes"), None);
    }
}

/// Two requests where a proxy in front may see one.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_smuggled_is_judged_or_breaks_its_connection() {
    let world = World::start().await;
    let token = world.issuer.mint(r#"{"sub": "alice", "aud": "orders"}"#).unwrap();
    let head = format!("host: orders\r\nauthorization: Bearer {token}\r\n");
    let smuggled = format!("GET /admin HTTP/1.1\r\n{head}\r\n");
    for lie in [
        format!("content-length: 0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("content-length: 0\r\ncontent-length: {}\r\n\r\n{smuggled}", smuggled.len()),
        format!("transfer-encoding: xchunked\r\n\r\n{smuggled}"),
        format!("authorization: Bearer {token}\r\n\r\n{smuggled}"),
        format!("x: y\r\n authorization: folded\r\n\r\n{smuggled}"),
    ] {
        let mut io = world.connect("http/1.1").await.into_inner();
        io.write_all(format!("POST /who HTTP/1.1\r\n{head}{lie}").as_bytes()).await.unwrap();
        io.flush().await.unwrap();
        let mut answers = Vec::new();
        let mut buffer = [0; 4096];
        // It may keep the connection open, and has said by then what it says.
        while let Ok(Ok(read @ 1..)) = timeout(Duration::from_secs(2), io.read(&mut buffer)).await {
            answers.extend_from_slice(&buffer[..read]);
        }
        let answers = String::from_utf8_lossy(&answers).into_owned();
        let statuses: Vec<_> = answers.split("HTTP/1.1 ").skip(1).map(|a| &a[..3]).collect();
        assert!(!statuses.is_empty() && statuses.len() <= 2, "{lie:?}: {answers}");
        assert!(statuses.iter().skip(1).all(|status| ["403", "400"].contains(status)), "{answers}");
    }
    for record in world.records() {
        let admin = record["resource"]["id"] == "/admin";
        assert!(!admin || record["effect"] == "deny", "{record}");
    }
}
