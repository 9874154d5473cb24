//! X.509-SVIDs, identities and bundles against `conformance/spiffe/x509`, chains against
//! `x509_verify_cases.json`, and paths against x509-limbo and the fixtures of spiffe-rustls.

use std::collections::BTreeMap;
use std::fmt::Debug;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs1KeyDer,
};
use serde_json::Value;
use zt_core::spiffe::{SpiffeIdError, TrustDomain};
use zt_core::time::{OutsideValidity, Timestamp};
use zt_identity::authority::{Authority, Defect};
use zt_identity::bundle::{BundleError, BundleSet, RootError, X509Bundle};
use zt_identity::certificate::{Certificate, separate};
use zt_identity::der::{Budget, Reader, tag};
use zt_identity::path::{PathError, verify_unrevoked_path};
use zt_identity::pem::PemError;
use zt_identity::profile::{Issuer, IssuerError, KeyUsageCriticality, Leaf, LeafError};
use zt_identity::revocation::{Revocation, RevocationList, RevocationListError, RevocationLists};
use zt_identity::signature::SignatureAlgorithms;
use zt_identity::x509_identity::{X509Identity, X509IdentityError};
use zt_identity::x509_svid::{X509SvidError, X509SvidVerifier};
use zt_tests::conformance::{Tally, json, path};

type Chain = Vec<CertificateDer<'static>>;

fn domain(name: &str) -> TrustDomain {
    TrustDomain::from_name(name).expect("a trust domain")
}

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().unwrap_or_else(|| panic!("no {field} in {case}"))
}

fn cases<'a>(data: &'a Value, field: &str) -> &'a [Value] {
    data[field].as_array().expect("cases")
}

fn bytes(file: &str) -> Vec<u8> {
    std::fs::read(path(file).expect("there, as its index is")).expect("readable")
}

/// The certificates of a fixture, whichever its form.
fn certificates(file: &str) -> Result<Chain, String> {
    let bytes = bytes(file);
    if file.ends_with(".pem") || file.ends_with(".crt") {
        let all: Result<Chain, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        return all.map_err(|error| error.to_string());
    }
    let row = separate(&bytes).map_err(|error| error.to_string())?;
    Ok(row.into_iter().map(CertificateDer::into_owned).collect())
}

/// The name that the data has for a broken rule of the leaf.
fn violation(error: &LeafError) -> &'static str {
    match error {
        LeafError::NoUri => "no_uri_san",
        LeafError::SeveralUris { .. } => "multiple_uri_san",
        LeafError::SpiffeId(SpiffeIdError::WrongScheme) => "wrong_scheme",
        LeafError::IsCa => "leaf_is_ca",
        LeafError::NoKeyUsage => "no_key_usage(§4.3)",
        LeafError::KeyUsageNotCritical => "key_usage_not_critical(§4.3)",
        LeafError::KeyCertSign => "leaf_key_cert_sign",
        LeafError::CrlSign => "leaf_crl_sign",
        LeafError::NoDigitalSignature => "no_digital_signature(§4.3)",
        LeafError::NamesNotCritical => "empty_subject_san_not_critical(§3.1)",
        LeafError::Certificate(_) => "malformed_certificate",
        other => panic!("the data has no name for {other:?}"),
    }
}

#[test]
fn leaf_fixtures_break_the_rules_that_they_are_listed_with() {
    let Some(index) = json("spiffe/x509/index.json") else { return };
    let mut tally = Tally::new("spiffe/x509 leaf rules", &[]);
    for fixture in cases(&index, "files") {
        let Some(broken) = fixture["spec_leaf_violations"].as_array() else { continue };
        let file = text(fixture, "file");
        let chain = certificates(&format!("spiffe/{file}")).expect("certificates");
        let outcome = match Leaf::read(&chain[0], KeyUsageCriticality::Require) {
            Ok(leaf) if broken.is_empty() && leaf.id().as_str() == text(fixture, "spiffe_id") => {
                Ok(())
            }
            Err(error) if broken.iter().any(|rule| rule == violation(&error)) => Ok(()),
            other => Err(format!("{other:?}, expected {broken:?}")),
        };
        tally.case(file, outcome);
    }
    tally.finish();
}

const VERSION_1: &str = "version 1 has no extensions, and so no profile (RFC 5280 §4.1.2.1)";

#[test]
fn certificate_fixtures_read_as_they_are_described() {
    let Some(index) = json("spiffe/x509/index.json") else { return };
    let mut tally = Tally::new(
        "spiffe/x509 certificates",
        &[
            ("x509/go/bundle-cert.pem 0", VERSION_1),
            ("x509/go/bundle-certs.pem 0", VERSION_1),
            ("x509/go/bundle-certs.pem 1", VERSION_1),
            ("x509/rust/bundle-bundle.der 0", VERSION_1),
            ("x509/rust/bundle-bundle.der 1", VERSION_1),
            ("x509/rust/bundle-cert1.der 0", VERSION_1),
            ("x509/rust/bundle-cert2.der 0", VERSION_1),
        ],
    );
    for fixture in cases(&index, "files") {
        let Some(described) = fixture["chain"].as_array() else { continue };
        let file = text(fixture, "file");
        let chain = certificates(&format!("spiffe/{file}")).expect("certificates");
        for (n, (certificate, described)) in chain.iter().zip(described).enumerate() {
            tally.case(format!("{file} {n}"), matches_description(certificate, described));
        }
    }
    tally.finish();
}

