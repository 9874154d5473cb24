//! Which servers are believed to be the endpoint, and what they learn of us.

use std::sync::Arc;

use rustls_pki_types::alg_id;
use zt_core::fault::Fault;
use zt_core::spiffe::SpiffeId;
use zt_core::time::{ManualClock, SystemClock, Timestamp};
use zt_identity::authority::Defect;
use zt_identity::path::PathError;
use zt_identity::x509_svid::X509SvidError;
use zt_tls::connection::Refused;
use zt_tls::federation::{
    EndpointUrl, FederationError, FetchError, Profile, ProfileError, Relationship,
};

use crate::support::{
    ENDPOINT, Endpoint, authority, bundles, config, document, domain, id, ok, relationship, run,
    spiffe, svid_config, web, web_for, world, world_of, world_with,
};

#[test]
fn the_bundle_of_an_endpoint_that_serves_itself_is_fetched_and_its_workloads_are_believed() {
    run(async {
        let (partner, mut world) = (authority("partner.test"), world());
        let endpoint =
            Endpoint::serving(&partner.svid(ENDPOINT).unwrap(), &document(&[&partner], 7)).await;
        assert!(!world.believes(&partner));
        world.establish(spiffe(&partner, &endpoint));
        assert_eq!(world.told().await, "partner.test new 7");
        assert!(world.believes(&partner));
        assert_eq!(world.refreshed("partner.test").await, "partner.test same 7");
        let health = &world.federation.health()[0];
        assert_eq!((health.sequence, health.roots, health.failures), (Some(7), 1, 0));
        assert!(health.next > health.fetched && health.failure.is_none());
    });
}

#[test]
fn an_endpoint_is_asked_for_the_bundle_and_told_nothing_of_us() {
    run(async {
        let (partner, mut world) = (authority("partner.test"), world());
        let (root, web) = web();
        let endpoint = Endpoint::start(web, move |_| ok(document(&[&partner], 7).to_json())).await;
        let profile = Profile::https_web_with_roots([root]).unwrap();
        let url = endpoint.url("/bundle?of=partner.test");
        world.establish(relationship(&domain("partner.test"), &url, profile));
        assert_eq!(world.told().await, "partner.test new 7");
        let seen = endpoint.seen();
        let (head, presented) = &seen[0];
        assert!(!presented, "a certificate was presented");
        let mut lines: Vec<_> = head.trim_end().split("\r\n").map(str::to_lowercase).collect();
        assert_eq!(lines.remove(0), "get /bundle?of=partner.test http/1.1");
        let names: Vec<_> = lines.iter().map(|line| line.split(':').next().unwrap()).collect();
        assert_eq!(names, ["host", "accept", "user-agent"]);
        assert_eq!(lines[0], format!("host: localhost:{}", endpoint.port));
    });
}

#[test]
fn an_endpoint_with_another_spiffe_id_is_refused() {
    run(async {
        let (partner, mut world) = (authority("partner.test"), world());
        let document = document(&[&partner], 7);
        let endpoint = Endpoint::serving(&partner.svid("/endpoint2").unwrap(), &document).await;
        world.establish(spiffe(&partner, &endpoint));
        assert_eq!(world.told().await, "partner.test failed: the endpoint does not prove itself");
        let Refused::NotAdmitted { id: found } = world.refused() else { panic!() };
        assert_eq!(found, id(&partner, "/endpoint2"));
        assert_eq!(world.failure().fault(), Fault::Authority);
        assert!(endpoint.seen().is_empty(), "it was asked");
        assert!(!world.knows(domain("partner.test").borrowed()));
    });
}

#[test]
fn an_endpoint_whose_chain_the_provider_cannot_verify_is_refused() {
    run(async {
        let mut provider = rustls::crypto::CryptoProvider::clone(&zt_tls::provider::ring());
        let all = provider.signature_verification_algorithms.all.iter().copied();
        let ed25519 = all.filter(|known| known.public_key_alg_id() == alg_id::ED25519);
        provider.signature_verification_algorithms.all = ed25519.collect::<Vec<_>>().leak();
        let mut world = world_with(|builder| builder.provider(Arc::new(provider)));
        let partner = authority("partner.test");
        let document = document(&[&partner], 7);
        let endpoint = Endpoint::serving(&partner.svid(ENDPOINT).unwrap(), &document).await;
        world.establish(spiffe(&partner, &endpoint));
        assert_eq!(world.told().await, "partner.test failed: the endpoint does not prove itself");
        let Refused::Svid(refused) = world.refused() else { panic!() };
        assert_eq!(*refused, X509SvidError::Path(PathError::UnsupportedAlgorithm));
    });
}

