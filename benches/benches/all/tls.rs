//! Handshakes in memory, both ends, beside rustls on its own.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, DigitallySignedStruct, Error, RootCertStore,
    ServerConfig, ServerConnection, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use zt_benches::Scenario;
use zt_identity::authority::Authority;
use zt_identity::bundle::BundleSet;
use zt_identity::matcher::Authorizer;
use zt_identity::source::X509Source;
use zt_identity::x509_identity::X509Identity;
use zt_tls::{Acceptor, Connector};

use crate::identity::authority;

pub fn scenarios() -> Vec<Scenario> {
    vec![full("tls/full-p256-depth1", 1), full("tls/full-p256-depth2", 2)]
}

/// One identity for both ends.
fn identity(authority: &Authority, depth: usize) -> X509Identity {
    let request = authority.request("/ns/shop/sa/cart");
    let request = if depth > 1 { request.through_intermediate() } else { request };
    request.identity().unwrap()
}

fn full(name: &'static str, depth: usize) -> Scenario {
    let authority = authority();
    let identity = identity(&authority, depth);
    let ours = ours(&authority, identity.clone());
    let rustls = rustls(&authority, &identity);
    Scenario::new(name, move || ours.handshake()).peer("rustls", move || rustls.handshake())
}

struct Ends {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Ends {
    fn handshake(&self) {
        let host = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(self.client.clone(), host).unwrap();
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

fn ours(authority: &Authority, identity: X509Identity) -> Ends {
    let source = X509Source::new(identity, BundleSet::new().with(authority.bundle()));
    let authorizer = Authorizer::member_of(authority.trust_domain().clone());
    Ends {
        client: Connector::new(source.clone(), authorizer.clone()).unwrap().config(),
        server: Acceptor::new(source, authorizer).unwrap().config(),
    }
}

/// rustls with its own verifiers, without resumption as ours is.
fn rustls(authority: &Authority, identity: &X509Identity) -> Ends {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    for root in authority.bundle().roots() {
        roots.add(root.certificate().clone()).unwrap();
    }
    let roots = Arc::new(roots);
    let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
    let (chain, key) = (identity.chain().to_vec(), identity.key().expose());
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(chain.clone(), key.clone_key())
        .unwrap();
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    let mut client = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Nameless { roots, provider }))
        .with_client_auth_cert(chain, key.clone_key())
        .unwrap();
    client.resumption = Resumption::disabled();
    Ends { client: Arc::new(client), server: Arc::new(server) }
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
