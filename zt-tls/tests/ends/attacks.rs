//! What hostile peers try, and what becomes of it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test needs and does not get is its failure"
)]

use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::server::{ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, HandshakeKind, RootCertStore, ServerConfig};
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use zt_core::time::Clock;
use zt_identity::authority::{Authority, Defect};
use zt_identity::bundle::BundleSet;
use zt_identity::matcher::Authorizer;
use zt_identity::path::PathError;
use zt_identity::profile::LeafError;
use zt_identity::x509_svid::X509SvidError;
use zt_tls::admission::Admission;
use zt_tls::connection::{HandshakeError, Refused};
use zt_tls::events::Reason;
use zt_tls::{Acceptor, provider};

use crate::support::{
    HOUR, NOW, Presents, World, domain, host, meet, meet_plain, members, plain, world,
};

fn svid_error(error: &HandshakeError) -> &X509SvidError {
    let Some(Refused::Svid(error)) = error.refused() else { panic!("{error:?}") };
    error
}

/// A client with a certificate that keeps whatever lets it resume.
fn resuming(world: &World) -> ClientConfig {
    let identity = world.authority.request("/cart").issue().unwrap();
    let mut config = plain(provider::ring(), &[&TLS13], Some(identity));
    config.resumption = Resumption::in_memory_sessions(64);
    config
}

/// How a client of this config gets on, with bytes of the server after the handshake, which bring
/// tickets along.
async fn visit(
    acceptor: &Acceptor,
    config: &Arc<ClientConfig>,
) -> Result<HandshakeKind, HandshakeError> {
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
    let (ours, theirs) = duplex(64 * 1024);
    let client = async {
        let mut stream = connector.connect(host(), theirs).await.ok()?;
        let _ = stream.read(&mut [0; 1]).await;
        stream.get_ref().1.handshake_kind()
    };
    let server = async {
        let mut stream = acceptor.accept(ours).await?;
        stream.write_all(b"x").await?;
        stream.flush().await?;
        Ok(stream)
    };
    let (server, client) = tokio::join!(server, client);
    server.map(|_stream| client.unwrap())
}

#[tokio::test]
async fn a_certificate_of_an_hour_is_of_no_use_in_the_thirty_days_after_it() {
    let world = world();
    let svid = world.authority.request("/orders").lasting(29 * 24 * HOUR).identity().unwrap();
    world.source.replace(svid, BundleSet::new().with(world.authority.bundle()));
    let acceptor = world.acceptor().build().unwrap();
    let client = Arc::new(resuming(&world));
    assert_eq!(visit(&acceptor, &client).await.unwrap(), HandshakeKind::Full);
    // Each hop would have renewed the ticket of the one before.
    for hours in [1, 2, 12, 24, 24 * 7, 24 * 28] {
        world.clock.set(NOW.saturating_add(hours * HOUR + Duration::from_secs(1)));
        let refused = visit(&acceptor, &client).await.unwrap_err();
        assert!(matches!(svid_error(&refused), X509SvidError::Validity(_)), "{refused:?}");
    }
}

#[tokio::test]
async fn a_client_whose_authorizer_was_switched_to_deny_does_not_get_in_by_what_it_kept() {
    let world = world();
    let admission = Admission::new(members());
    let acceptor = Acceptor::builder(world.source.clone(), admission.clone())
        .clock(world.clock.clone())
        .build()
        .unwrap();
    let client = Arc::new(resuming(&world));
    assert_eq!(visit(&acceptor, &client).await.unwrap(), HandshakeKind::Full);
    admission.replace(Authorizer::one_of([]));
    let refused = visit(&acceptor, &client).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::NotAdmitted);
}

