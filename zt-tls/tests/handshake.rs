//! Handshakes over in-memory streams: who gets in, who does not, and why.
#![cfg(feature = "tokio")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test needs and does not get is its failure"
)]

#[path = "common/gullible.rs"]
mod gullible;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use zt_core::fault::Fault;
use zt_core::spiffe::{SpiffeId, TrustDomain};
use zt_core::time::{Clock, ManualClock, Timestamp};
use zt_identity::authority::{Authority, CrlDefect, CrlRequest, Defect};
use zt_identity::bundle::BundleSet;
use zt_identity::matcher::Authorizer;
use zt_identity::profile::LeafError;
use zt_identity::revocation::{Revocation, RevocationError, RevocationList};
use zt_identity::source::X509Source;
use zt_identity::x509_svid::X509SvidError;
use zt_tls::connection::{ClientStream, HandshakeError, Refused, ServerStream};
use zt_tls::provider;
use zt_tls::{Acceptor, Connector};

use self::gullible::Presents;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const HOUR: Duration = Duration::from_secs(3600);

fn domain(name: &str) -> TrustDomain {
    TrustDomain::from_name(name).unwrap()
}

fn authority(name: &str) -> Authority {
    Authority::new(domain(name), NOW).unwrap()
}

/// A server of `example.org` that admits `example.org`, and the clock it goes by.
struct Server {
    authority: Authority,
    source: X509Source,
    clock: ManualClock,
    acceptor: Acceptor,
}

fn server() -> Server {
    let authority = authority("example.org");
    let source = authority.source("/orders").unwrap();
    let clock = ManualClock::at(NOW);
    let acceptor = Acceptor::builder(source.clone(), Authorizer::member_of(domain("example.org")))
        .clock(clock.clone())
        .build()
        .unwrap();
    Server { authority, source, clock, acceptor }
}

impl Server {
    fn connector(&self, source: X509Source, admits: Authorizer) -> Connector {
        Connector::builder(source, admits).clock(self.clock.clone()).build().unwrap()
    }

    /// What both ends make of a handshake with a client of ours.
    async fn meet(&self, connector: &Connector) -> Met {
        let (ours, theirs) = duplex(64 * 1024);
        let (server, client) =
            tokio::join!(self.acceptor.accept(ours), connector.connect(host(), theirs));
        Met { server, client }
    }

    async fn meet_with(&self, source: X509Source, admits: Authorizer) -> Met {
        self.meet(&self.connector(source, admits)).await
    }

    /// What the server makes of a handshake with a plain rustls client.
    async fn meet_plain(
        &self,
        config: ClientConfig,
    ) -> Result<ServerStream<DuplexStream>, HandshakeError> {
        let (ours, theirs) = duplex(64 * 1024);
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        // The client goes on reading, so that an alert that follows its handshake is taken.
        let client = async {
            if let Ok(mut stream) = connector.connect(host(), theirs).await {
                let _ = stream.read(&mut [0; 1]).await;
            }
        };
        tokio::select! {
            outcome = self.acceptor.accept(ours) => outcome,
            () = async { client.await; std::future::pending().await } => unreachable!(),
        }
    }
}

struct Met {
    server: Result<ServerStream<DuplexStream>, HandshakeError>,
    client: Result<ClientStream<DuplexStream>, HandshakeError>,
}

fn host() -> ServerName<'static> {
    ServerName::try_from("orders.example.org").unwrap()
}

