#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_core::{spiffe::TrustDomain, time::Timestamp};
use zt_fuzz::{key_set, sign};
use zt_identity::wit_svid::{WitBundle, WitBundleSet, WitSvidVerifier};

fuzz_target!(|claims: &[u8]| {
    let ours = TrustDomain::from_name("example.org").expect("a trust domain");
    let bundle = WitBundle::from_jwks(ours.clone(), key_set().as_bytes()).expect("keys");
    let (bundles, now) = (WitBundleSet::new().with(bundle), Timestamp::from_secs(1_800_000_000));
    if let Ok(svid) = WitSvidVerifier::new().verify(&sign("wit+jwt", claims), &bundles, now) {
        assert!(svid.id().trust_domain() == ours && svid.cnf().algorithm().is_some());
    }
});
