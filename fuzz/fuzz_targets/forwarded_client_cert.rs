#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_tower::forwarded::xfcc::ForwardedClientCert;

fuzz_target!(|value: &str| {
    if let Ok(client) = ForwardedClientCert::parse(value) {
        assert!(value.contains(client.id().as_str()) && !client.id().path().is_empty());
        assert!(client.by().is_none_or(|by| value.contains(by)));
    }
});