#[tokio::test]
async fn tickets_of_another_config_are_not_taken() {
    let world = world();
    // A server with the same identity that gives tickets, as rustls does by itself.
    let mut roots = RootCertStore::empty();
    for root in world.authority.bundle().roots() {
        roots.add(root.certificate().clone()).unwrap();
    }
    let _ = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider::ring());
    let own = world.source.current();
    let mut generous = ServerConfig::builder_with_provider(provider::ring())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            own.identity().unwrap().chain().to_vec(),
            own.identity().unwrap().key().expose().clone_key(),
        )
        .unwrap();
    generous.session_storage = ServerSessionMemoryCache::new(16);
    let client = Arc::new(resuming(&world));
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(&client));
    let generous = tokio_rustls::TlsAcceptor::from(Arc::new(generous));
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let (ours, theirs) = duplex(64 * 1024);
        let (server, stream) =
            tokio::join!(generous.accept(ours), connector.connect(host(), theirs));
        let (mut server, mut stream) = (server.unwrap(), stream.unwrap());
        server.write_all(b"x").await.unwrap();
        server.flush().await.unwrap();
        stream.read_exact(&mut [0; 1]).await.unwrap();
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(expected));
        assert!(stream.get_ref().1.tls13_tickets_received() > 0);
    }
    let acceptor = world.acceptor().build().unwrap();
    assert_eq!(visit(&acceptor, &client).await.unwrap(), HandshakeKind::Full);
}

#[tokio::test]
async fn a_certificate_that_names_two_or_smuggles_a_second_is_refused() {
    let world = world();
    let acceptor = world.acceptor().build().unwrap();
    for defect in [
        Defect::NoUri,
        Defect::TwoUris,
        Defect::SecondUriNotAscii,
        Defect::SecondUriConstructed,
        Defect::MalformedName,
        Defect::TooManyNames,
        Defect::UriTooLong,
    ] {
        let identity = world.authority.request("/cart").with_defect(defect).issue().unwrap();
        let config = plain(provider::ring(), &[&TLS13], Some(identity));
        let refused = meet_plain(&acceptor, config.into()).await.unwrap_err();
        assert!(matches!(svid_error(&refused), X509SvidError::Leaf(_)), "{defect:?}: {refused:?}");
        assert_eq!(refused.reason(), Reason::Profile);
    }
}

#[tokio::test]
async fn the_authority_of_one_domain_cannot_name_a_workload_of_another() {
    let world = world();
    let other = Authority::new(domain("other.test"), NOW).unwrap();
    world.replace_bundles(BundleSet::new().with(world.authority.bundle()).with(other.bundle()));
    let acceptor = Acceptor::builder(world.source.clone(), Authorizer::any_in_bundles())
        .clock(world.clock.clone())
        .build()
        .unwrap();
    // Both are trusted, and that of example.org names a workload of other.test.
    let forged = world.authority.request("/cart").with_defect(Defect::OtherTrustDomain);
    let config = plain(provider::ring(), &[&TLS13], Some(forged.issue().unwrap()));
    let refused = meet_plain(&acceptor, config.into()).await.unwrap_err();
    assert!(matches!(svid_error(&refused), X509SvidError::Path(_)), "{refused:?}");
    let honest = other.request("/cart").issue().unwrap();
    let config = plain(provider::ring(), &[&TLS13], Some(honest));
    assert!(meet_plain(&acceptor, config.into()).await.is_ok());
}

#[tokio::test]
async fn a_root_that_expired_while_it_was_held_vouches_for_nobody() {
    let world = world();
    world.clock.advance(31 * 24 * HOUR);
    let now = world.clock.now();
    let later = Authority::new(domain("example.org"), now).unwrap();
    let old = world.authority.bundle();
    let own = later.svid("/orders").unwrap();
    world.source.replace(own, BundleSet::new().with(old));
    let acceptor = world.acceptor().build().unwrap();
    let leaf = world.authority.request("/cart").at(now).issue().unwrap();
    let config = plain(provider::ring(), &[&TLS13], Some(leaf));
    let refused = meet_plain(&acceptor, config.into()).await.unwrap_err();
    assert!(matches!(svid_error(&refused), X509SvidError::Path(PathError::Root(_))), "{refused:?}");
    assert_eq!(refused.reason(), Reason::Unknown);
}

