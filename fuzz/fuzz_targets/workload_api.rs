#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_core::{spiffe::TrustDomain, time::Timestamp};
use zt_identity::workload_api::{JwtBundlesUpdate, X509BundlesUpdate, X509Update};

fuzz_target!(|message: &[u8]| {
    let own = TrustDomain::from_name("example.org").expect("a name");
    let now = Timestamp::from_secs(1_800_000_000);
    if let Ok(update) = X509Update::decode(message, now) {
        assert!(update.identity(None).is_some());
    }
    let _ = X509BundlesUpdate::decode(message, &own, now);
    let _ = JwtBundlesUpdate::decode(message, &own);
});
