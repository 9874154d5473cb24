//! Our ends: servers and clients as a service has them, and ones on a rustls config of theirs that
//! was changed to do what ours do not.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use rustls_pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::rustls::client::ResolvesClientCert;
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, ServerConfig, SignatureScheme};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tower::service_fn;
use zt_core::spiffe::SpiffeId;
use zt_identity::bundle::BundleSet;
use zt_identity::matcher::Authorizer;
use zt_identity::source::X509Source;
use zt_identity::x509_identity::X509Identity;
use zt_interop::http::{Answer, Connection, who_calls};
use zt_tls::events::{Event, Reason};
use zt_tls::serve::Server;
use zt_tls::{Acceptor, Connector, provider};

use crate::peer::Outcome;
use crate::setup::Who;

/// How long one exchange may take.
const LIMIT: Duration = Duration::from_secs(20);
/// How long an event may take to be told after the peer knows.
const SOON: Duration = Duration::from_secs(2);

/// What became of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// There was an answer, and each end knew the other.
    Answered,
    /// Our end refused, for this.
    RefusedByOurs(Reason),
    /// The other end refused, or did not come about.
    RefusedByTheirs(String),
}

/// What our server has seen.
#[derive(Debug, Default)]
struct Log {
    leaves: Vec<Vec<u8>>,
    refused: Vec<Reason>,
    kinds: Vec<HandshakeKind>,
}

/// A server of ours.
pub struct OurServer {
    pub address: SocketAddr,
    log: Arc<Mutex<Log>>,
    task: JoinHandle<()>,
}

impl Drop for OurServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An acceptor that tells a log.
fn acceptor(source: &X509Source, admits: &[SpiffeId], log: &Arc<Mutex<Log>>) -> Acceptor {
    let log = Arc::clone(log);
    let note = move |event: &Event<'_>| {
        let mut log = log.lock().unwrap();
        match event {
            Event::Admitted { peer: Some(peer) } => log.leaves.push(peer.leaf().to_vec()),
            Event::Refused { reason, .. } => log.refused.push(*reason),
            _ => {}
        }
    };
    let authorizer = Authorizer::one_of(admits.iter().cloned());
    Acceptor::builder(source.clone(), authorizer).observe(note).build().expect("an acceptor")
}

impl OurServer {
    /// `zt_tls::serve`, as a service has it.
    pub async fn start(source: &X509Source, admits: &[SpiffeId]) -> Self {
        let (listener, address) = listen().await;
        let log = Arc::default();
        let server = Server::new(acceptor(source, admits, &log));
        let serve = server.serve(listener, service_fn(who_calls), std::future::pending());
        Self { address, log, task: tokio::spawn(serve.map(drop)) }
    }

    /// The same config on a loop of its own, which knows how each handshake was done.
    pub async fn on_config(
        source: &X509Source,
        admits: &[SpiffeId],
        change: impl FnOnce(&mut ServerConfig),
    ) -> Self {
        let log: Arc<Mutex<Log>> = Arc::default();
        let mut config = (*acceptor(source, admits, &log).config()).clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        change(&mut config);
        Self::on_any_config(config, log).await
    }

    /// A server on any config.
    pub async fn on_theirs(config: ServerConfig) -> Self {
        Self::on_any_config(config, Arc::default()).await
    }

    async fn on_any_config(config: ServerConfig, log: Arc<Mutex<Log>>) -> Self {
        let (listener, address) = listen().await;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let noted = Arc::clone(&log);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, log) = (acceptor.clone(), Arc::clone(&noted));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    log.lock().unwrap().kinds.extend(stream.get_ref().1.handshake_kind());
                    let service = hyper::service::service_fn(who_calls);
                    let http = hyper::server::conn::http1::Builder::new();
                    let io = hyper_util::rt::TokioIo::new(stream);
                    let _ = http.serve_connection(io, service).await;
                });
            }
        });
        Self { address, log, task }
    }

    /// Why it refused somebody last, if it did so itself.
    pub async fn refused(&self) -> Option<Reason> {
        let refused = || {
            let log = self.log.lock().unwrap();
            log.refused.iter().copied().rfind(|reason| is_ours(*reason))
        };
        let wait = async {
            while refused().is_none() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let _ = timeout(SOON, wait).await;
        refused()
    }

    /// The leaf of whom it admitted last.
    pub fn last_leaf(&self) -> Option<Vec<u8>> {
        self.log.lock().unwrap().leaves.last().cloned()
    }

    /// How the last handshake was done.
    pub fn last_kind(&self) -> Option<HandshakeKind> {
        self.log.lock().unwrap().kinds.last().copied()
    }
}

/// Whether we refused for this, and not the other end.
const fn is_ours(reason: Reason) -> bool {
    !matches!(reason, Reason::Protocol | Reason::Broken)
}

/// A client of ours.
pub struct OurClient {
    pub source: X509Source,
    pub connector: Connector,
}

