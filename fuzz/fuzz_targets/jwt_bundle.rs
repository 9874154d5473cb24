#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_core::spiffe::TrustDomain;
use zt_identity::jwt_bundle::JwtBundle;

fuzz_target!(|bytes: &[u8]| {
    let ours = TrustDomain::from_name("example.org").expect("a trust domain");
    if let Ok(bundle) = JwtBundle::from_spiffe_bundle(ours, bytes) {
        let json: serde_json::Value = serde_json::from_slice(bytes).expect("it is JSON");
        let keys = json["keys"].as_array().expect("it has keys");
        assert!(bundle.len() <= keys.iter().filter(|key| key["use"] == "jwt-svid").count());
    }
});
