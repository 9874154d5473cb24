//! What is told and counted of connections, and how an end is.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::version::TLS13;
use zt_core::fault::Fault;
use zt_core::lease::Ended;
use zt_identity::authority::Authority;
use zt_identity::bundle::BundleSet;
use zt_identity::matcher::Authorizer;
use zt_identity::source::{NoIdentity, X509Source, X509SourceError};
use zt_tls::connection::{BuildError, HandshakeError};
use zt_tls::events::{Event, Reason};
use zt_tls::health::Status;
use zt_tls::{Acceptor, Connector, provider};

use crate::support::{HOUR, NOW, domain, host, meet, meet_plain, members, plain, world};

#[tokio::test]
async fn every_connection_is_told_of_when_it_is_admitted_refused_and_ended() {
    let world = world();
    let said = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&said);
    let acceptor = world.acceptor().recheck_every(HOUR);
    let acceptor = acceptor
        .observe(move |event: &Event<'_>| {
            let line = match event {
                Event::Admitted { peer } => format!("admitted {}", peer.unwrap().id()),
                Event::Refused { reason, .. } => format!("refused {}", reason.name()),
                Event::Ended { peer, why, refused } => {
                    let refused = refused.map(|refused| Reason::from(refused).name());
                    format!("ended {} {} {refused:?}", peer.unwrap().id(), why.name())
                }
                Event::UpdateFailed { .. } | _ => "something else".to_owned(),
            };
            hears.lock().unwrap().push(line);
        })
        .build()
        .unwrap();
    let (cart, connector) = world.client("/cart");
    let (server, _client) = meet(&acceptor, &connector).await;
    let server = server.unwrap();
    let nobody = plain(provider::ring(), &[&TLS13], None);
    assert!(meet_plain(&acceptor, nobody.into()).await.is_err());
    world.replace_lists([world.authority.revoke(cart.load().identity().unwrap()).unwrap()]);
    for _ in 0..3 {
        assert_eq!(server.lease().check(NOW), Err(Ended::Identity));
    }
    let told = [
        "admitted spiffe://example.org/cart",
        "refused no_certificate",
        "ended spiffe://example.org/cart identity Some(\"revoked\")",
    ];
    assert_eq!(*said.lock().unwrap(), told);
    let counted = acceptor.health().counted;
    assert_eq!((counted.open, counted.admitted, counted.ended), (1, 1, 1));
    assert_eq!(counted.refused, [(Reason::NoCertificate, 1)]);
}

#[test]
fn an_end_ails_before_it_fails() {
    let world = world();
    let acceptor = world.acceptor().build().unwrap();
    let health = acceptor.health();
    assert_eq!((health.status, health.identity, health.generation), (Status::Good, HOUR, Some(1)));
    assert_eq!(health.roots, Some(30 * 24 * HOUR));
    assert_eq!(health.lists, None);
    world.clock.advance(HOUR / 4 * 3);
    assert_eq!(acceptor.health().status, Status::Ailing);
    world.clock.advance(HOUR);
    assert_eq!(
        (acceptor.health().status, acceptor.health().identity),
        (Status::Failing, Duration::ZERO)
    );
    let renewed = world.authority.request("/orders").lasting(4 * HOUR).identity().unwrap();
    world.source.replace(renewed, BundleSet::new().with(world.authority.bundle()));
    assert_eq!(acceptor.health().status, Status::Good);
}

#[test]
fn a_list_that_goes_stale_is_told_by_health() {
    let world = world();
    let acceptor = world.acceptor().build().unwrap();
    world.replace_lists([world.authority.crl().lasting(HOUR / 4).list().unwrap()]);
    assert_eq!(acceptor.health().lists, Some(HOUR / 4));
    world.clock.advance(HOUR / 3);
    assert_eq!(acceptor.health().status, Status::Failing);
}

#[test]
fn updates_that_fail_are_counted_until_one_succeeds() {
    let world = world();
    let acceptor = world.acceptor().build().unwrap();
    let updates = acceptor.updates();
    let failed: Result<u64, _> = Err(X509SourceError::NoFiles);
    updates.note(&failed);
    updates.note(&failed);
    let health = acceptor.health();
    assert_eq!((health.status, health.counted.failed_updates), (Status::Ailing, 2));
    updates.note(&Ok::<_, X509SourceError>(2));
    assert_eq!(acceptor.health().status, Status::Good);
}

#[tokio::test]
async fn an_identity_that_the_provider_cannot_use_leaves_the_last_one_until_it_expires() {
    let world = world();
    // A provider that cannot sign with anything but what it has seen.
    let acceptor = world.acceptor().provider(Arc::new(picky())).build();
    let acceptor = acceptor.unwrap();
    let (_, connector) = world.client("/cart");
    let (_, client) = meet(&acceptor, &connector).await;
    let before = client.unwrap().peer().leaf().to_vec();
    let next = world.authority.svid("/orders").unwrap();
    world.source.replace(next, BundleSet::new().with(world.authority.bundle()));
    let (_, client) = meet(&acceptor, &connector).await;
    assert_eq!(client.unwrap().peer().leaf(), before);
    let health = acceptor.health();
    assert_eq!((health.status, health.counted.failed_updates), (Status::Ailing, 1));
    world.clock.advance(2 * HOUR);
    let (_, connector) = world.client("/cart");
    assert!(meet(&acceptor, &connector).await.1.is_err());
}

