//! `path/axum-load`: one axum service on mTLS without layers, with ours, and with what else there is.
//!
//! Each server is a process of its own (`servers/`); this one is the clients.

use std::cell::RefCell;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ring::digest::{SHA256, digest};
use rustls_pki_types::ServerName;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use zt_benches::{Load, Reference, Scenario, Side, Window};
use zt_core::time::{Clock, SystemClock};
use zt_identity::authority::Authority;
use zt_identity::matcher::Authorizer;
use zt_identity::source::X509Source;
use zt_tests::issuer::{SigningKey, base64url, claims, jwks};
use zt_tls::Connector;
use zt_tls::connection::ClientStream;

use crate::identity::authority;
use crate::token::{self, ISSUER};

/// Connections, each with one request at a time.
const CONNECTIONS: usize = 16;
/// Requests of one window, on all of them, of a server that answers them within a second or so.
const REQUESTS: usize = 48_000;
/// And of one that takes ten times as long, or more.
const REQUESTS_OF_SLOW: usize = 4_800;
/// Bytes of a record, or more.
const RECORD: usize = 700;
const SERVICE: &str = "/ns/shop/sa/orders";
const WEB: &str = "/ns/shop/sa/web";

pub fn scenarios() -> Vec<Scenario> {
    vec![Scenario::load("path/axum-load", load)]
}

fn load() -> Load {
    let stage = Rc::new(Stage::set());
    let side = |name, requests| {
        let server = Server::start(&stage, name, requests);
        Side::new(name, move || server.window())
    };
    Load {
        bare: side("bare-mtls", REQUESTS),
        ours: side("ours", REQUESTS),
        peer: side("by-hand", REQUESTS_OF_SLOW),
        limit: Duration::from_micros(3),
        reference: Reference {
            name: "ES256 by ring",
            there: Duration::from_nanos(37_800),
            here: Box::new(|| token::raw_es256(1_000)),
        },
    }
}

/// Who vouches for the servers and their clients.
struct Stage {
    folder: TempDir,
    clients: Authority,
    issuer: SigningKey,
    runtime: Runtime,
}

impl Stage {
    fn set() -> Self {
        let (clients, issuer) = (authority(), SigningKey::es256("2026-11"));
        let folder = tempfile::tempdir().unwrap();
        clients.write_to_folder(folder.path(), SERVICE).unwrap();
        std::fs::write(folder.path().join("jwks.json"), jwks(&[&issuer])).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { folder, clients, issuer, runtime }
    }

    /// Of a kilobyte, for this source's certificate.
    fn token(&self, source: &X509Source, role: &str) -> String {
        let now = SystemClock.now();
        let leaf = source.load().identity().unwrap().chain()[0].to_vec();
        let mut claims = claims(ISSUER, now.as_secs() + 3_000);
        claims["iat"] = now.as_secs().into();
        claims["roles"] = json!([role, "auditor"]);
        claims["groups"] = json!(["eu", "night-shift", "warehouse"]);
        claims["permissions"] = json!(["orders:read", "orders:write", "invoices:read"].repeat(6));
        claims["cnf"] = json!({ "x5t#S256": base64url(digest(&SHA256, &leaf).as_ref()) });
        self.issuer.sign(&claims)
    }
}

/// A server in a process of its own, and the connections to it.
struct Server {
    stage: Rc<Stage>,
    // Ends with its input.
    _process: Child,
    ask: RefCell<ChildStdin>,
    told: RefCell<BufReader<ChildStdout>>,
    connections: RefCell<Vec<Connection>>,
    requests: usize,
    records: Option<PathBuf>,
}

impl Server {
    fn start(stage: &Rc<Stage>, name: &'static str, requests: usize) -> Self {
        let folder = stage.folder.path();
        let mut process = Command::new(env!("CARGO_BIN_EXE_axum-load"))
            .arg(name)
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (ask, told) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let mut told = BufReader::new(told);
        let address = line(&mut told).parse().unwrap();
        check(stage, name, address);
        let source = stage.clients.source(WEB).unwrap();
        let request = request(&stage.token(&source, "clerk"));
        let connector = connector(stage, source);
        let connect = async {
            let mut all = Vec::new();
            for _ in 0..CONNECTIONS {
                all.push(Connection::open(&connector, address, request.clone()).await);
            }
            all
        };
        let connections = RefCell::new(stage.runtime.block_on(connect));
        let records = (name == "ours").then(|| folder.join("records.jsonl"));
        let (ask, told) = (RefCell::new(ask), RefCell::new(told));
        let stage = Rc::clone(stage);
        let server = Self { stage, _process: process, ask, told, connections, requests, records };
        // Warm.
        server.window();
        server
    }

    /// What its process has used so far, in nanoseconds.
    fn used(&self) -> f64 {
        self.ask.borrow_mut().write_all(b"\n").unwrap();
        line(&mut self.told.borrow_mut()).parse().unwrap()
    }

    /// Each request leaves a line; where it leaves none, there is none.
    fn recorded(&self) -> usize {
        let Some(records) = &self.records else { return 0 };
        let file = BufReader::new(File::open(records).unwrap());
        file.bytes().filter(|byte| matches!(byte, Ok(b'\n'))).count()
    }

