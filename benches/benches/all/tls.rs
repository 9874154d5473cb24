//! Handshakes in memory, both ends, beside rustls on its own.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, DigitallySignedStruct, Error, RootCertStore,
    ServerConfig, ServerConnection, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use spiffe_rustls::{authorizer, mtls_client, mtls_server};
use zt_benches::Scenario;
use zt_identity::authority::Authority;
use zt_identity::bundle::BundleSet;
use zt_identity::matcher::Authorizer;
use zt_identity::revocation::RevocationList;
use zt_identity::source::X509Source;
use zt_identity::x509_identity::X509Identity;
use zt_interop::workload_api::WorkloadApi;
use zt_tls::{Acceptor, Connector, provider};

use crate::identity::authority;

pub fn scenarios() -> Vec<Scenario> {
    let aws_lc = provider::aws_lc_rs;
    vec![
        full_with_ring("tls/full-p256-depth1", &Kind::P256),
        full_with_ring("tls/full-p256-depth2", &Kind::ThroughIntermediate),
        full_with_ring("tls/full-ed25519-depth1", &Kind::Ed25519),
        full("tls/full-p256-depth1-aws-lc", &Kind::P256, aws_lc()),
        full("tls/full-p256-depth2-aws-lc", &Kind::ThroughIntermediate, aws_lc()),
        full("tls/full-ed25519-depth1-aws-lc", &Kind::Ed25519, aws_lc()),
        full_with_crl(),
        accept(),
        rotate(),
        junk_chain(),
        loopback_rate(),
    ]
}

enum Kind {
    P256,
    ThroughIntermediate,
    Ed25519,
}

/// One identity for both ends.
fn identity(authority: &Authority, kind: &Kind) -> X509Identity {
    let request = authority.request("/ns/shop/sa/cart");
    let request = match kind {
        Kind::P256 => request,
        Kind::ThroughIntermediate => request.through_intermediate(),
        Kind::Ed25519 => request.ed25519(),
    };
    request.identity().unwrap()
}

fn full(name: &'static str, kind: &Kind, provider: Arc<CryptoProvider>) -> Scenario {
    let authority = authority();
    let identity = identity(&authority, kind);
    let bundles = BundleSet::new().with(authority.bundle());
    let ours = Ends::ours(&X509Source::new(identity.clone(), bundles), provider.clone());
    let plain = Ends::plain(&authority, &identity, provider, Vec::new());
    Scenario::new(name, move || ours.handshake()).peer("rustls-plain", move || plain.handshake())
}

/// The same with `ring` beside the crate that does what ours does, which has nothing else.
fn full_with_ring(name: &'static str, kind: &Kind) -> Scenario {
    let authority = authority();
    let spiffe_rustls = Ends::spiffe_rustls(&authority, &identity(&authority, kind));
    full(name, kind, provider::ring()).peer("spiffe-rustls", move || spiffe_rustls.handshake())
}

/// A list of 100,000 certificates, none of them ours, beside no list, and beside rustls, which
/// verifies the list again for each handshake.
fn full_with_crl() -> Scenario {
    let authority = authority();
    let identity = identity(&authority, &Kind::P256);
    let serials = (0_u32..100_000).map(|serial| {
        let mut bytes = vec![0x40];
        bytes.extend(serial.to_be_bytes());
        bytes
    });
    let der = authority.crl().revoking_serials(serials).der().unwrap();
    let bundles = BundleSet::new().with(authority.bundle());
    let without = X509Source::new(identity.clone(), bundles.clone());
    let list = RevocationList::from_der(&der).unwrap();
    assert_eq!(list.len(), 100_000);
    let with = X509Source::new(identity.clone(), bundles.with_revocation_list(list));
    let (with, without) =
        (Ends::ours(&with, provider::ring()), Ends::ours(&without, provider::ring()));
    let plain = Ends::plain(&authority, &identity, provider::ring(), vec![der.into()]);
    Scenario::new("tls/full-crl-100k", move || with.handshake())
        .peer("ours, no list", move || without.handshake())
        .peer("rustls-plain", move || plain.handshake())
}

