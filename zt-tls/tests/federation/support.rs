//! Two trust domains, and an endpoint that says what it is told to.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what a test needs and does not get is its failure"
)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use zt_core::spiffe::{SpiffeId, TrustDomain, TrustDomainRef};
use zt_core::time::{Clock, SystemClock};
use zt_identity::authority::Authority;
use zt_identity::bundle::{BundleSet, SpiffeBundle, X509Bundle};
use zt_identity::matcher::Authorizer;
use zt_identity::source::X509Source;
use zt_identity::x509_identity::X509Identity;
use zt_identity::x509_svid::X509SvidVerifier;
use zt_tls::connection::Refused;
use zt_tls::events::Event;
use zt_tls::federation::{
    EndpointUrl, Federation, FederationBuilder, FetchError, Profile, Relationship,
};

pub(crate) const LONG: Duration = Duration::from_secs(30);
pub(crate) const ENDPOINT: &str = "/endpoint";

pub(crate) fn domain(name: &str) -> TrustDomain {
    TrustDomain::from_name(name).unwrap()
}

pub(crate) fn authority(name: &str) -> Authority {
    Authority::new(domain(name), SystemClock.now()).unwrap()
}

pub(crate) fn document(authorities: &[&Authority], sequence: u64) -> SpiffeBundle {
    let domain = authorities[0].trust_domain().clone();
    let roots = authorities.iter().flat_map(|authority| authority.bundle().roots().to_vec());
    let roots = roots.map(|root| root.certificate().clone());
    let bundle = X509Bundle::from_der_certs(domain, roots, SystemClock.now()).unwrap();
    SpiffeBundle::of_roots(&bundle).with_sequence(sequence)
}

/// What an endpoint does with a request.
#[derive(Clone)]
pub(crate) enum Say {
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// These bytes, then no end, and no goodbye.
    Break(Vec<u8>),
    /// These bytes, then others for ever, one by one.
    Drip(Vec<u8>),
    /// Nothing.
    Nothing,
}

pub(crate) fn ok(body: impl AsRef<[u8]>) -> Say {
    answer("200 OK", "content-type: application/json\r\n", body)
}

pub(crate) fn answer(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Say {
    let body = body.as_ref();
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    Say::Bytes([head.as_bytes(), body].concat())
}

pub(crate) fn to(location: &str) -> Say {
    answer("302 Found", &format!("location: {location}\r\n"), "")
}

type Script = Box<dyn FnMut(&str) -> Say + Send>;

/// A server over TLS. It asks for a certificate and does without.
pub(crate) struct Endpoint {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    config: Mutex<Arc<ServerConfig>>,
    script: Mutex<Script>,
    connections: AtomicUsize,
    seen: Mutex<Vec<(String, bool)>>,
}

impl Endpoint {
    pub(crate) async fn start(
        config: Arc<ServerConfig>,
        script: impl FnMut(&str) -> Say + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            config: Mutex::new(config),
            script: Mutex::new(Box::new(script)),
            connections: AtomicUsize::new(0),
            seen: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        let ours = Arc::clone(&shared);
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                ours.connections.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&ours);
                open.spawn(async move { shared.answer(stream).await });
            }
        });
        Self { port, shared, _tasks: tasks }
    }

    /// One that always serves the same document.
    pub(crate) async fn serving(identity: &X509Identity, document: &SpiffeBundle) -> Self {
        let json = document.to_json();
        Self::start(svid_config(identity), move |_| ok(&json)).await
    }

    pub(crate) fn present(&self, config: Arc<ServerConfig>) {
        *self.shared.config.lock().unwrap() = config;
    }

    pub(crate) fn says(&self, script: impl FnMut(&str) -> Say + Send + 'static) {
        *self.shared.script.lock().unwrap() = Box::new(script);
    }

    pub(crate) fn serves(&self, document: &SpiffeBundle) {
        let json = document.to_json();
        self.says(move |_| ok(&json));
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The heads of all requests so far, and whether their clients presented a certificate.
    pub(crate) fn seen(&self) -> Vec<(String, bool)> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        let seen = self.seen();
        seen.iter().map(|(head, _)| head.split(' ').nth(1).unwrap().to_owned()).collect()
    }
}

impl Shared {
    async fn answer(&self, stream: TcpStream) {
        let acceptor = TlsAcceptor::from(Arc::clone(&*self.config.lock().unwrap()));
        let Ok(mut stream) = acceptor.accept(stream).await else { return };
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        let head = String::from_utf8(head).unwrap();
        let known = stream.get_ref().1.peer_certificates().is_some();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        self.seen.lock().unwrap().push((head, known));
        let say = (self.script.lock().unwrap())(&path);
        match say {
            Say::Bytes(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
            }
            Say::Break(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.flush().await;
            }
            Say::Drip(bytes) => {
                let _ = stream.write_all(&bytes).await;
                while stream.write_all(b" ").await.is_ok() && stream.flush().await.is_ok() {
                    sleep(Duration::from_millis(20)).await;
                }
            }
            Say::Nothing => sleep(LONG).await,
        }
    }
}