    /// Just before the file grows again, and after it was as long once: memory that is free for longer a
    /// virtual machine gives back, and to get it again is no cost of a service that runs.
    fn forget_records(&self) {
        if let Some(records) = &self.records {
            let file = File::options().append(true).open(records).unwrap();
            file.set_len(0).unwrap();
            let some = vec![b'\n'; 256 * RECORD];
            for _ in 0..self.requests.div_ceil(256) {
                (&file).write_all(&some).unwrap();
            }
            file.set_len(0).unwrap();
        }
    }

    fn window(&self) -> Window {
        self.forget_records();
        let (used, began) = (self.used(), Instant::now());
        let connections = self.connections.take();
        let load = put_under_load(connections, self.requests);
        let (connections, mut took) = self.stage.runtime.block_on(load);
        let (lasted, used) = (began.elapsed(), self.used() - used);
        self.connections.replace(connections);
        assert_eq!(self.recorded(), if self.records.is_some() { self.requests } else { 0 });
        took.sort();
        let nanos = |at: usize| took[at].as_secs_f64() * 1e9;
        let requests = self.requests as f64;
        Window {
            cpu_ns: used / requests,
            rate: requests / lasted.as_secs_f64(),
            p50_ns: nanos(took.len() / 2),
            p99_ns: nanos(took.len() * 99 / 100),
        }
    }
}

/// A line that a server says.
fn line(told: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    line.trim().to_owned()
}

fn connector(stage: &Stage, source: X509Source) -> Connector {
    let service = stage.clients.svid(SERVICE).unwrap().id().clone();
    Connector::new(source, Authorizer::id(service)).unwrap()
}

fn request(token: &str) -> Vec<u8> {
    format!(
        "GET /orders/42 HTTP/1.1\r\nhost: orders.example.com\r\nuser-agent: axum-load\r\n\
         accept: application/json\r\nauthorization: Bearer {token}\r\n\r\n"
    )
    .into_bytes()
}

/// Where it is protected, the same request is refused of another workload, of a user without the role,
/// and with a token of another certificate.
fn check(stage: &Stage, name: &str, address: SocketAddr) {
    let [web, mailer, other] =
        [WEB, "/ns/mail/sa/mailer", WEB].map(|path| stage.clients.source(path).unwrap());
    let cases = [
        (&web, stage.token(&web, "clerk"), 200),
        (&web, stage.token(&web, "guest"), 403),
        (&mailer, stage.token(&mailer, "clerk"), 403),
        (&other, stage.token(&web, "clerk"), 401),
    ];
    for (source, token, expected) in cases {
        let expected = if name == "bare-mtls" { 200 } else { expected };
        let connector = connector(stage, source.clone());
        let status = stage.runtime.block_on(async {
            Connection::open(&connector, address, request(&token)).await.ask().await
        });
        assert_eq!(status, expected, "{name}");
    }
}

/// Each connection sends its share, one request after the other; how long each took.
async fn put_under_load(
    connections: Vec<Connection>,
    requests: usize,
) -> (Vec<Connection>, Vec<Duration>) {
    let each = requests / CONNECTIONS;
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|mut connection| {
            tokio::spawn(async move {
                let mut took = Vec::with_capacity(each);
                for _ in 0..each {
                    let began = Instant::now();
                    assert_eq!(connection.ask().await, 200);
                    took.push(began.elapsed());
                }
                (connection, took)
            })
        })
        .collect();
    // It never sleeps, so that no server pays for waking it.
    let awake = tokio::spawn(async {
        loop {
            tokio::task::yield_now().await;
        }
    });
    let (mut connections, mut all) = (Vec::new(), Vec::new());
    for task in tasks {
        let (connection, took) = task.await.unwrap();
        connections.push(connection);
        all.extend(took);
    }
    awake.abort();
    (connections, all)
}

/// A connection that is kept, and the request that it sends: a client that costs little.
struct Connection {
    stream: ClientStream<TcpStream>,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Connection {
    async fn open(connector: &Connector, address: SocketAddr, request: Vec<u8>) -> Self {
        let tcp = TcpStream::connect(address).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let host = ServerName::IpAddress(address.ip().into());
        let stream = connector.connect(host, tcp).await.unwrap();
        Self { stream, request, answer: Vec::new() }
    }

    /// The status of the answer, which is read to its end; that of an order is looked at.
    async fn ask(&mut self) -> u16 {
        self.stream.write_all(&self.request).await.unwrap();
        self.stream.flush().await.unwrap();
        self.answer.clear();
        loop {
            assert_ne!(self.stream.read_buf(&mut self.answer).await.unwrap(), 0);
            if let Some((head, body)) = whole(&self.answer) {
                let status = head.get(9..12).unwrap().parse().unwrap();
                assert!(status != 200 || body == b"order 42");
                return status;
            }
        }
    }
}

/// Head and body of an answer that is there to its end.
fn whole(answer: &[u8]) -> Option<(&str, &[u8])> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, body) = (str::from_utf8(&answer[..end]).unwrap(), &answer[end + 4..]);
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    (body.len() == length.parse::<usize>().unwrap()).then_some((head, body))
}
