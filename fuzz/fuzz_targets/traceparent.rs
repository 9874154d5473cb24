#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_core::request::TraceId;

fuzz_target!(|header: &str| {
    if let Some(trace) = TraceId::from_traceparent(header) {
        assert_eq!(header.split('-').nth(1), Some(trace.to_string().as_str()));
    }
});