#[test]
fn an_endpoint_whose_certificate_is_not_a_valid_svid_of_its_trust_domain_is_refused() {
    run(async {
        let (partner, other) = (authority("partner.test"), authority("other.test"));
        let forger = authority("partner.test");
        let identity = |of: &zt_identity::authority::Authority| {
            let svid = of.svid(ENDPOINT).unwrap();
            (svid.chain().to_vec(), svid.key().expose().clone_key())
        };
        let spoilt = |defect| partner.request(ENDPOINT).with_defect(defect).issue().unwrap();
        type Expected = fn(&X509SvidError) -> bool;
        let cases: [(_, Expected); 6] = [
            (identity(&other), |error| matches!(error, X509SvidError::NoBundle { .. })),
            (identity(&forger), |error| matches!(error, X509SvidError::Path(_))),
            (spoilt(Defect::Expired), |error| matches!(error, X509SvidError::Validity(_))),
            (spoilt(Defect::TwoUris), |error| matches!(error, X509SvidError::Leaf(_))),
            (spoilt(Defect::LeafIsCa), |error| matches!(error, X509SvidError::Leaf(_))),
            (spoilt(Defect::ForgedSignature), |error| matches!(error, X509SvidError::Path(_))),
        ];
        for ((chain, key), expected) in cases {
            let mut world = world();
            let json = document(&[&partner], 7).to_json();
            let endpoint = Endpoint::start(config(chain, key), move |_| ok(&json)).await;
            world.establish(spiffe(&partner, &endpoint));
            world.told().await;
            let Refused::Svid(error) = world.refused() else { panic!() };
            assert!(expected(&error), "{error:?}");
            assert!(endpoint.seen().is_empty() && !world.believes(&partner));
        }
    });
}

#[test]
fn an_endpoint_whose_certificate_is_revoked_is_refused() {
    run(async {
        let (partner, mut world) = (authority("partner.test"), world());
        let svid = partner.svid(ENDPOINT).unwrap();
        let endpoint = Endpoint::serving(&svid, &document(&[&partner], 7)).await;
        world.establish(spiffe(&partner, &endpoint));
        assert_eq!(world.told().await, "partner.test new 7");
        let material = world.source.current();
        let list = partner.revoke(&svid).unwrap();
        let ours = material.bundles().clone().without(domain("partner.test").borrowed());
        let identity = material.identity().unwrap().clone();
        world.source.replace(identity, ours.with_revocation_list(list));
        world.refreshed("partner.test").await;
        let Refused::Svid(error) = world.refused() else { panic!() };
        assert!(matches!(*error, X509SvidError::Revocation(_)), "{error:?}");
    });
}

#[test]
fn no_profile_stands_in_for_the_other() {
    run(async {
        let partner = authority("partner.test");
        let json = document(&[&partner], 7).to_json();
        // A certificate of the Web PKI, where an X509-SVID is wanted.
        let (root, web) = web();
        let (body, mut ours) = (json.clone(), world());
        let endpoint = Endpoint::start(web, move |_| ok(&body)).await;
        ours.establish(spiffe(&partner, &endpoint));
        ours.told().await;
        let Refused::Svid(error) = ours.refused() else { panic!() };
        assert!(matches!(*error, X509SvidError::Leaf(_)), "{error:?}");
        // An X509-SVID, where a certificate of the Web PKI is wanted, though it is for the host.
        let svid = partner.request(ENDPOINT).for_host("localhost").identity().unwrap();
        let mut theirs = world();
        let other = Endpoint::start(svid_config(&svid), move |_| ok(&json)).await;
        let profile = Profile::https_web_with_roots([root]).unwrap();
        theirs.establish(relationship(partner.trust_domain(), &other.url("/"), profile));
        theirs.told().await;
        assert!(format!("{:?}", theirs.failure()).contains("UnknownIssuer"));
        // Each was tried once, by its own profile.
        for (endpoint, world) in [(&endpoint, &ours), (&other, &theirs)] {
            assert_eq!((endpoint.connections(), endpoint.seen().len()), (1, 0));
            assert!(!world.knows(domain("partner.test").borrowed()));
        }
    });
}

