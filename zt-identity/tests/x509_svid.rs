//! X.509-SVIDs of the development authority: sound ones are believed, each defect is refused by
//! the rule that it breaks.

#![cfg(test)]

use std::time::Duration;

use rustls_pki_types::CertificateDer;
use zt_core::fault::Fault;
use zt_core::spiffe::{SpiffeIdError, TrustDomain};
use zt_core::time::{OutsideValidity, Timestamp};
use zt_identity::authority::{Authority, Defect, SVID_LIFETIME};
use zt_identity::bundle::{BundleSet, X509Bundle};
use zt_identity::certificate::{CertificateError, MAX_NAMES};
use zt_identity::der::DerError;
use zt_identity::path::PathError;
use zt_identity::profile::{IssuerError, KeyUsageCriticality, LeafError};
use zt_identity::x509_svid::{MAX_CHAIN_LEN, X509SvidError, X509SvidVerifier};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn domain(name: &str) -> TrustDomain {
    TrustDomain::from_name(name).unwrap()
}

fn authority() -> Authority {
    Authority::new(domain("example.org"), NOW).unwrap()
}

fn bundles(authority: &Authority) -> BundleSet {
    BundleSet::new().with(authority.bundle())
}

/// What becomes of an SVID with this defect, through an intermediate if it is one of that.
fn refusal(defect: Defect) -> X509SvidError {
    let authority = authority();
    let (chain, _) = authority.request("/workload").with_defect(defect).issue().unwrap();
    X509SvidVerifier::new().verify(&chain, &bundles(&authority), NOW).unwrap_err()
}

fn leaf_refusal(defect: Defect) -> LeafError {
    let refused = refusal(defect);
    let X509SvidError::Leaf(error) = refused else { panic!("{defect:?}: {refused:?}") };
    error
}

fn issuer_refusal(defect: Defect) -> IssuerError {
    let refused = refusal(defect);
    let X509SvidError::Intermediate { position: 1, source } = refused else {
        panic!("{defect:?}: {refused:?}")
    };
    source
}

#[test]
fn a_sound_svid_is_believed_with_and_without_an_intermediate() {
    let authority = authority();
    for request in [authority.request("/a"), authority.request("/a").through_intermediate()] {
        let identity = request.identity().unwrap();
        let bundles = bundles(&authority);
        let svid = X509SvidVerifier::new().verify(identity.chain(), &bundles, NOW).unwrap();
        assert_eq!(svid.id().as_str(), "spiffe://example.org/a");
        assert_eq!(svid.leaf(), &*identity.chain()[0]);
        assert_eq!(svid.validity(), identity.validity());
        assert_eq!(svid.validity().not_after(), NOW.saturating_add(SVID_LIFETIME));
    }
}

#[test]
fn an_empty_chain_is_refused() {
    let refused = X509SvidVerifier::new().verify(&[], &BundleSet::new(), NOW);
    assert_eq!(refused.unwrap_err(), X509SvidError::EmptyChain);
}

#[test]
fn limits_are_asked_before_anything_is_read() {
    let junk = |len| CertificateDer::from(vec![0; len]);
    let verify = |chain: &[CertificateDer<'_>]| {
        X509SvidVerifier::new().verify(chain, &BundleSet::new(), NOW).map(drop).unwrap_err()
    };
    assert_eq!(verify(&vec![junk(1); 6]), X509SvidError::TooManyCertificates { count: 6 });
    assert_eq!(
        verify(&[junk(MAX_CHAIN_LEN), junk(1)]),
        X509SvidError::ChainTooLong { len: MAX_CHAIN_LEN + 1 }
    );
}

#[test]
fn a_leaf_without_a_uri_is_refused() {
    assert_eq!(leaf_refusal(Defect::NoUri), LeafError::NoUri);
}

#[test]
fn a_leaf_with_two_uris_is_refused() {
    assert_eq!(leaf_refusal(Defect::TwoUris), LeafError::SeveralUris { uris: 2 });
}