fn matches_description(der: &CertificateDer<'_>, described: &Value) -> Result<(), String> {
    let certificate = Certificate::parse(der).map_err(|error| format!("{error:?}"))?;
    let names = certificate.alternative_names().unwrap_or_default();
    let uris = cases(described, "uri_sans");
    let usage = certificate.key_usage();
    let set = |bit: &str| {
        described["key_usage"]["set"].as_array().map(|set| set.iter().any(|name| name == bit))
    };
    let purpose = |name: &str| {
        described["eku"].as_array().map(|purposes| purposes.iter().any(|is| is == name))
    };
    let seconds = |time: Timestamp| time.to_string().replace('Z', "+00:00");
    let eku = certificate.extended_key_usage();
    let comparisons = [
        ("uris", usize::from(names.uris) == uris.len()),
        ("uri", names.first_uri == uris.first().and_then(Value::as_str).map(str::as_bytes)),
        ("names critical", described["san_critical"].as_bool().unwrap_or(false) == names.critical),
        (
            "ca",
            certificate.basic_constraints().map(|is| is.ca)
                == described["basic_constraints"]["ca"].as_bool(),
        ),
        ("critical", usage.map(|is| is.critical) == described["key_usage"]["critical"].as_bool()),
        ("digitalSignature", usage.map(|is| is.digital_signature()) == set("digital_signature")),
        ("keyCertSign", usage.map(|is| is.key_cert_sign()) == set("key_cert_sign")),
        ("cRLSign", usage.map(|is| is.crl_sign()) == set("crl_sign")),
        ("serverAuth", eku.map(|is| is.server_auth) == purpose("serverAuth")),
        ("clientAuth", eku.map(|is| is.client_auth) == purpose("clientAuth")),
        (
            "notBefore",
            seconds(certificate.validity().not_before()) == text(described, "not_before"),
        ),
        ("notAfter", seconds(certificate.validity().not_after()) == text(described, "not_after")),
    ];
    match comparisons.iter().find(|(_, same)| !same) {
        None => Ok(()),
        Some((what, _)) => Err(format!("{what} differs: {certificate:?}, expected {described}")),
    }
}

fn stated_kind(fixture: &Value) -> &str {
    fixture["asserted"][0]["error_kind"].as_str().expect("a kind")
}

/// The names that the tests of others have for what is wrong with an identity.
fn broken(error: &X509IdentityError) -> &'static [&'static str] {
    match error {
        X509IdentityError::Pem(PemError::NoCertificate) => &["no_pem_blocks"],
        X509IdentityError::Pem(PemError::Malformed) | X509IdentityError::Certificate(_) => {
            &["malformed_certificate"]
        }
        // One of the fixtures lacks digitalSignature besides, and others look at that first.
        X509IdentityError::Leaf(LeafError::KeyCertSign) => {
            &["leaf_key_cert_sign", "no_digital_signature"]
        }
        X509IdentityError::Leaf(LeafError::NoUri) => &["no_uri_san"],
        X509IdentityError::Leaf(LeafError::IsCa) => &["leaf_is_ca"],
        X509IdentityError::Leaf(LeafError::CrlSign) => &["leaf_crl_sign"],
        X509IdentityError::Leaf(LeafError::Certificate(_)) => &["malformed_certificate"],
        X509IdentityError::Intermediate { source: IssuerError::NotCa, .. } => {
            &["signing_cert_not_ca"]
        }
        X509IdentityError::Intermediate { source: IssuerError::NoKeyCertSign, .. } => {
            &["signing_cert_no_key_cert_sign"]
        }
        other => panic!("the data has no name for {other:?}"),
    }
}

#[test]
fn identities_load_as_their_own_tests_say() {
    let Some(index) = json("spiffe/x509/index.json") else { return };
    let mut tally = Tally::new(
        "spiffe/x509 identities",
        &[("x509/rust/empty-subject-name.der", "its names are not critical (X509-SVID §3.1)")],
    );
    for fixture in cases(&index, "files") {
        let (Some(key), Some(valid)) =
            (fixture["key_file"].as_str(), fixture["asserted"][0]["valid"].as_bool())
        else {
            continue;
        };
        let file = text(fixture, "file");
        let chain = bytes(&format!("spiffe/{file}"));
        let key = bytes(&format!("spiffe/{key}"));
        let ours = if file.contains("x509/go/") {
            X509Identity::from_pem(&chain, &key)
        } else {
            X509Identity::from_der(&chain, &key)
        };
        let outcome = match &ours {
            Ok(identity) if valid && identity.id().as_str() == text(fixture, "spiffe_id") => Ok(()),
            Err(error) if !valid && broken(error).contains(&stated_kind(fixture)) => Ok(()),
            other => Err(format!("{other:?}, expected {}", fixture["asserted"])),
        };
        tally.case(file, outcome);
    }
    tally.finish();
}

#[test]
fn an_rsa_key_may_be_in_pkcs8_or_pkcs1() {
    if path("spiffe/x509/go/good-leaf-only.pem").is_none() {
        return;
    }
    let chain = certificates("spiffe/x509/go/good-leaf-only.pem").unwrap();
    let pkcs8 = PrivateKeyDer::from_pem_slice(&bytes("spiffe/x509/go/key-pkcs8-rsa.pem")).unwrap();
    let budget = Budget::new(9);
    let mut parts = Reader::new(pkcs8.secret_der(), &budget).enter(tag::SEQUENCE).unwrap();
    parts.expect(tag::INTEGER).unwrap();
    parts.expect(tag::SEQUENCE).unwrap();
    let inner = parts.expect(tag::OCTET_STRING).unwrap().contents.to_vec();
    let pkcs1 = PrivatePkcs1KeyDer::from(inner);
    assert!(X509Identity::new(chain.clone(), pkcs8).is_ok());
    assert!(X509Identity::new(chain, pkcs1.into()).is_ok());
}

