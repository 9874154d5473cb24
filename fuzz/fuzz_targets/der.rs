#![no_main]

use libfuzzer_sys::fuzz_target;
use x509_parser::asn1_rs::{Any, FromDer};
use zt_identity::der::{Budget, Reader};

fuzz_target!(|bytes: &[u8]| {
    let budget = Budget::new(400);
    let _ = Reader::new(bytes, &budget).walk();
    let mut reader = Reader::of_long(bytes, &budget);
    while let Ok(element) = reader.element() {
        let (rest, theirs) = Any::from_der(element.whole).expect("what we read is DER");
        assert!(rest.is_empty() && theirs.data == element.contents);
    }
});
