//! The chain of a peer is verified by the provider, as far as it is allowed.
#![expect(clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519, SanType, date_time_ymd,
};
use rustls::crypto::CryptoProvider;
use rustls::version::TLS13;
use rustls_pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, PrivateKeyDer,
    SignatureVerificationAlgorithm as Algorithm, alg_id,
};
use zt_core::time::ManualClock;
use zt_identity::authority::Authority;
use zt_identity::bundle::{BundleSet, X509Bundle};
use zt_identity::path::PathError;
use zt_identity::source::X509Source;
use zt_identity::x509_identity::X509Identity;
use zt_identity::x509_svid::X509SvidError;
use zt_tls::connection::{HandshakeError, Refused};
use zt_tls::{Acceptor, Connector, provider};

use crate::support::{NOW, SOON, World, domain, meet, meet_plain, members, plain, world};

/// `ring`, whose chains are verified by these alone. Handshakes are signed as before.
fn only(all: &[&'static dyn Algorithm]) -> Arc<CryptoProvider> {
    let mut provider = CryptoProvider::clone(&provider::ring());
    provider.signature_verification_algorithms.all = all.to_vec().leak();
    Arc::new(provider)
}

fn of_ring(key: AlgorithmIdentifier) -> &'static dyn Algorithm {
    let all = provider::ring().signature_verification_algorithms.all;
    *all.iter().find(|known| known.public_key_alg_id() == key).unwrap()
}

fn p256_only() -> Arc<CryptoProvider> {
    only(&[of_ring(alg_id::ECDSA_P256)])
}

/// A computation that is ours: it believes everything or asks `ring`, and counts.
#[derive(Debug)]
struct Ours {
    signature: AlgorithmIdentifier,
    believes: bool,
    asked: AtomicUsize,
}

impl Ours {
    const fn new(signature: AlgorithmIdentifier, believes: bool) -> Self {
        Self { signature, believes, asked: AtomicUsize::new(0) }
    }
}

impl Algorithm for Ours {
    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P256
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }

    fn verify_signature(&self, k: &[u8], m: &[u8], s: &[u8]) -> Result<(), InvalidSignature> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.believes { Ok(()) } else { of_ring(alg_id::ECDSA_P256).verify_signature(k, m, s) }
    }
}

/// A root with a key on Ed25519, and leaves of it on P-256.
struct Ed25519 {
    params: CertificateParams,
    key: KeyPair,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (date_time_ymd(2027, 1, 1), date_time_ymd(2027, 2, 1));
    params
}

