//! A connection ends when what it rests on does (M-09).
#![expect(clippy::expect_used, reason = "what a test needs and does not get is its failure")]

use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use zt_core::lease::{Ended, Lease};
use zt_core::peer::End;
use zt_core::time::Clock;
use zt_identity::authority::Authority;
use zt_identity::bundle::BundleSet;
use zt_identity::matcher::Authorizer;
use zt_tls::admission::Admission;
use zt_tls::{Acceptor, Connector};

use crate::support::{HOUR, NOW, SOON, domain, id, meet, members, talk, world};

async fn end(lease: &Lease) -> Ended {
    timeout(SOON, lease.ended()).await.expect("the lease ends")
}

#[tokio::test]
async fn a_connection_ends_when_its_peer_is_revoked_and_that_of_another_goes_on() {
    let world = world();
    let acceptor = world.acceptor().build().unwrap();
    let (cart, till) = (world.client("/cart"), world.client("/till"));
    let (server, client) = meet(&acceptor, &cart.1).await;
    let (mut server, mut client) = (server.unwrap(), client.unwrap());
    let (other, other_client) = meet(&acceptor, &till.1).await;
    let (mut other, mut other_client) = (other.unwrap(), other_client.unwrap());
    assert!(talk(&mut client, &mut server).await);

    world.replace_lists([world.authority.revoke(cart.0.load().identity().unwrap()).unwrap()]);
    assert_eq!(end(server.lease()).await, Ended::Identity);
    assert!(!talk(&mut client, &mut server).await);
    assert!(server.read(&mut [0; 1]).await.is_err());
    assert!(talk(&mut other_client, &mut other).await && talk(&mut other, &mut other_client).await);
    assert_eq!(other.lease().check(NOW), Ok(()));
}

#[tokio::test]
async fn a_connection_ends_when_the_bundle_of_its_peer_is_removed() {
    let world = world();
    let partner = Authority::new(domain("partner.test"), NOW).unwrap();
    world.replace_bundles(BundleSet::new().with(world.authority.bundle()).with(partner.bundle()));
    let acceptor = Acceptor::builder(world.source.clone(), Authorizer::any_in_bundles())
        .clock(world.clock.clone())
        .recheck_every(Duration::from_millis(10))
        .grace(Duration::ZERO)
        .build()
        .unwrap();
    let bundles = BundleSet::new().with(world.authority.bundle());
    let source = zt_identity::X509Source::new(partner.svid("/cart").unwrap(), bundles);
    let connector = Connector::builder(source, members()).clock(world.clock.clone());
    let (server, _client) = meet(&acceptor, &connector.build().unwrap()).await;
    let server = server.unwrap();
    assert_eq!(server.peer().id().as_str(), "spiffe://partner.test/cart");

    world.replace_bundles(
        world.source.load().bundles().clone().without(domain("partner.test").borrowed()),
    );
    assert_eq!(end(server.lease()).await, Ended::Identity);
}

#[tokio::test]
async fn when_the_authorizer_changes_those_whom_it_refuses_end_and_the_others_stay() {
    let world = world();
    let admission = Admission::new(members());
    let acceptor = Acceptor::builder(world.source.clone(), admission.clone())
        .clock(world.clock.clone())
        .recheck_every(Duration::from_millis(10))
        .build()
        .unwrap();
    let (cart, _c) = meet(&acceptor, &world.client("/cart").1).await;
    let (till, _t) = meet(&acceptor, &world.client("/till").1).await;
    let (cart, till) = (cart.unwrap(), till.unwrap());
    admission.replace(Authorizer::id(id("/till")));
    assert_eq!(end(cart.lease()).await, Ended::Identity);
    assert_eq!(till.lease().check(NOW), Ok(()));
    assert!(meet(&acceptor, &world.client("/cart").1).await.0.is_err());
    assert!(meet(&acceptor, &world.client("/till").1).await.0.is_ok());
}