#[tokio::test]
async fn a_chain_of_junk_is_refused_by_its_length() {
    let world = world();
    let acceptor = world.acceptor().build().unwrap();
    let (mut chain, key) = world.authority.request("/cart").through_intermediate().issue().unwrap();
    let junk = chain.pop().unwrap();
    while chain.iter().map(|der| der.len()).sum::<usize>() < 60 * 1024 {
        chain.push(junk.clone());
    }
    for (count, expected) in [(chain.len(), Reason::ChainTooLong), (6, Reason::ChainTooLong)] {
        let (chain, key) = (chain[..count].to_vec(), key.clone_key());
        let config = plain(provider::ring(), &[&TLS13], Some((chain, key)));
        let refused = meet_plain(&acceptor, config.into()).await.unwrap_err();
        assert_eq!(refused.reason(), expected, "{refused:?}");
    }
    // A few certificates that are long.
    let long: Vec<_> = std::iter::once(chain[0].clone())
        .chain((0..2).map(|_| CertificateDer::from(vec![0x30; 9 * 1024])))
        .collect();
    let config = plain(provider::ring(), &[&TLS13], Some((long, key)));
    let refused = meet_plain(&acceptor, config.into()).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::ChainTooLong, "{refused:?}");
}

#[tokio::test]
async fn a_client_that_presents_nothing_is_refused() {
    let world = world();
    let acceptor = world.acceptor().build().unwrap();
    let config = plain(provider::ring(), &[&TLS13], None);
    let refused = meet_plain(&acceptor, config.into()).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::NoCertificate);
}

#[tokio::test]
async fn a_certificate_without_its_key_is_refused_at_either_end() {
    let world = world();
    let (chain, _) = world.authority.request("/orders").issue().unwrap();
    let (_, key) = world.authority.request("/orders").issue().unwrap();
    let key = provider::ring().key_provider.load_private_key(key).unwrap();
    let stolen = Arc::new(CertifiedKey::new(chain, key));

    let mut config = plain(provider::ring(), &[&TLS13], None);
    config.client_auth_cert_resolver = Arc::new(Presents(Arc::clone(&stolen)));
    let acceptor = world.acceptor().build().unwrap();
    let refused = meet_plain(&acceptor, config.into()).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::Protocol);
    assert!(format!("{refused:?}").contains("BadSignature"), "{refused:?}");

    let server = ServerConfig::builder_with_provider(provider::ring())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(stolen)));
    let server = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let (ours, theirs) = duplex(64 * 1024);
    let (_, connector) = world.client("/cart");
    let (_server, client) = tokio::join!(server.accept(ours), connector.connect(host(), theirs));
    assert!(format!("{:?}", client.unwrap_err()).contains("BadSignature"));
}

#[tokio::test]
async fn a_clock_that_is_wrong_refuses_and_one_that_is_right_again_admits() {
    let world = world();
    let acceptor = world.acceptor().build().unwrap();
    let (_, connector) = world.client("/cart");
    for (then, admitted) in [
        (NOW, true),
        (NOW.saturating_add(2 * HOUR), false),
        (NOW.saturating_sub(HOUR), false),
        (NOW.saturating_add(HOUR / 2), true),
    ] {
        world.clock.set(then);
        assert_eq!(meet(&acceptor, &connector).await.0.is_ok(), admitted, "{then}");
    }
}

#[tokio::test]
async fn an_authority_cannot_pass_for_a_workload() {
    let world = world();
    let acceptor = world.acceptor().build().unwrap();
    for (defect, expected) in
        [(Defect::LeafIsCa, LeafError::IsCa), (Defect::KeyCertSign, LeafError::KeyCertSign)]
    {
        let identity = world.authority.request("/cart").with_defect(defect).issue().unwrap();
        let config = plain(provider::ring(), &[&TLS13], Some(identity));
        let refused = meet_plain(&acceptor, config.into()).await.unwrap_err();
        assert_eq!(*svid_error(&refused), X509SvidError::Leaf(expected));
    }
}
