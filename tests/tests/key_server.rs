//! Keys fetched from servers that are slow, broken, hostile, or just change their keys.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use zt_core::fault::Fault;
use zt_core::time::{ManualClock, Timestamp};
use zt_identity::oidc::access_token::{AccessTokenError, AccessTokenVerifier};
use zt_identity::oidc::configuration::AuthenticationConfiguration;
use zt_identity::oidc::fetch::{ClientAnswer, FetchError, HttpClient};
use zt_identity::oidc::issuer::Issuer;
use zt_identity::oidc::keys::{IssuerKeys, KeysUnavailable};
use zt_identity::oidc::refresh::RefreshOptions;
use zt_tests::issuer::{AUDIENCE, SigningKey, claims, jwks};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
/// How long a busy machine may take for what has to happen; nothing waits for it to pass.
const SOON: Duration = Duration::from_secs(60);
/// How often something is to happen; it may be late.
const INTERVAL: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_secs(600);

/// What a server answers, byte for byte.
#[derive(Clone)]
enum Reply {
    Bytes(Vec<u8>),
    /// Says nothing and keeps the connection open.
    Silence,
    /// One byte of the document every 20 ms.
    Trickle(Vec<u8>),
}

fn reply(status: &str, headers: &str, body: &str) -> Reply {
    let len = body.len();
    Reply::Bytes(
        format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\n{headers}\r\n{body}").into_bytes(),
    )
}

fn document(body: &str) -> Reply {
    reply("200 OK", "Content-Type: application/json\r\n", body)
}

#[derive(Clone)]
struct KeyServer {
    url: String,
    state: Arc<State>,
}

struct State {
    discovery: Mutex<Reply>,
    keys: Mutex<Reply>,
    key_fetches: AtomicUsize,
}

impl KeyServer {
    async fn start(keys: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self::new(&format!("http://{}", listener.local_addr().unwrap()), keys);
        let serving = server.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serving.clone().answer(stream));
            }
        });
        server
    }

    fn new(url: &str, keys: Reply) -> Self {
        let discovery =
            json!({"issuer": url, "jwks_uri": format!("{url}/keys"), "scopes_supported": []});
        let state = State {
            discovery: Mutex::new(document(&discovery.to_string())),
            keys: Mutex::new(keys),
            key_fetches: AtomicUsize::new(0),
        };
        Self { url: url.to_owned(), state: Arc::new(state) }
    }

    async fn answer(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => request.push(byte),
                Err(_) => return,
            }
        }
        let reply = if request.starts_with(b"GET /keys ") {
            self.state.key_fetches.fetch_add(1, Ordering::SeqCst);
            self.state.keys.lock().unwrap().clone()
        } else {
            assert!(request.starts_with(b"GET /.well-known/openid-configuration "));
            self.state.discovery.lock().unwrap().clone()
        };
        // The client may well have hung up.
        match reply {
            Reply::Bytes(bytes) => _ = stream.write_all(&bytes).await,
            Reply::Silence => std::future::pending().await,
            Reply::Trickle(bytes) => {
                for byte in bytes {
                    if stream.write_u8(byte).await.is_err() {
                        return;
                    }
                    sleep(Duration::from_millis(20)).await;
                }
            }
        }
        let _ = stream.shutdown().await;
    }

    fn set_keys(&self, reply: Reply) {
        *self.state.keys.lock().unwrap() = reply;
    }

    fn set_discovery(&self, reply: Reply) {
        *self.state.discovery.lock().unwrap() = reply;
    }

    fn key_fetches(&self) -> usize {
        self.state.key_fetches.load(Ordering::SeqCst)
    }

    fn discover(&self, options: RefreshOptions) -> IssuerKeys {
        IssuerKeys::discover(Issuer::loopback(&self.url).unwrap(), options).unwrap()
    }

    fn token(&self, key: &SigningKey) -> String {
        key.sign(&claims(&self.url, NOW.as_secs() + 600))
    }

    fn verifier(&self, keys: &IssuerKeys) -> AccessTokenVerifier {
        AccessTokenVerifier::for_issuer(Issuer::loopback(&self.url).unwrap())
            .audience(AUDIENCE)
            .keys(keys.clone())
            .build()
            .unwrap()
    }
}