#[test]
fn no_spelling_of_a_second_uri_passes_unseen() {
    for (defect, source) in [
        (Defect::SecondUriNotAscii, DerError::BadValue),
        (Defect::SecondUriConstructed, DerError::UnexpectedTag { expected: 0x86, found: 0xa6 }),
        (Defect::MalformedName, DerError::BadValue),
    ] {
        assert_eq!(
            leaf_refusal(defect),
            LeafError::Certificate(CertificateError::Der { part: "alternative names", source }),
            "{defect:?}"
        );
    }
}

#[test]
fn a_leaf_with_too_many_names_is_refused() {
    assert_eq!(
        leaf_refusal(Defect::TooManyNames),
        LeafError::Certificate(CertificateError::TooManyNames)
    );
    assert_eq!(MAX_NAMES, 16);
}

#[test]
fn a_uri_that_is_too_long_is_refused() {
    assert_eq!(
        leaf_refusal(Defect::UriTooLong),
        LeafError::Certificate(CertificateError::UriTooLong { len: 2060 })
    );
}

#[test]
fn a_uri_that_is_no_spiffe_id_is_refused() {
    assert_eq!(leaf_refusal(Defect::WrongScheme), LeafError::SpiffeId(SpiffeIdError::WrongScheme));
    assert_eq!(
        leaf_refusal(Defect::UpperCaseTrustDomain),
        LeafError::SpiffeId(SpiffeIdError::BadTrustDomainChar { found: 'E', at: 0 })
    );
}

#[test]
fn a_trust_domain_is_nobodys_name() {
    assert_eq!(leaf_refusal(Defect::RootPath), LeafError::NoPath);
}

#[test]
fn a_leaf_that_is_an_authority_is_refused() {
    assert_eq!(leaf_refusal(Defect::LeafIsCa), LeafError::IsCa);
}

#[test]
fn a_root_never_authenticates() {
    let authority = authority();
    let root = [authority.bundle().roots()[0].certificate().clone()];
    let refused = X509SvidVerifier::new().verify(&root, &bundles(&authority), NOW);
    assert_eq!(refused.unwrap_err(), X509SvidError::Leaf(LeafError::NoPath));
}

#[test]
fn a_leaf_without_key_usage_is_refused() {
    assert_eq!(leaf_refusal(Defect::NoKeyUsage), LeafError::NoKeyUsage);
}

#[test]
fn a_key_usage_that_is_not_critical_is_refused_unless_tolerated() {
    assert_eq!(leaf_refusal(Defect::KeyUsageNotCritical), LeafError::KeyUsageNotCritical);
    let authority = authority();
    let identity =
        authority.request("/a").with_defect(Defect::KeyUsageNotCritical).identity().unwrap();
    let tolerant =
        X509SvidVerifier::new().with_key_usage_criticality(KeyUsageCriticality::Tolerate);
    assert!(tolerant.verify(identity.chain(), &bundles(&authority), NOW).is_ok());
}

#[test]
fn a_leaf_that_may_sign_certificates_or_lists_is_refused() {
    assert_eq!(leaf_refusal(Defect::KeyCertSign), LeafError::KeyCertSign);
    assert_eq!(leaf_refusal(Defect::CrlSign), LeafError::CrlSign);
}

#[test]
fn a_leaf_that_may_not_sign_a_handshake_is_refused() {
    assert_eq!(leaf_refusal(Defect::NoDigitalSignature), LeafError::NoDigitalSignature);
}

#[test]
fn half_an_extended_key_usage_is_refused() {
    assert_eq!(
        leaf_refusal(Defect::ServerOnly),
        LeafError::ExtendedKeyUsage { server_auth: true, client_auth: false }
    );
    assert_eq!(
        leaf_refusal(Defect::ClientOnly),
        LeafError::ExtendedKeyUsage { server_auth: false, client_auth: true }
    );
}

#[test]
fn names_are_critical_where_there_is_no_subject() {
    assert_eq!(leaf_refusal(Defect::NamesNotCritical), LeafError::NamesNotCritical);
}