/// A provider that takes one key and no other after it.
fn picky() -> rustls::crypto::CryptoProvider {
    #[derive(Debug)]
    struct Once(std::sync::atomic::AtomicBool);
    impl rustls::crypto::KeyProvider for Once {
        fn load_private_key(
            &self,
            key: rustls_pki_types::PrivateKeyDer<'static>,
        ) -> Result<Arc<dyn rustls::sign::SigningKey>, rustls::Error> {
            if self.0.swap(true, std::sync::atomic::Ordering::SeqCst) {
                return Err(rustls::Error::General("not this one".into()));
            }
            provider::ring().key_provider.load_private_key(key)
        }
    }
    let once: &'static Once = Box::leak(Box::new(Once(false.into())));
    rustls::crypto::CryptoProvider { key_provider: once, ..(*provider::ring()).clone() }
}

#[test]
fn the_trust_domain_that_loses_its_last_root_first_is_told() {
    let world = world();
    let acceptor = world.acceptor().build().unwrap();
    let then = NOW.saturating_sub(20 * 24 * HOUR);
    let partner = Authority::new(domain("partner.test"), then).unwrap();
    world.replace_bundles(BundleSet::new().with(world.authority.bundle()).with(partner.bundle()));
    assert_eq!(acceptor.health().roots, Some(10 * 24 * HOUR));
}

#[tokio::test]
async fn when_our_identity_was_withdrawn_handshakes_fail_and_say_so() {
    let world = world();
    let acceptor = world.acceptor().build().unwrap();
    let (cart, connector) = world.client("/cart");
    assert!(meet(&acceptor, &connector).await.0.is_ok());

    world.source.withdraw();
    let (server, client) = meet(&acceptor, &connector).await;
    let refused = server.unwrap_err();
    assert!(matches!(refused, HandshakeError::NoIdentity(NoIdentity::Withdrawn(_))), "{refused:?}");
    assert_eq!((refused.reason(), refused.fault()), (Reason::NoIdentity, Fault::Authority));
    assert!(client.is_err());
    let health = acceptor.health();
    assert_eq!((health.status, health.identity), (Status::Failing, Duration::ZERO));
    assert!(matches!(world.acceptor().build(), Err(BuildError::Withdrawn(_))));

    let bundles = BundleSet::new().with(world.authority.bundle());
    world.source.replace(world.authority.svid("/orders").unwrap(), bundles);
    assert_eq!(acceptor.health().status, Status::Good);
    assert!(meet(&acceptor, &connector).await.1.is_ok());

    cart.withdraw();
    let (ours, _theirs) = tokio::io::duplex(1024);
    let refused = connector.connect(host(), ours).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::NoIdentity);
    assert_eq!(connector.health().status, Status::Failing);
}

#[tokio::test]
async fn when_our_identity_has_expired_it_is_not_the_peers_fault() {
    let world = world();
    let acceptor = world.acceptor().build().unwrap();
    world.clock.advance(2 * HOUR);
    let svid = world.authority.request("/cart").lasting(4 * HOUR).identity().unwrap();
    let source = X509Source::new(svid, BundleSet::new().with(world.authority.bundle()));
    let connector = Connector::builder(source, members()).clock(world.clock.clone());
    let (server, _) = meet(&acceptor, &connector.build().unwrap()).await;
    let refused = server.unwrap_err();
    assert!(matches!(refused, HandshakeError::NoIdentity(NoIdentity::Validity(_))), "{refused:?}");
}

#[tokio::test]
async fn a_bundle_that_was_put_admits_and_one_that_was_removed_does_not() {
    let world = world();
    let partner = Authority::new(domain("partner.test"), NOW).unwrap();
    let everyone = Authorizer::member_of(domain("partner.test"));
    let acceptor = Acceptor::builder(world.source.clone(), everyone).clock(world.clock.clone());
    let acceptor = acceptor.build().unwrap();
    let bundles = [world.authority.bundle(), partner.bundle()].into_iter().collect();
    let cart = X509Source::new(partner.svid("/cart").unwrap(), bundles);
    let connector = Connector::builder(cart, members()).clock(world.clock.clone());
    let connector = connector.build().unwrap();

    assert!(meet(&acceptor, &connector).await.0.is_err());
    world.source.put_bundle(partner.bundle(), Some(1)).unwrap();
    let (server, _client) = meet(&acceptor, &connector).await;
    let server = server.unwrap();
    assert_eq!(server.lease().check(NOW), Ok(()));
    world.source.remove_bundle(partner.trust_domain().borrowed());
    assert_eq!(server.lease().check(NOW), Err(Ended::Identity));
    assert!(meet(&acceptor, &connector).await.0.is_err());
}