const NO_AUTHORITIES: &str =
    "its certificates are of version 1, so they are no authorities (X509-SVID §4.1)";

#[test]
fn bundles_load_as_their_own_tests_say() {
    let Some(index) = json("spiffe/x509/index.json") else { return };
    let mut tally = Tally::new(
        "spiffe/x509 bundles",
        &[
            ("x509/go/bundle-cert.pem", NO_AUTHORITIES),
            ("x509/go/bundle-certs.pem", NO_AUTHORITIES),
            ("x509/rust/bundle-bundle.der", NO_AUTHORITIES),
            ("x509/rust/bundle-cert1.der", NO_AUTHORITIES),
            ("x509/rust/bundle-cert2.der", NO_AUTHORITIES),
            (
                "x509/go/bundle-empty.pem",
                "a file without certificates is a mistake; X509Bundle::empty states the intention",
            ),
        ],
    );
    let now = Timestamp::from_civil(2026, 1, 1, 0, 0, 0).unwrap();
    for fixture in cases(&index, "files") {
        let Some(valid) = fixture["asserted"][0]["valid"].as_bool() else { continue };
        if text(fixture, "role") != "bundle" {
            continue;
        }
        let file = text(fixture, "file");
        let data = bytes(&format!("spiffe/{file}"));
        let ours = if file.contains("x509/go/") {
            X509Bundle::from_pem(domain("example.org"), &data, now)
        } else {
            X509Bundle::from_der(domain("example.org"), &data, now)
        };
        let outcome = match &ours {
            Ok(_) if valid => Ok(()),
            Err(BundleError::Pem(PemError::NoCertificate))
                if !valid && stated_kind(fixture) == "no_pem_blocks" =>
            {
                Ok(())
            }
            Err(
                BundleError::Pem(PemError::Malformed)
                | BundleError::Certificate(_)
                | BundleError::Root {
                    source: RootError::Profile(IssuerError::Certificate(_)), ..
                },
            ) if !valid && stated_kind(fixture) == "malformed_certificate" => Ok(()),
            other => Err(format!("{other:?}, expected {}", fixture["asserted"])),
        };
        tally.case(file, outcome);
    }
    tally.finish();
}

#[test]
fn a_root_whose_key_cannot_be_used_is_refused_when_it_is_loaded() {
    if path("spiffe/x509/spire/bundle.der").is_none() {
        return;
    }
    let then = Timestamp::from_civil(2018, 3, 8, 21, 0, 0).unwrap();
    let row = bytes("spiffe/x509/spire/bundle.der");
    let refused = X509Bundle::from_der(domain("example.org"), &row, then).unwrap_err();
    assert_eq!(refused, BundleError::Root { position: 0, source: RootError::UnsupportedKey });
}

/// A chain of the paths' data against the bundle that it names.
fn answer(case: &Value) -> Result<String, String> {
    let mut chain = certificates(&format!("spiffe/{}", text(case, "leaf")))?;
    let anchors = text(case, "anchors");
    let (file, own) = match anchors.strip_suffix(" (its own non-leaf certificates)") {
        Some(file) => (file, true),
        None => (anchors, file_is_own(case)),
    };
    let mut roots = certificates(&format!("spiffe/{file}"))?;
    if own {
        roots.remove(0);
        chain.truncate(1);
    }
    let now = Timestamp::from_secs(case["at_unix"].as_i64().expect("a time"));
    let trust_domain = domain(text(case, "trust_domain"));
    let bundle = X509Bundle::from_der_certs(trust_domain, roots, now)
        .map_err(|error| format!("no bundle: {error:?}"))?;
    let verifier =
        X509SvidVerifier::new().with_key_usage_criticality(KeyUsageCriticality::Tolerate);
    let bundles = BundleSet::new().with(bundle);
    by_each_library(|algorithms| {
        let svid = verifier.with_signature_algorithms(algorithms).verify(&chain, &bundles, now);
        svid.map(|svid| svid.id().to_string()).map_err(|error| format!("{error:?}"))
    })
}

/// The answer by the algorithms of `ring`, which is that by any other library.
fn by_each_library<T: PartialEq + Debug>(answer: impl Fn(SignatureAlgorithms) -> T) -> T {
    let by_ring = answer(SignatureAlgorithms::ring());
    #[cfg(feature = "aws-lc-rs")]
    {
        let aws_lc = zt_tls::provider::aws_lc_rs().signature_verification_algorithms.all;
        assert_eq!(answer(SignatureAlgorithms::among(aws_lc)), by_ring);
    }
    by_ring
}

/// Whether a refusal is the one that go-spiffe has, or one of a rule that go-spiffe does not have and
/// that is asked before it looks for a path.
fn is_refused_alike(case: usize, ours: &str, theirs: &str) -> bool {
    let named: &[&str] = match case {
        3 | 11 => &["Profile(NotCa)"],
        5 | 13 => &["Profile(NoKeyCertSign)"],
        16 | 19 | 21 | 23 | 25 | 41 | 43 | 44 | 46 => &["Profile(NoKeyUsage)"],
        22 => &["Leaf(NoDigitalSignature)"],
        24 => &["Leaf(NoKeyUsage)"],
        28 | 33 | 36 | 39 => &["UnsupportedKey"],
        30 | 31 | 34 | 35 | 37 | 38 => &["Profile(NoSubject)"],
        _ if theirs.contains("expired") => &["Expired", "NoRoots"],
        _ if theirs.contains("unknown authority") => &["UnknownIssuer"],
        _ if theirs.contains("CA flag") => &["IsCa"],
        _ => &[],
    };
    named.iter().any(|name| ours.contains(name))
}

