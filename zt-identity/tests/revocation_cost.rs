//! What a revocation list costs the verification of a chain.

#![cfg(test)]

use allocation_counter::measure;
use zt_core::spiffe::TrustDomain;
use zt_core::time::Timestamp;
use zt_identity::authority::Authority;
use zt_identity::bundle::BundleSet;
use zt_identity::revocation::Revocation;
use zt_identity::x509_svid::X509SvidVerifier;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// The bundles of an authority, with lists of so many entries of the root and of the intermediate,
/// and a chain through both that is on none of them.
struct Case {
    chain: Vec<rustls_pki_types::CertificateDer<'static>>,
    bundles: BundleSet,
}

fn case(entries: Option<u32>) -> Case {
    let authority = Authority::new(TrustDomain::from_name("example.org").unwrap(), NOW).unwrap();
    let intermediate = authority.intermediate().unwrap();
    let (chain, _) = authority.request("/a").through(&intermediate).issue().unwrap();
    let mut bundles = BundleSet::new().with(authority.bundle());
    if let Some(entries) = entries {
        let serials = || (0..entries).map(|n| [&[1][..], &n.to_be_bytes()].concat());
        for request in [authority.crl(), intermediate.crl(NOW)] {
            let list = request.revoking_serials(serials()).list().unwrap();
            bundles = bundles.with_revocation_list(list);
        }
    }
    let case = Case { chain, bundles };
    case.verify();
    case
}

impl Case {
    fn verify(&self) {
        let verifier = X509SvidVerifier::new().with_revocation(Revocation::IfPresent);
        assert!(verifier.verify(&self.chain, &self.bundles, NOW).is_ok());
    }

    fn allocations(&self) -> u64 {
        measure(|| self.verify()).count_total
    }
}

#[test]
fn asking_a_list_allocates_nothing() {
    assert_eq!(case(Some(1_000)).allocations(), case(None).allocations());
}
