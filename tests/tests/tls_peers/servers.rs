//! A client of ours calls nginx and openssl.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use tokio::runtime::Runtime;
use zt_core::peer::Peer;
use zt_core::verified::Verified;
use zt_identity::matcher::Authorizer;
use zt_identity::source::X509Source;
use zt_tests::nginx::{Nginx, free_port};
use zt_tests::peers::{SvidFiles, present};
use zt_tls::Connector;
use zt_tls::client::PeerConnector;

use crate::support::{Domain, SOON, Wrong, domain, flag, id};

/// What is asked of a server that is called `/store`.
const SERVERS: [Wrong; 5] =
    [Wrong::Nothing, Wrong::OtherDomain, Wrong::Expired, Wrong::Revoked, Wrong::NotMeant];

type Client =
    zt_tls::client::Leased<hyper_util::client::legacy::Client<PeerConnector, Empty<Bytes>>>;

fn client(source: X509Source) -> Client {
    let members = Authorizer::member_of(domain("example.org"));
    let connector = Connector::builder(source, members).recheck_every(Duration::from_millis(20));
    let store = Authorizer::id(id("/store"));
    PeerConnector::new(connector.build().unwrap()).server("localhost", store).client()
}

struct Answer {
    status: u16,
    text: String,
    leaf: Vec<u8>,
}

/// Asks, on a connection that is kept or a new one.
async fn ask(client: &Client, port: u16) -> Result<Answer, String> {
    let url = format!("https://localhost:{port}/");
    let request = Request::get(url).header("connection", "keep-alive").body(Empty::new()).unwrap();
    let answer = client.request(request).await.map_err(|error| causes(&error))?;
    let status = answer.status().as_u16();
    let leaf = answer.extensions().get::<Verified<Peer>>().unwrap().leaf().to_vec();
    let body = answer.into_body().collect().await.map_err(|error| causes(&error))?;
    let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    Ok(Answer { status, text, leaf })
}

fn causes(error: &dyn std::error::Error) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), |source| format!("{error}: {}", causes(source)))
}

/// A new client asks once.
fn ask_once(source: &X509Source, port: u16) -> Result<Answer, String> {
    Runtime::new().unwrap().block_on(ask(&client(source.clone()), port))
}

fn block(port: u16, own: &SvidFiles, domain: &Domain, more: &str) -> String {
    format!(
        "server {{ listen 127.0.0.1:{port} ssl;\n\
         ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.2 TLSv1.3;\n\
         ssl_session_cache shared:kept:1m; ssl_session_tickets on;\n\
         ssl_client_certificate {}; ssl_verify_client on; ssl_verify_depth 2; {more}\n\
         location / {{ return 200 \"$ssl_client_verify $ssl_session_reused $ssl_protocol\"; }} }}",
        own.cert.display(),
        own.key.display(),
        domain.bundle().display(),
    )
}

/// Why a server with this wrong is refused.
fn refusal(wrong: Wrong) -> &'static str {
    match wrong {
        Wrong::Nothing | Wrong::Missing => "",
        Wrong::OtherDomain => "NoBundle",
        Wrong::Expired => "Validity",
        Wrong::Revoked => "Revoked",
        Wrong::NotMeant => "may not answer",
    }
}

fn server_files(domain: &Domain, wrong: Wrong, told: &X509Source) -> SvidFiles {
    let identity = domain.identity("/store", wrong);
    if wrong == Wrong::Revoked {
        domain.revoke(&identity, told);
    }
    domain.files(&format!("store-{wrong:?}"), &identity)
}

#[test]
fn nginx_is_believed_with_a_certificate_that_is_good_and_with_no_other() {
    if !present(&[&["nginx", "-v"]]) {
        return;
    }
    let domain = Domain::new();
    let source = domain.source("/cart");
    for wrong in SERVERS {
        let own = server_files(&domain, wrong, &source);
        let port = free_port();
        let folder = domain.folder.path().join(format!("nginx-{wrong:?}"));
        let nginx = Nginx::start(&folder, &block(port, &own, &domain, ""), Some(port));
        // Twice, as nginx gives tickets.
        for _ in 0..2 {
            match ask_once(&source, port) {
                Ok(answer) if wrong == Wrong::Nothing => {
                    assert_eq!((answer.status, &*answer.text), (200, "SUCCESS . TLSv1.3"));
                }
                Err(error) => assert!(
                    wrong != Wrong::Nothing && error.contains(refusal(wrong)),
                    "{wrong:?}: {error}: {}",
                    nginx.log()
                ),
                Ok(answer) => panic!("{wrong:?}: {}", answer.text),
            }
        }
    }
}

