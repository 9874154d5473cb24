#![no_main]

use libfuzzer_sys::fuzz_target;
use x509_parser::{extensions::GeneralName, parse_x509_certificate};
use zt_identity::profile::{KeyUsageCriticality, Leaf};

fuzz_target!(|der: &[u8]| {
    let Ok(leaf) = Leaf::read(der, KeyUsageCriticality::Tolerate) else { return };
    let (rest, theirs) = parse_x509_certificate(der).expect("what we read is a certificate");
    assert!(rest.is_empty() && !theirs.is_ca());
    assert_eq!(leaf.validity().not_after().as_secs(), theirs.validity().not_after.timestamp());
    let names = theirs.subject_alternative_name().expect("names").expect("names");
    assert!(names.value.general_names.contains(&GeneralName::URI(leaf.id().as_str())));
});