impl Ed25519 {
    fn new() -> Self {
        let mut params = params("root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self { params, key: KeyPair::generate_for(&PKCS_ED25519).unwrap() }
    }

    fn source(&self, path: &str) -> X509Source {
        let mut leaf = params("leaf");
        let uri = format!("spiffe://example.org{path}");
        leaf.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let leaf = leaf.signed_by(&key, &Issuer::from_params(&self.params, &self.key)).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let identity = X509Identity::new(vec![leaf.into()], key).unwrap();
        let root = CertificateDer::from(self.params.self_signed(&self.key).unwrap());
        let bundle = X509Bundle::from_der_certs(domain("example.org"), [root], NOW).unwrap();
        X509Source::new(identity, BundleSet::new().with(bundle))
    }
}

type Outcome = Result<(), HandshakeError>;

/// What a server and a client with these providers make of each other.
async fn outcomes(
    [ours, theirs]: [&X509Source; 2],
    [server, client]: [Arc<CryptoProvider>; 2],
) -> (Outcome, Outcome) {
    let acceptor = Acceptor::builder(ours.clone(), members())
        .clock(ManualClock::at(NOW))
        .provider(server)
        .build()
        .unwrap();
    let connector = Connector::builder(theirs.clone(), members())
        .clock(ManualClock::at(NOW))
        .provider(client)
        .build()
        .unwrap();
    let (server, client) = meet(&acceptor, &connector).await;
    (server.map(drop), client.map(drop))
}

fn path_error(error: &HandshakeError) -> Option<PathError> {
    let Some(Refused::Svid(refused)) = error.refused() else { return None };
    if let X509SvidError::Path(error) = &**refused { Some(error.clone()) } else { None }
}

#[tokio::test]
async fn a_chain_of_an_algorithm_that_the_provider_lacks_is_refused_at_both_ends() {
    let root = Ed25519::new();
    let (ours, theirs) = (root.source("/orders"), root.source("/cart"));
    let ends = [&ours, &theirs];
    let (server, client) = outcomes(ends, [provider::ring(), provider::ring()]).await;
    assert!(server.is_ok() && client.is_ok(), "{server:?} {client:?}");
    let (server, _) = outcomes(ends, [p256_only(), provider::ring()]).await;
    assert_eq!(path_error(&server.unwrap_err()), Some(PathError::UnsupportedAlgorithm));
    let (_, client) = outcomes(ends, [provider::ring(), p256_only()]).await;
    assert_eq!(path_error(&client.unwrap_err()), Some(PathError::UnsupportedAlgorithm));

    let world = world();
    let ends = [&world.source, &world.authority.source("/cart").unwrap()];
    let (server, client) = outcomes(ends, [p256_only(), p256_only()]).await;
    assert!(server.is_ok() && client.is_ok(), "{server:?} {client:?}");
}

/// What a server with this provider makes of a client that presents this.
async fn outcome(
    world: &World,
    provider: Arc<CryptoProvider>,
    (chain, key): &(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
) -> Result<(), Option<PathError>> {
    let acceptor = world.acceptor().provider(provider).build().unwrap();
    let identity = Some((chain.clone(), key.clone_key()));
    let client = Arc::new(plain(provider::ring(), &[&TLS13], identity));
    meet_plain(&acceptor, client).await.map(drop).map_err(|error| path_error(&error))
}

/// The same certificate, which says that it is signed with ECDSA and SHA-512.
fn of_sha512(certificate: &CertificateDer<'_>) -> CertificateDer<'static> {
    let (is, says) = (alg_id::ECDSA_SHA256, alg_id::ECDSA_SHA512);
    let mut der = certificate.to_vec();
    for at in 0..der.len() {
        if der.get(at..).unwrap().starts_with(&is) {
            der.get_mut(at..).unwrap().split_at_mut(says.len()).0.copy_from_slice(&says);
        }
    }
    der.into()
}

#[tokio::test]
async fn a_provider_is_believed_in_what_is_accepted_and_asked_nothing_beyond() {
    static WITHIN: Ours = Ours::new(alg_id::ECDSA_SHA256, true);
    static BEYOND: Ours = Ours::new(alg_id::ECDSA_SHA512, true);
    let world = world();
    let forger = Authority::new(domain("example.org"), NOW).unwrap();
    let forged = forger.request("/cart").issue().unwrap();
    assert_eq!(
        outcome(&world, provider::ring(), &forged).await,
        Err(Some(PathError::BadSignature))
    );
    assert_eq!(outcome(&world, only(&[&WITHIN]), &forged).await, Ok(()));

    let (chain, key) = world.authority.request("/cart").issue().unwrap();
    let odd = (chain.iter().map(of_sha512).collect::<Vec<_>>(), key);
    assert_ne!(odd.0, chain);
    let beyond = only(&[&BEYOND, of_ring(alg_id::ECDSA_P256)]);
    assert_eq!(outcome(&world, beyond, &odd).await, Err(Some(PathError::UnsupportedAlgorithm)));
    assert_eq!(BEYOND.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_peer_of_an_open_connection_is_judged_again_by_the_provider() {
    static COUNTED: Ours = Ours::new(alg_id::ECDSA_SHA256, false);
    let world = world();
    let acceptor = world.acceptor().provider(only(&[&COUNTED])).build().unwrap();
    let (server, _client) = meet(&acceptor, &world.client("/cart").1).await;
    let server = server.unwrap();
    assert_eq!(COUNTED.asked.load(Ordering::SeqCst), 1);

    let partner = Authority::new(domain("partner.test"), NOW).unwrap();
    world.replace_bundles(BundleSet::new().with(world.authority.bundle()).with(partner.bundle()));
    let judged = async {
        while COUNTED.asked.load(Ordering::SeqCst) == 1 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, judged).await.unwrap();
    assert_eq!(server.lease().check(NOW), Ok(()));
}
