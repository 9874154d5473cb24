//! When bundles are fetched, how long they count, and how relationships end.
#![expect(clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls_pki_types::ServerName;
use tokio::io::duplex;
use tokio::time::timeout;
use zt_core::lease::Ended;
use zt_core::spiffe::TrustDomain;
use zt_core::time::{Clock, ManualClock, SystemClock};
use zt_identity::bundle::SpiffeBundle;
use zt_identity::jwt_bundle::JwtBundleSet;
use zt_identity::matcher::Authorizer;
use zt_identity::source::{JwtBundleSource, X509Source};
use zt_tls::events::Event;
use zt_tls::federation::{
    BundleFolder, BundleStore, Federation, FetchError, Profile, StoredBundle,
};
use zt_tls::health::Status;
use zt_tls::{Acceptor, Connector};

use crate::support::{
    ENDPOINT, Endpoint, LONG, Say, authority, bundles, document, domain, ok, relationship, run,
    spiffe, svid_config, web, world, world_of, world_with,
};

#[test]
fn the_bundle_says_when_to_look_again() {
    run(async {
        let (partner, mut world) = (authority("partner.test"), world());
        let document = document(&[&partner], 1).with_refresh_hint(Duration::from_secs(1));
        let endpoint = Endpoint::serving(&partner.svid(ENDPOINT).unwrap(), &document).await;
        world.establish(spiffe(&partner, &endpoint));
        let begun = Instant::now();
        assert_eq!(world.told().await, "partner.test new 1");
        assert_eq!(world.told().await, "partner.test same 1");
        assert!(begun.elapsed() >= Duration::from_millis(900));
        // A failure changes nothing about that.
        endpoint.says(|_| Say::Bytes(Vec::new()));
        assert!(world.told().await.starts_with("partner.test failed"));
        let failed = Instant::now();
        assert!(world.told().await.starts_with("partner.test failed"));
        assert!(failed.elapsed() >= Duration::from_millis(800));
        let health = &world.federation.health()[0];
        let pause = health.next.unwrap().since(health.failure.as_ref().unwrap().0);
        assert!((900..=1000).contains(&pause.as_millis()), "{pause:?}");
    });
}

#[test]
fn where_nothing_says_when_to_look_again_it_is_after_5_minutes() {
    run(async {
        let (partner, mut world) = (authority("partner.test"), world());
        let endpoint =
            Endpoint::start(svid_config(&partner.svid(ENDPOINT).unwrap()), |_| Say::Bytes(vec![]))
                .await;
        world.establish(spiffe(&partner, &endpoint));
        world.told().await;
        let pause = |world: &crate::support::World, since: zt_core::time::Timestamp| {
            world.federation.health()[0].next.unwrap().since(since)
        };
        let failed = world.federation.health()[0].failure.clone().unwrap().0;
        assert!((270..=300).contains(&pause(&world, failed).as_secs()));
        endpoint.serves(&document(&[&partner], 1));
        world.refreshed("partner.test").await;
        let fetched = world.federation.health()[0].fetched.unwrap();
        assert!((270..=300).contains(&pause(&world, fetched).as_secs()));
        assert_eq!(endpoint.connections(), 2);
    });
}

#[test]
fn before_a_first_bundle_it_is_tried_as_often_as_is_said() {
    run(async {
        let mut world = world_with(|builder| builder.first_interval(Duration::ZERO));
        let partner = authority("partner.test");
        let endpoint =
            Endpoint::start(svid_config(&partner.svid(ENDPOINT).unwrap()), |_| Say::Bytes(vec![]))
                .await;
        let begun = Instant::now();
        world.establish(spiffe(&partner, &endpoint));
        let domain = domain("partner.test");
        assert!(!world.federation.ready(domain.borrowed(), Duration::from_millis(300)).await);
        for _ in 0..3 {
            assert!(world.told().await.starts_with("partner.test failed"));
        }
        assert!(begun.elapsed() >= Duration::from_millis(180), "a loop without a pause");
        endpoint.serves(&document(&[&partner], 1));
        assert!(world.federation.ready(domain.borrowed(), LONG).await);
        assert!(world.federation.bundle(domain.borrowed()).is_some());
        assert!(!world.federation.ready(self::domain("other.test").borrowed(), LONG).await);
    });
}