/// Handshakes through `accept` and `connect`, which add the peer and its lease at both ends.
fn accept() -> Scenario {
    let authority = authority();
    let identity = identity(&authority, &Kind::P256);
    let source = X509Source::new(identity.clone(), BundleSet::new().with(authority.bundle()));
    let members = Authorizer::member_of(authority.trust_domain().clone());
    let acceptor = Acceptor::new(source.clone(), members.clone()).unwrap();
    let connector = Connector::new(source, members).unwrap();
    let plain = Ends::plain(&authority, &identity, provider::ring(), Vec::new());
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (ours, theirs) = (runtime(), runtime());
    let (server, client) = (
        tokio_rustls::TlsAcceptor::from(plain.server),
        tokio_rustls::TlsConnector::from(plain.client),
    );
    Scenario::new("tls/accept", move || {
        ours.block_on(async {
            let (near, far) = tokio::io::duplex(64 * 1024);
            let (near, far) = tokio::join!(acceptor.accept(near), connector.connect(host(), far));
            (near.unwrap(), far.unwrap())
        })
    })
    .peer("tokio-rustls", move || {
        theirs.block_on(async {
            let (near, far) = tokio::io::duplex(64 * 1024);
            let (near, far) = tokio::join!(server.accept(near), client.connect(host(), far));
            (near.unwrap(), far.unwrap())
        })
    })
}

/// A new identity and new bundles, until the next handshake has what it presents.
fn rotate() -> Scenario {
    let authority = authority();
    let bundles = BundleSet::new().with(authority.bundle());
    let identities = [identity(&authority, &Kind::P256), identity(&authority, &Kind::P256)];
    let source = X509Source::new(identities[0].clone(), bundles.clone());
    let client = Ends::ours(&source, provider::ring()).client;
    let mut turn = 0;
    Scenario::new("tls/rotate", move || {
        turn = 1 - turn;
        source.replace(identities[turn].clone(), bundles.clone());
        let presented = client.client_auth_cert_resolver.resolve(&[], &[]).unwrap();
        assert_eq!(presented.cert, identities[turn].chain());
        presented
    })
}

/// 64 KB of intermediates with one name, as a client sends them before it has proven anything.
fn junk_chain() -> Scenario {
    let authority = authority();
    let mut chain = self::authority().request("/cart").through_intermediate().issue().unwrap().0;
    chain.truncate(1);
    while chain.iter().map(|der| der.len()).sum::<usize>() < 64 * 1024 {
        let junk = authority.request("/cart").through_intermediate().issue().unwrap().0;
        chain.extend(junk.into_iter().skip(1));
    }
    let source = authority.source("/orders").unwrap();
    let members = Authorizer::member_of(authority.trust_domain().clone());
    let ours = Acceptor::new(source, members).unwrap().client_verifier().unwrap();
    let plain = client_verifier(&authority, provider::ring(), Vec::new());
    let refused = |verifier: &dyn ClientCertVerifier, chain: &[CertificateDer<'_>]| {
        let (leaf, others) = chain.split_first().unwrap();
        verifier.verify_client_cert(leaf, others, UnixTime::now()).unwrap_err()
    };
    let theirs = chain.clone();
    Scenario::new("tls/junk-chain-64k", move || refused(&*ours, &chain))
        .peer("rustls-plain", move || refused(&*plain, &theirs))
}

/// Handshakes over TCP on loopback, a thread at each end: a thousand million over the time is how
/// many there are in a second.
fn loopback_rate() -> Scenario {
    let authority = authority();
    let identity = identity(&authority, &Kind::P256);
    let source = X509Source::new(identity.clone(), BundleSet::new().with(authority.bundle()));
    let ours = Ends::ours(&source, provider::ring());
    let plain = Ends::plain(&authority, &identity, provider::ring(), Vec::new());
    let (at, plain_at) = (ours.listen(), plain.listen());
    Scenario::new("tls/loopback-rate", move || ours.visit(at))
        .peer("rustls-plain", move || plain.visit(plain_at))
}

fn host() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

struct Ends {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Ends {
    fn ours(source: &X509Source, provider: Arc<CryptoProvider>) -> Self {
        let domain = source.load().identity().unwrap().id().trust_domain().to_owned();
        let members = Authorizer::member_of(domain);
        let connector = Connector::builder(source.clone(), members.clone());
        let acceptor = Acceptor::builder(source.clone(), members).provider(provider.clone());
        Self {
            client: connector.provider(provider).build().unwrap().config(),
            server: acceptor.build().unwrap().config(),
        }
    }

