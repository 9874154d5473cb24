//! Certificates that are not ones, by the rule that each breaks.

#![cfg(test)]

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use zt_identity::certificate::{
    Certificate, CertificateError, MAX_CERTIFICATE_LEN, MAX_EXTENSIONS, separate,
};
use zt_identity::der::{Budget, DerError, Reader};

fn with_extensions(extensions: impl IntoIterator<Item = (u64, Vec<u8>)>) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.custom_extensions = extensions
        .into_iter()
        .map(|(number, value)| CustomExtension::from_oid_content(&[2, 5, 29, number], value))
        .collect();
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

fn sound() -> Vec<u8> {
    with_extensions([])
}

/// The first place of `old`, or the last, written over.
fn replaced(mut der: Vec<u8>, old: &[u8], new: &[u8], last: bool) -> Vec<u8> {
    let mut places = der.windows(old.len()).enumerate().filter(|(_, bytes)| *bytes == old);
    let place = if last { places.next_back() } else { places.next() };
    let at = place.expect("there").0;
    der.splice(at..at.saturating_add(old.len()), new.iter().copied());
    der
}

fn refusal(der: &[u8]) -> CertificateError {
    Certificate::parse(der).unwrap_err()
}

fn der_refusal(der: &[u8]) -> (&'static str, DerError) {
    let refused = refusal(der);
    let CertificateError::Der { part, source } = refused else { panic!("{refused:?}") };
    (part, source)
}

#[test]
fn a_certificate_that_is_too_long_is_not_looked_at() {
    let len = MAX_CERTIFICATE_LEN + 1;
    assert_eq!(refusal(&vec![0x30; len]), CertificateError::TooLong { len });
}

#[test]
fn versions_other_than_3_are_refused() {
    for version in [0, 1, 3] {
        let der = replaced(sound(), &[0xa0, 3, 2, 1, 2], &[0xa0, 3, 2, 1, version], false);
        assert_eq!(refusal(&der), CertificateError::Version);
    }
}

#[test]
fn the_signature_algorithm_has_one_name() {
    let ecdsa = |hash| [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, hash];
    let der = replaced(sound(), &ecdsa(2), &ecdsa(3), true);
    assert_eq!(refusal(&der), CertificateError::SignatureAlgorithms);
}

#[test]
fn a_serial_number_is_a_shortest_integer_of_up_to_20_octets() {
    let serial = |serial: &[u8]| {
        let mut params = CertificateParams::default();
        params.serial_number = Some(rcgen::SerialNumber::from_slice(serial));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    };
    assert_eq!(Certificate::parse(&serial(&[7; 20])).unwrap().serial(), [7; 20]);
    assert_eq!(der_refusal(&serial(&[7; 21])), ("serial number", DerError::BadValue));
}

#[test]
fn a_validity_that_ends_before_it_begins_is_refused() {
    let der = replaced(sound(), b"750101000000Z", b"490101000000Z", false);
    let der = replaced(der, b"40960101000000Z", b"20400101000000Z", false);
    assert!(matches!(refusal(&der), CertificateError::Validity(_)));
}

/// A certificate whose issuer is this name; its subject is the usual one.
fn issued_by(name: &[u8]) -> Vec<u8> {
    let element = |tag: u8, contents: &[u8]| {
        let length = u16::try_from(contents.len()).unwrap().to_be_bytes();
        match length {
            [0, short @ 0..0x80] => [&[tag, short], contents].concat(),
            [0, long] => [&[tag, 0x81, long], contents].concat(),
            [high, low] => [&[tag, 0x82, high, low], contents].concat(),
        }
    };
    let sound = sound();
    let sound = Certificate::parse(&sound).unwrap();
    let usual = element(0x30, sound.issuer());
    let contents = |der: &[u8]| {
        let budget = Budget::new(1);
        Reader::new(der, &budget).element().unwrap().contents.to_vec()
    };
    let tbs = replaced(contents(sound.signed()), &usual, &element(0x30, name), false);
    let tbs = element(0x30, &tbs);
    let whole = contents(sound.der());
    let rest = whole.strip_prefix(sound.signed()).unwrap();
    element(0x30, &[tbs.as_slice(), rest].concat())
}

#[test]
fn a_name_is_a_row_of_sets_of_attributes() {
    const ATTRIBUTE: [u8; 9] = [0x30, 7, 6, 3, 0x55, 4, 3, 12, 0];
    let set = |contents: &[u8]| [&[0x31, u8::try_from(contents.len()).unwrap()], contents].concat();
    let one = set(&ATTRIBUTE);
    for sound in [vec![], one.clone(), one.repeat(2), set(&ATTRIBUTE.repeat(3))] {
        assert_eq!(Certificate::parse(&issued_by(&sound)).unwrap().issuer(), sound);
    }
    // A value that is made of elements.
    let made = [0x30, 9, 6, 3, 0x55, 4, 3, 0x30, 2, 12, 0];
    assert!(Certificate::parse(&issued_by(&set(&made))).is_ok());

    let attribute =
        |bytes: &[u8]| set(&[&[0x30, u8::try_from(bytes.len()).unwrap()], bytes].concat());
    for (bad, error) in [
        (ATTRIBUTE.to_vec(), DerError::UnexpectedTag { expected: 0x31, found: 0x30 }),
        (set(&[]), DerError::Truncated),
        (set(&[6, 1, 42]), DerError::UnexpectedTag { expected: 0x30, found: 6 }),
        (attribute(&[12, 0]), DerError::UnexpectedTag { expected: 6, found: 12 }),
        (attribute(&[6, 1, 42]), DerError::Truncated),
        (attribute(&[6, 0, 12, 0]), DerError::BadValue),
        (attribute(&[6, 1, 0x80, 12, 0]), DerError::BadValue),
        (attribute(&[6, 1, 42, 12, 0, 12, 0]), DerError::TrailingBytes),
        (attribute(&[6, 1, 42, 12, 9]), DerError::Truncated),
        (attribute(&[6, 1, 42, 0x30, 2, 12, 9]), DerError::Truncated),
        ([&one[..], &[0, 0]].concat(), DerError::UnexpectedTag { expected: 0x31, found: 0 }),
        (one.repeat(200), DerError::BudgetSpent),
    ] {
        assert_eq!(der_refusal(&issued_by(&bad)), ("issuer", error), "{bad:x?}");
    }
}

