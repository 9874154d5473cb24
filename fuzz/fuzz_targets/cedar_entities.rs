#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_policy::cedar::data;

fuzz_target!(|json: &str| {
    let entities = data::entities("fuzz", json);
    let context = data::context("fuzz", json);
    assert!(entities.is_err() || context.is_err(), "a list is no object");
});
