//! Bundles: what may be a root, and how roots age.

#![cfg(test)]

use std::time::Duration;

use rustls_pki_types::CertificateDer;
use zt_core::fault::Fault;
use zt_core::spiffe::TrustDomain;
use zt_core::time::Timestamp;
use zt_identity::authority::{Authority, Defect, ROOT_LIFETIME};
use zt_identity::bundle::{BundleError, BundleSet, RootError, X509Bundle};
use zt_identity::pem::PemError;
use zt_identity::profile::IssuerError;
use zt_identity::x509_svid::X509SvidVerifier;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const DAY: Duration = Duration::from_secs(86_400);

fn domain(name: &str) -> TrustDomain {
    TrustDomain::from_name(name).unwrap()
}

fn authority_at(now: Timestamp) -> Authority {
    Authority::new(domain("example.org"), now).unwrap()
}

fn root_of(authority: &Authority) -> CertificateDer<'static> {
    authority.bundle().roots()[0].certificate().clone()
}

fn load<const N: usize>(roots: [CertificateDer<'static>; N]) -> Result<X509Bundle, BundleError> {
    X509Bundle::from_der_certs(domain("example.org"), roots, NOW)
}

fn refused(root: CertificateDer<'static>) -> RootError {
    let Err(BundleError::Root { position: 0, source }) = load([root]) else { panic!("loaded") };
    source
}

#[test]
fn a_leaf_is_no_root() {
    let leaf = authority_at(NOW).svid("/a").unwrap().chain()[0].clone();
    assert_eq!(refused(leaf), RootError::Profile(IssuerError::NotCa));
}

#[test]
fn every_rule_of_issuers_holds_for_roots() {
    let authority = authority_at(NOW);
    for (defect, error) in [
        (Defect::IntermediateNotCa, IssuerError::NotCa),
        (Defect::IntermediateNoKeyUsage, IssuerError::NoKeyUsage),
        (Defect::IntermediateNoKeyCertSign, IssuerError::NoKeyCertSign),
        (Defect::IntermediateHasPath, IssuerError::HasPath),
        (Defect::IntermediateNoSubject, IssuerError::NoSubject),
    ] {
        let (chain, _) = authority.request("/a").with_defect(defect).issue().unwrap();
        assert_eq!(refused(chain[1].clone()), RootError::Profile(error));
    }
}

#[test]
fn a_root_of_another_trust_domain_is_refused() {
    let other = Authority::new(domain("other.test"), NOW).unwrap();
    assert_eq!(
        refused(root_of(&other)),
        RootError::Profile(IssuerError::OtherTrustDomain {
            found: domain("other.test"),
            expected: domain("example.org")
        })
    );
}

#[test]
fn a_root_that_another_key_signed_is_refused() {
    let mut root = root_of(&authority_at(NOW)).to_vec();
    let last = root.len() - 1;
    root[last] ^= 1;
    assert_eq!(refused(root.into()), RootError::NotSelfSigned);
}

#[test]
fn an_intermediate_may_be_an_anchor() {
    let authority = authority_at(NOW);
    let identity = authority.request("/a").through_intermediate().identity().unwrap();
    let bundles = BundleSet::new().with(load([identity.chain()[1].clone()]).unwrap());
    assert!(X509SvidVerifier::new().verify(&identity.chain()[..1], &bundles, NOW).is_ok());
}

#[test]
fn a_root_that_has_expired_is_left_out_and_a_bundle_of_nothing_else_is_refused() {
    let old = authority_at(NOW.saturating_sub(ROOT_LIFETIME).saturating_sub(DAY));
    assert_eq!(load([root_of(&old)]), Err(BundleError::NoRoots { expired: 1 }));
    let bundle = load([root_of(&old), root_of(&authority_at(NOW))]).unwrap();
    assert_eq!(bundle.roots().len(), 1);
}

#[test]
fn a_root_that_counts_later_is_kept_and_vouches_later() {
    let later = NOW.saturating_add(DAY);
    let next = authority_at(later);
    let bundles = BundleSet::new().with(load([root_of(&next)]).unwrap());
    let identity = next.request("/a").lasting(DAY).identity().unwrap();
    let verify = |now| X509SvidVerifier::new().verify(identity.chain(), &bundles, now);
    assert!(verify(NOW).is_err());
    assert!(verify(later).is_ok());
}

#[test]
fn roots_of_one_name_vouch_side_by_side_while_they_rotate() {
    let (old, new) = (authority_at(NOW.saturating_sub(DAY)), authority_at(NOW));
    let bundles = BundleSet::new().with(load([root_of(&old), root_of(&new)]).unwrap());
    for authority in [old, new] {
        let request = authority.request("/a").at(NOW).through_intermediate();
        let identity = request.identity().unwrap();
        assert!(X509SvidVerifier::new().verify(identity.chain(), &bundles, NOW).is_ok());
    }
}

#[test]
fn a_bundle_without_certificates_is_refused() {
    assert_eq!(load([]), Err(BundleError::NoRoots { expired: 0 }));
    let text = X509Bundle::from_pem(domain("example.org"), b"# to do", NOW);
    assert_eq!(text, Err(BundleError::Pem(PemError::NoCertificate)));
    let refused = text.unwrap_err();
    assert_eq!(refused.fault(), Fault::Authority);
}

#[test]
fn bytes_that_are_no_certificates_are_refused() {
    let mut row = root_of(&authority_at(NOW)).to_vec();
    assert!(X509Bundle::from_der(domain("example.org"), &row, NOW).is_ok());
    row.push(0);
    assert!(X509Bundle::from_der(domain("example.org"), &row, NOW).is_err());
}

#[test]
fn a_set_keeps_one_bundle_for_each_trust_domain() {
    let (first, second) = (authority_at(NOW), authority_at(NOW));
    let set = BundleSet::new().with(first.bundle()).with(second.bundle());
    let ours = domain("example.org");
    assert_eq!(set.get(ours.borrowed()), Some(&second.bundle()));
    assert_eq!(set.iter().count(), 1);
    assert_eq!(set.without(ours.borrowed()), BundleSet::new());
}
