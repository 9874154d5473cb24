//! Tokens of service accounts, reviewed by an API server that is slow, broken, hostile or honest.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, SupportedProtocolVersion};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tower::{Layer, ServiceExt, service_fn};
use zt_core::fault::Fault;
use zt_core::principal::Principal;
use zt_core::time::{ManualClock, Timestamp};
use zt_core::verified::Verified;
use zt_identity::authority::Issuer as Cluster;
use zt_identity::claims::Audience;
use zt_identity::oidc::fetch::{FetchError, MAX_LEN};
use zt_identity::oidc::issuer::Issuer;
use zt_identity::possession::binding::Binding;
use zt_identity::service_account::{TokenReviewError, TokenReviewer};
use zt_tower::authenticate::AuthenticateLayer;
use zt_tower::caller::Caller;
use zt_tower::demand::Demand;
use zt_tower::limits::Limits;
use zt_tower::record::Recording;
use zt_tower::workload_tokens::{ServiceAccounts, WorkloadDemand};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// Short enough for a test, long enough for a machine that is busy.
const SHORT: Duration = Duration::from_millis(700);

fn token() -> String {
    token_with("aud", json!(["orders"]))
}

fn token_with(claim: &str, value: Value) -> String {
    let mut claims = json!({
        "iss": ISSUER, "aud": ["orders"], "sub": "system:serviceaccount:shop:cart",
        "iat": NOW.as_secs(), "exp": NOW.as_secs() + 600,
        "kubernetes.io": {
            "namespace": "shop", "serviceaccount": {"name": "cart", "uid": "sa-uid"},
            "pod": {"name": "cart-0", "uid": "pod-uid"},
        },
    });
    claims[claim] = value;
    Cluster::new(ISSUER, NOW).unwrap().mint_as("JWT", claims).unwrap()
}

fn review() -> Value {
    json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "status": {
            "authenticated": true, "audiences": ["orders"],
            "user": {
                "username": "system:serviceaccount:shop:cart", "uid": "sa-uid",
                "groups": ["system:serviceaccounts", "system:authenticated"],
                "extra": {
                    "authentication.kubernetes.io/pod-name": ["cart-0"],
                    "authentication.kubernetes.io/pod-uid": ["pod-uid"],
                },
            },
        },
    })
}

/// What the server answers, byte for byte.
#[derive(Clone)]
enum Reply {
    Bytes(Vec<u8>),
    Silence,
    /// One byte every 20 ms.
    Trickle(Vec<u8>),
    /// The usual answer, after a while.
    Late(Duration),
}

fn reply(status: &str, headers: &str, body: &str) -> Reply {
    let len = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\n{headers}\r\n");
    Reply::Bytes([head.as_bytes(), body.as_bytes()].concat())
}

fn created(body: &Value) -> Reply {
    reply("201 Created", "Content-Type: application/json\r\n", &body.to_string())
}

/// An API server, and the files of a pod that trusts it.
struct ApiServer {
    url: String,
    files: TempDir,
    state: Arc<State>,
}

struct State {
    reply: Mutex<Reply>,
    requests: Mutex<Vec<String>>,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

impl ApiServer {
    async fn start(reply: Reply) -> Self {
        Self::start_as("localhost", reply, rustls::ALL_VERSIONS).await
    }

    async fn start_as(
        name: &str,
        reply: Reply,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed([name.to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let files = tempfile::tempdir().unwrap();
        std::fs::write(files.path().join("ca.crt"), cert.pem()).unwrap();
        std::fs::write(files.path().join("token"), "our-own-token\n").unwrap();
        let state = Arc::new(State {
            reply: Mutex::new(reply),
            requests: Mutex::default(),
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let (acceptor, serving) = (TlsAcceptor::from(Arc::new(config)), Arc::clone(&state));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, state) = (acceptor.clone(), Arc::clone(&serving));
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        state.answer(stream).await;
                    }
                });
            }
        });
        Self { url, files, state }
    }

    fn reviewer(&self) -> TokenReviewer {
        let file = |name| self.files.path().join(name);
        TokenReviewer::new(
            &self.url,
            file("ca.crt"),
            file("token"),
            Issuer::parse(ISSUER).unwrap(),
            Audience::any(["orders"]).unwrap(),
        )
        .unwrap()
        .with_timeout(SHORT)
    }

    fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        std::fs::write(self.files.path().join(name), contents).unwrap();
    }

    fn set(&self, reply: Reply) {
        *self.state.reply.lock().unwrap() = reply;
    }

    fn requests(&self) -> Vec<String> {
        self.state.requests.lock().unwrap().clone()
    }

    async fn caller(&self, token: &str) -> Result<Verified<Principal>, TokenReviewError> {
        let account = self.reviewer().review(token, NOW).await?;
        Ok(Binding::bearer().service_account(&account).unwrap())
    }

    async fn refusal(&self) -> TokenReviewError {
        self.caller(&token()).await.unwrap_err()
    }
}