#[test]
fn an_unknown_critical_extension_is_refused() {
    let oid: Box<[u8]> = Box::from([0x55, 0x1d, 99]);
    assert_eq!(leaf_refusal(Defect::UnknownCritical), LeafError::UnknownCritical(oid.clone()));
    assert_eq!(
        issuer_refusal(Defect::IntermediateUnknownCritical),
        IssuerError::UnknownCritical(oid)
    );
}

#[test]
fn a_byte_behind_a_certificate_is_refused() {
    assert_eq!(
        leaf_refusal(Defect::TrailingByte),
        LeafError::Certificate(CertificateError::Der {
            part: "frame",
            source: DerError::TrailingBytes
        })
    );
}

#[test]
fn a_leaf_counts_in_its_period_only() {
    let expired = refusal(Defect::Expired);
    assert!(matches!(expired, X509SvidError::Validity(OutsideValidity::Expired { .. })));
    assert_eq!(expired.fault(), Fault::Peer);
    assert!(matches!(
        refusal(Defect::NotYetValid),
        X509SvidError::Validity(OutsideValidity::NotYet { .. })
    ));
    let authority = authority();
    let identity = authority.svid("/a").unwrap();
    let at = |now| X509SvidVerifier::new().verify(identity.chain(), &bundles(&authority), now);
    let (first, last) = (identity.validity().not_before(), identity.validity().not_after());
    let second = Duration::from_secs(1);
    assert!(at(first).is_ok() && at(last).is_ok());
    assert!(at(first.saturating_sub(second)).is_err() && at(last.saturating_add(second)).is_err());
}

#[test]
fn a_trust_domain_without_a_bundle_is_refused() {
    let refused = refusal(Defect::OtherTrustDomain);
    assert_eq!(refused, X509SvidError::NoBundle { trust_domain: domain("other.test") });
    assert_eq!(refused.fault(), Fault::Peer);
}

#[test]
fn a_bundle_vouches_for_its_own_trust_domain_only() {
    let (ours, theirs) = (authority(), Authority::new(domain("other.test"), NOW).unwrap());
    let both = bundles(&ours).with(theirs.bundle());
    let (chain, _) =
        ours.request("/workload").with_defect(Defect::OtherTrustDomain).issue().unwrap();
    let refused = X509SvidVerifier::new().verify(&chain, &both, NOW).unwrap_err();
    assert_eq!(refused, X509SvidError::Path(PathError::UnknownIssuer));
    let theirs = theirs.svid("/workload").unwrap();
    assert!(X509SvidVerifier::new().verify(theirs.chain(), &both, NOW).is_ok());
}

#[test]
fn an_empty_bundle_vouches_for_nobody() {
    let authority = authority();
    let identity = authority.svid("/a").unwrap();
    let empty = BundleSet::new().with(X509Bundle::empty(domain("example.org")));
    let refused = X509SvidVerifier::new().verify(identity.chain(), &empty, NOW).unwrap_err();
    assert_eq!(refused, X509SvidError::Path(PathError::UnknownIssuer));
}

#[test]
fn a_forged_signature_is_refused() {
    let forged = X509SvidError::Path(PathError::BadSignature);
    assert_eq!(refusal(Defect::ForgedSignature), forged);
    // The same names, another key.
    let (ours, twin) = (authority(), authority());
    let identity = twin.svid("/a").unwrap();
    let refused = X509SvidVerifier::new().verify(identity.chain(), &bundles(&ours), NOW);
    assert_eq!(refused.unwrap_err(), forged);
}

#[test]
fn an_intermediate_has_to_be_an_authority() {
    assert_eq!(issuer_refusal(Defect::IntermediateNotCa), IssuerError::NotCa);
}

#[test]
fn an_intermediate_has_to_be_allowed_to_sign_certificates() {
    assert_eq!(issuer_refusal(Defect::IntermediateNoKeyUsage), IssuerError::NoKeyUsage);
    assert_eq!(issuer_refusal(Defect::IntermediateNoKeyCertSign), IssuerError::NoKeyCertSign);
}

