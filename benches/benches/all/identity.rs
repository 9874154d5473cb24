//! Certificates, beside the parsers and the path validation of others.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use serde_json::{Value, json};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationOptionsBuilder,
};
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use zt_benches::Scenario;
use zt_core::spiffe::{SpiffeId, SpiffeIdRef, TrustDomain};
use zt_core::time::{Clock, SystemClock, Timestamp};
use zt_identity::authority::Authority;
use zt_identity::bundle::BundleSet;
use zt_identity::claims::Audience;
use zt_identity::jwt_bundle::JwtBundleSet;
use zt_identity::jwt_svid::JwtSvidVerifier;
use zt_identity::matcher::Authorizer;
use zt_identity::profile::{KeyUsageCriticality, Leaf};
use zt_identity::revocation::RevocationList;
use zt_identity::source::X509Source;
use zt_identity::x509_svid::X509SvidVerifier;

const CART: &str = "/ns/shop/sa/cart";

pub fn scenarios() -> Vec<Scenario> {
    vec![
        san_walk(),
        path("identity/x509-depth1", Chain::new(1)),
        path("identity/x509-depth2", Chain::new(2)),
        revocation("identity/x509-crl-0", 0),
        revocation("identity/x509-crl-10k", 10_000),
        revocation("identity/x509-crl-100k", 100_000),
        path("identity/junk-chain-64k", sixty_four_k()),
        // The worst that is looked at.
        path("identity/junk-chain-of-5", Chain::junk(4)),
        authorize(),
        authorize_by_pattern(),
        jwt_svid(),
        source_read(),
    ]
}

pub fn authority() -> Authority {
    Authority::new(TrustDomain::from_name("example.org").unwrap(), SystemClock.now()).unwrap()
}

/// A chain and the root that is to vouch for it.
#[derive(Clone)]
struct Chain {
    certificates: Vec<CertificateDer<'static>>,
    bundles: BundleSet,
    anchors: Vec<TrustAnchor<'static>>,
    now: Timestamp,
    is_good: bool,
}

impl Chain {
    fn new(depth: usize) -> Self {
        let authority = authority();
        let request = authority.request(CART);
        let request = if depth > 1 { request.through_intermediate() } else { request };
        let (certificates, _) = request.issue().unwrap();
        assert_eq!(certificates.len(), depth);
        Self::of(&authority, certificates, true)
    }

    /// A leaf of which no root knows, and intermediates that have its issuer's name and not its
    /// key.
    fn junk(intermediates: usize) -> Self {
        let authority = authority();
        let mut certificates =
            self::authority().request(CART).through_intermediate().issue().unwrap().0;
        certificates.truncate(1);
        for _ in 0..intermediates {
            let chain = authority.request(CART).through_intermediate().issue().unwrap().0;
            certificates.extend(chain.into_iter().skip(1));
        }
        Self::of(&authority, certificates, false)
    }

    fn len(&self) -> usize {
        self.certificates.iter().map(|certificate| certificate.len()).sum()
    }

    fn of(
        authority: &Authority,
        certificates: Vec<CertificateDer<'static>>,
        is_good: bool,
    ) -> Self {
        let bundle = authority.bundle();
        let anchors = bundle
            .roots()
            .iter()
            .map(|root| webpki::anchor_from_trusted_cert(root.certificate()).unwrap().to_owned());
        let anchors = anchors.collect();
        let now = SystemClock.now();
        Self { certificates, bundles: BundleSet::new().with(bundle), anchors, now, is_good }
    }

    fn ours(&self) -> bool {
        let chain = black_box(&self.certificates);
        X509SvidVerifier::new().verify(chain, &self.bundles, self.now).is_ok()
    }