/// Options for a clock that stands still; keys stay fresh for the length of a test, and no answer
/// comes too late.
fn options() -> RefreshOptions {
    RefreshOptions::default().clock(ManualClock::at(NOW)).time_to_live(LONG).timeout(SOON)
}

async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Fetches once, and says why that failed.
async fn failure(server: &KeyServer) -> FetchError {
    failure_with(server, options()).await
}

async fn failure_with(server: &KeyServer, options: RefreshOptions) -> FetchError {
    let keys = server.discover(options);
    eventually("a failure", || keys.last_failure().is_some()).await;
    assert_eq!(keys.current(NOW).unwrap_err(), KeysUnavailable::NeverObtained);
    keys.last_failure().unwrap()
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

#[test]
fn tokens_verify_with_keys_that_were_fetched() {
    run(async {
        let key = SigningKey::es256("k1");
        let server = KeyServer::start(document(&jwks(&[&key]))).await;
        let keys = server.discover(options());
        keys.ready(SOON).await.unwrap();
        let token = server.verifier(&keys).verify(&server.token(&key), NOW).unwrap();
        assert_eq!(token.subject(), "alice");
    });
}

#[test]
fn while_there_are_no_keys_verification_says_so_and_keys_come_when_the_issuer_does() {
    run(async {
        let key = SigningKey::es256("k1");
        let server = KeyServer::start(reply("500 Oops", "", "")).await;
        let keys = server.discover(options());
        let error = server.verifier(&keys).verify(&server.token(&key), NOW).unwrap_err();
        assert_eq!(error, AccessTokenError::Keys(KeysUnavailable::NeverObtained));
        assert_eq!(error.fault(), Fault::Authority);
        assert!(keys.ready(Duration::from_millis(300)).await.is_err());
        eventually("a failure", || keys.last_failure().is_some()).await;
        assert!(matches!(keys.last_failure(), Some(FetchError::Status { status: 500 })));
        server.set_keys(document(&jwks(&[&key])));
        keys.ready(SOON).await.unwrap();
        assert!(keys.last_failure().is_none());
        assert!(server.verifier(&keys).verify(&server.token(&key), NOW).is_ok());
    });
}

#[test]
fn an_issuer_that_is_not_there_is_a_failure_and_no_panic() {
    run(async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        drop(listener);
        let server = KeyServer::new(&format!("http://{address}"), Reply::Silence);
        assert!(matches!(failure(&server).await, FetchError::Unreachable(_)));
    });
}

#[test]
fn a_server_that_is_slow_is_given_up() {
    run(async {
        let body = jwks(&[&SigningKey::es256("k1")]);
        let Reply::Bytes(slow) = document(&body) else { panic!("bytes") };
        for reply in [Reply::Silence, Reply::Trickle(slow)] {
            let server = KeyServer::start(reply).await;
            let failure = failure_with(&server, options().timeout(INTERVAL)).await;
            assert!(matches!(failure, FetchError::Timeout { .. }));
        }
    });
}