fn file_is_own(case: &Value) -> bool {
    case["leaf"] == case["anchors"]
}

const NOT_CA: &str =
    "the anchor is no authority (X509-SVID §4.1), which go-spiffe does not look at";
const NO_CERT_SIGN: &str = "the anchor lacks keyCertSign (§4.3), which go-spiffe does not look at";
const NO_SUBJECT: &str = "the anchor has no subject (RFC 5280 §4.1.2.6)";
const NO_KEY_USAGE: &str = "the intermediates have no key usage (X509-SVID §4.3)";

const P521: &str = "the anchor's key is on P-521, which ring cannot do";

#[test]
fn paths_lead_where_go_spiffe_finds_them() {
    let Some(data) = json("spiffe/x509/path_cases.json") else { return };
    let mut tally = Tally::new(
        "spiffe/x509 paths",
        &[
            ("2 x509/go/wrong-intermediate-no-ca.pem", NOT_CA),
            ("4 x509/go/wrong-intermediate-no-key-cert-sign.pem", NO_CERT_SIGN),
            ("10 x509/rust/wrong-intermediate-no-ca.der", NOT_CA),
            ("12 x509/rust/wrong-intermediate-no-key-cert-sign.der", NO_CERT_SIGN),
            ("18 x509/rustls/spiffe_leaf_uri_only.der", NO_CERT_SIGN),
            ("26 x509/spire/svidreg.pem", NO_SUBJECT),
            ("27 x509/spire/svidreg.pem", NO_SUBJECT),
            ("29 x509/spire/svidreg.pem", NO_SUBJECT),
            ("32 x509/spire/svid.pem", P521),
            ("40 x509/ztunnel/cert.pem", NO_KEY_USAGE),
        ],
    );
    for (n, case) in cases(&data, "cases").iter().enumerate() {
        let theirs = text(case, "go-spiffe 2.8.1");
        let outcome = match (answer(case), theirs.strip_prefix("ACCEPT ")) {
            (Ok(id), Some(expected)) if id == expected => Ok(()),
            (Err(error), None) if is_refused_alike(n, &error, theirs) => Ok(()),
            (ours, _) => Err(format!("{ours:?}, expected {theirs}")),
        };
        tally.case(format!("{n} {}", text(case, "leaf")), outcome);
    }
    tally.finish();
}

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// The name that the data has for a refusal of ours.
fn refusal(error: &X509SvidError) -> &'static str {
    match error {
        X509SvidError::EmptyChain => "empty_chain",
        X509SvidError::NoBundle { .. } => "no_bundle",
        X509SvidError::Leaf(leaf) => violation(leaf),
        X509SvidError::Validity(OutsideValidity::Expired { .. }) => "expired",
        X509SvidError::Path(PathError::UnknownIssuer) => "unknown_issuer",
        other => panic!("the data has no name for {other:?}"),
    }
}

#[test]
fn chains_are_believed_or_refused_by_the_same_rule() {
    let Some(data) = json("spiffe/x509_verify_cases.json") else { return };
    let mut tally = Tally::new(
        "spiffe/x509 verify",
        &[(
            "wrong roots under the right name",
            "the root names its own trust domain, so the bundle is refused when it is loaded",
        )],
    );
    let ours = Authority::new(domain("domain1.test"), NOW).unwrap();
    let other = Authority::new(domain("domain2.test"), NOW).unwrap();
    let sound = ours.svid("/workload").unwrap();
    for case in cases(&data, "cases") {
        let chain = match case["chain"].as_array().and_then(|chain| chain.first()) {
            None => Vec::new(),
            Some(first) => vec![leaf(&ours, sound.chain(), first.as_str().expect("a leaf"))],
        };
        let bundles = match case["bundle"].as_str() {
            None | Some("(none)") => BundleSet::new(),
            Some("domain1.test") => BundleSet::new().with(ours.bundle()),
            Some("domain2.test only") => BundleSet::new().with(other.bundle()),
            Some("domain1.test with zero authorities") => {
                BundleSet::new().with(X509Bundle::empty(domain("domain1.test")))
            }
            Some("domain1.test holding the CA of domain2.test") => {
                let root = other.bundle().roots()[0].certificate().clone();
                let refused = X509Bundle::from_der_certs(domain("domain1.test"), [root], NOW);
                tally.case(text(case, "name"), refused.map(drop).map_err(|e| e.to_string()));
                continue;
            }
            Some(unknown) => panic!("no bundle is called {unknown:?}"),
        };
        let now = match case["at"].as_str() {
            None => NOW,
            Some("notAfter+1s") => {
                sound.validity().not_after().saturating_add(std::time::Duration::from_secs(1))
            }
            Some(unknown) => panic!("no time is called {unknown:?}"),
        };
        let answer = X509SvidVerifier::new().verify(&chain, &bundles, now);
        let outcome = match (&answer, case["error_kind"].as_str()) {
            (Ok(_), None) => Ok(()),
            (Err(error), Some(kind)) if refusal(error) == kind => Ok(()),
            _ => Err(format!("{answer:?}")),
        };
        tally.case(text(case, "name"), outcome);
    }
    tally.finish();
}

fn leaf(
    authority: &Authority,
    sound: &[CertificateDer<'_>],
    name: &str,
) -> CertificateDer<'static> {
    let defect = match name {
        "leaf1" => return sound[0].clone().into_owned(),
        "leaf1 corrupted" => {
            let mut corrupted = sound[0].to_vec();
            corrupted[0] = 0x27;
            return corrupted.into();
        }
        "leaf sparfe://domain1.test/workload" => Defect::WrongScheme,
        "leaf1 without URI" => Defect::NoUri,
        "leaf1 with URI twice" => Defect::TwoUris,
        "leaf1 cA=true" => Defect::LeafIsCa,
        "leaf1+keyCertSign" => Defect::KeyCertSign,
        "leaf1+cRLSign" => Defect::CrlSign,
        unknown => panic!("no leaf is called {unknown:?}"),
    };
    let (chain, _) = authority.request("/workload").with_defect(defect).issue().unwrap();
    chain[0].clone()
}