#[tokio::test]
async fn a_check_finds_at_once_what_the_next_look_would() {
    let world = world();
    let acceptor = world.acceptor().recheck_every(HOUR).build().unwrap();
    let (cart, connector) = world.client("/cart");
    let (server, _client) = meet(&acceptor, &connector).await;
    let server = server.unwrap();
    assert_eq!(server.lease().check(NOW), Ok(()));
    world.replace_lists([world.authority.revoke(cart.load().identity().unwrap()).unwrap()]);
    assert_eq!(server.lease().has_ended(), None);
    assert_eq!(server.lease().check(NOW), Err(Ended::Identity));
    // What was taken back once is not given again.
    world.replace_lists([]);
    assert_eq!(server.lease().check(NOW), Err(Ended::Identity));
}

#[tokio::test]
async fn our_own_rotation_ends_no_connection() {
    let world = world();
    let acceptor = world.acceptor().build().unwrap();
    let (server, client) = meet(&acceptor, &world.client("/cart").1).await;
    let (mut server, mut client) = (server.unwrap(), client.unwrap());
    for _ in 0..20 {
        let bundles = world.source.load().bundles().clone();
        world.source.replace(world.authority.svid("/orders").unwrap(), bundles);
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(talk(&mut client, &mut server).await && talk(&mut server, &mut client).await);
    }
    // Nor do new bundles in which the peer's root still is.
    let next = Authority::new(domain("next.test"), NOW).unwrap();
    world.replace_bundles(world.source.load().bundles().clone().with(next.bundle()));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.lease().check(NOW), Ok(()));
    assert!(talk(&mut client, &mut server).await);
}

#[tokio::test]
async fn a_connection_ends_with_the_certificate_of_its_peer_at_the_latest() {
    let world = world();
    let acceptor = world.acceptor().max_age(10 * HOUR).build().unwrap();
    let (server, _client) = meet(&acceptor, &world.client("/cart").1).await;
    let server = server.unwrap();
    let until = server.peer().not_after();
    // Up to a tenth of its time earlier, and no more than five minutes.
    assert_eq!(server.lease().check(until.saturating_sub(Duration::from_secs(301))), Ok(()));
    assert_eq!(server.lease().check(until), Err(Ended::Expired));
}

#[tokio::test]
async fn a_connection_ends_at_its_greatest_age() {
    let world = world();
    let acceptor = world.acceptor().max_age(HOUR / 2).build().unwrap();
    let (server, _client) = meet(&acceptor, &world.client("/cart").1).await;
    let lease = server.unwrap().lease().clone();
    assert_eq!(lease.check(NOW.saturating_add(HOUR / 2 - HOUR / 20)), Ok(()));
    world.clock.advance(HOUR / 2);
    assert_eq!(end(&lease).await, Ended::MaxAge);
}

#[tokio::test]
async fn connections_that_came_together_do_not_leave_together() {
    let world = world();
    let acceptor = world.acceptor().recheck_every(HOUR).build().unwrap();
    let connector = world.client("/cart").1;
    let mut streams = Vec::new();
    for _ in 0..24 {
        streams.push(meet(&acceptor, &connector).await.0.unwrap());
    }
    let middle = NOW.saturating_add(HOUR - Duration::from_secs(150));
    let ended = streams.iter().filter(|stream| stream.lease().check(middle).is_err()).count();
    assert!((1..24).contains(&ended), "{ended}");
}

#[tokio::test]
async fn a_clock_that_is_set_forward_ends_connections_and_setting_it_back_revives_none() {
    let world = world();
    let acceptor = world.acceptor().max_age(10 * HOUR).build().unwrap();
    let (server, _client) = meet(&acceptor, &world.client("/cart").1).await;
    let server = server.unwrap();
    world.clock.advance(2 * HOUR);
    assert_eq!(end(server.lease()).await, Ended::Expired);
    world.clock.set(NOW);
    assert_eq!(server.lease().check(world.clock.now()), Err(Ended::Expired));
    assert!(meet(&acceptor, &world.client("/cart").1).await.0.is_ok());
}

