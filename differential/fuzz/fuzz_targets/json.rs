#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_differential::readers;

fuzz_target!(|text: &str| {
    readers::policy_json(text).expect("a policy is read as upstream reads it");
    readers::entities(text).expect("entities are read as upstream reads them");
    readers::context(text).expect("a context is read as upstream reads it");
});
