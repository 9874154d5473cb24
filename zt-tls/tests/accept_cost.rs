//! What `accept` and `connect` cost beyond the handshake of plain rustls.
#![cfg(all(feature = "tokio", feature = "ring"))]
#![expect(clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]

use std::future::Future;
use std::sync::Arc;

use allocation_counter::measure;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{DuplexStream, duplex};
use zt_core::spiffe::TrustDomain;
use zt_core::time::{Clock, SystemClock};
use zt_identity::authority::Authority;
use zt_identity::bundle::BundleSet;
use zt_identity::matcher::Authorizer;
use zt_identity::source::X509Source;
use zt_identity::x509_identity::X509Identity;
use zt_tls::{Acceptor, Connector, provider};

/// What both ends may allocate more, half of it each: the peer with its ID, its principal and its
/// leaf, and the lease, less what our verifier spares.
const MORE: u64 = 6;

fn host() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

/// How often both ends of a connection allocate, at the least: rows of leases grow now and then.
fn allocations<F, T>(connect: impl Fn(DuplexStream, DuplexStream) -> F) -> u64
where
    F: Future<Output = T>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let meet = || {
        let (near, far) = duplex(64 * 1024);
        let mut ends = None;
        let counted = measure(|| ends = Some(runtime.block_on(connect(near, far))));
        drop(ends);
        counted.count_total
    };
    (0..8).map(|_| meet()).min().unwrap()
}

fn ours(source: &X509Source, members: &Authorizer) -> u64 {
    let acceptor = Acceptor::new(source.clone(), members.clone()).unwrap();
    let connector = Connector::new(source.clone(), members.clone()).unwrap();
    allocations(|near, far| async {
        let (near, far) = tokio::join!(acceptor.accept(near), connector.connect(host(), far));
        (near.unwrap(), far.unwrap())
    })
}

/// rustls with its own verifiers, which resumes nothing either.
fn plain(authority: &Authority, identity: &X509Identity) -> u64 {
    let mut roots = RootCertStore::empty();
    for root in authority.bundle().roots() {
        roots.add(root.certificate().clone()).unwrap();
    }
    let roots = Arc::new(roots);
    let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider::ring());
    let key = || identity.key().expose().clone_key();
    let mut server = ServerConfig::builder_with_provider(provider::ring())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(identity.chain().to_vec(), key())
        .unwrap();
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    let mut client = ClientConfig::builder_with_provider(provider::ring())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Nameless(roots, provider::ring())))
        .with_client_auth_cert(identity.chain().to_vec(), key())
        .unwrap();
    client.resumption = Resumption::disabled();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    allocations(|near, far| async {
        let (near, far) = tokio::join!(acceptor.accept(near), connector.connect(host(), far));
        (near.unwrap(), far.unwrap())
    })
}

#[test]
fn an_end_allocates_three_times_more_than_plain_rustls_at_most() {
    let domain = TrustDomain::from_name("example.org").unwrap();
    let authority = Authority::new(domain.clone(), SystemClock.now()).unwrap();
    let members = Authorizer::member_of(domain);
    for request in [authority.request("/cart"), authority.request("/cart").through_intermediate()] {
        let identity = request.identity().unwrap();
        let source = X509Source::new(identity.clone(), BundleSet::new().with(authority.bundle()));
        let (ours, plain) = (ours(&source, &members), plain(&authority, &identity));
        let depth = identity.chain().len();
        let more = ours.saturating_sub(plain);
        assert!(more <= MORE, "at depth {depth}: {ours}, and {plain} for plain rustls");
    }
}

/// rustls' verifier of servers without the host's name, which an SVID does not have.
#[derive(Debug)]
struct Nameless(Arc<RootCertStore>, Arc<CryptoProvider>);

impl ServerCertVerifier for Nameless {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _host: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let leaf = ParsedCertificate::try_from(leaf)?;
        let algorithms = self.1.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&leaf, &self.0, intermediates, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls12NotOfferedOrEnabled.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.1.signature_verification_algorithms;
        verify_tls13_signature(message, leaf, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.1.signature_verification_algorithms.supported_schemes()
    }
}