#[test]
fn an_algorithm_is_a_name_and_at_most_one_parameter() {
    // id-ecPublicKey on P-256.
    let usual = [0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8];
    let with = |at: usize, byte: u8| {
        let mut other = usual;
        other[at] = byte;
        der_refusal(&replaced(sound(), &usual, &other, false))
    };
    let refused = |error| ("public key", error);
    assert_eq!(with(2, 5), refused(DerError::UnexpectedTag { expected: 6, found: 5 }));
    assert_eq!(with(10, 0x81), refused(DerError::BadValue));
    assert_eq!(with(12, 7), refused(DerError::TrailingBytes));
    assert_eq!(with(12, 9), refused(DerError::Truncated));
}

#[test]
fn an_extension_occurs_once() {
    assert_eq!(
        refusal(&with_extensions([(98, vec![5, 0]), (99, vec![5, 0]), (98, vec![5, 0])])),
        CertificateError::DuplicateExtension
    );
}

#[test]
fn extensions_are_counted() {
    let count = u64::try_from(MAX_EXTENSIONS).unwrap();
    let many = |count| with_extensions((0..count).map(|n| (200 + n, vec![5, 0])));
    assert!(Certificate::parse(&many(count)).is_ok());
    assert_eq!(refusal(&many(count + 1)), CertificateError::TooManyExtensions);
}

#[test]
fn work_on_one_extension_is_bounded() {
    let purposes = [6, 3, 0x2a, 3, 4].repeat(1_000);
    let length = u16::try_from(purposes.len()).unwrap().to_be_bytes();
    let value = [&[0x30, 0x82], &length[..], &purposes].concat();
    let der = with_extensions([(37, value)]);
    assert_eq!(der_refusal(&der), ("extended key usage", DerError::BudgetSpent));
}

#[test]
fn values_of_extensions_end_where_they_end() {
    for (number, part, value) in [
        (15, "key usage", vec![3, 2, 7, 0x80, 0]),
        (19, "basic constraints", vec![0x30, 0, 0]),
        (37, "extended key usage", vec![0x30, 3, 6, 1, 42, 0]),
        (17, "alternative names", vec![0x30, 3, 0x82, 1, b'a', 0]),
    ] {
        let refused = der_refusal(&with_extensions([(number, value)]));
        assert_eq!(refused, (part, DerError::TrailingBytes));
    }
}

#[test]
fn lists_that_have_to_have_an_element_have_one() {
    for (number, part) in [(37, "extended key usage"), (17, "alternative names")] {
        let refused = der_refusal(&with_extensions([(number, vec![0x30, 0])]));
        assert_eq!(refused, (part, DerError::Truncated));
    }
}

#[test]
fn each_kind_of_name_has_one_form() {
    let name = |name: &[u8]| {
        let len = u8::try_from(name.len()).unwrap();
        with_extensions([(17, [&[0x30, len], name].concat())])
    };
    for good in [
        &[0xa0, 7, 6, 1, 42, 0xa0, 2, 5, 0][..],
        &[0x81, 1, b'a'],
        &[0x82, 1, b'a'],
        &[0xa4, 2, 0x30, 0],
        &[0x86, 1, b'a'],
        &[0x87, 4, 10, 0, 0, 1],
        &[0x88, 1, 42],
    ] {
        assert!(Certificate::parse(&name(good)).is_ok(), "{good:x?}");
    }
    for bad in [
        &[0x80, 1, b'a'][..],
        &[0xa1, 1, b'a'],
        &[0xa2, 3, 0x82, 1, b'a'],
        &[0x84, 2, 0x30, 0],
        &[0xa6, 3, 0x86, 1, b'a'],
        &[0x89, 1, b'a'],
        &[0x16, 1, b'a'],
        &[0x82, 1, 0xff],
        &[0x86, 1, 0xff],
        &[0x87, 3, 10, 0, 0],
        &[0x88, 1, 0x80],
        &[0xa0, 2, 6, 5],
        &[0xa4, 2, 0x30, 1],
    ] {
        assert_eq!(der_refusal(&name(bad)).0, "alternative names", "{bad:x?}");
    }
}

#[test]
fn a_row_of_certificates_is_taken_apart() {
    let (one, two) = (sound(), sound());
    let row = [&one[..], &two].concat();
    let apart = separate(&row).unwrap();
    assert_eq!(apart.iter().map(|der| &**der).collect::<Vec<_>>(), [&one[..], &two]);
    assert!(separate(&row[..row.len() - 1]).is_err());
    assert!(separate(b"").unwrap().is_empty());
}
