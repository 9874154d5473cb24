#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_differential::{decisions, values};

fuzz_target!(|bytes: &[u8]| {
    values::of_bytes(bytes).expect("an expression has the value that upstream gives it");
    decisions::of_bytes(bytes).expect("a request is decided as upstream decides it");
});
