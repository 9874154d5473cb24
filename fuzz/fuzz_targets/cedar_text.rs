#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_policy::cedar::text;

fuzz_target!(|policies: &str| {
    for policy in text::policies("fuzz", policies).unwrap_or_default() {
        let printed = policy.to_string();
        let mut again = text::policies("fuzz", &printed).expect("what is printed is read");
        again[0].id = policy.id.clone();
        assert_eq!(again, [policy], "{printed}");
    }
});