impl State {
    async fn answer(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let Some(request) = read_request(&mut stream).await else { return };
        self.requests.lock().unwrap().push(request);
        let at_once = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(at_once, Ordering::SeqCst);
        let reply = self.reply.lock().unwrap().clone();
        // The client may well have hung up.
        match reply {
            Reply::Bytes(bytes) => _ = stream.write_all(&bytes).await,
            Reply::Silence => sleep(Duration::from_secs(60)).await,
            Reply::Trickle(bytes) => {
                for byte in bytes {
                    if stream.write_u8(byte).await.is_err() {
                        break;
                    }
                    let _ = stream.flush().await;
                    sleep(Duration::from_millis(20)).await;
                }
            }
            Reply::Late(delay) => {
                sleep(delay).await;
                if let Reply::Bytes(bytes) = created(&review()) {
                    let _ = stream.write_all(&bytes).await;
                }
            }
        }
        let _ = stream.shutdown().await;
        self.at_once.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(request).ok()?.to_ascii_lowercase();
    let len = head.split("content-length: ").nth(1)?.split("\r\n").next()?.parse().ok()?;
    let mut body = vec![0; len];
    stream.read_exact(&mut body).await.ok()?;
    Some(head + &String::from_utf8(body).ok()?)
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

/// Nobody can tell: the fault is the authority's, and nothing is let through.
fn assert_unanswered(error: &TokenReviewError, what: &str) {
    assert_eq!((error.fault(), error.reason()), (Fault::Authority, "review_unavailable"), "{what}");
}

#[test]
fn a_token_that_the_api_server_vouches_for_names_its_account_and_its_pod() {
    run(async {
        let server = ApiServer::start(created(&review())).await;
        let sent = token();
        let caller = server.caller(&sent).await.unwrap();
        assert_eq!(caller.workload().id().to_string(), "system:serviceaccount:shop:cart");
        assert!(caller.workload().attributes().get("pod").is_some());
        let requests = server.requests();
        let [request] = requests.as_slice() else { panic!("{requests:?}") };
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("post /apis/authentication.k8s.io/v1/tokenreviews http/1.1\r\n"),
            "{head}"
        );
        for line in ["authorization: bearer our-own-token", "content-type: application/json"] {
            assert!(head.lines().any(|found| found == line), "{line}: {head}");
        }
        let expected = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "spec": {"token": sent, "audiences": ["orders"]},
        });
        assert_eq!(serde_json::from_str::<Value>(body).unwrap(), expected);
        // As an aggregated API server answers.
        server.set(reply("200 OK", "Content-Type: application/json\r\n", &review().to_string()));
        assert!(server.caller(&sent).await.is_ok());
    });
}

#[test]
fn a_token_that_the_api_server_refuses_is_refused() {
    run(async {
        let mut no = review();
        no["status"] = json!({"user": {}, "error": "service account token has been invalidated"});
        let server = ApiServer::start(created(&no)).await;
        let error = server.refusal().await;
        assert_eq!((error.fault(), error.reason()), (Fault::Peer, "token_not_authenticated"));
        assert!(error.to_string().contains("invalidated"), "{error}");

        let mut other = review();
        other["status"]["user"]["username"] = "system:serviceaccount:kube-system:admin".into();
        server.set(created(&other));
        let error = server.refusal().await;
        assert_eq!((error.fault(), error.reason()), (Fault::Peer, "token_claims"));

        let mut unaware = review();
        unaware["status"]["audiences"] = Value::Null;
        server.set(created(&unaware));
        assert_eq!(server.refusal().await.reason(), "token_of_another_audience");
    });
}

