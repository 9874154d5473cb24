//! Keys of an endpoint that serves itself, as they rotate.

use zt_tls::federation::FetchError;

use crate::support::{ENDPOINT, Endpoint, authority, document, run, spiffe, svid_config, world};

#[test]
fn an_endpoint_is_judged_by_the_latest_bundle_and_not_by_the_first() {
    run(async {
        let (old, new, mut world) = (authority("partner.test"), authority("partner.test"), world());
        let (old_svid, new_svid) = (old.svid(ENDPOINT).unwrap(), new.svid(ENDPOINT).unwrap());
        let endpoint = Endpoint::serving(&old_svid, &document(&[&old], 1)).await;
        world.establish(spiffe(&old, &endpoint));
        assert_eq!(world.told().await, "partner.test new 1");
        // The new root is announced, then used, then alone.
        endpoint.serves(&document(&[&old, &new], 2));
        assert_eq!(world.refreshed("partner.test").await, "partner.test new 2");
        endpoint.present(svid_config(&new_svid));
        assert_eq!(world.refreshed("partner.test").await, "partner.test same 2");
        endpoint.serves(&document(&[&new], 3));
        assert_eq!(world.refreshed("partner.test").await, "partner.test new 3");
        assert!(world.believes(&new) && !world.believes(&old));
        // Whoever has the old root's key from here on is nobody, though it came with the profile.
        endpoint.present(svid_config(&old_svid));
        endpoint.serves(&document(&[&old], 4));
        world.refreshed("partner.test").await;
        assert!(matches!(world.failure(), FetchError::Tls(_)), "{:?}", world.failure());
        assert!(world.believes(&new) && !world.believes(&old));
        endpoint.present(svid_config(&new_svid));
        endpoint.serves(&document(&[&new], 4));
        assert_eq!(world.refreshed("partner.test").await, "partner.test new 4");
    });
}

#[test]
fn an_endpoint_that_replaces_all_of_its_keys_at_once_is_lost_until_it_is_established_anew() {
    run(async {
        let (old, new, mut world) = (authority("partner.test"), authority("partner.test"), world());
        let old_svid = old.svid(ENDPOINT).unwrap();
        let endpoint = Endpoint::serving(&old_svid, &document(&[&old], 1)).await;
        world.establish(spiffe(&old, &endpoint));
        assert_eq!(world.told().await, "partner.test new 1");
        endpoint.present(svid_config(&new.svid(ENDPOINT).unwrap()));
        endpoint.serves(&document(&[&new], 2));
        world.refreshed("partner.test").await;
        assert!(matches!(world.failure(), FetchError::Tls(_)));
        assert!(world.believes(&old) && !world.believes(&new));
        assert!(world.federation.remove(new.trust_domain().borrowed()));
        assert_eq!(world.told().await, "partner.test gone: Ended");
        world.establish(spiffe(&new, &endpoint));
        assert_eq!(world.told().await, "partner.test new 2");
        assert!(world.believes(&new) && !world.believes(&old));
    });
}

#[test]
fn what_was_believed_is_not_what_was_fetched_first_when_several_fetches_go_on() {
    run(async {
        let (partner, mut world) = (authority("partner.test"), world());
        let svid = partner.svid(ENDPOINT).unwrap();
        let endpoint = Endpoint::serving(&svid, &document(&[&partner], 1)).await;
        world.establish(spiffe(&partner, &endpoint));
        assert_eq!(world.told().await, "partner.test new 1");
        for _ in 0..20 {
            world.federation.refresh(partner.trust_domain().borrowed());
        }
        // One fetch after the other: those who asked meanwhile asked for the next one.
        assert_eq!(world.told().await, "partner.test same 1");
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        assert!(endpoint.connections() <= 3, "{}", endpoint.connections());
    });
}