fn from_pem(text: &Value) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(text.as_str().expect("PEM").as_bytes()).expect("PEM")
}

fn time(text: &str) -> Timestamp {
    let part = |range: std::ops::Range<usize>| text[range].parse::<u16>().expect("a number");
    let small = |range| u8::try_from(part(range)).expect("small");
    Timestamp::from_civil(
        part(0..4),
        small(5..7),
        small(8..10),
        small(11..13),
        small(14..16),
        small(17..19),
    )
    .expect("a time")
}

/// What stands beneath the leaf's profile: the roots' profile, that of the intermediates, the path.
fn limbo(case: &Value) -> Result<(), String> {
    let now = case["validation_time"].as_str().map_or(NOW, time);
    let certificates = |field| cases(case, field).iter().map(from_pem).collect::<Chain>();
    let limbo = domain("limbo.test");
    let bundle = X509Bundle::from_der_certs(limbo.clone(), certificates("trusted_certs"), now)
        .map_err(|error| format!("bundle: {error:?}"))?;
    let intermediates = certificates("untrusted_intermediates");
    for intermediate in &intermediates {
        Issuer::read(intermediate, limbo.borrowed()).map_err(|e| format!("issuer: {e:?}"))?;
    }
    let leaf = from_pem(&case["peer_certificate"]);
    Certificate::parse(&leaf).map_err(|error| format!("leaf: {error:?}"))?;
    let lists = cases(case, "crls").iter().map(crl).collect::<Result<RevocationLists, _>>();
    let lists = lists.map_err(|error| format!("revocation list: {error:?}"))?;
    let revocation = Revocation::IfPresent;
    by_each_library(|by| {
        verify_unrevoked_path(&leaf, &intermediates, &bundle, &by, &lists, revocation, now)
            .map_err(|error| format!("path: {error:?}"))
    })
}

fn crl(text: &Value) -> Result<RevocationList, RevocationListError> {
    let pem = text.as_str().expect("PEM").as_bytes();
    RevocationList::from_der(&CertificateRevocationListDer::from_pem_slice(pem).expect("PEM"))
}

#[test]
fn limbo_paths() {
    let Some(data) = json("x509/limbo-relevant.json") else { return };
    let mut tally = Tally::new("x509/limbo", LIMBO_DEVIATIONS);
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for case in cases(&data, "testcases") {
        let answer = limbo(case);
        if let Err(kind) = &answer {
            *kinds.entry(kind.clone()).or_default() += 1;
        }
        let expected = text(case, "expected_result") == "SUCCESS";
        let same = answer.is_ok() == expected;
        tally.case(text(case, "id"), same.then_some(()).ok_or_else(|| format!("{answer:?}")));
    }
    for (kind, count) in kinds {
        println!("  {count} refused by {kind}");
    }
    tally.finish();
}

const KEY_USAGE: &str = "an authority without a key usage is refused (X509-SVID §4.3)";
const ROLE: &str = "a leaf is no authority (X509-SVID §4.1)";
const SELF_ISSUED: &str =
    "webpki gives certificates that are issued to their own issuer no exemption";
const DEPTH: &str = "the depth is bounded by the length of the chain, not by a parameter";
const KEY_IDENTIFIERS: &str = "key identifiers help to find a path, and prove nothing";
const PROFILE: &str = "the leaf's profile, which stands above the path, decides it";
const CRITICALITY: &str = "an extension that is obeyed is obeyed whether it is critical or not";
const NAMES: &str = "webpki refuses constraints on names of this kind, whatever they say";
const LENIENT_NAMES: &str =
    "webpki reads the constraint, and it takes nothing away from whoever wrote it";
const LEAF_CONSTRAINS: &str = "a leaf signs nothing, so its name constraints constrain nothing";
const DNS: &str = "DNS names prove nothing here, and are not looked into";
const SERIAL: &str = "zero is to be handled gracefully (RFC 5280 §4.1.2.2)";
const WHOLE: &str = "a bundle or chain is refused for each of its certificates, needed or not";
const WEB: &str = "a rule of the web's authorities, and not of RSA";