#[test]
fn an_intermediate_has_no_path_in_its_id() {
    assert_eq!(issuer_refusal(Defect::IntermediateHasPath), IssuerError::HasPath);
}

#[test]
fn an_intermediate_is_of_the_trust_domain_that_it_signs_for() {
    assert_eq!(
        issuer_refusal(Defect::IntermediateOfOtherDomain),
        IssuerError::OtherTrustDomain {
            found: domain("other.test"),
            expected: domain("example.org")
        }
    );
}

#[test]
fn an_intermediate_has_a_subject() {
    assert_eq!(issuer_refusal(Defect::IntermediateNoSubject), IssuerError::NoSubject);
}

#[test]
fn an_intermediate_counts_in_its_period_only() {
    assert!(matches!(
        refusal(Defect::IntermediateExpired),
        X509SvidError::Path(PathError::Validity(OutsideValidity::Expired { .. }))
    ));
}

#[test]
fn an_intermediate_that_may_sign_for_servers_only_is_refused() {
    assert_eq!(
        issuer_refusal(Defect::IntermediateServerOnly),
        IssuerError::ExtendedKeyUsage { server_auth: true, client_auth: false }
    );
}

#[test]
fn an_intermediate_that_is_left_out_leaves_no_path() {
    let authority = authority();
    let identity = authority.request("/a").through_intermediate().identity().unwrap();
    let refused = X509SvidVerifier::new().verify(&identity.chain()[..1], &bundles(&authority), NOW);
    assert_eq!(refused.unwrap_err(), X509SvidError::Path(PathError::UnknownIssuer));
}

#[test]
fn junk_of_one_name_is_not_put_together_in_every_way() {
    let ours = authority();
    let root_of = |authority: &Authority| authority.bundle().roots()[0].certificate().clone();
    let mut junk = authority().svid("/a").unwrap().chain().to_vec();
    junk.extend((0..4).map(|_| root_of(&authority())));
    let refused = X509SvidVerifier::new().verify(&junk, &bundles(&ours), NOW).unwrap_err();
    assert_eq!(refused, X509SvidError::Path(PathError::TooComplex));
}

#[test]
fn roots_of_one_name_are_all_tried_for_a_chain_in_its_order() {
    let authorities: Vec<_> = (0..9).map(|_| authority()).collect();
    let roots = authorities.iter().map(|one| one.bundle().roots()[0].certificate().clone());
    let bundle = X509Bundle::from_der_certs(domain("example.org"), roots, NOW).unwrap();
    let bundles = BundleSet::new().with(bundle);
    for authority in &authorities {
        let request = authority.request("/a").through_intermediate();
        // The root itself, which has the name of all others, belongs to nobody's path.
        let mut chain = request.issue().unwrap().0;
        assert!(X509SvidVerifier::new().verify(&chain, &bundles, NOW).is_ok());
        chain.push(authority.bundle().roots()[0].certificate().clone());
        assert!(X509SvidVerifier::new().verify(&chain, &bundles, NOW).is_ok());
    }
}

#[test]
fn a_root_that_has_expired_since_it_was_loaded_vouches_for_nobody() {
    let authority = authority();
    let late = authority.bundle().roots()[0].validity().not_after();
    let after = late.saturating_add(Duration::from_secs(1));
    let identity = authority.request("/a").at(late).identity().unwrap();
    let verify = |now| X509SvidVerifier::new().verify(identity.chain(), &bundles(&authority), now);
    assert!(verify(late).is_ok());
    let refused = verify(after).unwrap_err();
    assert!(
        matches!(refused, X509SvidError::Path(PathError::Root(OutsideValidity::Expired { .. }))),
        "{refused:?}"
    );
    assert_eq!(refused.fault(), Fault::Authority);
}

#[test]
fn messages_quote_no_more_than_they_have_to() {
    assert_eq!(
        refusal(Defect::OtherTrustDomain).to_string(),
        r#"there is no bundle for trust domain "other.test""#
    );
    assert_eq!(
        refusal(Defect::TwoUris).to_string(),
        "the leaf certificate has 2 URIs, and an X.509-SVID has one"
    );
}
