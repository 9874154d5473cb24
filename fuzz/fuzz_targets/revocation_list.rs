#![no_main]

use libfuzzer_sys::fuzz_target;
use x509_parser::parse_x509_crl;
use zt_identity::revocation::{RevocationList, RevocationLists};

fuzz_target!(|bytes: &[u8]| {
    let _ = RevocationLists::from_file(bytes);
    let (Ok(ours), Ok((_, theirs))) = (RevocationList::from_der(bytes), parse_x509_crl(bytes))
    else {
        return;
    };
    for revoked in theirs.iter_revoked_certificates() {
        assert!(ours.revokes(revoked.raw_serial()));
    }
});