#[test]
fn a_document_that_is_too_long_is_refused_with_and_without_a_length() {
    run(async {
        let long = format!(r#"{{"keys":[],"x":"{}"}}"#, "x".repeat(256 * 1024));
        let unannounced =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{long}").into_bytes();
        for reply in [document(&long), Reply::Bytes(unannounced)] {
            let server = KeyServer::start(reply).await;
            assert!(matches!(failure(&server).await, FetchError::TooLong));
        }
    });
}

#[test]
fn a_document_of_another_type_is_refused() {
    run(async {
        let body = jwks(&[&SigningKey::es256("k1")]);
        for headers in ["", "Content-Type: text/html\r\n", "Content-Type: application/json5\r\n"] {
            let server = KeyServer::start(reply("200 OK", headers, &body)).await;
            assert!(matches!(failure(&server).await, FetchError::ContentType { .. }), "{headers}");
        }
        for headers in [
            "Content-Type: application/jwk-set+json\r\n",
            "Content-Type: Application/JSON; charset=utf-8\r\n",
        ] {
            let server = KeyServer::start(reply("200 OK", headers, &body)).await;
            server.discover(options()).ready(SOON).await.unwrap();
        }
    });
}

#[test]
fn a_redirect_is_not_followed() {
    run(async {
        let elsewhere = KeyServer::start(document(&jwks(&[&SigningKey::es256("k1")]))).await;
        let location = format!("Location: {}/keys\r\n", elsewhere.url);
        let server = KeyServer::start(reply("302 Found", &location, "")).await;
        assert!(matches!(failure(&server).await, FetchError::Status { status: 302 }));
        let location = format!("Location: {}/.well-known/openid-configuration\r\n", elsewhere.url);
        server.set_discovery(reply("307 Temporary Redirect", &location, ""));
        assert!(matches!(failure(&server).await, FetchError::Status { status: 307 }));
        assert_eq!(elsewhere.key_fetches(), 0);
    });
}

#[test]
fn the_discovery_document_of_another_issuer_is_refused() {
    run(async {
        let server = KeyServer::start(document(&jwks(&[&SigningKey::es256("k1")]))).await;
        let keys = format!("{}/keys", server.url);
        for issuer in [json!(format!("{}/", server.url)), json!("https://evil.example"), json!(1)] {
            let discovery = json!({"issuer": issuer, "jwks_uri": keys}).to_string();
            server.set_discovery(document(&discovery));
            assert!(matches!(failure(&server).await, FetchError::OtherIssuer { .. }), "{issuer}");
        }
        server.set_discovery(document(&json!({"jwks_uri": keys}).to_string()));
        assert!(matches!(failure(&server).await, FetchError::OtherIssuer { .. }));
        server.set_discovery(document("[]"));
        assert!(matches!(failure(&server).await, FetchError::Discovery(_)));
        assert_eq!(server.key_fetches(), 0);
    });
}

#[test]
fn keys_are_fetched_over_https_or_from_this_machine() {
    run(async {
        let server = KeyServer::start(document(&jwks(&[&SigningKey::es256("k1")]))).await;
        for url in [
            "http://keys.example/keys",
            "http://127.0.0.1.example/keys",
            "http://user@127.0.0.1/keys",
            "file:///etc/passwd",
            "https:///keys",
            "https://user@keys.example/keys",
            "",
        ] {
            let discovery = json!({"issuer": server.url, "jwks_uri": url}).to_string();
            server.set_discovery(document(&discovery));
            assert!(matches!(failure(&server).await, FetchError::KeysUrl { .. }), "{url}");
        }
        assert_eq!(server.key_fetches(), 0);
    });
}

#[test]
fn a_new_key_is_fetched_when_a_token_names_it_and_a_removed_one_stops_working() {
    run(async {
        let (old, new) = (SigningKey::es256("old"), SigningKey::es256("new"));
        let server = KeyServer::start(document(&jwks(&[&old]))).await;
        let keys = server.discover(options().unknown_key_interval(INTERVAL));
        keys.ready(SOON).await.unwrap();
        let verifier = server.verifier(&keys);
        server.set_keys(document(&jwks(&[&new])));
        let generation = keys.generation();
        assert!(verifier.verify(&server.token(&old), NOW).is_ok());
        let unknown = verifier.verify(&server.token(&new), NOW).unwrap_err();
        assert_eq!(unknown, AccessTokenError::UnknownKey { kid: "new".into() });
        let token = server.token(&new);
        eventually("the new key", || verifier.verify(&token, NOW).is_ok()).await;
        eventually("its generation", || keys.generation() == generation + 1).await;
        assert!(verifier.verify(&server.token(&old), NOW).is_err());
    });
}

#[test]
fn a_flood_of_unknown_keys_causes_one_fetch_for_each_interval_and_delays_nobody() {
    run(async {
        let known = SigningKey::es256("known");
        let server = KeyServer::start(document(&jwks(&[&known]))).await;
        let keys = server.discover(options().unknown_key_interval(INTERVAL));
        let begun = Instant::now();
        keys.ready(SOON).await.unwrap();
        let verifier = server.verifier(&keys);
        let good = server.token(&known);
        while begun.elapsed() < 3 * INTERVAL {
            for n in 0..20 {
                let token = server.token(&SigningKey::eddsa(&format!("unknown{n}")));
                assert!(verifier.verify(&token, NOW).is_err());
            }
            assert!(verifier.verify(&good, NOW).is_ok());
            sleep(Duration::from_millis(5)).await;
        }
        eventually("a fetch for unknown keys", || server.key_fetches() >= 2).await;
        let fetches = server.key_fetches();
        let intervals = begun.elapsed().div_duration_f64(INTERVAL).ceil() as usize;
        assert!(fetches <= intervals + 1, "{fetches} fetches in {intervals}");
        assert_eq!(keys.generation(), 2, "the same keys are no new generation");
    });
}

#[test]
fn unknown_keys_do_not_hurry_a_server_that_fails() {
    run(async {
        let known = SigningKey::es256("known");
        let server = KeyServer::start(document(&jwks(&[&known]))).await;
        let keys = server.discover(options().unknown_key_interval(Duration::from_millis(50)));
        keys.ready(SOON).await.unwrap();
        server.set_keys(reply("500 Oops", "", ""));
        let verifier = server.verifier(&keys);
        let unknown = server.token(&SigningKey::eddsa("unknown"));
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(2500) {
            assert!(verifier.verify(&unknown, NOW).is_err());
            assert!(verifier.verify(&server.token(&known), NOW).is_ok());
            sleep(Duration::from_millis(10)).await;
        }
        eventually("a fetch for the unknown key", || server.key_fetches() >= 2).await;
        let fetches = server.key_fetches();
        // The first, one that was asked for, and one after each wait: 1 s, 2 s, 4 s.
        let elapsed = begun.elapsed().as_secs();
        let waits = [1, 3, 7, 15, 31, 61].iter().filter(|end| **end <= elapsed).count();
        assert!(fetches <= 2 + waits, "{fetches} fetches in {elapsed} s");
    });
}

#[test]
fn a_bad_signature_under_a_known_key_fetches_nothing() {
    run(async {
        let (ours, theirs) = (SigningKey::es256("k"), SigningKey::es256("k"));
        let server = KeyServer::start(document(&jwks(&[&ours]))).await;
        let keys = server.discover(options().unknown_key_interval(Duration::from_millis(50)));
        keys.ready(SOON).await.unwrap();
        for _ in 0..20 {
            assert!(server.verifier(&keys).verify(&server.token(&theirs), NOW).is_err());
            sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(server.key_fetches(), 1);
    });
}

#[test]
fn keys_that_cannot_be_refreshed_count_for_a_while_and_then_no_longer() {
    run(async {
        let key = SigningKey::es256("k1");
        let server = KeyServer::start(document(&jwks(&[&key]))).await;
        let clock = ManualClock::at(NOW);
        let stale = Duration::from_secs(100);
        let keys = server.discover(
            RefreshOptions::default()
                .clock(clock.clone())
                .time_to_live(INTERVAL)
                .stale_if_error(stale),
        );
        keys.ready(SOON).await.unwrap();
        for broken in [document(r#"{"keys":{}}"#), reply("503 No", "", "")] {
            server.set_keys(broken);
            let before = server.key_fetches();
            eventually("another fetch", || server.key_fetches() > before).await;
            eventually("a failure", || keys.last_failure().is_some()).await;
        }
        let verify = |now| server.verifier(&keys).verify(&server.token(&key), now);
        assert!(verify(NOW.saturating_add(stale)).is_ok());
        let later = NOW.saturating_add(stale + INTERVAL + Duration::from_micros(1));
        let error = verify(later).unwrap_err();
        assert!(matches!(error, AccessTokenError::Keys(KeysUnavailable::Stale { .. })));
        assert_eq!(error.fault(), Fault::Authority);
        clock.set(later);
        server.set_keys(document(&jwks(&[&key])));
        eventually("fresh keys", || verify(later).is_ok()).await;
    });
}

#[test]
fn keys_are_refreshed_before_their_time_is_over() {
    run(async {
        let server = KeyServer::start(document(&jwks(&[&SigningKey::es256("k1")]))).await;
        let keys = server.discover(options().time_to_live(INTERVAL));
        keys.ready(SOON).await.unwrap();
        eventually("a second and a third fetch", || server.key_fetches() >= 3).await;
        assert_eq!(keys.generation(), 2);
    });
}

#[test]
fn keys_that_rotate_at_every_fetch_are_followed() {
    run(async {
        let key = |n: usize| SigningKey::es256(&format!("k{n}"));
        let mut current = key(0);
        let server = KeyServer::start(document(&jwks(&[&current]))).await;
        let keys = server.discover(options().unknown_key_interval(Duration::from_millis(50)));
        keys.ready(SOON).await.unwrap();
        let verifier = server.verifier(&keys);
        for n in 1..6 {
            let (generation, last) = (keys.generation(), current);
            current = key(n);
            server.set_keys(document(&jwks(&[&current])));
            let token = server.token(&current);
            eventually("the next key", || verifier.verify(&token, NOW).is_ok()).await;
            eventually("its generation", || keys.generation() > generation).await;
            let gone = verifier.verify(&server.token(&last), NOW).unwrap_err();
            assert_eq!(gone.reason(), "token_key_unknown");
        }
    });
}

#[test]
fn a_server_that_is_up_and_down_by_turns_interrupts_nobody() {
    run(async {
        let key = SigningKey::es256("k1");
        let up = document(&jwks(&[&key]));
        let server = KeyServer::start(up.clone()).await;
        let keys = server.discover(options().time_to_live(Duration::from_millis(100)));
        keys.ready(SOON).await.unwrap();
        let (verifier, token) = (server.verifier(&keys), server.token(&key));
        for _ in 0..2 {
            server.set_keys(reply("503 No", "", ""));
            eventually("a failure", || keys.last_failure().is_some()).await;
            assert!(verifier.verify(&token, NOW).is_ok());
            server.set_keys(up.clone());
            eventually("a success", || keys.last_failure().is_none()).await;
            assert!(verifier.verify(&token, NOW).is_ok());
        }
        assert_eq!(keys.generation(), 2);
    });
}

#[test]
fn a_server_that_is_down_for_an_hour_takes_nobody_with_it_and_then_everybody() {
    run(async {
        let key = SigningKey::es256("k1");
        let server = KeyServer::start(document(&jwks(&[&key]))).await;
        let clock = ManualClock::at(NOW);
        let keys = server.discover(RefreshOptions::default().clock(clock).timeout(SOON));
        keys.ready(SOON).await.unwrap();
        server.set_keys(reply("503 No", "", ""));
        let mut claims = claims(&server.url, NOW.as_secs() + 7200);
        claims["iat"] = NOW.as_secs().into();
        let token = key.sign(&claims);
        let verifier = server.verifier(&keys);
        let after = |minutes: u64| NOW.saturating_add(Duration::from_secs(60 * minutes));
        assert!(verifier.verify(&token, after(60)).is_ok());
        assert!(verifier.verify(&token, after(70)).is_ok());
        let error = verifier.verify(&token, after(71)).unwrap_err();
        assert!(matches!(error, AccessTokenError::Keys(KeysUnavailable::Stale { .. })));
        assert_eq!(error.fault(), Fault::Authority);
    });
}

/// Answers from memory, as the client of a service might through its proxy.
#[derive(Debug)]
struct OwnClient {
    documents: Vec<(String, String)>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl HttpClient for OwnClient {
    fn send(&self, request: http::Request<axum::body::Bytes>) -> ClientAnswer<'_> {
        let url = request.uri().to_string();
        self.asked.lock().unwrap().push(url.clone());
        let found = self.documents.iter().find(|(known, _)| *known == url);
        let body = found.map(|(_, body)| body.clone());
        Box::pin(async move {
            let body = body.ok_or("no such document")?;
            let answer = http::Response::builder().header("content-type", "application/json");
            Ok(answer.body(body.into())?)
        })
    }
}

#[test]
fn keys_are_fetched_by_a_client_of_ones_own_and_held_to_the_same_rules() {
    run(async {
        let issuer = "https://login.example.com";
        let key = SigningKey::es256("k1");
        let discovery = json!({"issuer": issuer, "jwks_uri": "https://keys.example.com/"});
        let client = |keys: String| OwnClient {
            documents: vec![
                (format!("{issuer}/.well-known/openid-configuration"), discovery.to_string()),
                ("https://keys.example.com/".into(), keys),
            ],
            asked: Arc::default(),
        };
        let discover = |client: OwnClient| {
            let issuer = Issuer::parse(issuer).unwrap();
            IssuerKeys::discover(issuer, options().client(client)).unwrap()
        };
        let good = client(jwks(&[&key]));
        let asked = Arc::clone(&good.asked);
        let keys = discover(good);
        keys.ready(SOON).await.unwrap();
        assert!(keys.current(NOW).unwrap().key("k1").is_some());
        assert_eq!(asked.lock().unwrap().len(), 2);
        let keys = discover(client(format!(r#"{{"keys":[],"x":"{}"}}"#, "x".repeat(256 * 1024))));
        eventually("a failure", || keys.last_failure().is_some()).await;
        assert!(matches!(keys.last_failure(), Some(FetchError::TooLong)));
    });
}

#[test]
fn the_discovery_document_may_be_elsewhere_and_is_still_that_of_the_issuer() {
    run(async {
        let key = SigningKey::es256("k1");
        let server = KeyServer::start(document(&jwks(&[&key]))).await;
        let url = format!("{}/.well-known/openid-configuration", server.url);
        let issuer = || Issuer::loopback("http://localhost:1/issuer").unwrap();
        let keys = IssuerKeys::discover(issuer(), options().discovery_url(&url)).unwrap();
        eventually("a failure", || keys.last_failure().is_some()).await;
        assert!(matches!(keys.last_failure(), Some(FetchError::OtherIssuer { .. })));
        let named =
            json!({"issuer": issuer().as_str(), "jwks_uri": format!("{}/keys", server.url)});
        server.set_discovery(document(&named.to_string()));
        keys.ready(SOON).await.unwrap();
        for refused in ["http://keys.example/", "ftp://localhost/", ""] {
            let options = options().discovery_url(refused);
            assert!(IssuerKeys::discover(issuer(), options).is_err(), "{refused}");
        }
    });
}

#[test]
fn an_issuer_that_publishes_no_key_any_more_vouches_for_nobody() {
    run(async {
        let key = SigningKey::es256("k1");
        let server = KeyServer::start(document(&jwks(&[&key]))).await;
        let keys = server.discover(options().time_to_live(INTERVAL));
        keys.ready(SOON).await.unwrap();
        server.set_keys(document(r#"{"keys":[]}"#));
        eventually("no key", || keys.current(NOW).is_err()).await;
        let error = server.verifier(&keys).verify(&server.token(&key), NOW).unwrap_err();
        assert_eq!(error, AccessTokenError::Keys(KeysUnavailable::NoUsableKey));
    });
}

#[test]
fn dropping_the_last_handle_ends_the_refresh() {
    run(async {
        let server = KeyServer::start(document(&jwks(&[&SigningKey::es256("k1")]))).await;
        let keys = server.discover(options().time_to_live(Duration::from_millis(100)));
        let verifier = server.verifier(&keys);
        keys.ready(SOON).await.unwrap();
        drop(keys);
        let before = server.key_fetches();
        eventually("a refresh for the verifier", || server.key_fetches() > before + 1).await;
        drop(verifier);
        // One fetch may be on its way, and no more.
        let dropped = server.key_fetches();
        sleep(Duration::from_millis(600)).await;
        assert!(server.key_fetches() <= dropped + 1);
    });
}

#[test]
fn without_a_runtime_there_is_an_error_and_no_panic() {
    let issuer = Issuer::parse("https://login.example.com").unwrap();
    assert!(IssuerKeys::discover(issuer, options()).is_err());
}

mod tls {
    use std::sync::Arc;

    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use rustls::crypto::ring;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ClientConfig, RootCertStore, ServerConfig};
    use tokio_rustls::TlsAcceptor;

    use super::*;

    async fn start(name: &str, keys: &SigningKey) -> (KeyServer, RootCertStore) {
        let (server, roots, _) = start_with_pem(name, keys).await;
        (server, roots)
    }

    async fn start_with_pem(name: &str, keys: &SigningKey) -> (KeyServer, RootCertStore, String) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed([name.to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = KeyServer::new(&format!("https://localhost:{port}"), document(&jwks(&[keys])));
        let serving = server.clone();
        tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::new(config));
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (serving, acceptor) = (serving.clone(), acceptor.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serving.answer(stream).await;
                    }
                });
            }
        });
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        (server, roots, cert.pem())
    }

    fn trusting(roots: RootCertStore) -> ClientConfig {
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    fn discover(server: &KeyServer, options: RefreshOptions) -> IssuerKeys {
        IssuerKeys::discover(Issuer::parse(&server.url).unwrap(), options).unwrap()
    }

    #[test]
    fn keys_are_fetched_from_a_server_that_proves_its_name() {
        run(async {
            let (server, roots) = start("localhost", &SigningKey::es256("k1")).await;
            // A configuration that was made for something else names protocols.
            let mut config = trusting(roots);
            config.alpn_protocols = vec![b"h2".to_vec()];
            discover(&server, options().tls(config)).ready(SOON).await.unwrap();
        });
    }

    /// As it would be in a service: a file, and the authority that it names.
    #[test]
    fn configured_issuers_are_fetched_from_the_servers_that_their_authority_vouches_for() {
        run(async {
            let key = SigningKey::es256("k1");
            let (trusted, _, pem) = start_with_pem("localhost", &key).await;
            let (other, _) = start("localhost", &key).await;
            let issuer = |url: &str, prefix: &str| {
                format!(
                    "- issuer:\n    url: {url}\n    audiences: [{AUDIENCE}]\n    \
                     certificateAuthority: |\n      {}\n  claimMappings:\n    \
                     username: {{claim: sub, prefix: '{prefix}'}}\n",
                    pem.trim().replace('\n', "\n      ")
                )
            };
            let text = format!(
                "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n\
                 jwt:\n{}{}",
                issuer(&trusted.url, "a:"),
                issuer(&other.url, "b:")
            );
            let configuration = AuthenticationConfiguration::from_yaml(&text).unwrap();
            let issuers = configuration.discover(&options(), ManualClock::at(NOW)).unwrap();
            issuers.verifier(&trusted.url).unwrap().keys().ready(SOON).await.unwrap();
            let token = issuers.verify(&trusted.token(&key), NOW).unwrap();
            assert_eq!(token.subject(), "a:alice");
            let keys = issuers.verifier(&other.url).unwrap().keys();
            eventually("a failure", || keys.last_failure().is_some()).await;
            let error = issuers.verify(&other.token(&key), NOW).unwrap_err();
            assert_eq!(error.fault(), Fault::Authority);
            assert_eq!(other.key_fetches(), 0);
        });
    }

    #[test]
    fn roots_that_are_none_authenticate_nobody() {
        assert!(options().roots([]).is_err());
        assert!(options().roots([rustls::pki_types::CertificateDer::from(&b"no"[..])]).is_err());
    }

    #[test]
    fn nothing_is_fetched_from_a_server_that_does_not() {
        run(async {
            let (other_name, roots) = start("other.example", &SigningKey::es256("k1")).await;
            let (untrusted, _) = start("localhost", &SigningKey::es256("k1")).await;
            for (server, options) in [
                (&other_name, options().tls(trusting(roots.clone()))),
                (&untrusted, options().tls(trusting(roots))),
                (&untrusted, options()),
            ] {
                let keys = discover(server, options);
                eventually("a failure", || keys.last_failure().is_some()).await;
                assert!(matches!(keys.last_failure(), Some(FetchError::Unreachable(_))));
                assert_eq!(server.key_fetches(), 0);
            }
        });
    }
}
