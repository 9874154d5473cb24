#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_policy::cedar::est;

fuzz_target!(|policies: &str| {
    if est::policy_set("fuzz", policies).is_ok() {
        let json: serde_json::Value = serde_json::from_str(policies).expect("it is JSON");
        assert!(json["staticPolicies"].is_object());
    }
});
