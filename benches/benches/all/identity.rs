//! Certificates, beside the parsers and the path validation of others.

use std::hint::black_box;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use zt_benches::Scenario;
use zt_core::spiffe::{SpiffeId, SpiffeIdRef, TrustDomain};
use zt_core::time::{Clock, SystemClock, Timestamp};
use zt_identity::authority::Authority;
use zt_identity::bundle::BundleSet;
use zt_identity::matcher::Authorizer;
use zt_identity::profile::{KeyUsageCriticality, Leaf};
use zt_identity::x509_svid::X509SvidVerifier;

const CART: &str = "/ns/shop/sa/cart";

pub fn scenarios() -> Vec<Scenario> {
    vec![
        san_walk(),
        path("identity/x509-depth1", Chain::new(1)),
        path("identity/x509-depth2", Chain::new(2)),
        path("identity/junk-chain-64k", sixty_four_k()),
        // The worst that is looked at.
        path("identity/junk-chain-of-5", Chain::junk(4)),
        authorize(),
    ]
}

pub fn authority() -> Authority {
    Authority::new(TrustDomain::from_name("example.org").unwrap(), SystemClock.now()).unwrap()
}

/// A chain and the root that is to vouch for it.
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

    fn webpki(&self) -> bool {
        let (leaf, others) = black_box(&self.certificates).split_first().unwrap();
        let time = Duration::from_secs(u64::try_from(self.now.as_secs()).unwrap());
        let leaf = EndEntityCert::try_from(leaf).unwrap();
        leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &self.anchors,
            others,
            UnixTime::since_unix_epoch(time),
            KeyUsage::client_auth(),
            None,
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
    assert_eq!((chain.ours(), chain.webpki()), (chain.is_good, chain.is_good));
    Scenario::new(name, move || chain.ours()).peer("webpki", move || theirs.webpki())
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
