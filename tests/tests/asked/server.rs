//! An HTTPS server that answers forms.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use zt_core::time::Timestamp;
use zt_identity::oidc::transport::Transport;

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
/// How long a busy machine may take for what has to happen; nothing waits for it to pass.
pub(crate) const SOON: Duration = Duration::from_secs(60);
/// Short enough for a test, long enough for a machine that is busy.
pub(crate) const SHORT: Duration = Duration::from_millis(700);

/// What the server answers, byte for byte.
#[derive(Clone)]
pub(crate) enum Reply {
    Bytes(Vec<u8>),
    /// Says nothing and keeps the connection open.
    Silence,
    /// One byte every 20 ms.
    Trickle(Vec<u8>),
    /// These bytes, after a while.
    Late(Duration, Vec<u8>),
}

pub(crate) fn bytes(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let len = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\n{headers}\r\n");
    [head.as_bytes(), body.as_bytes()].concat()
}

pub(crate) fn reply(status: &str, headers: &str, body: impl ToString) -> Reply {
    let headers = format!("Content-Type: application/json\r\n{headers}");
    Reply::Bytes(bytes(status, &headers, &body.to_string()))
}

pub(crate) fn json(body: impl ToString) -> Reply {
    reply("200 OK", "", body)
}

/// A form that was posted.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The request line and the headers, in lower case but for their values.
    pub(crate) head: String,
    fields: BTreeMap<String, Vec<String>>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The one value of this field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        match self.fields.get(name).map(Vec::as_slice) {
            Some([one]) => Some(one),
            Some(_) => panic!("{name} is there several times"),
            None => None,
        }
    }
}

type Handler = dyn Fn(&Asked) -> Reply + Send + Sync;

/// Runs until its runtime does.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) url: String,
    root: CertificateDer<'static>,
    handler: Arc<Mutex<Arc<Handler>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    pub(crate) async fn start(handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            url: format!("https://localhost:{}", listener.local_addr().unwrap().port()),
            root: cert.der().clone(),
            handler: Arc::new(Mutex::new(Arc::new(handler))),
            asked: Arc::default(),
        };
        let (acceptor, serving) = (TlsAcceptor::from(Arc::new(config)), server.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, server) = (acceptor.clone(), serving.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        server.answer(stream).await;
                    }
                });
            }
        });
        server
    }

    pub(crate) fn set(&self, handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) {
        *self.handler.lock().unwrap() = Arc::new(handler);
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Trusts this server alone.
    pub(crate) fn transport(&self) -> Transport {
        Transport::default().roots([self.root.clone()]).unwrap().timeout(SOON)
    }

    async fn answer(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let Some(asked) = read(&mut stream).await else { return };
        self.asked.lock().unwrap().push(asked.clone());
        let handler = Arc::clone(&self.handler.lock().unwrap());
        // The client may well have hung up.
        match handler(&asked) {
            Reply::Bytes(bytes) => _ = stream.write_all(&bytes).await,
            Reply::Silence => std::future::pending().await,
            Reply::Trickle(bytes) => {
                for byte in bytes {
                    if stream.write_u8(byte).await.is_err() || stream.flush().await.is_err() {
                        return;
                    }
                    sleep(Duration::from_millis(20)).await;
                }
            }
            Reply::Late(delay, bytes) => {
                sleep(delay).await;
                let _ = stream.write_all(&bytes).await;
            }
        }
        let _ = stream.shutdown().await;
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let lower = head.to_ascii_lowercase();
    let len = lower.split("content-length: ").nth(1)?.split("\r\n").next()?.parse().ok()?;
    let mut body = vec![0; len];
    stream.read_exact(&mut body).await.ok()?;
    assert!(lower.contains("content-type: application/x-www-form-urlencoded\r\n"), "{head}");
    let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for field in String::from_utf8(body).ok()?.split('&') {
        let (name, value) = field.split_once('=')?;
        fields.entry(unescape(name)).or_default().push(unescape(value));
    }
    Some(Asked { head, fields })
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            other => other,
        });
    }
    String::from_utf8(bytes).unwrap()
}

pub(crate) fn at(secs: u64) -> Timestamp {
    NOW.saturating_add(Duration::from_secs(secs))
}

pub(crate) fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}
