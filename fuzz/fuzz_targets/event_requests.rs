#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_fuzz::{EventEndpoints, sign};

fuzz_target!(|bytes: &[u8]| {
    let endpoints = EventEndpoints::new();
    endpoints.log_out(bytes);
    endpoints.log_out(&[b"logout_token=", bytes].concat());
    endpoints.deliver(bytes);
    endpoints.deliver(sign("secevent+jwt", bytes).as_bytes());
});
