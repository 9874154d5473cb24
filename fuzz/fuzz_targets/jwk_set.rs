#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_identity::jwk::JwkSet;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(set) = JwkSet::parse(bytes) {
        let json: serde_json::Value = serde_json::from_slice(bytes).expect("it is JSON");
        let keys = json["keys"].as_array().expect("it has keys").len();
        assert_eq!(set.len() + set.skipped().len(), keys);
    }
});