#[test]
fn the_end_of_a_relationship_is_the_end_of_its_bundle_and_of_its_connections() {
    run(async {
        let (ours, partner) = (authority("example.org"), authority("partner.test"));
        let source = ours.source("/orders").unwrap();
        let mut world = world_of(source.clone(), |builder| builder);
        let endpoint =
            Endpoint::serving(&partner.svid(ENDPOINT).unwrap(), &document(&[&partner], 1)).await;
        world.establish(spiffe(&partner, &endpoint));
        assert_eq!(world.told().await, "partner.test new 1");
        let acceptor = Acceptor::builder(source, Authorizer::any_in_bundles())
            .recheck_every(Duration::from_millis(20))
            .build()
            .unwrap();
        let theirs = X509Source::new(
            partner.svid("/client").unwrap(),
            bundles([partner.bundle(), ours.bundle()]),
        );
        let connector = Connector::new(theirs, Authorizer::any_in_bundles()).unwrap();
        let meet = async || {
            let (one, two) = duplex(64 * 1024);
            let host = ServerName::try_from("orders").unwrap();
            tokio::join!(acceptor.accept(one), connector.connect(host, two))
        };
        let (server, _client) = meet().await;
        let lease = server.unwrap().lease().clone();
        assert!(lease.check(SystemClock.now()).is_ok());
        assert!(world.federation.remove(domain("partner.test").borrowed()));
        // At once: nobody waits for anything.
        assert!(!world.knows(domain("partner.test").borrowed()));
        assert_eq!(lease.check(SystemClock.now()), Err(Ended::Identity));
        assert_eq!(timeout(LONG, lease.ended()).await.unwrap(), Ended::Identity);
        assert!(meet().await.0.is_err());
        assert_eq!(world.told().await, "partner.test gone: Ended");
        // And nobody asks any more.
        let asked = endpoint.connections();
        assert!(!world.federation.refresh(domain("partner.test").borrowed()));
        assert!(!world.federation.remove(domain("partner.test").borrowed()));
        assert!(world.federation.health().is_empty());
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(endpoint.connections(), asked);
    });
}

#[test]
fn a_fetch_that_is_under_way_when_a_relationship_ends_brings_nothing() {
    run(async {
        let (partner, mut world) = (authority("partner.test"), world());
        let (asked, was_asked) = channel();
        let (go, may_go) = channel::<()>();
        let json = document(&[&partner], 1).to_json();
        let svid = partner.svid(ENDPOINT).unwrap();
        let endpoint = Endpoint::start(svid_config(&svid), move |_| {
            asked.send(()).unwrap();
            let _ = tokio::task::block_in_place(|| may_go.recv_timeout(LONG));
            ok(&json)
        })
        .await;
        world.establish(spiffe(&partner, &endpoint));
        tokio::task::block_in_place(|| was_asked.recv_timeout(LONG)).unwrap();
        assert!(world.federation.remove(domain("partner.test").borrowed()));
        assert_eq!(world.told().await, "partner.test gone: Ended");
        go.send(()).unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!world.knows(domain("partner.test").borrowed()));
        assert!(world.told.try_recv().is_err());
    });
}

#[test]
fn all_relationships_end_with_their_federation() {
    run(async {
        let (partner, mut world) = (authority("partner.test"), world());
        let endpoint =
            Endpoint::serving(&partner.svid(ENDPOINT).unwrap(), &document(&[&partner], 1)).await;
        world.establish(spiffe(&partner, &endpoint));
        assert_eq!(world.told().await, "partner.test new 1");
        let crate::support::World { source, federation, mut told } = world;
        drop(federation);
        assert!(source.load().bundles().get(domain("partner.test").borrowed()).is_none());
        assert_eq!(told.recv().await.unwrap(), "partner.test gone: Ended");
    });
}