/// A server that presents this, whatever it is, and asks for a certificate that it does not need.
pub(crate) fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Arc<ServerConfig> {
    let provider = zt_tls::provider::ring();
    // Whoever is anyone's: the certificate of a client would be seen, and then refused.
    let source = authority("asks.test").source("/any").unwrap();
    let acceptor = zt_tls::Acceptor::builder(source, Authorizer::any_in_bundles())
        .optional_clients()
        .build()
        .unwrap();
    let verifier = acceptor.client_verifier().unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap();
    Arc::new(config)
}

pub(crate) fn svid_config(identity: &X509Identity) -> Arc<ServerConfig> {
    config(identity.chain().to_vec(), identity.key().expose().clone_key())
}

/// A certificate of the Web PKI for `localhost`, without a SPIFFE ID, that is its own root.
pub(crate) fn web() -> (CertificateDer<'static>, Arc<ServerConfig>) {
    web_for("localhost")
}

pub(crate) fn web_for(host: &str) -> (CertificateDer<'static>, Arc<ServerConfig>) {
    let own = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let root = own.cert.der().clone();
    (root.clone(), config(vec![root], key))
}

/// Us, and what was told of our fetches.
pub(crate) struct World {
    pub(crate) source: X509Source,
    pub(crate) federation: Federation,
    pub(crate) told: UnboundedReceiver<String>,
}

/// Short pauses, and as patient as a machine with much else to do needs.
pub(crate) fn world() -> World {
    world_with(|builder| builder)
}

pub(crate) fn world_with(set: impl FnOnce(FederationBuilder) -> FederationBuilder) -> World {
    world_of(authority("example.org").source("/orders").unwrap(), set)
}

pub(crate) fn world_of(
    source: X509Source,
    set: impl FnOnce(FederationBuilder) -> FederationBuilder,
) -> World {
    let (tell, told) = unbounded_channel();
    let observer = move |event: &Event<'_>| {
        let text = match event {
            Event::BundleFetched { trust_domain, sequence, changed } => {
                let what = if *changed { "new" } else { "same" };
                format!("{trust_domain} {what} {}", sequence.map_or(-1, i128::from))
            }
            Event::BundleFailed { trust_domain, error } => {
                format!("{trust_domain} failed: {error}")
            }
            Event::BundleGone { trust_domain, why } => format!("{trust_domain} gone: {why:?}"),
            Event::UpdateFailed { .. } | _ => "something else".to_owned(),
        };
        let _ = tell.send(text);
    };
    let builder = Federation::builder(source.clone()).observe(observer);
    World { source, federation: set(builder).build().unwrap(), told }
}

impl World {
    pub(crate) fn establish(&self, relationship: Relationship) {
        self.federation.establish(relationship).unwrap();
    }

    /// What is told next.
    pub(crate) async fn told(&mut self) -> String {
        timeout(LONG, self.told.recv()).await.unwrap().unwrap()
    }

    /// What is told after a fetch that is asked for.
    pub(crate) async fn refreshed(&mut self, name: &str) -> String {
        assert!(self.federation.refresh(domain(name).borrowed()));
        self.told().await
    }

    /// Why the last fetch of the one relationship failed.
    pub(crate) fn failure(&self) -> FetchError {
        self.federation.health()[0].failure.clone().unwrap().1
    }

    /// Why the endpoint's X509-SVID was refused.
    pub(crate) fn refused(&self) -> Refused {
        let failure = self.failure();
        failure.refused().unwrap_or_else(|| panic!("{failure:?}")).clone()
    }

    pub(crate) fn believes(&self, authority: &Authority) -> bool {
        let svid = authority.svid("/workload").unwrap();
        let material = self.source.load();
        X509SvidVerifier::new().verify(svid.chain(), material.bundles(), SystemClock.now()).is_ok()
    }

    pub(crate) fn knows(&self, trust_domain: TrustDomainRef<'_>) -> bool {
        self.source.load().bundles().get(trust_domain).is_some()
    }
}

/// A relationship with whom `partner` is, whose endpoint serves itself.
pub(crate) fn spiffe(partner: &Authority, endpoint: &Endpoint) -> Relationship {
    spiffe_at(partner, &endpoint.url("/bundle"))
}

pub(crate) fn spiffe_at(partner: &Authority, url: &str) -> Relationship {
    let profile = Profile::https_spiffe(id(partner, ENDPOINT), partner.bundle()).unwrap();
    relationship(partner.trust_domain(), url, profile)
}

pub(crate) fn relationship(
    trust_domain: &TrustDomain,
    url: &str,
    profile: Profile,
) -> Relationship {
    Relationship::new(trust_domain.clone(), EndpointUrl::parse(url).unwrap(), profile).unwrap()
}

pub(crate) fn id(authority: &Authority, path: &str) -> SpiffeId {
    SpiffeId::from_path(authority.trust_domain().borrowed(), path).unwrap()
}

pub(crate) fn bundles(of: impl IntoIterator<Item = X509Bundle>) -> BundleSet {
    of.into_iter().collect()
}

pub(crate) fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}
