#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_identity::bundle::BundleMap;

fuzz_target!(|json: &[u8]| {
    if let Ok(map) = BundleMap::from_json(json) {
        let theirs: serde_json::Value = serde_json::from_slice(json).expect("it is JSON");
        let domains = theirs["trust_domains"].as_object().expect("it has trust domains");
        assert_eq!(map.iter().count(), domains.len());
        assert!(map.iter().all(|(domain, _)| domains.contains_key(domain.as_str())));
    }
});
