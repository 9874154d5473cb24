#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_core::{spiffe::TrustDomain, time::Timestamp};
use zt_identity::bundle::X509Bundle;

fuzz_target!(|pem: &[u8]| {
    let domain = TrustDomain::from_name("example.org").expect("a trust domain");
    if let Ok(bundle) = X509Bundle::from_pem(domain, pem, Timestamp::from_secs(0)) {
        assert!(!bundle.roots().is_empty());
    }
});
