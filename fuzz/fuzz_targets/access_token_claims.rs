#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_core::time::Timestamp;
use zt_fuzz::{keys, sign};
use zt_identity::AccessTokenVerifier;

fuzz_target!(|claims: &[u8]| {
    let verifier = AccessTokenVerifier::builder("https://login.example.com").expect("an issuer");
    let verifier = verifier.audience("orders").keys(keys()).build().expect("a verifier");
    let verified = verifier.verify(&sign("at+jwt", claims), Timestamp::from_secs(1_800_000_000));
    if let Ok(token) = verified {
        assert!(!token.subject().is_empty() && token.expires().as_secs() > 1_799_999_939);
    }
});
