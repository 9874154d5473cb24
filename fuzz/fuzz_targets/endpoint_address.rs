#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_identity::workload_api::EndpointAddress;

fuzz_target!(|uri: &str| {
    if let Ok(address) = EndpointAddress::parse(uri) {
        assert_eq!(EndpointAddress::parse(&address.to_string()), Ok(address));
    }
});
