#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_core::spiffe::{SpiffeId, SpiffeIdRef};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(id) = SpiffeIdRef::from_bytes(bytes) {
        assert_eq!(id.as_str().as_bytes(), bytes);
        let again = SpiffeId::from_segments(id.trust_domain(), id.segments());
        assert_eq!(again.as_ref(), Ok(&id.to_owned()));
    }
});