    /// rustls with its own verifiers, without resumption as ours is.
    fn plain(
        authority: &Authority,
        identity: &X509Identity,
        provider: Arc<CryptoProvider>,
        crls: Vec<CertificateRevocationListDer<'static>>,
    ) -> Self {
        let clients = client_verifier(authority, provider.clone(), crls);
        let (chain, key) = (identity.chain().to_vec(), identity.key().expose());
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(chain.clone(), key.clone_key())
            .unwrap();
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        let mut client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Nameless {
                roots: roots(authority),
                provider,
            }))
            .with_client_auth_cert(chain, key.clone_key())
            .unwrap();
        client.resumption = Resumption::disabled();
        Self { client: Arc::new(client), server: Arc::new(server) }
    }

    /// Ends of `spiffe-rustls`, whose identity comes from a Workload API.
    fn spiffe_rustls(authority: &Authority, identity: &X509Identity) -> Self {
        // It keeps its source up to date from here.
        let runtime = Box::leak(Box::new(
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap(),
        ));
        let folder = tempfile::tempdir().unwrap();
        let (client, server) = runtime.block_on(async {
            let api = WorkloadApi::serve(folder.path(), identity, &authority.bundle());
            let source = spiffe::X509Source::builder().endpoint(api.endpoint());
            let source = source.build().await.unwrap();
            let domain = || authorizer::trust_domains(["example.org"]).unwrap();
            let client = mtls_client(source.clone()).authorize(domain()).build().unwrap();
            (client, mtls_server(source).authorize(domain()).build().unwrap())
        });
        Self { client: Arc::new(client), server: Arc::new(server) }
    }

    /// Serves handshakes from a thread of its own.
    fn listen(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let config = self.server.clone();
        std::thread::spawn(move || {
            for tcp in listener.incoming() {
                let mut tcp = tcp.unwrap();
                tcp.set_nodelay(true).unwrap();
                let mut server = ServerConnection::new(config.clone()).unwrap();
                while server.is_handshaking() && server.complete_io(&mut tcp).is_ok() {}
                assert!(server.peer_certificates().is_some());
                server.send_close_notify();
                let _ = server.complete_io(&mut tcp);
            }
        });
        address
    }

    /// One handshake with that thread, up to its farewell.
    fn visit(&self, address: SocketAddr) {
        let mut tcp = TcpStream::connect(address).unwrap();
        tcp.set_nodelay(true).unwrap();
        let mut client = ClientConnection::new(self.client.clone(), host()).unwrap();
        while client.is_handshaking() {
            client.complete_io(&mut tcp).unwrap();
        }
        while !client.process_new_packets().unwrap().peer_has_closed() {
            assert!(client.read_tls(&mut tcp).unwrap() > 0);
        }
    }

    fn handshake(&self) {
        let mut client = ClientConnection::new(self.client.clone(), host()).unwrap();
        let mut server = ServerConnection::new(self.server.clone()).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            send(&mut client, &mut server);
            send(&mut server, &mut client);
        }
        assert!(server.peer_certificates().is_some());
    }
}

fn send<A, B>(from: &mut ConnectionCommon<A>, to: &mut ConnectionCommon<B>) {
    let mut wire = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut wire).unwrap();
    }
    let mut wire = wire.as_slice();
    while !wire.is_empty() {
        to.read_tls(&mut wire).unwrap();
        to.process_new_packets().unwrap();
    }
}

fn client_verifier(
    authority: &Authority,
    provider: Arc<CryptoProvider>,
    crls: Vec<CertificateRevocationListDer<'static>>,
) -> Arc<dyn ClientCertVerifier> {
    let roots = roots(authority);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).with_crls(crls);
    verifier.allow_unknown_revocation_status().build().unwrap()
}

fn roots(authority: &Authority) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for root in authority.bundle().roots() {
        roots.add(root.certificate().clone()).unwrap();
    }
    Arc::new(roots)
}

/// rustls' own verifier of servers without the host's name, which an SVID does not have.
#[derive(Debug)]
struct Nameless {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Nameless {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _host: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let leaf = ParsedCertificate::try_from(leaf)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        let roots = &self.roots;
        verify_server_cert_signed_by_trust_anchor(&leaf, roots, intermediates, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        unreachable!("TLS 1.3 alone is offered")
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, leaf, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