#[test]
fn an_endpoint_of_the_web_pki_is_known_by_the_host_of_its_url_and_by_its_roots() {
    run(async {
        let partner = authority("partner.test");
        let json = document(&[&partner], 7).to_json();
        let later = Timestamp::from_civil(4097, 1, 1, 0, 0, 0).unwrap();
        let (root, server) = web();
        let (other_root, other_server) = web_for("other.test");
        for (expected, root, server, now) in [
            ("new 7", root.clone(), server.clone(), None),
            // Its name is that of the certificate of the server, and its key is another.
            ("BadSignature", other_root.clone(), server.clone(), None),
            (
                "UnknownIssuer",
                partner.bundle().roots()[0].certificate().clone(),
                server.clone(),
                None,
            ),
            ("NotValidForName", other_root, other_server, None),
            ("Expired", root, server, Some(later)),
        ] {
            let mut world = world_with(|builder| match now {
                Some(now) => builder.clock(ManualClock::at(now)),
                None => builder,
            });
            let body = json.clone();
            let endpoint = Endpoint::start(server, move |_| ok(&body)).await;
            let profile = Profile::https_web_with_roots([root]).unwrap();
            let url = endpoint.url("/bundle");
            world.establish(relationship(partner.trust_domain(), &url, profile));
            let told = world.told().await;
            if expected == "new 7" {
                assert_eq!(told, "partner.test new 7");
                assert!(world.believes(&partner));
            } else {
                let failure = format!("{:?}", world.failure());
                assert!(failure.contains(expected), "{expected}: {failure}");
                assert!(endpoint.seen().is_empty() && !world.believes(&partner));
            }
        }
    });
}

#[test]
fn an_endpoint_of_a_third_trust_domain_is_judged_by_the_bundle_of_that_one() {
    run(async {
        let (partner, host) = (authority("partner.test"), authority("host.test"));
        let svid = host.svid(ENDPOINT).unwrap();
        let endpoint = Endpoint::serving(&svid, &document(&[&partner], 7)).await;
        let source = authority("example.org").source("/orders").unwrap();
        let mut world = world_of(source, |builder| builder);
        let profile = Profile::https_spiffe_by_source(id(&host, ENDPOINT)).unwrap();
        world.establish(relationship(partner.trust_domain(), &endpoint.url("/"), profile));
        // We know nobody of that trust domain, and the endpoint is not asked.
        world.told().await;
        assert!(matches!(world.failure(), FetchError::NoBundle { .. }));
        assert_eq!(endpoint.connections(), 0);
        world.source.put_bundle(host.bundle(), None).unwrap();
        assert_eq!(world.refreshed("partner.test").await, "partner.test new 7");
        // A bundle that came with the profile counts for as long as the relationship does: what is
        // fetched is not about the endpoint.
        let mut other = world_with(|builder| builder);
        let profile = Profile::https_spiffe(id(&host, ENDPOINT), host.bundle()).unwrap();
        other.establish(relationship(partner.trust_domain(), &endpoint.url("/"), profile));
        for expected in ["partner.test new 7", "partner.test same 7"] {
            assert_eq!(other.told().await, expected);
            other.federation.refresh(domain("partner.test").borrowed());
        }
        assert!(other.believes(&partner) && !other.believes(&host));
    });
}

