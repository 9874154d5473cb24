//! What we say about a path is what webpki alone says, in an order that nobody thought of, at a time
//! that fits or does not, with bytes as they were issued or not: the differences are those that are
//! meant.

#![cfg(test)]
#![expect(clippy::arithmetic_side_effects, reason = "moments near one another, in a test")]

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::{Index, subsequence};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use time::OffsetDateTime;
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter};
use zt_core::spiffe::TrustDomain;
use zt_core::time::Timestamp;
use zt_identity::bundle::X509Bundle;
use zt_identity::path::{PathError, verify_path};

const NOW: i64 = 1_800_000_000;

/// Authorities that sign for each other, and leaves of each.
struct World {
    roots: Vec<CertificateDer<'static>>,
    intermediates: Vec<CertificateDer<'static>>,
    leaves: Vec<CertificateDer<'static>>,
}

struct Authority {
    params: CertificateParams,
    key: KeyPair,
}

fn params(name: &str, life: (i64, i64)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let date = |offset| OffsetDateTime::from_unix_timestamp(NOW + offset).unwrap();
    (params.not_before, params.not_after) = (date(life.0), date(life.1));
    params
}

impl Authority {
    fn new(name: &str, life: (i64, i64), change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = params(name, life);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        change(&mut params);
        Self { params, key: KeyPair::generate().unwrap() }
    }

    fn root(&self) -> CertificateDer<'static> {
        self.params.self_signed(&self.key).unwrap().into()
    }

    fn sign(&self, params: &CertificateParams, key: &KeyPair) -> CertificateDer<'static> {
        params.signed_by(key, &Issuer::from_params(&self.params, &self.key)).unwrap().into()
    }
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let long = (-1_000, 1_000);
    let plain = |name: &str| Authority::new(name, long, |_| ());
    let roots = [
        plain("root"),
        plain("root"),
        Authority::new("short root", (-100, 100), |_| ()),
        Authority::new("root of few", long, |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        }),
    ];
    let middle = [
        plain("middle"),
        plain("middle"),
        Authority::new("short", (-50, 200), |_| ()),
        Authority::new("last", long, |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        }),
        Authority::new("of names", long, |params| {
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: vec![GeneralSubtree::DnsName("example.org".into())],
                excluded_subtrees: vec![],
            });
        }),
        Authority::new("no authority", long, |params| {
            params.is_ca = IsCa::ExplicitNoCa;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        }),
    ];
    let mut intermediates = Vec::new();
    for authority in &middle {
        for above in roots.iter().chain([&middle[0], &middle[3]]) {
            intermediates.push(above.sign(&authority.params, &authority.key));
        }
    }
    let mut leaves = Vec::new();
    for above in roots.iter().chain(&middle) {
        for (life, host) in [(long, "a.example.org"), ((-20, 20), "a.example.com")] {
            let mut leaf = params("leaf", life);
            leaf.subject_alt_names = vec![SanType::DnsName(host.try_into().unwrap())];
            leaves.push(above.sign(&leaf, &KeyPair::generate().unwrap()));
        }
    }
    World { roots: roots.iter().map(Authority::root).collect(), intermediates, leaves }
});

/// One question about [`WORLD`].
#[derive(Clone, Debug)]
struct Question {
    leaf: CertificateDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
    roots: Vec<CertificateDer<'static>>,
    now: i64,
}

fn question() -> impl Strategy<Value = Question> {
    let world = &*WORLD;
    let intermediates = subsequence(world.intermediates.clone(), 0..5).prop_shuffle();
    let roots = subsequence(world.roots.clone(), 1..4).prop_shuffle();
    let now = prop_oneof![4 => -15i64..15, 1 => -1_100i64..1_100];
    (prop::sample::select(world.leaves.clone()), intermediates, roots, now).prop_map(
        |(leaf, intermediates, roots, offset)| Question {
            leaf,
            intermediates,
            roots,
            now: NOW + offset,
        },
    )
}

/// Reads an extended key usage, and demands nothing of it.
struct Any;

impl ExtendedKeyUsageValidator for Any {
    fn validate(&self, mut purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        purposes.try_for_each(|purpose| purpose.map(drop))
    }
}

impl Question {
    fn ours(&self) -> Result<(), PathError> {
        let domain = TrustDomain::from_name("example.org").unwrap();
        // As it was loaded once, when each root still counted or was yet to.
        let loaded = Timestamp::from_secs(NOW - 5_000);
        let bundle = X509Bundle::from_der_certs(domain, self.roots.clone(), loaded).unwrap();
        verify_path(&self.leaf, &self.intermediates, &bundle, Timestamp::from_secs(self.now))
    }

    fn webpki(&self) -> Result<(), webpki::Error> {
        let anchors: Vec<_> =
            self.roots.iter().map(|root| webpki::anchor_from_trusted_cert(root).unwrap()).collect();
        let now = Duration::from_secs(self.now.try_into().unwrap());
        EndEntityCert::try_from(&self.leaf)?
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &anchors,
                &self.intermediates,
                UnixTime::since_unix_epoch(now),
                Any,
                None,
                None,
            )
            .map(drop)
    }

    /// Whether one of the roots does not count now, which webpki does not ask.
    fn has_a_root_out_of_time(&self) -> bool {
        self.roots.contains(&WORLD.roots[2]) && !(-100..=100).contains(&(self.now - NOW))
    }
}