#[tokio::test]
async fn a_clock_that_is_set_back_prolongs_no_connection() {
    let world = world();
    let acceptor = world.acceptor().max_age(Duration::from_millis(300)).build().unwrap();
    let (server, _client) = meet(&acceptor, &world.client("/cart").1).await;
    let began = Instant::now();
    world.clock.set(NOW.saturating_sub(Duration::from_secs(30)));
    assert_eq!(end(server.unwrap().lease()).await, Ended::MaxAge);
    assert!(began.elapsed() < SOON);
}

#[tokio::test]
async fn a_stream_works_on_until_its_grace_is_over() {
    let world = world();
    let acceptor = world.acceptor().grace(Duration::from_millis(400)).build().unwrap();
    let (cart, connector) = world.client("/cart");
    let (server, client) = meet(&acceptor, &connector).await;
    let (mut server, mut client) = (server.unwrap(), client.unwrap());
    world.replace_lists([world.authority.revoke(cart.load().identity().unwrap()).unwrap()]);
    assert_eq!(end(server.lease()).await, Ended::Identity);
    assert!(talk(&mut client, &mut server).await);
    // Who waits for bytes is woken when it is over.
    let waited = timeout(SOON, server.read(&mut [0; 1])).await.unwrap();
    assert_eq!(waited.unwrap_err().kind(), std::io::ErrorKind::ConnectionAborted);
    assert!(!talk(&mut server, &mut client).await);
}

#[tokio::test]
async fn a_client_leaves_a_server_that_is_revoked() {
    let world = world();
    let acceptor = world.acceptor().build().unwrap();
    let (cart, connector) = world.client("/cart");
    let (server, client) = meet(&acceptor, &connector).await;
    let (server, client) = (server.unwrap(), client.unwrap());
    assert_eq!((server.peer().end(), client.peer().end()), (End::Client, End::Server));
    let list = world.authority.revoke(world.source.load().identity().unwrap()).unwrap();
    let bundles = cart.load().bundles().clone().with_revocation_list(list);
    cart.replace(cart.current().identity().unwrap().clone(), bundles);
    assert_eq!(end(client.lease()).await, Ended::Identity);
    assert_eq!(server.lease().check(NOW), Ok(()));
}

#[tokio::test]
async fn a_connection_without_a_peer_ends_at_its_greatest_age() {
    let world = world();
    let acceptor = world.acceptor().max_age(HOUR).optional_clients().build().unwrap();
    let config = crate::support::plain(zt_tls::provider::ring(), &[&rustls::version::TLS13], None);
    let server = crate::support::meet_plain(&acceptor, config.into()).await.unwrap();
    assert!(server.peer().is_none());
    assert_eq!(server.lease().check(NOW), Ok(()));
    world.clock.advance(HOUR);
    assert_eq!(end(server.lease()).await, Ended::MaxAge);
}

#[tokio::test]
async fn of_many_connections_one_look_finds_those_that_are_not_supported() {
    let world = world();
    let acceptor = world.acceptor().build().unwrap();
    let (cart, till) = (world.client("/cart"), world.client("/till"));
    let mut streams = Vec::new();
    for n in 0..200 {
        let connector = if n % 2 == 0 { &cart.1 } else { &till.1 };
        streams.push(meet(&acceptor, connector).await.0.unwrap());
    }
    assert_eq!(acceptor.health().counted.open, 200);
    world.replace_lists([world.authority.revoke(cart.0.load().identity().unwrap()).unwrap()]);
    assert_eq!(end(streams[198].lease()).await, Ended::Identity);
    tokio::time::sleep(Duration::from_millis(100)).await;
    for (n, stream) in streams.iter().enumerate() {
        assert_eq!(stream.lease().has_ended().is_some(), n % 2 == 0, "{n}");
    }
    drop(streams);
    assert_eq!(acceptor.health().counted.open, 0);
}