#[test]
fn whose_a_document_is_is_said_by_the_relationship_and_by_nothing_else() {
    run(async {
        let (partner, other) = (authority("partner.test"), authority("other.test"));
        let mut world = world();
        let (root, web) = web();
        // It serves, for partner.test, the roots of another trust domain, which name that one.
        let json = document(&[&other], 7).to_json();
        let endpoint = Endpoint::start(web, move |_| ok(&json)).await;
        let profile = Profile::https_web_with_roots([root]).unwrap();
        world.establish(relationship(partner.trust_domain(), &endpoint.url("/"), profile));
        assert_eq!(world.told().await, "partner.test new 7");
        assert!(!world.believes(&other) && !world.believes(&partner));
        assert!(!world.knows(domain("other.test").borrowed()));
        assert_eq!(world.federation.health()[0].roots, 0);
    });
}

#[test]
fn bundles_of_two_trust_domains_are_never_one() {
    run(async {
        let (one, two) = (authority("one.test"), authority("two.test"));
        let mut world = world();
        let mut endpoints = Vec::new();
        for partner in [&one, &two] {
            let svid = partner.svid(ENDPOINT).unwrap();
            let endpoint = Endpoint::serving(&svid, &document(&[partner], 1)).await;
            world.establish(spiffe(partner, &endpoint));
            assert!(world.told().await.ends_with("new 1"));
            endpoints.push(endpoint);
        }
        assert!(world.believes(&one) && world.believes(&two));
        let one_domain = domain("one.test");
        let forged = two.request("/x").with_defect(Defect::OtherTrustDomain).issue().unwrap();
        let bundles = bundles(world.source.load().bundles().iter().cloned());
        let verifier = zt_identity::x509_svid::X509SvidVerifier::new();
        let now = zt_core::time::Clock::now(&SystemClock);
        assert!(verifier.verify(&forged.0, &bundles, now).is_err());
        assert_eq!(bundles.get(one_domain.borrowed()), Some(&one.bundle()));
        world.federation.remove(one_domain.borrowed());
        assert!(!world.believes(&one) && world.believes(&two));
    });
}

#[test]
fn a_relationship_that_cannot_be_is_refused_when_it_is_stated() {
    run(async {
        let (ours, partner) = (authority("example.org"), authority("partner.test"));
        let source = ours.source("/orders").unwrap();
        let world = world_of(source.clone(), |builder| builder);
        let web = || Profile::https_web_with_roots([web().0]).unwrap();
        let url = "https://localhost:1/";
        let twice = || relationship(partner.trust_domain(), url, web());
        world.establish(twice());
        let again = world.federation.establish(twice());
        assert!(matches!(again, Err(FederationError::Twice { .. })));
        let own = relationship(ours.trust_domain(), url, web());
        assert!(matches!(world.federation.establish(own), Err(FederationError::Own { .. })));
        // Nor when our own identity is not to be used.
        source.withdraw();
        let own = relationship(ours.trust_domain(), url, web());
        assert!(matches!(world.federation.establish(own), Err(FederationError::Own { .. })));
        let profile = Profile::https_spiffe_by_source(id(&partner, ENDPOINT)).unwrap();
        let url = EndpointUrl::parse(url).unwrap();
        let self_serving = Relationship::new(partner.trust_domain().clone(), url, profile);
        assert!(matches!(self_serving, Err(FederationError::NoFirstBundle { .. })));
        let other = Profile::https_spiffe(id(&partner, ENDPOINT), ours.bundle());
        assert!(matches!(other, Err(ProfileError::OtherTrustDomain { .. })));
        let root = SpiffeId::parse("spiffe://partner.test").unwrap();
        let no_workload = Profile::https_spiffe(root, partner.bundle());
        assert!(matches!(no_workload, Err(ProfileError::NoWorkload { .. })));
        assert!(matches!(Profile::https_web_with_roots([]), Err(ProfileError::NoRoots)));
        let root = rustls_pki_types::CertificateDer::from(vec![1, 2, 3]);
        assert!(matches!(Profile::https_web_with_roots([root]), Err(ProfileError::Root(_))));
    });
}

#[test]
fn without_a_runtime_there_is_no_relationship() {
    let world = world();
    let profile = Profile::https_web_with_roots([web().0]).unwrap();
    let relationship = relationship(&domain("partner.test"), "https://localhost:1/", profile);
    let refused = world.federation.establish(relationship);
    assert!(matches!(refused, Err(FederationError::NoRuntime)));
}