static SOUND: AtomicUsize = AtomicUsize::new(0);

/// The meant differences: a root that does not count now, one that admits no authority below it, and
/// more work than a chain is worth.
fn compare(question: &Question) -> Result<(), TestCaseError> {
    match (question.ours(), question.webpki()) {
        (Ok(()), Ok(())) => _ = SOUND.fetch_add(1, Ordering::Relaxed),
        (Ok(()), Err(theirs)) => prop_assert!(false, "only webpki refuses: {theirs}"),
        (Err(PathError::Root(_)), _) => prop_assert!(question.has_a_root_out_of_time()),
        (Err(PathError::PathLength), Ok(())) => {
            prop_assert!(question.roots.contains(&WORLD.roots[3]));
        }
        (Err(PathError::TooComplex), _) => prop_assert!(question.intermediates.len() > 1),
        (Err(ours), Ok(())) => prop_assert!(false, "only we refuse: {ours}"),
        (Err(ours), Err(theirs)) => prop_assert_eq!(ours, PathError::from(theirs)),
    }
    Ok(())
}

/// What we say about this leaf of [`WORLD`], by way of these intermediates, to this root.
fn answer(leaf: usize, intermediates: &[usize], root: usize) -> Result<(), PathError> {
    let world = &*WORLD;
    let intermediates = intermediates.iter().map(|n| world.intermediates[*n].clone()).collect();
    let roots = vec![world.roots[root].clone()];
    Question { leaf: world.leaves[leaf].clone(), intermediates, roots, now: NOW }.ours()
}

#[test]
fn a_path_leads_over_authorities_that_have_signed_to_a_root() {
    assert_eq!(answer(0, &[], 0), Ok(()));
    assert_eq!(answer(8, &[0], 0), Ok(()));
    assert_eq!(answer(8, &[], 0), Err(PathError::UnknownIssuer));
    assert_eq!(answer(8, &[0], 1), Err(PathError::BadSignature), "another root of that name");
    assert_eq!(answer(8, &[6], 0), Err(PathError::BadSignature), "another middle of that name");
    assert_eq!(answer(18, &[30], 0), Err(PathError::WrongRole), "signed by no authority");
}

#[test]
fn a_path_is_no_longer_than_an_authority_on_it_admits() {
    assert_eq!(answer(6, &[], 3), Ok(()));
    assert_eq!(answer(8, &[3], 3), Err(PathError::PathLength), "a root says how many");
    assert_eq!(answer(14, &[18], 0), Ok(()));
    assert_eq!(answer(8, &[5, 18], 0), Err(PathError::PathLength));
}

#[test]
fn names_that_an_authority_may_not_sign_for_are_refused() {
    assert_eq!(answer(16, &[24], 0), Ok(()));
    assert_eq!(answer(17, &[24], 0), Err(PathError::NameConstraint));
}

#[test]
fn a_constraint_on_uris_is_one_that_every_uri_violates() {
    let tlv = |tag: u8, contents: &[u8]| {
        [&[tag, u8::try_from(contents.len()).unwrap()], contents].concat()
    };
    let permitted = tlv(0xa0, &tlv(0x30, &tlv(0x86, b"example.org")));
    let root = Authority::new("of URIs", (-100, 100), |params| {
        let value = tlv(0x30, &permitted);
        params.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 5, 29, 30], value)];
    });
    let mut leaf = params("leaf", (-100, 100));
    let uri = "spiffe://example.org/cart".try_into().unwrap();
    leaf.subject_alt_names = vec![SanType::URI(uri)];
    let leaf = root.sign(&leaf, &KeyPair::generate().unwrap());
    let roots = vec![root.root()];
    let question = Question { leaf, intermediates: vec![], roots, now: NOW };
    assert_eq!(question.ours(), Err(PathError::NameConstraint));
}

#[test]
fn paths_are_what_webpki_alone_takes_for_them() {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 1_500,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner.run(&question(), |question| compare(&question)).unwrap();
    assert!(SOUND.load(Ordering::Relaxed) > 50, "hardly any path was one");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1_500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_path_over_other_bytes_is_one_that_webpki_refuses(
        mut question in question(),
        which in any::<Index>(),
        at in any::<Index>(),
        bit in 0..8u8,
    ) {
        let mut all: Vec<&mut CertificateDer<'_>> =
            std::iter::once(&mut question.leaf).chain(&mut question.intermediates).collect();
        let which = which.index(all.len());
        let mut der = all[which].to_vec();
        let at = at.index(der.len());
        der[at] ^= 1 << bit;
        *all[which] = der.into();
        if question.ours().is_ok() {
            prop_assert_eq!(question.webpki(), Ok(()));
        }
    }
}
