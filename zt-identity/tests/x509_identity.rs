//! A workload's own identity: its chain, its key, and that they belong together.

#![cfg(test)]

use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivateSec1KeyDer};
use zt_core::fault::Fault;
use zt_core::spiffe::TrustDomain;
use zt_core::time::Timestamp;
use zt_identity::authority::{Authority, AuthorityError, Defect};
use zt_identity::der::{Budget, Reader, tag};
use zt_identity::pem::PemError;
use zt_identity::profile::{IssuerError, LeafError};
use zt_identity::x509_identity::{X509Identity, X509IdentityError};
use zt_identity::x509_svid::X509SvidError;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn authority() -> Authority {
    Authority::new(TrustDomain::from_name("example.org").unwrap(), NOW).unwrap()
}

fn issue() -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    authority().request("/a").issue().unwrap()
}

/// What a PKCS#8 key holds: for an elliptic curve, its SEC 1 form.
fn inner_key(pkcs8: &PrivateKeyDer<'_>) -> Vec<u8> {
    let budget = Budget::new(9);
    let mut parts = Reader::new(pkcs8.secret_der(), &budget).enter(tag::SEQUENCE).unwrap();
    parts.expect(tag::INTEGER).unwrap();
    parts.expect(tag::SEQUENCE).unwrap();
    parts.expect(tag::OCTET_STRING).unwrap().contents.to_vec()
}

fn defect(defect: Defect) -> X509IdentityError {
    let refused = authority().request("/a").with_defect(defect).identity();
    let Err(AuthorityError::Identity(error)) = refused else { panic!("{refused:?}") };
    error
}

#[test]
fn a_key_may_be_in_pkcs8_or_sec1() {
    let (chain, key) = issue();
    let sec1 = PrivateSec1KeyDer::from(inner_key(&key));
    assert!(X509Identity::new(chain.clone(), key).is_ok());
    assert!(X509Identity::new(chain, sec1.into()).is_ok());
}

#[test]
fn the_key_of_another_leaf_is_refused_in_each_form() {
    let ((chain, _), (_, key)) = (issue(), issue());
    let sec1 = PrivateSec1KeyDer::from(inner_key(&key));
    let mismatch = X509IdentityError::KeyMismatch;
    assert_eq!(X509Identity::new(chain.clone(), key).unwrap_err(), mismatch);
    assert_eq!(X509Identity::new(chain, sec1.into()).unwrap_err(), mismatch);
}

#[test]
fn a_key_that_is_none_of_the_leafs_algorithm_is_refused() {
    let (chain, key) = issue();
    let pkcs1 = PrivatePkcs1KeyDer::from(inner_key(&key));
    let refused = X509Identity::new(chain.clone(), pkcs1.into());
    assert_eq!(refused.unwrap_err(), X509IdentityError::Key);
    let junk = PrivateSec1KeyDer::from(vec![0x30, 0]);
    assert_eq!(X509Identity::new(chain, junk.into()).unwrap_err(), X509IdentityError::Key);
}

#[test]
fn bytes_behind_chain_or_key_are_refused() {
    let (chain, key) = issue();
    let key = key.secret_der().to_vec();
    let row = chain[0].to_vec();
    assert!(X509Identity::from_der(&row, &key).is_ok());
    let longer = |bytes: &[u8]| [bytes, &[0]].concat();
    assert!(X509Identity::from_der(&longer(&row), &key).is_err());
    assert!(X509Identity::from_der(&row, &longer(&key)).is_err());
    let sec1 = PrivateSec1KeyDer::from(longer(&inner_key(&key.try_into().unwrap())));
    assert_eq!(X509Identity::new(chain, sec1.into()).unwrap_err(), X509IdentityError::Key);
}

#[test]
fn a_chain_in_a_row_is_taken_apart() {
    let (chain, key) = authority().request("/a").through_intermediate().issue().unwrap();
    let row: Vec<u8> = chain.iter().flat_map(|der| der.to_vec()).collect();
    let identity = X509Identity::from_der(&row, key.secret_der()).unwrap();
    assert_eq!(identity.chain(), chain);
    assert_eq!(identity.id().as_str(), "spiffe://example.org/a");
}

#[test]
fn what_peers_would_refuse_is_refused_at_once() {
    assert_eq!(defect(Defect::LeafIsCa), X509IdentityError::Leaf(LeafError::IsCa));
    assert_eq!(
        defect(Defect::IntermediateNotCa),
        X509IdentityError::Intermediate { position: 1, source: IssuerError::NotCa }
    );
    let (chain, key) = issue();
    let long = [&chain[..], &vec![chain[0].clone(); 5]].concat();
    assert_eq!(
        X509Identity::new(long, key).unwrap_err(),
        X509IdentityError::Chain(X509SvidError::TooManyCertificates { count: 6 })
    );
}

#[test]
fn an_empty_chain_is_refused() {
    let (_, key) = issue();
    assert_eq!(
        X509Identity::new(Vec::new(), key).unwrap_err(),
        X509IdentityError::Chain(X509SvidError::EmptyChain)
    );
}

#[test]
fn text_without_a_key_is_refused() {
    let refused = X509Identity::from_pem(b"", b"").unwrap_err();
    assert_eq!(refused, X509IdentityError::Pem(PemError::NoCertificate));
    assert_eq!(refused.fault(), Fault::Authority);
}

#[test]
fn nothing_of_the_key_is_shown() {
    let identity = authority().svid("/a").unwrap();
    let shown = format!("{identity:?}");
    assert!(shown.contains("key: [redacted]"), "{shown}");
    assert!(shown.len() < 300, "{shown}");
}

#[test]
fn an_identity_may_have_the_name_of_a_host_beside_its_id() {
    let identity = authority().request("/a").for_host("localhost").identity().unwrap();
    assert_eq!(identity.id().as_str(), "spiffe://example.org/a");
    let leaf = identity.chain()[0].as_ref();
    assert!(leaf.windows(11).any(|bytes| bytes == b"\x82\x09localhost"));
    for host in ["", "not a name", "caf\u{e9}.test"] {
        let refused = authority().request("/a").for_host(host).issue().unwrap_err();
        assert!(matches!(refused, AuthorityError::Host { .. }), "{refused}");
    }
}
