#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_identity::bundle::{BundleMap, SpiffeBundle};

fuzz_target!(|json: &[u8]| {
    let _ = BundleMap::from_json(json);
    if let Ok(bundle) = SpiffeBundle::from_json(json) {
        let published = bundle.to_json();
        let again = SpiffeBundle::from_json(published.as_bytes()).expect("what we publish is read");
        assert_eq!((again.to_json(), again.ignored()), (published, &[][..]));
        assert_eq!(again.jwt_keys().len(), bundle.jwt_keys().len());
    }
});