fn plain(
    versions: &[&'static rustls::SupportedProtocolVersion],
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> ClientConfig {
    gullible::plain(provider::ring(), versions, identity)
}

fn refused(error: &HandshakeError) -> &Refused {
    error.refused().unwrap()
}

fn svid_error(error: &HandshakeError) -> &X509SvidError {
    let Refused::Svid(error) = refused(error) else { panic!("{error:?}") };
    error
}

#[tokio::test]
async fn both_ends_know_each_other_after_a_handshake() {
    let server = server();
    let cart = server.authority.source("/cart").unwrap();
    let orders = Authorizer::id(SpiffeId::parse("spiffe://example.org/orders").unwrap());
    let connector = server.connector(cart.clone(), orders);
    let met = server.meet(&connector).await;
    let (mut server_end, mut client_end) = (met.server.unwrap(), met.client.unwrap());

    assert_eq!(server_end.peer().id().as_str(), "spiffe://example.org/cart");
    assert_eq!(client_end.peer().id().as_str(), "spiffe://example.org/orders");
    assert_eq!(
        server_end.peer().not_after(),
        cart.load().identity().unwrap().validity().not_after()
    );
    assert_eq!(server_end.peer().leaf(), cart.load().identity().unwrap().chain()[0].as_ref());
    assert_eq!(server_end.peer().generation(), server.source.generation());

    client_end.write_all(b"hello").await.unwrap();
    client_end.flush().await.unwrap();
    let mut heard = [0; 5];
    server_end.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
}

#[tokio::test]
async fn a_chain_through_an_intermediate_is_followed() {
    let server = server();
    let svid = server.authority.request("/cart").through_intermediate().identity().unwrap();
    let source = X509Source::new(svid, BundleSet::new().with(server.authority.bundle()));
    let connector = server.connector(source, Authorizer::member_of(domain("example.org")));
    let met = server.meet(&connector).await;
    assert_eq!(met.server.unwrap().peer().id().as_str(), "spiffe://example.org/cart");
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let error = server().meet_plain(plain(&[&TLS13], None)).await.unwrap_err();
    assert!(format!("{:?}", error).contains("NoCertificatesPresented"), "{error:?}");
}

#[tokio::test]
async fn a_client_of_a_foreign_trust_domain_is_refused() {
    let server = server();
    let identity = authority("evil.test").request("/cart").issue().unwrap();
    let error = server.meet_plain(plain(&[&TLS13], Some(identity))).await.unwrap_err();
    assert!(matches!(svid_error(&error), X509SvidError::NoBundle { .. }), "{error:?}");
}

#[tokio::test]
async fn an_authority_cannot_vouch_for_another_trust_domain() {
    // Both domains are trusted; the authority of the second names a workload of the first.
    let server = server();
    let impostor = authority("example.org"); // another key under the same name
    let federated = authority("partner.test");
    let bundles = BundleSet::new().with(server.authority.bundle()).with(federated.bundle());
    server.source.replace(server.authority.svid("/orders").unwrap(), bundles);
    let identity = impostor.request("/cart").issue().unwrap();
    let error = server.meet_plain(plain(&[&TLS13], Some(identity))).await.unwrap_err();
    assert!(matches!(svid_error(&error), X509SvidError::Path(_)), "{error:?}");
}

#[tokio::test]
async fn a_proven_peer_that_the_authorizer_does_not_admit_is_refused() {
    let server = server();
    let partner = authority("partner.test");
    let bundles = BundleSet::new().with(server.authority.bundle()).with(partner.bundle());
    server.source.replace(server.authority.svid("/orders").unwrap(), bundles);
    let identity = partner.request("/cart").issue().unwrap();
    let error = server.meet_plain(plain(&[&TLS13], Some(identity))).await.unwrap_err();
    let Refused::NotAdmitted { id } = refused(&error) else { panic!("{error:?}") };
    assert_eq!(id.as_str(), "spiffe://partner.test/cart");
}

#[tokio::test]
async fn a_client_that_holds_no_key_for_its_certificate_is_refused() {
    let server = server();
    let (chain, _) = server.authority.request("/cart").issue().unwrap();
    let (_, other_key) = server.authority.request("/cart").issue().unwrap();
    let key = provider::ring().key_provider.load_private_key(other_key).unwrap();
    let certified = Arc::new(rustls::sign::CertifiedKey::new(chain, key));
    let mut config = plain(&[&TLS13], None);
    config.client_auth_cert_resolver = Arc::new(Presents(certified));
    let error = server.meet_plain(config).await.unwrap_err();
    assert!(format!("{error:?}").contains("BadSignature"), "{error:?}");
}

#[tokio::test]
async fn a_leaf_with_a_defect_is_refused_for_that_defect() {
    let server = server();
    for (defect, expected) in [
        (Defect::LeafIsCa, LeafError::IsCa),
        (Defect::KeyCertSign, LeafError::KeyCertSign),
        (Defect::NoKeyUsage, LeafError::NoKeyUsage),
    ] {
        let identity = server.authority.request("/cart").with_defect(defect).issue().unwrap();
        let error = server.meet_plain(plain(&[&TLS13], Some(identity))).await.unwrap_err();
        assert_eq!(*svid_error(&error), X509SvidError::Leaf(expected), "{defect:?}");
    }
}

#[tokio::test]
async fn time_is_that_of_the_servers_clock() {
    let server = server();
    let identity = || server.authority.request("/cart").issue().unwrap();
    server.clock.set(NOW.saturating_add(2 * HOUR));
    server.source.replace(
        server.authority.request("/orders").lasting(10 * HOUR).identity().unwrap(),
        BundleSet::new().with(server.authority.bundle()),
    );
    let error = server.meet_plain(plain(&[&TLS13], Some(identity()))).await.unwrap_err();
    assert!(matches!(svid_error(&error), X509SvidError::Validity(_)), "{error:?}");

    server.clock.set(NOW.saturating_sub(2 * HOUR));
    let error = server.meet_plain(plain(&[&TLS13], Some(identity()))).await.unwrap_err();
    assert!(matches!(error, HandshakeError::NoIdentity(_)), "{error:?}");
}

#[tokio::test]
async fn a_client_that_speaks_tls_1_2_is_refused() {
    let server = server();
    let identity = server.authority.request("/cart").issue().unwrap();
    let error = server.meet_plain(plain(&[&TLS12], Some(identity))).await.unwrap_err();
    assert!(format!("{error:?}").contains("PeerIncompatible"), "{error:?}");
}

#[tokio::test]
async fn nobody_resumes_a_connection() {
    let server = server();
    let identity = server.authority.request("/cart").issue().unwrap();
    let mut config = plain(&[&TLS13], Some(identity));
    config.resumption = Resumption::in_memory_sessions(64);
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    for _ in 0..3 {
        let (ours, theirs) = duplex(64 * 1024);
        let (server_end, client_end) =
            tokio::join!(server.acceptor.accept(ours), connector.connect(host(), theirs));
        let (mut server_end, mut client_end) = (server_end.unwrap(), client_end.unwrap());
        // Tickets would follow the handshake: bytes that the server writes carry them along.
        server_end.write_all(b"x").await.unwrap();
        server_end.flush().await.unwrap();
        client_end.read_exact(&mut [0; 1]).await.unwrap();
        let kind = client_end.get_ref().1.handshake_kind();
        assert_eq!(kind, Some(HandshakeKind::Full));
        assert_eq!(client_end.get_ref().1.tls13_tickets_received(), 0);
    }
}

#[tokio::test]
async fn a_client_refuses_a_server_that_is_not_the_one_it_means() {
    let server = server();
    let cart = server.authority.source("/cart").unwrap();
    let payments = Authorizer::id(SpiffeId::parse("spiffe://example.org/payments").unwrap());
    let met = server.meet(&server.connector(cart, payments)).await;
    let error = met.client.unwrap_err();
    assert!(matches!(refused(&error), Refused::NotAdmitted { .. }), "{error:?}");
    assert!(met.server.is_err());
}

#[tokio::test]
async fn a_rotated_identity_is_presented_from_the_next_handshake_on() {
    let server = server();
    let cart = server.authority.source("/cart").unwrap();
    let connector = server.connector(cart, Authorizer::member_of(domain("example.org")));
    let before = server.meet(&connector).await.client.unwrap();
    let rotated = server.authority.svid("/orders").unwrap();
    server.source.replace(rotated.clone(), BundleSet::new().with(server.authority.bundle()));
    let after = server.meet(&connector).await.client.unwrap();
    assert_ne!(before.peer().leaf(), after.peer().leaf());
    assert_eq!(after.peer().leaf(), rotated.chain()[0].as_ref());
}

#[tokio::test]
async fn an_identity_of_ours_that_has_expired_is_not_presented() {
    let server = server();
    let cart = server.authority.source("/cart").unwrap();
    let connector = server.connector(cart, Authorizer::member_of(domain("example.org")));
    server.clock.advance(2 * HOUR);
    let met = server.meet(&connector).await;
    assert!(met.server.is_err() && met.client.is_err());
}

#[tokio::test]
async fn a_bundle_that_goes_away_during_a_handshake_takes_its_peers_along() {
    let server = server();
    let cart = server.authority.source("/cart").unwrap();
    let connector = server.connector(cart, Authorizer::member_of(domain("example.org")));

    let (ours, theirs) = duplex(64 * 1024);
    let mut accept = Box::pin(server.acceptor.accept(ours));
    // The server has begun, under the old bundles, and waits for the client.
    assert!(futures_util::poll!(&mut accept).is_pending());
    let removed = BundleSet::new().with(authority("partner.test").bundle());
    server.source.replace(server.authority.svid("/orders").unwrap(), removed);
    let (outcome, _client) = tokio::join!(accept, connector.connect(host(), theirs));
    let error = outcome.unwrap_err();
    assert!(matches!(svid_error(&error), X509SvidError::NoBundle { .. }), "{error:?}");
}

impl Server {
    /// Replaces what the source holds of revocation lists.
    fn replace_lists(&self, lists: impl IntoIterator<Item = RevocationList>) {
        let material = self.source.current();
        let bundles = material.bundles().clone();
        let bundles = bundles.with_revocation_lists(lists.into_iter().collect());
        self.source.replace(material.identity().unwrap().clone(), bundles);
    }

    /// Why the server refuses this client.
    async fn revocation_error(&self, client: &X509Source) -> RevocationError {
        let members = Authorizer::member_of(domain("example.org"));
        let error = self.meet_with(client.clone(), members).await.server.unwrap_err();
        let X509SvidError::Revocation(error) = svid_error(&error) else { panic!("{error:?}") };
        error.clone()
    }
}

fn leaf(source: &X509Source) -> CertificateDer<'static> {
    source.load().identity().unwrap().chain().first().unwrap().clone()
}

fn list(request: CrlRequest<'_>) -> RevocationList {
    request.list().unwrap()
}

#[tokio::test]
async fn a_revoked_client_is_refused_from_the_next_handshake_on() {
    let server = server();
    let (cart, till) =
        (server.authority.source("/a").unwrap(), server.authority.source("/b").unwrap());
    let members = || Authorizer::member_of(domain("example.org"));
    assert!(server.meet_with(cart.clone(), members()).await.server.is_ok());
    server.replace_lists([server.authority.revoke(cart.load().identity().unwrap()).unwrap()]);
    assert_eq!(server.revocation_error(&cart).await, RevocationError::Revoked { position: 0 });
    assert!(server.meet_with(till, members()).await.server.is_ok());
}

#[tokio::test]
async fn a_client_refuses_a_server_that_is_revoked() {
    let server = server();
    let cart = server.authority.source("/cart").unwrap();
    let list = server.authority.revoke(server.source.load().identity().unwrap()).unwrap();
    let material = cart.current();
    cart.replace(
        material.identity().unwrap().clone(),
        material.bundles().clone().with_revocation_list(list),
    );
    let met = server.meet_with(cart, Authorizer::member_of(domain("example.org"))).await;
    let error = met.client.unwrap_err();
    let revoked = X509SvidError::Revocation(RevocationError::Revoked { position: 0 });
    assert_eq!(*svid_error(&error), revoked);
}

#[tokio::test]
async fn a_stale_list_refuses_every_client() {
    let server = server();
    let cart = server.authority.source("/cart").unwrap();
    server.replace_lists([list(server.authority.crl().lasting(HOUR / 4))]);
    let members = Authorizer::member_of(domain("example.org"));
    assert!(server.meet_with(cart.clone(), members).await.server.is_ok());
    server.clock.advance(HOUR / 2);
    let error = server.revocation_error(&cart).await;
    assert!(matches!(error, RevocationError::Stale { position: 0, .. }), "{error:?}");
    let members = Authorizer::member_of(domain("example.org"));
    let error = server.meet_with(cart, members).await.server.unwrap_err();
    assert_eq!(error.fault(), Fault::Authority);
}

#[tokio::test]
async fn a_stale_list_that_comes_first_does_not_hide_a_newer_one() {
    let server = server();
    let cart = server.authority.source("/cart").unwrap();
    let stale = list(server.authority.crl().with_defect(CrlDefect::Stale));
    let newer = list(server.authority.crl().numbered(2).revoking(&leaf(&cart)).unwrap());
    server.replace_lists([stale, newer]);
    assert_eq!(server.revocation_error(&cart).await, RevocationError::Revoked { position: 0 });
}

#[tokio::test]
async fn a_client_of_a_revoked_intermediate_is_refused() {
    let server = server();
    let intermediate = server.authority.intermediate().unwrap();
    let svid = server.authority.request("/cart").through(&intermediate).identity().unwrap();
    let bundles = BundleSet::new().with(server.authority.bundle());
    let cart = X509Source::new(svid, bundles);
    let revoking = server.authority.crl().revoking(intermediate.certificate()).unwrap();
    server.replace_lists([list(revoking)]);
    assert_eq!(server.revocation_error(&cart).await, RevocationError::Revoked { position: 1 });
}

#[tokio::test]
async fn a_server_that_requires_lists_refuses_clients_without_one() {
    let server = server();
    let members = Authorizer::member_of(domain("example.org"));
    let acceptor = Acceptor::builder(server.source.clone(), members)
        .clock(server.clock.clone())
        .revocation(Revocation::Required)
        .build()
        .unwrap();
    let server = Server { acceptor, ..server };
    let cart = server.authority.source("/cart").unwrap();
    assert_eq!(server.revocation_error(&cart).await, RevocationError::Unknown { position: 0 });
    server.replace_lists([list(server.authority.crl())]);
    let members = Authorizer::member_of(domain("example.org"));
    assert!(server.meet_with(cart, members).await.server.is_ok());
}

#[tokio::test]
async fn a_peer_that_is_revoked_during_its_handshake_is_refused() {
    let server = server();
    let cart = server.authority.source("/cart").unwrap();
    let connector = server.connector(cart.clone(), Authorizer::member_of(domain("example.org")));
    let (ours, theirs) = duplex(64 * 1024);
    let mut accept = Box::pin(server.acceptor.accept(ours));
    assert!(futures_util::poll!(&mut accept).is_pending());
    server.replace_lists([server.authority.revoke(cart.load().identity().unwrap()).unwrap()]);
    let (outcome, _client) = tokio::join!(accept, connector.connect(host(), theirs));
    let error = outcome.unwrap_err();
    let revoked = X509SvidError::Revocation(RevocationError::Revoked { position: 0 });
    assert_eq!(*svid_error(&error), revoked);
}

/// Swaps the bundles of a source at the very moment at which the verifier, which has read them
/// already, asks for the time.
#[derive(Debug)]
struct SwapsWhileVerifying {
    source: X509Source,
    next: BundleSet,
    asked: AtomicUsize,
}

impl Clock for SwapsWhileVerifying {
    fn now(&self) -> Timestamp {
        // Of a server, the certificate it presents is the first to ask.
        if self.asked.fetch_add(1, Ordering::SeqCst) == 1 {
            let identity = self.source.load().identity().unwrap().clone();
            self.source.replace(identity, self.next.clone());
        }
        NOW
    }
}

async fn meet_while_swapping(next: impl Fn(&Authority) -> BundleSet) -> Met {
    let server = server();
    let clock = SwapsWhileVerifying {
        source: server.source.clone(),
        next: next(&server.authority),
        asked: AtomicUsize::new(0),
    };
    let members = Authorizer::member_of(domain("example.org"));
    let acceptor =
        Acceptor::builder(server.source.clone(), members.clone()).clock(clock).build().unwrap();
    let cart = server.authority.source("/cart").unwrap();
    Server { acceptor, ..server }.meet_with(cart, members).await
}

#[tokio::test]
async fn a_peer_that_was_verified_under_bundles_that_are_gone_is_verified_again() {
    let met =
        meet_while_swapping(|_| BundleSet::new().with(authority("other.test").bundle())).await;
    let error = met.server.unwrap_err();
    assert!(matches!(error, HandshakeError::Changed(_)), "{error:?}");
    assert!(matches!(svid_error(&error), X509SvidError::NoBundle { .. }), "{error:?}");
}

#[tokio::test]
async fn a_peer_that_the_new_bundles_support_stays_and_belongs_to_them() {
    let met = meet_while_swapping(|authority| BundleSet::new().with(authority.bundle())).await;
    assert_eq!(met.server.unwrap().peer().generation(), 2);
}