    fn webpki(&self, list: Option<&CertRevocationList<'_>>) -> bool {
        let (leaf, others) = black_box(&self.certificates).split_first().unwrap();
        let time = Duration::from_secs(u64::try_from(self.now.as_secs()).unwrap());
        let leaf = EndEntityCert::try_from(leaf).unwrap();
        let lists: Vec<_> = list.into_iter().collect();
        let revocation = RevocationOptionsBuilder::new(&lists).ok();
        let revocation =
            revocation.map(|all| all.with_expiration_policy(ExpirationPolicy::Enforce).build());
        leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &self.anchors,
            others,
            UnixTime::since_unix_epoch(time),
            KeyUsage::client_auth(),
            revocation,
            None,
        )
        .is_ok()
    }
}

fn sixty_four_k() -> Chain {
    let chain = Chain::junk(160);
    assert!(chain.len() >= 64 * 1024);
    chain
}

fn path(name: &'static str, chain: Chain) -> Scenario {
    let chain = std::rc::Rc::new(chain);
    let theirs = chain.clone();
    assert_eq!((chain.ours(), chain.webpki(None)), (chain.is_good, chain.is_good));
    Scenario::new(name, move || chain.ours())
        .peer("webpki", move || theirs.webpki(None))
        .peer_cannot("spiffe", "reads SVIDs, and verifies no chain outside of a handshake")
}

/// A list of the root with so many entries, none of which is the leaf.
fn revocation(name: &'static str, entries: u32) -> Scenario {
    let authority = authority();
    let certificates = authority.request(CART).issue().unwrap().0;
    let serials = (0..entries).map(|n| [&[1][..], &n.to_be_bytes()].concat());
    let list = authority.crl().revoking_serials(serials).der().unwrap();
    let mut chain = Chain::of(&authority, certificates, true);
    let without = chain.clone();
    let ours = RevocationList::from_der(&list).unwrap();
    chain.bundles = chain.bundles.with_revocation_list(ours);
    let theirs: CertRevocationList<'static> =
        OwnedCertRevocationList::from_der(&list).unwrap().into();
    let webpki = chain.clone();
    assert!(chain.ours() && webpki.webpki(Some(&theirs)));
    Scenario::new(name, move || chain.ours())
        .peer("webpki", move || webpki.webpki(Some(&theirs)))
        .peer("ours, without lists", move || without.ours())
}

fn san_walk() -> Scenario {
    let leaf = authority().request(CART).issue().unwrap().0.remove(0);
    let (for_parser, for_webpki) = (leaf.clone(), leaf.clone());
    let ours = move || {
        let leaf = Leaf::read(black_box(&leaf), KeyUsageCriticality::Require).unwrap();
        leaf.id().path().len()
    };
    let x509_parser = move || {
        let (_, certificate) = parse_x509_certificate(black_box(&for_parser)).unwrap();
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        let uri = names.value.general_names.iter().find_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
        SpiffeIdRef::parse(uri.unwrap()).unwrap().path().len()
    };
    let webpki = move || {
        let leaf = EndEntityCert::try_from(black_box(&for_webpki)).unwrap();
        let uri = leaf.valid_uri_names().next().unwrap();
        SpiffeIdRef::parse(uri).unwrap().path().len()
    };
    Scenario::new("identity/san-walk", ours).peer("x509-parser", x509_parser).peer("webpki", webpki)
}

fn authorize() -> Scenario {
    let id = SpiffeId::parse("spiffe://example.org/ns/shop/sa/cart").unwrap();
    let shop = SpiffeId::parse("spiffe://example.org/ns/shop").unwrap();
    let checkout = SpiffeId::parse("spiffe://example.org/ns/checkout/sa/web").unwrap();
    let authorizer = Authorizer::id(checkout).or(Authorizer::within(shop));
    assert!(authorizer.authorizes(id.borrowed()));
    Scenario::new("identity/authorize", move || authorizer.authorizes(black_box(&id).borrowed()))
}

fn authorize_by_pattern() -> Scenario {
    let id = SpiffeId::parse("spiffe://example.org/ns/shop/sa/cart").unwrap();
    let pattern = "spiffe://example.org/ns/*/sa/cart".parse().unwrap();
    let authorizer = Authorizer::matching(pattern);
    assert!(authorizer.authorizes(id.borrowed()));
    let ours = move || authorizer.authorizes(black_box(&id).borrowed());
    Scenario::new("identity/authorize-pattern", ours)
}