#[test]
fn a_bundle_that_nobody_looks_after_any_more_is_gone() {
    let partner = authority("partner.test");
    let source = authority("example.org").source("/orders").unwrap();
    let knows = || source.load().bundles().get(domain("partner.test").borrowed()).is_some();
    run(async {
        let endpoint =
            Endpoint::serving(&partner.svid(ENDPOINT).unwrap(), &document(&[&partner], 1)).await;
        // An observer that panics when it is told of the second fetch.
        let fetches = Mutex::new(0);
        let federation = Federation::builder(source.clone())
            .observe(move |event: &Event<'_>| {
                if matches!(event, Event::BundleFetched { .. }) {
                    *fetches.lock().unwrap() += 1;
                    assert!(*fetches.lock().unwrap() < 2, "on purpose");
                }
            })
            .build()
            .unwrap();
        federation.establish(spiffe(&partner, &endpoint)).unwrap();
        assert!(federation.ready(domain("partner.test").borrowed(), LONG).await);
        federation.refresh(domain("partner.test").borrowed());
        let begun = Instant::now();
        while knows() {
            assert!(begun.elapsed() < LONG);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    // And with the runtime that it was established in.
    let mut kept = None;
    run(async {
        let endpoint =
            Endpoint::serving(&partner.svid(ENDPOINT).unwrap(), &document(&[&partner], 1)).await;
        let mut world = world_of(source.clone(), |builder| builder);
        world.establish(spiffe(&partner, &endpoint));
        assert_eq!(world.told().await, "partner.test new 1");
        assert!(knows());
        kept = Some(world);
    });
    assert!(!knows());
}

#[test]
fn an_endpoint_that_is_silent_for_too_long_has_its_bundle_taken_away_until_it_is_heard() {
    run(async {
        let clock = ManualClock::at(SystemClock.now());
        let hour = Duration::from_secs(3600);
        let mut world = world_with(|builder| builder.clock(clock.clone()).max_age(hour));
        let partner = authority("partner.test");
        let endpoint =
            Endpoint::serving(&partner.svid(ENDPOINT).unwrap(), &document(&[&partner], 1)).await;
        world.establish(spiffe(&partner, &endpoint));
        assert_eq!(world.told().await, "partner.test new 1");
        endpoint.says(|_| Say::Bytes(Vec::new()));
        clock.advance(hour - Duration::from_secs(1));
        assert!(world.refreshed("partner.test").await.starts_with("partner.test failed"));
        assert!(world.believes(&partner));
        clock.advance(Duration::from_secs(1));
        assert!(world.refreshed("partner.test").await.starts_with("partner.test failed"));
        assert_eq!(world.told().await, "partner.test gone: Stale");
        assert!(!world.knows(domain("partner.test").borrowed()));
        let health = &world.federation.health()[0];
        assert_eq!((health.status, health.stale, health.roots), (Status::Failing, true, 0));
        assert!(world.federation.bundle(domain("partner.test").borrowed()).is_none());
        // An older one is older still.
        let svid = partner.request(ENDPOINT).at(clock.now()).identity().unwrap();
        endpoint.present(svid_config(&svid));
        endpoint.serves(&document(&[&partner], 0));
        world.refreshed("partner.test").await;
        assert!(matches!(world.failure(), FetchError::Sequence { .. }));
        assert!(!world.believes(&partner));
        endpoint.serves(&document(&[&partner], 1));
        assert_eq!(world.refreshed("partner.test").await, "partner.test same 1");
        assert!(world.believes(&partner));
    });
}

#[test]
fn silence_is_noticed_without_a_fetch() {
    run(async {
        let mut world = world_with(|builder| builder.max_age(Duration::from_millis(300)));
        let partner = authority("partner.test");
        let endpoint =
            Endpoint::serving(&partner.svid(ENDPOINT).unwrap(), &document(&[&partner], 1)).await;
        world.establish(spiffe(&partner, &endpoint));
        assert_eq!(world.told().await, "partner.test new 1");
        assert_eq!(world.told().await, "partner.test gone: Stale");
        assert!(!world.believes(&partner));
        assert_eq!(endpoint.connections(), 1);
        assert_eq!(world.refreshed("partner.test").await, "partner.test same 1");
    });
}

#[test]
fn what_was_kept_counts_after_a_restart_while_the_endpoint_is_down() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let store = BundleFolder::new(folder.path());
        let (first, partner) = (authority("partner.test"), authority("partner.test"));
        let (first_svid, svid) = (first.svid(ENDPOINT).unwrap(), partner.svid(ENDPOINT).unwrap());
        let endpoint = Endpoint::serving(&first_svid, &document(&[&first, &partner], 6)).await;
        let mut before = world_with(|builder| builder.store(store.clone()));
        before.establish(spiffe(&first, &endpoint));
        assert_eq!(before.told().await, "partner.test new 6");
        endpoint.present(svid_config(&svid));
        endpoint.serves(&document(&[&partner], 7));
        assert_eq!(before.refreshed("partner.test").await, "partner.test new 7");
        drop(before);
        endpoint.says(|_| Say::Bytes(Vec::new()));

        let mut after = world_with(|builder| builder.store(store.clone()));
        after.establish(spiffe(&first, &endpoint));
        assert!(after.federation.ready(domain("partner.test").borrowed(), LONG).await);
        assert!(after.believes(&partner) && !after.believes(&first));
        assert!(after.told().await.starts_with("partner.test failed: there is no complete answer"));
        // What is older than it is still older, and the endpoint is still judged by it.
        endpoint.serves(&document(&[&partner], 5));
        after.refreshed("partner.test").await;
        assert!(matches!(after.failure(), FetchError::Sequence { latest: Some(7), .. }));
        endpoint.present(svid_config(&first_svid));
        after.refreshed("partner.test").await;
        assert!(matches!(after.failure(), FetchError::Tls(_)));
        // The end of the relationship is the end of what is kept.
        assert!(store.load(&domain("partner.test")).unwrap().is_some());
        after.federation.remove(domain("partner.test").borrowed());
        assert!(store.load(&domain("partner.test")).unwrap().is_none());
    });
}

