//! What is read from a certificate or a revocation list is what x509-parser reads, whatever was done
//! to its bytes.

#![cfg(test)]

use std::sync::LazyLock;

use proptest::prelude::*;
use x509_parser::prelude::*;
use zt_core::spiffe::TrustDomain;
use zt_core::time::Timestamp;
use zt_identity::authority::{Authority, Defect};
use zt_identity::certificate::Certificate;
use zt_identity::revocation::RevocationList;

/// A root, an intermediate, sound leaves, and leaves with defects that are still certificates.
static CERTIFICATES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let now = Timestamp::from_secs(1_800_000_000);
    let authority = Authority::new(TrustDomain::from_name("example.org").unwrap(), now).unwrap();
    let sound = authority.request("/ns/shop/sa/cart").through_intermediate();
    let mut all: Vec<_> = sound.issue().unwrap().0;
    all.push(authority.bundle().roots()[0].certificate().clone());
    for defect in [Defect::TwoUris, Defect::NamesNotCritical, Defect::NoDigitalSignature] {
        all.push(authority.request("/a").with_defect(defect).issue().unwrap().0.remove(0));
    }
    all.iter().map(|der| der.to_vec()).collect()
});

/// Everything that both read, in one form.
#[derive(Debug, PartialEq)]
struct Reading {
    serial: Vec<u8>,
    issuer: Vec<u8>,
    subject: Vec<u8>,
    validity: (i64, i64),
    public_key: Vec<u8>,
    signed: Vec<u8>,
    ca: Option<bool>,
    key_usage: Option<(bool, bool, bool, bool)>,
    extended_key_usage: Option<(bool, bool, bool)>,
    uris: (bool, Vec<Vec<u8>>),
}

fn ours(der: &[u8]) -> Option<Reading> {
    let certificate = Certificate::parse(der).ok()?;
    let names = certificate.alternative_names().unwrap_or_default();
    let mut uris: Vec<_> = names.first_uri.map(<[u8]>::to_vec).into_iter().collect();
    uris.resize(usize::from(names.uris), Vec::new());
    Some(Reading {
        serial: certificate.serial().to_vec(),
        issuer: certificate.issuer().to_vec(),
        subject: certificate.subject().to_vec(),
        validity: (
            certificate.validity().not_before().as_secs(),
            certificate.validity().not_after().as_secs(),
        ),
        public_key: certificate.public_key().info.to_vec(),
        signed: certificate.signed().to_vec(),
        ca: certificate.basic_constraints().map(|constraints| constraints.ca),
        key_usage: certificate.key_usage().map(|usage| {
            let (sign, cert, crl) =
                (usage.digital_signature(), usage.key_cert_sign(), usage.crl_sign());
            (usage.critical, sign, cert, crl)
        }),
        extended_key_usage: certificate
            .extended_key_usage()
            .map(|usage| (usage.server_auth, usage.client_auth, usage.any)),
        uris: (names.critical, uris),
    })
}

fn contents(element: &[u8]) -> Option<Vec<u8>> {
    let (_, any) = x509_parser::asn1_rs::Any::from_der(element).ok()?;
    Some(any.data.to_vec())
}

fn theirs(der: &[u8]) -> Option<Reading> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let names = certificate.subject_alternative_name().ok()?;
    let mut uris = Vec::new();
    for name in names.iter().flat_map(|names| &names.value.general_names) {
        if let GeneralName::URI(uri) = name {
            let first = uris.is_empty();
            uris.push(if first { uri.as_bytes().to_vec() } else { Vec::new() });
        }
    }
    Some(Reading {
        serial: certificate.raw_serial().to_vec(),
        issuer: contents(certificate.issuer().as_raw())?,
        subject: contents(certificate.subject().as_raw())?,
        validity: (
            certificate.validity().not_before.timestamp(),
            certificate.validity().not_after.timestamp(),
        ),
        public_key: certificate.public_key().raw.to_vec(),
        signed: certificate.tbs_certificate.as_ref().to_vec(),
        ca: certificate.basic_constraints().ok()?.map(|constraints| constraints.value.ca),
        key_usage: certificate.key_usage().ok()?.map(|usage| {
            let bits = usage.value;
            let (sign, cert, crl) =
                (bits.digital_signature(), bits.key_cert_sign(), bits.crl_sign());
            (usage.critical, sign, cert, crl)
        }),
        extended_key_usage: certificate
            .extended_key_usage()
            .ok()?
            .map(|usage| (usage.value.server_auth, usage.value.client_auth, usage.value.any)),
        uris: (names.is_some_and(|names| names.critical), uris),
    })
}