#[test]
fn an_answer_that_is_none_refuses_the_token() {
    run(async {
        let server = ApiServer::start(Reply::Silence).await;
        let (json, yes) = ("Content-Type: application/json\r\n", review().to_string());
        let long = format!(r#"{{"x":"{}"}}"#, "x".repeat(MAX_LEN));
        let twice =
            yes.replace(r#""authenticated":true"#, r#""authenticated":false,"authenticated":true"#);
        let elsewhere = ApiServer::start(created(&review())).await;
        let location = format!("Location: {}/\r\n{json}", elsewhere.url);
        for (what, reply) in [
            ("500", reply("500 Oops", json, &yes)),
            ("401", reply("401 Unauthorized", json, &yes)),
            ("403", reply("403 Forbidden", json, &yes)),
            ("202", reply("202 Accepted", json, &yes)),
            ("302", reply("302 Found", &location, "")),
            ("307", reply("307 Temporary Redirect", &location, &yes)),
            ("no type", reply("201 Created", "", &yes)),
            ("html", reply("201 Created", "Content-Type: text/html\r\n", &yes)),
            ("empty", reply("201 Created", json, "")),
            ("an array", reply("201 Created", json, &format!("[{yes}]"))),
            ("twice", reply("201 Created", json, &twice)),
            ("two documents", reply("201 Created", json, &format!("{yes}{yes}"))),
            ("another kind", reply("201 Created", json, r#"{"kind":"Status","status":"Success"}"#)),
            ("not utf-8", Reply::Bytes(b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n\r\n{\"a\":\"\xff\"}".into())),
            ("too long", reply("201 Created", json, &long)),
            ("too long, unannounced", Reply::Bytes(format!("HTTP/1.1 201 Created\r\n{json}\r\n{long}").into())),
            ("cut", Reply::Bytes(format!("HTTP/1.1 201 Created\r\nContent-Length: 9000\r\n{json}\r\n{yes}").into())),
            ("no HTTP", Reply::Bytes(yes.clone().into())),
            ("nothing", Reply::Bytes(Vec::new())),
        ] {
            server.set(reply);
            assert_unanswered(&server.refusal().await, what);
        }
        assert!(elsewhere.requests().is_empty(), "no redirect is followed");
    });
}

#[test]
fn a_server_that_takes_its_time_is_given_up() {
    run(async {
        let Reply::Bytes(slow) = created(&review()) else { panic!("bytes") };
        for slow in [Reply::Silence, Reply::Trickle(slow)] {
            let server = ApiServer::start(slow).await;
            let error = server.refusal().await;
            let timeout = TokenReviewError::Unanswered(FetchError::Timeout { after: SHORT });
            assert_eq!(error.to_string(), timeout.to_string());
            assert!(matches!(error, TokenReviewError::Unanswered(FetchError::Timeout { .. })));
            assert_unanswered(&error, "slow");
        }
    });
}

#[test]
fn what_nobody_would_accept_is_not_asked_about() {
    run(async {
        let server = ApiServer::start(created(&review())).await;
        for (bad, reason) in [
            (String::new(), "token_malformed"),
            ("a.b".into(), "token_malformed"),
            ("x".repeat(20_000), "token_malformed"),
            (token_with("aud", json!(["billing"])), "token_of_another_audience"),
            (token_with("iss", json!("https://other")), "token_of_another_issuer"),
            (token_with("exp", json!(NOW.as_secs() - 61)), "token_expired"),
            (token_with("sub", json!("alice")), "token_subject"),
            (token_with("sub", json!("system:serviceaccount:shop:admin")), "token_claims"),
        ] {
            let error = server.caller(&bad).await.unwrap_err();
            assert!(matches!(error, TokenReviewError::Token(_)), "{error:?}");
            assert_eq!((error.fault(), error.reason()), (Fault::Peer, reason), "{bad}");
        }
        let limited = server.reviewer().with_max_lifetime(Duration::from_secs(60));
        assert!(limited.review(&token(), NOW).await.is_err());
        assert!(server.requests().is_empty());
    });
}

#[test]
fn nothing_is_told_to_a_server_that_does_not_prove_its_name() {
    run(async {
        let yes = || created(&review());
        let other_name = ApiServer::start_as("other.example", yes(), rustls::ALL_VERSIONS).await;
        let untrusted = ApiServer::start(yes()).await;
        let another = ApiServer::start(yes()).await;
        untrusted.write("ca.crt", std::fs::read(another.files.path().join("ca.crt")).unwrap());
        let old = ApiServer::start_as("localhost", yes(), &[&rustls::version::TLS12]).await;
        for (what, server) in [("name", &other_name), ("root", &untrusted), ("TLS 1.2", &old)] {
            let error = server.refusal().await;
            assert!(
                matches!(error, TokenReviewError::Unanswered(FetchError::Unreachable(_))),
                "{what}: {error:?}"
            );
            assert!(server.requests().is_empty(), "{what}");
        }
    });
}

#[test]
fn a_renewed_credential_and_renewed_roots_count_at_once() {
    run(async {
        let server = ApiServer::start(created(&review())).await;
        let reviewer = server.reviewer();
        assert!(reviewer.review(&token(), NOW).await.is_ok());
        server.write("token", "renewed");
        assert!(reviewer.review(&token(), NOW).await.is_ok());
        let requests = server.requests();
        assert!(requests[0].contains("authorization: bearer our-own-token\r\n"));
        assert!(requests[1].contains("authorization: bearer renewed\r\n"));

        let ours = std::fs::read(server.files.path().join("ca.crt")).unwrap();
        let other = ApiServer::start(Reply::Silence).await;
        server.write("ca.crt", std::fs::read(other.files.path().join("ca.crt")).unwrap());
        assert_unanswered(&reviewer.review(&token(), NOW).await.unwrap_err(), "other roots");
        server.write("ca.crt", ours);
        assert!(reviewer.review(&token(), NOW).await.is_ok());
    });
}

#[test]
fn files_that_cannot_be_used_refuse_every_token() {
    run(async {
        let server = ApiServer::start(created(&review())).await;
        let sound = |name: &str| std::fs::read(server.files.path().join(name)).unwrap();
        for name in ["token", "ca.crt"] {
            let before = sound(name);
            let huge = vec![b'x'; 300 * 1024];
            for bad in [&b""[..], b" \n", b"a\nb", b"\x00", &huge] {
                // A CA file of words is none; a credential of words is for the server to judge.
                server.write(name, bad);
                assert_unanswered(&server.refusal().await, name);
            }
            std::fs::remove_file(server.files.path().join(name)).unwrap();
            let error = server.refusal().await;
            assert!(matches!(error, TokenReviewError::File { .. }), "{error:?}");
            server.write(name, before);
        }
        assert!(server.requests().is_empty());
        assert!(server.caller(&token()).await.is_ok());
    });
}

#[test]
fn a_flood_of_tokens_is_not_a_flood_of_reviews() {
    run(async {
        let server = ApiServer::start(Reply::Late(Duration::from_millis(30))).await;
        let reviewer =
            server.reviewer().with_timeout(Duration::from_secs(20)).with_reviews_at_once(2);
        let reviews: Vec<_> = (0..12)
            .map(|_| {
                let reviewer = reviewer.clone();
                tokio::spawn(async move { reviewer.review(&token(), NOW).await.is_ok() })
            })
            .collect();
        for review in reviews {
            assert!(review.await.unwrap());
        }
        assert_eq!(server.requests().len(), 12);
        let most = server.state.most_at_once.load(Ordering::SeqCst);
        assert!((1..=2).contains(&most), "{most} at once");
    });
}

#[test]
fn without_a_runtime_there_is_an_error_and_no_panic() {
    let reviewer = TokenReviewer::in_cluster(
        Issuer::parse(ISSUER).unwrap(),
        Audience::any(["orders"]).unwrap(),
    );
    let token = token();
    let mut review = std::pin::pin!(reviewer.review(&token, NOW));
    let polled = review.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Err(TokenReviewError::NoRuntime))));
}

#[test]
fn an_api_server_is_asked_over_https_alone() {
    for url in ["http://localhost", "https://", "https://u@localhost", "https://localhost?a", ""] {
        let reviewer = TokenReviewer::new(
            url,
            "ca.crt",
            "token",
            Issuer::parse(ISSUER).unwrap(),
            Audience::any(["orders"]).unwrap(),
        );
        assert!(reviewer.is_err(), "{url:?}");
    }
}

/// The status of a request with this token, and whom its handler finds.
async fn over_http(layer: &AuthenticateLayer, token: &str) -> (u16, Option<String>) {
    let found = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&found);
    let service = layer.layer(service_fn(move |request: http::Request<()>| {
        let caller = request.extensions().get::<Caller>().map(|caller| caller.workload().id());
        *keep.lock().unwrap() = caller.map(ToString::to_string);
        async { Ok::<_, std::convert::Infallible>(http::Response::new("served")) }
    }));
    let from: std::net::SocketAddr = "10.0.0.7:40000".parse().unwrap();
    let request = http::Request::get("/orders/42").extension(from);
    let request = request.header("authorization", format!("Bearer {token}")).body(()).unwrap();
    let status = service.oneshot(request).await.unwrap().status().as_u16();
    let found = found.lock().unwrap().take();
    (status, found)
}

#[tokio::test]
async fn a_route_asks_the_api_server_about_each_token_and_fails_closed() {
    let server = ApiServer::start(created(&review())).await;
    let accounts = ServiceAccounts::reviewed(server.reviewer());
    let demand = Demand::WorkloadToken(WorkloadDemand::new(accounts));
    let layer = AuthenticateLayer::new(demand, Recording::Off).clock(ManualClock::at(NOW));
    let layer = layer.limits(Limits::default().rate(1, 4));
    let cart = Some(String::from("system:serviceaccount:shop:cart"));
    assert_eq!(over_http(&layer, &token()).await, (200, cart));
    let mut gone = review();
    gone["status"]["authenticated"] = json!(false);
    server.set(created(&gone));
    assert_eq!(over_http(&layer, &token()).await, (401, None));
    server.set(reply("500 Internal Server Error", "", ""));
    assert_eq!(over_http(&layer, &token()).await, (503, None));
    server.set(Reply::Silence);
    assert_eq!(over_http(&layer, &token()).await, (503, None), "it is given up in time");
    let asked = server.requests().len();
    assert_eq!(over_http(&layer, &token()).await, (503, None), "the source is too fast");
    assert_eq!(server.requests().len(), asked);
}