/// An answer, and how it came.
pub struct Visit {
    pub answer: Answer,
    pub kind: Option<HandshakeKind>,
    pub leaf: Vec<u8>,
}

impl OurClient {
    pub fn new(own: &X509Identity, believes: BundleSet, admits: &[SpiffeId]) -> Self {
        let source = X509Source::new(own.clone(), believes);
        let authorizer = Authorizer::one_of(admits.iter().cloned());
        let connector = Connector::builder(source.clone(), authorizer).alpn(["http/1.1"]);
        Self { source, connector: connector.build().expect("a connector") }
    }

    /// One request on a connection of its own.
    pub async fn visit(&self, to: SocketAddr) -> Result<Visit, Seen> {
        let theirs = |error: String| Seen::RefusedByTheirs(error);
        let visit = async {
            let tcp = TcpStream::connect(to).await.map_err(|error| theirs(error.to_string()))?;
            let stream = self.connector.connect(host(), tcp).await.map_err(|error| {
                let reason = error.reason();
                if is_ours(reason) { Seen::RefusedByOurs(reason) } else { theirs(text(&error)) }
            })?;
            let leaf = stream.peer().leaf().to_vec();
            let answer = get(stream, "/").await.map_err(theirs)?;
            Ok(Visit { answer, kind: None, leaf })
        };
        timeout(LIMIT, visit).await.unwrap_or_else(|_| Err(theirs("it takes too long".into())))
    }

    /// Its config, changed.
    pub fn config(&self, change: impl FnOnce(&mut ClientConfig)) -> Arc<ClientConfig> {
        let mut config = (*self.connector.config()).clone();
        change(&mut config);
        Arc::new(config)
    }
}

/// One request on a connection of its own, with any config.
pub async fn visit(config: &Arc<ClientConfig>, to: SocketAddr) -> Outcome<Visit> {
    let visit = async {
        let tcp = TcpStream::connect(to).await.map_err(|error| error.to_string())?;
        let connector = TlsConnector::from(Arc::clone(config));
        let stream = connector.connect(host(), tcp).await.map_err(|error| text(&error))?;
        let (_, state) = stream.get_ref();
        let kind = state.handshake_kind();
        let leaf = state.peer_certificates().and_then(|chain| chain.first());
        let leaf = leaf.map(|leaf| leaf.to_vec()).unwrap_or_default();
        let answer = get(stream, "/").await?;
        Ok(Visit { answer, kind, leaf })
    };
    timeout(LIMIT, visit).await.unwrap_or_else(|_| Err("it takes too long".into()))
}

/// What presents this whoever asks, or nothing.
pub fn present_always(own: Option<&X509Identity>) -> Arc<Presents> {
    Arc::new(Presents(own.map(certified)))
}

/// The same at a server.
pub fn serve_always(own: &X509Identity) -> Arc<SingleCertAndKey> {
    Arc::new(SingleCertAndKey::from(certified(own)))
}

fn certified(own: &X509Identity) -> Arc<CertifiedKey> {
    let (chain, key) = (own.chain().to_vec(), own.key().expose().clone_key());
    Arc::new(CertifiedKey::from_der(chain, key, &provider::ring()).expect("a key"))
}

#[derive(Debug)]
pub struct Presents(Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for Presents {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

/// What an exchange of our client with a good server was.
pub async fn visit_as(us: Who, client: &OurClient, own: &X509Identity, to: SocketAddr) -> Seen {
    let presents = match us {
        // What ours does not do.
        Who::Nobody => present_always(None),
        Who::Expired => present_always(Some(own)),
        _ => return client.visit(to).await.map_or_else(|seen| seen, |visit| judge(&visit.answer)),
    };
    let config = client.config(|config| config.client_auth_cert_resolver = presents);
    match visit(&config, to).await {
        Ok(visit) => judge(&visit.answer),
        Err(error) => Seen::RefusedByTheirs(error),
    }
}

fn judge(answer: &Answer) -> Seen {
    if answer.status.is_success() {
        return Seen::Answered;
    }
    Seen::RefusedByTheirs(answer.status.to_string())
}

/// A request without TLS.
pub async fn plain_get(to: SocketAddr) -> Outcome<Answer> {
    plain_get_path(to, "/").await
}

pub async fn plain_get_path(to: SocketAddr, path: &str) -> Outcome<Answer> {
    let get = async {
        let tcp = TcpStream::connect(to).await.map_err(|error| error.to_string())?;
        get(tcp, path).await
    };
    timeout(LIMIT, get).await.unwrap_or_else(|_| Err("it takes too long".into()))
}

async fn get<IO>(stream: IO, path: &str) -> Outcome<Answer>
where
    IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let mut http = Connection::http1(stream).await.map_err(|error| text(&error))?;
    http.get(path).await.map_err(|error| text(&error))
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

fn host() -> ServerName<'static> {
    ServerName::try_from("localhost").expect("a name")
}

/// An error with its causes.
fn text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}