/// A root and lists of it, each with the serial numbers that are on it.
static LISTS: LazyLock<(Vec<u8>, Vec<Vec<u8>>)> = LazyLock::new(|| {
    let now = Timestamp::from_secs(1_800_000_000);
    let authority = Authority::new(TrustDomain::from_name("example.org").unwrap(), now).unwrap();
    let serials = || [vec![0], vec![0x80], vec![0, 0x80], vec![0x7f; 20], vec![7]];
    let many = (0..40u16).map(|n| [&[1][..], &n.to_be_bytes()].concat());
    let lists = [
        authority.crl(),
        authority.crl().revoking_serials(serials()).numbered(0x80),
        authority.crl().revoking_serials(many).numbered(u64::MAX),
        authority.crl().revoking_serials(serials()).at(Timestamp::from_secs(2_600_000_000)),
    ];
    let root = authority.bundle().roots()[0].certificate().to_vec();
    (root, lists.map(|list| list.der().unwrap()).into())
});

type Listing = (Vec<u8>, (i64, i64), Vec<u8>, usize);

fn our_listing(der: &[u8]) -> Option<Listing> {
    let list = RevocationList::from_der(der).ok()?;
    let validity = list.validity();
    let updates = (validity.not_before().as_secs(), validity.not_after().as_secs());
    Some((list.issuer().to_vec(), updates, list.number().to_vec(), list.len()))
}

/// As [`our_listing`]; every serial number that they read has to be one that we find.
fn their_listing(der: &[u8]) -> Option<Listing> {
    let (rest, list) = CertificateRevocationList::from_der(der).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let updates = (list.last_update().timestamp(), list.next_update()?.timestamp());
    let mut serials: Vec<_> =
        list.iter_revoked_certificates().map(|entry| entry.raw_serial()).collect();
    if let Ok(ours) = RevocationList::from_der(der) {
        assert!(serials.iter().all(|serial| ours.revokes(serial)));
    }
    serials.sort_unstable();
    serials.dedup();
    let number = match list.crl_number()?.to_bytes_be() {
        zero if zero == [0] => Vec::new(),
        number => number,
    };
    Some((contents(list.issuer().as_raw())?, updates, number, serials.len()))
}

#[test]
fn lists_as_issued_are_read_alike() {
    let (root, lists) = &*LISTS;
    let root = Certificate::parse(root).unwrap();
    for der in lists {
        assert_eq!(our_listing(der), their_listing(der));
        assert!(RevocationList::from_der(der).unwrap().is_signed_by(&root));
    }
}

#[test]
fn certificates_as_issued_are_read_alike() {
    for der in CERTIFICATES.iter() {
        assert_eq!(ours(der), theirs(der));
        assert!(ours(der).is_some());
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn certificates_with_other_bytes_are_read_alike_or_refused(
        which in 0..6usize,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..3),
    ) {
        let mut der = CERTIFICATES[which].clone();
        for (at, byte) in changes {
            let at = at.index(der.len());
            der[at] = byte;
        }
        // What we read, they do; they read more.
        if let Some(ours) = ours(&der) {
            prop_assert_eq!(Some(ours), theirs(&der));
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(der in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Certificate::parse(&der);
    }

    #[test]
    fn a_cut_certificate_is_refused(which in 0..6usize, at in any::<prop::sample::Index>()) {
        let der = &CERTIFICATES[which];
        prop_assert!(Certificate::parse(&der[..at.index(der.len())]).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn lists_with_other_bytes_are_read_alike_or_refused_and_signed_by_nobody(
        which in 0..4usize,
        at in any::<prop::sample::Index>(),
        bit in 0..8u8,
    ) {
        let (root, lists) = &*LISTS;
        let mut der = lists[which].clone();
        let at = at.index(der.len());
        der[at] ^= 1 << bit;
        if let Ok(list) = RevocationList::from_der(&der) {
            prop_assert!(!list.is_signed_by(&Certificate::parse(root).unwrap()));
        }
        if let (Some(ours), Some(theirs)) = (our_listing(&der), their_listing(&der)) {
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn any_bytes_are_a_list_or_refused(der in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = RevocationList::from_der(&der);
    }
}