#[test]
fn what_was_kept_for_too_long_or_of_another_relationship_does_not_count() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let store = BundleFolder::new(folder.path());
        let partner = authority("partner.test");
        let endpoint =
            Endpoint::start(svid_config(&partner.svid(ENDPOINT).unwrap()), |_| Say::Bytes(vec![]))
                .await;
        let keep = |relationship: &str, age: Duration, json: &str| {
            let fetched = SystemClock.now().saturating_sub(age);
            let (relationship, json) = (relationship.to_owned(), json.as_bytes().to_vec());
            let stored = StoredBundle { relationship, fetched, json };
            store.save(&domain("partner.test"), &stored).unwrap();
        };
        let json = document(&[&partner], 7).to_json();
        let url = endpoint.url("/bundle");
        let ours = format!("https_spiffe spiffe://partner.test/endpoint {url}");
        let day = Duration::from_secs(24 * 3600);
        for (relationship, age, json, counts) in [
            (&*ours, day, &*json, true),
            (&ours, day * 7, &json, false),
            (&format!("https_spiffe spiffe://partner.test/other {url}"), day, &json, false),
            (&format!("https_web - {url}"), day, &json, false),
            (&format!("{ours}2"), day, &json, false),
            (&ours, day, "{}", false),
        ] {
            keep(relationship, age, json);
            let mut world = world_with(|builder| builder.store(store.clone()));
            world.establish(spiffe(&partner, &endpoint));
            while !world.told().await.starts_with("partner.test failed: there is no complete") {}
            assert_eq!(world.believes(&partner), counts, "{relationship} {age:?}");
        }
    });
}

/// A store that waits.
#[derive(Debug)]
struct Slow {
    begun: Mutex<Sender<()>>,
    go: Mutex<Receiver<()>>,
    kept: Arc<Mutex<Option<StoredBundle>>>,
}