/// Beside the signature alone, and the crate whose verifier it is.
fn jwt_svid() -> Scenario {
    let (authority, now) = (authority(), SystemClock.now());
    // A day: the peer looks at the clock of the machine.
    let claims = json!({
        "sub": format!("spiffe://example.org{CART}"), "aud": ["orders"],
        "iat": now.as_secs(), "exp": now.as_secs() + 86_400,
    });
    let token = authority.sign_jwt_svid(claims).unwrap();
    let document = authority.jwt_bundle_document();
    let key: Value = serde_json::from_str::<Value>(&document).unwrap()["keys"][0].clone();

    let member = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
    let public = [vec![4], member("x"), member("y")].concat();
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (signed, signature) = (signed.to_owned(), URL_SAFE_NO_PAD.decode(signature).unwrap());
    let raw = move || public.verify(signed.as_bytes(), &signature).is_ok();
    assert!(raw());

    let domain = spiffe::TrustDomain::new("example.org").unwrap();
    let bundle = spiffe::JwtBundle::from_jwt_authorities(domain, document.as_bytes()).unwrap();
    let mut theirs = spiffe::JwtBundleSet::new();
    theirs.add_bundle(bundle);
    let for_spiffe = token.clone();
    let spiffe = move || {
        spiffe::JwtSvid::parse_and_validate(black_box(&for_spiffe), &theirs, &["orders"]).is_ok()
    };
    assert!(spiffe());

    let bundles = JwtBundleSet::new().with(authority.jwt_bundle());
    let verifier = JwtSvidVerifier::new(Audience::any(["orders"]).unwrap());
    let ours = move || verifier.verify(black_box(&token), &bundles, now).is_ok();
    assert!(ours());
    Scenario::new("identity/jwt-svid", ours).peer("ring", raw).peer("spiffe", spiffe)
}

/// Identity and bundles read while they rotate all the time, beside the same behind a lock.
fn source_read() -> Scenario {
    let authority = authority();
    let sets = [(); 2]
        .map(|()| (authority.svid(CART).unwrap(), BundleSet::new().with(authority.bundle())));
    let (identity, bundles) = sets[0].clone();
    let source = X509Source::new(identity.clone(), bundles.clone());
    let locked = Arc::new(RwLock::new((identity, bundles)));
    let ours = rotating(sets.clone(), {
        let source = source.clone();
        move |(identity, bundles)| {
            source.replace(identity, bundles);
        }
    });
    let theirs = rotating(sets, {
        let locked = Arc::clone(&locked);
        move |set| *locked.write().unwrap() = set
    });
    let domain = TrustDomain::from_name("example.org").unwrap();
    let other = domain.clone();
    Scenario::new("identity/source-read", move || {
        ours.fetch_add(1, Ordering::Relaxed);
        let material = source.load();
        let bundle = material.bundles().get(domain.borrowed());
        bundle.is_some() && black_box(material.identity()).is_ok()
    })
    .peer("rwlock", move || {
        theirs.fetch_add(1, Ordering::Relaxed);
        let material = locked.read().unwrap();
        let bundle = material.1.get(other.borrowed());
        bundle.is_some() && !black_box(&material.0).chain().is_empty()
    })
}

/// Rotates 10,000 times a second, though only while somebody reads, so that no other scenario has it
/// beside it. The reader counts.
fn rotating<S: Clone + Send + 'static>(
    sets: [S; 2],
    replace: impl Fn(S) + Send + 'static,
) -> Arc<AtomicU64> {
    let reads = Arc::new(AtomicU64::new(0));
    let seen_by_us = Arc::clone(&reads);
    thread::spawn(move || {
        let mut seen = 0;
        for set in sets.iter().cycle() {
            let now = seen_by_us.load(Ordering::Relaxed);
            if now != seen {
                replace(set.clone());
            }
            seen = now;
            thread::sleep(Duration::from_micros(100));
        }
    });
    reads
}