const LIMBO_DEVIATIONS: &[(&str, &str)] = &[
    ("crl::issuer-no-keyusage-extension", KEY_USAGE),
    ("pathlen::validation-ignores-pathlen-in-leaf", ROLE),
    ("rfc5280::ca-as-leaf", ROLE),
    ("pathlen::self-issued-certs-pathlen", SELF_ISSUED),
    ("rfc5280::nc::permitted-self-issued", SELF_ISSUED),
    ("pathlen::max-chain-depth-0-exhausted", DEPTH),
    ("pathlen::max-chain-depth-1-exhausted", DEPTH),
    ("rfc5280::aki::leaf-missing-aki", KEY_IDENTIFIERS),
    ("rfc5280::aki::intermediate-missing-aki", KEY_IDENTIFIERS),
    ("rfc5280::aki::cross-signed-root-missing-aki", KEY_IDENTIFIERS),
    ("rfc5280::ski::root-missing-ski", KEY_IDENTIFIERS),
    ("rfc5280::ski::intermediate-missing-ski", KEY_IDENTIFIERS),
    ("webpki::aki::root-with-aki-missing-keyidentifier", KEY_IDENTIFIERS),
    ("webpki::aki::root-with-aki-authoritycertissuer", KEY_IDENTIFIERS),
    ("webpki::aki::root-with-aki-authoritycertserialnumber", KEY_IDENTIFIERS),
    ("webpki::aki::root-with-aki-all-fields", KEY_IDENTIFIERS),
    ("webpki::aki::root-with-aki-ski-mismatch", KEY_IDENTIFIERS),
    ("rfc5280::eku::ee-wrong-eku", PROFILE),
    ("rfc5280::san::noncritical-with-empty-subject", PROFILE),
    ("rfc5280::leaf-ku-keycertsign", PROFILE),
    ("webpki::eku::ee-anyeku", PROFILE),
    ("webpki::eku::ee-critical-eku", PROFILE),
    ("webpki::eku::ee-without-eku", PROFILE),
    ("rfc5280::nc::permitted-dns-match-noncritical", CRITICALITY),
    ("rfc5280::pc::ica-noncritical-pc", CRITICALITY),
    ("rfc5280::root-non-critical-basic-constraints", CRITICALITY),
    ("rfc5280::nc::permitted-dn-match", NAMES),
    ("rfc5280::nc::nc-permits-email-exact", NAMES),
    ("rfc5280::nc::nc-permits-email-domain", NAMES),
    ("rfc5280::nc::nc-permits-email-literal-asterisk-exact-match", NAMES),
    ("rfc5280::nc::nc-permits-email-literal-double-asterisk", NAMES),
    ("rfc5280::nc::nc-permits-email-literal-mid-asterisk", NAMES),
    ("rfc5280::nc::invalid-dnsname-leading-period", LENIENT_NAMES),
    ("webpki::nc::intermediate-permitted-excluded-subtrees-both-null", LENIENT_NAMES),
    ("webpki::nc::intermediate-permitted-excluded-subtrees-both-empty-sequences", LENIENT_NAMES),
    ("rfc5280::nc::not-allowed-in-ee-noncritical", LEAF_CONSTRAINS),
    ("rfc5280::nc::not-allowed-in-ee-critical", LEAF_CONSTRAINS),
    ("rfc5280::san::underscore-dns", DNS),
    ("rfc5280::san::ip-in-dns", DNS),
    ("rfc5280::serial::zero", SERIAL),
    ("rfc5280::unknown-critical-extension-unrelated-root", WHOLE),
    ("rfc5280::unknown-critical-extension-unrelated-intermediate", WHOLE),
    ("webpki::forbidden-rsa-not-divisible-by-8-in-root", WEB),
];

/// A moment at which most fixtures of spiffe-rustls count, and the one that its key usages need.
const TODAY: Timestamp = Timestamp::from_secs(1_795_000_000);
const LATE: Timestamp = Timestamp::from_secs(1_893_456_000);

/// A chain of these fixtures, its root, how our answer begins, and when.
type Fixture = (&'static [&'static str], &'static str, &'static str, Timestamp);

