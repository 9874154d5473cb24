#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_differential::readers;

fuzz_target!(|text: &str| {
    readers::policies(text).expect("policies are read as upstream reads them");
    readers::expression(text).expect("an expression is read as upstream reads it");
});