#[test]
fn what_nginx_refuses_of_us_is_no_answer_of_its_service() {
    if !present(&[&["nginx", "-v"]]) {
        return;
    }
    let domain = Domain::new();
    let own = server_files(&domain, Wrong::Nothing, &domain.source("/cart"));
    let cart = domain.source("/cart");
    let list = domain.folder.path().join("list.pem");
    let revoking =
        domain.authority.crl().revoking(&cart.load().identity().unwrap().chain()[0]).unwrap();
    std::fs::write(&list, revoking.pem().unwrap()).unwrap();
    let port = free_port();
    let crl = format!("ssl_crl {};", list.display());
    let folder = domain.folder.path().join("nginx-crl");
    let nginx = Nginx::start(&folder, &block(port, &own, &domain, &crl), Some(port));
    let answer = ask_once(&cart, port).unwrap();
    assert_eq!(answer.status, 400, "{}: {}", answer.text, nginx.log());
    let answer = ask_once(&domain.source("/cart"), port).unwrap();
    assert_eq!(answer.status, 200, "{}: {}", answer.text, nginx.log());
}

#[test]
fn a_client_keeps_working_while_nginx_rotates_its_certificate() {
    if !present(&[&["nginx", "-v"]]) {
        return;
    }
    let domain = Domain::new();
    let source = domain.source("/cart");
    let first = domain.identity("/store", Wrong::Nothing);
    let own = domain.files("store", &first);
    let port = free_port();
    let folder = domain.folder.path().join("nginx");
    let nginx = Nginx::start(&folder, &block(port, &own, &domain, ""), Some(port));
    let runtime = Runtime::new().unwrap();
    let client = runtime.block_on(async { client(source.clone()) });
    // A worker that goes closes its connections as it likes, also one that it has just accepted: a GET
    // that meets that is sent once more (RFC 9110 §9.2.2).
    let ask = || {
        let met_the_end = |error: &String| error.contains("connection closed before");
        let mut answers = (0..10).map(|_| runtime.block_on(ask(&client, port)));
        let answer = answers.find(|answer| !answer.as_ref().is_err_and(met_the_end));
        answer.expect("nginx closes every connection").unwrap_or_else(|error| panic!("{error}"))
    };
    for _ in 0..3 {
        let mut before = ask();
        assert_eq!(before.status, 200, "{}", nginx.log());
        let next = domain.identity("/store", Wrong::Nothing);
        domain.files("store", &next);
        nginx.reload();
        let began = Instant::now();
        while before.leaf != next.chain()[0].as_ref() {
            assert!(began.elapsed() < SOON, "the old certificate is still in use");
            before = ask();
            assert_eq!(before.status, 200);
        }
    }
    // The first certificate comes back after it was revoked: it is not believed any more.
    domain.revoke(&first, &source);
    domain.files("store", &first);
    nginx.reload();
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < SOON, "a revoked certificate is believed");
        match runtime.block_on(self::ask(&client, port)) {
            Ok(answer) => assert_ne!(answer.leaf, first.chain()[0].as_ref()),
            Err(error) if error.contains(refusal(Wrong::Revoked)) => break,
            // A connection that the old workers closed.
            Err(_error) => {}
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// An `openssl s_server` that says in a page what it knows of a connection.
struct OpensslServer(Child);

impl OpensslServer {
    fn start(domain: &Domain, own: &SvidFiles, port: u16) -> Self {
        let mut openssl = Command::new("openssl");
        openssl.args(["s_server", "-quiet", "-www", "-Verify", "2", "-verify_return_error"]);
        openssl.args(["-accept", &format!("127.0.0.1:{port}")]);
        flag(&mut openssl, "-cert", &own.cert);
        flag(&mut openssl, "-key", &own.key);
        flag(&mut openssl, "-CAfile", &domain.bundle());
        let child =
            openssl.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let server = Self(child.unwrap());
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < SOON, "openssl does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        server
    }
}

impl Drop for OpensslServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn openssl_is_believed_with_a_certificate_that_is_good_and_with_no_other() {
    if !present(&[&["openssl", "version"]]) {
        return;
    }
    let domain = Domain::new();
    let source = domain.source("/cart");
    for wrong in SERVERS {
        let own = server_files(&domain, wrong, &source);
        let port = free_port();
        let _server = OpensslServer::start(&domain, &own, port);
        for _ in 0..2 {
            match ask_once(&source, port) {
                Ok(answer) if wrong == Wrong::Nothing => {
                    assert_eq!(answer.status, 200);
                    assert!(answer.text.contains("New, TLSv1.3"), "{}", answer.text);
                }
                Err(error) => {
                    assert!(wrong != Wrong::Nothing, "{error}");
                    assert!(error.contains(refusal(wrong)), "{wrong:?}: {error}");
                }
                Ok(answer) => panic!("{wrong:?}: {}", answer.text),
            }
        }
    }
}