#[rustfmt::skip]
const FIXTURES: &[Fixture] = &[
    (&["issuer_key_usage/leaf", "issuer_key_usage/issuer-bad-signature"], "issuer_key_usage/root", "Intermediate { position: 1, source: NoKeyCertSign", LATE),
    (&["issuer_key_usage/leaf", "issuer_key_usage/issuer-constructed"], "issuer_key_usage/root", r#"Intermediate { position: 1, source: Certificate(Der { part: "key usage", source: UnexpectedTag"#, LATE),
    (&["issuer_key_usage/leaf", "issuer_key_usage/issuer-crl-sign"], "issuer_key_usage/root", "Intermediate { position: 1, source: NoKeyCertSign", LATE),
    (&["issuer_key_usage/leaf", "issuer_key_usage/issuer-decipher-only"], "issuer_key_usage/root", "Ok", LATE),
    (&["issuer_key_usage/leaf", "issuer_key_usage/issuer-digital-signature"], "issuer_key_usage/root", "Intermediate { position: 1, source: NoKeyCertSign", LATE),
    (&["issuer_key_usage/leaf", "issuer_key_usage/issuer-duplicate"], "issuer_key_usage/root", "Intermediate { position: 1, source: Certificate(DuplicateExtension)", LATE),
    (&["issuer_key_usage/leaf", "issuer_key_usage/issuer-empty"], "issuer_key_usage/root", "Intermediate { position: 1, source: NoKeyCertSign", LATE),
    (&["issuer_key_usage/leaf", "issuer_key_usage/issuer-good"], "issuer_key_usage/root", "Ok", LATE),
    (&["issuer_key_usage/leaf", "issuer_key_usage/issuer-good-noncritical"], "issuer_key_usage/root", "Ok", LATE),
    (&["issuer_key_usage/leaf", "issuer_key_usage/issuer-indefinite"], "issuer_key_usage/root", r#"Intermediate { position: 1, source: Certificate(Der { part: "key usage", source: IndefiniteLength"#, LATE),
    (&["issuer_key_usage/leaf", "issuer_key_usage/issuer-invalid-padding"], "issuer_key_usage/root", r#"Intermediate { position: 1, source: Certificate(Der { part: "key usage", source: BadValue"#, LATE),
    (&["issuer_key_usage/leaf", "issuer_key_usage/issuer-invalid-unused"], "issuer_key_usage/root", r#"Intermediate { position: 1, source: Certificate(Der { part: "key usage", source: BadValue"#, LATE),
    (&["issuer_key_usage/leaf", "issuer_key_usage/issuer-key-cert-sign"], "issuer_key_usage/root", "Ok", LATE),
    (&["issuer_key_usage/leaf", "issuer_key_usage/issuer-missing"], "issuer_key_usage/root", "Intermediate { position: 1, source: NoKeyUsage", LATE),
    (&["issuer_key_usage/leaf", "issuer_key_usage/issuer-name-constraints"], "issuer_key_usage/root", "Ok", LATE),
    (&["issuer_key_usage/leaf", "issuer_key_usage/issuer-noncritical"], "issuer_key_usage/root", "Intermediate { position: 1, source: NoKeyCertSign", LATE),
    (&["issuer_key_usage/leaf", "issuer_key_usage/issuer-nonminimal-bits"], "issuer_key_usage/root", r#"Intermediate { position: 1, source: Certificate(Der { part: "key usage", source: BadValue"#, LATE),
    (&["issuer_key_usage/leaf", "issuer_key_usage/issuer-nonminimal-length"], "issuer_key_usage/root", r#"Intermediate { position: 1, source: Certificate(Der { part: "key usage", source: LongLength"#, LATE),
    (&["issuer_key_usage/leaf", "issuer_key_usage/issuer-nonminimal-oid"], "issuer_key_usage/root", r#"Intermediate { position: 1, source: Certificate(Der { part: "extensions", source: BadValue"#, LATE),
    (&["issuer_key_usage/leaf", "issuer_key_usage/issuer-not-ca"], "issuer_key_usage/root", "Intermediate { position: 1, source: NotCa", LATE),
    (&["issuer_key_usage/leaf", "issuer_key_usage/issuer-trailing"], "issuer_key_usage/root", r#"Intermediate { position: 1, source: Certificate(Der { part: "key usage", source: TrailingBytes"#, LATE),
    (&["issuer_key_usage/leaf", "issuer_key_usage/issuer-truncated"], "issuer_key_usage/root", r#"Intermediate { position: 1, source: Certificate(Der { part: "key usage", source: Truncated"#, LATE),
    (&["issuer_key_usage/leaf", "issuer_key_usage/issuer-undefined-bit"], "issuer_key_usage/root", r#"Intermediate { position: 1, source: Certificate(Der { part: "key usage", source: BadValue"#, LATE),
    (&["issuer_key_usage/leaf", "issuer_key_usage/issuer-untrusted"], "issuer_key_usage/root", "Path(UnknownIssuer)", LATE),
    (&["issuer_key_usage/leaf", "issuer_key_usage/issuer-wrong-eku"], "issuer_key_usage/root", "Intermediate { position: 1, source: ExtendedKeyUsage", LATE),
    (&["issuer_key_usage/leaf", "issuer_key_usage/issuer-wrong-tag"], "issuer_key_usage/root", r#"Intermediate { position: 1, source: Certificate(Der { part: "key usage", source: UnexpectedTag"#, LATE),
    (&["issuer_key_usage/leaf", "issuer_key_usage/issuer-untrusted"], "issuer_key_usage/root-b", "Ok", LATE),
    (&["issuer_key_usage/leaf", "issuer_key_usage/issuer-cross-good", "issuer_key_usage/upper-good"], "issuer_key_usage/root", "Ok", LATE),
    (&["issuer_key_usage/leaf", "issuer_key_usage/upper-good", "issuer_key_usage/issuer-cross-good"], "issuer_key_usage/root", "Ok", LATE),
    (&["issuer_key_usage/leaf", "issuer_key_usage/issuer-cross-restricted", "issuer_key_usage/upper-restricted"], "issuer_key_usage/root", "Intermediate { position: 2, source: NoKeyCertSign", LATE),
    (&["issuer_key_usage/leaf", "issuer_key_usage/issuer-cross-good", "issuer_key_usage/upper-pathlen"], "issuer_key_usage/root", "Path(PathLength)", LATE),
    (&["issuer_key_usage/leaf", "issuer_key_usage/issuer-cross-good"], "issuer_key_usage/root", "Path(UnknownIssuer)", LATE),
    (&["issuer_key_usage/leaf"], "issuer_key_usage/root", "Path(UnknownIssuer)", LATE),
    (&["issuer_key_usage/leaf-bad-signature", "issuer_key_usage/issuer-good"], "issuer_key_usage/root", "Path(BadSignature)", LATE),
    (&["issuer_key_usage/leaf-basic-constraints", "issuer_key_usage/issuer-good"], "issuer_key_usage/root", "Ok", LATE),
    (&["issuer_key_usage/leaf-blocked-name", "issuer_key_usage/issuer-good"], "issuer_key_usage/root", "Ok", LATE),
    (&["issuer_key_usage/leaf-ca", "issuer_key_usage/issuer-good"], "issuer_key_usage/root", "Leaf(IsCa)", LATE),
    (&["issuer_key_usage/leaf-client-eku", "issuer_key_usage/issuer-good"], "issuer_key_usage/root", "Leaf(ExtendedKeyUsage { server_auth: false, client_auth: true", LATE),
    (&["issuer_key_usage/leaf-server-eku", "issuer_key_usage/issuer-good"], "issuer_key_usage/root", "Leaf(ExtendedKeyUsage { server_auth: true, client_auth: false", LATE),
    (&["issuer_key_usage/leaf-expired", "issuer_key_usage/issuer-good"], "issuer_key_usage/root", "Validity(Expired", LATE),
    (&["issuer_key_usage/leaf-invalid-id", "issuer_key_usage/issuer-good"], "issuer_key_usage/root", "Leaf(NoPath)", LATE),
    (&["issuer_key_usage/leaf-malformed-basic-constraints", "issuer_key_usage/issuer-good"], "issuer_key_usage/root", r#"Leaf(Certificate(Der { part: "basic constraints""#, LATE),
    (&["issuer_key_usage/leaf-no-basic-constraints", "issuer_key_usage/issuer-good"], "issuer_key_usage/root", "Ok", LATE),
    (&["issuer_key_usage/leaf-unauthorized", "issuer_key_usage/issuer-good"], "issuer_key_usage/root", "Ok", LATE),
    (&["issuer_key_usage/leaf-wrong-domain", "issuer_key_usage/issuer-good"], "issuer_key_usage/root", "NoBundle", LATE),
    (&["issuer_key_usage/leaf-direct"], "issuer_key_usage/root", "Ok", LATE),
    (&["issuer_key_usage/leaf-direct"], "issuer_key_usage/root-b", "Path(UnknownIssuer)", LATE),
    (&["issuer_key_usage/leaf-blocked-name", "issuer_key_usage/issuer-name-constraints"], "issuer_key_usage/root", "Path(NameConstraint)", LATE),
    (&["spiffe_leaf"], "ca", "Ok", TODAY),
    (&["spiffe_leaf", "ca"], "ca", "Ok", TODAY),
    (&["spiffe_leaf"], "pathless_ca", "Path(UnknownIssuer)", TODAY),
    (&["no_spiffe_leaf"], "ca", "Leaf(NoUri)", TODAY),
    (&["ca_with_spiffe_signing"], "ca", "Leaf(IsCa)", TODAY),
    (&["ca"], "ca", "Leaf(NoUri)", TODAY),
    (&["pathless_leaf"], "pathless_ca", "Leaf(NoPath)", TODAY),
    (&["spiffe_leaf_no_digital_signature"], "ca", "Leaf(NoDigitalSignature)", TODAY),
    (&["spiffe_leaf_no_key_usage"], "ca", "Leaf(NoKeyUsage)", TODAY),
    (&["spiffe_leaf_uri_only"], "ca_uri_only", "Root { position: 0, source: Profile(NoKeyUsage)", TODAY),
    (&["spiffe_leaf_uri_only"], "ca", "Path(UnknownIssuer)", TODAY),
    (&["spiffe_leaf"], "ca_with_spiffe_signing", "Root { position: 0, source: Profile(HasPath)", TODAY),
    (&["withdrawal/a"], "withdrawal/a-ca", "Ok", TODAY),
    (&["withdrawal/b"], "withdrawal/b-ca", "Ok", TODAY),
    (&["withdrawal/other"], "withdrawal/b-ca", "Ok", TODAY),
    (&["withdrawal/a"], "withdrawal/b-ca", "Path(UnknownIssuer)", TODAY),
    (&["withdrawal/b"], "withdrawal/a-ca", "Path(UnknownIssuer)", TODAY),
    (&["withdrawal/foreign"], "withdrawal/b-ca", "NoBundle", TODAY),
];

fn fixture(name: &str) -> CertificateDer<'static> {
    bytes(&format!("x509/spiffe-rustls-fixtures/{name}.der")).into()
}

fn fixture_answer(&(chain, root, _, now): &Fixture) -> String {
    let chain: Chain = chain.iter().map(|name| fixture(name)).collect();
    let bundle = X509Bundle::from_der_certs(domain("example.org"), [fixture(root)], now);
    let bundles = match bundle {
        Ok(bundle) => BundleSet::new().with(bundle),
        Err(error) => return format!("{error:?}"),
    };
    match X509SvidVerifier::new().verify(&chain, &bundles, now) {
        Ok(_) => "Ok".into(),
        Err(error) => format!("{error:?}"),
    }
}

#[test]
fn fixtures_of_spiffe_rustls_are_refused_for_their_defect() {
    if path("x509/spiffe-rustls-fixtures").is_none() {
        return;
    }
    let mut tally = Tally::new("x509/spiffe-rustls", &[]);
    for case in FIXTURES {
        let (chain, root, expected, _) = case;
        let answer = fixture_answer(case);
        let same = answer.starts_with(expected);
        let outcome = same.then_some(()).ok_or_else(|| format!("{answer}, expected {expected}"));
        tally.case(format!("{} under {root}", chain.join(" ")), outcome);
    }
    tally.finish();
}

#[test]
fn keys_of_spiffe_rustls_fit_their_own_leaf_only() {
    if path("x509/spiffe-rustls-fixtures").is_none() {
        return;
    }
    let mut tally = Tally::new("x509/spiffe-rustls keys", &[]);
    for (chain, key, expected) in [
        ("spiffe_leaf", "leaf.key", "Ok"),
        ("spiffe_leaf", "mismatched.key", "KeyMismatch"),
        ("issuer_key_usage/leaf", "issuer_key_usage/leaf", "Ok"),
        ("issuer_key_usage/leaf", "leaf.key", "Key"),
        ("withdrawal/a", "withdrawal/a", "Ok"),
        ("withdrawal/b", "withdrawal/b", "Ok"),
        ("withdrawal/other", "withdrawal/b", "Ok"),
        ("withdrawal/a", "withdrawal/b", "KeyMismatch"),
        ("withdrawal/a", "withdrawal/unsupported", "Key"),
        ("withdrawal/expired-svid-chain", "withdrawal/expired-key", "Ok"),
    ] {
        let file = |name| bytes(&format!("x509/spiffe-rustls-fixtures/{name}"));
        let key_bytes =
            file(format!("{key}.{}", if key.ends_with("expired-key") { "der" } else { "pkcs8" }));
        let answer = match X509Identity::from_der(&file(format!("{chain}.der")), &key_bytes) {
            Ok(_) => "Ok".to_owned(),
            Err(error) => format!("{error:?}"),
        };
        let outcome = (answer == expected).then_some(()).ok_or(answer);
        tally.case(format!("{chain} with {key}"), outcome);
    }
    tally.finish();
}
