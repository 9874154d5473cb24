#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_identity::json::Object;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(ours) = Object::parse(bytes) {
        let theirs: serde_json::Value = serde_json::from_slice(bytes).expect("it is JSON");
        assert_eq!(Some(ours.len()), theirs.as_object().map(serde_json::Map::len));
        assert!(ours.iter().all(|(name, value)| value.as_str() == theirs[name].as_str()));
    }
});