impl BundleStore for Slow {
    fn load(&self, _: &TrustDomain) -> io::Result<Option<StoredBundle>> {
        Ok(None)
    }

    fn save(&self, _: &TrustDomain, bundle: &StoredBundle) -> io::Result<()> {
        self.begun.lock().unwrap().send(()).unwrap();
        self.go.lock().unwrap().recv_timeout(LONG).unwrap();
        *self.kept.lock().unwrap() = Some(bundle.clone());
        Ok(())
    }

    fn remove(&self, _: &TrustDomain) -> io::Result<()> {
        *self.kept.lock().unwrap() = None;
        Ok(())
    }
}

#[test]
fn what_is_being_kept_when_a_relationship_ends_is_not_kept() {
    run(async {
        let ((begun, has_begun), (go, may_go)) = (channel(), channel());
        let kept = Arc::new(Mutex::new(None));
        let slow = Slow { begun: begun.into(), go: may_go.into(), kept: Arc::clone(&kept) };
        let (partner, world) = (authority("partner.test"), world_with(|with| with.store(slow)));
        let endpoint =
            Endpoint::serving(&partner.svid(ENDPOINT).unwrap(), &document(&[&partner], 1)).await;
        world.establish(spiffe(&partner, &endpoint));
        tokio::task::block_in_place(|| has_begun.recv_timeout(LONG)).unwrap();
        assert!(world.believes(&partner), "nobody waits for a disk");
        let source = world.source.clone();
        let federation = world.federation;
        let ending = tokio::task::spawn_blocking(move || {
            federation.remove(domain("partner.test").borrowed())
        });
        let begun = Instant::now();
        while source.load().bundles().get(domain("partner.test").borrowed()).is_some() {
            assert!(begun.elapsed() < LONG);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        go.send(()).unwrap();
        assert!(timeout(LONG, ending).await.unwrap().unwrap());
        assert_eq!(*kept.lock().unwrap(), None);
    });
}

#[test]
fn a_store_that_fails_is_told_of_and_stops_nothing() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let nowhere = BundleFolder::new(folder.path().join("nowhere"));
        let (partner, mut world) =
            (authority("partner.test"), world_with(|with| with.store(nowhere)));
        let endpoint =
            Endpoint::serving(&partner.svid(ENDPOINT).unwrap(), &document(&[&partner], 1)).await;
        world.establish(spiffe(&partner, &endpoint));
        assert!(world.told().await.starts_with("partner.test failed"));
        assert_eq!(world.told().await, "partner.test new 1");
        assert!(world.believes(&partner));
    });
}

#[test]
fn keys_for_tokens_are_handed_on() {
    run(async {
        let ours = JwtBundleSource::new(domain("example.org"), JwtBundleSet::new());
        let has = |kid: &str| {
            let material = ours.current();
            let bundle =
                material.at(SystemClock.now()).unwrap().get(domain("partner.test").borrowed());
            bundle.is_some_and(|bundle| bundle.key(kid).is_some())
        };
        let (partner, mut world) =
            (authority("partner.test"), world_with(|builder| builder.tokens(ours.clone())));
        let (root, web) = web();
        let tokens = SpiffeBundle::from_json(
            br#"{"keys":[{"use":"jwt-svid","kty":"EC","crv":"P-256","kid":"k1",
                "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#,
        )
        .unwrap();
        let json = document(&[&partner], 1).with_token_keys_of(&tokens).to_json();
        let endpoint = Endpoint::start(web, move |_| ok(&json)).await;
        let profile = Profile::https_web_with_roots([root]).unwrap();
        world.establish(relationship(partner.trust_domain(), &endpoint.url("/"), profile));
        assert_eq!(world.told().await, "partner.test new 1");
        let bundle = world.federation.bundle(domain("partner.test").borrowed()).unwrap();
        assert!(bundle.jwt_bundle(domain("partner.test")).key("k1").is_some());
        assert!(has("k1") && !has("k2"));
        assert!(world.federation.remove(domain("partner.test").borrowed()));
        assert!(!has("k1"));
    });
}
