#![no_main]

use libfuzzer_sys::fuzz_target;
use x509_parser::parse_x509_certificate;
use zt_identity::profile::{KeyUsageCriticality, Leaf};

fuzz_target!(|der: &[u8]| {
    if let Ok(leaf) = Leaf::read(der, KeyUsageCriticality::Tolerate) {
        let (rest, theirs) = parse_x509_certificate(der).expect("what is strict is also lenient");
        assert!(rest.is_empty() && !theirs.is_ca());
        assert!(theirs.subject().as_raw().ends_with(leaf.certificate().subject()));
        assert_eq!(leaf.validity().not_after().as_secs(), theirs.validity().not_after.timestamp());
    }
});
